//! SDP, RTP, rooms and the mixer; has never heard of SIP.
//!
//! Two halves meet in [`Plan`] and [`Event`]. Call control negotiates ([`sdp::Negotiation`]), takes ports
//! ([`PortPool`]) and edits rooms. A worker thread owns an [`Engine`], feeds it packets and time, and sends what it says.

pub mod codec;
pub mod dtmf;
pub mod ear;
pub mod engine;
pub mod event;
pub mod file;
pub mod goertzel;
pub mod jitter;
pub mod limiter;
pub mod mixer;
pub mod plan;
pub mod plc;
pub mod ports;
pub mod record;
pub mod rtp;
pub mod sdp;
pub mod sound;
pub mod splice;
pub mod srtp;
pub mod tone;
pub mod tune;

pub use ear::{Heard, HeardTone};
pub use engine::{Engine, EngineConfig, EngineStats, Forward, Transmit};
pub use event::{DtmfBy, Event, LegSound, LegStats, Way};
pub use file::{FileNews, FileOrder, FileSound, StreamId};
pub use plan::{LegId, LegMedia, OpenLeg, Plan, PlayerId, RoomId, WorkerId};
pub use ports::{NoPort, PoolConfig, Port, PortPool};
pub use record::{Recorded, Recording, RecordingId, Side, StartRecord};
