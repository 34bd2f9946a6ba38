//! The node as a listening node (M2): clients hold tunnels open here, others push to their tags. Nothing is kept, no work is
//! asked for, and nothing of it is written to any log.
//!
//! ```text
//! listener ── Listen{tags} ──▶ tags ──▶ Listening
//! pusher ──── Push{tag} ─────▶ allowance of the tag ──▶ Pushed ──▶ listener's tunnel
//!                 ◀── Delivered ── once it is written ◀── room ─────────┘
//! ```
//!
//! | what waits | bound |
//! | --- | --- |
//! | listeners, their tags | [`LISTENERS`], [`LISTEN_TAGS`](sotto_proto::limits::LISTEN_TAGS) each |
//! | pushes on their way to one listener | [`PUSHES_PER_LISTENER`]; beyond it the pusher hears *busy* |
//! | bytes of pushes on their way to all | [`PUSHES_IN_FLIGHT`]; beyond it *busy* |
//! | cells a second to one tag | [`PUSH_CELLS_PER_SECOND`] after [`PUSH_CELLS_BURST`]; beyond it *rate limited* |
//! | a push that a listener does not take | [`PUSH_STALL`]; then its tunnel is closed |
//!
//! A tag is 16 random bytes: a second listener to one is nobody who drew it, and is refused while the first is there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sotto_proto::content::ListeningTag;
use sotto_proto::limits::{
    LISTENERS, PUSH_CELLS_BURST, PUSH_CELLS_PER_SECOND, PUSH_STALL, PUSHES_IN_FLIGHT, PUSHES_PER_LISTENER,
};
use sotto_proto::request::{Error, ListenTags, Push, SwarmResponse};
use sotto_proto::time::Monotonic;

use super::message::{Output, Tunnel};

/// Thousandths of a cell, in which allowances are counted.
const CELL: u64 = 1000;

/// What has become of pushes since the start; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushCounts {
    /// Written to a listener.
    pub delivered: u64,
    /// To a tag that nobody listens to, or whose listener went.
    pub nobody: u64,
    /// Refused: too many, too often, or too slow a listener.
    pub refused: u64,
}

/// Who listens, and to what.
#[derive(Debug, Default)]
pub struct Listeners {
    by_tunnel: BTreeMap<Tunnel, Listener>,
    tags: BTreeMap<ListeningTag, Listened>,
    /// Bytes of pushes that are on their way to listeners.
    in_flight: usize,
    counts: PushCounts,
}

/// A tag that somebody listens to.
#[derive(Debug)]
struct Listened {
    by: Tunnel,
    /// What may still be pushed to it.
    allowance: Allowance,
}

/// A client that listens.
#[derive(Debug, Default)]
struct Listener {
    tags: Vec<ListeningTag>,
    /// What its tunnel was given and has not written, in order.
    written_next: VecDeque<Given>,
}

/// An answer on its way to a listener.
#[derive(Debug)]
struct Given {
    since: Monotonic,
    /// Who pushed it, and how many bytes; `None` for what the node itself says.
    push: Option<(Tunnel, usize)>,
}

/// A token bucket of cells.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// In [`CELL`]ths.
    left: u64,
    at: Monotonic,
}

impl Allowance {
    const MOST: u64 = PUSH_CELLS_BURST as u64 * CELL;

    const fn new(now: Monotonic) -> Self {
        Self { left: Self::MOST, at: now }
    }

    /// Takes cells, or says how long it takes until there are so many.
    fn take(&mut self, cells: u32, now: Monotonic) -> Result<(), Duration> {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        // A thousandth of a cell a millisecond for each cell a second.
        let gained = millis.saturating_mul(u64::from(PUSH_CELLS_PER_SECOND));
        self.left = self.left.saturating_add(gained).min(Self::MOST);
        // Whole milliseconds only: the rest counts the next time.
        self.at = self.at.plus(Duration::from_millis(millis));
        let price = u64::from(cells) * CELL;
        match self.left.checked_sub(price) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Duration::from_millis((price - self.left).div_ceil(PUSH_CELLS_PER_SECOND.into()))),
        }
    }
}

