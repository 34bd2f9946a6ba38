//! From an empty directory, or from one left by an earlier run, to a testnet in which all agree.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Report, Supervisor, WAITING_EXITS, write_settings};
use crate::agreement::{self, Agreed, Agreement};
use crate::binaries::Binaries;
use crate::failure::{Context, Exit as ExitCode, Failure};
use crate::manifest::{self, Manifest};
use crate::plan::{Place, Plan};
use crate::ports::{self, PortError};
use crate::process::{Exit, Process};
use crate::status::{self, NodeStatus};
use crate::{files, logs};

/// States of a node that the chain knows.
const REGISTERED: [&str; 3] = ["active", "decommissioned", "exiting"];
/// How often nodes are asked whether they are there yet.
const POLL: Duration = Duration::from_millis(200);
/// Programs that make keys at the same time.
const INIT_AT_ONCE: usize = 4;
/// Open files wanted: each node has its own process, but the launcher holds pipes and asks all at once.
const OPEN_FILES: u64 = 8192;

/// Whether a testnet starts from nothing: then its nodes must also form the expected swarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Fresh,
    Resumed,
}

impl Supervisor {
    /// Starts everything in `plan` and waits until all nodes agree, at most `deadline`.
    ///
    /// # Errors
    /// A [`Failure`] naming the port, program, child or node in the way. Nothing is left running then.
    pub async fn start(plan: Plan, binaries: Binaries, deadline: Duration, report: &Report) -> Result<Self, Failure> {
        preflight(&plan, report)?;
        write_settings(&plan.settings, &plan.dir)?;
        let origin = prepare(&plan, &binaries, report).await?;
        let mut supervisor = Self::spawn_all(plan, binaries)?;
        match supervisor.until_ready(origin, Instant::now() + deadline, report).await {
            Ok(agreed) => {
                supervisor.ready = report.elapsed();
                supervisor.height = agreed.height;
                supervisor.write_manifest().await?;
                Ok(supervisor)
            }
            Err(failure) => {
                supervisor.shutdown().await;
                Err(failure)
            }
        }
    }

