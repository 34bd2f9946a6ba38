//! Nodes with slow links: packets to and from their addresses wait in queues of the kernel's traffic control.
//!
//! ```text
//!  loopback device ── our root (HTB) ── filters by address ──▶ a class for each slow node, with its rate and its queue
//!                                            └─ all others, and HTTP of these nodes ──▶ past all classes, at full speed
//! ```
//!
//! The root is named by the testnet's lowest port, so that a testnet knows its own and leaves any other alone. It goes
//! with the last slow node. Both ways of a node's links share its rate. Between two slow nodes a packet waits at the one
//! with the lower number only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::commands::{tc, tc_would};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;

/// How late a packet is that finds the queue nearly full.
const LATE_MS: u32 = 1500;
/// The least that a queue holds, in bytes: one packet of the loopback device, which takes 64 KiB, and its headers. A
/// queue that is smaller drops such a packet again and again, and the connection is dead instead of slow.
const LARGEST_PACKET: u32 = 66_000;
/// Packets of everybody else that may wait for their turn. By default as many as the device says, which is too few for
/// a machine that is busy.
const OTHERS: u32 = 10_000;

/// What is at the root of the loopback device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    /// Nothing.
    Free,
    /// What this testnet put there.
    Ours,
    /// Something else, in the traffic control's words.
    Foreign(String),
}

/// Whether rates can be set and taken away here, if nobody else has rules: tried where nobody's packets are.
pub(super) async fn are_possible(plan: &Plan) -> bool {
    let set = setting(plan, &[(0, 64)].into(), (&Root::Free, &BTreeSet::new()));
    rustix::process::geteuid().is_root() && tc_would(&(set + &lifting(plan, std::iter::once(0)))).await
}

/// Whether nodes can be made slow here.
///
/// # Errors
/// [`Exit::Conflict`] if somebody else has rules on the loopback device; [`Failure`] if there is no `tc`.
pub(super) async fn check(plan: &Plan) -> Result<(), Failure> {
    look(plan).await.and_then(|(root, _)| not_foreign(&root))
}

/// The nodes that are slow, whoever made them so.
///
/// # Errors
/// [`Failure`] if there is no `tc`.
pub(super) async fn slow(plan: &Plan) -> Result<BTreeSet<u16>, Failure> {
    look(plan).await.map(|(_, slow)| slow)
}

/// Gives the links of each of these nodes its rate, in kbit/s.
///
/// # Errors
/// [`Exit::Conflict`] if somebody else has rules on the loopback device; [`Failure`] if the traffic control refuses.
pub(super) async fn set(plan: &Plan, rates: &BTreeMap<u16, u16>) -> Result<(), Failure> {
    if rates.is_empty() {
        return Ok(());
    }
    let (root, slow) = look(plan).await?;
    not_foreign(&root)?;
    tc(&setting(plan, rates, (&root, &slow))).await.map(drop)
}

/// Lets the links of these nodes be as fast as they can. Packets that wait are lost, and sent again.
///
/// # Errors
/// [`Failure`] if the traffic control refuses.
pub(super) async fn lift(plan: &Plan, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
    if nodes.is_empty() {
        return Ok(());
    }
    let (root, slow) = look(plan).await?;
    if root == Root::Ours && slow.is_subset(nodes) {
        return clear(plan).await;
    }
    tc(&lifting(plan, slow.intersection(nodes).copied())).await.map(drop)
}

/// Lets all links of a testnet be as fast as they can, whoever made them slow.
///
/// # Errors
/// [`Failure`] if the traffic control refuses.
pub(super) async fn clear(plan: &Plan) -> Result<(), Failure> {
    match look(plan).await?.0 {
        Root::Ours => tc(&format!("qdisc del dev lo root handle {}\n", handle(plan))).await.map(drop),
        Root::Free | Root::Foreign(_) => Ok(()),
    }
}

async fn look(plan: &Plan) -> Result<(Root, BTreeSet<u16>), Failure> {
    let listed = tc("qdisc show dev lo\nclass show dev lo\n").await?;
    Ok((root(plan, &listed), classes(plan, &listed)))
}

