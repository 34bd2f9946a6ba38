//! Transactions: what operators and nodes ask of the chain.

use super::node_record::{Region, read_addresses, read_region, write_addresses, write_region};
use crate::codec::{DecodeError, Reader};
use crate::domain;
use crate::hash::Hasher;
use crate::id::{Amount, ChainId, Hash, Height, NodeId, PublicKey, SwarmId, TxId, X25519Key};
use crate::limits::{MAX_TX_BYTES, NAME_VALUE_MAX, TEST_SAMPLES};
use crate::net_addr::NodeAddr;
use crate::sign::{Signature, SigningKey, Verify};

const VERSION: u8 = 1;

/// How a storage test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every sample was right, or rightly deleted.
    Pass,
    /// A sample was absent or wrong.
    Fail,
    /// No answer came within the window.
    NoAnswer,
}

impl Outcome {
    /// The byte in a report.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 1,
            Self::Fail => 2,
            Self::NoAnswer => 3,
        }
    }

    /// The outcome of a byte.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Pass),
            2 => Some(Self::Fail),
            3 => Some(Self::NoAnswer),
            _ => None,
        }
    }
}

/// What a transaction does. Who signs it is said with each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Stakes and starts a node. Signed by the operator *and* by the node key, so that nobody registers another's node.
    Register {
        /// The node's key.
        node: NodeId,
        /// Its first key for Noise.
        x25519: X25519Key,
        /// The stake, taken from the operator's balance.
        stake: Amount,
        /// Where it says it stands.
        region: Region,
        /// Where it listens.
        addresses: Vec<NodeAddr>,
    },
    /// The node moved. Signed by the node.
    UpdateAddress {
        /// Where it listens now.
        addresses: Vec<NodeAddr>,
    },
    /// The node has a new key for Noise. Signed by the node.
    RotateKey {
        /// The new key.
        x25519: X25519Key,
    },
    /// The stake is wanted back. Signed by the operator.
    RequestExit {
        /// Which node goes.
        node: NodeId,
    },
    /// How a storage test ended. Signed by the tester.
    StorageReport {
        /// Height of the pair.
        height: Height,
        /// Swarm of the pair.
        swarm: SwarmId,
        /// Who was tested.
        testee: NodeId,
        /// How it ended.
        outcome: Outcome,
        /// How many records were asked for.
        samples: u8,
    },
    /// How much a swarm took in an epoch. Signed by a member.
    LoadReport {
        /// The epoch.
        epoch: u64,
        /// The swarm.
        swarm: SwarmId,
        /// Records taken.
        records: u64,
        /// Bytes taken.
        bytes: u64,
    },
    /// The node is alive in this epoch. Signed by the node.
    UptimeProof {
        /// The present epoch.
        epoch: u64,
        /// The software it runs, for people.
        version: u32,
    },
    /// Takes a name. Signed by the owner of the coins that it costs.
    RegisterName {
        /// Hash of the name.
        name_hash: Hash,
        /// Who may change it.
        owner: PublicKey,
        /// The encrypted value.
        value: Vec<u8>,
    },
    /// Changes a name. Signed by its owner.
    UpdateName {
        /// Hash of the name.
        name_hash: Hash,
        /// Who may change it from now on.
        owner: PublicKey,
        /// The encrypted value.
        value: Vec<u8>,
    },
    /// Moves coins. Signed by their owner.
    Transfer {
        /// To whom.
        to: PublicKey,
        /// How many.
        amount: Amount,
    },
}

