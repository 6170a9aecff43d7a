//! A message on its way: who, to whom, what; and the MESSAGE (RFC 3428) a device gets of it.

use super::devices::Kind;
use super::session;
use crate::core::{Core, aor_uri};
use crate::text::name_addr;
use bytes::Bytes;
use clock::Wall;
use model::{Aor, MessageId, SessionId, StoredMessage};
use sha2::{Digest, Sha256};
use sip::body::cpim::{self, Cpim};
use sip::body::imdn::{Mark, Marks};
use sip::{Body, Draft, Headers, Method, Name};
use std::fmt::Write;

/// One accepted message.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Rises in the order of acceptance. Devices know it by its name: [`Letter::name`].
    pub(super) id: MessageId,
    pub(super) to: Aor,
    pub(super) from: Aor,
    pub(super) from_display: Box<str>,
    /// Of the sender's request.
    pub(super) call_id: Box<str>,
    /// Under which it came first, before any challenge.
    pub(super) cseq: u32,
    pub(super) content_type: Box<str>,
    pub(super) body: Bytes,
    pub(super) accepted_at: Wall,
    pub(super) expires_at: Wall,
    /// The device that the sender has named (RFC 5627), while it can be reached: it alone gets the message. What is stored is
    /// for all devices.
    pub(super) named: Option<Box<[u8]>>,
    /// Means nothing later: `is composing`, or an Expires of 0. Never stored.
    pub(super) is_transient: bool,
    /// It was written to a `sips` URI: it goes on under TLS only.
    pub(super) is_secure: bool,
    /// How its requests look, where that is not ours to choose. Not stored: a later try has our own look.
    pub(super) guise: Option<Box<Guise>>,
    /// What its sender calls it, if he wants to hear of it, or the session it belongs to: [`Letter::of_session`]. May be empty.
    pub(super) imdn_id: Box<str>,
    /// What he wants to hear.
    pub(super) wants: Marks,
}

/// How a message looks to one device.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The body as it is.
    Plain,
    /// The same for a page, which knows what to make of our name for the message.
    Named,
    /// In an envelope (RFC 3862), so that the device can say when it was shown.
    Envelope,
}

/// The header that tells an aware device our name of a message: with it a repeat is known for one.
const MESSAGE_ID: &str = "X-Message-Id";

/// The header that names the session to which a message belongs.
pub(super) const SESSION: &str = "X-IM-Session";

/// The look of a MESSAGE that belongs to something longer, as an IM session: one Call-ID with rising CSeq, so that a trace
/// shows it as one conversation.
#[derive(Clone, Debug)]
pub(crate) struct Guise {
    /// Call-ID of its requests.
    pub(crate) call_id: Box<str>,
    /// CSeq; rises by one with each message of that Call-ID.
    pub(crate) cseq: u32,
    /// From-tag.
    pub(crate) tag: Box<str>,
    /// Further headers.
    pub(crate) headers: Headers,
}

impl Letter {
    /// Whether a stored message must not overtake this one: a later one of the same sender, or of the same conversation.
    pub(super) fn comes_before(&self, message: &StoredMessage) -> bool {
        let is_one_conversation = || self.of_session().is_some() && self.call_id == message.call_id;
        self.id < message.id && (self.from == message.from || is_one_conversation())
    }

