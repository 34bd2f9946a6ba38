//! Records, tombstones and what belongs to them, as they lie on disk. Both stores write these bytes; families and keys
//! are in the table of [`super::schema`].
//!
//! Every row carries a checksum over key and value. The engine has its own, over blocks of rows and not over what it
//! was handed; a row that was damaged, swapped or cut anywhere on its way is reported as [`StoreError::Damaged`] and
//! never handed out.

use sotto_proto::address::Address;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain;
use sotto_proto::hash::Hasher;
use sotto_proto::id::{BlockHash, Height, ItemId, NodeId, RecordId};
use sotto_proto::time::UnixSeconds;

use super::StoreError;

/// The number of something's arrival at this database, from 1; what readers' cursors are made of. No number is used
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arrival(pub u64);

impl Arrival {
    /// The next number; stays at the largest.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Its address.
    pub address: Address,
    /// Its number.
    pub arrival: Arrival,
}

impl RecordKey {
    /// Bytes of the key on disk.
    pub const LEN: usize = 8 + Address::LEN + 8;

    /// `position 8 ‖ address 33 ‖ arrival 8`: a range of the ring, an address, what follows a cursor are one scan each.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.address.position().0.to_be_bytes());
        bytes[8..8 + Address::LEN].copy_from_slice(&self.address.to_bytes());
        bytes[8 + Address::LEN..].copy_from_slice(&self.arrival.0.to_be_bytes());
        bytes
    }

    /// Reads [`Self::to_bytes`]; `None` for a key this program did not write.
    #[must_use]
    pub fn from_bytes(key: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(key);
        let position = reader.u64().ok()?;
        let parsed = Self { address: Address::read(&mut reader).ok()?, arrival: Arrival(reader.u64().ok()?) };
        reader.finish().ok()?;
        (parsed.address.position().0 == position).then_some(parsed)
    }
}

/// How a record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A client stored it here.
    Client,
    /// A member gossiped it.
    Gossip,
    /// A member handed it over: repair, or a former owner.
    Repair,
}

impl Source {
    const fn code(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Gossip => 2,
            Self::Repair => 3,
        }
    }

    const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Client),
            2 => Ok(Self::Gossip),
            3 => Ok(Self::Repair),
            _ => Err(DecodeError::Value("source")),
        }
    }

    /// A fixed name for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gossip => "gossip",
            Self::Repair => "repair",
        }
    }
}

/// A record without its bytes: all that is in memory of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordEntry {
    /// Where it lies.
    pub key: RecordKey,
    /// Its id.
    pub id: RecordId,
    /// Its timestamp.
    pub timestamp: UnixSeconds,
    /// How long it is kept, in seconds.
    pub ttl: u32,
    /// Its bytes.
    pub length: u32,
    /// How it came.
    pub source: Source,
    /// When it came, by the own clock.
    pub received: UnixSeconds,
}

impl RecordEntry {
    /// When it expires.
    #[must_use]
    pub const fn expiry(&self) -> UnixSeconds {
        UnixSeconds(self.timestamp.0.saturating_add(self.ttl as u64))
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(80);
        row.extend_from_slice(&self.key.address.to_bytes());
        row.extend_from_slice(&self.key.arrival.0.to_be_bytes());
        row.extend_from_slice(&self.timestamp.0.to_be_bytes());
        row.extend_from_slice(&self.ttl.to_be_bytes());
        row.extend_from_slice(&self.length.to_be_bytes());
        row.push(self.source.code());
        row.extend_from_slice(&self.received.0.to_be_bytes());
        row
    }

    fn decode(id: RecordId, row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let entry = Self {
            key: RecordKey { address: Address::read(&mut reader)?, arrival: Arrival(reader.u64()?) },
            id,
            timestamp: UnixSeconds(reader.u64()?),
            ttl: reader.u32()?,
            length: reader.u32()?,
            source: Source::from_code(reader.u8()?)?,
            received: UnixSeconds(reader.u64()?),
        };
        reader.finish()?;
        Ok(entry)
    }
}

/// Names a signed delete on disk: one delete makes up to 256 tombstones and is kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeleteName([u8; 32]);

impl DeleteName {
    /// The name of an encoded signed delete.
    #[must_use]
    pub fn of(signed_delete: &[u8]) -> Self {
        Self(*Hasher::new(domain::STORED).chain(signed_delete).finish().as_bytes())
    }
}

