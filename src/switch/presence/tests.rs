//! Presence as softphones see it: SUBSCRIBE, NOTIFY and PUBLISH, over a whole switch.

use crate::config::groups::{Group, Members, Strategy};
use crate::config::{Audience, Config, Role};
use crate::testing::stage::{JIM, KATE, Stage};
use crate::testing::{DOMAIN, World, config};
use crate::{Answer, By, Command, Look, Notice, SetAgent, Verb};
use model::{AgentStatus, Aor, DirectoryEntry, Event, Medium, Snapshot, TargetAction, Willing};
use sip::{Body, Headers, Message, Method, Name};
use std::time::Duration;

const PIDF: &str = "application/pidf+xml";

fn aor(user: &str) -> Aor {
    Aor::new(user, DOMAIN)
}

/// 1001 to 1003 are agents in group 2000, 1003 knows German; 1000 is a supervisor.
fn agents() -> Config {
    let mut config = config();
    config.users[0].roles.push(Role::Supervisor);
    for user in &mut config.users[1..4] {
        user.roles.push(Role::Agent);
    }
    config.users[3].skills.push("german".into());
    config.groups.list = vec![Group {
        number: "2000".into(),
        name: "Support".into(),
        members: Members::List(["1001", "1002", "1003"].map(Into::into).into()),
        strategy: Strategy::LongestIdle,
    }];
    config
}

fn request(world: &mut World, phone: usize, method: Method, to: &str, headers: Headers, body: Option<Body>) -> Message {
    let number = world.with(phone, |phone, now| phone.request(now, method, to, headers, body));
    world.finish(phone, number);
    world.run_ms(20);
    world.phones[phone].answer(number).expect("an answer comes").clone()
}

fn subscribe(world: &mut World, phone: usize, package: &str, to: &str, expires_s: u32) -> Message {
    let headers = Headers::new()
        .with(Name::Event, package)
        .with(Name::Expires, expires_s.to_string())
        .with(Name::Contact, "<sip:x@127.0.0.1:20000>");
    request(world, phone, Method::Subscribe, to, headers, None)
}

fn publish(world: &mut World, phone: usize, to: &str, headers: Headers, content: &str) -> Message {
    let body = (!content.is_empty()).then(|| Body {
        content_type: PIDF.into(),
        content: content.to_owned().into(),
    });
    request(
        world,
        phone,
        Method::Publish,
        to,
        headers.with(Name::Event, "presence"),
        body,
    )
}

/// What a device publishes.
fn pidf(basic: &str, activity: &str, note: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:x@y\"><tuple id=\"a\"><status><basic>{basic}</basic>\
         </status></tuple><person><activities><{activity}/></activities><note>{note}</note></person></presence>"
    )
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or("", |(inside, _)| inside)
}

/// What a phone was told about this address since last asked: `open on-the-phone: on the phone`.
fn told(world: &mut World, phone: usize, entity: &str) -> Vec<String> {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let notifies = requests.iter().filter(|request| request.method() == Method::Notify);
    let about = format!(" entity=\"sip:{entity}@{DOMAIN}\"");
    let documents = notifies.filter(|notify| notify.header(Name::ContentType) == Some(PIDF.as_bytes()));
    let documents = documents.map(|notify| String::from_utf8(notify.body().to_vec()).unwrap());
    documents
        .filter(|text| text.contains(&about))
        .map(|text| shortened(&text))
        .collect()
}

fn shortened(text: &str) -> String {
    let activities = between(text, "<rpid:activities>", "</rpid:activities>");
    let activity = between(activities, "<rpid:", "/>");
    let (basic, note) = (between(text, "<basic>", "<"), between(text, "<note>", "<"));
    format!("{basic} {activity}: {note}").replace(" :", ":")
}

fn says(world: &mut World, user: &str, willing: Willing, reason: &str) {
    let set = SetAgent {
        by: By::User(aor(user)),
        user: aor(user),
        medium: None,
        willing,
        reason: reason.into(),
    };
    let answer = world.command(Command::SetAgent(Box::new(set)));
    assert!(matches!(answer, Answer::Agents(_)), "{answer:?}");
}

