//! Moments at which the process may die, for tests that make it die at each.

use std::fmt;

/// A moment between two things that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KillPoint {
    /// An envelope is sealed and worked, and not in the store.
    Sealed,
    /// It is in the store, and nobody has it.
    Queued,
    /// A member is about to be asked to keep it.
    Asking,
    /// A member's receipt came, and is not in the store.
    Receipt,
    /// The receipts are in the store.
    Saved,
    /// A page of records came and was opened; neither it nor the cursor behind it is in the store.
    Opened,
    /// Both are.
    TakenIn,
}

/// Is told each [`KillPoint`] as it is passed. The one of production does nothing.
pub(super) struct Probe(Box<dyn FnMut(KillPoint) + Send>);

impl Probe {
    pub(super) fn pass(&mut self, point: KillPoint) {
        (self.0)(point);
    }
}

#[cfg(test)]
impl Probe {
    pub(super) fn new(passed: impl FnMut(KillPoint) + Send + 'static) -> Self {
        Self(Box::new(passed))
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self(Box::new(|_| ()))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
