//! The operator's configuration: reads the files of sip-config/, lays `--set` over them, and checks all of it as a whole.
//! Nothing is used unless nothing is wrong; everything that is wrong is reported at once.

use crate::config_conference;
use crate::config_dialplan::{self, RuleEntry};
use crate::config_features;
use crate::config_groups::{self, GroupsFile};
use crate::config_policy::{self, ImFile, SecurityFile};
use crate::config_section::{Problems, Section, did_you_mean};
use crate::config_switch::SwitchFile;
pub use crate::config_switch::{Data, Listen, Log};
pub use crate::config_toml::{Place, Problem};
use crate::config_toml::{Table, parse, set};
use crate::config_trunks::{self, TrunkEntry};
pub use crate::config_users::ha1;
use crate::config_users::{self, UserEntry};
pub use crate::config_values::{LogFormat, PortRange};
use net::files::FileSettings;
use net::resolve::ResolveSettings;
use net::rtp::Io;
use net::tls::TlsFiles;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use switch::config::Features;
use switch::config::conference::Conferences;
use switch::config::stars::Stars;
use switch::config::trunks::To;
use switch::config::{Action, Algorithm, Pattern};

/// What a node needs to start. Changed only by reading it anew.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the switch; its listeners are filled in when the sockets are bound.
    pub switch: switch::Config,
    /// The sockets we want.
    pub listen: Vec<Listen>,
    /// Certificates, for listeners with TLS.
    pub tls: TlsFiles,
    /// Where HTTP listens; `None`: only on the Unix socket.
    pub http: Option<SocketAddr>,
    /// Where HTTP listens under TLS.
    pub https: Option<SocketAddr>,
    /// What HTTP may cost.
    pub http_limits: web::Limits,
    /// Whom to ask for names.
    pub dns: ResolveSettings,
    /// Whose pages may open a websocket for SIP, besides our own.
    pub origins: Vec<String>,
    /// Where call records are written as CSV; `None`: only into the store.
    pub csv: Option<PathBuf>,
    /// Ports of the media plane.
    pub ports: PortRange,
    /// Cores of the media threads, one after the other; empty: where the system likes.
    pub cores: Vec<usize>,
    /// How packets of sound move between us and the kernel.
    pub io: Io,
    /// Where prompts and music are.
    pub files: FileSettings,
    /// Where data lives.
    pub data: Data,
    /// How long calls may go on when the node is told to stop.
    pub drain_limit: Duration,
    /// What is logged.
    pub log: Log,
    /// Where it was read from, for reading it again.
    pub source: Source,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The directory.
    pub directory: PathBuf,
    /// `--set` arguments, `KEY=VALUE`.
    pub sets: Vec<String>,
}

