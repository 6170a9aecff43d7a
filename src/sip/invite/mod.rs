//! The INVITE usage: one leg of a call, from the first INVITE to the last BYE (RFC 3261 sections 12 to 15, 3311, 6141).
//!
//! A [`Session`] is one side of one call, in either role, and owns its dialogs. Bodies are opaque: the transaction user
//! (TU) says what is in them, the session says when one may be sent. How a TU drives it:
//!
//! * Give it every [`endpoint::Event`](crate::endpoint::Event) whose owner is the session's, through
//!   [`Session::handle_event`]. For a request inside the dialog ask [`Session::matches`] first.
//! * Obey its [`Event`]s, which come out as [`Output::Session`](crate::Output::Session).
//! * Drop it after [`Event::Ended`]: no dialog, timer or event of it is left then; what transactions still run end by
//!   themselves.

mod accept;
mod ack;
mod close;
mod connect;
mod modify;
mod prack;
mod refer;
mod session;
#[cfg(test)]
mod tests;
mod timer;
mod update;

pub use prack::knows_reliable;
pub use session::Session;
pub use timer::{Expiry, too_brief};

use crate::dialog::Dialog;
use crate::draft::{Body, Headers};
use crate::endpoint::{ClientId, Destination, ServerId};
use crate::{Message, Name};

/// How we present ourselves in a session.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// Our Contact, e.g. `<sip:kate@192.0.2.1:5060>`.
    pub contact: String,
    /// What goes into every request and 2xx of the session: Allow, Supported, User-Agent.
    pub headers: Headers,
    /// Makes the answer that takes nothing of an offer. An ACK that has to bring an answer brings this one when the call
    /// is over before the TU has answered; without it, none.
    pub decline: Option<Decline>,
    /// Session timers (RFC 4028); `None`: we do not know them.
    pub expiry: Option<Expiry>,
    /// The other side is trusted to say by name where requests go ([`Dialog::heed_names`]).
    pub heeds_names: bool,
}

impl Local {
    /// A dialog of the session.
    fn dialog(&self, mut dialog: Dialog) -> Dialog {
        if self.heeds_names {
            dialog.heed_names();
        }
        dialog
    }

    /// Supported: what a session does by itself. 100rel is said where it can be had, in INVITE alone.
    fn extensions(&self) -> Headers {
        match self.expiry {
            Some(_) => Headers::new().with(Name::Supported, "timer"),
            None => Headers::new(),
        }
    }
}

/// The answer to an offer of which nothing is taken; `None` if it cannot be read.
pub type Decline = fn(&Body) -> Option<Body>;

/// What a call to be made needs.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Where the INVITE goes.
    pub destination: Destination,
    /// Request-URI.
    pub uri: String,
    /// From without tag, e.g. `"Kate" <sip:kate@example.com>`.
    pub from: String,
    /// To without tag.
    pub to: String,
    /// For this call and everything in its dialog.
    pub local: Local,
    /// Further headers of the INVITE alone: Route, P-Asserted-Identity, Alert-Info. `Max-Forwards` goes in `max_forwards`.
    pub headers: Headers,
    /// Hops left: 70, or one less than on the leg that caused this one.
    pub max_forwards: u8,
    /// The offer; `None` asks the other side for one (delayed offer).
    pub offer: Option<Body>,
    /// We take reliable provisional responses (RFC 3262). Without an offer that means that the TU has an answer for the offer
    /// in one: [`Session::prack`].
    pub reliable: bool,
}

