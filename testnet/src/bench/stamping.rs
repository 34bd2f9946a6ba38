//! Sealing and proof of work, done before the clock starts.
//!
//! The work is the sender's and would be most of what is measured. Every message is made for the second in which it will
//! be sent, because swarms leave the newest seconds out of what they compare: messages that looked older would make them
//! find differences that no real traffic has.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_client::crypto::{self, SealContext};
use sotto_client::network::lookups::Lookup;
use sotto_client::network::paths::hop;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, ChainId, Height, RecordId, SwarmId};
use sotto_proto::limits::ANCHOR_PERIODS;
use sotto_proto::pow::{self, Difficulty, Nonce, Search, Work};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::client::LightClient;
use super::network::{Network, People};
use super::schedule::Planned;
use crate::failure::{Exit, Failure};

/// Messages that are made to see how long all of them will take.
const TRIED: usize = 32;
/// Between the expected end of the work and the start of the clock.
const LEAD: Duration = Duration::from_secs(2);
/// What the expected length of the work is taken times: the machine may be busier later.
const CAUTION: f64 = 1.3;
/// What is left of an anchor's time when the last message is sent.
const ANCHOR_SPARE: Duration = Duration::from_secs(5);
/// How long records are kept: longer than any run with its checks, and gone soon after.
const TTL_SECONDS: u32 = 1200;
/// A mailbox that is filled to this part of its quota costs its senders more work.
const QUOTA_PART: u64 = 8;

/// A message that is ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Stamped {
    pub(crate) number: usize,
    pub(crate) client: usize,
    pub(crate) recipient: usize,
    pub(crate) due: Duration,
    /// As it is sent.
    pub(crate) record: Vec<u8>,
    pub(crate) id: RecordId,
    pub(crate) address: Address,
    pub(crate) swarm: SwarmId,
    pub(crate) timestamp: UnixSeconds,
    pub(crate) expiry: UnixSeconds,
}

/// Messages that are ready, and when the clock starts for them.
pub(crate) struct Prepared {
    pub(crate) messages: Vec<Stamped>,
    pub(crate) start: Instant,
    /// How long sealing and working took.
    pub(crate) took: Duration,
}

/// Names the messages of one run: eight bytes of the run and the message's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageIds(u64);

impl MessageIds {
    /// Ids of the run that began at this time.
    pub(crate) const fn of_run(began: UnixMillis) -> Self {
        Self(began.0)
    }

    pub(crate) fn id(self, number: usize) -> MessageId {
        let mut bytes = [0; MessageId::LEN];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
        MessageId::new(bytes)
    }

    /// The number of a message of this run; `None` for any other.
    pub(crate) fn number(self, id: &MessageId) -> Option<usize> {
        let (run, number) = id.as_bytes().split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (u64::from_be_bytes(*run) == self.0).then_some(usize::try_from(number).ok()?)
    }
}

/// The block that work is anchored at.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    height: Height,
    hash: BlockHash,
    /// The last final block when it was asked for.
    last_final: Height,
}

/// What messages are made with.
pub(crate) struct Stamper {
    pub(crate) network: Arc<Network>,
    pub(crate) people: Arc<People>,
    pub(crate) ids: MessageIds,
    /// Bytes of the text.
    pub(crate) size: usize,
    pub(crate) done: AtomicUsize,
}

/// What all messages of one batch share.
#[derive(Clone, Copy)]
struct Terms {
    anchor: Anchor,
    difficulty: Difficulty,
    ttl: Ttl,
    /// The network's time when the clock starts.
    start: UnixMillis,
}

