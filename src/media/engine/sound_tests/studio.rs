//! One engine, its phones, and a file thread in the same thread.

use crate::codec::{Decoder, g711};
use crate::file::{FileNews, FileOrder, FileSound, StreamId};
use crate::plan::{Audience, Codec, Format, Latch, LegMedia, Matrix, Rate, Sound};
use crate::rtp::RtpHeader;
use crate::tone::{Tone, ToneGenerator};
use crate::{Engine, EngineConfig, Event, LegId, OpenLeg, Plan, PlayerId, Recording, RecordingId, RoomId};
use clock::Mono;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub const ROOM: RoomId = RoomId(9);
pub const PLAYER: PlayerId = PlayerId(1);
pub const A: LegId = LegId(1);
pub const B: LegId = LegId(2);
pub const C: LegId = LegId(3);

pub struct Studio {
    pub engine: Engine,
    /// Ticks so far; one is 20 ms.
    pub tick: u64,
    pub phones: Vec<Phone>,
    pub events: Vec<Event>,
    pub files: Files,
}

/// A device that may send a tone and keeps what it hears.
pub struct Phone {
    pub leg: LegId,
    voice: Option<ToneGenerator>,
    sent: u16,
    decoder: Decoder,
    pub heard: Vec<i16>,
    pub packets: Vec<RtpHeader>,
}

/// A file thread that is done at once, unless it is `stuck`. A prompt named `440` is one second of 440 Hz; music `600` is
/// 600 Hz for ever. Any other name is no file.
#[derive(Default)]
pub struct Files {
    streams: BTreeMap<StreamId, Option<(ToneGenerator, usize)>>,
    waiting: Vec<FileOrder>,
    pub stuck: bool,
    /// What was opened.
    pub opened: Vec<FileSound>,
    pub closed: usize,
    pub tapes: BTreeMap<RecordingId, Tape>,
}

/// What was written of one recording.
#[derive(Default)]
pub struct Tape {
    pub name: String,
    pub channels: u16,
    pub samples: Vec<i16>,
    /// When it ended: what is missing.
    pub missing: Option<Duration>,
}

impl Tape {
    /// How loud a frequency is in a channel, in dBm0.
    pub fn level(&self, channel: usize, hz: f32) -> f32 {
        let samples: Vec<i16> = self
            .samples
            .chunks(self.channels.into())
            .map(|frame| frame[channel])
            .collect();
        crate::goertzel::level_dbm0(&samples, hz, 8_000)
    }
}

impl Studio {
    pub fn new(matrix: Matrix) -> Studio {
        let mut n = 0x9e37_79b9_7f4a_7c15u64;
        let random = move || {
            n ^= n << 13;
            n ^= n >> 7;
            n ^= n << 17;
            n
        };
        let mut studio = Studio {
            engine: Engine::new(EngineConfig::default(), Box::new(random)),
            tick: 0,
            phones: Vec::new(),
            events: Vec::new(),
            files: Files::default(),
        };
        studio.open_room(ROOM, matrix);
        studio
    }

    pub fn open_room(&mut self, room: RoomId, matrix: Matrix) {
        let rate = Rate::Full;
        self.apply(Plan::OpenRoom { room, matrix, rate });
    }

    /// A phone that speaks PCMU joins; with a frequency it sends that at -16 dBm0.
    pub fn join(&mut self, leg: LegId, room: RoomId, hz: Option<f32>) {
        self.join_as(leg, room, Codec::Pcmu, hz);
    }

    /// The same with another codec; only one of PCMU may speak.
    pub fn join_as(&mut self, leg: LegId, room: RoomId, codec: Codec, hz: Option<f32>) {
        let media = LegMedia {
            remote: Some(address(leg)),
            formats: [Format {
                pt_in: 0,
                pt_out: 0,
                codec,
            }]
            .into_iter()
            .collect(),
            ..LegMedia::default()
        };
        let (port, latch, media_timeout) = (port(leg), Latch::SdpHost, None);
        self.apply(Plan::OpenLeg(Box::new(OpenLeg {
            leg,
            room,
            port,
            media,
            latch,
            media_timeout,
        })));
        self.phones.push(Phone {
            leg,
            voice: hz.map(|hz| ToneGenerator::new(&Tone::steady(hz, -16.0), 8_000)),
            sent: 0,
            decoder: Decoder::new(codec, Rate::Full).unwrap(),
            heard: Vec::new(),
            packets: Vec::new(),
        });
    }

    pub fn apply(&mut self, plan: Plan) {
        self.engine.apply(self.now(), plan);
        self.settle();
    }

    pub fn play(&mut self, room: RoomId, sound: Sound, to: Audience) {
        self.apply(Plan::Play {
            room,
            player: PLAYER,
            sound,
            to,
        });
    }

    pub fn now(&self) -> Mono {
        Mono(self.tick * 20_000_000)
    }

    pub fn phone(&self, leg: LegId) -> &Phone {
        self.phones.iter().find(|phone| phone.leg == leg).unwrap()
    }

