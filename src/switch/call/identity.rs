//! Who the other side is told is calling: the account that was authenticated, never what a device claims (S10). Identity
//! headers of devices (P-Asserted-Identity, Remote-Party-ID, Diversion) are not copied: no header is.

use crate::core::{Core, aor_uri};
use crate::interaction::Party;
use crate::text::{name_addr, printable};
use crate::users::UserIndex;
use sip::{Headers, Message, Name};

/// What goes into the From of the callee's leg for a caller who asked for privacy (RFC 3323 section 4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// A user as others see him.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// A From or To value without tag.
    pub(crate) from: String,
    /// For P-Asserted-Identity; none if the user asked for privacy (RFC 3325 section 7).
    pub(crate) asserted: Option<String>,
    /// For records and views: `"Name" <number>`.
    pub(crate) shown: Box<str>,
    /// The user part of our Contact towards the other side.
    pub(crate) number: Box<str>,
}

impl Identity {
    /// The caller of an INVITE: the provisioned name, or without one the name his phone gives him.
    #[must_use]
    pub(crate) fn of_caller(core: &Core, user: UserIndex, invite: &Message) -> Identity {
        let given = || invite.from().map(|from| from.display_name()).unwrap_or_default();
        let identity = Identity::of_user(core, user, given);
        if is_private(invite) {
            return Identity {
                from: ANONYMOUS.to_owned(),
                asserted: None,
                shown: "\"Anonymous\" <anonymous>".into(),
                number: "anonymous".into(),
            };
        }
        identity
    }

    /// A user of ours who is called.
    #[must_use]
    pub(crate) fn of_callee(core: &Core, user: UserIndex) -> Identity {
        Identity::of_user(core, user, String::new)
    }

    /// One who takes part in a call.
    #[must_use]
    pub(crate) fn of_party(party: &Party) -> Identity {
        let number = party.user.as_ref().map_or("anonymous", |user| user.user());
        let hidden = party.asserted.is_none();
        Identity {
            from: party.asserted.as_deref().unwrap_or(ANONYMOUS).to_owned(),
            asserted: party.asserted.as_deref().map(Into::into),
            shown: party.shown.clone(),
            number: if hidden { "anonymous" } else { number }.into(),
        }
    }

    fn of_user(core: &Core, user: UserIndex, given: impl FnOnce() -> String) -> Identity {
        let user = &core.users[user];
        let name = if user.name.is_empty() {
            printable(&given())
        } else {
            printable(&user.name)
        };
        let address = name_addr(&name, &aor_uri(&user.aor));
        Identity {
            asserted: Some(address.clone()),
            from: address,
            shown: name_addr(&name, user.aor.user()).into(),
            number: user.aor.user().into(),
        }
    }

    /// The headers that assert it.
    #[must_use]
    pub(crate) fn headers(&self) -> Headers {
        match &self.asserted {
            Some(identity) => Headers::new().with(Name::PAssertedIdentity, identity),
            None => Headers::new(),
        }
    }
}

/// RFC 3323 section 4.2: `id`, `user` and `header` all mean that the other side must not learn who calls.
pub(super) fn is_private(message: &Message) -> bool {
    message.lines(Name::Privacy).any(|line| {
        line.split(|&b| matches!(b, b';' | b',' | b' '))
            .any(|word| matches!(&*word.to_ascii_lowercase(), b"id" | b"user" | b"header"))
    })
}
