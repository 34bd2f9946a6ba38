//! What each fault does to nodes, and how their processes are as they were again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand_core::Rng;
use tokio::process::Command;

use super::{Stage, list};
use crate::binaries::Binaries;
use crate::chaos::database::Database;
use crate::chaos::groups::{Controller, Limit};
use crate::chaos::scenario::Planned;
use crate::chaos::{Fault, mounts, open_files, straces};
use crate::control::{self, Action, ChildState, Done, Processes, Request};
use crate::failure::{Context as _, Exit, Failure};
use crate::guise::{Guise, Mode};
use crate::plan::Place;
use crate::status;
use crate::target::Target;

/// Hundredths of a processor that a node has which has little of one: drawn between the two.
const PERCENT: [i64; 2] = [2, 5];
/// How long a node may take to answer before its disk is full.
const UP: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

impl Stage {
    /// Begins a fault that is none of links. Returns what is particular to some of the nodes, for people.
    pub(super) async fn begin(
        &mut self,
        planned: &Planned,
        nodes: &BTreeSet<u16>,
        rng: &mut impl Rng,
    ) -> Result<Vec<String>, Failure> {
        match planned.kind {
            Fault::Pause => self.act(Action::Pause, nodes).await?,
            Fault::Wipe | Fault::FlipBits | Fault::Truncate => return self.damage(planned.kind, nodes, rng).await,
            Fault::OldCopy => {
                self.act(Action::Kill, nodes).await?;
                self.each_database(nodes, Database::keep_copy)?;
                self.act(Action::Restart, nodes).await?;
            }
            Fault::DiskFull => self.fill_disks(nodes).await?,
            Fault::FsyncError => {
                for (_, pid) in self.running(nodes).await?.1 {
                    straces::attach(pid).await?;
                }
            }
            Fault::Clock => {
                let [least, most] = planned.ahead_seconds.unwrap_or_default().map(i64::from);
                return self.disguise(nodes, || clock(between(rng, least, most))).await;
            }
            Fault::Misbehave => {
                let modes = &planned.modes;
                return self.disguise(nodes, || Guise::Misbehaving { mode: draw(modes, rng) }).await;
            }
            Fault::Memory => {
                // What a process has already does not count.
                self.act(Action::Restart, nodes).await?;
                self.limit(nodes, || Limit::Memory).await?;
            }
            Fault::Cpu => {
                let [least, most] = PERCENT;
                self.limit(nodes, || Limit::Cpu { percent: between(rng, least, most).unsigned_abs() }).await?;
            }
            Fault::FewFiles => {
                for (_, pid) in self.running(nodes).await?.1 {
                    open_files::limit(pid)?;
                }
            }
            Fault::Leave => return self.leave(nodes).await,
            _ => self.act(Action::Kill, nodes).await?,
        }
        Ok(Vec::new())
    }

