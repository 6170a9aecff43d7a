//! The parser's half of RFC 4475: what must be read, answered or dropped before anyone above looks at a message.

use sip::{Malformed, Message, Method, Name, Splice, Writer};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// `accept`, a status, or `discard`.
fn verdict(bytes: Vec<u8>) -> String {
    match Message::parse(bytes.into()) {
        Ok(_) => "accept".into(),
        Err(Malformed::Answer { status, .. }) => status.to_string(),
        Err(Malformed::Drop(_)) => "discard".into(),
    }
}

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torture")
}

fn read(file: &str) -> Message {
    Message::parse(std::fs::read(ours().join(file)).unwrap().into()).unwrap()
}

/// Rows of an index without its title.
fn index(dir: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

#[test]
fn reads_answers_or_drops_our_own_message_for_each_section_of_rfc_4475() {
    let rows = index(&ours());
    assert_eq!(rows.len(), 49, "one per section");
    for row in rows {
        let bytes = std::fs::read(ours().join(&row[0])).unwrap();
        assert_eq!(verdict(bytes), row[2], "{}: {}", row[0], row[4]);
    }
}

/// What the parser itself must say where the index of the archive speaks of the whole switch.
fn parser_level(must: &str, file: &str) -> Vec<&'static str> {
    match (must, file) {
        // A broken branch may be read and then matched the RFC 2543 way.
        ("accept|400", _) => vec!["accept", "400"],
        // Answered or dropped by what stands above the parser.
        ("416" | "420" | "415" | "401" | "483" | "200" | "406", _) | (_, "bcast.dat") => vec!["accept"],
        ("accept", _) => vec!["accept"],
        ("discard", _) => vec!["discard"],
        ("505", _) => vec!["505"],
        // Of all "400|liberal" and "501|400" we choose 400, but for a Date nobody uses.
        (_, "baddate.dat") => vec!["accept"],
        _ => vec!["400"],
    }
}

/// `shared/torture` beside the repository, or beside a parent of it.
fn archive() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|dir| dir.join("shared/torture"))
        .find(|dir| dir.join("index.tsv").exists())
}

#[test]
fn reads_answers_or_drops_every_message_of_the_archive_as_its_index_asks() {
    let Some(dir) = archive() else {
        eprintln!("SKIPPED: ../shared/torture is not there; our own messages are checked in any case");
        return;
    };
    let rows = index(&dir);
    assert!(rows.len() > 40, "the index is whole");
    for row in rows {
        let (file, must) = (&row[0], &row[3]);
        let said = verdict(std::fs::read(dir.join(file)).unwrap());
        assert!(
            parser_level(must, file).contains(&said.as_str()),
            "{file}: must {must}, was {said}"
        );
    }
}

#[test]
fn what_is_read_is_forwarded_byte_for_byte() {
    for row in index(&ours()).into_iter().filter(|row| row[2] == "accept") {
        let message = read(&row[0]);
        if message.header(Name::ContentLength).is_some() {
            assert_eq!(Splice::of(&message).finish(), message.bytes(), "{}", row[0]);
        }
    }
}

#[test]
fn every_answer_to_a_broken_message_is_itself_sound_if_the_message_had_what_it_needs() {
    for row in index(&ours())
        .into_iter()
        .filter(|row| row[2] == "400" || row[2] == "505")
    {
        let Err(Malformed::Answer {
            status,
            reason,
            message,
        }) = Message::parse(std::fs::read(ours().join(&row[0])).unwrap().into())
        else {
            panic!("{}", row[0])
        };
        let answer = Writer::response(&message, status, reason, "tag", "198.51.100.20:5062".parse().unwrap()).finish();
        assert!(answer.starts_with(format!("SIP/2.0 {status} ").as_bytes()));
        assert!(answer.windows(6).any(|w| w == b"\r\nVia:"), "{}", row[0]);
        let twice = |name: &[u8]| answer.windows(name.len()).filter(|w| *w == name).count() > 1;
        assert!(
            !twice(b"\r\nCall-ID:") && !twice(b"\r\nCSeq:") && !twice(b"\r\nFrom:"),
            "{}",
            row[0]
        );
    }
}

