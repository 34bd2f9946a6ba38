//! When a testnet counts as ready, and what is said on the way there.

use super::Report;
use crate::agreement::{self, Agreed, Agreement};
use crate::failure::{Exit as ExitCode, Failure};
use crate::status::NodeStatus;

/// States of a node that the chain knows.
const REGISTERED: [&str; 3] = ["active", "decommissioned", "exiting"];

/// Whether a testnet starts from nothing: then its nodes must also form the expected swarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Fresh,
    Resumed,
}

/// What a node must be before the testnet counts as ready. One that was decommissioned in an earlier run may stay so.
pub(super) fn is_well(status: &NodeStatus, origin: Origin) -> bool {
    match origin {
        Origin::Fresh => status.is_active(),
        Origin::Resumed => status.synced && !status.halted && REGISTERED.contains(&status.state.as_str()),
    }
}

/// As many swarms as so many new nodes make, none below five or above ten, and nobody without one unless that is due.
pub(super) fn has_expected_swarms(answers: &[Option<NodeStatus>]) -> bool {
    let swarms = agreement::swarms(answers);
    let expected = u16::try_from(answers.len()).map(agreement::expected_swarms);
    expected == Ok(swarms.len()) && swarms.values().all(|members| (5..=10).contains(&members.len()))
}

/// Says each thing once, when it has happened.
#[derive(Default)]
pub(super) struct Milestones {
    active: bool,
    swarms: bool,
}

impl Milestones {
    pub(super) fn note(&mut self, answers: &[Option<NodeStatus>], well: usize, origin: Origin, report: &Report) {
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

pub(super) fn agreed_text(nodes: usize, agreed: &Agreed) -> String {
    format!(
        "{nodes}/{nodes} agree at height {}: state {}, list {}, swarms {}",
        agreed.height,
        agreement::short(&agreed.state_root),
        agreement::short(&agreed.list_root),
        agreement::short(&agreed.swarm_map)
    )
}

pub(super) fn split(height: u64, parties: usize) -> Failure {
    Failure::new(ExitCode::Internal, format!("nodes derived {parties} different states at final height {height}"))
}

/// Who is not ready, and why.
pub(super) fn not_ready(answers: &[Option<NodeStatus>], origin: Origin) -> Failure {
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
}
