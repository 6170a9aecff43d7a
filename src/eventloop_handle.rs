//! How others reach the event loop: a handle for asking, and posts for telling.

use crate::eventloop::LoopCounters;
use model::StoreReply;
use net::resolve::Resolved;
use net::tcp::StreamEvent;
use net::wake::{self, Bell, Post};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use switch::{Answer, Command, Config, Counters, Token};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{oneshot, watch};

/// Messages of streams that may wait; at their largest 64 MiB. When it is full the streams wait.
const STREAMS: usize = 1_024;

/// Replies of the store and events of the media plane that may wait; those who bring them wait or try again.
const REPLIES: usize = 16_384;

/// Commands that may wait; one more is refused.
const ERRANDS: usize = 256;

/// A command that is not answered within this has failed: nothing in the switch takes longer than milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where the parts of the node put what the event loop is to take. Made before the parts, so that they can be built with it.
#[derive(Clone)]
pub struct Posts {
    /// For [`net::tcp::Tcp::new`].
    pub streams: Post<StreamEvent>,
    /// For [`net::rtp::Workers::start`].
    pub media: Post<media::Event>,
    /// For [`net::resolve::Resolver::new`].
    pub resolved: Post<Resolved>,
    stored: Post<(Token, StoreReply)>,
}

impl Posts {
    /// For [`store::Store::open`]: hands replies over, and waits when the loop lags far behind.
    pub fn on_reply(&self) -> impl FnMut(u64, StoreReply) + Send + 'static {
        let stored = self.stored.clone();
        move |token, reply| {
            // After the loop has ended nobody waits for replies.
            let _ = stored.put_blocking((token, reply));
        }
    }
}

/// The receiving ends, for [`crate::eventloop::start`].
pub struct Inlets {
    pub(crate) bell: Bell,
    pub(crate) streams: Receiver<StreamEvent>,
    pub(crate) media: Receiver<media::Event>,
    pub(crate) resolved: Receiver<Resolved>,
    pub(crate) stored: Receiver<(Token, StoreReply)>,
    pub(crate) errands: Receiver<Errand>,
    errand_post: Post<Errand>,
}

/// The channels of an event loop that is yet to start.
///
/// # Errors
/// No file descriptor is left.
pub fn channels() -> io::Result<(Posts, Inlets)> {
    let bell = Bell::new()?;
    let (streams, streams_in) = wake::channel(STREAMS, &bell);
    let (media, media_in) = wake::channel(REPLIES, &bell);
    let (resolved, resolved_in) = wake::channel(REPLIES, &bell);
    let (stored, stored_in) = wake::channel(REPLIES, &bell);
    let (errand_post, errands) = wake::channel(ERRANDS, &bell);
    let inlets = Inlets {
        bell,
        streams: streams_in,
        media: media_in,
        resolved: resolved_in,
        stored: stored_in,
        errands,
        errand_post,
    };
    let posts = Posts {
        streams,
        media,
        resolved,
        stored,
    };
    Ok((posts, inlets))
}

/// What others want of the loop.
pub(crate) enum Errand {
    Command(Command, oneshot::Sender<Answer>),
    Reload(Box<Config>),
    Figures(oneshot::Sender<Counters>),
    Stop,
}

/// Why nothing came of a question.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The event loop has ended.
    Ended,
    /// It has more to do than it can.
    Busy,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unavailable::Ended => "the switch has stopped",
            Unavailable::Busy => "the switch is too busy",
        })
    }
}

impl std::error::Error for Unavailable {}

/// How the event loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// [`Handle::stop`] was called.
    Stopped,
    /// It cannot go on, in words: the process should exit non-zero, and be started again by its supervisor.
    Failed(String),
}

/// The way to a running event loop. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    errands: Post<Errand>,
    counters: Arc<LoopCounters>,
    ended: watch::Receiver<Option<Ended>>,
    drained: watch::Receiver<bool>,
}

impl Handle {
    pub(crate) fn new(
        inlets: &Inlets,
        counters: Arc<LoopCounters>,
        ended: watch::Receiver<Option<Ended>>,
        drained: watch::Receiver<bool>,
    ) -> Handle {
        Handle {
            errands: inlets.errand_post.clone(),
            counters,
            ended,
            drained,
        }
    }

    /// Puts a command to the switch and waits for its answer.
    ///
    /// # Errors
    /// The loop has ended, or does not come round to it within five seconds.
    pub async fn command(&self, command: Command) -> Result<Answer, Unavailable> {
        self.ask(|reply| Errand::Command(command, reply)).await
    }

    /// Figures of the switch, taken now.
    ///
    /// # Errors
    /// As [`Handle::command`].
    pub async fn figures(&self) -> Result<Counters, Unavailable> {
        self.ask(Errand::Figures).await
    }

    /// Figures of the loop itself.
    #[must_use]
    pub fn counters(&self) -> &LoopCounters {
        &self.counters
    }

    /// Puts a new configuration in force, after the commands that wait already.
    ///
    /// # Errors
    /// The loop has ended, or too many commands wait.
    pub fn reload(&self, config: Box<Config>) -> Result<(), Unavailable> {
        self.offer(Errand::Reload(config))
    }

    /// Ends the loop: what is in line is sent, streams are closed, media ends. Calls are not: [`Command::Drain`] first.
    pub async fn stop(&self) -> Ended {
        let mut ended = self.ended.clone();
        while let Err(Unavailable::Busy) = self.offer(Errand::Stop) {
            // A full channel has been emptied a little when this is over, or the loop has ended.
            let _ = tokio::time::timeout(Duration::from_millis(10), ended.wait_for(Option::is_some)).await;
        }
        self.ended().await
    }

    /// Waits for the loop's end.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.unwrap_or_else(|| Ended::Failed("the event loop is gone without a word".into()))
    }

    /// Waits until the last call has ended after [`Command::Drain`].
    pub async fn drained(&self) {
        let mut drained = self.drained.clone();
        // An error means that the loop has ended, and with it the calls.
        let _ = drained.wait_for(|&drained| drained).await;
    }

    async fn ask<T>(&self, errand: impl FnOnce(oneshot::Sender<T>) -> Errand) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.offer(errand(reply))?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unavailable::Ended),
            Err(_) => Err(Unavailable::Busy),
        }
    }

    fn offer(&self, errand: Errand) -> Result<(), Unavailable> {
        self.errands.offer(errand).map_err(|refused| match refused {
            wake::Refused::Full(_) => Unavailable::Busy,
            wake::Refused::Gone(_) => Unavailable::Ended,
        })
    }
}
