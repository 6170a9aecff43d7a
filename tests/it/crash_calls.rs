//! SIGKILL at any moment, again and again, while calls come and go: who was told that a call is over finds its records, each leg
//! has one, and those that were up when the switch died say so.

use crate::support::dice::{Dice, count};
use crate::support::node::Setup;
use crate::support::raw::{Raw, Request, text};
use crate::support::served::Served;
use crate::support::talk::{contact, invite, sdp};
use crate::support::wait_for;
use model::{Cdr, Direction, EndReason, EndedBy};
use sip::{Message, Method, Name};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use store::Store;

#[test]
fn a_kill_at_any_moment_leaves_one_record_of_each_leg_of_a_call_whose_end_was_answered() {
    let kills = count("KILLS", 60);
    let mut dice = Dice::for_test("calls and kills");
    let mut served = Served::start(Setup::new());
    let mut pair = Pair::new(&served);
    for _ in 0..kills {
        pair.call_until(Instant::now() + Duration::from_micros(dice.next() % 40_000));
        served.kill();
        pair.hear_the_rest();
        served = served.again();
    }
    // What is asked for once more is written by a switch that ends in order.
    pair.call_until(Instant::now() + Duration::from_millis(20));
    served.signal("TERM");
    assert!(served.ended().success());
    pair.hear_the_rest();
    pair.compare(&records(&served), kills);
}

/// All records, by interaction.
fn records(served: &Served) -> BTreeMap<u64, Vec<Cdr>> {
    let url = format!("sqlite://{}", served.directory().join("run/tandem.db").display());
    let store = Store::open(&url, |_, _| {}).unwrap();
    let mut of_calls = BTreeMap::<_, Vec<_>>::new();
    for row in store.reader().unwrap().cdrs(u32::MAX, None).unwrap() {
        of_calls.entry(row.cdr.interaction.0).or_default().push(row.cdr);
    }
    of_calls
}

/// Two phones that call each other, one call after another.
struct Pair {
    caller: Raw,
    callee: Raw,
    rtp: UdpSocket,
    calls: Vec<Call>,
}

/// What the caller knows of a call.
struct Call {
    invite: Request,
    bye: Option<Request>,
    is_answered: bool,
    is_over: bool,
}

impl Pair {
    fn new(served: &Served) -> Pair {
        let (mut caller, mut callee) = (Raw::new(served.sip(), "1000"), Raw::new(served.sip(), "1001"));
        assert_eq!((caller.register(3600), callee.register(3600)), (200, 200));
        wait_for("their commit", || {
            (served.metric("tandem_store_commits_total") >= 2.0).then_some(())
        });
        Pair {
            caller,
            callee,
            rtp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            calls: Vec::new(),
        }
    }

    /// One call after another, each hung up as soon as it is up, until the time is over.
    fn call_until(&mut self, until: Instant) {
        while self.call(until).is_some() {}
    }

    fn call(&mut self, until: Instant) -> Option<()> {
        let invite = invite(&mut self.caller, "1001", &self.rtp);
        self.caller.send(&invite);
        self.calls.push(Call {
            invite: invite.clone(),
            bye: None,
            is_answered: false,
            is_over: false,
        });
        let answer = self.answer(&invite, until)?;
        let inside = Request {
            uri: contact(&answer),
            to: text(answer.header(Name::To).unwrap()),
            headers: String::new(),
            body: String::new(),
            ..self.call_now().invite.clone()
        };
        for (method, cseq) in [("ACK", inside.cseq), ("BYE", inside.cseq + 1)] {
            let request = Request {
                method: method.to_owned(),
                cseq,
                branch: format!("{}-{method}", inside.branch),
                ..inside.clone()
            };
            self.caller.send_bytes(&self.caller.print(&request, ""));
            self.call_now().bye = Some(request);
        }
        let bye = self.call_now().bye.clone()?;
        self.answer(&bye, until)?;
        Some(())
    }

    fn call_now(&mut self) -> &mut Call {
        self.calls.last_mut().unwrap()
    }

