//! What nodes say of their swarms. They are asked through their sockets for operators: what is counted on the loopback
//! device is what they say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::status::NodeStatus;
use crate::{files, http};

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A node's answer, as far as it is needed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct View {
    /// Its key.
    pub(super) node: String,
    /// Its swarm, if it is in one.
    pub(super) swarm: Option<String>,
    /// Everybody in it.
    pub(super) members: Vec<Member>,
    /// Bytes of the records it keeps.
    pub(super) bytes: u64,
    /// Records and tombstones of its swarm, but for those of the last seconds.
    pub(super) items: u64,
    /// Their fingerprint.
    pub(super) digest: String,
    /// Records that other swarms own and have not confirmed yet.
    pub(super) to_hand_over: u64,
    /// Whether it is still taking over.
    pub(super) syncing: bool,
}

/// A member of a node's swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    /// Its key.
    pub(super) node: String,
}

/// What members have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Records of their swarm.
    pub(super) items: u64,
    /// Bytes of the records of one of them.
    pub(super) bytes: u64,
}

/// Asks one node; `None` if it does not answer.
async fn view(plan: &Plan, index: u16) -> Option<View> {
    let answer = http::get_unix(&plan.node(index).datadir.join(files::ADMIN_SOCKET), "/swarm").await.ok()?;
    serde_json::from_value(answer).ok()
}

/// Asks these nodes at once, in their order.
pub(super) async fn views(plan: &Plan, nodes: impl IntoIterator<Item = u16>) -> Vec<Option<View>> {
    futures::future::join_all(nodes.into_iter().map(|index| view(plan, index))).await
}

/// Asks one node how it is.
pub(super) async fn status(plan: &Plan, index: u16) -> Option<NodeStatus> {
    let answer = http::get_unix(&plan.node(index).datadir.join(files::ADMIN_SOCKET), "/status").await.ok()?;
    serde_json::from_value(answer).ok()
}

/// What all of these members of one swarm have; else what is in the way.
pub(super) fn alike<'a>(members: impl IntoIterator<Item = &'a Option<View>>) -> Result<Held, String> {
    let mut first: Option<&View> = None;
    for view in members {
        let view = view.as_ref().ok_or("a member does not answer")?;
        if view.syncing {
            return Err("a member is still taking over records".to_owned());
        }
        let one = first.get_or_insert(view);
        if (&view.swarm, view.items, &view.digest) != (&one.swarm, one.items, &one.digest) {
            return Err(format!("one member has {} records, another one {}", one.items, view.items));
        }
    }
    first.map(|view| Held { items: view.items, bytes: view.bytes }).ok_or_else(|| "nobody was asked".to_owned())
}

/// Swarms with the answers of their members. `None` stands for nodes that do not answer and those in no swarm.
pub(super) fn by_swarm(views: &[Option<View>]) -> BTreeMap<&str, Vec<&View>> {
    let mut swarms: BTreeMap<&str, Vec<&View>> = BTreeMap::new();
    for view in views.iter().flatten() {
        if let Some(swarm) = &view.swarm {
            swarms.entry(swarm).or_default().push(view);
        }
    }
    swarms
}

/// The records of all swarms together once every node follows one map, nobody holds what another swarm owns, and the
/// members of each swarm are alike; else what is in the way.
pub(super) fn settled(views: &[Option<View>]) -> Result<u64, String> {
    if let Some(silent) = views.iter().position(Option::is_none) {
        return Err(format!("node{silent:02} does not answer"));
    }
    let mut items = 0;
    for (swarm, members) in by_swarm(views) {
        let said: BTreeSet<&str> = members.iter().map(|view| view.node.as_str()).collect();
        for view in &members {
            if view.members.iter().map(|member| member.node.as_str()).collect::<BTreeSet<_>>() != said {
                return Err(format!("not all members of {swarm} follow the same map"));
            }
            if view.to_hand_over > 0 {
                return Err(format!("a member of {swarm} has {} records to hand over", view.to_hand_over));
            }
        }
        let members: Vec<_> = members.into_iter().cloned().map(Some).collect();
        items += alike(&members).map_err(|reason| format!("{swarm}: {reason}"))?.items;
    }
    Ok(items)
}

