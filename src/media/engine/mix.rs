//! What a room that mixes keeps between ticks: its working rate, its shared encoders, who is heard most.

use super::input::Input;
use super::leg::{Feed, Leg, Legs};
use super::output::{History, Output, OutputKey};
use crate::codec::best_rate;
use crate::event::Event;
use crate::limiter::Limiter;
use crate::plan::{Codec, LegId, Rate, RoomId};

/// Ticks a change of rate waits for a moment in which nobody talks: three seconds.
const MAX_RATE_WAIT: u16 = 150;

/// Ticks a member has to be the loudest before it is the active speaker: 300 ms.
const CHALLENGE: u8 = 15;

/// Mixing state of one room.
#[derive(Default)]
pub(super) struct RoomMix {
    /// The rate of the present mix.
    pub rate: Rate,
    pub shared: Vec<Output>,
    pub history: History,
    /// Ticks since the room was made.
    pub tick: u64,
    /// All members' levels are controlled.
    pub levelled: bool,
    /// No higher, by control's wish.
    most: Rate,
    wanted: Rate,
    waited: u16,
    /// Of what all hear who do not talk.
    pub limiter: Limiter,
    active: Option<LegId>,
    challenger: Option<(LegId, u8)>,
}

impl RoomMix {
    pub fn new(most: Rate) -> RoomMix {
        RoomMix {
            most,
            ..RoomMix::default()
        }
    }

    /// What `to` heard of `from` in a relay goes on in the mix: all encoders begin where that ended.
    pub fn go_on(&mut self, legs: &mut Legs, from: usize, to: usize) {
        let Some(leg) = legs.get_mut(from) else { return };
        let recent = std::mem::take(&mut leg.recent);
        let Some(frames) = leg.input.as_mut().map(|input| input.go_on_from(&recent)) else {
            return;
        };
        self.history.add(&frames);
        if let Some(own) = legs.get_mut(to).and_then(|leg| leg.sending.own.as_mut()) {
            own.go_on_from(self.tick, &frames);
        }
    }

    /// Nobody is fed a mix any more.
    pub fn end(&mut self) {
        self.shared.clear();
        self.history.clear();
        (self.active, self.challenger, self.waited) = (None, None, 0);
    }

    /// The room's rate is as high as somebody can speak and somebody else can hear; a file that plays speaks at any rate.
    pub fn choose_rate(&mut self, members: impl Iterator<Item = (Rate, bool)>, plays_wide: bool, mixed_already: bool) {
        let (mut first, mut second) = (Rate::Narrow, Rate::Narrow);
        for (rate, hears_itself) in members {
            if rate > first {
                (first, second) = (rate, first);
            } else {
                second = second.max(rate);
            }
            if hears_itself {
                second = second.max(rate);
            }
        }
        self.wanted = if plays_wide { first } else { second }.min(self.most);
        if !mixed_already {
            self.rate = self.wanted;
        }
    }

    /// Changes the rate, when nobody talks or when that has been waited for long enough.
    pub fn adapt_rate(&mut self, members: &[(LegId, usize)], legs: &mut Legs) {
        if self.wanted == self.rate {
            self.waited = 0;
            return;
        }
        let talks = |slot: usize| legs[slot].input.as_deref().is_some_and(Input::talks);
        if members.iter().any(|&(_, slot)| talks(slot)) && self.waited < MAX_RATE_WAIT {
            self.waited += 1;
            return;
        }
        (self.rate, self.waited) = (self.wanted, 0);
        self.history.clear();
        self.shared.clear();
        for &(_, slot) in members {
            legs[slot].sending.own = None;
            self.enroll(&mut legs[slot]);
        }
    }

    /// Gives a member what it needs to be heard and to hear at the room's rate.
    pub fn enroll(&mut self, leg: &mut Leg) {
        let rate = self.rate;
        let input = leg.input.get_or_insert_with(|| Box::new(Input::new(rate)));
        input.set_rate(rate);
        input.control_level(self.levelled || leg.levelled);
        let format = leg.sound_format();
        leg.sending.agree(format, &leg.media);
        let Some(format) = format.filter(|_| leg.feed == Feed::Mix) else {
            leg.sending.own = None;
            return;
        };
        let key = OutputKey::new(format.codec, &leg.media);
        let Some(at) = self.share(key) else { return };
        leg.sending.shared = at;
        if !self.shared[at].has_state() {
            leg.sending.own = None;
        } else if leg.sending.own.as_ref().is_none_or(|own| own.key != key) {
            leg.sending.own = Output::new(key, rate).map(Box::new);
        }
    }

    fn share(&mut self, key: OutputKey) -> Option<usize> {
        let known = self.shared.iter().position(|output| output.key == key);
        known.or_else(|| {
            // Most rooms have one kind of listener.
            self.shared.reserve_exact(1);
            self.shared.push(Output::new(key, self.rate)?);
            Some(self.shared.len() - 1)
        })
    }

    /// Forgets encoders nobody shares any more. Members are enrolled anew after it.
    pub fn forget_unused(&mut self, members: &[(LegId, usize)], legs: &Legs) {
        let wanted = |key: OutputKey| {
            members.iter().any(|&(_, slot)| {
                let leg = &legs[slot];
                let format = leg.sound_format().filter(|_| leg.feed == Feed::Mix);
                format.is_some_and(|format| OutputKey::new(format.codec, &leg.media) == key)
            })
        };
        // A room has few kinds of listeners; only where there are several, one of them may be gone.
        if self.shared.len() > 1 {
            self.shared.retain(|output| wanted(output.key));
        }
    }

    /// Says who speaks, when that changes: whoever has been the loudest for a while. A pause changes nothing.
    pub fn elect_speaker(&mut self, room: RoomId, loudest: Option<LegId>, active_talks: bool) -> Option<Event> {
        let candidate = loudest.filter(|&leg| Some(leg) != self.active);
        let Some(leg) = candidate else {
            self.challenger = None;
            return None;
        };
        let ticks = match self.challenger {
            Some((challenger, ticks)) if challenger == leg => ticks + 1,
            _ => 1,
        };
        self.challenger = Some((leg, ticks));
        if active_talks && ticks < CHALLENGE {
            return None;
        }
        (self.active, self.challenger) = (Some(leg), None);
        Some(Event::ActiveSpeaker { room, leg })
    }

    /// Who was said to speak last.
    pub fn active(&self) -> Option<LegId> {
        self.active
    }
}

/// The rate of what a member can say and hear.
pub(super) fn rate_of(leg: &Leg) -> Rate {
    let rate = leg.sound_format().and_then(|format| best_rate(format.codec));
    let rate = rate.unwrap_or_default();
    match leg.sound_format().map(|format| format.codec) {
        Some(Codec::Opus) => rate.min(leg.media.opus.best_rate()),
        _ => rate,
    }
}
