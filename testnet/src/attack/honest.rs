//! Honest users: messages and questions through real paths, some of which need the victim.
//!
//! | group | the victim is | they |
//! | --- | --- | --- |
//! | [`Group::Swarm`] | a member of the swarm that is written to, and who is asked | write, ask in an open tunnel |
//! | [`Group::Guard`] | the first of their guards | write, ask in an open tunnel, come new and build a path |
//!
//! Messages are an open load, as in a bench: they are due whether those before them are stored or not. Clients of the
//! second group have two other guards, as every client has: what they feel is how well the network does without a node.
//! No other node of the victim's swarm is on their paths: some attacks stop one of these and speak with its key, and a
//! hop that stands still is no attack.

mod asking;
mod newcomers;
mod samples;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use sotto_behaviours::network::WallClock;
use sotto_client::network::guards::{Guard, Guards};
use sotto_proto::account::test_seed;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::time::UnixMillis;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::asking::Asker;
use self::newcomers::Newcomers;
pub use self::samples::{Felt, Group, Measured, Stretch};
pub(super) use self::samples::{Sample, Samples};
use super::Victim;
use crate::bench::{
    LightClient, MessageIds, Network, Outcome, People, Person, Planned, Stamped, Stamper, Tally, person_in, seeded,
    send,
};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;

/// Clients of each group that write, and that ask.
const CLIENTS: usize = 2;
const ASKERS: usize = 2;
/// Accounts that each group writes to.
const RECIPIENTS: usize = 8;
/// Bytes of a message's text.
const SIZE: usize = 512;
/// How long a client may take for its first path, and when it tries again.
const PATHS: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(1100);
/// How long a guard that was drawn is kept: longer than any run.
const KEPT_SECONDS: u64 = 60 * 86_400;
/// Numbers of messages of one batch.
const NUMBERS: usize = 1_000_000;

/// All honest users, between two batches.
pub(super) struct Honest {
    cast: Cast,
    began: UnixMillis,
    batches: usize,
    clients: Vec<LightClient>,
    /// Asks what work is anchored at.
    helper: LightClient,
    askers: Vec<Asker>,
}

/// Who they are.
#[derive(Clone)]
struct Cast {
    network: Arc<Network>,
    seed: u64,
    run: String,
    victim: NodeId,
    /// The other members of its swarm.
    fellows: BTreeSet<NodeId>,
    /// The victim's swarm, and another one.
    swarms: [SwarmId; 2],
}

impl Cast {
    /// A group's swarm: its members live in it and write to it, so that nobody of it is on their paths.
    const fn swarm(&self, group: Group) -> SwarmId {
        let [victim_s, other] = self.swarms;
        match group {
            Group::Swarm => victim_s,
            Group::Guard => other,
        }
    }

    /// `count` accounts of a group.
    fn people(&self, role: &str, group: Group, count: usize) -> Result<Vec<Person>, Failure> {
        let label = format!("attack {role} {} {}", group.name(), self.run);
        let mut seeds = (0..).map(|index| test_seed(self.seed, &label, index));
        (0..count).map(|_| person_in(&self.network, self.swarm(group), &mut seeds)).collect()
    }

    /// A client of a group: the first guard of the second one is the victim.
    fn client(&self, role: &str, group: Group, index: usize) -> Result<LightClient, Failure> {
        let person = self.people(role, group, 1)?.pop().ok_or_else(|| internal("nobody"))?;
        let draws = [format!("{role} {} paths", group.name()), format!("{role} {}", group.name())];
        let draws = draws.map(|label| seeded(self.seed, &label, index));
        let guards = if group == Group::Guard { self.guards() } else { Guards::default() };
        Ok(LightClient::guarded(&self.network, person.swarm, guards, draws).past(self.fellows.clone()))
    }

    fn guards(&self) -> Guards {
        let since = WallClock::system().now().seconds();
        let until = sotto_proto::time::UnixSeconds(since.0.saturating_add(KEPT_SECONDS));
        Guards::new([Guard { node: self.victim, since, until }])
    }
}