impl Payload {
    /// The type byte.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Register { .. } => 1,
            Self::UpdateAddress { .. } => 2,
            Self::RotateKey { .. } => 3,
            Self::RequestExit { .. } => 4,
            Self::StorageReport { .. } => 5,
            Self::LoadReport { .. } => 6,
            Self::UptimeProof { .. } => 7,
            Self::RegisterName { .. } => 8,
            Self::UpdateName { .. } => 9,
            Self::Transfer { .. } => 10,
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::UpdateAddress { .. } => "update-address",
            Self::RotateKey { .. } => "rotate-key",
            Self::RequestExit { .. } => "request-exit",
            Self::StorageReport { .. } => "storage-report",
            Self::LoadReport { .. } => "load-report",
            Self::UptimeProof { .. } => "uptime-proof",
            Self::RegisterName { .. } => "register-name",
            Self::UpdateName { .. } => "update-name",
            Self::Transfer { .. } => "transfer",
        }
    }

    /// Whether it counts in the signer's nonce; reports and proofs are unique by what they report instead.
    #[must_use]
    pub const fn bears_nonce(&self) -> bool {
        !matches!(self, Self::StorageReport { .. } | Self::LoadReport { .. } | Self::UptimeProof { .. })
    }

    /// Whether it may carry a fee: what nodes sign may not, their keys hold no coins.
    #[must_use]
    pub const fn bears_fee(&self) -> bool {
        self.bears_nonce() && !matches!(self, Self::UpdateAddress { .. } | Self::RotateKey { .. })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Register { node, x25519, stake, region, addresses } => {
                bytes.extend_from_slice(node.as_ref());
                bytes.extend_from_slice(x25519.as_ref());
                bytes.extend_from_slice(&stake.0.to_be_bytes());
                write_region(region, bytes);
                write_addresses(addresses, bytes);
            }
            Self::UpdateAddress { addresses } => write_addresses(addresses, bytes),
            Self::RotateKey { x25519 } => bytes.extend_from_slice(x25519.as_ref()),
            Self::RequestExit { node } => bytes.extend_from_slice(node.as_ref()),
            Self::StorageReport { height, swarm, testee, outcome, samples } => {
                bytes.extend_from_slice(&height.0.to_be_bytes());
                bytes.extend_from_slice(&swarm.0.to_be_bytes());
                bytes.extend_from_slice(testee.as_ref());
                bytes.extend_from_slice(&[outcome.code(), *samples]);
            }
            Self::LoadReport { epoch, swarm, records, bytes: taken } => {
                for value in [*epoch, swarm.0, *records, *taken] {
                    bytes.extend_from_slice(&value.to_be_bytes());
                }
            }
            Self::UptimeProof { epoch, version } => {
                bytes.extend_from_slice(&epoch.to_be_bytes());
                bytes.extend_from_slice(&version.to_be_bytes());
            }
            Self::RegisterName { name_hash, owner, value } | Self::UpdateName { name_hash, owner, value } => {
                bytes.extend_from_slice(name_hash.as_ref());
                bytes.extend_from_slice(owner.as_ref());
                bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend_from_slice(value);
            }
            Self::Transfer { to, amount } => {
                bytes.extend_from_slice(to.as_ref());
                bytes.extend_from_slice(&amount.0.to_be_bytes());
            }
        }
    }

    fn read(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            1 => Self::Register {
                node: reader.id()?,
                x25519: reader.id()?,
                stake: Amount(reader.u64()?),
                region: read_region(reader)?,
                addresses: read_addresses(reader)?,
            },
            2 => Self::UpdateAddress { addresses: read_addresses(reader)? },
            3 => Self::RotateKey { x25519: reader.id()? },
            4 => Self::RequestExit { node: reader.id()? },
            5 => Self::StorageReport {
                height: Height(reader.u64()?),
                swarm: SwarmId(reader.u64()?),
                testee: reader.id()?,
                outcome: Outcome::from_code(reader.u8()?).ok_or(DecodeError::Value("outcome"))?,
                samples: Some(reader.u8()?)
                    .filter(|samples| usize::from(*samples) <= TEST_SAMPLES)
                    .ok_or(DecodeError::Value("samples"))?,
            },
            6 => Self::LoadReport {
                epoch: reader.u64()?,
                swarm: SwarmId(reader.u64()?),
                records: reader.u64()?,
                bytes: reader.u64()?,
            },
            7 => Self::UptimeProof { epoch: reader.u64()?, version: reader.u32()? },
            8 | 9 => {
                let (name_hash, owner) = (reader.id()?, reader.id()?);
                let length = usize::from(reader.u16()?);
                if length > NAME_VALUE_MAX {
                    return Err(DecodeError::TooLong { field: "value", limit: NAME_VALUE_MAX, actual: length });
                }
                let value = reader.bytes(length)?.to_vec();
                if code == 8 {
                    Self::RegisterName { name_hash, owner, value }
                } else {
                    Self::UpdateName { name_hash, owner, value }
                }
            }
            10 => Self::Transfer { to: reader.id()?, amount: Amount(reader.u64()?) },
            _ => return Err(DecodeError::Value("transaction type")),
        })
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxBody {
    /// Whose transaction it is.
    pub signer: PublicKey,
    /// How many nonce-bearing transactions the signer had before; 0 where none is borne.
    pub nonce: u64,
    /// What it pays to be taken; burnt.
    pub fee: Amount,
    /// What it does.
    pub payload: Payload,
}

impl TxBody {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[VERSION, self.payload.code()]);
        bytes.extend_from_slice(self.signer.as_ref());
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        bytes.extend_from_slice(&self.fee.0.to_be_bytes());
        self.payload.write(&mut bytes);
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("transaction version"));
        }
        let code = reader.u8()?;
        Ok(Self {
            signer: reader.id()?,
            nonce: reader.u64()?,
            fee: Amount(reader.u64()?),
            payload: Payload::read(code, reader)?,
        })
    }
}

/// A transaction as it travels and stands in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What is signed.
    pub body: TxBody,
    /// The signer's signature.
    pub signature: Signature,
    /// For [`Payload::Register`], and only for it: the node key's signature.
    pub node_signature: Option<Signature>,
}

impl SignedTransaction {
    /// Signs `body`; `node` is the node's key, needed for [`Payload::Register`] only.
    #[must_use]
    pub fn sign(body: TxBody, signer: &SigningKey, node: Option<&SigningKey>, chain: &ChainId) -> Self {
        let bytes = body.encode();
        Self {
            signature: signer.sign(domain::TX, chain, &bytes),
            node_signature: node.map(|node| node.sign(domain::TX_NODE, chain, &bytes)),
            body,
        }
    }

