//! A listening: a tunnel at a random active node outside the swarms that keep the account's mail, on a path of its own.
//!
//! The node is always told 64 tags: how many of them are somebody's it does not learn.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_core::Rng as _;
use sotto_behaviours::tunnel::client::{Error as TunnelError, Tunnel};
use sotto_proto::address::Address;
use sotto_proto::content::ListeningTag;
use sotto_proto::id::NodeId;
use sotto_proto::limits::{LISTEN_TAGS, PATH_AGE, PATH_NEW_STREAMS};
use sotto_proto::request::{ListenTags, SwarmRequest, SwarmResponse};
use sotto_proto::time::UnixSeconds;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::{Came, NODE_PATIENCE, NotOnline};
use crate::messenger::{Error, Messenger};
use crate::network::paths::{Purpose, hop};
use crate::network::shuffle;
use crate::store::{ListeningPlace, StoreError, Switch, Transaction};

/// Contacts are told a place until so long before its path ends: what is pushed then still arrives.
const BEFORE_END: Duration = Duration::from_secs(30);
/// The next listening begins when the path takes no new streams: both stand for minutes.
const RENEW_AT: Duration = PATH_NEW_STREAMS;
/// How long a place is good for that is told only to have a message acknowledged.
const MOMENT: Duration = Duration::from_secs(60);
/// Later than any place lasts.
const FOR_EVER: UnixSeconds = UnixSeconds(i64::MAX.unsigned_abs());
/// Nodes that are tried for one listening.
const NODES: usize = 3;
/// Between two looks whether there are other contacts.
pub(in crate::messenger) const LOOK: Duration = Duration::from_secs(5);
/// After no node could be listened at, the next is tried this much later.
const AGAIN: Duration = Duration::from_secs(15);

/// A listening. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) node: NodeId,
    pub(super) until: UnixSeconds,
    renew_at: Instant,
    /// What the node is told to listen to.
    tags: watch::Sender<ListenTags>,
    /// What fills the tags up.
    others: Vec<ListeningTag>,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    /// Whether something can still be pushed to it.
    fn stands(&self, now: UnixSeconds) -> bool {
        !self.task.is_finished() && self.until > now
    }
}

