//! What time brings, and what changed with what came: told to whoever shows it.

use sotto_proto::time::UnixMillis;
use tokio::time::{Duration, Instant};

use super::{Error, Messenger};
use crate::conversation::{self, Change, Me, Notice};

/// Notices that are kept for whoever does not ask for them; the oldest go first.
pub(super) const NOTICES: usize = 1024;
/// Between two looks at what time has brought. Receipts are collected for so long.
const INTERVAL: Duration = Duration::from_secs(5);

impl Messenger {
    /// What changed since the last time, besides what is new in the inbox.
    pub fn notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    /// Erases what has disappeared, and queues what senders are to be told; whether that is something. Call it after messages
    /// were marked as shown.
    ///
    /// # Errors
    /// [`Error`]
    pub fn tend(&mut self) -> Result<bool, Error> {
        let now = self.clock.now();
        let tended = self.account.change(|tx, own| {
            let me = Me { chain: &self.chain, account: own.account, name: own.name, now };
            conversation::tend(tx, &me, &mut self.rng)
        });
        let (notices, is_queued) = match tended {
            Ok(tended) => tended,
            Err(conversation::Error::Store(error)) => return Err(error.into()),
            Err(error) => return Err(Error::Conversation(error)),
        };
        let is_erased = notices.iter().any(|notice| matches!(notice.change, Change::Expired(_) | Change::Deleted(_)));
        self.note(notices);
        if is_erased {
            self.account.store.settle_erased()?;
        }
        Ok(is_queued)
    }

    /// When to look the next time: soon, or sooner if a message disappears before.
    pub(super) fn tend_at(&mut self) -> Result<Instant, Error> {
        let next = self.account.store.transaction()?.next_expiry()?.unwrap_or(UnixMillis(u64::MAX));
        let left = Duration::from_millis(next.0.saturating_sub(self.clock.now().0));
        Ok(Instant::now() + left.clamp(Duration::from_millis(10), INTERVAL))
    }

    pub(super) fn note(&mut self, notices: Vec<Notice>) {
        self.notices.extend(notices);
        let over = self.notices.len().saturating_sub(NOTICES);
        self.notices.drain(..over);
    }
}
