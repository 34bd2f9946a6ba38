//! From the pool to blocks, to disk, to the network.

use std::collections::BTreeSet;

use sotto_proto::chain::Block;
use sotto_proto::id::{BlockHash, Height, PublicKey, TxId};
use sotto_proto::time::{Now, UnixMillis};

use super::admit::{Admitted, next_time, offer};
use super::{Audience, Fate, Machine, Output, Refusal, Reply, Ticket};
use crate::producer::block_log::Entry;
use crate::producer::recovery::Link;
use crate::{BlockDraft, BlockError, State};

/// Most blocks asked for at once.
const MAX_PRODUCE: u64 = 10_000;
/// Blocks that go to disk together when many are wanted.
const BATCH: u64 = 16;
/// Jobs that wait.
const MAX_JOBS: usize = 16;

/// Blocks that are wanted out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// So many blocks more.
    Extend { ticket: Ticket, left: u64 },
    /// The last blocks undone and one more made.
    Reorg { ticket: Ticket, depth: u64 },
    /// Two branches of so many blocks, each for half of the peers: the first two blocks now, the others in turn.
    Heads { ticket: Ticket, blocks: u64 },
    /// Two blocks of one height for everybody.
    Equivocate { ticket: Ticket },
}

impl Job {
    const fn ticket(self) -> Ticket {
        let (Self::Extend { ticket, .. }
        | Self::Reorg { ticket, .. }
        | Self::Heads { ticket, .. }
        | Self::Equivocate { ticket }) = self;
        ticket
    }
}

/// A second branch beside the chain, as long as the chain is since the fork. It is never on disk: after a restart the
/// chain goes on with the first.
#[derive(Debug)]
pub(super) struct Split {
    /// Pairs of blocks still to be made, one at each turn.
    left: u64,
    /// The state that both branches follow.
    fork: State,
    /// The blocks of the second branch, lowest first; at most [`MAX_HEADS`](super::MAX_HEADS).
    blocks: Vec<Sealed>,
}

impl Split {
    /// The state after the second branch.
    fn tip(&self) -> &State {
        self.blocks.last().map_or(&self.fork, |sealed| &sealed.state)
    }
}

/// One block made here.
#[derive(Debug)]
struct Sealed {
    block: Block,
    state: State,
}

/// Blocks on their way to disk.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The block they follow.
    parent: Height,
    blocks: Vec<Sealed>,
    /// Where they are published.
    audience: Audience,
    /// Blocks of the same heights that are published beside them (a fault), and where.
    side: Vec<(Vec<u8>, Audience)>,
    /// Who is answered when they are on disk.
    replies: Vec<(Ticket, Reply)>,
    ids: BTreeSet<TxId>,
    /// The state after them.
    tip: State,
}

impl InFlight {
    /// Whether a transaction is in one of the blocks.
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.ids.contains(id)
    }

    /// The height of the last of the blocks.
    pub(super) fn height(&self) -> Height {
        self.tip.height()
    }

    /// The state after the last of the blocks.
    pub(super) fn tip(&self) -> &State {
        &self.tip
    }

    /// How many nonces of `key` the blocks use.
    pub(super) fn nonces_of(&self, key: &PublicKey) -> u64 {
        let transactions = self.blocks.iter().flat_map(|sealed| &sealed.block.transactions);
        transactions.filter(|tx| tx.body.signer == *key && tx.body.payload.bears_nonce()).count() as u64
    }
}

impl Machine {
    pub(super) fn on_timer(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.halted.is_some() {
            return;
        }
        for id in self.pool.expire(now.monotonic) {
            let reason = "waited too long for a block".to_owned();
            self.outcomes.set(id, Fate::Dropped(reason.clone()));
            out.push(Output::Dropped { id, reason });
        }
        // While the disk is slower than the blocks, a turn is left out rather than queued.
        if self.schedule.tick(now.monotonic) && self.in_flight.is_none() {
            match self.split.take() {
                Some(split) if split.left > 0 => self.widen(split, None, now, out),
                _ => self.extend(1, None, now, out),
            }
        }
    }

    pub(super) fn on_produce(&mut self, ticket: Ticket, count: u64, now: Now, out: &mut Vec<Output>) {
        if (1..=MAX_PRODUCE).contains(&count) {
            return self.enqueue(Job::Extend { ticket, left: count }, now, out);
        }
        let reply = Err(Refusal::Range { what: "number of blocks", actual: count, least: 1, most: MAX_PRODUCE });
        out.push(Output::Reply { ticket, reply });
    }

