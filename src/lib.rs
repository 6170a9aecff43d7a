//! The running node: builds every part, and owns the order in which they start and end.
//!
//! Tests start a node as the binary does, in their own process:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = tandem::config::Source::new(None, vec!["switch.listen=udp://127.0.0.1:0".into()]);
//! let node = tandem::Node::start(source.load().map_err(|problems| problems[0].to_string())?)?;
//! println!("{}", node.addresses());
//! node.stop();
//! # Ok(())
//! # }
//! ```

mod cdr_files;
pub mod config;
mod config_conference;
mod config_dialplan;
mod config_features;
mod config_groups;
mod config_policy;
mod config_section;
mod config_switch;
mod config_tls;
mod config_toml;
mod config_trunks;
mod config_users;
mod config_values;
mod control;
mod data;
mod directory;
pub mod eventloop;
mod eventloop_backlog;
mod eventloop_handle;
mod eventloop_lanes;
mod eventloop_sockets;
mod identity;
pub mod local;
pub mod log;
mod process;
mod reload;
mod sip_trace;
mod users_file;

#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod eventloop_overload_tests;
#[cfg(test)]
mod eventloop_tests;

pub use data::socket_path;
pub use process::{raise_descriptor_limit, refuse_huge_pages};
pub use users_file::{Refused, UsersFile};
pub use web::Reloaded;

use cdr_files::CdrFiles;
use clock::System;
use config::{Config, Listen};
use control::{Control, Counts};
use data::DataDirectory;
use eventloop::{Ended, Handle, Inlets, Parts, Posts};
use media::EngineConfig;
use model::Occurrence;
use net::files::Files;
use net::resolve::Resolver;
use net::rtp::{RtpSettings, Workers};
use net::tcp::{Tcp, TcpSettings};
use net::udp::{Udp, UdpSettings};
use rand::rngs::StdRng;
use rand::{Rng, make_rng};
use sip::Transport;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use switch::config::Listener;
use switch::{Answer, Command, Switch};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use web::{Handshake, Listeners, Node as _, Server};

/// A running switch with all that belongs to it. Dropping it stops it.
pub struct Node {
    addresses: Addresses,
    control: Arc<Control>,
    socket: PathBuf,
    // What is taken apart at the end, in this order.
    server: Option<Server>,
    cdr_files: Option<CdrFiles>,
    runtime: Option<Runtime>,
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// In the order of switch.toml, with true ports.
    pub sip: Vec<(Transport, SocketAddr)>,
    /// HTTP, if it listens on TCP.
    pub http: Option<SocketAddr>,
    /// HTTP under TLS, if it is spoken.
    pub https: Option<SocketAddr>,
}

impl Addresses {
    /// Where HTTP listens SIP is spoken as well.
    fn websockets(&self) -> impl Iterator<Item = Listener> {
        let listener = |(transport, local): (_, Option<SocketAddr>)| {
            Some(Listener {
                transport,
                local: local?,
                advertised: None,
                digest: Vec::new(),
            })
        };
        let ways = [(Transport::Ws, self.http), (Transport::Wss, self.https)];
        ways.into_iter().filter_map(listener)
    }
}

impl fmt::Display for Addresses {
    /// As in the line that `tandem serve` prints: `sip=udp:127.0.0.1:5060,tcp:127.0.0.1:5060 http=127.0.0.1:8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(transport, at): &(Transport, SocketAddr)| format!("{}:{at}", transport.as_str().to_lowercase());
        let sip: Vec<String> = self.sip.iter().map(one).collect();
        write!(f, "sip={}", sip.join(","))?;
        self.https.map_or(Ok(()), |https| write!(f, " https={https}"))?;
        self.http.map_or(Ok(()), |http| write!(f, " http={http}"))
    }
}

