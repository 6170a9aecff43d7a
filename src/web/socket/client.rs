//! One client of the websocket, from its welcome to its end.

use super::frame::{Close, FromClient, ToClient};
use super::{Known, Place, Resume};
use crate::access::Caller;
use crate::server::stopped;
use crate::watch::{Missed, Scope, Watch};
use crate::{ApiError, Code, Context, api, verbs};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use model::{Aor, Event, Snapshot};
use serde_json::Value;
use std::time::{Duration, Instant};
use switch::{Answer, Command};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How often a client is pinged.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that has said nothing for so long, not even to a ping, is gone.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// So much may wait for a client while it is being sent something: then it is too slow.
const MAX_WAITING: (usize, usize) = (256, 1 << 20);
/// What is being sent must be taken by then.
const SENT_WITHIN: Duration = Duration::from_secs(30);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Client {
    socket: WebSocket,
    context: Context,
    known: Known,
    scope: Scope,
    /// The client knows all events up to this one.
    seq: u64,
    heard: Instant,
    /// It shows messages: its lease at the switch.
    lease: Option<Lease>,
    _place: Place,
}

/// Says to the switch that a user has a client that shows messages, and that it is gone when this is dropped.
struct Lease {
    context: Context,
    user: Aor,
    number: u64,
}

impl Lease {
    /// True if the user may have messages at all.
    async fn renew(&self) -> bool {
        let told = api::ask(&self.context, self.says(true)).await;
        matches!(told, Ok(Answer::Done(1)))
    }

    fn says(&self, on: bool) -> Command {
        let (user, lease) = (self.user.clone(), self.number);
        Command::Aware { user, lease, on }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let said = self.context.node.command(self.says(false));
        // If the node stops there is nobody to be told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(said);
        }
    }
}

impl Client {
    pub(super) fn new(socket: WebSocket, context: Context, known: Known, place: Place) -> Client {
        Client {
            socket,
            context,
            scope: known.caller.watches(),
            known,
            seq: 0,
            heard: Instant::now(),
            lease: None,
            _place: place,
        }
    }

    pub(super) async fn run(mut self, Resume { resume, im }: Resume) {
        let user = self.known.caller.user().cloned();
        self.take_lease(user.clone().filter(|_| im)).await;
        tracing::info!(?user, ?resume, "websocket opened");
        let Err(close) = self.serve(resume).await;
        tracing::info!(?user, ?close, "websocket closed");
        drop(self.lease);
        end(self.socket, close).await;
    }

    /// Before the welcome: who has seen it gets the invitations that come from then on.
    async fn take_lease(&mut self, user: Option<Aor>) {
        let Some(user) = user else { return };
        let (context, number) = (self.context.clone(), self.context.places.next_number());
        let lease = Lease { context, user, number };
        if lease.renew().await {
            self.lease = Some(lease);
        }
    }

    async fn serve(&mut self, resume: Option<u64>) -> Result<std::convert::Infallible, Close> {
        self.welcome(resume).await?;
        let mut ping = ping();
        let mut stopping = self.context.stopping.clone();
        loop {
            self.tell().await?;
            tokio::select! {
                message = self.socket.recv() => self.hear(message).await?,
                () = self.context.watch.beyond(self.seq) => {}
                _ = ping.tick() => self.ping().await?,
                () = stopped(&mut stopping) => return Err(Close::Stopping),
            }
        }
    }

    /// Who the client is; then what it missed will follow, or a snapshot does.
    async fn welcome(&mut self, resume: Option<u64>) -> Result<(), Close> {
        let from = resume.filter(|seq| self.context.watch.can_resume(*seq));
        let user = self.known.caller.user().cloned();
        let (resumed, im) = (from.is_some(), self.lease.is_some());
        self.send_frame(&ToClient::Welcome { user, resumed, im }).await?;
        match from {
            Some(seq) => self.seq = seq,
            None => self.send_snapshot().await?,
        }
        Ok(())
    }

    async fn send_snapshot(&mut self) -> Result<(), Close> {
        let snapshot = snapshot(&self.context, &self.scope).await?;
        self.seq = snapshot.seq;
        self.send_frame(&ToClient::Snapshot(Box::new(snapshot))).await
    }

    /// Everything the client does not know yet.
    async fn tell(&mut self) -> Result<(), Close> {
        loop {
            let (lot, known) = match self.context.watch.next(self.seq, &self.scope) {
                Ok(next) => next,
                Err(Missed) => {
                    self.send_snapshot().await?;
                    continue;
                }
            };
            let done = known == self.seq || known >= self.context.watch.last();
            self.seq = known;
            let reloaded = lot.iter().any(|told| told.event == Event::Reloaded);
            if !lot.is_empty() {
                let texts = lot.iter().map(|told| told.text(&self.scope)).collect();
                self.send(texts).await?;
            }
            if reloaded {
                self.check()?;
            }
            if done {
                return Ok(());
            }
        }
    }

    async fn send_frame(&mut self, frame: &ToClient) -> Result<(), Close> {
        let text = serde_json::to_string(frame).map_err(|_| Close::Unavailable)?;
        self.send(vec![text.into()]).await
    }

