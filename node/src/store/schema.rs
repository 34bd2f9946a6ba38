//! How keys look on disk. Formats on disk live as long as data directories do: every change raises [`VERSION`].
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `default` | name of a [`MetaKey`] | its bytes |
//! | `blocks` | height u64 ‖ hash 32 | canonical bytes of the block |
//! | `snapshots` | height u64 | encoded chain state |

use sotto_proto::codec::Reader;
use sotto_proto::id::{BlockHash, Height};

/// Version of the schema that this program reads and writes.
pub const VERSION: u32 = 1;
/// Family of the blocks.
pub const BLOCKS: &str = "blocks";
/// Family of the snapshots.
pub const SNAPSHOTS: &str = "snapshots";

/// Single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaKey {
    /// [`VERSION`] of whoever wrote the database: u32.
    SchemaVersion,
    /// The chain it belongs to: 32 bytes.
    Chain,
    /// Which X25519 key is current and since when ([`crate::service_node`]): X25519 key 32 ‖ Unix ms u64.
    Rotation,
}

impl MetaKey {
    /// The key's bytes.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::SchemaVersion => b"schema-version",
            Self::Chain => b"chain",
            Self::Rotation => b"rotation",
        }
    }
}

/// The key of a block.
#[must_use]
pub fn block_key(height: Height, hash: &BlockHash) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(hash.as_bytes());
    key
}

/// The beginning of the keys of a height, in both families.
#[must_use]
pub const fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

/// Height and hash of a block's key, or `None` for a key this program did not write.
#[must_use]
pub fn parse_block_key(key: &[u8]) -> Option<(Height, BlockHash)> {
    let mut reader = Reader::new(key);
    let parsed = (Height(reader.u64().ok()?), reader.id().ok()?);
    reader.finish().ok()?;
    Some(parsed)
}

/// The height of a snapshot's key, or `None` for a key this program did not write.
#[must_use]
pub fn parse_height_key(key: &[u8]) -> Option<Height> {
    Some(Height(u64::from_be_bytes(key.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_keys_sort_by_height_and_round_trip() {
        let hash = BlockHash::new([0xff; 32]);
        let (low, high) = (block_key(Height(255), &hash), block_key(Height(256), &BlockHash::new([0; 32])));
        assert!(low < high);
        assert_eq!(parse_block_key(&low), Some((Height(255), hash)));
        assert_eq!(parse_block_key(&low[1..]), None);
        assert_eq!(parse_height_key(&height_key(Height(7))), Some(Height(7)));
    }
}
