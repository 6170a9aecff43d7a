//! The store as a whole: queue, thread, replies.

use crate::samples::{append, binding, cdr, delete_binding, load, message, put_binding, put_cdr};
use crate::{Faults, Reader, Store};
use model::{MessageId, StoreError, StoreOp, StoreReply};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest wait for a reply, so that a lost one fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store and what it replied.
struct Bench {
    store: Store,
    faults: Faults,
    replies: Receiver<(u64, StoreReply)>,
}

fn open(url: &str) -> Bench {
    let (sender, replies) = channel();
    let faults = Faults::default();
    let on_reply = move |token, reply| _ = sender.send((token, reply));
    let store = Store::open_with_faults(url, faults.clone(), on_reply).unwrap();
    Bench { store, faults, replies }
}

impl Bench {
    fn submit(&self, token: u64, op: StoreOp) {
        self.store.submit(Some(token), op).unwrap();
    }

    fn reply(&self) -> (u64, StoreReply) {
        self.replies.recv_timeout(PATIENCE).unwrap()
    }

    /// Submits and awaits.
    fn ask(&self, op: StoreOp) -> StoreReply {
        self.submit(u64::MAX, op);
        let (token, reply) = self.reply();
        assert_eq!(token, u64::MAX);
        reply
    }
}

/// A store whose writer stands still in its first reply until told to go on, so that what is submitted meanwhile gathers.
fn open_held() -> (Bench, Sender<()>) {
    let (sender, replies) = channel();
    let (go, wait) = channel();
    let mut held = false;
    let on_reply = move |token, reply| {
        _ = sender.send((token, reply));
        if !std::mem::replace(&mut held, true) {
            let _ = wait.recv_timeout(PATIENCE);
        }
    };
    let store = Store::open("memory:", on_reply).unwrap();
    let bench = Bench {
        store,
        faults: Faults::default(),
        replies,
    };
    bench.submit(0, append(1_000_000));
    assert_eq!(bench.reply(), (0, StoreReply::Done));
    (bench, go)
}

fn file() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", directory.path().display());
    (directory, url)
}

#[test]
fn replies_when_it_is_on_disk_and_not_before() {
    let (_directory, url) = file();
    let reader: Arc<Mutex<Option<Reader>>> = Arc::default();
    let (sender, seen) = channel();
    let on_reply = {
        let reader = reader.clone();
        move |_, _| _ = sender.send(reader.lock().unwrap().as_mut().unwrap().messages_waiting())
    };
    let store = Store::open(&url, on_reply).unwrap();
    *reader.lock().unwrap() = Some(store.reader().unwrap());
    for id in 1..=5 {
        store.submit(Some(id), append(id)).unwrap();
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Ok(id));
    }
}

#[test]
fn what_gathered_shares_one_commit() {
    let (bench, go) = open_held();
    for id in 1..=2_000 {
        bench.submit(id, append(id));
    }
    go.send(()).unwrap();
    for id in 1..=2_000 {
        assert_eq!(bench.reply(), (id, StoreReply::Done));
    }
    assert_eq!(bench.store.health().commits, 2);
    assert_eq!(bench.store.health().operations, 2_001);
}

#[test]
fn gives_operations_back_when_the_queue_is_full() {
    let (bench, go) = open_held();
    let mut queued = 0;
    let refused = loop {
        match bench.store.submit(Some(queued + 1), append(queued + 1)) {
            Ok(()) => queued += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.op, refused.why), (append(queued + 1), StoreError::Busy));
    assert_eq!(bench.store.health().refused, 1);
    assert_eq!(bench.store.health().queued, queued);
    bench
        .store
        .submit(None, put_binding("alice", 1))
        .expect("bindings have room of their own");
    go.send(()).unwrap();
    for token in 1..=queued {
        assert_eq!(bench.reply(), (token, StoreReply::Done));
    }
    assert_eq!(bench.ask(append(queued + 1)), StoreReply::Done);
}

#[test]
fn of_many_writes_to_a_binding_only_the_newest_is_done_and_all_are_answered() {
    let (bench, go) = open_held();
    for cseq in 1..=1_000 {
        bench.store.submit(None, put_binding("alice", cseq)).unwrap();
        bench.store.submit(None, put_binding("bob", cseq)).unwrap();
    }
    bench.submit(1, put_binding("alice", 1_001));
    bench.submit(2, delete_binding("bob"));
    bench.submit(3, put_binding("alice", 1_002));
    bench.submit(4, StoreOp::LoadBindings);
    assert_eq!(bench.store.health().queued, 3);
    go.send(()).unwrap();
    let replies: BTreeMap<_, _> = (0..4).map(|_| bench.reply()).collect();
    assert_eq!(replies[&4], StoreReply::Bindings(vec![binding("alice", 1_002)]));
    assert!((1..=3).all(|token| replies[&token] == StoreReply::Done));
    assert_eq!(bench.store.health().coalesced, 2_001);
}

