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
