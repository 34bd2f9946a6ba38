//! The domains of B1: one label per purpose, so that a hash or signature made for one cannot serve another.

/// An ASCII label of at most 63 bytes, written with its length in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// A domain; fails to compile (in `const` position) when the label is not 1..=63 ASCII bytes.
    #[must_use]
    pub const fn new(label: &'static str) -> Self {
        assert!(!label.is_empty() && label.len() <= 63 && label.is_ascii(), "domain label");
        Self(label)
    }

    /// The label's bytes, without the length.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// The label's length, as it is written in front of it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`new` holds labels to 63 bytes")]
    pub const fn len(self) -> u8 {
        self.0.len() as u8
    }

    /// Never true: `new` refuses an empty label.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// `lp(d)`: the length byte and the label.
    #[must_use]
    pub fn prefixed(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.0.len());
        bytes.push(self.len());
        bytes.extend_from_slice(self.as_bytes());
        bytes
    }
}

macro_rules! domains {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {
        $($(#[$doc])* pub const $name: Domain = Domain::new($label);)*
        #[cfg(test)]
        const ALL: &[Domain] = &[$($name),*];
    };
}

domains! {
    /// Chain id over the canonical genesis.
    GENESIS = "sotto/v1/genesis";
    /// Block header: the authority's signature.
    HEADER = "sotto/v1/header";
    /// Block hash over chain id, header and signature.
    BLOCK = "sotto/v1/block";
    /// Transaction: the signer's signature.
    TX = "sotto/v1/tx";
    /// `Register`: the node key's own signature.
    TX_NODE = "sotto/v1/tx-node";
    /// Transaction id.
    TXID = "sotto/v1/txid";
    /// Leaf of the transaction tree.
    TX_LEAF = "sotto/v1/tx-leaf";
    /// Inner node of the transaction tree.
    TX_INNER = "sotto/v1/tx-inner";
    /// Root of no transactions.
    TX_EMPTY = "sotto/v1/tx-empty";
    /// Key of a state table entry in the state tree.
    STATE_KEY = "sotto/v1/state-key";
    /// One of the 256 buckets of the node list.
    LIST_BUCKET = "sotto/v1/list-bucket";
    /// Root of the node list.
    LIST = "sotto/v1/list";
    /// Seed of the draws of the swarm map.
    SWARMS = "sotto/v1/swarms";
    /// Digest of a whole swarm map, for comparing nodes.
    SWARM_MAP = "sotto/v1/swarm-map";
    /// Seed of the draw of tester and testee.
    TEST_PAIR = "sotto/v1/test-pair";
    /// Answer to a storage test.
    TEST_ANSWER = "sotto/v1/test-answer";
    /// Record id.
    ENVELOPE = "sotto/v1/envelope";
    /// Set item of a tombstone.
    TOMBSTONE = "sotto/v1/tombstone";
    /// Gossip message id of a delete.
    GOSSIP = "sotto/v1/gossip";
    /// Tag by which a hop tells which of its X25519 keys a client used.
    X25519_TAG = "sotto/v1/x25519-tag";
    /// Retrieve request.
    RETRIEVE = "sotto/v1/retrieve";
    /// Subscribe request.
    SUBSCRIBE = "sotto/v1/subscribe";
    /// Delete request.
    DELETE = "sotto/v1/delete";
    /// Write signature of a closed group's epoch.
    WRITE = "sotto/v1/write";
    /// Store receipt.
    RECEIPT = "sotto/v1/receipt";
    /// Prekey bundle.
    PREKEYS = "sotto/v1/prekeys";
    /// Device list.
    DEVICES = "sotto/v1/devices";
    /// Introduction set: its address and its signature.
    INTROSET = "sotto/v1/introset";
    /// Key that an introduction set is encrypted under.
    INTROSET_KEY = "sotto/v1/introset-key";
    /// Checksum of a stored state.
    SNAPSHOT = "sotto/v1/snapshot";
    /// Checksums and names of what a node keeps on its disk.
    STORED = "sotto/v1/stored";
    /// Prologue of a path's Noise handshake.
    PATH = "sotto/path/1";
    /// Prologue of a tunnel's Noise handshake.
    TUNNEL = "sotto/tunnel/1";
    /// Prologue of an envelope's seal.
    SEAL = "sotto/seal/1";
    /// Prologue of the seal of what is pushed to a listener.
    PUSH = "sotto/push/1";
    /// Prologue of the sender's authentication inside the seal.
    AUTH = "sotto/auth/1";
    /// Key derivation of the agreement that begins a session.
    X3DH = "sotto/x3dh/1";
    /// What a session's messages are bound to.
    RATCHET = "sotto/dr/1";
    /// Key derivation of a step of a session's ratchet.
    RATCHET_ROOT = "sotto/dr/root/1";
    /// Fingerprint of an account, for safety numbers.
    SAFETY_NUMBER = "sotto/v1/safety-number";
    /// Channel of a verification by question and answer.
    QUESTION = "sotto/question/1";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_is_unique() {
        let labels: std::collections::BTreeSet<_> = ALL.iter().map(|domain| domain.0).collect();
        assert_eq!(labels.len(), ALL.len());
    }
}
