//! Key presses through the engine: packets passed on beside a mix, and presses made for a device.

use super::leg::{Accepted, Leg, NO_FORMAT, Route};
use super::{Engine, Forward, Transmit, rewritten};
use crate::dtmf::{Dialer, Pulse, tone_of};
use crate::plan::{Audience, Codec, DtmfTo, LegId, PlayerId, Sound};
use crate::rtp::header::HEADER;
use clock::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// Players of key tones have numbers from the top, one for each leg; control numbers its own from the bottom.
const KEY_PLAYER: u64 = u64::MAX;

/// Power of the tones that packets stand for, in -dBm0 (RFC 4733 section 2.3.3).
const VOLUME: u8 = 10;

/// Who dials, and what of it waits to be sent.
#[derive(Default)]
pub(super) struct Dialling {
    /// Legs with presses left: few at a time.
    slots: Vec<usize>,
    packets: VecDeque<(usize, Pulse)>,
}

impl Dialling {
    pub fn forget(&mut self, leg: usize) {
        self.slots.retain(|&slot| slot != leg);
        self.packets.retain(|&(slot, _)| slot != leg);
    }
}

#[cfg(test)]
impl Dialling {
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.packets.is_empty()
    }
}

impl Engine {
    /// A packet of a key press: to the leg it is meant for, with the sound if that is relayed there, else beside it.
    pub(super) fn on_key_packet(
        &mut self,
        now: Mono,
        leg: usize,
        accepted: &Accepted,
        buffer: &mut [u8],
    ) -> Option<Forward> {
        let Codec::TelephoneEvent(clock) = accepted.format.codec else {
            return None;
        };
        let to = self.key_listener(leg);
        let format = to.and_then(|to| self.legs[to].key_format(clock));
        let here = &mut self.legs[leg];
        here.keys_pass = format.is_some();
        let payload = accepted.header.payload.clone();
        self.events
            .extend(here.key_press(now, accepted, &buffer[payload.clone()]));
        let (to, format) = (to?, format?);
        if let Route::Relay { to: relayed, pts } = &here.route
            && *relayed == to
            && pts[usize::from(accepted.header.pt)] != NO_FORMAT
        {
            let pt = pts[usize::from(accepted.header.pt)];
            return self.pass_on(now, to, pt, accepted, buffer);
        }
        rescale(&mut buffer[payload], clock, format.codec.clock_rate());
        let there = &mut self.legs[to];
        let destination = there.rtp_to?;
        let header = there.outgoing.key_press(now, &accepted.header, format.pt_out);
        there.sealed(rewritten(buffer, there.port, destination, &header), buffer)
    }

    /// Who is to hear the keys of this leg ([`DtmfTo`]). A member alone hears its own, as it does in an echo.
    fn key_listener(&self, leg: usize) -> Option<usize> {
        let here = &self.legs[leg];
        let members = &self.rooms[here.room].members;
        match (here.keys_to, &members[..]) {
            (DtmfTo::Nobody, _) => None,
            (DtmfTo::Leg(id), members) => members.iter().find(|(member, _)| *member == id).map(|&(_, slot)| slot),
            (DtmfTo::Pair, [(_, alone)]) => Some(*alone).filter(|_| matches!(here.route, Route::Relay { .. })),
            (DtmfTo::Pair, [(_, one), (_, two)]) => Some(if *one == leg { *two } else { *one }),
            (DtmfTo::Pair, _) => None,
        }
    }

    /// Presses keys towards a device.
    pub(super) fn dial(&mut self, now: Mono, id: LegId, digits: &str, duration: Duration) -> Option<()> {
        let slot = *self.leg_slots.get(&id)?;
        let longest = self.legs[slot].own_key_format().map(|format| longest(format.codec));
        let duration = duration.min(longest.unwrap_or(duration));
        let taken = self.legs[slot]
            .dialer
            .get_or_insert_default()
            .dial(now, digits, duration);
        if !self.dialling.slots.contains(&slot) {
            self.dialling.slots.push(slot);
        }
        taken.then_some(())
    }

