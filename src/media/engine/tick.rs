//! The 20 ms tick: mixing rooms, and the packets that come of it.
//!
//! In a room without exceptions the sum is made once; all who do not talk hear it, encoded once per kind of listener, and
//! each talker hears it without itself. Members with edges or sounds of their own are summed one by one.

use super::input::{Input, Treatment};
use super::leg::{Feed, Leg, Legs};
use super::mix::RoomMix;
use super::output::{Output, Payload};
use super::room::Room;
use super::stream::Streams;
use super::{Engine, NO_FORMAT, PACKET_BUFFER, Transmit};
use crate::codec::noise;
use crate::event::Event;
use crate::mixer::{MixBuffer, Mixed, mix_once};
use crate::plan::{Audience, Format, LegId, Rate, Source};
use crate::rtp::RtpHeader;
use crate::rtp::header::HEADER;
use crate::srtp::MAX_GROWTH;
use clock::Mono;
use std::collections::VecDeque;
use std::ops::Range;

/// Nanoseconds of one tick.
const TICK: u64 = 20_000_000;

/// Nanoseconds after which a tick is late: the buffers of phones hide less.
const LATE: u64 = 5_000_000;

/// Ticks made up for when the worker was late; what lies further back is left out.
const MAX_CATCH_UP: u64 = 5;

/// Ticks of silence after which a member that takes comfort noise is sent no more sound: words end before that.
const QUIET_TICKS: u32 = 20;

/// Ticks between two packets of comfort noise: a phone that hears nothing for longer may think the call is dead.
const NOISE_TICKS: u32 = 50;

/// What a tick made and nobody has sent yet. Grows to the largest tick and stays there.
pub(super) struct Outbox {
    sent: Sent,
    heard: Heard,
    buffer: MixBuffer,
}

#[derive(Default)]
struct Sent {
    queue: VecDeque<Frame>,
    encoded: Vec<u8>,
}

/// All that sounds in a room in this tick, at its rate, frame after frame: who talks, then players.
#[derive(Default)]
pub(super) struct Heard {
    talkers: Vec<Talker>,
    /// Places in the room's list of players.
    sounds: Vec<usize>,
    samples: Vec<i16>,
}

#[derive(Copy, Clone)]
struct Talker {
    id: LegId,
    slot: usize,
    talks: bool,
}

struct Frame {
    leg: usize,
    format: Format,
    bytes: Range<usize>,
    kind: Kind,
}

enum Kind {
    /// Made here, so many clock units after what was made before.
    Sound { step: u32, marker: bool },
    /// Came before a mix became a relay, and is passed on as the relay will pass on what follows.
    Relayed(RtpHeader),
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            sent: Sent::default(),
            heard: Heard::default(),
            buffer: MixBuffer::new(Rate::Full.frame()),
        }
    }
}

impl Outbox {
    pub fn forget(&mut self, leg: usize) {
        self.sent.queue.retain(|frame| frame.leg != leg);
    }

    /// Packets that waited for their turn in a mix go on to `to`, where the relay goes from now on.
    pub fn pass_on(&mut self, from: &Leg, to: usize, pts: &[u8; 128]) {
        let Some(input) = from.input.as_deref() else { return };
        let Sent { queue, encoded } = &mut self.sent;
        for (header, payload) in input.waiting() {
            let pt_out = pts[usize::from(header.pt & 0x7f)];
            let Some(format) = from.format(header.pt).filter(|_| pt_out != NO_FORMAT) else {
                continue;
            };
            let start = encoded.len();
            encoded.extend_from_slice(payload);
            queue.push_back(Frame {
                leg: to,
                format: Format { pt_out, ..format },
                bytes: start..encoded.len(),
                kind: Kind::Relayed(header),
            });
        }
    }
}

#[cfg(test)]
impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.sent.queue.is_empty()
    }
}

impl Heard {
    fn clear(&mut self) {
        self.talkers.clear();
        self.sounds.clear();
        self.samples.clear();
    }

    fn add_talker(&mut self, talker: Talker, frame: &[i16]) {
        self.talkers.push(talker);
        self.samples.extend_from_slice(frame);
    }

    /// The frame of the player at this place. All talkers have been added.
    fn add_sound(&mut self, place: usize, frame: &[i16]) {
        self.sounds.push(place);
        self.samples.extend_from_slice(frame);
    }

