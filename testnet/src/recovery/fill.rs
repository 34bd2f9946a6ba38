//! Storing many records in one swarm, as clients do: sealed and worked for in advance, then through paths, with receipts
//! of two members. Nothing writes into a node's database: what is measured later is what nodes made of real traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_proto::account::test_seed;
use sotto_proto::id::SwarmId;
use sotto_proto::time::UnixMillis;

use super::options::Options;
use crate::bench::{
    LightClient, MessageIds, Network, Outcome, People, Person, Planned, Stamped, Stamper, Tally, person_in, seeded,
    send,
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
    /// Records sent so far, of each recipient.
    sent: Vec<u64>,
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
            sent: vec![0; recipients],
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
            let stored = outcomes.iter().filter(|outcome| outcome.stored.is_some()).count() as u64;
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
        let (clients, recipients) = (self.clients.len().max(1), self.sent.len().max(1));
        let first = self.next;
        self.next += count;
        let planned = |place: usize| {
            let number = first + place;
            let due = Duration::from_nanos((place as u64).saturating_mul(1_000_000_000) / u64::from(self.rate.max(1)));
            Planned { number, client: number % clients, recipient: number % recipients, due }
        };
        let planned: Vec<Planned> = (0..count).map(planned).collect();
        for message in &planned {
            if let Some(sent) = self.sent.get_mut(message.recipient) {
                *sent += 1;
            }
        }
        planned
    }

    /// Somebody whose mailbox has records.
    pub(super) fn owner(&self) -> Result<&Person, Failure> {
        self.people.recipients.first().ok_or_else(|| Failure::new(Exit::Internal, "no mailboxes"))
    }

    /// How many of the records are in mailboxes that another swarm than before owns in this network.
    pub(super) fn moved(&self, network: &Network) -> u64 {
        let both = self.people.recipients.iter().zip(&self.sent);
        let moved = both.filter(|(person, _)| network.directory.owner(&person.account.address()) != Some(self.swarm));
        moved.map(|(_, sent)| *sent).sum()
    }
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
