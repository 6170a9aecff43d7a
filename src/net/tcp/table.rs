//! The connections that are open: who may open one, how to reach each, and how much may wait for it.

use super::{TcpCounters, TcpSettings};
use bytes::Bytes;
use dashmap::DashMap;
use sip::Transport;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Peers choose their addresses, so the hasher is keyed at random.
type Map<K, V> = DashMap<K, V, ahash::RandomState>;

/// All connections. Shared by the event loop, which sends, and the tasks, which come and go.
pub(super) struct Table {
    pub(super) settings: TcpSettings,
    pub(super) counters: Arc<TcpCounters>,
    lines: Map<u64, Line>,
    /// Connections that we opened, by where they lead: the next request there goes over the same (RFC 5923 section 4).
    ours: Map<Bound, u64>,
    shares: Map<IpAddr, usize>,
    last: AtomicU64,
    open: AtomicUsize,
    waiting: Arc<AtomicUsize>,
    unfinished: AtomicUsize,
    stopped: watch::Sender<bool>,
    tags: ahash::RandomState,
}

/// Where a connection of ours leads, from where, and under which name its far end has shown a certificate. Only who was
/// asked for by the same name is who we mean (RFC 5923 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bound {
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) name: Option<Arc<str>>,
}

/// Why bytes were not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such connection, or no more.
    Gone,
    /// Too much waits already: the peer reads too slowly and its connection has been cut.
    TooSlow,
}

impl Table {
    pub(super) fn new(settings: TcpSettings, counters: Arc<TcpCounters>) -> Arc<Table> {
        Arc::new(Table {
            settings,
            counters,
            lines: Map::default(),
            ours: Map::default(),
            shares: Map::default(),
            last: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            waiting: Arc::default(),
            unfinished: AtomicUsize::new(0),
            stopped: watch::Sender::new(false),
            tags: ahash::RandomState::new(),
        })
    }

    /// A place for one more connection, if there is one. `from` is given for those who came to us: they share by address.
    pub(super) fn admit(self: &Arc<Table>, from: Option<IpAddr>) -> Option<Seat> {
        let from = from.map(network);
        let full = self.open.fetch_add(1, Relaxed) >= self.settings.max_connections;
        if full || *self.stopped.borrow() || !self.take_share(from) {
            self.open.fetch_sub(1, Relaxed);
            self.counters.refused.one();
            return None;
        }
        self.counters.connections.add(1);
        let connection = self.last.fetch_add(1, Relaxed) + 1;
        Some(Seat {
            table: self.clone(),
            from,
            connection,
            bound: None,
        })
    }

    /// A connection of ours that leads there and takes messages.
    pub(super) fn open_to(&self, bound: &Bound) -> Option<u64> {
        let connection = *self.ours.get(bound)?;
        self.lines.contains_key(&connection).then_some(connection)
    }

    fn take_share(&self, from: Option<IpAddr>) -> bool {
        let Some(from) = from else { return true };
        let mut held = self.shares.entry(from).or_insert(0);
        let free = *held < self.settings.max_per_address;
        *held += usize::from(free);
        free
    }

    /// Puts bytes in line for a connection; never waits. A connection for which too much waits is cut.
    pub(super) fn send(&self, connection: u64, bytes: Bytes) -> Result<(), Refused> {
        let sent = self
            .lines
            .get(&connection)
            .ok_or(Refused::Gone)?
            .offer(bytes, &self.settings);
        if sent == Err(Refused::TooSlow) {
            self.cut(connection);
        }
        sent
    }

    /// A connection has to carry something at least so often.
    pub(super) fn expect(&self, connection: u64, within: Duration) {
        if let Some(line) = self.lines.get(&connection) {
            line.quiet.send_replace(within);
        }
    }

    /// Ends a connection once what is in line has been written.
    pub(super) fn close(&self, connection: u64) {
        self.lines.remove(&connection);
    }

    /// Ends a connection at once.
    pub(super) fn cut(&self, connection: u64) {
        if let Some((_, line)) = self.lines.remove(&connection) {
            line.cut.notify_one();
        }
    }

    /// A tag for the one answer that we give ourselves, when a stream cannot be read any further.
    pub(super) fn tag(&self, connection: u64) -> String {
        format!("{:016x}", self.tags.hash_one(connection))
    }

    /// Admits nobody from now on, and ends all connections, each once what is in line has been written.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
        self.lines.clear();
    }

    /// Waits for [`Table::stop`].
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stopped = self.stopped.subscribe();
        async move {
            // An error means that the table is gone, which is a stop too.
            let _ = stopped.wait_for(|&stopped| stopped).await;
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let counts = [&self.open, &self.waiting, &self.unfinished].map(|count| count.load(Relaxed));
        self.lines.is_empty()
            && self.ours.is_empty()
            && self.shares.is_empty()
            && counts == [0; 3]
            && self.counters.connections.value() == 0
    }
}

/// One connection's place. Dropping it gives everything back, however the connection ended.
pub(super) struct Seat {
    table: Arc<Table>,
    from: Option<IpAddr>,
    pub(super) connection: u64,
    /// It is one that we opened.
    bound: Option<Bound>,
}

/// What a connection's task takes from the table.
pub(super) struct Inbound {
    /// What is in line to be written; ends when the connection is closed.
    pub(super) line: mpsc::Receiver<Bytes>,
    /// How much that is; to be lowered when it is written.
    pub(super) load: Arc<Load>,
    /// Told when to end at once.
    pub(super) cut: Arc<Notify>,
    /// How long it may carry nothing.
    pub(super) quiet: watch::Receiver<Duration>,
}

