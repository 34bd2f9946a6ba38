//! How keys look on disk. Formats on disk live as long as data directories do: every change raises [`VERSION`].
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `default` | name of a [`MetaKey`] | its bytes |
//! | `blocks` | height u64 ‖ hash 32 | canonical bytes of the block |
//! | `snapshots` | height u64 | encoded chain state |
//! | `records` | position 8 ‖ address 33 ‖ arrival 8 | checksum 8 ‖ record (B4) |
//! | `record_ids` | record id 32 | checksum 8 ‖ address 33 ‖ arrival 8 ‖ timestamp 8 ‖ ttl 4 ‖ length 4 ‖ source 1 ‖ received 8 |
//! | `tombstones` | item id 32 | checksum 8 ‖ address 33 ‖ record id 32 ‖ timestamp 8 ‖ ttl 4 ‖ name of the delete 32 |
//! | `misc` | `a` ‖ height 8 | checksum 8 ‖ block hash 32 |
//! | `misc` | `c` ‖ item id 32 ‖ node 32 | nothing: that node has that item on disk |
//! | `misc` | `d` ‖ name 32 | checksum 8 ‖ signed delete |

use sotto_proto::codec::Reader;
use sotto_proto::id::{BlockHash, Height};

/// Version of the schema that this program reads and writes.
pub const VERSION: u32 = 2;
/// The version before, which lacked the families of records; a database of it is taken over as it is.
pub const VERSION_WITHOUT_RECORDS: u32 = 1;
/// Family of the blocks.
pub const BLOCKS: &str = "blocks";
/// Family of the snapshots.
pub const SNAPSHOTS: &str = "snapshots";

/// The families whose rows are read and written as rows ([`super::mail`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Records.
    Records,
    /// Where they lie, by id.
    RecordIds,
    /// Tombstones.
    Tombstones,
    /// What there is little of.
    Misc,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Records, Self::RecordIds, Self::Tombstones, Self::Misc];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::RecordIds => "record_ids",
            Self::Tombstones => "tombstones",
            Self::Misc => "misc",
        }
    }
}

/// Single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaKey {
    /// [`VERSION`] of whoever wrote the database: u32.
    SchemaVersion,
    /// The chain it belongs to: 32 bytes.
    Chain,
    /// Signed headers that contradict each other, oldest first ([`sotto_chain::Equivocation`]): 418 bytes each.
    Evidence,
    /// Which X25519 key is current and since when ([`crate::service_node`]): X25519 key 32 ‖ Unix ms u64.
    Rotation,
    /// What tells this database's arrival numbers from another's: u64, drawn when it was made.
    Epoch,
    /// No arrival number has been given from here on: u64.
    Arrivals,
    /// Entries of the index were damaged, and the rows of their records are still to be looked for: a byte, or none
    /// once they were. A program that does not know it looks only after the start that finds the damage.
    Strays,
}

impl MetaKey {
    /// The key's bytes.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::SchemaVersion => b"schema-version",
            Self::Chain => b"chain",
            Self::Evidence => b"evidence",
            Self::Rotation => b"rotation",
            Self::Epoch => b"epoch",
            Self::Arrivals => b"arrivals",
            Self::Strays => b"strays",
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
