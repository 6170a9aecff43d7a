//! SIGKILL at any moment, again and again, while messages are stored and delivered: nothing that was acknowledged is lost,
//! nothing is out of order, and who was registered is reachable without registering again.

use crate::support::dice::{Dice, count};
use crate::support::node::Setup;
use crate::support::raw::{Raw, Request, text};
use crate::support::served::Served;
use crate::support::wait_for;
use sip::{Message, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const SENDERS: [&str; 3] = ["1000", "1001", "1002"];
/// They come and go.
const READERS: [&str; 2] = ["1003", "1004"];
/// Registers once, before the first kill.
const ANCHOR: &str = "1005";
/// Messages of one pair under way at one time.
const WINDOW: usize = 3;
/// Messages of one pair that may wait for their reader: what has to be brought at the end is bounded.
const BACKLOG: u32 = 60;
/// RFC 3261 Timer E begins with T1.
const T1: Duration = Duration::from_millis(500);

#[test]
fn a_kill_at_any_moment_loses_no_message_and_no_binding() {
    let kills = count("KILLS", 200);
    let mut dice = Dice::for_test("kill");
    let mut served = Served::start(Setup::new().set("im.max_per_user=10000"));
    let mut world = World::new(&served);
    world.anchor_registers(&served);
    let mut restarts = Vec::new();
    for kill in 0..kills {
        let time = Duration::from_micros(dice.next() % 120_000);
        world.run_for(&mut dice, time);
        served.kill();
        world.on_kill();
        if dice.one_in(10) {
            served = served.again_for(Duration::from_micros(dice.next() % 40_000));
            world.on_kill();
        }
        let began = Instant::now();
        served = served.again();
        restarts.push(began.elapsed());
        world.on_restart();
        if kill % 10 == 0 {
            world.anchor_is_reached(&mut dice);
        }
    }
    world.everything_arrives();
    wait_for("an empty queue", || {
        world.run_quietly();
        (served.metric("tandem_messages_waiting") == 0.0).then_some(())
    });
    world.report(kills, &mut restarts);
}

/// Who wrote whom.
type Pair = (usize, String);

struct World {
    clients: Vec<Client>,
    /// Messages of each pair: sent, answered 200 or 202, and the number that its reader has to get next.
    pairs: BTreeMap<Pair, Counts>,
    /// What was under way at a kill, and may therefore come again.
    may_repeat: BTreeSet<(Pair, u32)>,
    /// The last message each reader took since the start of the switch.
    last_taken: BTreeMap<String, (Pair, u32)>,
    repeats: u32,
    stored: u32,
    delivered: u32,
}

#[derive(Default)]
struct Counts {
    sent: u32,
    answered: u32,
    next: u32,
}

/// A phone and what it waits for.
struct Client {
    phone: Raw,
    user: &'static str,
    flights: Vec<Flight>,
    /// Challenges seen.
    challenges: u32,
    is_registered: bool,
    turns_at: Instant,
    /// Branches of requests it has answered: a retransmission is the same message.
    answered: BTreeSet<Vec<u8>>,
}

struct Flight {
    what: What,
    request: Request,
    bytes: Vec<u8>,
    sent_at: Instant,
    /// Challenges its phone had seen when it was sent.
    challenges: u32,
}

#[derive(Clone, PartialEq)]
enum What {
    Message(Pair, u32),
    Register(bool),
}

impl World {
    fn new(served: &Served) -> World {
        let users = SENDERS.iter().chain(&READERS).chain([&ANCHOR]);
        let client = |user: &&'static str| Client {
            phone: Raw::new(served.sip(), user),
            user,
            flights: Vec::new(),
            challenges: 0,
            is_registered: false,
            turns_at: Instant::now(),
            answered: BTreeSet::new(),
        };
        World {
            clients: users.map(client).collect(),
            pairs: BTreeMap::new(),
            may_repeat: BTreeSet::new(),
            last_taken: BTreeMap::new(),
            repeats: 0,
            stored: 0,
            delivered: 0,
        }
    }

    fn anchor_registers(&mut self, served: &Served) {
        let anchor = self.clients.last_mut().unwrap();
        assert_eq!(anchor.phone.register(3600), 200);
        // A REGISTER is written behind its answer.
        wait_for("its commit", || {
            (served.metric("tandem_store_commits_total") >= 1.0).then_some(())
        });
    }

    fn run_for(&mut self, dice: &mut Dice, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.send_more();
            self.come_and_go(dice);
            self.step();
        }
    }

    fn send_more(&mut self) {
        for sender in 0..SENDERS.len() {
            for reader in READERS.iter().chain([&ANCHOR]) {
                self.send_next((sender, (*reader).to_owned()));
            }
        }
    }

    fn send_next(&mut self, pair: Pair) {
        let counts = self.pairs.entry(pair.clone()).or_default();
        let client = &mut self.clients[pair.0];
        let of_pair = || client.flights.iter().filter(|flight| flight.is_of(&pair));
        // One that is about to be challenged would be overtaken by a new one.
        let is_behind = of_pair().any(|flight| flight.challenges < client.challenges);
        if is_behind || of_pair().count() >= WINDOW || counts.sent - counts.next >= BACKLOG {
            return;
        }
        let number = counts.sent;
        counts.sent += 1;
        let request = client.phone.request("MESSAGE", &pair.1);
        let request = request.body("text/plain", &format!("{} {number}", pair.0));
        client.launch(What::Message(pair, number), request);
    }

    /// A reader registers, or takes its binding back, and stays so for a while.
    fn come_and_go(&mut self, dice: &mut Dice) {
        for client in &mut self.clients {
            let is_due = client.flights.is_empty() && Instant::now() >= client.turns_at;
            if is_due && READERS.contains(&client.user) {
                client.turns_at = Instant::now() + Duration::from_millis(10 + dice.next() % 150);
                client.register(!client.is_registered);
            }
        }
    }

    /// Takes what has come, repeats what was not answered.
    fn step(&mut self) {
        let mut is_idle = true;
        for at in 0..self.clients.len() {
            while let Some(message) = self.clients[at].phone.poll() {
                is_idle = false;
                if message.is_request() {
                    self.on_request(at, &message);
                } else {
                    self.on_response(at, &message);
                }
            }
            self.clients[at].repeat(T1);
        }
        if is_idle {
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }

    fn on_request(&mut self, at: usize, request: &Message) {
        assert_eq!(request.method(), Method::Message);
        let client = &mut self.clients[at];
        client.phone.answer(request, "200 OK", "r", "", "");
        if !client.answered.insert(request.branch().to_vec()) {
            return;
        }
        let body = text(request.body_bytes());
        let (sender, number) = body.split_once(' ').unwrap();
        let (pair, number) = (
            (sender.parse().unwrap(), client.user.to_owned()),
            number.parse().unwrap(),
        );
        self.on_taken(pair, number);
    }

    /// In order, each once; again only what a kill has met on its way.
    fn on_taken(&mut self, pair: Pair, number: u32) {
        self.delivered += 1;
        let counts = self.pairs.get_mut(&pair).unwrap();
        assert!(number <= counts.next, "{pair:?}: {number} overtook {}", counts.next);
        if number == counts.next {
            counts.next += 1;
        } else {
            self.repeats += 1;
            let key = (pair.clone(), number);
            assert!(
                self.may_repeat.contains(&key),
                "{key:?} came twice, and no kill met it on its way"
            );
        }
        self.last_taken.insert(pair.1.clone(), (pair, number));
    }

    fn on_response(&mut self, at: usize, response: &Message) {
        let client = &mut self.clients[at];
        let is_answered = |flight: &Flight| {
            flight.request.call_id.as_bytes() == response.call_id() && flight.request.cseq == response.cseq()
        };
        let Some(place) = client.flights.iter().position(is_answered) else {
            return; // a repeated answer
        };
        match response.status() {
            100..=199 => {}
            401 | 407 => client.on_challenge(place, response),
            200 | 202 => {
                let flight = client.flights.remove(place);
                match flight.what {
                    What::Register(wish) => client.is_registered = wish,
                    What::Message(pair, _) => {
                        self.pairs.get_mut(&pair).unwrap().answered += 1;
                        self.stored += u32::from(response.status() == 202);
                    }
                }
            }
            status => panic!("{status} to {:?}", client.flights[place].request),
        }
    }

    fn on_kill(&mut self) {
        // What the switch had sent before its end is still to be had.
        while self.clients.iter_mut().any(|client| client.phone.has_more()) {
            self.step();
        }
        let flights = self.clients.iter().flat_map(|client| &client.flights);
        self.may_repeat.extend(flights.filter_map(|flight| match &flight.what {
            What::Message(pair, number) => Some((pair.clone(), *number)),
            What::Register(_) => None,
        }));
        self.may_repeat
            .extend(std::mem::take(&mut self.last_taken).into_values());
    }

    fn on_restart(&mut self) {
        for client in &mut self.clients {
            client.repeat(Duration::ZERO);
        }
    }

    /// The binding from before the first kill is good: a message to it arrives.
    fn anchor_is_reached(&mut self, dice: &mut Dice) {
        let pair = (0, ANCHOR.to_owned());
        let before = self.pairs.get(&pair).map_or(0, |counts| counts.sent);
        let until = Instant::now() + crate::support::PATIENCE;
        while self.pairs.get(&pair).is_none_or(|counts| counts.next <= before) {
            assert!(Instant::now() < until, "{ANCHOR} is not reached after a restart");
            self.run_for(dice, Duration::from_millis(1));
        }
    }

    /// All readers register for good, and get all that was ever sent.
    fn everything_arrives(&mut self) {
        let until = Instant::now() + 2 * crate::support::PATIENCE;
        let far = Instant::now() + Duration::from_secs(3600);
        while !self.is_complete() {
            assert!(Instant::now() < until, "not all has arrived: {}", self.figures());
            for client in &mut self.clients {
                if READERS.contains(&client.user) && client.flights.is_empty() && client.turns_at != far {
                    client.turns_at = far;
                    client.register(true);
                }
            }
            self.step();
        }
    }

    /// Takes what still comes: a message sent again after a kill may wait behind the others.
    fn run_quietly(&mut self) {
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            self.step();
        }
    }

    fn is_complete(&self) -> bool {
        let is_all = |counts: &Counts| counts.sent == counts.answered && counts.sent == counts.next;
        self.pairs.values().all(is_all)
    }

    fn figures(&self) -> String {
        let sent: u32 = self.pairs.values().map(|counts| counts.sent).sum();
        let answered: u32 = self.pairs.values().map(|counts| counts.answered).sum();
        format!(
            "{sent} sent, {answered} acknowledged ({} of them stored first), {} taken, {} of them again",
            self.stored, self.delivered, self.repeats
        )
    }

    fn report(&self, kills: usize, restarts: &mut [Duration]) {
        restarts.sort_unstable();
        let (median, longest) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
        eprintln!(
            "{kills} kills: {}; ready again after {median:.0?}, at most {longest:.0?}",
            self.figures()
        );
        assert!(self.stored > 0 && self.delivered > 0, "{}", self.figures());
    }
}

