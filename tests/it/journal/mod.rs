//! The journal itself: what is on disk when, what damage does, whose it is, and that the sweeper's
//! patience is running time.

mod clock;
mod damage;
mod disk;
mod full;
mod histories;
mod vanished;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;
use testerd::journal::{DiskJournal, Owed};
use testerd::spec::{Record, Undo};

/// A record like those of a run.
fn record(nth: usize) -> Record {
    Record {
        undo: Undo {
            kind: "http.resource".into(),
            arguments: json!({ "delete": { "method": "DELETE", "path": "/items/${item.id}" }, "nth": nth }),
        },
        step: "item".into(),
        captures: BTreeMap::new(),
        created: false,
        delete_sent: false,
        search_is_blind: false,
        parent: None,
        target: "rig".into(),
        endpoint: "http://127.0.0.1:1".into(),
        instance: "here".into(),
        run: format!("run-{nth}"),
        timeout_ms: 60_000,
        armed_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123),
        may_show_secrets: false,
    }
}

fn open(folder: &Path) -> DiskJournal {
    DiskJournal::open(folder, 1000, "a test").unwrap()
}

/// What is owed, without what lives in the process only.
fn kept(owed: Vec<Owed>) -> Vec<Owed> {
    let without = |owed| Owed {
        held: false,
        tries: 0,
        ..owed
    };
    owed.into_iter().map(without).collect()
}
