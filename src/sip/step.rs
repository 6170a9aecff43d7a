//! What one step of a usage works with.

use crate::dialog::Dialog;
use crate::draft::{Draft, Reply};
use crate::endpoint::{ClientId, Destination, Endpoint, Owner, ServerId};
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
        let way = self.way(dialog);
        self.endpoint.send(self.now, way, draft, owner, self.out)
    }

    pub fn send_ack(&mut self, dialog: &Dialog, draft: &Draft) {
        let way = self.way(dialog);
        self.endpoint.send_ack(self.now, way, draft, self.out);
    }

    fn way(&self, dialog: &Dialog) -> Destination {
        let is_closed = self.endpoint.is_closed(&dialog.flow());
        let anew = is_closed.then(|| dialog.destination_anew()).flatten();
        anew.unwrap_or_else(|| dialog.destination())
    }
}
