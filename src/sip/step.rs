//! What one step of a usage works with.

use crate::dialog::Dialog;
use crate::draft::{Draft, Reply};
use crate::endpoint::{ClientId, Endpoint, Owner, ServerId};
use crate::output::Sink;
use crate::{Flow, Message};
use clock::Mono;

/// The moment, the transactions, the way out.
pub(crate) struct Cx<'a, S> {
    pub now: Mono,
    pub endpoint: &'a mut Endpoint,
    pub out: &'a mut S,
}

impl<S: Sink> Cx<'_, S> {
    /// Answers a request that leaves no trace.
    pub fn reply(&mut self, flow: Flow, request: &Message, reply: Reply) {
        self.endpoint.reply(flow, request, &reply, self.out);
    }

    /// Answers a request other than INVITE for good.
    pub fn answer(&mut self, flow: Flow, request: &Message, reply: Reply) {
        self.endpoint.answer(self.now, flow, request, &reply, self.out);
    }

    pub fn respond(&mut self, server: ServerId, reply: &Reply) {
        self.endpoint.respond(self.now, server, reply, self.out);
    }

    pub fn send(&mut self, dialog: &Dialog, draft: &Draft, owner: Owner) -> ClientId {
        self.endpoint
            .send(self.now, dialog.destination(), draft, owner, self.out)
    }

    pub fn send_ack(&mut self, dialog: &Dialog, draft: &Draft) {
        self.endpoint.send_ack(self.now, dialog.destination(), draft, self.out);
    }
}
