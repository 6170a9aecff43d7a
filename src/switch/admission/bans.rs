//! Who is not listened to for a while.

use super::source::Source;
use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use model::BanView;
use std::collections::BTreeSet;
use std::time::Duration;

/// Bans at one time: some 2 MB. One more ends the one that would end first.
const MAX_BANS: usize = 16_384;

/// The bans in force.
#[derive(Debug)]
pub(crate) struct Bans {
    by_source: HashMap<Source, Ban, RandomState>,
    by_end: BTreeSet<(Mono, Source)>,
}

#[derive(Debug)]
struct Ban {
    until: Mono,
    why: &'static str,
    dropped: u64,
}

/// Why somebody is banned whom an operator has banned. It holds for registered phones too: all other evidence can be forged
/// by those who can forge addresses, and must not cut off who has proved to be a user.
pub(crate) const OPERATOR: &str = "operator";

impl Bans {
    pub(crate) fn new(hasher: &RandomState) -> Bans {
        Bans {
            by_source: HashMap::with_hasher(hasher.clone()),
            by_end: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_source.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// Whether a packet of this source is dropped, which is counted; `is_known`: it comes from a registered phone.
    pub(crate) fn stop(&mut self, now: Mono, source: Source, is_known: bool) -> bool {
        match self.by_source.get_mut(&source) {
            Some(ban) if ban.until > now && (!is_known || ban.why == OPERATOR) => {
                ban.dropped += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether it is banned now.
    pub(crate) fn has(&self, now: Mono, source: Source) -> bool {
        self.by_source.get(&source).is_some_and(|ban| ban.until > now)
    }

    /// Bans a source for so long from now on.
    pub(crate) fn put(&mut self, now: Mono, source: Source, why: &'static str, time: Duration) {
        self.forget_ended(now);
        self.lift(source);
        if self.by_source.len() >= MAX_BANS
            && let Some((_, first)) = self.by_end.first().copied()
        {
            self.lift(first);
        }
        let until = now + time;
        self.by_end.insert((until, source));
        let dropped = 0;
        self.by_source.insert(source, Ban { until, why, dropped });
    }

    /// Ends the ban of a source; whether there was one.
    pub(crate) fn lift(&mut self, source: Source) -> bool {
        let ban = self.by_source.remove(&source);
        ban.is_some_and(|ban| self.by_end.remove(&(ban.until, source)))
    }

    /// Ends all; how many.
    pub(crate) fn lift_all(&mut self) -> usize {
        self.by_end.clear();
        let count = self.by_source.len();
        self.by_source.clear();
        count
    }

    /// For operators: who is free first comes first.
    pub(crate) fn views(&mut self, now: Mono) -> Vec<BanView> {
        self.forget_ended(now);
        let view = |(until, source): &(Mono, Source)| {
            let ban = self.by_source.get(source)?;
            Some(BanView {
                source: source.to_string().into(),
                why: ban.why.into(),
                expires_s: until.since(now).as_secs(),
                dropped: ban.dropped,
            })
        };
        self.by_end.iter().filter_map(view).collect()
    }

    fn forget_ended(&mut self, now: Mono) {
        while let Some(&(_, source)) = self.by_end.first().filter(|(until, _)| *until <= now) {
            self.lift(source);
        }
    }

    pub(crate) fn audit(&self) -> Result<(), String> {
        let is_sound = self.by_end.len() == self.by_source.len();
        is_sound
            .then_some(())
            .ok_or_else(|| format!("bans: {} by source, {} by end", self.by_source.len(), self.by_end.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn source(number: u32) -> Source {
        Source::V4(number.into())
    }

    #[test]
    fn a_ban_holds_for_its_time() {
        let mut bans = Bans::new(&RandomState::with_seeds(1, 2, 3, 4));
        bans.put(at(0), source(1), "scanner", MINUTE);
        assert!(bans.stop(at(59), source(1), false));
        assert!(!bans.stop(at(59), source(2), false));
        assert!(!bans.stop(at(60), source(1), false));
        assert_eq!((bans.views(at(60)).len(), bans.len()), (0, 0));
    }

    #[test]
    fn only_an_operator_cuts_off_a_registered_phone() {
        let mut bans = Bans::new(&RandomState::with_seeds(1, 2, 3, 4));
        bans.put(at(0), source(1), "auth-failed", MINUTE);
        assert!(!bans.stop(at(1), source(1), true));
        bans.put(at(0), source(1), OPERATOR, MINUTE);
        assert!(bans.stop(at(1), source(1), true));
    }

    #[test]
    fn more_bans_than_there_is_room_for_end_the_oldest() {
        let mut bans = Bans::new(&RandomState::with_seeds(1, 2, 3, 4));
        for n in 0..2 * u32::try_from(MAX_BANS).unwrap() {
            bans.put(Mono(u64::from(n)), source(n), "malformed", MINUTE);
        }
        assert_eq!((bans.len(), bans.audit()), (MAX_BANS, Ok(())));
        assert!(!bans.stop(at(1), source(0), false) && bans.stop(at(1), source(2 * 16_384 - 1), false));
        assert_eq!(bans.lift_all(), MAX_BANS);
        assert!(bans.is_empty());
    }
}
