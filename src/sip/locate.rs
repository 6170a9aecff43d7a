//! Where a name is served (RFC 3263): NAPTR says how, SRV which hosts, A and AAAA their addresses. Questions come out,
//! answers go in, and at the end there are targets in the order in which they are to be tried.
//!
//! A lookup asks in at most three rounds, each of which may have several questions. Who answers them, and in what time, is
//! not its business; what cannot be answered counts as an empty answer.

mod choice;
#[cfg(test)]
mod tests;

use crate::uri::Scheme;
use crate::{Transport, Uri};
use std::net::{IpAddr, SocketAddr};

/// NAPTR records of one name that are looked at: more than there are ways to send SIP.
const MAX_WAYS: usize = 8;
/// SRV records of one service that are looked at.
const MAX_HOSTS: usize = 16;
/// Targets that are tried at most: at two seconds each nobody waits longer.
const MAX_TARGETS: usize = 16;
/// A domain name is no longer (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// What a request is to be sent to, by name: the parts of a URI that matter (section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// `maddr`, or the host, in lower case.
    pub host: Box<str>,
    /// Given, it says that there is nothing to look up but addresses.
    pub port: Option<u16>,
    /// Given, it says that no NAPTR is asked.
    pub transport: Option<Transport>,
    /// `sips`: TLS or nothing.
    pub is_secure: bool,
}

/// What is to be asked of the DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// NAPTR records of a domain.
    Naptr(Box<str>),
    /// SRV records of `_service._proto.domain`.
    Srv(Box<str>),
    /// A and AAAA records of a host.
    Address(Box<str>),
}

/// What the DNS said. Nothing, and no answer at all, are both empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// To [`Question::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Question::Srv`].
    Srv(Vec<Srv>),
    /// To [`Question::Address`].
    Address(Vec<IpAddr>),
}

/// A NAPTR record (RFC 3403), as far as RFC 3263 goes: flag `s`, no regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower first, and the higher ones only if nothing lower can be used.
    pub order: u16,
    /// Lower first among equals.
    pub preference: u16,
    /// `SIP+D2U` and the like.
    pub service: Box<str>,
    /// The name whose SRV records are meant.
    pub replacement: Box<str>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower first.
    pub priority: u16,
    /// Among equals, how often first.
    pub weight: u16,
    /// Where.
    pub port: u16,
    /// Which host; `.` means that the service is not there.
    pub target: Box<str>,
}

/// One place to send a request to.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// Where.
    pub peer: SocketAddr,
}

/// What comes of a beginning or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask these, and [`Lookup::handle`] each answer.
    Ask(Vec<Question>),
    /// Done; empty if the name leads nowhere.
    Done(Vec<Target>),
}

impl Service {
    /// What a request to this URI is to be sent to; `None` for other schemes than `sip` and `sips`, for names that are none, and
    /// for transports that we do not speak.
    #[must_use]
    pub fn of(uri: &Uri<'_>) -> Option<Service> {
        if !uri.is_sip() {
            return None;
        }
        let host = uri.param("maddr").unwrap_or(uri.host());
        let host = std::str::from_utf8(host)
            .ok()?
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let transport = match uri.param("transport").map(<[u8]>::to_ascii_lowercase).as_deref() {
            None => None,
            Some(b"udp") => Some(Transport::Udp),
            Some(b"tcp") => Some(Transport::Tcp),
            Some(b"tls") => Some(Transport::Tls),
            Some(_) => return None,
        };
        let is_secure = uri.scheme() == Scheme::Sips;
        // `transport=tcp` of a sips URI says that TLS runs over TCP (RFC 3261 section 26.2.2).
        let transport = match transport {
            Some(Transport::Tcp) if is_secure => Some(Transport::Tls),
            Some(Transport::Udp) if is_secure => return None,
            other => other,
        };
        (!host.is_empty() && host.len() <= MAX_NAME).then(|| Service {
            host: host.into(),
            port: uri.port(),
            transport,
            is_secure,
        })
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        crate::header::ip(self.host.as_bytes())
    }

