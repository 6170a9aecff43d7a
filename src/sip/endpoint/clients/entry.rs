//! One client transaction and what it waits for.

use super::remains::Remains;
use crate::draft::{Draft, Headers};
use crate::endpoint::core::Core;
use crate::endpoint::wire::{self, Branch};
use crate::endpoint::{Alternative, ClientId, Destination, Owner};
use crate::locate::Target;
use crate::output::{Output, Sink};
use crate::timers::TimerId;
use crate::transaction::client::Client;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::{Class, Effects};
use crate::{Flow, Message, Method, Name, Splice};
use bytes::Bytes;
use clock::Mono;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) struct Entry {
    pub generation: u32,
    /// With the index, our branch.
    pub random: u64,
    /// None: nobody wants to know.
    pub owner: Option<Owner>,
    pub method: Method,
    /// The listener whose sent-by is in our Via.
    pub local: SocketAddr,
    pub request: Bytes,
    /// Vias of a forwarded request, ours among them: as many a response must have.
    pub vias: usize,
    pub state: State,
    pub cancel: Cancel,
    /// What its session left behind.
    pub remains: Option<Box<Remains>>,
    /// A final response that comes within 64*T1 after the timeout is still told.
    pub heeds_late: bool,
    /// Who answers may say how much less he wants (RFC 7339).
    pub asks_load: bool,
    /// Its stream broke, and it goes over another.
    pub moved: bool,
    /// Where it may go if this way fails.
    pub spares: Spares,
    /// Which of its ways it goes: the number rises with each.
    pub attempt: u8,
    /// Nothing may be heard of it until then; afterwards the next way is gone.
    pub patience: Option<Mono>,
    pub timer: Option<(Mono, TimerId)>,
}

/// Ways that are left.
#[derive(Default)]
pub(super) struct Spares {
    pub ways: VecDeque<Alternative>,
    /// The name whose certificate is to be shown there.
    pub name: Option<Arc<str>>,
    /// The one that is being tried, if it is an address.
    pub target: Option<Target>,
}

pub(super) enum State {
    /// Waits for a stream; `fallback` is where to go without one.
    Connecting { until: Mono, fallback: Option<Flow> },
    /// Timed out; a late answer is told until then.
    Late { until: Mono },
    /// On its way. `place`: in the list of its stream.
    Sent {
        flow: Flow,
        machine: Machine,
        place: Option<u32>,
    },
}

pub(super) enum Machine {
    Invite(InviteClient),
    Other(Client),
}

pub(super) enum Cancel {
    No,
    /// As soon as a provisional response has come, with these headers.
    Wanted(Headers),
    /// By this transaction.
    Sent(ClientId),
}

/// A request that needs only our Via.
#[derive(Copy, Clone)]
pub(in crate::endpoint) enum Request<'a, 'm> {
    /// Of our own.
    Draft(&'a Draft),
    /// Of someone else, changed as a proxy must; see [`super::Endpoint::forward`].
    Forwarded(&'a Splice<'m>, u64),
}

impl Request<'_, '_> {
    pub fn method(&self) -> Method {
        match self {
            Request::Draft(draft) => draft.method,
            Request::Forwarded(splice, _) => splice.message().method(),
        }
    }

    pub fn vias(&self) -> usize {
        match self {
            Request::Draft(_) => 1,
            Request::Forwarded(splice, _) => splice.message().values(Name::Via).count() + 1,
        }
    }

    pub fn print(&self, core: &Core, destination: &Destination, branch: Branch) -> Bytes {
        let (transport, local) = destination.listener();
        let asks_load = core.throttle.asks(destination);
        match self {
            Request::Draft(draft) => wire::request(draft, transport, core.sent_by(local), branch, asks_load),
            Request::Forwarded(splice, mark) => {
                let mark_and_load = (Some(*mark), asks_load);
                wire::forwarded(splice, transport, core.sent_by(local), branch, mark_and_load)
            }
        }
    }
}

impl Machine {
    pub fn is_pending(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_pending(),
            Machine::Other(machine) => machine.is_pending(),
        }
    }

    /// Answered with 2xx: what comes yet are more of them.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Machine::Invite(machine) if machine.is_accepted())
    }

    /// Nothing has come for it, not even a provisional response.
    pub fn is_unheard(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_pending() && !machine.is_proceeding(),
            Machine::Other(machine) => machine.is_trying(),
        }
    }

    pub fn handle_response(&mut self, core: &Core, now: Mono, class: Class) -> Effects {
        let mut effects = Effects::new();
        match self {
            Machine::Invite(machine) => machine.handle_response(now, &core.times, class, &mut effects),
            Machine::Other(machine) => machine.handle_response(now, &core.times, class, &mut effects),
        }
        effects
    }

    pub fn handle_timeout(&mut self, core: &Core, now: Mono) -> Effects {
        let mut effects = Effects::new();
        match self {
            Machine::Invite(machine) => machine.handle_timeout(now, &core.times, &mut effects),
            Machine::Other(machine) => machine.handle_timeout(now, &core.times, &mut effects),
        }
        effects
    }
}

impl State {
    /// What the wheel has to know: completed non-INVITE transactions stand in [`Clients::completed`].
    pub fn wheel_deadline(&self) -> Option<Mono> {
        match self {
            State::Connecting { until, .. } | State::Late { until } => Some(*until),
            State::Sent {
                machine: Machine::Invite(machine),
                ..
            } => machine.poll_timeout(),
            State::Sent {
                machine: Machine::Other(machine),
                ..
            } => machine.poll_timeout().filter(|_| machine.is_pending()),
        }
    }

    pub fn is_completed(&self) -> bool {
        matches!(self, State::Sent { machine: Machine::Other(machine), .. } if !machine.is_pending())
    }
}

impl Entry {
    /// When something is due with it.
    pub fn deadline(&self) -> Option<Mono> {
        let state = self.state.wheel_deadline();
        match self.patience {
            Some(patience) => Some(state.map_or(patience, |state| state.min(patience))),
            None => state,
        }
    }

    pub fn transmit(&self, out: &mut impl Sink) {
        if let State::Sent { flow, .. } = self.state {
            out.push(Output::Transmit {
                flow,
                bytes: self.request.clone(),
            });
        }
    }

    /// What an answer says of the load of who was asked.
    pub fn note_load(&self, core: &mut Core, now: Mono, answer: &Message) {
        if let State::Sent { flow, .. } = &self.state
            && self.asks_load
        {
            core.throttle.note(now, flow.peer, answer);
        }
    }

    /// ACK to a refusal, where the INVITE went (RFC 3261 section 17.1.1.3).
    pub fn acknowledge(&self, refusal: Option<&(Flow, Message)>, out: &mut impl Sink) {
        let (State::Sent { flow, .. }, Some((_, refusal))) = (&self.state, refusal) else {
            return;
        };
        if let Ok(invite) = Message::parse(self.request.clone()) {
            out.push(Output::Transmit {
                flow: *flow,
                bytes: wire::ack(&invite, refusal),
            });
        }
    }
}
