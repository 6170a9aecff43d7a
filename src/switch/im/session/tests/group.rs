//! To a group or a skill: an available member is found, and becomes the party shown (R052).

use super::*;
use crate::config::Role;
use crate::config::groups::{Group, Members, Strategy};
use crate::{Refusal, SetAgent};
use model::{AgentStatus, ImEnd, Medium, Willing};

/// 2000 is a group of the agents 1001, 1002 and 1003, who sit at their workspaces and became ready in this order; 1002 and
/// 1003 know German; each takes one session at a time. 1000 is one who writes.
fn team() -> Desk {
    let mut settings = config();
    for user in 1..4 {
        settings.users[user].roles.push(Role::Agent);
    }
    for user in 2..4 {
        settings.users[user].skills.push("german".into());
    }
    settings.groups.im_sessions = 1;
    let listed = ["1001", "1002", "1003"].map(Into::into);
    settings.groups.list = vec![Group {
        number: "2000".into(),
        name: "Violins".into(),
        members: Members::List(listed.into()),
        strategy: Strategy::LongestIdle,
    }];
    let mut desk = Desk::new(settings);
    for user in ["1000", "1001", "1002", "1003"] {
        desk.sit_down(user);
        desk.run_s(1);
        if user != "1000" {
            desk.set(user, Willing::Ready);
        }
    }
    desk
}

impl Desk {
    fn set(&mut self, user: &str, willing: Willing) {
        let set = SetAgent {
            by: By::User(aor(user)),
            user: aor(user),
            medium: Some(Medium::Im),
            willing,
            reason: "".into(),
        };
        let answer = self.world.command(Command::SetAgent(Box::new(set)));
        assert!(matches!(answer, Answer::Agents(_)), "{answer:?}");
        self.run_s(1);
    }

