//! Flows, paths and addresses of devices: RFC 5626, 3327, 3608, 5627.

use crate::testing::{OnInvite, World, config};
use crate::{Answer, Command};
use sip::{Headers, Message, Method, Name, Transport};
use std::time::Duration;

const DEVICE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";
const GRUU: &str = "sip:1001@example.com;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF";

fn outbound(world: &World, phone: usize, number: u32) -> Headers {
    let contact = format!(
        "<{}>;expires=600;reg-id={number};{DEVICE}",
        world.phones[phone].contact()
    );
    Headers::new()
        .with(Name::Contact, contact)
        .with(Name::Supported, "path, outbound")
}

fn register(world: &mut World, phone: usize, headers: Headers) -> Message {
    let number = world.with(phone, |phone, now| phone.register_with(now, headers));
    world.finish(phone, number);
    world.phones[phone].answer(number).expect("an answer comes").clone()
}

fn bound(world: &mut World) -> usize {
    match world.command(Command::Registrations(None)) {
        Answer::Registrations(views) => views.len(),
        other => panic!("{other:?}"),
    }
}

fn text(message: &Message, name: Name) -> String {
    let values: Vec<_> = message
        .values(name)
        .map(|value| String::from_utf8_lossy(value))
        .collect();
    values.join(", ")
}

/// A world with a caller, and two connections of one device of 1001.
fn two_flows() -> (World, usize, usize, usize) {
    let mut world = World::new(config(), 1);
    let caller = world.phone("1000");
    world.register(caller);
    let flows = [1, 2].map(|number| {
        let flow = world.phone_over("1001", Transport::Tcp);
        let headers = outbound(&world, flow, number);
        assert_eq!(register(&mut world, flow, headers).status(), 200);
        world.run_ms(10);
        flow
    });
    (world, caller, flows[0], flows[1])
}

#[test]
fn each_flow_is_a_binding_and_the_answer_says_so() {
    let mut world = World::new(config(), 1);
    let one = world.phone_over("1001", Transport::Tcp);
    let headers = outbound(&world, one, 1);
    let answer = register(&mut world, one, headers);
    assert_eq!(
        (answer.status(), text(&answer, Name::Require)),
        (200, "outbound".to_owned())
    );
    assert_eq!(text(&answer, Name::FlowTimer), "120");
    let two = world.phone_over("1001", Transport::Tcp);
    let headers = outbound(&world, two, 2);
    assert_eq!(register(&mut world, two, headers).status(), 200);
    assert_eq!(bound(&mut world), 2);
}

#[test]
fn a_flow_registered_again_from_elsewhere_takes_the_place_of_the_old_one() {
    let (mut world, caller, one, _) = two_flows();
    let anew = world.phone_over("1001", Transport::Tcp);
    let headers = outbound(&world, anew, 1);
    assert_eq!(register(&mut world, anew, headers).status(), 200);
    assert_eq!(bound(&mut world), 3 - 1 + 1, "the caller's, and two flows");
    let sent = world.message(caller, "1001", "to the device");
    assert_eq!(world.finish(caller, sent), 200);
    assert_eq!(
        (world.phones[anew].texts().len(), world.phones[one].texts().len()),
        (1, 0)
    );
}

#[test]
fn a_number_means_nothing_without_the_device_or_to_who_does_not_speak_of_it() {
    let mut world = World::new(config(), 1);
    let phone = world.phone("1001");
    let contact = world.phones[phone].contact();
    let plain = Headers::new().with(Name::Contact, format!("<{contact}>;reg-id=1;{DEVICE}"));
    let answer = register(&mut world, phone, plain);
    assert_eq!((answer.status(), text(&answer, Name::Require)), (200, String::new()));
    let nameless = Headers::new()
        .with(Name::Contact, format!("<{contact}>;reg-id=1"))
        .with(Name::Supported, "outbound");
    let answer = register(&mut world, phone, nameless);
    assert_eq!((answer.status(), text(&answer, Name::Require)), (200, String::new()));
    assert_eq!(bound(&mut world), 1);
}

#[test]
fn two_flows_in_one_request_are_refused() {
    let mut world = World::new(config(), 1);
    let phone = world.phone("1001");
    let headers = outbound(&world, phone, 1).with(Name::Contact, format!("<sip:1001@127.0.0.1>;reg-id=2;{DEVICE}"));
    assert_eq!(register(&mut world, phone, headers).status(), 400);
    assert_eq!(bound(&mut world), 0);
}

