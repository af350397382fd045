//! Whose the state directory is, what may lie in it, and who may read it: nobody else can give us
//! something to delete, and what cannot be read is never taken for nothing.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use super::site::{Ended, Site};
use super::{LONG, probe};
use crate::rig::Fault;

const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.stop_grace = \"1s\"";

/// Somebody without rights.
const NOBODY: u32 = 65_534;

fn site(spec: &str) -> Site {
    Site::new(SETTINGS, &probe(spec, "1h"))
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Only root can give files away, and be somebody else.
fn is_root() -> bool {
    if !geteuid().is_root() {
        crate::tools::skipped("giving files to somebody else takes root");
    }
    geteuid().is_root()
}

#[test]
fn no_link_in_it_is_followed() {
    for name in ["lock", "journal.db", "journal.db-wal", "journal.db-shm"] {
        for exists in [true, false] {
            let site = site("idle");
            let state = site.path("state");
            std::fs::create_dir(&state).unwrap();
            let victim = site.path("victim");
            if exists {
                std::fs::write(&victim, "precious").unwrap();
            }
            symlink(&victim, state.join(name)).unwrap();
            for command in ["serve", "sweep"] {
                site.run(command, &[]).says(4, "symbolic link");
            }
            let kept = std::fs::read_to_string(&victim).ok();
            assert_eq!(kept.as_deref(), exists.then_some("precious"), "{name}");
        }
    }
    // What is only ever made anew replaces a link, and does not go through it.
    let site = site("idle");
    let state = site.path("state");
    std::fs::create_dir(&state).unwrap();
    for name in ["journal.new", "control"] {
        symlink(site.path(&format!("{name}-victim")), state.join(name)).unwrap();
    }
    drop(site.serve());
    for name in ["journal.new", "control"] {
        assert!(!site.path(&format!("{name}-victim")).exists(), "{name}");
    }
}

#[test]
fn what_others_may_write_is_refused() {
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        let site = site("single");
        let state = site.path("state");
        std::fs::create_dir(&state).unwrap();
        set_mode(&state, mode);
        for command in ["serve", "sweep"] {
            site.run(command, &[]).says(4, "others may write into it");
            site.run(command, &[]).says(4, "chmod go-w");
        }
        // A single run needs no directory of anybody's.
        site.run("run", &[]).says(0, "");
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
        assert_eq!(left(&site), 0);
    }
}

/// Folders of runs below the temporary directory.
fn left(site: &Site) -> usize {
    let entries = std::fs::read_dir(site.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with("testerd-run-"))
        .count()
}

#[test]
fn what_is_made_is_for_its_owner_alone_under_any_umask() {
    for umask in ["000", "022", "077"] {
        let site = site("single");
        let run = |command: &str| {
            let testerd = site.command(command, &["--web.listen-address", "127.0.0.1:0"]);
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg(format!("umask {umask}; exec \"$0\" \"$@\""));
            shell.arg(testerd.get_program()).args(testerd.get_args());
            shell
        };
        let mut daemon = crate::e2e::child::Child::start(&mut run("serve"), None);
        let running = |line: &str| line.contains("testerd is running").then_some(());
        daemon.hear("that it runs", running);
        let state = site.path("state");
        assert_eq!(mode(&state), 0o700);
        for name in [
            "lock",
            "journal.db",
            "journal.db-wal",
            "journal.db-shm",
            "control",
        ] {
            assert_eq!(mode(&state.join(name)), 0o600, "{name}, {umask}");
        }
    }
}

#[test]
fn an_older_journal_is_made_private() {
    let site = site("idle");
    drop(site.serve());
    let journal = site.path("state/journal.db");
    set_mode(&journal, 0o644);
    drop(site.serve());
    assert_eq!(mode(&journal), 0o600);
}

#[test]
fn a_directory_of_somebody_else_is_swept_by_root_and_kept_by_nobody() {
    if !is_root() {
        return;
    }
    let site = site("idle");
    let state = site.path("state");
    std::fs::create_dir(&state).unwrap();
    chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    site.run("serve", &[]).says(4, "belongs to uid 65534");
    site.sweep(&[]).says(0, "nothing is owed any more");
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().uid(), NOBODY, "{}", path.display());
    }
    // Where everybody can make a directory, root takes nobody else's.
    set_mode(&site.path(""), 0o1777);
    site.sweep(&[]).says(4, "belongs to uid 65534");
}

/// A command as somebody else, who may read everything but the state directory.
fn as_nobody(site: &Site, command: &str, arguments: &[&str]) -> Ended {
    set_mode(&site.path(""), 0o755);
    for name in ["testerd.toml", "specs.toml"] {
        set_mode(&site.path(name), 0o644);
    }
    let command = site.command(command, arguments);
    // The program may lie where nobody else may go. It is copied by another process, or a child that
    // is being started just now might hold the copy open for writing.
    let program = site.path("program");
    let copied = Command::new("cp")
        .arg(command.get_program())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    set_mode(&program, 0o755);
    let mut theirs = Command::new("setpriv");
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    theirs.args(nobody).arg(program).args(command.get_args());
    theirs.env("TMPDIR", site.path(""));
    Ended::of(&mut theirs)
}

