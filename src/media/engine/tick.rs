//! The 20 ms tick: sounds the engine makes itself.

use super::leg::Feed;
use super::{Engine, PACKET_BUFFER, Transmit};
use crate::codec::g711;
use crate::event::Event;
use crate::plan::{Codec, Format, LegId};
use crate::rtp::header::HEADER;
use clock::Mono;
use std::collections::VecDeque;
use std::ops::Range;

/// Nanoseconds of one tick.
const TICK: u64 = 20_000_000;

/// Ticks made up for when the worker was late; what lies further back is left out.
const MAX_CATCH_UP: u64 = 5;

/// Frames encoded and not yet sent.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Frame>,
    encoded: Vec<u8>,
    mixed: Vec<i32>,
}

struct Frame {
    leg: usize,
    format: Format,
    step: u32,
    bytes: Range<usize>,
}

impl Outbox {
    pub fn forget(&mut self, leg: usize) {
        self.queue.retain(|frame| frame.leg != leg);
    }
}

impl Engine {
    /// Ticks run while somebody is fed a mix, on a grid all rooms share.
    pub(super) fn schedule_ticks(&mut self) {
        let needed = self.legs.iter().any(|(_, leg)| leg.feed == Feed::Mix);
        let on_grid = Mono((self.now.0 / TICK + 1) * TICK);
        self.next_tick = needed.then(|| self.next_tick.unwrap_or(on_grid));
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
            self.make_sound(steps as u32);
        }
        self.next_tick = Some(Mono(due.0 + ticks * TICK));
    }

    fn make_sound(&mut self, steps: u32) {
        for (_, room) in &mut self.rooms {
            let id = room.id;
            for player in &mut room.players {
                let was = player.sounding;
                player.advance();
                if was && !player.sounding {
                    self.events.push_back(Event::Played {
                        room: id,
                        player: player.id,
                    });
                }
            }
        }
        for slot in 0..self.legs.capacity() {
            let Some(leg) = self
                .legs
                .get(slot)
                .filter(|leg| leg.feed == Feed::Mix && leg.rtp_to.is_some())
            else {
                continue;
            };
            let (id, room, format) = (leg.id, leg.room, leg.sound_format());
            if let Some(format) = format {
                self.mix_players(room, id);
                self.encode(slot, format, steps);
            }
        }
    }

    fn mix_players(&mut self, room: usize, listener: LegId) {
        let room = &self.rooms[room];
        let mixed = &mut self.outbox.mixed;
        mixed.clear();
        mixed.resize(room.rate.frame(), 0);
        for player in room.players.iter().filter(|player| player.sounding) {
            let gain = room.player_gain(player, listener).factor();
            for (sum, &sample) in mixed.iter_mut().zip(&*player.frame) {
                *sum += (i32::from(sample) * gain) >> 8;
            }
        }
    }

    fn encode(&mut self, leg: usize, format: Format, steps: u32) {
        let Outbox { queue, encoded, mixed } = &mut self.outbox;
        let start = encoded.len();
        let code = if format.codec == Codec::Pcma {
            g711::to_a
        } else {
            g711::to_mu
        };
        encoded.extend(mixed.iter().map(|&sum| code(sum.clamp(-32_768, 32_767) as i16)));
        let step = steps * format.codec.clock_rate() / 50;
        queue.push_back(Frame {
            leg,
            format,
            step,
            bytes: start..encoded.len(),
        });
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
