//! Programs of other people that some tests need.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// Whether `tool` is installed. Where it is not, the test is skipped with a loud line; with
/// `TESTERD_REQUIRE_ALL` set (`scripts/test` does) it fails.
#[must_use]
pub(crate) fn require(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    if !found {
        assert!(
            std::env::var_os("TESTERD_REQUIRE_ALL").is_none(),
            "{tool} is not installed, and TESTERD_REQUIRE_ALL allows no skipping: run scripts/test"
        );
        skipped(&format!(
            "{tool} is not installed; scripts/test installs it"
        ));
    }
    found
}

/// Says loudly why a test was skipped.
pub(crate) fn skipped(why: &str) {
    // Not eprintln!, which the test harness swallows when the test passes.
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs `tool` to its end, and fails with all it said unless it succeeds.
pub(crate) fn succeed(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{tool} can't be started: {error}"));
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The root of the package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the package, as text.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A folder of one's own where a sync costs nothing, if there is such a place: for tests of what is
/// written, not of whether the disk keeps it.
pub(crate) fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
