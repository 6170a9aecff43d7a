//! What one media worker runs: packets and time in, packets and events out.
//!
//! The worker reads a packet into its buffer and calls [`Engine::handle_rtp`]; a packet to relay is rewritten in that
//! buffer and sent from it. Packets the engine itself makes (tones, mixed sound, RTCP) are asked for with
//! [`Engine::poll_transmit`] after [`Engine::handle_timeout`].
//!
//! Nothing is allocated for a packet or a tick; joining, leaving and editing a matrix may allocate.

mod input;
mod keys;
mod leg;
mod level;
mod listen;
mod mix;
mod output;
mod player;
mod recent;
mod recorder;
mod room;
mod secure;
#[cfg(test)]
mod sound_tests;
mod stream;
mod tick;
mod tones;

use crate::event::{Event, LegStats};
use crate::file::{FileNews, FileOrder};
use crate::plan::{Codec, LegId, OpenLeg, Plan, RoomId, Source};
use crate::rtp::RtpHeader;
use crate::rtp::feedback::{self, Feedback};
use crate::rtp::header::{HEADER, is_rtcp};
use clock::Mono;
use hashbrown::HashMap;
use input::Input;
use keys::Dialling;
use leg::{Accepted, Feed, Leg, Legs, NO_FORMAT, Route};
use listen::Listeners;
use player::Player;
use room::{Hears, Room};
use slab::Slab;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use stream::Streams;
use tick::Outbox;

/// Bytes a packet buffer must hold: no RTP of ours is longer, and what is longer on the wire is dropped.
pub const PACKET_BUFFER: usize = 2048;

/// How often legs are looked at for silence and due reports.
const SWEEP: Duration = Duration::from_secs(1);

/// Ticks a member whose relay became a mix waits for the mix to have what the relay would have had.
const HOLD_TICKS: u8 = 4;

/// Feedback that waits to be sent: it goes out in the turn in which it came, a batch of packets for each socket.
const MAX_FEEDBACK: usize = 64;

/// How an engine behaves.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct EngineConfig {
    /// Media may go to loopback addresses. Only for a node that itself listens on loopback.
    pub allow_loopback: bool,
}

/// Send `buffer[range]` from the socket of `port` to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Our port: the source of the packet.
    pub port: u16,
    /// Where it goes.
    pub to: SocketAddr,
    /// Where in the buffer the packet is now.
    pub range: Range<usize>,
}

/// Send the first `len` bytes of the buffer from the socket of `port` to `to`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our port: even for RTP (and RTCP multiplexed with it), odd for RTCP.
    pub port: u16,
    /// Where it goes.
    pub to: SocketAddr,
    /// Length of the packet.
    pub len: usize,
}

/// Counters of the engine as a whole.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Datagrams to ports without a leg.
    pub unexpected: u64,
    /// Orders that named something unknown, taken or beyond a bound.
    pub ignored_plans: u64,
    /// Ticks that came more than 5 ms after their time.
    pub late_ticks: u64,
    /// Frames of files that were silent because the file thread was late.
    pub starved: u64,
}

/// All rooms and legs of one worker.
pub struct Engine {
    config: EngineConfig,
    random: Box<dyn FnMut() -> u64 + Send>,
    legs: Legs,
    rooms: Slab<Room>,
    leg_slots: HashMap<LegId, usize>,
    room_slots: HashMap<RoomId, usize>,
    /// Slot of the leg on each even port, by half the port.
    ports: Box<[Option<u32>]>,
    events: VecDeque<Event>,
    reports: VecDeque<usize>,
    /// What is to be said to the sender of a picture.
    feedback: VecDeque<(usize, Feedback)>,
    outbox: Outbox,
    streams: Streams,
    listeners: Listeners,
    dialling: Dialling,
    /// Rooms that mix.
    mixing: usize,
    next_tick: Option<Mono>,
    next_sweep: Option<Mono>,
    now: Mono,
    stats: EngineStats,
}

impl Engine {
    /// An engine without rooms. `random` gives SSRCs and first sequence numbers: a CSPRNG in a node, a seed in tests.
    #[must_use]
    pub fn new(config: EngineConfig, random: Box<dyn FnMut() -> u64 + Send>) -> Engine {
        Engine {
            config,
            random,
            legs: Legs::new(),
            rooms: Slab::new(),
            leg_slots: HashMap::new(),
            room_slots: HashMap::new(),
            ports: vec![None; 1 << 15].into(),
            events: VecDeque::new(),
            reports: VecDeque::new(),
            feedback: VecDeque::with_capacity(MAX_FEEDBACK),
            outbox: Outbox::default(),
            streams: Streams::default(),
            listeners: Listeners::default(),
            dialling: Dialling::default(),
            mixing: 0,
            next_tick: None,
            next_sweep: None,
            now: Mono(0),
            stats: EngineStats::default(),
        }
    }

