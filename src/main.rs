//! The `testerd` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    testerd::cli::main().into()
}