/// What a session tells its TU.
#[derive(Debug)]
pub enum Event {
    /// We call: 101 to 199 came.
    Progress {
        /// Which early dialog: 0 is the first one; forks count up. Responses without To-tag belong to 0.
        fork: u32,
        /// The response; early media is in its body.
        message: Message,
        /// It came reliably (RFC 3262): what its body answers is settled.
        reliable: bool,
        /// Its body is the offer, and [`Session::prack`] has to be called.
        wants_answer: bool,
    },
    /// We were called: what we sent reliably has its PRACK.
    Pracked {
        /// The answer, if we had sent the offer.
        body: Option<Body>,
    },
    /// We call: 2xx came. If the INVITE had an offer the ACK has been sent; if not, the body is the offer, and the TU
    /// owes the answer: [`Session::ack`], before the other side gives up (64*T1 - T2); after that the session ends
    /// with [`Cause::NoAck`].
    Answered {
        /// Which dialog: as in `Progress`.
        fork: u32,
        /// The response.
        message: Message,
        /// True if [`Session::ack`] has to be called.
        wants_answer: bool,
    },
    /// We call: a final refusal came, or nothing did. [`Event::Ended`] follows.
    Rejected {
        /// 300 to 699; 408 if nobody answered, 503 if it could not be sent, 487 after [`Session::close`].
        status: u16,
        /// The response, if there was one.
        message: Option<Message>,
    },
    /// We were called: our 2xx has its ACK.
    Acked {
        /// The answer, if our 2xx had the offer.
        body: Option<Body>,
    },
    /// Our 2xx to their re-INVITE has its ACK: the session can be changed from our side again (RFC 3261 section 14.1).
    Settled,
    /// The other side wants to change the session. The TU owes [`Session::answer`] or [`Session::refuse`]. An UPDATE
    /// without offer is answered in here and not told.
    Offer {
        /// The offer; `None` (re-INVITE only): the other side wants an offer from us, and `Answer` brings its answer.
        body: Option<Body>,
        /// The re-INVITE or UPDATE.
        message: Message,
    },
    /// The other side took what we offered with [`Session::modify`], [`Session::update`], or in the 2xx to its re-INVITE.
    Answer {
        /// Its answer; none after an UPDATE without offer.
        body: Option<Body>,
        /// The 2xx or ACK.
        message: Message,
        /// True if this 2xx has an offer and wants its answer by [`Session::ack`]: after `modify(None)`.
        wants_answer: bool,
    },
    /// What we offered was not taken; the session is as before. A 491 is tried again in here and is not told.
    OfferRefused {
        /// 300 to 699; 408 if nothing came.
        status: u16,
        /// The response, if there was one.
        message: Option<Message>,
    },
    /// The re-INVITE that [`Event::Offer`] told of was cancelled: the session is as before, and the answer the TU still
    /// owes is no longer wanted.
    OfferWithdrawn,
    /// A request that is not the session's own business: INFO, REFER, NOTIFY, MESSAGE, OPTIONS and so on. The TU owes
    /// [`Session::respond`].
    Request {
        /// Its transaction.
        server: ServerId,
        /// The request.
        message: Message,
    },
    /// A final response to [`Session::request`].
    Response {
        /// Which.
        client: ClientId,
        /// 200 to 699; 408 if nothing came.
        status: u16,
        /// The response, if there was one.
        message: Option<Message>,
    },
    /// The session is over and can be dropped.
    Ended {
        /// Why.
        cause: Cause,
        /// The BYE, CANCEL or final response that ended it, if there was one: it may carry Reason.
        message: Option<Message>,
    },
}

/// Why a session is over.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The TU closed or rejected it.
    Local,
    /// BYE from the other side.
    Bye,
    /// We were called: CANCEL from the other side.
    Cancelled,
    /// We called: refused, or not answered ([`Event::Rejected`] said how).
    Rejected,
    /// Our 2xx was never acknowledged (RFC 3261 section 13.3.1.4), or the TU had no answer for the offer in theirs in
    /// time; BYE has been sent.
    NoAck,
    /// The other side does not know the dialog any more (481), does not answer in it (408), or did not refresh it (RFC 4028).
    Gone,
}

/// Whose a request is (see [`Session::matches`]).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Call-ID or tags differ: 481.
    No,
    /// Call-ID and tags fit, but it comes from elsewhere than the dialog: challenge it, or 481.
    Foreign,
    /// From the dialog's own flow or source.
    Yes,
}

/// What cannot be done now.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An offer is pending in one or the other direction: try again after its answer.
    Pending,
    /// Not in this state of the session.
    State,
    /// The other side has not said in Allow that it knows the method.
    NotAllowed,
}