#[test]
fn what_cannot_be_read_is_not_nothing() {
    if !is_root() {
        return;
    }
    let site = site("single");
    site.crash(SETTINGS);
    for wish in [
        &["--list"][..],
        &["--dry-run"],
        &["--orphans"],
        &["--orphans", "--older-than=0s", "--delete"],
        &[],
    ] {
        as_nobody(&site, "sweep", wish).says(4, "may not be read");
    }
    // The directory may be entered, and only the journal is closed.
    set_mode(&site.path("state"), 0o711);
    as_nobody(&site, "sweep", &["--list"]).says(4, "may not be read");
    assert_eq!(site.rig.alive().len(), 1);

    // The journal of a killed run, within a directory that everybody may read.
    let site = self::site("single");
    site.rig.snare("DELETE /items/{id}", 1, Some(Fault::Hang));
    let run = site.start("run", &[]);
    assert!(site.rig.has_snared(LONG));
    set_mode(&site.path("state"), 0o755);
    as_nobody(
        &site,
        "sweep",
        &["--orphans", "--older-than=0s", "--delete"],
    )
    .says(4, "may not be read");
    drop(run);
    as_nobody(&site, "sweep", &["--list"]).says(4, "what it owes is not known");
    assert_eq!(site.rig.alive().len(), 1);
}

#[test]
fn a_journal_that_cannot_be_written_is_no_journal() {
    if !is_root() {
        return;
    }
    for name in ["journal.db", "lock", "."] {
        let site = site("idle");
        drop(site.serve());
        let state = site.path("state");
        for entry in std::fs::read_dir(&state).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
        let path = state.join(name);
        chown(&path, Some(0), Some(0)).unwrap();
        set_mode(&path, if name == "." { 0o755 } else { 0o644 });
        let refused = as_nobody(&site, "serve", &[]);
        refused.says(4, "cannot be written by uid 65534");
        refused.says(4, "chown -R 65534");
    }
}

#[test]
fn what_killed_runs_have_left_is_swept_and_their_folders_go() {
    let site = site("single");
    let state = site.path("state");
    site.rig.snare("DELETE /items/{id}", 1, Some(Fault::Hang));
    let run = site.start("run", &[]);
    assert!(site.rig.has_snared(LONG));
    site.sweep(&[]).says(0, "nothing is owed any more");
    assert_eq!(site.rig.alive().len(), 1, "its run has it in hand");
    drop(run);
    // Folders of runs that were killed before they began.
    std::fs::create_dir(state.join("run-1")).unwrap();
    std::fs::create_dir(state.join("run-2")).unwrap();
    std::fs::write(state.join("run-2/lock"), "").unwrap();
    site.sweep(&[]).says(0, "nothing is owed any more");
    assert!(site.rig.alive().is_empty());
    let names = std::fs::read_dir(&state).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let runs: Vec<_> = names.filter(|name| name.starts_with("run-")).collect();
    assert!(runs.is_empty(), "{runs:?}");
}

#[test]
fn a_list_waits_for_no_pipe() {
    for name in ["journal.db", "journal.db-wal", "journal.db-mark", "lock"] {
        let site = site("idle");
        let folder = site.path("state/run-1-planted");
        std::fs::create_dir_all(&folder).unwrap();
        let made = Command::new("mkfifo").arg(folder.join(name)).status();
        assert!(made.unwrap().success());
        let listed = site.sweep(&["--list"]);
        match name {
            "lock" => listed.says(0, "nothing is owed"),
            _ => listed.says(4, "it is no plain file"),
        }
    }
}

#[test]
fn a_list_is_not_fooled_by_a_journal_that_lost_what_it_owed() {
    let lose: [fn(&Site); 3] = [
        |site| {
            std::fs::remove_file(site.path("state/journal.db")).unwrap();
        },
        |site| {
            std::fs::copy(site.path("older"), site.path("state/journal.db")).unwrap();
        },
        |site| {
            site.write("state/journal.db", "");
        },
    ];
    for lose in lose {
        let site = site("idle");
        drop(site.serve());
        std::fs::copy(site.path("state/journal.db"), site.path("older")).unwrap();
        site.crash(SETTINGS);
        lose(&site);
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(site.path(&format!("state/journal.db{end}")));
        }
        site.sweep(&["--list"]).says(4, "cannot read the journal");
        // Set aside, it is still told.
        site.sweep(&[]);
        site.sweep(&["--list"]).says(4, "was damaged or replaced");
    }
}
