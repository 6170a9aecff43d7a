//! Stored messages per second, each acknowledged when it is on disk, beside what the disk does in bare `fsync`s.
//!
//! `cargo bench -p store`. The database stands in the target directory, since /tmp may be memory; TANDEM_BENCH_DIR names
//! another place. `fsync/4096` appends one block to a file and syncs it, as a store without group commit would at best.

#![allow(missing_docs, clippy::unwrap_used)]

use clock::Wall;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::{Aor, Binding, BindingKey, Endpoint, MessageId, StoreOp, StoreReply, StoredMessage, Transport};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use store::Store;
use tempfile::TempDir;

criterion_group!(benches, bare_fsync, appended, bindings);
criterion_main!(benches);

fn bare_fsync(c: &mut Criterion) {
    let directory = place();
    let mut file = File::create(directory.path().join("bare")).unwrap();
    let mut group = c.benchmark_group("fsync");
    group.throughput(Throughput::Elements(1));
    group.bench_function("4096", |b| {
        b.iter(|| {
            file.write_all(&[7; 4_096]).unwrap();
            file.sync_data().unwrap();
        });
    });
    group.finish();
}

/// So many appends are under way at any moment: 1 is a lone sender who waits for each 202.
fn appended(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    for in_flight in [1, 16, 256, 4_096] {
        let mut site = Site::new();
        group.bench_function(BenchmarkId::new("in_flight", in_flight), |b| {
            b.iter_custom(|count| site.append(count, in_flight));
        });
    }
    group.finish();
}

/// What 10,000 phones that refresh at once cost, until all is on disk.
fn bindings(c: &mut Criterion) {
    const PHONES: u64 = 10_000;
    let site = Site::new();
    let mut group = c.benchmark_group("bindings");
    group.throughput(Throughput::Elements(PHONES));
    group.sample_size(20);
    group.bench_function("refreshed", |b| {
        let phones = || (0..PHONES).map(binding).collect::<Vec<_>>();
        b.iter_batched(phones, |phones| site.refresh(phones), BatchSize::PerIteration);
    });
    group.finish();
}

struct Site {
    store: Store,
    replies: Receiver<(u64, StoreReply)>,
    next: u64,
    _directory: TempDir,
}

impl Site {
    fn new() -> Site {
        let directory = place();
        let (sender, replies) = channel();
        let url = format!("sqlite://{}/bench.db", directory.path().display());
        let store = Store::open(&url, move |token, reply| _ = sender.send((token, reply))).unwrap();
        Site {
            store,
            replies,
            next: 1,
            _directory: directory,
        }
    }

    fn append(&mut self, count: u64, in_flight: u64) -> Duration {
        let began = Instant::now();
        for submitted in 0..count {
            if submitted >= in_flight {
                self.await_done();
            }
            self.store.submit(Some(self.next), message(self.next)).unwrap();
            self.next += 1;
        }
        (0..count.min(in_flight)).for_each(|_| self.await_done());
        began.elapsed()
    }

    fn refresh(&self, phones: Vec<StoreOp>) {
        let last = phones.len() - 1;
        for (n, phone) in phones.into_iter().enumerate() {
            self.store.submit((n == last).then_some(0), phone).unwrap();
        }
        self.await_done();
    }

    fn await_done(&self) {
        assert_eq!(self.replies.recv().unwrap().1, StoreReply::Done);
    }
}

fn place() -> TempDir {
    let directory = std::env::var_os("TANDEM_BENCH_DIR").map(PathBuf::from);
    let target = || std::env::current_exe().unwrap().parent().unwrap().to_owned();
    tempfile::tempdir_in(directory.unwrap_or_else(target)).unwrap()
}

fn message(id: u64) -> StoreOp {
    StoreOp::AppendMessage(Box::new(StoredMessage {
        id: MessageId(id),
        to: Aor::new(&format!("{}", 1_000 + id % 1_000), "tandem.test"),
        from: Aor::new("alice", "tandem.test"),
        from_display: "Alice".into(),
        call_id: format!("3848276298220188511-{id}@192.0.2.4").into(),
        cseq: 1,
        content_type: "text/plain;charset=utf-8".into(),
        body: vec![b'x'; 120],
        accepted_at: Wall(1_700_000_000_000),
        expires_at: Wall(1_700_600_000_000),
        is_taken: false,
        owed: Vec::new(),
        imdn_id: "".into(),
        wants: 0,
    }))
}

fn binding(n: u64) -> StoreOp {
    StoreOp::PutBinding(Box::new(Binding {
        aor: Aor::new(&n.to_string(), "tandem.test"),
        key: BindingKey(format!("sip:{n}@192.0.2.4:5060").into()),
        contact: format!("sip:{n}@192.0.2.4:5060;transport=udp").into(),
        params: "".into(),
        q: 1_000,
        call_id: format!("843817637684230-{n}@998sdasdh09").into(),
        cseq: 1,
        expires_at: Wall(1_700_000_000_000),
        created_at: Wall(1_700_000_000_000),
        path: "".into(),
        user_agent: "desk phone".into(),
        endpoint: Endpoint {
            transport: Transport::Udp,
            local: ([127, 0, 0, 1], 5060).into(),
            peer: ([192, 0, 2, 4], 5060).into(),
        },
    }))
}
