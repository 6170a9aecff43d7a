//! Instant messages (RFC 3428): relayed to every device of their reader, stored for one who is away, and the sender is told
//! the truth: 200 when a device took it, 202 when it is on disk, or why neither.
//!
//! A [`Delivery`] is one message under way; a [`Reader`] is a user for whom something is under way or stored. What is stored
//! waits in a [`Tray`]: one for the whole reader, or with `im.copies = "device"` one for each device. From one tray messages
//! go out one at a time in the order of acceptance, and what one sender sends never overtakes what the same sender sent
//! before: it waits behind it, or is stored behind it.

mod accept;
mod composing;
mod deliver;
mod devices;
mod discard;
mod gone;
mod imdn;
mod known;
mod late;
mod letter;
mod post;
mod queue;
mod recent;
mod refused;
mod seen;
pub(crate) mod session;
#[cfg(test)]
mod tests;
pub mod verb;
mod verdict;

pub(crate) use letter::Guise;
pub(crate) use post::{Fate, Outcome, Post};

use crate::core::{Core, Cx};
use crate::room::Room;
use crate::{Token, core};
use ahash::RandomState;
use clock::Mono;
use clock::{Now, Wall};
use discard::Dropping;
use hashbrown::HashMap;
use letter::Letter;
use model::{Aor, MessageId, StoreOp, StoreReply};
use queue::Run;
use sip::endpoint::{Alarm, ClientId, Destination, Event, Owner, ServerId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use verdict::Refusal;

/// How often messages that are too old are given up.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// Trays of one reader; then those with nothing to do are forgotten, and asked for anew when their device comes. Twice the
/// devices that are remembered of a user.
const MAX_TRAYS: usize = 16;

/// Timers of [`Room::Im`]; the owner's number says of which delivery or reader.
mod timer {
    /// No device has answered in time.
    pub(super) const ANSWER: u32 = 0;
    /// Try the stored messages of a reader again.
    pub(super) const RETRY: u32 = 1;
    /// Give up what is too old.
    pub(super) const EXPIRE: u32 = 2;
    /// Somebody has not said for a while that he still types.
    pub(super) const COMPOSING: u32 = 3;
}

/// All messages under way, and who has some stored.
#[derive(Debug)]
pub(crate) struct Im {
    /// By number: the owner number of their transactions and timers, never used again.
    deliveries: HashMap<u64, Delivery, RandomState>,
    readers: HashMap<Aor, Reader, RandomState>,
    /// Readers whose next try waits, by the number of its timer.
    retries: HashMap<u64, Slot, RandomState>,
    /// What the store was asked.
    questions: HashMap<Token, Question, RandomState>,
    /// What was given up for the time being, and may be answered late.
    late: late::Late,
    devices: devices::Devices,
    receipts: imdn::Receipts,
    typing: composing::Typing,
    recent: recent::Recent,
    /// When there was no room last.
    made_room_at: Option<Mono>,
    last_number: u64,
    last_id: MessageId,
    /// Messages stored or being stored.
    stored: usize,
    /// While the store counts what waits: for whom that has changed since it was asked.
    recounting: Option<BTreeSet<Aor>>,
    /// Deliveries that wait no longer behind another.
    due: VecDeque<u64>,
}

/// What the store was asked.
#[derive(Debug)]
enum Question {
    /// To keep the message of this delivery.
    Append {
        number: u64,
        to: Aor,
        id: MessageId,
    },
    /// For the stored messages of a tray.
    Load(Slot),
    /// To forget the message that a run has brought from this tray: it was taken, or refused for good.
    Delete(Slot, MessageId, bool),
    /// To forget that this device was owed a message, which it has or will not have; it is off the queue if no other is.
    Take(Aor, MessageId, Box<str>, bool),
    /// To forget a device and what it was owed.
    Forget,
    /// To drop messages of a reader, this one or all; so many are gone.
    Drop(Dropping),
    /// To forget what its reader has seen at a page.
    Seen(seen::Seen),
    /// To forget a message of this reader: all have it.
    Gone(Aor, MessageId),
    /// How much waits.
    Recount,
    Expire,
}

/// Whose stored messages, and for which of the devices: its key, or nothing where all devices share them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    to: Aor,
    device: Box<str>,
}