    /// Without anything that says otherwise (section 4.1).
    #[must_use]
    pub fn usual_transport(&self) -> Transport {
        match self.transport {
            Some(transport) => transport,
            None if self.is_secure => Transport::Tls,
            None => Transport::Udp,
        }
    }
}

/// A lookup under way.
#[derive(Clone, Debug)]
pub struct Lookup {
    service: Service,
    /// Transports we can use, the preferred one first.
    speaks: Vec<Transport>,
    round: Round,
}

#[derive(Clone, Debug)]
enum Round {
    Naptr,
    /// Each with the transport it is for.
    Srv(Vec<(Transport, Asked<Vec<Srv>>)>),
    Address {
        hosts: Vec<Asked<Vec<IpAddr>>>,
        /// In the order in which they are to be tried: host, transport, port.
        order: Vec<(usize, Transport, u16)>,
    },
}

/// A question, and its answer once that is there.
#[derive(Clone, Debug)]
struct Asked<T> {
    question: Question,
    answer: Option<T>,
}

impl<T> Asked<T> {
    fn new(question: Question) -> Asked<T> {
        Asked { question, answer: None }
    }
}

impl Lookup {
    /// Begins. `speaks`: the transports we can use, the preferred one first.
    #[must_use]
    pub fn start(service: Service, speaks: &[Transport]) -> (Lookup, Step) {
        let usable = |transport: &Transport| !service.is_secure || *transport == Transport::Tls;
        let speaks: Vec<Transport> = speaks.iter().copied().filter(usable).collect();
        let mut lookup = Lookup {
            service,
            speaks,
            round: Round::Naptr,
        };
        let step = lookup.begin();
        (lookup, step)
    }

    fn begin(&mut self) -> Step {
        let transport = self.service.usual_transport();
        if let Some(ip) = self.service.ip() {
            let port = self.service.port.unwrap_or(default_port(transport));
            let peer = SocketAddr::new(ip, port);
            return Step::Done(self.only_spoken(vec![Target { transport, peer }]));
        }
        if self.service.port.is_some() {
            return self.ask_host();
        }
        if let Some(transport) = self.service.transport {
            return self.ask_srv(vec![(transport, srv_name(transport, &self.service.host))]);
        }
        Step::Ask(vec![Question::Naptr(self.service.host.clone())])
    }

    /// An answer. `None`: others of the same round are awaited yet. `random` orders SRV records by their weight.
    pub fn handle(&mut self, question: &Question, found: Found, random: &mut dyn FnMut() -> u64) -> Option<Step> {
        match (&mut self.round, found) {
            (Round::Naptr, Found::Naptr(records)) => Some(self.on_naptr(records)),
            (Round::Srv(asked), Found::Srv(records)) => {
                let asked = asked.iter_mut().map(|(_, asked)| asked);
                note(asked, question, records).then(|| self.on_srv(random))
            }
            (Round::Address { hosts, .. }, Found::Address(addresses)) => {
                note(hosts.iter_mut(), question, addresses).then(|| Step::Done(self.targets()))
            }
            _ => None,
        }
    }

    fn on_naptr(&mut self, records: Vec<Naptr>) -> Step {
        let ways = choice::ways(records, &self.speaks);
        if !ways.is_empty() {
            return self.ask_srv(ways);
        }
        let host = &self.service.host;
        let usual = self
            .speaks
            .iter()
            .map(|&transport| (transport, srv_name(transport, host)));
        let usual = usual.collect();
        self.ask_srv(usual)
    }

