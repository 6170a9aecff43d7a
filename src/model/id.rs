//! Identifiers. All are opaque to who receives them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(into = "String", try_from = "String")]
        #[schema(value_type = String)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{:016x}"), self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<$name, String> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            /// Reads what `Display` wrote; anything else is refused.
            fn from_str(text: &str) -> Result<$name, String> {
                text.strip_prefix(concat!($prefix, "-"))
                    .filter(|hex| hex.len() == 16)
                    .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                    .map($name)
                    .ok_or_else(|| format!(concat!("{:?} is not of the form ", $prefix, "-0123456789abcdef"), text))
            }
        }
    };
}

id!(
    /// A call or other interaction, random 64 bits; travels through transfers and consultations.
    InteractionId, "i"
);
id!(
    /// One leg: the relation of one device to the switch.
    LegId, "l"
);
id!(
    /// A media room: the matrix of who hears whom.
    RoomId, "r"
);
id!(
    /// A stored instant message. Rising in the order of acceptance, also across restarts.
    MessageId, "m"
);
id!(
    /// One who takes part in an interaction, random 64 bits; stays the same when it moves to another room.
    PartyId, "p"
);
id!(
    /// A session of instant messages: random 56 bits; on the wire in `X-IM-Session`.
    SessionId, "s"
);
