//! Consultations by messages about a call.

use super::*;
use crate::config::Role;
use crate::testing::OnMessage;
use crate::{Act, SetAgent, Verb};
use model::{InteractionId, InteractionState, InteractionView, Medium, Willing};
use sip::Message;

/// A customer (1010) has called Kate (1000), whose case says so; Jim (1001) sits at his workspace.
struct Case {
    desk: Desk,
    customer: usize,
    kate: usize,
    interaction: InteractionId,
}

fn case() -> Case {
    case_at(config())
}

fn case_at(config: Config) -> Case {
    let mut desk = Desk::new(config);
    ["1000", "1001"].iter().for_each(|user| desk.sit_down(user));
    let (customer, kate) = (desk.phone("1010"), desk.phone("1000"));
    desk.world.call(customer, "1000");
    desk.run_s(3);
    let interaction = interactions(&mut desk)[0].id;
    let mut case = Case {
        desk,
        customer,
        kate,
        interaction,
    };
    case.attach("1000", "product", "violin").unwrap();
    case
}

fn interactions(desk: &mut Desk) -> Vec<InteractionView> {
    match desk.world.command(Command::Interactions(None)) {
        Answer::Interactions(all) => all,
        other => panic!("{other:?}"),
    }
}

impl Case {
    fn attach(&mut self, user: &str, key: &str, value: &str) -> Result<(), Refusal> {
        let verb = Verb::SetCaseData {
            interaction: self.interaction,
            key: key.into(),
            value: value.into(),
        };
        self.act(user, verb)
    }

    fn act(&mut self, user: &str, verb: Verb) -> Result<(), Refusal> {
        let (by, client) = (By::User(aor(user)), "".into());
        match self
            .desk
            .world
            .command(Command::Act(Box::new(Act { by, client, verb })))
        {
            Answer::Refused(why) => Err(why),
            _ => Ok(()),
        }
    }

    fn consult(&mut self, target: &str) -> SessionId {
        let verb = ImVerb::Open {
            target: target.into(),
            interaction: Some(self.interaction),
            text: Some("do you know violins?".into()),
        };
        match self.desk.act("1000", verb) {
            Answer::Sent(message) => message.session,
            other => panic!("{other:?}"),
        }
    }

    /// Jim says how he is.
    fn says(&mut self, medium: Medium, willing: Willing) {
        let set = SetAgent {
            by: By::User(aor("1001")),
            user: aor("1001"),
            medium: Some(medium),
            willing,
            reason: "".into(),
        };
        self.desk.world.command(Command::SetAgent(Box::new(set)));
    }

    fn contact(&mut self) -> model::PartyView {
        let all = interactions(&mut self.desk);
        let parties = all.into_iter().find(|one| one.id == self.interaction).unwrap().parties;
        parties
            .into_iter()
            .find(|party| party.user == Some(aor("1010")))
            .unwrap()
    }
}

#[test]
fn the_invitation_shows_the_first_message_and_the_case() {
    let mut case = case();
    let session = case.consult("1001");
    let told = case.desk.told("1001");
    let Event::ImInvited { invitation, .. } = &told[0] else {
        panic!("{told:?}")
    };
    let consult = invitation.session.consult.as_ref().unwrap();
    assert_eq!(consult.interaction, case.interaction);
    assert_eq!(&*consult.case_data["product"], "violin");
    assert_eq!(&*consult.contacts[0], "\"User 1010\" <1010>");
    assert_eq!(&*invitation.messages[0].text, "do you know violins?");
    // What is attached later is seen at once.
    case.desk.act("1001", ImVerb::Accept { session });
    case.attach("1000", "year", "1721").unwrap();
    let seen = case.desk.seen("1001", session).session.consult.unwrap();
    assert_eq!(&*seen.case_data["year"], "1721");
}

#[test]
fn who_is_consulted_reads_the_case_and_cannot_write_it() {
    let mut case = case();
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    assert!(matches!(
        case.attach("1001", "product", "viola"),
        Err(Refusal::Forbidden(_))
    ));
    assert!(matches!(
        case.attach("1002", "product", "viola"),
        Err(Refusal::NotFound(_))
    ));
    assert_eq!(case.attach("1000", "product", "cello"), Ok(()));
}

