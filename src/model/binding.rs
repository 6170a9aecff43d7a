//! Where a user can be reached: address of record and its bindings (RFC 3261 section 10).

use clock::Wall;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use utoipa::ToSchema;

/// An address of record: `user@domain`, user unescaped and case kept, domain in lower case and one of the switch's own
/// (aliases already replaced by the main one).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "1000@example.org")]
pub struct Aor(Arc<str>);

impl Aor {
    /// From the two halves; the domain is lowered here.
    #[must_use]
    pub fn new(user: &str, domain: &str) -> Aor {
        let mut text = String::with_capacity(user.len() + 1 + domain.len());
        text.push_str(user);
        text.push('@');
        text.extend(domain.chars().map(|c| c.to_ascii_lowercase()));
        Aor(text.into())
    }

    /// `user@domain`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the last `@`.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0[..self.at().unwrap_or(self.0.len())]
    }

    /// The part after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.at().map_or("", |at| &self.0[at + 1..])
    }

    /// Where the last `@` is: for texts so short a plain walk is the fastest.
    fn at(&self) -> Option<usize> {
        self.0.bytes().rposition(|byte| byte == b'@')
    }
}

impl From<&str> for Aor {
    /// `text` as stored before: `user@domain`.
    fn from(text: &str) -> Aor {
        Aor(text.into())
    }
}

impl std::borrow::Borrow<str> for Aor {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How SIP messages travel (RFC 3261 section 18, RFC 7118).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// A websocket.
    Ws,
    /// A websocket under TLS.
    Wss,
}

/// Where a contact's packets came from: enough to reach it again through the same listener after a restart.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// How.
    pub transport: Transport,
    /// Our listener's address.
    pub local: SocketAddr,
    /// The peer as the socket saw it (behind NAT: the NAT's address).
    pub peer: SocketAddr,
}

/// Which binding of an AOR: the Contact URI as compared by RFC 3261 section 19.1.4, or instance and reg-id (RFC 5626).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BindingKey(pub Box<str>);

/// One contact bound to an AOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Whose.
    pub aor: Aor,
    /// Unique within the AOR.
    pub key: BindingKey,
    /// The Contact URI as the phone wrote it, with its URI parameters, without `<>`.
    pub contact: Box<str>,
    /// Contact header parameters other than q and expires, as written (`;+sip.instance="..."`), echoed in the 200.
    pub params: Box<str>,
    /// Preference in thousandths: 0 to 1000.
    pub q: u16,
    /// Call-ID of the REGISTER that made or refreshed it.
    pub call_id: Box<str>,
    /// CSeq of that REGISTER; a lower one with the same Call-ID is out of order (RFC 3261 section 10.3 step 7).
    pub cseq: u32,
    /// When it ends.
    #[serde(with = "crate::wall")]
    pub expires_at: Wall,
    /// When it was first made.
    #[serde(with = "crate::wall")]
    pub created_at: Wall,
    /// Path values in order, comma-joined as received (RFC 3327); empty if none.
    pub path: Box<str>,
    /// User-Agent of the REGISTER, cut to 128 bytes, control characters removed.
    pub user_agent: Box<str>,
    /// Where the REGISTER came from.
    pub endpoint: Endpoint,
}
