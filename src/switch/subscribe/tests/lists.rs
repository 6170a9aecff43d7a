//! One subscription to many (RFC 4662): groups and one's own contacts.

use super::ends::agents_of_a_group;
use super::*;
use sip::Body;

const ACCEPTED: &str = "multipart/related, application/rlmi+xml, application/pidf+xml, application/dialog-info+xml";

fn as_a_list(package: &str, expires_s: u32) -> Headers {
    wishes(package, expires_s)
        .with(Name::Supported, "eventlist")
        .with(Name::Accept, ACCEPTED)
}

/// One document about a list, as it was sent.
struct Listed {
    version: u32,
    is_whole: bool,
    /// `1001 Name: active` and the document; `terminated rejected`; or nothing yet.
    entries: Vec<(String, String)>,
}

impl Listed {
    fn parse(notify: &Message) -> Listed {
        assert_eq!(notify.header(Name::Require), Some(&b"eventlist"[..]));
        let kind = String::from_utf8(notify.header(Name::ContentType).unwrap().to_vec()).unwrap();
        assert!(
            kind.starts_with("multipart/related;type=\"application/rlmi+xml\";start=\"<"),
            "{kind}"
        );
        let (boundary, start) = (between(&kind, "boundary=\"", "\""), between(&kind, "start=\"<", ">"));
        let text = String::from_utf8(notify.body().to_vec()).unwrap();
        let (parts, rest) = text.rsplit_once(&format!("--{boundary}--\r\n")).expect("an end");
        assert_eq!(rest, "");
        let parts: Vec<&str> = parts.split(&format!("--{boundary}\r\n")).skip(1).collect();
        let part = |id: &str| {
            let id = format!("Content-ID: <{id}>\r\n");
            let found: Vec<_> = parts.iter().filter(|part| part.contains(&id)).collect();
            assert_eq!(found.len(), 1, "{id} in {text}");
            found[0].split_once("\r\n\r\n").unwrap().1
        };
        let rlmi = part(start);
        let resources = rlmi.split("<resource ").skip(1);
        let entries: Vec<_> = resources.map(|resource| entry(resource, &part)).collect();
        let active = entries.iter().filter(|(_, document)| document.contains('<')).count();
        assert_eq!(active, parts.len() - 1, "each part is named: {text}");
        Listed {
            version: version(rlmi),
            is_whole: rlmi.contains("fullState=\"true\""),
            entries,
        }
    }

    /// `0 whole: 1001 ready, 1002 -`.
    fn shown(&self) -> String {
        let entry = |(who, document): &(String, String)| match document.contains('<') {
            true if document.contains("dialog-info") => {
                format!("{who} {}{}", version(document), between(document, "<state>", "<"))
            }
            true => format!("{who} {}", between(document, "<note>", "<")),
            false => format!("{who} {document}"),
        };
        let entries: Vec<String> = self.entries.iter().map(entry).collect();
        let how = if self.is_whole { "whole" } else { "partial" };
        format!("{} {how}: {}", self.version, entries.join(", "))
    }
}

/// The number of a document; the first version in it is XML's own.
fn version(document: &str) -> u32 {
    let rest = document.split(" version=\"").nth(2).expect("a number");
    rest.split('"').next().unwrap().parse().unwrap()
}

fn entry<'a>(resource: &'a str, part: &impl Fn(&str) -> &'a str) -> (String, String) {
    let who = between(resource, "uri=\"sip:", "@").to_owned();
    let document = match (between(resource, "cid=\"", "\""), between(resource, "reason=\"", "\"")) {
        ("", "") => "-".to_owned(),
        ("", why) => why.to_owned(),
        (id, _) => part(id).to_owned(),
    };
    if document.contains('<') {
        assert!(document.contains(&format!("entity=\"sip:{who}@")), "{document}");
    }
    (who, document)
}

/// What a phone was told of lists since last asked.
fn told(world: &mut World, phone: usize) -> Vec<Listed> {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let notifies = requests
        .iter()
        .filter(|r| r.method() == Method::Notify && !r.body().is_empty());
    notifies.map(Listed::parse).collect()
}

fn shown(world: &mut World, phone: usize) -> Vec<String> {
    told(world, phone).iter().map(Listed::shown).collect()
}

