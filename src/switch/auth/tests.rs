//! Who gets in, seen from outside, in virtual time.

use crate::config::{Algorithm, Config};
use crate::testing::{World, config};
use sip::digest::Challenge;
use sip::{Headers, Message, Method, Name};
use std::net::SocketAddr;
use std::time::Duration;

const STRANGER: &str = "127.0.0.9:5060";

fn stranger() -> SocketAddr {
    STRANGER.parse().unwrap()
}

/// A request from a stranger's address with these lines before its end; the responses to it.
fn ask(world: &mut World, start: &str, user: &str, more: &str) -> Vec<Message> {
    world.strangers.clear();
    let method = start.split(' ').next().unwrap().to_owned();
    let branch = world.network.sent();
    let text = format!(
        "{start} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bK{branch}\r\nFrom: <sip:{user}@example.com>;tag=f\r\n\
         To: <sip:{user}@example.com>\r\nCall-ID: {method}-{branch}\r\nCSeq: 7 {method}\r\nMax-Forwards: 70\r\n{more}\
         Content-Length: 0\r\n\r\n"
    );
    world.send_raw(stranger(), text);
    let answers = world
        .strangers
        .iter()
        .map(|(_, _, bytes)| Message::parse(bytes.clone()).unwrap());
    answers.collect()
}

fn statuses(answers: &[Message]) -> Vec<u16> {
    answers.iter().map(Message::status).collect()
}

/// Credentials for a REGISTER of `user`, made from the challenge in `answer`.
fn credentials(answer: &Message, user: &str, password: &str, method: &str, uri: &str, count: u32) -> String {
    let challenge = Challenge::parse(answer.header(Name::WwwAuthenticate).unwrap()).unwrap();
    let ha1 = sip::digest::ha1(
        challenge.algorithm,
        user.as_bytes(),
        &challenge.realm,
        password.as_bytes(),
    );
    let value = challenge.credentials(user, &ha1, method.as_bytes(), uri.as_bytes(), "c", count);
    format!("Authorization: {}\r\n", String::from_utf8(value).unwrap())
}

const REGISTER: &str = "REGISTER sip:example.com";
const CONTACT: &str = "Contact: <sip:1000@127.0.0.9:5060>\r\n";

#[test]
fn a_phone_registers_with_its_password() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_wrong_password_is_challenged_again_and_never_let_in() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.phones[kate].password = "wrong".into();
    assert_eq!(world.register(kate), 401);
    assert!(world.store.bindings.is_empty());
}

#[test]
fn s11_an_unknown_user_gets_the_same_answers_as_a_known_one() {
    let mut world = World::new(config(), 1);
    let shape = |answer: &Message| {
        let fields: Vec<String> = answer
            .fields()
            .map(|(_, name, _)| String::from_utf8_lossy(name).into())
            .collect();
        (
            answer.status(),
            String::from_utf8_lossy(answer.reason()).into_owned(),
            fields,
        )
    };
    for method in [
        "REGISTER",
        "INVITE",
        "MESSAGE",
        "SUBSCRIBE",
        "OPTIONS",
        "PUBLISH",
        "REFER",
        "NOTIFY",
    ] {
        let mut seen = Vec::new();
        for user in ["1000", "4711"] {
            let start = format!("{method} sip:{user}@example.com");
            let first = ask(
                &mut world,
                &start,
                user,
                "Contact: <sip:x@127.0.0.9>\r\nEvent: message-summary\r\n",
            );
            let uri = format!("sip:{user}@example.com");
            let wrong = credentials(&first[0], user, "guess", method, &uri, 1);
            let second = ask(&mut world, &start, user, &wrong);
            for count in 2..=10 {
                let wrong = credentials(&first[0], user, "guess", method, &uri, count);
                ask(&mut world, &start, user, &wrong);
            }
            let limited = ask(&mut world, &start, user, &wrong);
            assert_eq!(statuses(&limited), [403], "{method} {user}");
            seen.push((shape(&first[0]), shape(&second[0]), shape(&limited[0])));
            world.run(Duration::from_secs(120));
        }
        assert_eq!(seen[0], seen[1], "{method}");
        assert_eq!((seen[0].0.0, seen[0].1.0), (401, 401), "{method}");
    }
}

