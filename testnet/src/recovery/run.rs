//! One measurement from beginning to end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::WallClock;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::time::UnixMillis;

use super::fill::{Filled, Filler, first_path};
use super::member::{Reader, Restart, hand_over, restart, strike};
use super::members::{self, View, until_alike};
use super::options::Options;
use super::report::{Report, TYPE, VERSION, notes};
use super::split;
use crate::bench::{Devices, Head, LightClient, Network, Testnet, seeded};
use crate::chaos::{Fault, Stage};
use crate::control::{self, Processes, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::supervisor::Report as Steps;

/// How long members may take until all have what was stored, that of the last seconds too.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the new member is left alone before another one is killed.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures on the running testnet that `plan` lays out; `steps` are told. What it needs on disk is below `dir` and gone
/// afterwards. Nodes that were killed are started again, also when it fails; if it is given up, `stage` has to be undone.
///
/// # Errors
/// [`Exit::Network`] when no testnet runs or it does not answer, [`Exit::Usage`] for options that cannot be met,
/// [`Exit::Timeout`] when members never were alike. Goals that are missed are no error here: see [`Report::verdict`].
pub async fn run(
    plan: &Plan,
    options: &Options,
    dir: &Path,
    (steps, stage): (&Steps, &mut Stage),
) -> Result<Report, Failure> {
    options.check()?;
    let measurement = Box::pin(Measurement::set_up(plan, options, dir, steps)).await?;
    let ended = Box::pin(measurement.take(stage)).await;
    let undone = stage.undo_all().await;
    ended.and_then(|report| undone.map(|()| report))
}

struct Measurement<'a> {
    plan: Plan,
    options: &'a Options,
    steps: &'a Steps,
    began: UnixMillis,
    network: Arc<Network>,
    devices: Devices,
    swarm: SwarmId,
    /// The members of the swarm, ascending. The last ones are struck: the first nodes are those that newcomers ask.
    members: Vec<(u16, NodeId)>,
    filler: Filler,
    /// Reads a mailbox at a member.
    reader: LightClient,
}

impl<'a> Measurement<'a> {
    async fn set_up(plan: &Plan, options: &'a Options, dir: &Path, steps: &'a Steps) -> Result<Self, Failure> {
        let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
        let mut plan = plan.clone();
        plan.settings.nodes = processes.nodes;
        let network = Arc::new(Network::fetch(&plan).await?);
        let swarms = network.swarms();
        steps.step("list", format!("{} nodes in {} swarms", network.directory.nodes().len(), swarms.len()));
        let swarm = split::relieved(&swarms).ok_or_else(|| Failure::new(Exit::Failed, "there is no swarm"))?;
        let views = members::views(&plan, 0..plan.settings.nodes).await;
        let members = members_of(swarm, &views, &network.members(swarm))?;
        let began = WallClock::system().now();
        let filler = Box::pin(Filler::set_up(&network, swarm, options, began)).await?;
        let draws = ["recovery reader paths", "recovery reader"].map(|label| seeded(options.seed, label, 0));
        let mut reader = LightClient::new(&network, swarm, draws);
        first_path(&mut reader, swarm).await?;
        steps.step("paths", format!("{} clients, each with a path to swarm 0x{swarm}", options.clients));
        let devices = Devices::new(dir, &began.0.to_string())?;
        Ok(Self { plan, options, steps, began, network, devices, swarm, members, filler, reader })
    }

