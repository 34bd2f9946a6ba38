//! What the running node knows of itself and its network.

use sotto_proto::id::Height;
use sotto_proto::limits::CLOCK_SAMPLES;
use sotto_proto::time::UnixMillis;

use super::Finding;
use crate::cli::status::{short, span};
use crate::service_node::rfc3339;
use crate::status::peers::{PeerClass, PeerDirection, PeerStatus, PeersStatus};
use crate::status::swarm::{MemberStatus, SwarmStatus};
use crate::status::{NodeStatus, Phase};

/// A clock this far off works and is not right: milliseconds.
const CLOCK_WARN: u64 = 5_000;
/// With this the node falls silent: milliseconds.
const CLOCK_FAIL: u64 = 60_000;

/// What the node says of itself.
pub(super) fn node(status: &NodeStatus) -> Finding {
    let up = span(status.uptime_ms);
    let text = format!("process {}, version {}, up {up}: {}", status.pid, status.version, status.summary);
    match (status.phase, status.problems.first()) {
        (Phase::Problem, Some(problem)) => Finding::fail("node", text, problem.advice.clone()),
        (Phase::Problem, None) => Finding::fail("node", text, "sotto-node status"),
        (Phase::Starting, _) => Finding::warn("node", text, "sotto-node wait --ready"),
        (Phase::Ok, _) => Finding::ok("node", text),
    }
}

/// The clock against the peers'.
pub(super) fn clock(status: &NodeStatus) -> Finding {
    let advice = "set it, and keep it right: timedatectl set-ntp true";
    let Some(offset) = status.clock_offset_ms else {
        let text = format!("fewer than {CLOCK_SAMPLES} nodes have told their time yet");
        return Finding::warn("clock", text, "ask again when more are connected");
    };
    let text = format!("peers' clocks are {offset:+} ms ahead");
    match offset.unsigned_abs() {
        off if off <= CLOCK_WARN => Finding::ok("clock", text),
        off if off <= CLOCK_FAIL => Finding::warn("clock", text, advice),
        _ => Finding::fail("clock", text, advice),
    }
}

/// How far the chain is, and how old `last` is, the newest block on disk.
pub(super) fn chain(status: &NodeStatus, last: Option<(Height, UnixMillis)>, now: UnixMillis) -> Finding {
    let age = last.map(|(_, made)| format!(", made {} ago", span(now.0.saturating_sub(made.0))));
    let text = format!("block {} (final {}){}", status.tip, status.height, age.unwrap_or_default());
    if status.halted {
        let advice = "wait for word from whoever runs the chain; then move db away and restart";
        return Finding::fail("chain", format!("{text}; it forked below its final block"), advice);
    }
    if let Some(since) = status.silent_since_ms {
        let text = format!("{text}; silent since {}", rfc3339(UnixMillis(since)));
        return Finding::fail(
            "chain",
            text,
            "the producer has stopped or cannot be reached; see whether peers have more",
        );
    }
    match status.behind {
        Some(goal) => Finding::warn("chain", format!("{text}; peers are at {goal}"), "wait: sotto-node wait --ready"),
        None if !status.synced => {
            Finding::warn("chain", format!("{text}; no peer has told its own yet"), "wait a moment")
        }
        None => Finding::ok("chain", text),
    }
}

/// What the chain has of the node.
pub(super) fn registration(status: &NodeStatus) -> Finding {
    let uptime = status.uptime_due_in_blocks.map(|blocks| format!(", next uptime proof within {blocks} blocks"));
    let text = format!("{}{}", status.state, uptime.unwrap_or_default());
    match status.state.as_str() {
        "active" => Finding::ok("registration", text),
        "decommissioned" => {
            let advice = "keep it running and reachable: it comes back after its uptime proof and passed tests";
            let text = format!("{text}; the stake is lost to the node in {} blocks", status.credit);
            Finding::fail("registration", text, advice)
        }
        "exiting" => Finding::warn("registration", text, "keep it running until its stake is free: sotto-node status"),
        "joining" => Finding::warn("registration", text, "wait: sotto-node wait --ready"),
        _ => Finding::warn("registration", text, "stake and register it: sotto-node register"),
    }
}

fn others(swarm: &SwarmStatus) -> impl Iterator<Item = &MemberStatus> {
    swarm.members.iter().filter(|member| !member.own)
}

fn names<'a>(members: impl Iterator<Item = &'a MemberStatus>) -> String {
    members.map(|member| short(&member.node)).collect::<Vec<_>>().join(", ")
}

/// Whether the members of the swarm are linked.
pub(super) fn swarm(status: &NodeStatus, swarm: &SwarmStatus) -> Finding {
    let Some(id) = &swarm.swarm else {
        let text = "the node is in none";
        return match status.state.as_str() {
            "active" => Finding::warn("swarm", text, "wait: the chain puts it into one as soon as one has room"),
            _ => Finding::ok("swarm", format!("{text}, because it is {}", status.state)),
        };
    };
    let (all, linked) = (others(swarm).count(), others(swarm).filter(|member| member.connected).count());
    let text = format!("{id}: {linked} of {all} other members linked");
    let absent = names(others(swarm).filter(|member| !member.connected));
    let advice = "see that the registered address can be reached from outside, and the firewall";
    if linked == all {
        Finding::ok("swarm", text)
    } else if linked.saturating_mul(2) < all {
        Finding::fail("swarm", format!("{text}, not {absent}"), advice)
    } else {
        Finding::warn("swarm", format!("{text}, not {absent}"), "they may be down; if it stays so, see to the firewall")
    }
}

/// Whether they have the same.
pub(super) fn records(swarm: &SwarmStatus) -> Finding {
    let digest = short(&swarm.digest);
    let text = format!("{} records and tombstones of its swarm (digest {digest})", swarm.items);
    if swarm.swarm.is_none() {
        return Finding::ok("records", format!("{} of other swarms to hand over", swarm.to_hand_over));
    }
    if swarm.syncing {
        return Finding::warn("records", format!("{text}; still taking over"), "wait: sotto-node swarm show");
    }
    let differ = names(others(swarm).filter(|member| member.agrees == Some(false)));
    let same = others(swarm).filter(|member| member.agrees == Some(true)).count();
    let all = others(swarm).count();
    if !differ.is_empty() {
        let text = format!("{text}; {differ} had others when last asked");
        return Finding::warn(
            "records",
            text,
            "they are exchanged then; ask again in half a minute: sotto-node swarm show",
        );
    }
    match same {
        0 if all > 0 => {
            Finding::warn("records", format!("{text}; compared with nobody yet"), "ask again in half a minute")
        }
        _ => Finding::ok("records", format!("{text}, the same at {same} of {all} other members")),
    }
}

/// Whether others have found their way here: who has dialled proves it.
pub(super) fn reachable(status: &NodeStatus, peers: &PeersStatus) -> Finding {
    let nodes = peers.peers.iter().filter(|peer| peer.class != PeerClass::Client);
    let came = |peer: &&PeerStatus| matches!(peer.direction, Some(PeerDirection::In | PeerDirection::Both));
    let (all, dialled) = (nodes.clone().count(), nodes.filter(came).count());
    let text = format!("{dialled} of {all} connected nodes have dialled this one");
    if dialled > 0 {
        return Finding::ok("reachable", text);
    }
    if status.addresses.is_empty() {
        return Finding::ok("reachable", format!("{text}: it has no address registered that they could dial"));
    }
    let advice = format!("open {} in firewall and router, or register another: --announce", status.addresses.join(" "));
    Finding::warn("reachable", text, advice)
}

#[cfg(test)]
mod tests;