#[test]
fn each_nonce_count_is_good_once() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let first = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    let second = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 2);
    assert_eq!(
        statuses(&ask(&mut world, REGISTER, "1000", &(first.clone() + CONTACT))),
        [200]
    );
    let replay = ask(&mut world, REGISTER, "1000", &first);
    assert_eq!(statuses(&replay), [401]);
    assert!(
        Challenge::parse(replay[0].header(Name::WwwAuthenticate).unwrap())
            .unwrap()
            .is_stale
    );
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &second)), [200]);
}

#[test]
fn s9_no_digest_is_computed_against_a_nonce_that_is_not_ours() {
    let mut world = World::new(config(), 1);
    let digests = |world: &World| {
        let counters = world.switch.counters();
        let found = counters.values.iter().find(|(name, _, _)| *name == "digests_total");
        found.unwrap().1
    };
    let challenge = ask(&mut world, REGISTER, "1000", "").remove(0);
    let right = credentials(&challenge, "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    let nonce = right
        .split("nonce=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let foreign = format!(
        "{}{}",
        &nonce[..nonce.len() - 1],
        if nonce.ends_with('0') { '1' } else { '0' }
    );
    for other in [&*foreign, "", "0123456789abcdef", &nonce.to_uppercase()] {
        let answers = ask(&mut world, REGISTER, "1000", &right.replace(&nonce, other));
        assert_eq!(statuses(&answers), [401]);
        let asked = String::from_utf8_lossy(answers[0].header(Name::WwwAuthenticate).unwrap()).into_owned();
        assert!(!asked.contains("stale"), "{asked}");
    }
    assert_eq!(digests(&world), 0);
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &right)), [200]);
    assert_eq!(digests(&world), 1);
}

#[test]
fn a_repeated_register_is_answered_from_its_transaction() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    let text = format!(
        "{REGISTER} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bKsame\r\nFrom: <sip:1000@example.com>;tag=f\r\n\
         To: <sip:1000@example.com>\r\nCall-ID: same\r\nCSeq: 8 REGISTER\r\n{right}{CONTACT}Content-Length: 0\r\n\r\n"
    );
    world.strangers.clear();
    for _ in 0..3 {
        world.send_raw(stranger(), text.clone());
    }
    let all: Vec<_> = world.strangers.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    assert_eq!(all.len(), 3);
    assert!(all[0].starts_with(b"SIP/2.0 200") && all[0] == all[1] && all[1] == all[2]);
}

#[test]
fn an_old_nonce_is_stale_and_the_phone_goes_on_by_itself() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    world.run(Duration::from_secs(301));
    let before = world.switch.counters();
    assert_eq!(world.register(kate), 200);
    let challenges = |c: &crate::Counters| c.values.iter().find(|v| v.0 == "challenges_total").unwrap().1;
    assert_eq!(challenges(&world.switch.counters()), challenges(&before) + 1);
}

#[test]
fn a_nonce_of_before_the_restart_is_stale_not_unknown() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    world.restart();
    let answer = ask(&mut world, REGISTER, "1000", &right);
    assert_eq!(statuses(&answer), [401]);
    assert!(
        Challenge::parse(answer[0].header(Name::WwwAuthenticate).unwrap())
            .unwrap()
            .is_stale
    );
}

#[test]
fn credentials_are_bound_to_the_request_uri_and_the_method() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let other_uri = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:other", 1);
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &other_uri)), [400]);
    let other_method = credentials(&challenge[0], "1000", "secret-1000", "MESSAGE", "sip:example.com", 1);
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &other_method)), [401]);
    let same = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:EXAMPLE.com", 1);
    assert_eq!(
        statuses(&ask(&mut world, REGISTER, "1000", &same)),
        [200],
        "equal by section 19.1.4"
    );
}