#[test]
fn only_who_takes_part_in_the_call_can_consult_about_it() {
    let mut case = case();
    let verb = ImVerb::Open {
        target: "1000".into(),
        interaction: Some(case.interaction),
        text: None,
    };
    assert!(matches!(case.desk.refusal("1001", verb), Refusal::NotFound(_)));
}

#[test]
fn a_consultation_ends_alone_and_survives_the_call() {
    let mut case = case();
    let first = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session: first });
    case.desk.act("1001", ImVerb::End { session: first });
    assert_eq!(interactions(&mut case.desk)[0].state, InteractionState::Up, "R079");
    let second = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session: second });
    let customer = case.customer;
    case.desk.world.hang_up(customer, 0);
    case.desk.run_s(5);
    assert!(interactions(&mut case.desk).is_empty());
    case.desk.say("1000", second, "the customer is gone");
    assert_eq!(case.desk.state("1001", second), ImState::Connected, "R096");
}

#[test]
fn the_contact_gets_nothing_of_a_consultation() {
    let mut case = case();
    case.desk.sit_down("1010");
    case.desk.forget_told();
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    case.desk.say("1001", session, "he is a difficult customer");
    assert!(case.desk.told("1010").is_empty() && case.desk.bar("1010").is_empty());
    assert!(case.desk.world.phones[case.customer].taken.is_empty());
}

#[test]
fn several_consultations_at_once_about_one_call() {
    let mut case = case();
    case.desk.sit_down("1002");
    let sessions = ["1001", "1002"].map(|target| case.consult(target));
    case.desk.act("1001", ImVerb::Accept { session: sessions[0] });
    case.desk.act("1002", ImVerb::Accept { session: sessions[1] });
    assert!(
        sessions
            .iter()
            .all(|session| case.desk.state("1000", *session) == ImState::Connected)
    );
    assert_eq!(case.desk.bar("1001").len(), 1, "each sees their own");
}

#[test]
fn a_phone_that_is_consulted_gets_the_interaction_and_not_the_case() {
    let mut case = case();
    case.desk.get_up("1001");
    let jim = case.desk.phone("1001");
    let session = case.consult("1001");
    case.desk.run_s(1);
    let message: Message = case.desk.world.phones[jim].taken[0].1.clone();
    let header = message.header_named("X-Interaction-Id").unwrap();
    assert_eq!(header, case.interaction.to_string().as_bytes());
    assert_eq!(
        message.header_named("X-IM-Session").unwrap(),
        session.to_string().as_bytes()
    );
    assert!(!String::from_utf8_lossy(message.bytes()).contains("product"));
}

#[test]
fn a_consultation_by_messages_becomes_one_by_voice_and_stays() {
    let mut case = case();
    let jim = case.desk.phone("1001");
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    let party = None;
    let why = case.desk.refusal("1001", ImVerb::Voice { session, party });
    assert!(matches!(why, Refusal::Forbidden(_)), "only who consults: {why:?}");
    let Answer::Acted(acted) = case.desk.act("1000", ImVerb::Voice { session, party }) else {
        panic!()
    };
    assert_eq!((acted.done, acted.view.parent), (false, Some(case.interaction)));
    assert!(
        case.contact().held,
        "R086: the contact is on hold before anybody answers"
    );
    case.desk.run_s(3);
    let call = &case.desk.world.phones[jim].calls[0];
    assert!(call.is_up, "R087");
    let invite = call.invite.as_ref().unwrap();
    let header = invite.header_named("X-Interaction-Id").unwrap();
    assert_eq!(header, case.interaction.to_string().as_bytes());
    // R088: the text goes on beside it.
    case.desk.say("1001", session, "I hear you");
    let consult = case.desk.seen("1000", session).session.consult.unwrap();
    assert_eq!(consult.voice, Some(acted.view.id));
    assert!(case.desk.world.phones[case.kate].calls[0].is_up);
}

