//! Moments at which the process may die, for tests that make it die at each.

/// A moment between two things that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// Something is on disk, and nobody was told.
    Durable,
    /// Whoever waited for it was told: receipts and confirmations are on their way.
    Told,
    /// A message is about to be gossiped in the own swarm.
    Publishing,
    /// It is.
    Published,
    /// A page was handed to a member of the swarm that owns it.
    Handed,
    /// A page that was handed over here was confirmed.
    Confirmed,
}

/// Is told each [`KillPoint`] as it is passed. Production has one that does nothing.
pub type Probe = Box<dyn FnMut(KillPoint) + Send>;