    /// Ends a fault, also one that was begun in part or by somebody else. Returns what was done, for people.
    pub(in crate::chaos) async fn end(&self, fault: Fault, nodes: &BTreeSet<u16>) -> Result<&'static str, Failure> {
        match fault {
            Fault::Pause => {
                self.act(Action::Resume, nodes).await?;
                Ok("going on")
            }
            Fault::OldCopy => {
                self.act(Action::Kill, nodes).await?;
                self.each_database(nodes, Database::put_back)?;
                self.act(Action::Restart, nodes).await?;
                Ok("an old database")
            }
            Fault::DiskFull => {
                let datadirs = self.datadirs(nodes);
                datadirs.iter().try_for_each(|datadir| mounts::free(datadir))?;
                self.act(Action::Kill, nodes).await?;
                datadirs.iter().try_for_each(|datadir| mounts::give_back(datadir))?;
                self.act(Action::Restart, nodes).await?;
                Ok("their own disk")
            }
            Fault::FsyncError => {
                let pids: Vec<u32> = self.running(nodes).await?.1.iter().map(|(_, pid)| *pid).collect();
                for attached in straces::attached(&pids) {
                    straces::detach(attached).await?;
                }
                self.start_those_that_ended(nodes).await?;
                Ok("syncs work")
            }
            Fault::Memory | Fault::Cpu => {
                let controller = if fault == Fault::Memory { Controller::Memory } else { Controller::Cpu };
                let (supervisor, _) = self.running(nodes).await?;
                nodes.iter().try_for_each(|node| self.groups.lift(controller, *node, supervisor))?;
                Ok("no limit")
            }
            Fault::FewFiles => {
                let (supervisor, running) = self.running(nodes).await?;
                running.iter().try_for_each(|(_, pid)| open_files::lift(*pid, supervisor))?;
                Ok("no limit")
            }
            _ => {
                self.act(Action::Restart, nodes).await?;
                Ok("started")
            }
        }
    }

    async fn act(&self, action: Action, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let targets = nodes.iter().copied().map(Target::Node).collect();
        control::ask::<Done>(&self.dir, &Request::Act { action, targets }).await.map(drop)
    }

    /// Starts each again in a guise that is drawn for it.
    async fn disguise(&self, nodes: &BTreeSet<u16>, mut guise: impl FnMut() -> Guise) -> Result<Vec<String>, Failure> {
        let mut guises: Vec<(Guise, Vec<u16>)> = Vec::new();
        for node in nodes {
            let guise = guise();
            match guises.iter_mut().find(|(other, _)| *other == guise) {
                Some((_, alike)) => alike.push(*node),
                None => guises.push((guise, vec![*node])),
            }
        }
        let mut details = Vec::new();
        for (guise, nodes) in guises {
            details.push(format!("{guise}: {}", list(&nodes.iter().copied().collect())));
            let _done: Done = control::ask(&self.dir, &Request::Disguise { guise, nodes }).await?;
        }
        Ok(details)
    }

    async fn damage(&self, fault: Fault, nodes: &BTreeSet<u16>, rng: &mut impl Rng) -> Result<Vec<String>, Failure> {
        self.act(Action::Kill, nodes).await?;
        let mut details = Vec::new();
        for node in nodes {
            let place = self.plan.node(*node);
            let database = Database::of(&place.datadir);
            let done = match fault {
                Fault::FlipBits => database.flip_bits(rng).map(Some),
                Fault::Truncate => database.truncate(rng).map(Some),
                _ => database.remove().map(|()| None),
            };
            let done = done.context("damage the database of", &place.label)?;
            details.extend(done.map(|done| format!("{}: {done}", place.label)));
        }
        Ok(details)
    }

    fn each_database(
        &self,
        nodes: &BTreeSet<u16>,
        work: impl Fn(&Database) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        self.datadirs(nodes)
            .iter()
            .try_for_each(|datadir| work(&Database::of(datadir)).context("copy the database in", datadir.display()))
    }

    async fn fill_disks(&self, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let datadirs = self.datadirs(nodes);
        // While they still run: nobody is ended for nothing.
        mounts::check_memory(&datadirs)?;
        self.act(Action::Kill, nodes).await?;
        // Not on a thread of its own: nobody could stop it there, to undo it.
        datadirs.iter().try_for_each(|datadir| mounts::shrink(datadir))?;
        self.act(Action::Restart, nodes).await?;
        let until = Instant::now() + UP;
        for node in nodes {
            // One that does not come up has no space left all the same.
            while status::ask(self.plan.node(*node).http).await.is_err() && Instant::now() < until {
                tokio::time::sleep(LOOK).await;
            }
        }
        datadirs.iter().try_for_each(|datadir| mounts::fill(datadir).map(drop))
    }

    async fn limit(&self, nodes: &BTreeSet<u16>, mut limit: impl FnMut() -> Limit) -> Result<(), Failure> {
        for (node, pid) in self.running(nodes).await?.1 {
            self.groups.limit(limit(), node, pid)?;
        }
        Ok(())
    }

    /// Takes nodes out of the network, all at once; those that cannot go now stay.
    async fn leave(&mut self, nodes: &BTreeSet<u16>) -> Result<Vec<String>, Failure> {
        let binaries = Binaries::locate()?;
        let leaving = nodes.iter().map(|node| exit(&binaries, self.plan.node(*node)));
        let left = futures::future::join_all(leaving).await;
        let (mut stay, mut first) = (Vec::new(), None);
        for (node, left) in nodes.iter().zip(left) {
            match left {
                Ok(()) => {
                    self.left.insert(*node);
                }
                Err(failure) => {
                    stay.push(failure.message.clone());
                    first.get_or_insert(failure);
                }
            }
        }
        match first {
            Some(failure) if stay.len() == nodes.len() => Err(failure),
            _ => Ok(stay),
        }
    }

    async fn start_those_that_ended(&self, nodes: &BTreeSet<u16>) -> Result<(), Failure> {
        let running: BTreeSet<u16> = self.running(nodes).await?.1.iter().map(|(node, _)| *node).collect();
        self.act(Action::Restart, &nodes.difference(&running).copied().collect()).await
    }

    /// The supervisor, and those of these nodes that have not ended, with their processes.
    async fn running(&self, nodes: &BTreeSet<u16>) -> Result<(u32, Vec<(u16, u32)>), Failure> {
        let processes: Processes = control::ask(&self.dir, &Request::Processes).await?;
        let wanted = |child: &ChildState| match child.target {
            Target::Node(node) if nodes.contains(&node) && !has_ended(child) => Some((node, child.pid)),
            _ => None,
        };
        Ok((processes.supervisor, processes.children.iter().filter_map(wanted).collect()))
    }

    fn datadirs(&self, nodes: &BTreeSet<u16>) -> Vec<PathBuf> {
        nodes.iter().map(|node| self.plan.node(*node).datadir).collect()
    }
}

