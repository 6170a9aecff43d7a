//! Which refusal of several goes back, and with what (RFC 3261 section 16.7 steps 6 and 7).

use sip::header::Auth;
use sip::{Message, Name};

/// The best refusal so far.
#[derive(Debug)]
pub(super) struct Best {
    /// What it says.
    pub(super) refusal: Refusal,
    /// Challenges of all branches (step 7): who asked may have credentials for one of them.
    pub(super) challenges: Vec<(Name, Box<[u8]>)>,
}

/// Why a branch came to nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The target said so.
    Said(Box<Message>),
    /// Nothing came, it could not be reached, or it stopped ringing as it was told.
    Lost(u16),
}

/// Challenges kept of one request: more realms than this nobody has credentials for.
const MAX_CHALLENGES: usize = 8;

impl Best {
    /// The first refusal.
    #[must_use]
    pub(super) fn new(refusal: Refusal, realm: &str) -> Best {
        let mut best = Best {
            challenges: Vec::new(),
            refusal: Refusal::Lost(408),
        };
        best.note_challenges(&refusal, realm);
        best.refusal = refusal;
        best
    }

    /// Another one.
    pub(super) fn weigh(&mut self, refusal: Refusal, realm: &str) {
        self.note_challenges(&refusal, realm);
        if rank(refusal.status()) < rank(self.refusal.status()) {
            self.refusal = refusal;
        }
    }

    /// Challenges in our own realm are ours to make: from elsewhere they would only harvest digests (S8).
    fn note_challenges(&mut self, refusal: &Refusal, realm: &str) {
        let Refusal::Said(message) = refusal else { return };
        if !matches!(message.status(), 401 | 407) {
            return;
        }
        for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
            for line in message.lines(name).filter(|line| !is_of(line, realm)) {
                if self.challenges.len() < MAX_CHALLENGES {
                    self.challenges.push((name, line.into()));
                }
            }
        }
    }
}

impl Refusal {
    #[must_use]
    pub(super) fn status(&self) -> u16 {
        match self {
            Refusal::Said(message) => message.status(),
            Refusal::Lost(status) => *status,
        }
    }
}

/// Whether a challenge, or credentials, are of this realm.
#[must_use]
pub(super) fn is_of(line: &[u8], realm: &str) -> bool {
    let found = Auth::pick(line, ["realm"]).ok().and_then(|picked| picked.values[0]);
    found.is_some_and(|found| *sip::header::unquote(found) == *realm.as_bytes())
}

/// Lower is better: any 6xx, then the lower class; within 4xx what tells the caller what to do, then who speaks for a person.
fn rank(status: u16) -> u16 {
    match status {
        600..=699 => 0,
        300..=399 => 300,
        401 | 407 => 400,
        415 | 420 | 484 | 488 | 422 => 401,
        486 => 402,
        480 => 404,
        408 | 487 | 430 => 405,
        400..=499 => 403,
        503 => 599,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn said(status: u16, extra: &str) -> Refusal {
        let text = format!(
            "SIP/2.0 {status} No\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{extra}Content-Length: 0\r\n\r\n"
        );
        Refusal::Said(Box::new(Message::parse(Bytes::from(text)).unwrap()))
    }

    fn best(statuses: &[u16]) -> u16 {
        let mut best = Best::new(said(statuses[0], ""), "r");
        for status in &statuses[1..] {
            best.weigh(said(*status, ""), "r");
        }
        best.refusal.status()
    }

    #[test]
    fn a_6xx_beats_all_and_then_the_lower_class() {
        assert_eq!(best(&[486, 302, 603]), 603);
        assert_eq!(best(&[500, 404, 302]), 302);
        assert_eq!(best(&[501, 486]), 486);
        assert_eq!(best(&[503, 500]), 500);
    }

    #[test]
    fn what_helps_to_ask_again_is_preferred_among_4xx() {
        assert_eq!(best(&[486, 407]), 407);
        assert_eq!(best(&[404, 415]), 415);
        assert_eq!(best(&[480, 486]), 486);
        assert_eq!(best(&[408, 404]), 404);
        assert_eq!(best(&[404, 410]), 404, "of equals the first stays");
    }

    #[test]
    fn challenges_are_gathered_but_for_those_in_our_realm() {
        let digest = |realm: &str| format!("Digest realm=\"{realm}\", nonce=\"n\"");
        let mut best = Best::new(said(401, &format!("WWW-Authenticate: {}\r\n", digest("one"))), "ours");
        best.weigh(
            said(
                407,
                &format!(
                    "Proxy-Authenticate: {}\r\nWWW-Authenticate: {}\r\n",
                    digest("two"),
                    digest("ours")
                ),
            ),
            "ours",
        );
        best.weigh(said(486, &format!("WWW-Authenticate: {}\r\n", digest("three"))), "ours");
        let found: Vec<_> = best.challenges.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(
            found,
            [
                (Name::WwwAuthenticate, digest("one").as_bytes()),
                (Name::ProxyAuthenticate, digest("two").as_bytes())
            ]
        );
    }
}
