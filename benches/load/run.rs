//! The users, the operations in flight and what came of them.

use crate::Op;
use crate::batch::Batch;
use crate::text::{Challenge, User, find, header, lines, respond, status};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// An operation without its end for this long has failed; above T1 so that one lost datagram shows as a failure.
const GIVE_UP: Duration = Duration::from_secs(3);

/// Calls set up, and hung up, at the same time while others are held.
const AT_ONCE: usize = 128;

const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n\
a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// One operation in flight.
#[derive(Clone, Default)]
struct Slot {
    /// Rises with each use, so that a late answer is not taken for the present one.
    generation: u32,
    user: usize,
    began: Option<Instant>,
    /// The dialog's CSeq.
    cseq: u32,
    /// 200 to INVITE was seen: its repeats only get another ACK.
    answered: bool,
    /// The call is up and waits for the others.
    up: bool,
}

/// What a measured run gave.
pub struct Outcome {
    pub seconds: f64,
    pub done: u64,
    pub failed: u64,
    /// Answers that were not expected, by status or cause.
    pub oddities: BTreeMap<String, u64>,
    latencies_us: Vec<u32>,
}

impl Outcome {
    /// Latency in microseconds that the share `p` of operations did not exceed.
    pub fn percentile(&self, p: f64) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        self.latencies_us.get((last as f64 * p) as usize).copied().unwrap_or(0)
    }
}

/// All state of one load.
pub struct Run {
    domain: String,
    sockets: Vec<Batch>,
    /// Where it is written to now: the socket of the user, or the one a message came by.
    current: usize,
    local: SocketAddrV4,
    users: Vec<User>,
    /// How many of them are registered.
    registered: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    next_user: usize,
    op: Op,
    /// Calls that are up wait for each other.
    held: Vec<(usize, Vec<u8>)>,
    outcome: Outcome,
    /// Distinguishes Call-IDs of runs.
    run: u64,
}

impl Run {
    pub fn new(
        domain: &str,
        users: usize,
        (sockets, joined): (usize, bool),
        local: SocketAddr,
        target: SocketAddr,
    ) -> Run {
        let socket = |_| Batch::connect(local, target, joined).expect("a loopback socket");
        let sockets: Vec<Batch> = (0..sockets).map(socket).collect();
        Run {
            domain: domain.to_owned(),
            local: sockets[0].local(),
            sockets,
            current: 0,
            users: (0..users)
                .map(|i| User::new((100_000 + i).to_string(), domain))
                .collect(),
            registered: 0,
            slots: Vec::new(),
            free: Vec::new(),
            next_user: 0,
            op: Op::Register,
            held: Vec::new(),
            outcome: Outcome::empty(),
            run: u64::from(std::process::id()),
        }
    }

    /// Registers the users up to this one who are not yet, so that nonces are known and messages and calls find somebody.
    pub fn register_first(&mut self, size: usize) {
        self.op = Op::Register;
        self.next_user = self.registered;
        let total = size.saturating_sub(self.registered);
        self.registered = size;
        self.open(64.min(total));
        let (total, until) = (total as u64, Instant::now() + Duration::from_secs(300));
        let mut begun = 0;
        while self.outcome.done < total && Instant::now() < until {
            while begun < total + self.outcome.failed && !self.free.is_empty() {
                self.begin(Instant::now());
                begun += 1;
            }
            self.turn(1);
        }
        assert!(
            self.outcome.done >= total,
            "only {} of {total} users could register",
            self.outcome.done
        );
        self.outcome = Outcome::empty();
    }

    /// Runs `op` for `seconds`, then lets what is in flight end. `all_up` is called when all calls of [`Op::Hold`] are up.
    pub fn measure(&mut self, op: Op, window: usize, rate: u64, seconds: f64, all_up: impl FnOnce()) -> Outcome {
        self.held.clear();
        self.op = op;
        self.open(if rate > 0 { 8_192 } else { window });
        let start = Instant::now();
        if op == Op::Hold {
            self.hold(start + Duration::from_secs_f64(seconds));
            self.outcome.seconds = start.elapsed().as_secs_f64();
            all_up();
            return self.hang_up_all();
        }
        let end = start + Duration::from_secs_f64(seconds);
        let mut begun = 0_u64;
        while Instant::now() < end {
            let due = if rate == 0 {
                u64::MAX
            } else {
                (start.elapsed().as_secs_f64() * rate as f64) as u64
            };
            while begun < due && !self.free.is_empty() {
                // An open loop counts waiting for a free slot as latency: the time it was due, not the time it was sent.
                let at = if rate == 0 {
                    Instant::now()
                } else {
                    start + Duration::from_secs_f64(begun as f64 / rate as f64)
                };
                self.begin(at);
                begun += 1;
            }
            self.turn(i32::from(rate == 0));
        }
        self.outcome.seconds = start.elapsed().as_secs_f64();
        self.drain()
    }

