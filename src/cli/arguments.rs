//! Every verb of the command line.

use crate::moment;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A SIP softswitch for teams of people who talk and type to each other.
#[derive(Clone, Debug, Parser)]
#[command(name = "tandem", disable_version_flag = true)]
pub struct Arguments {
    /// Directory of the configuration; else ./sip-config, else /etc/tandem.
    #[arg(long, global = true, value_name = "DIR")]
    pub config: Option<PathBuf>,

    /// Lays a value over the configuration, for example switch.media.ports=20000-20100.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// Socket of the running switch; else the one in the data directory that the configuration names.
    #[arg(long, global = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,

    /// Prints JSON instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Runs the switch in the foreground; logs go to stderr.
    Serve(Serve),
    /// Checks the configuration and reports everything that is wrong with it.
    Check,
    /// Shows how the running switch is doing.
    Status,
    /// Reads the configuration again and puts it to use, all or nothing.
    Reload,
    /// Takes no new calls from now on.
    Drain {
        /// How many seconds present calls may go on.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        limit: u32,
    },
    /// Shows the version.
    Version,
    /// Who can be reached where.
    #[command(subcommand)]
    Registrations(RegistrationsVerb),
    /// Who is not listened to.
    #[command(subcommand)]
    Bans(BansVerb),
    /// Calls that ring or talk.
    #[command(subcommand)]
    Calls(CallsVerb),
    /// Who can be given what.
    #[command(subcommand)]
    Agents(AgentsVerb),
    /// Groups of agents.
    #[command(subcommand)]
    Groups(GroupsVerb),
    /// Conference rooms with somebody in them.
    #[command(subcommand)]
    Rooms(RoomsVerb),
    /// Sessions of messages, and messages that wait for their readers.
    #[command(subcommand)]
    Im(ImVerb),
    /// Records of sessions of messages that are over.
    #[command(subcommand)]
    Transcripts(TranscriptsVerb),
    /// People, groups and skills.
    #[command(subcommand)]
    Directory(DirectoryVerb),
    /// Users of users.toml.
    #[command(subcommand)]
    User(UserVerb),
    /// The dial plan.
    #[command(subcommand)]
    Route(RouteVerb),
    /// Writes every SIP message to the log, or stops that.
    Trace {
        /// Which.
        state: Switched,
    },
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Writes the process id here when every listener is bound.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
}

/// `registrations ...`
#[derive(Clone, Debug, Subcommand)]
pub enum RegistrationsVerb {
    /// Shows them.
    List {
        /// Only this user's.
        user: Option<String>,
    },
    /// Removes the bindings of a user; their phones come back when they register again.
    Drop {
        /// Whose.
        user: String,
        /// Only this contact URI.
        #[arg(long, value_name = "URI")]
        contact: Option<String>,
    },
}

