//! Who the other side is told is calling: the account that was authenticated, never what a device claims (S10). Identity
//! headers of devices (P-Asserted-Identity, Remote-Party-ID, Diversion) are not copied: no header is.

use crate::core::{Core, aor_uri};
use crate::interaction::Party;
use crate::route::{Callee, TrunkIndex};
use crate::text::{name_addr, printable, split_shown};
use crate::users::UserIndex;
use sip::header::NameAddr;
use sip::uri::escape_user;
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
    /// What a peer of our trust domain is told nevertheless, with `Privacy: id`: `"Name" <number>`.
    withheld: Option<Box<str>>,
    /// A user of ours: outside he has the number of the trunk's rule.
    is_ours: bool,
    /// Nobody beyond is to be told.
    is_private: bool,
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
            return identity.hidden();
        }
        identity
    }

    /// The caller of an INVITE that came by a trunk: whom a trusted one asserts (RFC 3325 section 5), else whom From names.
    #[must_use]
    pub(crate) fn of_stranger(core: &Core, trunk: TrunkIndex, invite: &Message) -> Identity {
        let asserted = || invite.values(Name::PAssertedIdentity).find_map(stranger);
        let asserted = trunk.of(core).is_trusted.then(asserted).flatten();
        let from = invite.header(Name::From).and_then(stranger);
        let is_anonymous = asserted.is_none() && from.as_ref().is_none_or(|(_, number)| number == "anonymous");
        let (name, number) = asserted.or(from).unwrap_or_default();
        let identity = Identity::of_number(core, &name, &number, &trunk.of(core).host());
        if is_anonymous || is_private(invite) {
            return identity.hidden();
        }
        identity
    }

    /// Who is called.
    #[must_use]
    pub(crate) fn of_called(core: &Core, callee: &Callee) -> Identity {
        match callee {
            Callee::User(user) => Identity::of_callee(core, *user),
            Callee::Outside(trunk, number) => Identity::of_number(core, "", number, &trunk.of(core).host()),
        }
    }

    /// What the switch answers itself.
    pub(crate) fn of_service(core: &Core, dialled: &str) -> Identity {
        Identity::of_number(core, "", dialled, &core.config.domain)
    }

    /// Somebody outside. He stands in our domain, so that phones can call him back; but nobody is to look like a user of
    /// ours who is none.
    fn of_number(core: &Core, name: &str, number: &str, host: &str) -> Identity {
        let host = match core.users.find(number) {
            Some(_) => host,
            None => &core.config.domain,
        };
        let address = name_addr(name, &format!("sip:{}@{host}", escape_user(number.as_bytes())));
        Identity {
            asserted: Some(address.clone()),
            withheld: None,
            is_ours: false,
            is_private: false,
            from: address,
            shown: name_addr(name, number).into(),
            number: number.into(),
        }
    }

    /// The same for others if its owner wants to remain unknown.
    fn hidden(self) -> Identity {
        Identity {
            from: ANONYMOUS.to_owned(),
            asserted: None,
            withheld: Some(self.shown),
            is_ours: self.is_ours,
            is_private: false,
            shown: "\"Anonymous\" <anonymous>".into(),
            number: "anonymous".into(),
        }
    }

    /// What this peer is told of it: a trunk sees the number its rule says, and asserted identities only if it is trusted.
    #[must_use]
    pub(crate) fn towards(&self, core: &Core, trunk: Option<TrunkIndex>) -> Identity {
        let Some(trunk) = trunk.map(|trunk| trunk.of(core)) else {
            return self.clone();
        };
        let (name, own) = split_shown(self.withheld.as_deref().unwrap_or(&self.shown));
        let number = match self.is_ours {
            true => trunk.caller_id.of(own),
            false => own.to_owned(),
        };
        let user = escape_user(number.as_bytes());
        let address = name_addr(&name, &format!("sip:{user}@{}", core.config.domain));
        let told = self.withheld.is_none();
        Identity {
            from: if told { address.clone() } else { self.from.clone() },
            asserted: trunk.is_trusted.then_some(address),
            withheld: None,
            is_ours: self.is_ours,
            is_private: !told && trunk.is_trusted,
            shown: self.shown.clone(),
            number: if told { number.into() } else { self.number.clone() },
        }
    }

    /// A user of ours who is called.
    #[must_use]
    pub(crate) fn of_callee(core: &Core, user: UserIndex) -> Identity {
        Identity::of_user(core, user, String::new)
    }

    /// One who takes part in a call.
    #[must_use]
    pub(crate) fn of_party(party: &Party) -> Identity {
        let outside = split_shown(&party.shown).1;
        let number = party.user.as_ref().map_or(outside, |user| user.user());
        let hidden = party.asserted.is_none();
        Identity {
            from: party.asserted.as_deref().unwrap_or(ANONYMOUS).to_owned(),
            asserted: party.asserted.as_deref().map(Into::into),
            withheld: hidden
                .then(|| party.user.as_ref().map(|user| format!("<{}>", user.user()).into()))
                .flatten(),
            is_ours: party.user.is_some(),
            is_private: false,
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
            withheld: None,
            is_ours: true,
            is_private: false,
            from: address,
            shown: name_addr(&name, user.aor.user()).into(),
            number: user.aor.user().into(),
        }
    }

    /// The headers that assert it.
    #[must_use]
    pub(crate) fn headers(&self) -> Headers {
        let headers = match &self.asserted {
            Some(identity) => Headers::new().with(Name::PAssertedIdentity, identity),
            None => Headers::new(),
        };
        match self.is_private {
            true => headers.with(Name::Privacy, "id"),
            false => headers,
        }
    }
}

/// Name and number of an identity from outside, fit to be shown; `None` for what has neither.
fn stranger(value: &[u8]) -> Option<(String, String)> {
    let address = NameAddr::parse(value).ok()?;
    let user = address.uri().ok()?.user_unescaped()?.into_owned();
    let number = printable(&String::from_utf8(user).ok()?);
    (!number.is_empty()).then(|| (printable(&address.display_name()), number))
}

/// RFC 3323 section 4.2: `id`, `user` and `header` all mean that the other side must not learn who calls.
pub(crate) fn is_private(message: &Message) -> bool {
    ["id", "user", "header"].iter().any(|wish| wishes(message, wish))
}

/// Whether Privacy names this (RFC 3323 section 4.2): in lists of `;`, which some write otherwise.
pub(crate) fn wishes(message: &Message, wish: &str) -> bool {
    message.lines(Name::Privacy).any(|line| {
        line.split(|&b| matches!(b, b';' | b',' | b' '))
            .any(|word| word.eq_ignore_ascii_case(wish.as_bytes()))
    })
}
