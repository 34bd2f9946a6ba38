//! Transactions that wait for a block.
//!
//! Two shares, so that whoever pays for a flood cannot keep nodes from reporting: what nodes sign by duty and without a
//! fee (reports, proofs, their own addresses and keys) is bounded by the number of nodes anyway and goes first; what
//! carries a fee follows, highest fee first. The transactions of one signer keep the order of their nonces.
//!
//! The pool holds and orders; whether a transaction is valid is for the caller to try. All sets are bounded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use sotto_proto::chain::Transaction;
use sotto_proto::id::{PublicKey, TxId};
use sotto_proto::time::Monotonic;

/// What a pool may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions in each of the two shares.
    pub count: usize,
    /// Bytes in each of the two shares.
    pub bytes: usize,
    /// Transactions of one signer, both shares together.
    pub per_signer: usize,
    /// How long a transaction may wait.
    pub lifetime: Duration,
    /// Waiting transactions that a new one is tried after, beside all of its own signer's.
    pub replayed: usize,
}

impl Default for Limits {
    /// Room for four full blocks in each share. A node has at most a report, a proof and some changes under way, an
    /// operator registers a few nodes at once: 64 a signer is plenty. An hour bridges a stalled producer. Replaying 512
    /// takes some milliseconds; a whole crowded pool, after each block, would keep the network waiting. What the others
    /// make invalid is found when its block is made.
    fn default() -> Self {
        Self { count: 16_384, bytes: 4 << 20, per_signer: 64, lifetime: Duration::from_secs(3600), replayed: 512 }
    }
}

/// Why the pool takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The share is full.
    #[error("too many transactions wait for a block")]
    Pool,
    /// The signer has its part.
    #[error("{0} transactions of this signer wait for a block already")]
    Signer(usize),
}

/// Where a transaction stands in the order of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Paid,
    Upkeep,
    Duty,
}

impl Class {
    const fn of(transaction: &Transaction) -> Self {
        let payload = &transaction.body.payload;
        if payload.bears_fee() {
            Self::Paid
        } else if payload.bears_nonce() {
            Self::Upkeep
        } else {
            Self::Duty
        }
    }

    /// Index of the share it counts in.
    const fn share(self) -> usize {
        match self {
            Self::Paid => 1,
            Self::Upkeep | Self::Duty => 0,
        }
    }
}

/// One waiting transaction.
#[derive(Debug)]
struct Waiting {
    transaction: Transaction,
    bytes: usize,
    class: Class,
    arrived: Monotonic,
    /// Order of arrival.
    number: u64,
}

/// A signer's transactions: a number that ascends in the order in which they can take effect, and the id.
type Queue = BTreeSet<(u64, TxId)>;

#[derive(Debug, Default)]
struct Signer {
    /// By nonce.
    ordered: Queue,
    /// Without a nonce, by arrival.
    free: Queue,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    count: usize,
    bytes: usize,
}

/// What became of a transaction that was offered to a block.
#[derive(Debug)]
pub enum Offer<E> {
    /// It is in the block.
    Taken,
    /// It is valid for all one knows, but the block has no room left.
    NoRoom,
    /// It is not valid here.
    Refused(E),
}

/// What [`Pool::select`] did.
#[derive(Debug)]
pub struct Selection<E> {
    /// In the block, in this order; still in the pool until they are removed.
    pub taken: Vec<TxId>,
    /// Not valid any more, and gone from the pool.
    pub dropped: Vec<(TxId, E)>,
}

/// Heads of queues in the order in which they are offered.
type Heads = BinaryHeap<(Class, u64, Reverse<u64>, TxId)>;

/// Transactions that wait for a block; see the module's documentation.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    waiting: BTreeMap<TxId, Waiting>,
    signers: BTreeMap<PublicKey, Signer>,
    shares: [Share; 2],
    arrivals: u64,
}

