//! Recording a call, and listening to it for those who test: both follow the legs, whatever rooms they are in.

use super::room::{Engine, leg_id};
use super::{Calls, Leg, LegKey, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::route::Target;
use crate::{Answer, RecordWish, Refusal, Token};
use media::{Heard, LegId, LegSound, Plan, Recorded, Recording, RecordingId, Side, StartRecord, WorkerId};
use model::{HeardToneView, HeardView, LegSoundView, RecordingRow, StoreOp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Questions about sound that may be open: a tester asks about one call, twice a second.
const MAX_QUESTIONS: usize = 256;

/// Recordings being made, and questions about sound that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Listening {
    tapes: BTreeMap<RecordingId, Tape>,
    questions: BTreeMap<u64, Token>,
    numbered: u64,
}

/// A recording until the file thread has said what came of it.
#[derive(Debug)]
struct Tape {
    call: Key<Interaction>,
    worker: WorkerId,
    row: RecordingRow,
    paused: bool,
    /// No more is to be recorded.
    stopped: bool,
}

impl Listening {
    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// A call is recorded now.
    pub(super) fn records(&self, call: Key<Interaction>) -> bool {
        self.tapes.values().any(|tape| tape.call == call && !tape.stopped)
    }

    /// The recording that a call has now.
    fn of(&mut self, call: Key<Interaction>) -> Option<(RecordingId, &mut Tape)> {
        let tapes = self.tapes.iter_mut();
        tapes
            .map(|(id, tape)| (*id, tape))
            .find(|(_, tape)| tape.call == call && !tape.stopped)
    }
}

impl Calls {
    /// Starts, pauses or ends the recording of a call.
    pub(super) fn record_call(&mut self, cx: &mut Cx<'_>, token: Token, call: Key<Interaction>, wish: RecordWish) {
        match self.set_recording(cx, call, wish) {
            Ok(()) => cx.core.tell(token, Answer::Done(1)),
            Err(refusal) => cx.core.refuse(token, refusal),
        }
    }

    /// The same for whoever asks.
    pub(super) fn set_recording(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        wish: RecordWish,
    ) -> Result<(), Refusal> {
        self.note_recording(call);
        match (wish, self.listening.of(call).map(|(id, tape)| (id, tape.worker))) {
            (RecordWish::On, None) => self.start_record(cx, call),
            (RecordWish::On | RecordWish::Pause, Some((recording, worker))) => {
                let paused = wish == RecordWish::Pause;
                self.listening
                    .tapes
                    .entry(recording)
                    .and_modify(|tape| tape.paused = paused);
                cx.core.media(worker, Plan::PauseRecord { recording, paused });
                Ok(())
            }
            (RecordWish::Off, Some((recording, worker))) => {
                self.listening
                    .tapes
                    .entry(recording)
                    .and_modify(|tape| tape.stopped = true);
                cx.core.media(worker, Plan::StopRecord { recording });
                Ok(())
            }
            (RecordWish::Pause | RecordWish::Off, None) => Err(Refusal::Conflict("the call is not recorded".into())),
        }
    }

    /// Those who watch the call see whether it is recorded: what is lent for change is looked at when the step is done.
    fn note_recording(&mut self, call: Key<Interaction>) {
        self.interactions.get_mut(call);
    }

    /// Who is in a conference room leaves it: what was recorded of the room for this call's sake ends with it.
    pub(super) fn end_room_record(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        if matches!(self.state(call), Some(State::Service(Target::Room))) {
            // There may be none.
            let _ = self.set_recording(cx, call, RecordWish::Off);
        }
    }

    /// Whether a call is being recorded now.
    pub(super) fn is_recorded(&self, call: Key<Interaction>) -> bool {
        let mut tapes = self.listening.tapes.values();
        tapes.any(|tape| tape.call == call && !tape.stopped && !tape.paused)
    }

    /// A supervisor who listens or whispers is not recorded.
    fn is_on_tape(&self, key: LegKey) -> bool {
        let interaction = self
            .legs
            .get(key)
            .and_then(|leg| self.interactions.get(leg.interaction));
        let party = interaction.and_then(|call| call.party_of(key).map(|at| &call.parties[at]));
        party.is_some_and(crate::interaction::Party::converses)
    }

    /// A leg of a recorded call is heard elsewhere for now: what is said there is not on the recording.
    pub(super) fn record_absent(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        if let Some((recording, tape)) = self.listening.of(call) {
            let (worker, leg, side) = (tape.worker, leg_id(key), None);
            cx.core.media(worker, Plan::RecordLeg { recording, leg, side });
        }
    }

    fn start_record(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) -> Result<(), Refusal> {
        let answered = matches!(self.state(call), Some(State::Bridged(_) | State::Service(_)));
        let of = match self.room_inside(call) {
            Some(room) => Recorded::Room(room),
            None => Recorded::Sides(self.sides_of_tape(call).collect()),
        };
        let interaction = self.interactions.get(call).filter(|_| answered);
        let interaction = interaction.ok_or_else(|| Refusal::Conflict("nobody has answered yet".into()))?;
        let worker = interaction.call.worker;
        let worker = worker.ok_or_else(|| Refusal::Conflict("the call has no sound".into()))?;
        let (id, recording) = (interaction.id, RecordingId(self.listening.number()));
        // The number tells the recordings of one call apart, and the time those of a node that was started anew.
        let name: Box<str> = format!("{id}-{}", cx.now.wall.0).into();
        let row = RecordingRow {
            name,
            interaction: id,
            started_at: cx.now.wall,
            ended_at: None,
            length_ms: 0,
            missing_ms: 0,
            bytes: 0,
            error: None,
        };
        let name = row.name.clone();
        cx.core
            .media(worker, Plan::StartRecord(Box::new(StartRecord { recording, name, of })));
        cx.core.store(StoreOp::PutRecording(Box::new(row.clone())));
        let (paused, stopped) = (false, false);
        let tape = Tape {
            call,
            worker,
            row,
            paused,
            stopped,
        };
        self.listening.tapes.insert(recording, tape);
        tracing::info!(interaction = %id, "recording begins");
        Ok(())
    }

    /// The legs of a call that have sound, with their channels.
    fn sides_of_tape(&self, call: Key<Interaction>) -> impl Iterator<Item = (LegId, Side)> {
        let legs = self.interactions.get(call).into_iter().flat_map(Interaction::legs);
        let here = |leg: &Leg| has_sound(leg) && leg.place == leg.interaction;
        let open = legs.filter(move |key| self.legs.get(*key).is_some_and(here) && self.is_on_tape(*key));
        open.map(move |key| (leg_id(key), self.side_of(call, key)))
    }

    /// The outer party is on the left: whoever is no user of ours, else who called.
    fn side_of(&self, call: Key<Interaction>, key: LegKey) -> Side {
        let is_outer = |key: LegKey| self.legs.get(key).is_some_and(|leg| leg.user.is_none());
        let any_outer = self
            .interactions
            .get(call)
            .is_some_and(|call| call.legs().any(is_outer));
        let left = match any_outer {
            true => is_outer(key),
            false => self.caller_of(call) == Some(key),
        };
        if left { Side::Left } else { Side::Right }
    }

    /// A leg's device has sound from now on: if its call is recorded, so is the leg.
    pub(super) fn record_newcomer(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        if !self.is_on_tape(key) {
            return;
        }
        let (leg, side) = (leg_id(key), Some(self.side_of(call, key)));
        if let Some((recording, tape)) = self.listening.of(call) {
            let worker = tape.worker;
            cx.core.media(worker, Plan::RecordLeg { recording, leg, side });
        }
    }

    /// The file of a recording is closed.
    pub(super) fn on_recorded(&mut self, cx: &mut Cx<'_>, recording: RecordingId, result: &Recording) {
        let Some(tape) = self.listening.tapes.remove(&recording) else {
            return;
        };
        self.note_recording(tape.call);
        self.figures.on_recording(result);
        let row = RecordingRow {
            ended_at: Some(cx.now.wall),
            length_ms: millis(result.length),
            missing_ms: millis(result.missing),
            bytes: result.bytes,
            error: result.error.clone(),
            ..tape.row
        };
        tracing::info!(recording = &*row.name, row.length_ms, row.missing_ms, "recording ends");
        cx.core.store(StoreOp::PutRecording(Box::new(row)));
    }

    /// Asks the engine how the legs of a call do and sound; [`Calls::on_inspected`] answers.
    pub(super) fn inspect(&mut self, cx: &mut Cx<'_>, token: Token, call: Key<Interaction>) {
        let legs: Vec<LegId> = self.sides_of_tape(call).map(|(leg, _)| leg).collect();
        let worker = self
            .interactions
            .get(call)
            .and_then(|interaction| interaction.call.worker);
        let (Some(worker), false) = (worker, legs.is_empty()) else {
            return cx.core.tell(token, Answer::Media(Vec::new()));
        };
        if self.listening.questions.len() >= MAX_QUESTIONS
            && let Some((_, oldest)) = self.listening.questions.pop_first()
        {
            cx.core.refuse(oldest, Refusal::Conflict("too many ask at once".into()));
        }
        let question = self.listening.number();
        self.listening.questions.insert(question, token);
        cx.core.media(worker, Plan::Inspect { token: question, legs });
    }

    pub(super) fn on_inspected(&mut self, cx: &mut Cx<'_>, question: u64, legs: &[LegSound]) {
        if let Some(token) = self.listening.questions.remove(&question) {
            let views = legs.iter().filter_map(|sound| self.sound_view(sound)).collect();
            cx.core.tell(token, Answer::Media(views));
        }
    }

    fn sound_view(&self, sound: &LegSound) -> Option<LegSoundView> {
        let leg = self.legs.get(Key::unpack(sound.leg.0))?;
        let negotiation = leg.sound.as_ref().map(|sound| &sound.negotiation);
        let stats = &sound.stats;
        Some(LegSoundView {
            leg: leg.id,
            user: leg.user.clone(),
            uri: leg.uri.clone(),
            codec: super::cdr::codec(negotiation),
            mode: sound.way.as_str().into(),
            packets_in: stats.received,
            packets_out: stats.sent,
            lost: stats.lost,
            duplicates: stats.duplicates,
            strangers: stats.strangers,
            jitter_ms: ms(stats.jitter),
            remote_lost: stats.remote_lost,
            remote_jitter_ms: ms(stats.remote_jitter),
            round_trip_ms: stats.round_trip.map(ms),
            mos: stats.mos,
            received: heard_view(&sound.received),
            sent: heard_view(&sound.sent),
        })
    }
}

fn has_sound(leg: &Leg) -> bool {
    leg.sound
        .as_ref()
        .is_some_and(|sound| matches!(sound.engine, Engine::Open))
}

fn heard_view(heard: &Heard) -> HeardView {
    let tone = |tone: &media::HeardTone| HeardToneView {
        hz: tenths(tone.hz),
        dbm0: tenths(tone.dbm0),
        ms: tone.ms,
        ago_ms: tone.ago_ms,
    };
    HeardView {
        level_dbov: heard.level_dbov.map(tenths),
        tones: heard.tones.iter().map(tone).collect(),
    }
}

/// What is measured is no truer than that.
fn tenths(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

fn ms(duration: Duration) -> f32 {
    tenths(duration.as_secs_f32() * 1_000.0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
