//! The 20 ms tick: mixing rooms, and the packets that come of it.
//!
//! In a room without exceptions the sum is made once; all who do not talk hear it, encoded once per codec, and each
//! talker hears it without itself. Members with edges or sounds of their own are summed one by one.

use super::input::Input;
use super::leg::{Feed, Leg};
use super::room::Room;
use super::stream::Streams;
use super::{Engine, PACKET_BUFFER, Transmit};
use crate::codec::g711;
use crate::event::Event;
use crate::mixer::{MixBuffer, Mixed, mix_once};
use crate::plan::{Codec, Format, LegId, Source};
use crate::rtp::header::HEADER;
use clock::Mono;
use slab::Slab;
use std::collections::VecDeque;
use std::ops::Range;

/// Nanoseconds of one tick.
const TICK: u64 = 20_000_000;

/// Ticks made up for when the worker was late; what lies further back is left out.
const MAX_CATCH_UP: u64 = 5;

/// Samples of a tick. Every codec we decode has 8 kHz, so no room needs more.
pub(super) const FRAME: usize = 160;

/// Samples per second of every mix, for the same reason.
pub(super) const MIX_RATE: u32 = 8_000;

/// What a tick made and nobody has sent yet. Grows to the largest tick and stays there.
pub(super) struct Outbox {
    queue: VecDeque<Frame>,
    encoded: Vec<u8>,
    talkers: Vec<usize>,
    buffer: MixBuffer,
}

struct Frame {
    leg: usize,
    format: Format,
    step: u32,
    bytes: Range<usize>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        let (queue, encoded, talkers) = (VecDeque::new(), Vec::new(), Vec::new());
        Outbox {
            queue,
            encoded,
            talkers,
            buffer: MixBuffer::new(FRAME),
        }
    }
}

impl Outbox {
    pub fn forget(&mut self, leg: usize) {
        self.queue.retain(|frame| frame.leg != leg);
    }
}

impl Engine {
    /// Ticks run while a room mixes, on a grid all rooms share.
    pub(super) fn schedule_ticks(&mut self) {
        let on_grid = Mono((self.now.0 / TICK + 1) * TICK);
        self.next_tick = (self.mixing > 0).then(|| self.next_tick.unwrap_or(on_grid));
    }

    /// Runs every tick that is due, so that a late worker sends what is missing; each deadline is absolute.
    pub(super) fn on_tick(&mut self, now: Mono) {
        let Some(due) = self.next_tick else { return };
        let ticks = 1 + (now.0 - due.0) / TICK;
        self.stats.late_ticks += ticks - 1;
        let left_out = ticks.saturating_sub(MAX_CATCH_UP);
        self.outbox.queue.clear();
        self.outbox.encoded.clear();
        for tick in left_out..ticks {
            let steps = if tick == left_out { 1 + left_out } else { 1 };
            self.mix(steps as u32);
        }
        self.next_tick = Some(Mono(due.0 + ticks * TICK));
    }

    fn mix(&mut self, steps: u32) {
        let Engine {
            rooms,
            legs,
            outbox,
            events,
            streams,
            ..
        } = self;
        streams.advance();
        for (_, room) in rooms.iter_mut().filter(|(_, room)| room.mixes) {
            advance_players(room, streams, events);
            advance_members(room, legs, &mut outbox.talkers, events);
            mix_plain(room, legs, outbox, steps);
            mix_exceptions(room, legs, outbox, steps);
        }
    }

    pub(super) fn poll_sound(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        let frame = self.outbox.queue.pop_front()?;
        let leg = self.legs.get_mut(frame.leg)?;
        let to = leg.rtp_to?;
        let payload = &self.outbox.encoded[frame.bytes];
        let Format { pt_out, codec, .. } = frame.format;
        let header = leg
            .outgoing
            .make(self.now, pt_out, codec.clock_rate(), frame.step, payload.len());
        debug_assert!(HEADER + payload.len() <= PACKET_BUFFER);
        buffer[..HEADER].copy_from_slice(&header.to_bytes());
        buffer[HEADER..HEADER + payload.len()].copy_from_slice(payload);
        Some(Transmit {
            port: leg.port,
            to,
            len: HEADER + payload.len(),
        })
    }
}