    /// Obeys control.
    pub fn apply(&mut self, now: Mono, plan: Plan) {
        self.now = now;
        let obeyed = match plan {
            Plan::BindPorts { .. } | Plan::HoldPort { .. } | Plan::ReleasePort { .. } => Some(()),
            Plan::OpenRoom { room, matrix, rate } => self.open_room(Room::new(room, matrix, rate)),
            Plan::CloseRoom { room } => self.close_room(room),
            Plan::OpenLeg(open) => self.open_leg(now, *open),
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            } => self.with_leg(leg, |leg, config| {
                leg.update(now, media, media_timeout, config);
                true
            }),
            Plan::CloseLeg { leg } => self.close_leg(leg),
            Plan::MoveLeg { leg, room } => self.move_leg(leg, room),
            Plan::Restrict { leg, muted, deaf } => self.restrict(leg, muted, deaf),
            Plan::SetEdges { room, edges } => self.with_room(room, |room, _| room.set_edges(&edges)),
            Plan::Play {
                room,
                player,
                sound,
                to,
            } => self.with_room(room, |room, streams| room.play(player, sound, to, streams)),
            Plan::ControlLevel { room, leg, on } => self.control_level(room, leg, on),
            Plan::StartRecord(start) => self.start_record(*start),
            Plan::RecordLeg { recording, leg, side } => self.record_leg(recording, leg, side),
            Plan::PauseRecord { recording, paused } => self.pause_record(recording, paused),
            Plan::StopRecord { recording } => self.stop_record(recording),
            Plan::Inspect { token, legs } => self.inspect(now, token, legs),
            Plan::StopPlay { room, player } => self.with_room(room, |room, streams| {
                room.stop(player, streams);
                true
            }),
            Plan::SendDtmf { leg, digits, duration } => self.dial(now, leg, &digits, duration),
            Plan::SetDtmf { leg, to } => self.with_leg(leg, |leg, _| {
                leg.keys_to = to;
                true
            }),
        };
        self.stats.ignored_plans += u64::from(obeyed.is_none());
    }

    /// A datagram of `len` bytes in `buffer` came to our even port `port`. A packet to pass on at once is rewritten in
    /// the buffer; anything else is kept or dropped and counted.
    pub fn handle_rtp(
        &mut self,
        now: Mono,
        port: u16,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<Forward> {
        self.now = now;
        let packet = buffer.get_mut(..len)?;
        let leg = self.leg_on(port)?;
        if is_rtcp(packet) {
            self.on_rtcp_at_rtp_port(now, leg, source, len, buffer);
            return None;
        }
        let here = &mut self.legs[leg];
        let accepted = here.accept(now, source, packet, &self.config, &mut self.events)?;
        let payload = &packet[accepted.header.payload.clone()];
        let codec = accepted.format.codec;
        if let Some(input) = here.input.as_mut().filter(|_| !payload.is_empty()) {
            input.push(now, &accepted.header, accepted.format, payload);
        }
        if let Codec::TelephoneEvent(_) = codec {
            return self.on_key_packet(now, leg, &accepted, buffer);
        }
        if let Some(tap) = &mut here.tap {
            tap.push(now, &accepted.header, accepted.format, payload);
        }
        self.events.extend(here.key_tones(now, &accepted, payload));
        let Route::Relay { to, pts } = &here.route else {
            return None;
        };
        let (to, pt) = (*to, pts[usize::from(accepted.header.pt)]);
        // An empty packet keeps a NAT binding open (RFC 6263) and is nobody's sound.
        if payload.is_empty() {
            return None;
        }
        if pt == NO_FORMAT {
            let payload = accepted.header.payload.clone();
            self.on_unrelayable(now, leg, &accepted, &buffer[payload]);
            return None;
        }
        here.recent.keep(accepted.format, payload);
        self.pass_on(now, to, pt, &accepted, buffer)
    }

    /// Rewrites a packet for the leg in slot `to`.
    fn pass_on(&mut self, now: Mono, to: usize, pt: u8, accepted: &Accepted, buffer: &mut [u8]) -> Option<Forward> {
        let there = &mut self.legs[to];
        let destination = there.rtp_to?;
        let clock = accepted.format.codec.clock_rate();
        let mut header = there.outgoing.relay(now, &accepted.header, pt, clock)?;
        if there.media.video {
            // It ends a picture there, and begins nothing.
            header.marker = accepted.header.marker;
        }
        if let Some(tap) = &mut there.sent_tap {
            tap.push(now, &header, accepted.format, &buffer[accepted.header.payload.clone()]);
        }
        there.sealed(rewritten(buffer, there.port, destination, &header), buffer)
    }

    /// A datagram came to the RTCP port above our even port `port`.
    pub fn handle_rtcp(&mut self, now: Mono, port: u16, source: SocketAddr, packet: &[u8]) {
        if let Some(leg) = self.leg_on(port) {
            self.on_rtcp(now, leg, source, packet);
        }
    }

    fn on_rtcp(&mut self, now: Mono, leg: usize, source: SocketAddr, packet: &[u8]) {
        let known = self.legs[leg].accept_rtcp(now, source, packet, &self.config);
        let here = &self.legs[leg];
        let (true, true, &Route::Relay { to, .. }) = (known, here.media.video, &here.route) else {
            return;
        };
        let said = feedback::translate(packet, &here.outgoing, self.legs[to].outgoing.ssrc);
        if !said.is_empty() && self.feedback.len() < MAX_FEEDBACK {
            self.feedback.push_back((to, said));
        }
    }

    /// When to call [`Engine::handle_timeout`] next; `None` while nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let times = self.next_tick.into_iter().chain(self.next_sweep);
        times.chain(self.next_pulse()).chain(self.listeners.next_due()).min()
    }

    /// Does what is due at `now`. Then ask [`Engine::poll_transmit`] and [`Engine::poll_event`] until both say `None`.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.now = now;
        self.on_pulse(now);
        if self.next_tick.is_some_and(|due| due <= now) {
            self.on_tick(now);
        }
        if self.next_sweep.is_some_and(|due| due <= now) {
            self.on_sweep(now);
        }
        self.answer_inspections(now);
    }

    /// Writes the next packet the engine made into `buffer`, which holds at least [`PACKET_BUFFER`] bytes.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        self.poll_sound(buffer)
            .or_else(|| self.poll_key_packet(buffer))
            .or_else(|| self.poll_feedback(buffer))
            .or_else(|| self.poll_report(buffer))
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next order for the file thread. Ask after [`Engine::apply`] and [`Engine::handle_timeout`], until it is `None`.
    pub fn poll_file_order(&mut self) -> Option<FileOrder> {
        self.streams.poll_order().or_else(|| self.listeners.orders.pop_front())
    }

    /// What the file thread says.
    pub fn handle_file(&mut self, news: FileNews) {
        match news {
            FileNews::Read { stream, block, last } => self.streams.on_read(stream, block, last),
            FileNews::Written { recording, block } => self.listeners.on_written(recording, block),
            FileNews::Recorded { recording, result } => self.events.push_back(Event::Recorded { recording, result }),
        }
    }

    /// Figures of a leg now.
    #[must_use]
    pub fn leg_stats(&self, leg: LegId) -> Option<LegStats> {
        self.leg_slots.get(&leg).map(|&slot| self.legs[slot].stats())
    }

    /// Counters of the engine as a whole.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            starved: self.streams.starved,
            ..self.stats
        }
    }

    fn leg_on(&mut self, port: u16) -> Option<usize> {
        let leg = self.ports[usize::from(port / 2)];
        self.stats.unexpected += u64::from(leg.is_none());
        leg.map(|slot| slot as usize)
    }

    /// The device sends a codec its listener does not have: from now on it is transcoded, if we can.
    fn on_unrelayable(&mut self, now: Mono, leg: usize, accepted: &Accepted, payload: &[u8]) {
        let here = &mut self.legs[leg];
        if !Input::decodes(accepted.format.codec) || here.transcode {
            return here.count_invalid();
        }
        here.transcode = true;
        let room = here.room;
        self.route(room);
        if let Some(input) = self.legs[leg].input.as_mut() {
            input.push(now, &accepted.header, accepted.format, payload);
        }
    }

    fn on_rtcp_at_rtp_port(&mut self, now: Mono, leg: usize, source: SocketAddr, len: usize, buffer: &[u8]) {
        if self.legs[leg].media.rtcp_mux {
            self.on_rtcp(now, leg, source, &buffer[..len]);
        } else {
            self.legs[leg].count_invalid();
        }
    }

    fn on_sweep(&mut self, now: Mono) {
        self.next_sweep = (!self.legs.is_empty()).then(|| now + SWEEP);
        self.close_ears(now);
        for (slot, leg) in &mut self.legs {
            leg.watch(now, &mut self.events);
            if leg.report_is_due(now, (self.random)()) {
                self.reports.push_back(slot);
            }
        }
    }

    fn poll_report(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        while let Some(slot) = self.reports.pop_front() {
            let report = self
                .legs
                .get_mut(slot)
                .and_then(|leg| leg.write_report(self.now, buffer));
            if let Some((port, to, len)) = report {
                return Some(Transmit { port, to, len });
            }
        }
        None
    }

    fn poll_feedback(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        while let Some((slot, said)) = self.feedback.pop_front() {
            let leg = self.legs.get_mut(slot);
            if let Some((port, to, len)) = leg.and_then(|leg| leg.write_feedback(&said, buffer)) {
                return Some(Transmit { port, to, len });
            }
        }
        None
    }

    fn open_room(&mut self, room: Room) -> Option<()> {
        if self.room_slots.contains_key(&room.id) {
            return None;
        }
        let id = room.id;
        self.room_slots.insert(id, self.rooms.insert(room));
        Some(())
    }

    fn close_room(&mut self, id: RoomId) -> Option<()> {
        let slot = *self.room_slots.get(&id)?;
        let legs: Vec<LegId> = self.rooms[slot].members.iter().map(|&(leg, _)| leg).collect();
        legs.into_iter().for_each(|leg| {
            self.close_leg(leg);
        });
        self.room_slots.remove(&id);
        self.end_orphans();
        let mut room = self.rooms.remove(slot);
        room.silence(&mut self.streams);
        self.mixing -= usize::from(room.mixes);
        self.schedule_ticks();
        Some(())
    }

    fn open_leg(&mut self, now: Mono, open: OpenLeg) -> Option<()> {
        let room = *self.room_slots.get(&open.room)?;
        let (id, port) = (open.leg, usize::from(open.port / 2));
        let is_free = self.ports[port].is_none() && open.port.is_multiple_of(2) && !self.leg_slots.contains_key(&id);
        if !is_free {
            return None;
        }
        let slot = self
            .legs
            .insert(Box::new(Leg::new(now, open, room, &self.config, &mut self.random)));
        self.ports[port] = u32::try_from(slot).ok();
        self.leg_slots.insert(id, slot);
        self.rooms[room].join(id, slot);
        self.next_sweep = self.next_sweep.or(Some(now + SWEEP));
        self.route(room);
        self.retap();
        Some(())
    }

    fn close_leg(&mut self, id: LegId) -> Option<()> {
        let slot = self.leg_slots.remove(&id)?;
        self.end_key_tone(slot);
        let leg = self.legs.remove(slot);
        self.ports[usize::from(leg.port / 2)] = None;
        self.outbox.forget(slot);
        self.dialling.forget(slot);
        self.reports.retain(|&due| due != slot);
        self.feedback.retain(|&(to, _)| to != slot);
        self.rooms[leg.room].leave(id);
        self.route(leg.room);
        self.unrecord_leg(id);
        self.events.push_back(Event::LegClosed {
            leg: id,
            port: leg.port,
            stats: Box::new(leg.stats()),
        });
        Some(())
    }

    fn move_leg(&mut self, id: LegId, to: RoomId) -> Option<()> {
        let (slot, to) = (*self.leg_slots.get(&id)?, *self.room_slots.get(&to)?);
        self.end_key_tone(slot);
        let from = std::mem::replace(&mut self.legs[slot].room, to);
        self.rooms[from].leave(id);
        self.rooms[to].join(id, slot);
        self.legs[slot].leave_room();
        self.route(from);
        self.route(to);
        self.retap();
        Some(())
    }

    fn restrict(&mut self, leg: LegId, muted: bool, deaf: bool) -> Option<()> {
        let room = self.legs[*self.leg_slots.get(&leg)?].room;
        self.rooms[room].restrict(leg, muted, deaf);
        self.route(room);
        Some(())
    }

    fn with_leg(&mut self, id: LegId, change: impl FnOnce(&mut Leg, &EngineConfig) -> bool) -> Option<()> {
        let slot = *self.leg_slots.get(&id)?;
        let done = change(&mut self.legs[slot], &self.config);
        self.route(self.legs[slot].room);
        done.then_some(())
    }

    fn with_room(&mut self, id: RoomId, change: impl FnOnce(&mut Room, &mut Streams) -> bool) -> Option<()> {
        let slot = *self.room_slots.get(&id)?;
        let done = change(&mut self.rooms[slot], &mut self.streams);
        self.route(slot);
        self.rooms[slot].begin_players(&mut self.streams);
        done.then_some(())
    }

    /// Levels what a member says, or all members of a room.
    fn control_level(&mut self, room: RoomId, leg: Option<LegId>, on: bool) -> Option<()> {
        let slot = *self.room_slots.get(&room)?;
        match leg {
            Some(leg) => self.legs[*self.leg_slots.get(&leg)?].levelled = on,
            None => self.rooms[slot].mix.levelled = on,
        }
        self.route(slot);
        Some(())
    }

    /// Decides anew how the room's matrix is executed: relay where one member alone is heard by one other, else a mix.
    fn route(&mut self, room: usize) {
        let Engine {
            rooms,
            legs,
            outbox,
            now,
            ..
        } = self;
        let room = &mut rooms[room];
        let relayed = end_relays(room, legs);
        let mut mixes = false;
        for &(id, slot) in &room.members {
            let feed = match room.hears(id) {
                Hears::Nothing => Feed::Nothing,
                Hears::Only(from) if room.mix.levelled || legs[from].levelled => Feed::Mix,
                Hears::Only(from) => relay(legs, from, slot),
                Hears::Several => Feed::Mix,
            };
            mixes |= feed == Feed::Mix;
            let before = std::mem::replace(&mut legs[slot].feed, feed);
            if before == Feed::Relay && feed == Feed::Mix {
                let from = relayed.iter().find(|&&(from, to)| to == slot && legs[from].sends(*now));
                legs[slot].sending.hold = from.map(|&(from, _)| (from, HOLD_TICKS));
            }
            if before == Feed::Mix && feed == Feed::Relay {
                pass_on(room, legs, outbox, slot);
            }
        }
        self.mixing = self.mixing + usize::from(mixes) - usize::from(room.mixes);
        mix_or_end(room, legs, mixes, &relayed);
        self.schedule_ticks();
    }
}