    fn talkers(&self, length: usize) -> impl Iterator<Item = (usize, &[i16])> + Clone {
        self.samples.chunks_exact(length).take(self.talkers.len()).enumerate()
    }

    fn sounds(&self, length: usize) -> impl Iterator<Item = (usize, &[i16])> {
        let frames = self.samples.chunks_exact(length).skip(self.talkers.len());
        self.sounds.iter().copied().zip(frames)
    }

    /// Nobody else talks, and nothing plays.
    fn is_quiet_for(&self, listener: Option<LegId>) -> bool {
        let talks = |talker: &Talker| talker.talks && Some(talker.id) != listener;
        self.sounds.is_empty() && !self.talkers.iter().any(talks)
    }
}

impl Engine {
    /// Ticks run while a room mixes or somebody is listened to, on a grid all rooms share.
    pub(super) fn schedule_ticks(&mut self) {
        let on_grid = Mono((self.now.0 / TICK + 1) * TICK);
        let ticks = self.mixing > 0 || self.listeners.listen();
        self.next_tick = ticks.then(|| self.next_tick.unwrap_or(on_grid));
    }

    /// Runs every tick that is due, so that a late worker sends what is missing; each deadline is absolute.
    pub(super) fn on_tick(&mut self, now: Mono) {
        let Some(due) = self.next_tick else { return };
        let ticks = 1 + (now.0 - due.0) / TICK;
        self.stats.late_ticks += (now.0 - due.0).saturating_sub(LATE).div_ceil(TICK);
        let left_out = ticks.saturating_sub(MAX_CATCH_UP);
        self.outbox.sent.queue.clear();
        self.outbox.sent.encoded.clear();
        for tick in left_out..ticks {
            let steps = if tick == left_out { 1 + left_out } else { 1 };
            self.mix(steps as u32);
            self.listen(steps as u32);
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
            // Out of the room for this while, so that room and mix can be borrowed side by side.
            let mut mix = std::mem::take(&mut room.mix);
            mix.tick += 1;
            mix.adapt_rate(&room.members, legs);
            advance_players(room, mix.rate, streams, events);
            let Outbox { sent, heard, buffer } = &mut *outbox;
            heard.clear();
            advance_members(room, &mut mix, legs, heard, events);
            for (at, player) in room.players.iter().enumerate().filter(|(_, player)| player.sounding) {
                heard.add_sound(at, &player.frame);
            }
            let mut turn = Turn {
                room,
                mix: &mut mix,
                legs,
                sent,
                steps,
            };
            turn.mix_plain(heard, buffer);
            turn.mix_exceptions(heard, buffer);
            room.mix = mix;
        }
    }

    pub(super) fn poll_sound(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        loop {
            let frame = self.outbox.sent.queue.pop_front()?;
            let Some(leg) = self.legs.get_mut(frame.leg) else {
                continue;
            };
            let Some(to) = leg.rtp_to else { continue };
            let payload = &self.outbox.sent.encoded[frame.bytes];
            let Format { pt_out, codec, .. } = frame.format;
            let clock = codec.clock_rate();
            let header = match frame.kind {
                Kind::Sound { step, marker } => {
                    let mut header = leg.outgoing.make(self.now, pt_out, clock, step, payload.len());
                    header.marker |= marker;
                    header
                }
                Kind::Relayed(source) => match leg.outgoing.relay(self.now, &source, pt_out, clock) {
                    Some(header) => header,
                    None => continue,
                },
            };
            if let Some(tap) = &mut leg.sent_tap {
                tap.push(self.now, &header, frame.format, payload);
            }
            debug_assert!(HEADER + payload.len() + MAX_GROWTH <= PACKET_BUFFER);
            buffer[..HEADER].copy_from_slice(&header.to_bytes());
            buffer[HEADER..HEADER + payload.len()].copy_from_slice(payload);
            let Some(len) = leg.protect(buffer, HEADER + payload.len()) else {
                continue;
            };
            let port = leg.port;
            return Some(Transmit { port, to, len });
        }
    }
}

