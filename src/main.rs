//! `tandem`: arguments, logging, signals; nothing else.

use clap::Parser;
use cli::{Arguments, Exit, Verb};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use tandem::config::{Config, Source};
use tandem::local::{self, Told};
use tandem::{Node, log, raise_descriptor_limit, refuse_huge_pages};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Decision 0038.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let source = Source::new(arguments.config.clone(), arguments.sets.clone());
    let told = match &arguments.verb {
        Verb::Serve(serve) => self::serve(&source, serve.pid_file.as_deref()),
        Verb::Check => local::check(&source, arguments.json),
        Verb::Version => local::version(arguments.json),
        Verb::User(verb) => local::user(verb, &arguments, &source),
        verb => local::socket_of(&arguments, &source).map_or_else(
            |told| told,
            |socket| match cli::run(&socket, verb, arguments.json) {
                Ok(out) => Told::done(out),
                Err(failure) => Told::failed(failure.exit(), failure),
            },
        ),
    };
    say(&told);
    told.exit.into()
}

/// A reader that has left (`| head`) is no reason to fail.
fn say(told: &Told) {
    if !told.out.is_empty() {
        let _ = writeln!(std::io::stdout(), "{}", told.out);
    }
    if !told.err.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", told.err);
    }
}

fn serve(source: &Source, pid_file: Option<&Path>) -> Told {
    let config = match source.load() {
        Ok(config) => config,
        Err(problems) => return Told::failed(Exit::Refused, local::lines(&problems)),
    };
    let _logging = match log::start(&config.log) {
        Ok(logging) => logging,
        Err(error) => return Told::failed(Exit::Refused, error),
    };
    refuse_huge_pages();
    raise_descriptor_limit();
    match run(config, pid_file) {
        Ok(told) => told,
        Err(error) => Told::failed(Exit::Refused, error),
    }
}

fn run(config: Config, pid_file: Option<&Path>) -> Result<Told, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let node = Node::start(config)?;
    if let Some(path) = pid_file {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    say(&Told::done(format!("ready {}", node.addresses())));
    let told = runtime.block_on(signals.obey(&node));
    node.stop();
    if let Some(path) = pid_file {
        let _ = std::fs::remove_file(path);
    }
    Ok(told)
}

struct Signals {
    hangup: Signal,
    stop: Stop,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            stop: Stop { terminate, interrupt },
        })
    }

    /// Reloads on SIGHUP; returns when the node is to stop: drained after the first SIGTERM or SIGINT, at once after the
    /// second, or because the switch has given up.
    async fn obey(&mut self, node: &Node) -> Told {
        loop {
            tokio::select! {
                // What came of it stands in the log.
                _ = self.hangup.recv() => drop(node.reload()),
                () = self.stop.asked() => break,
                why = node.failed() => return Told::failed(Exit::Refused, why),
            }
        }
        tokio::select! {
            () = node.drained() => {}
            () = self.stop.asked() => tracing::warn!("stopping at once"),
            why = node.failed() => return Told::failed(Exit::Refused, why),
        }
        Told::done("")
    }
}

struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
        }
    }
}
