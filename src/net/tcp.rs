//! SIP over TCP, TLS and websockets: accepts and opens connections, one task each, and keeps the table through which the event
//! loop sends.

mod cutter;
mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use table::Refused;

use crate::counters;
use crate::tls::Tls;
use crate::wake::Post;
use crate::ws::{self, Origins};
use bytes::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sip::{Flow, Transport};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use table::{Bound, Seat, Table};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;

counters! {
    /// What streams did, all of them together.
    TcpCounters, "tcp_" {
        /// Open now.
        connections gauge,
        /// Accepted so far.
        accepted,
        /// Opened by us so far.
        opened,
        /// Turned away: the table or the share of an address was full.
        refused,
        /// Connects of ours that came to nothing.
        connect_failed,
        /// Messages received.
        messages_in,
        /// Messages written.
        messages_out,
        /// Bytes received.
        bytes_in,
        /// Bytes written.
        bytes_out,
        /// Keep-alive pings answered (RFC 5626 section 4.4.1).
        pings,
        /// Closed because of what cannot be SIP, or is longer than may be.
        garbled,
        /// Closed because a message was begun and not finished in time.
        unfinished,
        /// Closed because too much of unfinished messages was held already.
        crowded,
        /// Closed because nothing came for long.
        idle,
        /// Cut because the peer did not read what we wrote.
        too_slow,
        /// TLS handshakes completed, of both directions.
        handshakes,
        /// TLS handshakes that failed or were not finished in time.
        handshakes_failed,
        /// Websockets opened.
        websockets,
        /// Requests for a websocket that were refused.
        websockets_refused,
        /// Times accepting had to pause: no file descriptor or memory was left.
        accept_paused,
    }
}

/// How streams are treated.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// Open at one time; more are turned away. Default 10,000: below the usual limit of file descriptors.
    pub max_connections: usize,
    /// From one IPv4 address or IPv6 /64 at one time. Default 100: an office behind one address.
    pub max_per_address: usize,
    /// A message begun must be complete within this. Default 10 s: a slow sender holds a buffer no longer.
    pub message_within: Duration,
    /// A stream that carries nothing, not even keep-alives, for this long is closed. Default 65 min: a phone without
    /// keep-alives refreshes its registration at least each hour.
    pub idle_after: Duration,
    /// A websocket that carries nothing for this long is sent a Ping, and closed if nothing comes for as long again.
    /// Default 30 s: routers forget a connection after some minutes, and a page that is gone is known to be soon.
    pub ping_after: Duration,
    /// A connect of ours must succeed within this. Default 4 s: the caller is still waiting for another way to be tried.
    pub connect_within: Duration,
    /// A TLS handshake must be over within this, and so must the HTTP request for a websocket. Default 5 s: three round
    /// trips, and a certificate; who stalls holds a place of its address no longer.
    pub handshake_within: Duration,
    /// The kernel must take what we write within this. Default 32 s: by then every transaction has given up.
    pub write_within: Duration,
    /// After our last byte we read on for so long, so that a reset does not overtake it. Default 1 s.
    pub linger: Duration,
    /// Bytes of unfinished messages held for all peers together; who would add to it is closed. Default 128 MiB: two
    /// thousand of the largest, while a usual message is never unfinished.
    pub max_unfinished_total: usize,
    /// Messages that may wait for one peer. Default 1,024.
    pub max_waiting: usize,
    /// Bytes that may wait for one peer. Default 1 MiB.
    pub max_waiting_bytes: usize,
    /// Bytes that may wait for all peers together. Default 256 MiB.
    pub max_waiting_total: usize,
}

impl Default for TcpSettings {
    fn default() -> TcpSettings {
        let s = Duration::from_secs;
        TcpSettings {
            max_connections: 10_000,
            max_per_address: 100,
            message_within: s(10),
            idle_after: s(65 * 60),
            ping_after: s(30),
            connect_within: s(4),
            handshake_within: s(5),
            write_within: s(32),
            linger: s(1),
            max_unfinished_total: 128 << 20,
            max_waiting: 1_024,
            max_waiting_bytes: 1 << 20,
            max_waiting_total: 256 << 20,
        }
    }
}

/// What streams tell the event loop. For each flow: Opened, any number of Messages, Closed; Opened once more for each
/// [`Tcp::connect`] that is answered with a connection that is open already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A stream was accepted, its handshake done, or opened by [`Tcp::connect`] with this token.
    Opened {
        /// The new flow.
        flow: Flow,
        /// That of the connect.
        token: Option<u64>,
    },
    /// One whole message.
    Message {
        /// Where it came from.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// The stream has ended, by whoever.
    Closed {
        /// Which.
        flow: Flow,
    },
    /// [`Tcp::connect`] came to nothing.
    ConnectFailed {
        /// Its token.
        token: u64,
    },
}

/// All TCP of a node, and all TLS and websockets over it. Cheap to clone; [`Tcp::stop`] ends it.
#[derive(Clone)]
pub struct Tcp {
    table: Arc<Table>,
    tls: Tls,
    origins: Origins,
    runtime: Handle,
    events: Post<StreamEvent>,
}

