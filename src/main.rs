//! The command `cgprocfs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cgprocfs::cli::main()
}