impl AsRef<[u8]> for DeleteName {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for DeleteName {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// What is left of a deleted record until it would have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The record's address: at another one it means nothing.
    pub address: Address,
    /// The record.
    pub id: RecordId,
    /// The record's timestamp.
    pub timestamp: UnixSeconds,
    /// The record's life span in seconds.
    pub ttl: u32,
    /// The delete that made it.
    pub delete: DeleteName,
}

impl Tombstone {
    /// When it expires: with the record.
    #[must_use]
    pub const fn expiry(&self) -> UnixSeconds {
        UnixSeconds(self.timestamp.0.saturating_add(self.ttl as u64))
    }

    /// Its item.
    #[must_use]
    pub fn item(&self) -> ItemId {
        ItemId::tombstone(&self.address, &self.id)
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(120);
        row.extend_from_slice(&self.address.to_bytes());
        row.extend_from_slice(self.id.as_ref());
        row.extend_from_slice(&self.timestamp.0.to_be_bytes());
        row.extend_from_slice(&self.ttl.to_be_bytes());
        row.extend_from_slice(self.delete.as_ref());
        row
    }

    fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let tombstone = Self {
            address: Address::read(&mut reader)?,
            id: reader.id()?,
            timestamp: UnixSeconds(reader.u64()?),
            ttl: reader.u32()?,
            delete: DeleteName(reader.array()?),
        };
        reader.finish()?;
        Ok(tombstone)
    }
}

/// Rows read in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<T> {
    /// What was read.
    pub rows: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<ItemId>,
    /// Rows, and ranges of rows, that could not be read, and were passed over.
    pub damaged: usize,
    /// The keys of those of them that have one.
    pub damaged_keys: Vec<Vec<u8>>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), next: None, damaged: 0, damaged_keys: Vec::new() }
    }
}

/// Bytes of a row's checksum.
const CHECKSUM: usize = 8;

/// `checksum 8 ‖ value`.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [checksum(key, value).as_slice(), value].concat()
}

