//! What makes a request the same request: RFC 3261 section 17.2.3.

use crate::header::Via;
use crate::{Message, Method};
use ahash::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

/// The identity of a server transaction: what makes it up, hashed twice under keys no peer knows. Two transactions share
/// these 128 bits by chance once in 10^29 requests with 65,536 kept; comparing the texts would be a walk to cold memory for
/// each request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    print: u64,
}

/// The secrets of [`Key`].
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    hash: RandomState,
    print: RandomState,
}

impl Secrets {
    pub(crate) fn new(mut seed: impl FnMut() -> u64) -> Secrets {
        let mut keys = || RandomState::with_seeds(seed(), seed(), seed(), seed());
        Secrets {
            hash: keys(),
            print: keys(),
        }
    }
}

impl Key {
    /// The transaction this request is in. An ACK is in that of its INVITE. What the endpoint has found out before is not
    /// found out again: a request belongs to the endpoint that received it.
    pub(crate) fn of(request: &Message, via: Option<&Via<'_>>, secrets: &Secrets) -> Key {
        if let Some(known) = request.transaction {
            return known;
        }
        match request.method() {
            Method::Ack => Key::with_method(request, via, Method::Invite.as_str().as_bytes(), secrets),
            _ => Key::with_method(request, via, request.method_bytes(), secrets),
        }
    }

    /// The INVITE transaction that this CANCEL wants to end (section 9.2).
    pub(crate) fn cancelled_by(cancel: &Message, via: Option<&Via<'_>>, secrets: &Secrets) -> Key {
        Key::with_method(cancel, via, Method::Invite.as_str().as_bytes(), secrets)
    }

    fn with_method(request: &Message, via: Option<&Via<'_>>, method: &[u8], secrets: &Secrets) -> Key {
        let mut hashers = (secrets.hash.build_hasher(), secrets.print.build_hasher());
        // The length of each goes in with it, which keeps neighbours apart.
        let mut add = |part: &[u8]| {
            part.hash(&mut hashers.0);
            part.hash(&mut hashers.1);
        };
        add(method);
        match via.and_then(|via| via.branch().filter(|_| via.has_cookie())) {
            Some(branch) => add(branch),
            None => add_old(&mut add, request, method),
        }
        if let Some(via) = via {
            add(via.host);
            add(&via.port.unwrap_or(0).to_be_bytes());
        }
        Key {
            hash: hashers.0.finish(),
            print: hashers.1.finish(),
        }
    }

    /// For the index.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// A number for this transaction under another key: the To-tag of an answer without state (section 8.2.7).
    pub(crate) fn tag(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((self.hash, self.print))
    }
}

/// RFC 2543, and a branch that is the cookie and nothing more: the same are Request-URI, tags, Call-ID, CSeq and top Via.
/// The ACK of a refusal has a To-tag that its INVITE had not, so for INVITE the To-tag does not count.
fn add_old(add: &mut impl FnMut(&[u8]), request: &Message, method: &[u8]) {
    add(request.request_uri());
    add(request.call_id());
    add(request.from_tag());
    if method != Method::Invite.as_str().as_bytes() {
        add(request.to_tag());
    }
    add(request.values(crate::Name::Via).next().unwrap_or_default());
    add(&request.cseq().to_be_bytes());
}

