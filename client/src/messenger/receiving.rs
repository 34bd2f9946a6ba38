//! Receiving: polls of some members, merged by record id.
//!
//! What a member tells goes into the store together with the cursor behind it, in one transaction: whatever happens in
//! between, nothing is missed and nothing is taken in twice. Showing it is another matter: `unshown` says what was not.

use std::collections::BTreeSet;

use sotto_proto::envelope::Record;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::{MEMBER_TIMESTAMP_FUTURE_SECONDS, TTL_SECONDS};
use sotto_proto::request::{Cursor, Records};
use sotto_proto::time::{UnixMillis, UnixSeconds};
use tokio::time::Instant;

use super::asking::{Asking, Reader, believe, open};
use super::kill_point::KillPoint;
use super::mailbox::Mailbox;
use super::pages::{Outcome, Reading};
use super::refresh::Newer;
use super::{Error, Messenger};
use crate::conversation::{self, Me};
use crate::network::hedge::{self, Plan};
use crate::network::paths::hop;
use crate::network::polls::{PER_POLL, Polls};
use crate::network::ways::Ways;
use crate::store::{Arrival, InboxMessage, StoreError};

/// Members that are asked at once.
const AT_ONCE: usize = 4;

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// New messages, in order of their arrival here.
    pub messages: Vec<InboxMessage>,
    /// Whether there is nothing more to be had: enough members answered, one of them has everything, and whoever has
    /// more than it told in time was made up for by another.
    pub caught_up: bool,
    /// Whether all members that told everything they have are still taking over records from others.
    pub syncing: bool,
    /// Members that told everything they have.
    pub answered: usize,
    /// Members that were asked, each counted once.
    pub asked: usize,
}

impl Received {
    /// With what another mailbox brought.
    fn and(&mut self, other: Self) {
        self.messages.extend(other.messages);
        self.caught_up &= other.caught_up;
        self.syncing |= other.syncing;
        self.answered += other.answered;
        self.asked += other.asked;
    }
}

/// What one poll came to.
struct Polled {
    received: Received,
    /// Members that told anything, were it only what is known.
    told: usize,
    /// The largest final height at which a member sees another swarm keep the mail.
    moved: Option<Height>,
    /// Why the last one that told nothing did not.
    last: Option<String>,
}

