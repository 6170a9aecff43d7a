//! What all rooms of the switch share: configuration, users, transactions, the way out. [`Cx`] hands it to a room together
//! with the moment, the registrar and the agents.

use crate::admission::{Admission, Load};
use crate::agent::Agents;
use crate::config::Config;
use crate::presence::Published;
use crate::registrar::Registrar;
use crate::registrar::temporary::Temporary;
use crate::room::Room;
use crate::route;
use crate::security;
use crate::settings::Settings;
use crate::subscribe::Watched;
use crate::tally::Tally;
use crate::users::Users;
use crate::{Answer, Notice, Output, Refusal, Token};
use ahash::RandomState;
use clock::{Now, Wall};
use model::{Aor, Event, Occurrence, StoreOp};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sip::uri::escape_user;
use sip::{Endpoint, Flow, Message, Method, Name, Owner, Reply, Tokens, Transport, Uri, endpoint};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a room of the switch works with while it handles one event.
pub(crate) struct Cx<'a> {
    /// The moment of the input.
    pub(crate) now: Now,
    /// Configuration, transactions, the way out.
    pub(crate) core: &'a mut Core,
    /// Who is bound where.
    pub(crate) registrar: &'a mut Registrar,
    /// Who can be given what.
    pub(crate) agents: &'a mut Agents,
}

/// The context for a room of `$switch`: its other fields stay free.
macro_rules! cx {
    ($switch:ident, $now:expr) => {
        &mut $crate::core::Cx {
            now: $now,
            core: &mut $switch.core,
            registrar: &mut $switch.registrar,
            agents: &mut $switch.agents,
        }
    };
}
pub(crate) use cx;

/// What all rooms share. Fields are open to the rooms: the endpoint wants a sink beside itself, as in
/// `core.endpoint.respond(now, server, &reply, &mut core.effects)`.
pub(crate) struct Core {
    /// The configuration in force. Its `users` have moved to [`Core::users`].
    pub(crate) config: Config,
    /// The users of the configuration.
    pub(crate) users: Users,
    /// All transactions.
    pub(crate) endpoint: Endpoint,
    /// What endpoint, sessions and subscriptions want done. The switch works through it before it takes the next input.
    pub(crate) effects: VecDeque<sip::Output>,
    /// What the shell is to do.
    pub(crate) outputs: VecDeque<Output>,
    /// What came of messages whose sender is a room of the switch: told to it in the same step.
    pub(crate) outcomes: VecDeque<crate::im::Outcome>,
    /// Those of no room, for tests.
    #[cfg(test)]
    pub(crate) unheard: Vec<crate::im::Outcome>,
    /// What has happened so far.
    pub(crate) tally: Tally,
    /// Keys for maps whose keys peers choose.
    pub(crate) hasher: RandomState,
    /// Addresses of devices that do not tell whose they are.
    pub(crate) temporary: Temporary,
    /// What users have set by their phones.
    pub(crate) settings: Settings,
    /// What users' devices say of them.
    pub(crate) published: Published,
    /// What may have changed in this step, for those who watch it.
    pub(crate) changed: BTreeSet<Watched>,
    /// No new calls: [`crate::Command::Drain`].
    pub(crate) draining: bool,
    /// Whose event is being handled, for [`crate::Switch::recover`].
    pub(crate) working: Option<Owner>,
    /// Security lines of this second.
    pub(crate) security_lines: security::Lines,
    /// What is known of senders: limits and bans.
    pub(crate) admission: Admission,
    /// How much of the new work is refused.
    pub(crate) load: Load,
    /// How long the message that is being handled has waited in line.
    pub(crate) waited: Duration,
    /// The moment of the input that is being handled.
    at: Wall,
    /// Number of the last event; `None`: nobody watches.
    last_event: Option<u64>,
    /// The verb in whose midst a test wants a panic.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) panics_in: Option<&'static str>,
    random: ChaCha12Rng,
    last_token: u64,
}

/// One stream of the switch's generator, as the transaction layer wants it.
struct Random(ChaCha12Rng);

