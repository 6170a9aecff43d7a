//! Loops, hops, and how broadly a request may be forked (RFC 5393).

use super::*;
use std::net::SocketAddr;

/// What 1000 sends to 1001, who has two phones.
fn with_breadth(breadth: &str) -> (Lab, Handset, Dialog, [Handset; 2]) {
    let mut lab = Lab::with(config());
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let phones = [6100, 6101].map(|port| Handset::registered(&mut lab, "1001", port));
    let extra = format!("Max-Breadth: {breadth}\r\n");
    let kates = kate.invite_with(&mut lab, "1001", &extra, Some(&sdp(7000, &[0])));
    (lab, kate, kates, phones)
}

#[test]
fn a_breadth_of_none_is_refused() {
    let (mut lab, kate, kates, phones) = with_breadth("0");
    let refusal = kate.expect(&mut lab, 440);
    kate.ack_failure(&mut lab, &kates, &refusal);
    phones[0].expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_breadth_of_one_forks_one_after_the_other() {
    let (mut lab, kate, kates, phones) = with_breadth("1");
    for (phone, other) in [(&phones[0], &phones[1]), (&phones[1], &phones[0])] {
        let invite = phone.expect_request(&mut lab, Method::Invite);
        assert_eq!(header(&invite, Name::MaxBreadth), "1");
        other.expect_nothing(&mut lab);
        phone.reply(&mut lab, &invite, 486, None);
        phone.expect_request(&mut lab, Method::Ack);
    }
    let refusal = kate.expect(&mut lab, 486);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.assert_clean();
}

#[test]
fn the_breadths_of_all_branches_are_no_more_than_that_of_the_request() {
    let (mut lab, _, _, phones) = with_breadth("5");
    let sum: u32 = phones
        .iter()
        .map(|phone| phone.expect_request(&mut lab, Method::Invite))
        .map(|invite| header(&invite, Name::MaxBreadth).parse::<u32>().unwrap())
        .sum();
    assert!((2..=5).contains(&sum), "{sum}");
}

#[test]
fn a_request_that_comes_back_as_it_was_is_a_loop_and_one_that_has_changed_is_not() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    // Jim's phone is a proxy that sends it back to where he was called, with its Via on top.
    let text = String::from_utf8(invite.bytes().to_vec()).unwrap();
    let line = text.find("\r\n").unwrap() + 2;
    // Who sends it back has the caller's credentials, as a proxy of his would.
    let mut back = |uri: &str, branch: &str| {
        let first = format!("INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:6100;branch={branch};rport\r\n");
        let credentials = kate.credentials(Method::Invite, uri);
        format!("{first}{credentials}{}", &text[line..])
    };
    for (uri, branch, status) in [
        ("sip:1001@example.com", "z9hG4bKback", 482),
        ("sip:1005@example.com", "z9hG4bKspiral", 480),
    ] {
        jim.send(&mut lab, back(uri, branch).into());
        let refusal = jim.expect(&mut lab, status);
        assert_eq!(refusal.values(Name::Via).count(), 3);
    }
}

#[test]
fn a_request_without_hops_left_goes_no_further() {
    let (mut lab, mut kate, jim) = pair();
    kate.ask(
        &mut lab,
        Method::Options,
        "sip:1005@example.com",
        "sip:1005@example.com",
        "",
    );
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let credentials = kate.credentials(Method::Invite, uri);
    let request = kate.request(&mut dialog, Method::Invite, &credentials, None);
    let text = String::from_utf8(request.to_vec()).unwrap();
    kate.send(&mut lab, text.replace("Max-Forwards: 70", "Max-Forwards: 0").into());
    kate.expect(&mut lab, 483);
    jim.expect_nothing(&mut lab);
}

#[test]
fn a_reply_goes_back_where_the_request_came_from_whatever_the_via_says() {
    let (mut lab, mut kate, jim) = pair();
    // Behind a NAT: the Via names an address that nobody reaches.
    let inside: SocketAddr = ([10, 0, 0, 9], 5060).into();
    kate.ask(
        &mut lab,
        Method::Options,
        "sip:1005@example.com",
        "sip:1005@example.com",
        "",
    );
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let credentials = kate.credentials(Method::Invite, uri);
    let request = kate.request(
        &mut dialog,
        Method::Invite,
        &credentials,
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    let text = String::from_utf8(request.to_vec()).unwrap();
    kate.send(
        &mut lab,
        text.replace(&format!("UDP {}", kate.flow.peer), &format!("UDP {inside}"))
            .into(),
    );
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let via = values(&invite, Name::Via)[1].clone();
    assert!(
        via.contains("received=198.51.100.1") && via.contains("rport=6000"),
        "{via}"
    );
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
}