    fn ask_srv(&mut self, ways: Vec<(Transport, Box<str>)>) -> Step {
        let asked = |(transport, name): (Transport, Box<str>)| (transport, Asked::new(Question::Srv(name)));
        let ways: Vec<_> = ways.into_iter().take(MAX_WAYS).map(asked).collect();
        if ways.is_empty() {
            return Step::Done(Vec::new());
        }
        let questions = ways.iter().map(|(_, asked)| asked.question.clone()).collect();
        self.round = Round::Srv(ways);
        Step::Ask(questions)
    }

    /// Section 4.2: the transports in their order, and the hosts of each in theirs.
    fn on_srv(&mut self, random: &mut dyn FnMut() -> u64) -> Step {
        let Round::Srv(asked) = &mut self.round else {
            return Step::Done(Vec::new());
        };
        let mut places = Vec::new();
        let mut is_refused = false;
        for (transport, asked) in asked {
            let records = asked.answer.take().unwrap_or_default();
            is_refused |= records.iter().any(|srv| &*srv.target == ".");
            let hosts = choice::in_order(records, random).into_iter().take(MAX_HOSTS);
            places.extend(hosts.map(|srv| (*transport, srv.target, srv.port)));
        }
        if places.is_empty() && is_refused {
            return Step::Done(Vec::new());
        }
        if places.is_empty() {
            return self.ask_host();
        }
        self.ask_addresses(places)
    }

    /// No SRV: the host itself.
    fn ask_host(&mut self) -> Step {
        let transport = self.service.usual_transport();
        let port = self.service.port.unwrap_or(default_port(transport));
        let host = self.service.host.clone();
        self.ask_addresses(vec![(transport, host, port)])
    }

    fn ask_addresses(&mut self, places: Vec<(Transport, Box<str>, u16)>) -> Step {
        let (mut hosts, mut order) = (Vec::<Asked<Vec<IpAddr>>>::new(), Vec::new());
        for (transport, host, port) in places.into_iter().take(MAX_TARGETS) {
            let question = Question::Address(host);
            let known = hosts.iter().position(|asked| asked.question == question);
            let host = known.unwrap_or_else(|| {
                hosts.push(Asked::new(question));
                hosts.len() - 1
            });
            order.push((host, transport, port));
        }
        let questions = hosts.iter().map(|asked| asked.question.clone()).collect();
        self.round = Round::Address { hosts, order };
        Step::Ask(questions)
    }

    fn targets(&self) -> Vec<Target> {
        let Round::Address { hosts, order } = &self.round else {
            return Vec::new();
        };
        let of = |&(host, transport, port): &(usize, Transport, u16)| {
            let addresses = hosts[host].answer.iter().flatten();
            addresses.map(move |ip| Target {
                transport,
                peer: SocketAddr::new(*ip, port),
            })
        };
        let mut targets = self.only_spoken(order.iter().flat_map(of).collect());
        targets.truncate(MAX_TARGETS);
        targets
    }

    fn only_spoken(&self, targets: Vec<Target>) -> Vec<Target> {
        let spoken = |target: &Target| self.speaks.contains(&target.transport);
        targets.into_iter().filter(spoken).collect()
    }
}

/// Writes down an answer; true once all are there.
fn note<'a, T: 'a>(asked: impl Iterator<Item = &'a mut Asked<T>>, question: &Question, answer: T) -> bool {
    let (mut answer, mut is_last) = (Some(answer), true);
    for asked in asked {
        if asked.answer.is_none() && asked.question == *question {
            asked.answer = answer.take();
        }
        is_last &= asked.answer.is_some();
    }
    is_last
}

/// Section 4.1.
fn srv_name(transport: Transport, host: &str) -> Box<str> {
    match transport {
        Transport::Udp => format!("_sip._udp.{host}"),
        Transport::Tls => format!("_sips._tcp.{host}"),
        Transport::Tcp | Transport::Ws | Transport::Wss => format!("_sip._tcp.{host}"),
    }
    .into()
}

/// RFC 3261 section 19.1.2.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tls => 5061,
        _ => 5060,
    }
}
