//! Phones of every codec behind a network, in virtual time.

use super::*;
use crate::codec::{Decoder, Encoder, OpusParameters, best_rate};
use crate::tone::ToneGenerator;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

pub(super) const G722: Format = format(9, Codec::G722);
pub(super) const OPUS: Format = format(107, Codec::Opus);
pub(super) const WIDE: Format = format(97, Codec::L16(16_000));
pub(super) const FULL: Format = format(98, Codec::L16(48_000));
pub(super) const NOISE: Format = format(13, Codec::ComfortNoise(8_000));
pub(super) const CODECS: [Format; 6] = [PCMU, PCMA, G722, OPUS, WIDE, FULL];

const fn format(pt: u8, codec: Codec) -> Format {
    Format {
        pt_in: pt,
        pt_out: pt,
        codec,
    }
}

/// A phone that sends a tone of its own and remembers what it hears.
pub(super) struct Device {
    pub leg: LegId,
    pub port: u16,
    pub address: String,
    pub format: Format,
    pub hz: f32,
    pub ticks_per_packet: usize,
    /// Its clock runs this much faster.
    pub ppm: i64,
    pub headers: Vec<RtpHeader>,
    pub payloads: Vec<Vec<u8>>,
    pub heard: Vec<i16>,
    level: f32,
    encoder: Encoder,
    decoder: Decoder,
    tone: ToneGenerator,
    sequence: u16,
    timestamp: u32,
    due: u64,
    ssrc: u32,
    silent: bool,
    /// Samples after which its tone turns its phase, and how many it has made.
    turns: Option<usize>,
    made: usize,
}

impl Device {
    /// The n-th phone of a scene. Within 200 ms and within 40 ms its tone has whole periods, within 20 ms it has not: a packet
    /// too many or too few turns its phase.
    pub fn new(n: u16, format: Format, level: f32) -> Device {
        Device::with_tone(n, format, 325.0 + 50.0 * f32::from(n), level)
    }

    pub fn with_tone(n: u16, format: Format, hz: f32, level: f32) -> Device {
        let rate = best_rate(format.codec).unwrap();
        let encoder = Encoder::new(format.codec, rate, &OpusParameters::default()).unwrap();
        Device {
            leg: LegId(100 + u64::from(n)),
            port: 20_000 + 2 * n,
            address: format!("192.0.2.{}:{}", 1 + n % 250, 4000 + 2 * n),
            format,
            hz,
            ticks_per_packet: 1,
            ppm: 0,
            headers: Vec::new(),
            payloads: Vec::new(),
            heard: Vec::new(),
            level,
            tone: ToneGenerator::new(&Tone::steady(hz, level), rate.hz()),
            encoder,
            decoder: Decoder::new(format.codec, rate).unwrap(),
            sequence: 65_500,
            timestamp: u32::MAX - 20_000,
            due: u64::from(n % 20) * 1_000_000,
            ssrc: u32::from(20_000 + 2 * n),
            silent: false,
            turns: None,
            made: 0,
        }
    }

    /// From now on its tone turns its phase as often as that of a modem.
    pub fn turn_phase_each(&mut self, ms: usize) {
        self.turns = Some(self.encoder.rate().hz() as usize * ms / 1_000);
    }

    /// Another codec from now on, in the same stream.
    pub fn change_codec(&mut self, format: Format) {
        let before = self.encoder.rate();
        let fresh = Device::with_tone(0, format, self.hz, self.level);
        (self.format, self.encoder, self.decoder) = (format, fresh.encoder, fresh.decoder);
        assert_eq!(before, self.encoder.rate(), "the tone goes on");
    }

    /// The same at whatever rate: what it heard before is forgotten, because it has the other one's samples.
    pub fn renegotiate(&mut self, format: Format) {
        let fresh = Device::with_tone(0, format, self.hz, self.level);
        self.tone.set_rate(fresh.encoder.rate().hz());
        (self.format, self.encoder, self.decoder) = (format, fresh.encoder, fresh.decoder);
        self.heard.clear();
    }

    /// Another tone from now on.
    pub fn change_tone(&mut self, hz: f32) {
        (self.hz, self.tone) = (
            hz,
            ToneGenerator::new(&Tone::steady(hz, self.level), self.encoder.rate().hz()),
        );
    }

