//! `testerd sweep`, with a daemon in the state directory and without one, and for leftovers that no
//! journal knows of.

use std::path::Path;

use super::site::Site;
use super::{LONG, probe};
use crate::e2e::eventually;
use crate::rig::Fault;

const DELETE: &str = "DELETE /items/{id}";
const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.stop_grace = \"2s\"";

fn site() -> Site {
    Site::new(SETTINGS, &probe("idle", "100ms"))
}

#[test]
fn without_a_daemon_it_is_carried_out_here() {
    let site = site();
    site.sweep(&["--list"]).says(0, "nothing is owed");
    let first = site.crash(SETTINGS);
    let dry = site.sweep(&["--dry-run"]);
    dry.says(0, "would be deleted by what its create told");
    assert_eq!(site.rig.alive().len(), 1, "a dry run deletes nothing");
    site.rig.fail(DELETE, Fault::FailBeforeEffect(500));
    site.sweep(&["--retry", &first]).says(4, "500");
    site.sweep(&[]).says(4, "500");
    site.sweep(&["--retry", "99"]).says(4, "has no record 99");
    site.sweep(&["--forget", "99"]).says(4, "has no record 99");
    site.rig.heal(DELETE);
    site.sweep(&["--retry", &first])
        .says(0, "nothing is owed any more");
    assert!(site.rig.alive().is_empty());

    // What one has read in a list means the same record for ever.
    let second = site.crash(SETTINGS);
    assert_ne!(first, second);
    site.sweep(&["--forget", &second]).says(0, "forgotten");
    assert_eq!((site.owed().len(), site.rig.alive().len()), (0, 1));
}

#[test]
fn with_a_daemon_it_is_asked() {
    let site = site();
    site.rig.seed("crash-of-others");
    let first = site.crash(SETTINGS);
    site.rig.fail(DELETE, Fault::FailBeforeEffect(500));
    let daemon = site.serve();
    eventually("it was tried", || {
        site.owed()[0].contains("500").then_some(())
    });
    site.sweep(&["--dry-run"])
        .says(0, "would be deleted by what its create told");
    site.sweep(&["--retry", &first]).says(4, "500");
    site.sweep(&["--retry", "99"]).says(4, "has no record 99");
    site.sweep(&["--forget", "99"]).says(4, "has no record 99");
    site.sweep(&[]).says(4, "500");
    assert_eq!(site.rig.alive().len(), 2);
    site.rig.heal(DELETE);
    let retried = site.sweep(&["--retry", &first]);
    // The daemon may have been faster.
    if retried.code != Some(0) {
        retried.says(4, "has no record");
    }
    assert_eq!(site.rig.alive(), ["crash-of-others"]);

    drop(daemon);
    let second = site.crash(SETTINGS);
    site.rig.fail(DELETE, Fault::FailBeforeEffect(500));
    let _daemon = site.serve();
    eventually("it was tried", || {
        site.owed()[0].contains("500").then_some(())
    });
    site.sweep(&["--forget", &second]).says(0, "forgotten");
    assert_eq!((site.owed().len(), site.rig.alive().len()), (0, 2));
}

/// Whoever asks for the outer one is not left waiting for the inner one.
#[test]
fn what_was_made_inside_comes_first() {
    let one_run = format!("{SETTINGS}\ntester.concurrency = 1");
    let site = Site::new(&one_run, &probe("nested", "100ms"));
    site.rig.snare(DELETE, 1, Some(Fault::Hang));
    let daemon = site.serve();
    assert!(site.rig.has_snared(LONG));
    drop(daemon);
    let owed = site.owed();
    let waits: Vec<_> = owed
        .iter()
        .filter_map(|line| line.split_once("; waits for record "))
        .map(|(_, inner)| inner)
        .collect();
    let inside = |id: u64| format!("{id}, which was made inside it");
    assert_eq!((owed.len(), waits), (3, vec![&*inside(2), &*inside(3)]));

    site.configure(SETTINGS, &probe("idle", "100ms"));
    site.rig.fail(DELETE, Fault::FailBeforeEffect(500));
    let _daemon = site.serve();
    let asked = site.sweep(&[]);
    asked.says(4, "500");
    asked.says(4, "was made inside it and comes first");
    assert_eq!((site.owed().len(), site.rig.alive().len()), (3, 3));
    site.rig.heal(DELETE);
    eventually("all is undone", || {
        (site.sweep(&[]).code == Some(0)).then_some(())
    });
    assert_eq!((site.owed().len(), site.rig.alive().len()), (0, 0));
}