#[test]
fn a_failed_commit_fails_its_writes_and_the_next_one_works() {
    for (url, _directory) in [("memory:".to_owned(), None), file_url()] {
        for why in [
            StoreError::Full,
            StoreError::Io,
            StoreError::Locked,
            StoreError::Corrupt,
        ] {
            let bench = open(&url);
            bench.faults.fail_next(why);
            assert_eq!(bench.ask(append(1)), StoreReply::Failed(why));
            assert_eq!(bench.store.health().failing, Some(why));
            assert_eq!(bench.ask(load("bob")), StoreReply::Messages(vec![]));
            assert_eq!(bench.ask(append(1)), StoreReply::Done);
            assert_eq!(bench.store.health().failing, None);
            assert_eq!(bench.ask(load("bob")), StoreReply::Messages(vec![message(1)]));
            bench.ask(StoreOp::DeleteMessage(MessageId(1)));
            bench.ask(StoreOp::ExpireMessages(clock::Wall(i64::MAX)));
        }
    }
}

fn file_url() -> (String, Option<tempfile::TempDir>) {
    let (directory, url) = file();
    (url, Some(directory))
}

#[test]
fn questions_are_answered_while_nothing_can_be_written() {
    let (bench, go) = open_held_with_faults();
    bench.faults.fail(StoreError::Full);
    bench.submit(1, append(1));
    bench.submit(2, load("bob"));
    go.send(()).unwrap();
    assert_eq!(bench.reply(), (1, StoreReply::Failed(StoreError::Full)));
    assert_eq!(bench.reply(), (2, StoreReply::Messages(vec![message(1_000_000)])));
}

fn open_held_with_faults() -> (Bench, Sender<()>) {
    let (sender, replies) = channel();
    let (go, wait) = channel();
    let faults = Faults::default();
    let on_reply = move |token, reply| {
        _ = sender.send((token, reply));
        if token == 0 {
            let _ = wait.recv_timeout(PATIENCE);
        }
    };
    let store = Store::open_with_faults("memory:", faults.clone(), on_reply).unwrap();
    let bench = Bench { store, faults, replies };
    bench.submit(0, append(1_000_000));
    assert_eq!(bench.reply(), (0, StoreReply::Done));
    (bench, go)
}

#[test]
fn writes_nobody_waits_for_are_brought_home_after_an_outage() {
    let bench = open("memory:");
    bench.ask(append(1));
    bench.faults.fail(StoreError::Full);
    bench.store.submit(None, put_binding("alice", 1)).unwrap();
    bench.store.submit(None, put_cdr(1)).unwrap();
    bench.store.submit(None, StoreOp::DeleteMessage(MessageId(1))).unwrap();
    assert_eq!(bench.ask(append(2)), StoreReply::Failed(StoreError::Full));
    bench.faults.heal();
    assert_eq!(bench.ask(append(3)), StoreReply::Done);
    assert_eq!(bench.ask(load("nobody")), StoreReply::Messages(vec![]));
    assert_eq!(bench.ask(load("bob")), StoreReply::Messages(vec![message(3)]));
    assert_eq!(
        bench.ask(StoreOp::LoadBindings),
        StoreReply::Bindings(vec![binding("alice", 1)])
    );
    assert_eq!(bench.store.reader().unwrap().cdrs(9, None).unwrap()[0].cdr, cdr(1));
    assert_eq!(bench.store.health().lost, 0);
}

#[test]
fn closing_writes_what_is_queued() {
    let (_directory, url) = file();
    let bench = open(&url);
    for id in 1..=5_000 {
        bench.store.submit(None, append(id)).unwrap();
        bench.store.submit(None, put_binding(&id.to_string(), 1)).unwrap();
    }
    bench.store.close().unwrap();
    let bench = open(&url);
    let StoreReply::Waiting { per_user, last_id } = bench.ask(StoreOp::CountMessages) else {
        panic!()
    };
    assert_eq!((per_user[0].1, last_id), (5_000, MessageId(5_000)));
    let StoreReply::Bindings(bindings) = bench.ask(StoreOp::LoadBindings) else {
        panic!()
    };
    assert_eq!(bindings.len(), 5_000);
}

#[test]
fn closing_says_what_did_not_get_to_disk() {
    let bench = open("memory:");
    bench.faults.fail(StoreError::Full);
    bench.store.submit(None, append(1)).unwrap();
    assert_eq!(bench.store.close(), Err(StoreError::Full));
}

#[test]
fn records_that_a_full_disk_did_not_take_are_there_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("t.db").display());
    let bench = open(&url);
    bench.faults.fail(StoreError::Full);
    bench.store.submit(None, put_cdr(1)).unwrap();
    bench.store.hand_over();
    assert_eq!(bench.store.close(), Err(StoreError::Full));
    let bench = open(&url);
    let rows = bench.store.reader().unwrap().cdrs(10, None).unwrap();
    assert_eq!(rows.iter().map(|row| &row.cdr).collect::<Vec<_>>(), [&cdr(1)]);
    bench.store.close().unwrap();
    let sizes = ["t.db.calls-0", "t.db.calls-1"].map(|name| directory.path().join(name).metadata().unwrap().len());
    assert_eq!(sizes, [0, 0], "what is in the database is kept nowhere else");
}

#[test]
fn a_store_whose_thread_died_refuses_and_does_not_hang() {
    let store = Store::open("memory:", |_, _| {
        panic!("a fault in the caller's reply (this panic is part of the test)")
    });
    let store = store.unwrap();
    store.submit(Some(1), append(1)).unwrap();
    while store.health().failing.is_none() {
        std::thread::yield_now();
    }
    assert_eq!(store.submit(Some(2), append(2)).unwrap_err().why, StoreError::Io);
    assert_eq!(store.close(), Err(StoreError::Io));
}
