//! Sending: seal, work, store at three members of the recipient's swarm, keep their receipts.

use std::cell::Cell;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand_core::Rng as _;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::envelope::{Envelope, Record};
use sotto_proto::id::{BlockHash, ChainId, Height, NodeId, RecordId, SwarmId};
use sotto_proto::limits::TIMESTAMP_PAST_SECONDS;
use sotto_proto::pow::{self, Difficulty, Nonce, Search, Work};
use sotto_proto::request::{PublishOrder, SwarmRequest, SwarmResponse};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::UnixMillis;

use super::{Error, Messenger};
use crate::crypto::{self, SealContext};
use crate::network::lookups::Lookup;
use crate::network::paths::{Purpose, hop};
use crate::network::shuffle;
use crate::network::storing::{self, MemberError, Stored, WANTED};
use crate::store::{OutboxMessage, OutboxState, StoredReceipt};

/// Rounds of sealing and storing: more work once or twice, a newer list once, another path once.
const ROUNDS: usize = 6;
/// How long three members may take.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// Members that are asked for time and height at once; three answers are enough.
const ASKED: usize = 5;
/// How long the second and third answer are waited for after the first.
const OTHERS_WAIT: Duration = Duration::from_millis(150);
/// A worked envelope this close to the end of its time is made anew.
const TIME_LEFT: u64 = 60;
/// When a message that could not be stored is tried again, doubled with each attempt, up to an hour.
const RETRY: Duration = Duration::from_secs(10);

/// How a message's way goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The path is up.
    Path {
        /// Its hops.
        hops: [NodeId; 3],
    },
    /// The proof of work is searched for.
    Work {
        /// The difficulty.
        difficulty: u32,
        /// How many trials it takes on average.
        expected: u64,
    },
    /// It was found.
    Worked {
        /// In so much time.
        took: Duration,
    },
    /// A member gave its receipt.
    Stored {
        /// So many did.
        receipts: usize,
        /// So many are wanted.
        wanted: usize,
    },
}

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub id: MessageId,
    /// The record that carries it.
    pub record: RecordId,
    /// The swarm that keeps it.
    pub swarm: SwarmId,
    /// Members with receipts.
    pub members: Vec<NodeId>,
    /// The path it took.
    pub hops: [NodeId; 3],
    /// How long its work took; zero if it had been done before.
    pub work: Duration,
}

/// What the network says that an envelope is made with.
struct Terms {
    now: UnixMillis,
    anchor: Height,
    anchor_hash: BlockHash,
}

