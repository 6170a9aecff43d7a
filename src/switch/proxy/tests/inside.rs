//! Requests of dialogs that go through us, and those that only seem to.

use super::*;
use sip::{Flow, Transport};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_dialog_goes_on_after_a_restart_of_the_switch() {
    let (_, mut kate, mut jim, mut kates, mut jims) = up();
    // Another switch with the same key: it knows of no dialog and no registration.
    let mut lab = Lab::with(config());
    kate.send_in(&mut lab, &mut kates, Method::Info, "", Some(("text/plain", "x")));
    let info = jim.expect_request(&mut lab, Method::Info);
    jim.reply(&mut lab, &info, 200, None);
    kate.expect(&mut lab, 200);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn a_stranger_cannot_relay_through_us() {
    let (mut lab, kate, jim, kates, _) = up();
    let mut stranger = Handset::new("stranger", 6666);
    stranger.flow.peer = SocketAddr::from(([203, 0, 113, 66], 5060));
    // Without a record, with one that he made up, with a true one in a call of his own, and to a third party by it.
    let victim = SocketAddr::from(([203, 0, 113, 99], 5060));
    let own = "<sip:127.0.0.1:5060;lr>".to_owned();
    let made_up = kates.routes[0].replace("<sip:A", "<sip:B");
    for (route, tags, target) in [
        (own, false, victim),
        (made_up, true, victim),
        (kates.routes[0].clone(), false, victim),
    ] {
        for method in [Method::Invite, Method::Message, Method::Bye] {
            let mut dialog = stranger.new_dialog(&format!("sip:x@{target}"), "sip:x@example.com");
            dialog.routes = vec![route.clone(), format!("<sip:{victim};lr>")];
            if tags {
                (dialog.local, dialog.remote) = (kates.local.clone(), kates.remote.clone());
            }
            stranger.send_in(&mut lab, &mut dialog, method, "", None);
            let refusal = stranger.next(&mut lab);
            assert!(matches!(refusal.status(), 403 | 481), "{route}: {}", refusal.status());
        }
    }
    assert_eq!(lab.waiting(victim), 0);
    assert!(lab.waiting(kate.flow.peer) == 0 && lab.waiting(jim.flow.peer) == 0);
}

/// Whoever sees packets go by knows Call-ID, tags and the record.
#[test]
fn who_has_overheard_a_dialog_cannot_end_or_change_it() {
    let (mut lab, kate, jim, kates, jims) = up();
    let mut mallory = Handset::new("1005", 6600);
    mallory.flow.peer = SocketAddr::from(([203, 0, 113, 66], 5060));
    let methods = [
        Method::Bye,
        Method::Invite,
        Method::Update,
        Method::Refer,
        Method::Notify,
        Method::Info,
    ];
    for overheard in [&kates, &jims] {
        for method in methods {
            mallory.send_in(&mut lab, &mut overheard.clone(), method, "", None);
            mallory.expect(&mut lab, 407);
            // Without the record, with the right tags, there is no such dialog.
            let mut bare = overheard.clone();
            bare.routes.clear();
            mallory.send_in(&mut lab, &mut bare, method, "", None);
            mallory.expect(&mut lab, 481);
        }
    }
    // Nor by being somebody else.
    mallory.register(&mut lab);
    let credentials = mallory.credentials(Method::Bye, &kates.target);
    mallory.send_in(&mut lab, &mut kates.clone(), Method::Bye, &credentials, None);
    mallory.expect(&mut lab, 481);
    kate.expect_nothing(&mut lab);
    jim.expect_nothing(&mut lab);
}

#[test]
fn who_has_moved_goes_on_in_a_proxied_dialog_once_he_has_proved_who_he_is() {
    let (mut lab, mut kate, mut jim, mut kates, mut jims) = up();
    // Another port of the same host is still the phone.
    let port = kate.flow.peer.port();
    kate.flow.peer.set_port(6001);
    kate.send_in(&mut lab, &mut kates, Method::Info, "", None);
    let info = jim.expect_request(&mut lab, Method::Info);
    jim.reply(&mut lab, &info, 200, None);
    kate.expect(&mut lab, 200);
    kate.flow.peer.set_port(port);
    jim.flow.peer = SocketAddr::from(([203, 0, 113, 7], 5060));
    jim.send_in(&mut lab, &mut jims, Method::Info, "", None);
    let challenge = jim.expect(&mut lab, 407);
    assert!(challenge.header(Name::ProxyAuthenticate).is_some());
    let credentials = jim.credentials(Method::Bye, &jims.target);
    jim.send_in(&mut lab, &mut jims, Method::Bye, &credentials, None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    assert!(bye.header(Name::ProxyAuthorization).is_none() && bye.header(Name::Authorization).is_none());
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
}

#[test]
fn a_request_of_a_proxied_dialog_from_another_connection_is_asked_for_credentials() {
    let mut lab = Lab::with(config());
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut jim = Handset::new("1001", 6100);
    (jim.flow.transport, jim.flow.connection) = (Transport::Tcp, 5);
    lab.input(crate::Input::Opened {
        flow: jim.flow,
        token: None,
    });
    jim.register(&mut lab);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    let mut jims = jim.dialog_of(&invite);
    jim.flow.connection = 6;
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    jim.expect(&mut lab, 407);
    kate.expect_nothing(&mut lab);
    jim.flow.connection = 5;
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    kate.expect_request(&mut lab, Method::Bye);
}

#[test]
fn who_takes_part_in_a_dialog_cannot_send_to_third_parties_by_it() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    let victim = SocketAddr::from(([203, 0, 113, 99], 5060));
    kates.target = format!("sip:x@{victim}");
    kates.routes.push(format!("<sip:{victim};lr>"));
    kate.send_in(&mut lab, &mut kates, Method::Message, "", Some(("text/plain", "x")));
    assert_eq!(lab.waiting(victim), 0);
    let message = jim.expect_request(&mut lab, Method::Message);
    assert_eq!(values(&message, Name::Route), [format!("<sip:{victim};lr>")]);
}

#[test]
fn the_topmost_route_that_is_left_says_where_at_that_host_it_goes() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    // A proxy before the phone, at the same host.
    kates.routes.push("<sip:198.51.100.1:6190;lr>".to_owned());
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    jim.expect_nothing(&mut lab);
    let proxy = SocketAddr::from(([198, 51, 100, 1], 6190));
    let bye = lab.take(proxy).expect("the BYE");
    assert_eq!(values(&bye, Name::Route), ["<sip:198.51.100.1:6190;lr>"]);
    assert_eq!(bye.request_uri(), jim.contact().as_bytes());
}