/// A world in which 1010 watches.
fn watching(config: Config, package: &str, whom: &str) -> (World, usize) {
    let mut world = World::new(config, 1);
    let kate = world.phone("1010");
    world.register(kate);
    assert_eq!(subscribe(&mut world, kate, package, whom, 3_600).status(), 200);
    world.run_ms(600);
    (world, kate)
}

#[test]
fn a_watcher_is_told_of_registration_and_calls_at_once() {
    let (mut world, kate) = watching(config(), "presence", "1011");
    assert_eq!(told(&mut world, kate, "1011"), ["closed: not registered"]);
    let (jim, carol) = (world.phone("1011"), world.phone("1012"));
    world.register(jim);
    world.register(carol);
    world.run_ms(5);
    assert_eq!(
        told(&mut world, kate, "1011"),
        ["open: available"],
        "the first news does not wait"
    );
    world.run_ms(600);
    let call = world.call(carol, "1011");
    world.run_ms(900);
    assert_eq!(told(&mut world, kate, "1011"), ["open busy: ringing"]);
    world.run_ms(1_000);
    assert_eq!(told(&mut world, kate, "1011"), ["open on-the-phone: on the phone"]);
    world.hang_up(carol, call);
    world.run_ms(1_000);
    world.register_for(jim, 0);
    world.run_ms(1_000);
    assert_eq!(
        told(&mut world, kate, "1011"),
        ["open: available", "closed: not registered"]
    );
}

#[test]
fn many_changes_are_one_notify_in_the_interval() {
    let (mut world, kate) = watching(agents(), "presence", "1001");
    let jim = world.phone("1001");
    world.register(jim);
    world.run_ms(600);
    told(&mut world, kate, "1001");
    for reason in ["meal", "meeting", "break", "meal", "away"] {
        says(&mut world, "1001", Willing::NotReady, reason);
        world.run_ms(20);
    }
    world.run_ms(1_000);
    assert_eq!(told(&mut world, kate, "1001"), ["open meal: meal", "open away: away"]);
}

#[test]
fn what_an_agent_says_is_told_as_activities_and_a_note() {
    let (mut world, kate) = watching(agents(), "presence", "1001");
    let jim = world.phone("1001");
    world.register(jim);
    world.run_ms(600);
    assert_eq!(told(&mut world, kate, "1001").last().unwrap(), "closed: logged off");
    for (willing, reason, expected) in [
        (Willing::Ready, "", "open: ready"),
        (Willing::NotReady, "meeting", "open meeting: meeting"),
        (Willing::NotReady, "break", "open away: break"),
        (Willing::NotReady, "", "open away: not ready"),
        (Willing::LoggedOff, "", "closed: logged off"),
    ] {
        says(&mut world, "1001", willing, reason);
        world.run_ms(600);
        assert_eq!(told(&mut world, kate, "1001"), [expected]);
    }
}

#[test]
fn a_group_is_open_while_one_of_it_is_ready_and_tells_how_many() {
    let (mut world, kate) = watching(agents(), "presence", "2000");
    assert_eq!(told(&mut world, kate, "2000"), ["closed: 0 available"]);
    let phones = ["1001", "1002"].map(|user| world.phone(user));
    for phone in phones {
        world.register(phone);
    }
    says(&mut world, "1001", Willing::Ready, "");
    world.run_ms(600);
    says(&mut world, "1002", Willing::Ready, "");
    world.run_ms(600);
    assert_eq!(
        told(&mut world, kate, "2000"),
        ["open: 1 available", "open: 2 available"]
    );
    world.register_for(phones[0], 0);
    world.register_for(phones[1], 0);
    world.run_ms(1_200);
    assert_eq!(told(&mut world, kate, "2000").last().unwrap(), "closed: 0 available");
}

#[test]
fn a_fetch_is_answered_once_and_a_refresh_with_the_whole_state() {
    let (mut world, kate) = watching(config(), "presence", "1011");
    told(&mut world, kate, "1011");
    let fetched = subscribe(&mut world, kate, "presence", "1011", 0);
    assert_eq!((fetched.status(), fetched.expires()), (200, Some(0)));
    let last = world.phones[kate].requests.last().unwrap();
    let state = last.header(Name::SubscriptionState).unwrap();
    assert_eq!(String::from_utf8_lossy(state), "terminated;reason=timeout");
    assert_eq!(told(&mut world, kate, "1011"), ["closed: not registered"]);
}

