//! A page that a member sent, and whether it was worth its while.

use std::collections::BTreeSet;

use sotto_proto::id::ItemId;
use sotto_proto::limits::{PAGE_BYTES, PAGE_ITEMS, RECORD_MAX, SIGNED_DELETE_MAX};
use sotto_proto::request::Item;

use super::Taken;

/// The most an item takes of a page.
const ITEM_MAX: usize = if RECORD_MAX > SIGNED_DELETE_MAX { RECORD_MAX } else { SIGNED_DELETE_MAX };

/// What came for what was asked for.
#[derive(Debug)]
pub(super) struct Page {
    asked: Vec<ItemId>,
    items: usize,
    bytes: usize,
    /// Others of those asked for did not fit, the member says.
    more: bool,
    /// And yet any item would have fitted.
    is_short: bool,
}

impl Page {
    pub(super) fn new(asked: Vec<ItemId>, items: &[Item], more: bool) -> Self {
        // Members count deletes at their longest.
        let room = |item: &Item| if matches!(item, Item::Delete(_)) { SIGNED_DELETE_MAX } else { item.len() };
        let filled: usize = items.iter().map(room).sum();
        let is_short = more && items.len() < PAGE_ITEMS && filled.saturating_add(ITEM_MAX) <= PAGE_BYTES;
        Self { asked, items: items.len(), bytes: items.iter().map(Item::len).sum(), more, is_short }
    }

    /// What was asked for and is not in it.
    pub(super) fn missing(&self, received: &BTreeSet<ItemId>) -> Vec<ItemId> {
        self.asked.iter().filter(|id| !received.contains(id)).copied().collect()
    }

    /// Whether what is missing of it can still be had. Not if there was nothing in it that was asked for: that gets
    /// the member nowhere.
    pub(super) const fn goes_on(&self, missing: usize) -> bool {
        self.more && missing < self.asked.len()
    }

    /// About how many of its bytes are new here.
    pub(super) fn new_bytes(&self, taken: &Taken) -> usize {
        self.bytes.saturating_mul(taken.kept).checked_div(self.items).unwrap_or(0).min(self.bytes)
    }

    /// Whether it was smaller than it need be, or most of it unasked for, refused or left out.
    pub(super) fn is_poor(&self, taken: &Taken, missing: usize) -> bool {
        let settled = self.asked.len().saturating_sub(missing);
        self.is_short
            || settled == 0
            || 2 * settled < self.items
            || 2 * taken.refused > self.items
            || (taken.postponed && taken.kept == 0)
            || (!self.more && missing > settled)
    }
}