impl Tcp {
    /// Streams whose tasks run on `runtime` and report to `events`, which should hold about a thousand: when it is full
    /// the streams wait, and with them their peers.
    #[must_use]
    pub fn new(runtime: Handle, settings: TcpSettings, counters: Arc<TcpCounters>, events: Post<StreamEvent>) -> Tcp {
        Tcp {
            table: Table::new(settings, counters),
            tls: Tls::default(),
            origins: Origins::default(),
            runtime,
            events,
        }
    }

    /// The certificates in use: to be put there before the first TLS connection, and anew at any time.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whose pages may open a websocket: may be changed at any time.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Binds a listener and begins to accept; gives the address with the true port. Every stream it accepts begins with a
    /// handshake if `transport` is TLS or WSS.
    ///
    /// # Errors
    /// What the system says, and [`io::ErrorKind::InvalidInput`] for a wildcard address.
    pub fn listen(&self, transport: Transport, local: SocketAddr) -> io::Result<SocketAddr> {
        crate::refuse_wildcard(local)?;
        let listener = bind(local)?;
        let local = listener.local_addr()?;
        let _in_runtime = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let way = Way { transport, local };
        self.runtime.spawn(self.clone().accept(listener, way));
        Ok(local)
    }

    /// A stream to `peer` from the address of the listener `local`, under TLS if `transport` says so: answered by
    /// [`StreamEvent::Opened`] with this token or by [`StreamEvent::ConnectFailed`]. One that we opened before is used again.
    /// Under TLS the certificate has to be for `name`, or for the address if there is none.
    pub fn connect(
        &self,
        token: u64,
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
        name: Option<Arc<str>>,
    ) {
        let tcp = self.clone();
        let bound = Bound {
            transport,
            local,
            peer,
            name,
        };
        self.runtime.spawn(async move {
            if let Some(connection) = tcp.table.open_to(&bound) {
                let flow = Flow {
                    transport,
                    local,
                    peer,
                    connection,
                };
                let token = Some(token);
                let _ = tcp.events.put(StreamEvent::Opened { flow, token }).await;
                return;
            }
            if let Err(e) = tcp.call(token, bound).await {
                tracing::info!(%peer, transport = transport.as_str(), error = %e, "cannot connect");
                tcp.table.counters.connect_failed.one();
                let _ = tcp.events.put(StreamEvent::ConnectFailed { token }).await;
            }
        });
    }

    /// One connection of ours, from the connect to its end; an error means that it never opened.
    async fn call(&self, token: u64, bound: Bound) -> io::Result<()> {
        let Bound {
            transport, local, peer, ..
        } = bound;
        let way = Way { transport, local };
        let (stream, mut seat) = self.open(local.ip(), peer).await?;
        keep_alive(&stream);
        if transport == Transport::Tls {
            let name = bound.name.clone();
            let handshake = self.tls.connect(stream, peer.ip(), name.as_deref());
            let secured = self.shake_hands(handshake).await?;
            seat.lend(bound);
            self.serve(secured, way, peer, seat, Some(token)).await;
        } else {
            seat.lend(bound);
            self.serve(stream, way, peer, seat, Some(token)).await;
        }
        Ok(())
    }

