//! What must be true, and what has been seen of it. Whoever sees something that must not be says so here, and the run ends
//! with the messages around it and the command that repeats it.

mod truth;

pub use truth::Mark;

use crate::talk::Talk;
use crate::text::{Text, uri_of};
use bytes::Bytes;
use clock::Mono;
use model::Direction;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use truth::Truth;

/// Messages remembered for the report: some virtual seconds.
const REMEMBERED: usize = 40_000;
/// Messages shown in a report, one line each.
const SHOWN: usize = 80;
/// The last ones as they are.
const SHOWN_WHOLE: usize = 3;

/// A datagram of the old switch may arrive so long after its death.
const LONGEST_WAY: std::time::Duration = std::time::Duration::from_secs(1);

/// Everything that is checked and counted.
#[derive(Default)]
pub struct Ledger {
    /// The command that repeats this run.
    pub replay: String,
    /// The last datagrams given to the network.
    trace: VecDeque<Line>,
    legs: BTreeMap<String, Leg>,
    letters: BTreeMap<String, Letter>,
    /// Letter by the branch under which the switch that runs has sent it to a device, and when first.
    copies: HashMap<String, (String, Mono)>,
    /// Letter by the Call-ID its sender gave it.
    names: HashMap<String, String>,
    /// When the switch died last, or came back from it.
    disturbed: Option<Mono>,
    taken: u64,
    /// Which device has which letter, under which name of the switch first.
    devices: HashMap<(String, usize), String>,
    /// Which device has refused which letter.
    refused: HashSet<(String, usize)>,
    /// Those of them that it does not want, now or at all: it may be owed no copy any more.
    declined: HashSet<(String, usize)>,
    /// Those of them that it will not take later.
    refused_for_good: HashSet<(String, usize)>,
    /// The last letter of each sender that each device got for the first time.
    last_of_sender: HashMap<(usize, usize), String>,
    /// Letters that were said in sessions.
    said: HashSet<String>,
    /// What is known of sessions.
    pub talk: Talk,
    /// Each device is to get each letter.
    pub to_each: bool,
    /// What the callers of calls were told, and other events, by name.
    pub figures: BTreeMap<String, u64>,
}

struct Line {
    at: Mono,
    to_switch: bool,
    peer: SocketAddr,
    bytes: Bytes,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.to_switch { "->" } else { "<-" };
        let seconds = self.at.0 as f64 / 1e9;
        match Text::parse(&self.bytes) {
            Some(text) => write!(
                f,
                "{seconds:9.3} {} {way} {:<50} {:<14} {}{}",
                self.peer,
                text.start,
                text.get("CSeq"),
                text.branch(),
                if text.body.is_empty() { "" } else { " +body" }
            ),
            None => write!(f, "{seconds:9.3} {} {way} {:?}", self.peer, self.bytes),
        }
    }
}

/// One dialog the switch began or accepted: one record has to follow.
struct Leg {
    direction: Direction,
    /// It was alive when the switch died: nobody can write its record.
    excused: bool,
    began: Mono,
}

/// One message of a user to another.
struct Letter {
    /// Which phone wrote it, and whose that is.
    sender: usize,
    user: usize,
    reader: usize,
    /// What its sender was told; 0 while nothing.
    status: u16,
    /// Place in the order in which letters reached any device of their reader for the first time.
    taken: Option<u64>,
    /// The switch knows that a device took it.
    confirmed: bool,
    /// Its sender had no answer when the switch died: it writes again, and a device may have it under the same name already.
    repeated: bool,
    truth: Truth,
}

impl Ledger {
    /// Ends the run.
    pub fn violated(&self, now: Mono, about: &str, what: &str) -> ! {
        let mut report = format!(
            "\nat {:.3} s: {what}\nabout {about}\nlast messages about it:\n",
            now.0 as f64 / 1e9
        );
        let related = self.related(about);
        let is_about = |line: &&Line| about.is_empty() || related.iter().any(|id| contains(&line.bytes, id.as_bytes()));
        let lines: Vec<&Line> = self.trace.iter().filter(is_about).collect();
        let skipped = lines.len().saturating_sub(SHOWN);
        for line in &lines[skipped..] {
            let _ = writeln!(report, "{line}");
        }
        for line in &lines[lines.len().saturating_sub(SHOWN_WHOLE)..] {
            let _ = writeln!(report, "\n{}", String::from_utf8_lossy(&line.bytes).trim_end());
        }
        panic!("{report}\nto repeat: {}\n{what}", self.replay);
    }

