//! What goes to the storage thread: at once what somebody waits for, the rest together.
//!
//! A swarm's members write every message that is gossiped, and nobody waits for their copies. Each write on its own would
//! wake the storage thread, and its end the loop. So those writes are held for a tenth of a second at most and go with
//! whatever goes before then.

use std::time::Duration;

use sotto_proto::time::Monotonic;

use super::{EventLoop, Stored};
use crate::service_node::{Input, Sync, Token};
use crate::store::Batch;
use crate::store::mail::Lookup;
use crate::store::writer::Job;

/// How long a write is held.
const HOLD: Duration = Duration::from_millis(100);
/// Writes that are held.
const HELD: usize = 64;
/// Bytes of records that are held, but for the last one.
const HELD_BYTES: usize = 1 << 20;

/// Writes that nobody waits for, in order. A value: the event loop holds one, and whoever simulates it.
#[derive(Debug, Default)]
pub struct Held {
    batch: Batch,
    tokens: Vec<Token>,
    bytes: usize,
    due: Option<Monotonic>,
}

impl Held {
    /// One more write. What is to go to the storage thread now, if anything.
    pub fn add(&mut self, batch: Batch, token: Token, sync: Sync, now: Monotonic) -> Option<(Batch, Vec<Token>)> {
        self.bytes = self.bytes.saturating_add(batch.record_bytes());
        self.batch.writes.extend(batch.writes);
        self.tokens.push(token);
        self.due.get_or_insert(now.plus(HOLD));
        if sync == Sync::Now || self.is_full() { self.take() } else { None }
    }

    /// All that is held, to go now.
    pub fn take(&mut self) -> Option<(Batch, Vec<Token>)> {
        let Self { batch, tokens, .. } = std::mem::take(self);
        (!tokens.is_empty()).then_some((batch, tokens))
    }

    fn is_full(&self) -> bool {
        self.tokens.len() >= HELD || self.bytes >= HELD_BYTES
    }

    /// When they have been held long enough.
    #[must_use]
    pub const fn due(&self) -> Option<Monotonic> {
        self.due
    }

    /// Whether what is held has to go before this is looked up. Only records and deletes that are on disk are asked for,
    /// or read back, so those wait for nothing: readers must not be able to make a sync of each question.
    #[must_use]
    pub const fn is_waited_for_by(lookup: &Lookup) -> bool {
        !matches!(lookup, Lookup::Records(_) | Lookup::Places(_) | Lookup::Check { .. })
    }
}

impl EventLoop {
    pub(super) fn persist(&mut self, job: Job, token: Token, sync: Sync) -> Vec<Input> {
        if !job.keys.is_empty() {
            let mut failed = self.persist_held();
            failed.extend(self.submit(job, vec![token]));
            return failed;
        }
        let now = self.parts.clock.now().monotonic;
        let due = self.held.add(job.batch, token, sync, now);
        due.map(|(batch, tokens)| self.submit_batch(batch, tokens)).unwrap_or_default()
    }

    /// Everything that is held goes now.
    pub(super) fn persist_held(&mut self) -> Vec<Input> {
        let due = self.held.take();
        due.map(|(batch, tokens)| self.submit_batch(batch, tokens)).unwrap_or_default()
    }

    fn submit_batch(&self, batch: Batch, tokens: Vec<Token>) -> Vec<Input> {
        self.submit(Job { keys: Vec::new(), batch }, tokens)
    }

    fn submit(&self, job: Job, tokens: Vec<Token>) -> Vec<Input> {
        let (sender, refused) = (self.stored_sender.clone(), tokens.clone());
        let done = Box::new(move |result| {
            // The loop has ended: nobody waits any more.
            let _ = sender.blocking_send(Stored::Durable(tokens, result));
        });
        match self.parts.store.try_persist(job, done) {
            Ok(()) => Vec::new(),
            Err(error) => {
                let reason = error.to_string();
                refused.into_iter().map(|token| Input::NotDurable { token, reason: reason.clone() }).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::address::{Address, AddressKind};
    use sotto_proto::id::RecordId;
    use sotto_proto::time::UnixSeconds;

    use super::*;
    use crate::store::Write;
    use crate::store::records::{Arrival, RecordEntry, RecordKey, Source};

    const NOW: Monotonic = Monotonic(Duration::from_secs(5));

    fn record(length: usize) -> Batch {
        let entry = RecordEntry {
            key: RecordKey { address: Address::new(AddressKind::Mailbox, [1; 32]), arrival: Arrival(1) },
            id: RecordId::new([2; 32]),
            timestamp: UnixSeconds(1),
            ttl: 10,
            length: u32::try_from(length).unwrap(),
            source: Source::Gossip,
            received: UnixSeconds(1),
        };
        Batch::of(Write::PutRecord { entry, bytes: vec![0; length] })
    }

    #[test]
    fn the_first_write_says_when_all_of_them_go() {
        let mut held = Held::default();
        assert_eq!(held.due(), None);
        assert_eq!(held.add(record(10), Token(1), Sync::Later, NOW), None);
        assert_eq!(held.add(record(20), Token(2), Sync::Later, NOW.plus(HOLD / 2)), None);
        assert_eq!(held.due(), Some(NOW.plus(HOLD)));
        let (batch, tokens) = held.take().unwrap();
        assert_eq!((batch.writes.len(), tokens), (2, vec![Token(1), Token(2)]));
        assert_eq!((held.due(), held.take()), (None, None));
    }

    #[test]
    fn many_writes_and_large_ones_are_not_held_nor_what_somebody_waits_for() {
        let mut held = Held::default();
        for number in 1..HELD {
            assert_eq!(held.add(Batch::default(), Token(number as u64), Sync::Later, NOW), None);
        }
        assert!(held.add(Batch::default(), Token(0), Sync::Later, NOW).is_some_and(|(_, tokens)| tokens.len() == HELD));
        assert_eq!(held.add(record(HELD_BYTES - 1), Token(1), Sync::Later, NOW), None);
        assert!(held.add(record(1), Token(2), Sync::Later, NOW).is_some());
        assert_eq!(held.add(record(1), Token(3), Sync::Later, NOW), None);
        assert!(
            held.add(record(1), Token(4), Sync::Now, NOW).is_some_and(|(_, tokens)| tokens == [Token(3), Token(4)])
        );
    }
}
