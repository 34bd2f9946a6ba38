//! Storage tests (B9): who tests whom, what is asked, and the answer that only a holder of the bytes can give.
//!
//! For each swarm and final height one pair of tester V and testee T follows from the block's hash, so nobody chooses
//! whom he tests. V names up to 16 records and a fresh nonce; T answers at once, for each record, with a hash keyed by
//! the nonce over its own key, the height and exactly the bytes that the record's id covers. A nonce as *key* is
//! absorbed before anything else, so whoever dropped the record has no intermediate state that would still do.

use blake2::digest::{FixedOutput as _, KeyInit as _, Update as _};

use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::Hasher;
use crate::id::{BlockHash, ChainId, Hash, Height, NodeId, RecordId, SwarmId};
use crate::limits::{SIGNED_DELETE_MAX, TEST_AHEAD, TEST_BEHIND, TEST_SAMPLES};
use crate::request::SignedDelete;
use crate::swarm::Rng;

/// Who tests whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// V, a member of the swarm.
    pub tester: NodeId,
    /// T.
    pub testee: NodeId,
}

/// The pairs of one swarm at one final height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Two different members.
    pub regular: Pair,
    /// A member, and a decommissioned node that may come back to this swarm; none if there is no such node.
    pub returning: Option<Pair>,
}

/// The pairs of `swarm` at the final height of `block`.
///
/// `members` are those that have been members long enough, `decommissioned` those whose way back leads to this swarm;
/// both ascending by key, as every list is that draws are made from. None if there are fewer than two members.
#[must_use]
pub fn pairs(
    chain: &ChainId,
    block: &BlockHash,
    swarm: SwarmId,
    members: &[NodeId],
    decommissioned: &[NodeId],
) -> Option<Pairs> {
    if members.len() < 2 {
        return None;
    }
    let seed = Hasher::new(domain::TEST_PAIR).chain(chain).chain(block).chain(swarm.0.to_be_bytes()).finish();
    let mut rng = Rng::new(&seed);
    let tester = rng.index(members.len());
    let other = rng.index(members.len() - 1);
    let testee = other + usize::from(other >= tester);
    let regular = Pair { tester: members[tester], testee: members[testee] };
    let returning = (!decommissioned.is_empty()).then(|| Pair {
        tester: members[rng.index(members.len())],
        testee: decommissioned[rng.index(decommissioned.len())],
    });
    Some(Pairs { regular, returning })
}

/// The tester's nonce, fresh for each test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl From<[u8; 32]> for Nonce {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// What V asks T.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    height: Height,
    swarm: SwarmId,
    nonce: Nonce,
    samples: Vec<RecordId>,
}

impl Test {
    /// A test of up to 16 distinct records; of none, where V holds nothing that may be asked for, it still shows whether
    /// T is there.
    ///
    /// # Errors
    /// [`DecodeError`] if there are more records, or one twice.
    pub fn new(height: Height, swarm: SwarmId, nonce: Nonce, samples: Vec<RecordId>) -> Result<Self, DecodeError> {
        if samples.len() > TEST_SAMPLES {
            return Err(DecodeError::TooLong { field: "samples", limit: TEST_SAMPLES, actual: samples.len() });
        }
        if samples.iter().enumerate().any(|(index, id)| samples[..index].contains(id)) {
            return Err(DecodeError::Value("samples (one twice)"));
        }
        Ok(Self { height, swarm, nonce, samples })
    }

    /// The final height that chose the pair.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The swarm.
    #[must_use]
    pub const fn swarm(&self) -> SwarmId {
        self.swarm
    }

    /// The nonce.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The records asked for.
    #[must_use]
    pub fn samples(&self) -> &[RecordId] {
        &self.samples
    }

