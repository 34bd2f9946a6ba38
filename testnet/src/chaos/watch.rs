//! The memory and open files of all processes, and how many nodes the chain has decommissioned, while a run lasts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::control::{self, Processes, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::target::Target;
use crate::{files, procfs, status};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How much of a log is searched for panics, from its end.
const LOG_BYTES: u64 = 4 << 20;

/// The most that any node had, and the most nodes that were decommissioned at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worst {
    pub(super) rss_bytes: u64,
    pub(super) fds: u64,
    /// Beyond those that were at the beginning.
    pub(super) decommissioned: u64,
}

/// Looks until it is told to end.
pub(super) struct Watch {
    stop: DropGuard,
    task: JoinHandle<Worst>,
}

impl Watch {
    pub(super) fn begin(plan: &Plan) -> Self {
        let (stop, plan) = (CancellationToken::new(), plan.clone());
        let stopped = stop.clone();
        let task = tokio::spawn(async move { look(plan, stopped).await });
        Self { stop: stop.drop_guard(), task }
    }

    pub(super) async fn end(self) -> Result<Worst, Failure> {
        drop(self.stop);
        self.task.await.map_err(|error| Failure::new(Exit::Internal, format!("nobody watched: {error}")))
    }
}

async fn look(plan: Plan, stop: CancellationToken) -> Worst {
    let (mut worst, mut at_first) = (Worst::default(), None);
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        // Nobody answers while the producer is killed.
        if let Ok(now) = status::decommissioned(plan.producer().http).await {
            let more = now.saturating_sub(*at_first.get_or_insert(now));
            worst.decommissioned = worst.decommissioned.max(more);
        }
        let Ok(processes) = control::ask::<Processes>(&plan.dir, &Request::Processes).await else { continue };
        for child in processes.children.iter().filter(|child| child.target != Target::Chain) {
            let fds = fs::read_dir(format!("/proc/{}/fd", child.pid)).map_or(0, Iterator::count) as u64;
            worst.rss_bytes = worst.rss_bytes.max(procfs::resident_bytes(child.pid).unwrap_or_default());
            worst.fds = worst.fds.max(fds);
        }
    }
    worst
}

/// Processes that do not run, and those that panicked, when everything is healed.
pub(super) async fn deaths(plan: &Plan) -> Result<Vec<String>, Failure> {
    let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
    let ended = processes.children.iter().filter(|child| child.state != "running");
    let mut deaths: Vec<String> = ended.map(|child| format!("{}: {}", child.target, child.state)).collect();
    for index in 0..processes.nodes {
        let place = plan.node(index);
        if [files::OUTPUT, files::LOG].iter().any(|name| has_panicked(&place.datadir.join(name))) {
            deaths.push(format!("{}: panicked; see its log", place.label));
        }
    }
    Ok(deaths)
}

/// Whether a log tells of a panic.
fn has_panicked(log: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let Ok(mut file) = fs::File::open(log) else { return false };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut text = Vec::new();
    let read = file
        .seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))
        .and_then(|_| file.take(LOG_BYTES).read_to_end(&mut text));
    read.is_ok() && text.windows(9).any(|window| window == b"panicked ".as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_log_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(!has_panicked(&log));
        fs::write(&log, "all is well\n").unwrap();
        assert!(!has_panicked(&log));
        fs::write(&log, "thread 'main' panicked at node/src/main.rs:1:1\n").unwrap();
        assert!(has_panicked(&log));
    }
}
