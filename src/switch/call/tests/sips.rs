//! `sips` URIs: TLS on every hop, or none at all (RFC 3261 sections 26.2.2 and 12.1.1, RFC 5630).

use super::{Handset, Lab, header, sdp, told_bye};
use sip::{Method, Name};

/// 1000 under TLS, which calls `sips` URIs.
fn kate(lab: &mut Lab) -> Handset {
    let mut kate = Handset::secured("1000", 6000, "sips");
    kate.register(lab);
    kate
}

#[test]
fn a_sips_contact_is_bound_only_by_who_comes_under_tls() {
    let mut lab = Lab::new();
    let mut plain = Handset::new("1001", 6100);
    let extra = "Contact: <sips:1001@198.51.100.1:6100>\r\nExpires: 3600\r\n";
    let aor = plain.aor();
    let refusal = plain.ask(&mut lab, Method::Register, "sip:example.com", &aor, extra);
    assert_eq!((refusal.status(), lab.figure("registrations")), (400, 0));
    Handset::secured("1001", 6200, "sips").register(&mut lab);
    assert_eq!(lab.figure("registrations"), 1);
}

#[test]
fn a_call_to_a_sips_uri_rings_devices_under_tls_alone_and_all_contacts_say_so() {
    let mut lab = Lab::new();
    let mut kate = kate(&mut lab);
    let plain = Handset::registered(&mut lab, "1001", 6100);
    let mut secure = Handset::secured("1001", 6200, "sips");
    secure.register(&mut lab);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    plain.expect_nothing(&mut lab);
    let invite = secure.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sips:1001@198.51.100.1:6200");
    assert!(
        header(&invite, Name::Contact).starts_with("<sips:1000@"),
        "{}",
        header(&invite, Name::Contact)
    );
    secure.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    secure.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert!(
        header(&ok, Name::Contact).starts_with("<sips:1001@"),
        "{}",
        header(&ok, Name::Contact)
    );
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &secure);
    lab.assert_clean();
}

#[test]
fn without_a_device_under_tls_a_sips_uri_is_not_available_and_a_message_to_it_not_kept() {
    let mut lab = Lab::new();
    let mut kate = kate(&mut lab);
    let plain = Handset::registered(&mut lab, "1001", 6100);
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 480);
    assert_eq!(header(&refusal, Name::Warning), "380 tandem \"SIPS Not Allowed\"");
    kate.ack_failure(&mut lab, &kates, &refusal);
    let uri = "sips:1001@example.com";
    let refusal = kate.ask(&mut lab, Method::Message, uri, uri, "Content-Type: text/plain\r\n");
    assert_eq!(refusal.status(), 480);
    assert_eq!(header(&refusal, Name::Warning), "380 tandem \"SIPS Not Allowed\"");
    plain.expect_nothing(&mut lab);
    lab.assert_clean();
}

/// A sips Contact can be reached by both kinds of URI (RFC 5630 section 3.1.1).
#[test]
fn a_call_to_a_sip_uri_reaches_a_device_with_a_sips_contact() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut jim = Handset::secured("1001", 6200, "sips");
    jim.register(&mut lab);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(
        header(&invite, Name::Contact).starts_with("<sips:"),
        "{}",
        header(&invite, Name::Contact)
    );
    jim.reply(&mut lab, &invite, 180, None);
    let ringing = kate.expect(&mut lab, 180);
    assert!(
        header(&ringing, Name::Contact).starts_with("<sip:"),
        "his way is no secure one"
    );
}
