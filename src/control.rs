//! What the API and the binary may ask of the running node.

use crate::config::{Config, ha1};
use crate::eventloop::Handle;
use crate::{directory, identity, process, reload};
use model::Aor;
use net::files::FileCounters;
use net::resolve::ResolveCounters;
use net::rtp::RtpCounters;
use net::tcp::{Tcp, TcpCounters};
use net::tls::Identity;
use net::udp::UdpCounters;
use sha2::{Digest, Sha256};
use sip::Transport;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::Store;
use subtle::ConstantTimeEq;
use switch::config::{Algorithm, User};
use switch::{Answer, Command};
use web::http::{Request, Response};
use web::{Account, Asked, Capabilities, Figure, Listed, Reloaded, State};

/// What the sockets and media workers count.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) udp: Arc<UdpCounters>,
    pub(crate) tcp: Arc<TcpCounters>,
    pub(crate) dns: Arc<ResolveCounters>,
    pub(crate) rtp: Arc<RtpCounters>,
    pub(crate) files: Arc<FileCounters>,
}

/// The way to every part of a running node.
pub(crate) struct Control {
    handle: Handle,
    store: Arc<Store>,
    counts: Counts,
    tcp: Tcp,
    /// What is in force; held while a reload is under way, so that there is one at a time.
    config: Mutex<Config>,
    /// Whom the directory knows, made of the users and groups in force.
    listed: Mutex<Arc<Vec<Listed>>>,
    draining: Arc<AtomicBool>,
    started: Instant,
}

impl Control {
    pub(crate) fn new(config: Config, handle: Handle, store: Arc<Store>, counts: Counts, tcp: Tcp) -> Control {
        Control {
            handle,
            store,
            counts,
            tcp,
            listed: Mutex::new(Arc::new(directory::listed(&config.switch))),
            config: Mutex::new(config),
            draining: Arc::default(),
            started: Instant::now(),
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        self.config().drain_limit
    }

    /// A reload that panicked has not stored anything.
    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be in force, all of it read and found good.
    fn prepare(&self, current: &Config) -> Result<(Config, Reloaded, Option<Identity>), Vec<String>> {
        let (next, reloaded) = reload::prepare(current)?;
        let identity = identity::again(&next).map_err(|error| vec![format!("[tls]: {error}")])?;
        Ok((next, reloaded, identity))
    }

    /// Puts certificates in force, and says so if they are others.
    fn show(&self, identity: Identity) -> Option<String> {
        let before = self.tcp.tls().identity();
        let is_new = before.is_none_or(|before| !before.shows_the_same(&identity));
        self.tcp.tls().put(identity);
        is_new.then(|| "tls: certificates, for new connections".to_owned())
    }

    fn own_figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure::gauge("build_info", 1).labelled("version", env!("CARGO_PKG_VERSION")),
            Figure::gauge("uptime_seconds", self.started.elapsed().as_secs()),
            Figure::gauge("draining", u64::from(self.draining.load(Relaxed))),
            Figure::counter("panics", self.panics()),
        ];
        figures.extend(process::figures());
        figures.extend(store_figures(&self.store.health()));
        let Counts {
            udp,
            tcp,
            dns,
            rtp,
            files,
        } = &self.counts;
        let counted = [
            udp.figures(),
            tcp.figures(),
            dns.figures(),
            rtp.figures(),
            files.figures(),
            self.handle.counters().figures(),
        ]
        .concat();
        figures.extend(counted.into_iter().map(figure));
        figures
    }

    /// Caught ones, in the switch and in the media workers.
    fn panics(&self) -> u64 {
        self.handle.counters().turns.panics.value() + self.counts.rtp.panics.value()
    }
}

impl web::Node for Control {
    fn command(&self, command: Command) -> Asked<Option<Answer>> {
        let handle = self.handle.clone();
        if !matches!(command, Command::Drain { .. }) {
            return Box::pin(async move { handle.command(command).await.ok() });
        }
        let draining = self.draining.clone();
        Box::pin(async move {
            let answer = handle.command(command).await.ok();
            if matches!(answer, Some(Answer::Done(_))) {
                tracing::info!("draining: no new calls from now on");
                draining.store(true, Relaxed);
            }
            answer
        })
    }

    fn figures(&self) -> Asked<Vec<Figure>> {
        let mut figures = self.own_figures();
        let handle = self.handle.clone();
        Box::pin(async move {
            // When the switch does not answer, the figures of its loop and sockets tell why.
            if let Ok(counters) = handle.figures().await {
                figures.extend(switch_figures(&counters));
            }
            figures
        })
    }