impl Honest {
    /// Accounts and clients, with their paths up.
    pub(super) async fn set_up(
        network: &Arc<Network>,
        victim: &Victim,
        plan: &Plan,
        seed: u64,
    ) -> Result<Self, Failure> {
        let began = WallClock::system().now();
        let other = network.swarms().into_iter().find(|swarm| *swarm != victim.swarm);
        let other = other.ok_or_else(|| Failure::new(Exit::Failed, "there is only one swarm"))?;
        let swarms = [victim.swarm, other];
        let fellows = victim.fellows(plan, network).into_iter().map(|(_, node)| node).collect();
        let network = Arc::clone(network);
        let cast = Cast { network, seed, run: began.0.to_string(), victim: victim.node, fellows, swarms };
        let (mut clients, mut askers) = (Vec::new(), Vec::new());
        for group in Group::ALL {
            for index in 0..CLIENTS {
                let mut client = cast.client("writer", group, index)?;
                first_path(&mut client, cast.swarm(group)).await?;
                clients.push(client);
            }
            for index in 0..ASKERS {
                let client = cast.client("asker", group, index)?;
                let members = cast.network.members(cast.swarm(group)).into_iter();
                let asked = members.min_by_key(|member| *member != victim.node || group != Group::Swarm);
                let asked = asked.ok_or_else(|| internal("an empty swarm"))?;
                let mut asker = Asker::new(Arc::clone(&cast.network), client, group, cast.swarm(group), asked);
                first(async || asker.open().await).await?;
                askers.push(asker);
            }
        }
        let helper = cast.client("helper", Group::Swarm, 0)?;
        Ok(Self { cast, began, batches: 0, clients, helper, askers })
    }

    /// Makes the messages of a batch of this length, and begins with them; `wait` is told what has to be waited for.
    pub(super) async fn begin(
        &mut self,
        length: Duration,
        rate: u32,
        wait: impl FnMut(Duration),
    ) -> Result<Load, Failure> {
        let number = self.batches * NUMBERS;
        self.batches += 1;
        let mut people = People { senders: Vec::new(), recipients: Vec::new(), probes: Vec::new() };
        for group in Group::ALL {
            people.senders.extend(self.cast.people("writer", group, CLIENTS)?);
            people.recipients.extend(self.cast.people(&format!("recipient {number}"), group, RECIPIENTS)?);
        }
        let stamper = Arc::new(Stamper {
            network: Arc::clone(&self.cast.network),
            people: Arc::new(people),
            ids: MessageIds::of_run(self.began),
            size: SIZE,
            done: AtomicUsize::new(0),
        });
        let prepared = Box::pin(stamper.prepare(planned(number, length, rate), &mut self.helper, wait)).await?;
        let messages: Vec<Arc<Stamped>> = prepared.messages.into_iter().map(Arc::new).collect();
        let (network, clients, start) =
            (Arc::clone(&self.cast.network), std::mem::take(&mut self.clients), prepared.start);
        let sent = messages.clone();
        let tally = Arc::<Tally>::default();
        let sending = tokio::spawn(async move { Box::pin(send(&network, clients, &sent, start, &tally)).await });
        let (stop, mut asking) = (CancellationToken::new(), JoinSet::new());
        for asker in self.askers.drain(..) {
            asking.spawn(asker.run(stop.clone()));
        }
        let newcomers = Newcomers::new(self.cast.clone(), self.batches);
        let arriving = tokio::spawn(newcomers.run(stop.clone()));
        Ok(Load { start, messages, sending, asking, arriving, stop })
    }

