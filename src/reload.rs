//! What a reload may change, and how it is told.

use crate::config::Config;
use std::collections::BTreeMap;
use switch::config::User;
use web::Reloaded;

/// Reads the configuration of `current` anew: what is to be in force, and what that changes. What needs a restart keeps its
/// present value.
///
/// # Errors
/// Every problem; then nothing is to be changed.
pub(crate) fn prepare(current: &Config) -> Result<(Config, Reloaded), Vec<String>> {
    let next = current
        .source
        .load()
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if next.switch.domain != current.switch.domain {
        // Every address of every user would be another one, and their phones are registered under the old ones.
        return Err(vec![
            "switch.toml: `domain` cannot be changed while the switch runs; restart it".to_owned(),
        ]);
    }
    let changed = changed(current, &next);
    let restart = restart(current, &next);
    Ok((merged(current, next), Reloaded { changed, restart }))
}

fn merged(current: &Config, mut next: Config) -> Config {
    next.switch.listeners.clone_from(&current.switch.listeners);
    next.switch.media.local = current.switch.media.local;
    next.switch.media.second = current.switch.media.second;
    next.switch.media.workers = current.switch.media.workers;
    next.switch.media.ports_ahead = current.switch.media.ports_ahead;
    next.listen.clone_from(&current.listen);
    (next.http, next.https) = (current.http, current.https);
    next.http_limits = current.http_limits;
    next.dns.clone_from(&current.dns);
    next.csv.clone_from(&current.csv);
    next.ports = current.ports;
    next.cores.clone_from(&current.cores);
    next.io = current.io;
    next.files = current.files.clone();
    next.data.clone_from(&current.data);
    next.log.clone_from(&current.log);
    next
}

/// Settings of which the new value is not used before a restart.
fn restart(current: &Config, next: &Config) -> Vec<String> {
    let wanted = |config: &Config| -> Vec<_> {
        let one = |l: &crate::config::Listen| (l.transport, l.address, l.advertise, l.digest.clone());
        config.listen.iter().map(one).collect()
    };
    let (a, b) = (&current.switch.media, &next.switch.media);
    let differ = [
        (wanted(current) != wanted(next), "[[listen]]"),
        (
            (current.http, current.https, current.http_limits) != (next.http, next.https, next.http_limits),
            "[http]",
        ),
        (current.csv != next.csv, "[cdr]"),
        (
            (a.local, a.second, a.workers, a.ports_ahead) != (b.local, b.second, b.workers, b.ports_ahead)
                || (current.ports, &current.cores, current.io, &current.files)
                    != (next.ports, &next.cores, next.io, &next.files),
            "[media] address, ports, ports_ahead, workers, cores, io, directories",
        ),
        (current.data != next.data, "[store]"),
        (current.dns != next.dns, "[dns]"),
        (current.log != next.log, "[log]"),
    ];
    let named = |(differs, section): (bool, &str)| differs.then(|| format!("switch.toml: {section}"));
    differ.into_iter().filter_map(named).collect()
}

fn changed(current: &Config, next: &Config) -> Vec<String> {
    let (a, b) = (&current.switch, &next.switch);
    let rules = |config: &switch::Config| -> Vec<_> {
        config
            .dialplan
            .iter()
            .map(|rule| (rule.matches.clone(), rule.action.clone()))
            .collect()
    };
    let media = |config: &switch::Config| {
        let media = &config.media;
        (
            (media.advertised, media.timeout, media.port_rest),
            (media.sdes_over_clear, media.inband_dtmf),
        )
    };
    let mut changed = changed_users(&a.users, &b.users);
    let sections = [
        (
            rules(a) != rules(b),
            format!("dialplan.toml: {} rules", b.dialplan.len()),
        ),
        (a.im != b.im, "im.toml".to_owned()),
        (a.conferences != b.conferences, "conference.toml".to_owned()),
        (
            (&a.stars, &a.features) != (&b.stars, &b.features),
            "features.toml".to_owned(),
        ),
        (
            a.groups != b.groups,
            format!("groups.toml: {} groups", b.groups.list.len()),
        ),
        (a.security != b.security, "security.toml".to_owned()),
        (a.aliases != b.aliases, "switch.toml: aliases".to_owned()),
        (media(a) != media(b), "switch.toml: [media]".to_owned()),
        (current.tls != next.tls, "switch.toml: [tls]".to_owned()),
        (current.origins != next.origins, "switch.toml: [websocket]".to_owned()),
        (a.registrar != b.registrar, "switch.toml: [registrar]".to_owned()),
        (
            a.calls.ring_timeout != b.calls.ring_timeout
                || a.calls.hold != b.calls.hold
                || a.calls.end_without_us != b.calls.end_without_us
                || a.calls.show_supervisors != b.calls.show_supervisors
                || a.calls.originate_auto_answer != b.calls.originate_auto_answer
                || current.drain_limit != next.drain_limit,
            "switch.toml: [calls]".to_owned(),
        ),
        (
            a.limits != b.limits || a.calls.max_calls != b.calls.max_calls,
            "switch.toml: [limits]".to_owned(),
        ),
        (
            a.subscriptions != b.subscriptions,
            "switch.toml: [subscriptions]".to_owned(),
        ),
        (a.timers != b.timers, "switch.toml: [timers]".to_owned()),
    ];
    changed.extend(
        sections
            .into_iter()
            .filter(|(differs, _)| *differs)
            .map(|(_, told)| told),
    );
    changed
}

