//! Where a device's packets come from, learnt once and then held (RFC 7362 section 4; the attack is known as RTPbleed).
//!
//! The address in the device's SDP is believed at once, and displaces a source that was only learnt a moment ago. Any other
//! source must be on a host the [`Latch`] setting allows and show two packets in sequence of one SSRC (RFC 3550 appendix
//! A.1). Once a source is held, others are strangers; one that was learnt and has gone on for [`CONFIRMED`] packets gives
//! way even to the SDP address only if that carries on its stream, or speaks for [`SILENCE`] packets while it is silent:
//! the SDP can be read on the way and a source address can be forged. A re-negotiation opens a window of [`WINDOW`] packets in which the
//! source may move, if the stream keeps its SSRC or the SDP now names another address.

use crate::plan::Latch;
use std::net::{IpAddr, SocketAddr};

/// Packets of the held source after which a re-negotiation's window closes.
pub const WINDOW: u8 = 5;

/// Packets after which a learnt source is the device's beyond doubt: a second of sound.
pub const CONFIRMED: u8 = 50;

/// Packets in sequence from the SDP address, without one of the source that was learnt, after which that has moved: half a
/// second of sound. Whoever forges packets cannot make the device be silent.
pub const SILENCE: u8 = 25;

/// What a source is to a leg.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device.
    Held,
    /// The device, at a source not known before.
    Latched {
        /// The source is the address in the SDP.
        as_signalled: bool,
    },
    /// May become the device if it goes on; drop the packet.
    Candidate,
    /// Somebody else; drop the packet.
    Stranger,
}

/// The source of one leg's RTP.
#[derive(Debug)]
pub struct RtpLatch {
    policy: Latch,
    signalled: Option<SocketAddr>,
    held: Option<Held>,
    candidate: Option<Candidate>,
}

#[derive(Debug)]
struct Held {
    source: SocketAddr,
    ssrc: u32,
    as_signalled: bool,
    window: u8,
    /// Packets, counted up to [`CONFIRMED`].
    heard: u8,
    /// The SDP has named another address since: send there until the device shows itself.
    superseded: bool,
}

#[derive(Debug)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    next: u16,
    /// Packets in sequence since the held source was last heard.
    run: u8,
}

impl RtpLatch {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(policy: Latch, signalled: Option<SocketAddr>) -> RtpLatch {
        RtpLatch {
            policy,
            signalled,
            held: None,
            candidate: None,
        }
    }

    /// After offer and answer. No address in the SDP (a hold with 0.0.0.0) leaves the old one in force.
    pub fn rearm(&mut self, signalled: Option<SocketAddr>) {
        let moved = signalled.is_some() && signalled != self.signalled;
        self.signalled = signalled.or(self.signalled);
        self.candidate = None;
        if let Some(held) = &mut self.held {
            held.window = WINDOW;
            held.as_signalled = Some(held.source) == self.signalled;
            held.superseded = (held.superseded || moved) && !held.as_signalled;
        }
    }

    /// Whether a packet from `source` is the device's. `identity` reads SSRC and sequence number, and is only asked where
    /// they matter.
    pub fn judge(&mut self, source: SocketAddr, identity: impl FnOnce() -> Option<(u32, u16)>) -> Verdict {
        if let Some(held) = &mut self.held {
            if held.source == source {
                held.heard = held.heard.saturating_add(1).min(CONFIRMED);
                if let Some(candidate) = &mut self.candidate {
                    candidate.run = 0;
                }
                if held.window > 0 {
                    held.window -= 1;
                    held.ssrc = identity().map_or(held.ssrc, |(ssrc, _)| ssrc);
                }
                return Verdict::Held;
            }
            if held.as_signalled && held.window == 0 {
                return Verdict::Stranger;
            }
        }
        let as_signalled = Some(source) == self.signalled;
        if !as_signalled && !self.may_learn(source.ip()) {
            return Verdict::Stranger;
        }
        match identity() {
            Some((ssrc, sequence)) if self.is_believed(as_signalled) || self.proves_itself(source, ssrc, sequence) => {
                self.hold(source, ssrc, as_signalled)
            }
            Some(_) if self.candidate.is_some() => Verdict::Candidate,
            _ => Verdict::Stranger,
        }
    }

