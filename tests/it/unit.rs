//! The systemd unit: systemd itself says whether it is well-formed and how much it exposes.

use crate::tools::{read, require, succeed};

/// Ten times the score of `systemd-analyze security`. The unit has 1.1; what is left of it is what
/// a prober can't do without (the network) and noise.
const EXPOSURE: &str = "--threshold=15";

/// A copy of the unit that starts the binary which was just built: systemd wants it to exist.
fn unit(folder: &tempfile::TempDir) -> String {
    let text = read("systemd/testerd.service");
    let built = text.replace(
        "/usr/bin/testerd ",
        concat!(env!("CARGO_BIN_EXE_testerd"), " "),
    );
    assert_ne!(text, built, "ExecStart must start /usr/bin/testerd");
    let path = folder.path().join("testerd.service");
    std::fs::write(&path, built).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_understands_every_line() {
    if !require("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = succeed("systemd-analyze", &["verify", "--man=no", &unit(&folder)]);
    // A bad value is only "ignored", with exit code 0.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.trim().is_empty(), "systemd-analyze verify: {said}");
}

#[test]
fn the_service_can_do_little_harm() {
    if !require("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    succeed(
        "systemd-analyze",
        &[
            "security",
            "--no-pager",
            "--offline=true",
            EXPOSURE,
            &unit(&folder),
        ],
    );
}

/// The value of a key that stands once in the unit.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("{key}= is missing"));
    assert!(values.next().is_none(), "{key}= stands twice");
    value
}

#[test]
fn stopping_leaves_time_to_clean_up() {
    let unit = read("systemd/testerd.service");
    let seconds: u64 = value(&unit, "TimeoutStopSec")
        .trim_end_matches('s')
        .parse()
        .unwrap();
    // The default of `stop_grace`.
    assert!(
        seconds > 30,
        "systemd would kill the daemon before its grace is over"
    );
    // Nobody but the daemon gets SIGTERM: it decides what ends when.
    assert_eq!(value(&unit, "KillMode"), "mixed");
}

#[test]
fn the_unit_keeps_to_what_debian_12_knows() {
    let unit = read("systemd/testerd.service");
    // systemd 252 takes notify-reload for Type=simple, and says so only in a log.
    assert_eq!(value(&unit, "Type"), "notify");
}