#[test]
fn credentials_without_qop_are_no_credentials() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    for (what, instead) in [
        ("qop=auth, ", ""),
        ("qop=auth", "qop=auth-int"),
        ("nc=00000001", "nc=1"),
        ("Digest", "Basic"),
    ] {
        let broken = right.replace(what, instead);
        assert_ne!(broken, right);
        assert_eq!(
            statuses(&ask(&mut world, REGISTER, "1000", &broken)),
            [401],
            "{instead}"
        );
    }
}

#[test]
fn any_valid_credentials_among_several_win() {
    let mut world = World::new(config(), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    let several =
        format!("Authorization: NoOneKnows foo=\"x\"\r\nAuthorization: Digest realm=\"other\", nonce=\"n\"\r\n{right}");
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &several)), [200]);
}

fn with_digest(digest: Vec<Algorithm>) -> Config {
    let mut config = config();
    config.security.digest = digest;
    config
}

#[test]
fn each_algorithm_is_offered_in_its_own_header_in_the_operators_order() {
    let mut world = World::new(with_digest(vec![Algorithm::Sha256, Algorithm::Md5]), 1);
    let answer = ask(&mut world, REGISTER, "1000", CONTACT);
    let lines: Vec<_> = answer[0]
        .lines(Name::WwwAuthenticate)
        .map(|l| String::from_utf8_lossy(l).into_owned())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("algorithm=SHA-256") && lines[1].contains("algorithm=MD5"),
        "{lines:?}"
    );
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200, "with SHA-256, the first");
}

#[test]
fn an_algorithm_that_is_not_offered_does_not_count() {
    let mut world = World::new(with_digest(vec![Algorithm::Sha256]), 1);
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    assert!(right.contains("SHA-256"));
    let weak = challenge[0].header(Name::WwwAuthenticate).unwrap();
    let weak = String::from_utf8_lossy(weak).replace("SHA-256", "MD5");
    let weak = Challenge::parse(weak.as_bytes()).unwrap();
    let ha1 = sip::digest::ha1(weak.algorithm, b"1000", &weak.realm, b"secret-1000");
    let value = weak.credentials("1000", &ha1, b"REGISTER", b"sip:example.com", "c", 1);
    let weak = format!("Authorization: {}\r\n", String::from_utf8(value).unwrap());
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &weak)), [401]);
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &right)), [200]);
}

#[test]
fn a_listener_may_offer_other_algorithms() {
    let mut config = config();
    config.listeners[1].digest = vec![Algorithm::Sha256];
    let mut world = World::new(config, 1);
    let (desk, soft) = (world.phone("1000"), world.phone_over("1001", sip::Transport::Tcp));
    assert_eq!((world.register(desk), world.register(soft)), (200, 200));
    assert!(world.phones[desk].challenges[0].contains("algorithm=MD5"));
    assert!(world.phones[soft].challenges[0].contains("algorithm=SHA-256"));
}

#[test]
fn a_guesser_is_refused_unseen_and_the_owner_gets_in_from_elsewhere() {
    let mut world = World::new(config(), 1);
    for (user, password) in [("1000", "secret-1000"), ("4711", "anything")] {
        let challenge = ask(&mut world, REGISTER, user, CONTACT);
        for count in 1..=10 {
            let guess = credentials(&challenge[0], user, "guess", "REGISTER", "sip:example.com", count);
            assert_eq!(statuses(&ask(&mut world, REGISTER, user, &guess)), [401]);
        }
        let right = credentials(&challenge[0], user, password, "REGISTER", "sip:example.com", 11);
        assert_eq!(statuses(&ask(&mut world, REGISTER, user, &right)), [403], "{user}");
    }
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    world.run(Duration::from_secs(125));
    let challenge = ask(&mut world, REGISTER, "1000", CONTACT);
    let right = credentials(&challenge[0], "1000", "secret-1000", "REGISTER", "sip:example.com", 1);
    assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", &right)), [200]);
}

