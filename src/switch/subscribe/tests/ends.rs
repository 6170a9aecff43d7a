//! How subscriptions end by what the switch does, what very many watchers cost the others, and what lasts over a restart.

use super::*;
use crate::config::Config;
use crate::config::groups::{Group, Members, Strategy};
use crate::{By, SetAgent};
use model::{Aor, Willing};

/// Kate watches 1001 by presence and by lamp.
fn watches_both(config: Config) -> (World, usize) {
    let mut world = World::new(config, 1);
    let kate = world.phone("1000");
    world.register(kate);
    for package in ["presence", "dialog"] {
        let answer = subscribe(&mut world, kate, "1001", wishes(package, 600));
        assert_eq!(answer.status(), 200);
    }
    world.run_ms(600);
    world.phones[kate].requests.clear();
    (world, kate)
}

fn text_of(notify: &Message) -> String {
    String::from_utf8_lossy(notify.body_bytes()).into_owned()
}

/// What a phone was told since last asked: `presence terminated rejected`, and whether there was a state with it.
fn ends(world: &World, phone: usize) -> Vec<(String, bool)> {
    let notifies = world.phones[phone].requests.iter();
    let package = |notify: &Message| String::from_utf8_lossy(notify.header(Name::Event).unwrap()).into_owned();
    notifies
        .zip(states(world, phone))
        .map(|(notify, state)| (format!("{} {state}", package(notify)), !notify.body().is_empty()))
        .collect()
}

