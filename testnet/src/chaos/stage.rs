//! Who is under which fault, and how it is undone.

mod acts;
mod chain;

pub(super) use self::acts::has_ended;
pub use self::chain::clear_chain;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::cuts::Cuts;
use super::fault::Fault;
use super::groups::Groups;
use super::links::Links;
use super::scenario::Planned;
use crate::agreement;
use crate::control::{self, Added, Processes, Request};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::status;

/// How long a node may take to say which swarm it is in.
const LOOK: Duration = Duration::from_secs(1);

/// How a fault is undone.
#[derive(Clone, Debug)]
enum Undo {
    /// What this fault did to the processes of these.
    Nodes(Fault, BTreeSet<u16>),
    Join(BTreeSet<(u16, u16)>),
    Mend(Fault, u16, BTreeSet<u16>),
    StartProducer,
    ClearChain,
}

/// A running testnet and what was done to it.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    plan: Plan,
    cuts: Cuts,
    links: Links,
    groups: Groups,
    /// Nodes under a fault.
    busy: BTreeSet<u16>,
    /// Nodes that were taken out of the network.
    left: BTreeSet<u16>,
    /// Whether the producer was killed.
    producer_is_down: bool,
    undone: Vec<(Instant, Undo)>,
    /// Swarms with their members, as they were last seen when everybody answered.
    swarms: BTreeMap<String, Vec<u16>>,
}