#[test]
fn a_user_cannot_speak_as_another() {
    let mut world = World::new(config(), 1);
    let start = "MESSAGE sip:1002@example.com";
    let challenge = ask(&mut world, start, "1001", "");
    let kates = credentials(
        &challenge[0],
        "1000",
        "secret-1000",
        "MESSAGE",
        "sip:1002@example.com",
        1,
    );
    assert_eq!(statuses(&ask(&mut world, start, "1001", &kates)), [403]);
    let asserted = credentials(
        &challenge[0],
        "1000",
        "secret-1000",
        "MESSAGE",
        "sip:1002@example.com",
        2,
    ) + "P-Asserted-Identity: <sip:1001@example.com>\r\n";
    assert_eq!(statuses(&ask(&mut world, start, "1000", &asserted)), [403]);
    let own = credentials(
        &challenge[0],
        "1000",
        "secret-1000",
        "MESSAGE",
        "sip:1002@example.com",
        3,
    ) + "P-Asserted-Identity: \"Kate\" <sip:1000@localhost>, <tel:1000>\r\n";
    assert_eq!(statuses(&ask(&mut world, start, "1000", &own)), [202]);
}

#[test]
fn callers_from_outside_get_one_uniform_answer() {
    let mut world = World::new(config(), 1);
    for to in ["1000", "4711"] {
        let from = "sip:someone@elsewhere.example";
        let text = format!(
            "INVITE sip:{to}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bK{to}\r\nFrom: <{from}>;tag=f\r\n\
             To: <sip:{to}@example.com>\r\nCall-ID: c{to}\r\nCSeq: 1 INVITE\r\nContact: <{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        world.strangers.clear();
        world.send_raw(stranger(), text);
        let answer = Message::parse(world.strangers[0].2.clone()).unwrap();
        assert_eq!(answer.status(), 403);
    }
}

#[test]
fn challenges_leave_no_state_behind() {
    let mut world = World::new(config(), 1);
    for _ in 0..500 {
        assert_eq!(statuses(&ask(&mut world, REGISTER, "1000", CONTACT)), [401]);
        assert_eq!(
            statuses(&ask(&mut world, "INVITE sip:1001@example.com", "1000", CONTACT)),
            [401]
        );
    }
    let counters = world.switch.counters();
    for gauge in ["transactions", "nonces", "dialogs"] {
        assert_eq!(counters.values.iter().find(|v| v.0 == gauge).unwrap().1, 0, "{gauge}");
    }
}

#[test]
fn a_repeated_challenge_has_the_same_to_tag() {
    let mut world = World::new(config(), 1);
    let text = format!(
        "{REGISTER} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bKagain\r\nFrom: <sip:1000@example.com>;tag=f\r\n\
         To: <sip:1000@example.com>\r\nCall-ID: again\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
    );
    world.send_raw(stranger(), text.clone());
    world.send_raw(stranger(), text);
    let tags: Vec<Vec<u8>> = world
        .strangers
        .iter()
        .map(|(_, _, bytes)| Message::parse(bytes.clone()).unwrap().to_tag().to_vec())
        .collect();
    assert!(!tags[0].is_empty());
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn changed_passwords_count_from_the_reload_on() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    let mut changed = config();
    let ha1 = sip::digest::ha1(sip::digest::Algorithm::Md5, b"1000", b"example.com", b"new");
    changed.users[0].ha1_md5 = Some(ha1.as_str().into());
    world.reload(changed);
    assert_eq!(world.register(kate), 401);
    world.phones[kate].password = "new".into();
    assert_eq!(world.register(kate), 200);
}

#[test]
fn options_to_the_switch_needs_no_password_and_options_through_it_does() {
    let mut world = World::new(config(), 1);
    let answer = ask(&mut world, "OPTIONS sip:example.com", "4711", "");
    assert_eq!(statuses(&answer), [200]);
    for header in [Name::Allow, Name::Accept, Name::Supported, Name::AllowEvents] {
        assert!(answer[0].header(header).is_some(), "{}", header.as_str());
    }
    assert_eq!(
        statuses(&ask(&mut world, "OPTIONS sip:1000@example.com", "1001", "")),
        [401]
    );
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    for (to, expected) in [("4711", 404), ("1001", 480)] {
        let number = world.with(kate, |phone, now| {
            phone.request(now, Method::Options, to, Headers::new(), None)
        });
        assert_eq!(world.finish(kate, number), expected);
    }
    world.register(jim);
    let number = world.with(kate, |phone, now| {
        phone.request(now, Method::Options, "1001", Headers::new(), None)
    });
    assert_eq!(world.finish(kate, number), 200);
}

#[test]
fn methods_that_mean_nothing_outside_of_a_dialog_say_so() {
    let mut world = World::new(config(), 1);
    for (method, expected) in [
        ("BYE", 481),
        ("INFO", 481),
        ("UPDATE", 481),
        ("PRACK", 481),
        ("NEWMETHOD", 501),
    ] {
        let answer = ask(&mut world, &format!("{method} sip:1000@example.com"), "1001", "");
        assert_eq!(statuses(&answer), [expected], "{method}");
    }
    let kate = world.phone("1000");
    for (method, expected) in [(Method::Notify, 481), (Method::Publish, 489), (Method::Refer, 403)] {
        let number = world.with(kate, |phone, now| {
            phone.request(now, method, "1001", Headers::new(), None)
        });
        assert_eq!(world.finish(kate, number), expected, "{method:?}");
    }
}

#[test]
fn admission_comes_before_the_challenge() {
    let mut world = World::new(config(), 1);
    let mut status = |start: &str, more: &str| statuses(&ask(&mut world, start, "1000", more))[0];
    assert_eq!(status("INVITE sip:1001@elsewhere.example", ""), 403);
    assert_eq!(status("INVITE tel:1001", ""), 416);
    assert_eq!(status("INVITE sips:1001@example.com", ""), 416);
    assert_eq!(
        status("INVITE sip:1001@example.com", "Require: 100rel, nothing\r\n"),
        420
    );
    assert_eq!(status("INVITE sip:1001@127.0.0.1:5060", ""), 401);
    assert_eq!(status("INVITE sip:1001@LOCALHOST", ""), 401);
}

#[test]
fn too_much_at_once_is_refused_for_now() {
    let mut config = config();
    config.limits.max_transactions = 0;
    let mut world = World::new(config, 1);
    let answer = ask(&mut world, "MESSAGE sip:1001@example.com", "1000", "");
    assert_eq!(statuses(&answer), [503]);
    assert!(answer[0].header(Name::RetryAfter).is_some());
}

#[test]
fn a_flood_of_wrong_answers_cannot_fill_the_log() {
    let mut core = crate::core::Core::new(config(), [0; 32], [1; 32]);
    let bytes = format!(
        "{REGISTER} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n"
    );
    let request = Message::parse(bytes.into()).unwrap();
    let flow = sip::Flow {
        transport: sip::Transport::Udp,
        local: stranger(),
        peer: stranger(),
        connection: 0,
    };
    let mut write = |second: u64, lines: u32| {
        let now = clock::Now {
            mono: clock::Mono(second * 1_000_000_000),
            wall: clock::Wall(0),
        };
        (0..lines).for_each(|_| crate::security::event(&mut core, now, "auth-failed", flow, b"1000", &request));
        core.tally.security_lines_dropped
    };
    assert_eq!((write(1, 500), write(2, 100), write(3, 101)), (400, 400, 401));
}