/// Whether a process is neither running nor paused.
pub(in crate::chaos) fn has_ended(child: &ChildState) -> bool {
    child.state != "running" && child.state != "paused"
}

async fn exit(binaries: &Binaries, place: Place) -> Result<(), Failure> {
    let mut command = Command::from(binaries.exit(&place));
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("run", "sotto-node exit")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("no reason given");
    Err(Failure::new(Exit::Failed, format!("{} does not leave: {reason}", place.label))
        .hint(format!("sotto-node status --datadir {}", place.datadir.display())))
}

fn clock(ahead_seconds: i64) -> Guise {
    Guise::Clock { ahead_seconds: i32::try_from(ahead_seconds).unwrap_or_default() }
}

/// One of these; there is one.
fn draw(modes: &[Mode], rng: &mut impl Rng) -> Mode {
    let place = rng.next_u64().checked_rem(modes.len() as u64).and_then(|place| usize::try_from(place).ok());
    place.and_then(|place| modes.get(place)).copied().unwrap_or(Mode::Drop)
}

/// A number from `least` to `most`, both included.
fn between(rng: &mut impl Rng, least: i64, most: i64) -> i64 {
    let count = most.abs_diff(least).saturating_add(1);
    least.saturating_add_unsigned(rng.next_u64() % count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seeded;

    #[test]
    fn amounts_and_modes_are_drawn_from_all_there_are() {
        let rng = &mut seeded(1, "doses", 0);
        let amounts: BTreeSet<i64> = (0..200).map(|_| between(rng, -2, 3)).collect();
        assert_eq!(amounts, (-2..=3).collect());
        assert_eq!(between(rng, 60, 60), 60);
        let modes = [Mode::Withhold, Mode::Lie];
        let drawn: BTreeSet<Mode> = (0..50).map(|_| draw(&modes, rng)).collect();
        assert_eq!(drawn, modes.into());
        assert_eq!(clock(-60), Guise::Clock { ahead_seconds: -60 });
    }

    #[test]
    fn who_stands_still_has_not_ended() {
        let child =
            |state: &str| ChildState { target: Target::Node(3), pid: 7, state: state.to_owned(), guise: Guise::Plain };
        let ended = ["running", "paused", "signal: 9 (SIGKILL)"].map(|state| has_ended(&child(state)));
        assert_eq!(ended, [false, false, true]);
    }
}