impl Stamper {
    /// Seals and works for all of `planned`, with the terms that `client` hears from a node. `wait` is told how long the
    /// next anchor has to be waited for, if it has.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        planned: Vec<Planned>,
        client: &mut LightClient,
        mut wait: impl FnMut(Duration),
    ) -> Result<Prepared, Failure> {
        self.done.store(0, Ordering::Relaxed);
        let mut anchor = self.anchor(client).await?;
        let began = Instant::now();
        let tried: Vec<Planned> = planned.iter().copied().take(TRIED).collect();
        let sample = self.make_all(tried, self.terms(anchor, client.clock.now())?).await?;
        self.check_mailboxes(&planned, &sample)?;
        let work = (began.elapsed() / u32::try_from(sample.len().max(1)).unwrap_or(u32::MAX))
            .mul_f64(planned.len() as f64 * CAUTION);
        let last = planned.last().map_or(Duration::ZERO, |planned| planned.due);
        let needed = work + LEAD + last + ANCHOR_SPARE;
        if needed > self.good_for(anchor) {
            let next = self.next_anchor_in(anchor, needed)?;
            wait(next);
            tokio::time::sleep(next).await;
            anchor = self.anchor(client).await?;
        }
        self.done.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let start = began + work + LEAD;
        let network_start = UnixMillis(client.clock.now().0.saturating_add(whole_ms(work + LEAD)));
        let messages = self.make_all(planned, self.terms(anchor, network_start)?).await?;
        // On a machine that became busier the clock starts later than the messages say, which nobody minds.
        Ok(Prepared { messages, start: start.max(Instant::now() + LEAD / 4), took: began.elapsed() })
    }

    /// Asks a node for time, height and the header of the anchor.
    async fn anchor(&self, client: &mut LightClient) -> Result<Anchor, Failure> {
        let network = &self.network;
        let swarm = network.swarms().first().copied().ok_or_else(|| unusable("the network has no swarm"))?;
        let lane = client.lane(swarm).await.map_err(|error| unusable(&error.to_string()))?;
        let members = client.members(swarm);
        let mut last = String::from("the swarm has no members");
        for to in members.iter().filter_map(|node| hop(network.directory.nodes(), node)) {
            match self.ask_anchor(&lane.path, to, client).await {
                Ok(anchor) => return Ok(anchor),
                Err(reason) => last = reason,
            }
        }
        client.leave(swarm);
        Err(unusable(&last))
    }

    async fn ask_anchor(&self, path: &Path, to: HopInfo, client: &LightClient) -> Result<Anchor, String> {
        let genesis = &self.network.genesis.genesis;
        let asked = Lookup::connect(path, to, &client.clock).await;
        let (mut lookup, info) = asked.map_err(|error| error.to_string())?;
        let last_final = info.final_height;
        let height = pow::anchor(last_final, genesis.params.epoch_blocks);
        if height == Height::ZERO {
            return Ok(Anchor { height, hash: self.network.chain.into(), last_final });
        }
        let header = lookup.header(height).await.map_err(|error| error.to_string())?;
        if !header.verify(&self.network.chain, &genesis.authority, &Ed25519) {
            return Err(format!("{} sent a forged header", to.node.short()));
        }
        Ok(Anchor { height, hash: header.hash(&self.network.chain), last_final })
    }

    /// How long nodes take work at this anchor, from when it was asked for.
    fn good_for(&self, anchor: Anchor) -> Duration {
        let params = &self.network.genesis.genesis.params;
        let until = anchor.height.plus(params.epoch_blocks.saturating_mul(ANCHOR_PERIODS));
        blocks(until.0.saturating_sub(anchor.last_final.0), params.block_time_ms)
    }

    /// How long the next anchor has to be waited for.
    fn next_anchor_in(&self, anchor: Anchor, needed: Duration) -> Result<Duration, Failure> {
        let params = &self.network.genesis.genesis.params;
        let longest = blocks(params.epoch_blocks.saturating_mul(ANCHOR_PERIODS), params.block_time_ms);
        if needed > longest {
            let message = format!(
                "work done in advance is good for {longest:?} here, and the run with its preparation takes {needed:?}"
            );
            return Err(Failure::new(Exit::Usage, message).hint("fewer --seconds, or a lower --rate"));
        }
        let next = anchor.height.plus(params.epoch_blocks);
        Ok(blocks(next.0.saturating_sub(anchor.last_final.0).saturating_add(2), params.block_time_ms))
    }

    fn terms(&self, anchor: Anchor, start: UnixMillis) -> Result<Terms, Failure> {
        let impossible = || Failure::new(Exit::Internal, "the genesis asks for work that cannot be done");
        let difficulty = u32::try_from(self.network.genesis.genesis.params.min_difficulty).ok();
        let difficulty = difficulty.and_then(Difficulty::new).ok_or_else(impossible)?;
        let ttl = Ttl::new(TTL_SECONDS).ok_or_else(impossible)?;
        Ok(Terms { anchor, difficulty, ttl, start })
    }

    /// A mailbox that fills up costs more work than was done.
    fn check_mailboxes(&self, planned: &[Planned], sample: &[Stamped]) -> Result<(), Failure> {
        let mut counts = vec![0_u64; self.people.recipients.len()];
        for message in planned {
            if let Some(count) = counts.get_mut(message.recipient) {
                *count += 1;
            }
        }
        let most = counts.into_iter().max().unwrap_or_default();
        let bytes = sample.first().map_or(0, |message| message.record.len() as u64).saturating_mul(most);
        let room = self.network.genesis.genesis.params.mailbox_quota / QUOTA_PART;
        if bytes < room {
            return Ok(());
        }
        let message = format!("{most} messages fill a mailbox so far that nodes ask for more work");
        let hint = "more --recipients, a smaller --size or --catch-up, or fewer --seconds";
        Err(Failure::new(Exit::Usage, message).hint(hint))
    }

    /// Makes messages on all cores, beside the runtime.
    async fn make_all(self: &Arc<Self>, planned: Vec<Planned>, terms: Terms) -> Result<Vec<Stamped>, Failure> {
        let stamper = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || stamper.make_on_all_cores(&planned, terms));
        made.await.map_err(|error| Failure::new(Exit::Internal, format!("the preparation ended: {error}")))?
    }

    fn make_on_all_cores(&self, planned: &[Planned], terms: Terms) -> Result<Vec<Stamped>, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = planned.len().div_ceil(cores).max(1);
        let make_share = |some: &[Planned]| -> Result<Vec<Stamped>, Failure> {
            let mut rng = random()?;
            some.iter().map(|planned| self.make(planned, terms, &mut rng)).collect()
        };
        std::thread::scope(|scope| {
            let shares: Vec<_> = planned.chunks(share).map(|some| scope.spawn(move || make_share(some))).collect();
            let mut all = Vec::with_capacity(planned.len());
            for share in shares {
                let made = share.join().map_err(|_| Failure::new(Exit::Internal, "the preparation broke"))?;
                all.extend(made?);
            }
            Ok(all)
        })
    }

    fn make(&self, planned: &Planned, terms: Terms, rng: &mut ChaCha20Rng) -> Result<Stamped, Failure> {
        let wrong = |error: &dyn std::error::Error| Failure::new(Exit::Internal, format!("no message: {error}"));
        let nobody = || Failure::new(Exit::Internal, "a message from or to nobody");
        let sender = self.people.senders.get(planned.client).ok_or_else(nobody)?;
        let recipient = self.people.recipients.get(planned.recipient).ok_or_else(nobody)?;
        let (chain, address): (ChainId, Address) = (self.network.chain, recipient.account.address());
        let sent = UnixMillis(terms.start.0.saturating_add(whole_ms(planned.due)));
        let text = Text::new("x".repeat(self.size)).map_err(|error| wrong(&error))?;
        let content = Content::new(self.ids.id(planned.number), sent, Body::Text(text));
        let context = SealContext { chain: &chain, address, timestamp: sent.seconds(), ttl: terms.ttl };
        let data = crypto::seal(&context, &sender.account, content, rng).map_err(|error| wrong(&error))?;
        let envelope = Envelope::new(address, context.timestamp, terms.ttl, terms.anchor.height, data)
            .map_err(|error| wrong(&error))?;
        let (id, expiry) = (envelope.id(&chain), envelope.expiry());
        let work = Work::new(&envelope, &terms.anchor.hash);
        let start = Nonce(rng.next_u64());
        let nonce = work.prove_on(NonZeroUsize::MIN, terms.difficulty, start, &Search::new());
        let nonce = nonce.map_err(|error| wrong(&error))?;
        let record = Record::new(envelope, nonce, None).map_err(|error| wrong(&error))?.encode();
        self.done.fetch_add(1, Ordering::Relaxed);
        let Planned { number, client, recipient: place, due } = *planned;
        let (swarm, timestamp) = (recipient.swarm, context.timestamp);
        Ok(Stamped { number, client, recipient: place, due, record, id, address, swarm, timestamp, expiry })
    }
}

/// Keys of seals are nobody's to repeat, whatever the seed.
pub(crate) fn random() -> Result<ChaCha20Rng, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::new(Exit::Failed, format!("no randomness from the operating system: {error}")))?;
    Ok(ChaCha20Rng::from_seed(seed))
}

fn blocks(count: u64, block_time_ms: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(block_time_ms))
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unusable(reason: &str) -> Failure {
    Failure::new(Exit::Network, format!("the network does not say what work is anchored at: {reason}"))
        .hint("sotto-testnet status    # are all nodes well?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_run_and_its_number() {
        let ids = MessageIds::of_run(UnixMillis(1_790_000_000_123));
        for number in [0, 1, 15_000, usize::MAX] {
            assert_eq!(ids.number(&ids.id(number)), Some(number));
        }
        assert_eq!(MessageIds::of_run(UnixMillis(7)).number(&ids.id(3)), None);
    }
}