    /// Whether the signatures are right: one by the signer, and for a registration one by the node.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, verify: &dyn Verify) -> bool {
        let bytes = self.body.encode();
        let node = match (&self.body.payload, &self.node_signature) {
            (Payload::Register { node, .. }, Some(signature)) => {
                verify.verify(domain::TX_NODE, chain, &bytes, &PublicKey::from(*node), signature)
            }
            (Payload::Register { .. }, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        node && verify.verify(domain::TX, chain, &bytes, &self.body.signer, &self.signature)
    }

    /// The transaction's id: hash of the body.
    #[must_use]
    pub fn id(&self, chain: &ChainId) -> TxId {
        TxId::new(*Hasher::new(domain::TXID).chain(chain).chain(self.body.encode()).finish().as_bytes())
    }

    /// Wire bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body.encode();
        bytes.extend_from_slice(self.signature.as_ref());
        if let Some(signature) = &self.node_signature {
            bytes.extend_from_slice(signature.as_ref());
        }
        bytes
    }

    /// Reads wire bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly one transaction.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_TX_BYTES {
            return Err(DecodeError::TooLong { field: "transaction", limit: MAX_TX_BYTES, actual: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let body = TxBody::read(&mut reader)?;
        let signature = reader.id()?;
        let node_signature = match body.payload {
            Payload::Register { .. } => Some(reader.id()?),
            _ => None,
        };
        reader.finish()?;
        Ok(Self { body, signature, node_signature })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sign::Ed25519;

    /// One of each kind.
    pub(crate) fn payloads() -> Vec<Payload> {
        let addresses: Vec<NodeAddr> =
            vec!["/ip4/9.9.9.9/tcp/4000".parse().unwrap(), "/ip6/2600::1/tcp/443".parse().unwrap()];
        let (name_hash, owner, value) = (Hash::new([5; 32]), PublicKey::new([6; 32]), vec![7; 57]);
        vec![
            Payload::Register {
                node: SigningKey::from_seed(&[2; 32]).node_id(),
                x25519: X25519Key::new([3; 32]),
                stake: Amount::coins(100),
                region: "eu-west".parse().unwrap(),
                addresses: addresses.clone(),
            },
            Payload::UpdateAddress { addresses },
            Payload::RotateKey { x25519: X25519Key::new([4; 32]) },
            Payload::RequestExit { node: NodeId::new([8; 32]) },
            Payload::StorageReport {
                height: Height(77),
                swarm: SwarmId(1 << 62),
                testee: NodeId::new([9; 32]),
                outcome: Outcome::NoAnswer,
                samples: 16,
            },
            Payload::LoadReport { epoch: 3, swarm: SwarmId(0), records: 1000, bytes: 2_000_000 },
            Payload::UptimeProof { epoch: 3, version: 0x0001_0000 },
            Payload::RegisterName { name_hash, owner, value: value.clone() },
            Payload::UpdateName { name_hash, owner, value },
            Payload::Transfer { to: owner, amount: Amount::coins(1) },
        ]
    }

    fn signed(payload: Payload) -> SignedTransaction {
        let operator = SigningKey::from_seed(&[1; 32]);
        let node = matches!(payload, Payload::Register { .. }).then(|| SigningKey::from_seed(&[2; 32]));
        let body = TxBody { signer: operator.public(), nonce: 5, fee: Amount(17), payload };
        SignedTransaction::sign(body, &operator, node.as_ref(), &ChainId::new([9; 32]))
    }

    #[test]
    fn every_kind_round_trips_and_its_signatures_hold_on_its_chain_only() {
        for payload in payloads() {
            let tx = signed(payload);
            let bytes = tx.encode();
            assert_eq!(SignedTransaction::decode(&bytes).as_ref(), Ok(&tx));
            assert!(tx.verify(&ChainId::new([9; 32]), &Ed25519));
            assert!(!tx.verify(&ChainId::new([8; 32]), &Ed25519));
            for length in 0..bytes.len() {
                assert!(SignedTransaction::decode(&bytes[..length]).is_err());
            }
            assert!(SignedTransaction::decode(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn a_registration_without_the_nodes_own_signature_is_refused() {
        let mut tx = signed(payloads().remove(0));
        tx.node_signature = Some(tx.signature);
        assert!(!tx.verify(&ChainId::new([9; 32]), &Ed25519));
        tx.node_signature = None;
        assert!(!tx.verify(&ChainId::new([9; 32]), &Ed25519));
    }

    #[test]
    fn a_flipped_bit_anywhere_breaks_decoding_or_the_signature() {
        for payload in payloads() {
            let tx = signed(payload);
            let bytes = tx.encode();
            for bit in (0..bytes.len() * 8).step_by(7) {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let holds =
                    SignedTransaction::decode(&flipped).is_ok_and(|tx| tx.verify(&ChainId::new([9; 32]), &Ed25519));
                assert!(!holds, "{} bit {bit}", tx.body.payload.name());
            }
        }
    }
}
