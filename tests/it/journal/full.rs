//! A journal that cannot be written: no undo, no request. And when it can, all goes on by itself.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use testerd::catalog;
use testerd::client::Client;
use testerd::event::{Exporters, RunRef};
use testerd::journal::{DiskJournal, Journal, JournalError};
use testerd::outcome::{Cause, Verdict};
use testerd::runner::{Begun, Runner, Searches, Stop};

use super::{open, record};
use crate::plans::compile;
use crate::rig::Rig;

/// A small disk of one's own, for as long as the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=384k,mode=0700", "tmpfs"])
            .arg(folder.path())
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        if !is_mounted {
            crate::tools::skipped("only root may mount a small disk");
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let output = Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())
            .output();
        assert!(output.unwrap().status.success(), "mount -o {options}");
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let filler = self.path().join("filler");
        let mut file = std::fs::File::options();
        let mut file = file.create(true).append(true).open(filler).unwrap();
        let full = std::io::copy(&mut std::io::repeat(1), &mut file);
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

const SPEC: &str = r#"
[[spec]]
name = "item"
[[spec.wrap]]
name = "item"
use = "http.resource"
create = { path = "/items", json = { name = "${run.name}" }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}" }, capture = { id = "json:/id" } }
delete = { path = "/items/${item.id}" }
[[spec.steps]]
name = "look"
use = "http"
path = "/items/${item.id}"
"#;

#[tokio::test]
async fn a_full_disk_stops_what_must_be_undone_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let rig = Rig::start();
    let config = format!(
        "[tester]\ninstance = \"full\"\n[target.rig]\ntype = \"http\"\nendpoint = \"{}\"\n\
         [[probe]]\nname = \"all\"\ntarget = \"rig\"\ninterval = \"1m\"\nnames = [\"item\"]\n\
         # --- specs.toml\n{SPEC}",
        rig.url()
    );
    let plan = compile(&config).unwrap();
    let journal = Arc::new(open(disk.path()));
    let runner = Runner {
        client: Client::new(),
        journal: journal.clone(),
        exporters: Exporters::default(),
        undoer: catalog::undoer,
        searches: Searches::default(),
        instance: "full".into(),
    };
    let run = async |id: &str| {
        let spec = &plan.scheduled[0];
        let run = RunRef {
            spec: spec.info.clone(),
            id: id.into(),
        };
        runner
            .run(spec, run, Begun::default(), Stop::default())
            .await
    };
    assert_eq!(run("01j0000000001").await, Verdict::Pass);
    let sent = rig.log();

    // The journal makes room by emptying its log, and others take that too, until none is left.
    let (mut armed, mut refused) = (0, 0);
    while refused < 4 {
        disk.fill();
        match journal.arm(record(armed)).await {
            Ok(_) => (armed, refused) = (armed + 1, 0),
            Err(JournalError::Unwritable(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    for id in ["01j0000000002", "01j0000000003"] {
        assert_eq!(run(id).await, Verdict::Inconclusive(Cause::Journal));
    }
    assert_eq!(rig.log(), sent, "nothing left the process");
    assert_eq!(journal.owed().len(), armed);

    disk.make_room();
    assert_eq!(run("01j0000000004").await, Verdict::Pass);
    assert_eq!(rig.created(), rig.deleted());
    drop(runner);
    drop(Arc::into_inner(journal));
    let again = open(disk.path());
    assert_eq!(again.owed().len(), armed);
    assert!(again.damaged().is_empty());
}

#[test]
fn a_read_only_folder_is_an_error_and_not_a_damaged_journal() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    drop(open(disk.path()));
    for how in ["ro", "rw"] {
        disk.remount(how);
        let opened = DiskJournal::open(disk.path(), 5, "x");
        match (how, opened) {
            ("ro", Err(error)) => assert!(error.to_string().contains("cannot"), "{error}"),
            ("rw", Ok(journal)) => assert!(journal.damaged().is_empty()),
            (_, opened) => panic!("{how}: {:?}", opened.map(|_| ())),
        }
    }
}

#[test]
fn no_room_at_the_start_is_an_error_and_not_a_damaged_journal() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    drop(open(disk.path()));
    disk.fill();
    if let Ok(journal) = DiskJournal::open(disk.path(), 5, "x") {
        assert!(journal.damaged().is_empty());
    }
    disk.make_room();
    assert!(open(disk.path()).damaged().is_empty());
}
