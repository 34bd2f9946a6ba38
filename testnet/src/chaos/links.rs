//! Nodes with bad links: a part of their packets is lost, or they are slow. How much of it, by several faults at once.
//!
//! Losses are a table of the packet filter of their own, with a chain for each such node. Packets are lost where they
//! arrive: a packet that is dropped where it leaves is no loss to its sender, who is told and keeps it. Rates are in
//! [`rates`]. What the launcher asks nodes by HTTP is neither lost nor late, and nothing is between other addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::commands::{nft, nft_would};
use super::fault::Fault;
use super::rates;
use crate::failure::Failure;
use crate::plan::Plan;

/// By node, what each fault that it is under wants.
type Amounts = BTreeMap<u16, Vec<u16>>;

/// Nodes whose links are bad.
#[derive(Debug)]
pub struct Links {
    plan: Plan,
    /// Percent of packets that are lost.
    lossy: Amounts,
    /// kbit/s.
    slow: Amounts,
}

impl Links {
    /// None yet, as far as this process knows.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone(), lossy: Amounts::new(), slow: Amounts::new() }
    }

    /// Whether these faults can be had here, as far as they are of the rate of links.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::failure::Exit::Conflict) if somebody else has rules on the loopback device; [`Failure`]
    /// if there is no `tc`.
    pub async fn check(plan: &Plan, mut faults: impl Iterator<Item = Fault>) -> Result<(), Failure> {
        if faults.any(|fault| fault == Fault::Slow) { rates::check(plan).await } else { Ok(()) }
    }

    /// Makes the links of these nodes lossy, by `amount` percent, or slow, `amount` kbit/s. The worst of several counts.
    ///
    /// # Errors
    /// [`Failure`] if the kernel refuses. Some may have got it then: [`mend`](Self::mend) ends that, too.
    pub async fn worsen(&mut self, fault: Fault, amount: u16, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let amounts = self.amounts(fault);
        for node in nodes {
            amounts.entry(*node).or_default().push(amount);
        }
        let amounts = amounts.clone();
        self.set(fault, &amounts, nodes).await
    }

    /// Ends one such fault; those that are under another one keep that. May be tried again when it failed or was given up.
    ///
    /// # Errors
    /// [`Failure`] if the kernel refuses. The nodes count as being under it then.
    pub async fn mend(&mut self, fault: Fault, amount: u16, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let mut left = self.amounts(fault).clone();
        let whole = forget(&mut left, amount, nodes);
        self.set(fault, &left, &nodes.difference(&whole).copied().collect()).await?;
        if fault == Fault::Slow { rates::lift(&self.plan, &whole).await } else { lift(&self.plan, &whole).await }?;
        // Only now: this may have been given up before it was done.
        *self.amounts(fault) = left;
        Ok(())
    }

    const fn amounts(&mut self, fault: Fault) -> &mut Amounts {
        if matches!(fault, Fault::Slow) { &mut self.slow } else { &mut self.lossy }
    }

    /// Tells the kernel the worst of what these nodes are under.
    async fn set(&self, fault: Fault, amounts: &Amounts, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let of = |node: &u16| Some((*node, amounts.get(node)?));
        if fault == Fault::Slow {
            let worst = nodes.iter().filter_map(of).filter_map(|(node, all)| Some((node, *all.iter().min()?)));
            return rates::set(&self.plan, &worst.collect()).await;
        }
        let worst = nodes.iter().filter_map(of).filter_map(|(node, all)| Some((node, *all.iter().max()?)));
        let percent: BTreeMap<u16, u16> = worst.collect();
        if percent.is_empty() { Ok(()) } else { nft(&setting(&self.plan, &percent)).await.map(drop) }
    }

    /// Whether links can be lossy here, and whole again: tried where nobody's packets are.
    pub(super) async fn can_be_lossy(plan: &Plan) -> bool {
        nft_would(&(setting(plan, &[(0, 20)].into()) + &lifting(plan, std::iter::once(0)))).await
    }
}

/// Takes `amount` away once from each of `nodes`; returns those that have nothing left.
fn forget(amounts: &mut Amounts, amount: u16, nodes: &BTreeSet<u16>) -> BTreeSet<u16> {
    let mut whole = BTreeSet::new();
    for node in nodes {
        let all = amounts.entry(*node).or_default();
        if let Some(place) = all.iter().position(|other| *other == amount) {
            all.swap_remove(place);
        }
        if all.is_empty() {
            amounts.remove(node);
            whole.insert(*node);
        }
    }
    whole
}

/// Not the table of the cuts: each goes with the last of its kind.
fn table(plan: &Plan) -> String {
    format!("sotto_testnet_{}_loss", plan.settings.port_base)
}

/// The commands that have nodes lose so much, in percent.
fn setting(plan: &Plan, percent: &BTreeMap<u16, u16>) -> String {
    let table = table(plan);
    let mut text = format!(
        "add table ip {table}\n\
         add map ip {table} lossy {{ type ipv4_addr : verdict ; }}\n\
         add chain ip {table} input {{ type filter hook input priority 0 ; policy accept ; }}\n\
         flush chain ip {table} input\n\
         add rule ip {table} input ip saddr vmap @lossy\n\
         add rule ip {table} input ip daddr vmap @lossy\n"
    );
    for (node, percent) in percent {
        let place = plan.node(*node);
        let (chain, ip, http) = (&place.label, place.listen.ip(), place.http.port());
        let _ = write!(
            text,
            "add chain ip {table} {chain}\n\
             flush chain ip {table} {chain}\n\
             add rule ip {table} {chain} tcp sport {http} return\n\
             add rule ip {table} {chain} tcp dport {http} return\n\
             add rule ip {table} {chain} numgen random mod 100 < {percent} drop\n\
             add element ip {table} lossy {{ {ip} : jump {chain} }}\n"
        );
    }
    text
}