#[test]
fn a_device_rings_once_on_its_youngest_flow() {
    let (mut world, caller, one, two) = two_flows();
    world.phones[two].on_invite = OnInvite::Refuse(486);
    let call = world.call(caller, "1001");
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[caller].calls[call].rejected, Some(486));
    assert_eq!(
        (world.phones[one].requests.len(), world.phones[two].calls.len()),
        (0, 1)
    );
}

#[test]
fn where_a_flow_has_failed_the_next_one_is_tried() {
    let (mut world, caller, one, two) = two_flows();
    world.phones[two].on_invite = OnInvite::Refuse(430);
    world.phones[one].on_invite = OnInvite::Refuse(603);
    let call = world.call(caller, "1001");
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[caller].calls[call].rejected, Some(603));
    assert_eq!((world.phones[one].calls.len(), world.phones[two].calls.len()), (1, 1));
}

#[test]
fn a_flow_ends_with_its_connection_at_once() {
    let (mut world, caller, one, two) = two_flows();
    world.disconnect(two);
    assert_eq!(bound(&mut world), 2, "the caller's, and the other flow");
    let sent = world.message(caller, "1001", "still there");
    assert_eq!(world.finish(caller, sent), 200);
    assert_eq!(world.phones[one].texts(), ["still there"]);
    world.disconnect(one);
    assert_eq!(bound(&mut world), 1);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn flows_over_connections_do_not_outlive_a_restart() {
    let (mut world, ..) = two_flows();
    assert_eq!(world.store.bindings.len(), 3);
    world.restart();
    assert_eq!((bound(&mut world), world.store.bindings.len()), (1, 1));
}

#[test]
fn the_path_of_a_registration_is_told_and_becomes_the_route() {
    let mut world = World::new(config(), 1);
    let (caller, phone) = (world.phone("1000"), world.phone("1001"));
    world.register(caller);
    let path = "<sip:core.example.net;lr>, <sip:edge.example.net;lr>";
    let headers = Headers::new()
        .with(Name::Contact, "<sip:1001@10.0.0.7>")
        .with(Name::Path, path)
        .with(Name::Supported, "path");
    let answer = register(&mut world, phone, headers);
    assert_eq!((answer.status(), text(&answer, Name::Path)), (200, path.to_owned()));
    let sent = world.message(caller, "1001", "by way of the proxies");
    assert_eq!(world.finish(caller, sent), 200);
    world.call(caller, "1001");
    world.run(Duration::from_secs(3));
    let (message, invite) = (
        &world.phones[phone].taken[0].1,
        world.phones[phone].calls[0].invite.clone().unwrap(),
    );
    assert_eq!(
        (text(message, Name::Route), text(&invite, Name::Route)),
        (path.to_owned(), path.to_owned())
    );
    assert_eq!(invite.request_uri(), b"sip:1001@10.0.0.7");
}

#[test]
fn a_path_that_the_device_does_not_know_of_is_refused() {
    let mut world = World::new(config(), 1);
    let phone = world.phone("1001");
    let with_path = |supported: &str, path: &str| {
        Headers::new()
            .with(Name::Contact, "<sip:1001@10.0.0.7>")
            .with(Name::Path, path)
            .with(Name::Supported, supported)
    };
    let answer = register(&mut world, phone, with_path("gruu", "<sip:edge.example.net;lr>"));
    assert_eq!(
        (answer.status(), text(&answer, Name::Unsupported)),
        (420, "path".to_owned())
    );
    for bad in ["sip:edge.example.net", "<tel:+1>", "<sip:edge.example.net>"] {
        assert_eq!(
            register(&mut world, phone, with_path("path", bad)).status(),
            400,
            "{bad}"
        );
    }
    assert_eq!(bound(&mut world), 0);
}

#[test]
fn the_service_route_is_told_where_one_is_configured() {
    let mut settings = config();
    settings.registrar.service_route = vec!["<sip:edge.example.com;lr>".into()];
    let mut world = World::new(settings, 1);
    let phone = world.phone("1000");
    let headers = Headers::new().with(Name::Contact, "<sip:1000@127.0.0.1>");
    let answer = register(&mut world, phone, headers);
    assert_eq!(text(&answer, Name::ServiceRoute), "<sip:edge.example.com;lr>");
}

/// Two devices of 1001, the first with an instance.
fn two_devices() -> (World, usize, usize, usize) {
    let mut world = World::new(config(), 1);
    let caller = world.phone("1000");
    world.register(caller);
    let (named, other) = (world.phone("1001"), world.phone("1001"));
    let contact = format!(
        "<{}>;{DEVICE};pub-gruu=\"sip:1001@evil.example;gr=1\"",
        world.phones[named].contact()
    );
    let headers = Headers::new()
        .with(Name::Contact, contact)
        .with(Name::Supported, "gruu");
    let answer = register(&mut world, named, headers);
    let told = text(&answer, Name::Contact);
    assert!(told.contains(&format!(";pub-gruu=\"{GRUU}\"")), "{told}");
    assert!(!told.contains("evil"), "{told}");
    world.register(other);
    (world, caller, named, other)
}

#[test]
fn the_address_of_a_device_leads_to_it_alone() {
    let (mut world, caller, named, other) = two_devices();
    let answer = register(&mut world, other, Headers::new());
    assert!(
        !text(&answer, Name::Contact).contains("gruu"),
        "not to who did not ask for it"
    );
    let sent = world.with(caller, |phone, now| {
        let body = sip::Body {
            content_type: "text/plain".into(),
            content: "for the device".as_bytes().into(),
        };
        phone.request_to_uri(now, Method::Message, GRUU, Headers::new(), Some(body))
    });
    assert_eq!(world.finish(caller, sent), 200);
    assert_eq!(
        (world.phones[named].texts().len(), world.phones[other].texts().len()),
        (1, 0)
    );
    let asked = world.with(caller, |phone, now| {
        phone.request_to_uri(now, Method::Options, GRUU, Headers::new(), None)
    });
    assert_eq!(world.finish(caller, asked), 200);
}

#[test]
fn a_call_to_the_address_of_a_device_rings_it_alone() {
    let (mut world, caller, named, other) = two_devices();
    world.phones[named].on_invite = OnInvite::Refuse(486);
    let call = world.call_uri(caller, GRUU);
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[caller].calls[call].rejected, Some(486));
    assert_eq!(
        (world.phones[named].calls.len(), world.phones[other].calls.len()),
        (1, 0)
    );
}

