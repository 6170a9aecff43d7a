//! The real binary and its signals.

use crate::support::node::Setup;
use crate::support::phone::Phone;
use crate::support::served::{Served, text};
use crate::support::{http_get, wait_for};
use std::os::unix::fs::PermissionsExt;

#[test]
fn ready_means_that_every_listener_answers() {
    let served = Served::start(Setup::new());
    assert_eq!(http_get(served.http(), "/readyz").0, 200);
    let pid = std::fs::read_to_string(served.directory().join("pid")).unwrap();
    assert_eq!(pid.trim(), served.pid().to_string());
    assert!(served.tandem(&["status"]).status.success());
}

#[test]
fn sigterm_drains_and_ends_with_0() {
    let mut served = Served::start(Setup::new());
    served.signal("TERM");
    assert_eq!(served.ended().code(), Some(0));
    assert!(served.log().contains("draining"), "{}", served.log());
    assert!(!served.directory().join("pid").exists());
    assert!(!served.directory().join("run/tandem.sock").exists());
}

#[test]
fn draining_ends_calls_at_the_limit_and_takes_no_new_ones() {
    let mut served = Served::start(Setup::new().set("switch.calls.drain_limit=1s"));
    let (mut one, mut other) = (Phone::new(served.sip(), "1000"), Phone::new(served.sip(), "1001"));
    assert_eq!(one.call("9196").status(), 200);
    served.signal("TERM");
    served.logged("draining");
    let refused = other.call("9196");
    assert_eq!(refused.status(), 503);
    assert!(!refused.header("Retry-After").is_empty(), "{refused:?}");
    let bye = one.receive();
    assert!(bye.0.starts_with("BYE "), "{bye:?}");
    one.accept(&bye);
    assert_eq!(served.ended().code(), Some(0));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let mut served = Served::start(Setup::new().set("switch.calls.drain_limit=10m"));
    assert_eq!(
        Phone::new(served.sip(), "1000").call("9196").status(),
        200,
        "a call to wait for"
    );
    served.signal("TERM");
    served.logged("draining");
    served.signal("TERM");
    assert_eq!(served.ended().code(), Some(0));
}

#[test]
fn sighup_reloads_all_or_nothing() {
    let served = Served::start(Setup::new());
    let users = served.directory().join("users.toml");
    let before = std::fs::read_to_string(&users).unwrap();
    std::fs::write(&users, before.clone() + "[2042]\npassword = \"x\"\n").unwrap();
    served.signal("HUP");
    served.logged("users.toml: added 2042");
    assert_eq!(Phone::new(served.sip(), "2042").password("x").register().status(), 200);
    std::fs::write(&users, before + "[2043]\npasswort = \"x\"\n").unwrap();
    std::fs::write(served.directory().join("dialplan.toml"), "").unwrap();
    served.signal("HUP");
    served.logged("did you mean `password`?");
    assert!(!served.log().contains("added 2043") && !served.log().contains("dialplan.toml: 0 rules"));
    let route = served.tandem(&["route", "test", "1000", "9196"]);
    assert!(
        text(&route.stdout).contains("echo"),
        "the old dial plan is in force: {route:?}"
    );
}

#[test]
fn secrets_survive_a_restart_and_are_for_nobody_else() {
    let setup = Setup::new();
    let key = setup.directory().join("run/nonce.key");
    let mut served = Served::start(setup);
    let first = std::fs::read(&key).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(key.parent().unwrap()).unwrap().permissions().mode() & 0o777,
        0o700
    );
    served.signal("KILL");
    served.ended();
    let again = served.again();
    assert_eq!(std::fs::read(&key).unwrap(), first);
    assert!(again.tandem(&["status"]).status.success());
}

#[test]
fn registrations_survive_a_kill() {
    let mut served = Served::start(Setup::new());
    // The figure, once nothing waits to be written.
    let commits = |served: &Served| {
        wait_for("an idle store", || {
            let (_, figures) = http_get(served.http(), "/metrics");
            let figure = |name: &str| {
                figures
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
            };
            (figure("tandem_store_queued ")? == 0).then(|| figure("tandem_store_commits_total "))?
        })
    };
    let before = commits(&served);
    assert_eq!(Phone::new(served.sip(), "1000").register().status(), 200);
    // A REGISTER is written behind its answer.
    wait_for("its commit", || (commits(&served) > before).then_some(()));
    served.signal("KILL");
    served.ended();
    let again = served.again();
    let listed = again.tandem(&["registrations", "list", "1000", "--json"]);
    assert!(
        text(&listed.stdout).contains("\"aor\":\"1000@127.0.0.1\""),
        "{listed:?}"
    );
}