#[test]
fn what_belongs_to_a_proxied_dialog_goes_through_however_late_the_switch_is() {
    let (mut lab, mut kate, mut jim, mut kates, mut jims) = up();
    lab.switch.note_delay(Duration::from_secs(1));
    let others = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 503);
    kate.ack_failure(&mut lab, &others, &refusal);
    for method in [Method::Invite, Method::Update, Method::Info] {
        kate.send_in(
            &mut lab,
            &mut kates,
            method,
            "",
            Some(("application/sdp", &sdp(7000, &[0]))),
        );
        let request = jim.expect_request(&mut lab, method);
        jim.reply(&mut lab, &request, 200, Some(&sdp(7100, &[0])));
        kate.expect(&mut lab, 200);
    }
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn a_strict_router_before_us_is_understood() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    // It puts our Route into the Request-URI, and the target last into Route (RFC 3261 section 16.4).
    let ours = kates.routes.remove(0);
    kates.routes = vec![format!("<{}>", kates.target)];
    kates.target = ours.trim_matches(['<', '>']).to_owned();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let bye = jim.expect_request(&mut lab, Method::Bye);
    assert_eq!(bye.request_uri(), jim.contact().as_bytes());
    assert!(bye.header(Name::Route).is_none());
}

#[test]
fn where_transports_differ_each_side_is_told_the_listener_it_reaches() {
    let mut lab = Lab::with(config());
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut jim = Handset::new("1001", 6100);
    jim.flow = Flow {
        transport: Transport::Tcp,
        connection: 5,
        ..jim.flow
    };
    lab.input(crate::Input::Opened {
        flow: jim.flow,
        token: None,
    });
    jim.register(&mut lab);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let routes = values(&invite, Name::RecordRoute);
    assert_eq!(routes.len(), 2);
    assert!(routes[0].ends_with("@127.0.0.1:5060;transport=tcp;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@127.0.0.1:5060;lr>"), "{routes:?}");
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert_eq!(kates.routes.len(), 2);
    let ack = jim.expect_request(&mut lab, Method::Ack);
    assert!(ack.header(Name::Route).is_none(), "both were ours");
    let mut jims = jim.dialog_of(&invite);
    jim.send_in(&mut lab, &mut jims, Method::Info, "", None);
    let info = kate.expect_request(&mut lab, Method::Info);
    assert!(info.header(Name::Route).is_none());
    kate.reply(&mut lab, &info, 200, None);
    jim.expect(&mut lab, 200);
    // His stream breaks: nobody can be reached by it any more.
    lab.input(crate::Input::Closed { flow: jim.flow });
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    // A new one is tried at the address he gave, which is refused here.
    let status = kate.next(&mut lab).status();
    assert!(matches!(status, 430 | 500), "{status}");
    lab.assert_clean();
}

#[test]
fn a_phone_on_ipv6_speaks_to_one_on_ipv4_each_by_the_listener_it_knows() {
    let mut config = config();
    let six: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
    config.listeners.push(crate::config::Listener {
        transport: Transport::Udp,
        local: six,
        advertised: None,
        digest: Vec::new(),
    });
    let mut lab = Lab::with(config);
    let mut kate = Handset::new("1000", 6000);
    (kate.flow.local, kate.flow.peer) = (six, "[2001:db8::7]:6000".parse().unwrap());
    kate.register(&mut lab);
    let mut jim = Handset::registered(&mut lab, "1001", 6100);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let routes = values(&invite, Name::RecordRoute);
    assert!(routes[0].ends_with("@127.0.0.1:5060;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@[2001:db8::1]:5060;lr>"), "{routes:?}");
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    let mut jims = jim.dialog_of(&invite);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    assert_eq!(bye.request_uri(), kate.contact().as_bytes());
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
    lab.assert_clean();
}