#[test]
fn who_may_not_watch_is_told_the_same_of_users_who_exist_and_of_others() {
    let mut config = agents();
    config.subscriptions.watch_presence = Audience::Group;
    config.subscriptions.watch_calls = Audience::Group;
    let mut world = World::new(config, 1);
    let [boss, agent, other] = ["1000", "1001", "1010"].map(|user| world.phone(user));
    for phone in [boss, agent, other] {
        world.register(phone);
    }
    for package in ["presence", "dialog"] {
        let mut status = |phone, whom| subscribe(&mut world, phone, package, whom, 600).status();
        assert_eq!([status(other, "1001"), status(other, "4711")], [403, 403]);
        assert_eq!(
            [status(agent, "1002"), status(agent, "1010"), status(agent, "4711")],
            [200, 403, 403]
        );
        assert_eq!(
            [status(boss, "1001"), status(boss, "4711"), status(other, "1010")],
            [200, 404, 200]
        );
    }
    world.phones[other].password = "wrong".into();
    world.phones[other].reboot();
    let stranger = |world: &mut World, whom| subscribe(world, other, "presence", whom, 600).status();
    assert_eq!([stranger(&mut world, "1001"), stranger(&mut world, "4711")], [401, 401]);
}

#[test]
fn a_device_publishes_refreshes_changes_and_withdraws() {
    let (mut world, kate) = watching(config(), "presence", "1011");
    let jim = world.phone("1011");
    world.register(jim);
    world.run_ms(600);
    told(&mut world, kate, "1011");
    let away = publish(
        &mut world,
        jim,
        "1011",
        Headers::new(),
        &pidf("open", "away", "Back at 3"),
    );
    assert_eq!((away.status(), away.expires()), (200, Some(3_600)));
    world.run_ms(600);
    assert_eq!(told(&mut world, kate, "1011"), ["open away: away: Back at 3"]);
    let tag = |answer: &Message| String::from_utf8_lossy(answer.header(Name::SipEtag).unwrap()).into_owned();
    let of = |answer: &Message| Headers::new().with(Name::SipIfMatch, tag(answer));
    let refreshed = publish(&mut world, jim, "1011", of(&away), "");
    assert_eq!((refreshed.status(), tag(&refreshed) == tag(&away)), (200, false));
    assert_eq!(
        publish(&mut world, jim, "1011", of(&away), "").status(),
        412,
        "an old tag"
    );
    let closed = publish(&mut world, jim, "1011", of(&refreshed), &pidf("closed", "unknown", ""));
    world.run_ms(600);
    assert_eq!(told(&mut world, kate, "1011"), ["closed: not available"]);
    let end = of(&closed).with(Name::Expires, "0");
    assert_eq!(publish(&mut world, jim, "1011", end, "").status(), 200);
    world.run_ms(600);
    assert_eq!(told(&mut world, kate, "1011"), ["open: available"]);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn what_was_published_last_counts_whatever_was_left_behind() {
    let (mut world, kate) = watching(config(), "presence", "1011");
    let jim = world.phone("1011");
    world.register(jim);
    for basic in ["closed", "closed", "open", "closed"] {
        publish(&mut world, jim, "1011", Headers::new(), &pidf(basic, "unknown", ""));
        world.run_ms(600);
    }
    let told = told(&mut world, kate, "1011");
    let (there, hidden) = ("open: available", "closed: not available");
    assert_eq!(told[1..], [there, hidden, there, hidden]);
}

#[test]
fn what_is_published_runs_out_and_a_call_counts_more() {
    let (mut world, kate) = watching(config(), "presence", "1011");
    let (jim, carol) = (world.phone("1011"), world.phone("1012"));
    world.register(jim);
    world.register(carol);
    let meal = Headers::new().with(Name::Expires, "60");
    publish(&mut world, jim, "1011", meal, &pidf("open", "meal", "Soup"));
    let call = world.call(carol, "1011");
    world.run_ms(2_500);
    assert_eq!(
        told(&mut world, kate, "1011").last().unwrap(),
        "open on-the-phone: on the phone: Soup"
    );
    world.hang_up(carol, call);
    world.run(Duration::from_secs(61));
    let after = told(&mut world, kate, "1011");
    assert_eq!(after, ["open meal: meal: Soup", "open: available"]);
}

#[test]
fn publishing_is_for_oneself_with_a_password_and_a_readable_document() {
    let mut world = World::new(config(), 1);
    let jim = world.phone("1011");
    world.register(jim);
    let document = pidf("open", "away", "x");
    let mut status =
        |to: &str, headers: Headers, content: &str| publish(&mut world, jim, to, headers, content).status();
    assert_eq!(
        [
            status("1012", Headers::new(), &document),
            status("4711", Headers::new(), &document)
        ],
        [403, 403]
    );
    assert_eq!(status("1011", Headers::new(), ""), 400);
    assert_eq!(status("1011", Headers::new(), "<presence>"), 400);
    assert_eq!(status("1011", Headers::new(), &"<a>".repeat(5_000)), 400, "too deep");
    assert_eq!(status("1011", Headers::new(), &" ".repeat(17 << 10)), 413);
    assert_eq!(status("1011", Headers::new().with(Name::Expires, "5"), &document), 423);
    let event = || Headers::new().with(Name::Event, "presence");
    let typed = |kind: &'static str| {
        Some(Body {
            content_type: kind.into(),
            content: "x".into(),
        })
    };
    let other = request(&mut world, jim, Method::Publish, "1011", event(), typed("text/plain"));
    assert_eq!(
        (other.status(), other.header(Name::Accept)),
        (415, Some(PIDF.as_bytes()))
    );
    let untyped = request(&mut world, jim, Method::Publish, "1011", event(), typed(""));
    assert_eq!(untyped.status(), 400, "no Content-Type");
    let package = request(
        &mut world,
        jim,
        Method::Publish,
        "1011",
        Headers::new().with(Name::Event, "dialog"),
        None,
    );
    assert_eq!(package.status(), 489);
    world.phones[jim].password = "wrong".into();
    world.phones[jim].reboot();
    assert_eq!(
        publish(&mut world, jim, "1011", Headers::new(), &document).status(),
        401
    );
}