    fn state(&self) -> State {
        if self.draining.load(Relaxed) {
            State::Draining
        } else {
            State::Running
        }
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        let mut current = self.config();
        let (next, mut reloaded, identity) = self.prepare(&current).inspect_err(|problems| {
            problems
                .iter()
                .for_each(|problem| tracing::error!(%problem, "reload refused"));
        })?;
        self.handle
            .reload(Box::new(next.switch.clone()))
            .map_err(|error| vec![error.to_string()])?;
        if let Some(identity) = identity {
            reloaded.changed.extend(self.show(identity));
        }
        self.tcp.origins().put(next.origins.clone());
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory::listed(&next.switch));
        *current = next;
        reloaded
            .changed
            .iter()
            .for_each(|change| tracing::info!(%change, "reloaded"));
        reloaded
            .restart
            .iter()
            .for_each(|setting| tracing::warn!(%setting, "needs a restart"));
        Ok(reloaded)
    }

    fn login(&self, user: &str, password: &str) -> Option<Account> {
        let config = self.config();
        let found = config.switch.users.iter().find(|known| known.aor.user() == user);
        let right = is_right(found, user, &config.switch.security.realm, password);
        found.filter(|_| right).map(account)
    }

    fn account(&self, user: &Aor) -> Option<Account> {
        let config = self.config();
        config.switch.users.iter().find(|known| known.aor == *user).map(account)
    }

    fn listed(&self) -> Arc<Vec<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn capabilities(&self, user: Option<&Aor>) -> Capabilities {
        directory::capabilities(&self.config().switch, user)
    }

    fn domain(&self) -> Box<str> {
        self.config().switch.domain.clone()
    }

    fn sip_websocket(
        &self,
        request: Request<()>,
        (local, peer): (SocketAddr, SocketAddr),
        is_secure: bool,
    ) -> Response<String> {
        let transport = if is_secure { Transport::Wss } else { Transport::Ws };
        self.tcp.upgrade(request, transport, local, peer)
    }
}

fn account(user: &User) -> Account {
    Account {
        aor: user.aor.clone(),
        name: user.name.clone(),
        roles: user.roles.clone(),
        stamp: stamp(user),
    }
}

/// Tells one password of a user from another; it says nothing of either.
fn stamp(user: &User) -> u64 {
    let mut digest = Sha256::new();
    for ha1 in [&user.ha1_md5, &user.ha1_sha256] {
        digest.update(ha1.as_deref().unwrap_or("-"));
        digest.update("\n");
    }
    digest
        .finalize()
        .iter()
        .take(8)
        .fold(0, |stamp, byte| stamp << 8 | u64::from(*byte))
}

/// Both hashes are computed and compared whether or not the user exists or has both: the time tells nothing.
fn is_right(found: Option<&User>, user: &str, realm: &str, password: &str) -> bool {
    let equal = |algorithm, known: Option<&Box<str>>| {
        let given = ha1(algorithm, user, realm, password);
        let nobody = "-".repeat(given.len());
        given
            .as_bytes()
            .ct_eq(known.map_or(nobody.as_bytes(), |known| known.as_bytes()))
    };
    let md5 = equal(Algorithm::Md5, found.and_then(|user| user.ha1_md5.as_ref()));
    let sha256 = equal(Algorithm::Sha256, found.and_then(|user| user.ha1_sha256.as_ref()));
    (md5 | sha256).into()
}

fn figure((name, value, gauge): net::counters::Figure) -> Figure {
    if gauge {
        Figure::gauge(name, value)
    } else {
        Figure::counter(name, value)
    }
}

fn switch_figures(counters: &switch::Counters) -> Vec<Figure> {
    let values = counters.values.iter().copied().map(figure);
    let requests = counters
        .requests
        .iter()
        .map(|(method, n)| Figure::counter("requests", *n).labelled("method", method));
    let responses = counters
        .responses
        .iter()
        .map(|(class, n)| Figure::counter("responses", *n).labelled("class", class));
    values.chain(requests).chain(responses).collect()
}

fn store_figures(health: &store::Health) -> Vec<Figure> {
    vec![
        Figure::gauge("store_failing", u64::from(health.failing.is_some())),
        Figure::gauge("store_queued", health.queued),
        Figure::counter("store_commits", health.commits),
        Figure::counter("store_operations", health.operations),
        Figure::counter("store_coalesced", health.coalesced),
        Figure::counter("store_refused", health.refused),
        Figure::counter("store_failed", health.failed),
        Figure::counter("store_lost", health.lost),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Aor;

    #[test]
    fn another_password_has_another_stamp() {
        let user = |md5: &str, sha256: Option<&str>| User {
            aor: Aor::new("1000", "a"),
            name: "".into(),
            ha1_md5: Some(md5.into()),
            ha1_sha256: sha256.map(Into::into),
            roles: Vec::new(),
            im: true,
            email: "".into(),
            skills: Vec::new(),
            contacts: Vec::new(),
            ring_timeout: None,
            srtp: Default::default(),
            dial: Default::default(),
        };
        let stamps = [user("a", None), user("b", None), user("a", Some("b"))].map(|user| stamp(&user));
        assert_eq!(stamps[0], stamp(&user("a", None)));
        assert!(stamps[0] != stamps[1] && stamps[0] != stamps[2]);
    }

    #[test]
    fn the_right_password_is_known_by_either_hash() {
        let user = |md5, sha256| User {
            aor: Aor::new("1000", "a"),
            name: "".into(),
            ha1_md5: md5,
            ha1_sha256: sha256,
            roles: Vec::new(),
            im: true,
            email: "".into(),
            skills: Vec::new(),
            contacts: Vec::new(),
            ring_timeout: None,
            srtp: Default::default(),
            dial: Default::default(),
        };
        let hash = |algorithm| Some(ha1(algorithm, "1000", "r", "secret").into());
        for known in [user(hash(Algorithm::Md5), None), user(None, hash(Algorithm::Sha256))] {
            assert!(is_right(Some(&known), "1000", "r", "secret"));
            assert!(!is_right(Some(&known), "1000", "r", "Secret"));
        }
        assert!(!is_right(None, "1000", "r", "secret"));
        assert!(!is_right(Some(&user(None, None)), "1000", "r", ""));
    }
}