impl Client {
    fn launch(&mut self, what: What, request: Request) {
        let credentials = self.phone.credentials(&request);
        let bytes = self.phone.print(&request, &credentials);
        self.phone.send_bytes(&bytes);
        let sent_at = Instant::now();
        self.flights.push(Flight {
            what,
            request,
            bytes,
            sent_at,
            challenges: self.challenges,
        });
    }

    fn register(&mut self, wish: bool) {
        let expires = if wish { "Expires: 3600" } else { "Expires: 0" };
        let request = self.phone.request("REGISTER", "").header(expires);
        self.launch(What::Register(wish), request);
    }

    fn on_challenge(&mut self, place: usize, response: &Message) {
        self.phone.learn(response);
        self.challenges += 1;
        let flight = &mut self.flights[place];
        flight.request.again();
        flight.challenges = self.challenges;
        let credentials = self.phone.credentials(&flight.request);
        flight.bytes = self.phone.print(&flight.request, &credentials);
        flight.sent_at = Instant::now();
        self.phone.send_bytes(&flight.bytes);
    }

    /// Sends again, as it was, what has waited for so long.
    fn repeat(&mut self, after: Duration) {
        for flight in &mut self.flights {
            if flight.sent_at.elapsed() >= after {
                flight.sent_at = Instant::now();
                self.phone.send_bytes(&flight.bytes);
            }
        }
    }
}

impl Flight {
    fn is_of(&self, pair: &Pair) -> bool {
        matches!(&self.what, What::Message(of, _) if of == pair)
    }
}
