//! What Record-Route carries: the two ways of a dialog, so that its later requests are passed on without anything being kept,
//! also after a restart. Sealed for one Call-ID and caller's tag: who was not told cannot make us pass anything on, and who was
//! can do it in that dialog only, and to nobody else (S7, S25).

use crate::config::Listener;
use crate::text::{decode, encode};
use ahash::RandomState;
use model::Aor;
use sha2::{Digest, Sha256};
use sip::{Flow, Transport};
use std::net::{IpAddr, SocketAddr};

/// The key, and which run of the node this is: numbers of connections mean nothing in another.
#[derive(Debug)]
pub(super) struct Seal {
    key: [u8; 32],
    owners: RandomState,
    run: u16,
}

/// One side of a dialog.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The way to it. Connection 0 over a stream: one has to be opened.
    pub(super) flow: Flow,
    /// What it asserts is believed (RFC 3325).
    pub(super) is_trusted: bool,
    /// The user whose device it is, see [`Seal::owner`]; 0 for a trunk.
    pub(super) owner: u16,
}

/// A record that is ours and of this dialog.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Who sent the request.
    pub(super) from: Side,
    /// Who is to have it.
    pub(super) to: Side,
    /// The connections in it are those of another run: they are gone.
    pub(super) is_old: bool,
    /// Who sent it is who began the dialog.
    pub(super) by_caller: bool,
}

/// 80 bits: beyond guessing within the life of a dialog.
const MAC: usize = 10;
/// The longest record: two sides of IPv6 over streams, at listeners that are everywhere.
const LONGEST: usize = 3 + 2 * (1 + 3 + 2 + 16 + 2 + 16 + 4) + MAC;

const V6: u8 = 0x10;
const TRUSTED: u8 = 0x20;
/// The address at which a listener that is everywhere was reached is in it.
const HAS_LOCAL: u8 = 0x40;

impl Seal {
    #[must_use]
    pub(super) fn new(key: [u8; 32], random: u64) -> Seal {
        Seal {
            key,
            owners: owners(&key),
            run: u16::try_from(random & 0xffff).unwrap_or(0),
        }
    }

    /// A user's mark in records, the same in each run. Nobody can tell whose mark is like his own, and one in 65,535 is.
    #[must_use]
    pub(super) fn owner(&self, user: Option<&Aor>) -> u16 {
        user.map_or(0, |user| {
            1 + u16::try_from(self.owners.hash_one(user.as_str()) % 0xffff).unwrap_or(0)
        })
    }

    /// The record of a dialog as the user part of a URI; `None` if one of the listeners is not ours any more.
    #[must_use]
    pub(super) fn close(
        &self,
        listeners: &[Listener],
        (caller, callee): (Side, Side),
        call_id: &[u8],
        caller_tag: &[u8],
    ) -> Option<Vec<u8>> {
        let mut record = Vec::with_capacity(LONGEST);
        record.push(VERSION);
        record.extend_from_slice(&self.run.to_be_bytes());
        push_side(&mut record, listeners, caller)?;
        push_side(&mut record, listeners, callee)?;
        let mac = self.mac(&record, call_id, caller_tag);
        record.extend_from_slice(&mac);
        Some(encode(&record))
    }