#[test]
fn a_group_is_told_as_a_whole_first_and_then_whom_something_is_new_of() {
    let mut world = World::new(agents_of_a_group(3), 1);
    let [kate, jim] = ["1000", "1002"].map(|user| world.phone(user));
    world.register(kate);
    let answer = subscribe(&mut world, kate, "2000", as_a_list("presence", 600));
    assert_eq!(
        (answer.status(), answer.header(Name::Require)),
        (200, Some(&b"eventlist"[..]))
    );
    world.run_ms(600);
    let all = "1001 logged off, 1002 logged off, 1003 logged off";
    assert_eq!(shown(&mut world, kate), [format!("0 whole: {all}")]);
    world.register(jim);
    ends::says(&mut world, "1002", model::Willing::Ready);
    world.run_ms(600);
    assert_eq!(shown(&mut world, kate), ["1 partial: 1002 ready"]);
    let refresh = as_a_list("presence", 600);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    world.finish(kate, number);
    world.run_ms(600);
    assert_eq!(
        shown(&mut world, kate),
        ["2 whole: 1001 logged off, 1002 ready, 1003 logged off"]
    );
    assert_eq!(
        (figure(&world, "subscriptions_to_lists"), world.switch.audit()),
        (1, Ok(()))
    );
    let end = as_a_list("presence", 0);
    let number = world.with(kate, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
    world.finish(kate, number);
    world.run_ms(600);
    assert_eq!(
        (
            alive(&world),
            figure(&world, "subscriptions_to_lists"),
            world.switch.audit()
        ),
        (0, 0, Ok(()))
    );
}

#[test]
fn who_takes_no_lists_is_told_how_many_of_a_group_are_available_as_before() {
    let mut world = World::new(agents_of_a_group(3), 1);
    let kate = world.phone("1000");
    world.register(kate);
    let answer = subscribe(&mut world, kate, "2000", wishes("presence", 600));
    assert_eq!((answer.status(), answer.header(Name::Require)), (200, None));
    let notify = world.phones[kate].requests.last().unwrap();
    assert_eq!(notify.header(Name::ContentType), Some(&b"application/pidf+xml"[..]));
    let status = |world: &mut World, whom, headers| subscribe(world, kate, whom, headers).status();
    let required = wishes("presence", 600).with(Name::Require, "eventlist");
    assert_eq!(
        status(&mut world, "2000", required),
        200,
        "Require says it too, and no Accept is any"
    );
    let one = wishes("presence", 600)
        .with(Name::Supported, "eventlist")
        .with(Name::Accept, "application/pidf+xml");
    assert_eq!(status(&mut world, "2000", one), 406, "lists that it would not read");
    assert_eq!(status(&mut world, "1001", as_a_list("presence", 600)), 200);
    let notify = world.phones[kate].requests.last().unwrap();
    assert_eq!(notify.header(Name::Require), None, "one user is no list");
}

#[test]
fn ones_own_contacts_are_users_and_groups_by_the_rights_one_has() {
    let mut config = agents_of_a_group(2);
    config.users[0].contacts = ["1002", "2000", "1005"].map(Into::into).into();
    config.subscriptions.watch_presence = Audience::Group;
    config.users[0].roles.push(Role::Agent);
    let mut world = World::new(config.clone(), 1);
    let [kate, jim] = ["1000", "1002"].map(|user| world.phone(user));
    world.register(kate);
    world.register(jim);
    assert_eq!(
        subscribe(&mut world, kate, "contacts", as_a_list("presence", 600)).status(),
        200
    );
    let told = shown(&mut world, kate);
    assert_eq!(
        told,
        ["0 whole: 1002 rejected, 2000 rejected, 1005 rejected"],
        "in no group with them"
    );
    config.subscriptions.watch_presence = Audience::Everyone;
    world.reload(config.clone());
    world.run_ms(600);
    let told = shown(&mut world, kate);
    assert_eq!(
        told,
        ["1 whole: 1002 logged off, 2000 0 available, 1005 not registered"]
    );
    ends::says(&mut world, "1002", model::Willing::Ready);
    world.run_ms(600);
    assert_eq!(shown(&mut world, kate), ["2 partial: 1002 ready, 2000 1 available"]);
    config.users[0].contacts.remove(0);
    world.reload(config);
    world.run_ms(600);
    assert_eq!(
        shown(&mut world, kate),
        ["3 whole: 2000 1 available, 1005 not registered"]
    );
    ends::says(&mut world, "1002", model::Willing::LoggedOff);
    world.run_ms(600);
    assert_eq!(
        shown(&mut world, kate),
        ["4 partial: 2000 0 available"],
        "he is not on it any more"
    );
    let plain = subscribe(&mut world, kate, "contacts", wishes("presence", 600));
    assert_eq!(
        (plain.status(), plain.header(Name::Require)),
        (421, Some(&b"eventlist"[..]))
    );
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn lamps_come_as_a_list_too_each_with_numbers_of_its_own() {
    let mut config = agents_of_a_group(2);
    config.subscriptions.lamps_show_breaks = false;
    let mut world = World::new(config, 1);
    let [kate, jim] = ["1000", "1002"].map(|user| world.phone(user));
    world.register(kate);
    world.register(jim);
    subscribe(&mut world, kate, "2000", as_a_list("dialog", 600));
    world.run_ms(600);
    assert_eq!(shown(&mut world, kate), ["0 whole: 1001 0, 1002 0"]);
    let call = world.call(jim, "9196");
    world.run_ms(600);
    world.hang_up(jim, call);
    world.run(Duration::from_secs(40));
    assert_eq!(
        shown(&mut world, kate),
        ["1 partial: 1002 1confirmed", "2 partial: 1002 2terminated"]
    );
    let mailboxes = subscribe(&mut world, kate, "2000", as_a_list("message-summary", 600));
    assert_eq!(mailboxes.status(), 403);
}

#[test]
fn what_does_not_fit_into_one_document_follows_at_once() {
    let mut world = World::new(agents_of_a_group(200), 1);
    let kate = world.phone("1000");
    world.register(kate);
    subscribe(&mut world, kate, "2000", as_a_list("presence", 600));
    world.run_ms(300);
    let first = world.phones[kate].requests.clone();
    assert!(
        first.iter().all(|notify| notify.body().len() < 48 << 10),
        "fits into a datagram"
    );
    let told = told(&mut world, kate);
    assert!(told.len() > 4, "{}", told.len());
    assert!(
        told[0].is_whole && told[0].entries.len() == 200,
        "all are named at first"
    );
    let versions: Vec<u32> = told.iter().map(|one| one.version).collect();
    assert_eq!(versions, (0..told.len() as u32).collect::<Vec<_>>());
    let mut documents: Vec<&str> = Vec::new();
    for one in &told {
        documents.extend(
            one.entries
                .iter()
                .filter(|(_, d)| d.contains('<'))
                .map(|(who, _)| who.as_str()),
        );
    }
    documents.sort_unstable();
    let expected: Vec<String> = (1..=200).map(|n| (1000 + n).to_string()).collect();
    assert_eq!(documents, expected, "each once");
    world.run(Duration::from_secs(5));
    assert!(world.phones[kate].requests.is_empty());

    let mut longer = agents_of_a_group(201);
    longer.subscriptions.per_user = 10;
    world.reload(longer);
    world.run_ms(600);
    assert_eq!(states(&world, kate), ["terminated rejected"], "too long for a list");
}

#[test]
fn a_list_goes_on_after_a_restart_with_higher_numbers() {
    let mut world = World::new(agents_of_a_group(2), 1);
    let [kate, jim] = ["1000", "1001"].map(|user| world.phone(user));
    world.register(kate);
    world.register(jim);
    subscribe(&mut world, kate, "2000", as_a_list("dialog", 600));
    for _ in 0..3 {
        let call = world.call(jim, "9196");
        world.run_ms(600);
        world.hang_up(jim, call);
        world.run_ms(600);
    }
    let last = |told: &[Listed]| -> (u32, u32) {
        let list = told.last().unwrap();
        let of_1001 = told
            .iter()
            .flat_map(|one| &one.entries)
            .filter(|(who, d)| who == "1001" && d.contains('<'));
        (list.version, of_1001.map(|(_, d)| version(d)).max().unwrap())
    };
    let before = last(&told(&mut world, kate));
    world.restart();
    world.run_ms(600);
    let after = told(&mut world, kate);
    assert!(after[0].is_whole && after[0].entries.len() == 2);
    let after = last(&after);
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    world.register(jim);
    world.call(jim, "9196");
    world.run_ms(600);
    let told = shown(&mut world, kate);
    assert!(
        told.len() == 1 && told[0].contains("partial: 1001 ") && told[0].ends_with("confirmed"),
        "{told:?}"
    );
    assert_eq!((alive(&world), world.switch.audit()), (1, Ok(())));
}

#[test]
fn a_published_text_cannot_break_out_of_its_part() {
    let mut world = World::new(agents_of_a_group(2), 1);
    let [kate, jim] = ["1000", "1001"].map(|user| world.phone(user));
    world.register(kate);
    world.register(jim);
    ends::says(&mut world, "1001", model::Willing::Ready);
    subscribe(&mut world, kate, "2000", as_a_list("presence", 600));
    world.run_ms(600);
    told(&mut world, kate);
    let note = "--list\r\n--list-0000000000000000--\r\nContent-ID: &lt;x>";
    let document = format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:x@y\"><tuple id=\"a\"><status><basic>open</basic></status>\
         <note>{note}</note></tuple></presence>"
    );
    let body = Body {
        content_type: "application/pidf+xml".into(),
        content: document.into(),
    };
    let event = Headers::new().with(Name::Event, "presence");
    let number = world.with(jim, |p, now| p.request(now, Method::Publish, "1001", event, Some(body)));
    assert_eq!(world.finish(jim, number), 200);
    world.run_ms(600);
    let told = told(&mut world, kate);
    assert_eq!(told[0].entries.len(), 1);
    assert!(told[0].entries[0].1.contains("&lt;x&gt;"), "{}", told[0].entries[0].1);
}
