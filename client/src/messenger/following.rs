//! Following: subscriptions at two members, which push what comes at once.
//!
//! ```text
//!  member ── pages ──▶ subscription (task) ─┐ 16 pages
//!  member ── pages ──▶ subscription (task) ─┴─▶ follow ──▶ store ──▶ whoever follows
//! ```
//!
//! What is told is read from the store, behind what was told before: however a path ends, whatever is given up halfway,
//! nothing that was taken in stays untold, and nothing is told twice.

mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Path, StreamError};
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::limits::PATH_NEW_STREAMS;
use sotto_proto::request::{self, Records, SignedRead, Subscribe, SwarmRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::silence::Silence;
use super::asking::{MemberFailure, records_of};
use super::{Error, Messenger};
use crate::network::clock::SharedClock;
use crate::network::paths::{Purpose, SETTLED, hop};
use crate::store::{InboxMessage, InboxNumber, Store};

/// Members that are subscribed at.
const SUBSCRIPTIONS: usize = 2;
/// How long a member may take to begin: most of the time there is nothing to tell yet.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(3);
/// Pages on their way from subscriptions to the store.
const WAITING_PAGES: usize = 16;
/// Messages that are told at once.
const ROWS: usize = 256;
/// Between two looks whether a second path is there.
const SPARE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two polls while subscribed: members that are not subscribed at are asked in time.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
/// A subscription moves to a new path before the old one takes no more streams.
const MOVE_AT: Duration = Duration::from_secs(PATH_NEW_STREAMS.as_secs() - 30);
/// A subscription that says nothing for so many times as long as one answer may take is made anew at the same member: one
/// that is frozen must not pass for a quiet mailbox.
const QUIET_TIMES: u32 = 9;
/// After a subscription failed, the next one begins this much later.
const AGAIN: Duration = Duration::from_secs(1);
/// Members that say that another swarm keeps the mail have a poll brought forward this often at most.
const HEED_INTERVAL: Duration = Duration::from_secs(30);
/// How soon a sleep of the machine is noticed.
const WAKE_CHECK: Duration = Duration::from_secs(1);

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

/// Whether to go on following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continue {
    /// Go on.
    Yes,
    /// Stop.
    No,
}

/// Whoever follows, and what he was told.
struct Follower<F> {
    happened: F,
    told: InboxNumber,
}

impl<F: FnMut(Followed, &mut Store) -> Continue> Follower<F> {
    fn tell(&mut self, followed: Followed, store: &mut Store) -> Continue {
        (self.happened)(followed, store)
    }

    /// Tells what came since the last time.
    fn tell_new(&mut self, store: &mut Store) -> Result<Continue, Error> {
        loop {
            let new = store.inbox_after(self.told, ROWS)?;
            let Some(last) = new.last() else { return Ok(Continue::Yes) };
            self.told = last.number;
            if self.tell(Followed::Messages(new), store) == Continue::No {
                return Ok(Continue::No);
            }
        }
    }
}

/// The subscriptions on one path.
struct Subscriptions {
    running: JoinSet<Result<(), MemberFailure>>,
    members: BTreeMap<tokio::task::Id, NodeId>,
    pages: mpsc::Sender<(NodeId, Records)>,
    silence: Silence,
}

