//! One record per leg, written once, when the leg is over and the engine has given its figures.

use super::{Calls, Leg, LegKey, Stage};
use crate::core::{Core, Cx};
use crate::interaction::Interaction;
use clock::Wall;
use media::LegStats;
use media::sdp::Negotiation;
use model::{Cdr, Direction, EndReason, EndedBy, Quality, StoreOp};
use std::time::Duration;

impl Calls {
    /// Writes a leg's record. A leg that is not over, or has its record, is left alone.
    pub(super) fn record(&mut self, cx: &mut Cx<'_>, key: LegKey, sound: Option<&Negotiation>, stats: &LegStats) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(interaction) = self.interactions.get(leg.interaction) else {
            return;
        };
        let Some(mut cdr) = leg.cdr(interaction) else { return };
        if let Stage::Over(over) = &mut leg.stage {
            over.recorded = true;
        }
        cdr.codec = codec(sound);
        cdr.packets = (stats.received, stats.sent, stats.lost);
        cdr.quality = quality(stats);
        self.figures.on_recorded(&cdr);
        cx.core.store(StoreOp::PutCdr(Box::new(cdr)));
    }
}

impl Calls {
    /// What the record of a leg that is over will say, but for the figures that the engine is still to give.
    pub(super) fn keep_left(&self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(leg) = self.legs.get(key) else { return };
        let interaction = self.interactions.get(leg.interaction);
        if let Some(cdr) = interaction.and_then(|interaction| leg.cdr(interaction)) {
            cx.core.store(StoreOp::LeaveCdr(Box::new(cdr)));
        }
    }

    /// What the records of legs that have just been answered would say if the switch died now: kept until they end.
    pub(super) fn keep_risen(&mut self, core: &mut Core) {
        for key in self.legs.risen() {
            let Some(leg) = self.legs.get_mut(key) else { continue };
            leg.is_kept = true;
            if let Some(interaction) = self.interactions.get(leg.interaction) {
                let at = leg.answered_at.unwrap_or(leg.started_at);
                let cdr = leg.record(interaction, (at, EndedBy::Switch, EndReason::Restart));
                core.store(StoreOp::OpenCdr(Box::new(cdr)));
            }
        }
    }
}

impl Leg {
    /// The record without what the media plane knows; `None` while the leg is in its call, and once it is written.
    fn cdr(&self, interaction: &Interaction) -> Option<Cdr> {
        let Stage::Over(over) = &self.stage else { return None };
        (!over.recorded).then(|| self.record(interaction, (over.at, over.by, over.reason)))
    }

    /// The same for an end of which this is known.
    fn record(&self, interaction: &Interaction, (ended_at, ended_by, reason): (Wall, EndedBy, EndReason)) -> Cdr {
        Cdr {
            interaction: interaction.id,
            leg: self.id,
            direction: self.direction,
            user: self.user.clone(),
            caller: interaction.caller.clone(),
            callee: interaction.dialled.clone(),
            call_id: self.session.call_id().into(),
            started_at: self.started_at,
            ringing_at: self.ringing_at,
            answered_at: self.answered_at,
            ended_at,
            ended_by,
            reason,
            status: self.status,
            codec: "".into(),
            packets: (0, 0, 0),
            quality: Quality::default(),
            link: self.link.or(interaction.made_for()),
            transferred_to: self.transferred_to.clone(),
        }
    }
}

fn quality(stats: &LegStats) -> Quality {
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Quality {
        jitter_ms: ms(stats.jitter),
        remote_lost: stats.remote_lost,
        remote_jitter_ms: ms(stats.remote_jitter),
        round_trip_ms: stats.round_trip.map(ms),
        // From 1 to 4.5, so the cast is exact after rounding.
        mos_hundredths: stats.mos.map(|mos| (mos * 100.0).round() as u16),
    }
}

/// `PCMU/8000`, or nothing.
#[must_use]
pub(super) fn codec(sound: Option<&Negotiation>) -> Box<str> {
    let agreed = sound.and_then(Negotiation::agreed);
    agreed.and_then(|agreed| agreed.codec_name()).unwrap_or_default().into()
}

/// Why a leg ended whose device, or whose callee, refused with this status.
#[must_use]
pub(crate) fn reason_of(status: u16) -> EndReason {
    match status {
        486 | 600 => EndReason::Busy,
        487 => EndReason::Cancelled,
        300..=399 | 404 | 408 | 410 | 430 | 480 | 484 | 604 => EndReason::Unreachable,
        400 | 406 | 415 | 488 | 606 => EndReason::NoCommonCodec,
        482 | 483 => EndReason::Loop,
        500 | 502..=504 => EndReason::Congestion,
        _ => EndReason::Declined,
    }
}

/// Figures for `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Calls asked for, refused ones included.
    pub(super) offered: u64,
    /// Calls refused for lack of room, before they became one.
    pub(super) shed: u64,
    /// Calls answered.
    pub(super) answered: u64,
    /// Milliseconds from INVITE to 200, summed over answered calls.
    pub(super) setup_ms: u64,
    /// How the legs sounded.
    sound: SoundFigures,
    /// Recordings that ended, and those of which sound is missing.
    recordings: (u64, u64),
    /// Legs recorded.
    legs: u64,
    /// Calls by the reason on their caller's leg: [`REASONS`].
    ended: [u64; REASONS.len()],
}

