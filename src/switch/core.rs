//! What all rooms of the switch share: configuration, users, transactions, the way out. [`Cx`] hands it to a room together
//! with the moment and the registrar.

use crate::config::Config;
use crate::registrar::Registrar;
use crate::room::Room;
use crate::tally::Tally;
use crate::users::Users;
use crate::{Answer, Notice, Output, Refusal, Token};
use ahash::RandomState;
use clock::Now;
use model::{Aor, StoreOp};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sip::{Endpoint, Flow, Message, Owner, Reply, Tokens, Transport, endpoint};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What a room of the switch works with while it handles one event.
pub(crate) struct Cx<'a> {
    /// The moment of the input.
    pub(crate) now: Now,
    /// Configuration, transactions, the way out.
    pub(crate) core: &'a mut Core,
    /// Who is bound where.
    pub(crate) registrar: &'a mut Registrar,
}

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
    /// What has happened so far.
    pub(crate) tally: Tally,
    /// Keys for maps whose keys peers choose.
    pub(crate) hasher: RandomState,
    /// Whether each message is logged.
    pub(crate) trace: bool,
    /// No new calls: [`crate::Command::Drain`].
    pub(crate) draining: bool,
    /// Whose event is being handled, for [`crate::Switch::recover`].
    pub(crate) working: Option<Owner>,
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
    /// A core without transactions. `seed` feeds two independent streams: the endpoint's and our own.
    #[must_use]
    pub(crate) fn new(mut config: Config, seed: [u8; 32]) -> Core {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut stream = ChaCha12Rng::from_seed(seed);
        stream.set_stream(1);
        let hasher = RandomState::with_seeds(
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
            random.next_u64(),
        );
        Core {
            users: Users::new(std::mem::take(&mut config.users), hasher.clone()),
            endpoint: Endpoint::new(endpoint_config(&config), Box::new(Random(stream))),
            config,
            effects: VecDeque::new(),
            outputs: VecDeque::new(),
            tally: Tally::default(),
            hasher,
            trace: false,
            draining: false,
            working: None,
            random,
            last_token: 0,
        }
    }

    /// Puts a new configuration in force. Timers of transactions stay as they were.
    pub(crate) fn reload(&mut self, mut config: Config) {
        self.users = Users::new(std::mem::take(&mut config.users), self.hasher.clone());
        self.config = config;
    }

    /// 64 random bits.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    // The way out.

    /// Answers a request from outside of all dialogs without keeping state: refusals before the caller is known.
    pub(crate) fn reply(&mut self, flow: Flow, request: &Message, reply: &Reply) {
        self.endpoint.reply(flow, request, reply, &mut self.effects);
    }

    /// Answers a request other than INVITE finally; the answer is kept for retransmissions.
    pub(crate) fn answer(&mut self, now: Now, flow: Flow, request: &Message, reply: &Reply) {
        self.endpoint.answer(now.mono, flow, request, reply, &mut self.effects);
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

    /// Refuses a command.
    pub(crate) fn refuse(&mut self, token: Token, refusal: Refusal) {
        self.tell(token, Answer::Refused(refusal));
    }

    // What we are called.

    /// Whether a host of a URI or header means this switch: the domain, an alias or a listener. `host` without port and,
    /// for IPv6, in brackets or not.
    #[must_use]
    pub(crate) fn is_local(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.config.domain.eq_ignore_ascii_case(host)
            || self.config.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host))
            || self.is_listener(host)
    }

    fn is_listener(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<std::net::IpAddr>().is_ok_and(|ip| {
            let mut addresses = self
                .config
                .listeners
                .iter()
                .flat_map(|l| [Some(l.local), l.advertised])
                .flatten();
            addresses.any(|address| address.ip() == ip)
        })
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
        format!("<sip:{}{at}{host}{parameter}>", crate::text::escape_user(user))
    }
}

/// `sip:user@domain` of an address of record, the user escaped as RFC 3261 section 25.1 asks.
#[must_use]
pub(crate) fn aor_uri(aor: &Aor) -> String {
    format!("sip:{}@{}", crate::text::escape_user(aor.user()), aor.domain())
}

/// What the transaction layer needs to know of the configuration.
fn endpoint_config(config: &Config) -> endpoint::Config {
    let advertised = |l: &crate::config::Listener| Some((l.local, l.advertised?.to_string().into_boxed_str()));
    endpoint::Config {
        t1: config.timers.t1,
        t2: config.timers.t2,
        t4: config.timers.t4,
        sent_by: config.listeners.iter().filter_map(advertised).collect(),
    }
}