    /// Begins as many calls as there are slots; each waits in [`Run::held`] when it is up.
    fn hold(&mut self, until: Instant) {
        let wanted = self.slots.len();
        while self.held.len() + (self.outcome.failed as usize) < wanted && Instant::now() < until {
            while !self.free.is_empty() && self.slots.len() - self.free.len() - self.held.len() < AT_ONCE {
                self.begin(Instant::now());
            }
            self.turn(1);
        }
    }

    /// Hangs up as they were set up, for nothing is repeated here: what all said at once would be lost to full queues.
    fn hang_up_all(&mut self) -> Outcome {
        let mut up = std::mem::take(&mut self.held).into_iter();
        let until = Instant::now() + Duration::from_secs(30);
        while self.free.len() < self.slots.len() && Instant::now() < until {
            while self.slots.len() - self.free.len() - up.len() < AT_ONCE
                && let Some((index, message)) = up.next()
            {
                (self.slots[index].up, self.slots[index].began) = (false, Some(Instant::now()));
                self.hang_up(index, &message);
            }
            self.turn(1);
        }
        self.drain()
    }

    fn drain(&mut self) -> Outcome {
        let done = self.outcome.done;
        let until = Instant::now() + Duration::from_millis(500);
        while self.free.len() < self.slots.len() && Instant::now() < until {
            self.turn(1);
        }
        self.outcome.done = done;
        let mut outcome = std::mem::replace(&mut self.outcome, Outcome::empty());
        outcome.latencies_us.sort_unstable();
        outcome
    }

    fn open(&mut self, window: usize) {
        self.slots = (0..window)
            .map(|_| Slot {
                generation: self.next_user as u32,
                ..Slot::default()
            })
            .collect();
        self.free = (0..window).rev().collect();
    }

    /// Sends what is queued, takes one batch, drops what has waited too long.
    fn turn(&mut self, wait_ms: i32) {
        self.sockets.iter_mut().for_each(Batch::flush);
        if (0..self.sockets.len()).map(|place| self.receive(place)).sum::<usize>() == 0 {
            if wait_ms > 0 {
                Batch::wait(&self.sockets, wait_ms);
            }
            self.give_up();
        }
    }

    fn receive(&mut self, place: usize) -> usize {
        let n = self.sockets[place].receive();
        let mut datagram = Vec::with_capacity(2048);
        for i in 0..n {
            self.sockets[place].datagram(i, &mut datagram);
            self.current = place;
            match status(&datagram) {
                0 => self.on_request(&datagram),
                code => self.on_response(code, &datagram),
            }
        }
        n
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.sockets[self.current].push(write);
    }

