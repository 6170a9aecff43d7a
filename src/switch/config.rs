//! The configuration as plain data, already checked: the switch knows no TOML and no file.

pub mod conference;
pub mod groups;
mod network;
pub mod stars;
pub mod trunks;

pub use network::Network;

use conference::Conferences;
use groups::Groups;
use media::tone::Country;
use model::Aor;
use sip::Flow;
use stars::Stars;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use trunks::{Dial, INTERNAL, Mode, Trunk};

/// All that the switch needs to know. Built and checked as a whole by the node; swapped as a whole on reload.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domain of every AOR.
    pub domain: Box<str>,
    /// Other host names and addresses that mean the same domain. Listener addresses are added by the node.
    pub aliases: Vec<Box<str>>,
    /// Our listening sockets, in the order of switch.toml.
    pub listeners: Vec<Listener>,
    /// Users by extension.
    pub users: Vec<User>,
    /// Dial plan, first match wins.
    pub dialplan: Vec<Rule>,
    /// Peers outside.
    pub trunks: Vec<Trunk>,
    /// SIP timers.
    pub timers: Timers,
    /// Registrar settings.
    pub registrar: Registrar,
    /// Call settings.
    pub calls: Calls,
    /// Messaging settings.
    pub im: Im,
    /// Digest settings.
    pub security: Security,
    /// Conference rooms.
    pub conferences: Conferences,
    /// Star codes that switch something for the user who dials them.
    pub stars: Stars,
    /// Agents and their groups.
    pub groups: Groups,
    /// Subscription settings.
    pub subscriptions: Subscriptions,
    /// Star codes that lead into calls of others.
    pub features: Features,
    /// Media settings.
    pub media: Media,
    /// Bounds.
    pub limits: Limits,
    /// Server and User-Agent header, for example `Tandem/0.1.0`.
    pub product: Box<str>,
}

/// One bound socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// How.
    pub transport: sip::Transport,
    /// The address it is bound to (never a wildcard port). Only that of the HTTP port may be a wildcard: what comes there has the
    /// address at which it was accepted.
    pub local: SocketAddr,
    /// What peers are told instead of `local` in Via and Contact, where it differs (NAT, wildcard).
    pub advertised: Option<SocketAddr>,
    /// Algorithms offered here, in this order; empty: those of [`Security::digest`].
    pub digest: Vec<Algorithm>,
}

impl Listener {
    /// Whether what came by this flow came to it.
    #[must_use]
    pub(crate) fn is_of(&self, flow: &Flow) -> bool {
        let is_at = self.local == flow.local || self.is_everywhere() && self.local.port() == flow.local.port();
        is_at && self.transport == flow.transport
    }

    /// Whether it is bound to a wildcard.
    #[must_use]
    pub(crate) fn is_everywhere(&self) -> bool {
        self.local.ip().is_unspecified()
    }
}

/// A digest algorithm (RFC 8760).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `MD5`.
    Md5,
    /// `SHA-256`.
    Sha256,
}

/// One user of users.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `extension@domain`.
    pub aor: Aor,
    /// Display name; may be empty.
    pub name: Box<str>,
    /// HA1 for MD5, lower-case hex, over `extension:realm:password`.
    pub ha1_md5: Option<Box<str>>,
    /// HA1 for SHA-256, likewise.
    pub ha1_sha256: Option<Box<str>>,
    /// For the directory; may be empty.
    pub email: Box<str>,
    /// What the user knows, as an agent.
    pub skills: Vec<Box<str>>,
    /// Users and groups on the user's own list: what phones that ask for [`crate::CONTACTS`] watch.
    pub contacts: Vec<Box<str>>,
    /// `admin` may use the whole API; `supervisor` and `agent` as the issue on agents says.
    pub roles: Vec<Role>,
    /// May send instant messages (R005): otherwise MESSAGE gets 403.
    pub im: bool,
    /// How long its phones ring before `no answer`.
    pub ring_timeout: Option<Duration>,
    /// Whether media of its devices is encrypted: what they are offered, and what they must offer.
    pub srtp: media::sdp::SrtpUse,
    /// What this user may dial.
    pub dial: Arc<Dial>,
}

