//! The real binary, serving, with its signals and its log.

use super::node::Setup;
use super::wait_for;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Path of the binary that is tested.
pub const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");

/// A running `tandem serve`, killed at the end of its test if it still runs.
pub struct Served {
    child: Child,
    setup: Option<Setup>,
    /// The `ready` line.
    pub ready: String,
}

impl Served {
    /// Starts it and waits until it is ready.
    pub fn start(setup: Setup) -> Served {
        let mut child = spawn(&setup);
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let served = Served {
            child,
            setup: Some(setup),
            ready,
        };
        assert!(
            served.ready.starts_with("ready sip=udp:"),
            "{}\n{}",
            served.ready,
            served.log()
        );
        served
    }

    /// Where it listens for SIP over UDP; TCP has the same port.
    pub fn sip(&self) -> SocketAddr {
        let listeners = self.ready.strip_prefix("ready sip=udp:").unwrap();
        listeners.split(',').next().unwrap().parse().unwrap()
    }

    /// Starts another one with the same configuration, data and SIP port, after this one has ended.
    pub fn again(mut self) -> Served {
        let at = self.sip();
        Served::start(self.setup.take().unwrap().listening_at(at))
    }

    /// Starts another one like [`Served::again`], which is killed `after` this time, ready or not.
    pub fn again_for(mut self, after: Duration) -> Served {
        let setup = self.setup.take().unwrap().listening_at(self.sip());
        let child = spawn(&setup);
        std::thread::park_timeout(after);
        let ready = self.ready.clone();
        let mut served = Served {
            child,
            setup: Some(setup),
            ready,
        };
        served.kill();
        served
    }

    fn setup(&self) -> &Setup {
        self.setup.as_ref().unwrap()
    }

    pub fn directory(&self) -> &Path {
        self.setup().directory()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this process and no other: `TERM`, `HUP`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Ends it as a power cut would: SIGKILL to this process, and it is gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Where it listens for HTTP.
    pub fn http(&self) -> SocketAddr {
        self.ready.trim().rsplit_once("http=").unwrap().1.parse().unwrap()
    }

    /// One figure of `/metrics`, for example `tandem_calls`.
    pub fn metric(&self, name: &str) -> f64 {
        super::figure(self.http(), name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory().join("log")).unwrap_or_default()
    }

    /// Waits until `text` stands in the log.
    pub fn logged(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }

    /// Runs another command of the same binary against it.
    pub fn tandem(&self, arguments: &[&str]) -> Output {
        tandem(self.setup(), arguments)
    }
}

fn spawn(setup: &Setup) -> Child {
    let log = File::create(setup.directory().join("log")).unwrap();
    let mut command = Command::new(TANDEM);
    command.arg("serve").arg("--config").arg(setup.directory());
    command.arg("--pid-file").arg(setup.directory().join("pid"));
    command.args(setup.sets().iter().flat_map(|set| ["--set", set]));
    command.stdout(Stdio::piped()).stderr(log).spawn().unwrap()
}

/// Runs the binary with the configuration of `setup`.
pub fn tandem(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = Command::new(TANDEM);
    command
        .args(arguments)
        .arg("--config")
        .arg(setup.directory())
        .stdin(Stdio::null());
    command.args(setup.sets().iter().flat_map(|set| ["--set", set]));
    command.output().unwrap()
}

/// What it wrote to stdout or stderr.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && self.setup.is_some() {
            eprintln!("--- log of tandem ---\n{}", self.log());
        }
    }
}
