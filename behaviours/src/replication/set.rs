//! The items of a swarm, sorted by time, and what a scope leaves of them.
//!
//! They are kept in pieces of some hundred, so that one more costs the shifting of one piece and not of all, whether it
//! is new or comes late by repair. Forty-eight bytes an item; nothing is copied for a comparison.

use negentropy::{Bound, Id, NegentropyStorageBase};
use sotto_proto::id::ItemId;
use sotto_proto::request::{Fingerprint, Scope, Summary};
use sotto_proto::time::UnixSeconds;

use super::sum::Sum;

/// Items of a piece that is split.
const PIECE_MAX: usize = 1024;
/// Items that two neighbouring pieces are joined at.
const PIECE_MIN: usize = PIECE_MAX / 4;

/// An item of the set; ordered as the set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The record's timestamp, also of a tombstone.
    pub timestamp: UnixSeconds,
    /// Which item.
    pub id: ItemId,
    /// When it expires.
    pub expiry: UnixSeconds,
}

impl Entry {
    const fn key(&self) -> (UnixSeconds, ItemId) {
        (self.timestamp, self.id)
    }
}

/// Some neighbouring items; never empty.
#[derive(Clone, Debug)]
struct Piece {
    entries: Vec<Entry>,
    /// No item here expires before this. Too early after a removal: then the piece is looked through for nothing.
    earliest_expiry: UnixSeconds,
}

impl Piece {
    fn new(entries: Vec<Entry>) -> Self {
        let earliest_expiry = entries.iter().map(|entry| entry.expiry).min().unwrap_or_default();
        Self { entries, earliest_expiry }
    }

    fn find(&self, key: &(UnixSeconds, ItemId)) -> Result<usize, usize> {
        self.entries.binary_search_by_key(key, Entry::key)
    }
}

/// All items of one swarm that a node holds.
#[derive(Clone, Debug, Default)]
pub struct ItemSet {
    pieces: Vec<Piece>,
    len: usize,
    sum: Sum,
}

impl ItemSet {
    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item; false if it is there already.
    pub fn insert(&mut self, entry: Entry) -> bool {
        let key = entry.key();
        let index = self.piece_of(&key).min(self.pieces.len().saturating_sub(1));
        let Some(piece) = self.pieces.get_mut(index) else {
            self.pieces.push(Piece::new(vec![entry]));
            self.count(&entry.id);
            return true;
        };
        let Err(place) = piece.find(&key) else { return false };
        piece.entries.insert(place, entry);
        piece.earliest_expiry = piece.earliest_expiry.min(entry.expiry);
        if piece.entries.len() > PIECE_MAX {
            let upper = piece.entries.split_off(PIECE_MAX / 2);
            self.pieces.insert(index + 1, Piece::new(upper));
        }
        self.count(&entry.id);
        true
    }

    /// Takes an item out; false if it is not there.
    pub fn remove(&mut self, timestamp: UnixSeconds, id: &ItemId) -> bool {
        let key = (timestamp, *id);
        let index = self.piece_of(&key);
        let Some(piece) = self.pieces.get_mut(index) else { return false };
        let Ok(place) = piece.find(&key) else { return false };
        piece.entries.remove(place);
        self.len -= 1;
        self.sum.remove(id);
        self.join(index);
        true
    }

    /// Whether the item is there.
    #[must_use]
    pub fn contains(&self, timestamp: UnixSeconds, id: &ItemId) -> bool {
        let key = (timestamp, *id);
        self.pieces.get(self.piece_of(&key)).is_some_and(|piece| piece.find(&key).is_ok())
    }

    /// All items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flat_map(|piece| &piece.entries)
    }

    /// The items behind `last`, in order; from the first one on if it is `None`.
    pub fn after(&self, last: Option<&Entry>) -> impl Iterator<Item = &Entry> {
        let key = last.map(Entry::key);
        let first = key.map_or(0, |key| self.piece_of(&key));
        let rest = self.pieces.iter().skip(first).flat_map(|piece| &piece.entries);
        rest.skip_while(move |entry| key.is_some_and(|key| entry.key() <= key))
    }

    /// What `scope` leaves of the set; `scope.height` and `scope.swarm` are for the caller, who keeps one set for each
    /// swarm.
    #[must_use]
    pub fn view(&self, scope: Scope) -> View<'_> {
        View::new(self, scope)
    }

    fn count(&mut self, id: &ItemId) {
        self.len += 1;
        self.sum.add(id);
    }

    /// The first piece whose last item is not before `key`.
    fn piece_of(&self, key: &(UnixSeconds, ItemId)) -> usize {
        self.pieces.partition_point(|piece| piece.entries.last().is_some_and(|last| last.key() < *key))
    }

    /// Drops the piece if it is empty, and joins it with its neighbours where two are small together: pieces that lose
    /// their items one by one must not become many.
    fn join(&mut self, index: usize) {
        if self.pieces[index].entries.is_empty() {
            self.pieces.remove(index);
        } else {
            self.join_next(index);
        }
        if let Some(before) = index.checked_sub(1) {
            self.join_next(before);
        }
    }

    fn join_next(&mut self, index: usize) {
        let Some([piece, next]) = self.pieces.get_mut(index..index + 2) else { return };
        if piece.entries.len() + next.entries.len() <= PIECE_MIN {
            piece.entries.append(&mut next.entries);
            piece.earliest_expiry = piece.earliest_expiry.min(next.earliest_expiry);
            self.pieces.remove(index + 1);
        }
    }
}