/// The value of a row that [`seal`] made, if it is what was sealed under this key.
pub(super) fn open<'a>(key: &[u8], row: &'a [u8], what: &'static str) -> Result<&'a [u8], StoreError> {
    let (sum, value) = row.split_first_chunk::<CHECKSUM>().ok_or(StoreError::Damaged(what))?;
    if *sum == checksum(key, value) { Ok(value) } else { Err(StoreError::Damaged(what)) }
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
    let hash = Hasher::new(domain::STORED).chain((key.len() as u64).to_be_bytes()).chain(key).chain(value).finish();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The row of a record's id.
pub(super) fn entry_row(entry: &RecordEntry) -> Vec<u8> {
    seal(entry.id.as_ref(), &entry.encode())
}

/// Reads [`entry_row`].
pub(super) fn parse_entry(key: &[u8], row: &[u8]) -> Result<RecordEntry, StoreError> {
    let damaged = StoreError::Damaged("the entry of a record");
    let id = RecordId::try_from(key).map_err(|_| damaged.clone())?;
    RecordEntry::decode(id, open(key, row, "the entry of a record")?).map_err(|_| damaged)
}

/// The row of a tombstone.
pub(super) fn tombstone_row(tombstone: &Tombstone) -> Vec<u8> {
    seal(tombstone.item().as_ref(), &tombstone.encode())
}

/// Reads [`tombstone_row`].
pub(super) fn parse_tombstone(key: &[u8], row: &[u8]) -> Result<Tombstone, StoreError> {
    let damaged = StoreError::Damaged("a tombstone");
    Tombstone::decode(open(key, row, "a tombstone")?).map_err(|_| damaged)
}

/// Keys of the family that holds what there is little of; the first byte says what.
pub(super) mod misc {
    use super::{BlockHash, DeleteName, Height, ItemId, NodeId, StoreError};

    const ANCHOR: u8 = b'a';
    const CONFIRMATION: u8 = b'c';
    const DELETE: u8 = b'd';

    /// `a ‖ height`: the hash of the final block there.
    pub(in super::super) fn anchor(height: Height) -> Vec<u8> {
        [[ANCHOR].as_slice(), &height.0.to_be_bytes()].concat()
    }

    /// Reads a row of an anchor.
    pub(in super::super) fn parse_anchor(key: &[u8], row: &[u8]) -> Result<(Height, BlockHash), StoreError> {
        let damaged = StoreError::Damaged("an anchor");
        let height = key.get(1..).and_then(|height| height.try_into().ok()).map(u64::from_be_bytes);
        let hash = BlockHash::try_from(super::open(key, row, "an anchor")?).map_err(|_| damaged.clone())?;
        Ok((Height(height.ok_or(damaged)?), hash))
    }

    /// `c ‖ item`: the beginning of the keys of an item's confirmations.
    pub(in super::super) fn confirmations(item: &ItemId) -> Vec<u8> {
        [[CONFIRMATION].as_slice(), item.as_ref()].concat()
    }

    /// `c ‖ item ‖ node`: the node has the item on disk.
    pub(in super::super) fn confirmation(item: &ItemId, node: &NodeId) -> Vec<u8> {
        [[CONFIRMATION].as_slice(), item.as_ref(), node.as_ref()].concat()
    }

    /// The node of a confirmation.
    pub(in super::super) fn parse_confirmation(key: &[u8]) -> Option<NodeId> {
        NodeId::try_from(key.get(1 + 32..)?).ok()
    }

    /// `d ‖ name`: the signed delete.
    pub(in super::super) fn delete(name: &DeleteName) -> Vec<u8> {
        [[DELETE].as_slice(), name.as_ref()].concat()
    }

    /// Where the keys of signed deletes begin, and the first key after them.
    pub(in super::super) fn deletes() -> (Vec<u8>, Vec<u8>) {
        (vec![DELETE], after(&[DELETE]))
    }

    /// The first key after all that begin with `prefix`.
    pub(in super::super) fn after(prefix: &[u8]) -> Vec<u8> {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::address::AddressKind;

    use super::*;

    fn address(last: u8) -> Address {
        let mut key = [0; 32];
        (key[0], key[31]) = (7, last);
        Address::new(AddressKind::Mailbox, key)
    }

    fn entry() -> RecordEntry {
        RecordEntry {
            key: RecordKey { address: address(3), arrival: Arrival(9) },
            id: RecordId::new([5; 32]),
            timestamp: UnixSeconds(1_790_000_000),
            ttl: 600,
            length: 1731,
            source: Source::Gossip,
            received: UnixSeconds(1_790_000_001),
        }
    }

    #[test]
    fn keys_sort_by_place_on_the_ring_then_address_then_arrival() {
        let key = |address, arrival| RecordKey { address, arrival: Arrival(arrival) }.to_bytes();
        assert_eq!(address(3).position().0, 7 << 56 | 3);
        assert_eq!(key(address(3), 9)[..8], (7_u64 << 56 | 3).to_be_bytes());
        assert!(key(address(3), 255) < key(address(3), 256));
        assert!(key(address(3), u64::MAX) < key(address(4), 0));
        let bytes = key(address(3), 9);
        assert_eq!(RecordKey::from_bytes(&bytes), Some(RecordKey { address: address(3), arrival: Arrival(9) }));
        let elsewhere = [[0].as_slice(), &bytes[1..]].concat();
        assert!([&bytes[1..], &elsewhere[..], &bytes[..0]].iter().all(|key| RecordKey::from_bytes(key).is_none()));
    }

    #[test]
    fn entries_and_tombstones_round_trip() {
        let entry = entry();
        assert_eq!(parse_entry(entry.id.as_ref(), &entry_row(&entry)).unwrap(), entry);
        let tombstone = Tombstone {
            address: entry.key.address,
            id: entry.id,
            timestamp: entry.timestamp,
            ttl: entry.ttl,
            delete: DeleteName::of(b"delete"),
        };
        assert_eq!(parse_tombstone(tombstone.item().as_ref(), &tombstone_row(&tombstone)).unwrap(), tombstone);
    }

    #[test]
    fn a_row_with_any_bit_wrong_or_under_another_key_is_damaged() {
        let entry = entry();
        let row = entry_row(&entry);
        for bit in 0..row.len() * 8 {
            let mut damaged = row.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(parse_entry(entry.id.as_ref(), &damaged), Err(StoreError::Damaged(_))), "bit {bit}");
        }
        for length in 0..row.len() {
            assert!(parse_entry(entry.id.as_ref(), &row[..length]).is_err(), "{length} bytes");
        }
        assert!(parse_entry(RecordId::new([6; 32]).as_ref(), &row).is_err());
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_one() {
        assert_eq!(misc::after(b"ab"), b"ac");
        assert_eq!(misc::after(&[1, 0xff]), [2]);
        assert_eq!(misc::after(&[0xff]), [0_u8; 0]);
    }
}