#[test]
fn a_device_that_is_not_there_is_unavailable_and_an_unknown_user_unknown() {
    let (mut world, caller, named, _) = two_devices();
    world.with(named, |phone, now| phone.register(now, 0));
    world.run_ms(100);
    let call = world.call_uri(caller, GRUU);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[caller].calls[call].rejected, Some(480));
    for (uri, status) in [(GRUU, 480), ("sip:nobody@example.com;gr=urn:uuid:1", 404)] {
        let sent = world.with(caller, |phone, now| {
            phone.request_to_uri(now, Method::Message, uri, Headers::new(), None)
        });
        assert_eq!(world.finish(caller, sent), status, "{uri}");
    }
}

/// The temporary address that the answer to a REGISTER tells.
fn temporary(answer: &Message) -> String {
    let told = text(answer, Name::Contact);
    let after = told.split(";temp-gruu=\"").nth(1).unwrap_or_else(|| panic!("{told}"));
    after.split('"').next().unwrap().to_owned()
}

fn writes(world: &mut World, caller: usize, uri: &str) -> u16 {
    let sent = world.with(caller, |phone, now| {
        let body = sip::Body {
            content_type: "text/plain".into(),
            content: "for the device".as_bytes().into(),
        };
        phone.request_to_uri(now, Method::Message, uri, Headers::new(), Some(body))
    });
    world.finish(caller, sent)
}

