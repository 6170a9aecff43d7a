//! The configuration as an operator meets it: directories with files in them, and what `tandem check` says.

use crate::config::{Config, Source};
use net::rtp::Io;
use std::path::Path;
use std::time::Duration;
use switch::config::trunks::{Mode, To};
use switch::config::{Action, Algorithm, Pattern, Role};

const SWITCH: &str = "domain = \"127.0.0.1\"\n[[listen]]\nurl = \"udp://127.0.0.1:5060\"\n";

/// A directory with these files, loaded with these `--set` arguments; problems without the directory before them.
fn load(files: &[(&str, &str)], sets: &[&str]) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let prefix = format!("{}/", directory.path().display());
    let source = Source {
        directory: directory.path().to_owned(),
        sets,
    };
    source
        .load()
        .map_err(|found| found.iter().map(|p| p.to_string().replace(&prefix, "")).collect())
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    load(files, &[]).expect_err("something is wrong in there")
}

/// The one problem of a switch.toml with `lines` after a good beginning of three lines.
fn switch_problem(lines: &str) -> String {
    let found = problems(&[("switch.toml", &format!("{SWITCH}{lines}"))]);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn one_problem(file: &str, text: &str) -> String {
    let found = problems(&[("switch.toml", SWITCH), (file, text)]);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn shipped() -> Source {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-config");
    Source {
        directory,
        sets: Vec::new(),
    }
}

#[test]
fn the_shipped_configuration_is_whole() {
    let config = shipped().load().unwrap();
    let users: Vec<&str> = config.switch.users.iter().map(|user| user.aor.as_str()).collect();
    assert_eq!(users.len(), 20);
    assert_eq!((users[0], users[19]), ("1000@127.0.0.1", "1019@127.0.0.1"));
    assert_eq!(config.switch.users[0].roles, [Role::Admin]);
    let agents = config.switch.users.iter().filter(|user| user.is_agent());
    assert!(agents.map(|user| user.aor.user()).eq(["1001", "1002", "1003", "1004"]));
    let groups: Vec<_> = config.switch.groups.list.iter().map(|group| &*group.number).collect();
    assert_eq!(groups, ["2000", "2001"]);
    let listen = config
        .listen
        .iter()
        .map(|listen| (listen.transport.as_str(), listen.address.port()));
    assert!(listen.eq([("UDP", 5060), ("TCP", 5060), ("TLS", 5061), ("WS", 5066), ("WSS", 7443)]));
    assert_eq!(config.http.unwrap().to_string(), "127.0.0.1:8080");
    let rules: Vec<_> = config
        .switch
        .dialplan
        .iter()
        .map(|rule| (&rule.matches, &rule.action))
        .collect();
    let (echo, tone) = (Pattern::Exact("9196".into()), Pattern::Exact("9197".into()));
    assert!(rules.contains(&(&echo, &Action::Echo)));
    assert!(rules.contains(&(&tone, &Action::Tone(1004))));
    assert!(rules.contains(&(&Pattern::Digits("10XX".into()), &Action::User(None))));
    assert_eq!(config.switch.security.digest, [Algorithm::Md5]);
}

#[test]
fn the_shipped_configuration_writes_down_the_defaults() {
    let shipped = shipped().load().unwrap();
    let bare = load(&[("switch.toml", SWITCH)], &[]).unwrap();
    let parts = |c: &Config| {
        let s = &c.switch;
        let node = (c.ports, c.drain_limit, c.log.clone(), c.data.url.clone());
        format!(
            "{:?}",
            (
                s.timers,
                &s.registrar,
                s.calls,
                &s.im,
                &s.security,
                s.media,
                (s.limits, s.subscriptions, &s.stars, &s.features),
                node
            )
        )
    };
    assert_eq!(parts(&shipped), parts(&bare));
}

#[test]
fn a_password_becomes_both_hashes() {
    // RFC 7616 section 3.9.1's user, realm and password; HA1 computed with md5sum and sha256sum.
    let users = "[Mufasa]\npassword = \"Circle of Life\"\n";
    let security = "realm = \"http-auth@example.org\"\n";
    let config = load(
        &[
            ("switch.toml", SWITCH),
            ("users.toml", users),
            ("security.toml", security),
        ],
        &[],
    )
    .unwrap();
    let user = &config.switch.users[0];
    assert_eq!(user.ha1_md5.as_deref(), Some("3d78807defe7de2157e2b0b6573a855f"));
    let sha256 = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";
    assert_eq!(user.ha1_sha256.as_deref(), Some(sha256));
}

#[test]
fn records_of_sessions_are_kept_for_days_or_for_ever() {
    let kept = |text: &str| {
        let im = load(&[("switch.toml", SWITCH), ("im.toml", text)], &[])
            .unwrap()
            .switch
            .im;
        (im.keep_transcripts, im.keep_records.map(|time| time.as_secs() / 86_400))
    };
    assert_eq!(kept(""), (false, Some(90)));
    assert_eq!(kept("keep_transcripts = true\ntranscript_days = 7\n"), (true, Some(7)));
    assert_eq!(kept("transcript_days = 0\n"), (false, None));
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    let found = switch_problem("[media]\nprots = \"20000-20100\"\n");
    assert_eq!(found, "switch.toml:5:1: unknown key `prots` (did you mean `ports`?)");
    let found = one_problem(
        "users.toml",
        "[1000]\npasword = \"x1\"\nha1_md5 = \"0123456789abcdef0123456789abcdef\"\n",
    );
    assert_eq!(
        found,
        "users.toml:2:1: unknown key `pasword` (did you mean `password`?)"
    );
    let found = one_problem("im.toml", "  stroe = true\n");
    assert_eq!(found, "im.toml:1:3: unknown key `stroe` (did you mean `store`?)");
    let found = one_problem("dialplan.toml", "[[rules]]\nmatch = \"1\"\naction = \"echo\"\n");
    assert_eq!(found, "dialplan.toml:1:3: unknown key `rules` (did you mean `rule`?)");
}

#[test]
fn everything_wrong_is_reported_at_once_in_order() {
    let found = problems(&[
        ("switch.toml", "domain = \"a b\"\n[timers]\nt1 = 500\n"),
        ("security.toml", "digest = [\"MD4\"]\n\nnonce_ttl = \"10m\"\n"),
        ("users.toml", "[\"10 00\"]\n[1001]\npassword = \"\"\n"),
    ]);
    let starts: Vec<&str> = found.iter().map(|p| p.split(": ").next().unwrap()).collect();
    let expected = [
        "security.toml:1:10",
        "security.toml:3:13",
        "switch.toml:1:10",
        "switch.toml:3:6",
        "users.toml:1:2",
        "users.toml:1:2",
        "users.toml:3:12",
        "switch.toml",
    ];
    assert_eq!(starts, expected, "{found:#?}");
    assert!(
        found[1].ends_with("`nonce_ttl`: 10m is not between 10s and 5m"),
        "{}",
        found[1]
    );
    assert!(found[3].contains("expected a time with its unit"), "{}", found[3]);
    assert!(found[7].contains("no listener"), "{}", found[7]);
}

#[test]
fn syntax_errors_have_their_place() {
    let found = one_problem("im.toml", "store = true\nkeep = \n");
    assert!(found.starts_with("im.toml:2:"), "{found}");
}

#[test]
fn files_of_features_to_come_and_strangers_are_named() {
    let found = problems(&[("switch.toml", SWITCH), ("voicemail.toml", ""), ("user.toml", "")]);
    assert_eq!(
        found,
        [
            "user.toml: no file of this name is known (did you mean `users`?)",
            "voicemail.toml: what voicemail.toml sets up is not built yet; remove the file",
        ]
    );
    assert!(load(&[("switch.toml", SWITCH), ("notes.txt", ""), ("users.toml~", "")], &[]).is_ok());
}

#[test]
fn mistakes_in_the_url_of_a_listener_are_named() {
    let with = |url: &str| {
        let found = problems(&[("switch.toml", &format!("{SWITCH}[[listen]]\nurl = \"{url}\"\n"))]);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    let expected = "switch.toml:5:7: `url`: expected one of udp://, tcp://, tls://, ws://, wss://, found \"sctp\"";
    assert_eq!(with("sctp://127.0.0.1:7443"), expected);
    assert!(with("upd://127.0.0.1").contains("(did you mean `udp`?)"));
    assert!(with("udp://localhost:5060").contains("expected an IP address"));
    assert!(with("127.0.0.1:5060").contains("expected a url"));
    assert!(with("udp://127.0.0.1").contains("the same url as at"));
    assert!(with("udp://0.0.0.0:5062").contains("0.0.0.0: peers must be told an address"));
}

#[test]
fn a_tls_listener_has_a_port_of_its_own_and_its_files_are_beside_switch_toml() {
    let text = format!("{SWITCH}[[listen]]\nurl = \"tls://127.0.0.1\"\n[tls]\nkey = \"/etc/k.pem\"\n");
    let config = load(&[("switch.toml", &text)], &[]).unwrap();
    let listen = config.listen.last().unwrap();
    assert_eq!((listen.transport, listen.address.port()), (sip::Transport::Tls, 5061));
    let first = &config.tls.certificates[0];
    assert_eq!(first.certificate, config.source.directory.join("tls/tandem.pem"));
    assert_eq!(first.key, std::path::Path::new("/etc/k.pem"));
    assert_eq!(
        (&config.tls.clients, &config.tls.trust),
        (&net::tls::Clients::Off, &None)
    );
}

#[test]
fn more_certificates_and_those_of_clients_are_read() {
    let text = "[tls]\nclients = \"required\"\nclient_ca = \"tls/ca.pem\"\ntrust = \"tls/trust.pem\"\n\
                [[tls.also]]\ncertificate = \"tls/b.pem\"\nkey = \"tls/b.key\"\n";
    let config = load(&[("switch.toml", &format!("{SWITCH}{text}"))], &[]).unwrap();
    let at = |name: &str| config.source.directory.join(name);
    assert_eq!(config.tls.certificates[1].certificate, at("tls/b.pem"));
    assert_eq!(config.tls.clients, net::tls::Clients::Required(at("tls/ca.pem")));
    assert_eq!(config.tls.trust, Some(at("tls/trust.pem")));
}

#[test]
fn what_is_asked_of_clients_needs_a_ca() {
    let found = switch_problem("[tls]\nclients = \"optional\"\n");
    assert!(
        found.contains("`clients`: whose certificates? name a file as `client_ca`"),
        "{found}"
    );
    assert!(switch_problem("[tls]\nclients = \"on\"\n").contains("expected off or optional or required"));
    assert!(switch_problem("[[tls.also]]\nkey = \"k\"\n").contains("`certificate`"));
}

#[test]
fn ranges_of_ports_are_checked() {
    let found = switch_problem("[media]\nports = \"16385-32767\"\n");
    assert_eq!(
        found,
        "switch.toml:5:9: `ports`: the first port must be even (RTP even, RTCP odd), found 16385"
    );
    assert!(switch_problem("[media]\nports = \"20000-20002\"\n").contains("four ports"));
    assert!(switch_problem("[media]\naddress = \"0.0.0.0\"\n").contains("0.0.0.0: peers must be told an address"));
}

#[test]
fn a_user_must_have_every_algorithm_that_is_offered() {
    let users = "[1000]\nha1_md5 = \"0123456789abcdef0123456789abcdef\"\n[1001]\npassword = \"secret\"\n";
    let found = problems(&[
        ("switch.toml", SWITCH),
        ("users.toml", users),
        ("security.toml", "digest = [\"SHA-256\", \"MD5\"]\n"),
    ]);
    assert_eq!(
        found,
        ["users.toml:1:2: SHA-256 is offered to phones, but this user has no `ha1_sha256`: add it, or set `password`"]
    );
    let switch = SWITCH.to_owned() + "digest = [\"SHA-256\"]\n";
    assert_eq!(problems(&[("switch.toml", &switch), ("users.toml", users)]).len(), 1);
}

#[test]
fn demo_passwords_and_a_listener_for_others_do_not_go_together() {
    let users = "[1000]\npassword = \"demo-1000\"\n[1001]\npassword = \"demo-1001\"\n";
    let open = "domain = \"a\"\n[[listen]]\nurl = \"udp://192.0.2.1:5060\"\n[http]\nlisten = \"0.0.0.0:8080\"\n";
    let found = problems(&[("switch.toml", open), ("users.toml", users)]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("switch.toml:3:7: 192.0.2.1:5060 can be reached"),
        "{found:?}"
    );
    assert!(found[0].contains("2 users have demo passwords") && found[0].contains("tandem user passwd 1000"));
    assert!(
        found[1].starts_with("switch.toml:5:10: 0.0.0.0:8080 can be reached"),
        "{found:?}"
    );
    assert!(
        load(
            &[("switch.toml", open), ("users.toml", "[1000]\npassword = \"own\"\n")],
            &[]
        )
        .is_ok()
    );
}

#[test]
fn a_demo_password_is_known_by_its_hash_too() {
    let hash = crate::config::ha1(Algorithm::Md5, "1000", "a", "demo-1000");
    let users = format!("[1000]\nha1_md5 = \"{hash}\"\n");
    let open = "domain = \"a\"\n[[listen]]\nurl = \"udp://192.0.2.1:5060\"\n";
    assert_eq!(problems(&[("switch.toml", open), ("users.toml", &users)]).len(), 1);
}

#[test]
fn users_are_checked() {
    assert!(one_problem("users.toml", "[1000]\nname = \"A\"\n").starts_with("users.toml:1:2: no `password`"));
    assert!(one_problem("users.toml", "[1000]\nha1_md5 = \"xyz\"\n").contains("expected 32 hexadecimal digits"));
    assert!(
        one_problem("users.toml", "[1000]\npassword = \"x\"\nmailbox = true\n").contains("voicemail is not built yet")
    );
    assert!(
        one_problem("users.toml", "[1000]\npassword = \"x\"\nroles = [\"admn\"]\n").contains("did you mean `admin`")
    );
    let twice = problems(&[
        ("switch.toml", SWITCH),
        ("users.toml", "[1000]\npassword = \"x\"\n[1000]\nim = true\n"),
    ]);
    assert_eq!(twice, ["users.toml:3:2: duplicate key"]);
    let both = "[1000]\npassword = \"x\"\nha1_md5 = \"0123456789abcdef0123456789abcdef\"\n";
    assert!(one_problem("users.toml", both).starts_with("users.toml:2:12: `password` beside ha1"));
}

#[test]
fn rules_are_checked() {
    let problem = |text: &str| one_problem("dialplan.toml", text);
    assert!(problem("[[rule]]\naction = \"echo\"\n").starts_with("dialplan.toml:1:1: which numbers?"));
    assert!(problem("[[rule]]\nmatch = \"1\"\n").contains("`action` is missing"));
    assert!(problem("[[rule]]\nmatch = \"1\"\naction = \"ehco\"\n").contains("(did you mean `echo`?)"));
    assert!(problem("[[rule]]\nmatch = \"1\"\naction = \"voicemail\"\n").contains("\"voicemail\" is not built yet"));
    assert!(
        problem("[[rule]]\nmatch = \"1\"\naction = \"echo\"\nmode = \"proxi\"\n").starts_with("dialplan.toml:4:8:")
    );
    assert!(problem("[[rule]]\nmatch = \"_10x\"\naction = \"echo\"\n").contains("'x' means nothing"));
    assert!(problem("[[rule]]\nmatch = \"1000\"\naction = \"user\"\n").contains("no user \"1000\""));
    assert!(problem("[[rule]]\nmatch = \"1\"\naction = \"echo\"\nhz = 3\n").contains("unknown key `hz`"));
    let hidden = "[[rule]]\nmatch = \"_.\"\naction = \"echo\"\n[[rule]]\nmatch = \"1\"\naction = \"echo\"\n";
    assert!(problem(hidden).starts_with("dialplan.toml:4:1: this rule is never reached"));
}

#[test]
fn set_lays_values_over_the_files() {
    let sets = [
        "switch.listen=udp://127.0.0.1:0,tcp://[::1]:0",
        "switch.media.ports=20000-20100",
        "switch.media.cores=[1, 2]",
        "switch.media.io=epoll",
        "switch.http.listen=127.0.0.1:0",
        "users.1000.password=first",
        "im.answer_within=2s",
    ];
    let config = load(&[("switch.toml", SWITCH)], &sets).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(config.listen[1].address.is_ipv6());
    assert_eq!((config.ports.first, config.ports.last), (20_000, 20_100));
    assert_eq!((&config.cores[..], config.io), (&[1, 2][..], Io::Epoll));
    assert_eq!(config.http.unwrap().port(), 0);
    assert_eq!(config.switch.users.len(), 1);
    assert_eq!(config.switch.im.answer_within, Duration::from_secs(2));
}

#[test]
fn a_wrong_set_names_its_key() {
    let wrong = |set: &str| load(&[("switch.toml", SWITCH)], &[set]).expect_err(set).remove(0);
    assert_eq!(
        wrong("switch.media.prots=1"),
        "--set switch.media.prots: unknown key `prots` (did you mean `ports`?)"
    );
    assert!(wrong("switch.media.io=uring").contains("expected auto or epoll or io_uring, found \"uring\""));
    assert!(wrong("swich.media.ports=1").contains("(did you mean `switch`?)"));
    assert!(wrong("switch=1").contains("no key in it"));
    assert!(wrong("switch.domain").contains("expected KEY=VALUE"));
    assert!(wrong("switch.listen=sctp://127.0.0.1:0").contains("found \"sctp\""));
}

#[test]
fn names_websockets_and_the_other_family_are_configured_and_checked() {
    let text = format!(
        "{SWITCH}[[listen]]\nurl = \"ws://[::1]:5066\"\n[dns]\nservers = [\"192.0.2.53:53\"]\n[websocket]\norigins = [\"https://a.example\"]\n\
         [media]\naddress = \"127.0.0.1\"\nsecond_address = \"::1\"\nsecond_external = \"2001:db8::5\"\n\
         [registrar]\nservice_route = [\"<sip:edge.example.org;lr>\"]\n"
    );
    let config = load(&[("switch.toml", &text)], &[]).unwrap();
    assert_eq!(config.listen.last().unwrap().address, "[::1]:5066".parse().unwrap());
    assert_eq!(config.dns.servers, ["192.0.2.53:53".parse().unwrap()]);
    assert_eq!(config.origins, ["https://a.example"]);
    let (local, told) = config.switch.media.second.unwrap();
    assert_eq!(
        (local, told),
        ("::1".parse().unwrap(), Some("2001:db8::5".parse().unwrap()))
    );
    assert_eq!(
        *config.switch.registrar.service_route,
        ["<sip:edge.example.org;lr>".into()]
    );
    for (section, wrong) in [
        ("websocket", "origins = \"phone.example\""),
        ("media", "second_address = \"127.0.0.2\"\naddress = \"127.0.0.1\""),
        ("registrar", "service_route = \"<sip:edge.example.org>\""),
    ] {
        let found = problems(&[("switch.toml", &format!("{SWITCH}[{section}]\n{wrong}\n"))]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_one_clear_problem() {
    let source = Source {
        directory: "/nonexistent/tandem".into(),
        sets: Vec::new(),
    };
    let found = source.load().unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].to_string().starts_with("/nonexistent/tandem: cannot be read:"),
        "{}",
        found[0]
    );
}

const TRUNK: &str = "[carrier]\naddress = [\"udp://127.0.0.2:5070\"]\ncontext = \"incoming\"\n";
const OUT: &str = "[[rule]]\nprefix = \"0\"\naction = \"trunk\"\ntrunk = \"carrier\"\nstrip = 1\n";

#[test]
fn a_trunk_and_the_rule_that_leads_to_it() {
    let users = "[1000]\npassword = \"secret\"\nrights = [\"outside\"]\n[1001]\npassword = \"secret\"\n";
    let files = [
        ("switch.toml", SWITCH),
        (
            "trunks.toml",
            &*format!("{TRUNK}sources = [\"127.0.0.3\"]\ncaller_id_prefix = \"+4930\"\noc = true\n"),
        ),
        ("dialplan.toml", OUT),
        ("users.toml", users),
    ];
    let config = load(&files, &[]).unwrap().switch;
    let trunk = &config.trunks[0];
    assert_eq!(
        (&*trunk.name, &*trunk.dial.context, trunk.is_trusted, trunk.asks_load),
        ("carrier", "incoming", false, true)
    );
    assert!(trunk.is_at([127, 0, 0, 2].into()) && trunk.is_at([127, 0, 0, 3].into()));
    assert_eq!(trunk.caller_id.of("1000"), "+49301000");
    // Calls outside cost money: without a word about rights a rule asks for one.
    assert_eq!(config.dialplan[0].right.as_deref(), Some("outside"));
    assert_eq!(config.users[0].dial.rights, ["outside".into()]);
    assert!(config.users[1].dial.rights.is_empty());
}

#[test]
fn nobody_needs_a_right_to_call_for_help() {
    let help = |more: &str| {
        let rule = format!("{OUT}emergency = true\n{more}");
        let files = [
            ("switch.toml", SWITCH),
            ("trunks.toml", TRUNK),
            ("dialplan.toml", &*rule),
        ];
        let rules = load(&files, &[]).unwrap().switch.dialplan;
        (rules[0].is_emergency, rules[0].right.clone())
    };
    assert_eq!(help(""), (true, None));
    assert_eq!(help("right = \"help\"\n"), (true, Some("help".into())));
}

#[test]
fn a_trunk_may_be_a_name() {
    let of = |host: &str| {
        let trunk = format!("[carrier]\nhost = \"{host}\"\ncontext = \"incoming\"\n");
        let config = load(&[("switch.toml", SWITCH), ("trunks.toml", &trunk)], &[]);
        match config.map(|config| config.switch.trunks[0].to.clone()) {
            Ok(To::Name(service)) => format!("{} {:?} {:?}", service.host, service.port, service.transport),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(of("Sip.Provider.example"), "sip.provider.example None None");
    assert_eq!(
        of("udp://sip.provider.example:5070"),
        "sip.provider.example Some(5070) Some(Udp)"
    );
    assert!(of("tls://sip.provider.example").contains("no listener for TLS, which sip.provider.example needs"));
    assert!(of("203.0.113.5").contains("say it as `address`"));
    assert!(of("ws://sip.provider.example").contains("udp://, tcp:// or tls://"));
    for wrong in [
        "",
        "a b",
        "x@provider.example",
        "provider.example;lr",
        "sip:provider.example",
    ] {
        assert!(of(wrong).contains("expected a host name"), "{wrong}: {}", of(wrong));
    }
    let both = format!("{TRUNK}host = \"sip.provider.example\"\n");
    let found = problems(&[("switch.toml", SWITCH), ("trunks.toml", &both)]).join("\n");
    assert!(found.contains("`address` and `host`: keep one of them"), "{found}");
}

#[test]
fn mistakes_about_trunks_are_named() {
    let found = |trunks: &str, rule: &str| {
        problems(&[
            ("switch.toml", SWITCH),
            ("trunks.toml", trunks),
            ("dialplan.toml", rule),
        ])
        .join("\n")
    };
    assert!(found(TRUNK, &OUT.replace("\"carrier\"", "\"carier\"")).contains("did you mean `carrier`?"));
    assert!(found("[c]\naddress = [\"udp://127.0.0.2\"]\n", "").contains("`context` is missing"));
    assert!(found("[c]\naddress = [\"udp://0.0.0.0:5060\"]\ncontext = \"x\"\n", "").contains("no address of a peer"));
    assert!(found("[c]\naddress = [\"tls://127.0.0.2\"]\ncontext = \"x\"\n", "").contains("no listener of the same"));
    let second = TRUNK.replace("carrier", "other");
    assert!(found(&format!("{TRUNK}{second}"), "").contains("is the address of trunk \"carrier\" too"));
}

#[test]
fn a_rule_goes_by_proxy_if_it_or_its_trunk_says_so() {
    let user = "[[rule]]\nmatch = \"1000\"\naction = \"user\"\nmode = \"proxy\"\n";
    let b2bua = OUT.replace("\"0\"", "\"1\"") + "mode = \"b2bua\"\n";
    let files = [
        ("switch.toml", SWITCH),
        ("users.toml", "[1000]\npassword = \"secret\"\n"),
        ("trunks.toml", &*format!("{TRUNK}mode = \"proxy\"\n")),
        ("dialplan.toml", &*format!("{user}{OUT}{b2bua}")),
    ];
    let modes: Vec<Mode> = load(&files, &[])
        .unwrap()
        .switch
        .dialplan
        .iter()
        .map(|rule| rule.mode)
        .collect();
    assert_eq!(modes, [Mode::Proxy, Mode::Proxy, Mode::B2bua]);
    let service = "[[rule]]\nmatch = \"9196\"\naction = \"echo\"\nmode = \"proxy\"\n";
    assert!(one_problem("dialplan.toml", service).contains("cannot be passed on by proxy"));
}

#[test]
fn ringback_is_that_of_a_country_whose_tones_are_known() {
    let config = load(&[("switch.toml", &format!("{SWITCH}[media]\ntones = \"gb\"\n"))], &[]).unwrap();
    assert_eq!(config.switch.media.tones.name(), "GB");
    let problem = switch_problem("[media]\ntones = \"XX\"\n");
    assert!(
        problem.contains("AT, BE, CA") && problem.contains("switch.toml:5"),
        "{problem}"
    );
}

#[test]
fn networks_and_names_of_scanners_are_checked() {
    for (line, wrong) in [
        (
            "exempt = [\"192.0.2.0/33\"]",
            "`exempt`: expected a network like \"192.0.2.0/24\"",
        ),
        (
            "scanners = [\"sip\"]",
            "`scanners`: at most 32 names of four characters or more",
        ),
        ("ban_for = \"0s\"", "`ban_for`: 0d is not between 1s and 30d"),
        ("burst = 3", "unknown key `burst`"),
    ] {
        let found = one_problem("security.toml", &format!("[abuse]\n{line}\n"));
        assert!(found.contains(wrong), "{line}: {found}");
    }
    let config = load(
        &[
            ("switch.toml", SWITCH),
            (
                "security.toml",
                "[abuse]\nexempt = \"192.0.2.0/24\"\nscanners = [\"SIPVicious\"]\n",
            ),
        ],
        &[],
    );
    let abuse = config.unwrap().switch.security.abuse;
    assert!(abuse.exempt[0].contains("192.0.2.9".parse().unwrap()));
    assert!(abuse.is_scanner(b"sipvicious/0.3"));
}