/// What a lamp was told last: `confirmed meal`.
fn lamp(world: &mut World, phone: usize) -> String {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let notify = requests.into_iter().rfind(|request| request.method() == Method::Notify);
    let text = String::from_utf8(notify.expect("a NOTIFY").body().to_vec()).unwrap();
    format!(
        "{} {}",
        between(&text, "<state>", "<"),
        between(&text, "display=\"", "\"")
    )
}

#[test]
fn a_lamp_is_lit_for_who_does_not_want_to_be_disturbed_or_is_on_a_break() {
    let (mut world, kate) = watching(agents(), "dialog", "1001");
    let jim = world.phone("1001");
    world.register(jim);
    says(&mut world, "1001", Willing::NotReady, "meal");
    world.run_ms(600);
    assert_eq!(lamp(&mut world, kate), "confirmed meal");
    says(&mut world, "1001", Willing::Ready, "");
    world.run_ms(600);
    assert_eq!(lamp(&mut world, kate), "terminated ");
    let call = world.call(jim, "*78");
    world.run_ms(1_000);
    world.hang_up(jim, call);
    world.run_ms(1_000);
    assert_eq!(lamp(&mut world, kate), "confirmed do not disturb");
}

/// 1001 is ready, and has talked with 1011 until now.
fn after_a_call(world: &mut World) {
    let (jim, carol) = (world.phone("1001"), world.phone("1011"));
    world.register(jim);
    world.register(carol);
    says(world, "1001", Willing::Ready, "");
    let call = world.call(carol, "1001");
    world.run_ms(3_000);
    world.hang_up(carol, call);
    world.run_ms(1_000);
}

/// An agent who has half a minute for what is left to do after a call.
fn wrapping() -> Config {
    let mut config = agents();
    config.groups.wrap_up = Duration::from_secs(30);
    config
}

