//! What happened last, for those who watch: a ring of events with their numbers, written out once for all. A client keeps its
//! place by number and has no queue here, so a slow one costs nothing.

use axum::extract::ws::Utf8Bytes;
use clock::Wall;
use model::{Aor, Event, Occurrence};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// Events kept for those who come back: minutes at a busy site.
const MAX_EVENTS: usize = 4_096;
/// And no more than so many bytes of them, which 4,096 large conferences could exceed.
const MAX_BYTES: usize = 16 << 20;
/// Sent to a client at one time, so that the lock is never held for long.
const LOT: usize = 256;

/// Events the switch may be ahead of us; then some are lost, and all clients get a fresh snapshot.
pub const EVENTS_AHEAD: usize = 4_096;

/// An event as all clients get it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) seq: u64,
    at: Wall,
    pub(crate) event: Event,
    /// For who oversees all: `{"type":"event","seq":...,...}`
    pub(crate) json: Utf8Bytes,
}

/// The ring, and a bell for its last number.
pub(crate) struct Watch {
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
    /// All events with a higher number, up to the last, are here.
    floor: u64,
}

/// What a client missed can no longer be told: it needs a fresh snapshot.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed;

/// Which events a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Who it is.
    pub(crate) user: Option<Aor>,
    /// Everything but what is private to others; else only what concerns the user.
    pub(crate) all: bool,
}

impl Scope {
    /// What concerns this user.
    #[cfg(test)]
    pub(crate) fn of(user: Aor) -> Scope {
        let user = Some(user);
        Scope { user, all: false }
    }

    /// What an operator is told.
    #[cfg(test)]
    pub(crate) fn everything() -> Scope {
        Scope { user: None, all: true }
    }
}

impl Told {
    /// As a client of this scope is told it.
    pub(crate) fn text(&self, scope: &Scope) -> Utf8Bytes {
        let limited = scope.user.as_ref().filter(|_| !scope.all);
        let own = limited.and_then(|user| self.event.seen_by(user));
        let Some(event) = own else { return self.json.clone() };
        let (seq, at) = (self.seq, self.at);
        written(&Occurrence { seq, at, event }).unwrap_or_default()
    }
}

/// As it goes to clients.
fn written(occurrence: &Occurrence) -> Option<Utf8Bytes> {
    let kind = "event";
    serde_json::to_string(&Frame { kind, occurrence }).ok().map(Into::into)
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            ring: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }

    /// Takes what the switch tells, until it is gone.
    pub(crate) async fn run(self: Arc<Watch>, mut events: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = events.recv().await {
            self.append(occurrence);
        }
    }

    pub(crate) fn append(&self, occurrence: Occurrence) {
        let seq = occurrence.seq;
        let Some(json) = written(&occurrence) else {
            // Its number is missing from now on: everybody gets a snapshot.
            return;
        };
        let told = Told {
            seq,
            at: occurrence.at,
            event: occurrence.event,
            json,
        };
        self.ring().push(Arc::new(told));
        self.last.send_replace(seq);
    }

    /// The next events after number `after` for a client, a lot at most, and the number up to which it then knows
    /// everything.
    pub(crate) fn next(&self, after: u64, scope: &Scope) -> Result<(Vec<Arc<Told>>, u64), Missed> {
        let ring = self.ring();
        if after < ring.floor {
            return Err(Missed);
        }
        let mut known = after.max(ring.last());
        let mut lot = Vec::new();
        for told in ring.after(after) {
            if lot.len() == LOT {
                known = told.seq - 1;
                break;
            }
            if is_for(told, scope) {
                lot.push(told.clone());
            }
        }
        Ok((lot, known))
    }

    /// Whether a client that knows everything up to `seq` can go on from there.
    pub(crate) fn can_resume(&self, seq: u64) -> bool {
        let ring = self.ring();
        !ring.events.is_empty() && (ring.floor..=ring.last()).contains(&seq)
    }

    /// How many events, and bytes of them, wait for a client after this number.
    pub(crate) fn waiting(&self, after: u64, scope: &Scope) -> (usize, usize) {
        let ring = self.ring();
        let waiting = ring.after(after).filter(|told| is_for(told, scope));
        waiting.fold((0, 0), |(events, bytes), told| (events + 1, bytes + told.json.len()))
    }

    /// The number of the last event; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Waits for an event with a higher number.
    pub(crate) async fn beyond(&self, seq: u64) {
        let mut last = self.last.subscribe();
        if last.wait_for(|last| *last > seq).await.is_err() {
            // The sender is ours and lives as long as we do.
            std::future::pending::<()>().await;
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, told: Arc<Told>) {
        if self.events.is_empty() || told.seq != self.last() + 1 {
            self.events.clear();
            self.bytes = 0;
            self.floor = told.seq.saturating_sub(1);
        }
        self.bytes += told.json.len();
        self.events.push_back(told);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.json.len();
            self.floor = oldest.seq;
        }
    }

    fn last(&self) -> u64 {
        self.events.back().map_or(self.floor, |told| told.seq)
    }

    /// In the order of their numbers, which have no gap.
    fn after(&self, seq: u64) -> impl Iterator<Item = &Arc<Told>> {
        let known = seq.saturating_sub(self.floor);
        self.events.iter().skip(usize::try_from(known).unwrap_or(usize::MAX))
    }
}