/// `agents ...`
#[derive(Clone, Debug, Subcommand)]
pub enum AgentsVerb {
    /// Shows how agents are.
    List {
        /// Only this one: extension, or extension@domain.
        user: Option<String>,
    },
    /// Says that an agent is ready, not ready or logged off.
    Set {
        /// Extension, or extension@domain.
        user: String,
        /// What.
        state: AgentState,
        /// Only by this medium; else by all.
        #[arg(long, value_parser = ["voice", "im"])]
        medium: Option<String>,
        /// Why not ready: one of those of groups.toml.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// What is said of an agent.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // the names are the states
pub enum AgentState {
    Ready,
    NotReady,
    LoggedOff,
}

/// `groups ...`
#[derive(Clone, Debug, Subcommand)]
pub enum GroupsVerb {
    /// Shows groups, and how many of them can be given something.
    List {
        /// Only this one, by its number.
        group: Option<String>,
    },
}

/// `bans ...`
#[derive(Clone, Debug, Subcommand)]
pub enum BansVerb {
    /// Shows them.
    List,
    /// Listens to an address no longer, also where phones are registered there.
    Add {
        /// Of IPv6 its network of 64 bits is meant.
        address: std::net::IpAddr,
        /// For so long.
        #[arg(long = "for", value_name = "SECONDS", default_value_t = 3600)]
        seconds: u64,
    },
    /// Ends a ban, or all.
    Drop {
        /// As `bans list` shows it, or an address in it.
        #[arg(required_unless_present = "all")]
        address: Option<String>,
        /// Everybody's.
        #[arg(long, conflicts_with = "address")]
        all: bool,
    },
}

/// `calls ...`
#[derive(Clone, Debug, Subcommand)]
pub enum CallsVerb {
    /// Shows the calls of now.
    List,
    /// Shows one call with its legs.
    Show {
        /// As `calls list` shows it.
        id: String,
    },
    /// Calls a user's phone, and when it answers the target, as one call of the user's.
    Originate {
        /// Extension, or extension@domain.
        user: String,
        /// Extension or number, as the user would dial it.
        target: String,
    },
    /// Ends a call.
    Hangup {
        /// As `calls list` shows it.
        id: String,
    },
    /// Records a call, pauses that, or ends it.
    Record {
        /// As `calls list` shows it.
        id: String,
        /// What is wanted.
        state: RecordState,
    },
    /// Says how the legs of a call do, and what is heard on them: codec, packets, level, tones.
    Media {
        /// As `calls list` shows it.
        id: String,
    },
    /// Puts the others on hold, for the owner of the interaction, as all these verbs.
    Hold {
        /// As `calls list` shows it.
        id: String,
    },
    /// Takes them off hold.
    Resume {
        /// As `calls list` shows it.
        id: String,
    },
    /// Changes between a call and its consultation.
    Toggle {
        /// As `calls list` shows it.
        id: String,
    },
    /// Holds a call and calls somebody to talk about it.
    Consult {
        /// As `calls list` shows it.
        id: String,
        /// Extension or number.
        target: String,
    },
    /// Ends a consultation.
    EndConsult {
        /// The consultation.
        id: String,
    },
    /// Transfers a call to somebody; or, with a consultation alone, to the one consulted.
    Transfer {
        /// The call, or the consultation.
        id: String,
        /// Extension or number.
        target: Option<String>,
    },
    /// Calls somebody into a call; or, with a consultation alone, lets the one consulted join.
    Conference {
        /// The call, or the consultation.
        id: String,
        /// Extension or number.
        target: Option<String>,
    },
    /// Calls somebody into a conference.
    Add {
        /// As `calls list` shows it.
        id: String,
        /// Extension or number.
        target: String,
    },
    /// Takes a party out.
    Drop {
        /// As `calls list` shows it.
        id: String,
        /// As `calls parties` shows it.
        party: String,
    },
    /// Takes its owner out of a call; the others stay.
    Leave {
        /// As `calls list` shows it.
        id: String,
    },
    /// Lets a supervisor listen to a call: their phone rings, or the call they have there changes.
    Monitor {
        /// As `calls list` shows it.
        id: String,
        /// Extension of the supervisor.
        user: String,
        /// Whom to watch over, as `calls parties` shows it; else the owner.
        #[arg(long)]
        party: Option<String>,
    },
    /// The same, and the agent alone hears the supervisor.
    Whisper {
        /// As `calls list` shows it.
        id: String,
        /// Extension of the supervisor.
        user: String,
        /// Whom to watch over, as `calls parties` shows it; else the owner.
        #[arg(long)]
        party: Option<String>,
    },
    /// The same, and all hear the supervisor.
    Barge {
        /// As `calls list` shows it.
        id: String,
        /// Extension of the supervisor.
        user: String,
        /// Whom to watch over, as `calls parties` shows it; else the owner.
        #[arg(long)]
        party: Option<String>,
    },
    /// A supervisor takes the owner's place.
    TakeOver {
        /// As `calls list` shows it.
        id: String,
        /// Extension of the supervisor.
        user: String,
    },
    /// Makes a party unheard.
    Mute {
        /// As `calls list` shows it.
        id: String,
        /// As `calls parties` shows it.
        party: String,
        /// By this party alone.
        #[arg(long, value_name = "PARTY")]
        listener: Option<String>,
        /// The party does not hear (the others, or this one); with `both` it is not heard either.
        #[arg(long, value_name = "DIRECTION", value_parser = ["speech", "hearing", "both"], default_value = "speech")]
        direction: String,
        /// Gives the voice back.
        #[arg(long)]
        off: bool,
    },
    /// Transfers a call to a mailbox.
    Voicemail {
        /// As `calls list` shows it.
        id: String,
        /// Whose.
        target: String,
    },
    /// Attaches a value to the case.
    Attach {
        /// As `calls list` shows it.
        id: String,
        /// Its name.
        key: String,
        /// Nothing removes it.
        #[arg(default_value = "")]
        value: String,
    },
    /// Shows who takes part.
    Parties {
        /// As `calls list` shows it.
        id: String,
    },
    /// Says how and why a call ended, or the latest ones.
    Why {
        /// As `calls list` showed it.
        id: Option<String>,
    },
}

/// `rooms ...`
#[derive(Clone, Debug, Subcommand)]
pub enum RoomsVerb {
    /// Shows the rooms of now.
    List,
    /// Shows who is in a room.
    Show {
        /// Its number.
        room: String,
    },
    /// Makes a member unheard, or deaf.
    Mute {
        /// The room's number.
        room: String,
        /// The member's number in the room, as `rooms show` shows it.
        member: u32,
        /// Takes the member's hearing instead of its voice.
        #[arg(long)]
        deaf: bool,
        /// Gives it back.
        #[arg(long)]
        off: bool,
    },
    /// Ends the call of a member, or of all.
    Drop {
        /// The room's number.
        room: String,
        /// The member's number in the room; all if not given.
        member: Option<u32>,
    },
    /// Lets nobody in any more, but moderators by name.
    Lock {
        /// The room's number.
        room: String,
        /// Opens it again.
        #[arg(long)]
        off: bool,
    },
}

/// `im ...`
#[derive(Clone, Debug, Subcommand)]
pub enum ImVerb {
    /// Shows the sessions of messages that are open, and who is in them; what is said is shown to nobody.
    List,
    /// Ends a session for all who take part.
    End {
        /// As `im list` shows it.
        session: String,
    },
    /// Shows for whom how many messages wait, or which ones wait for a user; what they say is shown to nobody.
    Queue {
        /// Extension, or extension@domain.
        user: Option<String>,
    },
    /// Drops messages that wait for a user. Their senders are told, if their devices asked.
    Drop {
        /// Extension, or extension@domain.
        user: String,
        /// As `im queue USER` shows it.
        #[arg(required_unless_present = "all")]
        message: Option<String>,
        /// All of them.
        #[arg(long, conflicts_with = "message")]
        all: bool,
    },
}

/// `transcripts ...`
#[derive(Clone, Debug, Subcommand)]
pub enum TranscriptsVerb {
    /// Shows whose sessions are over, the last one first.
    List(TranscriptFilter),
    /// Shows those in which all the words stand in one message. Only where transcripts are kept.
    Search {
        /// What was said.
        #[arg(required = true)]
        words: Vec<String>,
        /// Which of them.
        #[command(flatten)]
        filter: TranscriptFilter,
    },
    /// Prints what was said.
    Export {
        /// As `transcripts list` shows it.
        session: String,
    },
    /// Erases a record and its text: afterwards neither is in any file of the store.
    Erase {
        /// As `transcripts list` shows it.
        session: String,
    },
}

/// Which records of sessions.
#[derive(Clone, Debug, Args)]
pub struct TranscriptFilter {
    /// Only those of this user: extension, or extension@domain.
    #[arg(long)]
    pub user: Option<String>,
    /// Only consultations about this call.
    #[arg(long, value_name = "CALL")]
    pub about: Option<String>,
    /// So many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Those before the one with this number: the next page.
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// Only those that ended at this moment or later: 2026-01-31, 2026-01-31T08:00:00Z, or milliseconds since 1970; UTC.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    pub since: Option<i64>,
    /// Only those that ended before this moment.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    pub until: Option<i64>,
}

/// `directory ...`
#[derive(Clone, Debug, Subcommand)]
pub enum DirectoryVerb {
    /// Finds by name, number, e-mail, skill and group; shows how they are and what they can take now.
    Search {
        /// All of them have to be found; none: everybody.
        words: Vec<String>,
        /// Only this kind.
        #[arg(long, value_parser = ["agent", "supervisor", "user", "group", "skill"])]
        kind: Option<String>,
        /// What they can take about this call.
        #[arg(long, value_name = "CALL")]
        about: Option<String>,
        /// So many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

/// `route ...`
#[derive(Clone, Debug, Subcommand)]
pub enum RouteVerb {
    /// Says what the dial plan would do, without a call.
    Test {
        /// The calling user.
        from: String,
        /// What is dialled.
        to: String,
    },
}

/// `user ...`: edits users.toml, keeps its comments, and reloads the running switch.
#[derive(Clone, Debug, Subcommand)]
pub enum UserVerb {
    /// Shows who is in users.toml.
    List,
    /// Adds a user. The password is asked for, or read from standard input.
    Add {
        /// The number to dial.
        extension: String,
        /// Display name.
        #[arg(long)]
        name: Option<String>,
        /// agent, supervisor or admin; may be given more than once.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Makes a password up and prints it.
        #[arg(long)]
        generate: bool,
    },
    /// Sets a new password, which is asked for, or read from standard input.
    Passwd {
        /// Whose.
        extension: String,
        /// Makes a password up and prints it.
        #[arg(long)]
        generate: bool,
    },
    /// Removes a user.
    Remove {
        /// Whom.
        extension: String,
    },
}

/// `on` or `off`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switched {
    /// From now on.
    On,
    /// No longer.
    Off,
}

/// `on`, `off` or `pause`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordState {
    /// Begin, or go on after a pause.
    On,
    /// End it.
    Off,
    /// What is said from now on is not kept.
    Pause,
}

impl RecordState {
    /// As the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordState::On => "on",
            RecordState::Off => "off",
            RecordState::Pause => "pause",
        }
    }
}
