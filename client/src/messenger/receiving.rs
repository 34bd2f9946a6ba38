//! Receiving: polls of some members, or subscriptions at two of them, merged by record id.
//!
//! What a member tells goes into the store together with the cursor behind it, in one transaction: whatever happens in
//! between, nothing is missed and nothing is taken in twice. Showing it is another matter: `unshown` says what was not.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::envelope::Record;
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::{PATH_NEW_STREAMS, RETRIEVE_BYTES};
use sotto_proto::request::{
    self, Cursor, Purpose as Signed, Read, Records, Retrieve, SignedRead, Subscribe, SwarmRequest, SwarmResponse,
};
use sotto_proto::time::{UnixMillis, UnixSeconds};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Error, Messenger};
use crate::crypto::{self, Opened};
use crate::network::clock::SharedClock;
use crate::network::paths::{Purpose, hop};
use crate::network::polls::{PER_POLL, Polls};
use crate::store::{Arrival, InboxMessage, Letter, Page, Store};

/// Where the times of polls are kept.
const POLLS: &str = "polls";
/// Members that are asked at once.
const AT_ONCE: usize = 4;
/// Pages of one member in one poll: what a mailbox may hold twice over.
const PAGES: usize = 256;
/// Members that are subscribed at.
const SUBSCRIPTIONS: usize = 2;
/// Pages on their way from subscriptions to the store.
const WAITING_PAGES: usize = 16;
/// Between two polls while subscribed: members that are not subscribed at are asked in time.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
/// A subscription moves to a new path before the old one takes no more streams.
const MOVE_AT: Duration = Duration::from_secs(PATH_NEW_STREAMS.as_secs() - 30);
/// After a subscription failed, the next one begins this much later.
const AGAIN: Duration = Duration::from_secs(1);

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// New messages, in order of their arrival here.
    pub messages: Vec<InboxMessage>,
    /// Whether there is nothing more to be had: enough members answered, and one of them has everything.
    pub caught_up: bool,
    /// Members that answered.
    pub answered: usize,
    /// Members that were asked.
    pub asked: usize,
}

/// What happens while following.
#[derive(Debug)]
pub enum Followed {
    /// Everything that had waited is there, and new mail comes at once.
    Subscribed {
        /// At so many members.
        members: usize,
    },
    /// New messages.
    Messages(Vec<InboxMessage>),
    /// The network does not answer; it is tried again.
    Interrupted(Error),
}