    /// Whether a testee whose final height is `own` answers, or says that it is behind.
    #[must_use]
    pub const fn is_due(&self, own: Height) -> bool {
        own.minus(TEST_BEHIND).0 <= self.height.0 && self.height.0 <= own.plus(TEST_AHEAD).0
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 + 32 + 1 + 32 * self.samples.len());
        bytes.extend_from_slice(&self.height.0.to_be_bytes());
        bytes.extend_from_slice(&self.swarm.0.to_be_bytes());
        bytes.extend_from_slice(&self.nonce.0);
        #[expect(clippy::cast_possible_truncation, reason = "`new` holds the count to 16")]
        bytes.push(self.samples.len() as u8);
        for id in &self.samples {
            bytes.extend_from_slice(id.as_ref());
        }
        bytes
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly a test.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (height, swarm) = (Height(reader.u64()?), SwarmId(reader.u64()?));
        let nonce = reader.id()?;
        let count = usize::from(reader.u8()?);
        if count > TEST_SAMPLES {
            return Err(DecodeError::TooLong { field: "samples", limit: TEST_SAMPLES, actual: count });
        }
        let samples = (0..count).map(|_| reader.id()).collect::<Result<_, _>>()?;
        reader.finish()?;
        Self::new(height, swarm, nonce, samples)
    }

    /// What a holder of the record with these envelope bytes (`E` of B4) answers as `testee`: exactly the bytes that
    /// the id covers are hashed, so copies that differ in nonce or write signature pass.
    #[must_use]
    pub fn answer_hash(&self, chain: &ChainId, testee: &NodeId, envelope: &[u8]) -> Hash {
        #[expect(clippy::expect_used, reason = "BLAKE2b takes every key of 1 to 64 bytes")]
        let mut mac = KeyedBlake2b::new_from_slice(&self.nonce.0).expect("a key of 32 bytes");
        mac.update(&domain::TEST_ANSWER.prefixed());
        mac.update(chain.as_ref());
        mac.update(testee.as_ref());
        mac.update(&self.height.0.to_be_bytes());
        mac.update(envelope);
        Hash::new(mac.finalize_fixed().into())
    }
}

/// BLAKE2b-256 with a key (RFC 7693, 2.5).
type KeyedBlake2b = blake2::Blake2bMac<blake2::digest::consts::U32>;

/// What T answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One sample for each record asked for, in that order.
    Samples(Vec<Sample>),
    /// T's chain is not at this height; V asks again.
    Behind {
        /// T's final height.
        height: Height,
    },
    /// By T's view this is no pair.
    NotThisPair,
}

/// What T says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// It has it; see [`Test::answer_hash`].
    Present(Hash),
    /// It does not have it.
    Absent,
    /// The owner deleted it, and this proves it.
    Deleted(Box<SignedDelete>),
}

const OK: u8 = 0;
const BEHIND: u8 = 1;
const NOT_THIS_PAIR: u8 = 2;

const PRESENT: u8 = 1;
const ABSENT: u8 = 2;
const DELETED: u8 = 3;

impl Answer {
    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Samples(samples) => {
                let mut bytes = vec![OK];
                samples.iter().for_each(|sample| sample.write(&mut bytes));
                bytes
            }
            Self::Behind { height } => [&[BEHIND][..], &height.0.to_be_bytes()].concat(),
            Self::NotThisPair => vec![NOT_THIS_PAIR],
        }
    }

    /// Reads the answer to `test`. Whether hashes and deletes are right is not looked at.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly one sample for each record asked for, or one of the refusals.
    pub fn decode(test: &Test, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let answer = match reader.u8()? {
            OK => Self::Samples(test.samples.iter().map(|_| Sample::read(&mut reader)).collect::<Result<_, _>>()?),
            BEHIND => Self::Behind { height: Height(reader.u64()?) },
            NOT_THIS_PAIR => Self::NotThisPair,
            _ => return Err(DecodeError::Value("answer code")),
        };
        reader.finish()?;
        Ok(answer)
    }
}

impl Sample {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Present(hash) => {
                out.push(PRESENT);
                out.extend_from_slice(hash.as_ref());
            }
            Self::Absent => out.push(ABSENT),
            Self::Deleted(delete) => {
                let delete = delete.encode();
                out.push(DELETED);
                #[expect(clippy::cast_possible_truncation, reason = "a signed delete is at most 11,403 bytes long")]
                out.extend_from_slice(&(delete.len() as u32).to_be_bytes());
                out.extend_from_slice(&delete);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            PRESENT => Ok(Self::Present(reader.id()?)),
            ABSENT => Ok(Self::Absent),
            DELETED => {
                let delete = SignedDelete::decode(reader.var_bytes("signed delete", SIGNED_DELETE_MAX)?)?;
                Ok(Self::Deleted(Box::new(delete)))
            }
            _ => Err(DecodeError::Value("sample tag")),
        }
    }
}