    /// When the next step of a press is due.
    pub(super) fn next_pulse(&self) -> Option<Mono> {
        let due = |&slot: &usize| self.legs.get(slot)?.dialer.as_ref()?.due();
        self.dialling.slots.iter().filter_map(due).min()
    }

    /// Takes every step that is due: packets where the device takes them, tones where not.
    pub(super) fn on_pulse(&mut self, now: Mono) {
        for at in (0..self.dialling.slots.len()).rev() {
            let slot = self.dialling.slots[at];
            let is_due = |dialer: &&mut Box<Dialer>| dialer.due().is_some_and(|due| due <= now);
            let Some(dialer) = self.legs[slot].dialer.as_mut().filter(is_due) else {
                continue;
            };
            let (pulse, is_done) = (dialer.advance(now), dialer.is_idle());
            if matches!(pulse, Pulse::Key { ends: true, .. }) {
                self.end_key_tone(slot);
            }
            if self.legs[slot].own_key_format().is_some() {
                self.dialling.packets.push_back((slot, pulse));
            } else {
                self.sound_key(slot, pulse);
            }
            if is_done {
                self.dialling.slots.swap_remove(at);
            }
        }
    }

    /// The tones of a key begin for one device.
    fn sound_key(&mut self, slot: usize, pulse: Pulse) {
        let Pulse::Key {
            event, begins: true, ..
        } = pulse
        else {
            return;
        };
        let (id, room) = (self.legs[slot].id, self.legs[slot].room);
        if let Some(tone) = tone_of(event) {
            self.rooms[room].play(
                key_player(slot),
                Sound::Tone(tone),
                Audience::Leg(id),
                &mut self.streams,
            );
            self.route(room);
        }
    }

    /// The tones of a key end where the leg is: with the press, whatever the device has agreed to since it began, or because
    /// the leg goes.
    pub(super) fn end_key_tone(&mut self, slot: usize) {
        let (player, room) = (key_player(slot), self.legs[slot].room);
        if self.rooms[room].players.iter().any(|known| known.id == player) {
            self.rooms[room].stop(player, &mut self.streams);
            self.route(room);
        }
    }

    pub(super) fn poll_key_packet(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        while let Some((slot, pulse)) = self.dialling.packets.pop_front() {
            let now = self.now;
            let leg = self.legs.get_mut(slot);
            if let Some(transmit) = leg.and_then(|leg| write_key(now, leg, pulse, buffer)) {
                return Some(transmit);
            }
        }
        None
    }
}

fn key_player(slot: usize) -> PlayerId {
    PlayerId(KEY_PLAYER - slot as u64)
}

/// What the duration of a press can say (RFC 4733 section 2.3.5); longer ones are not made.
fn longest(keys: Codec) -> Duration {
    Duration::from_millis(u64::from(u16::MAX) * 1_000 / u64::from(keys.clock_rate().max(1)))
}

/// One packet of a press (RFC 4733 section 2.3).
fn write_key(now: Mono, leg: &mut Leg, pulse: Pulse, buffer: &mut [u8]) -> Option<Transmit> {
    let Pulse::Key {
        event,
        held,
        begins,
        ends,
    } = pulse
    else {
        return None;
    };
    let (to, format) = (leg.rtp_to?, leg.own_key_format()?);
    let header = leg.outgoing.own_press(now, format.pt_out, begins);
    let units = held.as_millis() * u128::from(format.codec.clock_rate()) / 1000;
    let [high, low] = u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes();
    buffer[..HEADER].copy_from_slice(&header.to_bytes());
    buffer[HEADER..HEADER + 4].copy_from_slice(&[event, u8::from(ends) << 7 | VOLUME, high, low]);
    let (port, len) = (leg.port, leg.protect(buffer, HEADER + 4)?);
    Some(Transmit { port, to, len })
}

/// A duration in the clock of the other leg. The longest there stands for all that are longer.
fn rescale(payload: &mut [u8], from: u32, to: u32) {
    if let (Some([_, _, high, low]), true) = (payload.first_chunk_mut::<4>(), from != to && from != 0) {
        let units = u64::from(u16::from_be_bytes([*high, *low])) * u64::from(to) / u64::from(from);
        [*high, *low] = u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes();
    }
}