    fn status(&mut self, user: &str) -> AgentStatus {
        match self.world.command(Command::Agents {
            user: Some(aor(user)),
            by: crate::By::Operator(None),
        }) {
            Answer::Agents(mut views) => views.remove(0).im.unwrap().state,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_member_who_was_idle_longest_is_asked_and_shown() {
    let mut desk = team();
    let session = desk.invite("1000", "2000", "I need strings");
    assert_eq!(desk.bar("1001").len(), 1);
    assert!(desk.bar("1002").is_empty() && desk.bar("1003").is_empty());
    let own = party(&desk.seen("1000", session).session, "1001");
    assert_eq!(own.group.as_deref(), Some("2000"));
    desk.act("1001", ImVerb::Accept { session });
    assert_eq!(desk.status("1001"), AgentStatus::Busy);
    // The next one goes to the next member.
    let next = desk.invite("1000", "2000", "and a bow");
    assert_eq!(desk.seen("1002", next).session.id, next);
}

#[test]
fn a_phone_writes_to_a_group_and_goes_on_with_who_takes_it() {
    let mut desk = team();
    let ann = desk.phone("1005");
    let write = |desk: &mut Desk, to: &str, text: &str| {
        let sent = desk.world.message(ann, to, text);
        desk.world.finish(ann, sent)
    };
    assert_eq!(write(&mut desk, "2000", "I need strings"), 202);
    let [invitation] = &*desk.bar("1001") else {
        panic!("one is asked")
    };
    let session = invitation.session.id;
    assert!(desk.bar("1002").is_empty() && desk.bar("1003").is_empty());
    desk.act("1001", ImVerb::Accept { session });
    desk.say("1001", session, "which?");
    desk.run_s(1);
    assert_eq!(desk.world.phones[ann].texts(), ["which?"]);
    // To the group and to who took it is the same conversation.
    assert_eq!(write(&mut desk, "2000", "E"), 202);
    assert_eq!(write(&mut desk, "1001", "and A"), 202);
    assert_eq!(desk.texts("1001", session), ["I need strings", "which?", "E", "and A"]);
    desk.act("1001", ImVerb::End { session });
    // Nobody is ready: it is refused, and nothing is left of it.
    for user in ["1001", "1002", "1003"] {
        desk.set(user, Willing::NotReady);
    }
    let before = desk.figure("im_sessions");
    assert_eq!(write(&mut desk, "2000", "anybody?"), 480);
    assert_eq!(desk.figure("im_sessions"), before);
    let html = desk
        .world
        .with(ann, |phone, now| phone.message(now, "2000", "text/html", b"<b>"));
    assert_eq!(desk.world.finish(ann, html), 415);
}

#[test]
fn a_member_with_a_phone_alone_takes_what_a_phone_writes_to_the_group() {
    let mut settings = config();
    settings.users[1].roles.push(Role::Agent);
    settings.groups.im_sessions = 1;
    settings.groups.list = vec![Group {
        number: "2000".into(),
        name: "Violins".into(),
        members: Members::List([Box::from("1001")].into()),
        strategy: Strategy::LongestIdle,
    }];
    let mut desk = Desk::new(settings);
    let (jim, ann) = (desk.phone("1001"), desk.phone("1005"));
    desk.set("1001", Willing::Ready);
    let sent = desk.world.message(ann, "2000", "I need strings");
    assert_eq!(desk.world.finish(ann, sent), 202);
    desk.run_s(1);
    assert_eq!(desk.world.phones[jim].texts(), ["I need strings"]);
    assert_eq!(desk.status("1001"), AgentStatus::Busy);
    let sent = desk.world.message(jim, "1005", "which?");
    assert_eq!(desk.world.finish(jim, sent), 202);
    desk.run_s(1);
    assert_eq!(desk.world.phones[ann].texts(), ["which?"]);
}

#[test]
fn who_declines_or_does_not_answer_is_passed_over_until_nobody_is_left() {
    let mut desk = team();
    let session = desk.invite("1000", "2000", "anybody?");
    desk.act("1001", ImVerb::Reject { session });
    assert_eq!(desk.state("1000", session), ImState::Establishing, "the hunt goes on");
    desk.run_s(31);
    assert_eq!(desk.seen("1003", session).session.id, session, "1002 did not answer");
    desk.act("1003", ImVerb::Accept { session });
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(desk.texts("1003", session), ["anybody?"]);

    let session = desk.invite("1000", "2000", "again");
    for user in ["1001", "1002"] {
        if desk.bar(user).iter().any(|one| one.session.id == session) {
            desk.act(user, ImVerb::Reject { session });
        }
        desk.run_s(1);
    }
    for user in ["1001", "1002"] {
        if desk
            .bar(user)
            .iter()
            .any(|one| one.session.id == session && one.session.state != ImState::Ended)
        {
            desk.act(user, ImVerb::Reject { session });
        }
    }
    let seen = desk.seen("1000", session).session;
    assert_eq!((seen.state, seen.end), (ImState::Ended, Some(ImEnd::Rejected)));
}

#[test]
fn who_is_not_ready_is_not_asked_and_with_nobody_ready_it_is_480() {
    let mut desk = team();
    desk.set("1001", Willing::NotReady);
    let session = desk.invite("1000", "2000", "hello");
    assert_eq!(desk.seen("1002", session).session.id, session);
    desk.act("1002", ImVerb::Accept { session });
    desk.set("1003", Willing::NotReady);
    let other = desk.open("1000", "2000");
    let text = "nobody?".into();
    let why = desk.refusal("1000", ImVerb::Send { session: other, text });
    assert_eq!(why, Refusal::Unreachable(480));
}

#[test]
fn a_skill_is_hunted_like_a_group_also_for_a_transfer() {
    let mut desk = team();
    let session = desk.invite("1000", "skill:german", "guten Tag");
    desk.act("1002", ImVerb::Accept { session });
    let target = "skill:german".into();
    desk.act("1002", ImVerb::Transfer { session, target });
    desk.act("1003", ImVerb::Accept { session });
    assert_eq!(desk.state("1002", session), ImState::Ended);
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(desk.status("1002"), AgentStatus::Ready, "nothing holds who is out");
}
