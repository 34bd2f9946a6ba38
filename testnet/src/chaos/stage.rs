//! Who is under which fault, and how it is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand_core::Rng;
use serde_json::{Value, json};

use super::cuts::Cuts;
use super::fault::{Fault, Who};
use crate::agreement;
use crate::control::{self, Action, Added, Done, Processes, Request};
use crate::failure::{Context as _, Exit, Failure};
use crate::files;
use crate::http;
use crate::plan::Plan;
use crate::status;
use crate::target::Target;

/// How long a node may take to say which swarm it is in.
const LOOK: Duration = Duration::from_secs(1);
/// Blocks that a reorganisation replaces: nodes follow up to three.
const REORG_DEPTH: u64 = 2;

/// How a fault is undone.
#[derive(Debug)]
enum Undo {
    Start(BTreeSet<u16>),
    Resume(BTreeSet<u16>),
    Join(BTreeSet<(u16, u16)>),
    StartProducer,
    ClearChain,
}

/// A running testnet and what was done to it.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    plan: Plan,
    cuts: Cuts,
    /// Nodes under a fault.
    busy: BTreeSet<u16>,
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
            busy: BTreeSet::new(),
            producer_is_down: false,
            undone: Vec::new(),
            swarms: BTreeMap::new(),
        }
    }

    /// Does something; it ends at `until`. Returns what was done, for people; nothing if there was nobody to do it to.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be done.
    pub async fn apply(
        &mut self,
        fault: Fault,
        (who, count): (Who, u16),
        until: Instant,
        rng: &mut impl Rng,
    ) -> Result<Option<String>, Failure> {
        if !fault.is_of_nodes() {
            if self.producer_is_down && fault != Fault::Join {
                return Ok(None);
            }
            self.apply_to_chain(fault, count, until).await?;
            return Ok(Some(fault.to_string()));
        }
        self.look().await?;
        let nodes = who.draw(&self.swarms, &self.busy, rng);
        self.apply_to(fault, nodes, until).await
    }

    /// The same to these nodes.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be done.
    pub async fn apply_to(
        &mut self,
        fault: Fault,
        nodes: BTreeSet<u16>,
        until: Instant,
    ) -> Result<Option<String>, Failure> {
        if nodes.is_empty() {
            return Ok(None);
        }
        let text = format!("{fault}: {}", list(&nodes));
        let undo = match fault {
            Fault::Cut | Fault::CutOneWay => {
                let links = self.cuts.around(&nodes, fault == Fault::CutOneWay);
                self.cuts.cut(&links).await?;
                Undo::Join(links)
            }
            Fault::Pause => {
                self.act(Action::Pause, &nodes).await?;
                Undo::Resume(nodes.clone())
            }
            _ => {
                self.act(Action::Kill, &nodes).await?;
                if fault == Fault::Wipe {
                    self.remove_databases(&nodes)?;
                }
                Undo::Start(nodes.clone())
            }
        };
        if fault.is_of_processes() {
            self.busy.extend(&nodes);
        }
        self.undone.push((until, undo));
        Ok(Some(text))
    }

    async fn apply_to_chain(&mut self, fault: Fault, count: u16, until: Instant) -> Result<(), Failure> {
        let undo = match fault {
            Fault::Join => {
                let _added: Added = control::ask(&self.dir, &Request::Add { count }).await?;
                return Ok(());
            }
            Fault::ChainReorg => {
                return self.chain(json!({ "kind": "reorg", "depth": REORG_DEPTH, "deep": false })).await;
            }
            Fault::ChainTwoHeads => return self.chain(json!({ "kind": "two_heads", "blocks": 1 })).await,
            Fault::ChainKill => {
                let request = Request::Act { action: Action::Kill, targets: vec![Target::Chain] };
                let _done: Done = control::ask(&self.dir, &request).await?;
                self.producer_is_down = true;
                Undo::StartProducer
            }
            Fault::ChainSlow => {
                let every = self.plan.settings.block_time_ms.saturating_mul(3);
                self.chain(json!({ "kind": "slow", "every_ms": every })).await?;
                Undo::ClearChain
            }
            _ => {
                self.chain(json!({ "kind": "stall" })).await?;
                Undo::ClearChain
            }
        };
        self.undone.push((until, undo));
        Ok(())
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
            let (until, undo) = self.undone.swap_remove(place);
            match self.undo(&undo).await {
                Ok(text) => told.push(text),
                Err(failure) => {
                    self.undone.push((until, undo));
                    return Err(failure);
                }
            }
        }
        Ok(told)
    }

    /// Undoes everything that this stage did.
    ///
    /// # Errors
    /// [`Failure`] of the last that cannot be undone; all others are.
    pub async fn undo_all(&mut self) -> Result<(), Failure> {
        let mut undone = Ok(());
        for (_, undo) in std::mem::take(&mut self.undone) {
            if let Err(failure) = self.undo(&undo).await {
                undone = Err(failure);
            }
        }
        undone
    }

    async fn undo(&mut self, undo: &Undo) -> Result<String, Failure> {
        match undo {
            Undo::Start(nodes) => {
                self.act(Action::Restart, nodes).await?;
                self.busy.retain(|node| !nodes.contains(node));
                Ok(format!("started: {}", list(nodes)))
            }
            Undo::Resume(nodes) => {
                self.act(Action::Resume, nodes).await?;
                self.busy.retain(|node| !nodes.contains(node));
                Ok(format!("going on: {}", list(nodes)))
            }
            Undo::Join(links) => {
                self.cuts.join(links).await?;
                Ok(format!("{} links joined", links.len()))
            }
            Undo::StartProducer => {
                let request = Request::Act { action: Action::Restart, targets: vec![Target::Chain] };
                let _done: Done = control::ask(&self.dir, &request).await?;
                self.producer_is_down = false;
                Ok("producer started".to_owned())
            }
            // It starts without a fault.
            Undo::ClearChain if self.producer_is_down => Ok("blocks as usual, once there are any".to_owned()),
            Undo::ClearChain => {
                self.chain(json!({ "kind": "clear" })).await?;
                Ok("blocks as usual".to_owned())
            }
        }
    }

    async fn act(&self, action: Action, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let targets = nodes.iter().copied().map(Target::Node).collect();
        control::ask::<Done>(&self.dir, &Request::Act { action, targets }).await.map(drop)
    }

    fn remove_databases(&self, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        for node in nodes {
            let database = self.plan.node(*node).datadir.join(files::DATABASE);
            std::fs::remove_dir_all(&database).context("remove", database.display())?;
        }
        Ok(())
    }

    async fn chain(&self, body: Value) -> Result<(), Failure> {
        ask_chain(&self.plan, &body).await
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
        let placed: BTreeSet<u16> = seen.values().flatten().copied().collect();
        let before = std::mem::take(&mut self.swarms);
        self.swarms = seen.into_iter().collect();
        for (swarm, nodes) in before {
            let silent = nodes.into_iter().filter(|node| !placed.contains(node));
            self.swarms.entry(swarm).or_default().extend(silent);
        }
        self.swarms.values_mut().for_each(|nodes| nodes.sort_unstable());
        Ok(())
    }
}

/// Has the producer make blocks as usual again.
///
/// # Errors
/// [`Exit::Network`] if it does not answer.
pub async fn clear_chain(plan: &Plan) -> Result<(), Failure> {
    ask_chain(plan, &json!({ "kind": "clear" })).await
}

async fn ask_chain(plan: &Plan, body: &Value) -> Result<(), Failure> {
    let socket = plan.producer().datadir.join(files::ADMIN_SOCKET);
    let asked = http::post(&socket, "/fault", body).await;
    asked.map(drop).map_err(|error| Failure::new(Exit::Network, format!("the block producer: {error}")))
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