#[test]
fn after_call_work_is_told_as_being_busy_until_its_time_is_over_or_the_agent_is_done() {
    for is_done in [false, true] {
        let (mut world, kate) = watching(wrapping(), "presence", "1001");
        after_a_call(&mut world);
        assert_eq!(
            told(&mut world, kate, "1001").last().unwrap(),
            "open busy: after-call work"
        );
        match is_done {
            true => says(&mut world, "1001", Willing::Ready, ""),
            false => world.run_ms(28_000),
        }
        let still: &[&str] = if is_done { &["open: ready"] } else { &[] };
        world.run_ms(600);
        assert_eq!(told(&mut world, kate, "1001"), still);
        world.run_ms(2_000);
        let over: &[&str] = if is_done { &[] } else { &["open: ready"] };
        assert_eq!(told(&mut world, kate, "1001"), over);
    }
}

#[test]
fn after_call_work_lights_lamps_and_leaves_a_group_without_who_does_it() {
    let (mut world, lamps) = watching(wrapping(), "dialog", "1001");
    let watcher = world.phone("1012");
    world.register(watcher);
    subscribe(&mut world, watcher, "presence", "2000", 3_600);
    after_a_call(&mut world);
    assert_eq!(lamp(&mut world, lamps), "confirmed after-call work");
    assert_eq!(told(&mut world, watcher, "2000").last().unwrap(), "open: 1 available");
    world.run_ms(31_000);
    assert_eq!(lamp(&mut world, lamps), "terminated ");
}

#[test]
fn pages_are_told_of_after_call_work_and_of_its_end() {
    let mut world = World::new(wrapping(), 1);
    snapshot(&mut world, None);
    after_a_call(&mut world);
    world.run_ms(31_000);
    let changes = |notice: &Notice| match notice {
        Notice::Event(occurrence) => match &occurrence.event {
            Event::PresenceChanged { presence, .. } if presence.aor == aor("1001") => {
                let voice = presence.voice.as_ref().map(|voice| voice.state);
                Some((voice?, presence.text.to_string()))
            }
            _ => None,
        },
        _ => None,
    };
    let told: Vec<_> = world.notices.iter().filter_map(changes).collect();
    let end = [
        (AgentStatus::Busy, "on the phone".to_owned()),
        (AgentStatus::AfterCall, "after-call work".to_owned()),
        (AgentStatus::Ready, "ready".to_owned()),
    ];
    assert_eq!(told[told.len() - 3..], end, "{told:?}");
}