fn advance_players(room: &mut Room, rate: Rate, streams: &mut Streams, events: &mut VecDeque<Event>) {
    let id = room.id;
    for player in &mut room.players {
        let was = player.sounding;
        player.advance(streams, rate);
        if was && !player.sounding {
            events.push_back(Event::Played {
                room: id,
                player: player.id,
            });
        }
    }
}

/// Decodes every member that can be heard and notes who talks.
fn advance_members(room: &Room, mix: &mut RoomMix, legs: &mut Legs, heard: &mut Heard, events: &mut VecDeque<Event>) {
    let pair = room.members.len() == 2;
    let fax = |slot: usize| legs[slot].input.as_deref().is_some_and(Input::is_fax);
    let how = Treatment {
        gated: room.members.len() > 2,
        exact: pair && room.members.iter().any(|&(_, slot)| fax(slot)),
    };
    let (mut loudest, mut active_talks) = (None, false);
    for &(id, slot) in &room.members {
        let Some(input) = legs[slot].input.as_mut() else {
            continue;
        };
        let before = input.talks();
        let talking = input.advance(how);
        if talking != before {
            events.push_back(Event::Talking { leg: id, talking });
        }
        if room.is_muted(id) {
            continue;
        }
        if talking || !how.gated && input.has_begun() {
            let talks = talking;
            heard.add_talker(Talker { id, slot, talks }, input.frame());
        }
        if talking {
            active_talks |= mix.active() == Some(id);
            loudest = loudest.max(Some((input.level(), id)));
        }
    }
    for &(_, slot) in &room.members {
        let held = still_held(legs, slot);
        let sending = &mut legs[slot].sending;
        sending.hold = held;
        if let Some(own) = sending.own.as_mut().filter(|_| held.is_some()) {
            own.rest(mix.tick);
        }
    }
    if room.members.len() > 1 {
        events.extend(mix.elect_speaker(room.id, loudest.map(|(_, id)| id), active_talks));
    }
}

/// Whose relay became a mix waits until its source is heard there: silence between would be a hole in a word.
fn still_held(legs: &Legs, slot: usize) -> Option<(usize, u8)> {
    let (from, left) = legs[slot].sending.hold?;
    let begun = legs
        .get(from)
        .and_then(|leg| leg.input.as_deref())
        .is_none_or(Input::has_begun);
    (!begun && left > 0).then(|| (from, left - 1))
}

/// One room's tick after everybody was heard.
struct Turn<'a> {
    room: &'a Room,
    mix: &'a mut RoomMix,
    legs: &'a mut Legs,
    sent: &'a mut Sent,
    steps: u32,
}

/// Who else hears the same samples, for an encoder that has to know what was heard before.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Sharing {
    /// All who do not talk.
    All,
    /// Nobody; but it heard what all heard until it began to talk.
    Talker,
    /// Nobody, ever.
    Alone,
}

