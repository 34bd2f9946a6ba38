//! Sending: seal, work, store at three members of the swarm that keeps the recipient's mail, keep their receipts. A message
//! to a contact was encrypted when it was queued, and goes to the mailbox of its session; all others go to the inbox.
//!
//! The members that tell time and height first are those that are asked to store, in the tunnels that are open already:
//! whoever is frozen is not among them, and no tunnel is built while the sender waits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_proto::content::MessageId;
use sotto_proto::envelope::{Envelope, Record};
use sotto_proto::id::{NodeId, RecordId, SwarmId};
use sotto_proto::limits::TIMESTAMP_PAST_SECONDS;
use sotto_proto::pow::{Difficulty, Nonce, Work};
use sotto_proto::request::{SwarmRequest, SwarmResponse};
use sotto_proto::time::UnixMillis;

use super::expected::Expected;
use super::kill_point::KillPoint;
use super::refresh::Newer;
use super::terms::{NoTerms, Terms};
use super::work::prove;
use super::{Error, Messenger};
use crate::conversation::{self, Delivery};
use crate::crypto::{self, SealContext};
use crate::network::choice::Avoid;
use crate::network::lookups::LookupError;
use crate::network::meeting::met_first;
use crate::network::paths::{Purpose, hop};
use crate::network::shuffle;
use crate::network::storing::{self, MemberError, STORED, Stored, WANTED};
use crate::network::ways::Ways;
use crate::store::{OutboxMessage, OutboxState, StoredReceipt};

/// Rounds of sealing and storing: more work once or twice, a newer list once, another path once.
const ROUNDS: usize = 6;
/// Rounds in a row in which members may tell heights that are not borne out: each asks others first, nine of ten by
/// then.
pub(super) const UNBELIEVED_ROUNDS: usize = 3;
/// How long three members may take.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
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
    /// It goes on; told every quarter of a second.
    Working {
        /// Trials so far.
        attempts: u64,
        /// How many it takes on average.
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
    /// From asking the first member to the second receipt, which makes it *stored*, without the work in between.
    pub stored: Duration,
}

