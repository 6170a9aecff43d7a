//! The DNS (RFC 3263): each question in a task of its own, answered through a channel. A question is over after two seconds,
//! whatever the servers do; one that found nothing is not asked again for some seconds; and of a flood of questions only so
//! many are asked. So nobody waits for a DNS but who needs its answer.

#[cfg(test)]
mod tests;

use crate::counters;
use crate::wake::Post;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use sip::locate::{Found, Naptr, Question, Srv};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

counters! {
    /// What was asked of the DNS.
    ResolveCounters, "dns_" {
        /// Questions of the switch.
        questions,
        /// Questions that found records.
        answered,
        /// Questions that found nothing.
        empty,
        /// Questions that no server answered, or not in time.
        failed,
        /// Questions answered from what is known not to be there.
        remembered,
        /// Questions that were not asked because too many were under way.
        refused,
    }
}

/// How questions are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveSettings {
    /// Whom to ask, in this order; empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// A question is over after this. Default 2 s: the call waits, and there may be another way.
    pub within: Duration,
    /// What found nothing, or no server, is not asked again so soon. Default 5 s.
    pub forget_failed_after: Duration,
    /// Questions under way at one time. Default 256: as many lookups as the switch makes.
    pub max_questions: usize,
}

impl Default for ResolveSettings {
    fn default() -> ResolveSettings {
        ResolveSettings {
            servers: Vec::new(),
            within: Duration::from_secs(2),
            forget_failed_after: Duration::from_secs(5),
            max_questions: 256,
        }
    }
}

/// Names that found nothing of which that is remembered.
const MAX_FAILED: usize = 4_096;
/// Records of an answer that are handed on: more than the switch looks at.
const MAX_RECORDS: usize = 64;
/// Answers that are kept for as long as they are good.
const CACHED: u64 = 1_024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Of the question.
    pub token: u64,
    /// The records; none, if there are none or nobody said so.
    pub found: Found,
}

/// Asks. Cheap to clone; all clones share what is known.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    /// None: there is no server, and every question finds nothing.
    dns: Option<TokioResolver>,
    settings: ResolveSettings,
    places: Arc<Semaphore>,
    failed: Mutex<HashMap<Question, Instant>>,
    runtime: Handle,
    answers: Post<Resolved>,
    counters: Arc<ResolveCounters>,
}

impl Resolver {
    /// Questions are asked on `runtime` and answered to `answers`.
    #[must_use]
    pub fn new(
        runtime: Handle,
        settings: ResolveSettings,
        counters: Arc<ResolveCounters>,
        answers: Post<Resolved>,
    ) -> Resolver {
        let dns = {
            let _in_runtime = runtime.enter();
            client(&settings)
        };
        Resolver(Arc::new(Inner {
            dns,
            places: Arc::new(Semaphore::new(settings.max_questions)),
            settings,
            failed: Mutex::default(),
            runtime,
            answers,
            counters,
        }))
    }

    /// Asks, and never waits. The answer comes with this token.
    pub fn ask(&self, token: u64, question: Question) {
        let inner = self.0.clone();
        inner.counters.questions.one();
        let place = inner.places.clone().try_acquire_owned();
        self.0.runtime.spawn(async move {
            let found = match place {
                Ok(_place) => inner.answer(&question).await,
                Err(_) => {
                    inner.counters.refused.one();
                    nothing(&question)
                }
            };
            // After the loop has ended nobody waits.
            let _ = inner.answers.put(Resolved { token, found }).await;
        });
    }
}

impl Inner {
    async fn answer(&self, question: &Question) -> Found {
        let Some(dns) = &self.dns else {
            self.counters.failed.one();
            return nothing(question);
        };
        if self.is_known_to_fail(question) {
            self.counters.remembered.one();
            return nothing(question);
        }
        match tokio::time::timeout(self.settings.within, ask(dns, question)).await {
            Ok(Ok(found)) if !is_empty(&found) => {
                self.counters.answered.one();
                found
            }
            Ok(_) => {
                self.counters.empty.one();
                self.remember(question);
                nothing(question)
            }
            Err(_) => {
                self.counters.failed.one();
                tracing::info!(?question, "the DNS did not answer in time");
                self.remember(question);
                nothing(question)
            }
        }
    }

