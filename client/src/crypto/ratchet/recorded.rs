//! For tests: which key has sealed under which nonce, on this thread, and which of it has left.
//!
//! A key and a nonce never meet twice. And of all that a message key has sealed, as when a process died before it wrote
//! down that it had, one thing at most has left.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::header::SEALED_HEADER;
use super::keys::{Key, NONCE};

#[derive(Default)]
struct Recorded {
    sealed: BTreeSet<([u8; 32], [u8; NONCE])>,
    keys: BTreeMap<[u8; NONCE], [u8; 32]>,
    left: BTreeMap<[u8; 32], [u8; NONCE]>,
}

thread_local! {
    static RECORDED: RefCell<Option<Recorded>> = const { RefCell::new(None) };
}

/// Records from now on what this thread seals.
pub(crate) fn begin() {
    RECORDED.set(Some(Recorded::default()));
}

/// Ends it: how often something was sealed.
pub(crate) fn end() -> usize {
    RECORDED.take().map_or(0, |recorded| recorded.sealed.len())
}

/// A key has sealed under a nonce.
pub(super) fn sealed(key: &Key, nonce: &[u8; NONCE]) {
    RECORDED.with_borrow_mut(|recorded| {
        let Some(recorded) = recorded else { return };
        assert!(recorded.sealed.insert((*key.expose(), *nonce)), "a key has sealed twice under one nonce");
        recorded.keys.insert(*nonce, *key.expose());
    });
}

/// A message of a session leaves: its key has sealed nothing else that left.
pub(crate) fn left(message: &[u8]) {
    RECORDED.with_borrow_mut(|recorded| {
        let Some(recorded) = recorded else { return };
        let nonce = message.get(SEALED_HEADER..).and_then(|body| body.first_chunk::<NONCE>());
        let nonce = *nonce.expect("a message has a nonce behind its header");
        let key = *recorded.keys.get(&nonce).expect("it was sealed here");
        let first = *recorded.left.entry(key).or_insert(nonce);
        assert_eq!(first, nonce, "two messages under one key have left");
    });
}