#[test]
fn odd_spelling_means_the_same() {
    let m = read("3.1.1.01-odd-spelling.sip");
    assert_eq!(
        (m.from_tag(), m.to_tag(), m.cseq(), m.method()),
        (&b"fr-77"[..], &b"to-77"[..], 12, Method::Invite)
    );
    assert_eq!((m.max_forwards(), m.values(Name::Via).count()), (Some(42), 3));
    assert_eq!((m.branch(), m.via().unwrap().has_cookie()), (&b"oldstyle77"[..], false));
    assert_eq!(m.header(Name::Subject), Some(&b""[..]));
    assert_eq!(m.header_named("X-Nothing-But-Marks"), Some(&b",;,;;,="[..]));
    assert_eq!(m.from().unwrap().display_name(), "Ada \\\"the first\"");
    let contact = m.address(Name::Contact).unwrap();
    assert_eq!(
        (contact.q(), contact.params.get("extra")),
        (Some(700), Some(&b"one"[..]))
    );
    assert!(m.address(Name::Route).unwrap().uri().unwrap().is_loose());
}

#[test]
fn odd_characters_are_kept() {
    let m = read("3.1.1.02-wide-range-of-characters.sip");
    assert_eq!(
        (m.method(), m.method_bytes()),
        (Method::Other, &b"~Odd_Method.-!%*+`'9"[..])
    );
    assert_eq!(m.branch(), b"z9hG4bK~.%41*_+`'!-");
    let uri = m.uri().unwrap();
    assert_eq!(
        (uri.host(), uri.password()),
        (&b"tandem.example"[..], Some(&b"pass&=+$,-_.!*'()"[..]))
    );
    assert_eq!(m.to().unwrap().display_name(), "DEL: NUL: TAB:");
    assert_eq!(m.header_named("x-name.-!%*_+`'~"), Some("漢字".as_bytes()));
}

#[test]
fn escapes_are_undone_only_where_they_mean_something() {
    let m = read("3.1.1.03-escapes-in-uris.sip");
    assert_eq!(
        m.uri().unwrap().user_unescaped().as_deref(),
        Some(&b"sip:1001@else.example"[..])
    );
    let plain = sip::Uri::parse(b"sip:1001@tandem.example").unwrap();
    assert!(m.to().unwrap().uri().unwrap().equals(&plain));
    assert_eq!(read("3.1.1.04-escaped-nul.sip").addresses(Name::Contact).count(), 2);
    let percent = read("3.1.1.05-percent-is-no-escape-in-tokens.sip");
    assert_eq!(
        (percent.method(), percent.addresses(Name::Contact).count()),
        (Method::Other, 2)
    );
    assert_eq!(percent.to().unwrap().display_name(), "%41%Q");
}

#[test]
fn nothing_is_cut_short_but_what_is_behind_the_body() {
    let long = read("3.1.1.07-long-values.sip");
    assert_eq!(
        (long.values(Name::Via).count(), long.from_tag().len(), long.branch()),
        (30, 300, &b""[..])
    );
    let behind = read("3.1.1.08-bytes-behind-the-message.sip");
    assert_eq!((behind.method(), behind.body_bytes()), (Method::Register, &b""[..]));
    let binary = read("3.1.1.11-multipart-binary-body.sip");
    assert!(binary.body_bytes().windows(256).any(|w| w.iter().copied().eq(0..=255)));
    assert!(binary.body_bytes().ends_with(b"--edge--\r\n"));
    assert!(read("3.4.1-rfc-2543.sip").body_bytes().starts_with(b"v=0"));
}

#[test]
fn parameters_belong_to_header_or_uri_as_the_brackets_say() {
    let bare = read("3.3.12-contact-parameter.sip");
    let bare = bare.address(Name::Contact).unwrap();
    assert_eq!(
        (bare.uri_bytes, bare.params.has("flavour")),
        (&b"sip:1000@198.51.100.20"[..], true)
    );
    let inside = read("3.3.13-uri-parameter.sip");
    let inside = inside.address(Name::Contact).unwrap();
    assert_eq!(
        (inside.uri().unwrap().param("flavour"), inside.params.has("flavour")),
        (Some(&b""[..]), false)
    );
    let headers = read("3.3.14-contact-with-headers.sip");
    assert_eq!(
        headers
            .address(Name::Contact)
            .unwrap()
            .uri()
            .unwrap()
            .header("x-note")
            .as_deref(),
        Some(&b"<hello>"[..])
    );
}

