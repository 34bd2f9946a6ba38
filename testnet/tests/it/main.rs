//! Whole processes: the scripts, the launcher, and fifty nodes under faults.
//!
//! A harness of its own, because the checks of a group share one testnet and run in order: bringing fifty nodes up for
//! every check would take longer than the checks. Prints and exits like the standard harness; words on the command
//! line choose checks by name (the groups they belong to are brought up).
//!
//! The programs are taken from `$SOTTO_BIN_DIR`, else from beside this test's directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod draws;
mod fifty;
mod harness;
mod launcher;
mod messages;
mod scripts;
mod testnet;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // Asked by test runners that would run every check in a process of its own.
        return ExitCode::SUCCESS;
    }
    let words = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut harness = harness::Harness::new(words);
    scripts::run(&mut harness);
    launcher::run(&mut harness);
    messages::run(&mut harness);
    fifty::run(&mut harness);
    harness.finish()
}
