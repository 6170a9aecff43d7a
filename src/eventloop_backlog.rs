//! Orders for the media workers and the store, in the order given; what they cannot take at once waits here.

use crate::eventloop::TurnCounters;
use media::{Plan, WorkerId};
use model::{StoreError, StoreOp};
use net::rtp::Workers;
use net::wake::Refused;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use switch::Token;

/// Plans that may wait. A worker that leaves so many undone is stuck.
const MAX_PLANS: usize = 65_536;

/// Writes that may wait, beside those in the store's own queue. Then the oldest are lost, and counted.
const MAX_WRITES: usize = 65_536;

/// How soon a part that took nothing is asked again.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(5);

/// When the loop ends, the store may still take what waits, for so long.
const LAST_WRITES: Duration = Duration::from_secs(2);

pub(crate) struct Backlog {
    media: Workers,
    store: Arc<Store>,
    plans: VecDeque<(WorkerId, Plan)>,
    writes: VecDeque<StoreOp>,
}

impl Backlog {
    pub(crate) fn new(media: Workers, store: Arc<Store>) -> Backlog {
        Backlog {
            media,
            store,
            plans: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.plans.is_empty() && self.writes.is_empty()
    }

    /// Gives a worker an order, behind those that wait.
    ///
    /// # Errors
    /// In words: a worker is gone, or stuck.
    pub(crate) fn plan(&mut self, worker: WorkerId, plan: Plan) -> Result<(), String> {
        self.plans.push_back((worker, plan));
        self.submit_plans()
    }

    /// Wakes the workers that were given orders.
    pub(crate) fn wake(&mut self) {
        self.media.wake();
    }

    /// The workers are there, also those that have nothing to do.
    ///
    /// # Errors
    /// In words: a worker has ended.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.media
            .ended()
            .map_or(Ok(()), |worker| Err(format!("media worker {} has ended", worker.0)))
    }

    /// Gives the store an operation, never before those that were given earlier. Writes for which nobody waits are kept until
    /// it takes them.
    ///
    /// # Errors
    /// Somebody waits for the answer, and there will be none: the store's queue is full.
    pub(crate) fn store(
        &mut self,
        token: Option<Token>,
        op: StoreOp,
        counters: &TurnCounters,
    ) -> Result<(), (Token, StoreError)> {
        self.submit_writes();
        match token {
            _ if self.writes.is_empty() => {}
            Some(token) => return Err((token, StoreError::Busy)),
            None => {
                self.wait_to_write(op, counters);
                return Ok(());
            }
        }
        let Err(refused) = self.store.submit(token, op) else {
            return Ok(());
        };
        match token {
            Some(token) => Err((token, refused.why)),
            None => {
                self.wait_to_write(refused.op, counters);
                Ok(())
            }
        }
    }

    /// Before anybody is told anything: what call records say of it outlives a kill.
    pub(crate) fn hand_over(&self) {
        self.store.hand_over();
    }

    /// For a slow timer.
    pub(crate) fn rest(&self) {
        self.store.rest();
    }

    fn wait_to_write(&mut self, op: StoreOp, counters: &TurnCounters) {
        if self.writes.len() >= MAX_WRITES {
            self.writes.pop_front();
            counters.writes_lost.one();
        }
        self.writes.push_back(op);
    }

    /// Tries again what waits.
    ///
    /// # Errors
    /// As [`Backlog::plan`].
    pub(crate) fn submit(&mut self, counters: &TurnCounters) -> Result<(), String> {
        self.submit_writes();
        let submitted = self.submit_plans();
        counters.writes_waiting.set(self.writes.len() as u64);
        counters.plans_waiting.set(self.plans.len() as u64);
        submitted
    }