/// Ends every relay of a room; returns from and to of each.
fn end_relays(room: &Room, legs: &mut Legs) -> SmallVec<[(usize, usize); 2]> {
    let mut relayed = SmallVec::new();
    for &(_, slot) in &room.members {
        if let Route::Relay { to, .. } = std::mem::replace(&mut legs[slot].route, Route::Nowhere) {
            relayed.push((slot, to));
        }
    }
    relayed
}

/// What was not yet mixed for the member in slot `to` goes to it as it came, before what is relayed from now on.
fn pass_on(room: &Room, legs: &Legs, outbox: &mut Outbox, to: usize) {
    for &(_, slot) in &room.members {
        let from = &legs[slot];
        if let Route::Relay { to: there, pts } = &from.route
            && *there == to
        {
            outbox.pass_on(from, to, pts);
        }
    }
}

/// Prepares every member for a mix, or puts away what a mix needed.
fn mix_or_end(room: &mut Room, legs: &mut Legs, mixes: bool, relayed: &[(usize, usize)]) {
    let before = std::mem::replace(&mut room.mixes, mixes);
    if !mixes {
        room.members.iter().for_each(|&(_, slot)| legs[slot].end_input());
        room.mix.end();
        return;
    }
    let mut mix = std::mem::take(&mut room.mix);
    let rates = room.members.iter().map(|&(id, slot)| {
        let echo = !room.gain(Source::Leg(id), id).is_mute();
        (mix::rate_of(&legs[slot]), echo)
    });
    let plays_wide = room.players.iter().any(Player::is_wide);
    mix.choose_rate(rates, plays_wide, before);
    mix.forget_unused(&room.members, legs);
    for &(_, slot) in &room.members {
        mix.enroll(&mut legs[slot]);
    }
    for &(from, to) in relayed {
        mix.go_on(legs, from, to);
    }
    room.mix = mix;
}

/// Lets the packets of `from` go to `to`, unless they go to another already or `to` could not play them.
fn relay(legs: &mut Legs, from: usize, to: usize) -> Feed {
    let (here, there) = (&legs[from], &legs[to]);
    let taken = matches!(here.route, Route::Relay { .. });
    let mute = (here.transcode || !here.shares_codec_with(there)) && there.sound_format().is_some();
    if taken || mute {
        return Feed::Mix;
    }
    let pts = here.relay_numbers(there);
    legs[from].route = Route::Relay { to, pts };
    Feed::Relay
}

/// Puts the header right before the payload, where CSRCs and extension may have been.
fn rewritten(buffer: &mut [u8], port: u16, to: SocketAddr, header: &RtpHeader) -> Forward {
    let start = header.payload.start - HEADER;
    buffer[start..header.payload.start].copy_from_slice(&header.to_bytes());
    Forward {
        port,
        to,
        range: start..header.payload.end,
    }
}

#[cfg(test)]
mod tests;