impl Tokens for Random {
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

impl Core {
    /// A core without transactions. `seed` feeds two independent streams: the endpoint's and our own. `key` seals what is
    /// told to devices and comes back from elsewhere.
    #[must_use]
    pub(crate) fn new(mut config: Config, seed: [u8; 32], key: [u8; 32]) -> Core {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut stream = ChaCha12Rng::from_seed(seed);
        stream.set_stream(1);
        let hasher = RandomState::with_seeds(
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
        );
        let mut core = Core {
            users: Users::new(std::mem::take(&mut config.users), hasher.clone()),
            endpoint: Endpoint::new(endpoint_config(&config), Box::new(Random(stream))),
            effects: VecDeque::new(),
            outputs: VecDeque::new(),
            outcomes: VecDeque::new(),
            #[cfg(test)]
            unheard: Vec::new(),
            tally: Tally::default(),
            published: Published::new(hasher.clone()),
            temporary: Temporary::new(key),
            settings: Settings::default(),
            changed: BTreeSet::new(),
            draining: false,
            working: None,
            security_lines: security::Lines::default(),
            admission: Admission::new(&config, &hasher),
            load: Load::default(),
            waited: Duration::ZERO,
            at: Wall(0),
            last_event: None,
            #[cfg(any(test, feature = "testing"))]
            panics_in: None,
            hasher,
            random,
            last_token: 0,
            config,
        };
        core.ask_load();
        core
    }

    /// Puts a new configuration in force. Timers of transactions stay as they were.
    pub(crate) fn reload(&mut self, mut config: Config) {
        self.users = Users::new(std::mem::take(&mut config.users), self.hasher.clone());
        self.admission.reload(&config);
        self.config = config;
        self.ask_load();
    }

    /// The trunks that are to tell their load are asked for it.
    fn ask_load(&mut self) {
        self.endpoint.ask_load(route::asked(&self.config));
    }

    /// 64 random bits.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A place in the midst of a verb where a test can have a panic.
    pub(crate) fn midst_of(&mut self, verb: &'static str) {
        #[cfg(any(test, feature = "testing"))]
        if self.panics_in.take_if(|wanted| *wanted == verb).is_some() {
            panic!("a panic in the midst of {verb}, as the test wants it");
        }
        let _ = verb;
    }

    /// Something that may be watched may have changed: its watchers are told when the step is done.
    pub(crate) fn touch(&mut self, watched: Watched) {
        self.changed.insert(watched);
    }

    // The way out.

    /// Answers a request from outside of all dialogs without keeping state: refusals before the caller is known.
    pub(crate) fn reply(&mut self, flow: Flow, request: &Message, reply: &Reply) {
        self.endpoint.reply(flow, request, reply, &mut self.effects);
    }

    /// Answers a request finally; the answer is kept for retransmissions. For whatever can be answered at once, a refused
    /// INVITE too.
    pub(crate) fn answer(&mut self, now: Now, flow: Flow, request: &Message, reply: &Reply) {
        let Core { endpoint, effects, .. } = self;
        if request.method() == Method::Invite {
            let server = endpoint.accept(now.mono, flow, request.clone(), Room::Switch.owner(0), effects);
            endpoint.respond(now.mono, server, reply, effects);
        } else {
            endpoint.answer(now.mono, flow, request, reply, effects);
        }
    }

    /// 503 for now: too much of something. Retry-After is spread, so that not all come back at once.
    pub(crate) fn overloaded(&mut self) -> Reply {
        self.tally.overloads += 1;
        let after_s = 1 + self.random() % 10;
        Reply::new(503).header(Name::RetryAfter, after_s.to_string())
    }

    /// Changes the media plane.
    pub(crate) fn media(&mut self, worker: media::WorkerId, plan: media::Plan) {
        self.outputs.push_back(Output::Media(worker, plan));
    }

    /// Writes to the store; nobody waits for the answer.
    pub(crate) fn store(&mut self, op: StoreOp) {
        self.outputs.push_back(Output::Store { token: None, op });
    }

    /// Asks the store; the answer goes to `room` with the token returned here.
    pub(crate) fn ask(&mut self, room: Room, op: StoreOp) -> Token {
        self.last_token += 1;
        let token = room.owner(self.last_token).0;
        self.outputs.push_back(Output::Store { token: Some(token), op });
        token
    }

    /// Answers a command.
    pub(crate) fn tell(&mut self, token: Token, answer: Answer) {
        self.outputs.push_back(Output::Notice(Notice::Answer { token, answer }));
    }

    /// Tells events from now on. Their numbers begin above those of an earlier run: with the milliseconds since 1970 times
    /// 1,024, which stays below 2^53, JSON's safe integers, until 2248.
    pub(crate) fn watch(&mut self) {
        self.last_event
            .get_or_insert(u64::try_from(self.at.0).unwrap_or(0) << 10);
    }

    /// An input, or what is due, is handled at this moment.
    pub(crate) fn begin(&mut self, now: Now) {
        self.at = now.wall;
    }

