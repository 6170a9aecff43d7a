//! Calls that are commanded on behalf of a user.

use super::stage::{ANN, BOSS, JIM, KATE, Stage, aor, config};
use super::*;
use crate::{Answer, By, Command, Originate, Refusal};
use model::{InteractionId, InteractionState};

fn command(stage: &mut Stage, by: By, user: usize, target: &str) -> Answer {
    let wanted = Originate {
        by,
        client: "o1".into(),
        user: aor(user),
        target: target.into(),
    };
    let answer = stage.lab.ask(Command::Originate(Box::new(wanted)));
    stage.settle();
    answer
}

/// Kate has commanded a call to Jim; her phone rings.
fn begun() -> (Stage, InteractionId) {
    let mut stage = Stage::new();
    let id = began(&mut stage);
    (stage, id)
}

fn began(stage: &mut Stage) -> InteractionId {
    match command(stage, By::User(aor(KATE)), KATE, "1001") {
        Answer::Acted(acted) if !acted.done => acted.view.id,
        other => panic!("{other:?}"),
    }
}

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn outcome(stage: &Stage) -> Vec<(String, u16)> {
    stage.outcomes()
}

fn told(status: u16) -> Vec<(String, u16)> {
    vec![("originate".to_owned(), status)]
}

fn caller_on(invite: &Message) -> String {
    header(invite, Name::From).split(';').next().unwrap().to_owned()
}

#[test]
fn the_owners_phone_shows_the_target_and_the_targets_phone_the_owner() {
    let (mut stage, id) = begun();
    assert_eq!(
        caller_on(&stage.actors[KATE].ringing[0]),
        "\"User 1001\" <sip:1001@example.com>"
    );
    assert!(stage.actors[KATE].ringing[0].header_named("Call-Info").is_none());
    assert!(stage.actors[JIM].ringing.is_empty() && outcome(&stage).is_empty());
    stage.answer(KATE);
    assert_eq!(stage.hears(KATE), ["tone"]);
    assert_eq!(
        caller_on(&stage.actors[JIM].ringing[0]),
        "\"User 1000\" <sip:1000@example.com>"
    );
    assert!(outcome(&stage).is_empty());
    stage.answer(JIM);
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1000".into()])
    );
    assert_eq!(outcome(&stage), told(200));
    let view = stage.view(id);
    assert_eq!((view.state, view.parties.len()), (InteractionState::Up, 2));
    assert_eq!(view.owner, Some(stage.party_id(id, KATE)));
    assert_eq!(stage.shown(KATE), "");
    stage.end();
}

#[test]
fn a_commanded_call_is_a_call_like_any_other() {
    let (mut stage, interaction) = begun();
    stage.answer(KATE);
    stage.answer(JIM);
    stage.act(KATE, crate::Verb::Hold { interaction });
    assert_eq!(stage.hears(JIM), ["music"]);
    stage.act(KATE, crate::Verb::Resume { interaction });
    assert_eq!(stage.reinvite(JIM, 0, Method::Invite, "sendrecv"), 200);
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1000".into()])
    );
    stage.hang_up(JIM, 0);
    assert!(!stage.is_in_a_call(KATE));
    stage.end();
}

#[test]
fn the_owner_refuses_or_does_not_answer() {
    for (status, expected) in [(486, 486), (603, 603)] {
        let (mut stage, _) = begun();
        stage.refuse(KATE, status);
        assert_eq!(outcome(&stage), told(expected));
        assert!(stage.actors[JIM].ringing.is_empty());
        stage.end();
    }
    let (mut stage, _) = begun();
    stage.pass_s(61);
    assert_eq!(outcome(&stage), told(480));
    assert!(stage.actors[KATE].ringing.is_empty());
    stage.end();
}

#[test]
fn a_target_that_is_busy_or_does_not_answer_ends_the_call_and_is_on_the_records() {
    let (mut stage, _) = begun();
    stage.answer(KATE);
    stage.refuse(JIM, 486);
    assert_eq!(outcome(&stage), told(486));
    assert!(!stage.is_in_a_call(KATE));
    let records = &stage.lab.records;
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|cdr| cdr.reason == model::EndReason::Busy),
        "{records:?}"
    );
    assert!(
        records
            .iter()
            .all(|cdr| &*cdr.callee == "1001" && cdr.caller.contains("1000"))
    );
    stage.end();
    let (mut stage, _) = begun();
    stage.answer(KATE);
    stage.pass_s(61);
    assert_eq!(outcome(&stage), told(480));
    assert!(!stage.is_in_a_call(KATE) && stage.actors[JIM].ringing.is_empty());
    stage.end();
}