    async fn take(mut self, stage: &mut Stage) -> Result<Report, Failure> {
        let nodes: Vec<u16> = self.members.iter().map(|(index, _)| *index).collect();
        let [.., (down, id), (new, _)] = *self.members.as_slice() else {
            return Err(Failure::new(Exit::Internal, "a swarm of one member"));
        };
        let testnet = Testnet::of(&self.plan, &self.network);
        let filled = Box::pin(self.filler.fill(self.options.records, "fill", self.steps)).await?;
        self.steps.current("alike", 0, nodes.len(), "until the newest count, too");
        until_alike(&self.plan, &nodes, filled.stored, PATIENCE).await?;
        let hand_over = hand_over(&self.plan, &nodes, new, filled.stored, stage).await?;
        let (records, took) = (hand_over.records, hand_over.took_s);
        self.steps
            .step("new", format!("{} has {records} records {took:.1} s after it became a member", hand_over.node));
        let restarted = match self.options.missed {
            0 => None,
            _ => Some(Box::pin(self.restarted(&nodes, (down, id), stage)).await?),
        };
        let split = if self.options.split {
            let of = (self.swarm, self.options.seed, self.began);
            let told = (&self.devices, self.steps);
            Some(Box::pin(split::measure(&mut self.plan, &self.network, &self.filler, of, told)).await?)
        } else {
            None
        };
        let network = Arc::new(Network::fetch(&self.plan).await?);
        let lost = Box::pin(self.filler.lost(&network, self.options.seed)).await?;
        self.steps.step("check", format!("{lost} of the records that were stored are gone"));
        let (filled_meanwhile, restart) = restarted.unzip();
        Ok(Report {
            head: Head::here(TYPE, VERSION, self.began),
            testnet,
            options: self.options.clone(),
            notes: notes(),
            swarm: format!("0x{}", self.swarm),
            filled,
            hand_over,
            filled_meanwhile,
            restart,
            split,
            lost,
        })
    }

    /// Kills a member, stores what it misses, and starts it.
    async fn restarted(
        &mut self,
        nodes: &[u16],
        (down, member): (u16, NodeId),
        stage: &mut Stage,
    ) -> Result<(Filled, Restart), Failure> {
        tokio::time::sleep(SETTLE).await;
        let (had, _) = until_alike(&self.plan, nodes, 0, PATIENCE).await?;
        let owned = self.reader(member)?.read().await;
        let owned = owned.ok_or_else(|| {
            Failure::new(Exit::Network, format!("{} does not answer a reader", self.plan.node(down).label))
                .hint("sotto-testnet status    # are all nodes well?")
        })?;
        strike(stage, Fault::Kill, down).await?;
        let filled = Box::pin(self.filler.fill(self.options.missed, "missed", self.steps)).await?;
        let others: Vec<u16> = nodes.iter().copied().filter(|node| *node != down).collect();
        self.steps.current("alike", 0, others.len(), "until the newest count, too");
        until_alike(&self.plan, &others, had.items + filled.stored, PATIENCE).await?;
        let (plan, steps) = (self.plan.clone(), self.steps);
        let had = (had.items, owned, filled.stored);
        let restarted = Box::pin(restart(&plan, nodes, down, had, self.reader(member)?, stage)).await?;
        let (served, caught_up) = (restarted.served_s, restarted.caught_up_s);
        let text = format!("{} answers after {served:.1} s, has everything after {caught_up:.1} s", restarted.node);
        steps.step("restart", text);
        Ok((filled, restarted))
    }

    /// Somebody who reads at this member.
    fn reader(&mut self, member: NodeId) -> Result<Reader<'_>, Failure> {
        let (owner, swarm) = (self.filler.owner()?, self.swarm);
        Ok(Reader { network: &self.network, client: &mut self.reader, owner, swarm, member })
    }
}

/// The numbers and keys of a swarm's members, ascending. All of them must answer.
fn members_of(swarm: SwarmId, views: &[Option<View>], listed: &[NodeId]) -> Result<Vec<(u16, NodeId)>, Failure> {
    let key = |view: &View| listed.iter().copied().find(|node| node.to_string() == view.node);
    let answers = (0_u16..).zip(views);
    let members: Vec<_> = answers.filter_map(|(index, view)| Some((index, key(view.as_ref()?)?))).collect();
    if members.len() == listed.len() {
        return Ok(members);
    }
    let message = format!("{} of {} members of swarm 0x{swarm} answer", members.len(), listed.len());
    Err(Failure::new(Exit::Conflict, message).hint("sotto-testnet status    # which are away, and why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_keys_and_all_must_answer() {
        let key = |n: u8| NodeId::new([n; 32]);
        let view = |n: u8| Some(View { node: key(n).to_string(), ..View::default() });
        let views = [view(1), None, view(3), view(4)];
        assert_eq!(members_of(SwarmId(0), &views, &[key(4), key(1)]).unwrap(), [(0, key(1)), (3, key(4))]);
        let failure = members_of(SwarmId(7), &views, &[key(1), key(2)]).unwrap_err();
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Conflict, "1 of 2 members of swarm 0x0000000000000007 answer")
        );
    }
}
