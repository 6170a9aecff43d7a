//! A node in this process: the shipped users and dial plan, on ports of its own, in a directory of its own.

use serde_json::Value;
use sip::Transport;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use tandem::Node;
use tandem::config::Source;

/// How a test's node differs from the shipped configuration.
pub struct Setup {
    directory: tempfile::TempDir,
    sets: Vec<String>,
}

impl Setup {
    /// The shipped configuration in a directory of its own, with ports that nobody has.
    pub fn new() -> Setup {
        let directory = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-config");
        for entry in std::fs::read_dir(shipped).unwrap() {
            let entry = entry.unwrap();
            // Certificates that somebody's `scripts/run` made are not for tests.
            if entry.file_type().unwrap().is_dir() {
                continue;
            }
            std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
        }
        let sets = [
            "switch.listen=udp://127.0.0.1:0,tcp://127.0.0.1:0".to_owned(),
            "switch.http.listen=127.0.0.1:0".to_owned(),
            "switch.store.directory=run".to_owned(),
            "switch.calls.drain_limit=2s".to_owned(),
            format!("switch.media.ports={}", rtp_ports()),
        ];
        Setup {
            directory,
            sets: sets.into(),
        }
    }

    /// Lays a value over the configuration: `im.answer_within=2s`.
    pub fn set(mut self, set: &str) -> Setup {
        self.sets.push(set.to_owned());
        self
    }

    /// At this port, as before a restart: phones look for the switch where it was.
    pub fn listening_at(mut self, at: SocketAddr) -> Setup {
        self.sets.retain(|set| !set.starts_with("switch.listen="));
        self.set(&format!("switch.listen=udp://{at},tcp://{at}"))
    }

    /// Replaces a file of the configuration.
    pub fn file(self, name: &str, text: &str) -> Setup {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn sets(&self) -> &[String] {
        &self.sets
    }

    pub fn source(&self) -> Source {
        Source::new(Some(self.directory.path().to_owned()), self.sets.clone())
    }

    fn load(&self) -> tandem::config::Config {
        self.source().load().unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    pub fn start(self) -> TestNode {
        let mut node = TestNode {
            setup: self,
            node: None,
        };
        node.run();
        node
    }
}

/// A node that ends with its test.
pub struct TestNode {
    setup: Setup,
    node: Option<Node>,
}

/// A node with the shipped configuration.
pub fn node() -> TestNode {
    Setup::new().start()
}

impl TestNode {
    /// Ends it, and starts another one with the same configuration, data and SIP port.
    #[allow(dead_code)] // for tests of what survives
    pub fn restart(mut self) -> TestNode {
        let at = self.sip();
        self.node = None;
        self.setup.listening_at(at).start()
    }

    /// The port that the system chose for UDP may be somebody's for TCP: then another is asked for.
    fn run(&mut self) {
        let start = |_| Node::start(self.setup.load());
        let in_use = |started: &Result<Node, tandem::StartError>| {
            started.as_ref().is_err_and(|e| format!("{e:?}").contains("AddrInUse"))
        };
        let mut tries = (0..10).map(start).skip_while(in_use);
        self.node = Some(tries.next().expect("a free port in ten tries").unwrap());
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// The directory of its configuration, to be edited before a reload.
    pub fn directory(&self) -> &Path {
        self.setup.directory()
    }

    /// Where it listens for SIP over UDP; TCP has the same port.
    pub fn sip(&self) -> SocketAddr {
        self.node().addresses().sip[0].1
    }

    /// Where it listens for SIP over TLS.
    pub fn tls(&self) -> SocketAddr {
        let all = &self.node().addresses().sip;
        all.iter()
            .find(|(transport, _)| *transport == Transport::Tls)
            .unwrap()
            .1
    }

    pub fn http(&self) -> SocketAddr {
        self.node().addresses().http.unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.node().socket().to_owned()
    }

    /// Asks the API over the Unix socket.
    #[allow(dead_code)] // for tests that look behind the scenes
    pub fn get(&self, path: &str) -> Value {
        ask(&self.socket(), path)
    }

    /// Asks several things at the same time, each with its own patience.
    pub fn get_all(&self, paths: &[String]) -> Vec<Value> {
        let socket = self.socket();
        std::thread::scope(|scope| {
            let asked: Vec<_> = paths.iter().map(|path| scope.spawn(|| ask(&socket, path))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    }

    /// One figure of `/metrics`, for example `tandem_calls`.
    #[allow(dead_code)] // for tests that count
    pub fn metric(&self, name: &str) -> f64 {
        super::figure(self.http(), name)
    }
}

fn ask(socket: &Path, path: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = cli::Client::new(socket);
    runtime.block_on(client.ask(hyper::Method::GET, path, None)).unwrap()
}

/// A hundred ports that no other test of this run has, most likely.
fn rtp_ports() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 397).unwrap();
    let first = 20_000 + (process + NEXT.fetch_add(1, Ordering::Relaxed)) % 397 * 100;
    format!("{first}-{}", first + 99)
}
