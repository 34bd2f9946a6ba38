//! Following: subscriptions at two members of each mailbox's swarm, which push what comes at once.
//!
//! ```text
//!  inbox    member ── pages ──▶ subscription (task) ─┐
//!           member ── pages ──▶ subscription (task) ─┤ 16 pages
//!  mailbox  member ── pages ──▶ subscription (task) ─┼─▶ follow ──▶ store ──▶ whoever follows
//!           member ── pages ──▶ subscription (task) ─┘
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
use super::mailbox::Mailbox;
use super::{Companion, Error, Messenger};
use crate::conversation::Notice;
use crate::network::clock::SharedClock;
use crate::network::paths::{SETTLED, hop};
use crate::store::{InboxMessage, InboxNumber, Store};

/// Members that are subscribed at.
const SUBSCRIPTIONS: usize = 2;
/// How long a member may take to begin: most of the time there is nothing to tell yet.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(3);
/// Messages that are sent at once after something came.
const ANSWERS: usize = 16;
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
    /// Something changed besides.
    Noticed(Vec<Notice>),
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

/// What is followed of one mailbox, on a path of its own.
struct Feed {
    mailbox: Mailbox,
    path: Path,
    /// Those who keep the mailbox.
    keepers: Vec<NodeId>,
    members: BTreeMap<tokio::task::Id, NodeId>,
    silence: Silence,
    subscribe_at: Option<Instant>,
    /// Who has refused our time on this path: each brings a poll forward once.
    skewed: BTreeSet<NodeId>,
}

/// A subscription that ended: the place of its feed; the member and why, if it failed.
type Ended = (usize, Option<(NodeId, MemberFailure)>);

/// All that is followed. The first thing that goes wrong with a path ends it for all: what they are subscribed to goes on
/// behind the cursors.
struct Feeds {
    each: Vec<Feed>,
    running: JoinSet<Result<(), MemberFailure>>,
    /// Pages with the place of their feed.
    pages: mpsc::Sender<(usize, NodeId, Records)>,
}

impl Feeds {
    /// The place of the feed that a task belongs to.
    fn place(&self, task: tokio::task::Id) -> Option<usize> {
        self.each.iter().position(|feed| feed.members.contains_key(&task))
    }

    fn subscribed(&self) -> usize {
        self.each.iter().map(|feed| feed.members.len()).sum()
    }

    /// When a feed is to be subscribed at more members.
    fn subscribe_at(&self) -> Option<Instant> {
        self.each.iter().filter_map(|feed| feed.subscribe_at).min()
    }