impl Messenger {
    /// Sends a message of the outbox. It stays there until it is stored, and may be sent again after any failure.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn send(&mut self, id: &MessageId, mut progress: impl FnMut(Progress)) -> Result<Sent, Error> {
        let result = match self.addressed(id)? {
            Ok((message, _)) if message.state.is_delivered() => Err(Error::Acknowledged(*id)),
            Ok((message, delivery)) => Box::pin(self.send_rounds(message, &delivery, &mut progress)).await,
            Err(error) => Err(error),
        };
        self.keep_scores()?;
        // Another messenger may have heard so while this one worked.
        if result.is_err() && self.is_acknowledged(id)? {
            return Err(Error::Acknowledged(*id));
        }
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
                Ok(_) | Err(Error::Acknowledged(_)) => stored += 1,
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "a message waits");
                    waiting += 1;
                }
            }
        }
        Ok((stored, waiting))
    }

    pub(super) fn note_failure(&mut self, id: &MessageId, error: &Error) -> Result<(), Error> {
        let attempts = self.account.store.outbox_message(id)?.map_or(0, |message| message.attempts);
        let wait = RETRY.saturating_mul(1 << attempts.min(9)).min(Duration::from_secs(3600));
        let at = self.clock.own().wall.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Ok(self.account.store.note_attempt(id, UnixMillis(at), &error.to_string())?)
    }

    /// A message of the outbox, and where it goes. What was made for another address before is made anew.
    pub(super) fn addressed(&mut self, id: &MessageId) -> Result<Result<(OutboxMessage, Delivery), Error>, Error> {
        let no_message = || Error::NoMessage(id.to_string());
        let message = self.account.store.outbox_message(id)?.ok_or_else(no_message)?;
        let now = self.clock.now();
        let delivery = match self.account.change(|tx, own| {
            let me = conversation::Me { chain: &self.chain, account: own.account, name: own.name, now };
            conversation::delivery(tx, &me, &message, &mut self.rng)
        }) {
            Ok(delivery) => delivery,
            Err(conversation::Error::Store(error)) => return Err(error.into()),
            Err(error) => return Ok(Err(Error::Conversation(error))),
        };
        // It may have been encrypted anew.
        let mut message = self.account.store.outbox_message(id)?.ok_or_else(no_message)?;
        message.record = message.record.filter(|record| record.envelope().address() == delivery.address);
        Ok(Ok((message, delivery)))
    }

    async fn send_rounds(
        &mut self,
        mut message: OutboxMessage,
        delivery: &Delivery,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Sent, Error> {
        self.refresh_if_needed().await?;
        let mut difficulty = self.genesis.genesis.params.min_difficulty;
        let mut took = Duration::ZERO;
        let (mut last, mut unbelieved) = (None, 0);
        for _ in 0..ROUNDS {
            let swarm = self.directory.owner(&delivery.address).ok_or(Error::NoOwner)?;
            let avoid = self.avoid([swarm])?;
            let mut path = self.path_without(Purpose::Send, &avoid).await?;
            let hops = path.hops().map(|hop| hop.node);
            progress(Progress::Path { hops });
            let mut members = self.directory.members(swarm).to_vec();
            shuffle(&mut self.rng, &mut members);
            met_first(&mut members, &delivery.address, self.clock.now().seconds());
            let members = self.slow_last(members);
            let (began, mut work, mut second) = (Instant::now(), Duration::ZERO, None);
            let mut open = BTreeMap::new();
            let record = match self.reusable(&message) {
                Some(record) => record,
                None => {
                    let terms = match self.known_terms() {
                        Some(terms) => Ok(terms),
                        None => self.terms((Purpose::Send, &mut path), &avoid, &members, &mut open).await,
                    };
                    let terms = match terms {
                        Ok(terms) => {
                            unbelieved = 0;
                            terms
                        }
                        Err(NoTerms::Silent(error)) => {
                            // Nobody answers through it: whoever tries again takes another path.
                            self.paths.give_up(&path);
                            return Err(error);
                        }
                        Err(NoTerms::Unbelieved(error @ LookupError::Alone)) => {
                            unbelieved += 1;
                            if unbelieved == UNBELIEVED_ROUNDS {
                                return Err(Error::Unbelieved(error));
                            }
                            tracing::debug!(%error, "others are asked for the height");
                            last = Some(Error::Unbelieved(error));
                            continue;
                        }
                        Err(NoTerms::Unbelieved(error)) => {
                            tracing::debug!(%error, "others are asked for the block that work is anchored at");
                            if matches!(error, LookupError::Tunnel(_)) {
                                // It may be the path that fell silent.
                                self.paths.give_up(&path);
                            }
                            last = Some(Error::Lookup(error));
                            continue;
                        }
                    };
                    let (record, worked) = self.make(&message, delivery, &terms, difficulty, progress).await?;
                    work = worked;
                    took += work;
                    let record_id = record.envelope().id(&self.chain);
                    self.probe.pass(KillPoint::Sealed);
                    self.account.store.set_worked(&message.id, &record_id, &record)?;
                    self.probe.pass(KillPoint::Queued);
                    record
                }
            };
            let record_id = record.envelope().id(&self.chain);
            let (answered, others): (Vec<_>, Vec<_>) = members.iter().partition(|node| open.contains_key(*node));
            let members: Vec<NodeId> = answered.into_iter().chain(others).copied().collect();
            let mut note = |step| {
                if matches!(step, Progress::Stored { receipts: STORED, .. }) {
                    second = Some(began.elapsed().saturating_sub(work));
                }
                progress(step);
            };
            match self.store_record(&message.id, (&path, &avoid), (&members, open), &record, &mut note).await? {
                Ok(stored) => {
                    let members = stored.receipts.into_iter().map(|(node, _)| node).collect();
                    let stored = second.unwrap_or_default();
                    return Ok(Sent { id: message.id, record: record_id, swarm, members, hops, work: took, stored });
                }
                Err(error) => {
                    tracing::debug!(%error, "not stored yet");
                    self.anchor = None;
                    match &error {
                        storing::StoreError::Work { difficulty: wanted } => {
                            difficulty = difficulty.max(u64::from(*wanted))
                        }
                        storing::StoreError::Swarm { swarm: said, height } => {
                            let mut newer = self.refresh_for(*height).await?;
                            if matches!(newer, Newer::Failed(_)) {
                                // Its path may have been silent: the next one is another.
                                newer = self.refresh_for(*height).await?;
                            }
                            match newer {
                                Newer::Adopted if self.directory.owner(&delivery.address) != Some(swarm) => {}
                                // One member may have made it up, and the others are silent behind the path.
                                Newer::Adopted | Newer::Nowhere => self.paths.give_up(&path),
                                // Without that list the same members would be asked again, and say the same.
                                Newer::Failed(reason) => {
                                    let (swarm, height, reason) = (*said, *height, Box::new(reason));
                                    return Err(Error::Moved { swarm, height, reason });
                                }
                            }
                        }
                        storing::StoreError::Time | storing::StoreError::Nobody => {}
                        storing::StoreError::TooFew { .. } => self.paths.give_up(&path),
                    }
                    // More work or another time need another envelope; for a swarm or a path the old one serves.
                    let keeps = matches!(error, storing::StoreError::Swarm { .. } | storing::StoreError::TooFew { .. });
                    message.record = keeps.then_some(record);
                    last = Some(error.into());
                }
            }
        }
        Err(last.unwrap_or(Error::NoOwner))
    }

    /// The envelope of an earlier try, while its time is good.
    fn reusable(&self, message: &OutboxMessage) -> Option<Record> {
        let record = message.record.clone().filter(|_| message.state != OutboxState::Stored)?;
        let (made, now) = (record.envelope().timestamp(), self.clock.now().seconds());
        (now.0 + TIME_LEFT < made.0 + TIMESTAMP_PAST_SECONDS && made.0 <= now.0 + TIME_LEFT).then_some(record)
    }

    /// Seals the message and does its work.
    async fn make(
        &mut self,
        message: &OutboxMessage,
        delivery: &Delivery,
        terms: &Terms,
        difficulty: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(Record, Duration), Error> {
        let context = SealContext {
            chain: &self.chain,
            address: delivery.address,
            timestamp: terms.now.seconds(),
            ttl: message.ttl,
        };
        let data = match &delivery.inside {
            None => crypto::seal(&context, self.account.account(), message.content.clone(), &mut self.rng),
            Some(inside) => crypto::seal_session(&context, &delivery.seal_key, inside, &mut self.rng),
        };
        let data = data.map_err(|error| Error::Unsendable(error.to_string()))?;
        let envelope = Envelope::new(delivery.address, context.timestamp, message.ttl, terms.anchor, data)
            .map_err(|error| Error::Unsendable(error.to_string()))?;
        self.work(envelope, terms, difficulty, progress).await
    }

    /// Does the work of an envelope.
    pub(super) async fn work(
        &mut self,
        envelope: Envelope,
        terms: &Terms,
        difficulty: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(Record, Duration), Error> {
        let difficulty = u32::try_from(difficulty).ok().and_then(Difficulty::new);
        let difficulty = difficulty.ok_or_else(|| Error::Unsendable("no difficulty".into()))?;
        let work = Work::new(&envelope, &terms.anchor_hash);
        let expected = work.target(difficulty).expected_attempts();
        progress(Progress::Work { difficulty: difficulty.get(), expected });
        let start = Nonce(self.rng.next_u64());
        let tell = |attempts| progress(Progress::Working { attempts, expected });
        let (nonce, took) = prove(work, difficulty, start, tell).await?;
        progress(Progress::Worked { took });
        let record = Record::new(envelope, nonce, None).map_err(|error| Error::Unsendable(error.to_string()))?;
        Ok((record, took))
    }

    /// Stores at the members, in the tunnels that are open to some of them, and keeps the receipts. They are written down
    /// together at the end: should the process die before, the same record is stored again, which changes nothing.
    async fn store_record(
        &mut self,
        id: &MessageId,
        (path, avoid): (&Path, &Avoid),
        (members, mut open): (&[NodeId], BTreeMap<NodeId, Tunnel>),
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
        let kept = RefCell::new(Vec::new());
        // Ended together, once nobody is waited for: each end is a cell for every hop.
        let used = RefCell::new(Vec::new());
        let probe = RefCell::new(&mut self.probe);
        let paths = &mut self.paths;
        let second = async { paths.another(&nodes, Purpose::Send, avoid, path).await.ok() };
        let (ways, mut asked) = (Ways::new(path.clone(), second), 0);
        let result = storing::store(
            members,
            STORE_PATIENCE,
            |node, order| {
                probe.borrow_mut().pass(KillPoint::Asking);
                let (to, tunnel) = (hop(&nodes, &node), open.remove(&node));
                let request = SwarmRequest::Store { record: bytes.clone(), publish_order: order };
                let (expected, used, ways) = (&expected, &used, &ways);
                asked += 1;
                let late = asked > WANTED;
                async move {
                    let (tunnel, answer) = ask(ways, late, to, tunnel, request).await?;
                    used.borrow_mut().push(tunnel);
                    expected.receipt(node, answer)
                }
            },
            |receipt, receipts| {
                probe.borrow_mut().pass(KillPoint::Receipt);
                kept.borrow_mut().push(*receipt);
                progress(Progress::Stored { receipts, wanted: WANTED });
            },
        )
        .await;
        let better = ways.better();
        drop(ways);
        if let Some(better) = better {
            self.paths.silent(path, &better);
        }
        let receipts = self.account.store.add_receipts(id, &kept.into_inner())?;
        self.probe.pass(KillPoint::Saved);
        if result.is_err() && receipts >= STORED {
            // With those of earlier rounds and attempts there are enough.
            let message = self.account.store.outbox_message(id)?.ok_or_else(|| Error::NoMessage(id.to_string()))?;
            let receipts = message.receipts.into_iter().map(|receipt| (receipt.receipt.node, receipt)).collect();
            return Ok(Ok(Stored { receipts, failed: Vec::new() }));
        }
        Ok(result)
    }
}

/// Asks in the tunnel that is open, which goes the first way, or in a new one.
async fn ask(
    ways: &Ways<impl Future<Output = Option<Path>>>,
    late: bool,
    to: Option<HopInfo>,
    tunnel: Option<Tunnel>,
    request: SwarmRequest,
) -> Result<(Tunnel, SwarmResponse), MemberError> {
    if let Some(mut tunnel) = tunnel
        && let Ok(answer) = tunnel.request(request.clone()).await
    {
        ways.heard(ways.first());
        return Ok((tunnel, answer));
    }
    // There was no tunnel, or work that took long has outlived it.
    let to = to.ok_or(MemberError::Nonsense("not in the list"))?;
    let connected = ways.connect(to, late, request).await;
    let (tunnel, answer) = connected.map_err(|error| MemberError::Unreachable(error.to_string()))?;
    Ok((tunnel, answer.ok_or(MemberError::Nonsense("not an answer to a store"))?))
}
