//! The next start is not like the last one: specs edited or gone, a target elsewhere or gone, and
//! somebody else in the state directory.

use rustix::process::Signal;

use super::site::Site;
use super::{LONG, probe};
use crate::e2e::child::Child;
use crate::e2e::eventually;
use crate::rig::Rig;

const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.stop_grace = \"2s\"";

fn site() -> Site {
    Site::new(SETTINGS, &probe("idle", "100ms"))
}

fn stop(mut daemon: Child) {
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(0));
}

/// Starts with other specs than those that made what is owed.
fn check_undone(what: &str, change: impl Fn(&Site)) {
    let site = site();
    site.crash(SETTINGS);
    change(&site);
    let daemon = site.serve();
    site.settles(what);
    assert!(site.rig.alive().is_empty(), "{what}");
    stop(daemon);
}

#[test]
fn what_a_spec_has_made_is_undone_without_it() {
    let idle = "[[spec]]\nname = \"idle\"\n[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/ok\"\n";
    check_undone("removed", |site| site.write("specs.toml", idle));
    check_undone("edited", |site| {
        site.edit("specs.toml", "/items/${item.id}", "/status/500?${item.id}");
    });
    check_undone("renamed", |site| site.edit("specs.toml", "single", "other"));
    // What is owed can be carried out even where no daemon would start.
    let site = site();
    site.crash(SETTINGS);
    site.write("specs.toml", "[[spec]]\nname = 1\n");
    assert_eq!(site.run("check", &[]).code, Some(3));
    site.sweep(&[]).says(0, "nothing is owed any more");
    assert!(site.rig.alive().is_empty());
}

/// Starts with a changed configuration, which must not touch what is owed, and then with the old.
fn check_refused(why: &str, change: impl Fn(&Site)) {
    let site = site();
    let id = site.crash(SETTINGS);
    change(&site);
    let mut daemon = site.serve();
    daemon.hear(why, |line| {
        (line.contains("still owed") && line.contains(why)).then_some(())
    });
    eventually("it is noted", || {
        let owed = site.owed();
        (owed.len() == 1 && owed[0].contains(why)).then_some(())
    });
    site.sweep(&["--retry", &id]).says(4, why);
    stop(daemon);
    site.sweep(&["--dry-run"]).says(0, "would be refused");
    site.sweep(&[]).says(4, why);
    assert_eq!(site.rig.alive().len(), 1);

    site.configure(SETTINGS, &probe("idle", "100ms"));
    let daemon = site.serve();
    site.settles(why);
    assert!(site.rig.alive().is_empty());
    stop(daemon);
}

#[test]
fn what_was_made_elsewhere_is_kept_until_the_target_is_back() {
    let elsewhere = Rig::start();
    check_refused("but this was made on", |site| {
        site.edit("testerd.toml", &site.rig.url(), &elsewhere.url());
    });
    assert_eq!(elsewhere.count("/items"), 0);
    assert_eq!(elsewhere.count("/items/{id}"), 0);
    check_refused("there is no target `rig` any more", |site| {
        site.edit("testerd.toml", "[target.rig]", "[target.other]");
        site.edit("testerd.toml", "target = \"rig\"", "target = \"other\"");
    });
}

#[test]
fn a_state_directory_has_one_daemon() {
    let site = Site::new(SETTINGS, &probe("single", "100ms"));
    let mut first = site.serve();
    let owner = format!("in use by testerd crash (pid {})", first.id());
    let second = site.run("serve", &["--web.listen-address", "127.0.0.1:0"]);
    second.says(4, &owner);
    assert!(first.lives());
    let made = site.rig.count("POST /items");
    assert!(site.rig.reaches("POST /items", made + 1, LONG));
    stop(first);
    assert!(site.rig.alive().is_empty());
    // Not the file but the process held it.
    stop(site.serve());
}