#[test]
fn who_loses_the_right_to_watch_is_told_that_and_nothing_else() {
    let (mut world, kate) = watches_both(config());
    let mut closed = config();
    closed.subscriptions.watch_presence = Audience::Supervisors;
    world.reload(closed.clone());
    world.run_ms(10);
    assert_eq!(ends(&world, kate), [("presence terminated rejected".to_owned(), false)]);
    assert_eq!(alive(&world), 1, "the lamp goes on");
    closed.subscriptions.watch_calls = Audience::Nobody;
    closed.users[0].roles.push(Role::Supervisor);
    world.reload(closed);
    world.run_ms(10);
    assert_eq!(ends(&world, kate)[1].0, "dialog terminated rejected");
    assert_eq!((alive(&world), world.store.subscriptions.len()), (0, 0));
    assert_eq!(figure(&world, "subscriptions_ended_by_switch_total"), 2);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn what_is_gone_is_no_resource_and_who_is_gone_watches_nothing() {
    let (mut world, kate) = watches_both(config());
    let mut without = config();
    without.users.remove(1);
    world.reload(without.clone());
    world.run_ms(10);
    let told = ends(&world, kate);
    let told: Vec<&str> = told.iter().map(|(told, _)| told.as_str()).collect();
    assert_eq!(told, ["presence terminated noresource", "dialog terminated noresource"]);

    subscribe(&mut world, kate, "1002", wishes("dialog", 600));
    world.phones[kate].requests.clear();
    without.users.remove(0);
    world.reload(without);
    world.run_ms(10);
    assert_eq!(ends(&world, kate), [("dialog terminated rejected".to_owned(), false)]);
    assert_eq!((alive(&world), world.switch.audit()), (0, Ok(())));
}

#[test]
fn a_reload_that_changes_nothing_for_a_watcher_tells_nothing() {
    let (mut world, kate) = watches_both(config());
    world.reload(config());
    world.run(Duration::from_secs(2));
    assert_eq!((ends(&world, kate), alive(&world)), (Vec::new(), 2));
}

#[test]
fn who_has_left_a_closed_room_is_told_the_end_at_the_refresh() {
    let mut config = config();
    config.conferences.default.pin = Pin::new("4711");
    config.conferences.default.moderators.push("1000".into());
    let mut world = World::new(config.clone(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    let answer = subscribe(&mut world, kate, "3000", wishes("conference", 600));
    assert_eq!(answer.status(), 200, "a moderator");
    let call = world.call(kate, "3000");
    world.run_ms(600);
    config.conferences.default.moderators.clear();
    world.reload(config);
    world.run_ms(600);
    assert_eq!(alive(&world), 1, "a member");
    world.hang_up(kate, call);
    world.run_ms(600);
    let refresh = wishes("conference", 600);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    assert_eq!(world.finish(kate, number), 200);
    world.run_ms(10);
    assert_eq!(states(&world, kate).last().unwrap(), "terminated rejected");
    assert_eq!((alive(&world), world.store.subscriptions.len()), (0, 0));
}

#[test]
fn a_fetch_and_a_refused_request_push_nobody_out() {
    let (mut world, kate) = kate();
    for _ in 0..16 {
        subscribe(&mut world, kate, "1001", wishes("dialog", 600));
    }
    assert_eq!(subscribe(&mut world, kate, "1001", wishes("dialog", 0)).status(), 200);
    assert_eq!(subscribe(&mut world, kate, "1001", wishes("dialog", 5)).status(), 423);
    let ended = states(&world, kate);
    let ended: Vec<_> = ended.iter().filter(|state| state.starts_with("terminated")).collect();
    assert_eq!(ended, ["terminated timeout"], "the fetch itself");
    assert_eq!((alive(&world), world.store.subscriptions.len()), (16, 16));
}

#[test]
fn a_thousand_watchers_of_one_are_told_in_16_ms_and_others_are_heard_meanwhile() {
    const WATCHERS: u64 = 1_000;
    let mut config = config();
    config.subscriptions.per_user = 10_000;
    let mut world = World::new(config, 1);
    let [kate, jim, carol] = ["1000", "1001", "1002"].map(|user| world.phone(user));
    world.register(kate);
    world.register(carol);
    for _ in 0..WATCHERS {
        subscribe(&mut world, kate, "1001", wishes("presence", 3_600));
    }
    world.run_ms(600);
    world.phones[kate].requests.clear();
    let told = |world: &World| world.phones[kate].requests.len() as u64;

    let before = figure(&world, "notifies_total");
    let number = world.with(jim, |phone, now| phone.register(now, 3_600));
    world.run_until(Duration::from_secs(1), |world| figure(world, "notifies_total") > before);
    assert_eq!(figure(&world, "notifies_total") - before, 64, "in the step itself");
    assert_eq!(figure(&world, "watchers_waiting"), WATCHERS - 64);
    world.run_ms(4);
    assert_eq!(
        world.phones[jim].status(number),
        Some(200),
        "the phone has not waited for them"
    );
    let text = world.message(carol, "1001", "hello");
    world.run_ms(4);
    assert_eq!(world.status(carol, text), Some(200));
    assert!(told(&world) < WATCHERS, "{} are told", told(&world));
    world.run_ms(10);
    assert_eq!(told(&world), WATCHERS, "16 ms and the way there");
    assert_eq!((figure(&world, "watchers_waiting"), world.switch.audit()), (0, Ok(())));
}

#[test]
fn who_waits_in_line_is_told_once_what_is_so_then() {
    let mut config = config();
    config.subscriptions.per_user = 10_000;
    let mut world = World::new(config, 1);
    let [kate, jim] = ["1000", "1001"].map(|user| world.phone(user));
    world.register(kate);
    for _ in 0..300 {
        subscribe(&mut world, kate, "1001", wishes("presence", 3_600));
    }
    world.run_ms(600);
    world.phones[kate].requests.clear();
    world.register(jim);
    world.register_for(jim, 0);
    world.run_ms(2_000);
    let open = |notify: &&Message| text_of(notify).contains("<basic>open<");
    let notifies = &world.phones[kate].requests;
    let opened = notifies.iter().filter(open).count();
    assert!(
        (64..300).contains(&opened),
        "those who came late did not hear of it: {opened}"
    );
    assert_eq!(notifies.len(), 2 * opened, "and who heard of it also heard of the end");
}

/// So many agents from 1001 on are in group 2000.
pub(super) fn agents_of_a_group(count: usize) -> Config {
    let mut config = config();
    for n in config.users.len()..=count {
        config.users.push(crate::testing::user(&(1_000 + n).to_string()));
    }
    let agents = &mut config.users[1..=count];
    agents.iter_mut().for_each(|user| user.roles.push(Role::Agent));
    let members = agents.iter().map(|user| user.aor.user().into()).collect();
    config.groups.list = vec![Group {
        number: "2000".into(),
        name: "Support".into(),
        members: Members::List(members),
        strategy: Strategy::LongestIdle,
    }];
    config
}

pub(super) fn says(world: &mut World, user: &str, willing: Willing) {
    let user = Aor::new(user, crate::testing::DOMAIN);
    let set = SetAgent {
        by: By::User(user.clone()),
        user,
        medium: None,
        willing,
        reason: "".into(),
    };
    let answer = world.command(Command::SetAgent(Box::new(set)));
    assert!(matches!(answer, crate::Answer::Agents(_)), "{answer:?}");
}

/// The notes of the documents a phone was told since last asked, with their CSeq, by note.
fn notes(world: &mut World, phone: usize) -> Vec<(u32, String)> {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let told = requests.iter().filter(|request| request.method() == Method::Notify);
    let mut told: Vec<_> = told
        .map(|notify| (notify.cseq(), between(&text_of(notify), "<note>", "<").to_owned()))
        .collect();
    told.sort_by(|a, b| a.1.cmp(&b.1));
    told
}

#[test]
fn presence_goes_on_after_a_restart_with_what_is_so_then() {
    let mut world = World::new(agents_of_a_group(1), 1);
    let [kate, jim] = ["1000", "1001"].map(|user| world.phone(user));
    world.register(kate);
    world.register(jim);
    says(&mut world, "1001", Willing::Ready);
    for whom in ["1001", "2000"] {
        subscribe(&mut world, kate, whom, wishes("presence", 600));
    }
    world.run_ms(600);
    let before = notes(&mut world, kate);
    assert_eq!(
        before.iter().map(|(_, note)| note.as_str()).collect::<Vec<_>>(),
        ["1 available", "ready"]
    );
    let last = before.iter().map(|(cseq, _)| *cseq).max().unwrap();
    world.restart();
    world.run_ms(100);
    let after = notes(&mut world, kate);
    assert_eq!(
        after.iter().map(|(_, note)| note.as_str()).collect::<Vec<_>>(),
        ["1 available", "ready"]
    );
    assert!(after.iter().all(|(cseq, _)| *cseq > last), "{before:?} {after:?}");
    world.run_ms(600);
    says(&mut world, "1001", Willing::NotReady);
    world.run_ms(600);
    let told = notes(&mut world, kate);
    assert_eq!(
        told.iter().map(|(_, note)| note.as_str()).collect::<Vec<_>>(),
        ["0 available", "not ready"]
    );
    assert_eq!((alive(&world), world.switch.audit()), (2, Ok(())));
}

#[test]
fn after_a_restart_watchers_are_told_five_hundred_a_second() {
    let mut config = config();
    config.subscriptions.per_user = 10_000;
    let mut world = World::new(config, 1);
    let kate = world.phone("1000");
    world.register(kate);
    for _ in 0..300 {
        subscribe(&mut world, kate, "1001", wishes("presence", 3_600));
    }
    world.run_ms(600);
    world.phones[kate].requests.clear();
    world.restart();
    world.run_ms(100);
    let told = world.phones[kate].requests.len();
    assert!((45..=55).contains(&told), "{told} in a tenth of a second");
    world.run_ms(600);
    assert_eq!((world.phones[kate].requests.len(), alive(&world)), (300, 300));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_room_that_is_not_called_as_it_is_dialled_is_watched_on_after_a_restart() {
    use crate::config::{Action, Pattern, Rule};
    let mut config = config();
    let room = Rule::new(Pattern::Exact("700".into()), Action::Room(Some("sales".into())));
    config.dialplan.insert(0, room);
    let mut world = World::new(config, 1);
    let kate = world.phone("1000");
    world.register(kate);
    assert_eq!(
        subscribe(&mut world, kate, "700", wishes("conference", 600)).status(),
        200
    );
    world.restart();
    world.run_ms(100);
    assert_eq!(alive(&world), 1);
}

#[test]
fn s6_each_package_asks_for_a_password_and_then_for_a_right() {
    let mut config = config();
    config.subscriptions.watch_calls = Audience::Nobody;
    config.subscriptions.watch_presence = Audience::Nobody;
    config.conferences.default.pin = Pin::new("4711");
    config.security.max_failures = 1_000;
    let mut world = World::new(config, 1);
    let kate = world.phone("1000");
    let targets = ["1000", "1001", "4711", "3000"];
    let all = ["message-summary", "dialog", "presence", "conference", "reg"]
        .map(|package| targets.map(|whom| (package, whom)));
    world.phones[kate].password = "wrong".into();
    for (package, whom) in all.into_iter().flatten() {
        world.phones[kate].reboot();
        let answer = subscribe(&mut world, kate, whom, wishes(package, 600));
        assert_eq!(answer.status(), 401, "{package} of {whom}");
    }
    world.phones[kate].password = crate::testing::password("1000");
    world.phones[kate].reboot();
    let allowed = |(package, whom): &(&str, &str)| *package != "conference" && *whom == "1000";
    for (package, whom) in all.into_iter().flatten().filter(|one| !allowed(one)) {
        let answer = subscribe(&mut world, kate, whom, wishes(package, 600));
        let room = package == "conference" && whom != "3000";
        assert_eq!(answer.status(), if room { 404 } else { 403 }, "{package} of {whom}");
    }
    assert!(world.phones[kate].requests.is_empty());
    assert_eq!(alive(&world), 0);
}
