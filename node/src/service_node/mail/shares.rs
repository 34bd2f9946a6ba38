//! Large pages of mail that are under way, from when they are read from disk until they are sent. Each costs the node a
//! read, a checksum and some copies of up to a megabyte, and whoever owns a mailbox can ask for its pages through as many
//! tunnels as there are and take none of them. So they have a bound, which mailboxes share alike, and nothing is read for
//! which there is no room.

use std::collections::BTreeMap;
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::limits::{ANSWERS_IN_FLIGHT, RESPONSE_MAX};
use sotto_proto::time::Monotonic;

use crate::service_node::message::Tunnel;

/// Bytes of pages that all readers have under way: less than the answers that tunnels hold, so that none of them has to
/// be given up for the next.
pub(super) const BYTES: usize = 6 * RESPONSE_MAX;
/// Bytes of pages that readers of one mailbox have under way, as some devices that catch up at the same time.
pub(super) const BYTES_PER_ADDRESS: usize = 4 * RESPONSE_MAX;
/// A page of up to so many bytes is not counted: what is new since a reader asked last, and never the backlog of a week.
pub(super) const SMALL: usize = 64 << 10;
/// A page that is under way for so long makes room for others: a path that broke without a word must not keep its owner's
/// next one from reading.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const _: () = assert!(BYTES < ANSWERS_IN_FLIGHT, "pages leave room for other answers");

/// Pages under way.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pages: BTreeMap<Tunnel, Page>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Page {
    address: Address,
    bytes: usize,
    since: Monotonic,
}

/// Whether one more page may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    There,
    /// Not before the page of this tunnel has ended.
    InsteadOf(Tunnel),
    /// Not now.
    Nowhere,
}

impl Shares {
    /// Whether there is room for so many bytes of a mailbox.
    pub(super) fn room(&self, address: &Address, bytes: usize, now: Monotonic) -> Room {
        if bytes <= SMALL {
            return Room::There;
        }
        let mut mailboxes = BTreeMap::<Address, usize>::new();
        for page in self.pages.values() {
            *mailboxes.entry(page.address).or_default() += page.bytes;
        }
        let then = bytes.saturating_add(mailboxes.get(address).copied().unwrap_or(0));
        if then > BYTES_PER_ADDRESS {
            return self.stalled(|page| page.address == *address, now);
        }
        if bytes.saturating_add(mailboxes.values().sum()) <= BYTES {
            return Room::There;
        }
        // Whoever has more than this one would have has less afterwards, so that this comes to an end.
        match mailboxes.into_iter().max_by_key(|(_, bytes)| *bytes) {
            Some((most, bytes)) if bytes > then => {
                self.oldest(|page| page.address == most).map_or(Room::Nowhere, |(tunnel, _)| Room::InsteadOf(tunnel))
            }
            _ => self.stalled(|_| true, now),
        }
    }

    fn oldest(&self, among: impl Fn(&Page) -> bool) -> Option<(Tunnel, Monotonic)> {
        let pages = self.pages.iter().filter(|(_, page)| among(page));
        pages.map(|(tunnel, page)| (*tunnel, page.since)).min_by_key(|(_, since)| *since)
    }

    /// In place of the oldest, if it is under way for too long.
    fn stalled(&self, among: impl Fn(&Page) -> bool, now: Monotonic) -> Room {
        match self.oldest(among) {
            Some((tunnel, since)) if now.since(since) >= PATIENCE => Room::InsteadOf(tunnel),
            _ => Room::Nowhere,
        }
    }

    /// A page is read for a tunnel, whose last one is sent.
    pub(super) fn begin(&mut self, tunnel: Tunnel, address: Address, bytes: usize, now: Monotonic) {
        if bytes > SMALL {
            self.pages.insert(tunnel, Page { address, bytes, since: now });
        }
    }

    /// The tunnel's page is sent, or will not be. Whether that made room.
    pub(super) fn end(&mut self, tunnel: Tunnel) -> bool {
        self.pages.remove(&tunnel).is_some()
    }
}