impl Messenger {
    /// Asks members of the swarms that keep the account's mail, and takes in what they have. One swarm that does not answer
    /// keeps nothing away that others have.
    ///
    /// # Errors
    /// [`Error`] if nobody tells anything.
    pub async fn receive(&mut self) -> Result<Received, Error> {
        self.refresh_if_needed().await?;
        self.account.store.forget_seen(self.clock.now().seconds())?;
        self.tidy()?;
        self.tend()?;
        let (mut all, mut failure) = (None::<Received>, None);
        for mailbox in self.mailboxes()? {
            match self.receive_at(&mailbox).await {
                Ok(received) => match &mut all {
                    Some(all) => all.and(received),
                    None => all = Some(received),
                },
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, ?mailbox, "a mailbox was not read");
                    failure = Some(error);
                }
            }
        }
        match (all, failure) {
            (Some(received), None) => Ok(received),
            (Some(received), Some(_)) => Ok(Received { caught_up: false, ..received }),
            (None, failure) => Err(failure.unwrap_or(Error::NoOwner)),
        }
    }

    /// Reads one mailbox. Where members say that another swarm keeps it by now, the list is renewed and those of that swarm
    /// are asked, once.
    async fn receive_at(&mut self, mailbox: &Mailbox) -> Result<Received, Error> {
        let before = self.keepers(mailbox)?.to_vec();
        let Polled { mut received, told, moved, last } = self.poll(mailbox).await?;
        let is_newer = match moved {
            Some(height) => matches!(self.refresh_for(height).await?, Newer::Adopted),
            None => false,
        };
        if is_newer && self.keepers(mailbox)? != before {
            match self.poll(mailbox).await {
                Ok(again) if again.told > 0 => {
                    received.messages.extend(again.received.messages);
                    return Ok(Received { messages: received.messages, ..again.received });
                }
                Err(Error::Store(error)) => return Err(error.into()),
                // What was taken in before stays.
                Ok(_) => received.caught_up = false,
                Err(error) => {
                    tracing::debug!(%error, "those who keep the mail now were not asked");
                    received.caught_up = false;
                }
            }
        }
        if told == 0 {
            let last = last.unwrap_or_else(|| "the swarm has no members".into());
            return Err(Error::NoAnswer { asked: received.asked, last });
        }
        Ok(received)
    }

    /// Keys and sessions that are over go, and new keys are given out in time.
    fn tidy(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let tidied = self.account.change(|tx, own| {
            let me = Me { chain: &self.chain, account: own.account, name: own.name, now };
            conversation::tidy(tx, &me, &mut self.rng)
        });
        match tidied {
            Ok(()) => Ok(()),
            Err(conversation::Error::Store(error)) => Err(error.into()),
            Err(error) => Err(Error::Conversation(error)),
        }
    }

    /// One poll of the swarm that keeps the mail by the list known.
    async fn poll(&mut self, mailbox: &Mailbox) -> Result<Polled, Error> {
        let avoid = self.avoid([])?;
        let mut path = self.path_without(mailbox.purpose, &avoid).await?;
        let mut polls = self.polls(mailbox)?;
        // Whatever members say of the time later, what they tell in this poll is not judged by it.
        let now = self.clock.now();
        let members = self.keepers(mailbox)?.to_vec();
        let slow = self.paths.shunned(self.directory.nodes());
        let poll = polls.next(&members, now.seconds(), &mut self.rng).slow_last(&slow);
        let mut received = Received { messages: Vec::new(), caught_up: false, syncing: false, answered: 0, asked: 0 };
        let (mut heard, mut complete, mut last, mut moved) = (0, false, None, None);
        // Members that were not read to the end, and whether others may still be asked in their place.
        let (mut unread, mut again) = (0, true);
        // Those who refuse our time, and whether they may still be asked again.
        let (mut refusals, mut anew) = (Vec::new(), true);
        // Whether anything came back through the path; whether it fell silent since, and under whom.
        let (mut proven, mut fell_silent, mut under) = (false, false, Vec::new());
        let (all, mut due) = (poll.members.len(), poll.members.len());
        let mut readers = self.readers(mailbox, poll.members.into_iter().chain(poll.spare))?;
        let mut asked = BTreeSet::new();
        let mut deadline = Instant::now() + self.patience;
        while due > 0 || received.answered < PER_POLL {
            let plan = Plan {
                candidates: readers.len(),
                due,
                needed: PER_POLL.saturating_sub(received.answered),
                least: usize::from(received.answered == 0),
                at_once: AT_ONCE,
                patience: deadline.saturating_duration_since(Instant::now()),
            };
            let asking = self.asking(mailbox);
            let (nodes, paths) = (self.directory.nodes(), &mut self.paths);
            let second = async { paths.another(nodes, mailbox.purpose, &avoid, &path).await.ok() };
            let ways = Ways::new(path.clone(), second);
            if proven {
                ways.heard(&path);
            }
            let reader = |place: usize| readers.get(place).copied();
            let told = hedge::ask(plan, |place| open(&ways, place >= due, reader(place), &asking)).await;
            let (better, is_heard, blames) = (ways.better(), ways.is_heard(), ways.blames(told.late.len()));
            proven = better.is_some() || is_heard;
            drop(ways);
            if told.asked == 0 {
                break;
            }
            asked.extend(readers.iter().take(told.asked).map(|(to, _)| to.node));
            heard += told.answers.len();
            due = due.saturating_sub(told.asked);
            if is_heard {
                // It was not the path.
                fell_silent = false;
                under.drain(..).for_each(|node| self.paths.slow(node));
            }
            for node in told.late.iter().filter_map(|place| readers.get(*place)).map(|(to, _)| to.node) {
                tracing::debug!(node = node.short(), "a member is slow");
                last = Some("no answer in time".to_owned());
                if blames && !fell_silent {
                    self.paths.slow(node);
                }
            }
            if let Some(better) = better {
                self.paths.silent(&path, &better);
                path = better;
                fell_silent = false;
                under.clear();
            }
            for (_, (failure, refusal)) in told.failures {
                moved = failure.elsewhere().max(moved);
                last = Some(failure.to_string());
                refusals.extend(refusal);
            }
            let first = told.answers.into_iter().filter_map(|(place, (tunnel, records))| {
                Some((Reading::new(readers.get(place)?.0.node, tunnel), records))
            });
            let read = self.take_pages(mailbox, first, now, &mut received.messages).await?;
            proven &= !read.none_came;
            for (node, outcome) in read.members {
                match outcome {
                    Outcome::Everything { syncing } => {
                        received.answered += 1;
                        complete |= !syncing;
                        polls.answered(node, now.seconds());
                    }
                    Outcome::Failed(failure) => {
                        unread += 1;
                        polls.answered(node, now.seconds());
                        tracing::debug!(node = node.short(), %failure, "a member told only a part");
                        last = Some(failure.to_string());
                    }
                    Outcome::Late => {
                        unread += 1;
                        polls.answered(node, now.seconds());
                        tracing::debug!(node = node.short(), "a member is slow with its pages");
                        last = Some("not everything in time".to_owned());
                        if read.suspects_path {
                            under.push(node);
                        } else {
                            self.paths.slow(node);
                        }
                    }
                }
            }
            readers.drain(..told.asked);
            if read.suspects_path {
                // Another member is asked through it before it is condemned.
                fell_silent = true;
                due = due.max(1).min(readers.len());
            }
            if refusals.len() > heard {
                if !readers.is_empty() {
                    // A few that lie must not set the clock: all others are asked before those who refuse are believed.
                    due = readers.len();
                } else if std::mem::take(&mut anew) {
                    readers = believe(std::mem::take(&mut refusals), &self.clock);
                    due = if poll.wants_all { readers.len() } else { 0 };
                }
            }
            // Their pages may have taken all the time there was: once, others get as much.
            if unread > 0 && (due > 0 || received.answered < PER_POLL) && std::mem::take(&mut again) {
                deadline = deadline.max(Instant::now() + self.patience);
            }
        }
        self.account.store.set_setting(mailbox.polls(), &polls.encode())?;
        self.keep_scores()?;
        if fell_silent || (heard == 0 && !proven) {
            // It may be the path that is silent.
            self.paths.give_up(&path);
        }
        let enough = if poll.wants_all { all } else { 1 };
        let made_up_for = unread == 0 || received.answered >= PER_POLL;
        received.caught_up = complete && made_up_for && received.answered >= enough;
        received.syncing = received.answered > 0 && !complete;
        received.asked = asked.len();
        Ok(Polled { received, told: heard, moved, last })
    }

    /// How nodes are asked, and how far each was read.
    fn readers(&self, mailbox: &Mailbox, nodes: impl IntoIterator<Item = NodeId>) -> Result<Vec<Reader>, Error> {
        let hops = nodes.into_iter().filter_map(|node| hop(self.directory.nodes(), &node));
        hops.map(|to| Ok((to, self.account.store.cursor(&mailbox.address, &to.node)?))).collect()
    }

    /// Those that were slow or failed lately behind the others.
    pub(super) fn slow_last(&mut self, mut nodes: Vec<NodeId>) -> Vec<NodeId> {
        let slow = self.paths.shunned(self.directory.nodes());
        nodes.sort_by_key(|node| slow.contains(node));
        nodes
    }

    /// Opens what a member told, does what it says, and takes it into the store with the cursor behind it, all or nothing:
    /// what a session decrypted and how far its ratchet went belong together. What is over by the time of `now` is dropped.
    /// Nodes vouch for nothing here: ids are computed, and what does not open was not written for us.
    pub(super) fn take_in(
        &mut self,
        mailbox: &Mailbox,
        node: NodeId,
        records: Records,
        now: UnixMillis,
    ) -> Result<Vec<InboxMessage>, Error> {
        let cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
        let (chain, rng, probe) = (&self.chain, &mut self.rng, &mut self.probe);
        let (fresh, notices) = self.account.change(|tx, own| {
            let me = Me { chain, account: own.account, name: own.name, now };
            let (mut fresh, mut notices) = (Vec::new(), Vec::new());
            for stored in &records.records {
                let Ok(record) = Record::decode(&stored.record) else { continue };
                let (id, envelope) = (record.envelope().id(chain), record.envelope());
                let is_new = envelope.address() == mailbox.address && !is_over(envelope.expiry(), now);
                if !is_new || tx.has_seen(&id)? {
                    continue;
                }
                let outcome = conversation::hear(tx, &me, envelope, rng)?;
                notices.extend(outcome.notices);
                let letter = outcome.letter;
                let expiry = believable(envelope.expiry(), now);
                fresh.extend(tx.take(Arrival { record: id, expiry, letter }, now)?);
            }
            tx.set_cursor(&mailbox.address, &node, cursor)?;
            probe.pass(KillPoint::Opened);
            Ok::<_, StoreError>((fresh, notices))
        })?;
        self.note(notices);
        self.probe.pass(KillPoint::TakenIn);
        Ok(fresh)
    }

    pub(super) fn asking(&self, mailbox: &Mailbox) -> Asking {
        Asking { chain: self.chain, mailbox: mailbox.clone(), clock: self.clock.clone() }
    }

    pub(super) fn polls(&self, mailbox: &Mailbox) -> Result<Polls, Error> {
        let stored = self.account.store.setting(mailbox.polls())?;
        // Lost times only make the next poll ask everybody.
        Ok(stored.and_then(|bytes| Polls::decode(&bytes).ok()).unwrap_or_default())
    }
}

fn is_over(expiry: UnixSeconds, now: UnixMillis) -> bool {
    expiry <= now.seconds()
}

/// No node keeps a record longer than from now to this, so it is remembered no longer, whatever a stranger has written
/// into it.
fn believable(expiry: UnixSeconds, now: UnixMillis) -> UnixSeconds {
    let latest = now.seconds().0 + MEMBER_TIMESTAMP_FUTURE_SECONDS + u64::from(*TTL_SECONDS.end());
    expiry.min(UnixSeconds(latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_remembered_no_longer_than_a_node_may_keep_it() {
        let now = UnixMillis(1_000_000);
        let latest = 1000 + MEMBER_TIMESTAMP_FUTURE_SECONDS + u64::from(*TTL_SECONDS.end());
        for (expiry, remembered) in [(1001, 1001), (latest, latest), (latest + 1, latest), (u64::MAX, latest)] {
            assert_eq!(believable(UnixSeconds(expiry), now), UnixSeconds(remembered));
        }
    }
}