impl Source {
    /// The directory named on the command line, else ./sip-config, else /etc/tandem.
    #[must_use]
    pub fn new(directory: Option<PathBuf>, sets: Vec<String>) -> Source {
        let here = PathBuf::from("sip-config");
        let usual = || {
            if here.is_dir() {
                here
            } else {
                PathBuf::from("/etc/tandem")
            }
        };
        let directory = directory.unwrap_or_else(usual);
        Source { directory, sets }
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every problem found, in the order of files and lines.
    pub fn load(&self) -> Result<Config, Vec<Problem>> {
        match self.read(None) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    /// What could be read, and everything that is wrong with it. With `users`, that text stands for users.toml: so an edit
    /// can be tried before it is made.
    pub(crate) fn read(&self, users: Option<&str>) -> (Option<Config>, Vec<Problem>) {
        let problems = Problems::default();
        let files = Files::read(self, users, &problems);
        let first = problems.borrow().clone();
        let config = files.map(|files| files.config(self, &problems));
        let mut found = without_echoes(&first, problems.into_inner());
        found.sort();
        found.dedup();
        (config, found)
    }
}

/// Where a file's syntax is broken (`first`), what else is said about that file is only an echo of that.
fn without_echoes(first: &[Problem], mut found: Vec<Problem>) -> Vec<Problem> {
    let file = |problem: &Problem| match &problem.place {
        Place::At { file, .. } | Place::File(file) => Some(file.clone()),
        Place::Set(_) => None,
    };
    let broken: BTreeSet<_> = first.iter().filter_map(file).collect();
    found.retain(|problem| first.contains(problem) || !file(problem).is_some_and(|file| broken.contains(&file)));
    found
}

/// Files that we read, by name without `.toml`.
const FILES: [&str; 9] = [
    "switch",
    "users",
    "dialplan",
    "im",
    "security",
    "conference",
    "features",
    "trunks",
    "groups",
];
/// Files that come with what is not built yet.
const LATER: [&str; 1] = ["voicemail"];

/// The files as tables, before their meaning is read.
struct Files {
    tables: BTreeMap<&'static str, Table>,
}

impl Files {
    fn read(source: &Source, users: Option<&str>, problems: &Problems) -> Option<Files> {
        let mut tables = BTreeMap::new();
        for name in present(&source.directory, problems)? {
            let path = source.directory.join(format!("{name}.toml"));
            let file: Arc<str> = path.display().to_string().into();
            let text = match users.filter(|_| name == "users") {
                Some(text) => Ok(text.to_owned()),
                None => std::fs::read_to_string(&path),
            };
            match text {
                Ok(text) => {
                    tables.insert(name, parse(&file, &text, &mut problems.borrow_mut()));
                }
                Err(error) => report(problems, Place::File(file), format!("cannot be read: {error}")),
            }
        }
        let mut files = Files { tables };
        source.sets.iter().for_each(|set| files.set(source, set, problems));
        Some(files)
    }

    /// One `KEY=VALUE`: the first part of the key names the file.
    fn set(&mut self, source: &Source, argument: &str, problems: &Problems) {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        let place = Place::Set(key.into());
        let path: Vec<&str> = key.split('.').collect();
        let Some(name) = FILES.into_iter().find(|name| *name == path[0]) else {
            let hint = did_you_mean(path[0], FILES.into_iter());
            return report(
                problems,
                place,
                format!("no file {:?} in the configuration{hint}", path[0]),
            );
        };
        if !argument.contains('=') {
            return report(problems, place, "expected KEY=VALUE".to_owned());
        }
        let missing = || Table::empty(file_place(&source.directory, name));
        let table = self.tables.entry(name).or_insert_with(missing);
        if let Err(problem) = set(table, &path[1..], value, &key.into()) {
            problems.borrow_mut().push(problem);
        }
    }

    fn section<'p>(&mut self, source: &Source, name: &'static str, problems: &'p Problems) -> Section<'p> {
        let missing = || Table::empty(file_place(&source.directory, name));
        Section::new(self.tables.remove(name).unwrap_or_else(missing), problems)
    }

    fn config(mut self, source: &Source, problems: &Problems) -> Config {
        let main = SwitchFile::read(self.section(source, "switch", problems), &source.directory);
        let security = config_policy::security(self.section(source, "security", problems), &main.domain);
        let im = config_policy::im(self.section(source, "im", problems));
        let users = config_users::read(self.section(source, "users", problems), &main.domain, &security.0.realm);
        let trunks = config_trunks::read(self.section(source, "trunks", problems));
        let mut rules = config_dialplan::read(self.section(source, "dialplan", problems));
        let conferences = config_conference::read(self.section(source, "conference", problems));
        let features = config_features::read(self.section(source, "features", problems));
        let groups = config_groups::read(self.section(source, "groups", problems));
        groups.check(&users, |place, text| report(problems, place.clone(), text));
        config_users::check_contacts(&users, &groups.groups, |place, text| {
            report(problems, place.clone(), text);
        });
        check_groups(&rules, &groups, problems);
        check_digest(&main.listen, &security, &users, problems);
        check_demo_passwords(&main, &users, problems);
        check_targets(&rules, &users, problems);
        check_trunks(&mut rules, &trunks, &main.listen, problems);
        assemble(
            source,
            main,
            security,
            (im, conferences, features, groups),
            users,
            (rules, trunks),
        )
    }
}

/// The files that are there; everything else that ends in .toml is a problem. `None` if there is nothing to read.
fn present(directory: &Path, problems: &Problems) -> Option<Vec<&'static str>> {
    let shown: Arc<str> = directory.display().to_string().into();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            report(
                problems,
                Place::File(shown),
                format!("cannot be read: {error}; name the directory with --config"),
            );
            return None;
        }
    };
    let names: BTreeSet<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".toml").map(ToOwned::to_owned))
        .collect();
    names.iter().for_each(|name| check_name(directory, name, problems));
    if !names.contains("switch") {
        report(problems, file_place(directory, "switch"), "is missing".to_owned());
        return None;
    }
    Some(FILES.into_iter().filter(|name| names.contains(*name)).collect())
}

