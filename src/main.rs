//! Arguments, one command, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kubecertd::cli::main() as u8)
}
