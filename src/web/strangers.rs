//! Who has not said who it is holds a place like anybody else. From one address there may be so many of those and no more:
//! else one host that begins requests and never ends them takes all places, and everybody waits for its deadlines.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The strangers of each address. There are no more addresses than there are strangers, and those are bounded by the places.
pub(crate) struct Strangers {
    per_address: usize,
    held: Mutex<HashMap<IpAddr, Held>>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Held {
    count: usize,
    /// The log knows: one line until all of them have left.
    told: bool,
}

/// One stranger's part of what its address may hold; dropping it gives it back.
pub(crate) struct Share {
    strangers: Arc<Strangers>,
    from: IpAddr,
}

/// The share of a connection, until its peer has said who it is.
#[derive(Clone)]
pub(crate) struct Guest(Arc<Mutex<Option<Share>>>);

impl Strangers {
    pub(crate) fn new(per_address: usize) -> Strangers {
        Strangers {
            per_address,
            held: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Room for one more from this address, if it has any left.
    pub(crate) fn take(self: &Arc<Strangers>, from: IpAddr) -> Option<Share> {
        let from = network(from);
        let mut held = self.held();
        let of_address = held.entry(from).or_default();
        if of_address.count >= self.per_address {
            self.refused.fetch_add(1, Relaxed);
            if !std::mem::replace(&mut of_address.told, true) {
                tracing::warn!(%from, held = of_address.count, "http: turned away, too many connections without a login");
            }
            return None;
        }
        of_address.count += 1;
        let strangers = self.clone();
        Some(Share { strangers, from })
    }

    /// How many were turned away.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.strangers.held();
        if let Some(of_address) = held.get_mut(&self.from) {
            of_address.count -= 1;
            if of_address.count == 0 {
                held.remove(&self.from);
            }
        }
    }
}

impl Guest {
    pub(crate) fn new(share: Share) -> Guest {
        Guest(Arc::new(Mutex::new(Some(share))))
    }

    /// Its share, to be held elsewhere, or given back: its peer is known, or the connection is over.
    pub(crate) fn leave(&self) -> Option<Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who shares one allowance: an IPv4 address, or the /64 that one IPv6 site has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_share_and_nothing_is_kept_of_who_left() {
        let strangers = Arc::new(Strangers::new(2));
        let shares: Vec<_> = (0..4).map(|_| strangers.take(from("192.0.2.1"))).collect();
        assert_eq!((shares.iter().flatten().count(), strangers.refused()), (2, 2));
        assert!(strangers.take(from("192.0.2.2")).is_some());
        drop(shares);
        assert!(strangers.held().is_empty());
        assert!(strangers.take(from("192.0.2.1")).is_some());
    }

    #[test]
    fn a_version_6_site_is_one_address() {
        let strangers = Arc::new(Strangers::new(1));
        let _one = strangers.take(from("2001:db8::1"));
        assert!(strangers.take(from("2001:db8::ffff")).is_none());
        assert!(strangers.take(from("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_guest_who_is_known_leaves_its_share_to_others() {
        let strangers = Arc::new(Strangers::new(1));
        let guest = Guest::new(strangers.take(from("192.0.2.1")).unwrap());
        assert!(strangers.take(from("192.0.2.1")).is_none());
        drop(guest.leave());
        assert!(strangers.take(from("192.0.2.1")).is_some());
        assert!(guest.leave().is_none());
    }
}
