use super::*;

const INVITE: &str = "INVITE sip:bob@tandem.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKa1;rport, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKa0\r\n\
    v: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK9z\r\n\
    Max-Forwards: 70\r\n\
    f: \"Ann, \\\"A\\\"\" <sip:ann@tandem.example>;tag=fa1\r\n\
    t: <sip:bob@tandem.example>\r\n\
    i: c1@192.0.2.10\r\n\
    CSeq: 7 INVITE\r\n\
    m: <sip:ann@192.0.2.10:5062>;expires=60\r\n\
    X-Odd: ;;,,\r\n\t folded\r\n\
    l: 4\r\n\r\nbody";

fn parse(text: impl Into<String>) -> Result<Message, Malformed> {
    Message::parse(Bytes::from(text.into()))
}

fn read(text: impl Into<String>) -> Message {
    parse(text).unwrap()
}

/// Status of the answer; 0 for a drop.
fn refused(text: impl Into<String>) -> u16 {
    match parse(text) {
        Ok(message) => panic!("taken: {message:?}"),
        Err(Malformed::Drop(_)) => 0,
        Err(Malformed::Answer { status, .. }) => status,
    }
}

fn with(from: &str, to: &str) -> String {
    assert!(INVITE.contains(from), "{from}");
    INVITE.replacen(from, to, 1)
}

#[test]
fn reads_a_request() {
    let m = read(INVITE);
    assert!(m.is_request());
    assert_eq!(
        (m.method(), m.request_uri(), m.status()),
        (Method::Invite, &b"sip:bob@tandem.example"[..], 0)
    );
    assert_eq!((m.call_id(), m.cseq()), (&b"c1@192.0.2.10"[..], 7));
    assert_eq!(
        (m.from_tag(), m.to_tag(), m.branch()),
        (&b"fa1"[..], &b""[..], &b"z9hG4bKa1"[..])
    );
    assert_eq!(m.from().unwrap().display_name(), "Ann, \"A\"");
    assert_eq!(m.values(Name::Via).count(), 3);
    assert_eq!((m.max_forwards(), m.body_bytes()), (Some(70), &b"body"[..]));
    assert_eq!(m.header_named("x-odd"), Some(&b";;,,\r\n\t folded"[..]));
    assert_eq!(m.addresses(Name::Contact).next().unwrap().unwrap().expires(), Some(60));
}

#[test]
fn reads_a_response() {
    let m = read(INVITE.replacen(
        "INVITE sip:bob@tandem.example SIP/2.0",
        "SIP/2.0 183 Session Progress",
        1,
    ));
    assert!(!m.is_request());
    assert_eq!(
        (m.status(), m.reason(), m.method()),
        (183, &b"Session Progress"[..], Method::Invite)
    );
    assert_eq!(m.method_bytes(), b"INVITE");
    assert_eq!(
        read(INVITE.replacen("INVITE sip:bob@tandem.example SIP/2.0", "SIP/2.0 100", 1)).reason(),
        b""
    );
}

#[test]
fn fields_keep_their_order_names_and_values() {
    let m = read(INVITE);
    let names: Vec<_> = m
        .fields()
        .map(|(_, name, _)| std::str::from_utf8(name).unwrap())
        .collect();
    assert_eq!(
        names,
        ["Via", "v", "Max-Forwards", "f", "t", "i", "CSeq", "m", "X-Odd", "l"]
    );
}

#[test]
fn each_mandatory_field_is_asked_for_once() {
    for line in [
        "f: \"Ann, \\\"A\\\"\" <sip:ann@tandem.example>;tag=fa1\r\n",
        "t: <sip:bob@tandem.example>\r\n",
        "i: c1@192.0.2.10\r\n",
    ]
    .into_iter()
    .chain(["CSeq: 7 INVITE\r\n"])
    {
        assert_eq!(refused(with(line, "")), 400, "without {line}");
        assert_eq!(refused(with(line, &line.repeat(2))), 400, "twice {line}");
    }
    assert_eq!(
        refused(with("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\nMax-Forwards: 70\r\n")),
        400
    );
    assert_eq!(refused(with("l: 4\r\n", "l: 4\r\nContent-Length: 4\r\n")), 400);
}

#[test]
fn what_cannot_be_answered_is_dropped() {
    let no_via = with("Via: ", "X-Via: ").replacen("v: ", "X-v: ", 1);
    assert_eq!(refused(no_via), 0);
    assert_eq!(
        refused(INVITE.replace("INVITE", "ACK").replacen("CSeq: 7", "CSeq: x", 1)),
        0
    );
    assert_eq!(
        refused(INVITE.replacen("INVITE sip:bob@tandem.example SIP/2.0", "SIP/2.0 1000 X", 1)),
        0
    );
    assert_eq!(
        refused(INVITE.replacen("INVITE sip:bob@tandem.example SIP/2.0", "SIP/7.0 200 X", 1)),
        0
    );
    for garbage in [
        "",
        "\r\n\r\n",
        "hello",
        "\0\0\0\0",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "INVITE",
    ] {
        assert_eq!(refused(garbage), 0, "{garbage:?}");
    }
}

#[test]
fn answers_to_broken_requests_can_copy_what_came_after_the_fault() {
    let Err(Malformed::Answer { message, .. }) = parse(with("Via: ", "Broken line\r\nVia: ")) else {
        panic!()
    };
    assert_eq!(message.call_id(), b"c1@192.0.2.10");
}