/// The commands that have nodes lose nothing. The way to a chain goes first: one that is used stays.
fn lifting(plan: &Plan, nodes: impl Iterator<Item = u16>) -> String {
    let table = table(plan);
    nodes
        .map(|node| plan.node(node))
        .map(|place| {
            let (chain, ip) = (&place.label, place.listen.ip());
            format!("delete element ip {table} lossy {{ {ip} }}\ndelete chain ip {table} {chain}\n")
        })
        .collect()
}

async fn lift(plan: &Plan, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
    if nodes.is_empty() {
        return Ok(());
    }
    let lossy = lossy(plan).await?;
    if lossy.is_subset(nodes) {
        return clear(plan).await;
    }
    nft(&lifting(plan, lossy.intersection(nodes).copied())).await.map(drop)
}

/// Lets no node of a testnet lose packets any more, whoever made it so.
///
/// # Errors
/// [`Failure`] if the packet filter refuses.
pub(super) async fn clear(plan: &Plan) -> Result<(), Failure> {
    let table = table(plan);
    // Made first, so that there is one.
    nft(&format!("add table ip {table}\ndelete table ip {table}\n")).await.map(drop)
}

/// The nodes that lose packets, whoever made them so.
///
/// # Errors
/// [`Failure`] if the packet filter does not tell.
pub(super) async fn lossy(plan: &Plan) -> Result<BTreeSet<u16>, Failure> {
    let table = table(plan);
    let tables = nft("list tables").await?;
    if !tables.lines().any(|line| line.trim() == format!("table ip {table}")) {
        return Ok(BTreeSet::new());
    }
    nft(&format!("list map ip {table} lossy")).await.map(|listed| listed_nodes(&listed))
}

/// Reads elements such as `127.107.0.1 : jump node07`.
fn listed_nodes(listed: &str) -> BTreeSet<u16> {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    listed.split(" : jump node").skip(1).filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::plan::Settings;

    fn plan() -> Plan {
        let settings = Settings::new("dev", 42, 50, Duration::from_secs(1), 27_000).unwrap();
        Plan::new(settings, PathBuf::from("data"))
    }

    #[test]
    fn a_node_loses_packets_both_ways_but_not_those_of_its_http() {
        let expected = "\
add table ip sotto_testnet_27000_loss
add map ip sotto_testnet_27000_loss lossy { type ipv4_addr : verdict ; }
add chain ip sotto_testnet_27000_loss input { type filter hook input priority 0 ; policy accept ; }
flush chain ip sotto_testnet_27000_loss input
add rule ip sotto_testnet_27000_loss input ip saddr vmap @lossy
add rule ip sotto_testnet_27000_loss input ip daddr vmap @lossy
add chain ip sotto_testnet_27000_loss node07
flush chain ip sotto_testnet_27000_loss node07
add rule ip sotto_testnet_27000_loss node07 tcp sport 27081 return
add rule ip sotto_testnet_27000_loss node07 tcp dport 27081 return
add rule ip sotto_testnet_27000_loss node07 numgen random mod 100 < 17 drop
add element ip sotto_testnet_27000_loss lossy { 127.107.0.1 : jump node07 }
";
        assert_eq!(setting(&plan(), &[(7, 17)].into()), expected);
        let lifted = "\
delete element ip sotto_testnet_27000_loss lossy { 127.107.0.1 }
delete chain ip sotto_testnet_27000_loss node07
";
        assert_eq!(lifting(&plan(), [7].into_iter()), lifted);
    }

    #[test]
    fn the_table_is_not_that_of_the_cuts() {
        assert_ne!(table(&plan()), format!("sotto_testnet_{}", plan().settings.port_base));
    }

    #[test]
    fn who_loses_packets_is_known_from_what_the_packet_filter_lists() {
        let listed = "\
table ip sotto_testnet_27000_loss {
	map lossy {
		type ipv4_addr : verdict
		elements = { 127.107.0.1 : jump node07, 127.130.0.1 : jump node30,
			     127.212.0.1 : jump node112 }
	}
}
";
        assert_eq!(listed_nodes(listed), [7, 30, 112].into());
        assert_eq!(
            listed_nodes("table ip x {\n\tmap lossy {\n\t\ttype ipv4_addr : verdict\n\t}\n}\n"),
            BTreeSet::new()
        );
    }

    #[test]
    fn a_node_under_two_faults_keeps_the_other_and_is_whole_after_both() {
        let mut amounts: Amounts = [(3, vec![10, 30]), (4, vec![30])].into();
        assert_eq!(forget(&mut amounts, 30, &[3, 4].into()), [4].into());
        assert_eq!(amounts, [(3, vec![10])].into());
        // What was ended already is whole: ending it is tried again when the kernel refused.
        assert_eq!(forget(&mut amounts, 30, &[4].into()), [4].into());
        assert_eq!(forget(&mut amounts, 10, &[3].into()), [3].into());
        assert!(amounts.is_empty());
    }
}
