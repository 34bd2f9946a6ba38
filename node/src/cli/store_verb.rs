//! `sotto-node store`: what the running node stores, and whether what a stopped one has on disk is good.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use sotto_behaviours::clock;

use super::output::table;
use super::status::size;
use super::{ANSWER, CliError, Context, Exit, running};
use crate::keys::{KeyDirectory, Slot};
use crate::lock::{Lock, LockError};
use crate::run::{DATABASE, RunError};
use crate::status::store::StoreStatus;
use crate::store::verify::{Checked, verify};
use crate::store::{self, StoreError};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node store stats
  sotto-node store verify
  sotto-node store verify --json | jq .first_bad

Exit codes: 0 shown, or all is good · 1 something on disk is not · 3 node not running · 7 no database yet ·
12 the node is running")]
pub(super) struct StoreVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how much the running node stores, and what has become of it since the start
    Stats,
    /// Check every record on disk; the node must be stopped, and nothing is changed
    Verify,
}

impl StoreVerb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Stats => stats(context),
            Verb::Verify => check(context),
        }
    }
}

fn stats(context: &Context) -> Result<Exit, CliError> {
    let status: StoreStatus = running::fetch(&context.datadir, "/store", context.timeout.unwrap_or(ANSWER))?;
    let directory = context.datadir.join(DATABASE);
    let disk_bytes = bytes_in(&directory).map_err(|error| CliError::io("read", &directory, &error))?;
    let mut document = serde_json::to_value(&status)
        .map_err(|error| CliError::new(Exit::Defect, "json", format!("cannot show the result: {error}")))?;
    document["disk_bytes"] = disk_bytes.into();
    context.out.result(&document, &render(&status, disk_bytes))?;
    Ok(Exit::Done)
}

/// Bytes of the files in a directory that has no others below it; `None` if it is not there.
fn bytes_in(directory: &Path) -> io::Result<Option<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = 0_u64;
    for entry in entries {
        match entry?.metadata() {
            Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
            // The database removes files all the time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}

fn render(status: &StoreStatus, disk_bytes: Option<u64>) -> String {
    let loading = if status.loaded { "" } else { "; the disk is still being read" };
    let full = if status.full { "; full, senders are turned away" } else { "" };
    let mut rows = vec![
        ["limits".to_owned(), format!("{} records, {}", status.records_limit, size(status.bytes_limit))],
        ["tombstones".to_owned(), status.tombstones.to_string()],
        ["to hand over".to_owned(), format!("{} records and tombstones of other swarms", status.to_hand_over)],
    ];
    rows.extend(disk_bytes.map(|bytes| ["on disk".to_owned(), format!("{}, the chain included", size(bytes))]));
    rows.push(["since start".to_owned(), since_start(status)]);
    format!("{} records, {}{full}{loading}\n\n{}", status.records, size(status.bytes), table(&rows))
}

fn since_start(status: &StoreStatus) -> String {
    let StoreStatus { from_clients, from_gossip, from_repair, expired, deleted, handed_over, damaged, .. } = status;
    format!(
        "{from_clients} stored by clients, {from_gossip} by gossip, {from_repair} by repair, {expired} expired, \
         {deleted} deleted, {handed_over} handed over, {damaged} damaged"
    )
}

fn check(context: &Context) -> Result<Exit, CliError> {
    if !KeyDirectory::of(&context.datadir).path(Slot::Node).exists() {
        return Err(CliError::not_set_up(&context.datadir));
    }
    // Held to the end: a node that starts meanwhile would write.
    let _lock = Lock::acquire(&context.datadir).map_err(in_use)?;
    let directory = context.datadir.join(DATABASE);
    let opened = store::open_read_only(&directory).map_err(failed)?.ok_or_else(|| {
        CliError::new(Exit::NotFound, "no_database", format!("there is no database in {}", directory.display()))
    })?;
    let (start, mut told) = (Instant::now(), Instant::now());
    let mut progress = |checked: &Checked| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            context.out.say(&format!("{} so far, {} bad", counts(checked), checked.bad));
        }
    };
    let checked = verify(&*opened, clock::wall().seconds(), &mut progress).map_err(failed)?;
    let took = start.elapsed();
    context.out.result(&document(&checked, took), &verdict(&checked))?;
    Ok(if checked.bad == 0 { Exit::Done } else { Exit::Failed })
}

