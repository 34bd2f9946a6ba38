//! The node that is attacked, and what its process is worth at a moment.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_proto::chain::NodeRecord;
use sotto_proto::id::{NodeId, SwarmId};

use super::scene::is_ours;
use crate::bench::Network;
use crate::control::Processes;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::plan::Plan;
use crate::procfs;
use crate::target::Target;

/// The node that is attacked.
#[derive(Clone, Debug)]
pub(crate) struct Victim {
    /// Its number in the testnet.
    pub(crate) index: u16,
    /// Its key.
    pub(crate) node: NodeId,
    /// What the node list says of it: its X25519 key, its addresses.
    pub(crate) record: NodeRecord,
    /// Its swarm.
    pub(crate) swarm: SwarmId,
    /// Where it listens.
    pub(crate) listen: SocketAddrV4,
    /// Its process.
    pub(crate) pid: u32,
    /// Where its logs lie.
    pub(crate) datadir: PathBuf,
}

/// The process of the victim at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) at: Instant,
    pub(super) rss: u64,
    pub(super) fds: u64,
    pub(super) cpu: Duration,
    pub(super) log_bytes: u64,
}

/// What the attack did to the victim's process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Resident memory before, at most during and after the attack, and after it.
    pub rss_bytes: [u64; 3],
    /// Open files likewise.
    pub fds: [u64; 3],
    /// Processor time in percent of one core, before the attack and during it.
    pub cpu_percent: [f64; 2],
    /// What it wrote into its logs in a minute of the attack.
    pub log_bytes_per_minute: u64,
    /// Whether it is the same process as before.
    pub same: bool,
}

impl Victim {
    /// The wanted node, or the last one that is in a swarm.
    pub(super) fn choose(
        plan: &Plan,
        network: &Network,
        processes: &Processes,
        wanted: Option<u16>,
    ) -> Result<Self, Failure> {
        let candidates: Vec<u16> = wanted.map_or_else(|| (0..plan.settings.nodes).rev().collect(), |one| vec![one]);
        let found = candidates.into_iter().find_map(|index| Self::find(plan, network, processes, index));
        found.ok_or_else(|| {
            let who = wanted.map_or_else(|| "no node".to_owned(), |index| format!("node {index:02} is not one that"));
            Failure::new(Exit::NotFound, format!("{who} runs and is in a swarm")).hint("sotto-testnet status")
        })
    }

    /// The other members of its swarm, by their numbers in the testnet: some attacks stop one of them and take its key.
    pub(super) fn fellows(&self, plan: &Plan, network: &Network) -> Vec<(u16, NodeId)> {
        let others = (0..plan.settings.nodes).filter(|index| *index != self.index);
        let nodes = others.filter_map(|index| Some((index, record(plan, network, index)?)));
        nodes.filter(|(_, node)| node.swarm == Some(self.swarm)).map(|(index, node)| (index, node.node)).collect()
    }

    fn find(plan: &Plan, network: &Network, processes: &Processes, index: u16) -> Option<Self> {
        let place = plan.node(index);
        let record = record(plan, network, index)?;
        let swarm = record.swarm?;
        let child = processes.children.iter().find(|child| child.target == Target::Node(index))?;
        let usable = child.state == "running" && is_ours(plan, place.listen);
        usable.then(|| Self {
            index,
            node: record.node,
            record: record.clone(),
            swarm,
            listen: place.listen,
            pid: child.pid,
            datadir: place.datadir,
        })
    }

    /// What its process is worth now; `None` when it has ended.
    pub(super) fn state(&self) -> Option<State> {
        Some(State {
            at: Instant::now(),
            rss: procfs::resident_bytes(self.pid)?,
            fds: fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?.count() as u64,
            cpu: procfs::processor_time(self.pid)?,
            log_bytes: log_bytes(&self.datadir),
        })
    }
}