    /// Queues a job and begins it if nothing is under way.
    pub(super) fn enqueue(&mut self, job: Job, now: Now, out: &mut Vec<Output>) {
        let ticket = job.ticket();
        let refusal = match &self.halted {
            Some(reason) => Some(Refusal::Halted(reason.clone())),
            None => (self.jobs.len() >= MAX_JOBS).then_some(Refusal::Busy),
        };
        if let Some(refusal) = refusal {
            return out.push(Output::Reply { ticket, reply: Err(refusal) });
        }
        self.jobs.push_back(job);
        self.next_job(now, out);
    }

    fn next_job(&mut self, now: Now, out: &mut Vec<Output>) {
        while self.in_flight.is_none()
            && let Some(job) = self.jobs.pop_front()
        {
            // Whatever comes now is for everybody.
            self.split = None;
            match job {
                Job::Extend { ticket, left } => {
                    let count = left.min(BATCH);
                    let last = left == count;
                    if !last {
                        self.jobs.push_front(Job::Extend { ticket, left: left - count });
                    }
                    self.extend(count, last.then_some(ticket), now, out);
                }
                Job::Reorg { ticket, depth } => self.reorganise(ticket, depth, now, out),
                Job::Heads { ticket, blocks } => {
                    let split = Split { left: blocks, fork: self.chain.tip().clone(), blocks: Vec::new() };
                    self.widen(split, Some(ticket), now, out);
                }
                Job::Equivocate { ticket } => self.equivocate(ticket, now, out),
            }
        }
    }

    /// Makes `count` blocks on the tip.
    fn extend(&mut self, count: u64, ticket: Option<Ticket>, now: Now, out: &mut Vec<Output>) {
        let parent = self.chain.tip().clone();
        let sealed = self.build(&parent, count, now, out);
        let Some(blocks) = self.or_defect(sealed, out) else { return };
        let tip = parent.height().plus(count);
        let replies = ticket.map(|ticket| (ticket, Reply::Produced { tip })).into_iter().collect();
        self.launch(&parent, blocks, Audience::All, Vec::new(), replies, out);
    }

    /// Makes a branch that leaves the chain `depth` blocks below the tip and is one block longer.
    fn reorganise(&mut self, ticket: Ticket, depth: u64, now: Now, out: &mut Vec<Output>) {
        let fork = self.chain.tip().height().minus(depth);
        let Some(parent) = self.chain.at(fork).filter(|_| depth <= self.undoable()).cloned() else {
            let reply = Err(Refusal::TooDeep { depth, held: self.undoable() });
            return out.push(Output::Reply { ticket, reply });
        };
        // What the undone blocks held waits again; what finds no room was in a block nobody may rely on yet.
        for transaction in self.chain.transactions_above(fork) {
            let id = transaction.id(&parent.chain());
            match self.pool.insert(id, transaction, now.monotonic) {
                Ok(()) => self.outcomes.forget(&id),
                Err(full) => {
                    let reason = format!("undone with its block, and {full}");
                    self.outcomes.set(id, Fate::Dropped(reason.clone()));
                    out.push(Output::Dropped { id, reason });
                }
            }
        }
        let sealed = self.build(&parent, depth + 1, now, out);
        let Some(blocks) = self.or_defect(sealed, out) else { return };
        self.launch(&parent, blocks, Audience::All, Vec::new(), vec![(ticket, Reply::Faulted)], out);
    }

    /// Makes one block more on both branches of a split. Both are valid; the first is the chain, the second is only
    /// shown to others.
    fn widen(&mut self, mut split: Split, ticket: Option<Ticket>, now: Now, out: &mut Vec<Output>) {
        let parent = self.chain.tip().clone();
        let sealed = self.build(&parent, 1, now, out);
        let Some(first) = self.or_defect(sealed, out) else { return };
        let twin = self.twin(split.tip(), &first);
        let Some(twin) = self.or_defect(twin, out) else { return };
        let side = twin.iter().map(|sealed| (sealed.block.encode(), Audience::SecondHalf)).collect();
        split.left -= 1;
        split.blocks.extend(twin);
        self.split = Some(split);
        let replies = ticket.map(|ticket| (ticket, Reply::Faulted)).into_iter().collect();
        self.launch(&parent, first, Audience::FirstHalf, side, replies, out);
    }

    /// Makes two blocks of one height. The first stays.
    fn equivocate(&mut self, ticket: Ticket, now: Now, out: &mut Vec<Output>) {
        let parent = self.chain.tip().clone();
        let sealed = self.build(&parent, 1, now, out);
        let Some(first) = self.or_defect(sealed, out) else { return };
        let twin = self.twin(&parent, &first);
        let Some(twin) = self.or_defect(twin, out) else { return };
        let side = twin.iter().map(|sealed| (sealed.block.encode(), Audience::All)).collect();
        self.launch(&parent, first, Audience::All, side, vec![(ticket, Reply::Faulted)], out);
    }