/// An OPTIONS with this Request-URI and this Via; what RFC 5118 varies.
fn options(uri: &str, via: &str) -> String {
    let text = format!(
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bKas3-111\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    verdict(text.into_bytes())
}

#[test]
fn ipv6_addresses_are_read_as_rfc_5118_asks() {
    let host = "[2001:db8::9:1]";
    // Sections 4.1, 4.3, 4.4, 4.9: a reference in brackets, with what looks like a port inside or one behind, or mapped.
    for uri in [
        "sip:[2001:db8::10]",
        "sip:[2001:db8::10:5070]",
        "sip:[2001:db8::10]:5070",
        "sip:u@[::ffff:192.0.2.10]",
    ] {
        assert_eq!(options(uri, host), "accept", "{uri}");
    }
    // Section 4.5: brackets in received are legal for nobody and understood by everybody.
    for via in [
        "[2001:db8::9:1];received=[2001:db8::9:255]",
        "[2001:db8::9:1]:5060;received=2001:db8::9:255",
    ] {
        assert_eq!(options("sip:u@h", via), "accept", "{via}");
    }
    // Sections 4.2, 4.10: without brackets, and with the colon too many of the RFC 3261 grammar.
    for uri in [
        "sip:2001:db8::10",
        "sip:u@[2001:db8:::192.0.2.1]",
        "sip:[2001:db8::10",
        "sip:[]",
    ] {
        assert_eq!(options(uri, host), "400", "{uri}");
    }
    assert_eq!(options("sip:u@h", "2001:db8::9:1"), "400");
}

/// What each section of RFC 5118 says that an address means.
#[test]
fn ipv6_references_mean_what_rfc_5118_says() {
    let six = |text: &str| IpAddr::V6(text.parse().unwrap());
    // Sections 4.1, 4.3, 4.4: brackets say where the port begins; without one behind them all inside is the address.
    for (uri, ip, port) in [
        ("sip:[2001:db8::10]", six("2001:db8::10"), None),
        ("sip:[2001:db8::10:5070]", six("2001:db8::10:5070"), None),
        ("sip:[2001:db8::10]:5070", six("2001:db8::10"), Some(5070)),
        ("sip:user@[2001:DB8:0:0::10]:5060;lr", six("2001:db8::10"), Some(5060)),
        // Section 4.9: mapped.
        (
            "sip:user@[::ffff:192.0.2.10]:5060",
            six("::ffff:192.0.2.10"),
            Some(5060),
        ),
    ] {
        let uri = sip::Uri::parse(uri.as_bytes()).unwrap();
        assert_eq!((uri.ip(), uri.port()), (Some(ip), port), "{uri:?}");
    }
    // Section 4.5: who sent it, whatever brackets it has.
    for via in [
        "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
        "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3-111",
    ] {
        let via = sip::header::Via::parse(via.as_bytes()).unwrap();
        assert_eq!(
            (via.ip(), via.received()),
            (Some(six("2001:db8::9:1")), Some(six("2001:db8::9:255")))
        );
    }
}

/// RFC 5118 section 4.8: both families in one request. What is answered has each Via as it came, and of ours only what the
/// packet says.
#[test]
fn a_request_that_came_by_both_families_is_answered_with_all_its_vias() {
    let text = "OPTIONS sip:user@[2001:db8::10] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;rport;branch=z9hG4bKas3-111\r\n\
                Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\r\n\
                Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\r\n\
                Route: <sip:[2001:db8::1]:5070;lr>\r\nFrom: <sip:a@[2001:db8::9:1]>;tag=1\r\nTo: <sip:b@192.0.2.3>\r\n\
                Contact: <sip:a@[2001:db8::9:1]:6050>\r\nCall-ID: c@[2001:db8::9:1]\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
                Content-Length: 0\r\n\r\n";
    let request = Message::parse(text.into()).unwrap();
    let source = "[2001:db8::9:1]:31337".parse().unwrap();
    let answer = Message::parse(sip::Writer::response(&request, 200, "OK", "t", source).finish()).unwrap();
    let vias: Vec<_> = answer.values(Name::Via).map(String::from_utf8_lossy).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP [2001:db8::9:1]:6050;rport=31337;branch=z9hG4bKas3-111;received=2001:db8::9:1",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
            "SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
        ]
    );
}