impl Question {
    fn append(&self) -> Option<u64> {
        match self {
            Question::Append { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// Whose run waits for the answer.
    fn run(&self) -> Option<&Slot> {
        match self {
            Question::Load(slot) | Question::Delete(slot, ..) => Some(slot),
            _ => None,
        }
    }
}

/// One message under way.
#[derive(Debug)]
struct Delivery {
    letter: Letter,
    /// What its owner knows it by.
    posted_as: MessageId,
    stage: Stage,
    /// The sender's request, while it waits for its answer.
    sender: Option<ServerId>,
    /// Who hears what comes of it, until the sender is answered.
    owner: Option<Owner>,
    /// The tray it comes from; `None`: from its sender.
    slot: Option<Box<Slot>>,
    /// Devices that have not answered.
    forks: SmallVec<[Fork; 2]>,
    /// Devices that did not answer in time, and may yet.
    silent: SmallVec<[Fork; 1]>,
    /// The ways it has gone.
    tried: SmallVec<[Destination; 2]>,
    /// Devices that are to get a copy of their own and have not.
    owed: Vec<Box<str>>,
    /// Those of them that took theirs, or refused it for good, while the disk was asked to keep it.
    parted: SmallVec<[(Box<str>, bool); 1]>,
    /// Devices that refused it for good.
    refusers: SmallVec<[Box<str>; 1]>,
    /// Devices that could not take it for the time being, or said nothing.
    undecided: SmallVec<[Box<str>; 1]>,
    /// Times the store has failed to keep it.
    faults: u8,
    /// A device has it.
    is_taken: bool,
    /// It is stored for those who have it not: what its sender sent after it need not wait.
    is_released: bool,
    /// A device said when to come again.
    retry_after: Option<Duration>,
    /// A device answered, whatever it said.
    was_heard: bool,
    /// The best refusal so far.
    refusal: Option<Refusal>,
    alarm: Option<Alarm>,
}

/// A copy that is with a device.
#[derive(Debug)]
struct Fork {
    client: ClientId,
    /// Its Contact URI.
    contact: Box<str>,
    /// Its key, where that is of interest.
    device: Box<str>,
    form: letter::Form,
    destination: Destination,
}

/// How far a delivery has come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for an earlier message of the same sender; no device has it.
    Behind,
    /// Devices have it; it is not stored.
    Trying,
    /// The store was asked to keep it; devices may have it.
    Keeping,
    /// It is stored; devices have it.
    Kept,
}

/// A user for whom something is under way or stored.
#[derive(Debug, Default)]
struct Reader {
    /// Deliveries that came from senders, oldest first.
    live: VecDeque<u64>,
    /// Messages stored or being stored.
    stored: usize,
    /// Those of which devices have all copies, and that the store could not forget: they are not sent again.
    gone: VecDeque<MessageId>,
    /// One for all devices, or one for each that something waited for.
    trays: SmallVec<[Tray; 1]>,
}

/// What waits for a device, or for all devices of a reader together.
#[derive(Debug)]
struct Tray {
    /// The device's key; empty: all of them.
    device: Box<str>,
    /// Something may be stored for it. A tray for all devices need not know: it holds all that is stored.
    is_owed: bool,
    /// Stored ones that it refused, and whether for good: passed over until another device comes.
    refused: BTreeMap<MessageId, bool>,
    /// Stored ones that devices refused for good: these are not asked again, or they would get them behind later ones.
    refusers: BTreeMap<MessageId, SmallVec<[Box<str>; 1]>>,
    run: Run,
}

impl Im {
    /// Nothing is under way. The store has been asked what waits: [`Im::restore`].
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: Now) -> Im {
        core.endpoint
            .set_timer(now.mono + EXPIRY_INTERVAL, Room::Im.owner(0), timer::EXPIRE);
        let hasher = &core.hasher;
        Im {
            deliveries: HashMap::with_hasher(hasher.clone()),
            readers: HashMap::with_hasher(hasher.clone()),
            retries: HashMap::with_hasher(hasher.clone()),
            questions: HashMap::with_hasher(hasher.clone()),
            late: late::Late::new(hasher),
            devices: devices::Devices::new(hasher),
            receipts: imdn::Receipts::new(hasher),
            typing: composing::Typing::new(hasher),
            recent: recent::Recent::new(hasher),
            made_room_at: None,
            last_number: 0,
            last_id: MessageId(0),
            stored: 0,
            recounting: None,
            due: VecDeque::new(),
        }
    }

    /// What waited in the store before the restart. If the store was late with it, it counts some of what was stored
    /// since: the greater number is right or too high, and a run to the end of the queue sets it right.
    pub(crate) fn restore(&mut self, per_user: Vec<(Aor, u64)>, last_id: MessageId) {
        self.last_id = self.last_id.max(last_id);
        for (aor, count) in per_user {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let reader = self.readers.entry(aor).or_default();
            let more = count.saturating_sub(reader.stored);
            reader.stored += more;
            self.stored += more;
        }
    }

    /// An event of a transaction or timer.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, number: u64, event: Event) {
        if self.is_device_answer(cx, number, &event) {
            return;
        }
        match event {
            Event::Response { client, message, .. } if message.status() >= 200 => {
                let verdict = verdict::of(&message);
                match (self.deliveries.contains_key(&number), verdict) {
                    (true, verdict) => self.on_answer(cx, number, client, verdict),
                    (false, verdict::Verdict::Took) => self.on_taken_late(cx, number, client),
                    (false, _) => {}
                }
            }
            Event::Timeout { client, .. } | Event::SendFailed { client, .. } => {
                self.on_answer(cx, number, client, verdict::Verdict::Absent);
            }
            Event::Timer {
                kind: timer::ANSWER, ..
            } => self.on_no_answer(cx, number),
            Event::Timer { kind: timer::RETRY, .. } => self.on_retry(cx, number),
            Event::Timer {
                kind: timer::EXPIRE, ..
            } => self.expire(cx),
            Event::Timer {
                kind: timer::COMPOSING, ..
            } => self.on_composing_over(cx, number),
            _ => {}
        }
        self.settle(cx);
    }