fn snapshot(world: &mut World, user: Option<&str>) -> Snapshot {
    let user = user.map(aor);
    let scope = user.clone();
    match world.command(Command::Snapshot { scope, user }) {
        Answer::Snapshot(snapshot) => *snapshot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_are_told_what_softphones_are_told() {
    let mut world = World::new(agents(), 1);
    snapshot(&mut world, None);
    let jim = world.phone("1001");
    world.register(jim);
    says(&mut world, "1001", Willing::Ready, "");
    says(&mut world, "1001", Willing::Ready, "");
    let snapshot = snapshot(&mut world, Some("1010"));
    let shown: Vec<_> = snapshot
        .presence
        .iter()
        .map(|one| (one.aor.user(), &*one.text))
        .collect();
    let others = [
        ("1002", "logged off"),
        ("1003", "logged off"),
        ("1010", "not registered"),
    ];
    assert_eq!(shown, [&[("1001", "ready")][..], &others].concat());
    assert_eq!(snapshot.groups[0].ready_im, 1);
    let events = std::mem::take(&mut world.notices);
    let told: Vec<String> = events
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Event(occurrence) => match occurrence.event {
                Event::PresenceChanged { presence, .. } => Some(format!("{} {}", presence.aor.user(), presence.text)),
                Event::GroupChanged { group, .. } => Some(format!("{} {}", group.number, group.ready_voice)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(told, ["1001 logged off", "1001 ready", "2000 1"]);
}

fn look(world: &mut World, by: &str, targets: &[&str], about: bool) -> Vec<DirectoryEntry> {
    let look = Look {
        by: By::User(aor(by)),
        targets: targets.iter().map(|target| (*target).into()).collect(),
        interaction: about.then_some(model::InteractionId(7)),
        consulted_first: about,
    };
    match world.command(Command::Look(Box::new(look))) {
        Answer::Directory(entries) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_directory_offers_what_a_target_can_take_now() {
    use TargetAction::{Call, Conference, ConsultIm, ConsultVoice, Im, Transfer};
    let mut world = World::new(agents(), 1);
    let [kate, jim, carol] = ["1010", "1001", "1011"].map(|user| world.phone(user));
    for phone in [kate, jim, carol] {
        world.register(phone);
    }
    says(&mut world, "1001", Willing::Ready, "");
    let actions = |world: &mut World, target: &str, about: bool| {
        let mut entries = look(world, "1010", &[target], about);
        entries.remove(0).actions
    };
    assert_eq!(actions(&mut world, "1001", false), [Call, Im]);
    assert_eq!(
        actions(&mut world, "1001", true),
        [ConsultVoice, ConsultIm, Transfer, Conference]
    );
    world.call(carol, "1001");
    world.run_ms(1_500);
    assert_eq!(actions(&mut world, "1001", true), [ConsultIm], "another channel (R023)");
    assert_eq!(actions(&mut world, "1012", false), [], "nobody is there");
    assert_eq!(actions(&mut world, "1010", false), [], "oneself");
    assert_eq!(actions(&mut world, "2000", false), [Im]);
    says(&mut world, "1001", Willing::NotReady, "meal");
    assert_eq!(actions(&mut world, "2000", false), []);
    let all = ["1003", "skill:german", "4711", "1000", "2000", "1010"];
    let entries = look(&mut world, "1010", &all, false);
    let kinds: Vec<_> = entries.iter().map(|entry| (&*entry.target, entry.kind)).collect();
    use model::TargetKind::{Agent, Group, Skill, Supervisor, User};
    let expected = [
        ("1003", Agent),
        ("skill:german", Skill),
        ("1000", Supervisor),
        ("2000", Group),
        ("1010", User),
    ];
    assert_eq!(kinds, expected, "what there is not is left out");
}

#[test]
fn the_directory_offers_to_each_what_their_devices_and_states_take() {
    use TargetAction::{Call, Conference, ConsultIm, ConsultVoice, Im, Transfer};
    let mut config = wrapping();
    config.users[14].im = false;
    config.users[19].im = false;
    let mut world = World::new(config, 1);
    let mut phones = std::collections::BTreeMap::new();
    for user in [
        "1001", "1002", "1003", "1010", "1011", "1012", "1013", "1014", "1015", "1016", "1019",
    ] {
        let phone = world.phone(user);
        world.register(phone);
        phones.insert(user, phone);
    }
    let star = world.call(phones["1012"], "*78");
    world.run_ms(1_000);
    world.hang_up(phones["1012"], star);
    publish(
        &mut world,
        phones["1013"],
        "1013",
        Headers::new(),
        &pidf("closed", "unknown", ""),
    );
    says(&mut world, "1001", Willing::Ready, "");
    says(&mut world, "1002", Willing::NotReady, "meal");
    let call = world.call(phones["1016"], "1001");
    world.run_ms(3_000);
    world.hang_up(phones["1016"], call);
    world.phones[phones["1015"]].on_invite = crate::testing::OnInvite::Ring;
    world.call(phones["1016"], "1015");
    world.run_ms(1_000);
    let [both, voice, im, none] = [[true, true], [true, false], [false, true], [false, false]];
    let expected = [
        ("1011", both, "idle"),
        ("1012", im, "does not want to be disturbed"),
        ("1013", im, "hides"),
        ("1014", voice, "has no messages"),
        ("1015", im, "rings"),
        ("1016", im, "calls"),
        ("1017", none, "is not there"),
        ("1001", im, "has work left to do after a call"),
        ("1002", none, "is on a break"),
        ("1003", voice, "is logged off, with a phone"),
        ("2000", im, "one of it takes messages"),
        ("skill:german", none, "nobody with it is logged in"),
    ];
    for (target, [calls, messages], who) in expected {
        let mut offered = |by: &str, about| look(&mut world, by, &[target], about).remove(0).actions;
        let may = |action, takes: bool| takes.then_some(action);
        let plain: Vec<_> = [may(Call, calls), may(Im, messages)].into_iter().flatten().collect();
        assert_eq!(offered("1010", false), plain, "{target} {who}");
        let about = [
            may(ConsultVoice, calls),
            may(ConsultIm, messages),
            may(Transfer, calls),
            may(Conference, calls),
        ];
        let about: Vec<_> = about.into_iter().flatten().collect();
        assert_eq!(offered("1010", true), about, "{target} {who}, about a call");
        // Who has no messages is offered none.
        assert_eq!(offered("1019", false), [Call][usize::from(!calls)..], "{target} {who}");
    }
}

#[test]
fn whom_one_consults_comes_first_to_be_transferred_to_or_taken_into_the_call() {
    let (mut stage, interaction) = Stage::talking();
    let consult = Verb::Consult {
        interaction,
        target: "1001".into(),
        medium: Medium::Voice,
    };
    let consultation = stage.act(KATE, consult).view.id;
    stage.answer(JIM);
    let first = |stage: &mut Stage, consulted_first| {
        let look = Look {
            by: By::User(aor("1000")),
            targets: vec!["1002".into()],
            interaction: Some(interaction),
            consulted_first,
        };
        match stage.lab.ask(Command::Look(Box::new(look))) {
            Answer::Directory(mut entries) => entries.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let line = first(&mut stage, true);
    assert_eq!((&*line.target, line.consultation), ("1001", Some(consultation)));
    assert_eq!(
        line.actions,
        [TargetAction::CompleteTransfer, TargetAction::CompleteConference]
    );
    let typed = first(&mut stage, false);
    assert_eq!(
        (&*typed.target, typed.consultation),
        ("1002", None),
        "who types looks for another"
    );
    stage.act(KATE, Verb::EndConsult { consultation });
    assert_eq!(&*first(&mut stage, true).target, "1002");
}

#[test]
fn who_may_not_see_how_others_are_is_shown_who_they_are() {
    let mut config = agents();
    config.subscriptions.watch_presence = Audience::Supervisors;
    let mut world = World::new(config, 1);
    let hidden = look(&mut world, "1010", &["1001"], false).remove(0);
    assert_eq!(
        (hidden.presence, hidden.actions.len(), &*hidden.name),
        (None, 2, "User 1001")
    );
    assert!(look(&mut world, "1000", &["1001"], false)[0].presence.is_some());
}

/// What a page is told of groups: numbers in its snapshot, and how many events.
fn groups_told(world: &mut World, user: &str) -> (Vec<String>, usize) {
    world.notices.clear();
    let shown = snapshot(world, Some(user)).groups;
    says(world, "1001", Willing::Ready, "");
    says(world, "1001", Willing::LoggedOff, "");
    let events = world.notices.iter().filter(|notice| match notice {
        Notice::Event(occurrence) => {
            matches!(occurrence.event, Event::GroupChanged { .. }) && occurrence.event.concerns(&aor(user))
        }
        _ => false,
    });
    (
        shown.iter().map(|group| group.number.to_string()).collect(),
        events.count(),
    )
}

#[test]
fn a_group_is_watched_by_those_who_may_watch_its_agents() {
    let may = |audience| {
        let mut config = agents();
        config.subscriptions.watch_presence = audience;
        let mut world = World::new(config, 1);
        let watchers = ["1000", "1001", "1010"];
        let phones = watchers.map(|user| world.phone(user));
        for phone in phones {
            world.register(phone);
        }
        let sip = phones.map(|phone| subscribe(&mut world, phone, "presence", "2000", 600).status());
        let unknown = phones.map(|phone| subscribe(&mut world, phone, "presence", "4711", 600).status());
        let by_api = watchers.map(|user| {
            let (number, by) = (Some("2000".into()), By::User(aor(user)));
            matches!(world.command(Command::Groups { number, by }), Answer::Groups(_))
        });
        let found = watchers.map(|user| look(&mut world, user, &["2000", "skill:german"], false));
        let found = found.map(|lines| {
            let actions = [lines[0].actions.clone(), lines[1].actions.clone()];
            (lines[0].group.is_some(), actions)
        });
        let pages = watchers.map(|user| groups_told(&mut world, user));
        (sip, unknown, by_api, found, pages)
    };
    let (none, im) = (vec![], vec![TargetAction::Im]);
    let told = |events| (vec!["2000".to_owned()], events);
    let nothing = (Vec::new(), 0);

    let (sip, unknown, by_api, found, pages) = may(Audience::Everyone);
    assert_eq!((sip, unknown, by_api), ([200; 3], [404; 3], [true; 3]));
    assert_eq!(
        found,
        [(); 3].map(|()| (true, [none.clone(), none.clone()])),
        "nobody is ready"
    );
    assert_eq!(pages, [told(2), told(2), told(2)]);

    let (sip, unknown, by_api, found, pages) = may(Audience::Group);
    assert_eq!(
        (sip, unknown, by_api),
        ([200, 200, 403], [404, 403, 403], [true, true, false])
    );
    let hidden = (false, [im.clone(), im.clone()]);
    let member = (true, [none.clone(), im.clone()]);
    let all = (true, [none.clone(), none.clone()]);
    assert_eq!(found, [all.clone(), member, hidden.clone()]);
    assert_eq!(
        pages,
        [told(0), told(2), nothing.clone()],
        "who oversees all is told without being named"
    );

    let (sip, unknown, by_api, found, pages) = may(Audience::Supervisors);
    assert_eq!(
        (sip, unknown, by_api),
        ([200, 403, 403], [404, 403, 403], [true, false, false])
    );
    assert_eq!(found, [all.clone(), hidden.clone(), hidden.clone()]);
    assert_eq!(pages, [told(0), nothing.clone(), nothing.clone()]);

    let (sip, unknown, by_api, ..) = may(Audience::Nobody);
    assert_eq!((sip, unknown, by_api), ([403; 3], [403; 3], [true, false, false]));
}

#[test]
fn s3_hostile_publications_and_subscriptions_are_refused_and_nothing_stops() {
    let mut world = World::new(config(), 1);
    let jim = world.phone("1011");
    world.register(jim);
    let wide = format!("<presence>{}</presence>", "<tuple/>".repeat(2_000));
    let deep = format!("{}{}", "<a>".repeat(1_000), "</a>".repeat(1_000));
    let entities = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><presence>&b;</presence>";
    let endless = "<presence xmlns=\"".to_owned() + &"x".repeat(10_000);
    for document in [
        &*wide,
        &deep,
        entities,
        &endless,
        "<presence",
        "\u{0}",
        "<?xml version=\"1.0\"?>",
    ] {
        let answer = publish(&mut world, jim, "1011", Headers::new(), document);
        assert_eq!(answer.status(), 400, "{document:.40}");
    }
    for tag in ["*", "", "x, y", &"f".repeat(5_000)] {
        let of = Headers::new().with(Name::SipIfMatch, tag);
        let status = publish(&mut world, jim, "1011", of, &pidf("open", "away", "")).status();
        assert!(matches!(status, 400 | 412), "{tag:.40}: {status}");
    }
    let odd = |event: &str, accept: &str| {
        Headers::new()
            .with(Name::Event, event)
            .with(Name::Accept, accept)
            .with(Name::Contact, "<sip:x@127.0.0.1:20000>")
    };
    for (event, accept, expected) in [
        ("presence;id=", "application/pidf+xml", &[200, 400, 489][..]),
        (&*"presence.".repeat(500), "*/*", &[489]),
        ("presence", &*"a/b,".repeat(500), &[406, 400]),
        ("", "*/*", &[489, 400]),
    ] {
        let answer = request(&mut world, jim, Method::Subscribe, "1011", odd(event, accept), None);
        assert!(expected.contains(&answer.status()), "{event:.40}: {}", answer.status());
    }
    for contact in ["sip:%@@[", "<tel:1>", ""] {
        let headers = Headers::new()
            .with(Name::Event, "presence")
            .with(Name::Contact, contact);
        let answer = request(&mut world, jim, Method::Subscribe, "1011", headers, None);
        assert!((400..500).contains(&answer.status()), "{contact}: {}", answer.status());
    }
    let fine = publish(&mut world, jim, "1011", Headers::new(), &pidf("open", "away", ""));
    assert_eq!((fine.status(), world.switch.audit()), (200, Ok(())));
}