fn in_use(error: LockError) -> CliError {
    let held = matches!(error, LockError::Held { .. });
    let error = CliError::from(error);
    if held { error.hint("stop the node first; while it runs: sotto-node store stats") } else { error }
}

fn failed(error: StoreError) -> CliError {
    RunError::from(error).into()
}

fn counts(checked: &Checked) -> String {
    format!("{} records, {} tombstones", checked.records, checked.tombstones)
}

fn document(checked: &Checked, took: Duration) -> serde_json::Value {
    let first_bad: Vec<_> =
        checked.first_bad.iter().map(|bad| serde_json::json!({ "row": bad.row, "reason": bad.reason })).collect();
    serde_json::json!({
        "v": 1, "type": "node.store_check", "ok": checked.bad == 0, "records": checked.records,
        "bytes": checked.bytes, "expired": checked.expired, "tombstones": checked.tombstones,
        "deletes": checked.deletes, "bad": checked.bad, "first_bad": first_bad,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}

fn verdict(checked: &Checked) -> String {
    let expired = match checked.expired {
        0 => String::new(),
        expired => format!(", {expired} of them expired"),
    };
    let all = format!(
        "{} records ({}{expired}), {} tombstones, {} signed deletes",
        checked.records,
        size(checked.bytes),
        checked.tombstones,
        checked.deletes
    );
    if checked.bad == 0 {
        return format!("all is good: {all}");
    }
    let mut text = format!("{} rows are not as they were written, of {all}\n\n", checked.bad);
    for bad in &checked.first_bad {
        text.push_str(&format!("  {}: {}\n", bad.row, bad.reason));
    }
    let named = checked.first_bad.len() as u64;
    if checked.bad > named {
        text.push_str(&format!("  and {} more\n", checked.bad - named));
    }
    text.push_str(
        "\n  → start the node: it passes over what is damaged, and fetches it from the other members of its swarm;\n    \
         if there is more of it each time, replace the disk\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::verify::BadRow;

    #[test]
    fn the_verdict_names_the_first_bad_rows_and_counts_the_rest() {
        let good = Checked { records: 3, bytes: 5000, expired: 1, tombstones: 2, deletes: 1, ..Checked::default() };
        assert_eq!(verdict(&good), "all is good: 3 records (4 KiB, 1 of them expired), 2 tombstones, 1 signed deletes");
        let row = BadRow { row: "record 7 at 00ff".into(), reason: "the checksum is wrong" };
        let bad = Checked { bad: 4, first_bad: vec![row], ..good };
        let text = verdict(&bad);
        assert!(text.starts_with("4 rows are not as they were written"), "{text}");
        assert!(text.contains("\n  record 7 at 00ff: the checksum is wrong\n  and 3 more\n"), "{text}");
        let document = document(&bad, Duration::from_millis(7));
        assert_eq!((document["ok"].as_bool(), document["took_ms"].as_u64()), (Some(false), Some(7)));
        assert_eq!(document["first_bad"][0]["row"], "record 7 at 00ff");
    }

    #[test]
    fn what_is_stored_is_summed_up_in_one_line() {
        let status = StoreStatus {
            v: StoreStatus::VERSION,
            kind: StoreStatus::TYPE.into(),
            loaded: true,
            records: 1290,
            bytes: 5 << 20,
            records_limit: 100_000,
            bytes_limit: 2 << 30,
            full: false,
            tombstones: 14,
            to_hand_over: 0,
            from_clients: 1,
            from_gossip: 2,
            from_repair: 3,
            expired: 4,
            deleted: 5,
            handed_over: 6,
            damaged: 0,
        };
        let text = render(&status, Some(12 << 20));
        assert!(text.starts_with("1290 records, 5 MiB\n\n  limits        100000 records, 2048 MiB\n"), "{text}");
        assert!(text.contains("\n  on disk       12 MiB, the chain included\n"), "{text}");
        let loading = render(&StoreStatus { loaded: false, full: true, ..status }, None);
        let first = loading.lines().next();
        assert_eq!(first, Some("1290 records, 5 MiB; full, senders are turned away; the disk is still being read"));
        assert!(!loading.contains("on disk"), "{loading}");
    }

    #[test]
    fn files_are_summed_and_an_absent_directory_is_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), [0_u8; 10]).unwrap();
        fs::write(directory.path().join("b"), [0_u8; 5]).unwrap();
        assert_eq!(bytes_in(directory.path()).unwrap(), Some(15));
        assert_eq!(bytes_in(&directory.path().join("absent")).unwrap(), None);
    }
}