impl User {
    /// Is given what comes to groups, when ready for it.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        self.roles.contains(&Role::Agent)
    }

    /// May listen to, whisper into and take part in the calls of others.
    #[must_use]
    pub fn supervises(&self) -> bool {
        self.roles
            .iter()
            .any(|role| matches!(role, Role::Supervisor | Role::Admin))
    }
}

/// What a user may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the roles
pub enum Role {
    Agent,
    Supervisor,
    Admin,
}

/// One line of the dial plan.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which dialled strings.
    pub matches: Pattern,
    /// What then.
    pub action: Action,
    /// For whom the rule is there.
    pub contexts: Vec<Box<str>>,
    /// Who dials it must hold this right, or hears 403.
    pub right: Option<Box<str>>,
    /// How its calls go through the switch.
    pub mode: Mode,
    /// Who dials it calls for help, and is not refused while there is any room.
    pub is_emergency: bool,
}

impl Rule {
    /// A rule for all users, by way of the switch.
    #[must_use]
    pub fn new(matches: Pattern, action: Action) -> Rule {
        Rule {
            matches,
            action,
            contexts: vec![INTERNAL.into()],
            right: None,
            mode: Mode::B2bua,
            is_emergency: false,
        }
    }
}

/// Which dialled strings a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Just this one.
    Exact(Box<str>),
    /// All that begin so.
    Prefix(Box<str>),
    /// Asterisk's notation without the leading `_`: X 0-9, Z 1-9, N 2-9, `[1-5]`, `.` one or more of anything.
    Digits(Box<str>),
    /// Everything.
    Any,
}

/// What a rule does. Targets that come with later issues answer 480 until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The user with the dialled extension, or this one.
    User(Option<Box<str>>),
    /// Echo what is heard.
    Echo,
    /// A tone of so many Hz.
    Tone(u16),
    /// Refuse with this status.
    Reject(u16),
    /// The group with the dialled number, or this one; calls to it are not there yet: 480.
    Group(Option<Box<str>>),
    /// The conference room with the dialled name, or this one.
    Room(Option<Box<str>>),
    /// A mailbox; not there yet: 480.
    Voicemail(Box<str>),
    /// Music of this class, or of the class `default`.
    Music(Option<Box<str>>),
    /// Reads back the keys that are pressed.
    Digits,
    /// A number outside.
    Trunk(Outside),
}

/// By which trunk a number outside is called, and as which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The trunk's name.
    pub trunk: Box<str>,
    /// So many characters of what was dialled are left out at its beginning.
    pub strip: usize,
    /// This stands before the rest.
    pub prepend: Box<str>,
}

/// RFC 3261 timer values.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate, default 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval, default 4 s.
    pub t2: Duration,
    /// Longest life of a message in the network, default 5 s.
    pub t4: Duration,
    /// Calls are refreshed within this, or end (RFC 4028); `None`: not. Default 30 minutes.
    pub session_expires: Option<Duration>,
    /// Shorter wishes are answered 422; at least 90 s.
    pub min_se: Duration,
}

/// How long bindings last and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// Below this a REGISTER gets 423; default 60 s.
    pub min_expires: Duration,
    /// Longer wishes are cut to this; default 3600 s.
    pub max_expires: Duration,
    /// Without a wish; default 3600 s.
    pub default_expires: Duration,
    /// Contacts per AOR. Default 10.
    pub max_contacts: usize,
    /// Told in each answer to REGISTER: the way for what the device asks for (RFC 3608), e.g. `<sip:edge.example.com;lr>`.
    pub service_route: Vec<Box<str>>,
    /// What becomes of one more; default refuse.
    pub beyond: Beyond,
    /// Each contact is asked once in this time whether it is there (OPTIONS); `None`: never, the default.
    pub qualify: Option<Duration>,
    /// What becomes of one that does not answer; default mark.
    pub silent: Silent,
}

/// What becomes of a contact that does not answer when it is asked whether it is there.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Silent {
    /// It stays bound, and is not called until it answers or registers again.
    #[default]
    Mark,
    /// It is unbound.
    Remove,
}

/// What becomes of a contact when its user has as many as there may be.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It is refused with 403.
    #[default]
    Refuse,
    /// It takes the place of the one that has not been heard of for the longest time.
    RemoveOldest,
}

