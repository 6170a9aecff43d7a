//! Agents in the whole switch: what they say, their phones and their calls.

mod random;

use super::group;
use crate::config::groups::{Group, Members, Strategy};
use crate::config::{Config, Role};
use crate::testing::{DOMAIN, World, config};
use crate::{Answer, By, Command, Refusal, SetAgent};
use model::{AgentStatus, Aor, DeviceState, Medium, PresenceView, Willing};
use std::time::Duration;

fn aor(user: &str) -> Aor {
    Aor::new(user, DOMAIN)
}

/// 1000 to 1005 are agents, 1000 also a supervisor; 2000 is a group of 1001 to 1003, 2001 of those who know German: 1002, 1004.
fn agents() -> Config {
    let mut config = config();
    for user in &mut config.users[..6] {
        user.roles.push(Role::Agent);
    }
    config.users[0].roles.push(Role::Supervisor);
    for knows in [2, 4] {
        config.users[knows].skills.push("german".into());
    }
    let group = |number: &str, members| Group {
        number: number.into(),
        name: format!("Group {number}").into(),
        members,
        strategy: Strategy::LongestIdle,
    };
    let listed = ["1001", "1002", "1003"].map(Into::into);
    config.groups.list = vec![
        group("2000", Members::List(listed.into())),
        group("2001", Members::Skill("german".into())),
    ];
    config
}

/// What is said of an agent by somebody; the agent as it is then.
fn set(world: &mut World, by: &str, user: &str, willing: Willing, reason: &str) -> Result<PresenceView, Refusal> {
    let set = SetAgent {
        by: By::User(aor(by)),
        user: aor(user),
        medium: None,
        willing,
        reason: reason.into(),
    };
    match world.command(Command::SetAgent(Box::new(set))) {
        Answer::Agents(mut views) => Ok(views.remove(0)),
        Answer::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn is_ready(world: &mut World, users: &[&str]) {
    for user in users {
        set(world, user, user, Willing::Ready, "").unwrap();
        world.run_ms(10);
    }
}

fn view(world: &mut World, user: &str) -> PresenceView {
    match world.command(Command::Agents {
        user: Some(aor(user)),
        by: By::Operator(None),
    }) {
        Answer::Agents(mut views) => views.remove(0),
        other => panic!("{other:?}"),
    }
}

fn voice(world: &mut World, user: &str) -> AgentStatus {
    view(world, user).voice.unwrap().state
}

fn hunt(world: &World, dialled: &str, past: &[&str]) -> Option<String> {
    let past: Vec<Aor> = past.iter().map(|user| aor(user)).collect();
    let (core, agents) = (&world.switch.core, &world.switch.agents);
    let found = group::hunt(core, agents, group::team(core, dialled)?, Medium::Im, &past);
    found.map(|user| user.user().to_owned())
}

#[test]
fn an_agent_logs_in_takes_a_break_and_logs_out() {
    let mut world = World::new(agents(), 1);
    let kate = world.phone("1001");
    world.register(kate);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::LoggedOff);
    let ready = set(&mut world, "1001", "1001", Willing::Ready, "").unwrap();
    assert_eq!(
        (ready.voice.unwrap().state, &*ready.text),
        (AgentStatus::Ready, "ready")
    );
    let meal = set(&mut world, "1001", "1001", Willing::NotReady, "meal").unwrap();
    assert_eq!((&*meal.text, &*meal.im.unwrap().reason), ("meal", "meal"));
    let off = set(&mut world, "1001", "1001", Willing::LoggedOff, "").unwrap();
    assert_eq!((&*off.text, off.device), ("logged off", DeviceState::Idle));
}

#[test]
fn agents_speak_for_themselves_and_supervisors_for_all() {
    let mut world = World::new(agents(), 1);
    let by = |world: &mut World, by, user, reason| set(world, by, user, Willing::NotReady, reason);
    assert!(matches!(by(&mut world, "1001", "1002", ""), Err(Refusal::Forbidden(_))));
    assert!(by(&mut world, "1000", "1002", "").is_ok());
    assert!(
        matches!(by(&mut world, "1010", "1010", ""), Err(Refusal::NotFound(_))),
        "no agent"
    );
    let unknown = by(&mut world, "1001", "1001", "fishing");
    assert!(matches!(unknown, Err(Refusal::Conflict(_))), "{unknown:?}");
}

#[test]
fn who_may_not_use_messages_is_no_agent_by_them() {
    let mut config = agents();
    config.users[1].im = false;
    let mut world = World::new(config, 1);
    let kate = world.phone("1001");
    world.register(kate);
    let ready = set(&mut world, "1001", "1001", Willing::Ready, "").unwrap();
    assert_eq!((ready.im, &*ready.text), (None, "ready"));
    let im = SetAgent {
        by: By::User(aor("1001")),
        user: aor("1001"),
        medium: Some(Medium::Im),
        willing: Willing::Ready,
        reason: "".into(),
    };
    let refused = world.command(Command::SetAgent(Box::new(im)));
    assert!(matches!(refused, Answer::Refused(Refusal::Forbidden(_))), "{refused:?}");
}

#[test]
fn an_agent_is_busy_for_as_long_as_the_call_lasts_and_then_has_time_to_wrap_up() {
    let mut config = agents();
    config.groups.wrap_up = Duration::from_secs(10);
    let mut world = World::new(config, 1);
    let (kate, jim) = (world.phone("1001"), world.phone("1010"));
    world.register(kate);
    world.register(jim);
    is_ready(&mut world, &["1001"]);
    let call = world.call(jim, "1001");
    world.run_ms(500);
    assert_eq!(view(&mut world, "1001").device, DeviceState::Ringing);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Busy);
    world.run_ms(1_000);
    let talks = view(&mut world, "1001");
    assert_eq!((talks.device, &*talks.text), (DeviceState::InCall, "on the phone"));
    world.hang_up(jim, call);
    world.run_ms(1_000);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::AfterCall);
    world.run_ms(9_500);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Ready);
}

