//! One connection to the database for several handles of an account, which use it in turn.
//!
//! Each connection keeps pages that it has decrypted, and drops all of them when another one has written. Those who work
//! on every message one after the other therefore share one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

/// A connection, and its turn.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    /// Waits for the turn. Whoever has panicked in his has left no transaction open.
    pub(super) fn turn(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