/// How calls behave.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Ringing longer than this is `no answer` (480 to the caller); default 60 s; a user's own wins.
    pub ring_timeout: Duration,
    /// Calls at one time; more get 503.
    pub max_calls: usize,
    /// The record of a leg is forgotten so long after its end; `None`: never. Default 90 days.
    pub keep_records: Option<Duration>,
    /// What a device's hold means; default music.
    pub hold: HoldMode,
    /// End a conference when the last of our own users leaves it, though others are still there (R128); default true.
    pub end_without_us: bool,
    /// The agent whom a supervisor listens or whispers to is shown him (R130); default false. Customers never are.
    pub show_supervisors: bool,
    /// The phones of who is to be called first in a commanded call are asked to answer by themselves; default false.
    pub originate_auto_answer: bool,
}

/// What happens to a party when the other one puts the call on hold.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum HoldMode {
    /// It hears music.
    #[default]
    Music,
    /// It hears nothing.
    Silence,
    /// Its device is told, and does what it does: the offer is passed on.
    Pass,
}

/// What is dialled before an extension; each two characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Answers what rings there.
    pub pick_up: Box<str>,
    /// Listens to who talks there.
    pub listen: Box<str>,
    /// Whispers to him.
    pub whisper: Box<str>,
    /// Barges in.
    pub barge: Box<str>,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            pick_up: "*8".into(),
            listen: "*0".into(),
            whisper: "*1".into(),
            barge: "*2".into(),
        }
    }
}

/// How messages behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Im {
    /// Keep messages for users who are away.
    pub store: bool,
    /// A relayed MESSAGE is answered within this; default 8 s.
    pub answer_within: Duration,
    /// Largest body in bytes; more is 413. Default 16 KiB.
    pub max_size: usize,
    /// A stored message is given up after this; default 7 days.
    pub keep: Duration,
    /// Messages that may wait for one user; more get 480 with Retry-After.
    pub max_per_user: usize,
    /// Messages that may wait in all.
    pub max_total: usize,
    /// Who of several devices of a user is to get a message; default one of them.
    pub copies: Copies,
    /// Media types of bodies that are passed on, as `text/plain`, `text/*` or `*/*`; others get 415. Default text/plain.
    /// Envelopes (RFC 3862), notifications and `is composing` are understood and need not be named.
    pub types: Vec<Box<str>>,
    /// An invitation to a session that nobody answers is over after this; default 30 s.
    pub invitation_timeout: Duration,
    /// The phones of who takes part by a workspace get what is said, too; default false.
    pub copy_to_phones: bool,
    /// Plain phones are told who joins; default false.
    pub tell_joined: bool,
    /// The text of sessions is kept when they are closed, and can be searched; otherwise only that they were. Default false.
    pub keep_transcripts: bool,
    /// Records of sessions, with their text if that is kept, are erased after this; `None`: never. Default 90 days.
    pub keep_records: Option<Duration>,
}

/// Who of several devices of a user is to get a message.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// All that are there; one that takes it is enough, and who comes later gets what none has taken.
    #[default]
    User,
    /// Each that is known: who is away gets it when it comes back, though another has it.
    Device,
}

impl Default for Im {
    /// The defaults of im.toml.
    fn default() -> Im {
        Im {
            store: true,
            answer_within: Duration::from_secs(8),
            max_size: 16_384,
            keep: Duration::from_secs(7 * 86_400),
            max_per_user: 1_000,
            max_total: 100_000,
            copies: Copies::User,
            types: vec!["text/plain".into()],
            invitation_timeout: Duration::from_secs(30),
            copy_to_phones: false,
            tell_joined: false,
            keep_transcripts: false,
            keep_records: Some(Duration::from_secs(90 * 86_400)),
        }
    }
}

impl Im {
    /// Whether bodies of this Content-Type are passed on.
    #[must_use]
    pub fn passes(&self, content_type: &str) -> bool {
        let media_type = sip::body::media_type(content_type);
        let group = media_type.split('/').next().unwrap_or_default();
        self.types.iter().any(|known| match known.strip_suffix("/*") {
            Some("*") => true,
            Some(known) => known.eq_ignore_ascii_case(group),
            None => known.eq_ignore_ascii_case(media_type),
        })
    }
}