fn not_foreign(root: &Root) -> Result<(), Failure> {
    let Root::Foreign(what) = root else { return Ok(()) };
    let message = format!("the loopback device has rules that are not of this testnet: {what}");
    Err(Failure::new(Exit::Conflict, message)
        .hint("sotto-testnet chaos clear    # in the testnet that made them; otherwise: tc qdisc del dev lo root"))
}

/// The name of our root: a number of 16 bits, as ports are.
fn handle(plan: &Plan) -> String {
    format!("{:x}:", plan.settings.port_base)
}

/// The number of a node's class and the place of its filters; both begin at 1.
const fn class(node: u16) -> u16 {
    node.saturating_add(1)
}

/// What a queue holds, in bytes.
fn queue(kbit: u16) -> u32 {
    // A kbit/s is a bit in a millisecond.
    (u32::from(kbit) * LATE_MS / 8).max(LARGEST_PACKET)
}

/// The commands that give nodes their rates.
fn setting(plan: &Plan, rates: &BTreeMap<u16, u16>, (root, slow): (&Root, &BTreeSet<u16>)) -> String {
    let (handle, mut text) = (handle(plan), String::new());
    if *root == Root::Free {
        let _ = writeln!(text, "qdisc add dev lo root handle {handle} htb default 0 direct_qlen {OTHERS}");
    }
    for (node, kbit) in rates {
        let (place, own, limit) = (plan.node(*node), class(*node), queue(*kbit));
        let _ = writeln!(
            text,
            "class replace dev lo parent {handle} classid {handle}{own:x} htb rate {kbit}kbit ceil {kbit}kbit \
             quantum 1514\n\
             qdisc replace dev lo parent {handle}{own:x} bfifo limit {limit}"
        );
        if slow.contains(node) {
            continue;
        }
        // In this order: the first that matches decides. Class 0 is none.
        let (ip, http) = (place.listen.ip(), place.http.port());
        for (matches, flow) in [
            (format!("match ip src {ip}/32 match ip sport {http} 0xffff"), 0),
            (format!("match ip dst {ip}/32 match ip dport {http} 0xffff"), 0),
            (format!("match ip src {ip}/32"), own),
            (format!("match ip dst {ip}/32"), own),
        ] {
            let _ = writeln!(
                text,
                "filter add dev lo parent {handle} protocol ip prio {own} u32 {matches} flowid {handle}{flow:x}"
            );
        }
    }
    text
}

/// The commands that take the rates of nodes away. Filters go first: a class that is used stays.
fn lifting(plan: &Plan, nodes: impl Iterator<Item = u16>) -> String {
    let handle = handle(plan);
    nodes
        .map(|node| {
            let class = class(node);
            format!(
                "filter del dev lo parent {handle} protocol ip prio {class}\n\
                 class del dev lo classid {handle}{class:x}\n"
            )
        })
        .collect()
}

/// Reads lines such as `qdisc htb 6978: root refcnt 2 …`.
fn root(plan: &Plan, listed: &str) -> Root {
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        let (Some("qdisc"), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        // Number 0 has what the kernel puts there when nobody says anything.
        if words.next() != Some("root") || name == "0:" {
            continue;
        }
        let ours = kind == "htb" && name == handle(plan);
        return if ours { Root::Ours } else { Root::Foreign(format!("{kind} {name}")) };
    }
    Root::Free
}