fn check_name(directory: &Path, name: &str, problems: &Problems) {
    let place = || file_place(directory, name);
    if LATER.contains(&name) {
        report(
            problems,
            place(),
            format!("what {name}.toml sets up is not built yet; remove the file"),
        );
    } else if !FILES.contains(&name) {
        let hint = did_you_mean(name, FILES.into_iter());
        report(problems, place(), format!("no file of this name is known{hint}"));
    }
}

fn file_place(directory: &Path, name: &str) -> Place {
    Place::File(directory.join(format!("{name}.toml")).display().to_string().into())
}

fn report(problems: &Problems, place: Place, text: String) {
    problems.borrow_mut().push(Problem { place, text });
}

/// Every user must be able to answer every algorithm that is offered anywhere.
fn check_digest(listen: &[Listen], security: &SecurityFile, users: &[UserEntry], problems: &Problems) {
    let by_listener = listen.iter().flat_map(|listen| listen.digest.iter());
    let offered: Vec<Algorithm> = security.0.digest.iter().chain(by_listener).copied().collect();
    for entry in users {
        let has_some = entry.user.ha1_md5.is_some() || entry.user.ha1_sha256.is_some();
        let lacks = |algorithm, ha1: &Option<Box<str>>| has_some && offered.contains(&algorithm) && ha1.is_none();
        let lacking = [
            (lacks(Algorithm::Md5, &entry.user.ha1_md5), "MD5", "ha1_md5"),
            (
                lacks(Algorithm::Sha256, &entry.user.ha1_sha256),
                "SHA-256",
                "ha1_sha256",
            ),
        ];
        for (_, algorithm, key) in lacking.iter().filter(|(lacks, ..)| *lacks) {
            let text =
                format!("{algorithm} is offered to phones, but this user has no `{key}`: add it, or set `password`");
            report(problems, entry.place.clone(), text);
        }
    }
}

/// A password that everybody knows must not be reachable from another machine.
fn check_demo_passwords(main: &SwitchFile, users: &[UserEntry], problems: &Problems) {
    let Some(first) = users.iter().find(|entry| entry.demo) else {
        return;
    };
    let sip = main.listen.iter().map(|listen| (&listen.place, listen.address));
    let http = main.http.iter().chain(&main.https).map(|at| (&at.place, at.value));
    for (place, address) in sip.chain(http).filter(|(_, address)| !address.ip().is_loopback()) {
        let count = users.iter().filter(|entry| entry.demo).count();
        let (user, at) = (first.user.aor.user(), &first.place);
        let text = format!(
            "{address} can be reached from other machines, but {count} users have demo passwords (the first is {user}, {at}); \
             give each a password of its own (`tandem user passwd {user}`) or remove it (`tandem user remove {user}`), \
             or listen on 127.0.0.1 only"
        );
        report(problems, place.clone(), text);
    }
}

/// A rule that names a user must name one who exists.
fn check_targets(rules: &[RuleEntry], users: &[UserEntry], problems: &Problems) {
    for entry in rules {
        let target = match (&entry.rule.action, &entry.rule.matches) {
            (Action::User(Some(user)), _) | (Action::User(None), Pattern::Exact(user)) => user,
            _ => continue,
        };
        if !users.iter().any(|known| known.user.aor.user() == &**target) {
            let hint = did_you_mean(target, users.iter().map(|known| known.user.aor.user()));
            report(
                problems,
                entry.place.clone(),
                format!("no user {target:?} in users.toml{hint}"),
            );
        }
    }
}