    /// Waits until everything that is under way has ended.
    pub(super) async fn end(&mut self, mut load: Load) -> Result<Samples, Failure> {
        load.stop.cancel();
        let mut samples = Samples::default();
        let (clients, outcomes) = (&mut load.sending).await.map_err(|error| broke(&error))??;
        self.clients = clients;
        for (message, outcome) in load.messages.iter().zip(&outcomes) {
            samples.add(group_of(message.client), Measured::Stored, sample(load.start, message, outcome));
        }
        while let Some(ended) = load.asking.join_next().await {
            let (asker, some) = ended.map_err(|error| broke(&error))?;
            some.into_iter().for_each(|sample| samples.add(asker.group, Measured::Echo, sample));
            self.askers.push(asker);
        }
        for (sample, through_victim) in (&mut load.arriving).await.map_err(|error| broke(&error))? {
            samples.add(Group::Guard, Measured::NewPath, sample);
            let took = sample.took.filter(|_| through_victim);
            samples.add(Group::Guard, Measured::ThroughVictim, Sample { took, ..sample });
        }
        Ok(samples)
    }
}

/// Who has written, and what became of it.
type Sent = Result<(Vec<LightClient>, Vec<Outcome>), Failure>;

/// Honest users at work.
pub(super) struct Load {
    /// When the clock starts.
    pub(super) start: Instant,
    messages: Vec<Arc<Stamped>>,
    sending: JoinHandle<Sent>,
    asking: JoinSet<(Asker, Vec<Sample>)>,
    arriving: JoinHandle<Vec<(Sample, bool)>>,
    stop: CancellationToken,
}

impl Drop for Load {
    /// A run that ends early leaves nobody at work.
    fn drop(&mut self) {
        self.stop.cancel();
        self.sending.abort();
        self.arriving.abort();
    }
}

fn sample(start: Instant, message: &Stamped, outcome: &Outcome) -> Sample {
    Sample { at: start + message.due, took: outcome.stored }
}

/// The groups take turns, and in each of them clients and recipients.
fn planned(first: usize, length: Duration, rate: u32) -> Vec<Planned> {
    let rate = u64::from(rate.max(1));
    let count = length.as_secs_f64() * rate as f64;
    (0..count as usize)
        .map(|place| {
            let (group, turn) = (place % Group::ALL.len(), place / Group::ALL.len());
            Planned {
                number: first + place,
                client: group * CLIENTS + turn % CLIENTS,
                recipient: group * RECIPIENTS + turn % RECIPIENTS,
                due: Duration::from_nanos((place as u64).saturating_mul(1_000_000_000) / rate),
            }
        })
        .collect()
}

fn group_of(client: usize) -> Group {
    if client < CLIENTS { Group::Swarm } else { Group::Guard }
}

async fn first_path(client: &mut LightClient, swarm: SwarmId) -> Result<(), Failure> {
    first(async || client.lane(swarm).await.map(drop).map_err(|error| error.to_string())).await
}

/// Tries until it works, for a while: a guard takes so many builds at once and one a second from then on.
async fn first(mut attempt: impl AsyncFnMut() -> Result<(), String>) -> Result<(), Failure> {
    let until = Instant::now() + PATHS;
    while let Err(reason) = Box::pin(attempt()).await {
        if Instant::now() >= until {
            let failure = Failure::new(Exit::Network, format!("no path: {reason}"));
            return Err(failure.hint("sotto-testnet status    # are all nodes well?"));
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

fn broke(error: &tokio::task::JoinError) -> Failure {
    internal(&format!("an honest client broke: {error}"))
}

fn internal(message: &str) -> Failure {
    Failure::new(Exit::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_groups_write_equally_often_each_to_its_own_recipients() {
        let planned = planned(NUMBERS, Duration::from_secs(2), 20);
        assert_eq!(planned.len(), 40);
        for (place, message) in planned.iter().enumerate() {
            assert_eq!((message.number, message.due), (NUMBERS + place, Duration::from_millis(50) * place as u32));
            assert_eq!(group_of(message.client) as usize, message.recipient / RECIPIENTS);
        }
        assert_eq!(planned.iter().filter(|message| group_of(message.client) == Group::Guard).count(), 20);
        assert!((0..2 * CLIENTS).all(|client| planned.iter().any(|message| message.client == client)));
    }
}
