//! Users at work while swarms change: whole messengers with encrypted stores, each on a thread of its own. Some write,
//! little and steadily; the others ask for their mail again and again, and every question counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_client::messenger::Messenger;
use sotto_client::store::{NewMessage, OpenAccount};
use sotto_proto::account::test_seed;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::id::SwarmId;
use sotto_proto::time::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{
    Devices, Latency, MessageIds, Network, Person, Running, messenger, messenger_failed, number, on_a_thread, person_in,
};
use crate::failure::{Exit, Failure};

/// Users that ask, and how often each does.
const READERS: usize = 8;
const READ: Duration = Duration::from_millis(200);
/// Users that write, and how often each does.
const WRITERS: usize = 2;
const WRITE: Duration = Duration::from_millis(500);
/// How long messages are kept.
const TTL_SECONDS: u32 = 1200;
/// How long all readers may take for their first answer, and how long a user may take to end.
const COME: Duration = Duration::from_secs(60);
const GO: Duration = Duration::from_secs(120);
/// How long readers may take, once nobody writes any more, until they have everything: longer than a node list is fresh on
/// testnets, so that whoever asks the wrong swarm until then is late, and not without his mail for ever.
const LAST: Duration = Duration::from_secs(100);
const LOOK: Duration = Duration::from_millis(100);
/// Reasons for failures that are kept, and characters of each.
const REASONS: usize = 8;
const REASON_CHARS: usize = 100;

/// What came of questions for mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reads {
    /// Questions that were answered.
    pub worked: u64,
    /// Questions that nobody answered.
    pub failed: u64,
    /// Why.
    pub failures: BTreeMap<String, u64>,
    /// How long the median answer took.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl Reads {
    /// The part of them that worked; 0 if there were none.
    #[must_use]
    pub fn share(&self) -> f64 {
        let all = self.worked + self.failed;
        if all == 0 { 0.0 } else { self.worked as f64 / all as f64 }
    }

    /// Those of `reads` that began between these moments.
    fn of(reads: &[Read], from: Instant, until: Instant) -> Self {
        let mut found = Self::default();
        let mut times = Vec::new();
        for read in reads.iter().filter(|read| (from..=until).contains(&read.began)) {
            match &read.result {
                Ok(took) => times.push(*took),
                Err(reason) => {
                    found.failed += 1;
                    let known = found.failures.len() < REASONS || found.failures.contains_key(reason);
                    let reason = if known { reason.clone() } else { "others".to_owned() };
                    *found.failures.entry(reason).or_default() += 1;
                }
            }
        }
        found.worked = times.len() as u64;
        let times = Latency::of(times);
        Self { p50_ms: times.p50_ms, p99_ms: times.p99_ms, ..found }
    }
}

/// A question for mail.
#[derive(Clone, Debug)]
struct Read {
    began: Instant,
    /// How long the answer took, or why there is none.
    result: Result<Duration, String>,
}

/// What all users did.
pub(super) struct Done {
    reads: Vec<Read>,
    /// Messages that are stored.
    pub(super) stored: u64,
    /// Attempts to store one that failed.
    pub(super) unsent: u64,
    /// Stored messages that their reader never got.
    pub(super) unread: u64,
}

impl Done {
    /// Questions that began between these moments.
    pub(super) fn reads(&self, from: Instant, until: Instant) -> Reads {
        Reads::of(&self.reads, from, until)
    }
}

/// What users share.
#[derive(Clone)]
struct Common {
    network: Arc<Network>,
    ids: MessageIds,
    next: Arc<AtomicUsize>,
    /// Messages that readers got.
    got: Arc<AtomicUsize>,
    /// Readers that had an answer.
    answered: Arc<watch::Sender<usize>>,
}

/// What a writer did.
#[derive(Debug, Default)]
struct Written {
    stored: BTreeSet<usize>,
    unsent: u64,
}

/// Users at work.
pub(super) struct Users {
    common: Common,
    readers: Vec<Running<(Vec<Read>, BTreeSet<usize>)>>,
    writers: Vec<Running<Written>>,
    /// Dropped, they end.
    stop_readers: DropGuard,
    stop_writers: DropGuard,
}

impl Users {
    /// Begins: all of them have their mail in this swarm. Returns when every reader had an answer.
    pub(super) async fn begin(
        network: &Arc<Network>,
        swarm: SwarmId,
        devices: &Devices,
        (seed, began): (u64, UnixMillis),
    ) -> Result<Self, Failure> {
        let cast = |role: &str, count: usize| -> Result<Vec<Person>, Failure> {
            let mut seeds = (0..).map(|index| test_seed(seed, &format!("recovery {role} {}", began.0), index));
            (0..count).map(|_| person_in(network, swarm, &mut seeds)).collect()
        };
        let (readers, writers) = (cast("reader", READERS)?, cast("writer", WRITERS)?);
        let common = Common {
            network: Arc::clone(network),
            // Others than those of the records that were stored before.
            ids: MessageIds::of_run(UnixMillis(began.0.saturating_add(1))),
            next: Arc::default(),
            got: Arc::default(),
            answered: Arc::new(watch::channel(0).0),
        };
        let (stop_readers, stop_writers) = (CancellationToken::new(), CancellationToken::new());
        let mut users = Self {
            common: common.clone(),
            readers: Vec::new(),
            writers: Vec::new(),
            stop_readers: stop_readers.clone().drop_guard(),
            stop_writers: stop_writers.clone().drop_guard(),
        };
        for (index, person) in readers.iter().enumerate() {
            let account = devices.device(network, person, &format!("reader{index}"))?;
            let (common, stop) = (common.clone(), stop_readers.clone());
            users.readers.push(on_a_thread(&format!("reader{index}"), move || async move {
                Box::pin(read(common, account, stop)).await
            })?);
        }
        users.come().await?;
        let addresses: Arc<[Address]> = readers.iter().map(|person| person.account.address()).collect();
        for (index, person) in writers.iter().enumerate() {
            let account = devices.device(network, person, &format!("writer{index}"))?;
            let (common, addresses, stop) = (common.clone(), Arc::clone(&addresses), stop_writers.clone());
            users.writers.push(on_a_thread(&format!("writer{index}"), move || async move {
                let messenger = messenger(&common.network, account).await?;
                Box::pin(write(common, messenger, addresses, stop)).await
            })?);
        }
        Ok(users)
    }

