//! Those who guess, scan and flood, at the real binary: what the log says of them, and how operators keep them out.

use crate::support::dice::count;
use crate::support::node::Setup;
use crate::support::raw::{Raw, text};
use crate::support::served::Served;
use crate::support::{http, skipped, wait_for};
use serde_json::json;
use sip::Name;
use std::net::UdpSocket;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Nobody is exempt from limits, as loopback is in the shipped configuration.
fn strict() -> Setup {
    Setup::new().set("security.abuse.exempt=192.0.2.0/24")
}

/// A forged line in the place of a name: who reads logs must not be taken in by it.
const FORGED: &str = "x WARN security: SECURITY event=banned ip=203.0.113.9 ";

/// Does everything that is written down as a security event.
fn offend(served: &Served) {
    let mut phone = Raw::new(served.sip(), "1000");
    assert_eq!(phone.register(600), 200);
    let mut liar = phone.request("MESSAGE", "1001").body("text/plain", "no");
    liar.from = format!("<sip:1002@{}>;tag=x", served.sip());
    assert_eq!(phone.ask(&mut liar).status(), 403);
    let mut guesser = Raw::new(served.sip(), "1001");
    guesser.password = "guess".to_owned();
    for _ in 0..11 {
        let mut request = guesser.request("REGISTER", "").header("Expires: 600");
        request.call_id = FORGED.replace(' ', "/");
        guesser.ask(&mut request);
    }
    let login = json!({ "user": FORGED, "password": "guess" });
    for _ in 0..11 {
        http(served.http(), "POST", "/api/v1/login", None, &login);
    }
    let mut scanner = Raw::new(served.sip(), "100");
    let probe = scanner.request("OPTIONS", "100").header("User-Agent: friendly-scanner");
    scanner.send_bytes(&scanner.print(&probe, ""));
    for what in ["identity-mismatch", "auth-failed", "auth-limited", "scanner", "banned"] {
        served.logged(&format!("SECURITY event={what} ip=127.0.0.1"));
    }
    flood(served);
}

/// Asks for more than one address may, from another one: those that are banned are not heard.
fn flood(served: &Served) {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    let (server, from) = (served.sip(), socket.local_addr().unwrap());
    let mut asked = 0;
    wait_for("the line about who goes too fast", || {
        for _ in 0..200 {
            asked += 1;
            let probe = format!(
                "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{asked}\r\nMax-Forwards: 70\r\n\
                 From: <sip:a@b.c>;tag=1\r\nTo: <sip:{server}>\r\nCall-ID: {asked}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            socket.send_to(probe.as_bytes(), server).unwrap();
        }
        served
            .log()
            .contains("SECURITY event=rate-limited ip=127.0.0.2")
            .then_some(())
    });
}

/// What the shipped filter finds in a log: matched lines, and all that fail2ban-regex says.
fn found(served: &Served) -> Option<(usize, String)> {
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/fail2ban/filter.d/tandem.conf");
    let log = served.directory().join("log");
    let said = Command::new("fail2ban-regex").arg("-v").arg(&log).arg(filter).output();
    let said = text(&said.ok()?.stdout);
    let line = said.lines().find(|line| line.starts_with("Lines: "))?;
    let matched = line
        .split(", ")
        .find_map(|part| part.strip_suffix(" matched"))?
        .parse()
        .ok()?;
    Some((matched, said))
}

#[test]
fn fail2ban_finds_every_security_line_and_believes_no_forged_one() {
    for format in ["text", "json"] {
        let served = Served::start(strict().set(&format!("switch.log.format={format}")));
        offend(&served);
        let lines = served
            .log()
            .lines()
            .filter(|line| line.contains("SECURITY event="))
            .count();
        let Some((matched, said)) = found(&served) else {
            return skipped(
                "fail2ban_finds_every_security_line_and_believes_no_forged_one",
                "fail2ban-regex is not installed",
            );
        };
        assert!(lines >= 25, "{}", served.log());
        assert_eq!(matched, lines, "{format}: {said}\n{}", served.log());
        assert!(said.contains("127.0.0.1") && !said.contains("203.0.113.9"), "{said}");
        assert!(said.contains("127.0.0.2"), "who goes too fast as well: {said}");
    }
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn operators_see_add_and_drop_bans() {
    let served = Served::start(Setup::new());
    let tandem = |arguments: &[&str]| out(&served.tandem(arguments));
    assert_eq!(tandem(&["bans", "list"]), "nobody is banned\n");
    let mut phone = Raw::new(served.sip(), "1000");
    assert_eq!(phone.register(600), 200);
    assert_eq!(
        tandem(&["bans", "add", "127.0.0.1", "--for", "600"]),
        "127.0.0.1 is banned for 10m00s\n"
    );
    let probe = phone.request("OPTIONS", "1000");
    phone.send(&probe);
    wait_for("a packet that is dropped", || {
        (served.metric("tandem_banned_dropped_total") == 1.0).then_some(())
    });
    let list = tandem(&["bans", "list"]);
    assert!(list.contains("127.0.0.1  operator"), "{list}");
    assert_eq!(tandem(&["bans", "drop", "127.0.0.1"]), "1 ban ended\n");
    assert_eq!(served.tandem(&["bans", "drop", "127.0.0.1"]).status.code(), Some(1));
    assert_eq!(phone.register(600), 200);
    tandem(&["bans", "add", "2001:db8::1"]);
    assert_eq!(tandem(&["bans", "drop", "--all"]), "1 ban ended\n");
}

/// Round trips of one question, the median of them.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// With TIMED=900, as `scripts/soak` has it, times are compared as well: there the machine has nothing else to do.
#[test]
fn s11_real_and_unknown_users_are_answered_alike_and_as_fast() {
    let rounds = count("TIMED", 20);
    assert!(
        rounds < 1_000,
        "more wrong passwords than an account may be set to bear"
    );
    for method in [
        "REGISTER",
        "INVITE",
        "SUBSCRIBE",
        "PUBLISH",
        "OPTIONS",
        "MESSAGE",
        "REFER",
    ] {
        let served = Served::start(Setup::new().set("security.max_failures=1000"));
        let mut seen: [Vec<(u16, Vec<String>)>; 2] = Default::default();
        let mut times: [Vec<Duration>; 2] = Default::default();
        for round in 0..2 * rounds {
            let which = round % 2;
            let mut guesser = Raw::new(served.sip(), ["1000", "4711"][which]);
            guesser.password = "guess".to_owned();
            let mut request = guesser.request(method, ["1000", "4711"][which]);
            let asked = Instant::now();
            let answer = guesser.ask(&mut request);
            times[which].push(asked.elapsed());
            let names = answer.fields().map(|(_, name, _)| text(name)).collect();
            seen[which].push((answer.status(), names));
            assert!(answer.header(Name::WwwAuthenticate).is_some(), "{method}");
        }
        let [real, unknown] = seen;
        assert_eq!(real, unknown, "{method}");
        let [real, unknown] = times.each_mut().map(|times| median(times));
        eprintln!("{method}: real {real:?}, unknown {unknown:?}");
        if rounds >= 500 {
            let ratio = real.as_secs_f64() / unknown.as_secs_f64();
            assert!((0.93..1.07).contains(&ratio), "{method}: {real:?} and {unknown:?}");
        }
    }
}