/// What is the same in two copies of one request that came by different ways (section 8.2.2.2); `None` inside a dialog, and
/// for REGISTER, whose own rule (section 10.3 step 7: with one Call-ID, CSeq rises) lets the copy do nothing.
pub(crate) fn merge_hash(request: &Message, hasher: &RandomState) -> Option<u64> {
    let same = (
        request.call_id(),
        request.from_tag(),
        request.cseq(),
        request.method_bytes(),
    );
    let counts = request.to_tag().is_empty() && request.method() != Method::Register;
    counts.then(|| hasher.hash_one(same))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(method: &str, via: &str, to_tag: &str, cseq: u32) -> Message {
        Message::parse(Bytes::from(format!(
            "{method} sip:b@example.com SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>{to_tag}\r\n\
             Call-ID: c1\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )))
        .unwrap()
    }

    fn secrets() -> Secrets {
        let mut seed = 0;
        Secrets::new(|| {
            seed += 1;
            seed
        })
    }

    fn key(method: &str, via: &str, to_tag: &str, cseq: u32) -> Key {
        let request = request(method, via, to_tag, cseq);
        let via = request.via().unwrap();
        Key::of(&request, Some(&via), &secrets())
    }

    const NEW: &str = "SIP/2.0/UDP h:5070;branch=z9hG4bKx";
    const OLD: &str = "SIP/2.0/UDP h:5070;branch=1";

    #[test]
    fn branch_sent_by_and_method_are_the_transaction() {
        assert_eq!(
            key("INVITE", NEW, "", 1),
            key("INVITE", "SIP/2.0/UDP h:5070;rport;branch=z9hG4bKx", "", 2)
        );
        assert_ne!(
            key("INVITE", NEW, "", 1),
            key("INVITE", "SIP/2.0/UDP h:5071;branch=z9hG4bKx", "", 1)
        );
        assert_ne!(
            key("INVITE", NEW, "", 1),
            key("INVITE", "SIP/2.0/UDP i:5070;branch=z9hG4bKx", "", 1)
        );
        assert_ne!(
            key("INVITE", NEW, "", 1),
            key("INVITE", "SIP/2.0/UDP h:5070;branch=z9hG4bKy", "", 1)
        );
        assert_ne!(key("INVITE", NEW, "", 1), key("BYE", NEW, "", 1));
    }

    #[test]
    fn an_ack_is_in_the_transaction_of_its_invite() {
        assert_eq!(key("INVITE", NEW, "", 1), key("ACK", NEW, ";tag=2", 1));
        assert_eq!(key("INVITE", OLD, "", 1), key("ACK", OLD, ";tag=2", 1));
    }

    #[test]
    fn a_cancel_names_the_invite_but_is_a_transaction_of_its_own() {
        let cancel = request("CANCEL", NEW, "", 1);
        let (via, secrets) = (cancel.via().unwrap(), secrets());
        assert_eq!(
            Key::cancelled_by(&cancel, Some(&via), &secrets),
            key("INVITE", NEW, "", 1)
        );
        assert_ne!(Key::of(&cancel, Some(&via), &secrets), key("INVITE", NEW, "", 1));
    }

    #[test]
    fn without_the_cookie_everything_rfc_2543_names_counts() {
        assert_eq!(key("BYE", OLD, ";tag=2", 1), key("BYE", OLD, ";tag=2", 1));
        assert_ne!(key("BYE", OLD, ";tag=2", 1), key("BYE", OLD, ";tag=2", 2));
        assert_ne!(key("BYE", OLD, ";tag=2", 1), key("BYE", OLD, ";tag=3", 1));
        assert_ne!(
            key("BYE", OLD, ";tag=2", 1),
            key("BYE", "SIP/2.0/UDP h:5070", ";tag=2", 1)
        );
    }

    #[test]
    fn the_cookie_alone_identifies_nothing() {
        let bare = "SIP/2.0/UDP h:5070;branch=z9hG4bK";
        assert_ne!(key("OPTIONS", bare, "", 1), key("OPTIONS", bare, "", 2));
    }

    #[test]
    fn copies_by_different_ways_have_one_merge_hash() {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let hash = |via, tag, cseq| merge_hash(&request("INVITE", via, tag, cseq), &hasher);
        assert_eq!(hash(NEW, "", 1), hash(OLD, "", 1));
        assert_ne!(hash(NEW, "", 1), hash(NEW, "", 2));
        assert_eq!(hash(NEW, ";tag=2", 1), None);
    }
}