/// Why a node did not start.
#[derive(Debug)]
pub struct StartError {
    what: String,
    why: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for StartError {}

/// Says which part failed.
fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: impl fmt::Display) -> impl FnOnce(E) -> StartError {
    let what = what.to_string();
    move |why| StartError { what, why: why.into() }
}

/// After the time for calls is over, their BYEs still need some.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

impl Node {
    /// Binds every listener, opens the store, starts the media workers, the switch and the HTTP server. Blocks until all of
    /// them work; must not be called from within an async task.
    ///
    /// # Errors
    /// Which part could not be started, and why. What had been started is stopped again.
    pub fn start(config: Config) -> Result<Node, StartError> {
        let data = DataDirectory::open(&config.data.directory).map_err(failed(config.data.directory.display()))?;
        let (socket, unix) = data.socket().map_err(failed("the socket of the command line"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("shell")
            .enable_all()
            .build()
            .map_err(failed("the runtime"))?;
        let (posts, inlets) = eventloop::channels().map_err(failed("the event loop"))?;
        let counts = Counts::default();
        let store = data.store_url(&config.data.url);
        let store = Arc::new(Store::open(&store, posts.on_reply()).map_err(failed("the store"))?);
        let sockets = Sockets::bind(&config, &runtime, &posts, &counts)?;
        let tcp = sockets.tcp.clone();
        let [http, https] = [config.http, config.https].map(|at| at.map(|at| bind_http(at, &runtime)).transpose());
        let (http, https) = (http?, https?);
        let addresses = sockets.addresses(http.as_ref(), https.as_ref())?;
        let mut config = config;
        config.switch.listeners = sockets.listeners.clone();
        config.switch.listeners.extend(addresses.websockets());
        let key = data.nonce_key().map_err(failed("nonce.key in the data directory"))?;
        let (handle, events) = start_switch(&config, &runtime, sockets, &store, &posts, inlets, key, &counts)?;
        await_ports(&counts);
        let reader = store.reader().map_err(failed("the store"))?;
        let cdr_files = start_cdr_files(&config, &store)?;
        let limits = config.http_limits;
        let tls = https.map(|https| (https, handshake(tcp.clone())));
        let control = Arc::new(Control::new(config, handle, store, counts, tcp));
        let _in_runtime = runtime.enter();
        let unix = tokio::net::UnixListener::from_std(unix).map_err(failed("the socket of the command line"))?;
        let listeners = Listeners { unix, tcp: http, tls };
        let server = Server::start(listeners, control.clone(), reader, events, limits);
        drop(_in_runtime);
        tracing::info!(%addresses, version = env!("CARGO_PKG_VERSION"), "started");
        let (server, runtime) = (Some(server), Some(runtime));
        Ok(Node {
            cdr_files,
            addresses,
            control,
            socket,
            server,
            runtime,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The Unix socket of the command line.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Puts a command to the switch and waits; `None` if the switch is gone. Not from within an async task.
    #[must_use]
    pub fn command(&self, command: Command) -> Option<Answer> {
        self.runtime.as_ref()?.block_on(self.control.command(command))
    }

    /// Reads the configuration again, all or nothing, and says in the log what came of it.
    ///
    /// # Errors
    /// Every problem in it; nothing was changed.
    pub fn reload(&self) -> Result<Reloaded, Vec<String>> {
        self.control.reload()
    }

    /// Takes no new calls, and waits until the present ones have ended; those that last longer than `[calls] drain_limit`
    /// are ended.
    pub async fn drained(&self) {
        let limit = self.control.drain_limit();
        let limit_s = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        if let Some(Answer::Done(_)) = self.control.command(Command::Drain { limit_s }).await {
            let _ = tokio::time::timeout(limit + DRAIN_GRACE, self.handle().drained()).await;
        }
    }

    /// Waits until the switch gives up by itself, and says why. It does not, as a rule.
    pub async fn failed(&self) -> String {
        match self.handle().ended().await {
            Ended::Failed(why) => why,
            Ended::Stopped => std::future::pending().await,
        }
    }

    /// Stops it: HTTP first, so that nobody asks a dead switch; then the switch, which sends what is in line; then what it
    /// works with; the store last, so that everything is written.
    pub fn stop(self) {
        drop(self);
    }

    fn handle(&self) -> &Handle {
        self.control.handle()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if let Some(server) = self.server.take() {
            runtime.block_on(server.stop());
        }
        let ended = runtime.block_on(self.handle().stop());
        runtime.shutdown_timeout(Duration::from_secs(2));
        drop(self.cdr_files.take());
        let _ = std::fs::remove_file(&self.socket);
        tracing::info!(?ended, "stopped");
    }
}

/// What listens, before the switch runs.
struct Sockets {
    udp: Vec<Udp>,
    tcp: Tcp,
    listeners: Vec<Listener>,
}

impl Sockets {
    fn bind(config: &Config, runtime: &Runtime, posts: &Posts, counts: &Counts) -> Result<Sockets, StartError> {
        let settings = TcpSettings::default();
        let tcp = Tcp::new(
            runtime.handle().clone(),
            settings,
            counts.tcp.clone(),
            posts.streams.clone(),
        );
        let mut sockets = Sockets {
            udp: Vec::new(),
            tcp,
            listeners: Vec::new(),
        };
        identity::start(config, sockets.tcp.tls()).map_err(failed("tls"))?;
        sockets.tcp.origins().put(config.origins.clone());
        for listen in &config.listen {
            let url = format!("{}://{}", listen.transport.as_str().to_lowercase(), listen.address);
            let local = sockets.listen(listen, counts).map_err(failed(url))?;
            sockets.listeners.push(listener(listen, local));
        }
        Ok(sockets)
    }

    fn listen(&mut self, listen: &Listen, counts: &Counts) -> io::Result<SocketAddr> {
        match listen.transport {
            Transport::Udp => {
                let udp = bind_udp(listen.address, counts)?;
                let local = udp.local();
                self.udp.push(udp);
                Ok(local)
            }
            Transport::Tcp => self.tcp.listen(Transport::Tcp, self.tcp_address(listen)),
            secured_or_websocket => self.tcp.listen(secured_or_websocket, listen.address),
        }
    }

    /// With port 0 the TCP listener takes the port of the UDP listener before it: phones expect both on one.
    fn tcp_address(&self, listen: &Listen) -> SocketAddr {
        let beside = self
            .udp
            .last()
            .map(Udp::local)
            .filter(|udp| udp.ip() == listen.address.ip());
        match (listen.address.port(), beside) {
            (0, Some(udp)) => udp,
            _ => listen.address,
        }
    }

    fn addresses(
        &self,
        http: Option<&tokio::net::TcpListener>,
        https: Option<&tokio::net::TcpListener>,
    ) -> Result<Addresses, StartError> {
        let sip = self
            .listeners
            .iter()
            .map(|listener| (listener.transport, listener.local))
            .collect();
        let at = |listener: Option<&tokio::net::TcpListener>| {
            let local = listener.map(|listener| listener.local_addr()).transpose();
            local.map_err(failed("http"))
        };
        let (http, https) = (at(http)?, at(https)?);
        Ok(Addresses { sip, http, https })
    }
}

/// Ports tried where the system may choose one: that one of them is free for TCP too is as good as sure.
const CHOICES: usize = 16;

/// With port 0 the system chooses, until it has chosen one that is free for the TCP listener as well.
fn bind_udp(address: SocketAddr, counts: &Counts) -> io::Result<Udp> {
    let mut taken = Vec::new();
    loop {
        let udp = Udp::bind(address, UdpSettings::default(), counts.udp.clone())?;
        let is_free = address.port() != 0 || std::net::TcpListener::bind(udp.local()).is_ok();
        if is_free || taken.len() == CHOICES {
            return Ok(udp);
        }
        // Kept until another is found: else the system might choose it again.
        taken.push(udp);
    }
}

fn listener(listen: &Listen, local: SocketAddr) -> Listener {
    let advertised = |(ip, port): (_, Option<u16>)| SocketAddr::new(ip, port.unwrap_or(local.port()));
    Listener {
        transport: listen.transport,
        local,
        advertised: listen.advertise.map(advertised),
        digest: listen.digest.clone(),
    }
}

fn bind_http(at: SocketAddr, runtime: &Runtime) -> Result<tokio::net::TcpListener, StartError> {
    runtime
        .block_on(tokio::net::TcpListener::bind(at))
        .map_err(failed(format!("http://{at}")))
}

/// HTTP shows the certificates that SIP shows.
fn handshake(tcp: Tcp) -> Handshake {
    Arc::new(move |stream| {
        let tcp = tcp.clone();
        Box::pin(async move {
            let secured = tcp.secure(stream).await?;
            Ok(Box::new(secured) as Box<dyn web::Stream>)
        })
    })
}

/// The running switch, and what it will tell those who watch.
#[allow(clippy::too_many_arguments)] // each is a part that was made before
fn start_switch(
    config: &Config,
    runtime: &Runtime,
    sockets: Sockets,
    store: &Arc<Store>,
    posts: &Posts,
    inlets: Inlets,
    nonce_key: [u8; 32],
    counts: &Counts,
) -> Result<(Handle, mpsc::Receiver<Occurrence>), StartError> {
    let clock = System::start();
    let dns = Resolver::new(
        runtime.handle().clone(),
        config.dns.clone(),
        counts.dns.clone(),
        posts.resolved.clone(),
    );
    let media = start_media(config, posts, clock, counts)?;
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let switch = Switch::new(config.switch.clone(), seed, nonce_key, clock.now());
    let Sockets { udp, tcp, .. } = sockets;
    let (events, told) = mpsc::channel(web::EVENTS_AHEAD);
    let parts = Parts {
        dns,
        clock,
        udp,
        tcp,
        media,
        store: store.clone(),
        events,
    };
    let handle = eventloop::start(switch, parts, inlets).map_err(failed("the event loop"))?;
    Ok((handle, told))
}

fn start_cdr_files(config: &Config, store: &Store) -> Result<Option<CdrFiles>, StartError> {
    let Some(directory) = &config.csv else { return Ok(None) };
    let reader = store.reader().map_err(failed("the store"))?;
    let files = CdrFiles::start(directory.clone(), reader);
    files.map(Some).map_err(failed(directory.display()))
}

/// Waits for the first bound media ports: a call that comes right after `ready` is to find one. A machine that gives none
/// within two seconds is served all the same; calls are answered 503 until it does.
fn await_ports(counts: &Counts) {
    let until = Instant::now() + Duration::from_secs(2);
    while counts.rtp.ports_bound.value() == 0 && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn start_media(config: &Config, posts: &Posts, clock: System, counts: &Counts) -> Result<Workers, StartError> {
    let media = &config.switch.media;
    let settings = RtpSettings {
        address: media.local,
        second: media.second.map(|(local, _)| local),
        ports: config.ports.first..=config.ports.last,
        workers: media.workers,
        lines: usize::try_from(process::descriptor_limit() / 4).unwrap_or(usize::MAX),
        cores: config.cores.clone(),
        io: config.io,
    };
    let engine = EngineConfig {
        allow_loopback: media.local.is_loopback(),
    };
    let random = |_| -> net::rtp::Random {
        let mut random: StdRng = make_rng();
        Box::new(move || random.next_u64())
    };
    let files = Files::start(config.files.clone(), counts.files.clone()).map_err(failed("the file thread"))?;
    Workers::start(&settings, engine, random, clock, &posts.media, files, &counts.rtp)
        .map_err(failed(format!("media on {}", media.local)))
}
