//! RFC 4475 through the whole switch: our own message for each section, and the archive's where it is at hand. What a
//! message asks for by way of accounts it gets: its From and Request-URI are users of ours with a device each, and
//! challenges are answered.

use crate::config::Config;
use crate::config::trunks::Mode;
use crate::testing::{DOMAIN, World, config, password, user};
use sip::digest::{Algorithm, Challenge, ha1};
use sip::header::NameAddr;
use sip::{Message, Method, Name, Uri};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const SOURCE: ([u8; 4], u16) = ([198, 51, 100, 20], 5062);

/// The statuses of all answers but 100, in order, with the last answer; 0 for a message that is not answered.
struct Outcome {
    statuses: Vec<u16>,
    last: Option<Message>,
}

/// Users and hosts that a message names, as far as it can be read.
fn settings(message: &Message) -> (Config, Vec<String>) {
    let mut config = config();
    config.users.clear();
    // Section 3.1.1.11 is about a multipart body that is in order.
    config.im.types = vec!["*/*".into()];
    let from = message.header(Name::From).and_then(|from| NameAddr::parse(from).ok());
    let target = message.uri().ok();
    let uris: Vec<Uri<'_>> = from
        .and_then(|from| from.uri().ok())
        .into_iter()
        .chain(target)
        .collect();
    let mut names = Vec::new();
    for uri in uris {
        config.aliases.push(String::from_utf8_lossy(uri.host()).into());
        let name = uri
            .user_unescaped()
            .map(|name| String::from_utf8_lossy(&name).into_owned());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    config.users = names.iter().map(|name| user(name)).collect();
    (config, names)
}

/// Sends a message to a fresh switch, and again with credentials if it is challenged.
fn play(bytes: &[u8], mode: Mode) -> Outcome {
    let readable = Message::parse(bytes.to_vec().into()).ok();
    let (mut config, names) = readable.as_ref().map_or_else(|| (config(), Vec::new()), settings);
    for rule in &mut config.dialplan {
        rule.mode = mode;
    }
    let mut world = World::new(config, 1);
    // The one who is called has a phone; the one who calls registers nothing by itself.
    if let Some(name) = names.last().filter(|name| name.is_ascii() && !name.contains('\0'))
        && readable
            .as_ref()
            .is_some_and(|message| message.method() != Method::Register)
    {
        let phone = world.phone(name);
        world.register(phone);
    }
    let mut outcome = answers(&mut world, bytes);
    let challenge = outcome
        .last
        .as_ref()
        .and_then(|last| {
            last.header(Name::WwwAuthenticate)
                .or(last.header(Name::ProxyAuthenticate))
        })
        .map(<[u8]>::to_vec);
    if let (Some(message), Some(challenge)) = (readable, challenge) {
        let again = answers(&mut world, &with_credentials(&message, bytes, &challenge));
        outcome.statuses.extend(again.statuses);
        outcome.last = again.last;
    }
    // It goes on as before.
    let probe = "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKprobe\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\n\r\n";
    assert!(answers(&mut world, probe.as_bytes()).statuses.contains(&200));
    assert_eq!(world.switch.audit(), Ok(()));
    outcome
}

fn answers(world: &mut World, bytes: &[u8]) -> Outcome {
    world.strangers.clear();
    world.send_raw(SocketAddr::from(SOURCE), bytes.to_vec());
    world.run_ms(12_000);
    let status = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[8..11])
            .parse::<u16>()
            .expect("an answer")
    };
    let mut statuses: Vec<u16> = world.strangers.iter().map(|(_, _, bytes)| status(bytes)).collect();
    statuses.retain(|status| *status != 100);
    statuses.dedup();
    // An answer to a broken message repeats what is broken.
    let last = world
        .strangers
        .last()
        .and_then(|(_, _, bytes)| Message::parse(bytes.clone()).ok());
    Outcome { statuses, last }
}

