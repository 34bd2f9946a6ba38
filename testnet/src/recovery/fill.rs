//! Storing many records in one swarm, as clients do: sealed and worked for in advance, then through paths, with receipts
//! of two members. Nothing writes into a node's database: what is measured later is what nodes made of real traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_client::network::paths::hop;
use sotto_proto::account::test_seed;
use sotto_proto::id::{RecordId, SwarmId};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::options::Options;
use crate::bench::{
    LightClient, MessageIds, Network, Outcome, People, Person, Planned, Stamped, Stamper, Tally, person_in,
    read_member, seeded, send,
};
use crate::failure::{Exit, Failure};
use crate::supervisor::Report as Steps;

/// Seconds of storing that are prepared at a time: work is good for a few epochs.
const BATCH_SECONDS: usize = 30;
/// Bytes of a record beyond its text, at most: a cell is not filled.
const AROUND: u64 = 2048;
/// A mailbox is filled to this part of its quota: from an eighth on its senders do more work.
const QUOTA_PART: u64 = 16;
/// How long a client may take for its path, and when it tries again.
const PATHS: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(1100);
/// How often progress is told.
const LOOK: Duration = Duration::from_millis(250);

/// What was stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Records with two receipts.
    pub stored: u64,
    /// Records without.
    pub failed: u64,
    /// Bytes of all that were sent.
    pub bytes: u64,
    /// From the first one to the last receipt.
    pub took_s: f64,
}

/// Records of a mailbox, and when they expire.
type Stored = BTreeMap<RecordId, UnixSeconds>;

/// Clients that store in one swarm.
pub(super) struct Filler {
    network: Arc<Network>,
    people: Arc<People>,
    stamper: Arc<Stamper>,
    swarm: SwarmId,
    rate: u32,
    clients: Vec<LightClient>,
    /// Asks what work is anchored at.
    helper: LightClient,
    /// Records with two receipts, of each recipient.
    stored: Vec<Stored>,
    /// The number of the next record.
    next: usize,
}

impl Filler {
    /// Clients with a path each, and mailboxes for as much as will be stored.
    pub(super) async fn set_up(
        network: &Arc<Network>,
        swarm: SwarmId,
        options: &Options,
        began: UnixMillis,
    ) -> Result<Self, Failure> {
        let quota = network.genesis.genesis.params.mailbox_quota / QUOTA_PART;
        let recipients = mailboxes(options, quota);
        let run = began.0.to_string();
        let cast = |role: &str, count: usize| -> Result<Vec<Person>, Failure> {
            let mut seeds = (0..).map(|index| test_seed(options.seed, &format!("recovery {role} {run}"), index));
            (0..count).map(|_| person_in(network, swarm, &mut seeds)).collect()
        };
        let people = People {
            senders: cast("sender", options.clients)?,
            recipients: cast("recipient", recipients)?,
            probes: Vec::new(),
        };
        let client = |role: &str, index| {
            let draws = [format!("recovery {role} paths"), format!("recovery {role}")];
            LightClient::new(network, swarm, draws.map(|label| seeded(options.seed, &label, index)))
        };
        let mut clients: Vec<LightClient> = (0..options.clients).map(|index| client("client", index)).collect();
        for client in &mut clients {
            first_path(client, swarm).await?;
        }
        let people = Arc::new(people);
        let stamper = Stamper {
            network: Arc::clone(network),
            people: Arc::clone(&people),
            ids: MessageIds::of_run(began),
            size: options.size,
            done: AtomicUsize::new(0),
        };
        Ok(Self {
            network: Arc::clone(network),
            people,
            stamper: Arc::new(stamper),
            swarm,
            rate: options.rate,
            clients,
            helper: client("helper", 0),
            stored: vec![Stored::new(); recipients],
            next: 0,
        })
    }