    /// Reads a record: which side sent a request with these tags, and which is to have it.
    #[must_use]
    pub(super) fn open(
        &self,
        listeners: &[Listener],
        text: &[u8],
        call_id: &[u8],
        (from_tag, to_tag): (&[u8], &[u8]),
    ) -> Option<Opened> {
        if text.len() > LONGEST.div_ceil(3) * 4 {
            return None;
        }
        let bytes = decode(text)?;
        let (record, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let fits = |tag: &[u8]| {
            let right = self.mac(record, call_id, tag);
            !tag.is_empty() && bool::from(subtle::ConstantTimeEq::ct_eq(&right[..], mac))
        };
        let by_caller = fits(from_tag);
        if !by_caller && !fits(to_tag) {
            return None;
        }
        let [VERSION, high, low, sides @ ..] = record else {
            return None;
        };
        let (caller, rest) = take_side(sides, listeners)?;
        let (callee, []) = take_side(rest, listeners)? else {
            return None;
        };
        let (from, to) = if by_caller { (caller, callee) } else { (callee, caller) };
        let is_old = u16::from_be_bytes([*high, *low]) != self.run;
        Some(Opened {
            from,
            to,
            is_old,
            by_caller,
        })
    }

    /// What the records of a call are known by, in each of its requests and in each run.
    #[must_use]
    pub(super) fn number(&self, call_id: &[u8], caller_tag: &[u8]) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.mac(b"call record", call_id, caller_tag);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn mac(&self, record: &[u8], call_id: &[u8], tag: &[u8]) -> [u8; MAC] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(b"record-route");
        hash.update(record);
        // The length keeps its neighbours apart.
        hash.update((call_id.len() as u64).to_be_bytes());
        hash.update(call_id);
        hash.update(tag);
        let mut mac = [0; MAC];
        mac.copy_from_slice(&hash.finalize()[..MAC]);
        mac
    }
}

const VERSION: u8 = 2;

fn owners(key: &[u8; 32]) -> RandomState {
    let word = |place: usize| {
        key[8 * place..]
            .iter()
            .take(8)
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    RandomState::with_seeds(word(0), word(1), word(2), word(3))
}

fn push_side(record: &mut Vec<u8>, listeners: &[Listener], side: Side) -> Option<()> {
    let Side {
        flow,
        is_trusted,
        owner,
    } = side;
    let place = listeners.iter().position(|listener| listener.is_of(&flow))?;
    let listener = &listeners[place];
    let place = u8::try_from(place).ok()?;
    let family = if flow.peer.is_ipv6() { V6 } else { 0 };
    let trust = if is_trusted { TRUSTED } else { 0 };
    let has_local = if listener.is_everywhere() { HAS_LOCAL } else { 0 };
    record.push(number(flow.transport) | family | trust | has_local);
    record.push(place);
    record.extend_from_slice(&flow.local.port().to_be_bytes());
    record.extend_from_slice(&owner.to_be_bytes());
    push_ip(record, flow.peer.ip());
    record.extend_from_slice(&flow.peer.port().to_be_bytes());
    if listener.is_everywhere() {
        push_ip(record, flow.local.ip());
    }
    if flow.transport.is_reliable() {
        // A node that has opened four thousand million streams without a restart opens another one here.
        let connection = u32::try_from(flow.connection).unwrap_or(0);
        record.extend_from_slice(&connection.to_be_bytes());
    }
    Some(())
}

fn push_ip(record: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => record.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => record.extend_from_slice(&ip.octets()),
    }
}

fn take_ip(record: &[u8], is_v6: bool) -> Option<(IpAddr, &[u8])> {
    match is_v6 {
        false => record.split_first_chunk::<4>().map(|(ip, rest)| ((*ip).into(), rest)),
        true => record.split_first_chunk::<16>().map(|(ip, rest)| ((*ip).into(), rest)),
    }
}