    fn spawn_all(plan: Plan, binaries: Binaries) -> Result<Self, Failure> {
        let (exit_sender, exits) = mpsc::channel(WAITING_EXITS);
        let spawn = |place: &Place, command| {
            Process::spawn(&place.label, command, &place.output, exit_sender.clone()).context("start", &place.label)
        };
        let place = plan.producer();
        fs::create_dir_all(&place.datadir).context("create", place.datadir.display())?;
        let producer = spawn(&place, binaries.run_producer(&plan))?;
        let nodes = plan.nodes().map(|place| spawn(&place, binaries.run_node(&plan, &place)));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { plan, binaries, producer, nodes, exits, exit_sender, ready: Duration::ZERO, height: 0 })
    }

    /// Polls until all nodes are well and agree.
    async fn until_ready(&mut self, origin: Origin, deadline: Instant, report: &Report) -> Result<Agreed, Failure> {
        let total = self.nodes.len();
        let mut answers: Vec<Option<NodeStatus>> = vec![None; total];
        let mut milestones = Milestones::default();
        loop {
            if let Some(exit) = self.failed() {
                return Err(self.ended_while_starting(&exit));
            }
            self.refresh(&mut answers, origin).await;
            let well = answers.iter().flatten().filter(|status| is_well(status, origin)).count();
            milestones.note(&answers, well, origin, report);
            if well == total {
                match agreement::newest(&answers) {
                    Agreement::Agreed(agreed) if origin == Origin::Resumed || has_expected_swarms(&answers) => {
                        report.step("ready", agreed_text(total, &agreed));
                        return Ok(agreed);
                    }
                    Agreement::Split { height, parties } => return Err(split(height, parties.len())),
                    _ => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(not_ready(&answers, origin));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks those who were not well yet; when all are, everybody, so that the answers can be compared.
    async fn refresh(&self, answers: &mut [Option<NodeStatus>], origin: Origin) {
        let unwell = |status: &Option<NodeStatus>| !status.as_ref().is_some_and(|status| is_well(status, origin));
        let everybody = !answers.iter().any(unwell);
        let asked: Vec<usize> = (0..answers.len()).filter(|index| everybody || unwell(&answers[*index])).collect();
        let places: Vec<Place> = self.plan.nodes().collect();
        let fresh = status::ask_all(asked.iter().map(|index| places[*index].http)).await;
        for (index, answer) in asked.into_iter().zip(fresh) {
            answers[index] = answer;
        }
    }

    fn ended_while_starting(&self, exit: &Exit) -> Failure {
        let dir = self.plan.dir.join(&exit.label);
        let (output, log) = (dir.join(files::OUTPUT), dir.join(files::LOG));
        let last = logs::last_line(&output).or_else(|| logs::last_line(&log));
        let last = last.map_or_else(String::new, |line| format!(": {line}"));
        Failure::new(ExitCode::Failed, format!("{} ended while starting ({}){last}", exit.label, exit.how))
            .hint(format!("see {} and {}", output.display(), log.display()))
    }

    /// Writes who runs where.
    pub(super) async fn write_manifest(&self) -> Result<(), Failure> {
        let answers = self.ask_all().await;
        let path = self.plan.dir.join(files::MANIFEST);
        let settings = &self.plan.settings;
        let manifest = Manifest {
            v: 1,
            r#type: "testnet.manifest".to_owned(),
            name: settings.name.clone(),
            seed: settings.seed,
            block_time_ms: settings.block_time_ms,
            dir: self.plan.dir.clone(),
            genesis: self.plan.genesis(),
            socket: self.plan.dir.join(files::SOCKET),
            pid: std::process::id(),
            ready_ms: u64::try_from(self.ready.as_millis()).unwrap_or(u64::MAX),
            height: self.height,
            producer: described(self.plan.producer(), &self.producer),
            swarms: agreement::swarms(&answers).into_iter().map(|(id, nodes)| manifest::Swarm { id, nodes }).collect(),
            nodes: (0_u16..)
                .zip(self.plan.nodes().zip(&self.nodes).zip(answers))
                .map(|(i, ((place, process), answer))| {
                    let id = answer.map(|status| status.node).unwrap_or_default();
                    manifest::Node { i, id, process: described(place, process) }
                })
                .collect(),
        };
        manifest.write(&path).context("write", path.display())
    }
}

fn described(place: Place, process: &Process) -> manifest::Process {
    let Place { listen, http, datadir: dir, log, .. } = place;
    manifest::Process { pid: Some(process.pid()), listen, http, dir, log }
}

/// Free ports, enough open files.
fn preflight(plan: &Plan, report: &Report) -> Result<(), Failure> {
    let sockets = plan.sockets();
    ports::all_free(&sockets).map_err(|error| {
        let exit = if matches!(error, PortError::Taken { .. }) { ExitCode::InUse } else { ExitCode::Failed };
        Failure::new(exit, error.to_string()).hint("another range: --port-base 30000, or --port-base auto")
    })?;
    report.step(
        "preflight",
        format!("{} ports free from {} · open files {}", sockets.len(), plan.settings.port_base, raise_open_files()),
    );
    Ok(())
}

/// Raises the soft limit of open files, which children inherit, towards [`OPEN_FILES`]; says what it is now.
fn raise_open_files() -> String {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let wanted = OPEN_FILES.min(limit.maximum.unwrap_or(u64::MAX));
    if before >= wanted {
        return before.to_string();
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => format!("{before}→{wanted}"),
        Err(_) => before.to_string(),
    }
}

/// Genesis and keys, unless they are there from an earlier run.
async fn prepare(plan: &Plan, binaries: &Binaries, report: &Report) -> Result<Origin, Failure> {
    let origin = if plan.genesis().exists() { Origin::Resumed } else { Origin::Fresh };
    if !plan.genesis().exists() {
        run("write the genesis", binaries.genesis(plan)).await?;
    }
    let missing: Vec<u16> =
        (0..plan.settings.nodes).filter(|index| !plan.node(*index).datadir.join("keys").exists()).collect();
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

/// What a node must be before the testnet counts as ready. One that was decommissioned in an earlier run may stay so.
fn is_well(status: &NodeStatus, origin: Origin) -> bool {
    match origin {
        Origin::Fresh => status.is_active(),
        Origin::Resumed => status.synced && !status.halted && REGISTERED.contains(&status.state.as_str()),
    }
}

/// As many swarms as so many new nodes make, none below five or above ten, and nobody without one unless that is due.
fn has_expected_swarms(answers: &[Option<NodeStatus>]) -> bool {
    let swarms = agreement::swarms(answers);
    let expected = u16::try_from(answers.len()).map(agreement::expected_swarms);
    expected == Ok(swarms.len()) && swarms.values().all(|members| (5..=10).contains(&members.len()))
}

/// Says each thing once, when it has happened.
#[derive(Default)]
struct Milestones {
    active: bool,
    swarms: bool,
}

impl Milestones {
    fn note(&mut self, answers: &[Option<NodeStatus>], well: usize, origin: Origin, report: &Report) {
        let total = answers.len();
        if well < total {
            let text = if origin == Origin::Fresh { "staked and active" } else { "caught up" };
            report.current("nodes", well, total, text);
            return;
        }
        if !self.active {
            self.active = true;
            let text = if origin == Origin::Fresh { "staked, active and caught up" } else { "caught up" };
            report.step("nodes", format!("{total}/{total} {text}"));
        }
        if !self.swarms && (origin == Origin::Resumed || has_expected_swarms(answers)) {
            self.swarms = true;
            report.step("swarms", swarms_text(answers));
        }
    }
}

/// `5 swarms × 10 nodes (0x0000… 0x3fff… …)`.
fn swarms_text(answers: &[Option<NodeStatus>]) -> String {
    let swarms = agreement::swarms(answers);
    let sizes: Vec<usize> = swarms.values().map(Vec::len).collect();
    let sizes = match (sizes.iter().min(), sizes.iter().max()) {
        (Some(low), Some(high)) if low == high => low.to_string(),
        (Some(low), Some(high)) => format!("{low} to {high}"),
        _ => "0".to_owned(),
    };
    let ids: Vec<String> = swarms.keys().take(6).map(|id| format!("{}…", id.get(..6).unwrap_or(id))).collect();
    format!("{} swarms × {sizes} nodes ({})", swarms.len(), ids.join(" "))
}

fn agreed_text(nodes: usize, agreed: &Agreed) -> String {
    format!(
        "{nodes}/{nodes} agree at height {}: state {}, list {}, swarms {}",
        agreed.height,
        agreement::short(&agreed.state_root),
        agreement::short(&agreed.list_root),
        agreement::short(&agreed.swarm_map)
    )
}

fn split(height: u64, parties: usize) -> Failure {
    Failure::new(ExitCode::Internal, format!("nodes derived {parties} different states at final height {height}"))
}

/// Who is not ready, and why.
fn not_ready(answers: &[Option<NodeStatus>], origin: Origin) -> Failure {
    let reason = |(index, answer): (usize, &Option<NodeStatus>)| match answer {
        None => Some(format!("node{index:02}  does not answer")),
        Some(status) if !is_well(status, origin) => {
            Some(format!("node{index:02}  {}: {}", status.state, status.summary))
        }
        Some(_) => None,
    };
    let mut unwell: Vec<String> = answers.iter().enumerate().filter_map(reason).collect();
    let headline = match agreement::newest(answers) {
        _ if !unwell.is_empty() => format!("{} of {} nodes are not ready", unwell.len(), answers.len()),
        Agreement::NotYet(reason) => format!("the nodes do not agree: {reason}"),
        _ => format!("the nodes form {} swarms", agreement::swarms(answers).len()),
    };
    let more = unwell.len().saturating_sub(10);
    unwell.truncate(10);
    if more > 0 {
        unwell.push(format!("… and {more} more"));
    }
    Failure { exit: ExitCode::Timeout, message: headline, hint: (!unwell.is_empty()).then(|| unwell.join("\n  ")) }
}

/// Removes what an earlier testnet left in `dir`, and nothing else; `dir` itself stays.
///
/// # Errors
/// [`ExitCode::Conflict`] when `dir` holds something that is no testnet.
pub fn remove_data(dir: &Path) -> Result<(), Failure> {
    let entries: Vec<_> =
        fs::read_dir(dir).and_then(Iterator::collect::<io::Result<_>>).context("read", dir.display())?;
    let is_lock = |entry: &fs::DirEntry| entry.file_name() == files::LOCK || entry.file_name() == files::SUPERVISOR_LOG;
    let data: Vec<fs::DirEntry> = entries.into_iter().filter(|entry| !is_lock(entry)).collect();
    if data.is_empty() {
        return Ok(());
    }
    if !dir.join(files::SETTINGS).exists() {
        let message = format!("{} holds files that no testnet made", dir.display());
        return Err(Failure::new(ExitCode::Conflict, message).hint("choose another directory with --dir"));
    }
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

    fn member(swarm: u16) -> Option<NodeStatus> {
        Some(NodeStatus {
            synced: true,
            state: "active".to_owned(),
            swarm: Some(format!("0x{swarm:016x}")),
            ..NodeStatus::default()
        })
    }

    #[test]
    fn fifty_nodes_in_five_tens_are_the_expected_layout_and_nothing_else_is() {
        let layout = |sizes: &[u16]| -> Vec<Option<NodeStatus>> {
            (0..).zip(sizes).flat_map(|(swarm, size)| (0..*size).map(move |_| member(swarm))).collect()
        };
        assert!(has_expected_swarms(&layout(&[10, 10, 10, 10, 10])));
        assert!(has_expected_swarms(&layout(&[10, 10, 9, 8, 7, 7])));
        assert!(!has_expected_swarms(&layout(&[10, 10, 10, 10, 6, 4])));
        assert!(!has_expected_swarms(&layout(&[10, 10, 10, 20])));
    }

    #[test]
    fn a_timeout_names_the_nodes_that_are_missing() {
        let failure = not_ready(&[member(0), None], Origin::Fresh);
        assert_eq!(failure.exit, ExitCode::Timeout);
        assert_eq!(failure.message, "1 of 2 nodes are not ready");
        assert!(failure.hint.unwrap().contains("node01  does not answer"));
    }

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
