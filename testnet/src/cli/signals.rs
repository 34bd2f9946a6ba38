//! Ctrl-C and its relatives, and the end of stdin.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context, Exit, Failure};

/// Turns signals into the end of `stop`; the receiver says which one came.
///
/// A second signal ends the process at once: its children end with their stdin.
pub(super) fn watch_signals(stop: &CancellationToken) -> Result<watch::Receiver<Option<Exit>>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for", "SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for", "SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("watch for", "SIGHUP")?;
    let (sender, received) = watch::channel(None);
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            let exit = tokio::select! {
                Some(()) = interrupt.recv() => Exit::Interrupted,
                Some(()) = terminate.recv() => Exit::Terminated,
                Some(()) = hangup.recv() => Exit::Terminated,
                else => return,
            };
            if sender.borrow().is_some() {
                std::process::exit(exit as i32);
            }
            sender.send_replace(Some(exit));
            stop.cancel();
        }
    });
    Ok(received)
}

/// Ends `stop` when stdin ends: a script or test that starts a testnet never leaves it behind.
///
/// A thread of its own reads, for a read of stdin cannot be cancelled; it ends with the process.
pub(super) fn stop_at_stdin_eof(stop: &CancellationToken) {
    let stop = stop.clone();
    std::thread::spawn(move || {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().lock().read(&mut ignored), Ok(1..)) {}
        stop.cancel();
    });
}
