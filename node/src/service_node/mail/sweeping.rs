//! Expiry. Nobody is served what has expired; from disk it goes two minutes later, and never by a clock that may be
//! wrong: what is deleted too early is gone.

use std::time::Duration;

use sotto_proto::limits::{CLOCK_OFFSET_MAX, REPAIR_CUTOFF_SECONDS};
use sotto_proto::time::{Monotonic, UnixSeconds};

use super::env::Env;
use super::{Mail, Wait, in_seconds};
use crate::service_node::message::{Output, Sync};
use crate::store::{Batch, Write};

/// How long after its expiry something stays on disk: members' clocks differ, and what expires soon is in no
/// reconciliation set.
const GRACE_SECONDS: u64 = REPAIR_CUTOFF_SECONDS;
/// Records, and tombstones, that go at once.
const AT_ONCE: usize = 512;
/// Between two batches, so that the storage thread does other things as well.
const PAUSE: Duration = Duration::from_millis(50);

impl Mail {
    /// Drops what has expired, a batch at a time; when to go on.
    pub(super) fn sweep(&mut self, env: &Env<'_>, out: &mut Vec<Output>) -> Option<Monotonic> {
        if !self.is_ready() || self.sweeping || !env.may_write {
            return None; // goes on when the batch under way is written
        }
        let next = self.index.next_expiry()?;
        let now = trusted_time(env)?;
        let due = UnixSeconds(now.0.saturating_sub(GRACE_SECONDS));
        if next > due {
            return Some(in_seconds(env.now.monotonic, next.0.saturating_sub(due.0).max(1)));
        }
        let mut batch = Batch::default();
        for held in self.index.expired(due, AT_ONCE) {
            let (key, id) = (held.entry.key, held.entry.id);
            self.index.remove(key.arrival);
            self.do_not_publish(key.arrival);
            self.counts.expired = self.counts.expired.saturating_add(1);
            batch.push(Write::DeleteRecord { key, id });
            batch.push(Write::DeleteConfirmations(id.into()));
        }
        for item in self.index.expired_tombstones(due, AT_ONCE) {
            batch.push(Write::DeleteTombstone(item));
            batch.push(Write::DeleteConfirmations(item));
            batch.writes.extend(self.index.unbury(&item).map(Write::DeleteSignedDelete));
        }
        self.sweeping = true;
        // If it is not written, the next start finds it, and it is expired still.
        self.persist(batch, Sync::Later, Wait::Sweep, out);
        Some(env.now.monotonic.plus(PAUSE))
    }
}

/// A time to delete by: `None` while the own clock is known to be wrong. While nobody has confirmed it, the chain must
/// have come as far.
pub(super) fn trusted_time(env: &Env<'_>) -> Option<UnixSeconds> {
    match env.clock {
        Some(clock) if clock.off => None,
        Some(_) => Some(env.time()),
        None => {
            let latest = env.view.current().time.seconds().0.saturating_add(CLOCK_OFFSET_MAX.as_secs());
            Some(env.time().min(UnixSeconds(latest)))
        }
    }
}