    fn is_known_to_fail(&self, question: &Question) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let age = failed.get(question).map(Instant::elapsed);
        age.is_some_and(|age| age < self.settings.forget_failed_after)
    }

    fn remember(&self, question: &Question) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MAX_FAILED {
            failed.retain(|_, at| at.elapsed() < self.settings.forget_failed_after);
        }
        if failed.len() < MAX_FAILED {
            failed.insert(question.clone(), Instant::now());
        }
    }
}

fn client(settings: &ResolveSettings) -> Option<TokioResolver> {
    let provider = TokioRuntimeProvider::default();
    let builder = if settings.servers.is_empty() {
        TokioResolver::builder(provider)
    } else {
        let servers = settings.servers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Ok(TokioResolver::builder_with_config(config, provider))
    };
    let built = builder.and_then(|mut builder| {
        tune(builder.options_mut(), settings);
        builder.build()
    });
    built
        .inspect_err(|error| tracing::warn!(%error, "no DNS: host names lead nowhere"))
        .ok()
}

fn server(at: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(at.ip());
    let on_port = |connection: &mut ConnectionConfig| connection.port = at.port();
    server.connections.iter_mut().for_each(on_port);
    server
}

fn tune(options: &mut ResolverOpts, settings: &ResolveSettings) {
    // One that is lost is asked once more within the time there is.
    options.timeout = settings.within / 2;
    options.attempts = 2;
    options.cache_size = CACHED;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // What is asked are full names; a search list would make others of them.
    options.ndots = 0;
}

async fn ask(dns: &TokioResolver, question: &Question) -> Result<Found, hickory_resolver::net::NetError> {
    // With the dot at its end a name is a whole one.
    let name = |name: &str| format!("{name}.");
    match question {
        Question::Naptr(of) => {
            let lookup = dns.lookup(name(of), RecordType::NAPTR).await?;
            let records = lookup.answers().iter().take(MAX_RECORDS);
            Ok(Found::Naptr(records.filter_map(|record| naptr(&record.data)).collect()))
        }
        Question::Srv(of) => {
            let lookup = dns.lookup(name(of), RecordType::SRV).await?;
            let records = lookup.answers().iter().take(MAX_RECORDS);
            Ok(Found::Srv(records.filter_map(|record| srv(&record.data)).collect()))
        }
        Question::Address(of) => {
            let lookup = dns.lookup_ip(name(of)).await?;
            Ok(Found::Address(lookup.iter().take(MAX_RECORDS).collect()))
        }
    }
}

/// Those that RFC 3263 section 4.1 uses: with flag `s` and without a regular expression.
fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    let is_used = naptr.flags.eq_ignore_ascii_case(b"s") && naptr.regexp.is_empty();
    is_used.then(|| Naptr {
        order: naptr.order,
        preference: naptr.preference,
        service: String::from_utf8_lossy(&naptr.services).into(),
        replacement: without_dot(&naptr.replacement.to_ascii()),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    Some(Srv {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: without_dot(&srv.target.to_ascii()),
    })
}

/// The root stays what it is.
fn without_dot(name: &str) -> Box<str> {
    match name.strip_suffix('.') {
        Some("") | None => name.into(),
        Some(name) => name.into(),
    }
}

fn nothing(question: &Question) -> Found {
    match question {
        Question::Naptr(_) => Found::Naptr(Vec::new()),
        Question::Srv(_) => Found::Srv(Vec::new()),
        Question::Address(_) => Found::Address(Vec::new()),
    }
}

fn is_empty(found: &Found) -> bool {
    match found {
        Found::Naptr(records) => records.is_empty(),
        Found::Srv(records) => records.is_empty(),
        Found::Address(addresses) => addresses.is_empty(),
    }
}