    /// The answer of a device that was asked what it takes.
    fn is_device_answer(&mut self, cx: &mut Cx<'_>, number: u64, event: &Event) -> bool {
        match event {
            Event::Response { message, .. } if message.status() >= 200 => {
                self.on_device_answer(cx, number, Some(message))
            }
            Event::Timeout { .. } | Event::SendFailed { .. } => self.on_device_answer(cx, number, None),
            _ => false,
        }
    }

    /// The store's answer.
    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, token: Token, reply: StoreReply) {
        match (self.questions.remove(&token), reply) {
            (Some(Question::Append { number, .. }), StoreReply::Failed(why)) => self.on_not_kept(cx, number, why),
            (Some(Question::Append { number, to, id }), StoreReply::Known(known)) => {
                self.on_known(cx, (number, &to, id), known);
            }
            (Some(Question::Append { number, .. }), _) => self.on_kept(cx, number),
            (Some(Question::Load(slot)), StoreReply::Messages(messages)) => self.on_loaded(cx, &slot, messages),
            (Some(Question::Load(slot)), _) => self.on_load_failed(cx, &slot),
            (Some(Question::Delete(slot, id, has_it)), reply) => self.on_deleted(cx, &slot, (id, has_it), &reply),
            (Some(Question::Take(to, id, ..)), StoreReply::Left(0)) => self.uncount(&to, id),
            (Some(Question::Take(to, id, device, has_it)), StoreReply::Failed(why)) => {
                // It is left to the store; how much waits is counted again each minute.
                cx.core.tally.store_failures += 1;
                tracing::error!(%to, message = %id, %why, "delivered copy not forgotten yet");
                cx.core.store(StoreOp::TakeMessage { id, device, has_it });
            }
            (Some(Question::Forget), StoreReply::Expired(complete)) => {
                for (id, to) in complete {
                    self.uncount(&to, id);
                }
            }
            (Some(Question::Expire), StoreReply::Expired(given_up)) => self.on_expired(cx, &given_up),
            (Some(Question::Drop(dropping)), reply) => self.on_dropped(cx, dropping, reply),
            (Some(Question::Seen(seen)), StoreReply::Expired(gone)) => self.on_seen_forgotten(cx, seen, &gone),
            (Some(Question::Gone(to, id)), reply) => self.on_gone(cx, &to, id, &reply),
            (Some(Question::Recount), StoreReply::Waiting { per_user, .. }) => self.on_recounted(cx, per_user),
            (Some(Question::Recount), _) => self.recounting = None,
            (Some(Question::Take(..) | Question::Forget | Question::Seen(_) | Question::Expire) | None, _) => {}
        }
        self.settle(cx);
    }

    /// Messages stored or being stored.
    #[must_use]
    pub(crate) fn stored(&self) -> usize {
        self.stored
    }

    /// Devices that are remembered.
    #[must_use]
    pub(crate) fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Messages whose senders want to hear what becomes of them.
    #[must_use]
    pub(crate) fn receipts(&self) -> usize {
        self.receipts.len()
    }

    /// Messages under way.
    #[must_use]
    pub(crate) fn under_way(&self) -> usize {
        self.deliveries.len()
    }

    /// A panic was caught while an event of this delivery, or an answer of the store, was handled: its sender is told, its
    /// reader's queue goes on with the next try.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, number: u64) {
        let mut broken = self.stuck();
        broken.extend(self.deliveries.contains_key(&number).then_some(number));
        broken.sort_unstable();
        broken.dedup();
        for number in broken {
            let Some(delivery) = self.deliveries.get(&number) else {
                continue;
            };
            let (to, stage, slot) = (delivery.letter.to.clone(), delivery.stage, delivery.slot.clone());
            self.answer(
                cx,
                number,
                &sip::Reply::new(if stage == Stage::Kept { 202 } else { 500 }),
            );
            if let Some(slot) = &slot {
                self.set_idle(slot);
            }
            self.end(cx, number);
            match slot {
                Some(slot) => self.rest(cx, &slot, None),
                None => self.rest_all(cx, &to),
            }
        }
        for slot in self.stuck_slots() {
            self.set_idle(&slot);
            self.rest(cx, &slot, None);
        }
        self.settle(cx);
    }

    /// Deliveries that nothing will happen to any more.
    fn stuck(&self) -> Vec<u64> {
        let asked: BTreeSet<u64> = self.questions.values().filter_map(Question::append).collect();
        let is_stuck = |(number, delivery): &(&u64, &Delivery)| match delivery.stage {
            Stage::Behind => false,
            Stage::Keeping => delivery.forks.is_empty() && !asked.contains(number),
            Stage::Trying | Stage::Kept => delivery.forks.is_empty(),
        };
        self.deliveries
            .iter()
            .filter(is_stuck)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Trays whose run waits for something that will not come.
    fn stuck_slots(&self) -> Vec<Slot> {
        let asked: BTreeSet<&Slot> = self.questions.values().filter_map(Question::run).collect();
        let mut stuck = Vec::new();
        for (to, reader) in &self.readers {
            for tray in &reader.trays {
                let slot = Slot {
                    to: to.clone(),
                    device: tray.device.clone(),
                };
                let lost = tray
                    .run
                    .sending()
                    .is_some_and(|number| !self.deliveries.contains_key(&number));
                if lost || tray.run.awaits_store() && !asked.contains(&slot) {
                    stuck.push(slot);
                }
            }
        }
        stuck.sort_unstable();
        stuck
    }

    /// Checks that deliveries and readers agree.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let live: usize = self.readers.values().map(|reader| reader.live.len()).sum();
        let trays = self.readers.values().flat_map(|reader| &reader.trays);
        let running = trays.filter(|tray| tray.run.sending().is_some()).count();
        let stored: usize = self.readers.values().map(|reader| reader.stored).sum();
        if let Some(number) = self.stuck().first() {
            return Err(format!("im: delivery {number} is with nobody"));
        }
        if let Some(slot) = self.stuck_slots().first() {
            return Err(format!("im: the queue of {} waits for nothing", slot.to));
        }
        if live + running != self.deliveries.len() || stored != self.stored {
            let under_way = self.deliveries.len();
            return Err(format!(
                "im: {live} + {running} of {under_way} under way, {stored} of {} stored",
                self.stored
            ));
        }
        Ok(())
    }

    /// Goes on with what waited for something that is over now. A list, not a call from within: a chain may be as long as
    /// the queue of a reader.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        while let Some(number) = self.due.pop_front() {
            self.proceed(cx, number);
        }
    }

    /// To the devices, or behind what is stored.
    fn proceed(&mut self, cx: &mut Cx<'_>, number: u64) {
        let waiting = self
            .deliveries
            .get(&number)
            .filter(|delivery| delivery.stage == Stage::Behind);
        let Some(delivery) = waiting else { return };
        if self.has_queue_for_all(cx, &delivery.letter.to.clone()) {
            self.keep(cx, number);
        } else {
            self.attempt(cx, number);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Above all ids before, also those of earlier runs that were never stored: made of the time of day.
    fn next_id(&mut self, wall: Wall) -> MessageId {
        let by_clock = u64::try_from(wall.0).unwrap_or(0) << 20;
        self.last_id = MessageId(by_clock.max(self.last_id.0 + 1));
        self.last_id
    }

    fn ask(&mut self, core: &mut core::Core, op: StoreOp, question: Question) {
        let token = core.ask(Room::Im, op);
        self.questions.insert(token, question);
    }

    /// A device has its copy of a stored message, or will not have it.
    fn ask_to_take(&mut self, core: &mut core::Core, (to, id): (&Aor, MessageId), device: Box<str>, has_it: bool) {
        let question = Question::Take(to.clone(), id, device.clone(), has_it);
        self.ask(core, StoreOp::TakeMessage { id, device, has_it }, question);
    }

    /// What is stored for this reader changes: a count that is under way may or may not have it.
    fn note_change(&mut self, aor: &Aor) {
        if let Some(changed) = &mut self.recounting {
            changed.insert(aor.clone());
        }
    }

    /// One message fewer is stored for this reader.
    fn uncount(&mut self, aor: &Aor, id: MessageId) {
        self.note_change(aor);
        if let Some(reader) = self.readers.get_mut(aor) {
            if reader.stored > 0 {
                reader.stored -= 1;
                self.stored -= 1;
            }
            for tray in &mut reader.trays {
                tray.refused.remove(&id);
                tray.refusers.remove(&id);
            }
        }
        self.late.forget(id);
        self.forget_if_idle(aor);
    }

    fn forget_if_idle(&mut self, aor: &Aor) {
        if self.readers.get(aor).is_some_and(Reader::is_idle) {
            self.readers.remove(aor);
        }
    }
}

impl Delivery {
    fn new(letter: Letter) -> Delivery {
        Delivery {
            posted_as: letter.id,
            letter,
            stage: Stage::Behind,
            sender: None,
            owner: None,
            slot: None,
            forks: SmallVec::new(),
            silent: SmallVec::new(),
            tried: SmallVec::new(),
            owed: Vec::new(),
            parted: SmallVec::new(),
            refusers: SmallVec::new(),
            undecided: SmallVec::new(),
            faults: 0,
            is_taken: false,
            is_released: false,
            retry_after: None,
            was_heard: false,
            refusal: None,
            alarm: None,
        }
    }
}

impl Reader {
    fn is_idle(&self) -> bool {
        self.live.is_empty()
            && self.stored == 0
            && self.gone.is_empty()
            && self.trays.iter().all(|tray| tray.run.is_idle())
    }

    /// Whether stored messages wait for this device that a new one must not overtake.
    fn has_queue(&self, device: &str) -> bool {
        match self.known_tray(device) {
            Some(tray) => (tray.is_owed || device.is_empty()) && self.stored > tray.refused.len(),
            None => self.stored > 0,
        }
    }

    /// What the run of this tray has sent.
    fn sending(&self, device: &str) -> Option<u64> {
        self.known_tray(device)?.run.sending()
    }

    fn known_tray(&self, device: &str) -> Option<&Tray> {
        self.trays.iter().find(|tray| *tray.device == *device)
    }

    /// A message waits for each device that is owed it, and while nobody has it for whichever comes; not for those that have
    /// it right now.
    fn owe(&mut self, delivery: &Delivery, is_asked: impl Fn(&str) -> bool) {
        for device in delivery.owed.iter().filter(|device| !is_asked(device)) {
            self.tray(device).is_owed = true;
        }
        for tray in self.trays.iter_mut().filter(|_| !delivery.is_taken) {
            tray.is_owed |= !is_asked(&tray.device);
        }
    }

    fn tray(&mut self, device: &str) -> &mut Tray {
        let place = self.trays.iter().position(|tray| *tray.device == *device);
        let place = place.unwrap_or_else(|| {
            if self.trays.len() >= MAX_TRAYS {
                self.trays.retain(|tray| !tray.run.is_idle());
            }
            self.trays.push(Tray {
                device: device.into(),
                is_owed: self.stored > 0,
                refused: BTreeMap::new(),
                refusers: BTreeMap::new(),
                run: Run::default(),
            });
            self.trays.len() - 1
        });
        &mut self.trays[place]
    }
}

impl Slot {
    /// All devices of a reader together.
    fn of(to: &Aor) -> Slot {
        Slot {
            to: to.clone(),
            device: "".into(),
        }
    }
}