    /// Comes back when a path has ended.
    async fn path_ended(paths: &[Path]) {
        let ended = paths.iter().map(|path| Box::pin(path.closed()));
        let (end, ..) = futures::future::select_all(ended).await;
        tracing::debug!(?end, "a path of the subscriptions ended");
    }
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
            if matches!(result, Ok(Continue::No)) || self.tell_new(&mut follower)? == Continue::No {
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

    /// Follows every mailbox on a path, until it is time for another.
    async fn follow_path<F>(&mut self, follower: &mut Follower<F>) -> Result<Continue, Error>
    where
        F: FnMut(Followed, &mut Store) -> Continue,
    {
        self.receive().await?;
        if self.tell_new(follower)? == Continue::No {
            return Ok(Continue::No);
        }
        let (pages, mut arriving) = mpsc::channel(WAITING_PAGES);
        let mut feeds = Feeds { each: Vec::new(), running: JoinSet::new(), pages };
        for mailbox in self.mailboxes()? {
            let (keepers, path) = (self.keepers(&mailbox)?.to_vec(), self.path(mailbox.purpose).await?);
            let (members, silence, skewed) = (BTreeMap::new(), Silence::default(), BTreeSet::new());
            feeds.each.push(Feed { mailbox, path, keepers, members, silence, subscribe_at: None, skewed });
            let place = feeds.each.len() - 1;
            self.subscribe(&mut feeds, place)?;
        }
        let paths: Vec<Path> = feeds.each.iter().map(|feed| feed.path.clone()).collect();
        let members = feeds.subscribed();
        if members > 0 && follower.tell(Followed::Subscribed { members }, &mut self.account.store) == Continue::No {
            return Ok(Continue::No);
        }
        let oldest = paths.iter().map(Path::age).max().unwrap_or_default();
        let move_at = Instant::now() + MOVE_AT.saturating_sub(oldest);
        let mut poll_at = Instant::now() + POLL_INTERVAL;
        let mut heed_at = Instant::now();
        let mut spare_at = Instant::now() + 2 * SETTLED;
        let mut tend_at = self.tend_at()?;
        let mut listen_at = Instant::now();
        loop {
            let (mut came, subscribe_at) = (false, feeds.subscribe_at());
            tokio::select! {
                Some((place, node, records)) = arriving.recv() => {
                    let Some(feed) = feeds.each.get_mut(place) else { continue };
                    self.came_back(feed);
                    let mailbox = feed.mailbox.clone();
                    self.take_in(&mailbox, node, records, self.clock.now())?;
                    came = true;
                    // What came may have been the first wish to talk that this device accepted.
                    if self.mailboxes()?.len() != feeds.each.len() {
                        return Ok(Continue::Yes);
                    }
                }
                Some(ended) = feeds.running.join_next_with_id() => {
                    let Some((place, failure)) = self.subscription_ended(ended, &mut feeds)? else { continue };
                    let Some(feed) = feeds.each.get_mut(place) else { continue };
                    if feed.path.end().is_some() {
                        return Ok(Continue::Yes);
                    }
                    if feed.silence.blames_path() {
                        tracing::debug!("the path of the subscriptions is silent");
                        self.paths.give_up(&feed.path);
                        return Ok(Continue::Yes);
                    }
                    if feed.members.len() < SUBSCRIPTIONS {
                        feed.subscribe_at.get_or_insert_with(|| Instant::now() + AGAIN);
                    }
                    let Some((member, failure)) = failure else { continue };
                    // The poll finds out where the mail is now.
                    if self.is_elsewhere(&failure) && heed_at <= Instant::now() {
                        heed_at = Instant::now() + HEED_INTERVAL;
                        poll_at = Instant::now();
                    }
                    // It asks the others, too, before any clock is set.
                    if failure.other_time().is_some() && feed.skewed.insert(member) {
                        poll_at = Instant::now();
                    }
                }
                () = until(subscribe_at) => {
                    for place in 0..feeds.each.len() {
                        self.subscribe(&mut feeds, place)?;
                    }
                }
                Some(pushed) = self.online.next() => {
                    Box::pin(self.take_pushed(pushed)).await?;
                    if self.mailboxes()?.len() != feeds.each.len() {
                        return Ok(Continue::Yes);
                    }
                }
                () = tokio::time::sleep_until(listen_at) => {
                    let has_news;
                    (listen_at, has_news) = Box::pin(self.keep_listening()).await?;
                    came = has_news;
                }
                () = Feeds::path_ended(&paths) => return Ok(Continue::Yes),
                () = changed(self.companion.as_ref()) => {
                    if self.mailboxes()?.len() != feeds.each.len() {
                        return Ok(Continue::Yes);
                    }
                }
                // Dropping the subscriptions first misses nothing: the cursor in the store is behind what was taken in.
                () = tokio::time::sleep_until(move_at) => {
                    feeds.each.iter().for_each(|feed| self.rotate(feed.mailbox.purpose));
                    return Ok(Continue::Yes);
                }
                () = tokio::time::sleep_until(spare_at) => {
                    spare_at = Instant::now() + SPARE_INTERVAL;
                    for feed in &feeds.each {
                        self.keep_spare(feed.mailbox.purpose)?;
                    }
                }
                () = tokio::time::sleep_until(tend_at) => {
                    came = self.tend()?;
                    tend_at = self.tend_at()?;
                }
                () = tokio::time::sleep_until(poll_at) => {
                    poll_at = Instant::now() + POLL_INTERVAL;
                    self.receive().await?;
                    self.send_waiting(usize::MAX).await?;
                    // Others keep the mail, and none of them may be a hop of the path; or the poll found a path silent; or
                    // there is a mailbox more.
                    if self.mailboxes()?.len() != feeds.each.len() {
                        return Ok(Continue::Yes);
                    }
                    for feed in &feeds.each {
                        if self.keepers(&feed.mailbox)? != feed.keepers || !self.paths.is_held(&feed.path) {
                            return Ok(Continue::Yes);
                        }
                    }
                }
            }
            if self.tell_new(follower)? == Continue::No {
                return Ok(Continue::No);
            }
            // Whoever is in touch now is told where it is listened for.
            if came && self.online.listens() {
                Box::pin(self.tell_places()).await?;
            }
            // What came may want an answer, such as the own keys; it is shown first.
            if came {
                self.send_waiting(ANSWERS).await?;
            }
        }
    }

    /// Sends what waits, or has it sent by whoever does that.
    async fn send_waiting(&mut self, limit: usize) -> Result<(), Error> {
        match &self.companion {
            Some(companion) => companion.waiting.notify_one(),
            None => drop(self.send_pending(limit).await?),
        }
        Ok(())
    }

    /// Tells what came and what changed since the last time.
    fn tell_new<F>(&mut self, follower: &mut Follower<F>) -> Result<Continue, Error>
    where
        F: FnMut(Followed, &mut Store) -> Continue,
    {
        if follower.tell_new(&mut self.account.store)? == Continue::No {
            return Ok(Continue::No);
        }
        let notices = self.notices();
        if notices.is_empty() {
            return Ok(Continue::Yes);
        }
        Ok(follower.tell(Followed::Noticed(notices), &mut self.account.store))
    }

    /// Subscribes where there is no subscription yet, until a feed has enough.
    fn subscribe(&mut self, feeds: &mut Feeds, place: usize) -> Result<(), Error> {
        let Some(feed) = feeds.each.get_mut(place) else { return Ok(()) };
        feed.subscribe_at = None;
        while let Some(feed) = feeds.each.get(place)
            && feed.members.len() < SUBSCRIPTIONS
            && let Some(to) = self.unsubscribed(feed)?
        {
            self.subscribe_at(to, feeds, place)?;
        }
        Ok(())
    }

    fn subscribe_at(&self, to: HopInfo, feeds: &mut Feeds, place: usize) -> Result<(), Error> {
        let Some(feed) = feeds.each.get_mut(place) else { return Ok(()) };
        let cursor = self.account.store.cursor(&feed.mailbox.address, &to.node)?;
        let read = self.asking(&feed.mailbox).sign::<Subscribe>(to.node, cursor);
        let (path, pages, quiet) = (feed.path.clone(), feeds.pages.clone(), self.patience * QUIET_TIMES);
        let running = async move { run_subscription(&path, to, read, (place, &pages), quiet).await };
        let task = feeds.running.spawn(running);
        feed.members.insert(task.id(), to.node);
        Ok(())
    }

    /// Something came back through the path of the subscriptions: whoever was silent meanwhile is marked.
    fn came_back(&mut self, feed: &mut Feed) {
        for member in feed.silence.end() {
            self.paths.slow(member);
        }
    }

    /// A random member without a subscription, one that was slow or silent lately only if there is no other.
    fn unsubscribed(&mut self, feed: &Feed) -> Result<Option<HopInfo>, Error> {
        let is_free = |node: &NodeId| !feed.members.values().any(|other| other == node);
        let mut free: Vec<_> = self.keepers(&feed.mailbox)?.iter().copied().filter(is_free).collect();
        crate::network::shuffle(&mut self.rng, &mut free);
        let silent = feed.silence.members();
        let first = self.slow_last(free).into_iter().min_by_key(|node| silent.contains(node));
        Ok(first.and_then(|node| hop(self.directory.nodes(), &node)))
    }

    /// Whether a member says that another swarm keeps the mail by now, after the list known.
    fn is_elsewhere(&self, failure: &MemberFailure) -> bool {
        failure.elsewhere().is_some_and(|height| height > self.directory.header().header.height)
    }

    /// Whoever ends a subscription while its path stands, for whatever reason, is subscribed at again only if there is
    /// nobody else; one that does not answer is marked only if others do. One that was quiet for long goes on at the same
    /// member. Returns the place of its feed.
    fn subscription_ended(
        &mut self,
        ended: Result<(tokio::task::Id, Result<(), MemberFailure>), tokio::task::JoinError>,
        feeds: &mut Feeds,
    ) -> Result<Option<Ended>, Error> {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, Some(ended)),
            Err(error) => {
                tracing::warn!(%error, "a subscription broke");
                (error.id(), None)
            }
        };
        let Some(place) = feeds.place(task) else { return Ok(None) };
        let Some(feed) = feeds.each.get_mut(place) else { return Ok(None) };
        let member = feed.members.remove(&task);
        let (Some(ended), Some(member)) = (ended, member) else { return Ok(Some((place, None))) };
        let Err(failure) = ended else {
            if let Some(to) = hop(self.directory.nodes(), &member) {
                self.subscribe_at(to, feeds, place)?;
            }
            return Ok(Some((place, None)));
        };
        tracing::debug!(%failure, "a subscription ended");
        match failure {
            MemberFailure::Tunnel(tunnel::Error::TimedOut) => {
                let expected = self.paths.shunned(self.directory.nodes()).contains(&member);
                feed.silence.add(member, expected);
            }
            _ if is_of_path(&failure) => {}
            _ => {
                self.came_back(feed);
                self.paths.slow(member);
            }
        }
        if matches!(failure, MemberFailure::Refused(request::Error::CursorUnknown)) {
            // Its database is another one: it is read from the beginning.
            self.account.store.drop_cursor(&feed.mailbox.address, &member)?;
        }
        Ok(Some((place, Some((member, failure)))))
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

/// Comes back when somebody else has changed the account; never if nobody does.
async fn changed(companion: Option<&Companion>) {
    match companion {
        Some(companion) => companion.changed.notified().await,
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
    (place, pages): (usize, &mpsc::Sender<(usize, NodeId, Records)>),
    quiet: Duration,
) -> Result<(), MemberFailure> {
    let begun = Tunnel::connect(path, to, Some(SwarmRequest::Subscribe(read)));
    let begun = timeout(SUBSCRIBE_PATIENCE, begun).await.map_err(|_| tunnel::Error::TimedOut)?;
    let (mut tunnel, first) = begun?;
    let mut answer = first.ok_or(MemberFailure::Nonsense)?;
    loop {
        let records = records_of(answer)?;
        // Whoever followed has stopped.
        pages.send((place, to.node, records)).await.map_err(|_| MemberFailure::Nonsense)?;
        let Ok(pushed) = timeout(quiet, tunnel.next()).await else { return Ok(()) };
        answer = pushed?;
    }
}