    fn give_up(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if !self.slots[index].up
                && self.slots[index]
                    .began
                    .is_some_and(|began| now > began && now - began > GIVE_UP)
            {
                self.odd("no answer");
                self.end(index, false);
            }
        }
    }

    fn begin(&mut self, at: Instant) {
        let Some(index) = self.free.pop() else { return };
        let user = self.next_user % self.registered;
        self.next_user += 1;
        let slot = &mut self.slots[index];
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            user,
            began: Some(at),
            cseq: 1,
            answered: false,
            up: false,
        };
        if self.op == Op::Register {
            self.users[user].challenge = Challenge::default();
        }
        self.send_first(index);
    }

    fn end(&mut self, index: usize, good: bool) {
        if self.slots[index].began.is_none() {
            return;
        }
        self.free.push(index);
        if good {
            self.outcome.done += 1;
            if self.op != Op::Hold {
                self.note_latency(index);
            }
        } else {
            self.outcome.failed += 1;
        }
        self.slots[index].began = None;
    }

    fn note_latency(&mut self, index: usize) {
        let Some(began) = self.slots[index].began else { return };
        let us = Instant::now().saturating_duration_since(began).as_micros();
        self.outcome.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
    }

    fn odd(&mut self, why: &str) {
        *self.outcome.oddities.entry(why.to_owned()).or_default() += 1;
    }

    /// The operation's request, with credentials if a challenge is known.
    fn send_first(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.cseq += 1;
        let callee = if self.op == Op::Stored {
            // One of those who never register.
            let away = self.users.len() - self.registered;
            self.registered + slot.user % away.max(1)
        } else {
            (slot.user + 1) % self.registered
        };
        let callee = self.users[callee].name.clone();
        let user = &mut self.users[slot.user];
        let method = match self.op {
            Op::Register | Op::Cached => "REGISTER",
            Op::Message | Op::Stored => "MESSAGE",
            Op::Call | Op::Hold => "INVITE",
        };
        let (domain, local, run) = (&self.domain, self.local, self.run);
        let uri = if method == "REGISTER" {
            format!("sip:{domain}")
        } else {
            format!("sip:{callee}@{domain}")
        };
        self.current = slot.user % self.sockets.len();
        let (generation, mut cseq) = (slot.generation, slot.cseq);
        if method == "REGISTER" {
            user.cseq += 1;
            cseq = user.cseq;
        }
        self.sockets[self.current].push(|out| {
            let _ = write!(out, "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKl{index:04x}{generation:08x}{cseq:08x};rport\r\n");
            let _ = write!(out, "Max-Forwards: 70\r\nFrom: <sip:{}@{domain}>;tag=a{generation:x}\r\n", user.name);
            let to = if method == "REGISTER" { &user.name } else { &callee };
            let _ = write!(out, "To: <sip:{to}@{domain}>\r\n");
            if method == "REGISTER" {
                let _ = write!(out, "Call-ID: r{}-{run}\r\n", user.name);
            } else {
                let _ = write!(out, "Call-ID: l{index:04x}{generation:08x}-{run}\r\n");
            }
            let _ = write!(out, "CSeq: {cseq} {method}\r\nUser-Agent: tandem-load\r\n");
            user.authorize(out, domain, method, &uri);
            match method {
                "REGISTER" => {
                    let _ = write!(out, "Contact: <sip:{}@{local}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n", user.name);
                }
                "MESSAGE" => {
                    let _ = write!(out, "Content-Type: text/plain\r\nContent-Length: 27\r\n\r\nThe customer is on line two");
                }
                _ => {
                    let _ = write!(out, "Contact: <sip:{}@{local}>\r\nContent-Type: application/sdp\r\n", user.name);
                    let _ = write!(out, "Content-Length: {}\r\n\r\n", SDP.len());
                    out.extend_from_slice(SDP);
                }
            }
        });
    }

    /// Slot of a response, by our branch, if it is the present use of that slot.
    fn slot_of(&self, message: &[u8]) -> Option<usize> {
        let at = find(message, b"z9hG4bKl")? + 8;
        let hex = |from: usize, to: usize| {
            message
                .get(at + from..at + to)
                .and_then(|t| std::str::from_utf8(t).ok())
                .and_then(|t| u32::from_str_radix(t, 16).ok())
        };
        let index = hex(0, 4)? as usize;
        let slot = self.slots.get(index)?;
        (slot.began.is_some() && slot.generation == hex(4, 12)?).then_some(index)
    }

    fn on_response(&mut self, code: u16, message: &[u8]) {
        let Some(index) = self.slot_of(message) else { return };
        let bye = header(message, "CSeq").is_some_and(|c| c.ends_with(b"BYE"));
        match (self.op, code) {
            (_, 100..=199) => {}
            (Op::Call | Op::Hold, 200..=299) if bye => self.end(index, true),
            (Op::Hold, 200..=299) => self.keep_up(index, message),
            (Op::Call, 200..=299) => self.hang_up(index, message),
            (Op::Stored, 202) => self.end(index, true),
            (Op::Stored, 200) => {
                self.odd("200 to a message that nobody can have");
                self.end(index, false);
            }
            (_, 200) => self.end(index, true),
            (_, 401 | 407) => self.on_challenge(index, message),
            _ => {
                if self.is_call() && !bye {
                    self.acknowledge_refusal(index, message);
                }
                self.odd(&code.to_string());
                self.end(index, false);
            }
        }
    }

    fn on_challenge(&mut self, index: usize, message: &[u8]) {
        if self.is_call() {
            self.acknowledge_refusal(index, message);
        }
        if self.op != Op::Register {
            self.odd("challenged again");
        }
        match Challenge::read(message) {
            Some(challenge) if self.slots[index].cseq < 6 => {
                self.users[self.slots[index].user].challenge = challenge;
                self.send_first(index);
            }
            _ => {
                self.odd("challenged in vain");
                self.end(index, false);
            }
        }
    }

    /// ACK to a final response that is not 2xx: the INVITE's own branch and CSeq (RFC 3261 section 17.1.1.3).
    fn acknowledge_refusal(&mut self, index: usize, message: &[u8]) {
        let slot = &self.slots[index];
        let callee = &self.users[(slot.user + 1) % self.registered].name;
        let (domain, cseq) = (&self.domain, slot.cseq);
        let via = header(message, "Via").unwrap_or_default();
        let via = &via[..find(via, b";rport").unwrap_or(via.len())];
        self.sockets[self.current].push(|out| {
            let _ = write!(out, "ACK sip:{callee}@{domain} SIP/2.0\r\nVia: ");
            out.extend_from_slice(via);
            let _ = write!(out, "\r\nMax-Forwards: 70\r\n");
            copy(out, message, &["From", "To", "Call-ID"]);
            let _ = write!(out, "CSeq: {cseq} ACK\r\nContent-Length: 0\r\n\r\n");
        });
    }

    fn is_call(&self) -> bool {
        matches!(self.op, Op::Call | Op::Hold)
    }

    /// ACK, and the call stays until all are up.
    fn keep_up(&mut self, index: usize, message: &[u8]) {
        self.in_dialog(index, message, "ACK", self.slots[index].cseq);
        let slot = &mut self.slots[index];
        if !slot.answered && !std::mem::replace(&mut slot.up, true) {
            self.held.push((index, message.to_vec()));
            self.note_latency(index);
        }
    }

    /// ACK and, the first time, BYE.
    fn hang_up(&mut self, index: usize, message: &[u8]) {
        self.in_dialog(index, message, "ACK", self.slots[index].cseq);
        if !std::mem::replace(&mut self.slots[index].answered, true) {
            let cseq = self.slots[index].cseq + 1;
            self.in_dialog(index, message, "BYE", cseq);
        }
    }

    fn in_dialog(&mut self, index: usize, message: &[u8], method: &str, cseq: u32) {
        let generation = self.slots[index].generation;
        let contact = header(message, "Contact").unwrap_or_default();
        let start = contact.iter().position(|&b| b == b'<').map_or(0, |i| i + 1);
        let end = contact.iter().position(|&b| b == b'>').unwrap_or(contact.len());
        let routes: Vec<&[u8]> = lines(message, "Record-Route").collect();
        let local = self.local;
        let mark = method.as_bytes()[0];
        self.current = self.slots[index].user % self.sockets.len();
        self.sockets[self.current].push(|out| {
            let _ = write!(out, "{method} ");
            out.extend_from_slice(&contact[start..end]);
            let _ = write!(out, " SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKl{index:04x}{generation:08x}{cseq:07x}{mark:x};rport\r\n");
            for route in routes.iter().rev() {
                out.extend_from_slice(b"Route: ");
                out.extend_from_slice(route);
                out.extend_from_slice(b"\r\n");
            }
            let _ = write!(out, "Max-Forwards: 70\r\n");
            copy(out, message, &["From", "To", "Call-ID"]);
            let _ = write!(out, "CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n");
        });
    }

    /// The answering side: every device takes every message and answers every call at once.
    fn on_request(&mut self, message: &[u8]) {
        let method = message.split(|&b| b == b' ').next().unwrap_or_default();
        let contact = format!("Contact: <sip:b@{}>\r\n", self.local);
        match method {
            b"ACK" => {}
            b"INVITE" => {
                self.push(|out| respond(out, message, "180 Ringing", "b", contact.as_bytes(), b""));
                let extra = format!("{contact}Content-Type: application/sdp\r\n");
                self.push(|out| respond(out, message, "200 OK", "b", extra.as_bytes(), SDP));
            }
            _ => self.sockets[self.current].push(|out| respond(out, message, "200 OK", "b", b"", b"")),
        }
    }
}

impl Outcome {
    fn empty() -> Outcome {
        Outcome {
            seconds: 0.0,
            done: 0,
            failed: 0,
            oddities: BTreeMap::new(),
            latencies_us: Vec::with_capacity(1 << 20),
        }
    }
}

/// Copies header lines of `message` by name.
fn copy(out: &mut Vec<u8>, message: &[u8], names: &[&str]) {
    for name in names {
        if let Some(value) = header(message, name) {
            let _ = write!(out, "{name}: ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}