#[test]
fn who_has_taken_over_call_and_consultation_calls_out_of_it_and_who_gave_them_away_does_not() {
    let mut case = case();
    case.desk.sit_down("1002");
    let (jim, ann) = (case.desk.phone("1001"), case.desk.phone("1002"));
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    let target: Box<str> = "1002".into();
    case.desk.act(
        "1000",
        ImVerb::Transfer {
            session,
            target: target.clone(),
        },
    );
    case.desk.act("1002", ImVerb::Accept { session });
    let voice = ImVerb::Voice { session, party: None };
    let why = case.desk.refusal("1000", voice.clone());
    assert!(matches!(why, Refusal::Forbidden(_)), "she has left it: {why:?}");
    let why = case.desk.refusal("1002", voice.clone());
    assert!(
        matches!(why, Refusal::NotFound(_)),
        "she does not take part in the call: {why:?}"
    );
    assert!(!case.contact().held);
    let interaction = case.interaction;
    case.act("1000", Verb::InstantTransfer { interaction, target }).unwrap();
    case.desk.run_s(3);
    assert!(case.desk.world.phones[ann].calls[0].is_up);
    let Answer::Acted(acted) = case.desk.act("1002", voice) else {
        panic!()
    };
    assert_eq!(acted.view.parent, Some(interaction));
    assert!(case.contact().held);
    case.desk.run_s(3);
    assert!(case.desk.world.phones[jim].calls[0].is_up);
}

#[test]
fn an_agent_is_called_out_of_a_consultation_by_messages_only_if_ready_for_voice() {
    let mut agents = config();
    agents.users[1].roles.push(Role::Agent);
    let mut case = case_at(agents);
    let jim = case.desk.phone("1001");
    case.says(Medium::Im, Willing::Ready);
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    let voice = ImVerb::Voice { session, party: None };
    let refused = |case: &mut Case, status: u16, why: &str| {
        let refusal = case.desk.refusal("1000", voice.clone());
        assert_eq!(refusal, Refusal::Unreachable(status), "{why}");
        assert!(!case.contact().held, "nothing has changed: {why}");
        assert!(case.desk.seen("1000", session).session.consult.unwrap().voice.is_none());
        assert!(case.desk.world.phones[jim].calls.iter().all(|call| !call.is_up));
    };
    refused(&mut case, 480, "logged off from voice, though not from messages");
    case.says(Medium::Voice, Willing::NotReady);
    refused(&mut case, 480, "not ready");
    case.says(Medium::Voice, Willing::Ready);
    let ann = case.desk.phone("1002");
    case.desk.world.call(jim, "1002");
    case.desk.run_s(3);
    let refusal = case.desk.refusal("1000", voice.clone());
    assert_eq!(refusal, Refusal::Unreachable(486), "he talks to another one");
    assert!(!case.contact().held);
    case.desk.world.hang_up(ann, 0);
    case.desk.run_s(3);
    let Answer::Acted(acted) = case.desk.act("1000", voice.clone()) else {
        panic!()
    };
    assert_eq!((acted.done, acted.view.parent), (false, Some(case.interaction)));
    assert!(case.contact().held);
}

#[test]
fn what_was_said_in_a_consultation_is_kept_nowhere() {
    let mut settings = config();
    settings.im.keep_transcripts = true;
    let mut case = case();
    case.desk.world.reload(settings);
    let session = case.consult("1001");
    case.desk.act("1001", ImVerb::Accept { session });
    case.desk.act("1000", ImVerb::End { session });
    assert!(!case.desk.world.store.said.is_empty(), "while it is open");
    for user in ["1000", "1001"] {
        case.desk.act(user, ImVerb::Done { session });
    }
    assert!(case.desk.world.store.said.is_empty(), "R341");
    let closed = &case.desk.world.store.closed[&session].session;
    assert_eq!(closed.consult.as_ref().unwrap().interaction, case.interaction, "R340");
}

#[test]
fn a_phone_that_takes_no_messages_is_no_end_of_the_call() {
    let mut case = case();
    case.desk.get_up("1001");
    let jim = case.desk.phone("1001");
    case.desk.world.phones[jim].on_message = OnMessage::Refuse(405);
    let session = case.consult("1001");
    case.desk.run_s(1);
    assert_eq!(case.desk.state("1000", session), ImState::Ended);
    let medium = interactions(&mut case.desk)[0].medium;
    assert_eq!(medium, Medium::Voice);
}
