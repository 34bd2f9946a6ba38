//! What a bench found: one JSON document.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::catch_up::CatchUp;
use super::costs::{Costs, Role};
use super::digests::SwarmCheck;
use super::head::Head;
use super::idle_clients::IdleClients;
use super::latency::Latency;
use super::network::Network;
use super::options::Options;
use crate::failure::{Context as _, Exit, Failure};
use crate::plan::Plan;

/// Version of the document.
pub const VERSION: u8 = 1;
/// Kind of the document.
pub const TYPE: &str = "testnet.bench";

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What every report begins with.
    #[serde(flatten)]
    pub head: Head,
    /// What was measured.
    pub testnet: Testnet,
    /// What was asked for.
    pub options: Options,
    /// How to read the figures.
    pub notes: Vec<String>,
    /// The work that was done before the clock started.
    pub work: Work,
    /// What became of the messages.
    pub load: Load,
    /// All latencies.
    pub latency: Latencies,
    /// Catching up, if it was measured.
    pub catch_up: Option<CatchUp>,
    /// Clients that did nothing meanwhile, if there were any.
    #[serde(default)]
    pub idle_clients: Option<IdleClients>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Processor time, memory, bytes on links.
    pub costs: Costs,
    /// Whether all members of each swarm have the same afterwards.
    pub swarms: Vec<SwarmCheck>,
    /// How long after the last message they all said so.
    pub replicated_after_s: f64,
}

/// A testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testnet {
    /// Its name.
    pub name: String,
    /// What its keys follow from.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Swarms.
    pub swarms: usize,
    /// Time between blocks.
    pub block_time_ms: u64,
}

impl Testnet {
    /// The one that `plan` lays out, as its node list has it.
    pub(crate) fn of(plan: &Plan, network: &Network) -> Self {
        let settings = &plan.settings;
        Self {
            name: settings.name.clone(),
            seed: settings.seed,
            nodes: network.directory.nodes().len(),
            swarms: network.swarms().len(),
            block_time_ms: settings.block_time_ms,
        }
    }
}

/// Sealing and proof of work, before the clock started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Messages that were sealed and worked for.
    pub messages: u64,
    /// The difficulty.
    pub difficulty: u64,
    /// How long it took on all cores.
    pub took_s: f64,
}

/// What became of the messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Messages that were due.
    pub due: u64,
    /// With two receipts.
    pub stored: u64,
    /// With three.
    pub third: u64,
    /// With fewer than two, half a minute after they were due or when everybody had been asked.
    pub failed: u64,
    /// Why.
    pub failures: BTreeMap<String, u64>,
    /// From the start of the clock to the last second receipt.
    pub took_s: f64,
    /// Stored messages a second over that time.
    pub stored_per_s: f64,
    /// Stored messages for those who follow.
    pub to_followers: u64,
    /// Those of them that were shown.
    pub delivered: u64,
    /// Messages that were shown more than once.
    pub delivered_twice: u64,
    /// How often a follower had no answer from the network.
    pub interruptions: u64,
    /// Probes without an answer under load.
    pub probes_failed: u64,
}

/// All latencies. Those of messages count from the time that a message was due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// A new path on the idle network.
    pub path_build_idle: Latency,
    /// The same under load.
    pub path_build: Latency,
    /// A question there and back in an open tunnel, a cell each way, on the idle network.
    pub echo_idle: Latency,
    /// The same under load.
    pub echo: Latency,
    /// How much later than due the generator began to send: its timers, and paths that had to be built.
    pub begun: Latency,
    /// The second receipt: *stored*.
    pub stored: Latency,
    /// The third receipt.
    pub third: Latency,
    /// Shown to somebody who follows.
    pub delivered: Latency,
}

impl Latencies {
    /// All of them with their names, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Latency); 8] {
        [
            ("path build, idle", &self.path_build_idle),
            ("path build, under load", &self.path_build),
            ("echo, idle", &self.echo_idle),
            ("echo, under load", &self.echo),
            ("begun", &self.begun),
            ("stored (two receipts)", &self.stored),
            ("third receipt", &self.third),
            ("shown to a follower", &self.delivered),
        ]
    }
}

/// One second of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Messages that were due in it.
    pub due: u64,
    /// Messages that were stored in it.
    pub stored: u64,
    /// Median latency to stored of those that were due in it.
    pub p50_ms: f64,
    /// The same, 99 of 100.
    pub p99_ms: f64,
}

impl Report {
    /// Whether every message is stored, shown once where somebody follows, and held by every member.
    ///
    /// # Errors
    /// Everything that is wrong: [`Exit::Partial`] when messages could not be stored, [`Exit::Failed`] when what was
    /// stored is not where it should be.
    pub fn verdict(&self) -> Result<(), Failure> {
        let load = &self.load;
        let mut wrong = Vec::new();
        if load.delivered < load.to_followers {
            wrong.push(format!("{} stored messages were not shown", load.to_followers - load.delivered));
        }
        if load.delivered_twice > 0 {
            wrong.push(format!("{} messages were shown twice", load.delivered_twice));
        }
        if let Some(caught) = self.catch_up.as_ref().filter(|caught| caught.received < caught.messages) {
            wrong.push(format!("only {} of {} waiting messages were fetched", caught.received, caught.messages));
        }
        if let Some(idle) = self.idle_clients.as_ref().filter(|idle| idle.still_up < idle.clients) {
            wrong.push(format!("{} of {} idle clients have no path", idle.clients - idle.still_up, idle.clients));
        }
        let bad: Vec<&str> = self.swarms.iter().filter(|swarm| !swarm.is_good()).map(|s| s.swarm.as_str()).collect();
        if !bad.is_empty() {
            wrong.push(format!("members do not hold what was stored in swarm {}", bad.join(", ")));
        }
        let exit = if wrong.is_empty() { Exit::Partial } else { Exit::Failed };
        if load.failed > 0 {
            wrong.insert(0, format!("{} of {} messages were not stored", load.failed, load.due));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::new(exit, wrong.join("; "))) }
    }

    /// The report as a file holds it.
    ///
    /// # Errors
    /// [`Exit::Internal`]; no report of ours has no JSON form.
    pub fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| Failure::new(Exit::Internal, error.to_string()))
    }

    /// Reads a report.
    ///
    /// # Errors
    /// [`Exit::NotFound`] when there is no such file, [`Exit::Usage`] when it is no report of this version.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let json = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::new(Exit::NotFound, format!("there is no {}", path.display()))
                    .hint("sotto-testnet bench    # writes one, and says where"));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(no_report(path, "not text")),
            other => other.context("read", path.display()),
        }?;
        Self::parse(&json).map_err(|reason| no_report(path, &reason))
    }

    fn parse(json: &str) -> Result<Self, String> {
        /// What every document of ours says of itself.
        #[derive(Deserialize)]
        struct Kind {
            v: u64,
            r#type: String,
        }
        let kind: Kind = serde_json::from_str(json).map_err(|error| format!("not a document of ours: {error}"))?;
        if kind.r#type != TYPE {
            return Err(format!("a document of type {:?}, not {TYPE:?}", kind.r#type));
        }
        if kind.v != u64::from(VERSION) {
            return Err(format!("version {} of the document, this program reads version {VERSION}", kind.v));
        }
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// What a role costs.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&super::costs::RoleCosts> {
        self.costs.roles.iter().find(|costs| costs.role == role)
    }
}

fn no_report(path: &Path, reason: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{} is no report of a bench: {reason}", path.display()))
        .hint("want two files that `sotto-testnet bench` wrote, ending in .json")
}

#[cfg(test)]
pub(super) mod tests;
