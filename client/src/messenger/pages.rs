//! The pages of a poll: the first ones of all members, and those behind them.
//!
//! ```text
//! member 1 ── first page ─┐             ┌─ more ── page ── page ── everything
//! member 2 ── first page ─┴─ taken in ──┴─ more ──── … drips … ──── late
//! ```
//!
//! Whoever has more is read beside the others, and all of them together only for so long: a member that hands out its
//! pages one by one, each just in time, holds up nobody. What came of it counts, and its cursor is behind that.

use std::collections::{BTreeSet, VecDeque};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::id::NodeId;
use sotto_proto::request::{Cursor, Records, Retrieve, SwarmRequest};
use sotto_proto::time::UnixMillis;
use tokio::time::{Instant, timeout_at};

use super::asking::{MemberFailure, records_of};
use super::mailbox::Mailbox;
use super::{Error, Messenger};
use crate::store::InboxMessage;

/// Pages of one member in one poll: what a mailbox may hold twice over.
const PAGES: usize = 256;
/// How long the pages behind the first ones may take, in times of what one answer may: the rest comes with the next poll.
const PATIENCE_TIMES: u32 = 3;

/// A member whose first page came.
pub(super) struct Reading {
    node: NodeId,
    tunnel: Tunnel,
    cursor: Cursor,
    pages: usize,
}

impl Reading {
    pub(super) fn new(node: NodeId, tunnel: Tunnel) -> Self {
        Self { node, tunnel, cursor: Cursor::default(), pages: 0 }
    }

    async fn next(mut self, question: SwarmRequest) -> (Self, Result<Records, MemberFailure>) {
        let answer = self.tunnel.request(question).await;
        (self, answer.map_err(MemberFailure::from).and_then(records_of))
    }

    /// Whether a page leads on, and there were not too many.
    const fn is_sensible(&self, next: &Records) -> bool {
        self.pages < PAGES && (!next.more || next.next_seq > self.cursor.seq)
    }
}

/// How a member was read.
pub(super) enum Outcome {
    /// It told everything it has.
    Everything {
        /// Whether it is still taking over records itself.
        syncing: bool,
    },
    /// It failed behind its first page.
    Failed(MemberFailure),
    /// It has more, and took too long.
    Late,
}

/// How all of them were read.
pub(super) struct Read {
    /// Each, in no order.
    pub(super) members: Vec<(NodeId, Outcome)>,
    /// Somebody is late, and no page behind the first ones came: nothing says that the path still serves.
    pub(super) none_came: bool,
    /// Several are late, and no page came: it may be the path that fell silent, not they.
    pub(super) suspects_path: bool,
}

impl Messenger {
    /// Takes in the first pages, and those behind them as they come. `messages` are the new ones of all of them; what is
    /// over is told by `now`.
    ///
    /// # Errors
    /// [`Error`] of the store.
    pub(super) async fn take_pages(
        &mut self,
        mailbox: &Mailbox,
        first: impl IntoIterator<Item = (Reading, Records)>,
        now: UnixMillis,
        messages: &mut Vec<InboxMessage>,
    ) -> Result<Read, Error> {
        let until = Instant::now() + self.patience * PATIENCE_TIMES;
        let mut arrived: VecDeque<_> = first.into_iter().collect();
        let (mut asked, mut pending) = (BTreeSet::new(), FuturesUnordered::new());
        let (mut members, mut came) = (Vec::new(), false);
        loop {
            while let Some((mut reading, records)) = arrived.pop_front() {
                let (node, more, syncing) = (reading.node, records.more, records.syncing);
                reading.cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
                reading.pages += 1;
                messages.extend(self.take_in(mailbox, node, records, now)?);
                if !more {
                    members.push((node, Outcome::Everything { syncing }));
                    continue;
                }
                let question = self.asking(mailbox).sign::<Retrieve>(node, Some(reading.cursor));
                asked.insert(node);
                pending.push(reading.next(SwarmRequest::Retrieve(question)));
            }
            let Ok(next) = timeout_at(until, pending.next()).await else { break };
            let Some((reading, answer)) = next else { break };
            asked.remove(&reading.node);
            came |= !matches!(answer, Err(MemberFailure::Tunnel(_)));
            match answer {
                Ok(records) if reading.is_sensible(&records) => arrived.push_back((reading, records)),
                Ok(_) => members.push((reading.node, Outcome::Failed(MemberFailure::Nonsense))),
                Err(MemberFailure::Tunnel(tunnel::Error::TimedOut)) => members.push((reading.node, Outcome::Late)),
                Err(failure) => members.push((reading.node, Outcome::Failed(failure))),
            }
        }
        members.extend(asked.into_iter().map(|node| (node, Outcome::Late)));
        let late = members.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Late)).count();
        Ok(Read { members, none_came: !came && late > 0, suspects_path: !came && late > 1 })
    }
}
