//! The load: each client sends its messages when they are due, however long those before them take.
//!
//! ```text
//!  schedule ── due ──▶ client (task) ── path to the swarm ──▶ message (task) ──▶ three members ── receipts ──▶ outcome
//!                      one for each client                    waits for one of the path's places; no more than the
//!                                                             messages of the run
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sotto_client::network::storing::{STORED, WANTED};
use sotto_proto::id::NodeId;
use tokio::task::JoinSet;

use super::client::{Lane, LightClient, store};
use super::network::Network;
use super::stamping::Stamped;
use crate::failure::{Exit, Failure};

/// A message that is not stored so long after it was due is given up.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(30);
/// Reasons for failures that are told apart.
const REASONS: usize = 32;
/// Characters of a reason.
const REASON_CHARS: usize = 100;

/// What became of a message. Times count from when it was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The message's place among those of the load.
    pub(crate) place: usize,
    /// How much later than due its sending began: the generator's own delay, and new paths'.
    pub(crate) begun: Duration,
    /// When the second receipt was there.
    pub(crate) stored: Option<Duration>,
    /// When the third was.
    pub(crate) third: Option<Duration>,
    /// Why it is not stored.
    pub(crate) failure: Option<String>,
}

/// How many messages are stored and how many failed so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: AtomicUsize,
    pub(crate) failed: AtomicUsize,
}

/// Sends all messages, from `start` on; returns the clients and what became of each message, in order.
pub(crate) async fn run(
    network: &Arc<Network>,
    clients: Vec<LightClient>,
    messages: &[Arc<Stamped>],
    start: Instant,
    tally: &Arc<Tally>,
) -> Result<(Vec<LightClient>, Vec<Outcome>), Failure> {
    let mut shares: BTreeMap<usize, Vec<(usize, Arc<Stamped>)>> = BTreeMap::new();
    for (place, message) in messages.iter().enumerate() {
        shares.entry(message.client).or_default().push((place, Arc::clone(message)));
    }
    let mut running = Vec::new();
    for (index, client) in clients.into_iter().enumerate() {
        let share = shares.remove(&index).unwrap_or_default();
        let sender = Sender { network: Arc::clone(network), client, start, tally: Arc::clone(tally) };
        running.push(tokio::spawn(sender.send_all(share)));
    }
    let (mut clients, mut outcomes) = (Vec::new(), Vec::new());
    for sender in running {
        let (client, some) = sender.await.map_err(|error| broke(&error))??;
        clients.push(client);
        outcomes.extend(some);
    }
    outcomes.sort_by_key(|outcome| outcome.place);
    Ok((clients, outcomes))
}

/// A client at work.
struct Sender {
    network: Arc<Network>,
    client: LightClient,
    start: Instant,
    tally: Arc<Tally>,
}

impl Sender {
    async fn send_all(mut self, messages: Vec<(usize, Arc<Stamped>)>) -> Result<(LightClient, Vec<Outcome>), Failure> {
        let mut under_way = JoinSet::new();
        let mut outcomes = Vec::with_capacity(messages.len());
        for (place, message) in messages {
            let due = self.start + message.due;
            tokio::time::sleep_until(due.into()).await;
            match self.client.lane(message.swarm).await {
                Ok(lane) => {
                    let members = self.client.members(message.swarm);
                    let (network, tally) = (Arc::clone(&self.network), Arc::clone(&self.tally));
                    under_way.spawn(send(network, lane, message, members, (place, due), tally));
                }
                Err(error) => {
                    self.tally.failed.fetch_add(1, Ordering::Relaxed);
                    let failure = Some(format!("no path: {error}"));
                    outcomes.push(Outcome { place, begun: due.elapsed(), stored: None, third: None, failure });
                }
            }
            while let Some(ended) = under_way.try_join_next() {
                outcomes.push(ended.map_err(|error| broke(&error))?);
            }
        }
        while let Some(ended) = under_way.join_next().await {
            outcomes.push(ended.map_err(|error| broke(&error))?);
        }
        Ok((self.client, outcomes))
    }
}

fn broke(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Internal, format!("a client of the bench broke: {error}"))
}

async fn send(
    network: Arc<Network>,
    lane: Lane,
    message: Arc<Stamped>,
    members: Vec<NodeId>,
    (place, due): (usize, Instant),
    tally: Arc<Tally>,
) -> Outcome {
    let begun = due.elapsed();
    let (mut stored, mut third) = (None, None);
    let attempt = async {
        // Nobody closes the semaphore.
        let _place = lane.places.acquire().await;
        let noted = |receipts| match receipts {
            STORED => {
                stored = Some(due.elapsed());
                tally.stored.fetch_add(1, Ordering::Relaxed);
            }
            WANTED => third = Some(due.elapsed()),
            _ => {}
        };
        store(&network, &lane, &members, &message, noted).await
    };
    let result = tokio::time::timeout_at((due + GIVE_UP).into(), attempt).await;
    let failure = match result {
        _ if stored.is_some() => None,
        Ok(Ok(())) => Some("stored without two receipts".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("not stored {} s after it was due", GIVE_UP.as_secs())),
    };
    if failure.is_some() {
        tally.failed.fetch_add(1, Ordering::Relaxed);
    }
    Outcome { place, begun, stored, third, failure }
}

/// Why messages failed, and how many each time.
pub(crate) fn reasons(outcomes: &[Outcome]) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for reason in outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()) {
        let reason: String = reason.chars().take(REASON_CHARS).collect();
        let known = reasons.len() < REASONS || reasons.contains_key(&reason);
        *reasons.entry(if known { reason } else { "others".to_owned() }).or_default() += 1;
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str) -> Outcome {
        let failure = Some(reason.to_owned());
        Outcome { place: 0, begun: Duration::ZERO, stored: None, third: None, failure }
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut outcomes: Vec<_> = (0..100).map(|number| failed(&format!("reason {number}"))).collect();
        outcomes.extend([failed("reason 0"), failed(&"long ".repeat(100))]);
        let stored = Outcome { failure: None, stored: Some(Duration::ZERO), ..failed("") };
        outcomes.push(stored);
        let reasons = reasons(&outcomes);
        assert_eq!(reasons["reason 0"], 2);
        assert_eq!(reasons.len(), REASONS + 1);
        assert_eq!(reasons.values().sum::<u64>(), 102);
    }
}