    /// The request for the devices of its reader, yet without Request-URI. Each try has a From-tag of its own; the
    /// Call-ID stays, so that a device can tell a repeat.
    #[must_use]
    pub(super) fn draft(&self, core: &mut Core, form: Form) -> Draft {
        let (from, to) = (
            name_addr(&self.from_display, &aor_uri(&self.from)),
            format!("<{}>", aor_uri(&self.to)),
        );
        let tagged = |tag: &dyn std::fmt::Display| format!("{from};tag={tag}");
        let draft = match (&self.guise, self.of_session()) {
            (Some(guise), _) => {
                let from = tagged(&guise.tag);
                Draft::new(Method::Message, "", &from, &to, &guise.call_id, guise.cseq).headers(&guise.headers)
            }
            // One that was stored looks as it did before.
            (None, Some((session, _))) => {
                let from = tagged(&core.endpoint.new_tag());
                let draft = Draft::new(Method::Message, "", &from, &to, &self.call_id, self.cseq);
                draft.headers(&Headers::new().named(SESSION, session.to_string()))
            }
            (None, None) => {
                let from = tagged(&core.endpoint.new_tag());
                let call_id = format!("{}@{}", self.name(), self.to.domain());
                Draft::new(Method::Message, "", &from, &to, &call_id, 1)
            }
        };
        let mut draft = draft.header(Name::Date, sip::header::write_date(self.accepted_at));
        if form != Form::Plain {
            draft.headers.add_named(MESSAGE_ID, self.name());
        }
        if form == Form::Envelope {
            return draft.body(Body {
                content_type: cpim::MEDIA_TYPE.into(),
                content: self.envelope(),
            });
        }
        if self.body.is_empty() && self.content_type.is_empty() {
            return draft;
        }
        draft.body(Body {
            content_type: self.content_type.to_string().into(),
            content: self.body.clone(),
        })
    }

    /// Its name on the wire, made of what its sender calls it: when the sender repeats it to a switch that has lost its memory,
    /// devices see that it is the same.
    #[must_use]
    pub(super) fn name(&self) -> String {
        let mut name = String::from("m-");
        for byte in &self.digest()[..16] {
            // To write to a String does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// The same in short, for a session that is to know the request again; never 0.
    #[must_use]
    pub(super) fn short_name(&self) -> u64 {
        let digest = self.digest();
        let first = digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        // The disk's numbers have a sign.
        (first >> 1).max(1)
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.to.as_str(), self.from.as_str(), &*self.call_id] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(self.cseq.to_be_bytes());
        hash.finalize().into()
    }

    /// The session it is said in, and its number there.
    #[must_use]
    pub(super) fn of_session(&self) -> Option<(SessionId, u64)> {
        session::text_of(&self.imdn_id)
    }

    /// The body only those devices get who take it.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(&self.content_type)
    }

    /// That it was delivered the switch tells itself: a device is asked only to say when it is shown. A session wants to know
    /// that of all its texts.
    fn envelope(&self) -> Bytes {
        let asks = Marks::NONE.with(Mark::Displayed);
        let wants = if self.of_session().is_some() {
            asks
        } else {
            self.wants.both(asks)
        };
        Cpim {
            from: Some(name_addr(&self.from_display, &aor_uri(&self.from)).into()),
            to: Some(format!("<{}>", aor_uri(&self.to)).into()),
            date: Some(rfc3339(self.accepted_at).into()),
            message_id: Some(self.imdn_id.to_string().into()),
            wants,
            content_type: (!self.content_type.is_empty()).then(|| self.content_type.to_string().into()),
            is_notification: false,
            body: &self.body,
        }
        .write()
    }

    /// As it is stored.
    #[must_use]
    pub(super) fn stored(&self) -> StoredMessage {
        StoredMessage {
            id: self.id,
            to: self.to.clone(),
            from: self.from.clone(),
            from_display: self.from_display.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            content_type: self.content_type.clone(),
            body: self.body.to_vec(),
            accepted_at: self.accepted_at,
            expires_at: self.expires_at,
            is_taken: false,
            owed: Vec::new(),
            imdn_id: self.imdn_id.clone(),
            wants: self.wants.0,
        }
    }
}

impl From<StoredMessage> for Letter {
    fn from(stored: StoredMessage) -> Letter {
        Letter {
            id: stored.id,
            to: stored.to,
            from: stored.from,
            from_display: stored.from_display,
            call_id: stored.call_id,
            cseq: stored.cseq,
            content_type: stored.content_type,
            body: stored.body.into(),
            accepted_at: stored.accepted_at,
            expires_at: stored.expires_at,
            named: None,
            is_transient: false,
            is_secure: false,
            guise: None,
            imdn_id: stored.imdn_id,
            wants: Marks(stored.wants),
        }
    }
}

/// `2026-01-01T00:00:00Z` (RFC 3339).
pub(super) fn rfc3339(at: Wall) -> String {
    let c = at.civil();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    )
}
