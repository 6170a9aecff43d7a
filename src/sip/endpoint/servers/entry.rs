//! One server transaction.

use crate::draft::Tag;
use crate::endpoint::Owner;
use crate::endpoint::core::Core;
use crate::endpoint::wire::Way;
use crate::output::Sink;
use crate::timers::TimerId;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key::Key;
use crate::transaction::server::Server;
use crate::transaction::{Class, Effects};
use crate::{Flow, Message};
use bytes::Bytes;
use clock::Mono;

pub(super) struct Entry {
    pub generation: u32,
    pub key: Key,
    pub merge: Option<u64>,
    pub owner: Owner,
    /// Where the request came from.
    pub source: Flow,
    /// Where responses go.
    pub way: Way,
    pub machine: Machine,
    /// Until the final response.
    pub request: Option<Box<Message>>,
    pub tag: Tag,
    /// The last response; none while nothing was said.
    pub response: Option<Bytes>,
    pub cancelled: bool,
    pub timer: Option<(Mono, TimerId)>,
}

pub(super) enum Machine {
    Invite(InviteServer),
    Other(Server),
}

impl Machine {
    pub fn is_pending(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_pending(),
            Machine::Other(machine) => machine.is_pending(),
        }
    }

    /// Answered with 2xx.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Machine::Invite(machine) if machine.is_accepted())
    }

    pub fn respond(&mut self, now: Mono, core: &Core, status: u16, effects: &mut Effects) -> bool {
        match self {
            Machine::Invite(machine) => machine.respond(now, &core.times, Class::of(status), effects),
            // RFC 4320 section 4.2: a 408 would come when the client has given up.
            Machine::Other(machine) if status == 408 => machine.abandon(effects),
            Machine::Other(machine) => machine.respond(now, &core.times, Class::of(status), effects),
        }
    }

    /// What the wheel has to know: a completed non-INVITE transaction leaves the slab.
    pub fn wheel_deadline(&self) -> Option<Mono> {
        match self {
            Machine::Invite(machine) => machine.poll_timeout(),
            Machine::Other(machine) => machine.poll_timeout().filter(|_| machine.is_pending()),
        }
    }

    /// Timer J, if this is a non-INVITE transaction whose answer only has to be kept.
    pub fn completed_until(&self) -> Option<Mono> {
        match self {
            Machine::Invite(_) => None,
            Machine::Other(machine) => machine.poll_timeout().filter(|_| !machine.is_pending()),
        }
    }
}

impl Entry {
    pub fn transmit(&self, core: &mut Core, now: Mono, out: &mut impl Sink) {
        if let Some(bytes) = &self.response {
            core.send_response(now, self.way, bytes.clone(), out);
        }
    }
}
