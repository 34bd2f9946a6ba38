//! The command `sotto`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sotto_client::cli::main(std::env::args_os())
}
