//! `sotto-chain`: founds a chain, produces its blocks, and talks to a running producer.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