    /// Forgets what was heard so far.
    pub fn listen_anew(&mut self) {
        self.phones.iter_mut().for_each(|phone| phone.heard.clear());
    }

    /// Lets 20 ms pass `ticks` times: each phone sends, the engine does what is due.
    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.tick += 1;
            for at in 0..self.phones.len() {
                if let Some((leg, packet)) = self.phones[at].speak() {
                    self.receive(leg, &packet);
                }
            }
            let now = self.now();
            while self.engine.poll_timeout().is_some_and(|due| due <= now) {
                self.engine.handle_timeout(now);
                self.settle();
            }
        }
    }

    fn receive(&mut self, leg: LegId, packet: &[u8]) {
        let mut buffer = [0; 2048];
        buffer[..packet.len()].copy_from_slice(packet);
        let now = self.now();
        let onward = self
            .engine
            .handle_rtp(now, port(leg), address(leg), &mut buffer, packet.len());
        if let Some(forward) = onward {
            self.deliver(forward.to, &buffer[forward.range]);
        }
    }

    /// The file thread is done with what it has, and the engine with what that says.
    pub fn settle(&mut self) {
        let mut buffer = [0; 2048];
        while let Some(sent) = self.engine.poll_transmit(&mut buffer) {
            self.deliver(sent.to, &buffer[..sent.len]);
        }
        self.events.extend(std::iter::from_fn(|| self.engine.poll_event()));
        self.files
            .waiting
            .extend(std::iter::from_fn(|| self.engine.poll_file_order()));
        if !self.files.stuck {
            for order in std::mem::take(&mut self.files.waiting) {
                self.files
                    .obey(order)
                    .into_iter()
                    .for_each(|news| self.engine.handle_file(news));
            }
        }
        self.events.extend(std::iter::from_fn(|| self.engine.poll_event()));
    }

    fn deliver(&mut self, to: SocketAddr, packet: &[u8]) {
        if let Some(phone) = self.phones.iter_mut().find(|phone| address(phone.leg) == to) {
            let header = RtpHeader::parse(packet).unwrap();
            phone.decoder.decode(&packet[header.payload.clone()], &mut phone.heard);
            phone.packets.push(header);
        }
    }
}

impl Phone {
    fn speak(&mut self) -> Option<(LegId, Vec<u8>)> {
        let mut samples = [0; 160];
        self.voice.as_mut()?.fill(&mut samples);
        let header = RtpHeader {
            marker: false,
            pt: 0,
            sequence: self.sent,
            timestamp: u32::from(self.sent) * 160,
            ssrc: 7 + self.leg.0 as u32,
            payload: 12..172,
        };
        self.sent += 1;
        let sound = samples.iter().map(|&sample| g711::to_mu(sample));
        Some((self.leg, header.to_bytes().into_iter().chain(sound).collect()))
    }

    /// How loud it heard a frequency over everything it heard, in dBm0.
    pub fn level(&self, hz: f32) -> f32 {
        crate::goertzel::level_dbm0(&self.heard, hz, self.decoder.rate().hz())
    }
}

impl Files {
    fn obey(&mut self, order: FileOrder) -> Option<FileNews> {
        match order {
            FileOrder::Open { stream, sound, rate } => {
                let (name, seconds) = match &sound {
                    FileSound::Prompt(name) => (name, 1),
                    FileSound::Music(name) => (name, usize::MAX / 48_000),
                };
                let generator = |hz| ToneGenerator::new(&Tone::steady(hz, -16.0), rate.hz());
                let tone = name
                    .parse()
                    .ok()
                    .map(|hz| (generator(hz), seconds * rate.hz() as usize));
                self.streams.insert(stream, tone);
                self.opened.push(sound);
                None
            }
            FileOrder::Read { stream, mut block } => {
                let length = block.capacity();
                let last = match self.streams.get_mut(&stream)? {
                    Some((generator, left)) => {
                        block.resize(length.min(*left), 0);
                        generator.fill(&mut block);
                        *left -= block.len();
                        *left == 0
                    }
                    None => true,
                };
                Some(FileNews::Read { stream, block, last })
            }
            FileOrder::Close { stream } => {
                self.streams.remove(&stream);
                self.closed += 1;
                None
            }
            FileOrder::Create {
                recording,
                name,
                channels,
                ..
            } => {
                let tape = Tape {
                    name: name.into(),
                    channels,
                    ..Tape::default()
                };
                self.tapes.insert(recording, tape);
                None
            }
            FileOrder::Write { recording, block } => {
                self.tapes
                    .get_mut(&recording)
                    .unwrap()
                    .samples
                    .extend_from_slice(&block);
                Some(FileNews::Written { recording, block })
            }
            FileOrder::Finish { recording, missing } => {
                self.tapes.get_mut(&recording).unwrap().missing = Some(missing);
                let result = Box::new(Recording {
                    missing,
                    ..Recording::default()
                });
                Some(FileNews::Recorded { recording, result })
            }
        }
    }
}

fn address(leg: LegId) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg.0 as u8], 4_000))
}

fn port(leg: LegId) -> u16 {
    16_384 + 2 * leg.0 as u16
}