impl Messenger {
    /// Subscribes at two members and tells `happened` of new mail, with the store to mark it shown in, until it says
    /// stop. Paths are replaced before they end and after the machine slept, other members are polled in between, and
    /// what waits in the outbox is sent.
    ///
    /// # Errors
    /// [`Error`] of the store; those of the network are told and tried again.
    pub async fn follow(&mut self, happened: impl FnMut(Followed, &mut Store) -> Continue) -> Result<(), Error> {
        let mut follower = Follower { happened, told: self.account.store.newest()? };
        loop {
            let clock = self.clock.clone();
            let result = tokio::select! {
                result = Box::pin(self.follow_path(&mut follower)) => result,
                // Nothing on the old paths is waited for: their other ends have given them up.
                () = slept(&clock) => Ok(Continue::Yes),
            };
            if matches!(result, Ok(Continue::No)) || follower.tell_new(&mut self.account.store)? == Continue::No {
                return Ok(());
            }
            match result {
                Ok(_) => {}
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    if follower.tell(Followed::Interrupted(error), &mut self.account.store) == Continue::No {
                        return Ok(());
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Follows on one path, until it is time for another.
    async fn follow_path<F>(&mut self, follower: &mut Follower<F>) -> Result<Continue, Error>
    where
        F: FnMut(Followed, &mut Store) -> Continue,
    {
        self.receive().await?;
        if follower.tell_new(&mut self.account.store)? == Continue::No {
            return Ok(Continue::No);
        }
        let keepers = self.own_members()?.to_vec();
        let path = self.path(Purpose::Receive).await?;
        let (pages, mut arriving) = mpsc::channel(WAITING_PAGES);
        let mut subscriptions =
            Subscriptions { running: JoinSet::new(), members: BTreeMap::new(), pages, silence: Silence::default() };
        self.subscribe(&path, &mut subscriptions)?;
        let members = subscriptions.members.len();
        if members > 0 && follower.tell(Followed::Subscribed { members }, &mut self.account.store) == Continue::No {
            return Ok(Continue::No);
        }
        let move_at = Instant::now() + MOVE_AT.saturating_sub(path.age());
        let mut poll_at = Instant::now() + POLL_INTERVAL;
        let mut heed_at = Instant::now();
        // Who has refused our time on this path: each brings a poll forward once.
        let mut skewed = BTreeSet::new();
        let mut subscribe_at = None;
        let mut spare_at = Instant::now() + 2 * SETTLED;
        loop {
            tokio::select! {
                Some((node, records)) = arriving.recv() => {
                    self.came_back(&mut subscriptions);
                    self.take_in(node, records, self.clock.now())?;
                }
                Some(ended) = subscriptions.running.join_next_with_id() => {
                    let failure = self.subscription_ended(ended, &path, &mut subscriptions)?;
                    if path.end().is_some() {
                        return Ok(Continue::Yes);
                    }
                    if subscriptions.silence.blames_path() {
                        tracing::debug!("the path of the subscriptions is silent");
                        self.paths.give_up(&path);
                        return Ok(Continue::Yes);
                    }
                    if subscriptions.members.len() < SUBSCRIPTIONS {
                        subscribe_at.get_or_insert_with(|| Instant::now() + AGAIN);
                    }
                    let Some((member, failure)) = failure else { continue };
                    // The poll finds out where the mail is now.
                    if self.is_elsewhere(&failure) && heed_at <= Instant::now() {
                        heed_at = Instant::now() + HEED_INTERVAL;
                        poll_at = Instant::now();
                    }
                    // It asks the others, too, before any clock is set.
                    if failure.other_time().is_some() && skewed.insert(member) {
                        poll_at = Instant::now();
                    }
                }
                () = until(subscribe_at) => {
                    subscribe_at = None;
                    self.subscribe(&path, &mut subscriptions)?;
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
                () = tokio::time::sleep_until(spare_at) => {
                    spare_at = Instant::now() + SPARE_INTERVAL;
                    self.keep_spare(Purpose::Receive)?;
                }
                () = tokio::time::sleep_until(poll_at) => {
                    poll_at = Instant::now() + POLL_INTERVAL;
                    self.receive().await?;
                    self.send_pending(usize::MAX).await?;
                    // Others keep the mail, and none of them may be a hop of the path; or the poll found the path silent.
                    if self.own_members()? != keepers || !self.paths.is_held(&path) {
                        return Ok(Continue::Yes);
                    }
                }
            }
            if follower.tell_new(&mut self.account.store)? == Continue::No {
                return Ok(Continue::No);
            }
        }
    }

    /// Subscribes where there is no subscription yet, until there are enough.
    fn subscribe(&mut self, path: &Path, subscriptions: &mut Subscriptions) -> Result<(), Error> {
        while subscriptions.members.len() < SUBSCRIPTIONS
            && let Some(to) = self.unsubscribed(subscriptions)?
        {
            self.subscribe_at(to, path, subscriptions)?;
        }
        Ok(())
    }

    fn subscribe_at(&self, to: HopInfo, path: &Path, subscriptions: &mut Subscriptions) -> Result<(), Error> {
        let cursor = self.account.store.cursor(&self.address(), &to.node)?;
        let read = self.asking().sign::<Subscribe>(self.account.account(), to.node, cursor);
        let (path, pages, quiet) = (path.clone(), subscriptions.pages.clone(), self.patience * QUIET_TIMES);
        let running = async move { run_subscription(&path, to, read, &pages, quiet).await };
        let task = subscriptions.running.spawn(running);
        subscriptions.members.insert(task.id(), to.node);
        Ok(())
    }

    /// Something came back through the path of the subscriptions: whoever was silent meanwhile is marked.
    fn came_back(&mut self, subscriptions: &mut Subscriptions) {
        for member in subscriptions.silence.end() {
            self.paths.slow(member);
        }
    }

    /// A random member without a subscription, one that was slow or silent lately only if there is no other.
    fn unsubscribed(&mut self, subscriptions: &Subscriptions) -> Result<Option<HopInfo>, Error> {
        let is_free = |node: &NodeId| !subscriptions.members.values().any(|other| other == node);
        let mut free: Vec<_> = self.own_members()?.iter().copied().filter(is_free).collect();
        crate::network::shuffle(&mut self.rng, &mut free);
        let silent = subscriptions.silence.members();
        let first = self.slow_last(free).into_iter().min_by_key(|node| silent.contains(node));
        Ok(first.and_then(|node| hop(self.directory.nodes(), &node)))
    }

    /// Whether a member says that another swarm keeps the mail by now, after the list known.
    fn is_elsewhere(&self, failure: &MemberFailure) -> bool {
        failure.elsewhere().is_some_and(|height| height > self.directory.header().header.height)
    }

    /// Whoever ends a subscription while its path stands, for whatever reason, is subscribed at again only if there is
    /// nobody else; one that does not answer is marked only if others do. One that was quiet for long goes on at the same
    /// member.
    fn subscription_ended(
        &mut self,
        ended: Result<(tokio::task::Id, Result<(), MemberFailure>), tokio::task::JoinError>,
        path: &Path,
        subscriptions: &mut Subscriptions,
    ) -> Result<Option<(NodeId, MemberFailure)>, Error> {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, ended),
            Err(error) => {
                tracing::warn!(%error, "a subscription broke");
                subscriptions.members.remove(&error.id());
                return Ok(None);
            }
        };
        let member = subscriptions.members.remove(&task);
        let Err(failure) = ended else {
            if let Some(to) = member.and_then(|node| hop(self.directory.nodes(), &node)) {
                self.subscribe_at(to, path, subscriptions)?;
            }
            return Ok(None);
        };
        tracing::debug!(%failure, "a subscription ended");
        let Some(member) = member else { return Ok(None) };
        match failure {
            MemberFailure::Tunnel(tunnel::Error::TimedOut) => {
                let expected = self.paths.shunned(self.directory.nodes()).contains(&member);
                subscriptions.silence.add(member, expected);
            }
            _ if is_of_path(&failure) => {}
            _ => {
                self.came_back(subscriptions);
                self.paths.slow(member);
            }
        }
        if matches!(failure, MemberFailure::Refused(request::Error::CursorUnknown)) {
            // Its database is another one: it is read from the beginning.
            self.account.store.drop_cursor(&self.address(), &member)?;
        }
        Ok(Some((member, failure)))
    }
}

fn is_of_path(failure: &MemberFailure) -> bool {
    let MemberFailure::Tunnel(tunnel::Error::Stream(error)) = failure else { return false };
    !matches!(error, StreamError::Reset(_))
}

/// Comes back at that time, never if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Comes back when this machine has slept.
async fn slept(clock: &SharedClock) {
    let before = clock.sleeps();
    while clock.sleeps() == before {
        tokio::time::sleep(WAKE_CHECK).await;
    }
}

/// Subscribes at a member and hands on what it pushes, until it has been quiet for so long.
async fn run_subscription(
    path: &Path,
    to: HopInfo,
    read: SignedRead<Subscribe>,
    pages: &mpsc::Sender<(NodeId, Records)>,
    quiet: Duration,
) -> Result<(), MemberFailure> {
    let begun = Tunnel::connect(path, to, Some(SwarmRequest::Subscribe(read)));
    let begun = timeout(SUBSCRIBE_PATIENCE, begun).await.map_err(|_| tunnel::Error::TimedOut)?;
    let (mut tunnel, first) = begun?;
    let mut answer = first.ok_or(MemberFailure::Nonsense)?;
    loop {
        let records = records_of(answer)?;
        // Whoever followed has stopped.
        pages.send((to.node, records)).await.map_err(|_| MemberFailure::Nonsense)?;
        let Ok(pushed) = timeout(quiet, tunnel.next()).await else { return Ok(()) };
        answer = pushed?;
    }
}
