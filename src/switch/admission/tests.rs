//! Who is listened to, and how much, seen from outside, in virtual time.

use crate::admission::Admit;
use crate::config::{Action, Config, Pattern, Rule};
use crate::testing::{World, config};
use crate::{Answer, Command, Input, Refusal};
use bytes::Bytes;
use sip::digest::{Challenge, ha1};
use sip::peek::Class;
use sip::{Flow, Message, Name, Transport};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const GUESSER: &str = "192.0.2.66:5060";
const ELSEWHERE: &str = "198.51.100.7:5060";

/// Limits small enough for a story.
fn strict() -> Config {
    let mut config = config();
    config.security.abuse.new_per_second = 10;
    config.security.abuse.new_burst = 20;
    config.security.abuse.ban_after = 30;
    config
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn ip(address: &str) -> IpAddr {
    at(address).ip()
}

/// A request from an address, with these lines before its end; the response, if there is one.
fn ask(world: &mut World, from: &str, start: &str, user: &str, more: &str) -> Option<Message> {
    world.strangers.clear();
    let branch = world.network.sent() + world.now.mono.0;
    let method = start.split(' ').next().unwrap();
    let text = format!(
        "{start} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\nFrom: <sip:{user}@example.com>;tag=f\r\n\
         To: <sip:{user}@example.com>\r\nCall-ID: {branch}\r\nCSeq: 7 {method}\r\nMax-Forwards: 70\r\n{more}\
         Content-Length: 0\r\n\r\n"
    );
    world.send_raw(at(from), text);
    let (_, _, bytes) = world.strangers.first()?;
    Some(Message::parse(bytes.clone()).unwrap())
}

fn register(world: &mut World, from: &str, user: &str, more: &str) -> Option<Message> {
    ask(world, from, "REGISTER sip:example.com", user, more)
}

fn status(answer: Option<Message>) -> Option<u16> {
    answer.map(|answer| answer.status())
}

/// Credentials for a REGISTER.
fn credentials(challenge: &Message, user: &str, password: &str, count: u32) -> String {
    let challenge = Challenge::parse(challenge.header(Name::WwwAuthenticate).unwrap()).unwrap();
    let ha1 = ha1(
        challenge.algorithm,
        user.as_bytes(),
        &challenge.realm,
        password.as_bytes(),
    );
    let value = challenge.credentials(user, &ha1, b"REGISTER", b"sip:example.com", "c", count);
    format!("Authorization: {}\r\n", String::from_utf8(value).unwrap())
}

/// Registers 1000 from an address, with this password: the status.
fn log_in(world: &mut World, from: &str, password: &str) -> Option<u16> {
    log_in_as(world, from, "1000", password)
}

fn log_in_as(world: &mut World, from: &str, user: &str, password: &str) -> Option<u16> {
    let challenge = register(world, from, user, "")?;
    let contact = format!("Contact: <sip:{user}@{from}>\r\n");
    let credentials = credentials(&challenge, user, password, 1);
    status(register(world, from, user, &(contact + &credentials)))
}

fn counter(world: &World, name: &str) -> u64 {
    let counters = world.switch.counters();
    counters.values.iter().find(|(known, _, _)| *known == name).unwrap().1
}

fn bans(world: &mut World) -> Vec<(String, String)> {
    match world.command(Command::Bans) {
        Answer::Bans(views) => views
            .into_iter()
            .map(|ban| (ban.source.into(), ban.why.into()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s12_a_guesser_is_banned_and_the_owner_gets_in_from_elsewhere() {
    let mut world = World::new(strict(), 1);
    let mut seen = Vec::new();
    for _ in 0..60 {
        seen.push(log_in(&mut world, GUESSER, "guess"));
        world.run_ms(200);
    }
    assert_eq!(seen[..10], [Some(401); 10], "ten guesses are looked at");
    assert_eq!(seen[10..30], [Some(403); 20], "more are refused unseen");
    assert_eq!(seen[30..], [None; 30], "and then nobody listens");
    assert_eq!(bans(&mut world), [("192.0.2.66".to_owned(), "auth-limited".to_owned())]);
    assert_eq!(log_in(&mut world, ELSEWHERE, "secret-1000"), Some(200));
    assert_eq!(
        log_in(&mut world, GUESSER, "secret-1000"),
        None,
        "not even with the right one"
    );
    world.run(Duration::from_secs(600));
    assert_eq!(log_in(&mut world, GUESSER, "secret-1000"), Some(200));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn s12_a_phone_that_is_registered_does_not_suffer_from_a_guesser_at_its_address() {
    let mut world = World::new(strict(), 1);
    let (phone, guesser) = ("192.0.2.66:5062", GUESSER);
    assert_eq!(log_in(&mut world, phone, "secret-1000"), Some(200));
    for _ in 0..40 {
        log_in_as(&mut world, guesser, "1001", "guess");
        world.run_ms(200);
    }
    assert_eq!(bans(&mut world).len(), 1);
    assert_eq!(log_in(&mut world, phone, "secret-1000"), Some(200));
    assert_eq!(
        log_in(&mut world, "192.0.2.66:5064", "secret-1000"),
        None,
        "others there have to wait"
    );
}

#[test]
fn who_forges_addresses_cannot_have_others_banned_for_wrong_passwords() {
    let mut world = World::new(strict(), 1);
    // The challenge is sent to the attacker, who answers it in the name of another address.
    let challenge = register(&mut world, GUESSER, "1000", "").unwrap();
    for n in 0..100 {
        register(
            &mut world,
            ELSEWHERE,
            "1000",
            &credentials(&challenge, "1000", "guess", n + 1),
        );
        world.run_ms(200);
    }
    assert_eq!(bans(&mut world), []);
    assert!(counter(&world, "auth_failures_total") >= 10);
}

#[test]
fn a_tool_that_says_it_is_a_scanner_gets_no_answer_and_a_ban() {
    let mut world = World::new(strict(), 1);
    let friendly = "User-Agent: Friendly-Scanner/1.8\r\n";
    assert_eq!(
        status(ask(&mut world, GUESSER, "OPTIONS sip:example.com", "100", friendly)),
        None
    );
    assert_eq!(bans(&mut world), [("192.0.2.66".to_owned(), "scanner".to_owned())]);
    assert_eq!(
        status(ask(&mut world, GUESSER, "OPTIONS sip:example.com", "100", "")),
        None
    );
    assert_eq!(
        status(ask(&mut world, ELSEWHERE, "OPTIONS sip:example.com", "100", "")),
        Some(200)
    );
    assert_eq!(counter(&world, "scanners_total"), 1);
    assert_eq!(counter(&world, "banned_dropped_total"), 1);
}

#[test]
fn who_sends_nonsense_is_no_longer_listened_to() {
    let mut world = World::new(strict(), 1);
    for _ in 0..15 {
        world.send_raw(at(GUESSER), "GET / HTTP/1.1\r\n\r\n");
        world.send_raw(at(GUESSER), "OPTIONS sip:example.com SIP/2.0\r\nVia: nonsense\r\n\r\n");
    }
    assert_eq!(bans(&mut world), [("192.0.2.66".to_owned(), "malformed".to_owned())]);
}

#[test]
fn one_source_cannot_have_more_than_its_share_and_others_do_not_notice() {
    let mut world = World::new(strict(), 1);
    let (mut answers, mut refusals, mut silence) = (0, 0, 0);
    for _ in 0..200 {
        match status(ask(&mut world, GUESSER, "OPTIONS sip:example.com", "100", "")) {
            Some(200) => answers += 1,
            Some(503) => refusals += 1,
            None => silence += 1,
            other => panic!("{other:?}"),
        }
    }
    // Ten seconds: the burst, ten a second, then as many refusals, then nothing.
    assert!((115..=125).contains(&answers), "{answers}");
    assert!(
        refusals > 50 && answers + refusals + silence == 200,
        "{refusals} {silence}"
    );
    for _ in 0..5 {
        assert_eq!(
            status(ask(&mut world, ELSEWHERE, "OPTIONS sip:example.com", "100", "")),
            Some(200)
        );
    }
    let exempt = "127.0.0.9:5060";
    for _ in 0..100 {
        assert_eq!(
            status(ask(&mut world, exempt, "OPTIONS sip:example.com", "100", "")),
            Some(200)
        );
    }
}

/// Nobody is exempt, an address may send 100 packets a second, and 112 leads to 1001.
fn with_help() -> Config {
    let mut config = config();
    config.security.abuse.exempt.clear();
    config.security.abuse.packets_per_second = 100;
    let mut help = Rule::new(Pattern::Exact("112".into()), Action::User(Some("1001".into())));
    help.is_emergency = true;
    config.dialplan.insert(0, help);
    config
}

/// Somebody behind the address of this flow, or who forges it, sends more than it may.
fn flood(world: &mut World, flow: Flow) {
    let mut peer = flow.peer;
    peer.set_port(9);
    for _ in 0..200 {
        world
            .switch
            .admit(world.now, &Flow { peer, ..flow }, Class::Ongoing, b"");
    }
}

#[test]
fn a_phone_behind_an_address_that_floods_is_heard_within_a_share_of_its_own() {
    let mut world = World::new(with_help(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    let known = world.phones[kate].flow_of_switch();
    flood(&mut world, known);
    let stranger = Flow {
        peer: SocketAddr::new(known.peer.ip(), 7),
        ..known
    };
    let line = |uri: &str| format!("INVITE {uri} SIP/2.0\r\n\r\n").into_bytes();
    let (help, jim) = (line("sip:112@example.com"), line("sip:1001@example.com"));
    let message = b"MESSAGE sip:112@example.com SIP/2.0\r\n\r\n";
    let mut heard = |flow: &Flow, class, bytes: &[u8]| {
        let all = (0..100).map(|_| world.switch.admit(world.now, flow, class, bytes));
        let lines: Vec<Admit> = all.collect();
        let heard = lines.iter().filter(|line| **line != Admit::Drop).count();
        (lines[0], heard)
    };
    assert_eq!(heard(&known, Class::New, &help), (Admit::Known, 40));
    assert_eq!(heard(&known, Class::Ongoing, b""), (Admit::Ongoing, 40));
    assert_eq!(heard(&known, Class::Register, b""), (Admit::Refresh, 40));
    let nothing = (Admit::Drop, 0);
    assert_eq!(heard(&known, Class::New, &jim), nothing);
    assert_eq!(heard(&known, Class::New, message), nothing);
    for class in [Class::New, Class::Ongoing, Class::Register] {
        assert_eq!(heard(&stranger, class, &help), nothing, "a stranger has no share");
    }
}

#[test]
fn a_call_for_help_is_made_and_lasts_while_its_address_floods() {
    let mut world = World::new(with_help(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let flow = world.phones[kate].flow_of_switch();
    flood(&mut world, flow);
    let call = world.call(kate, "112");
    for _ in 0..400 {
        flood(&mut world, flow);
        world.run_ms(100);
    }
    assert_eq!(counter(&world, "dialogs"), 2, "its ACK was heard");
    world.hang_up(kate, call);
    for _ in 0..20 {
        flood(&mut world, flow);
        world.run_ms(100);
    }
    assert_eq!(counter(&world, "dialogs"), 0, "and its BYE");
}

#[test]
fn beyond_the_refusals_a_flood_gets_silence() {
    let mut world = World::new(strict(), 1);
    let flow = flow(GUESSER);
    let mut count = [0; 3];
    for _ in 0..10_000 {
        match world.switch.admit(world.now, &flow, Class::New, b"") {
            Admit::New => count[0] += 1,
            Admit::Refuse => count[1] += 1,
            Admit::Drop => count[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, [20, 20, 9_960]);
}

fn flow(peer: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: at("127.0.0.1:5060"),
        peer: at(peer),
        connection: 0,
    }
}

#[test]
fn a_user_who_goes_too_fast_is_slowed_down_wherever_he_is() {
    let mut config = strict();
    config.security.abuse.user_per_second = 1;
    config.security.abuse.user_burst = 3;
    config.security.abuse.new_burst = 1_000;
    let mut world = World::new(config, 1);
    let mut seen = Vec::new();
    for from in [GUESSER, ELSEWHERE, GUESSER, ELSEWHERE, GUESSER] {
        seen.push(log_in(&mut world, from, "secret-1000"));
    }
    assert_eq!(seen, [Some(200), Some(200), Some(200), Some(503), Some(503)]);
    world.run(Duration::from_secs(2));
    assert_eq!(log_in(&mut world, GUESSER, "secret-1000"), Some(200));
    assert_eq!(counter(&world, "users_limited_total"), 2);
}

#[test]
fn operators_ban_list_and_lift_bans() {
    let mut world = World::new(strict(), 1);
    assert_eq!(log_in(&mut world, GUESSER, "secret-1000"), Some(200));
    let (address, time) = (ip(GUESSER), Duration::from_secs(3_600));
    assert_eq!(world.command(Command::Ban { address, time }), Answer::Done(1));
    assert_eq!(
        log_in(&mut world, GUESSER, "secret-1000"),
        None,
        "a registered phone too"
    );
    assert_eq!(bans(&mut world), [("192.0.2.66".to_owned(), "operator".to_owned())]);
    assert_eq!(world.command(Command::LiftBan(Some(address))), Answer::Done(1));
    assert_eq!(log_in(&mut world, GUESSER, "secret-1000"), Some(200));
    assert!(matches!(
        world.command(Command::LiftBan(Some(address))),
        Answer::Refused(Refusal::NotFound(_))
    ));
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    world.command(Command::Ban { address: six, time });
    world.command(Command::Ban { address, time });
    assert_eq!(bans(&mut world)[1].0, "2001:db8::/64");
    assert_eq!(world.command(Command::LiftBan(None)), Answer::Done(2));
}

#[test]
fn a_stream_of_a_banned_source_is_closed_at_once() {
    let mut world = World::new(strict(), 1);
    let (address, time) = (ip(GUESSER), Duration::from_secs(60));
    world.command(Command::Ban { address, time });
    let flow = Flow {
        transport: Transport::Tcp,
        connection: 9,
        ..flow(GUESSER)
    };
    world
        .switch
        .handle_input(world.now, Input::Opened { flow, token: None });
    let output = world.switch.poll_output();
    assert!(
        matches!(output, Some(crate::Output::Close { flow: closed }) if closed == flow),
        "{output:?}"
    );
}

#[test]
fn late_work_is_refused_unless_it_belongs_to_something() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let call = world.call(kate, "1001");
    world.run_ms(3_000);
    world.switch.note_delay(Duration::from_millis(101));
    let options = ask(&mut world, ELSEWHERE, "OPTIONS sip:example.com", "1000", "").unwrap();
    assert_eq!(options.status(), 503);
    let after: u32 = String::from_utf8_lossy(options.header(Name::RetryAfter).unwrap())
        .parse()
        .unwrap();
    assert!((1..=10).contains(&after));
    assert_eq!(world.register(kate), 200, "a phone that is known is not sent away");
    let stranger = world.phone("1002");
    assert_eq!(world.register(stranger), 503);
    world.hang_up(kate, call);
    world.run_ms(1_000);
    assert_eq!(counter(&world, "dialogs"), 0, "calls go on and end as ever");
    world.switch.note_delay(Duration::from_millis(99));
    assert_eq!(world.register(stranger), 200);
}

#[test]
fn s13_a_flood_from_everywhere_is_remembered_within_bounds() {
    let mut world = World::new(config(), 1);
    for n in 0..200_000u32 {
        let peer = SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + n), 5060));
        let from = Flow { peer, ..flow(GUESSER) };
        assert_eq!(world.switch.admit(world.now, &from, Class::New, b""), Admit::New);
    }
    assert!(counter(&world, "sources_remembered") <= 65_536);
}

#[test]
fn s13_no_table_grows_with_a_flood_of_whole_messages_from_everywhere() {
    let mut world = World::new(config(), 1);
    let kinds = [
        ("OPTIONS", "User-Agent: friendly-scanner\r\n"),
        ("INVITE", ""),
        (
            "REGISTER",
            "Authorization: Digest username=\"1000\", realm=\"example.com\", nonce=\"0\", uri=\"sip:x\", response=\"0\"\r\n",
        ),
    ];
    for n in 0..60_000u32 {
        let (method, more) = kinds[n as usize % kinds.len()];
        let from = SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + n), 5060));
        let flow = Flow {
            peer: from,
            ..flow(GUESSER)
        };
        let text = format!(
            "{method} sip:1000@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{n}\r\nFrom: <sip:1000@example.com>;tag=f\r\n\
             To: <sip:1000@example.com>\r\nCall-ID: {n}\r\nCSeq: 7 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
        );
        world.receive(flow, text.into());
    }
    // As many as scanners have been seen, up to the bound of the table.
    assert_eq!(counter(&world, "bans"), 16_384);
    assert!(counter(&world, "sources_remembered") <= 65_536);
    for nothing in ["nonces", "transactions", "dialogs", "legs", "registrations"] {
        assert_eq!(counter(&world, nothing), 0, "{nothing}");
    }
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_request_beyond_the_limit_of_its_source_is_refused_with_503_and_keeps_nothing() {
    let mut world = World::new(config(), 1);
    let bytes = Bytes::from_static(
        b"INVITE sip:1000@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
          To: <sip:1000@example.com>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
    );
    let flow = flow(GUESSER);
    world.input(Input::Unheard { flow, bytes });
    world.run_ms(50);
    let (_, _, answer) = world.strangers.first().unwrap();
    assert!(answer.starts_with(b"SIP/2.0 503 "));
    assert_eq!(counter(&world, "transactions"), 0);
}

#[test]
fn peers_who_ask_are_told_how_much_not_to_send() {
    let mut world = World::new(config(), 1);
    let told = |world: &mut World, branch: &str| {
        world.strangers.clear();
        let text = format!(
            "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{branch};oc;oc-algo=\"loss\"\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        );
        world.send_raw(at(ELSEWHERE), text);
        let answer = Message::parse(world.strangers[0].2.clone()).unwrap();
        let via = String::from_utf8_lossy(answer.header(Name::Via).unwrap()).into_owned();
        via.split(";oc=")
            .nth(1)
            .unwrap()
            .split(";oc-seq")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(told(&mut world, "before"), "0;oc-algo=\"loss\";oc-validity=0");
    world.run_ms(1_000);
    for late in [101, 99, 101, 99] {
        world.switch.note_delay(Duration::from_millis(late));
        ask(&mut world, ELSEWHERE, "OPTIONS sip:example.com", "100", "");
    }
    world.run_ms(1_000);
    assert_eq!(told(&mut world, "under"), "50;oc-algo=\"loss\";oc-validity=1500");
    world.run_ms(1_000);
    assert_eq!(told(&mut world, "after"), "0;oc-algo=\"loss\";oc-validity=0");
}

#[test]
fn a_phone_that_was_registered_before_a_restart_is_known_after_it() {
    let mut world = World::new(config(), 1);
    let (kate, stranger) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.restart();
    world.switch.note_delay(Duration::from_millis(101));
    assert_eq!((world.register(kate), world.register(stranger)), (200, 503));
}
