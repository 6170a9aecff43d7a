//! Calls on behalf of a user, third-party call control (RFC 3725 in spirit): the user's phones are called with an offer of the
//! switch, and when one answers the target is called by the dial plan as the user would. One interaction; the user owns it.
//!
//! Until the user answers, the first party stands for the target and has no device. From then on the call is one whose caller
//! has been answered before: he hears ringback, and each device agrees with the switch alone.

use super::act::Did;
use super::divert::Origin;
use super::history::Path;
use super::identity::Identity;
use super::ring::Calling;
use super::setup::{DIALLED_MAX, LEGS_MAX};
use super::side::HOPS;
use super::{Calls, Failure, LegKey, State};
use crate::arena::{CAPACITY, Key};
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction, Originated, Party, Refer};
use crate::route::{self, Callee, Dialler, Target};
use crate::users::UserIndex;
use crate::{Answer, By, Originate, Refusal};
use media::WorkerId;
use media::plan::Matrix;
use model::{EndedBy, InteractionId, PartyId};
use sip::Headers;
use smallvec::SmallVec;

/// Where a commanded call leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    /// Somebody is called.
    Called(Callee),
    /// The switch answers itself.
    Answered(Target),
}

impl Goal {
    fn shown(&self, core: &Core, dialled: &str) -> Identity {
        match self {
            Goal::Called(callee) => Identity::of_called(core, callee),
            Goal::Answered(_) => Identity::of_service(core, dialled),
        }
    }
}

/// Its name as a verb.
const ORIGINATE: &str = "originate";

impl Calls {
    /// Begins a call on behalf of a user, or refuses and changes nothing. A command that comes again is answered as before.
    pub(super) fn originate(&mut self, cx: &mut Cx<'_>, wanted: &Originate) -> Answer {
        if let Some(answer) = self.acts.answer_to(&wanted.by, &wanted.client) {
            return answer;
        }
        let answer = match self.begin(cx, wanted) {
            Ok(call) => self.answer_of(&Did::Began(call)),
            Err(refusal) => Answer::Refused(refusal),
        };
        self.acts.keep(&wanted.by, &wanted.client, &answer);
        answer
    }

    /// The user's phones ring.
    fn begin(&mut self, cx: &mut Cx<'_>, wanted: &Originate) -> Result<Key<Interaction>, Refusal> {
        let user = permitted(cx, wanted)?;
        self.begin_for(cx, wanted, user, None)
    }

    /// The same for who was let do it; the REFER that asked for it hears what comes of it.
    pub(super) fn begin_for(
        &mut self,
        cx: &mut Cx<'_>,
        wanted: &Originate,
        user: UserIndex,
        refer: Option<Refer>,
    ) -> Result<Key<Interaction>, Refusal> {
        if cx.core.draining || self.active >= cx.core.config.calls.max_calls || self.legs.len() + LEGS_MAX > CAPACITY {
            return Err(Refusal::Unreachable(503));
        }
        let target = meant(cx, user, &wanted.target).map_err(Refusal::Unreachable)?;
        if target == Goal::Called(Callee::User(user)) {
            return Err(Refusal::Conflict("nobody calls themselves".into()));
        }
        let devices = route::devices(cx, &wanted.user, None, None);
        if devices.is_empty() {
            return Err(Refusal::Unreachable(480));
        }
        let shown = target.shown(cx.core, &wanted.target);
        let mut interaction = self.commanded(cx, wanted, (user, &target), &shown);
        if let Some(originated) = &mut interaction.originated {
            originated.asked.refer = refer;
        }
        if target == Goal::Answered(Target::Room) {
            // His phone is to be where the others are.
            interaction.call.worker = self.knock_for(cx, user, &wanted.target)?;
        }
        let key = self.interactions.insert(interaction);
        self.active += 1;
        self.figures.offered += 1;
        let calling = Calling {
            identity: &shown,
            headers: self.wake_up(cx),
            past: &[],
            hops: HOPS,
            is_reliable: false,
        };
        if let Err(failure) = self.ring(cx, key, &calling, Callee::User(user), devices) {
            self.interactions.remove(key);
            self.active -= 1;
            return Err(Refusal::Unreachable(failure.reply.status));
        }
        self.name_owner(key);
        Ok(key)
    }

