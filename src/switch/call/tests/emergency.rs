//! Calls for help, when others are refused.

use super::*;
use crate::config::trunks::Mode;
use crate::config::{Action, Config, Pattern, Rule};
use std::time::Duration;

/// 112 leads to 1001, in this way.
fn config(mode: Mode) -> Config {
    let mut config = lab::config();
    let mut help = Rule::new(Pattern::Exact("112".into()), Action::User(Some("1001".into())));
    (help.is_emergency, help.mode) = (true, mode);
    config.dialplan.insert(0, help);
    config
}

fn with_help(mode: Mode, change: impl FnOnce(&mut Config)) -> (Lab, Handset, Handset) {
    let mut config = config(mode);
    change(&mut config);
    let mut lab = Lab::with(config);
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

fn is_refused(lab: &mut Lab, kate: &mut Handset, dialled: &str) -> bool {
    let kates = kate.invite(lab, dialled, Some(&sdp(7000, &[0])));
    let Some(refusal) = kate.take(lab).filter(|answer| answer.status() >= 300) else {
        return false;
    };
    assert_eq!(refusal.status(), 503);
    kate.ack_failure(lab, &kates, &refusal);
    true
}

#[test]
fn a_call_for_help_goes_through_however_late_the_switch_is() {
    for mode in [Mode::B2bua, Mode::Proxy] {
        let (mut lab, mut kate, jim) = with_help(mode, |_| {});
        lab.switch.note_delay(Duration::from_secs(1));
        assert!(is_refused(&mut lab, &mut kate, "1001"));
        assert!(!is_refused(&mut lab, &mut kate, "112"));
        jim.expect_request(&mut lab, Method::Invite);
        // Who is not registered may be anybody.
        let mut stranger = Handset::new("1002", 6200);
        assert!(is_refused(&mut lab, &mut stranger, "112"));
        // Only calls are.
        let refusal = kate.ask(
            &mut lab,
            Method::Message,
            "sip:112@example.com",
            "sip:112@example.com",
            "",
        );
        assert_eq!(refusal.status(), 503);
    }
}

#[test]
fn a_call_for_help_is_not_refused_by_the_limits_of_transactions_and_of_users() {
    let (mut lab, mut kate, _) = with_help(Mode::B2bua, |_| {});
    let mut full = config(Mode::B2bua);
    full.limits.max_transactions = 0;
    lab.input(crate::Input::Reload(Box::new(full)));
    assert!(is_refused(&mut lab, &mut kate, "1001"));
    assert!(!is_refused(&mut lab, &mut kate, "112"));
    let slow = |config: &mut Config| {
        config.security.abuse.user_per_second = 1;
        config.security.abuse.user_burst = 1;
    };
    let (mut lab, mut kate, _) = with_help(Mode::B2bua, slow);
    assert!(is_refused(&mut lab, &mut kate, "1001"), "her REGISTER was the one");
    assert!(!is_refused(&mut lab, &mut kate, "112"));
}

#[test]
fn calls_for_help_go_beyond_the_limit_of_calls_and_have_one_of_their_own() {
    let (mut lab, mut kate, _) = with_help(Mode::B2bua, |config| config.calls.max_calls = 1);
    assert!(!is_refused(&mut lab, &mut kate, "9196"));
    assert!(is_refused(&mut lab, &mut kate, "9196"));
    for _ in 0..64 {
        assert!(!is_refused(&mut lab, &mut kate, "112"));
        while kate.take(&mut lab).is_some() {}
    }
    assert!(is_refused(&mut lab, &mut kate, "112"), "everything has a bound");
    assert_eq!(lab.switch.audit(), Ok(()));
}