impl Extend<Entry> for ItemSet {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        for entry in entries {
            self.insert(entry);
        }
    }
}

impl FromIterator<Entry> for ItemSet {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut set = Self::default();
        set.extend(entries);
        set
    }
}

/// What a scope leaves of a set: a prefix of it without the items that are about to expire.
#[derive(Debug)]
pub struct View<'a> {
    set: &'a ItemSet,
    scope: Scope,
    /// Where each piece begins in the whole set.
    starts: Vec<usize>,
    /// Places in the whole set, ascending, of items within the prefix that do not count.
    left_out: Vec<usize>,
    /// Length of the prefix.
    prefix: usize,
    sum: Sum,
}

impl<'a> View<'a> {
    fn new(set: &'a ItemSet, scope: Scope) -> Self {
        let starts = set
            .pieces
            .iter()
            .scan(0, |next, piece| {
                let start = *next;
                *next += piece.entries.len();
                Some(start)
            })
            .collect();
        let mut view = Self { set, scope, starts, left_out: Vec::new(), prefix: set.len, sum: set.sum };
        view.cut(scope.until);
        view.leave_out(scope.cutoff);
        view
    }

    /// Takes what is younger than `until` off the end: seconds' worth of items.
    fn cut(&mut self, until: UnixSeconds) {
        let young = self.set.pieces.iter().rev().flat_map(|piece| piece.entries.iter().rev());
        for entry in young.take_while(|entry| entry.timestamp > until) {
            self.sum.remove(&entry.id);
            self.prefix -= 1;
        }
    }

    fn leave_out(&mut self, cutoff: UnixSeconds) {
        for (piece, start) in self.set.pieces.iter().zip(&self.starts) {
            if piece.earliest_expiry > cutoff {
                continue;
            }
            for (entry, place) in piece.entries.iter().zip(*start..self.prefix) {
                if entry.expiry <= cutoff {
                    self.sum.remove(&entry.id);
                    self.left_out.push(place);
                }
            }
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefix - self.left_out.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which scope this is of.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// The whole of it in 56 bytes.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { scope: self.scope, count: self.len() as u64, fingerprint: self.fingerprint() }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.sum.fingerprint(self.len() as u64)
    }

    /// The place in the whole set of the item at `index` of what is left.
    fn place(&self, index: usize) -> usize {
        // The left-out place number k stands before index i iff it is at most i + k.
        let mut range = 0..self.left_out.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if self.left_out[middle] - middle <= index { range.start = middle + 1 } else { range.end = middle }
        }
        index + range.start
    }

    fn at(&self, index: usize) -> Option<&Entry> {
        if index >= self.len() {
            return None;
        }
        let place = self.place(index);
        let piece = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
        self.set.pieces[piece].entries.get(place - self.starts[piece])
    }

    /// Items from `begin` to before `end`.
    fn range(&self, begin: usize, end: usize) -> impl Iterator<Item = &'a Entry> {
        let first = self.place(begin);
        let piece = self.starts.partition_point(|start| *start <= first).saturating_sub(1);
        let inside = first - self.starts.get(piece).copied().unwrap_or(0);
        let mut left_out = self.left_out.iter().copied().skip_while(move |place| *place < first).peekable();
        self.set
            .pieces
            .iter()
            .skip(piece)
            .flat_map(|piece| &piece.entries)
            .skip(inside)
            .zip(first..)
            .filter(move |(_, place)| left_out.next_if_eq(place).is_none())
            .map(|(entry, _)| entry)
            .take(end.min(self.len()).saturating_sub(begin))
    }

    /// All items that are left, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a Entry> {
        self.range(0, self.len())
    }
}

fn item(entry: &Entry) -> negentropy::Item {
    negentropy::Item::with_timestamp_and_id(entry.timestamp.0, Id::from_byte_array(*entry.id.as_bytes()))
}

impl NegentropyStorageBase for View<'_> {
    fn size(&self) -> Result<usize, negentropy::Error> {
        Ok(self.len())
    }

    fn get_item(&self, index: usize) -> Result<Option<negentropy::Item>, negentropy::Error> {
        Ok(self.at(index).map(item))
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(negentropy::Item, usize) -> Result<bool, negentropy::Error>,
    ) -> Result<(), negentropy::Error> {
        if begin > end || end > self.len() {
            return Err(negentropy::Error::BadRange);
        }
        for (index, entry) in (begin..).zip(self.range(begin, end)) {
            if !visit(item(entry), index)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, bound: &Bound) -> usize {
        let mut range = first..last.min(self.len());
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if self.at(middle).is_some_and(|entry| item(entry) < bound.item) {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        range.start
    }
}

#[cfg(test)]
mod tests;
