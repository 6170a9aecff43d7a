//! Methods. Case matters (RFC 3261 section 7.1).

/// A known method, or any other token, whose text is in the message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the methods
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Message,
    Subscribe,
    Notify,
    Publish,
    Refer,
    Info,
    Prack,
    Update,
    Other,
}

impl Method {
    /// Reads a method token.
    #[must_use]
    pub fn from_bytes(token: &[u8]) -> Method {
        KNOWN
            .iter()
            .find(|(text, _)| text.as_bytes() == token)
            .map_or(Method::Other, |&(_, m)| m)
    }

    /// The token; empty for [`Method::Other`], whose text is in the message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KNOWN.iter().find(|&&(_, m)| m == self).map_or("", |&(text, _)| text)
    }
}

const KNOWN: [(&str, Method); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("OPTIONS", Method::Options),
    ("REGISTER", Method::Register),
    ("MESSAGE", Method::Message),
    ("SUBSCRIBE", Method::Subscribe),
    ("NOTIFY", Method::Notify),
    ("PUBLISH", Method::Publish),
    ("REFER", Method::Refer),
    ("INFO", Method::Info),
    ("PRACK", Method::Prack),
    ("UPDATE", Method::Update),
];
