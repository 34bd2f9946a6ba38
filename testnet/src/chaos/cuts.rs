//! Links that are cut: packets from one node's address to another's are dropped by the kernel.
//!
//! One table of the packet filter for each testnet, with one set of address pairs and one rule. Only loopback addresses
//! of the testnet get into it, and it goes with the last cut. Connections that stand are not ended: nothing comes through
//! them any more, as with a cable that is pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::commands::nft;
use crate::failure::Failure;
use crate::plan::Plan;

/// Pairs that are handed to the packet filter at a time.
const BATCH: usize = 500;

/// Directed links between nodes that are cut, by how many faults each.
#[derive(Debug)]
pub struct Cuts {
    table: String,
    addresses: Vec<Ipv4Addr>,
    cut: BTreeMap<(u16, u16), usize>,
}

impl Cuts {
    /// None yet, as far as this process knows.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self { table: table(plan), addresses: addresses(plan), cut: BTreeMap::new() }
    }

    /// Whether links can be cut here.
    pub async fn are_possible() -> bool {
        rustix::process::geteuid().is_root() && nft("list tables").await.is_ok()
    }

    /// The links between `nodes` and all others: from them, and back unless it is `one_way`.
    #[must_use]
    pub fn around(&self, nodes: &BTreeSet<u16>, one_way: bool) -> BTreeSet<(u16, u16)> {
        let all = 0..u16::try_from(self.addresses.len()).unwrap_or(u16::MAX);
        let others: Vec<u16> = all.filter(|node| !nodes.contains(node)).collect();
        let there = nodes.iter().flat_map(|node| others.iter().map(|other| (*node, *other)));
        let back = there.clone().map(|(from, to)| (to, from)).filter(|_| !one_way);
        there.chain(back).collect()
    }

    /// Cuts these links.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter refuses.
    pub async fn cut(&mut self, links: &BTreeSet<(u16, u16)>) -> Result<(), Failure> {
        let table = &self.table;
        nft(&format!(
            "add table ip {table}\n\
             add set ip {table} cut {{ type ipv4_addr . ipv4_addr ; }}\n\
             add chain ip {table} output {{ type filter hook output priority 0 ; policy accept ; }}\n\
             flush chain ip {table} output\n\
             add rule ip {table} output ip saddr . ip daddr @cut drop\n"
        ))
        .await?;
        let fresh: Vec<_> = links.iter().copied().filter(|link| !self.cut.contains_key(link)).collect();
        self.change("add", &fresh).await?;
        for link in links {
            *self.cut.entry(*link).or_default() += 1;
        }
        Ok(())
    }

    /// Joins these links again, but for those that another fault has cut as well.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter refuses.
    pub async fn join(&mut self, links: &BTreeSet<(u16, u16)>) -> Result<(), Failure> {
        let mut whole = Vec::new();
        for link in links {
            match self.cut.get_mut(link) {
                Some(faults) if *faults > 1 => *faults -= 1,
                Some(_) => {
                    self.cut.remove(link);
                    whole.push(*link);
                }
                None => {}
            }
        }
        if self.cut.is_empty() { Self::clear_table(&self.table).await } else { self.change("delete", &whole).await }
    }

    async fn change(&self, verb: &str, links: &[(u16, u16)]) -> Result<(), Failure> {
        let address = |node: u16| self.addresses.get(usize::from(node));
        for some in links.chunks(BATCH) {
            let pairs = some.iter().filter_map(|(from, to)| Some(format!("{} . {}", address(*from)?, address(*to)?)));
            let pairs: Vec<_> = pairs.collect();
            nft(&format!("{verb} element ip {} cut {{ {} }}\n", self.table, pairs.join(", "))).await?;
        }
        Ok(())
    }

    /// Joins all links of a testnet, whoever cut them.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter refuses.
    pub async fn clear(plan: &Plan) -> Result<(), Failure> {
        Self::clear_table(&table(plan)).await
    }

    async fn clear_table(table: &str) -> Result<(), Failure> {
        // Made first, so that there is one.
        nft(&format!("add table ip {table}\ndelete table ip {table}\n")).await.map(drop)
    }

    /// How many directed links of a testnet are cut, whoever cut them; `None` if that cannot be known here.
    pub async fn count(plan: &Plan) -> Option<usize> {
        let tables = nft("list tables").await.ok()?;
        if !tables.lines().any(|line| line.trim() == format!("table ip {}", table(plan))) {
            return Some(0);
        }
        let set = nft(&format!("list set ip {} cut", table(plan))).await.ok()?;
        Some(set.matches(" . 127.").count())
    }
}

/// Two testnets of one name in different directories have different ports.
fn table(plan: &Plan) -> String {
    format!("sotto_testnet_{}", plan.settings.port_base)
}

/// Where the nodes are, those included that may still come.
fn addresses(plan: &Plan) -> Vec<Ipv4Addr> {
    let most = plan.settings.founders.saturating_add(crate::plan::SPARE_OPERATORS).min(crate::plan::MAX_NODES);
    (0..most).map(|index| *plan.node(index).listen.ip()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::plan::Settings;

    fn cuts() -> Cuts {
        let settings = Settings::new("dev", 42, 20, Duration::from_secs(1), 27_000).unwrap();
        Cuts::new(&Plan::new(settings, PathBuf::from("data")))
    }

    #[test]
    fn a_cut_is_between_the_chosen_and_everybody_else_and_only_on_loopback() {
        let mut cuts = cuts();
        assert!(cuts.addresses.len() > 20 && cuts.addresses.iter().all(Ipv4Addr::is_loopback));
        cuts.addresses.truncate(4);
        let both = cuts.around(&[0, 1].into(), false);
        assert_eq!(both, [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)].into());
        assert_eq!(cuts.around(&[2].into(), true), [(2, 0), (2, 1), (2, 3)].into());
    }
}
