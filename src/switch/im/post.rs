//! Messages that a room of the switch sends, for a user or a session, and what it hears of them.
//!
//! [`Im::post`] sends a text of the switch's own making. Whoever names an [`Owner`] gets an [`Outcome`] for each thing that
//! happens; the last one is final.

use super::letter::{Guise, Letter};
use super::{Im, session, verdict};
use crate::core::Cx;
use crate::room::Room;
use bytes::Bytes;
use model::{Aor, MessageId, SessionId};
use sip::Owner;
use sip::body::imdn::Marks;
use std::time::Duration;

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// Who it is from: a user, or a name of the switch's own such as a group.
    pub(crate) from: Aor,
    /// The name shown; may be empty.
    pub(crate) from_display: Box<str>,
    /// The user whose devices get it.
    pub(crate) to: Aor,
    /// Content-Type.
    pub(crate) content_type: Box<str>,
    /// The body.
    pub(crate) body: Bytes,
    /// How its requests look, if not like any message.
    pub(crate) guise: Option<Guise>,
    /// It is stored for a reader who is away; otherwise that ends it with 480.
    pub(crate) keeps: bool,
    /// The text of a session that it is: its devices are asked to say when it is shown, if they can.
    pub(crate) text: Option<(SessionId, u64)>,
    /// Who hears what comes of it.
    pub(crate) owner: Option<Owner>,
}

/// Something that happened to a message whose sender named an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The owner named.
    pub(crate) owner: Owner,
    /// Which message.
    pub(crate) message: MessageId,
    /// What.
    pub(crate) what: Fate,
}

/// What happens to a message. `Delivered`, `Stored` and `Failed` are final: nothing follows, but for the text of a session
/// `Forwarded` or `Returned` some time after `Stored`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The device at this contact took it; `Delivered` follows.
    Taken {
        /// Its Contact URI.
        contact: Box<str>,
    },
    /// The device at this contact answered that it does not want it, or cannot have it now.
    Refused {
        /// Its Contact URI.
        contact: Box<str>,
        /// What it said.
        status: u16,
    },
    /// The device at this contact said nothing in time, or cannot be reached.
    Silent {
        /// Its Contact URI.
        contact: Box<str>,
    },
    /// A device has it.
    Delivered,
    /// It is on disk, and goes to the next device that comes.
    Stored,
    /// Of a text of a session: a device of this user took it from those that were stored.
    Forwarded {
        /// Whose device.
        to: Aor,
        /// Its number in the session.
        seq: u64,
    },
    /// Of a text of a session: all devices of this user that are there refused it for good when it came from the store.
    Returned {
        /// Whose devices.
        to: Aor,
        /// Its number in the session.
        seq: u64,
        /// What they said.
        status: u16,
    },
    /// Nobody has it, for the reason of this status: 480 nobody there, 503 the store, or the best refusal of the devices.
    Failed {
        /// What a sender is told.
        status: u16,
    },
}

impl Im {
    /// Sends a message of the switch's own. It keeps its place among what `from` sent to `to` before. If too much waits
    /// for the reader its owner hears `Failed` with 480.
    pub(crate) fn post(&mut self, cx: &mut Cx<'_>, post: Post) -> MessageId {
        let full = self.no_room(cx, &post.to);
        let owner = post.owner;
        let letter = self.letter_of(cx, post);
        if let Some(reply) = full {
            let id = self.next_id(cx.now.wall);
            tracing::info!(to = %letter.to, status = reply.status, "message of the switch refused");
            tell(cx, owner, id, || Fate::Failed { status: reply.status });
            return id;
        }
        let (_, id) = self.admit(cx, letter, owner);
        self.settle(cx);
        id
    }

    fn letter_of(&mut self, cx: &mut Cx<'_>, post: Post) -> Letter {
        let (call_id, cseq) = match &post.guise {
            Some(guise) => (guise.call_id.clone(), guise.cseq),
            None => (cx.core.endpoint.new_call_id().into(), 1),
        };
        let keep = if post.keeps {
            cx.core.config.im.keep
        } else {
            Duration::ZERO
        };
        Letter {
            id: MessageId(0),
            to: post.to,
            from: post.from,
            from_display: post.from_display,
            call_id,
            cseq,
            named: None,
            content_type: post.content_type,
            body: post.body,
            accepted_at: cx.now.wall,
            expires_at: cx.now.wall + keep,
            is_transient: !post.keeps,
            is_secure: false,
            guise: post.guise.map(Box::new),
            imdn_id: post.text.map_or_else(Box::default, session::text_name),
            wants: Marks::NONE,
        }
    }
}

/// Tells an owner, if there is one.
pub(super) fn tell(cx: &mut Cx<'_>, owner: Option<Owner>, message: MessageId, what: impl FnOnce() -> Fate) {
    if let Some(owner) = owner {
        let what = what();
        cx.core.outcomes.push_back(Outcome { owner, message, what });
    }
}

/// Tells the session in which this was said what came of it after it was stored: a device took it, or all refused it so.
pub(super) fn tell_session(
    cx: &mut Cx<'_>,
    (text, message): (Option<(SessionId, u64)>, MessageId),
    to: &Aor,
    refusal: Option<u16>,
) {
    if let Some((session, seq)) = text {
        let (owner, to) = (Some(Room::Session.owner(session.0)), to.clone());
        tell(cx, owner, message, || match refusal {
            None => Fate::Forwarded { to, seq },
            Some(status) => Fate::Returned { to, seq, status },
        });
    }
}

/// What one device did.
pub(super) fn fate(contact: Box<str>, verdict: &verdict::Verdict) -> Fate {
    match verdict {
        verdict::Verdict::Took => Fate::Taken { contact },
        verdict::Verdict::Refused(refusal) => Fate::Refused {
            contact,
            status: refusal.status,
        },
        verdict::Verdict::Unable(status, _) => Fate::Refused {
            contact,
            status: *status,
        },
        verdict::Verdict::Absent => Fate::Silent { contact },
    }
}