    /// The interaction, not yet in the arena.
    fn commanded(
        &self,
        cx: &mut Cx<'_>,
        wanted: &Originate,
        (user, target): (UserIndex, &Goal),
        shown: &Identity,
    ) -> Interaction {
        let aor = match target {
            Goal::Called(Callee::User(target)) => Some(cx.core.users[*target].aor.clone()),
            Goal::Called(Callee::Outside(..)) | Goal::Answered(_) => None,
        };
        let stands_in = Party::new(PartyId(cx.core.random()), aor, shown.shown.clone(), SmallVec::new());
        let id = InteractionId(cx.core.random());
        let mut interaction = Interaction::new(id, stands_in, wanted.target.clone(), cx.now.wall);
        interaction.caller = Identity::of_callee(cx.core, user).shown;
        interaction.originated = Some(Originated {
            by: PartyId(0),
            asked: Asker {
                verb: ORIGINATE,
                client: wanted.client.clone(),
                user: match &wanted.by {
                    By::User(user) => Some(user.clone()),
                    By::Operator(_) => None,
                },
                ..Asker::default()
            },
            awaits_owner: true,
        });
        interaction
    }

    /// The party that has just been made for the user owns the call.
    fn name_owner(&mut self, call: Key<Interaction>) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        interaction.owner = interaction.parties.last().map(|party| party.id);
        if let (Some(originated), Some(owner)) = (&mut interaction.originated, interaction.owner) {
            originated.by = owner;
        }
    }

    /// What asks a phone to answer by itself, by setting: the forms that desk phones and softphones know.
    fn wake_up(&self, cx: &Cx<'_>) -> Headers {
        match cx.core.config.calls.originate_auto_answer {
            false => Headers::new(),
            true => Headers::new()
                .named("Call-Info", format!("<sip:{}>;answer-after=0", cx.core.config.domain))
                .named("Alert-Info", "<http://localhost>;info=alert-autoanswer")
                .named("Answer-Mode", "Auto"),
        }
    }

    /// A commanded call whose owner has not answered before.
    pub(super) fn awaits_agent(&self, call: Key<Interaction>) -> bool {
        let originated = self.interactions.get(call).and_then(|call| call.originated.as_ref());
        originated.is_some_and(|originated| originated.awaits_owner)
    }

    /// The owner has answered with this device: the target is called, and he hears ringback.
    pub(super) fn call_target(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, key: LegKey) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        if let Some(originated) = &mut interaction.originated {
            originated.awaits_owner = false;
        }
        let owner = interaction.owner;
        interaction.parties.retain(|party| Some(party.id) == owner);
        if let Some(party) = interaction.parties.first_mut() {
            party.legs.retain(|&mut leg| leg != key);
            party.legs.insert(0, key);
        }
        interaction.call.state = State::Routing;
        self.open_room(cx, call, Matrix::Everyone);
        self.listen(cx, key);
        match self.go_on(cx, call, key) {
            Ok(()) => self.plumb(cx, call),
            Err(failure) => self.fail(cx, call, EndedBy::Switch, failure),
        }
    }

    fn go_on(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, key: LegKey) -> Result<(), Failure> {
        let interaction = self.interactions.get(call).ok_or_else(|| Failure::of(500))?;
        let user = interaction.parties.first().and_then(|party| party.user.as_ref());
        // He may have been taken out of the configuration while his phone rang.
        let caller = user.and_then(|user| cx.core.users.find(user.user()));
        let caller = caller.ok_or_else(|| Failure::of(480))?;
        let dialled = interaction.dialled.clone();
        let goal = meant(cx, caller, &dialled).map_err(Failure::of)?;
        let shown = goal.shown(cx.core, &dialled).asserted;
        if let Some(leg) = self.legs.get_mut(key) {
            leg.told = shown.map(Into::into);
        }
        let first = match goal {
            Goal::Called(callee) => callee,
            Goal::Answered(service) => return self.serve_owner(cx, call, key, service, caller),
        };
        let origin = Origin::inside(Dialler::User(caller), Identity::of_callee(cx.core, caller));
        let mut past = Path::new();
        let (callee, devices) = self.called(cx, &origin, first, &mut past)?;
        self.ring(cx, call, &origin.calling(Headers::new(), &past), callee, devices)?;
        self.keep_onward(call, &origin, past);
        Ok(())
    }

    /// The owner hears what the switch answers itself.
    fn serve_owner(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        key: LegKey,
        service: Target,
        user: UserIndex,
    ) -> Result<(), Failure> {
        if service == Target::Room {
            let (context, dialled) = self.dialled_service(cx.core, call);
            let name = route::room(cx.core, context, dialled).unwrap_or_default().to_owned();
            let aor = cx.core.users[user].aor.clone();
            let worker = self.knock(cx, &name, Some(&aor))?;
            // It began anew elsewhere while the phone rang.
            if worker.is_some() && worker != self.worker_of(key) {
                return Err(Failure::congested());
            }
        }
        self.outcome(cx, call, 200);
        let Some(interaction) = self.interactions.get_mut(call) else {
            return Ok(());
        };
        interaction.originated = None;
        interaction.owner = None;
        interaction.call.state = State::Service(service);
        interaction.answered_at = Some(cx.now.wall);
        self.figures.answered += 1;
        if service == Target::Room {
            self.take_seat(cx, key);
        }
        self.begin_service(cx, key);
        if let Some(leg) = self.legs.get_mut(key).filter(|_| service == Target::Room) {
            leg.told = None;
        }
        self.refresh_display(cx, key);
        Ok(())
    }

    /// Whether a user may come into the room he would dial, and where he has to be.
    fn knock_for(&mut self, cx: &mut Cx<'_>, user: UserIndex, dialled: &str) -> Result<Option<WorkerId>, Refusal> {
        let user = &cx.core.users[user];
        let name = route::room(cx.core, &user.dial.context, dialled)
            .unwrap_or_default()
            .to_owned();
        let aor = user.aor.clone();
        let knocked = self.knock(cx, &name, Some(&aor));
        knocked.map_err(|failure| Refusal::Unreachable(failure.reply.status))
    }

    /// Both have answered. A call that was forwarded is answered by another than the owner's phone shows.
    pub(super) fn on_originated(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        self.outcome(cx, call, 200);
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.originated = None;
        }
        if let Some(leg) = self.caller_of(call) {
            self.refresh_display(cx, leg);
        }
    }
}