/// Why a member told nothing.
#[derive(Debug, thiserror::Error)]
enum MemberFailure {
    #[error(transparent)]
    Tunnel(#[from] sotto_behaviours::tunnel::client::Error),
    #[error(transparent)]
    Refused(#[from] request::Error),
    #[error("an answer that does not fit the question")]
    Nonsense,
}

/// What questions to members are made from.
#[derive(Clone)]
struct Asking {
    chain: ChainId,
    address: Address,
    clock: SharedClock,
}

impl Asking {
    fn sign<P: Signed>(&self, account: &Account, node: NodeId, cursor: Option<Cursor>) -> SignedRead<P> {
        let (time, cursor) = (self.clock.now().seconds(), cursor.unwrap_or_default());
        let read = Read { node, address: self.address, time, cursor, max_bytes: RETRIEVE_BYTES };
        SignedRead::sign(read, account.signing_key(), &self.chain)
    }
}

impl Messenger {
    /// Asks some members of the own swarm for mail, and takes in what they have.
    ///
    /// # Errors
    /// [`Error`] if none of them answers.
    pub async fn receive(&mut self) -> Result<Received, Error> {
        self.refresh_if_needed().await?;
        let swarm = self.directory.owner(&self.address()).ok_or(Error::NoOwner)?;
        let avoid = self.avoid([])?;
        let path = self.path_without(Purpose::Receive, &avoid).await?;
        let mut polls = self.polls()?;
        let now = self.clock.now().seconds();
        let poll = polls.next(self.directory.members(swarm), now, &mut self.rng);
        let mut received = Received { messages: Vec::new(), caught_up: false, answered: 0, asked: poll.members.len() };
        let (mut complete, mut last) = (false, None);
        let (mut due, mut spare) = (poll.members.into_iter(), poll.spare.into_iter());
        loop {
            let mut some: Vec<_> = due.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                // Those that were due may all be away; others stand in for them.
                some.extend(spare.by_ref().take(PER_POLL.saturating_sub(received.answered)));
                received.asked += some.len();
            }
            if some.is_empty() {
                break;
            }
            for (node, told) in self.ask_members(&path, &some, &mut received.messages).await? {
                match told {
                    Ok(syncing) => {
                        received.answered += 1;
                        complete |= !syncing;
                        polls.answered(node, now);
                    }
                    Err(error) => {
                        tracing::debug!(node = node.short(), %error, "a member told nothing");
                        last = Some(error.to_string());
                    }
                }
            }
        }
        self.account.store.set_setting(POLLS, &polls.encode())?;
        if received.answered == 0 {
            let last = last.unwrap_or_else(|| "the swarm has no members".into());
            return Err(Error::NoAnswer { asked: received.asked, last });
        }
        let enough = if poll.wants_all { received.asked } else { 1 };
        received.caught_up = complete && received.answered >= enough;
        Ok(received)
    }

    /// Asks some members side by side; then takes in what each has, one after the other. Each tells whether it is still
    /// taking over records itself, or why it told nothing.
    async fn ask_members(
        &mut self,
        path: &Path,
        some: &[NodeId],
        messages: &mut Vec<InboxMessage>,
    ) -> Result<Vec<(NodeId, Result<bool, MemberFailure>)>, Error> {
        let mut readers = Vec::new();
        for node in some {
            if let Some(to) = hop(self.directory.nodes(), node) {
                readers.push((to, self.account.store.cursor(&self.address(), node)?));
            }
        }
        let (asking, account) = (self.asking(), self.account.account());
        let tunnels = join_all(readers.iter().map(|(to, cursor)| open(path, *to, &asking, account, *cursor))).await;
        let mut told = Vec::new();
        for ((to, _), opened) in readers.iter().zip(tunnels) {
            let result = match opened {
                Ok((tunnel, records)) => match self.take_pages(tunnel, to.node, records, messages).await {
                    Err(Err(error)) => return Err(error),
                    Err(Ok(failure)) => Err(failure),
                    Ok(syncing) => Ok(syncing),
                },
                Err(failure) => Err(failure),
            };
            told.push((to.node, result));
        }
        Ok(told)
    }

    /// Takes in the first page and those behind it. Says whether the member is still taking over records itself. An
    /// inner error is the member's, an outer one our own.
    async fn take_pages(
        &mut self,
        mut tunnel: Tunnel,
        node: NodeId,
        first: Records,
        messages: &mut Vec<InboxMessage>,
    ) -> Result<bool, Result<MemberFailure, Error>> {
        let mut records = first;
        for _ in 0..PAGES {
            let (more, syncing) = (records.more, records.syncing);
            let cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
            messages.extend(self.take_in(node, records).map_err(Err)?);
            if !more {
                tunnel.close();
                return Ok(syncing);
            }
            let read = self.asking().sign::<Retrieve>(self.account.account(), node, Some(cursor));
            let answer = tunnel.request(SwarmRequest::Retrieve(read)).await.map_err(|error| Ok(error.into()))?;
            records = records_of(answer).map_err(Ok)?;
            if records.more && records.next_seq <= cursor.seq {
                return Err(Ok(MemberFailure::Nonsense));
            }
        }
        Err(Ok(MemberFailure::Nonsense))
    }

    /// Opens what a member told and takes it into the store, with the cursor behind it.
    fn take_in(&mut self, node: NodeId, records: Records) -> Result<Vec<InboxMessage>, Error> {
        let address = self.address();
        let now = self.clock.now();
        let cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
        let mut arrivals = Vec::new();
        for stored in &records.records {
            if let Some(arrival) = self.arrival(&stored.record, &address, now)? {
                arrivals.push(arrival);
            }
        }
        let page = Page { address, node, cursor: Some(cursor), received: now, arrivals };
        Ok(self.account.store.take_in(&page)?)
    }

    /// What a record holds; nothing if it is none, is not ours, is over, or was taken in before. Nodes vouch for
    /// nothing here: the id is computed, and what does not open was not written for us.
    fn arrival(&self, bytes: &[u8], address: &Address, now: UnixMillis) -> Result<Option<Arrival>, Error> {
        let Ok(record) = Record::decode(bytes) else { return Ok(None) };
        let (id, envelope) = (record.envelope().id(&self.chain), record.envelope());
        if envelope.address() != *address || is_over(envelope.expiry(), now) || self.account.store.has_seen(&id)? {
            return Ok(None);
        }
        let letter = match crypto::open(&self.chain, self.account.account(), envelope) {
            Ok(Opened::Message { sender, content }) => Some(Letter::Message { sender, content }),
            Ok(Opened::Newer { kind, body }) => Some(Letter::Newer { kind, body }),
            Ok(Opened::Cover) => None,
            Err(error) => {
                tracing::debug!(%error, "a record does not open");
                None
            }
        };
        Ok(Some(Arrival { record: id, expiry: envelope.expiry(), letter }))
    }

    /// Subscribes at two members and tells `happened` of new mail, with the store to mark it shown in, until it says stop. Paths are replaced before they
    /// end, other members are polled in between, and what waits in the outbox is sent.
    ///
    /// # Errors
    /// [`Error`] of the store; those of the network are told and tried again.
    pub async fn follow(&mut self, mut happened: impl FnMut(Followed, &mut Store) -> Continue) -> Result<(), Error> {
        loop {
            let result = self.follow_path(&mut happened).await;
            match result {
                Ok(Continue::Yes) => {}
                Ok(Continue::No) => return Ok(()),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    self.rotate(Purpose::Receive);
                    if happened(Followed::Interrupted(error), &mut self.account.store) == Continue::No {
                        return Ok(());
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Follows on one path, until it is time for another.
    async fn follow_path(
        &mut self,
        happened: &mut impl FnMut(Followed, &mut Store) -> Continue,
    ) -> Result<Continue, Error> {
        let received = self.receive().await?;
        if !received.messages.is_empty()
            && happened(Followed::Messages(received.messages), &mut self.account.store) == Continue::No
        {
            return Ok(Continue::No);
        }
        let path = self.path(Purpose::Receive).await?;
        let (pages, mut arriving) = mpsc::channel(WAITING_PAGES);
        let mut running = JoinSet::new();
        let mut subscribed: BTreeMap<tokio::task::Id, NodeId> = BTreeMap::new();
        let mut announced = false;
        let move_at = Instant::now() + MOVE_AT.saturating_sub(path.age());
        let mut poll_at = Instant::now() + POLL_INTERVAL;
        loop {
            while subscribed.len() < SUBSCRIPTIONS
                && let Some((node, subscription)) = self.subscription(&path, &subscribed, &pages)?
            {
                let task = running.spawn(subscription);
                subscribed.insert(task.id(), node);
            }
            if !announced && !subscribed.is_empty() {
                announced = true;
                if happened(Followed::Subscribed { members: subscribed.len() }, &mut self.account.store) == Continue::No
                {
                    return Ok(Continue::No);
                }
            }
            tokio::select! {
                Some((node, records)) = arriving.recv() => {
                    let new = self.take_in(node, records)?;
                    if !new.is_empty() && happened(Followed::Messages(new), &mut self.account.store) == Continue::No {
                        return Ok(Continue::No);
                    }
                }
                Some(ended) = running.join_next_with_id() => {
                    let (task, failure) = match ended {
                        Ok((task, failure)) => (task, failure.to_string()),
                        Err(error) => (error.id(), error.to_string()),
                    };
                    subscribed.remove(&task);
                    tracing::debug!(failure, "a subscription ended");
                    if path.end().is_some() {
                        return Ok(Continue::Yes);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                end = path.closed() => {
                    tracing::debug!(?end, "the path of the subscriptions ended");
                    return Ok(Continue::Yes);
                }
                // Dropping the subscriptions first misses nothing: the cursor in the store is behind what was taken in.
                () = tokio::time::sleep_until(move_at) => {
                    self.rotate(Purpose::Receive);
                    return Ok(Continue::Yes);
                }
                () = tokio::time::sleep_until(poll_at) => {
                    poll_at = Instant::now() + POLL_INTERVAL;
                    let received = self.receive().await?;
                    if !received.messages.is_empty() && happened(Followed::Messages(received.messages), &mut self.account.store) == Continue::No {
                        return Ok(Continue::No);
                    }
                    self.send_pending(usize::MAX).await?;
                }
            }
        }
    }

    /// A subscription at a random member that has none; `None` if there is no such member.
    fn subscription(
        &mut self,
        path: &Path,
        subscribed: &BTreeMap<tokio::task::Id, NodeId>,
        pages: &mpsc::Sender<(NodeId, Records)>,
    ) -> Result<Option<(NodeId, impl Future<Output = MemberFailure> + Send + 'static)>, Error> {
        let swarm = self.directory.owner(&self.address()).ok_or(Error::NoOwner)?;
        let members = self.directory.members(swarm);
        let free: Vec<_> = members.iter().filter(|node| !subscribed.values().any(|other| other == *node)).collect();
        let index = usize::try_from(crate::network::below(&mut self.rng, free.len() as u64)).unwrap_or(0);
        let Some(to) = free.get(index).and_then(|node| hop(self.directory.nodes(), node)) else { return Ok(None) };
        let cursor = self.account.store.cursor(&self.address(), &to.node)?;
        let read = self.asking().sign::<Subscribe>(self.account.account(), to.node, cursor);
        let (path, pages) = (path.clone(), pages.clone());
        Ok(Some((to.node, async move {
            match run_subscription(&path, to, read, &pages).await {
                Ok(never) => match never {},
                Err(failure) => failure,
            }
        })))
    }

    fn asking(&self) -> Asking {
        Asking { chain: self.chain, address: self.address(), clock: self.clock.clone() }
    }

    fn polls(&self) -> Result<Polls, Error> {
        let stored = self.account.store.setting(POLLS)?;
        // Lost times only make the next poll ask everybody.
        Ok(stored.and_then(|bytes| Polls::decode(&bytes).ok()).unwrap_or_default())
    }
}

/// Whether to go on following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continue {
    /// Go on.
    Yes,
    /// Stop.
    No,
}

fn is_over(expiry: UnixSeconds, now: UnixMillis) -> bool {
    expiry <= now.seconds()
}

/// Opens a tunnel with the first question in it; again without a cursor if the member does not know it, and with the
/// member's time if it refused ours.
async fn open(
    path: &Path,
    to: HopInfo,
    asking: &Asking,
    account: &Account,
    cursor: Option<Cursor>,
) -> Result<(Tunnel, Records), MemberFailure> {
    let question = |cursor| SwarmRequest::Retrieve(asking.sign::<Retrieve>(account, to.node, cursor));
    let (mut tunnel, answer) = Tunnel::connect(path, to, Some(question(cursor))).await?;
    match records_of(answer.ok_or(MemberFailure::Nonsense)?) {
        Err(MemberFailure::Refused(request::Error::CursorUnknown)) => {
            let answer = tunnel.request(question(None)).await?;
            Ok((tunnel, records_of(answer)?))
        }
        Ok(records) => Ok((tunnel, records)),
        Err(error) => Err(error),
    }
}

fn records_of(answer: SwarmResponse) -> Result<Records, MemberFailure> {
    match answer {
        SwarmResponse::Records(records) => Ok(records),
        SwarmResponse::Error(error) => Err(error.into()),
        _ => Err(MemberFailure::Nonsense),
    }
}

async fn run_subscription(
    path: &Path,
    to: HopInfo,
    read: SignedRead<Subscribe>,
    pages: &mpsc::Sender<(NodeId, Records)>,
) -> Result<std::convert::Infallible, MemberFailure> {
    let (mut tunnel, first) = Tunnel::connect(path, to, Some(SwarmRequest::Subscribe(read))).await?;
    let mut answer = first.ok_or(MemberFailure::Nonsense)?;
    loop {
        let records = records_of(answer)?;
        // Whoever followed has stopped.
        pages.send((to.node, records)).await.map_err(|_| MemberFailure::Nonsense)?;
        answer = tunnel.next().await?;
    }
}
