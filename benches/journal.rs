//! What the journal costs on the disk that the build is on: resources armed in a second when so many
//! runs arm at once, and what one setup waits for it in all.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use serde_json::json;
use testerd::journal::{DiskJournal, Journal, Note};
use testerd::spec::{Record, Undo};

/// As large as those of `http.resource`.
fn record() -> Record {
    let find = json!({
        "request": { "method": "GET", "path": "/items?name=staging-1-01j0000000abc" },
        "items": "/found",
        "matches": [["/name", "staging-1-01j0000000abc"]],
        "captures": [["id", "json:/id"]],
    });
    Record {
        undo: Undo {
            kind: "http.resource".into(),
            arguments: json!({
                "find": find,
                "delete": { "method": "DELETE", "path": "/items/${item.id}" },
                "gone": [404, 410],
            }),
        },
        step: "item".into(),
        captures: BTreeMap::new(),
        created: false,
        delete_sent: false,
        search_is_blind: false,
        parent: None,
        target: "staging".into(),
        endpoint: "http://127.0.0.1:8091".into(),
        instance: "staging-1".into(),
        run: "01j0000000abc".into(),
        timeout_ms: 10_000,
        armed_at: testerd::text::wall_clock(),
        may_show_secrets: false,
    }
}

/// One setup and its teardown, as the runner writes them down.
async fn setup(journal: &DiskJournal) {
    let id = journal.arm(record()).await.unwrap();
    let captures = BTreeMap::from([("id".to_owned(), json!(7))]);
    journal.note(id, Note::Created(captures)).await.unwrap();
    journal.note(id, Note::Settled).await.unwrap();
}

fn journal(criterion: &mut Criterion) {
    // Not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let journal = DiskJournal::open(folder.path(), usize::MAX, "a bench").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("journal");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    for at_once in [1_u64, 10, 100] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::new("arm", at_once), |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let begun = Instant::now();
                    let armed = join_all((0..at_once).map(|_| journal.arm(record())));
                    let ids = runtime.block_on(armed);
                    took += begun.elapsed();
                    // So that every arm finds as much owed as the one before.
                    let ids = ids.into_iter().map(Result::unwrap);
                    let settled = join_all(ids.map(|id| journal.note(id, Note::Settled)));
                    black_box(runtime.block_on(settled));
                }
                took
            });
        });
        group.bench_function(BenchmarkId::new("setup", at_once), |bencher| {
            bencher.iter(|| {
                runtime.block_on(join_all((0..at_once).map(|_| setup(&journal))));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