/// What a run has in hand is its own affair, and whoever asks is told at once.
#[test]
fn a_run_keeps_what_it_has_in_hand() {
    let site = Site::new(SETTINGS, &probe("single", "100ms"));
    site.rig.snare("GET /items/{id}", 1, Some(Fault::Hang));
    let mut daemon = site.serve();
    assert!(site.rig.has_snared(LONG));
    let owed = site.owed();
    let id = owed[0].split_whitespace().next().unwrap();
    site.sweep(&["--retry", id]).says(0, "a run has it in hand");
    site.sweep(&["--forget", id])
        .says(4, "a run has it in hand");
    site.sweep(&[]).says(0, "a run has it in hand");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(0));
    assert_eq!((site.owed().len(), site.rig.alive().len()), (0, 0));
}

/// Two things with one name: nobody knows which of them is ours.
#[test]
fn of_several_with_the_name_none_is_deleted() {
    let site = Site::new(SETTINGS, &probe("single", "100ms"));
    site.rig
        .snare("POST /items", 1, Some(Fault::HangAfterEffect));
    let daemon = site.serve();
    assert!(site.rig.has_snared(LONG));
    assert!(site.rig.is_quiet(LONG));
    drop(daemon);
    let alive = eventually("it is made", || site.rig.alive().pop());
    site.rig.seed(&alive);
    site.sweep(&[]).says(4, "several items have the name");
    assert_eq!(site.rig.alive(), [alive.clone(), alive]);
    assert_eq!(site.owed().len(), 1);
}

/// Deleted by its name, which this target answers with 200 whether there was anything or not: that
/// proves nothing as long as the create may still come.
#[test]
fn a_delete_that_always_succeeds_is_not_trusted() {
    let site = site();
    site.write(
        "specs.toml",
        r#"
[[spec]]
name = "idle"
[[spec.wrap]]
name = "item"
use = "http.resource"
timeout = "1s"
create = { path = "/items", json = { name = "${run.name}" } }
delete = { path = "/ok?name=${run.name}" }
[[spec.steps]]
name = "look"
use = "http"
path = "/ok"
"#,
    );
    site.rig.snare("POST /items", 1, Some(Fault::Hang));
    let daemon = site.serve();
    assert!(site.rig.has_snared(LONG));
    drop(daemon);
    let swept = site.sweep(&[]);
    swept.says(0, "nothing is owed any more");
    assert!(site.rig.count("DELETE /ok") > 1, "{swept:?}");
}

