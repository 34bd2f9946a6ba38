//! Writes that are pending. Each holds up to a stream's window and queue in memory, so there may be only so many at
//! once; of more, the one that has been pending longest is given up, and its path with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures::task::AtomicWaker;

/// Tells a path's task that it is given up.
#[derive(Debug, Default)]
pub(super) struct Victim {
    chosen: AtomicBool,
    waker: AtomicWaker,
}

impl Victim {
    /// Whether the path is given up.
    pub(super) fn is_chosen(&self) -> bool {
        self.chosen.load(Ordering::Acquire)
    }

    fn choose(&self) {
        self.chosen.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// All pending writes of a node, the oldest first.
#[derive(Debug)]
pub(crate) struct Stalls {
    limit: usize,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    writes: BTreeMap<u64, Arc<Victim>>,
}

/// One pending write; no longer pending when dropped.
#[derive(Debug)]
pub(super) struct Stall {
    stalls: Arc<Stalls>,
    number: u64,
}

impl Stalls {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, pending: Mutex::default() })
    }

    /// A write began to wait.
    pub(super) fn enter(self: &Arc<Self>, victim: &Arc<Victim>, cx: &Context<'_>) -> Stall {
        victim.waker.register(cx.waker());
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let number = pending.next;
        pending.next = number.wrapping_add(1);
        pending.writes.insert(number, Arc::clone(victim));
        if pending.writes.len() > self.limit
            && let Some((_, oldest)) = pending.writes.pop_first()
        {
            oldest.choose();
        }
        Stall { stalls: Arc::clone(self), number }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).writes.len()
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.stalls.pending.lock().unwrap_or_else(PoisonError::into_inner).writes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_pending_writes_the_oldest_is_given_up() {
        let stalls = Stalls::new(2);
        let victims: Vec<Arc<Victim>> = (0..4).map(|_| Arc::default()).collect();
        let cx = Context::from_waker(futures::task::noop_waker_ref());
        let mut held: Vec<_> = victims[..2].iter().map(|victim| stalls.enter(victim, &cx)).collect();
        assert!(victims.iter().all(|victim| !victim.is_chosen()));
        held.push(stalls.enter(&victims[2], &cx));
        assert!(victims[0].is_chosen() && !victims[1].is_chosen());
        held.remove(1);
        held.push(stalls.enter(&victims[3], &cx));
        assert!(!victims[2].is_chosen() && stalls.len() == 2);
        held.clear();
        assert_eq!(stalls.len(), 0);
    }
}