fn take_side<'r>(record: &'r [u8], listeners: &[Listener]) -> Option<(Side, &'r [u8])> {
    let (&[kind, place, port_high, port_low, owner_high, owner_low], rest) = record.split_first_chunk()?;
    let transport = transport(kind & 0x0f)?;
    let port = u16::from_be_bytes([port_high, port_low]);
    let is_its = |l: &&Listener| l.transport == transport && l.local.port() == port;
    let listener = listeners.get(usize::from(place)).filter(is_its)?;
    let is_v6 = kind & V6 != 0;
    let (ip, rest) = take_ip(rest, is_v6)?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    // Both ends of a connection are of one family.
    let (local, rest) = match kind & HAS_LOCAL != 0 {
        true => take_ip(rest, is_v6).map(|(ip, rest)| (SocketAddr::new(ip, listener.local.port()), rest))?,
        false => (listener.local, rest),
    };
    // It may have been bound elsewhere since.
    if local.ip().is_unspecified() || local != listener.local && !listener.is_everywhere() {
        return None;
    }
    let (connection, rest) = match transport.is_reliable() {
        true => {
            let (connection, rest) = rest.split_first_chunk::<4>()?;
            (u64::from(u32::from_be_bytes(*connection)), rest)
        }
        false => (0, rest),
    };
    let flow = Flow {
        transport,
        local,
        peer: SocketAddr::new(ip, u16::from_be_bytes(*port)),
        connection,
    };
    let is_trusted = kind & TRUSTED != 0;
    let owner = u16::from_be_bytes([owner_high, owner_low]);
    Some((
        Side {
            flow,
            is_trusted,
            owner,
        },
        rest,
    ))
}

fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    }
}