    /// What the report is about, and the Call-IDs of the other legs of the same call: begun by the same user at the same
    /// time.
    fn related(&self, about: &str) -> Vec<String> {
        let mut related = vec![about.to_owned()];
        let first = self.trace.iter().find(|line| contains(&line.bytes, about.as_bytes()));
        let Some((at, first)) = first.and_then(|line| Some((line.at, Text::parse(&line.bytes)?))) else {
            return related;
        };
        let caller = uri_of(first.get("From")).to_owned();
        let near = |line: &&Line| line.at.since(at).max(at.since(line.at)) < std::time::Duration::from_secs(4);
        for line in self.trace.iter().filter(near) {
            let Some(text) = Text::parse(&line.bytes) else { continue };
            if text.start.starts_with("INVITE") && uri_of(text.get("From")) == caller {
                related.push(text.call_id().to_owned());
            }
        }
        related
    }

    pub fn count(&mut self, what: &str) {
        match self.figures.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.figures.insert(what.to_owned(), 1);
            }
        }
    }

    pub fn counted(&self, what: &str) -> u64 {
        self.figures.get(what).copied().unwrap_or(0)
    }

    /// A datagram was given to the network.
    pub fn saw(&mut self, at: Mono, to_switch: bool, peer: SocketAddr, bytes: &Bytes) {
        if self.trace.len() == REMEMBERED {
            self.trace.pop_front();
        }
        let bytes = bytes.clone();
        self.trace.push_back(Line {
            at,
            to_switch,
            peer,
            bytes,
        });
    }

    /// What began before this moment, or what is about to begin, may have suffered from the death of the switch.
    pub fn is_excused(&self, began: Mono) -> bool {
        self.disturbed.is_some_and(|disturbed| disturbed + LONGEST_WAY >= began)
    }

    /// The switch has died, or is back. Legs without a record will not get one.
    pub fn on_disturbance(&mut self, now: Mono, recorded: &HashSet<&str>) {
        self.disturbed = Some(now);
        for (call_id, leg) in &mut self.legs {
            leg.excused |= !recorded.contains(call_id.as_str());
        }
    }

    /// The switch sends a message: it has to be one, and it says what has to follow.
    pub fn on_sent(&mut self, now: Mono, peer: SocketAddr, bytes: &Bytes, has_kept: impl Fn(&str) -> bool) {
        self.saw(now, false, peer, bytes);
        let Some(text) = Text::parse(bytes) else {
            self.violated(now, "", &format!("the switch sent no message: {bytes:?}"));
        };
        if let Err(why) = is_sound(bytes, &text) {
            self.violated(now, text.call_id(), &format!("the switch sent a bad message: {why}"));
        }
        let (method, status) = (text.method(), text.status());
        match method {
            "INVITE" if status == 0 && text.to_tag().is_empty() => self.expect(now, &text, Direction::Out),
            "INVITE" if (100..=299).contains(&status) => self.expect_caller(now, &text),
            "MESSAGE" if status == 0 && !text.get("X-IM-Session").is_empty() => {
                if let Err(why) = self.talk.on_sent(&text) {
                    self.violated(now, text.call_id(), &why);
                }
            }
            "MESSAGE" if status == 0 => self.on_copy(now, &text),
            "MESSAGE" if status == 200 => {
                self.on_final(now, text.call_id(), status);
                self.on_done(text.call_id());
            }
            "MESSAGE" if status >= 300 && !matches!(status, 401 | 407) => self.on_final(now, text.call_id(), status),
            "MESSAGE" if status == 202 && !has_kept(text.call_id()) && !self.is_said(text.call_id()) => {
                self.violated(now, text.call_id(), "202 to a message that is not on disk");
            }
            "MESSAGE" if status == 202 => self.on_final(now, text.call_id(), status),
            _ => {}
        }
    }

    fn expect(&mut self, began: Mono, text: &Text, direction: Direction) {
        let excused = false;
        self.legs.entry(text.call_id().to_owned()).or_insert(Leg {
            direction,
            excused,
            began,
        });
    }

    /// A provisional or good answer to a device: to its first INVITE in a dialog, or to one for which the leg is known.
    fn expect_caller(&mut self, now: Mono, text: &Text) {
        if !self.legs.contains_key(text.call_id()) {
            self.expect(now, text, Direction::In);
        }
    }

    /// The switch sends a letter to a device.
    fn on_copy(&mut self, now: Mono, text: &Text) {
        if Mark::of(&text.body).is_some() {
            return;
        }
        let id = text.words().to_owned();
        self.check_not_refused(now, &id);
        if self.copies.contains_key(text.branch()) {
            return;
        }
        match self.letters.get(&id) {
            None => self.violated(now, text.call_id(), "the switch sends a message that nobody wrote"),
            Some(letter) if letter.confirmed && !letter.repeated && !self.to_each => {
                self.violated(now, &id, "the switch sends a message again that a device has taken");
            }
            Some(_) => {}
        }
        self.copies.insert(text.branch().to_owned(), (id, now));
    }

    /// Something was said in a session: it is on disk.
    pub fn on_said(&mut self, text: &str) {
        self.said.insert(text.to_owned());
    }

    fn is_said(&self, call_id: &str) -> bool {
        self.names.get(call_id).is_some_and(|letter| self.said.contains(letter))
    }

    /// The switch says 200 to who wrote under this Call-ID: it has done with the letter. A device's 2xx alone does not count:
    /// it may belong to a copy that was taken back because another device came.
    fn on_done(&mut self, call_id: &str) {
        if let Some(id) = self.names.get(call_id).cloned() {
            self.on_gone(&id);
        }
    }

    /// The switch deletes a letter.
    pub fn on_gone(&mut self, id: &str) {
        if let Some(letter) = self.letters.get_mut(id) {
            letter.confirmed = true;
        }
    }

    /// After a crash nobody knows what was confirmed and not yet deleted from disk.
    pub fn forget_confirmations(&mut self, now: Mono) {
        self.copies.clear();
        for letter in self.letters.values_mut() {
            letter.confirmed = false;
            letter.repeated |= letter.status == 0;
            letter.truth.on_crash(now);
        }
    }

    /// A user writes a letter, by a phone of his. `asks`: he wants to hear what becomes of it; it may be given up then.
    pub fn on_letter(
        &mut self,
        id: &str,
        call_id: &str,
        (sender, user, reader): (usize, usize, usize),
        (asks, expires): (bool, Option<Mono>),
    ) {
        self.names.insert(call_id.to_owned(), id.to_owned());
        let letter = Letter {
            sender,
            user,
            reader,
            status: 0,
            taken: None,
            confirmed: false,
            repeated: false,
            truth: Truth::of(asks, expires),
        };
        self.letters.insert(id.to_owned(), letter);
    }

    /// A device has taken a letter that the switch calls `name`.
    pub fn on_taken(&mut self, now: Mono, id: &str, user: usize, device: usize, name: &str) {
        self.taken += 1;
        match self.devices.get(&(id.to_owned(), device)) {
            None => {
                self.devices.insert((id.to_owned(), device), name.to_owned());
                self.check_order(now, id, device);
            }
            Some(first) => {
                if first != name {
                    self.violated(now, id, "a device gets a message twice and cannot know it");
                }
                self.count("letters a device has twice");
            }
        }
        let taken = self.taken;
        match self.letters.get_mut(id) {
            Some(letter) if letter.reader == user => {
                letter.taken.get_or_insert(taken);
            }
            _ => self.violated(now, id, "a message reached somebody it was not for"),
        }
    }

    /// What one sender writes reaches a device in his order. Ids rise, and he writes the next when he has an answer.
    fn check_order(&mut self, now: Mono, id: &str, device: usize) {
        // What it has refused it is asked again by a switch that has come back and knows nothing of that, and later if it was
        // busy only.
        let is_refused = self.refused.contains(&(id.to_owned(), device));
        let Some(letter) = self.letters.get(id).filter(|_| self.to_each && !is_refused) else {
            return;
        };
        let before = self.last_of_sender.insert((letter.sender, device), id.to_owned());
        if let Some(before) = before.filter(|before| before.as_str() > id) {
            self.violated(
                now,
                id,
                &format!("{before} was written after and is on the device before"),
            );
        }
    }

    /// The sender of a letter has its answer.
    pub fn on_letter_answered(&mut self, now: Mono, id: &str, status: u16) {
        self.count(&format!("message {status}"));
        let Some(letter) = self.letters.get_mut(id) else { return };
        letter.status = status;
        if status == 200 && letter.taken.is_none() {
            self.violated(now, id, "200 to a message that no device has taken");
        }
    }

    /// At the end: every letter that was accepted has reached a device, in the order of its sender.
    pub fn check_letters(&self, now: Mono, devices_of: impl Fn(usize) -> Vec<usize>) {
        let mut last: HashMap<(usize, usize), (u64, &str)> = HashMap::new();
        // In the order of writing: the ids rise.
        for (id, letter) in &self.letters {
            if !matches!(letter.status, 200 | 202) || self.said.contains(id) {
                continue;
            }
            let Some(taken) = letter.taken else {
                if letter.truth.is_over(now) || self.is_refused_by_all(id, &devices_of) {
                    continue;
                }
                self.violated(now, id, &format!("{} to a message that is lost", letter.status));
            };
            // It may be behind what was written after it.
            if letter.truth.refused {
                continue;
            }
            let (before, other) = last
                .insert((letter.sender, letter.reader), (taken, id))
                .unwrap_or((0, ""));
            if before > taken {
                self.violated(now, id, &format!("{other} was written before and delivered after"));
            }
        }
    }

    /// At the end: every device of its reader has every letter that was accepted.
    pub fn check_copies(&self, now: Mono, devices_of: impl Fn(usize) -> Vec<usize>) {
        for (id, letter) in self.letters.iter().filter(|(_, one)| matches!(one.status, 200 | 202)) {
            for device in devices_of(letter.reader) {
                if letter.truth.is_over(now) || self.declined.contains(&(id.clone(), device)) {
                    continue;
                }
                if !self.devices.contains_key(&(id.clone(), device)) {
                    self.violated(
                        now,
                        id,
                        &format!("{} to a message that device {device} never got", letter.status),
                    );
                }
            }
        }
    }

    /// Letters that were accepted and have not reached anybody.
    pub fn letters_under_way(&self, now: Mono, devices_of: impl Fn(usize) -> Vec<usize>) -> usize {
        let is_lost = |letter: &Letter| letter.taken.is_none() && !letter.truth.is_over(now);
        let is_open = |letter: &Letter| matches!(letter.status, 200 | 202) && is_lost(letter);
        let pagers = self.letters.iter().filter(|(id, _)| !self.said.contains(*id));
        let open = pagers.filter(|(_, letter)| is_open(letter));
        open.filter(|(id, _)| !self.is_refused_by_all(id, &devices_of)).count()
    }

    /// At the end: one record for each leg, none for anything else.
    pub fn check_records<'a>(&self, now: Mono, records: impl Iterator<Item = &'a model::Cdr>) {
        let mut seen: HashMap<&str, &model::Cdr> = HashMap::new();
        for cdr in records {
            // A caller whose INVITE the switch forgot when it died calls again under the same Call-ID.
            let again = cdr.direction == Direction::In && self.disturbed.is_some();
            if seen.insert(&cdr.call_id, cdr).is_some() && !again {
                self.violated(now, &cdr.call_id, "two records of one dialog");
            }
            match self.legs.get(&*cdr.call_id) {
                Some(leg) if leg.direction == cdr.direction => {}
                Some(_) => self.violated(now, &cdr.call_id, "a record of the wrong direction"),
                None => self.violated(now, &cdr.call_id, "a record of a leg that never was"),
            }
        }
        for (call_id, leg) in &self.legs {
            if !leg.excused && !seen.contains_key(call_id.as_str()) {
                let what = format!(
                    "no record of a leg ({:?}, began at {} ms)",
                    leg.direction,
                    leg.began.millis()
                );
                self.violated(now, call_id, &what);
            }
        }
    }
}

/// The parser under test reads what the switch sends, reads in it what a plain reader reads, and printing what was read
/// gives the same bytes.
fn is_sound(bytes: &Bytes, text: &Text) -> Result<(), String> {
    let message = sip::Message::parse(bytes.clone()).map_err(|why| format!("{why:?}"))?;
    let same = message.call_id() == text.call_id().as_bytes()
        && message.cseq() == text.cseq()
        && message.branch() == text.branch().as_bytes()
        && message.to_tag() == text.to_tag().as_bytes()
        && message.status() == text.status();
    if !same {
        return Err("two readers read different things".to_owned());
    }
    let mut printed = format!("{}\r\n", text.start).into_bytes();
    for (_, name, value) in message.fields() {
        for part in [name, b": ", value, b"\r\n"] {
            printed.extend_from_slice(part);
        }
    }
    printed.extend_from_slice(b"\r\n");
    printed.extend_from_slice(message.body_bytes());
    if printed != *bytes {
        return Err("printed again it is another message".to_owned());
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len().max(1)).any(|window| window == part)
}
