//! Requests inside the dialog that are not the session's own: INFO, MESSAGE, OPTIONS, and REFER with its NOTIFY, whose
//! meaning (RFC 3515) is the transaction user's.

use super::session::{Cx, Phase, Session};
use super::{Event, Refused};
use crate::draft::{Body, Headers, Reply};
use crate::endpoint::{ClientId, Endpoint, ServerId};
use crate::output::Sink;
use crate::{Flow, Message, Method, Name};
use clock::Mono;

/// Requests of ours under way in one session at a time. A transaction lives 32 s at most; nobody presses keys faster.
const MAX_REQUESTS: usize = 64;

impl Session {
    /// Sends another request inside the dialog: INFO, NOTIFY, MESSAGE, REFER. Answered by [`Event::Response`].
    ///
    /// # Errors
    /// [`Refused::State`] before there is a dialog and after the end, and for the methods that have verbs of their own;
    /// [`Refused::Pending`] if 64 requests wait for their answer.
    pub fn request(
        &mut self,
        now: Mono,
        method: Method,
        headers: &Headers,
        body: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<ClientId, Refused> {
        let cx = &mut Cx { now, endpoint, out };
        if is_own(method) || matches!(self.phase, Phase::Leaving(_)) {
            return Err(Refused::State);
        }
        if self.requests.len() >= MAX_REQUESTS {
            return Err(Refused::Pending);
        }
        let mut all = Headers::new();
        if matches!(method, Method::Refer | Method::Notify | Method::Subscribe) {
            all.add(Name::Contact, &self.local.contact);
        }
        all.append(&self.local.headers);
        all.append(headers);
        let owner = self.owner;
        let Some(dialog) = self.dialogs_mut().first_mut() else {
            return Err(Refused::State);
        };
        let mut draft = dialog.request(method).headers(&all);
        draft.body = body;
        let client = cx.send(dialog, &draft, owner);
        self.requests.push(client);
        Ok(client)
    }

    pub(super) fn on_other_response(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        client: ClientId,
        status: u16,
        got: Option<(Flow, Message)>,
    ) {
        if status < 200 {
            return;
        }
        self.requests.retain(|request| *request != client);
        let message = got.map(|(_, message)| message);
        self.tell(
            cx,
            Event::Response {
                client,
                status,
                message: message.clone(),
            },
        );
        // 481 says that the dialog is gone; a timeout of such a request says nothing of the session (RFC 5057 section 5.2).
        if status == 481 {
            self.on_gone(cx, message);
        }
    }

    pub(super) fn on_other_request(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        let server = cx.endpoint.accept(cx.now, flow, message.clone(), self.owner, cx.out);
        self.tell(cx, Event::Request { server, message });
    }

    /// Answers [`Event::Request`].
    pub fn respond(&mut self, now: Mono, server: ServerId, reply: Reply, endpoint: &mut Endpoint, out: &mut impl Sink) {
        endpoint.respond(now, server, &reply, out);
    }
}

fn is_own(method: Method) -> bool {
    use Method::{Ack, Bye, Cancel, Invite, Other, Prack, Update};
    matches!(method, Invite | Ack | Bye | Cancel | Prack | Update | Other)
}