    /// The device is at this source now.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.held.as_ref().map(|held| held.source)
    }

    /// Where to send: to the source, once known, else where the SDP says.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        match &self.held {
            Some(held) if !held.superseded => Some(held.source),
            _ => self.signalled,
        }
    }

    fn hold(&mut self, source: SocketAddr, ssrc: u32, as_signalled: bool) -> Verdict {
        self.held = Some(Held {
            source,
            ssrc,
            as_signalled,
            window: 0,
            heard: 0,
            superseded: false,
        });
        self.candidate = None;
        Verdict::Latched { as_signalled }
    }

    /// The SDP address needs no proof, unless another source has been the device for a while and the SDP did not change.
    fn is_believed(&self, as_signalled: bool) -> bool {
        let settled = |held: &Held| held.heard >= CONFIRMED && !held.superseded;
        as_signalled && !self.held.as_ref().is_some_and(settled)
    }

    /// A source other than the SDP's: nothing is held yet, or the window is open.
    fn may_learn(&self, host: IpAddr) -> bool {
        let open = self.held.as_ref().is_none_or(|held| held.window > 0);
        let allowed = match self.policy {
            Latch::Any => true,
            Latch::Host(signalling) => {
                host == signalling || Some(host) == self.signalled.map(|signalled| signalled.ip())
            }
            Latch::SdpHost => Some(host) == self.signalled.map(|signalled| signalled.ip()),
        };
        open && allowed
    }

    /// The second packet in sequence; while another source is held it must carry on that source's stream, or be the SDP
    /// address and go on while that source is silent.
    fn proves_itself(&mut self, source: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let other = |held: &Held| !held.superseded && held.ssrc != ssrc;
        let enough = match self.held.as_ref().is_some_and(other) {
            true if Some(source) == self.signalled => SILENCE,
            true => return false,
            false => 2,
        };
        let next = sequence.wrapping_add(1);
        match &mut self.candidate {
            Some(known) if known.source == source && known.ssrc == ssrc => {
                let follows = known.next == sequence;
                known.next = next;
                known.run = if follows { known.run.saturating_add(1) } else { 1 };
                follows && known.run >= enough
            }
            candidate => {
                let run = 1;
                *candidate = Some(Candidate {
                    source,
                    ssrc,
                    next,
                    run,
                });
                false
            }
        }
    }
}

/// The source of one leg's RTCP.
#[derive(Debug, Default)]
pub struct RtcpLatch {
    signalled: Option<SocketAddr>,
    held: Option<SocketAddr>,
}

impl RtcpLatch {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(signalled: Option<SocketAddr>) -> RtcpLatch {
        RtcpLatch { signalled, held: None }
    }

    /// After offer and answer: learns anew.
    pub fn rearm(&mut self, signalled: Option<SocketAddr>) {
        self.signalled = signalled.or(self.signalled);
        self.held = None;
    }

    /// Whether a compound from `source` is the device's: from the signalled address, or from the host its RTP comes from
    /// with the SSRC of its RTP, which a stranger cannot know.
    pub fn judge(&mut self, source: SocketAddr, same_host_and_ssrc: impl FnOnce() -> bool) -> bool {
        match self.held {
            Some(held) if held == source => true,
            held if Some(source) == self.signalled => {
                self.held = Some(source);
                held != self.signalled
            }
            Some(_) => false,
            None => {
                let known = same_host_and_ssrc();
                self.held = known.then_some(source);
                known
            }
        }
    }

    /// Where to send reports.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.held.or(self.signalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const A: &str = "192.0.2.1:4000";
    const NATTED: &str = "198.51.100.9:61000";
    const X: &str = "203.0.113.66:4000";

    struct Feed {
        latch: RtpLatch,
        sequence: u16,
    }

    impl Feed {
        fn new(policy: Latch) -> Feed {
            Feed {
                latch: RtpLatch::new(policy, Some(addr(A))),
                sequence: 0,
            }
        }

        fn from(&mut self, source: &str, ssrc: u32) -> Verdict {
            self.sequence += 1;
            self.latch.judge(addr(source), || Some((ssrc, self.sequence)))
        }
    }

    #[test]
    fn believes_the_sdp_address_at_once_and_nobody_after_it() {
        let mut feed = Feed::new(Latch::Any);
        assert_eq!(feed.from(A, 1), Verdict::Latched { as_signalled: true });
        assert_eq!(feed.from(A, 1), Verdict::Held);
        assert!((0..100).all(|_| feed.from(X, 1) == Verdict::Stranger));
    }

    #[test]
    fn learns_the_signalling_host_after_two_packets_in_sequence() {
        let mut feed = Feed::new(Latch::Host(addr(NATTED).ip()));
        assert_eq!(feed.from(NATTED, 1), Verdict::Candidate);
        assert_eq!(feed.from(NATTED, 1), Verdict::Latched { as_signalled: false });
        assert_eq!(feed.latch.destination(), Some(addr(NATTED)));
        assert_eq!(feed.from(X, 1), Verdict::Stranger);
    }

    #[test]
    fn other_hosts_are_strangers_even_when_they_come_first() {
        let mut feed = Feed::new(Latch::Host(addr(NATTED).ip()));
        assert!((0..100).all(|_| feed.from(X, 1) == Verdict::Stranger));
        assert_eq!(feed.latch.destination(), Some(addr(A)));
    }