    fn submit_plans(&mut self) -> Result<(), String> {
        while let Some((worker, plan)) = self.plans.pop_front() {
            match self.media.submit(worker, plan) {
                Ok(()) => {}
                Err(Refused::Gone(_)) => return Err(format!("media worker {} is gone", worker.0)),
                Err(Refused::Full(plan)) => {
                    self.plans.push_front((worker, plan));
                    break;
                }
            }
        }
        if self.plans.len() > MAX_PLANS {
            return Err("a media worker is stuck".into());
        }
        Ok(())
    }

    fn submit_writes(&mut self) {
        while let Some(op) = self.writes.pop_front() {
            if let Err(refused) = self.store.submit(None, op) {
                self.writes.push_front(refused.op);
                break;
            }
        }
    }

    /// Gives the store what waits, before the loop lets go of it.
    pub(crate) fn write_last(&mut self, counters: &TurnCounters) {
        let until = Instant::now() + LAST_WRITES;
        self.submit_writes();
        while !self.writes.is_empty() && Instant::now() < until {
            std::thread::sleep(ASK_AGAIN);
            self.submit_writes();
        }
        counters.writes_lost.add(self.writes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::EngineConfig;
    use model::{Aor, MessageId, StoreReply, StoredMessage};
    use net::files::{FileSettings, Files};
    use net::rtp::RtpSettings;
    use net::wake::{self, Bell};
    use std::sync::mpsc::channel;

    fn message(id: u64) -> StoreOp {
        StoreOp::AppendMessage(Box::new(StoredMessage {
            id: MessageId(id),
            to: Aor::from("1001@example.com"),
            from: Aor::from("1000@example.com"),
            from_display: "".into(),
            call_id: "c".into(),
            cseq: 1,
            content_type: "text/plain".into(),
            body: vec![],
            accepted_at: clock::Wall(0),
            expires_at: clock::Wall(i64::MAX),
            is_taken: false,
            owed: Vec::new(),
            imdn_id: "".into(),
            wants: 0,
        }))
    }

    fn load() -> StoreOp {
        StoreOp::LoadMessages {
            to: Aor::from("1001@example.com"),
            device: "".into(),
            after: MessageId(0),
            limit: 10,
        }
    }

    fn workers() -> Workers {
        let (post, _) = wake::channel(10, &Bell::new().unwrap());
        let settings = RtpSettings {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            second: None,
            ports: 20_000..=20_001,
            workers: 1,
            io: net::rtp::Io::Epoll,
            lines: 0,
            cores: vec![],
        };
        let random = |_| -> net::rtp::Random { Box::new(|| 4) };
        let files = Files::start(FileSettings::default(), Arc::default()).unwrap();
        let clock = clock::System::start();
        let engine = EngineConfig::default();
        Workers::start(&settings, engine, random, clock, &post, files, &Arc::default()).unwrap()
    }

    #[test]
    fn what_somebody_waits_for_does_not_overtake_a_write_that_waits() {
        let (replies, replied) = channel();
        let (go, going) = channel::<()>();
        let on_reply = Box::new(move |token, reply| {
            replies.send((token, reply)).unwrap();
            going.recv().unwrap();
        });
        let store = Arc::new(Store::open("memory:", on_reply).unwrap());
        let (mut backlog, counters) = (Backlog::new(workers(), store), TurnCounters::default());
        backlog.store(Some(1), message(1), &counters).unwrap();
        assert_eq!(replied.recv().unwrap(), (1, StoreReply::Done));
        // The store's thread is held up in its reply: its queue fills.
        while backlog.is_empty() {
            backlog
                .store(None, StoreOp::DeleteMessage(MessageId(9)), &counters)
                .unwrap();
        }
        backlog
            .store(None, StoreOp::DeleteMessage(MessageId(1)), &counters)
            .unwrap();
        assert_eq!(backlog.store(Some(2), load(), &counters), Err((2, StoreError::Busy)));
        go.send(()).unwrap();
        while backlog.store(Some(3), load(), &counters).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(replied.recv().unwrap(), (3, StoreReply::Messages(vec![])));
        go.send(()).unwrap();
    }
}
