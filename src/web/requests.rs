//! Each command is carried out once, however often it is sent: a client gives it an id, and who repeats the id gets the first
//! answer. For clients that lose their connection between asking and hearing.

use crate::{ApiError, Code};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an answer is kept: who has not asked again by then has given up.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Answers kept for one user; the oldest goes first.
const PER_USER: usize = 256;
/// Answers kept in all: some 16 MB with answers of 1 KiB.
const MAX_KEPT: usize = 16_384;
/// A UUID has 36.
pub(crate) const MAX_ID: usize = 64;

/// What came of a command.
pub(crate) type Outcome = Result<Value, ApiError>;

/// Commands of the last minutes by user and id.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: HashMap<Key, Request>,
    /// In the order they came; an entry may have gone from the map.
    order: VecDeque<(Instant, Key)>,
    per_user: HashMap<String, usize>,
}

type Key = (String, String);

struct Request {
    /// The command itself: the same id for another one is a mistake of the client.
    command: String,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Requests {
    /// Carries out `command` of `user`, unless one with this id was already: then what came of that. The work goes on when
    /// the one who asked leaves.
    pub(crate) async fn once(
        &self,
        user: &str,
        id: &str,
        command: String,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(ApiError::bad(format!("a command id has 1 to {MAX_ID} bytes")));
        }
        let (mut outcome, teller) = self.enter(Instant::now(), (user.to_owned(), id.to_owned()), command)?;
        if let Some(teller) = teller {
            tokio::spawn(async move {
                let _ = teller.send(Some(work.await));
            });
        }
        let found = outcome
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|found| found.clone());
        found.unwrap_or_else(|| Err(ApiError::unavailable("the command")))
    }

    /// The place where the outcome will stand, and, if this is the first time, the one who is to put it there.
    #[allow(clippy::type_complexity)] // two halves of one channel
    fn enter(
        &self,
        now: Instant,
        key: Key,
        command: String,
    ) -> Result<(watch::Receiver<Option<Outcome>>, Option<watch::Sender<Option<Outcome>>>), ApiError> {
        let kept = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget_old(now);
        if let Some(known) = kept.by_id.get(&key) {
            return if known.command == command {
                Ok((known.outcome.clone(), None))
            } else {
                Err(ApiError::new(Code::Conflict, "this id was given to another command"))
            };
        }
        kept.make_room(&key.0);
        let (teller, outcome) = watch::channel(None);
        kept.order.push_back((now, key.clone()));
        *kept.per_user.entry(key.0.clone()).or_default() += 1;
        let request = Request {
            command,
            outcome: outcome.clone(),
        };
        kept.by_id.insert(key, request);
        Ok((outcome, Some(teller)))
    }
}

impl Kept {
    fn forget_old(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= KEPT_FOR)
        {
            self.forget(0);
        }
    }

    fn make_room(&mut self, user: &str) {
        if self.per_user.get(user).is_some_and(|kept| *kept >= PER_USER) {
            let oldest = self.order.iter().position(|(_, key)| key.0 == user);
            self.forget(oldest.unwrap_or(0));
        }
        if self.order.len() >= MAX_KEPT {
            self.forget(0);
        }
    }

    fn forget(&mut self, place: usize) {
        let Some((_, key)) = self.order.remove(place) else {
            return;
        };
        self.by_id.remove(&key);
        if let Some(kept) = self.per_user.get_mut(&key.0) {
            *kept -= 1;
            if *kept == 0 {
                self.per_user.remove(&key.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn work(done: &Arc<AtomicU32>) -> impl Future<Output = Outcome> + Send + 'static {
        let done = done.clone();
        async move { Ok(json!({ "done": done.fetch_add(1, Relaxed) + 1 })) }
    }

    #[tokio::test]
    async fn a_repeated_command_is_carried_out_once() {
        let (requests, done) = (Requests::default(), Arc::default());
        for _ in 0..3 {
            let outcome = requests.once("1000@a", "x", "hold".into(), work(&done)).await;
            assert_eq!(outcome, Ok(json!({ "done": 1 })));
        }
        let other = requests.once("1001@a", "x", "hold".into(), work(&done)).await;
        assert_eq!(other, Ok(json!({ "done": 2 })), "ids of others are others");
    }

    #[tokio::test]
    async fn an_id_is_for_one_command() {
        let (requests, done) = (Requests::default(), Arc::default());
        let _ = requests.once("1000@a", "x", "hold".into(), work(&done)).await;
        let other = requests.once("1000@a", "x", "resume".into(), work(&done)).await;
        assert_eq!(other.unwrap_err().code, Code::Conflict);
        let long = requests
            .once("1000@a", &"x".repeat(65), "hold".into(), work(&done))
            .await;
        assert_eq!(long.unwrap_err().code, Code::BadRequest);
        assert_eq!(done.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn who_repeats_while_it_is_under_way_waits_for_its_end() {
        let requests = Arc::new(Requests::default());
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let first = {
            let requests = requests.clone();
            tokio::spawn(async move {
                let work = async move {
                    let _ = wait.await;
                    Ok(json!(1))
                };
                requests.once("1000@a", "x", "hold".into(), work).await
            })
        };
        tokio::task::yield_now().await;
        first.abort();
        let second = requests.once("1000@a", "x", "hold".into(), async { Ok(json!(2)) });
        let (second, ()) = tokio::join!(second, async move {
            let _ = go.send(());
        });
        assert_eq!(second, Ok(json!(1)), "the first goes on although its client left");
    }

    #[test]
    fn answers_are_kept_for_ten_minutes_and_in_bounds() {
        let (requests, now) = (Requests::default(), Instant::now());
        let enter = |now, user: usize, id: usize| {
            let key = (user.to_string(), id.to_string());
            requests.enter(now, key, "hold".into()).unwrap().1.is_some()
        };
        assert!(enter(now, 0, 0) && !enter(now, 0, 0));
        assert!((1..=PER_USER).all(|id| enter(now, 0, id)));
        assert!(enter(now, 0, 0), "the oldest was forgotten");
        assert_eq!(requests.0.lock().unwrap().order.len(), PER_USER);
        for user in 1..=MAX_KEPT {
            enter(now, user, 0);
        }
        assert_eq!(requests.0.lock().unwrap().by_id.len(), MAX_KEPT);
        assert!(enter(now + KEPT_FOR, 1, 0));
        let kept = &*requests.0.lock().unwrap();
        assert_eq!((kept.by_id.len(), kept.order.len(), kept.per_user.len()), (1, 1, 1));
    }
}