    #[test]
    fn the_sdp_address_displaces_a_source_that_was_only_learnt() {
        let mut feed = Feed::new(Latch::SdpHost);
        let neighbour = "192.0.2.1:6666";
        feed.from(neighbour, 9);
        assert_eq!(feed.from(neighbour, 9), Verdict::Latched { as_signalled: false });
        assert_eq!(feed.from(A, 1), Verdict::Latched { as_signalled: true });
        assert_eq!(feed.from(neighbour, 9), Verdict::Stranger);
        assert_eq!(feed.latch.destination(), Some(addr(A)));
    }

    #[test]
    fn a_forged_packet_from_the_sdp_address_does_not_displace_a_source_that_was_confirmed() {
        let mut feed = Feed::new(Latch::Host(addr(NATTED).ip()));
        (0..2 + u16::from(CONFIRMED)).for_each(|_| _ = feed.from(NATTED, 1));
        for _ in 0..100 {
            assert_ne!(feed.from(A, 9), Verdict::Latched { as_signalled: true });
            assert_eq!(feed.from(NATTED, 1), Verdict::Held);
        }
        assert_eq!(feed.latch.destination(), Some(addr(NATTED)));
        feed.latch.rearm(Some(addr(A)));
        assert_ne!(
            feed.from(A, 9),
            Verdict::Latched { as_signalled: true },
            "a session refresh changes nothing"
        );
        feed.latch.rearm(Some(addr(X)));
        assert_eq!(
            feed.from(X, 9),
            Verdict::Latched { as_signalled: true },
            "a new address does"
        );
    }

    #[test]
    fn the_sdp_address_takes_over_from_a_confirmed_source_that_has_fallen_silent() {
        let mut feed = Feed::new(Latch::SdpHost);
        let neighbour = "192.0.2.1:6666";
        (0..2 + u16::from(CONFIRMED)).for_each(|_| _ = feed.from(neighbour, 9));
        assert!((1..SILENCE).all(|_| feed.from(A, 1) == Verdict::Candidate));
        assert_eq!(feed.from(A, 1), Verdict::Latched { as_signalled: true });
    }

    #[test]
    fn the_same_stream_may_come_to_the_sdp_address() {
        let mut feed = Feed::new(Latch::SdpHost);
        let neighbour = "192.0.2.1:6666";
        (0..2 + u16::from(CONFIRMED)).for_each(|_| _ = feed.from(neighbour, 9));
        assert_eq!(feed.from(A, 9), Verdict::Candidate);
        assert_eq!(feed.from(A, 9), Verdict::Latched { as_signalled: true });
    }

    #[test]
    fn a_renegotiation_lets_the_same_stream_move_for_five_packets() {
        let mut feed = Feed::new(Latch::Host(addr(NATTED).ip()));
        feed.from(NATTED, 1);
        feed.from(NATTED, 1);
        feed.latch.rearm(Some(addr(A)));
        let rebound = "198.51.100.9:61777";
        assert_eq!(feed.from(rebound, 2), Verdict::Stranger, "another SSRC");
        assert_eq!(feed.from(rebound, 1), Verdict::Candidate);
        assert_eq!(feed.from(rebound, 1), Verdict::Latched { as_signalled: false });
        feed.latch.rearm(Some(addr(A)));
        (0..WINDOW).for_each(|_| assert_eq!(feed.from(rebound, 1), Verdict::Held));
        assert!((0..10).all(|_| feed.from(NATTED, 1) == Verdict::Stranger));
    }

    #[test]
    fn a_new_sdp_address_is_sent_to_at_once_and_believed_at_once() {
        let mut feed = Feed::new(Latch::SdpHost);
        feed.from(A, 1);
        feed.latch.rearm(Some(addr(X)));
        assert_eq!(feed.latch.destination(), Some(addr(X)));
        assert_eq!(feed.from(A, 1), Verdict::Held, "until the new one shows itself");
        assert_eq!(feed.from(X, 7), Verdict::Latched { as_signalled: true });
        assert!((0..10).all(|_| feed.from(A, 1) == Verdict::Stranger));
    }

    #[test]
    fn a_hold_without_address_changes_nothing() {
        let mut feed = Feed::new(Latch::SdpHost);
        feed.from(A, 1);
        feed.latch.rearm(None);
        assert_eq!(feed.from(A, 1), Verdict::Held);
        assert_eq!(feed.latch.destination(), Some(addr(A)));
    }

    #[test]
    fn rtcp_is_taken_from_the_signalled_address_or_with_the_ssrc_of_the_stream() {
        let mut latch = RtcpLatch::new(Some(addr(A)));
        assert!(!latch.judge(addr(X), || false));
        assert!(latch.judge(addr(NATTED), || true));
        assert!(!latch.judge(addr(X), || true), "another is held");
        assert!(latch.judge(addr(A), || false), "signalled displaces learnt");
        assert!(!latch.judge(addr(NATTED), || true));
        assert_eq!(latch.destination(), Some(addr(A)));
    }
}
