//! Subscriptions: where there are any, when one ends, and at which member the next one begins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Path, StreamError};
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::request::{self, Records, SignedRead, Subscribe, SwarmRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::silence::Silence;
use crate::messenger::asking::{MemberFailure, records_of};
use crate::messenger::mailbox::Mailbox;
use crate::messenger::{Error, Messenger};
use crate::network::meeting::met_first;
use crate::network::paths::hop;

/// Members that are subscribed at.
pub(super) const SUBSCRIPTIONS: usize = 2;
/// How long a member may take to begin: most of the time there is nothing to tell yet.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(3);
/// A subscription that says nothing for so many times as long as one answer may take is made anew at the same member: one
/// that is frozen must not pass for a quiet mailbox.
const QUIET_TIMES: u32 = 9;

/// What is followed of one mailbox, on a path of its own.
pub(super) struct Feed {
    pub(super) mailbox: Mailbox,
    pub(super) path: Path,
    /// Those who keep the mailbox.
    pub(super) keepers: Vec<NodeId>,
    pub(super) members: BTreeMap<tokio::task::Id, NodeId>,
    pub(super) silence: Silence,
    pub(super) subscribe_at: Option<Instant>,
    /// Who has refused our time on this path: each brings a poll forward once.
    pub(super) skewed: BTreeSet<NodeId>,
}

/// A subscription that ended: the place of its feed; the member and why, if it failed.
pub(super) type Ended = (usize, Option<(NodeId, MemberFailure)>);

/// All that is followed. The first thing that goes wrong with a path ends it for all: what they are subscribed to goes on
/// behind the cursors.
pub(super) struct Feeds {
    pub(super) each: Vec<Feed>,
    pub(super) running: JoinSet<Result<(), MemberFailure>>,
    /// Pages with the place of their feed.
    pub(super) pages: mpsc::Sender<(usize, NodeId, Records)>,
}

impl Feeds {
    /// The place of the feed that a task belongs to.
    fn place(&self, task: tokio::task::Id) -> Option<usize> {
        self.each.iter().position(|feed| feed.members.contains_key(&task))
    }

    pub(super) fn subscribed(&self) -> usize {
        self.each.iter().map(|feed| feed.members.len()).sum()
    }

    /// When a feed is to be subscribed at more members.
    pub(super) fn subscribe_at(&self) -> Option<Instant> {
        self.each.iter().filter_map(|feed| feed.subscribe_at).min()
    }

    /// Comes back when a path has ended.
    pub(super) async fn path_ended(paths: &[Path]) {
        let ended = paths.iter().map(|path| Box::pin(path.closed()));
        let (end, ..) = futures::future::select_all(ended).await;
        tracing::debug!(?end, "a path of the subscriptions ended");
    }
}

impl Messenger {
    /// Subscribes where there is no subscription yet, until a feed has enough.
    pub(super) fn subscribe(&mut self, feeds: &mut Feeds, place: usize) -> Result<(), Error> {
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
    pub(super) fn came_back(&mut self, feed: &mut Feed) {
        for member in feed.silence.end() {
            self.paths.slow(member);
        }
    }

    /// A member without a subscription: one where senders meet this account, then any; one that was slow or silent lately
    /// only if there is no other.
    fn unsubscribed(&mut self, feed: &Feed) -> Result<Option<HopInfo>, Error> {
        let is_free = |node: &NodeId| !feed.members.values().any(|other| other == node);
        let mut free: Vec<_> = self.keepers(&feed.mailbox)?.iter().copied().filter(is_free).collect();
        crate::network::shuffle(&mut self.rng, &mut free);
        met_first(&mut free, &feed.mailbox.address, self.clock.now().seconds());
        let silent = feed.silence.members();
        let first = self.slow_last(free).into_iter().min_by_key(|node| silent.contains(node));
        Ok(first.and_then(|node| hop(self.directory.nodes(), &node)))
    }

    /// Whether a member says that another swarm keeps the mail by now, after the list known.
    pub(super) fn is_elsewhere(&self, failure: &MemberFailure) -> bool {
        failure.elsewhere().is_some_and(|height| height > self.directory.header().header.height)
    }

    /// Whoever ends a subscription while its path stands, for whatever reason, is subscribed at again only if there is
    /// nobody else; one that does not answer is marked only if others do. One that was quiet for long goes on at the same
    /// member. Returns the place of its feed.
    pub(super) fn subscription_ended(
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