impl Turn<'_> {
    /// Everybody hears everybody else: one sum, one encoding for each kind of listener that does not talk.
    fn mix_plain(&mut self, heard: &Heard, buffer: &mut MixBuffer) {
        if !self.room.has_plain_listeners() {
            return;
        }
        let (room, length) = (self.room, self.mix.rate.frame());
        let for_all = heard
            .sounds(length)
            .filter(|(place, _)| room.players[*place].to == Audience::Room)
            .map(|(_, frame)| (frame, 256));
        mix_once(buffer, length, heard.talkers(length), for_all, |mixed| match mixed {
            Mixed::All(sum) => {
                let samples = sum.through(&mut self.mix.limiter);
                self.send_to_silent(samples, heard);
            }
            Mixed::Without(at, sum) => {
                let Talker { id, slot, .. } = heard.talkers[at];
                if !room.is_exception(id) {
                    let samples = sum.through(&mut self.legs[slot].sending.limiter);
                    self.send(slot, samples, heard.is_quiet_for(Some(id)), Sharing::Talker);
                }
            }
        });
    }

    fn send_to_silent(&mut self, samples: &[i16], heard: &Heard) {
        let (room, quiet) = (self.room, heard.is_quiet_for(None));
        // Talkers stand in the order of members.
        let mut talkers = heard.talkers.iter().map(|talker| talker.id).peekable();
        for &(id, slot) in &room.members {
            if talkers.next_if_eq(&id).is_none() && !room.is_exception(id) {
                // Whoever begins to talk goes on as loud as what it heard.
                self.legs[slot].sending.limiter = self.mix.limiter;
                self.send(slot, samples, quiet, Sharing::All);
            }
        }
        // While all wait for what was relayed to them, nothing has been heard.
        let waits = room
            .members
            .iter()
            .any(|&(_, slot)| self.legs[slot].sending.hold.is_some());
        if !waits && self.mix.shared.iter().any(Output::has_state) {
            self.mix.history.remember(samples);
        }
    }

    /// Members with edges or sounds of their own.
    fn mix_exceptions(&mut self, heard: &Heard, buffer: &mut MixBuffer) {
        let (room, length) = (self.room, self.mix.rate.frame());
        if !room.has_exceptions() {
            return;
        }
        for &(id, slot) in room.members.iter().filter(|(id, _)| room.is_exception(*id)) {
            buffer.clear(length);
            for (place, frame) in heard.sounds(length) {
                buffer.add_scaled(frame, room.player_gain(&room.players[place], id).factor());
            }
            for (at, frame) in heard.talkers(length) {
                let gain = room.gain(Source::Leg(heard.talkers[at].id), id);
                if !gain.is_mute() {
                    buffer.add_scaled(frame, gain.factor());
                }
            }
            let samples = buffer.all().through(&mut self.legs[slot].sending.limiter);
            self.send(slot, samples, heard.is_quiet_for(Some(id)), Sharing::Alone);
        }
    }

    /// Sends a member what it hears in this tick, or nothing where it needs nothing.
    fn send(&mut self, slot: usize, samples: &[i16], quiet: bool, sharing: Sharing) {
        let Some(format) = listening(&self.legs[slot]) else {
            return;
        };
        let clock = format.codec.clock_rate();
        let leg = &mut self.legs[slot];
        leg.sending.quiet = if quiet { leg.sending.quiet.saturating_add(1) } else { 0 };
        if leg.sending.quiet > QUIET_TICKS
            && let Some(format) = leg.noise_format(clock)
        {
            return self.send_noise(slot, format, samples);
        }
        let Turn {
            mix, sent, legs, steps, ..
        } = self;
        let Sent { queue, encoded } = &mut **sent;
        let (sending, tick) = (&mut legs[slot].sending, mix.tick);
        let Some(shared) = mix.shared.get_mut(sending.shared) else {
            return;
        };
        let made = match (sharing, &mut sending.own) {
            (Sharing::All, _) => shared.make_shared(tick, samples, &mix.history, encoded),
            (Sharing::Talker, Some(own)) => own.make(tick, samples, Some((&mix.history, 1)), encoded),
            (Sharing::Alone, Some(own)) => own.make(tick, samples, None, encoded),
            (_, None) => shared.make(tick, samples, None, encoded),
        };
        sending.take(*steps, clock, &made, encoded, |payload| {
            queue.push_back(Frame::sound(slot, format, payload));
        });
    }

    /// In silence a member that understands comfort noise is sent its level now and then (RFC 3389), and no sound.
    fn send_noise(&mut self, slot: usize, format: Format, samples: &[i16]) {
        let (sending, clock) = (&mut self.legs[slot].sending, format.codec.clock_rate());
        if (sending.quiet - QUIET_TICKS) % NOISE_TICKS != 1 {
            return sending.skip(self.steps, clock);
        }
        let Sent { queue, encoded } = &mut *self.sent;
        let level = match noise::level_of(samples) {
            127 => noise::USUAL_LEVEL,
            level => level,
        };
        encoded.push(level);
        let payload = sending.take_noise(self.steps, clock, encoded.len() - 1..encoded.len());
        queue.push_back(Frame::sound(slot, format, payload));
    }
}

impl Frame {
    fn sound(leg: usize, format: Format, payload: Payload) -> Frame {
        let Payload { bytes, step, marker } = payload;
        Frame {
            leg,
            format,
            bytes,
            kind: Kind::Sound { step, marker },
        }
    }
}

/// The format a member is sent a mix in, if it is sent one now.
fn listening(leg: &Leg) -> Option<Format> {
    let now = leg.feed == Feed::Mix && leg.rtp_to.is_some() && leg.sending.hold.is_none();
    leg.sound_format().filter(|_| now)
}