    pub fn silence(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Only listens.
    pub fn send_nothing(&mut self) {
        self.due = u64::MAX / 2;
    }

    /// Sends nothing for so long; returns the number and the timestamp it goes on with.
    pub fn pause(&mut self, ms: u64) -> (u16, u32) {
        self.due += ms * 1_000_000;
        self.timestamp = self
            .timestamp
            .wrapping_add(ms as u32 * (self.format.codec.clock_rate() / 1_000));
        (self.sequence, self.timestamp)
    }

    pub fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// Begins a new stream, with other numbers.
    pub fn change_ssrc(&mut self) {
        (self.ssrc, self.sequence, self.timestamp) = (self.ssrc + 1, 7, 9);
    }

    /// The next packet and when it leaves.
    fn next_packet(&mut self) -> (u64, Vec<u8>) {
        let due = self.due;
        let nanos = self.ticks_per_packet as i64 * 20_000_000;
        self.due += (nanos - nanos * self.ppm / 1_000_000) as u64;
        let header = RtpHeader {
            marker: false,
            pt: self.format.pt_in,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload: 12..12,
        };
        let mut bytes = header.to_bytes().to_vec();
        let mut frame = vec![0; self.encoder.rate().frame()];
        for _ in 0..self.ticks_per_packet {
            self.tone.fill(&mut frame);
            if self.silent {
                frame.fill(0);
            }
            for sample in &mut frame {
                let turned = self.turns.is_some_and(|every| self.made / every % 2 == 1);
                *sample = if turned { -*sample } else { *sample };
                self.made += 1;
            }
            self.encoder.encode(&frame, &mut bytes);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let units = self.format.codec.clock_rate() / 50 * self.ticks_per_packet as u32;
        self.timestamp = self.timestamp.wrapping_add(units);
        (due, bytes)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let header = read(bytes);
        let payload = &bytes[header.payload.clone()];
        if header.pt == self.format.pt_out {
            assert!(self.decoder.decode(payload, &mut self.heard));
            self.payloads.push(payload.to_vec());
        }
        self.headers.push(header);
    }

    pub fn hz_of_samples(&self) -> u32 {
        self.decoder.rate().hz()
    }

    /// Samples it heard in the last so many milliseconds.
    pub fn last_ms(&self, ms: usize) -> &[i16] {
        let count = self.hz_of_samples() as usize * ms / 1000;
        &self.heard[self.heard.len() - count..]
    }

    /// Level of a frequency in the last 400 ms.
    pub fn level_of(&self, hz: f32) -> f32 {
        level_dbm0(self.last_ms(400), hz, self.hz_of_samples())
    }

    /// The least and the highest level of a tone in any 40 ms since `from_ms` of what was heard.
    pub fn steadiness(&self, hz: f32, from_ms: usize) -> (f32, f32) {
        let per_ms = self.hz_of_samples() as usize / 1000;
        let windows = self.heard[from_ms * per_ms..].windows(40 * per_ms).step_by(5 * per_ms);
        let levels = windows.map(|window| level_dbm0(window, hz, self.hz_of_samples()));
        levels.fold((f32::MAX, f32::MIN), |(low, high), level| {
            (low.min(level), high.max(level))
        })
    }

    /// The same of all that was heard, in 20 ms, whatever its phase.
    pub fn loudness(&self, from_ms: usize) -> (f32, f32) {
        let per_ms = self.hz_of_samples() as usize / 1000;
        let windows = self.heard[from_ms * per_ms..].windows(20 * per_ms).step_by(5 * per_ms);
        let levels = windows.map(|window| {
            let power: f32 = window.iter().map(|&s| f32::from(s).powi(2)).sum::<f32>() / window.len() as f32;
            10.0 * (power.max(0.01) * 2.0 / (22_302.0 * 22_302.0)).log10()
        });
        levels.fold((f32::MAX, f32::MIN), |(low, high), level| {
            (low.min(level), high.max(level))
        })
    }

    /// One SSRC, no number left out, timestamps that go on by whole packets.
    pub fn assert_gapless(&self) {
        let step = self.format.codec.clock_rate() / 50 * self.ticks_per_packet as u32;
        for (n, pair) in self.headers.windows(2).enumerate() {
            // 20 ms at 48 kHz are more than a datagram holds: what is not relayed comes in halves.
            let step = match self.format == FULL {
                true => pair[0].payload.len() as u32 / 2,
                false => step,
            };
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "packet {n}");
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), step, "packet {n}");
        }
    }
}