    /// The TLS handshake of a stream that came to the HTTP server of the node, with the certificates and the time of our own.
    ///
    /// # Errors
    /// What went wrong; nothing more can be said to that peer.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        keep_alive(&stream);
        self.shake_hands(self.tls.accept(stream)).await
    }

    /// A request for a websocket that came to the HTTP server of the node (RFC 7118): the answer to it, and if that is 101
    /// the connection is one of ours from then on.
    pub fn upgrade<B>(
        &self,
        request: Request<B>,
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Response<String> {
        // A port for both families hides those of IPv4 in IPv6.
        let [local, peer] = [local, peer].map(|at| SocketAddr::new(at.ip().to_canonical(), at.port()));
        let seat = self.table.admit(Some(peer.ip()));
        self.welcome(request, Way { transport, local }, peer, || seat)
    }

    /// Puts a message in line for a stream; never waits.
    ///
    /// # Errors
    /// The stream is gone, or is cut because too much waits for it.
    pub fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), Refused> {
        let bytes = match flow.transport {
            Transport::Ws | Transport::Wss => ws::frame::message(&bytes),
            Transport::Udp | Transport::Tcp | Transport::Tls => bytes,
        };
        self.table.send(flow.connection, bytes)
    }

    /// From now on a stream that carries nothing for so long, not even keep-alives, is closed.
    pub fn expect(&self, flow: &Flow, within: Duration) {
        self.table.expect(flow.connection, within);
    }

    /// Ends a stream once what is in line has been written; [`StreamEvent::Closed`] follows.
    pub fn close(&self, flow: &Flow) {
        self.table.close(flow.connection);
    }

    /// Accepts no more, and ends all streams once what is in line has been written.
    pub fn stop(&self) {
        self.table.stop();
    }

    async fn open(&self, from: IpAddr, peer: SocketAddr) -> io::Result<(TcpStream, Seat)> {
        let seat = self
            .table
            .admit(None)
            .ok_or_else(|| io::Error::other("too many connections"))?;
        let socket = if peer.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind((from, 0).into())?;
        let connecting = tokio::time::timeout(self.table.settings.connect_within, socket.connect(peer));
        let stream = connecting
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.table.counters.opened.one();
        Ok((stream, seat))
    }

    async fn accept(self, listener: TcpListener, way: Way) {
        let local = way.local;
        let stopped = self.table.stopped();
        tokio::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((stream, peer)) => self.on_accepted(stream, way, peer),
                Err(e) if is_exhaustion(&e) => {
                    self.table.counters.accept_paused.one();
                    tracing::warn!(%local, error = %e, "cannot accept connections now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // Errors of the one connection that was about to be accepted.
                Err(e) => tracing::debug!(%local, error = %e, "a connection ended before it was accepted"),
            }
        }
    }

    fn on_accepted(&self, stream: TcpStream, way: Way, peer: SocketAddr) {
        let Some(seat) = self.table.admit(Some(peer.ip())) else {
            return tracing::debug!(%peer, "turned away: too many connections");
        };
        self.table.counters.accepted.one();
        keep_alive(&stream);
        let tcp = self.clone();
        self.runtime.spawn(async move {
            if !way.transport.is_secure() {
                return tcp.begin(stream, way, peer, seat).await;
            }
            match tcp.shake_hands(tcp.tls.accept(stream)).await {
                Ok(secured) => tcp.begin(secured, way, peer, seat).await,
                Err(e) => tracing::debug!(%peer, error = %e, "no TLS handshake"),
            }
        });
    }

    /// A connection that somebody opened to us, as soon as it can carry bytes.
    async fn begin<S>(&self, stream: S, way: Way, peer: SocketAddr, seat: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !matches!(way.transport, Transport::Ws | Transport::Wss) {
            return self.serve(stream, way, peer, seat, None).await;
        }
        let seat = Mutex::new(Some(seat));
        let take = || seat.lock().unwrap_or_else(PoisonError::into_inner).take();
        let within = self.table.settings.handshake_within;
        let asked = ws::receive(stream, within, |request| self.welcome(request, way, peer, take)).await;
        if let Err(e) = asked {
            tracing::debug!(%peer, error = %e, "no websocket");
        }
    }

    /// The answer to a request for a websocket. A seat is taken if it is a welcome.
    #[allow(clippy::result_large_err)] // both are answers
    fn welcome<B>(
        &self,
        mut request: Request<B>,
        way: Way,
        peer: SocketAddr,
        seat: impl FnOnce() -> Option<Seat>,
    ) -> Response<String> {
        let counters = &self.table.counters;
        let answer = ws::welcome(&request, &self.origins).and_then(|answer| {
            let seat = seat().ok_or_else(ws::no_place)?;
            Ok((answer, seat))
        });
        let (answer, seat) = match answer {
            Ok(welcome) => welcome,
            Err(refusal) => {
                counters.websockets_refused.one();
                tracing::info!(%peer, status = refusal.status().as_u16(), why = refusal.body(), "websocket refused");
                return refusal;
            }
        };
        let (tcp, upgrade) = (self.clone(), hyper::upgrade::on(&mut request));
        self.runtime.spawn(async move {
            match tokio::time::timeout(tcp.table.settings.handshake_within, upgrade).await {
                Ok(Ok(upgraded)) => {
                    tcp.table.counters.websockets.one();
                    tcp.serve(TokioIo::new(upgraded), way, peer, seat, None).await;
                }
                _ => tracing::debug!(%peer, "a websocket was welcome and did not come"),
            }
        });
        answer
    }

    async fn shake_hands<S>(&self, handshake: impl Future<Output = io::Result<S>>) -> io::Result<S> {
        let counters = &self.table.counters;
        let done = tokio::time::timeout(self.table.settings.handshake_within, handshake).await;
        let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &done {
            Ok(_) => counters.handshakes.one(),
            Err(_) => counters.handshakes_failed.one(),
        }
        done
    }

    async fn serve<S>(&self, stream: S, way: Way, peer: SocketAddr, seat: Seat, token: Option<u64>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let flow = Flow {
            transport: way.transport,
            local: way.local,
            peer,
            connection: seat.connection,
        };
        stream::run(stream, flow, seat, token, &self.events).await;
    }
}

/// Our side of a connection.
#[derive(Copy, Clone)]
struct Way {
    transport: Transport,
    /// The listener.
    local: SocketAddr,
}

/// Pause after the system had no descriptor left: without it the loop would spin, since the connection stays in line.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn is_exhaustion(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

fn bind(local: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(local),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // For TCP this only means not to wait for connections of an earlier run that linger.
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

/// Messages leave at once, and a peer that vanished without a word is noticed within two minutes.
fn keep_alive(stream: &TcpStream) {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_keepalive(&probes.with_retries(4))
        .and(stream.set_nodelay(true));
    if let Err(e) = set {
        tracing::debug!(error = %e, "cannot set stream options");
    }
}
