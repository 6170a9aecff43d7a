//! What the media engine tells call control.

use crate::plan::{Codec, LegId, PlayerId, RoomId, WorkerId};
use std::net::SocketAddr;
use std::time::Duration;

/// From a media worker to call control.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The worker holds these even ports, and the odd one above each, open from now on.
    PortsBound {
        /// Which worker reads them; legs on these ports belong into its rooms.
        worker: WorkerId,
        /// Even port numbers.
        ports: Vec<u16>,
    },
    /// The worker could not bind the ports it was asked for: the range or the file descriptors are used up.
    PortsExhausted {
        /// Which worker.
        worker: WorkerId,
    },
    /// Neither RTP nor RTCP came for the leg's `media_timeout`. Said once, again only after packets came.
    MediaTimeout {
        /// The silent leg.
        leg: LegId,
    },
    /// The leg's RTP source is known: packets are accepted from here, and sent here, from now on.
    Latched {
        /// The leg.
        leg: LegId,
        /// The source.
        source: SocketAddr,
        /// It is the address in the device's SDP.
        as_signalled: bool,
    },
    /// A key was pressed (RFC 4733); once per key press.
    Dtmf {
        /// Whose key.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was held, as far as packets told.
        duration: Duration,
    },
    /// A member began or ceased to speak. Only in rooms that mix.
    Talking {
        /// The member.
        leg: LegId,
        /// Speaks now.
        talking: bool,
    },
    /// A player came to its end (never said of a tone without end, nor of a stopped player).
    Played {
        /// Its room.
        room: RoomId,
        /// The player.
        player: PlayerId,
    },
    /// The leg is closed; nothing more is said about it and its port may rest.
    LegClosed {
        /// The leg.
        leg: LegId,
        /// Its figures, for the CDR.
        stats: Box<LegStats>,
    },
}

/// Figures of one leg since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegStats {
    /// What the device sends, by its last packet of sound.
    pub codec: Option<Codec>,
    /// RTP packets accepted from the device.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// RTP packets sent to the device.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
    /// Packets of the device that never came, by sequence numbers (RFC 3550 appendix A.3).
    pub lost: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets from a source that is not the device's: dropped unread.
    pub strangers: u64,
    /// Packets that were no RTP or RTCP, or carried a payload type nobody agreed to.
    pub invalid: u64,
    /// Interarrival jitter of packets from the device (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// Jitter the device reports of our packets.
    pub remote_jitter: Duration,
    /// Packets of ours the device reports lost.
    pub remote_lost: u64,
    /// Round-trip time by the last receiver report that allowed to compute it.
    pub round_trip: Option<Duration>,
    /// RTCP compound packets received and sent.
    pub rtcp: (u64, u64),
}
