//! What the media engine tells call control.

use crate::ear::Heard;
use crate::plan::{Codec, LegId, PlayerId, RoomId, WorkerId};
use crate::record::{Recording, RecordingId};
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
    /// A key was pressed; once per key press, when it ended.
    Dtmf {
        /// Whose key.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was held, as far as packets told.
        duration: Duration,
        /// How it was heard.
        by: DtmfBy,
        /// Its packets went on to the leg that [`crate::plan::DtmfTo`] says, which takes such packets.
        passed_on: bool,
    },
    /// A member began or ceased to speak. Only in rooms that mix or are listened to.
    Talking {
        /// The member.
        leg: LegId,
        /// Speaks now.
        talking: bool,
    },
    /// Another member is the loudest now, and has been for 300 ms; said again only when that changes. Only in rooms that mix.
    ActiveSpeaker {
        /// The room.
        room: RoomId,
        /// Who speaks.
        leg: LegId,
    },
    /// A player came to its end (never said of a tone without end, nor of a stopped player).
    Played {
        /// Its room.
        room: RoomId,
        /// The player.
        player: PlayerId,
    },
    /// A recording has ended.
    Recorded {
        /// Which.
        recording: RecordingId,
        /// What came of it.
        result: Box<Recording>,
    },
    /// The answer to [`crate::Plan::Inspect`].
    Inspected {
        /// Of the question.
        token: u64,
        /// The legs that are there.
        legs: Vec<LegSound>,
    },
    /// The leg is closed; nothing more is said about it and its port may rest.
    LegClosed {
        /// The leg.
        leg: LegId,
        /// The port it was at: a leg that went to another worker is closed at the first one under the same name.
        port: u16,
        /// Its figures, for the CDR.
        stats: Box<LegStats>,
    },
}

/// How a key press was heard.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DtmfBy {
    /// In packets of its own (RFC 4733).
    Packets,
    /// As two tones in the sound (ITU-T Q.23), found by [`crate::dtmf::Detector`].
    Tones,
}

/// How what a leg's device is sent is made, the cheapest first.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// It hears nobody, and is sent nothing.
    #[default]
    Nothing,
    /// Packets of one other leg are passed on as they came, but for their header.
    Relay,
    /// One other leg is decoded and encoded anew for it.
    Transcode,
    /// What it hears is summed: several legs, a player, or one leg louder or softer than it is.
    Mix,
}

impl Way {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Nothing => "nothing",
            Way::Relay => "relay",
            Way::Transcode => "transcode",
            Way::Mix => "mix",
        }
    }
}

/// How a leg does and sounds just now.
#[derive(Clone, Debug, PartialEq)]
pub struct LegSound {
    /// The leg.
    pub leg: LegId,
    /// How what its device is sent is made.
    pub way: Way,
    /// Its figures so far.
    pub stats: LegStats,
    /// What its device sends.
    pub received: Heard,
    /// What its device is sent.
    pub sent: Heard,
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
    /// Packets that came too late to be mixed.
    pub late: u64,
    /// Packets' worth of sound that was made up because nothing came, while it was mixed.
    pub concealed: u64,
    /// Packets from a source that is not the device's: dropped unread.
    pub strangers: u64,
    /// Packets that were no RTP or RTCP, or carried a payload type nobody agreed to.
    pub invalid: u64,
    /// Packets of an encrypted leg that were not signed with the device's key: dropped, and nothing else (S15).
    pub forged: u64,
    /// Packets of an encrypted leg that came before: dropped.
    pub replayed: u64,
    /// Interarrival jitter of packets from the device (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// Jitter the device reports of our packets.
    pub remote_jitter: Duration,
    /// Packets of ours the device reports lost.
    pub remote_lost: u64,
    /// Round-trip time by the last receiver report that allowed to compute it.
    pub round_trip: Option<Duration>,
    /// How the device sounds to us, 1 to 4.5, estimated with the E-model (ITU-T G.107) from loss, jitter and round trip;
    /// `None` before sound came.
    pub mos: Option<f32>,
    /// RTCP compound packets received and sent.
    pub rtcp: (u64, u64),
}

impl LegStats {
    /// The figures of a leg that was elsewhere before: counts are summed, of the rest the later is true.
    #[must_use]
    pub fn after(self, earlier: &LegStats) -> LegStats {
        LegStats {
            codec: self.codec.or(earlier.codec),
            received: self.received + earlier.received,
            received_bytes: self.received_bytes + earlier.received_bytes,
            sent: self.sent + earlier.sent,
            sent_bytes: self.sent_bytes + earlier.sent_bytes,
            lost: self.lost + earlier.lost,
            duplicates: self.duplicates + earlier.duplicates,
            late: self.late + earlier.late,
            concealed: self.concealed + earlier.concealed,
            strangers: self.strangers + earlier.strangers,
            invalid: self.invalid + earlier.invalid,
            forged: self.forged + earlier.forged,
            replayed: self.replayed + earlier.replayed,
            jitter: self.jitter.max(earlier.jitter),
            remote_jitter: self.remote_jitter.max(earlier.remote_jitter),
            remote_lost: self.remote_lost + earlier.remote_lost,
            round_trip: self.round_trip.or(earlier.round_trip),
            mos: self.mos.or(earlier.mos),
            rtcp: (self.rtcp.0 + earlier.rtcp.0, self.rtcp.1 + earlier.rtcp.1),
        }
    }

    /// The estimate for [`LegStats::mos`], with the factors of ITU-T G.113 appendix I. Codecs we do not know count as
    /// G.729A; the buffer is taken to hold twice the jitter.
    pub(crate) fn estimate_mos(&self) -> Option<f32> {
        let (impairment, robustness) = match self.codec? {
            Codec::Pcmu | Codec::Pcma | Codec::L16(_) | Codec::G722 | Codec::Opus => (0.0, 25.1),
            _ => (11.0, 19.0),
        };
        let all = self.received + self.lost;
        let loss = 100.0 * self.lost as f32 / all.max(1) as f32;
        let one_way = self.round_trip.unwrap_or_default() / 2 + self.jitter * 2 + Duration::from_millis(20);
        let ms = one_way.as_secs_f32() * 1000.0;
        let delay = 0.024 * ms + 0.11 * (ms - 177.3).max(0.0);
        let equipment = impairment + (95.0 - impairment) * loss / (loss + robustness);
        let r = (93.2 - delay - equipment).clamp(0.0, 100.0);
        Some((1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_falls_with_loss_delay_and_poorer_codecs() {
        let stats = |codec, lost, trip_ms| {
            let round_trip = Some(Duration::from_millis(trip_ms));
            LegStats {
                codec: Some(codec),
                received: 1000 - lost,
                lost,
                round_trip,
                ..LegStats::default()
            }
        };
        let mos = |codec, lost, trip| stats(codec, lost, trip).estimate_mos().unwrap();
        let other = Codec::Other { id: 1, clock: 8000 };
        assert!((4.3..4.5).contains(&mos(Codec::Pcma, 0, 20)));
        assert!((3.4..3.9).contains(&mos(Codec::Pcma, 50, 20)));
        assert!((3.8..4.2).contains(&mos(other, 0, 20)));
        assert!(mos(Codec::Pcma, 0, 600) < 3.7);
        assert!(mos(Codec::Pcma, 500, 600) < 1.7);
        assert_eq!(LegStats::default().estimate_mos(), None);
    }
}
