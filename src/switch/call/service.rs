//! Extensions that the switch answers itself: a room with one leg and what it hears.

use super::ending::reason_header;
use super::room::PLAYER;
use super::{Calls, Failure, LegKey, State, body};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::route::{self, Target};
use media::PlayerId;
use media::plan::{Codec, Matrix, Sound};
use media::sdp::Direction;
use media::tone::Tone;
use model::{EndReason, EndedBy};
use sip::{Body, Headers, Reply};

/// What the engine can encode and decode, as we offer it: the laws first, for every phone has them.
pub(super) const CODECS: [Codec; 5] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::TelephoneEvent(8_000),
];

/// 1004 Hz at 0 dBm0 is the milliwatt; other tones are as loud as speech.
const SPEECH_DBM0: f32 = -10.0;

/// Keys pressed while others are read back; more are not heard.
const MAX_KEYS: usize = 32;

/// What the service that reads back keys has in hand.
#[derive(Debug, Default)]
pub(super) struct Keys {
    waiting: String,
    /// Whose keys sound now.
    sounding: Option<LegKey>,
}

impl Calls {
    /// Answers the caller for a service. Without an offer of the caller ours is in the 200, and the ACK brings the answer.
    pub(super) fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        key: LegKey,
        service: Target,
        offered: bool,
    ) -> Result<(), Failure> {
        let text = self.own_description(key, offered)?;
        let Some(leg) = self.legs.get_mut(key) else {
            return Ok(());
        };
        leg.on_answered(cx.now.wall);
        if service == Target::Room {
            leg.session.become_focus();
        }
        leg.accept(cx, &Headers::new(), Some(text));
        let call = leg.interaction;
        let Some(interaction) = self.interactions.get_mut(call) else {
            return Ok(());
        };
        interaction.call.state = State::Service(service);
        interaction.answered_at = Some(cx.now.wall);
        self.figures.answered += 1;
        self.open_room(cx, call, Matrix::Nobody);
        if service == Target::Room {
            self.take_seat(cx, key);
        }
        self.attend(cx, key);
        Ok(())
    }

    /// Tells the engine what was agreed. The sound begins when the leg enters its room: no edge leads to a leg that is
    /// not there, and a caller without offer enters with the ACK.
    fn attend(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        if self.listen(cx, key) {
            self.begin_service(cx, key);
        }
    }

    /// What a leg hears that has just come to a service.
    pub(super) fn begin_service(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let call = self.legs.get(key).map(|leg| leg.place);
        match call.and_then(|call| self.state(call)) {
            Some(&State::Service(Target::Tone(1004))) => self.play(cx, key, Sound::Tone(Tone::milliwatt())),
            Some(&State::Service(Target::Tone(hz))) => {
                self.play(cx, key, Sound::Tone(Tone::steady(f32::from(hz), SPEECH_DBM0)));
            }
            Some(&State::Service(Target::Music)) => self.play_music(cx, key),
            // It speaks when it is spoken to.
            Some(&State::Service(Target::Digits)) => {}
            Some(&State::Service(Target::Done)) => self.play(cx, key, Sound::Tone(super::star::done())),
            Some(&State::Service(Target::Room)) => self.at_the_door(cx, key),
            _ => self.echo(cx, key),
        }
    }

    /// Music of the class that the dial plan names.
    fn play_music(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.place) else {
            return;
        };
        let (context, dialled) = self.dialled_service(cx.core, call);
        let class = route::music(cx.core, context, dialled);
        self.play(cx, key, Sound::Music(class));
    }

    /// The service that reads back what it hears: each key as its tone, after those that still sound.
    pub(super) fn read_back(&mut self, cx: &mut Cx<'_>, key: LegKey, digit: char) {
        let Some(call) = self.legs.get(key).map(|leg| leg.place) else {
            return;
        };
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let keys = &mut interaction.call.keys;
        if keys.waiting.len() < MAX_KEYS {
            keys.waiting.push(digit);
        }
        if keys.sounding.is_none() {
            self.read_on(cx, call, key);
        }
    }

    /// A player has come to its end.
    pub(super) fn on_played(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, player: PlayerId) {
        self.on_beeped(cx, call);
        self.on_told(cx, call, player);
        let Some(interaction) = self.interactions.get_mut(call).filter(|_| player == PLAYER) else {
            return;
        };
        if let Some(key) = interaction.call.keys.sounding.take() {
            self.read_on(cx, call, key);
        }
    }

    fn read_on(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, key: LegKey) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let keys = &mut interaction.call.keys;
        if !keys.waiting.is_empty() {
            keys.sounding = Some(key);
            let digits = std::mem::take(&mut keys.waiting);
            self.play(cx, key, Sound::digits(&digits));
        }
    }

    /// The device changes the session, or asks what we would offer.
    pub(super) fn serve_again(&mut self, cx: &mut Cx<'_>, key: LegKey, offer: Option<&Body>) -> Result<(), Reply> {
        let refused = |failure: Failure| failure.reply;
        if let Some(offer) = offer {
            let offer = body::parse(offer).map_err(refused)?;
            let sound = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut());
            let sound = sound.ok_or_else(|| Reply::new(488))?;
            sound
                .negotiation
                .handle_offer(&offer)
                .map_err(|error| body::refusal(error).reply)?;
        }
        let text = self.own_description(key, offer.is_some()).map_err(refused)?;
        if let Some(leg) = self.legs.get_mut(key) {
            leg.answer(cx, Some(text));
        }
        if offer.is_some() {
            self.attend(cx, key);
        }
        Ok(())
    }

    /// The device answers our offer. One that cannot be used leaves things as they were; if nothing was agreed before, a
    /// call that nobody could hear, and no silence could end, is over.
    pub(super) fn on_service_answer(&mut self, cx: &mut Cx<'_>, key: LegKey, answer: Option<&Body>) {
        let answer = answer.and_then(|body| body::parse(body).ok());
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(sound) = &mut leg.sound else { return };
        if answer.is_none_or(|answer| sound.negotiation.handle_answer(&answer).is_err()) {
            sound.negotiation.rollback();
        }
        if sound.negotiation.agreed().is_some() {
            return self.attend(cx, key);
        }
        let (call, reason) = (leg.interaction, EndReason::NoCommonCodec);
        self.end(cx, call, EndedBy::Switch, reason, &reason_header(reason));
    }

    /// Whether a leg talks to the switch itself.
    pub(super) fn is_service(&self, key: LegKey) -> bool {
        let call = self.legs.get(key).map(|leg| leg.interaction);
        call.is_some_and(|call| matches!(self.state(call), Some(State::Service(_))))
    }

    /// Our answer to an offer that lies open, or our offer.
    pub(super) fn own_description(&mut self, key: LegKey, offered: bool) -> Result<Body, Failure> {
        let sound = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut());
        let negotiation = &mut sound.ok_or_else(Failure::congested)?.negotiation;
        let text = match offered {
            true => negotiation.answer(&CODECS, Direction::SendRecv),
            false => negotiation.offer(&CODECS, Direction::SendRecv),
        };
        match text {
            Ok(text) => Ok(body::sdp(text)),
            Err(error) => {
                negotiation.rollback();
                Err(body::refusal(error))
            }
        }
    }
}
