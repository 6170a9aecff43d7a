//! The real binary and its signals.

use crate::support::http_get;
use crate::support::node::Setup;
use crate::support::served::{Served, text};
use std::os::unix::fs::PermissionsExt;

/// Where it says it listens for HTTP.
fn http(served: &Served) -> std::net::SocketAddr {
    served.ready.trim().rsplit_once("http=").unwrap().1.parse().unwrap()
}

#[test]
fn sighup_reloads_all_or_nothing() {
    let served = Served::start(Setup::new());
    let users = served.directory().join("users.toml");
    let before = std::fs::read_to_string(&users).unwrap();
    std::fs::write(&users, before.clone() + "[2042]\npassword = \"x\"\n").unwrap();
    served.signal("HUP");
    served.logged("users.toml: added 2042");
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
