//! How a transaction reaches the producer: directly, else over one node that is connected.
//!
//! A node that passes on a stranger's transaction gives it to the producer or to nobody, so a transaction makes two
//! hops at most.

use std::collections::BTreeSet;

use sotto_proto::id::NodeId;
use sotto_proto::request::{ChainResponse, Error, ErrorKind};

use crate::network::RequestError;

/// Nodes tried after the producer could not be reached.
const RELAYS: usize = 2;

/// Where a transaction was and may still go.
#[derive(Clone, Debug)]
pub struct Route {
    producer: NodeId,
    relays: usize,
    tried: BTreeSet<NodeId>,
}

impl Route {
    /// For a transaction of this process.
    #[must_use]
    pub const fn own(producer: NodeId) -> Self {
        Self { producer, relays: RELAYS, tried: BTreeSet::new() }
    }

    /// For one that a peer handed over.
    #[must_use]
    pub const fn passed_on(producer: NodeId) -> Self {
        Self { producer, relays: 0, tried: BTreeSet::new() }
    }

    /// Whom to give it to next: the producer first, then nodes of `connected` that were not asked yet.
    pub fn next(&mut self, connected: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
        if self.tried.insert(self.producer) {
            return Some(self.producer);
        }
        if self.tried.len() > self.relays {
            return None;
        }
        let relay = connected.into_iter().find(|node| !self.tried.contains(node))?;
        self.tried.insert(relay);
        Some(relay)
    }

    /// Whether this answer is final: anything but one that says that somebody else may do better.
    #[must_use]
    pub fn is_final(answer: &Result<ChainResponse, RequestError>) -> bool {
        match answer {
            Ok(ChainResponse::Error(Error::RateLimited { .. } | Error::Busy)) | Err(_) => false,
            Ok(ChainResponse::Error(error)) => error.kind() != ErrorKind::Elsewhere,
            Ok(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::Height;

    use super::*;
    use crate::test_support::node;

    #[test]
    fn the_producer_comes_first_and_then_two_nodes() {
        let mut route = Route::own(node(9));
        let connected = [node(9), node(1), node(2), node(3)];
        let hops: Vec<_> = std::iter::from_fn(|| route.next(connected)).collect();
        assert_eq!(hops, [node(9), node(1), node(2)]);
    }

    #[test]
    fn what_a_peer_handed_over_goes_to_the_producer_or_nowhere() {
        let mut route = Route::passed_on(node(9));
        let hops: Vec<_> = std::iter::from_fn(|| route.next([node(1), node(2)])).collect();
        assert_eq!(hops, [node(9)]);
    }

    #[test]
    fn a_refusal_by_the_chain_is_final_and_a_failure_is_not() {
        assert!(Route::is_final(&Ok(ChainResponse::Submitted)));
        let rejected = Error::Rejected { reason: sotto_proto::request::Line::new("nonce") };
        assert!(Route::is_final(&Ok(ChainResponse::Error(rejected))));
        assert!(!Route::is_final(&Ok(ChainResponse::Error(Error::Busy))));
        assert!(!Route::is_final(&Ok(ChainResponse::Error(Error::Unavailable { lowest: Height::ZERO }))));
        assert!(!Route::is_final(&Err(RequestError::Timeout)));
    }
}