#[test]
fn who_says_ready_is_done_with_what_was_left_to_do() {
    let mut config = agents();
    config.groups.wrap_up = Duration::from_secs(60);
    let mut world = World::new(config, 1);
    let (kate, jim) = (world.phone("1001"), world.phone("1010"));
    world.register(kate);
    world.register(jim);
    is_ready(&mut world, &["1001"]);
    let call = world.call(jim, "1001");
    world.run_ms(1_500);
    world.hang_up(jim, call);
    world.run_ms(500);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::AfterCall);
    is_ready(&mut world, &["1001"]);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Ready);
    world.run_ms(120_000);
    world.switch.audit().unwrap();
}

#[test]
fn what_was_said_survives_a_restart_and_what_was_busy_does_not() {
    let mut world = World::new(agents(), 1);
    let (kate, jim) = (world.phone("1001"), world.phone("1002"));
    world.register(kate);
    world.register(jim);
    is_ready(&mut world, &["1001"]);
    set(&mut world, "1002", "1002", Willing::NotReady, "meal").unwrap();
    let since = view(&mut world, "1002").voice.unwrap().since;
    world.call(jim, "1001");
    world.run_ms(500);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Busy);
    world.restart();
    world.run_ms(3_000);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Ready);
    let meal = view(&mut world, "1002").voice.unwrap();
    assert_eq!(
        (meal.state, &*meal.reason, meal.since),
        (AgentStatus::NotReady, "meal", since)
    );
}

#[test]
fn who_is_idle_longest_is_next() {
    let mut world = World::new(agents(), 1);
    let phones: Vec<_> = ["1001", "1002", "1003"].map(|user| world.phone(user)).into();
    for &phone in &phones {
        world.register(phone);
    }
    assert_eq!(hunt(&world, "2000", &[]), None, "nobody is logged in");
    is_ready(&mut world, &["1003", "1001", "1002"]);
    assert_eq!(hunt(&world, "2000", &[]).as_deref(), Some("1003"));
    assert_eq!(hunt(&world, "2000", &["1003"]).as_deref(), Some("1001"));
    set(&mut world, "1003", "1003", Willing::NotReady, "").unwrap();
    is_ready(&mut world, &["1003"]);
    assert_eq!(hunt(&world, "2000", &[]).as_deref(), Some("1001"), "1003 began anew");
    world.register_for(phones[0], 0);
    assert_eq!(
        hunt(&world, "2000", &[]).as_deref(),
        Some("1002"),
        "1001 has no phone now"
    );
    for team in ["2001", "skill:german"] {
        assert_eq!(hunt(&world, team, &[]).as_deref(), Some("1002"), "1004 is not there");
    }
    assert_eq!(hunt(&world, "skill:dutch", &[]), None);
    assert_eq!(hunt(&world, "2002", &[]), None);
}

#[test]
fn a_page_is_enough_for_messages() {
    let mut world = World::new(agents(), 1);
    is_ready(&mut world, &["1001"]);
    let page = |world: &mut World, open: bool| {
        let (agents, core) = (&mut world.switch.agents, &mut world.switch.core);
        match open {
            true => agents.open_page(core, &aor("1001"), 7),
            false => agents.close_page(core, &aor("1001"), 7),
        }
        // Any input settles what was touched.
        world.command(Command::Status);
    };
    let states = |world: &mut World| {
        let view = view(world, "1001");
        [view.im, view.voice].map(|channel| channel.unwrap().state)
    };
    assert_eq!(states(&mut world), [AgentStatus::LoggedOff; 2]);
    page(&mut world, true);
    assert_eq!(states(&mut world), [AgentStatus::Ready, AgentStatus::LoggedOff]);
    assert_eq!(&*view(&mut world, "1001").text, "ready for messages");
    page(&mut world, false);
    assert_eq!(states(&mut world), [AgentStatus::LoggedOff; 2]);
}

#[test]
fn an_agent_can_be_logged_in_by_the_phone() {
    let mut config = agents();
    config.groups.login = crate::config::groups::Login::Registration;
    let mut world = World::new(config, 1);
    let kate = world.phone("1001");
    world.register(kate);
    assert_eq!(voice(&mut world, "1001"), AgentStatus::Ready);
    set(&mut world, "1001", "1001", Willing::LoggedOff, "").unwrap();
    world.register(kate);
    assert_eq!(
        voice(&mut world, "1001"),
        AgentStatus::LoggedOff,
        "what was said counts"
    );
}

#[test]
fn a_group_tells_how_many_of_it_are_ready() {
    let mut world = World::new(agents(), 1);
    let kate = world.phone("1002");
    world.register(kate);
    is_ready(&mut world, &["1002"]);
    let Answer::Groups(groups) = world.command(Command::Groups {
        number: None,
        by: By::Operator(None),
    }) else {
        panic!("no groups")
    };
    let told: Vec<_> = groups
        .iter()
        .map(|g| (&*g.number, g.members.len(), g.ready_voice))
        .collect();
    assert_eq!(told, [("2000", 3, 1), ("2001", 2, 1)]);
    let unknown = world.command(Command::Groups {
        number: Some("2077".into()),
        by: By::Operator(None),
    });
    assert!(matches!(unknown, Answer::Refused(Refusal::NotFound(_))));
}