/// Each reason with its name on `/metrics`, in the order of [`EndReason`].
const REASONS: [(EndReason, &str); 16] = [
    (EndReason::Normal, "calls_ended_normal_total"),
    (EndReason::Cancelled, "calls_ended_cancelled_total"),
    (EndReason::Busy, "calls_ended_busy_total"),
    (EndReason::NoAnswer, "calls_ended_no_answer_total"),
    (EndReason::Declined, "calls_ended_declined_total"),
    (EndReason::Unreachable, "calls_ended_unreachable_total"),
    (EndReason::AnsweredElsewhere, "calls_ended_answered_elsewhere_total"),
    (EndReason::MediaTimeout, "calls_ended_media_timeout_total"),
    (EndReason::SignallingTimeout, "calls_ended_signalling_timeout_total"),
    (EndReason::NoCommonCodec, "calls_ended_no_common_codec_total"),
    (EndReason::Loop, "calls_ended_loop_total"),
    (EndReason::Congestion, "calls_ended_congestion_total"),
    (EndReason::Operator, "calls_ended_operator_total"),
    (EndReason::Shutdown, "calls_ended_shutdown_total"),
    (EndReason::Restart, "calls_ended_restart_total"),
    (EndReason::Internal, "calls_ended_internal_total"),
];

/// Sums over ended legs; with a count beside them where not every leg has the figure.
#[derive(Debug, Default)]
struct SoundFigures {
    packets: u64,
    lost: u64,
    remote_lost: u64,
    jitter_ms: u64,
    round_trip_ms: (u64, u64),
    mos: (u64, u64),
    /// Legs below [`POOR_HUNDREDTHS`].
    poor: u64,
}

/// Below a mean opinion score of 3.6 many users are dissatisfied (ITU-T G.109).
const POOR_HUNDREDTHS: u16 = 360;

impl SoundFigures {
    fn add(&mut self, cdr: &Cdr) {
        let quality = &cdr.quality;
        let count = |sum: &mut (u64, u64), value: Option<u64>| {
            *sum = (sum.0 + value.unwrap_or(0), sum.1 + u64::from(value.is_some()));
        };
        self.packets = self.packets.saturating_add(cdr.packets.0);
        self.lost = self.lost.saturating_add(cdr.packets.2);
        // What a device reports is its own claim.
        self.remote_lost = self.remote_lost.saturating_add(quality.remote_lost);
        self.jitter_ms += u64::from(quality.jitter_ms);
        count(&mut self.round_trip_ms, quality.round_trip_ms.map(u64::from));
        count(&mut self.mos, quality.mos_hundredths.map(u64::from));
        self.poor += u64::from(quality.mos_hundredths.is_some_and(|mos| mos < POOR_HUNDREDTHS));
    }
}

impl Figures {
    fn on_recorded(&mut self, cdr: &Cdr) {
        self.legs += 1;
        self.sound.add(cdr);
        if cdr.direction == Direction::In {
            self.ended[cdr.reason as usize] += 1;
        }
    }

    pub(super) fn on_recording(&mut self, result: &media::Recording) {
        self.recordings.0 += 1;
        self.recordings.1 += u64::from(!result.is_complete());
    }

    /// Adds them to the switch's own.
    pub(super) fn write(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let Figures {
            offered,
            shed,
            answered,
            setup_ms,
            ref sound,
            recordings,
            legs,
            ended,
        } = *self;
        values.extend([
            ("calls_offered_total", offered, false),
            ("calls_shed_total", shed, false),
            ("calls_answered_total", answered, false),
            ("calls_setup_ms_total", setup_ms, false),
            ("legs_ended_total", legs, false),
            ("leg_packets_in_total", sound.packets, false),
            ("leg_packets_lost_total", sound.lost, false),
            ("leg_packets_lost_remote_total", sound.remote_lost, false),
            ("leg_jitter_ms_total", sound.jitter_ms, false),
            ("leg_round_trip_ms_total", sound.round_trip_ms.0, false),
            ("legs_with_round_trip_total", sound.round_trip_ms.1, false),
            ("leg_mos_hundredths_total", sound.mos.0, false),
            ("legs_with_mos_total", sound.mos.1, false),
            ("legs_poor_total", sound.poor, false),
            ("recordings_total", recordings.0, false),
            ("recordings_incomplete_total", recordings.1, false),
        ]);
        values.extend(
            REASONS
                .iter()
                .zip(ended)
                .map(|(&(_, name), count)| (name, count, false)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_the_enum() {
        for (place, &(reason, _)) in REASONS.iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn a_refusal_has_a_reason_in_the_operators_words() {
        assert_eq!(reason_of(486), EndReason::Busy);
        assert_eq!(reason_of(603), EndReason::Declined);
        assert_eq!(reason_of(480), EndReason::Unreachable);
        assert_eq!(reason_of(488), EndReason::NoCommonCodec);
        assert_eq!(reason_of(503), EndReason::Congestion);
        assert_eq!(reason_of(699), EndReason::Declined);
    }
}
