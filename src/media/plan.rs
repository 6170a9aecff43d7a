//! The one interface from call control to the media engine: who is connected to which port, and who hears whom.
//!
//! A room is a matrix. [`Matrix`] says what holds where no edge was named; [`Edge`]s name the exceptions. Control edits
//! the matrix and never says how to execute it: the engine relays, transcodes or mixes as is cheapest.

use crate::codec::OpusParameters;
pub use crate::record::{Recorded, RecordingId, Side, StartRecord};
use crate::sdp::Direction;
pub use crate::sound::Sound;
use crate::srtp::KeyPair;
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A media room. Chosen by control, unique in the node, opaque here.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// One device's media. Chosen by control, unique in the node, opaque here.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// A sound that plays in a room. Chosen by control, unique in its room.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayerId(pub u64);

/// A media worker: one thread with its own sockets, ports and [`crate::Engine`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// An order from control to one worker. Orders are obeyed in the order given.
///
/// Nothing here fails: an order that names an unknown room or leg is counted and ignored, because the call it belonged
/// to has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Bind this many more port pairs and say [`crate::Event::PortsBound`]. For the worker; the engine ignores it.
    BindPorts {
        /// Even ports wanted, each with its RTCP port above it.
        count: u16,
    },
    /// The port will be a leg's: what comes to it from now on is kept until the leg is opened, the latest packets only,
    /// because a device may speak before its answer has arrived. For the worker; the engine ignores it.
    HoldPort {
        /// Our even port.
        port: u16,
    },
    /// The port is no leg's after all. For the worker; the engine ignores it.
    ReleasePort {
        /// Our even port.
        port: u16,
    },
    /// A new, empty room.
    OpenRoom {
        /// Its name from now on.
        room: RoomId,
        /// What holds between members where no edge says otherwise.
        matrix: Matrix,
        /// Highest sampling rate of the mix, if it comes to mixing; it is no higher than the members' codecs need.
        rate: Rate,
    },
    /// Ends a room; its legs must have been closed or moved first, any left are closed.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// A device joins a room.
    OpenLeg(Box<OpenLeg>),
    /// A new agreement with the device: after each offer/answer exchange. Arms latching again.
    UpdateLeg {
        /// The leg.
        leg: LegId,
        /// What was agreed.
        media: LegMedia,
        /// As in [`OpenLeg::media_timeout`].
        media_timeout: Option<Duration>,
    },
    /// Ends a leg: [`crate::Event::LegClosed`] follows with its figures, then its port is no longer read.
    CloseLeg {
        /// The leg.
        leg: LegId,
    },
    /// Takes a leg to another room of the same worker; its streams go on without a gap.
    MoveLeg {
        /// The leg.
        leg: LegId,
        /// Where to.
        room: RoomId,
    },
    /// Edits the matrix of a room; all edges change at one moment.
    SetEdges {
        /// The room.
        room: RoomId,
        /// The edges that change.
        edges: Vec<Edge>,
    },
    /// A member that nobody hears, or that hears nobody of the members, whatever matrix and edges say: it keeps to the leg
    /// while it is in this room. A deaf member hears players, and silence else.
    Restrict {
        /// The leg.
        leg: LegId,
        /// Nobody hears it.
        muted: bool,
        /// It hears nobody.
        deaf: bool,
    },
    /// Starts a sound. A player with the same id is replaced.
    Play {
        /// The room.
        room: RoomId,
        /// Its name from now on.
        player: PlayerId,
        /// What to play.
        sound: Sound,
        /// Who hears it; edges from [`Source::Player`] add to it.
        to: Audience,
    },
    /// Brings what members say to one level, slowly and within 12 dB (automatic level control), or ends that.
    ControlLevel {
        /// The room.
        room: RoomId,
        /// One member, wherever it goes; `None` is every member of the room.
        leg: Option<LegId>,
        /// From now on, or no more.
        on: bool,
    },
    /// Ends a sound.
    StopPlay {
        /// The room.
        room: RoomId,
        /// The player.
        player: PlayerId,
    },
    /// Begins to record. Who is relayed stays relayed: the recorder taps the packets.
    StartRecord(Box<StartRecord>),
    /// A leg joins a recording of sides, changes its side, or (`None`) leaves it.
    RecordLeg {
        /// The recording.
        recording: RecordingId,
        /// The leg.
        leg: LegId,
        /// In which channel.
        side: Option<Side>,
    },
    /// What is said while a recording pauses is not in the file, and leaves no gap in it.
    PauseRecord {
        /// The recording.
        recording: RecordingId,
        /// From now on.
        paused: bool,
    },
    /// Ends a recording: [`crate::Event::Recorded`] follows when it is on disk. It ends by itself with its last leg, or its
    /// room.
    StopRecord {
        /// The recording.
        recording: RecordingId,
    },
    /// Listens to legs for about half a second, unless somebody has asked within the last ten, and says
    /// [`crate::Event::Inspected`].
    Inspect {
        /// Joins it to its answer.
        token: u64,
        /// Which legs.
        legs: Vec<LegId>,
    },
    /// Presses keys towards a device: as packets (RFC 4733) where they were agreed, else as tones only it hears. They
    /// follow those it has not heard yet.
    SendDtmf {
        /// Who hears them.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`; others are left out.
        digits: Box<str>,
        /// How long each is held; kept between 40 ms and 6 s.
        duration: Duration,
    },
    /// Says where a leg's own key presses go from now on. [`crate::Event::Dtmf`] is said of them in any case.
    SetDtmf {
        /// Whose keys.
        leg: LegId,
        /// Where they go.
        to: DtmfTo,
    },
}

