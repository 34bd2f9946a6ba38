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
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::onion::client::Path;
use sotto_proto::limits::PATH_NEW_STREAMS;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::silence::Silence;
use self::subscriptions::{Feed, Feeds, SUBSCRIPTIONS};
use super::{Companion, Error, Messenger};
use crate::conversation::Notice;
use crate::network::clock::SharedClock;
use crate::network::paths::SETTLED;
use crate::store::{InboxMessage, InboxNumber, Store};

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
                    let acknowledge = self.hear(&pushed)?;
                    if let Some(companion) = &self.companion {
                        companion.heard.notify_one();
                    }
                    // Whoever follows has it while that is said.
                    if self.tell_new(follower)? == Continue::No {
                        return Ok(Continue::No);
                    }
                    if let Some(due) = acknowledge {
                        Box::pin(self.acknowledge(due)).await?;
                    }
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