/// `users.toml: added 1042; removed 1001; changed 1000`.
fn changed_users(before: &[User], after: &[User]) -> Vec<String> {
    let by_name = |users: &[User]| -> BTreeMap<String, User> {
        users
            .iter()
            .map(|user| (user.aor.user().to_owned(), user.clone()))
            .collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let added = after.keys().filter(|name| !before.contains_key(*name));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let other = after
        .iter()
        .filter(|(name, user)| before.get(*name).is_some_and(|old| old != *user));
    let kinds = [
        ("added", added.cloned().collect::<Vec<_>>()),
        ("removed", removed.cloned().collect()),
        ("changed", other.map(|(name, _)| name.clone()).collect()),
    ];
    let told = |(kind, names): &(&str, Vec<String>)| (!names.is_empty()).then(|| format!("{kind} {}", names.join(" ")));
    let told: Vec<String> = kinds.iter().filter_map(told).collect();
    if told.is_empty() {
        Vec::new()
    } else {
        vec![format!("users.toml: {}", told.join("; "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    const SWITCH: &str = "domain = \"127.0.0.1\"\n[[listen]]\nurl = \"udp://127.0.0.1:5060\"\n";
    const USERS: &str = "[1000]\npassword = \"a\"\n[1001]\npassword = \"b\"\n";

    struct Subject(tempfile::TempDir, Config);

    impl Subject {
        fn new() -> Subject {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("switch.toml"), SWITCH).unwrap();
            std::fs::write(directory.path().join("users.toml"), USERS).unwrap();
            let config = Source::new(Some(directory.path().to_owned()), Vec::new())
                .load()
                .unwrap();
            Subject(directory, config)
        }

        fn after(&self, file: &str, text: &str) -> Result<(Config, Reloaded), Vec<String>> {
            std::fs::write(self.0.path().join(file), text).unwrap();
            prepare(&self.1)
        }
    }

    #[test]
    fn tells_who_came_went_and_changed() {
        let s = Subject::new();
        let (next, told) = s
            .after("users.toml", "[1000]\npassword = \"z\"\n[1002]\npassword = \"c\"\n")
            .unwrap();
        assert_eq!(told.changed, ["users.toml: added 1002; removed 1001; changed 1000"]);
        assert_eq!(next.switch.users.len(), 2);
        assert!(told.restart.is_empty());
    }

    #[test]
    fn nothing_new_is_nothing_told() {
        let s = Subject::new();
        assert_eq!(s.after("users.toml", USERS).unwrap().1, Reloaded::default());
    }

    #[test]
    fn listeners_stay_as_they_are_until_a_restart() {
        let s = Subject::new();
        let (next, told) = s
            .after(
                "switch.toml",
                &(SWITCH.replace("5060", "5070") + "[timers]\nt1 = \"1s\"\n"),
            )
            .unwrap();
        assert_eq!(told.restart, ["switch.toml: [[listen]]"]);
        assert_eq!(told.changed, ["switch.toml: [timers]"]);
        assert_eq!(next.listen, s.1.listen);
        assert_eq!(next.switch.timers.t1.as_secs(), 1);
    }

    #[test]
    fn a_problem_anywhere_or_another_domain_changes_nothing() {
        let s = Subject::new();
        let problems = s.after("dialplan.toml", "[[rule]]\n").unwrap_err();
        assert!(problems[0].contains("dialplan.toml:1:1:"), "{problems:?}");
        std::fs::remove_file(s.0.path().join("dialplan.toml")).unwrap();
        let problems = s
            .after(
                "switch.toml",
                &SWITCH.replace("domain = \"127.0.0.1\"", "domain = \"a.b\""),
            )
            .unwrap_err();
        assert!(problems[0].contains("`domain` cannot be changed"), "{problems:?}");
    }
}