/// Looks at these members until they are alike and have `least` records. Returns what they have, and when they had it.
///
/// # Errors
/// [`Exit::Timeout`] when they are not within `patience`.
pub(super) async fn until_alike(
    plan: &Plan,
    nodes: &[u16],
    least: u64,
    patience: Duration,
) -> Result<(Held, Instant), Failure> {
    let until = Instant::now() + patience;
    loop {
        let reason = match alike(&views(plan, nodes.iter().copied()).await) {
            Ok(held) if held.items >= least => return Ok((held, Instant::now())),
            Ok(held) => format!("they have {} records, {least} were stored", held.items),
            Err(reason) => reason,
        };
        if Instant::now() >= until {
            let message = format!("members are not alike after {patience:?}: {reason}");
            return Err(Failure::new(Exit::Timeout, message).hint("sotto-testnet status    # are all nodes well?"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(swarm: &str, node: &str, all: &[&str], items: u64) -> View {
        let members = all.iter().map(|node| Member { node: (*node).to_owned() }).collect();
        let (swarm, node) = (Some(swarm.to_owned()), node.to_owned());
        View { node, swarm, members, items, bytes: items * 10, digest: items.to_string(), ..View::default() }
    }

    fn two_swarms() -> Vec<Option<View>> {
        let views = [
            ("a", "1", ["1", "2"], 5),
            ("a", "2", ["1", "2"], 5),
            ("b", "3", ["3", "4"], 7),
            ("b", "4", ["3", "4"], 7),
        ];
        views.iter().map(|(swarm, node, all, items)| Some(member(swarm, node, all, *items))).collect()
    }

    #[test]
    fn members_that_have_the_same_and_want_nothing_are_alike() {
        let views = two_swarms();
        assert_eq!(alike(&views[..2]), Ok(Held { items: 5, bytes: 50 }));
        assert!(alike(&views).is_err(), "of different swarms");
        assert!(alike([]).is_err());
        let other = |change: fn(&mut View)| {
            let mut views = two_swarms();
            change(views[1].as_mut().unwrap());
            alike(&views[..2])
        };
        assert!(other(|view| view.items = 4).unwrap_err().contains("5 records, another one 4"));
        assert!(other(|view| view.digest.clear()).is_err());
        assert!(other(|view| view.syncing = true).unwrap_err().contains("taking over"));
        assert!(alike(&[views[0].clone(), None]).unwrap_err().contains("does not answer"));
    }

    #[test]
    fn swarms_are_settled_when_everybody_has_what_is_theirs() {
        assert_eq!(settled(&two_swarms()), Ok(12));
        let other = |change: fn(&mut View)| {
            let mut views = two_swarms();
            change(views[3].as_mut().unwrap());
            settled(&views).unwrap_err()
        };
        assert!(other(|view| view.to_hand_over = 3).contains("3 records to hand over"));
        assert!(other(|view| view.items = 1).starts_with("b: "));
        assert!(other(|view| view.swarm = None).contains("the same map"));
        assert!(other(|view| view.members.truncate(1)).contains("the same map"));
        assert!(settled(&[None]).unwrap_err().contains("node00"));
    }

    #[test]
    fn an_answer_of_a_node_is_read() {
        let json = r#"{"v":1,"type":"node.swarm","node":"ab","swarm":"0x0000000000000000","height":9,"members":[
            {"node":"ab","own":true,"addresses":[],"connected":false,"compared_ms_ago":null,"agrees":null}],
            "records":3,"bytes":30,"to_hand_over":1,"syncing":true,"items":2,"digest":"cd"}"#;
        let view: View = serde_json::from_str(json).unwrap();
        assert_eq!((view.items, view.to_hand_over, view.syncing, view.members.len()), (2, 1, true, 1));
    }
}