/// Reads lines such as `class htb 6978:8 root leaf 8001: prio 0 rate 64Kbit …`; returns their nodes.
fn classes(plan: &Plan, listed: &str) -> BTreeSet<u16> {
    let handle = handle(plan);
    let node = |line: &str| {
        let number = line.strip_prefix("class htb ")?.split_whitespace().next()?.strip_prefix(&handle)?;
        u16::from_str_radix(number, 16).ok()?.checked_sub(1)
    };
    listed.lines().filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::plan::Settings;

    const LISTED: &str = "\
qdisc htb 6978: root refcnt 2 r2q 10 default 0 direct_packets_stat 0 direct_qlen 10000
qdisc bfifo 8001: parent 6978:8 limit 66000b
class htb 6978:8 root leaf 8001: prio 0 rate 64Kbit ceil 64Kbit burst 1600b cburst 1600b
class htb 6978:1f root leaf 8002: prio 0 rate 512Kbit ceil 512Kbit burst 1600b cburst 1600b
";

    fn plan() -> Plan {
        let settings = Settings::new("dev", 42, 50, Duration::from_secs(1), 27_000).unwrap();
        Plan::new(settings, PathBuf::from("data"))
    }

    #[test]
    fn a_node_gets_a_class_a_queue_and_filters_that_leave_its_http_alone() {
        let text = setting(&plan(), &[(15, 400)].into(), (&Root::Free, &BTreeSet::new()));
        let expected = "\
qdisc add dev lo root handle 6978: htb default 0 direct_qlen 10000
class replace dev lo parent 6978: classid 6978:10 htb rate 400kbit ceil 400kbit quantum 1514
qdisc replace dev lo parent 6978:10 bfifo limit 75000
filter add dev lo parent 6978: protocol ip prio 16 u32 match ip src 127.115.0.1/32 match ip sport 27161 0xffff flowid 6978:0
filter add dev lo parent 6978: protocol ip prio 16 u32 match ip dst 127.115.0.1/32 match ip dport 27161 0xffff flowid 6978:0
filter add dev lo parent 6978: protocol ip prio 16 u32 match ip src 127.115.0.1/32 flowid 6978:10
filter add dev lo parent 6978: protocol ip prio 16 u32 match ip dst 127.115.0.1/32 flowid 6978:10
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_node_that_is_slow_already_only_gets_another_rate() {
        let text = setting(&plan(), &[(7, 64)].into(), (&Root::Ours, &[7].into()));
        let expected = "\
class replace dev lo parent 6978: classid 6978:8 htb rate 64kbit ceil 64kbit quantum 1514
qdisc replace dev lo parent 6978:8 bfifo limit 66000
";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_addresses_of_nodes_are_named_and_all_go_the_way_they_came() {
        let rates = (0..50).map(|node| (node, 100)).collect();
        let text = setting(&plan(), &rates, (&Root::Free, &BTreeSet::new()));
        let nodes: Vec<_> = plan().nodes().map(|place| format!(" {}/32", place.listen.ip())).collect();
        for line in text.lines().filter(|line| line.starts_with("filter")) {
            assert_eq!(nodes.iter().filter(|address| line.contains(*address)).count(), 1, "{line}");
        }
        let lifted = lifting(&plan(), [7, 30].into_iter());
        let expected = "\
filter del dev lo parent 6978: protocol ip prio 8
class del dev lo classid 6978:8
filter del dev lo parent 6978: protocol ip prio 31
class del dev lo classid 6978:1f
";
        assert_eq!(lifted, expected);
    }

    #[test]
    fn queues_hold_what_comes_in_a_second_and_a_half_and_never_less_than_a_packet() {
        assert_eq!([64, 352, 1000, u16::MAX].map(queue), [66_000, 66_000, 187_500, 12_287_812]);
    }

    #[test]
    fn what_is_there_is_known_from_what_the_traffic_control_lists() {
        assert_eq!(root(&plan(), LISTED), Root::Ours);
        assert_eq!(classes(&plan(), LISTED), [7, 30].into());
        assert_eq!(root(&plan(), "qdisc noqueue 0: root refcnt 2 \n"), Root::Free);
        assert_eq!(root(&plan(), "qdisc clsact ffff: parent ffff:fff1 \n"), Root::Free);
        let foreign = |what: &str| Root::Foreign(what.to_owned());
        assert_eq!(root(&plan(), &LISTED.replace("6978", "6d60")), foreign("htb 6d60:"));
        assert_eq!(root(&plan(), "qdisc fq 6978: root refcnt 2 limit 10000p\n"), foreign("fq 6978:"));
        assert!(classes(&plan(), &LISTED.replace("6978", "6d60")).is_empty());
    }

    #[test]
    fn rules_of_others_are_named_and_it_is_said_what_to_do() {
        let failure = not_foreign(&Root::Foreign("fq 8001:".to_owned())).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.ends_with(": fq 8001:") && failure.hint.is_some(), "{failure:?}");
        assert_eq!(not_foreign(&Root::Free).and(not_foreign(&Root::Ours)), Ok(()));
    }
}