/// What the network does with a packet: when it arrives after it was sent, in milliseconds; once, more often, or never.
pub(super) type Net = Box<dyn FnMut(u64) -> Vec<u64>>;

/// Devices, one worker, and the packets on their way.
pub(super) struct Scene {
    pub worker: Worker,
    pub devices: Vec<Device>,
    pub net: Net,
    pub now: u64,
    order: u64,
    flying: BinaryHeap<Reverse<(u64, u64, usize)>>,
    packets: BTreeMap<u64, Vec<u8>>,
    sent: u64,
}

impl Scene {
    /// All devices in one room.
    pub fn new(devices: Vec<Device>, matrix: Matrix) -> Scene {
        let mut worker = Worker::new();
        worker.apply(Plan::CloseRoom { room: ROOM });
        worker.apply(open_room(ROOM, matrix));
        let mut scene = Scene {
            worker,
            devices: Vec::new(),
            net: Box::new(|_| vec![0]),
            now: 0,
            order: 0,
            flying: BinaryHeap::new(),
            packets: BTreeMap::new(),
            sent: 0,
        };
        devices.into_iter().for_each(|device| scene.join(device, &[]));
        scene
    }

    pub fn join(&mut self, mut device: Device, more: &[Format]) {
        let formats = [&[device.format], more, &[keys(101, 101)]].concat();
        let media = LegMedia {
            ptime_ms: device.ticks_per_packet as u8 * 20,
            ..media(&device.address, &formats)
        };
        self.apply(open(device.leg, device.port, media));
        device.due += self.now;
        self.devices.push(device);
    }

    pub fn apply(&mut self, plan: Plan) {
        self.worker.engine.apply(Mono(self.now), plan);
        self.transmit();
        self.worker.drain_events();
    }

    pub fn edge(&self, from: usize, to: usize, gain: Gain) -> Edge {
        Edge {
            from: Source::Leg(self.devices[from].leg),
            to: self.devices[to].leg,
            gain: Some(gain),
        }
    }

    pub fn level(&self, listener: usize, talker: usize) -> f32 {
        self.devices[listener].level_of(self.devices[talker].hz)
    }

    /// Lets so many milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms * 1_000_000;
        for at in 0..self.devices.len() {
            while self.devices[at].due < until {
                let (due, bytes) = self.devices[at].next_packet();
                self.launch(due, at, &bytes);
            }
        }
        while let Some(Reverse((when, order, at))) = self.flying.peek().copied().filter(|next| next.0.0 < until) {
            self.flying.pop();
            self.pass_time(when);
            let bytes = self.packets.remove(&order).unwrap();
            let (port, address) = (self.devices[at].port, self.devices[at].address.clone());
            if let Some((to, _, bytes)) = self.worker.rtp(Mono(when), port, &address, &bytes) {
                self.arrive(to, &bytes);
            }
            self.now = when;
            self.transmit();
        }
        self.pass_time(until);
        self.now = until;
    }

    fn launch(&mut self, due: u64, at: usize, bytes: &[u8]) {
        self.sent += 1;
        if bytes.len() == 12 {
            return;
        }
        for delay in (self.net)(self.sent) {
            self.order += 1;
            self.flying.push(Reverse((due + delay * 1_000_000, self.order, at)));
            self.packets.insert(self.order, bytes.to_vec());
        }
    }

    fn pass_time(&mut self, until: u64) {
        for (_, port, _, bytes) in self.worker.run(Mono(until)) {
            self.arrive(port, &bytes);
        }
    }

    fn transmit(&mut self) {
        let mut buffer = [0; PACKET_BUFFER];
        while let Some(Transmit { port, len, .. }) = self.worker.engine.poll_transmit(&mut buffer) {
            self.arrive(port, &buffer[..len]);
        }
    }

    fn arrive(&mut self, port: u16, bytes: &[u8]) {
        if let Some(device) = self.devices.iter_mut().find(|device| device.port == port) {
            device.hear(bytes);
        }
    }
}

pub(super) fn open_room(room: RoomId, matrix: Matrix) -> Plan {
    Plan::OpenRoom {
        room,
        matrix,
        rate: Rate::Full,
    }
}

/// The same numbers for the same seed.
pub(super) fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}