#[test]
fn a_temporary_address_leads_to_its_device_alone_and_does_not_tell_whose_it_is() {
    let mut world = World::new(config(), 1);
    let (caller, named, other) = (world.phone("1000"), world.phone("1001"), world.phone("1001"));
    world.register(caller);
    let contact = format!("<{}>;{DEVICE}", world.phones[named].contact());
    let wish = || {
        Headers::new()
            .with(Name::Contact, &contact)
            .with(Name::Supported, "gruu")
    };
    let first = temporary(&register(&mut world, named, wish()));
    world.register(other);
    assert!(
        first.starts_with("sip:tgruu.") && first.ends_with("@example.com;gr"),
        "{first}"
    );
    assert!(!first.contains("1001"), "{first}");
    // Each REGISTER makes a new one, and the old ones go on.
    world.run(Duration::from_secs(1));
    let second = temporary(&register(&mut world, named, wish()));
    assert_ne!(first, second);
    for (count, uri) in [&first, &second].into_iter().enumerate() {
        assert_eq!(writes(&mut world, caller, uri), 200, "{uri}");
        assert_eq!(world.phones[named].texts().len(), count + 1);
    }
    let call = world.call_uri(caller, &first);
    world.phones[named].on_invite = OnInvite::Refuse(486);
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[caller].calls[call].rejected, Some(486));
    assert_eq!(
        (world.phones[other].texts().len(), world.phones[other].calls.len()),
        (0, 0)
    );
}

#[test]
fn a_temporary_address_ends_with_its_registration_and_a_made_up_one_leads_nowhere() {
    let mut world = World::new(config(), 1);
    let caller = world.phone("1000");
    world.register(caller);
    let flow = world.phone_over("1001", Transport::Tcp);
    let wish = |world: &World, phone| outbound(world, phone, 1).with(Name::Supported, "gruu");
    let headers = wish(&world, flow);
    let old = temporary(&register(&mut world, flow, headers));
    assert_eq!(writes(&mut world, caller, &old), 200);
    // The same device, started anew: another Call-ID.
    let anew = world.phone_over("1001", Transport::Tcp);
    let headers = wish(&world, anew);
    let new = temporary(&register(&mut world, anew, headers));
    assert_eq!(
        (writes(&mut world, caller, &old), writes(&mut world, caller, &new)),
        (480, 200)
    );
    let mut forged = new.clone().into_bytes();
    let at = "sip:tgruu.".len() + 3;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    for uri in [
        String::from_utf8(forged).unwrap().as_str(),
        "sip:tgruu.@example.com;gr",
        "sip:tgruu.AAAA@example.com;gr",
        &new.replace(";gr", ""),
    ] {
        assert_eq!(writes(&mut world, caller, uri), 404, "{uri}");
    }
}

/// RFC 3261 section 18.1.1: a connection that is gone is opened again, to where the Contact says at the same host.
#[test]
fn a_phone_whose_connection_broke_in_a_call_is_told_over_a_new_one_that_the_call_is_over() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(kate);
    assert_eq!(world.register(jim), 200);
    let call = world.call(kate, "1001");
    assert!(world.run_until(Duration::from_secs(10), |world| world.phones[kate].calls[call].is_up));
    world.disconnect(jim);
    world.hang_up(kate, call);
    let is_told = |world: &World| world.phones[jim].calls[0].ended.is_some();
    assert!(world.run_until(Duration::from_secs(2), is_told), "the BYE came");
}

/// RFC 3327 section 5.3: what stands between is found again, and the device behind it is not sought without it.
#[test]
fn a_proxy_whose_connection_broke_is_found_by_its_path_at_the_host_where_it_was() {
    let mut world = World::new(config(), 1);
    let (caller, edge) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(caller);
    let at = world.phones[edge].flow_of_switch().peer;
    let behind = |path: String| {
        Headers::new()
            .with(Name::Contact, "<sip:1001@10.0.0.7;transport=tcp>")
            .with(Name::Path, path)
            .with(Name::Supported, "path")
    };
    let answer = register(&mut world, edge, behind(format!("<sip:{at};lr>")));
    assert_eq!(answer.status(), 200);
    world.disconnect(edge);
    assert_eq!(bound(&mut world), 2);
    assert_eq!(writes(&mut world, caller, "sip:1001@example.com"), 200);
    assert_eq!(world.phones[edge].texts(), ["for the device"]);
    // One that says to be elsewhere is gone with its connection.
    world.connect(edge);
    let answer = register(&mut world, edge, behind("<sip:10.0.0.1;lr>".to_owned()));
    assert_eq!(answer.status(), 200);
    world.disconnect(edge);
    assert_eq!(bound(&mut world), 1);
}

