//! What trunks say of their load, and what is then kept from them (RFC 7339).

use super::outside::{carrier, lab_with};
use super::*;
use crate::config::{Action, Outside, Pattern, Rule};

const NUMBER: &str = "0301234";

fn asking() -> (Lab, Handset, Handset) {
    let (lab, kate, _) = lab_with(|config| {
        config.trunks[0].asks_load = true;
        let outside = Outside {
            trunk: "carrier".into(),
            strip: 0,
            prepend: "".into(),
        };
        let mut help = Rule::new(Pattern::Exact("112".into()), Action::Trunk(outside));
        help.is_emergency = true;
        config.dialplan.insert(0, help);
    });
    (lab, kate, carrier("x"))
}

/// Answers an INVITE, with this filled in for our question.
fn answer(lab: &mut Lab, carrier: &Handset, invite: &Message, status: u16, load: &str) {
    let text = String::from_utf8_lossy(invite.bytes()).replace(";oc;oc-algo=\"loss\"", load);
    let asked = Message::parse(text.into_bytes().into()).unwrap();
    let answer = (status == 200).then(|| sdp(7100, &[0, 101]));
    carrier.reply(lab, &asked, status, answer.as_deref());
    carrier.expect_request(lab, Method::Ack);
}

/// Whether a call reaches the carrier, who is busy and says this of his load; else the caller hears 503.
fn reaches(lab: &mut Lab, kate: &mut Handset, carrier: &Handset, number: &str, load: &str) -> bool {
    let kates = kate.invite(lab, number, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.take(lab);
    if let Some(invite) = &invite {
        answer(lab, carrier, invite, 486, load);
    }
    let refusal = kate.expect(lab, if invite.is_some() { 486 } else { 503 });
    kate.ack_failure(lab, &kates, &refusal);
    invite.is_some()
}

#[test]
fn a_trunk_that_is_asked_gets_as_much_less_as_it_wants_and_for_as_long() {
    let (mut lab, mut kate, carrier) = asking();
    let half = ";oc=50;oc-algo=\"loss\";oc-validity=10000;oc-seq=2.5";
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, half));
    // An older word, and words that mean nothing to us, change nothing.
    let others = [
        ";oc=0;oc-seq=2.4",
        ";oc=0;oc-algo=\"rate\";oc-seq=9",
        ";oc=101;oc-seq=9",
        ";oc=x",
        "",
    ];
    let reached = (0..10).filter(|n| reaches(&mut lab, &mut kate, &carrier, NUMBER, others[n % others.len()]));
    assert_eq!(reached.count(), 5);
    assert!(reaches(&mut lab, &mut kate, &carrier, "112", ""), "a call for help");
    lab.pass_s(10);
    let reached = (0..5).filter(|_| reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    assert_eq!(reached.count(), 5, "it has held long enough");
    assert_eq!(lab.figure("trunk_requests_held_back_total"), 5);
    // A validity of nought ends it at once.
    let none = ";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=3.0";
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, none));
    assert!(!reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    assert!(reaches(
        &mut lab,
        &mut kate,
        &carrier,
        "112",
        ";oc=0;oc-validity=0;oc-seq=3.1"
    ));
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    lab.assert_clean();
}

#[test]
fn what_belongs_to_a_call_goes_to_a_trunk_that_wants_nothing_new() {
    let (mut lab, mut kate, carrier) = asking();
    let mut kates = kate.invite(&mut lab, NUMBER, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    answer(
        &mut lab,
        &carrier,
        &invite,
        200,
        ";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=1.0",
    );
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert!(!reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &carrier);
    lab.assert_clean();
}

#[test]
fn a_trunk_that_is_not_asked_is_not_heeded() {
    let (mut lab, mut kate, _) = lab_with(|_| {});
    let carrier = carrier("x");
    kate.invite(&mut lab, NUMBER, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    let via = header(&invite, Name::Via);
    assert!(!via.contains("oc"), "{via}");
    let text = String::from_utf8_lossy(invite.bytes()).replace(";rport\r\n", ";rport;oc=100;oc-validity=60000\r\n");
    let asked = Message::parse(text.into_bytes().into()).unwrap();
    carrier.reply(&mut lab, &asked, 486, None);
    carrier.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 486);
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
}