#[test]
fn the_owner_hangs_up_while_the_target_rings() {
    let (mut stage, _) = begun();
    stage.answer(KATE);
    stage.hang_up(KATE, 0);
    assert!(stage.actors[JIM].ringing.is_empty());
    assert_eq!(outcome(&stage), told(487));
    stage.end();
}

#[test]
fn an_operator_ends_a_commanded_call_at_any_time() {
    for answered in [false, true] {
        let (mut stage, id) = begun();
        if answered {
            stage.answer(KATE);
        }
        assert_eq!(stage.lab.ask(Command::Hangup(id)), Answer::Done(1));
        stage.settle();
        assert_eq!(outcome(&stage), told(480));
        assert!(stage.actors[JIM].ringing.is_empty() && stage.actors[KATE].ringing.is_empty());
        stage.end();
    }
}

#[test]
fn who_may_not_or_cannot_be_called_is_refused_at_once() {
    let mut stage = Stage::new();
    let operator = || By::Operator(None);
    let none = |stage: &Stage| stage.actors.iter().all(|actor| actor.ringing.is_empty());
    let forbidden = refusal(command(&mut stage, By::User(aor(JIM)), KATE, "1005"));
    assert!(matches!(forbidden, Refusal::Forbidden(_)), "{forbidden:?}");
    assert_eq!(
        refusal(command(&mut stage, operator(), KATE, "777777")),
        Refusal::Unreachable(404)
    );
    let mut stage = Stage::new();
    assert!(matches!(
        refusal(command(&mut stage, operator(), KATE, "1000")),
        Refusal::Conflict(_)
    ));
    assert!(none(&stage));
    let mut stage = Stage::new();
    let wanted = Originate {
        by: By::Operator(None),
        client: "".into(),
        user: model::Aor::new("1004", "example.com"),
        target: "1001".into(),
    };
    let answer = stage.lab.ask(Command::Originate(Box::new(wanted)));
    assert_eq!(refusal(answer), Refusal::Unreachable(480));
    stage.end();
}

#[test]
fn a_supervisor_commands_for_others_and_a_repetition_is_done_once() {
    let mut stage = Stage::new();
    let first = command(&mut stage, By::User(aor(BOSS)), KATE, "1001");
    let again = command(&mut stage, By::User(aor(BOSS)), KATE, "1001");
    assert_eq!(first, again);
    assert_eq!(stage.actors[KATE].ringing.len(), 1);
    stage.answer(KATE);
    stage.answer(JIM);
    stage.end();
}

#[test]
fn the_targets_forward_is_followed_and_the_owners_phone_shows_where_it_went() {
    let mut stage = Stage::new();
    stage.dial(JIM, "*901002");
    stage.hang_up(JIM, 0);
    began(&mut stage);
    stage.answer(KATE);
    stage.refuse(JIM, 486);
    stage.answer(ANN);
    assert_eq!(
        (stage.hears(KATE), stage.hears(ANN)),
        (vec!["1002".into()], vec!["1000".into()])
    );
    assert!(stage.shown(KATE).contains("1002"), "{}", stage.shown(KATE));
    assert_eq!(outcome(&stage), told(200));
    stage.end();
}

#[test]
fn nobody_picks_up_a_commanded_call_before_its_owner_has_answered() {
    let (mut stage, _) = begun();
    stage.dial(ANN, "*81000");
    assert_eq!(stage.last_reply(ANN), 480, "there is nobody to talk to");
    stage.answer(KATE);
    stage.dial(ANN, "*81001");
    assert_eq!(
        (stage.hears(ANN), stage.hears(KATE)),
        (vec!["1000".into()], vec!["1002".into()])
    );
    assert!(stage.actors[JIM].ringing.is_empty());
    stage.end();
}

#[test]
fn phones_are_asked_to_answer_by_themselves_by_setting() {
    let mut config = config();
    config.calls.originate_auto_answer = true;
    let mut stage = Stage::with(config);
    began(&mut stage);
    let invite = &stage.actors[KATE].ringing[0];
    // Phones differ in which of these they know (RFC 5373, and what vendors made up before).
    for (name, value) in [
        ("Call-Info", ";answer-after=0"),
        ("Alert-Info", ";info=alert-autoanswer"),
        ("Answer-Mode", "Auto"),
    ] {
        let said = invite.header_named(name).unwrap_or_default();
        assert!(said.ends_with(value.as_bytes()), "{name}");
    }
    stage.answer(KATE);
    assert!(stage.actors[JIM].ringing[0].header_named("Call-Info").is_none());
    stage.answer(JIM);
    stage.end();
}
