//! `sotto-testnet clean`: removes data, never of a running testnet, never what no testnet made.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Globals;
use super::console::Console;
use super::location::{DATA, Location, shown};
use super::up::clear_before;
use crate::chaos;
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::lock::Lock;
use crate::supervisor::remove_data;

/// Options of `clean`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// All testnets below ./testnet/data
    #[arg(long)]
    all: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Removes the data of one testnet or of all; those that run are left alone and named.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let dirs = if arguments.all { every_testnet()? } else { vec![Location::new(globals)?.plan()?.dir] };
    let (running, removable): (Vec<_>, Vec<_>) = dirs.into_iter().partition(|dir| Lock::holder(dir).is_some());
    let names: Vec<String> = removable.iter().map(|dir| shown(dir)).collect();
    if !removable.is_empty() && !arguments.dry_run {
        console.confirm(&format!("Remove {}?", names.join(", ")))?;
        for dir in &removable {
            remove(dir, console).await?;
        }
    }
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    let text = if names.is_empty() { "nothing to remove".to_owned() } else { format!("{verb} {}", names.join(", ")) };
    let document = json!({ "v": 1, "type": "testnet.clean", "dry_run": arguments.dry_run, "removed": removable, "running": running });
    console.print(&text, &document)?;
    match running.first() {
        None => Ok(()),
        Some(dir) => Err(Failure::new(Exit::InUse, format!("{} is running", shown(dir))).hint("sotto-testnet down")),
    }
}

fn every_testnet() -> Result<Vec<PathBuf>, Failure> {
    if !PathBuf::from(DATA).exists() {
        return Ok(Vec::new());
    }
    let current = std::env::current_dir().context("tell", "the current directory")?;
    let entries = fs::read_dir(DATA).context("read", DATA)?;
    let mut dirs: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| current.join(entry.path()))
        .filter(|dir| dir.join(files::SETTINGS).exists())
        .collect();
    dirs.sort();
    Ok(dirs)
}

async fn remove(dir: &Path, console: &Console) -> Result<(), Failure> {
    let lock = Lock::take(dir).map_err(|error| Failure::new(Exit::InUse, error.to_string()))?;
    // Before its settings go: they say what is its own. What stays in the kernel could not be named after it.
    clear_before(&Location { dir: dir.to_owned(), name: String::new() }, console).await?;
    chaos::discard_all(dir)?;
    remove_data(dir)?;
    let log = dir.join(files::SUPERVISOR_LOG);
    if log.exists() {
        fs::remove_file(&log).context("remove", log.display())?;
    }
    drop(lock);
    fs::remove_dir(dir).context("remove", dir.display())
}