/// Where a leg's key presses go: an edge of their own, because a monitor hears sound and must not hear a PIN.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum DtmfTo {
    /// To the other member of a room of two; to nobody in a larger one.
    #[default]
    Pair,
    /// To this member of the same room, whoever else is there.
    Leg(LegId),
    /// To nobody: a PIN is entered.
    Nobody,
}

/// A device joins a room.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenLeg {
    /// Its name from now on.
    pub leg: LegId,
    /// The room it joins.
    pub room: RoomId,
    /// Our RTP port for it, from [`crate::PortPool`]; RTCP is one above.
    pub port: u16,
    /// What was agreed with the device so far.
    pub media: LegMedia,
    /// Where else than the SDP address packets may come from.
    pub latch: Latch,
    /// [`crate::Event::MediaTimeout`] after this long without RTP and RTCP while the device should send and is not on
    /// hold. `None` (before the answer): never.
    pub media_timeout: Option<Duration>,
}

/// What offer and answer agreed for one leg, in the engine's terms; [`crate::sdp::Negotiation::leg_media`] makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegMedia {
    /// Where the device wants RTP; `None` when its SDP named no usable address (then only latching finds it).
    pub remote: Option<SocketAddr>,
    /// Where it wants RTCP: `a=rtcp`, else one above `remote`, or `remote` itself with rtcp-mux.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP shares the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Payload formats agreed, most wanted first.
    pub formats: SmallVec<[Format; 4]>,
    /// What we do: `RecvOnly` never sends to the device.
    pub direction: Direction,
    /// The device holds us: it asked for sendonly, inactive, or 0.0.0.0.
    pub on_hold: bool,
    /// Milliseconds of sound in each packet the device wants; 0 when it did not say (then 20).
    pub ptime_ms: u8,
    /// The most milliseconds of sound in a packet the device takes; 0 when it did not say.
    pub maxptime_ms: u8,
    /// What the device wants of Opus.
    pub opus: OpusParameters,
    /// Keys of both directions: all packets of the leg are SRTP and SRTCP. They may come from SDP (RFC 4568) or, later,
    /// from a DTLS handshake; the engine does not care.
    pub srtp: Option<Box<KeyPair>>,
    /// It is a picture: it is only ever passed on, and what its viewer says about it goes back to who makes it.
    pub video: bool,
    /// Listen for key presses in the sound (G.711 only). For devices that agreed to no packets for them.
    pub inband_dtmf: bool,
}

