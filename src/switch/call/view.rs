//! Interactions as the API shows them.

use super::{Calls, LegKey, State};
use crate::Supervision;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Interaction, Party, Role};
use model::{
    Aor, InteractionId, InteractionState, InteractionView, Medium, PartyId, PartyRole, PartyState, PartyView, Purpose,
};

impl Calls {
    /// All interactions, or one, oldest first.
    pub(super) fn interaction_views(&self, id: Option<InteractionId>) -> Vec<InteractionView> {
        let all = self.interactions.iter();
        let wanted = all.filter(|(_, interaction)| id.is_none_or(|id| interaction.id == id));
        let mut views: Vec<_> = wanted.filter_map(|(key, _)| self.interaction_view(key)).collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    /// One interaction that is not over, by its id.
    pub(crate) fn interaction(&self, id: InteractionId) -> Option<InteractionView> {
        self.find(id).and_then(|(key, _)| self.interaction_view(key))
    }

    /// One interaction as it is now.
    pub(super) fn interaction_view(&self, key: Key<Interaction>) -> Option<InteractionView> {
        let interaction = self.interactions.get(key)?;
        let parties = interaction.parties.iter().filter(|party| self.is_present(party));
        let sides = self.sides_of(key);
        let sides = sides.iter().filter_map(|&side| self.interactions.get(side));
        Some(InteractionView {
            id: interaction.id,
            parent: interaction.grew_from,
            medium: Medium::Voice,
            state: match interaction.call.state {
                State::Routing | State::Ringing(_) => InteractionState::Ringing,
                State::Bridged(_) | State::Service(_) => InteractionState::Up,
                State::Over => InteractionState::Ending,
            },
            owner: interaction.owner,
            dialled: interaction.dialled.clone(),
            started_at: interaction.started_at,
            answered_at: interaction.answered_at,
            parties: parties.map(|party| self.party_view(key, interaction, party)).collect(),
            // The call of a supervisor's phone is nobody's consultation.
            consultations: sides.filter(|side| !is_supervision(side)).map(|side| side.id).collect(),
            purpose: interaction.side.as_ref().map(|side| side.purpose),
            case_data: interaction.data.clone(),
            recording: self.is_recorded(key),
            history: interaction.history.iter().cloned().collect(),
        })
    }

    /// Whom a user consults just now by voice, and in which consultations.
    pub(crate) fn consultations_of(&self, user: &Aor) -> Vec<(InteractionId, Aor)> {
        let own = self.legs.of_user(user).map(|(_, leg)| leg.interaction);
        let mut consulted = Vec::new();
        for key in own {
            let mut sides = self.sides_of(key).to_vec();
            sides.push(key);
            let sides = sides.iter().filter_map(|&side| self.interactions.get(side));
            let is_consult =
                |one: &&Interaction| one.side.as_ref().is_some_and(|side| side.purpose == Purpose::Consult);
            for side in sides.filter(is_consult) {
                let present = side.parties.iter().filter(|party| self.is_present(party));
                let others = present
                    .filter_map(|party| party.user.clone())
                    .filter(|other| other != user);
                consulted.extend(others.map(|other| (side.id, other)));
            }
        }
        consulted.sort();
        consulted.dedup();
        consulted
    }

    /// It has a device that is not gone, or hears by a line of the parent.
    fn is_present(&self, party: &Party) -> bool {
        let lives = |key: &LegKey| self.legs.get(*key).is_some_and(|leg| !leg.is_over());
        party.legs.iter().any(lives) || party.line.is_some()
    }

    fn party_view(&self, key: Key<Interaction>, interaction: &Interaction, party: &Party) -> PartyView {
        let legs = || party.legs.iter().filter_map(|&leg| self.legs.get(leg));
        let is_up = party.line.is_some() || legs().any(super::Leg::is_up);
        let is_away = is_up && self.is_away(key, party);
        let deaf_to = interaction.unheard.iter().filter(|(from, _)| *from == party.id);
        PartyView {
            id: party.id,
            user: party.user.clone(),
            shown: party.shown.clone(),
            state: match (is_up, is_away) {
                (false, _) => PartyState::Ringing,
                (true, false) => PartyState::Up,
                (true, true) => PartyState::Away,
            },
            role: match party.role {
                Role::Member => PartyRole::Member,
                Role::Supervisor { mode, .. } => match mode {
                    Supervision::Listen => PartyRole::Listen,
                    Supervision::Whisper => PartyRole::Whisper,
                    Supervision::Barge => PartyRole::Barge,
                },
            },
            holds: party.holds,
            held: is_up && self.is_held(key, party.id),
            muted: party.muted,
            deaf: party.deaf,
            unheard_by: deaf_to.map(|(_, to)| *to).collect(),
            legs: legs().map(|leg| leg.id).collect(),
            shown_to: self.shown_to(interaction, party),
        }
    }

    /// Who is shown a party that not everybody is shown: a supervisor whom the others do not hear.
    pub(super) fn shown_to(&self, interaction: &Interaction, party: &Party) -> Option<Vec<Aor>> {
        match party.role {
            Role::Supervisor { of, .. } if !party.converses() => Some(self.audience(interaction, party, of)),
            _ => None,
        }
    }

    /// The supervisor himself, and by setting the agent.
    fn audience(&self, interaction: &Interaction, party: &Party, of: PartyId) -> Vec<Aor> {
        let agent = interaction.party(of).filter(|_| self.shows_supervisors);
        let shown = [Some(party), agent].into_iter().flatten();
        shown.filter_map(|party| party.user.clone()).collect()
    }

    /// Writes down in the history what a supervisor does.
    pub(super) fn note_supervision(&mut self, cx: &Cx<'_>, call: Key<Interaction>, id: PartyId) {
        let Some(interaction) = self.interactions.get(call) else {
            return;
        };
        let Some(party) = interaction.party(id) else { return };
        let Role::Supervisor { of, mode } = party.role else {
            return;
        };
        let who = party.shown.clone();
        let shown_to = (!party.converses()).then(|| self.audience(interaction, party, of));
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.note_for(cx.now.wall, &who, mode.name(), "", shown_to);
        }
    }
}

fn is_supervision(side: &Interaction) -> bool {
    side.side
        .as_ref()
        .is_some_and(|side| matches!(side.purpose, Purpose::Supervise | Purpose::TakeOver))
}