fn advance_players(room: &mut Room, streams: &mut Streams, events: &mut VecDeque<Event>) {
    let id = room.id;
    for player in &mut room.players {
        let was = player.sounding;
        player.advance(streams);
        if was && !player.sounding {
            events.push_back(Event::Played {
                room: id,
                player: player.id,
            });
        }
    }
}

/// Decodes every member that can be heard and notes who talks.
fn advance_members(room: &Room, legs: &mut Slab<Leg>, talkers: &mut Vec<usize>, events: &mut VecDeque<Event>) {
    talkers.clear();
    for &(id, slot) in &room.members {
        let Some(input) = legs[slot].input.as_mut() else {
            continue;
        };
        let before = input.talks();
        let talking = input.advance();
        if talking != before {
            events.push_back(Event::Talking { leg: id, talking });
        }
        if talking && !room.is_muted(id) {
            talkers.push(slot);
        }
    }
}

/// Everybody hears everybody else: one sum, one encoding per codec for all who do not talk.
fn mix_plain(room: &Room, legs: &Slab<Leg>, outbox: &mut Outbox, steps: u32) {
    if !room.has_plain_listeners() {
        return;
    }
    let Outbox {
        queue,
        encoded,
        talkers,
        buffer,
    } = outbox;
    let listener = |id: LegId, slot: usize| (!room.is_exception(id)).then(|| listening(&legs[slot])).flatten();
    let frames = talkers
        .iter()
        .filter_map(|&slot| Some((slot, legs[slot].input.as_deref()?.frame())));
    let sounds = room.sounds_for_all().map(|player| (&player.frame[..], 256));
    mix_once(buffer, FRAME, frames, sounds, |mixed| match mixed {
        Mixed::All(samples) => {
            let mut shared = [None, None];
            for &(id, slot) in &room.members {
                let silent = room.is_muted(id) || !legs[slot].input.as_deref().is_some_and(Input::talks);
                let Some(format) = listener(id, slot).filter(|_| silent) else {
                    continue;
                };
                let bytes = shared[usize::from(format.codec == Codec::Pcma)]
                    .get_or_insert_with(|| encode(encoded, format.codec, samples))
                    .clone();
                queue.push_back(Frame {
                    leg: slot,
                    format,
                    step: steps * step(format),
                    bytes,
                });
            }
        }
        Mixed::Without(slot, samples) => {
            if let Some(format) = listener(legs[slot].id, slot) {
                let bytes = encode(encoded, format.codec, samples);
                queue.push_back(Frame {
                    leg: slot,
                    format,
                    step: steps * step(format),
                    bytes,
                });
            }
        }
    });
}

/// Members with edges or sounds of their own.
fn mix_exceptions(room: &Room, legs: &Slab<Leg>, outbox: &mut Outbox, steps: u32) {
    if !room.has_exceptions() {
        return;
    }
    let Outbox {
        queue,
        encoded,
        talkers,
        buffer,
    } = outbox;
    for &(id, slot) in room.members.iter().filter(|(id, _)| room.is_exception(*id)) {
        let Some(format) = listening(&legs[slot]) else { continue };
        buffer.clear(FRAME);
        for player in room.players.iter().filter(|player| player.sounding) {
            buffer.add_scaled(&player.frame, room.player_gain(player, id).factor());
        }
        for &talker in talkers.iter() {
            let gain = room.gain(Source::Leg(legs[talker].id), id);
            if let Some(input) = legs[talker].input.as_deref().filter(|_| !gain.is_mute()) {
                buffer.add_scaled(input.frame(), gain.factor());
            }
        }
        let bytes = encode(encoded, format.codec, buffer.all());
        queue.push_back(Frame {
            leg: slot,
            format,
            step: steps * step(format),
            bytes,
        });
    }
}

/// The format a member is sent a mix in, if it is sent one now.
fn listening(leg: &Leg) -> Option<Format> {
    leg.sound_format()
        .filter(|_| leg.feed == Feed::Mix && leg.rtp_to.is_some())
}

/// Clock units of a tick.
fn step(format: Format) -> u32 {
    format.codec.clock_rate() / 50
}

fn encode(encoded: &mut Vec<u8>, codec: Codec, samples: &[i16]) -> Range<usize> {
    let start = encoded.len();
    match codec {
        Codec::Pcma => encoded.extend(samples.iter().map(|&sample| g711::to_a(sample))),
        _ => encoded.extend(samples.iter().map(|&sample| g711::to_mu(sample))),
    }
    start..encoded.len()
}