/// For whom the call is, if who asks may have it.
fn permitted(cx: &Cx<'_>, wanted: &Originate) -> Result<UserIndex, Refusal> {
    let users = &cx.core.users;
    let may = match &wanted.by {
        By::User(by) => *by == wanted.user || users.named(by.user()).is_some_and(crate::config::User::supervises),
        By::Operator(_) => true,
    };
    if !may {
        return Err(Refusal::Forbidden(
            "calls for others need the role of a supervisor".into(),
        ));
    }
    let user = users
        .find(wanted.user.user())
        .filter(|&user| users[user].aor == wanted.user);
    user.ok_or_else(|| Refusal::NotFound(format!("user {}", wanted.user).into()))
}

/// Where a dialled string leads for its user. Codes lead nowhere.
fn meant(cx: &Cx<'_>, user: UserIndex, dialled: &str) -> Result<Goal, u16> {
    if dialled.len() > DIALLED_MAX || dialled.chars().any(char::is_control) {
        return Err(404);
    }
    let dialler = Dialler::User(user);
    match route::target_for(cx.core, dialler, dialled) {
        Target::User(callee) => Ok(Goal::Called(Callee::User(callee))),
        Target::Trunk(trunk) => {
            let number = route::number_for(cx.core, dialler, dialled);
            Ok(Goal::Called(Callee::Outside(trunk, number)))
        }
        Target::Nobody(status) => Err(status),
        Target::Star | Target::Done => Err(480),
        service => Ok(Goal::Answered(service)),
    }
}