fn transport(number: u8) -> Option<Transport> {
    use Transport::*;
    [Udp, Tcp, Tls, Ws, Wss].get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners() -> Vec<Listener> {
        let listener = |transport, local: &str| Listener {
            transport,
            local: local.parse().unwrap(),
            advertised: None,
            digest: Vec::new(),
        };
        vec![
            listener(Transport::Udp, "192.0.2.1:5060"),
            listener(Transport::Tcp, "192.0.2.1:5060"),
            listener(Transport::Udp, "[2001:db8::1]:5060"),
            listener(Transport::Ws, "[::]:8080"),
        ]
    }

    fn side(place: usize, peer: &str, connection: u64) -> Side {
        let listener = &listeners()[place];
        let flow = Flow {
            transport: listener.transport,
            local: listener.local,
            peer: peer.parse().unwrap(),
            connection,
        };
        Side {
            flow,
            is_trusted: place == 1,
            owner: 7,
        }
    }

    #[test]
    fn a_record_leads_each_side_to_the_other() {
        let seal = Seal::new([1; 32], 7);
        for (caller, callee) in [
            (side(0, "198.51.100.1:6000", 0), side(1, "198.51.100.2:40000", 77)),
            (side(2, "[2001:db8::7]:5062", 0), side(1, "198.51.100.2:40000", 0)),
        ] {
            let text = seal.close(&listeners(), (caller, callee), b"c1", b"t1").unwrap();
            assert!(text.len() <= 90 && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)));
            let open = |tags| seal.open(&listeners(), &text, b"c1", tags);
            let down = open((b"t1", b"t2")).unwrap();
            assert_eq!((down.from, down.to, down.is_old), (caller, callee, false));
            let up = open((b"t2", b"t1")).unwrap();
            assert_eq!((up.from, up.to), (callee, caller));
            assert!(down.by_caller && !up.by_caller);
        }
    }

    #[test]
    fn a_side_at_a_listener_that_is_everywhere_is_found_by_the_address_that_accepted_it() {
        let seal = Seal::new([1; 32], 7);
        for (local, peer) in [
            ("192.0.2.1:8080", "198.51.100.1:6000"),
            ("[2001:db8::1]:8080", "[2001:db8::7]:6000"),
        ] {
            let mut page = side(3, peer, 5);
            page.flow.local = local.parse().unwrap();
            let text = seal.close(&listeners(), (page, page), b"c1", b"t1").unwrap();
            let opened = seal.open(&listeners(), &text, b"c1", (b"t1", b"t2")).unwrap();
            assert_eq!((opened.from, opened.to), (page, page));
            page.flow.local.set_port(8081);
            assert!(seal.close(&listeners(), (page, page), b"c1", b"t1").is_none());
        }
    }

    #[test]
    fn a_record_from_before_its_listener_was_bound_elsewhere_is_read_as_it_was_written_or_not_at_all() {
        let seal = Seal::new([1; 32], 7);
        let with = |local: &str| {
            let mut listeners = listeners();
            listeners[3].local = local.parse().unwrap();
            listeners
        };
        let mut page = side(3, "198.51.100.1:6000", 5);
        page.flow.local = "192.0.2.1:8080".parse().unwrap();
        let phone = side(0, "198.51.100.2:6000", 0);
        for sides in [(page, phone), (phone, page)] {
            for (then, now, is_read) in [
                ("[::]:8080", "192.0.2.1:8080", true),
                ("[::]:8080", "192.0.2.9:8080", false),
                ("192.0.2.1:8080", "[::]:8080", false),
            ] {
                let text = seal.close(&with(then), sides, b"c1", b"t1").unwrap();
                let opened = seal.open(&with(now), &text, b"c1", (b"t1", b"t2"));
                let read = opened.map(|opened| (opened.from, opened.to));
                assert_eq!(read, is_read.then_some(sides), "{then} {now}");
            }
        }
    }

    #[test]
    fn a_record_is_good_in_its_dialog_only_and_cannot_be_changed() {
        let seal = Seal::new([1; 32], 7);
        let sides = (side(0, "198.51.100.1:6000", 0), side(0, "198.51.100.2:6000", 0));
        let text = seal.close(&listeners(), sides, b"c1", b"t1").unwrap();
        let open = |seal: &Seal, text: &[u8], call_id: &[u8]| seal.open(&listeners(), text, call_id, (b"t1", b"t2"));
        assert!(open(&seal, &text, b"c1").is_some());
        assert!(open(&seal, &text, b"c2").is_none(), "another call");
        assert!(
            seal.open(&listeners(), &text, b"c1", (b"t3", b"t2")).is_none(),
            "another caller"
        );
        assert!(
            seal.open(&listeners(), &text, b"c1", (b"t2", b"")).is_none(),
            "no tag at all"
        );
        assert!(open(&Seal::new([2; 32], 7), &text, b"c1").is_none(), "another key");
        for at in 0..text.len() {
            let mut forged = text.clone();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            // The last digit has bits that mean nothing.
            assert!(at + 1 == text.len() || open(&seal, &forged, b"c1").is_none(), "at {at}");
            assert!(open(&seal, &text[..at], b"c1").is_none());
        }
        assert!(open(&seal, &[b'A'; 4_000], b"c1").is_none());
    }

    #[test]
    fn a_users_mark_is_the_same_in_each_run_and_says_nothing_without_the_key() {
        let (kate, jim) = (Aor::new("1000", "example.com"), Aor::new("1001", "example.com"));
        let seals = [([1; 32], 7), ([1; 32], 8), ([2; 32], 7)].map(|(key, run)| Seal::new(key, run));
        let [one, again, other] = seals.each_ref().map(|seal| seal.owner(Some(&kate)));
        assert!(one == again && one != other && one != seals[0].owner(Some(&jim)) && one != 0);
        assert_eq!(seals[0].owner(None), 0);
    }

    #[test]
    fn connections_of_another_run_are_known_as_such() {
        let sides = (side(1, "198.51.100.1:6000", 5), side(0, "198.51.100.2:6000", 0));
        let text = Seal::new([1; 32], 7).close(&listeners(), sides, b"c1", b"t1").unwrap();
        let opened = Seal::new([1; 32], 8).open(&listeners(), &text, b"c1", (b"t2", b"t1"));
        assert!(opened.unwrap().is_old);
    }

    #[test]
    fn a_listener_that_is_gone_leads_nowhere() {
        let seal = Seal::new([1; 32], 7);
        let sides = (side(0, "198.51.100.1:6000", 0), side(1, "198.51.100.2:6000", 9));
        let text = seal.close(&listeners(), sides, b"c1", b"t1").unwrap();
        assert!(seal.open(&listeners()[..1], &text, b"c1", (b"t1", b"t2")).is_none());
        assert!(seal.close(&listeners()[..1], sides, b"c1", b"t1").is_none());
    }
}