impl Stage {
    /// The testnet that `plan` lays out, with nothing done to it.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            dir: plan.dir.clone(),
            plan: plan.clone(),
            cuts: Cuts::new(plan),
            links: Links::new(plan),
            groups: Groups::of(plan),
            busy: BTreeSet::new(),
            left: BTreeSet::new(),
            producer_is_down: false,
            undone: Vec::new(),
            swarms: BTreeMap::new(),
        }
    }

    /// Nodes that were taken out of the network: they run, and are members of no swarm.
    pub(super) const fn left(&self) -> &BTreeSet<u16> {
        &self.left
    }

    /// Does something; it ends at `until`. `amount` is how many nodes come, or what the fault's [unit](Fault::unit) says.
    /// Returns what was done, for people; nothing if there was nobody to do it to.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be done.
    pub async fn apply(
        &mut self,
        planned: &Planned,
        amount: u16,
        until: Instant,
        rng: &mut impl Rng,
    ) -> Result<Option<String>, Failure> {
        if planned.kind == Fault::Join {
            let _added: Added = control::ask(&self.dir, &Request::Add { count: amount }).await?;
            return Ok(Some(planned.kind.to_string()));
        }
        if !planned.kind.is_of_nodes() {
            if self.producer_is_down {
                return Ok(None);
            }
            // Kept first: whoever gives up half-way leaves a chain that is not as usual.
            self.undone.extend(Undo::of_chain(planned.kind).map(|undo| (until, undo)));
            self.apply_to_chain(planned.kind).await?;
            return Ok(Some(planned.kind.to_string()));
        }
        self.look().await?;
        let taken: BTreeSet<u16> = self.busy.union(&self.left).copied().collect();
        let mut nodes = planned.who.draw(&self.swarms, &taken, rng);
        if planned.kind == Fault::Leave {
            let members: usize = self.swarms.values().map(Vec::len).sum();
            nodes = nodes.into_iter().take(members.saturating_sub(planned.at_least.into())).collect();
        }
        self.apply_to((planned, amount), nodes, until, rng).await
    }

    /// The same to these nodes.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be done; what was done of it has to be undone.
    pub async fn apply_to(
        &mut self,
        (planned, amount): (&Planned, u16),
        nodes: BTreeSet<u16>,
        until: Instant,
        rng: &mut impl Rng,
    ) -> Result<Option<String>, Failure> {
        if nodes.is_empty() {
            return Ok(None);
        }
        let fault = planned.kind;
        let text = match fault.unit() {
            Some(unit) => format!("{fault}, {amount} {unit}: {}", list(&nodes)),
            None => format!("{fault}: {}", list(&nodes)),
        };
        if matches!(fault, Fault::Lossy | Fault::Slow) {
            // Kept first: whoever gives up half-way leaves links that are bad.
            self.undone.push((until, Undo::Mend(fault, amount, nodes.clone())));
            self.links.worsen(fault, amount, &nodes).await?;
            return Ok(Some(text));
        }
        if fault.is_of_links() {
            let links = self.cuts.around(&nodes, fault == Fault::CutOneWay);
            // The same here.
            self.undone.push((until, Undo::Join(links.clone())));
            self.cuts.cut(&links).await?;
            return Ok(Some(text));
        }
        if fault.is_of_processes() {
            self.busy.extend(&nodes);
            // Also if it fails: a part of it may be done.
            self.undone.push((until, Undo::Nodes(fault, nodes.clone())));
        }
        let details = self.begin(planned, &nodes, rng).await?;
        Ok(Some(if details.is_empty() { text } else { format!("{text} ({})", details.join("; ")) }))
    }

    /// When the next fault ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.undone.iter().map(|(until, _)| *until).min()
    }

    /// Undoes what ends by now. Returns what was undone, for people.
    ///
    /// # Errors
    /// [`Failure`] of the first that cannot be undone; it is tried again with the next call.
    pub async fn undo_due(&mut self, now: Instant) -> Result<Vec<String>, Failure> {
        let mut told = Vec::new();
        while let Some(place) = self.undone.iter().position(|(until, _)| *until <= now) {
            let Some((_, undo)) = self.undone.get(place).cloned() else { break };
            told.push(self.undo(&undo).await?);
            // Only now: this may have been given up before it was done.
            self.undone.swap_remove(place);
        }
        Ok(told)
    }

    /// Undoes everything that this stage did.
    ///
    /// # Errors
    /// [`Failure`] of the last that cannot be undone; all others are, and those are tried again with the next call.
    pub async fn undo_all(&mut self) -> Result<(), Failure> {
        let (mut undone, mut place) = (Ok(()), 0);
        while let Some((_, undo)) = self.undone.get(place).cloned() {
            match self.undo(&undo).await {
                // Only now: this may have been given up before it was done.
                Ok(_) => drop(self.undone.remove(place)),
                Err(failure) => {
                    undone = Err(failure);
                    place += 1;
                }
            }
        }
        undone
    }

    async fn undo(&mut self, undo: &Undo) -> Result<String, Failure> {
        match undo {
            Undo::Nodes(fault, nodes) => {
                let what = self.end(*fault, nodes).await?;
                self.busy.retain(|node| !nodes.contains(node));
                Ok(format!("{what}: {}", list(nodes)))
            }
            Undo::Join(links) => {
                self.cuts.join(links).await?;
                Ok(format!("{} links joined", links.len()))
            }
            Undo::Mend(fault, amount, nodes) => {
                self.links.mend(*fault, *amount, nodes).await?;
                Ok(format!("no {fault} any more: {}", list(nodes)))
            }
            Undo::StartProducer => self.start_producer().await,
            Undo::ClearChain => self.end_on_chain().await,
        }
    }

    /// Looks who is in which swarm; who does not answer stays where it was last seen.
    async fn look(&mut self) -> Result<(), Failure> {
        let processes: Processes = control::ask(&self.dir, &Request::Processes).await?;
        let ask = async |index| {
            // Whoever stands still would be waited for.
            if self.busy.contains(&index) {
                return None;
            }
            tokio::time::timeout(LOOK, status::ask(self.plan.node(index).http)).await.ok()?.ok()
        };
        let answers = futures::future::join_all((0..processes.nodes).map(ask)).await;
        let seen = agreement::swarms(&answers);
        // Who answers and is in no swarm has left it.
        let known: BTreeSet<u16> =
            (0..).zip(&answers).filter_map(|(node, answer)| answer.is_some().then_some(node)).collect();
        let before = std::mem::take(&mut self.swarms);
        self.swarms = seen.into_iter().collect();
        for (swarm, nodes) in before {
            let silent: Vec<u16> = nodes.into_iter().filter(|node| !known.contains(node)).collect();
            if !silent.is_empty() {
                self.swarms.entry(swarm).or_default().extend(silent);
            }
        }
        self.swarms.values_mut().for_each(|nodes| nodes.sort_unstable());
        Ok(())
    }
}

/// `nodes 03 07 and 20 more`.
fn list(nodes: &BTreeSet<u16>) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<_> = nodes.iter().take(SHOWN).map(|node| format!("{node:02}")).collect();
    match nodes.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("nodes {} and {more} more", shown.join(" ")),
        _ => format!("nodes {}", shown.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_short() {
        assert_eq!(list(&[3, 20].into()), "nodes 03 20");
        assert_eq!(list(&(0..12).collect()), "nodes 00 01 02 03 04 05 06 07 08 09 10 11");
        assert!(list(&(0..14).collect()).ends_with(" 11 and 2 more"));
    }
}