impl Listeners {
    /// How many listen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_tunnel.len()
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_tunnel.is_empty()
    }

    /// What has become of pushes.
    #[must_use]
    pub const fn counts(&self) -> PushCounts {
        self.counts
    }

    /// Whether somebody listens through this tunnel.
    pub(super) fn has(&self, tunnel: Tunnel) -> bool {
        self.by_tunnel.contains_key(&tunnel)
    }

    /// A client listens to these tags from now on, and through this tunnel to no others.
    pub(super) fn listen(&mut self, tunnel: Tunnel, tags: &ListenTags, now: Monotonic, out: &mut Vec<Output>) {
        let is_new = !self.has(tunnel);
        let is_taken = |tag: &ListeningTag| self.tags.get(tag).is_some_and(|listened| listened.by != tunnel);
        if tags.as_slice().iter().any(is_taken) || (is_new && self.by_tunnel.len() >= LISTENERS) {
            // The tags that the tunnel had before stay.
            return self.give(tunnel, SwarmResponse::Error(Error::Busy), None, now, out);
        }
        let listener = self.by_tunnel.entry(tunnel).or_default();
        let before = std::mem::replace(&mut listener.tags, tags.as_slice().to_vec());
        for tag in tags.as_slice() {
            // One that goes on being listened to has no more allowance for it.
            let listened = || Listened { by: tunnel, allowance: Allowance::new(now) };
            self.tags.entry(*tag).or_insert_with(listened);
        }
        for tag in before.iter().filter(|tag| !tags.as_slice().contains(tag)) {
            self.tags.remove(tag);
        }
        self.give(tunnel, SwarmResponse::Listening, None, now, out);
    }

    /// Somebody pushes.
    pub(super) fn push(&mut self, pusher: Tunnel, push: Push, now: Monotonic, out: &mut Vec<Output>) {
        let Some(listened) = self.tags.get_mut(&push.tag) else {
            self.counts.nobody += 1;
            return answer(pusher, SwarmResponse::NoListener, out);
        };
        let (listener, bytes) = (listened.by, push.data.as_slice().len());
        let waiting = self.by_tunnel.get(&listener).map_or(0, |listener| listener.written_next.len());
        if waiting >= PUSHES_PER_LISTENER || self.in_flight.saturating_add(bytes) > PUSHES_IN_FLIGHT {
            self.counts.refused += 1;
            return answer(pusher, SwarmResponse::Error(Error::Busy), out);
        }
        if let Err(retry_after) = listened.allowance.take(push.data.cells(), now) {
            self.counts.refused += 1;
            return answer(pusher, SwarmResponse::Error(Error::RateLimited { retry_after }), out);
        }
        self.give(listener, SwarmResponse::Pushed(push), Some((pusher, bytes)), now, out);
    }

    /// Gives a listener's tunnel something to write. Whoever does not listen hears it as an answer of its own.
    fn give(
        &mut self,
        tunnel: Tunnel,
        response: SwarmResponse,
        push: Option<(Tunnel, usize)>,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) {
        let listener = self.by_tunnel.get_mut(&tunnel);
        let more = listener.is_some();
        if let Some(listener) = listener {
            listener.written_next.push_back(Given { since: now, push });
            self.in_flight += push.map_or(0, |(_, bytes)| bytes);
        }
        out.push(Output::TunnelAnswer { tunnel, response, more });
    }

    /// The oldest of what a listener's tunnel was given is written.
    pub(super) fn written(&mut self, tunnel: Tunnel, out: &mut Vec<Output>) {
        let given = self.by_tunnel.get_mut(&tunnel).and_then(|listener| listener.written_next.pop_front());
        if let Some((pusher, bytes)) = given.and_then(|given| given.push) {
            self.in_flight = self.in_flight.saturating_sub(bytes);
            self.counts.delivered += 1;
            answer(pusher, SwarmResponse::Delivered, out);
        }
    }

    /// A listener is gone, or is no more: nobody listens to its tags, and what was on its way is not delivered.
    pub(super) fn forget(&mut self, tunnel: Tunnel, out: &mut Vec<Output>) {
        let Some(listener) = self.by_tunnel.remove(&tunnel) else { return };
        for tag in &listener.tags {
            self.tags.remove(tag);
        }
        for (pusher, bytes) in listener.written_next.into_iter().filter_map(|given| given.push) {
            self.in_flight = self.in_flight.saturating_sub(bytes);
            self.counts.nobody += 1;
            answer(pusher, SwarmResponse::NoListener, out);
        }
    }

    /// Closes listeners that do not read.
    pub(super) fn close_stalled(&mut self, now: Monotonic, out: &mut Vec<Output>) {
        let is_stalled = |listener: &Listener| {
            listener.written_next.front().is_some_and(|given| now.since(given.since) >= PUSH_STALL)
        };
        let stalled: Vec<_> =
            self.by_tunnel.iter().filter(|(_, listener)| is_stalled(listener)).map(|(tunnel, _)| *tunnel).collect();
        for tunnel in stalled {
            self.forget(tunnel, out);
            out.push(Output::CloseTunnel(tunnel));
        }
    }

    /// When the next one counts as not reading.
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        let oldest = |listener: &Listener| listener.written_next.front().map(|given| given.since.plus(PUSH_STALL));
        self.by_tunnel.values().filter_map(oldest).min()
    }
}

fn answer(tunnel: Tunnel, response: SwarmResponse, out: &mut Vec<Output>) {
    out.push(Output::TunnelAnswer { tunnel, response, more: false });
}

#[cfg(test)]
mod tests;
