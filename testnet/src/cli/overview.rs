//! A testnet at one moment: its processes, what the nodes say, whether they agree. Shared by `status`, `wait`, `node`.

use serde::Serialize;

use super::location::Location;
use crate::agreement::{self, Agreed, Agreement};
use crate::control::{self, Processes, Request};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::status::{self, NodeStatus};

/// What was seen.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) plan: Plan,
    /// `None` when no supervisor runs.
    pub(super) processes: Option<Processes>,
    /// In the order of the nodes; `None` from those who did not answer.
    pub(super) answers: Vec<Option<NodeStatus>>,
    /// The producer's newest height.
    pub(super) tip: Option<u64>,
}

/// Nodes of one swarm, for JSON.
#[derive(Debug, Serialize)]
pub(super) struct SwarmRow {
    id: String,
    nodes: Vec<u16>,
}

impl Overview {
    /// Looks at the testnet at `location`.
    pub(super) async fn look(location: &Location) -> Result<Self, Failure> {
        let plan = location.plan()?;
        let processes = control::ask::<Processes>(&plan.dir, &Request::Processes).await.ok();
        // Nodes may have come since the settings were read.
        let plan = if processes.as_ref().is_some_and(|seen| seen.nodes != plan.settings.nodes) {
            location.plan()?
        } else {
            plan
        };
        let (answers, tip) = if processes.is_some() {
            let nodes = plan.nodes().map(|place| place.http);
            let (answers, tip) = tokio::join!(status::ask_all(nodes), status::producer_tip(plan.producer().http));
            (answers, tip.ok())
        } else {
            (vec![None; usize::from(plan.settings.nodes)], None)
        };
        Ok(Self { plan, processes, answers, tip })
    }

    /// Nodes that have caught up and are active in a swarm.
    pub(super) fn active(&self) -> usize {
        self.answers.iter().flatten().filter(|status| status.is_active()).count()
    }

    /// All nodes answer, have caught up, and agree near the newest final height.
    pub(super) fn agreed(&self) -> Result<Agreed, String> {
        let behind = |status: &&NodeStatus| !status.synced;
        let late = self.answers.iter().flatten().filter(behind).count();
        match agreement::newest(&self.answers) {
            Agreement::Agreed(_) if late > 0 => Err(format!("{late} nodes have not caught up")),
            Agreement::Agreed(agreed) => Ok(agreed),
            Agreement::NotYet(reason) => Err(reason),
            Agreement::Split { height, parties } => {
                Err(format!("SPLIT: {} different states at final height {height}", parties.len()))
            }
        }
    }

    /// The nodes that are not as they should be, one a line, ten at most.
    pub(super) fn unwell(&self) -> Vec<String> {
        let reason = |(index, answer): (usize, &Option<NodeStatus>)| match answer {
            None => Some(format!("node{index:02}  does not answer")),
            Some(status) if !status.is_active() => {
                Some(format!("node{index:02}  {}, final {}: {}", status.state, status.height, status.summary))
            }
            Some(_) => None,
        };
        self.answers.iter().enumerate().filter_map(reason).take(10).collect()
    }

    /// Swarms and their members.
    pub(super) fn swarms(&self) -> Vec<SwarmRow> {
        agreement::swarms(&self.answers).into_iter().map(|(id, nodes)| SwarmRow { id, nodes }).collect()
    }

    /// `5 swarms × 10`, or the sizes when they differ.
    pub(super) fn swarms_text(&self) -> String {
        let sizes: Vec<usize> = self.swarms().iter().map(|swarm| swarm.nodes.len()).collect();
        match (sizes.iter().min(), sizes.iter().max()) {
            (Some(low), Some(high)) if low == high => format!("{} swarms × {low}", sizes.len()),
            (Some(low), Some(high)) => format!("{} swarms of {low} to {high}", sizes.len()),
            _ => "no swarms".to_owned(),
        }
    }

    /// The first line that people read, and whether it is good news.
    pub(super) fn summary(&self) -> (bool, String) {
        let total = self.answers.len();
        if self.processes.is_none() {
            return (false, format!("{total} nodes, not running"));
        }
        match self.agreed() {
            Ok(agreed) if self.active() == total => (
                true,
                format!(
                    "{total}/{total} nodes active and in agreement at height {}, {}",
                    agreed.height,
                    self.swarms_text()
                ),
            ),
            Ok(agreed) => (
                false,
                format!(
                    "all agree at height {}, but only {}/{total} nodes are active, {}",
                    agreed.height,
                    self.active(),
                    self.swarms_text()
                ),
            ),
            Err(reason) => (false, format!("{reason}; {}/{total} nodes active", self.active())),
        }
    }
}