impl Seat {
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What goes there next may take this connection.
    pub(super) fn lend(&mut self, bound: Bound) {
        self.table.ours.insert(bound.clone(), self.connection);
        self.bound = Some(bound);
    }

    /// Makes the connection known, so that bytes can be sent to it.
    pub(super) fn open(&self) -> Inbound {
        let (sender, line) = mpsc::channel(self.table.settings.max_waiting);
        let load = Arc::new(Load {
            own: AtomicUsize::new(0),
            all: self.table.waiting.clone(),
        });
        let cut = Arc::new(Notify::new());
        let (quiet, how_quiet) = watch::channel(self.table.settings.idle_after);
        self.table.lines.insert(
            self.connection,
            Line {
                sender,
                load: load.clone(),
                cut: cut.clone(),
                quiet,
            },
        );
        Inbound {
            line,
            load,
            cut,
            quiet: how_quiet,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.lines.remove(&self.connection);
        if let Some(bound) = self.bound.take() {
            self.table.ours.remove_if(&bound, |_, held| *held == self.connection);
        }
        if let Some(from) = self.from {
            self.table.shares.remove_if_mut(&from, |_, held| {
                *held -= 1;
                *held == 0
            });
        }
        self.table.open.fetch_sub(1, Relaxed);
        self.table.counters.connections.sub(1);
    }
}

/// The way to one connection's writer.
struct Line {
    sender: mpsc::Sender<Bytes>,
    load: Arc<Load>,
    cut: Arc<Notify>,
    quiet: watch::Sender<Duration>,
}

impl Line {
    fn offer(&self, bytes: Bytes, settings: &TcpSettings) -> Result<(), Refused> {
        let size = bytes.len();
        if !self.load.take(size, settings) {
            return Err(Refused::TooSlow);
        }
        self.sender.try_send(bytes).map_err(|e| {
            self.load.release(size);
            match e {
                mpsc::error::TrySendError::Full(_) => Refused::TooSlow,
                mpsc::error::TrySendError::Closed(_) => Refused::Gone,
            }
        })
    }
}

/// Bytes in line, for one connection and for all.
pub(super) struct Load {
    own: AtomicUsize,
    all: Arc<AtomicUsize>,
}

impl Load {
    fn take(&self, size: usize, settings: &TcpSettings) -> bool {
        let own = self.own.fetch_add(size, Relaxed) + size;
        let all = self.all.fetch_add(size, Relaxed) + size;
        let fits = own <= settings.max_waiting_bytes && all <= settings.max_waiting_total;
        if !fits {
            self.release(size);
        }
        fits
    }

    pub(super) fn release(&self, size: usize) {
        self.own.fetch_sub(size, Relaxed);
        self.all.fetch_sub(size, Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Relaxed);
    }
}

/// Bytes of one connection's unfinished message.
pub(super) struct Unfinished<'a> {
    table: &'a Table,
    bytes: usize,
}

impl<'a> Unfinished<'a> {
    pub(super) fn new(table: &'a Table) -> Unfinished<'a> {
        Unfinished { table, bytes: 0 }
    }

    /// There are so many now; false if that is too much for all connections together.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let all = &self.table.unfinished;
        let before = all.fetch_add(bytes, Relaxed);
        all.fetch_sub(self.bytes, Relaxed);
        let grows = bytes > self.bytes;
        self.bytes = bytes;
        !grows || before + bytes <= self.table.settings.max_unfinished_total
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.table.unfinished.fetch_sub(self.bytes, Relaxed);
    }
}

/// Who shares one allowance: an IPv4 address, or the /64 that one IPv6 site has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(settings: TcpSettings) -> Arc<Table> {
        Table::new(settings, Arc::default())
    }

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_gets_its_share_and_no_more() {
        let table = table(TcpSettings {
            max_per_address: 2,
            ..TcpSettings::default()
        });
        let seats: Vec<_> = (0..3).map(|_| table.admit(from("192.0.2.1"))).collect();
        assert_eq!(seats.iter().flatten().count(), 2);
        assert!(table.admit(from("192.0.2.2")).is_some());
        assert!(table.admit(None).is_some(), "connections we open are not counted");
        drop(seats);
        assert!(table.admit(from("192.0.2.1")).is_some());
        assert_eq!(table.counters.refused.value(), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn a_version_6_site_is_one_address() {
        let table = table(TcpSettings {
            max_per_address: 1,
            ..TcpSettings::default()
        });
        let _one = table.admit(from("2001:db8::1")).unwrap();
        assert!(table.admit(from("2001:db8::ffff")).is_none());
        assert!(table.admit(from("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn connections_are_numbered_once() {
        let table = table(TcpSettings {
            max_connections: 1,
            ..TcpSettings::default()
        });
        let first = table.admit(None).unwrap();
        assert!(table.admit(None).is_none(), "all places are taken");
        let used = first.connection;
        drop(first);
        assert!(table.admit(None).unwrap().connection > used);
    }

    #[test]
    fn a_connection_that_does_not_drain_is_cut() {
        let bounds = [
            TcpSettings {
                max_waiting: 2,
                ..TcpSettings::default()
            },
            TcpSettings {
                max_waiting_bytes: 200,
                ..TcpSettings::default()
            },
            TcpSettings {
                max_waiting_total: 200,
                ..TcpSettings::default()
            },
        ];
        for settings in bounds {
            let table = table(settings);
            let seat = table.admit(None).unwrap();
            let inbound = seat.open();
            let sent: Vec<_> = (0..4)
                .map(|_| table.send(seat.connection, Bytes::from(vec![0; 100])))
                .collect();
            assert_eq!(sent, [Ok(()), Ok(()), Err(Refused::TooSlow), Err(Refused::Gone)]);
            drop((inbound, seat));
            assert!(table.is_empty());
        }
    }
}