    /// Sends, unless meanwhile so much comes to wait that the client is too slow.
    async fn send(&mut self, texts: Vec<Utf8Bytes>) -> Result<(), Close> {
        let Client {
            socket, context, scope, ..
        } = self;
        let behind = too_much(&context.watch, scope);
        let sent = timeout(SENT_WITHIN, send_all(socket, texts));
        tokio::select! {
            sent = sent => sent.map_err(|_| Close::Slow)?,
            () = behind => Err(Close::Slow),
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Close> {
        let Some(Ok(message)) = message else {
            return Err(Close::Gone);
        };
        self.heard = Instant::now();
        match message {
            Message::Text(text) => self.obey(&text).await,
            Message::Binary(_) => self.send_frame(&senseless("text messages, please")).await,
            Message::Close(_) => Err(Close::Gone),
            // Pings are answered below us.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    /// Carries out a command; the client hears what came of it.
    async fn obey(&mut self, text: &str) -> Result<(), Close> {
        let frame = match serde_json::from_str(text) {
            Ok(FromClient::Command { id, wish }) => {
                self.check()?;
                let outcome = verbs::once(&self.context, &self.known.caller, &id, wish).await;
                answered(id, outcome)
            }
            Ok(FromClient::Login { .. }) => senseless("logged in already"),
            Err(wrong) => senseless(wrong),
        };
        self.send_frame(&frame).await
    }

    async fn ping(&mut self) -> Result<(), Close> {
        if self.heard.elapsed() >= SILENT_FOR {
            return Err(Close::Silent);
        }
        self.check()?;
        if let Some(lease) = &self.lease {
            lease.renew().await;
        }
        let sent = timeout(SENT_WITHIN, self.socket.send(Message::Ping(Default::default())));
        sent.await.map_err(|_| Close::Slow)?.map_err(|_| Close::Gone)
    }

    /// Whether the user may still be here, with which roles. An open websocket counts as use of its token.
    fn check(&mut self) -> Result<(), Close> {
        let Caller::User(before) = &self.known.caller else {
            return Ok(());
        };
        let account = match &self.known.token {
            Some(token) => self.context.bearer(token).ok(),
            None => self.context.node.account(&before.aor),
        };
        let account = account.filter(|account| account.stamp == before.stamp);
        self.known.caller = Caller::User(account.ok_or(Close::Unauthorized)?);
        self.scope = self.known.caller.watches();
        Ok(())
    }
}

/// The first message of a client that is not known yet.
pub(super) async fn login(socket: &mut WebSocket, context: &Context) -> Result<Known, Close> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                let Ok(FromClient::Login { token }) = serde_json::from_str(&text) else {
                    return Err(Close::Unauthorized);
                };
                let account = context.bearer(&token).map_err(|_| Close::Unauthorized)?;
                let (caller, token) = (Caller::User(account), Some(token));
                return Ok(Known { caller, token });
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(Close::Unauthorized),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Close::Gone),
        }
    }
}

/// Says why, and hangs up.
pub(super) async fn end(mut socket: WebSocket, close: Close) {
    let Some((code, reason)) = close.frame() else { return };
    let reason = reason.into();
    let farewell = socket.send(Message::Close(Some(CloseFrame { code, reason })));
    let _ = timeout(FAREWELL, farewell).await;
}

async fn snapshot(context: &Context, scope: &Scope) -> Result<Snapshot, Close> {
    let user = scope.user.clone();
    let scope = user.clone().filter(|_| !scope.all);
    let asked = Command::Snapshot {
        scope: scope.clone(),
        user,
    };
    match api::ask(context, asked).await {
        Ok(Answer::Snapshot(snapshot)) => Ok(match scope {
            Some(user) => snapshot.seen_by(&user),
            None => *snapshot,
        }),
        _ => Err(Close::Unavailable),
    }
}

async fn send_all(socket: &mut WebSocket, texts: Vec<Utf8Bytes>) -> Result<(), Close> {
    for text in texts {
        socket.feed(Message::Text(text)).await.map_err(|_| Close::Gone)?;
    }
    socket.flush().await.map_err(|_| Close::Gone)
}

/// Comes to an end when more has come to wait for the client than may.
async fn too_much(watch: &Watch, scope: &Scope) {
    let from = watch.last();
    let mut seen = from;
    loop {
        watch.beyond(seen).await;
        seen = watch.last();
        let (events, bytes) = watch.waiting(from, scope);
        if events > MAX_WAITING.0 || bytes > MAX_WAITING.1 {
            return;
        }
    }
}

fn ping() -> Interval {
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once.
    ping.reset();
    ping
}

fn answered(id: String, outcome: Result<Value, ApiError>) -> ToClient {
    match outcome {
        Ok(answer) => ToClient::Answer {
            id,
            answer: Some(answer),
            problem: None,
        },
        Err(error) => ToClient::Answer {
            id,
            answer: None,
            problem: Some(error.problem()),
        },
    }
}

fn senseless(why: impl std::fmt::Display) -> ToClient {
    let problem = ApiError::new(Code::BadRequest, why.to_string()).problem();
    ToClient::Error { problem }
}