    /// Stores `count` records, spread evenly over the mailboxes.
    pub(super) async fn fill(&mut self, count: usize, label: &str, steps: &Steps) -> Result<Filled, Failure> {
        let batch = usize::try_from(self.rate).unwrap_or(usize::MAX).saturating_mul(BATCH_SECONDS).max(1);
        let (mut filled, mut done) = (Filled::default(), 0);
        while done < count {
            let planned = self.planned(batch.min(count - done));
            done += planned.len();
            let wait = |wait: Duration| {
                let text = format!("waiting {} s for the next block that work is anchored at", wait.as_secs());
                steps.step("work", text);
            };
            let prepared = Box::pin(self.stamper.prepare(planned, &mut self.helper, wait)).await?;
            let messages: Vec<Arc<Stamped>> = prepared.messages.into_iter().map(Arc::new).collect();
            filled.bytes += messages.iter().map(|message| message.record.len() as u64).sum::<u64>();
            let outcomes = self.send(&messages, prepared.start, (label, done), count, steps).await?;
            filled.took_s += prepared.start.elapsed().as_secs_f64();
            let stored = outcomes.iter().filter(|outcome| outcome.stored.is_some());
            let stored: Vec<_> = stored.filter_map(|outcome| messages.get(outcome.place)).collect();
            for message in &stored {
                if let Some(mailbox) = self.stored.get_mut(message.recipient) {
                    mailbox.insert(message.id, message.expiry);
                }
            }
            let stored = stored.len() as u64;
            filled.stored += stored;
            filled.failed += outcomes.len() as u64 - stored;
        }
        let Filled { stored, failed, took_s, .. } = filled;
        steps.step(label, format!("{stored} records stored in swarm 0x{} in {took_s:.1} s, {failed} not", self.swarm));
        Ok(filled)
    }

    async fn send(
        &mut self,
        messages: &[Arc<Stamped>],
        start: Instant,
        (label, done): (&str, usize),
        count: usize,
        steps: &Steps,
    ) -> Result<Vec<Outcome>, Failure> {
        let tally = Arc::<Tally>::default();
        let clients = std::mem::take(&mut self.clients);
        let mut sending = Box::pin(send(&self.network, clients, messages, start, &tally));
        let (clients, outcomes) = loop {
            tokio::select! {
                sent = &mut sending => break sent?,
                () = tokio::time::sleep(LOOK) => {
                    let before = done.saturating_sub(messages.len());
                    steps.current(label, before + tally.stored.load(Ordering::Relaxed), count, "records stored");
                }
            }
        };
        drop(sending);
        self.clients = clients;
        Ok(outcomes)
    }

    /// The next records, each for the next mailbox.
    fn planned(&mut self, count: usize) -> Vec<Planned> {
        let (clients, recipients) = (self.clients.len().max(1), self.stored.len().max(1));
        let first = self.next;
        self.next += count;
        let planned = |place: usize| {
            let number = first + place;
            let due = Duration::from_nanos((place as u64).saturating_mul(1_000_000_000) / u64::from(self.rate.max(1)));
            Planned { number, client: number % clients, recipient: number % recipients, due }
        };
        (0..count).map(planned).collect()
    }

    /// Somebody whose mailbox has records.
    pub(super) fn owner(&self) -> Result<&Person, Failure> {
        self.people.recipients.first().ok_or_else(|| Failure::new(Exit::Internal, "no mailboxes"))
    }

    /// How many of the records are in mailboxes that another swarm than before owns in this network.
    pub(super) fn moved(&self, network: &Network) -> u64 {
        let both = self.people.recipients.iter().zip(&self.stored);
        let moved = both.filter(|(person, _)| network.directory.owner(&person.account.address()) != Some(self.swarm));
        moved.map(|(_, stored)| stored.len() as u64).sum()
    }

