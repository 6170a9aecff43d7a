//! Under which CSeq a message came first.
//!
//! A request that is challenged comes again with a higher CSeq (RFC 3261 section 22.1), and so does the retransmission of one
//! that was answered before a restart of the switch, to which all earlier nonces are stale. So the nonce of a challenge to a
//! MESSAGE bears a trace of the number under which that message came first: it has one name however often it is challenged.

use super::credentials::count;
use super::{Auth, MAX_CREDENTIALS, nonce};
use sip::header::{Auth as Fields, Picked, unquote};
use sip::{Message, Method, Name};

/// Challenges in a row that are looked back.
const STEPS: u32 = 3;

impl Auth {
    /// The CSeq under which this message came first, as far as the challenges to it tell.
    #[must_use]
    pub(crate) fn first_cseq(&self, request: &Message) -> u32 {
        let cseq = request.cseq();
        let headers = [Name::Authorization, Name::ProxyAuthorization].into_iter();
        let values = headers.flat_map(|name| request.values(name)).take(MAX_CREDENTIALS);
        let earlier = values.filter_map(trace_in).find_map(|trace| {
            let before = (1..=STEPS).map_while(|step| cseq.checked_sub(step));
            before.into_iter().find(|cseq| self.trace(request, *cseq) == trace)
        });
        earlier.unwrap_or(cseq)
    }

    /// What a challenge to this request says of it; nothing of others than messages, of which none has to be told from the
    /// one before.
    pub(super) fn trace_for(&self, request: &Message) -> Option<u32> {
        let is_message = request.method() == Method::Message;
        is_message.then(|| self.trace(request, self.first_cseq(request)))
    }

    /// With the body in it, so that a phone that counts its uses of a nonce wrongly repeats nothing by that.
    fn trace(&self, request: &Message, cseq: u32) -> u32 {
        self.nonces.trace(request.call_id(), cseq, request.body_bytes())
    }
}

/// What the nonce in these credentials bears. Only its first use answers the challenge: later ones are other requests.
fn trace_in(value: &[u8]) -> Option<u32> {
    let picked = Fields::pick(value, ["nonce", "nc"]).ok().filter(Picked::is_digest)?;
    let [nonce, nc] = picked.values;
    match count(nc?) {
        Some(1) => nonce::trace_in(&unquote(nonce?)),
        _ => None,
    }
}
