//! Who is meant by what was dialled: a user, or an available member of a group (R052).

use super::machine::Asked;
use super::{Sessions, conflict};
use crate::Refusal;
use crate::agent::group;
use crate::core::Cx;
use crate::route::{self, Target};
use crate::users::UserIndex;
use model::{Aor, ImParty, Medium, SessionId};

impl Sessions {
    /// Who is to be asked, and the group he was found in. Refused where nobody would see the invitation.
    pub(super) fn reach(
        &self,
        cx: &mut Cx<'_>,
        id: SessionId,
        dialled: &str,
    ) -> Result<(UserIndex, Option<Box<str>>), Refusal> {
        if group::team(cx.core, dialled).is_some() {
            let member = self.next_member(cx, id, dialled).ok_or(Refusal::Unreachable(480))?;
            return Ok((member, Some(dialled.into())));
        }
        match route::target(cx.core, dialled) {
            Target::User(user) => self.reach_user(cx, id, user).map(|()| (user, None)),
            Target::Nobody(status) => Err(Refusal::Unreachable(status)),
            // What is there reads nothing.
            _ => Err(Refusal::Unreachable(405)),
        }
    }

    fn reach_user(&self, cx: &Cx<'_>, id: SessionId, user: UserIndex) -> Result<(), Refusal> {
        let user = &cx.core.users[user];
        let view = self.all.get(&id).map(|entry| entry.session.view());
        let is_in = view
            .and_then(|view| view.party_of(&user.aor))
            .is_some_and(|party| party.standing.is_in());
        if is_in {
            return Err(conflict(format!("{} takes part already", user.aor)));
        }
        if !user.im {
            return Err(Refusal::Forbidden(
                format!("{} has no instant messages", user.aor).into(),
            ));
        }
        match self.can_be_reached(cx, &user.aor) {
            true => Ok(()),
            false => Err(Refusal::Unreachable(480)),
        }
    }

    /// By a workspace, or by a phone.
    pub(super) fn can_be_reached(&self, cx: &Cx<'_>, user: &Aor) -> bool {
        let bindings = || cx.registrar.bindings(user, cx.now);
        self.aware.is(user, cx.now) || bindings().iter().any(|bound| bound.destination().is_some())
    }

    /// The member of a group or skill who is ready for messages and was idle longest: nobody who is in the session already,
    /// or was asked in vain.
    fn next_member(&self, cx: &Cx<'_>, id: SessionId, dialled: &str) -> Option<UserIndex> {
        let view = self.all.get(&id).map(|entry| entry.session.view());
        let known = view.into_iter().flat_map(|view| &view.parties);
        let is_out = |party: &&ImParty| party.standing.is_in() || party.group.as_deref() == Some(dialled);
        let mut past: Vec<Aor> = known.filter(is_out).map(|party| party.user.clone()).collect();
        loop {
            let team = group::team(cx.core, dialled)?;
            let member = group::hunt(cx.core, cx.agents, team, Medium::Im, &past)?;
            let index = cx.core.users.find(member.user())?;
            if self.reach_user(cx, id, index).is_ok() {
                return Some(index);
            }
            past.push(member);
        }
    }

    /// Asks the next one of the group in which this party was found. False if there is none.
    pub(super) fn hunt_on(&mut self, cx: &mut Cx<'_>, id: SessionId, party: &ImParty) -> bool {
        let Some(group) = party.group.clone() else { return false };
        let Some(member) = self.next_member(cx, id, &group) else {
            return false;
        };
        let asked = Asked {
            by: party.invited_by,
            replaces: party.replaces,
            group: Some(group),
        };
        self.ask_user(cx, id, member, asked).is_ok()
    }
}