/// A Binding request of STUN.
const STUN: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";

/// A phone over UDP that has registered a flow.
fn flow_over_udp(world: &mut World, user: &str) -> usize {
    let phone = world.phone(user);
    let headers = outbound(world, phone, 1);
    assert_eq!(register(world, phone, headers).status(), 200);
    phone
}

fn keep_alive(world: &mut World, phone: usize, bytes: &'static [u8]) {
    let flow = world.phones[phone].flow_of_switch();
    world.receive(flow, bytes.into());
}

#[test]
fn a_flow_that_is_kept_alive_stays_and_one_that_falls_silent_ends() {
    let mut world = World::new(config(), 1);
    let desk = world.phone("1000");
    assert_eq!(world.register_for(desk, 600), 200);
    let (kept, silent) = (flow_over_udp(&mut world, "1001"), flow_over_udp(&mut world, "1002"));
    for bytes in [STUN, b"\r\n\r\n", STUN] {
        world.run(Duration::from_secs(119));
        keep_alive(&mut world, kept, bytes);
        world.run_ms(50);
    }
    assert_eq!(bound(&mut world), 2, "who has promised nothing stays as well");
    assert_eq!(world.register_for(desk, 600), 200);
    for called in ["1002", "1001"] {
        world.call(desk, called);
        world.run_ms(500);
    }
    let rang = [silent, kept].map(|phone| world.phones[phone].calls.len());
    assert_eq!(rang, [0, 1]);
    // Nobody else's sign of life counts.
    let mut other = world.phones[kept].flow_of_switch();
    other.peer.set_port(9);
    for _ in 0..3 {
        world.run(Duration::from_secs(58));
        world.receive(other, STUN.into());
    }
    assert_eq!(bound(&mut world), 2);
    world.run(Duration::from_secs(7));
    assert_eq!(bound(&mut world), 1);
    assert_eq!(world.switch.audit(), Ok(()));
    // And back.
    let headers = outbound(&world, silent, 1);
    assert_eq!(register(&mut world, silent, headers).status(), 200);
    assert_eq!(bound(&mut world), 2);
}

#[test]
fn a_flow_is_watched_where_it_is_and_not_where_it_was() {
    let mut world = World::new(config(), 1);
    let (before, after) = (flow_over_udp(&mut world, "1001"), world.phone("1001"));
    let headers = outbound(&world, after, 1);
    assert_eq!(register(&mut world, after, headers).status(), 200);
    assert_eq!((bound(&mut world), world.switch.audit()), (1, Ok(())));
    world.run(Duration::from_secs(100));
    keep_alive(&mut world, before, STUN);
    world.run(Duration::from_secs(81));
    assert_eq!(bound(&mut world), 0);
    // Over a restart as well.
    let phone = flow_over_udp(&mut world, "1001");
    world.restart();
    world.run(Duration::from_secs(100));
    keep_alive(&mut world, phone, STUN);
    world.run(Duration::from_secs(100));
    assert_eq!(bound(&mut world), 1);
    world.run(Duration::from_secs(81));
    assert_eq!((bound(&mut world), world.switch.audit()), (0, Ok(())));
}

#[test]
fn a_stream_that_carries_a_flow_is_closed_when_nothing_comes_and_others_are_not() {
    let mut world = World::new(config(), 1);
    let plain = world.phone_over("1000", Transport::Tcp);
    assert_eq!(world.register_for(plain, 600), 200);
    assert_eq!(world.expected, []);
    let phone = world.phone_over("1001", Transport::Tcp);
    for _ in 0..2 {
        let headers = outbound(&world, phone, 1);
        assert_eq!(register(&mut world, phone, headers).status(), 200);
    }
    let expected = (world.phones[phone].flow_of_switch(), Duration::from_secs(180));
    assert_eq!(world.expected, [expected], "said once");
}

#[test]
fn a_proxy_between_keeps_the_flow_itself() {
    let mut world = World::new(config(), 1);
    let phone = world.phone("1001");
    let headers = outbound(&world, phone, 1).with(Name::Path, "<sip:edge.example.com;lr;ob>");
    assert_eq!(register(&mut world, phone, headers).status(), 200);
    world.run(Duration::from_secs(500));
    assert_eq!(bound(&mut world), 1);
}