/// A rule that names a trunk must name one that exists, and goes as the trunk says unless it says so itself. A trunk must be
/// one that a listener of ours can speak to.
fn check_trunks(rules: &mut [RuleEntry], trunks: &[TrunkEntry], listen: &[Listen], problems: &Problems) {
    for entry in rules {
        let Action::Trunk(outside) = &entry.rule.action else {
            continue;
        };
        match trunks.iter().find(|known| known.trunk.name == outside.trunk) {
            Some(known) if !entry.has_mode => entry.rule.mode = known.trunk.mode,
            Some(_) => {}
            None => {
                let hint = did_you_mean(&outside.trunk, trunks.iter().map(|known| &*known.trunk.name));
                let text = format!("no trunk {:?} in trunks.toml{hint}", outside.trunk);
                report(problems, entry.place.clone(), text);
            }
        }
    }
    for TrunkEntry { trunk, place } in trunks {
        let peers = match &trunk.to {
            To::Addresses(peers) => peers,
            To::Name(service) => {
                let transport = service.usual_transport();
                if !listen.iter().any(|listen| listen.transport == transport) {
                    let text = format!("no listener for {}, which {} needs", transport.as_str(), service.host);
                    report(problems, place.clone(), text);
                }
                continue;
            }
        };
        for peer in peers {
            let speaks = |listen: &Listen| {
                listen.transport == peer.transport && listen.address.is_ipv4() == peer.address.is_ipv4()
            };
            if !listen.iter().any(speaks) {
                let text = format!(
                    "no listener of the same transport and address family for {}",
                    peer.address
                );
                report(problems, place.clone(), text);
            }
        }
    }
}

/// A rule that leads to a group must lead to one that is there. A pattern leads to those that are.
fn check_groups(rules: &[RuleEntry], groups: &GroupsFile, problems: &Problems) {
    for entry in rules {
        let number = match (&entry.rule.action, &entry.rule.matches) {
            (Action::Group(Some(number)), _) | (Action::Group(None), Pattern::Exact(number)) => number,
            _ => continue,
        };
        if groups.groups.named(number).is_none() {
            let hint = did_you_mean(number, groups.groups.list.iter().map(|group| &*group.number));
            let text = format!("no group {number:?} in groups.toml{hint}");
            report(problems, entry.place.clone(), text);
        }
    }
}

fn assemble(
    source: &Source,
    main: SwitchFile,
    security: SecurityFile,
    (im, conferences, (stars, features), groups): (ImFile, Conferences, (Stars, Features), GroupsFile),
    users: Vec<UserEntry>,
    (rules, trunks): (Vec<RuleEntry>, Vec<TrunkEntry>),
) -> Config {
    let switch = switch::Config {
        domain: main.domain.into(),
        aliases: main.aliases.into_iter().map(Into::into).collect(),
        listeners: Vec::new(),
        users: users.into_iter().map(|entry| entry.user).collect(),
        dialplan: rules.into_iter().map(|entry| entry.rule).collect(),
        trunks: trunks.into_iter().map(|entry| entry.trunk).collect(),
        timers: main.timers,
        registrar: main.registrar,
        calls: main.calls,
        im: im.0,
        security: security.0,
        conferences,
        stars,
        features,
        groups: groups.groups,
        subscriptions: main.subscriptions,
        media: main.media,
        limits: main.limits,
        product: concat!("Tandem/", env!("CARGO_PKG_VERSION")).into(),
    };
    Config {
        switch,
        listen: main.listen,
        tls: main.tls,
        http: main.http.map(|at| at.value),
        https: main.https.map(|at| at.value),
        http_limits: main.http_limits,
        dns: main.dns,
        origins: main.origins,
        csv: main.csv,
        ports: main.ports,
        cores: main.cores,
        io: main.io,
        files: main.files,
        data: main.data,
        drain_limit: main.drain_limit,
        log: main.log,
        source: source.clone(),
    }
}