impl Messenger {
    /// Keeps a listening for contacts if this messenger is to: the next one in time, with the tags of those that are
    /// contacts now. Returns when to look again, and whether contacts are to be told of a new one.
    ///
    /// # Errors
    /// [`Error::Store`]; without the network it is tried again.
    pub(in crate::messenger) async fn keep_listening(&mut self) -> Result<(Instant, bool), Error> {
        let now = self.clock.now().seconds();
        if !self.online.listens() {
            return Ok((Instant::now() + Duration::from_secs(3600), false));
        }
        self.online.listenings.retain(|listening| listening.stands(now));
        let is_due = self.online.listenings.last().is_none_or(|newest| newest.renew_at <= Instant::now());
        if !is_due {
            self.note_words()?;
            let has_missed = std::mem::take(&mut self.online.has_missed);
            let has_new = self.follow_contacts()?;
            self.keep_published().await?;
            return Ok((Instant::now() + LOOK, has_new || has_missed));
        }
        if self.online.listenings.is_empty() {
            // Those of a process that died.
            self.account.change(|tx, _| tx.drop_own_places(FOR_EVER))?;
        }
        let listeners = self.account.change(|tx, own| wanted(tx, &own.account.address()))?;
        match self.begin_listening(&listeners, PATH_AGE).await {
            Ok(()) => {
                self.online.publish_at = Instant::now();
                self.keep_published().await?;
                Ok((Instant::now() + LOOK, true))
            }
            Err(Error::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "no node to listen at");
                Ok((Instant::now() + AGAIN, false))
            }
        }
    }

    /// Listens for a contact for a moment, to hear what it acknowledges.
    pub(super) async fn listen_for_a_moment(&mut self, account: &Address) -> Result<(), Error> {
        let now = self.clock.now().seconds();
        self.online.listenings.retain(|listening| listening.stands(now));
        if self.online.listenings.is_empty() {
            self.account.change(|tx, _| tx.drop_own_places(FOR_EVER))?;
        }
        let own = self.account.change(|tx, _| tx.own_places(now))?;
        if own.iter().any(|own| own.account == *account) {
            return Ok(());
        }
        match self.online.listenings.last().map(|newest| (newest.node, newest.until)) {
            Some((node, until)) => {
                self.add_places(node, until, std::slice::from_ref(account))?;
                self.tell_nodes()
            }
            None => self.begin_listening(std::slice::from_ref(account), MOMENT).await,
        }
    }

    /// Listens at another node, for these contacts, for so long at most.
    async fn begin_listening(&mut self, contacts: &[Address], longest: Duration) -> Result<(), Error> {
        self.refresh_if_needed().await?;
        let mut last = Error::NotOnline(NotOnline::Nowhere);
        for node in self.listening_nodes()? {
            match Box::pin(self.listen_at(node, contacts, longest)).await {
                Ok(()) => return Ok(()),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "another node is tried");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Some that may be listened at, at random; those that failed lately last.
    fn listening_nodes(&mut self) -> Result<Vec<NodeId>, Error> {
        let avoid = self.avoid([])?;
        let used: BTreeSet<_> = self.online.listenings.iter().map(|listening| listening.node).collect();
        let nodes = self.directory.nodes().values().filter(|record| avoid.allows(record)).map(|record| record.node);
        let mut nodes: Vec<_> = nodes.filter(|node| !used.contains(node)).collect();
        shuffle(&mut self.rng, &mut nodes);
        nodes = self.slow_last(nodes);
        nodes.truncate(NODES);
        Ok(nodes)
    }

    async fn listen_at(&mut self, node: NodeId, contacts: &[Address], longest: Duration) -> Result<(), Error> {
        let to = hop(self.directory.nodes(), &node).ok_or(Error::NotOnline(NotOnline::Nowhere))?;
        let mut avoid = self.avoid([])?;
        avoid.nodes.insert(node);
        // Each has its path: what was listened to before stays on its own.
        self.rotate(Purpose::Listen);
        let path = self.path_without(Purpose::Listen, &avoid).await?;
        let left = (PATH_AGE - BEFORE_END).saturating_sub(path.age()).min(longest);
        let until = UnixSeconds(self.clock.now().seconds().0.saturating_add(left.as_secs()));
        let others: Vec<_> = (0..LISTEN_TAGS).map(|_| self.draw_tag()).collect();
        let tags = self.add_places(node, until, contacts)?;
        let told = filled_up(&tags, &others)?;
        let begun = timeout(NODE_PATIENCE, begin(&path, to, told.clone())).await;
        let tunnel = match begun.unwrap_or(Err(TunnelError::TimedOut)) {
            Ok(Some(tunnel)) => tunnel,
            failed => {
                self.paths.slow(node);
                let reason = failed.err().map_or_else(|| "it takes no more".to_owned(), |error| error.to_string());
                return Err(Error::NotOnline(NotOnline::Refused(reason)));
            }
        };
        let (sender, tags) = watch::channel(told);
        let task = tokio::spawn(run(tunnel, node, tags, self.online.sender.clone())).abort_handle();
        let renew_at = Instant::now() + RENEW_AT.saturating_sub(path.age());
        self.online.listenings.push(Listening { node, until, renew_at, tags: sender, others, task });
        Ok(())
    }

    fn draw_tag(&mut self) -> ListeningTag {
        let mut tag = [0; ListeningTag::LEN];
        self.rng.fill_bytes(&mut tag);
        ListeningTag::new(tag)
    }

    /// Notes a place for each of these contacts, by a tag of its own.
    fn add_places(
        &mut self,
        node: NodeId,
        until: UnixSeconds,
        contacts: &[Address],
    ) -> Result<Vec<ListeningTag>, StoreError> {
        let places: Vec<_> = contacts.iter().map(|account| (*account, self.draw_tag())).collect();
        self.account.change(|tx, _| {
            for (account, tag) in &places {
                tx.add_own_place(account, &ListeningPlace { node, tag: *tag, until })?;
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(places.into_iter().map(|(_, tag)| tag).collect())
    }

    /// Takes tags of those that are contacts no more from the node, and gives it those of new contacts. True if there are
    /// any that are not told yet.
    fn follow_contacts(&mut self) -> Result<bool, Error> {
        let now = self.clock.now().seconds();
        let (own, public, wanted, is_taken_back) = self.account.change(|tx, own| {
            let address = own.account.address();
            tx.drop_own_places(now)?;
            let is_on = tx.is_on(Switch::PublicPresence)?;
            let is_taken_back = !is_on && tx.drop_public_places(&address)? > 0;
            let (own, public) = (tx.own_places(now)?, tx.public_places(&address, now)?);
            Ok::<_, StoreError>((own, public, wanted(tx, &address)?, is_taken_back))
        })?;
        let Some(newest) = self.online.listenings.last() else { return Ok(false) };
        let (node, until, address) = (newest.node, newest.until, self.address());
        let mut known: BTreeSet<_> = own.iter().filter(|own| own.place.node == node).map(|own| own.account).collect();
        if public.iter().any(|place| place.node == node) {
            known.insert(address);
        }
        let room = LISTEN_TAGS.saturating_sub(known.len());
        let new: Vec<_> = wanted.into_iter().filter(|account| !known.contains(account)).take(room).collect();
        if !new.is_empty() {
            self.add_places(node, until, &new)?;
        }
        if new.contains(&address) || is_taken_back {
            self.online.publish_at = Instant::now();
        }
        self.tell_nodes()?;
        Ok(new.iter().any(|account| *account != address))
    }

    /// Has each listening's node listen to the tags of those that are contacts now, and to the public one.
    fn tell_nodes(&mut self) -> Result<(), Error> {
        let now = self.clock.now().seconds();
        let (own, public) = self.account.change(|tx, own| {
            Ok::<_, StoreError>((tx.own_places(now)?, tx.public_places(&own.account.address(), now)?))
        })?;
        for listening in &self.online.listenings {
            let places = public.iter().chain(own.iter().map(|own| &own.place));
            let here = places.filter(|place| place.node == listening.node).map(|place| place.tag);
            let told = filled_up(&here.collect::<Vec<_>>(), &listening.others)?;
            listening.tags.send_if_modified(|tags| {
                let differs = *tags != told;
                *tags = told;
                differs
            });
        }
        Ok(())
    }
}

/// For whom this account listens: contacts in touch, and by its own id everybody, if it is to be known to be online.
fn wanted(tx: &Transaction<'_>, own: &Address) -> Result<Vec<Address>, StoreError> {
    let public = tx.is_on(Switch::PublicPresence)?.then_some(*own);
    let contacts = tx.heard_last(LISTEN_TAGS - 1)?;
    Ok(public.into_iter().chain(contacts.into_iter().map(|(account, _)| account)).collect())
}

/// So many tags, whoever they are for, in an order that says nothing.
fn filled_up(tags: &[ListeningTag], others: &[ListeningTag]) -> Result<ListenTags, Error> {
    let mut all: Vec<_> = tags.iter().chain(others).copied().take(LISTEN_TAGS).collect();
    all.sort_unstable();
    ListenTags::new(all).map_err(|error| Error::NotOnline(NotOnline::Refused(error.to_string())))
}

/// Begins to listen; `None` if the node does not let it.
async fn begin(
    path: &sotto_behaviours::onion::client::Path,
    to: sotto_behaviours::onion::HopInfo,
    tags: ListenTags,
) -> Result<Option<Tunnel>, TunnelError> {
    let (mut tunnel, _) = Tunnel::connect(path, to, None).await?;
    let answer = tunnel.request(SwarmRequest::Listen(tags)).await?;
    Ok((answer == SwarmResponse::Listening).then_some(tunnel))
}

/// Hands on what is pushed, until the tunnel ends or nobody wants it any more.
async fn run(mut tunnel: Tunnel, node: NodeId, mut tags: watch::Receiver<ListenTags>, sender: mpsc::Sender<Came>) {
    loop {
        tokio::select! {
            changed = tags.changed() => {
                let now = tags.borrow_and_update().clone();
                if changed.is_err() || tunnel.send(SwarmRequest::Listen(now)).await.is_err() {
                    return;
                }
            }
            answer = tunnel.next() => match answer {
                Ok(SwarmResponse::Pushed(push)) => {
                    if sender.send(Came { node, push }).await.is_err() {
                        return;
                    }
                }
                Ok(SwarmResponse::Listening) => {}
                // It does not take the new tags: what is told of them would be wrong.
                Ok(_) | Err(_) => return,
            },
        }
    }
}
