//! Links that are cut: packets from one node's address to another's are dropped by the kernel.
//!
//! One table of the packet filter for each testnet, with one set of address pairs and one rule. Only loopback addresses
//! of the testnet get into it, and it goes with the last cut. Connections that stand are not ended: nothing comes through
//! them any more, as with a cable that is pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::commands::{nft, nft_would};
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

    /// Whether links can be cut and joined here: tried where nobody's packets are.
    pub async fn are_possible(plan: &Plan) -> bool {
        let cuts = Self::new(plan);
        let commands = [cuts.frame(), cuts.elements("add", &[(0, 1)]), cuts.elements("delete", &[(0, 1)])].concat();
        rustix::process::geteuid().is_root() && nft_would(&commands).await
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

    /// Cuts these links. They count as cut also when that fails: [`join`](Self::join) ends what was done of it.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter refuses.
    pub async fn cut(&mut self, links: &BTreeSet<(u16, u16)>) -> Result<(), Failure> {
        for link in links {
            *self.cut.entry(*link).or_default() += 1;
        }
        nft(&self.frame()).await?;
        for some in batches(links) {
            nft(&self.elements("add", &some)).await?;
        }
        Ok(())
    }

    /// Joins these links again, but for those that another fault has cut as well. May be tried again when it failed or
    /// was given up.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter refuses. They count as cut then.
    pub async fn join(&mut self, links: &BTreeSet<(u16, u16)>) -> Result<(), Failure> {
        let mut left = self.cut.clone();
        let whole = strike(&mut left, links);
        if left.is_empty() {
            Self::clear_table(&self.table).await?;
        } else {
            for some in batches(&whole) {
                // Added first, so that they are there: the cut may have failed, or this before.
                let commands = [self.frame(), self.elements("add", &some), self.elements("delete", &some)];
                nft(&commands.concat()).await?;
            }
        }
        // Only now: this may have been given up before it was done.
        self.cut = left;
        Ok(())
    }

    /// The commands that make the table, or leave it as it is if it is there.
    fn frame(&self) -> String {
        let table = &self.table;
        format!(
            "add table ip {table}\n\
             add set ip {table} cut {{ type ipv4_addr . ipv4_addr ; }}\n\
             add chain ip {table} output {{ type filter hook output priority 0 ; policy accept ; }}\n\
             flush chain ip {table} output\n\
             add rule ip {table} output ip saddr . ip daddr @cut drop\n"
        )
    }

    /// The command that adds links to the set, or deletes them.
    fn elements(&self, verb: &str, links: &[(u16, u16)]) -> String {
        let address = |node: u16| self.addresses.get(usize::from(node));
        let pairs = links.iter().filter_map(|(from, to)| Some(format!("{} . {}", address(*from)?, address(*to)?)));
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() {
            return String::new();
        }
        format!("{verb} element ip {} cut {{ {} }}\n", self.table, pairs.join(", "))
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

    /// How many directed links of a testnet are cut, whoever cut them.
    ///
    /// # Errors
    /// [`Failure`] if the packet filter does not tell.
    pub async fn count(plan: &Plan) -> Result<usize, Failure> {
        let tables = nft("list tables").await?;
        if !tables.lines().any(|line| line.trim() == format!("table ip {}", table(plan))) {
            return Ok(0);
        }
        let set = nft(&format!("list set ip {} cut", table(plan))).await?;
        Ok(set.matches(" . 127.").count())
    }
}

/// Takes one fault away from each of these links; returns those that no other one has cut.
fn strike(cut: &mut BTreeMap<(u16, u16), usize>, links: &BTreeSet<(u16, u16)>) -> BTreeSet<(u16, u16)> {
    let mut whole = BTreeSet::new();
    for link in links {
        match cut.get_mut(link) {
            Some(faults) if *faults > 1 => *faults -= 1,
            Some(_) => {
                cut.remove(link);
                whole.insert(*link);
            }
            None => {}
        }
    }
    whole
}

fn batches(links: &BTreeSet<(u16, u16)>) -> Vec<Vec<(u16, u16)>> {
    let links: Vec<_> = links.iter().copied().collect();
    links.chunks(BATCH).map(<[_]>::to_vec).collect()
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

    use super::super::needs::Need;
    use super::*;
    use crate::plan::Settings;

    fn plan(port_base: u16) -> Plan {
        let settings = Settings::new("dev", 42, 20, Duration::from_secs(1), port_base).unwrap();
        Plan::new(settings, PathBuf::from("data"))
    }

    fn cuts() -> Cuts {
        Cuts::new(&plan(27_000))
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

    #[test]
    fn a_link_that_two_faults_have_cut_is_whole_after_both() {
        let mut cut: BTreeMap<_, _> = [((0, 1), 2), ((0, 2), 1)].into();
        let links = [(0, 1), (0, 2), (3, 4)].into();
        assert_eq!(strike(&mut cut, &links), [(0, 2)].into());
        assert_eq!(strike(&mut cut, &links), [(0, 1)].into());
        assert!(cut.is_empty() && strike(&mut cut, &links).is_empty());
    }

    #[tokio::test]
    async fn a_cut_that_fails_is_booked_and_one_that_is_not_joined_stays_so() {
        let (mut cuts, links) = (cuts(), [(0, 1), (1, 0)].into());
        // No packet filter has a table of this name.
        cuts.table = "no table".to_owned();
        cuts.cut(&links).await.unwrap_err();
        assert_eq!(cuts.cut.keys().copied().collect::<BTreeSet<_>>(), links);
        cuts.join(&links).await.unwrap_err();
        assert_eq!(cuts.cut.len(), 2);
    }

    #[tokio::test]
    async fn links_are_joined_also_when_a_cut_or_a_join_was_given_up() {
        if !Need::PacketFilter.is_met().await {
            return Need::PacketFilter.skip();
        }
        let plan = plan(2048);
        let count = async || Cuts::count(&plan).await.unwrap();
        let (first, second) = ([(0, 1), (1, 0)].into(), BTreeSet::from([(0, 1), (2, 0)]));
        let mut cuts = Cuts::new(&plan);
        cuts.cut(&first).await.unwrap();
        assert_eq!(count().await, 2);
        // Booked, and given up before the kernel was told.
        second.iter().for_each(|link| *cuts.cut.entry(*link).or_default() += 1);
        cuts.join(&second).await.unwrap();
        assert_eq!((count().await, cuts.cut.len()), (2, 2));
        // The kernel was told, and nothing was struck off.
        let before = cuts.cut.clone();
        cuts.join(&first).await.unwrap();
        cuts.cut = before;
        cuts.join(&first).await.unwrap();
        assert!(count().await == 0 && cuts.cut.is_empty());
        // Somebody else's are found and ended, too.
        cuts.cut(&first).await.unwrap();
        Cuts::clear(&plan).await.unwrap();
        assert_eq!(count().await, 0);
    }
}