    /// The success that answers a request of the caller, if it comes in time. A challenge is answered.
    fn answer(&mut self, request: &Request, until: Instant) -> Option<Message> {
        let mut request = request.clone();
        loop {
            self.callee_takes_all();
            let Some(answer) = self.caller.poll() else {
                std::thread::park_timeout(Duration::from_micros(50));
                if Instant::now() >= until {
                    return None;
                }
                continue;
            };
            let is_ours = answer.call_id() == request.call_id.as_bytes() && answer.cseq() == request.cseq;
            match answer.status() {
                200 if is_ours => {
                    self.note(&answer);
                    return Some(answer);
                }
                401 | 407 if is_ours => {
                    self.caller.send_bytes(&self.caller.ack(&request, &answer));
                    self.caller.learn(&answer);
                    request.again();
                    self.caller.send(&request);
                    self.call_now().invite = request.clone();
                }
                _ => {}
            }
        }
    }

    /// Answers whatever the callee is asked.
    fn callee_takes_all(&self) {
        while let Some(message) = self.callee.poll() {
            let headers = format!(
                "Contact: {}\r\nContent-Type: application/sdp\r\n",
                self.callee.contact()
            );
            match message.method() {
                _ if !message.is_request() => {}
                Method::Ack => {}
                Method::Invite => {
                    let sdp = sdp(self.rtp.local_addr().unwrap());
                    self.callee.answer(&message, "200 OK", "callee", &headers, &sdp);
                }
                _ => self.callee.answer(&message, "200 OK", "callee", "", ""),
            }
        }
    }

    /// A success of the present call was received.
    fn note(&mut self, answer: &Message) {
        let call = self.call_now();
        call.is_answered |= answer.call_id() == call.invite.call_id.as_bytes() && answer.cseq() == call.invite.cseq;
        let is_over = |bye: &Request| {
            bye.method == "BYE" && answer.call_id() == bye.call_id.as_bytes() && answer.cseq() == bye.cseq
        };
        call.is_over |= call.bye.as_ref().is_some_and(is_over);
    }

    /// What the switch had sent before its end is still to be had.
    fn hear_the_rest(&mut self) {
        while let Some(message) = self.caller.poll() {
            if message.status() == 200 {
                self.note(&message);
            }
        }
        while self.callee.poll().is_some() {}
    }

    fn compare(&self, records: &BTreeMap<u64, Vec<Cdr>>, kills: usize) {
        let (mut over, mut cut) = (0, 0);
        for call in &self.calls {
            let call_id = &call.invite.call_id;
            let is_its = |legs: &&Vec<Cdr>| legs.iter().any(|leg| *leg.call_id == **call_id);
            let mut of_call = records.values().filter(is_its);
            let legs = of_call.next();
            assert!(of_call.next().is_none(), "two calls of one Call-ID {call_id}");
            let legs = legs.map_or(&[][..], |legs| legs);
            for direction in [Direction::In, Direction::Out] {
                let count = legs.iter().filter(|leg| leg.direction == direction).count();
                let wanted = usize::from(call.is_answered);
                assert!(
                    count >= wanted && count <= 1,
                    "{call_id}: {count} records {direction:?}: {legs:?}"
                );
            }
            if call.is_over {
                assert!(legs.iter().all(ended_in_order), "{call_id}: {legs:?}");
                over += 1;
            } else if legs.iter().any(|leg| leg.reason == EndReason::Restart) {
                cut += 1;
            }
        }
        eprintln!(
            "{kills} kills, {} calls, {over} over, {cut} cut short",
            self.calls.len()
        );
        assert!(over > 0, "no call came to its end");
    }
}

fn ended_in_order(leg: &Cdr) -> bool {
    let by = match leg.direction {
        Direction::In => EndedBy::Peer,
        Direction::Out => EndedBy::Other,
    };
    (leg.reason, leg.ended_by) == (EndReason::Normal, by) && leg.answered_at.is_some_and(|at| at <= leg.ended_at)
}