/// The same bytes with an Authorization line behind the request line.
fn with_credentials(message: &Message, bytes: &[u8], challenge: &[u8]) -> Vec<u8> {
    let challenge = Challenge::parse(challenge).unwrap();
    let from = NameAddr::parse(message.header(Name::From).unwrap()).unwrap();
    let name = String::from_utf8_lossy(&from.uri().unwrap().user_unescaped().unwrap_or_default()).into_owned();
    let ha1 = ha1(
        Algorithm::Md5,
        name.as_bytes(),
        DOMAIN.as_bytes(),
        password(&name).as_bytes(),
    );
    let value = challenge.credentials(&name, &ha1, message.method_bytes(), message.request_uri(), "c", 1);
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    // Both names are understood, whoever asked.
    [&bytes[..end], b"Authorization: ", &value, b"\r\n", &bytes[end..]].concat()
}

/// Whether an outcome is what a column of an index asks for.
fn is_as_asked(asked: &str, outcome: &Outcome) -> bool {
    asked.split('|').any(|one| match one {
        "accept" => outcome
            .statuses
            .iter()
            .all(|status| !matches!(status, 400 | 416 | 420 | 500..=599) || *status == 501),
        // Of what may be repaired, we repair what nobody uses.
        "liberal" => !outcome.statuses.is_empty(),
        "discard" => outcome.statuses.is_empty(),
        // What the phone says to it is the phone's business.
        "passed" => !outcome
            .statuses
            .iter()
            .any(|status| matches!(status, 400 | 500..=599) && *status != 501),
        status => outcome.statuses.iter().any(|said| said.to_string() == status),
    })
}

fn check(dir: &Path, column: usize, mode: Mode) -> usize {
    let index = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = index.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let outcome = play(&std::fs::read(dir.join(row[0])).unwrap(), mode);
        // A proxy does not judge what is for the user agent behind it (RFC 3261 section 16.3).
        let asked = match (mode, row[column]) {
            (Mode::Proxy, "501" | "415" | "406") => "passed",
            (_, asked) => asked,
        };
        if !is_as_asked(asked, &outcome) {
            wrong.push(format!("{}: must {asked}, was {:?}", row[0], outcome.statuses));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    rows.len()
}

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torture")
}

/// `shared/torture` beside the repository, or beside a parent of it.
fn archive() -> Option<PathBuf> {
    let mut beside = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("shared/torture"));
    beside.find(|dir| dir.join("index.tsv").exists())
}

#[test]
fn answers_our_own_message_for_each_section_of_rfc_4475() {
    assert_eq!(check(&ours(), 3, Mode::B2bua), 49);
}

#[test]
fn a_proxy_answers_each_section_of_rfc_4475_or_passes_it_on() {
    assert_eq!(check(&ours(), 3, Mode::Proxy), 49);
}

#[test]
fn answers_every_message_of_the_archive_as_its_index_asks() {
    match archive() {
        Some(dir) => assert!(check(&dir, 3, Mode::B2bua) > 40, "the index is whole"),
        None => eprintln!("SKIPPED: ../shared/torture is not there; our own messages are checked in any case"),
    }
}

#[test]
fn contact_parameters_end_up_where_they_belong() {
    let contact = |section: &str, dir: &Path| {
        let index = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
        let file = index
            .lines()
            .find(|line| line.split('\t').nth(1) == Some(section))
            .unwrap();
        let bytes = std::fs::read(dir.join(file.split('\t').next().unwrap())).unwrap();
        let outcome = play(&bytes, Mode::B2bua);
        let last = outcome.last.unwrap();
        String::from_utf8_lossy(last.header(Name::Contact).unwrap()).into_owned()
    };
    assert_eq!(
        contact("3.3.12", &ours()),
        "<sip:1000@198.51.100.20>;flavour;expires=3600"
    );
    assert!(contact("3.3.13", &ours()).contains(">;expires=3600"));
    assert!(contact("3.3.14", &ours()).contains('?'));
}