    async fn come(&self) -> Result<(), Failure> {
        let mut answered = self.common.answered.subscribe();
        let all = answered.wait_for(|count| *count >= READERS);
        if tokio::time::timeout(COME, all).await.is_err() {
            let message = format!("not all of {READERS} readers have had an answer after {COME:?}");
            return Err(Failure::new(Exit::Timeout, message).hint("sotto-testnet status    # are all nodes well?"));
        }
        Ok(())
    }

    /// Ends the writers; the readers once they have everything, or patience is over.
    pub(super) async fn end(self) -> Result<Done, Failure> {
        drop(self.stop_writers);
        let mut written = Written::default();
        for writer in self.writers {
            let one = writer.result(GO).await?;
            written.stored.extend(one.stored);
            written.unsent += one.unsent;
        }
        let until = Instant::now() + LAST;
        while self.common.got.load(Ordering::Relaxed) < written.stored.len() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        drop(self.stop_readers);
        let (mut reads, mut got) = (Vec::new(), BTreeSet::new());
        for reader in self.readers {
            let (some, numbers) = reader.result(GO).await?;
            reads.extend(some);
            got.extend(numbers);
        }
        let unread = written.stored.difference(&got).count() as u64;
        Ok(Done { reads, stored: written.stored.len() as u64, unsent: written.unsent, unread })
    }
}

fn every(time: Duration) -> Interval {
    let mut ticks = tokio::time::interval(time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Asks for mail, again and again.
async fn read(
    common: Common,
    account: OpenAccount,
    stop: CancellationToken,
) -> Result<(Vec<Read>, BTreeSet<usize>), Failure> {
    let mut messenger = messenger(&common.network, account).await?;
    let (mut reads, mut got, mut ticks) = (Vec::new(), BTreeSet::new(), every(READ));
    let mut had_an_answer = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let began = Instant::now();
        let result = match Box::pin(messenger.receive()).await {
            Ok(received) => {
                got.extend(received.messages.iter().filter_map(|message| number(message, common.ids)));
                common.got.fetch_add(received.messages.len(), Ordering::Relaxed);
                if !std::mem::replace(&mut had_an_answer, true) {
                    common.answered.send_modify(|count| *count += 1);
                }
                Ok(began.elapsed())
            }
            Err(error) => Err(error.to_string().chars().take(REASON_CHARS).collect()),
        };
        reads.push(Read { began, result });
    }
    Ok((reads, got))
}

/// Writes to the readers in turn.
async fn write(
    common: Common,
    mut messenger: Messenger,
    addresses: Arc<[Address]>,
    stop: CancellationToken,
) -> Result<Written, Failure> {
    let (mut written, mut ticks) = (Written::default(), every(WRITE));
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let message = common.next.fetch_add(1, Ordering::Relaxed);
        let recipient = addresses.get(message % addresses.len().max(1));
        let recipient = *recipient.ok_or_else(|| broken(&"nobody to write to"))?;
        let now = messenger.clock().now();
        let text = Text::new(format!("message {message}")).map_err(|error| broken(&error))?;
        let ttl = Ttl::new(TTL_SECONDS).ok_or_else(|| broken(&"no such time to live"))?;
        let content = Content::new(common.ids.id(message), now, Body::Text(text));
        let new = NewMessage::plain(recipient, content, ttl, now);
        messenger.account_mut().store.enqueue(&new).map_err(|error| messenger_failed(&error))?;
        match Box::pin(messenger.send(&common.ids.id(message), |_| ())).await {
            Ok(_) => {
                written.stored.insert(message);
            }
            // Another message is worth more here than this one once more.
            Err(_) => written.unsent += 1,
        }
    }
    Ok(written)
}

fn broken(reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("a writer: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_counted_by_when_they_began_and_by_why_they_failed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let worked = |ms| Read { began: at(ms), result: Ok(Duration::from_millis(20)) };
        let failed = |ms, reason: &str| Read { began: at(ms), result: Err(reason.to_owned()) };
        let mut reads = vec![worked(0), worked(100), failed(150, "no path"), worked(200), failed(300, "no path")];
        let found = Reads::of(&reads, at(100), at(200));
        assert_eq!((found.worked, found.failed), (2, 1));
        assert_eq!(found.failures, BTreeMap::from([("no path".to_owned(), 1)]));
        assert!((found.share() - 2.0 / 3.0).abs() < 1e-9 && (found.p50_ms - 20.0).abs() < 0.1, "{found:?}");
        reads.extend((0..100).map(|n| failed(150, &format!("reason {n}"))));
        let found = Reads::of(&reads, at(0), at(1000));
        assert_eq!((found.failures.len(), found.failures.values().sum::<u64>()), (REASONS + 1, 102));
        assert_eq!(Reads::of(&[], at(0), at(1)).share(), 0.0);
    }
}