impl Pool {
    /// Passes over refused transactions that may become valid through others of the same block.
    const PASSES: usize = 4;

    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, waiting: BTreeMap::new(), signers: BTreeMap::new(), shares: Default::default(), arrivals: 0 }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shares.iter().map(|share| share.bytes).sum()
    }

    /// Whether this one waits.
    #[must_use]
    pub fn contains(&self, id: &TxId) -> bool {
        self.waiting.contains_key(id)
    }

    /// How many nonce-bearing transactions of `signer` wait.
    #[must_use]
    pub fn nonces_waiting(&self, signer: &PublicKey) -> u64 {
        self.signers.get(signer).map_or(0, |signer| signer.ordered.len() as u64)
    }

    /// How many waiting transactions a new one is tried after.
    #[must_use]
    pub const fn replayed(&self) -> usize {
        self.limits.replayed
    }

    /// The waiting transactions of `signer`, in the order in which they can take effect.
    pub fn of(&self, signer: &PublicKey) -> impl Iterator<Item = &Transaction> {
        let queues = self.signers.get(signer).into_iter().flat_map(|own| own.ordered.iter().chain(&own.free));
        queues.filter_map(|(_, id)| self.waiting.get(id)).map(|waiting| &waiting.transaction)
    }

    /// Whether `transaction`, `bytes` long, would find room.
    ///
    /// # Errors
    /// [`Full`] says which bound it meets.
    pub fn room(&self, transaction: &Transaction, bytes: usize) -> Result<(), Full> {
        let share = &self.shares[Class::of(transaction).share()];
        if share.count >= self.limits.count || share.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Pool);
        }
        let own = self.signers.get(&transaction.body.signer).map_or(0, |own| own.ordered.len() + own.free.len());
        if own >= self.limits.per_signer { Err(Full::Signer(own)) } else { Ok(()) }
    }

    /// Takes in a transaction that was found valid. One that waits already is left as it is.
    ///
    /// # Errors
    /// [`Full`] as [`Pool::room`].
    pub fn insert(&mut self, id: TxId, transaction: Transaction, now: Monotonic) -> Result<(), Full> {
        if self.contains(&id) {
            return Ok(());
        }
        let bytes = transaction.encode().len();
        self.room(&transaction, bytes)?;
        let (class, number) = (Class::of(&transaction), self.arrivals);
        self.arrivals += 1;
        let share = &mut self.shares[class.share()];
        (share.count, share.bytes) = (share.count + 1, share.bytes + bytes);
        let signer = self.signers.entry(transaction.body.signer).or_default();
        if transaction.body.payload.bears_nonce() {
            signer.ordered.insert((transaction.body.nonce, id));
        } else {
            signer.free.insert((number, id));
        }
        self.waiting.insert(id, Waiting { transaction, bytes, class, arrived: now, number });
        Ok(())
    }

    /// Takes out one transaction.
    pub fn remove(&mut self, id: &TxId) -> Option<Transaction> {
        let Waiting { transaction, bytes, class, number, .. } = self.waiting.remove(id)?;
        let share = &mut self.shares[class.share()];
        (share.count, share.bytes) = (share.count - 1, share.bytes - bytes);
        if let Some(signer) = self.signers.get_mut(&transaction.body.signer) {
            signer.ordered.remove(&(transaction.body.nonce, *id));
            signer.free.remove(&(number, *id));
            if signer.ordered.is_empty() && signer.free.is_empty() {
                self.signers.remove(&transaction.body.signer);
            }
        }
        Some(transaction)
    }

    /// Takes out what has waited too long.
    pub fn expire(&mut self, now: Monotonic) -> Vec<TxId> {
        let lifetime = self.limits.lifetime;
        let old = |waiting: &Waiting| now.since(waiting.arrived) > lifetime;
        let expired: Vec<TxId> = self.waiting.iter().filter(|(_, waiting)| old(waiting)).map(|(id, _)| *id).collect();
        for id in &expired {
            self.remove(id);
        }
        expired
    }

    /// Offers the waiting transactions in the order of a block. What is refused is offered again after the others,
    /// because it may rest on one of them, and then dropped: unless the block is full or passes ran out, when it gets
    /// another chance with the next.
    pub fn select<E>(&mut self, mut offer: impl FnMut(&Transaction) -> Offer<E>) -> Selection<E> {
        let mut taken = Vec::new();
        let mut refused: Vec<(TxId, E)> = Vec::new();
        let mut full = false;
        self.pass(|id, transaction| match offer(transaction) {
            Offer::Taken => {
                taken.push(id);
                true
            }
            Offer::NoRoom => {
                full = true;
                false
            }
            Offer::Refused(error) => {
                refused.push((id, error));
                true
            }
        });
        let mut progress = !taken.is_empty();
        for _ in 1..Self::PASSES {
            if !progress || refused.is_empty() {
                break;
            }
            progress = false;
            for (id, _) in std::mem::take(&mut refused) {
                let Some(waiting) = self.waiting.get(&id) else { continue };
                match offer(&waiting.transaction) {
                    Offer::Taken => {
                        taken.push(id);
                        progress = true;
                    }
                    Offer::NoRoom => full = true,
                    Offer::Refused(error) => refused.push((id, error)),
                }
            }
        }
        if full || progress {
            refused.clear();
        }
        for (id, _) in &refused {
            self.remove(id);
        }
        Selection { taken, dropped: refused }
    }

    /// Visits all transactions in the order of a block; a visitor that says `false` sees no more of that queue.
    fn pass(&self, mut visit: impl FnMut(TxId, &Transaction) -> bool) {
        let mut queues: BTreeMap<TxId, std::collections::btree_set::Iter<'_, (u64, TxId)>> = BTreeMap::new();
        let mut heads = Heads::new();
        for signer in self.signers.values() {
            for queue in [&signer.ordered, &signer.free] {
                self.advance(queue.iter(), &mut queues, &mut heads);
            }
        }
        while let Some((.., id)) = heads.pop() {
            let queue = queues.remove(&id);
            let Some(waiting) = self.waiting.get(&id) else { continue };
            if visit(id, &waiting.transaction)
                && let Some(queue) = queue
            {
                self.advance(queue, &mut queues, &mut heads);
            }
        }
    }

    /// Makes a queue's next transaction a head.
    fn advance<'a>(
        &self,
        mut queue: std::collections::btree_set::Iter<'a, (u64, TxId)>,
        queues: &mut BTreeMap<TxId, std::collections::btree_set::Iter<'a, (u64, TxId)>>,
        heads: &mut Heads,
    ) {
        if let Some((_, id)) = queue.next()
            && let Some(waiting) = self.waiting.get(id)
        {
            heads.push((waiting.class, waiting.transaction.body.fee.0, Reverse(waiting.number), *id));
            queues.insert(*id, queue);
        }
    }
}

#[cfg(test)]
mod tests;
