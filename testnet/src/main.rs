//! The launcher of local testnets: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sotto_testnet::cli::main()
}