    /// The moment of the input that is being handled.
    #[must_use]
    pub(crate) fn moment(&self) -> Wall {
        self.at
    }

    /// Whether anybody watches: what costs work only to be told need not be worked out otherwise.
    #[must_use]
    pub(crate) fn is_watched(&self) -> bool {
        self.last_event.is_some()
    }

    /// Number of the last event; 0 while nobody watches.
    #[must_use]
    pub(crate) fn last_event(&self) -> u64 {
        self.last_event.unwrap_or(0)
    }

    /// Tells those who watch what happened.
    pub(crate) fn announce(&mut self, event: impl FnOnce() -> Event) {
        let Some(last) = &mut self.last_event else { return };
        *last += 1;
        let occurrence = Occurrence {
            seq: *last,
            at: self.at,
            event: event(),
        };
        self.outputs
            .push_back(Output::Notice(Notice::Event(Box::new(occurrence))));
    }

    /// Refuses a command.
    pub(crate) fn refuse(&mut self, token: Token, refusal: Refusal) {
        self.tell(token, Answer::Refused(refusal));
    }

    /// Transactions alive. Answers that are only kept for retransmissions do not count: the endpoint bounds them.
    #[must_use]
    pub(crate) fn transactions(&self) -> u64 {
        let alive = self.endpoint.counters();
        alive.invite_clients_alive + alive.clients_alive + alive.invite_servers_alive
    }

    // What we are called.

    /// Whether a host of a URI means this switch: the domain, an alias, a listener, or the address at which this request
    /// arrived. `host` without port; IPv6 in brackets or not.
    #[must_use]
    pub(crate) fn is_local(&self, host: &[u8], flow: Flow) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host);
        // Nearly always written as configured.
        let is = |name: &str| name.as_bytes() == host || name.as_bytes().eq_ignore_ascii_case(host);
        is(&self.config.domain) || self.config.aliases.iter().any(|alias| is(alias)) || self.is_listener(host, flow)
    }

    fn is_listener(&self, host: &[u8], flow: Flow) -> bool {
        let bare = host
            .strip_prefix(b"[")
            .and_then(|host| host.strip_suffix(b"]"))
            .unwrap_or(host);
        let Some(ip) = std::str::from_utf8(bare)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok())
        else {
            return false;
        };
        let listeners = self.config.listeners.iter();
        let mut addresses = listeners.flat_map(|l| [Some(l.local), l.advertised]).flatten();
        flow.local.ip() == ip || addresses.any(|address| address.ip() == ip)
    }

    /// What is dialled: the user part of the Request-URI with its escapes undone, or the user whom a temporary address of a
    /// device means; `None` without one, or if it is no text.
    #[must_use]
    pub(crate) fn dialled<'m>(&self, request: &'m Message) -> Option<Cow<'m, str>> {
        self.meant_by(&request.uri().ok()?)
    }

    /// The same of a Request-URI alone.
    pub(crate) fn meant_by<'m>(&self, uri: &Uri<'m>) -> Option<Cow<'m, str>> {
        if let Some(meant) = self.temporary.read(uri) {
            return Some(Cow::Owned(meant.user));
        }
        match uri.user_unescaped()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// Our own Contact on a listener, e.g. `<sip:1001@192.0.2.1:5060>`; `transport` is written unless it is UDP.
    #[must_use]
    pub(crate) fn contact(&self, user: &str, transport: Transport, local: SocketAddr) -> String {
        let host = self.endpoint.sent_by(local);
        let at = if user.is_empty() { "" } else { "@" };
        let parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{}{at}{host}{parameter}>", escape_user(user.as_bytes()))
    }
}

/// `sip:user@domain` of an address of record, the user escaped as RFC 3261 section 25.1 asks.
#[must_use]
pub(crate) fn aor_uri(aor: &Aor) -> String {
    format!("sip:{}@{}", escape_user(aor.user().as_bytes()), aor.domain())
}

/// What the transaction layer needs to know of the configuration.
fn endpoint_config(config: &Config) -> endpoint::Config {
    let advertised = |l: &crate::config::Listener| Some((l.local, l.advertised?.to_string().into_boxed_str()));
    endpoint::Config {
        t1: config.timers.t1,
        t2: config.timers.t2,
        t4: config.timers.t4,
        timers: crate::registrar::room(config) + config.limits.max_transactions.min(1 << 20),
        sent_by: config.listeners.iter().filter_map(advertised).collect(),
        listeners: config.listeners.iter().map(|l| (l.transport, l.local)).collect(),
        ..endpoint::Config::default()
    }
}
