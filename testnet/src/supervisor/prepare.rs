//! Everything before the first process: free ports, the genesis, keys; and removing it all again.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use tokio::task::JoinSet;

use super::Report;
use super::readiness::Origin;
use crate::binaries::Binaries;
use crate::failure::{Context, Exit as ExitCode, Failure};
use crate::files;
use crate::open_files;
use crate::plan::Plan;
use crate::ports::{self, PortError};

/// Programs that make keys at the same time.
const INIT_AT_ONCE: usize = 4;
/// Written last when a node's directory is made, so that with it the directory is complete.
const NODE_KEY: &str = "keys/node.key";

/// Free ports, enough open files.
pub(super) fn preflight(plan: &Plan, report: &Report) -> Result<(), Failure> {
    let sockets = plan.sockets();
    ports::all_free(&sockets).map_err(|error| {
        let exit = if matches!(error, PortError::Taken { .. }) { ExitCode::InUse } else { ExitCode::Failed };
        Failure::new(exit, error.to_string()).hint("another range: --port-base 30000, or --port-base auto")
    })?;
    report.step(
        "preflight",
        format!("{} ports free from {} · open files {}", sockets.len(), plan.settings.port_base, open_files::raise()),
    );
    Ok(())
}

/// Genesis and keys, unless they are there from an earlier run.
pub(super) async fn prepare(plan: &Plan, binaries: &Binaries, report: &Report) -> Result<Origin, Failure> {
    let origin = if plan.genesis().exists() { Origin::Resumed } else { Origin::Fresh };
    if !plan.genesis().exists() {
        run("write the genesis", binaries.genesis(plan)).await?;
    }
    let missing: Vec<u16> =
        (0..plan.settings.nodes).filter(|index| !plan.node(*index).datadir.join(NODE_KEY).exists()).collect();
    init_nodes(plan, binaries, &missing, report).await?;
    let block_time = humantime::format_duration(Duration::from_millis(plan.settings.block_time_ms));
    let text = match origin {
        Origin::Fresh => {
            format!("genesis and {} keys from seed {} · {block_time} blocks", missing.len(), plan.settings.seed)
        }
        Origin::Resumed => format!("going on where seed {} was left · {block_time} blocks", plan.settings.seed),
    };
    report.step("chain", text);
    Ok(origin)
}

/// Makes data directory and keys of the nodes given.
pub(super) async fn init_nodes(
    plan: &Plan,
    binaries: &Binaries,
    missing: &[u16],
    report: &Report,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    let mut waiting = missing.iter();
    for done in 0..missing.len() {
        while tasks.len() < INIT_AT_ONCE
            && let Some(&index) = waiting.next()
        {
            let command = binaries.init(plan, index);
            tasks.spawn(async move { run(&format!("make the keys of node{index:02}"), command).await });
        }
        if let Some(finished) = tasks.join_next().await {
            finished.map_err(|error| Failure::new(ExitCode::Internal, error.to_string()))??;
        }
        report.current("keys", done + 1, missing.len(), "made");
    }
    Ok(())
}

/// Runs a program to its end; its last words on stderr become the reason when it fails.
async fn run(what: &str, command: std::process::Command) -> Result<(), Failure> {
    let mut command = tokio::process::Command::from(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let Output { status, stderr, .. } = output.map_err(|error| start_failure(what, &error))?;
    if status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    Err(Failure::new(ExitCode::Failed, format!("cannot {what} ({status}): {}", stderr.trim())))
}

fn start_failure(what: &str, error: &io::Error) -> Failure {
    Failure::new(ExitCode::Failed, format!("cannot {what}: {error}"))
}

/// Removes what an earlier testnet left in `dir`, and nothing else; `dir` itself stays.
///
/// # Errors
/// [`ExitCode::Conflict`] when `dir` holds something that is no testnet.
pub fn remove_data(dir: &Path) -> Result<(), Failure> {
    let entries: Vec<_> =
        fs::read_dir(dir).and_then(Iterator::collect::<io::Result<_>>).context("read", dir.display())?;
    let is_lock = |entry: &fs::DirEntry| entry.file_name() == files::LOCK || entry.file_name() == files::SUPERVISOR_LOG;
    let mut data: Vec<fs::DirEntry> = entries.into_iter().filter(|entry| !is_lock(entry)).collect();
    if data.is_empty() {
        return Ok(());
    }
    if !dir.join(files::SETTINGS).exists() {
        let message = format!("{} holds files that no testnet made", dir.display());
        return Err(Failure::new(ExitCode::Conflict, message).hint("choose another directory with --dir"));
    }
    // Last what tells that this is a testnet: whoever is interrupted can do it again.
    data.sort_by_key(|entry| entry.file_name() == files::SETTINGS);
    for entry in data {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.context("remove", path.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_no_testnet_is_never_emptied() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
        assert_eq!(remove_data(dir.path()).unwrap_err().exit, ExitCode::Conflict);
        assert!(dir.path().join("thesis.tex").exists());
        fs::write(dir.path().join(files::SETTINGS), "{}").unwrap();
        remove_data(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