/// What the node list says of a node of the testnet.
fn record<'a>(plan: &Plan, network: &'a Network, index: u16) -> Option<&'a NodeRecord> {
    let address = std::net::SocketAddr::V4(plan.node(index).listen);
    let mut records = network.directory.nodes().values().map(|record| &**record);
    records.find(|record| record.addresses.iter().any(|other| other.socket_addr() == address))
}

/// Bytes of its logs, those that were rotated away included.
fn log_bytes(datadir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(datadir) else { return 0 };
    let is_log = |name: &str| name == files::OUTPUT || name == files::LOG || name.starts_with("log.");
    let logs = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_log));
    logs.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// What is noted of the victim from before an attack until after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// When the measurement before the attack began.
    pub(super) begin: State,
    /// When the attack began.
    pub(super) attack: State,
    /// The largest since.
    pub(super) peak: State,
    /// When the attack ended.
    pub(super) end: State,
}

impl Watch {
    /// Nothing has happened yet.
    pub(super) const fn new(now: State) -> Self {
        Self { begin: now, attack: now, peak: now, end: now }
    }

    /// Notes memory and files.
    pub(super) fn note(&mut self, now: &State) {
        self.peak.rss = self.peak.rss.max(now.rss);
        self.peak.fds = self.peak.fds.max(now.fds);
    }

    /// What it comes to, with `after` being the state at last: none when the process is gone.
    pub(super) fn process(&self, after: Option<State>) -> Process {
        let last = after.unwrap_or(self.end);
        let lasted = self.end.at.saturating_duration_since(self.attack.at);
        let log_bytes = self.end.log_bytes.saturating_sub(self.attack.log_bytes) as f64;
        Process {
            rss_bytes: [self.attack.rss, self.peak.rss.max(last.rss), last.rss],
            fds: [self.attack.fds, self.peak.fds.max(last.fds), last.fds],
            cpu_percent: [percent(&self.begin, &self.attack), percent(&self.attack, &self.end)],
            log_bytes_per_minute: per_minute(log_bytes, lasted) as u64,
            same: after.is_some(),
        }
    }
}

fn percent(from: &State, to: &State) -> f64 {
    let (cpu, wall) = (to.cpu.saturating_sub(from.cpu), to.at.saturating_duration_since(from.at));
    if wall.is_zero() { 0.0 } else { 100.0 * cpu.as_secs_f64() / wall.as_secs_f64() }
}

fn per_minute(amount: f64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { amount * 60.0 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(start: Instant, seconds: u64, rss: u64, cpu_ms: u64, log_bytes: u64) -> State {
        let (at, cpu) = (start + Duration::from_secs(seconds), Duration::from_millis(cpu_ms));
        State { at, rss, fds: rss / 10, cpu, log_bytes }
    }

    #[test]
    fn what_an_attack_did_to_a_process_is_told_apart_from_what_was_before() {
        let start = Instant::now();
        let mut watch = Watch::new(state(start, 0, 100, 0, 1000));
        watch.attack = state(start, 10, 120, 1000, 1100);
        watch.peak = watch.attack;
        watch.note(&state(start, 15, 400, 5000, 2000));
        watch.end = state(start, 20, 300, 9000, 3100);
        let process = watch.process(Some(state(start, 22, 150, 9100, 9999)));
        assert_eq!((process.rss_bytes, process.fds), ([120, 400, 150], [12, 40, 15]));
        assert_eq!(process.log_bytes_per_minute, 12_000, "2,000 bytes in ten seconds");
        assert!((process.cpu_percent[0] - 10.0).abs() < 1e-6 && (process.cpu_percent[1] - 80.0).abs() < 1e-6);
        assert!(process.same);
        assert!(!watch.process(None).same);
    }

    #[test]
    fn logs_are_counted_with_those_that_were_rotated_away() {
        let dir = tempfile::tempdir().unwrap();
        for (name, length) in [("log", 10), ("log.1", 20), ("output.log", 5), ("store", 1000)] {
            fs::write(dir.path().join(name), vec![b'x'; length]).unwrap();
        }
        assert_eq!(log_bytes(dir.path()), 35);
        assert_eq!(log_bytes(Path::new("/nowhere")), 0);
    }
}
