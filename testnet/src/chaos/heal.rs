//! How long it takes, once no fault is left, until all nodes agree on the chain and all members of each swarm on their
//! records; and what every member has for every reader then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::network::WallClock;
use sotto_client::network::paths::hop;

use super::history::{Event, Recorder};
use crate::agreement::{self, Agreement};
use crate::bench::{LightClient, Network, Person, read_member, seeded};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::status::{self, NodeStatus};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long it may take before a run is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until all nodes and all members agree, and those who `left` are members no more. Returns when they did, or what
/// they do not agree on.
pub(super) async fn agreed(plan: &Plan, left: &BTreeSet<u16>) -> Result<Instant, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answers = status::ask_all(plan.nodes().map(|place| place.http)).await;
        let reason = match disagreement(&answers, left) {
            None => return Ok(Instant::now()),
            Some(reason) => reason,
        };
        if Instant::now() >= until {
            return Err(reason);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What keeps these from being alike.
fn disagreement(answers: &[Option<NodeStatus>], left: &BTreeSet<u16>) -> Option<String> {
    match agreement::newest(answers) {
        Agreement::Agreed(_) => {}
        Agreement::NotYet(reason) => return Some(reason),
        Agreement::Split { height, parties } => {
            return Some(format!("{} different states at height {height}", parties.len()));
        }
    }
    if let Some(late) = answers.iter().position(|answer| answer.as_ref().is_some_and(|status| !status.synced)) {
        return Some(format!("node{late:02} has not caught up"));
    }
    let still = left.iter().find(|node| {
        let answer = answers.get(usize::from(**node)).and_then(Option::as_ref);
        answer.is_some_and(|status| status.swarm.is_some())
    });
    if let Some(node) = still {
        return Some(format!("node{node:02} has left and is still in a swarm"));
    }
    let mut sets: BTreeMap<&str, BTreeSet<(u64, &str)>> = BTreeMap::new();
    for status in answers.iter().flatten() {
        let Some(swarm) = status.swarm.as_deref() else { continue };
        if status.mail_syncing {
            return Some(format!("a member of {swarm} is still taking over records"));
        }
        sets.entry(swarm).or_default().insert((status.swarm_items, &status.swarm_digest));
    }
    let apart = sets.iter().find(|(_, sets)| sets.len() > 1);
    apart.map(|(swarm, sets)| format!("members of {swarm} have {} different sets of records", sets.len()))
}

/// Reads every reader's mailbox at every member of the swarm that keeps it, as its owner would.
pub(super) async fn read_all(
    plan: &Plan,
    readers: &[Person],
    recorder: &Recorder,
    seed: u64,
) -> Result<Arc<Network>, Failure> {
    // Swarms may be others than at the beginning.
    let network = Arc::new(Network::fetch(plan).await?);
    for (index, person) in readers.iter().enumerate() {
        let owner = network.directory.owner(&person.account.address());
        let swarm = owner.ok_or_else(|| Failure::new(Exit::Failed, "there is no swarm"))?;
        let draws = [seeded(seed, "chaos reading paths", index), seeded(seed, "chaos reading", index)];
        let mut client = LightClient::new(&network, swarm, draws);
        for node in network.members(swarm) {
            let to = hop(network.directory.nodes(), &node);
            let time = WallClock::system().now().seconds().0;
            let node = format!("{node}");
            recorder.note(match Box::pin(read_member(&network, &mut client, swarm, &[person], to)).await {
                Some(records) => {
                    let records = records.iter().map(ToString::to_string).collect();
                    Event::Held { node, reader: index, records, time }
                }
                None => Event::Unread { node },
            });
        }
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Final;

    fn status(swarm: &str, digest: &str) -> Option<NodeStatus> {
        let last = Final { height: 7, ..Final::default() };
        Some(NodeStatus {
            synced: true,
            swarm: Some(swarm.to_owned()),
            swarm_items: 3,
            swarm_digest: digest.to_owned(),
            height: 7,
            finals: vec![last],
            ..NodeStatus::default()
        })
    }

    #[test]
    fn members_must_have_the_same_and_all_nodes_must_answer() {
        let good = [status("a", "1"), status("a", "1"), status("b", "2")];
        let disagreement = |answers: &[_]| disagreement(answers, &BTreeSet::new());
        assert_eq!(disagreement(&good), None);
        assert!(disagreement(&[status("a", "1"), status("a", "2")]).unwrap().contains("2 different sets"));
        assert!(disagreement(&[status("a", "1"), None]).unwrap().contains("not answer"));
        let mut syncing = status("a", "1");
        syncing.as_mut().unwrap().mail_syncing = true;
        assert!(disagreement(&[syncing]).unwrap().contains("taking over"));
    }

    #[test]
    fn who_has_left_need_not_have_the_records_but_must_be_out() {
        let mut out = status("a", "old");
        out.as_mut().unwrap().swarm = None;
        let answers = [status("a", "1"), out, status("a", "1")];
        assert_eq!(disagreement(&answers, &[1].into()), None);
        assert!(disagreement(&answers, &[2].into()).unwrap().contains("node02 has left"));
    }
}
