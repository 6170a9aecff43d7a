//! What outlives a restart beside bindings and messages: what users set by their phones, and subscriptions.

use crate::{Aor, Endpoint, Medium, Said};
use clock::Wall;
use serde::{Deserialize, Serialize};

/// What a user has set by star codes or the API; users.toml says the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSettings {
    /// Whose.
    pub aor: Aor,
    /// Calls are refused as busy.
    pub do_not_disturb: bool,
    /// A second call rings while the user is in one; `None`: as configured for all.
    pub call_waiting: Option<bool>,
    /// All calls go to this number.
    pub forward_always: Option<Box<str>>,
    /// Calls go to this number while the user is busy.
    pub forward_busy: Option<Box<str>>,
    /// Calls go to this number when the user does not answer, or has no phone.
    pub forward_no_answer: Option<Box<str>>,
    /// What the user said last as an agent, by voice; `None`: nothing ever.
    pub voice: Option<Said>,
    /// The same by instant message.
    pub im: Option<Said>,
}

impl UserSettings {
    /// Nothing set.
    #[must_use]
    pub fn of(aor: Aor) -> UserSettings {
        UserSettings {
            aor,
            do_not_disturb: false,
            call_waiting: None,
            forward_always: None,
            forward_busy: None,
            forward_no_answer: None,
            voice: None,
            im: None,
        }
    }

    /// What the user said last as an agent.
    #[must_use]
    pub fn said(&self, medium: Medium) -> Option<&Said> {
        match medium {
            Medium::Voice => self.voice.as_ref(),
            Medium::Im => self.im.as_ref(),
        }
    }

    /// The user says something as an agent.
    pub fn say(&mut self, medium: Medium, said: Said) {
        match medium {
            Medium::Voice => self.voice = Some(said),
            Medium::Im => self.im = Some(said),
        }
    }
}

/// A subscription of a device to a state of ours, with its dialog: texts as they stand in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSubscription {
    /// Our tag in its dialog; the key.
    pub tag: u64,
    /// Who watches.
    pub user: Aor,
    /// Event as the subscriber wrote it.
    pub event: Box<str>,
    /// What is watched: the user part of its address.
    pub resource: Box<str>,
    /// Our Contact.
    pub contact: Box<str>,
    /// Call-ID.
    pub call_id: Box<str>,
    /// Their tag.
    pub remote_tag: Box<str>,
    /// From of our NOTIFY.
    pub local: Box<str>,
    /// To of our NOTIFY.
    pub remote: Box<str>,
    /// Route values, one a line.
    pub routes: Box<str>,
    /// Request-URI of our NOTIFY.
    pub target: Box<str>,
    /// CSeq of our last NOTIFY.
    pub local_cseq: u32,
    /// CSeq of their last SUBSCRIBE.
    pub remote_cseq: u32,
    /// The dialog must go over TLS.
    pub secure: bool,
    /// Where the device was last heard.
    pub endpoint: Endpoint,
    /// Number of the next document.
    pub version: u32,
    /// When it was written down.
    pub kept_at: Wall,
    /// When it ends.
    pub expires_at: Wall,
}
