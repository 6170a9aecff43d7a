//! `message-summary` (RFC 3842): the lamp of one's own mailbox, which holds nothing yet. Phones ask at registration, and ask
//! without end when refused.

use super::Watched;
use crate::core::{Core, aor_uri};
use crate::users::UserIndex;
use model::Aor;
use sip::{Body, Reply};

pub(super) const MEDIA_TYPE: &str = "application/simple-message-summary";

/// S6: a user may watch their own mailbox and no other.
pub(super) fn admit(core: &Core, watcher: UserIndex, dialled: Option<&str>) -> Result<Watched, Reply> {
    let own = &core.users[watcher].aor;
    match dialled {
        Some(dialled) if dialled != own.user() => Err(Reply::new(403)),
        _ => Ok(Watched::Mailbox(own.clone())),
    }
}

/// RFC 3842 section 3.5: an empty mailbox.
pub(super) fn summary(user: &Aor) -> Body {
    let account = aor_uri(user);
    let text = format!("Messages-Waiting: no\r\nMessage-Account: {account}\r\nVoice-Message: 0/0 (0/0)\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}