impl Messenger {
    /// Sends a message of the outbox. It stays there until it is stored, and may be sent again after any failure.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn send(&mut self, id: &MessageId, mut progress: impl FnMut(Progress)) -> Result<Sent, Error> {
        let message = self.account.store.outbox_message(id)?.ok_or_else(|| Error::NoMessage(id.to_string()))?;
        let result = self.send_rounds(message, &mut progress).await;
        match &result {
            Ok(_) => {}
            Err(Error::Unsendable(reason)) => self.account.store.set_failed(id, reason)?,
            Err(error) => self.note_failure(id, error)?,
        }
        result
    }

    /// Sends everything that waits and is due, oldest first. Returns how many are stored now and how many still wait.
    ///
    /// # Errors
    /// Those of the store; what fails on the network waits for the next time.
    pub async fn send_pending(&mut self, limit: usize) -> Result<(usize, usize), Error> {
        let now = self.clock.own().wall;
        let pending = self.account.store.pending(limit)?;
        let (mut stored, mut waiting) = (0, 0);
        for message in pending {
            if message.retry_at > now {
                waiting += 1;
                continue;
            }
            match self.send(&message.id, |_| ()).await {
                Ok(_) => stored += 1,
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "a message waits");
                    waiting += 1;
                }
            }
        }
        Ok((stored, waiting))
    }

    fn note_failure(&mut self, id: &MessageId, error: &Error) -> Result<(), Error> {
        let attempts = self.account.store.outbox_message(id)?.map_or(0, |message| message.attempts);
        let wait = RETRY.saturating_mul(1 << attempts.min(9)).min(Duration::from_secs(3600));
        let at = self.clock.own().wall.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Ok(self.account.store.note_attempt(id, UnixMillis(at), &error.to_string())?)
    }

    async fn send_rounds(
        &mut self,
        mut message: OutboxMessage,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Sent, Error> {
        self.refresh_if_needed().await?;
        let mut difficulty = self.genesis.genesis.params.min_difficulty;
        let mut took = Duration::ZERO;
        let mut last = None;
        for _ in 0..ROUNDS {
            let swarm = self.directory.owner(&message.recipient).ok_or(Error::NoOwner)?;
            let avoid = self.avoid([swarm])?;
            let path = self.path_without(Purpose::Send, &avoid).await?;
            let hops = path.hops().map(|hop| hop.node);
            progress(Progress::Path { hops });
            let mut members = self.directory.members(swarm).to_vec();
            shuffle(&mut self.rng, &mut members);
            let record = match self.reusable(&message) {
                Some(record) => record,
                None => {
                    let terms = self.terms(&path, &members).await?;
                    let (record, work) = self.make(&message, &terms, difficulty, progress).await?;
                    took += work;
                    let record_id = record.envelope().id(&self.chain);
                    self.account.store.set_worked(&message.id, &record_id, &record)?;
                    record
                }
            };
            let record_id = record.envelope().id(&self.chain);
            match self.store_record(&message.id, &path, &members, &record, progress).await? {
                Ok(stored) => {
                    let members = stored.receipts.into_iter().map(|(node, _)| node).collect();
                    return Ok(Sent { id: message.id, record: record_id, swarm, members, hops, work: took });
                }
                Err(error) => {
                    tracing::debug!(%error, "not stored yet");
                    match &error {
                        storing::StoreError::Work { difficulty: wanted } => difficulty = u64::from(*wanted),
                        storing::StoreError::Swarm { .. } => self.refresh().await?,
                        storing::StoreError::Time | storing::StoreError::Nobody => {}
                        storing::StoreError::TooFew { .. } => self.rotate(Purpose::Send),
                    }
                    // More work or another time need another envelope; for a swarm or a path the old one serves.
                    let keeps = matches!(error, storing::StoreError::Swarm { .. } | storing::StoreError::TooFew { .. });
                    message.record = keeps.then_some(record);
                    last = Some(error);
                }
            }
        }
        Err(last.map_or(Error::NoOwner, Error::NotStored))
    }

    /// The envelope of an earlier try, while its time is good.
    fn reusable(&self, message: &OutboxMessage) -> Option<Record> {
        let record = message.record.clone().filter(|_| message.state != OutboxState::Stored)?;
        let (made, now) = (record.envelope().timestamp(), self.clock.now().seconds());
        (now.0 + TIME_LEFT < made.0 + TIMESTAMP_PAST_SECONDS && made.0 <= now.0 + TIME_LEFT).then_some(record)
    }

    /// Asks three members for time and final height, and one of them for the anchor's header.
    async fn terms(&mut self, path: &Path, members: &[NodeId]) -> Result<Terms, Error> {
        let hops: Vec<_> = members.iter().filter_map(|node| hop(self.directory.nodes(), node)).collect();
        let (mut lookups, mut finals) = (Vec::new(), Vec::new());
        let mut last = None;
        for some in hops.chunks(ASKED) {
            let clock = &self.clock;
            let mut pending: FuturesUnordered<_> = some.iter().map(|to| Lookup::connect(path, *to, clock)).collect();
            // Whoever is slow is not waited for once somebody has answered.
            let mut until = None;
            while lookups.len() < WANTED {
                let answer = match until {
                    Some(until) => tokio::time::timeout_at(until, pending.next()).await.ok().flatten(),
                    None => pending.next().await,
                };
                match answer {
                    Some(Ok((lookup, info))) => {
                        finals.push(info.final_height);
                        lookups.push(lookup);
                        until.get_or_insert_with(|| tokio::time::Instant::now() + OTHERS_WAIT);
                    }
                    Some(Err(error)) => last = Some(error),
                    None => break,
                }
            }
            if !lookups.is_empty() {
                break;
            }
        }
        finals.sort_unstable();
        // The lower median: neither one that is behind nor one that makes up a height decides.
        let Some(last_final) = finals.get(finals.len().saturating_sub(1) / 2) else {
            return Err(last.map_or(Error::NoOwner, Error::Lookup));
        };
        let params = &self.genesis.genesis.params;
        let anchor = pow::anchor(*last_final, params.epoch_blocks);
        if anchor == Height::ZERO {
            return Ok(Terms { now: self.clock.now(), anchor, anchor_hash: self.chain.into() });
        }
        for lookup in &mut lookups {
            match lookup.header(anchor).await {
                Ok(header) if header.verify(&self.chain, &self.genesis.genesis.authority, &Ed25519) => {
                    return Ok(Terms { now: self.clock.now(), anchor, anchor_hash: header.hash(&self.chain) });
                }
                Ok(_) => tracing::debug!(node = lookup.node().short(), "a forged header"),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(Error::NoOwner, Error::Lookup))
    }

    /// Seals the message and does its work.
    async fn make(
        &mut self,
        message: &OutboxMessage,
        terms: &Terms,
        difficulty: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(Record, Duration), Error> {
        let context = SealContext {
            chain: &self.chain,
            address: message.recipient,
            timestamp: terms.now.seconds(),
            ttl: message.ttl,
        };
        let data = crypto::seal(&context, self.account.account(), message.content.clone(), &mut self.rng)
            .map_err(|error| Error::Unsendable(error.to_string()))?;
        let envelope = Envelope::new(message.recipient, context.timestamp, message.ttl, terms.anchor, data)
            .map_err(|error| Error::Unsendable(error.to_string()))?;
        let difficulty = u32::try_from(difficulty).ok().and_then(Difficulty::new);
        let difficulty = difficulty.ok_or_else(|| Error::Unsendable("no difficulty".into()))?;
        let work = Work::new(&envelope, &terms.anchor_hash);
        let expected = work.target(difficulty).expected_attempts();
        progress(Progress::Work { difficulty: difficulty.get(), expected });
        let start = Nonce(self.rng.next_u64());
        let (nonce, took) = prove(work, difficulty, start).await?;
        progress(Progress::Worked { took });
        let record = Record::new(envelope, nonce, None).map_err(|error| Error::Unsendable(error.to_string()))?;
        Ok((record, took))
    }

    /// Stores at the members, and keeps each receipt as it comes.
    async fn store_record(
        &mut self,
        id: &MessageId,
        path: &Path,
        members: &[NodeId],
        record: &Record,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Result<Stored<StoredReceipt>, storing::StoreError>, Error> {
        let (chain, nodes) = (self.chain, self.directory.nodes().clone());
        let expected = Expected {
            chain,
            address: record.envelope().address(),
            id: record.envelope().id(&chain),
            expiry: record.envelope().expiry(),
        };
        let bytes = record.encode();
        let failed = Cell::new(None);
        let store = &mut self.account.store;
        let result = storing::store(
            members,
            STORE_PATIENCE,
            |node, order| {
                let (to, bytes, expected) = (hop(&nodes, &node), bytes.clone(), &expected);
                async move { ask(path, to, bytes, order, expected).await }
            },
            |receipt, receipts| {
                if let Err(error) = store.add_receipt(id, receipt) {
                    failed.set(Some(error));
                }
                progress(Progress::Stored { receipts, wanted: WANTED });
            },
        )
        .await;
        match failed.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok(result),
        }
    }
}

/// What a receipt must be about.
struct Expected {
    chain: ChainId,
    address: Address,
    id: RecordId,
    expiry: sotto_proto::time::UnixSeconds,
}

async fn ask(
    path: &Path,
    to: Option<HopInfo>,
    record: Vec<u8>,
    publish_order: PublishOrder,
    expected: &Expected,
) -> Result<StoredReceipt, MemberError> {
    let to = to.ok_or(MemberError::Nonsense("not in the list"))?;
    let unreachable = |error: sotto_behaviours::tunnel::client::Error| MemberError::Unreachable(error.to_string());
    let request = SwarmRequest::Store { record, publish_order };
    let (tunnel, answer) = Tunnel::connect(path, to, Some(request)).await.map_err(unreachable)?;
    tunnel.close();
    match answer {
        Some(SwarmResponse::Stored { receipt, signature }) => {
            let fits = receipt.node == to.node
                && receipt.address == expected.address
                && receipt.id == expected.id
                && receipt.expiry == expected.expiry;
            if fits && receipt.verify(&expected.chain, &signature, &Ed25519) {
                Ok(StoredReceipt { receipt, signature })
            } else {
                Err(MemberError::Nonsense("the receipt does not hold"))
            }
        }
        Some(SwarmResponse::Error(error)) => Err(MemberError::Refused(error)),
        _ => Err(MemberError::Nonsense("not an answer to a store")),
    }
}

/// Searches on all cores, beside the runtime. Dropped, the search ends.
async fn prove(work: Work, difficulty: Difficulty, start: Nonce) -> Result<(Nonce, Duration), Error> {
    struct Cancel(std::sync::Arc<Search>);
    impl Drop for Cancel {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let search = Cancel(std::sync::Arc::new(Search::new()));
    let shared = std::sync::Arc::clone(&search.0);
    let began = std::time::Instant::now();
    let found = tokio::task::spawn_blocking(move || work.prove(difficulty, start, &shared)).await;
    let nonce = found
        .map_err(|error| Error::Unsendable(format!("the search for the proof of work ended: {error}")))?
        .map_err(|error| Error::Unsendable(error.to_string()))?;
    Ok((nonce, began.elapsed()))
}
