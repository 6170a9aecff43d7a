//! Who the other side is told is calling: the account that was authenticated, never what a device claims (S10). Identity
//! headers of devices (P-Asserted-Identity, Remote-Party-ID, Diversion) are not copied: no header is.

use crate::core::{Core, aor_uri};
use crate::text::name_addr;
use crate::users::UserIndex;
use sip::{Headers, Message, Name};

/// What goes into the From of the callee's leg for a caller who asked for privacy (RFC 3323 section 4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// Longest display name passed on: no phone shows more.
const NAME_MAX: usize = 80;

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

/// A display name that can do no harm on a screen or in a log (GHSA-2grh-7mhv-fcfw): without control characters and the
/// marks that turn the direction of text, and of bounded length.
#[must_use]
fn printable(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars()
        .filter(|&c| !c.is_control() && !turns(c))
        .take(NAME_MAX)
        .collect()
}

/// RFC 3323 section 4.2: `id`, `user` and `header` all mean that the other side must not learn who calls.
pub(super) fn is_private(message: &Message) -> bool {
    message.lines(Name::Privacy).any(|line| {
        line.split(|&b| matches!(b, b';' | b',' | b' '))
            .any(|word| matches!(&*word.to_ascii_lowercase(), b"id" | b"user" | b"header"))
    })
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_name_keeps_letters_of_all_scripts_and_loses_control_characters() {
        assert_eq!(printable("J\u{fc}rgen \u{5f20}"), "J\u{fc}rgen \u{5f20}");
        assert_eq!(printable("a\r\nX: y\u{0}\u{85}\u{202e}b"), "aX: yb");
        assert_eq!(printable(&"x".repeat(500)).len(), 80);
    }
}
