//! Blocks: a signed header and the transactions it commits to.

use super::header::SignedHeader;
use super::transaction::SignedTransaction;
use super::tx_tree::tx_root;
use crate::codec::{DecodeError, Reader};
use crate::id::{BlockHash, ChainId, Hash, Height};
use crate::limits::{MAX_BLOCK_BYTES, MAX_TX_BYTES};

/// Most transactions a block can hold: none has fewer than 122 bytes and a length of 4 in front.
pub const MAX_BLOCK_TRANSACTIONS: usize = MAX_BLOCK_BYTES / 126;

/// A block as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Header and signature.
    pub header: SignedHeader,
    /// The transactions, in the order they take effect.
    pub transactions: Vec<SignedTransaction>,
}

impl Block {
    /// Bytes of a block without transactions.
    pub const EMPTY_LEN: usize = SignedHeader::LEN + 4;

    /// The block's number.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.header.header.height
    }

    /// The block's hash.
    #[must_use]
    pub fn hash(&self, chain: &ChainId) -> BlockHash {
        self.header.hash(chain)
    }

    /// The root over the transactions, to be compared with the header's.
    #[must_use]
    pub fn tx_root(&self) -> Hash {
        tx_root(&self.transactions.iter().map(SignedTransaction::encode).collect::<Vec<_>>())
    }

    /// Wire bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        bytes.extend_from_slice(&u32::try_from(self.transactions.len()).unwrap_or(u32::MAX).to_be_bytes());
        for tx in &self.transactions {
            let tx = tx.encode();
            bytes.extend_from_slice(&u32::try_from(tx.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(&tx);
        }
        bytes
    }

    /// Reads wire bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly one block of at most 1 MiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(DecodeError::TooLong { field: "block", limit: MAX_BLOCK_BYTES, actual: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let header = SignedHeader::read(&mut reader)?;
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > MAX_BLOCK_TRANSACTIONS {
            return Err(DecodeError::TooLong { field: "transactions", limit: MAX_BLOCK_TRANSACTIONS, actual: count });
        }
        let transactions = (0..count)
            .map(|_| SignedTransaction::decode(reader.var_bytes("transaction", MAX_TX_BYTES)?))
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { header, transactions })
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::super::transaction::{TxBody, tests::payloads};
    use super::*;
    use crate::id::Amount;
    use crate::sign::SigningKey;
    use crate::time::UnixMillis;
    use proptest::prelude::*;

    fn block() -> Block {
        let key = SigningKey::from_seed(&[1; 32]);
        let chain = ChainId::new([7; 32]);
        let transactions: Vec<_> = payloads()
            .into_iter()
            .map(|payload| {
                let body = TxBody { signer: key.public(), nonce: 0, fee: Amount(0), payload };
                let node = (body.payload.code() == 1).then_some(&key);
                SignedTransaction::sign(body, &key, node, &chain)
            })
            .collect();
        let header = Header {
            height: Height(4),
            previous: BlockHash::new([1; 32]),
            time: UnixMillis(5),
            tx_root: Hash::new([2; 32]),
            state_root: Hash::new([3; 32]),
            list_root: Hash::new([4; 32]),
        };
        Block { header: header.sign(&key, &chain), transactions }
    }

    #[test]
    fn blocks_round_trip_and_no_truncation_decodes() {
        let block = block();
        let bytes = block.encode();
        assert_eq!(Block::decode(&bytes), Ok(block));
        for length in 0..bytes.len() {
            assert!(Block::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_anything_is_read() {
        let mut bytes = block().encode();
        bytes[SignedHeader::LEN..SignedHeader::LEN + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(Block::decode(&bytes), Err(DecodeError::TooLong { field: "transactions", .. })));
    }

    proptest! {
        #[test]
        fn mutated_blocks_never_panic(at in 0_usize..2000, byte: u8, cut in 0_usize..2500) {
            let mut bytes = block().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = Block::decode(&bytes);
        }
    }
}