#[test]
fn a_name_with_a_control_character_or_space_is_never_the_known_one() {
    for name in ["m\u{1}", "m\u{b}", "m\u{a0}", " m", "m x", "\u{1}m", "m\0", ""] {
        let text = with(
            "m: <sip:ann@192.0.2.10:5062>;expires=60",
            &format!("{name}: <sip:eve@203.0.113.1>"),
        );
        match parse(text) {
            // White space at the start of the line makes it a continuation of the line before.
            Ok(m) => panic!("{name:?} was taken: {:?}", m.header(Name::Contact)),
            Err(Malformed::Answer { status, .. }) => assert_eq!(status, 400),
            Err(drop) => panic!("{drop:?}"),
        }
    }
    assert_eq!(
        read(with("m: ", "Contact \t: ")).header(Name::Contact),
        read(INVITE).header(Name::Contact)
    );
}

#[test]
fn only_crlf_ends_a_line() {
    assert_eq!(refused(INVITE.replace("\r\n", "\n")), 400);
    assert_eq!(refused(with("X-Odd: ;;,,\r\n", "X-Odd: a\nVia: b\r\n")), 400);
    assert_eq!(refused(with("X-Odd: ;;,,\r\n", "X-Odd: a\rb\r\n")), 400);
    assert_eq!(refused(with("l: 4\r\n\r\nbody", "l: 4\r\n")), 400);
}

#[test]
fn nul_stands_only_in_a_quoted_pair() {
    assert_eq!(read(with("Ann, ", "A\\\0")).from().unwrap().display_name(), "A\"A\"");
    assert_eq!(refused(with("Ann, ", "A\0")), 400);
    assert_eq!(refused(with(";;,,", "\\\0")), 400);
    assert_eq!(refused(with("70", "70\0")), 400);
    assert_eq!(read(with("body", "b\0dy")).body_bytes(), b"b\0dy");
}

#[test]
fn content_length_cuts_the_rest_off_and_may_not_reach_beyond() {
    let cut = read(with("l: 4", "l: 2"));
    assert_eq!(
        (cut.body_bytes(), cut.bytes().ends_with(b"\r\n\r\nbo")),
        (&b"bo"[..], true)
    );
    assert_eq!(read(with("l: 4\r\n", "")).body_bytes(), b"body");
    for length in [
        "5",
        "-4",
        "+4",
        "4 4",
        "4,4",
        "0x4",
        "",
        "18446744073709551620",
        "4294967300",
    ] {
        assert_eq!(refused(with("l: 4", &format!("l: {length}"))), 400, "{length}");
    }
}

#[test]
fn bounds_hold() {
    let line = format!("X-Odd: {}\r\n ", "x".repeat(MAX_HEADER_LINE));
    assert_eq!(refused(with("X-Odd: ", &line)), 400);
    let fields = read(INVITE).fields.len();
    assert_eq!(
        read(with("X-Odd: ", &("Y: 1\r\n".repeat(MAX_HEADERS - fields) + "X-Odd: ")))
            .fields
            .len(),
        MAX_HEADERS
    );
    assert_eq!(
        refused(with(
            "X-Odd: ",
            &("Y: 1\r\n".repeat(MAX_HEADERS - fields + 1) + "X-Odd: ")
        )),
        400
    );
    assert_eq!(
        refused(with("X-Odd: ", &format!("{}: x\r\nX-Odd: ", "n".repeat(256)))),
        400
    );
    assert_eq!(refused(with("l: 4", "l: 70000") + &"x".repeat(70000)), 413);
}

#[test]
fn versions_other_than_ours_are_505_whatever_else_is_wrong() {
    assert_eq!(
        refused(with("SIP/2.0", "SIP/7.0").replacen("CSeq: 7", "CSeq: x", 1)),
        505
    );
    assert_eq!(refused(with("SIP/2.0", "SIP/2.01")), 505);
    assert_eq!(read(with("SIP/2.0", "sip/2.0")).method(), Method::Invite);
}

#[test]
fn identifiers_have_one_value() {
    for tag in [";tag", ";tag=", ";tag=a;tag=b", ";tag=a;TAG=a", ";tag;tag=a"] {
        assert_eq!(
            refused(with(
                "bob@tandem.example>\r\n",
                &format!("bob@tandem.example>{tag}\r\n")
            )),
            400,
            "{tag}"
        );
    }
    assert_eq!(refused(with("branch=z9hG4bKa1", "branch")), 400);
    assert_eq!(
        refused(with("branch=z9hG4bKa1", "branch=z9hG4bKa1;branch=z9hG4bKa2")),
        400
    );
}

#[test]
fn star_is_a_contact_only_alone() {
    assert!(read(with("<sip:ann@192.0.2.10:5062>;expires=60", "*")).contact_is_star());
    assert_eq!(
        refused(with("<sip:ann@192.0.2.10:5062>;expires=60", "*, <sip:a@b>")),
        400
    );
    assert_eq!(
        refused(with("m: <sip:ann@192.0.2.10:5062>;expires=60", "m: *\r\nm: <sip:a@b>")),
        400
    );
}

#[test]
fn keep_alives_before_a_message_are_skipped() {
    assert_eq!(read(format!("\r\n\r\n{INVITE}")).bytes(), INVITE.as_bytes());
}

#[test]
fn a_typical_request_stays_inline() {
    assert!(!read(INVITE).fields.spilled());
    assert_eq!(std::mem::size_of::<Field>(), 8);
}