    /// Hash of the second branch's newest block that may be seen, and the branch's blocks from `from` on; `None` while
    /// there is none, or if `from` is not above the fork.
    #[must_use]
    pub fn second_branch(&self, from: Height) -> Option<(BlockHash, impl Iterator<Item = Vec<u8>>)> {
        let split = self.split.as_ref().filter(|split| from > split.fork.height())?;
        // The newest pair may be on its way to disk.
        let tip = self.chain.tip().height();
        let shown = split.blocks.iter().filter(move |sealed| sealed.state.height() <= tip);
        let hash = shown.clone().next_back()?.state.tip_hash();
        let blocks = shown.filter(move |sealed| sealed.state.height() >= from);
        Some((hash, blocks.map(|sealed| sealed.block.encode())))
    }

    /// The same blocks a millisecond later, on a branch of their own. Transactions that hold on the first branch only
    /// are left out.
    fn twin(&self, parent: &State, first: &[Sealed]) -> Result<Vec<Sealed>, BlockError> {
        let mut state = parent.clone();
        let mut twins = Vec::new();
        for sealed in first {
            let time = UnixMillis(sealed.state.time().0.max(state.time().0).saturating_add(1));
            let mut draft = BlockDraft::begin(&state, time)?;
            for transaction in &sealed.block.transactions {
                let _left_out = draft.try_add(transaction.clone(), &Admitted);
            }
            let (block, next) = draft.seal(&self.authority);
            state = next.clone();
            twins.push(Sealed { block, state: next });
        }
        Ok(twins)
    }

    /// Makes `count` blocks after `parent` from the pool. What is in them has left the pool.
    fn build(
        &mut self,
        parent: &State,
        count: u64,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<Vec<Sealed>, BlockError> {
        self.draft = None;
        let mut state = parent.clone();
        let mut blocks = Vec::new();
        for _ in 0..count {
            let mut draft = BlockDraft::begin(&state, next_time(state.time(), now))?;
            let selection = self.pool.select(|transaction| offer(&mut draft, transaction));
            self.drop_all(selection.dropped, out);
            for id in &selection.taken {
                self.pool.remove(id);
            }
            let (block, next) = draft.seal(&self.authority);
            state = next.clone();
            blocks.push(Sealed { block, state: next });
        }
        Ok(blocks)
    }

    fn or_defect<T>(&mut self, made: Result<T, BlockError>, out: &mut Vec<Output>) -> Option<T> {
        made.map_err(|error| {
            self.halted = Some(format!("defect: {error}"));
            out.push(Output::Defect(error));
        })
        .ok()
    }

    /// Sends blocks to disk.
    fn launch(
        &mut self,
        parent: &State,
        blocks: Vec<Sealed>,
        audience: Audience,
        side: Vec<(Vec<u8>, Audience)>,
        replies: Vec<(Ticket, Reply)>,
        out: &mut Vec<Output>,
    ) {
        let chain = parent.chain();
        let tip = blocks.last().map_or_else(|| parent.clone(), |sealed| sealed.state.clone());
        let transactions = blocks.iter().flat_map(|sealed| &sealed.block.transactions);
        let ids = transactions.map(|transaction| transaction.id(&chain)).collect();
        out.push(Output::Persist(
            blocks.iter().map(|sealed| Entry { height: sealed.block.height(), block: sealed.block.encode() }).collect(),
        ));
        self.in_flight = Some(InFlight { parent: parent.height(), blocks, audience, side, replies, ids, tip });
    }

    /// The blocks are on disk: they are the chain now, and others may see them.
    pub(super) fn on_durable(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(flight) = self.in_flight.take() else { return };
        let undone = self.chain.tip().height().since(flight.parent);
        self.chain.undo(flight.parent);
        let added = flight.blocks.len() as u64;
        let chain = self.chain.tip().chain();
        let mut published = Vec::new();
        for Sealed { block, state } in flight.blocks {
            for transaction in &block.transactions {
                self.outcomes.set(transaction.id(&chain), Fate::Included(state.height()));
            }
            published.push(Output::Publish { block: block.encode(), audience: flight.audience });
            self.chain.push(Link { state, transactions: block.transactions });
        }
        out.push(Output::Adopted { undone, added });
        out.append(&mut published);
        out.extend(flight.side.into_iter().map(|(block, audience)| Output::Publish { block, audience }));
        out.extend(flight.replies.into_iter().map(|(ticket, reply)| Output::Reply { ticket, reply: Ok(reply) }));
        self.next_job(now, out);
    }

    /// How many blocks can be undone.
    pub(super) fn undoable(&self) -> u64 {
        self.chain.tip().height().since(self.chain.oldest().height())
    }
}