#[test]
fn leftovers_are_found_when_the_journal_is_lost() {
    let site = site();
    site.crash(SETTINGS);
    let ours = site.rig.alive();
    // The last of them is called as by a version before names had a check.
    let strangers = [
        "crash",
        "crash-b-0123456789abc",
        "crash-shop",
        "crashed-0123456789abc",
        "crash-1234567",
        "crash-0123456789abcde",
        "crash-9f86d081884c7d659a2feaa0c55ad015",
        "crash-6gc8m3c01anan",
    ];
    let (unchecked, strange) = strangers.split_last().unwrap();
    for name in strange {
        site.rig.seed(name);
    }
    site.configure(SETTINGS, &probe("single", "1h"));
    // While the journal knows of it, it is no leftover.
    site.sweep(&["--orphans", "--older-than=0s"])
        .says(0, "no leftovers");

    std::fs::remove_dir_all(site.path("state")).unwrap();
    site.rig.seed(unchecked);
    let all = site.rig.alive();
    let found = site.sweep(&["--orphans", "--older-than=0s"]);
    found.says(0, "nothing was deleted");
    assert!(found.out.contains(&ours[0]));
    assert!(
        strange
            .iter()
            .all(|name| !found.out.contains(&format!(" {name} ")))
    );
    found.says(0, "perhaps ours: its name has no check");
    let young = site.sweep(&["--orphans", "--delete", "--yes"]);
    young.says(0, "1 perhaps ours: left alone");
    // Nobody sits at a terminal here.
    let asked = site.sweep(&["--orphans", "--delete", "--older-than=0s"]);
    asked.says(4, "nothing was deleted");
    assert!(asked.out.contains(&ours[0]), "it shows what it would take");
    assert_eq!(site.rig.alive(), all);
    // Whatever the target says, the list is asked again.
    for (status, said) in [
        (204, "still lists it"),
        (200, "still lists it"),
        (404, "still lists it"),
        (500, "500"),
    ] {
        site.rig.fail(DELETE, Fault::Status(status));
        let swept = site.sweep(&["--orphans", "--delete", "--yes", "--older-than=0s"]);
        swept.says(4, said);
        assert!(!swept.out.contains("deleted\n"), "{swept:?}");
        assert_eq!(site.rig.alive(), all);
        site.rig.heal(DELETE);
    }
    site.sweep(&["--orphans", "--delete", "--yes", "--older-than=0s"])
        .says(0, "deleted\n");
    assert_eq!(site.rig.alive(), sorted(&strangers));
    let arguments = ["--orphans", "--delete", "--yes", "--unchecked"];
    site.sweep(&arguments).says(0, unchecked);
    assert_eq!(site.rig.alive(), sorted(strange));
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[test]
fn a_run_that_cannot_clean_up_says_how_to_go_on() {
    let settings = "cleanup.settle = \"1s\"\ntester.stop_grace = \"1s\"";
    let site = Site::new(settings, &probe("single", "1h"));
    site.rig.fail(DELETE, Fault::FailBeforeEffect(500));
    let run = site.run("run", &[]);
    run.says(1, "still owed");
    assert_eq!(site.rig.alive().len(), 1);
    let (_, rest) = run.err.split_once("--state-dir=").expect("it says where");
    let folder = rest.split('`').next().unwrap();
    assert!(Path::new(folder).is_dir());
    site.rig.heal(DELETE);
    let option = format!("--state-dir={folder}");
    site.sweep(&[&option]).says(0, "nothing is owed any more");
    assert!(site.rig.alive().is_empty());
}

/// No start of its own comes after it: whoever starts anything is told.
#[test]
fn a_killed_run_is_not_forgotten() {
    let site = Site::new(SETTINGS, &probe("single", "1h"));
    site.rig.snare(DELETE, 1, Some(Fault::Hang));
    let run = site.start("run", &[]);
    assert!(site.rig.has_snared(LONG));
    assert_eq!(site.owed(), Vec::<String>::new(), "it is still going");
    drop(run);
    let what = "an earlier `testerd run` still owes 1";
    site.sweep(&["--list"]).says(0, what);
    let run = site.run("run", &[]);
    run.says(0, what);
    assert_eq!(site.rig.alive().len(), 1);
    let mut daemon = site.serve();
    daemon.hear("what was left", |line| line.contains(what).then_some(()));
    let (_, rest) = run.err.split_once("--state-dir=").unwrap();
    let option = format!("--state-dir={}", rest.split('`').next().unwrap());
    site.sweep(&[&option]).says(0, "nothing is owed any more");
    site.sweep(&["--list"]).says(0, "nothing is owed");
    assert_eq!(site.owed(), Vec::<String>::new());
    assert!(site.rig.alive().is_empty());
}