fn is_for(told: &Told, scope: &Scope) -> bool {
    let is_theirs = || scope.user.as_ref().is_some_and(|user| told.event.concerns(user));
    scope.all && !told.event.is_private() || is_theirs()
}

#[derive(serde::Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    occurrence: &'a Occurrence,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(numbers: impl IntoIterator<Item = u64>) -> Watch {
        let watch = Watch::new();
        for seq in numbers {
            let aor = Aor::new(&(1000 + seq % 2).to_string(), "a");
            let event = Event::Unregistered {
                aor,
                contact: "sip:x".into(),
            };
            watch.append(Occurrence {
                seq,
                at: Wall(7),
                event,
            });
        }
        watch
    }

    fn numbers(watch: &Watch, after: u64) -> Vec<u64> {
        watch
            .next(after, &Scope::everything())
            .unwrap()
            .0
            .iter()
            .map(|told| told.seq)
            .collect()
    }

    #[test]
    fn a_client_gets_what_came_after_its_number() {
        let watch = watch(101..=105);
        assert_eq!(numbers(&watch, 100), [101, 102, 103, 104, 105]);
        assert_eq!(numbers(&watch, 103), [104, 105]);
        assert_eq!(numbers(&watch, 105), [] as [u64; 0]);
        assert_eq!(numbers(&watch, 200), [] as [u64; 0], "a snapshot newer than the ring");
        assert_eq!(watch.next(99, &Scope::everything()).unwrap_err(), Missed);
    }

    #[test]
    fn an_event_is_written_with_type_number_and_name() {
        let watch = watch([102]);
        let told = &watch.next(101, &Scope::everything()).unwrap().0[0];
        let expected = r#"{"type":"event","seq":102,"at":7,"event":"unregistered","aor":"1000@a","contact":"sip:x"}"#;
        assert_eq!(&*told.json, expected);
    }

    #[test]
    fn an_agent_gets_only_what_concerns_them() {
        let watch = watch(100..110);
        let (lot, known) = watch.next(99, &Scope::of(Aor::new("1001", "a"))).unwrap();
        assert_eq!(
            lot.iter().map(|told| told.seq).collect::<Vec<_>>(),
            [101, 103, 105, 107, 109]
        );
        assert_eq!(known, 109);
        assert_eq!(watch.waiting(104, &Scope::of(Aor::new("1001", "a"))).0, 3);
    }

    #[test]
    fn much_comes_in_lots() {
        let watch = watch(1..=600);
        let (first, known) = watch.next(0, &Scope::everything()).unwrap();
        assert_eq!((first.len(), known), (256, 256));
        let (second, known) = watch.next(known, &Scope::everything()).unwrap();
        assert_eq!((second[0].seq, second.len(), known), (257, 256, 512));
    }

    #[test]
    fn the_ring_is_bounded_and_says_so_to_who_comes_too_late() {
        let watch = watch(1..=5_000);
        assert!(watch.can_resume(904) && watch.can_resume(5_000));
        assert!(!watch.can_resume(903) && !watch.can_resume(5_001));
        assert_eq!(watch.next(903, &Scope::everything()).unwrap_err(), Missed);
        assert_eq!(numbers(&watch, 904)[0], 905);
    }

    #[test]
    fn after_a_gap_nobody_is_told_half_of_it() {
        let watch = watch((1..=10).chain(12..=13));
        assert_eq!(watch.next(9, &Scope::everything()).unwrap_err(), Missed);
        assert!(!watch.can_resume(10));
        assert_eq!(numbers(&watch, 11), [12, 13]);
    }
}
