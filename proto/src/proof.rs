//! Proofs of single entries of the chain's state against the state root of a header (B7).
//!
//! The state is a set of tables, hung into one sparse Merkle tree under
//! `H("sotto/v1/state-key", u8 table ‖ key)`. A [`StateProof`] shows that an entry has a value, or that it does not
//! exist, to anybody who knows a signed header. Here is verification only; the tree itself, with its versions and its
//! storage, belongs to whoever applies blocks.
//!
//! The tree is a binary one over the bits of the key hash: an empty subtree hashes to
//! `"SPARSE_MERKLE_PLACEHOLDER_HASH__"`, a subtree with a single entry to
//! `BLAKE2b-256("JMT::LeafNode" ‖ key hash ‖ BLAKE2b-256(value))` wherever it hangs, any other to
//! `BLAKE2b-256("JMT::IntrnalNode" ‖ left ‖ right)`.

use std::error::Error as StdError;
use std::io;

use blake2::Digest as _;
use jmt::proof::SparseMerkleProof;
use jmt::{KeyHash, RootHash, SimpleHasher};

use crate::domain;
use crate::hash::Hasher;
use crate::id::Hash;

/// The tables of the state. The code is part of every key, so that keys of two tables never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Registered nodes, by node key.
    Node = 1,
    /// Balance and nonce, by account key.
    Account = 2,
    /// Stakes that are locked.
    Lock = 3,
    /// Keys and operators that may not register again yet.
    Cooldown = 4,
    /// Members of a swarm and what is counted for it, by swarm id.
    Swarm = 5,
    /// What the chain keeps once: the waiting nodes, for example.
    Chain = 6,
    /// Registered names, by hash of the name.
    Name = 7,
}

impl Table {
    /// The table's code in keys.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The table of a code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Node, Self::Account, Self::Lock, Self::Cooldown, Self::Swarm, Self::Chain, Self::Name]
            .into_iter()
            .find(|table| table.code() == code)
    }
}

/// Where an entry hangs in the state tree.
#[must_use]
pub fn state_key(table: Table, key: &[u8]) -> KeyHash {
    let hash = Hasher::new(domain::STATE_KEY).chain([table.code()]).chain(key).finish();
    KeyHash(*hash.as_bytes())
}

/// The hasher of the state tree: plain BLAKE2b-256. The tree puts its own labels in front of what it hashes.
#[derive(Clone)]
pub struct Blake2b(blake2::Blake2b<blake2::digest::consts::U32>);

impl SimpleHasher for Blake2b {
    fn new() -> Self {
        Self(blake2::Blake2b::new())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Shows what one entry of the state is, or that it is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct StateProof(SparseMerkleProof<Blake2b>);

/// Why a proof shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum StateProofError {
    /// More bytes than the longest proof has.
    #[error("a proof of {actual} bytes, at most {} are possible", StateProof::MAX_BYTES)]
    TooLong {
        /// How many bytes came.
        actual: usize,
    },
    /// The bytes are not those of a proof.
    #[error("not the bytes of a proof")]
    Malformed(#[source] io::Error),
    /// A proof that cannot be written as bytes.
    #[error("the proof cannot be encoded")]
    Encode(#[source] io::Error),
    /// The proof does not lead from this entry to this root.
    #[error("the proof does not show this of the {table:?} entry under root {root}")]
    Rejected {
        /// The root of the header.
        root: Hash,
        /// The table of the entry.
        table: Table,
        /// What does not fit.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl StateProof {
    /// The longest possible encoding: a leaf, and for each bit of the key hash a sibling of two hashes.
    pub const MAX_BYTES: usize = (1 + 64) + 4 + 256 * (1 + 64);

    /// Checks that under `root`, the state root of a header, the entry `key` of `table` has the canonical bytes
    /// `value`; `None`: that there is no such entry.
    ///
    /// # Errors
    /// [`StateProofError::Rejected`] if the proof does not show that.
    pub fn verify(&self, root: &Hash, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), StateProofError> {
        self.0
            .verify(RootHash(*root.as_bytes()), state_key(table, key), value)
            .map_err(|source| StateProofError::Rejected { root: *root, table, source: source.into() })
    }

    /// The bytes in which a proof travels: the tree library's own Borsh encoding, of which each proof has exactly one.
    ///
    /// ```text
    /// u8 0 | u8 1 ‖ key hash 32 ‖ value hash 32        the entry at the end of the way: none, or this
    /// u32 n (little-endian)                            n ≤ 256 siblings, the deepest first, each:
    /// n × ( u8 0 | u8 1 ‖ left 32 ‖ right 32 | u8 2 ‖ key hash 32 ‖ value hash 32 )   empty, a branch, a single entry
    /// ```
    ///
    /// # Errors
    /// [`StateProofError::Encode`] if the library refuses its own proof, which no proof of a tree gives cause for.
    pub fn encode(&self) -> Result<Vec<u8>, StateProofError> {
        borsh::to_vec(&self.0).map_err(StateProofError::Encode)
    }

    /// Reads what [`encode`](Self::encode) wrote. What it proves is for [`verify`](Self::verify) to say.
    ///
    /// # Errors
    /// [`StateProofError::TooLong`] or [`StateProofError::Malformed`] if these are not the bytes of a proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateProofError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(StateProofError::TooLong { actual: bytes.len() });
        }
        borsh::from_slice(bytes).map(Self).map_err(StateProofError::Malformed)
    }
}

impl From<SparseMerkleProof<Blake2b>> for StateProof {
    fn from(proof: SparseMerkleProof<Blake2b>) -> Self {
        Self(proof)
    }
}
