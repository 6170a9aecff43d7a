//! A message on its way: who, to whom, what; and the MESSAGE (RFC 3428) a device gets of it.

use crate::core::{Core, aor_uri};
use crate::text::name_addr;
use bytes::Bytes;
use clock::Wall;
use model::{Aor, MessageId, StoredMessage};
use sip::{Body, Draft, Method, Name};

/// One accepted message.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Rises in the order of acceptance. Names the message to devices that know repeats: it is in our Call-ID.
    pub(super) id: MessageId,
    pub(super) to: Aor,
    pub(super) from: Aor,
    pub(super) from_display: Box<str>,
    /// Of the sender's request.
    pub(super) call_id: Box<str>,
    pub(super) cseq: u32,
    pub(super) content_type: Box<str>,
    pub(super) body: Bytes,
    pub(super) accepted_at: Wall,
    pub(super) expires_at: Wall,
    /// Means nothing later: `is composing`, or an Expires of 0. Never stored.
    pub(super) is_transient: bool,
}

impl Letter {
    /// The request for the devices of its reader, yet without Request-URI. Each try has a From-tag of its own; the
    /// Call-ID stays, so that a device can tell a repeat.
    #[must_use]
    pub(super) fn draft(&self, core: &mut Core) -> Draft {
        let tag = core.endpoint.new_tag();
        let from = format!("{};tag={tag}", name_addr(&self.from_display, &aor_uri(&self.from)));
        let to = format!("<{}>", aor_uri(&self.to));
        let call_id = format!("{}@{}", self.id, self.to.domain());
        let date = sip::header::write_date(self.accepted_at);
        let draft = Draft::new(Method::Message, "", &from, &to, &call_id, 1).header(Name::Date, date);
        if self.body.is_empty() && self.content_type.is_empty() {
            return draft;
        }
        draft.body(Body {
            content_type: self.content_type.to_string().into(),
            content: self.body.clone(),
        })
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
            is_transient: false,
        }
    }
}