    /// How many of the records no member gives out any more of the swarm that owns them in this network. Members are alike
    /// by then: each mailbox is read at one.
    ///
    /// # Errors
    /// [`Exit::Network`] if all members of a swarm are silent.
    pub(super) async fn lost(&self, network: &Arc<Network>, seed: u64) -> Result<u64, Failure> {
        let mut mailboxes: BTreeMap<SwarmId, Vec<(&Person, &Stored)>> = BTreeMap::new();
        for (person, stored) in self.people.recipients.iter().zip(&self.stored) {
            let swarm = network.directory.owner(&person.account.address());
            let swarm = swarm.ok_or_else(|| Failure::new(Exit::Failed, "there is no swarm"))?;
            mailboxes.entry(swarm).or_default().push((person, stored));
        }
        let mut lost = 0;
        for (index, (swarm, mailboxes)) in mailboxes.into_iter().enumerate() {
            let draws = ["recovery check paths", "recovery check"].map(|label| seeded(seed, label, index));
            let mut client = LightClient::new(network, swarm, draws);
            first_path(&mut client, swarm).await?;
            let owners: Vec<&Person> = mailboxes.iter().map(|(person, _)| *person).collect();
            let found = Box::pin(read_at_one(network, &mut client, swarm, &owners)).await?;
            let now = client.clock.now().seconds();
            lost += mailboxes.iter().map(|(_, stored)| missing(stored, &found, now)).sum::<u64>();
        }
        Ok(lost)
    }
}

/// What the first member that answers has for the owners.
async fn read_at_one(
    network: &Network,
    client: &mut LightClient,
    swarm: SwarmId,
    owners: &[&Person],
) -> Result<BTreeSet<RecordId>, Failure> {
    for member in client.members(swarm) {
        let to = hop(network.directory.nodes(), &member);
        if let Some(found) = read_member(network, client, swarm, owners, to).await {
            return Ok(found);
        }
    }
    Err(Failure::new(Exit::Network, format!("no member of swarm 0x{swarm} lets its mailboxes be read"))
        .hint("sotto-testnet status    # are all nodes well?"))
}

/// How many of the stored records are not among those that were found by `now`, though they have not expired.
fn missing(stored: &Stored, found: &BTreeSet<RecordId>, now: UnixSeconds) -> u64 {
    stored.iter().filter(|(id, expiry)| **expiry > now && !found.contains(*id)).count() as u64
}

/// So many mailboxes that none is filled so far that its senders would have to do more work.
fn mailboxes(options: &Options, quota: u64) -> usize {
    let all = options.records.saturating_add(options.missed) as u64;
    let bytes = all.saturating_mul(options.size as u64 + AROUND);
    usize::try_from(bytes / quota.max(1)).unwrap_or(usize::MAX).saturating_add(options.clients)
}

/// Builds a client's path; a guard takes so many builds at once and one a second from then on.
pub(super) async fn first_path(client: &mut LightClient, swarm: SwarmId) -> Result<(), Failure> {
    let until = Instant::now() + PATHS;
    while let Err(error) = client.lane(swarm).await {
        if Instant::now() >= until {
            let failure = Failure::new(Exit::Network, format!("no path: {error}"));
            return Err(failure.hint("sotto-testnet status    # are all nodes well?"));
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::usual;
    use super::*;

    #[test]
    fn one_record_that_is_gone_is_found_among_others_that_came_unless_it_has_expired() {
        let id = |number: u8| RecordId::new([number; 32]);
        let stored: Stored = (1..=3).map(|number| (id(number), UnixSeconds(100 + u64::from(number)))).collect();
        let mut found: BTreeSet<RecordId> = (1..=9).map(id).collect();
        assert_eq!(missing(&stored, &found, UnixSeconds(50)), 0);
        found.remove(&id(2));
        assert_eq!(missing(&stored, &found, UnixSeconds(101)), 1, "eight others make up for nothing");
        assert_eq!(missing(&stored, &found, UnixSeconds(102)), 0, "it has expired");
    }

    #[test]
    fn no_mailbox_is_filled_beyond_its_part_of_the_quota() {
        const QUOTA: u64 = 2 << 20;
        for options in [usual(), Options { records: 100_000, ..usual() }, Options { records: 1, missed: 0, ..usual() }]
        {
            let mailboxes = mailboxes(&options, QUOTA) as u64;
            let each = ((options.records + options.missed) as u64).div_ceil(mailboxes);
            assert!(each * (options.size as u64 + AROUND) <= QUOTA + AROUND, "{mailboxes} mailboxes of {each}");
        }
    }
}