/// One payload format of a leg.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type in packets from the device.
    pub pt_in: u8,
    /// Payload type in packets to the device.
    pub pt_out: u8,
    /// What it means.
    pub codec: Codec,
}

/// The meaning of a payload type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722; samples at 16 kHz, RTP clock 8 kHz (RFC 3551 section 4.5.2).
    G722,
    /// Opus, RTP clock 48 kHz (RFC 7587).
    Opus,
    /// Linear 16 bit, mono, at this rate.
    L16(u32),
    /// Comfort noise (RFC 3389) at this clock rate.
    ComfortNoise(u32),
    /// RFC 4733 events at this clock rate.
    TelephoneEvent(u32),
    /// Anything else: relayed, never decoded. Equal `id` means the same format on both legs.
    Other {
        /// Digest of name, rate, channels and rank among equals.
        id: u32,
        /// RTP clock rate in Hz.
        clock: u32,
    },
}

impl Codec {
    /// RTP timestamp units per second.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::Opus => 48_000,
            Codec::L16(rate) | Codec::ComfortNoise(rate) | Codec::TelephoneEvent(rate) => rate,
            Codec::Other { clock, .. } => clock,
        }
    }

    /// Sound itself, and not comfort noise or key presses beside it.
    #[must_use]
    pub fn is_sound(self) -> bool {
        !matches!(self, Codec::ComfortNoise(_) | Codec::TelephoneEvent(_))
    }
}

/// Which sources other than the address in the SDP a leg may learn (RFC 7362 hosted NAT traversal).
///
/// The SDP address itself is always accepted, at once. Any other source must send packets in sequence first.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Latch {
    /// Another port of the SDP's host only.
    #[default]
    SdpHost,
    /// Also this host: where the device's authenticated signalling came from.
    Host(IpAddr),
    /// Any host. For trunks with media far from signalling.
    Any,
}

/// What members of a room hear where no edge was named.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Matrix {
    /// Everybody hears everybody else: a call, a conference.
    #[default]
    Everyone,
    /// Nobody hears anybody: every edge is named.
    Nobody,
}

/// Samples per second of a room's mix.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// 8 kHz.
    #[default]
    Narrow,
    /// 16 kHz.
    Wide,
    /// 48 kHz.
    Full,
}

impl Rate {
    /// Samples per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Rate::Narrow => 8_000,
            Rate::Wide => 16_000,
            Rate::Full => 48_000,
        }
    }

    /// Samples in one 20 ms tick.
    #[must_use]
    pub const fn frame(self) -> usize {
        (self.hz() / 50) as usize
    }
}

/// One cell of the matrix.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Edge {
    /// Who is heard.
    pub from: Source,
    /// Who hears. Equal to `from` it is an echo.
    pub to: LegId,
    /// How loud; `None` forgets the edge, so that the room's [`Matrix`] holds again.
    pub gain: Option<Gain>,
}

/// Who can be heard.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A member.
    Leg(LegId),
    /// A sound.
    Player(PlayerId),
}

/// A factor on samples in 1/256: 0 is mute, 256 leaves them as they are, at most 4096 (24 dB).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Gain(u16);

impl Gain {
    /// Not heard.
    pub const MUTE: Gain = Gain(0);
    /// As loud as sent.
    pub const UNITY: Gain = Gain(256);

    /// From decibels, clamped to -48 and 24; below -48 it is mute.
    #[must_use]
    pub fn from_db(db: f32) -> Gain {
        if !db.is_finite() || db < -48.0 {
            return Gain::MUTE;
        }
        // At most 256 * 10^1.2 = 4057, so the cast is exact after rounding.
        Gain((256.0 * 10f32.powf(db.min(24.0) / 20.0)).round() as u16)
    }

    /// The factor in 1/256.
    #[must_use]
    pub fn factor(self) -> i32 {
        i32::from(self.0)
    }

    /// Nothing to be heard.
    #[must_use]
    pub fn is_mute(self) -> bool {
        self.0 == 0
    }
}

/// Who hears a player.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member of the room.
    Room,
    /// One member.
    Leg(LegId),
    /// Nobody but those named by edges.
    Edges,
}