/// How subscriptions to events behave (RFC 6665), and who may watch whom.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// A watcher is told of changes at most once in this time; default 500 ms.
    pub notify_interval: Duration,
    /// Subscriptions of one user; a new one ends the oldest. Default 200.
    pub per_user: usize,
    /// Who may watch whether others ring or talk (RFC 4235); default everyone.
    pub watch_calls: Audience,
    /// Who of them is told with whom; default everyone.
    pub watch_peers: Audience,
    /// Who may watch whether others can be reached, and what they do (RFC 3856); default everyone.
    pub watch_presence: Audience,
    /// The lamp of who is on a break or does not want to be disturbed is lit as if they talked; default true.
    pub lamps_show_breaks: bool,
}

/// Which of the users.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every user.
    Everyone,
    /// Those with the role supervisor or admin.
    Supervisors,
    /// These, and those who are in a group of agents with the user.
    Group,
    /// Nobody but the user himself.
    Nobody,
}

/// Digest and what guards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Realm of every challenge.
    pub realm: Box<str>,
    /// Algorithms offered, in this order, each its own header.
    pub digest: Vec<Algorithm>,
    /// A nonce is good for so long; at most 5 min.
    pub nonce_ttl: Duration,
    /// How many nonces may have state at once.
    pub max_nonces: usize,
    /// Wrong answers per account and source address in a minute before more are refused unseen.
    pub max_failures: u32,
    /// What is done about those who send too much, or nothing good.
    pub abuse: Abuse,
}

/// Limits for senders, and when they are no longer listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abuse {
    /// Whose packets are neither limited nor counted against them: own proxies, large offices. Trunks need not be named.
    pub exempt: Vec<Network>,
    /// Packets of any kind a second from one source; more are dropped.
    pub packets_per_second: u32,
    /// Requests a second from one source, without a registration, that would begin something; more are refused, then dropped.
    pub new_per_second: u32,
    /// So many of them may come at once.
    pub new_burst: u32,
    /// Requests a second of one user; more are refused.
    pub user_per_second: u32,
    /// So many of them may come at once.
    pub user_burst: u32,
    /// Offences of one source in ten minutes for which it is banned.
    pub ban_after: u32,
    /// How long.
    pub ban_for: Duration,
    /// What tools that look for victims say in User-Agent or From, in lower case; their source is banned at once.
    pub scanners: Vec<Box<str>>,
}

impl Abuse {
    /// Whether a header value names a scanner.
    #[must_use]
    pub fn is_scanner(&self, value: &[u8]) -> bool {
        let is_in = |name: &str| {
            let mut parts = value.windows(name.len().max(1));
            parts.any(|part| part.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.scanners.iter().any(|name| is_in(name))
    }
}

/// Where media goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Address the RTP sockets are bound to.
    pub local: IpAddr,
    /// Address written into SDP where it differs.
    pub advertised: Option<IpAddr>,
    /// An address of the other family, and what is written into SDP instead: for devices that talk to us in that family.
    pub second: Option<(IpAddr, Option<IpAddr>)>,
    /// A leg that should send and does not for this long ends its call; default 60 s.
    pub timeout: Duration,
    /// A freed port rests so long; default 2 s.
    pub port_rest: Duration,
    /// Pairs of ports bound ahead by all media workers together.
    pub ports_ahead: u16,
    /// Media workers of the node, at least one: [`media::WorkerId`]s below this exist.
    pub workers: u16,
    /// SRTP keys may be spoken of over UDP and TCP, where everybody on the way can read them. Default no.
    pub sdes_over_clear: bool,
    /// Listen for key presses in the sound of devices that agreed to no packets for them. Default no.
    pub inband_dtmf: bool,
    /// Whose tones callers hear. Default those of Germany.
    pub tones: Country,
}

/// Bounds with their reasons in docs/operations.md.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Server and client transactions alive at once; more new requests get 503.
    pub max_transactions: usize,
    /// Bindings in all.
    pub max_bindings: usize,
    /// Message-waiting and other subscriptions in all.
    pub max_subscriptions: usize,
    /// New work that has waited longer in line than this is refused with 503; default 100 ms.
    pub queue_delay: Duration,
}
