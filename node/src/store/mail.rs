//! Reading and writing of records, tombstones, signed deletes, anchors and confirmations, the same for every store: a
//! store only has to keep rows in the order of their keys ([`Store::row`], [`Store::rows`]).
//!
//! What is damaged is an error of its own, or counted and passed over: the rest is served all the same.

use std::collections::BTreeMap;

use sotto_proto::id::{BlockHash, ChainId, Height, ItemId, NodeId};

use super::check::{self, Suspect, Verdict};
use super::damage::{Readable, readable};
use super::records::{self, DeleteName, RecordEntry, RecordKey, Rows, Tombstone, misc};
use super::schema::Family;
use super::{MetaKey, Store, StoreError, Write};

/// Anchors that are read at once: four days of a testnet's.
const ANCHORS: usize = 1 << 13;
/// Members of a swarm never confirm more of an item than there are.
const CONFIRMATIONS: usize = 64;

/// A change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowChange {
    Put { family: Family, key: Vec<u8>, row: Vec<u8> },
    Delete { family: Family, key: Vec<u8> },
    DeleteRange { family: Family, from: Vec<u8>, until: Vec<u8> },
}

/// What a write does to rows; nothing for blocks, snapshots and single values.
pub(super) fn row_changes(write: &Write) -> Vec<RowChange> {
    let delete = |family, key: &[u8]| RowChange::Delete { family, key: key.to_vec() };
    match write {
        Write::PutRecord { entry, bytes } => {
            let key = entry.key.to_bytes();
            let row = records::seal(&key, bytes);
            vec![
                RowChange::Put { family: Family::Records, key: key.to_vec(), row },
                RowChange::Put {
                    family: Family::RecordIds,
                    key: entry.id.as_ref().to_vec(),
                    row: records::entry_row(entry),
                },
            ]
        }
        Write::DeleteRecord { key, id } => {
            vec![delete(Family::Records, &key.to_bytes()), delete(Family::RecordIds, id.as_ref())]
        }
        Write::PutTombstone(tombstone) => vec![RowChange::Put {
            family: Family::Tombstones,
            key: tombstone.item().as_ref().to_vec(),
            row: records::tombstone_row(tombstone),
        }],
        Write::DeleteTombstone(item) => vec![delete(Family::Tombstones, item.as_ref())],
        Write::PutSignedDelete { name, bytes } => {
            let key = misc::delete(name);
            let row = records::seal(&key, bytes);
            vec![RowChange::Put { family: Family::Misc, key, row }]
        }
        Write::DeleteSignedDelete(name) => vec![delete(Family::Misc, &misc::delete(name))],
        Write::PutAnchor { height, hash } => {
            let key = misc::anchor(*height);
            let row = records::seal(&key, hash.as_ref());
            vec![RowChange::Put { family: Family::Misc, key, row }]
        }
        Write::PruneAnchorsBelow(height) => vec![RowChange::DeleteRange {
            family: Family::Misc,
            from: misc::anchor(Height::ZERO),
            until: misc::anchor(*height),
        }],
        Write::DeleteRow { family, key } => vec![delete(*family, key)],
        Write::PutConfirmation { item, node } => {
            vec![RowChange::Put { family: Family::Misc, key: misc::confirmation(item, node), row: Vec::new() }]
        }
        Write::DeleteConfirmations(item) => {
            let from = misc::confirmations(item);
            let until = misc::after(&from);
            vec![RowChange::DeleteRange { family: Family::Misc, from, until }]
        }
        Write::PutBlock { .. }
        | Write::DeleteBlocksFrom(_)
        | Write::PruneBlocksBelow(_)
        | Write::PutSnapshot { .. }
        | Write::PruneSnapshotsBelow(_)
        | Write::DeleteSnapshot(_)
        | Write::PutMeta(..) => Vec::new(),
    }
}

/// The bytes of a record; `None` if there is none.
///
/// # Errors
/// [`StoreError::Damaged`] if they are not what was written.
pub fn record<S: Store + ?Sized>(store: &S, key: &RecordKey) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key.to_bytes();
    let Some(row) = store.row(Family::Records, &key)? else { return Ok(None) };
    Ok(Some(records::open(&key, &row, "a record")?.to_vec()))
}

/// Up to `count` records without their bytes, from an id on.
///
/// # Errors
/// When the engine refuses.
pub fn record_entries<S: Store + ?Sized>(
    store: &S,
    from: ItemId,
    count: usize,
) -> Result<Rows<RecordEntry>, StoreError> {
    page(store, Family::RecordIds, from, count, records::parse_entry)
}

/// Up to `count` tombstones, from an item on.
///
/// # Errors
/// When the engine refuses.
pub fn tombstones<S: Store + ?Sized>(store: &S, from: ItemId, count: usize) -> Result<Rows<Tombstone>, StoreError> {
    page(store, Family::Tombstones, from, count, records::parse_tombstone)
}

fn page<S: Store + ?Sized, T>(
    store: &S,
    family: Family,
    from: ItemId,
    count: usize,
    parse: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<Rows<T>, StoreError> {
    let Readable { rows, next, damaged } = readable(store, family, from.as_ref(), &[], count)?;
    let mut page = Rows { next: next.and_then(|next| first_id(&next)), ..Rows::default() };
    if damaged {
        tracing::warn!(family = family.name(), "part of a table cannot be read; repair fetches what is lost");
        page.damaged = 1;
    }
    for (key, row) in rows {
        match parse(&key, &row) {
            Ok(parsed) => page.rows.push(parsed),
            Err(_) => {
                page.damaged += 1;
                page.damaged_keys.push(key);
            }
        }
    }
    Ok(page)
}

/// The first id whose bytes are not before these; `None` if there is none.
fn first_id(bytes: &[u8]) -> Option<ItemId> {
    let mut id = [0; 32];
    id.iter_mut().zip(bytes).for_each(|(byte, of_bytes)| *byte = *of_bytes);
    // Longer than an id: behind the one it begins with.
    let mut carries = bytes.len() > id.len();
    for byte in id.iter_mut().rev() {
        (*byte, carries) = byte.overflowing_add(u8::from(carries));
    }
    (!carries).then(|| ItemId::new(id))
}

/// A signed delete.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not what was written.
pub fn signed_delete<S: Store + ?Sized>(store: &S, name: &DeleteName) -> Result<Option<Vec<u8>>, StoreError> {
    let key = misc::delete(name);
    let Some(row) = store.row(Family::Misc, &key)? else { return Ok(None) };
    Ok(Some(records::open(&key, &row, "a signed delete")?.to_vec()))
}

/// The hashes of final blocks that work is anchored at. Damaged ones are left out: they are found again.
///
/// # Errors
/// When the engine refuses.
pub fn anchors<S: Store + ?Sized>(store: &S) -> Result<BTreeMap<Height, BlockHash>, StoreError> {
    let (from, until) = (misc::anchor(Height::ZERO), misc::after(b"a"));
    let rows = match store.rows(Family::Misc, &from, &until, ANCHORS) {
        Err(StoreError::Damaged(_)) => Vec::new(),
        rows => rows?,
    };
    Ok(rows.iter().filter_map(|(key, row)| misc::parse_anchor(key, row).ok()).collect())
}

/// Who has confirmed to hold an item on disk.
///
/// # Errors
/// When the engine refuses.
pub fn confirmations<S: Store + ?Sized>(store: &S, item: &ItemId) -> Result<Vec<NodeId>, StoreError> {
    let from = misc::confirmations(item);
    let rows = store.rows(Family::Misc, &from, &misc::after(&from), CONFIRMATIONS)?;
    Ok(rows.iter().filter_map(|(key, _)| misc::parse_confirmation(key)).collect())
}

/// Something to be read on the storage thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// What there is one of.
    Settings,
    /// Records without their bytes, from an id on.
    Entries(ItemId),
    /// Tombstones, from an item on.
    Tombstones(ItemId),
    /// The bytes of records.
    Records(Vec<RecordKey>),
    /// A signed delete.
    SignedDeletes(Vec<DeleteName>),
    /// The hashes of blocks.
    BlockHashes(Vec<Height>),
    /// The bytes of records and signed deletes.
    Places(Vec<Place>),
    /// Who has confirmed items.
    Confirmations(Vec<ItemId>),
    /// Whether things are on disk as they were written.
    Check {
        /// The chain, which is part of each record's id.
        chain: ChainId,
        /// What is looked at.
        suspects: Vec<Suspect>,
    },
    /// Which rows of records there are, from a key on.
    Keys(Vec<u8>),
}

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A record.
    Record(RecordKey),
    /// The signed delete of a tombstone.
    Delete(DeleteName),
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// To [`Lookup::Settings`].
    Settings(Settings),
    /// To [`Lookup::Entries`].
    Entries(Rows<RecordEntry>),
    /// To [`Lookup::Tombstones`].
    Tombstones(Rows<Tombstone>),
    /// To [`Lookup::Records`], in the order asked for. `None`: it is not there, or damaged.
    Records(Vec<Option<Vec<u8>>>),
    /// To [`Lookup::SignedDeletes`], the same.
    SignedDeletes(Vec<Option<Vec<u8>>>),
    /// To [`Lookup::BlockHashes`]: those that are there and can be read.
    BlockHashes(Vec<(Height, BlockHash)>),
    /// To [`Lookup::Places`], in the order asked for. `None`: it is not there, or damaged.
    Places(Vec<Option<Vec<u8>>>),
    /// To [`Lookup::Confirmations`]: those that there are.
    Confirmations(Vec<(ItemId, NodeId)>),
    /// To [`Lookup::Check`], in the order asked for.
    Checked(Vec<Verdict>),
    /// To [`Lookup::Keys`].
    Keys(Keys),
    /// It could not be read.
    Failed(String),
}

/// Keys of rows of records, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys, also those that are none of a record.
    pub keys: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// Some between them and `next` cannot be read.
    pub damaged: bool,
}

/// What there is one of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What tells this database's arrival numbers from another's, once drawn. `None` also if it is not known which numbers
    /// were given out under it.
    pub epoch: Option<u64>,
    /// No arrival number has been given from here on.
    pub arrivals: u64,
    /// The hashes that work is anchored at.
    pub anchors: BTreeMap<Height, BlockHash>,
    /// Rows of records that the index does not know are still to be looked for.
    pub strays: bool,
}

/// Rows of the index read at once: a few milliseconds on either thread. A hundred thousand take some hundred pages and
/// half a second on a machine with nothing else to do.
const ENTRIES: usize = 1024;
/// Rows of records whose keys are read at once. Their bytes come along: up to 2 MiB, of usual ones some dozen KiB.
const KEYS: usize = 32;

/// Reads something.
pub fn look_up<S: Store + ?Sized>(store: &S, lookup: &Lookup) -> Found {
    try_look_up(store, lookup).unwrap_or_else(|error| Found::Failed(error.to_string()))
}

fn try_look_up<S: Store + ?Sized>(store: &S, lookup: &Lookup) -> Result<Found, StoreError> {
    Ok(match lookup {
        Lookup::Settings => Found::Settings(settings(store)?),
        Lookup::Entries(from) => Found::Entries(record_entries(store, *from, ENTRIES)?),
        Lookup::Tombstones(from) => Found::Tombstones(tombstones(store, *from, ENTRIES)?),
        Lookup::Records(keys) => {
            Found::Records(keys.iter().map(|key| unless_damaged(record(store, key))).collect::<Result<_, _>>()?)
        }
        Lookup::SignedDeletes(names) => {
            let read = |name| unless_damaged(signed_delete(store, name));
            Found::SignedDeletes(names.iter().map(read).collect::<Result<_, _>>()?)
        }
        Lookup::Places(places) => {
            let read = |place: &Place| match place {
                Place::Record(key) => record(store, key),
                Place::Delete(name) => signed_delete(store, name),
            };
            Found::Places(places.iter().map(|place| unless_damaged(read(place))).collect::<Result<_, _>>()?)
        }
        Lookup::Confirmations(items) => {
            let mut found = Vec::new();
            for item in items {
                found.extend(confirmations(store, item)?.into_iter().map(|node| (*item, node)));
            }
            Found::Confirmations(found)
        }
        Lookup::BlockHashes(heights) => {
            let mut found = Vec::new();
            for height in heights {
                match store.block(*height) {
                    Err(StoreError::Damaged(_)) => {} // the others are of use all the same
                    block => found.extend(block?.map(|block| (block.height, block.hash))),
                }
            }
            Found::BlockHashes(found)
        }
        Lookup::Check { chain, suspects } => {
            let judge = |suspect| check::judge(store, chain, suspect);
            Found::Checked(suspects.iter().map(judge).collect::<Result<_, _>>()?)
        }
        Lookup::Keys(from) => {
            let Readable { rows, next, damaged } = readable(store, Family::Records, from, &[], KEYS)?;
            Found::Keys(Keys { keys: rows.into_iter().map(|(key, _)| key).collect(), next, damaged })
        }
    })
}

/// What there is one of. An epoch is worth something only with the numbers that were given out under it: where either is
/// damaged there is none, and readers begin anew.
fn settings<S: Store + ?Sized>(store: &S) -> Result<Settings, StoreError> {
    let anchors = anchors(store)?;
    let both = number(store, MetaKey::Epoch).and_then(|epoch| Ok((epoch, number(store, MetaKey::Arrivals)?)));
    let (epoch, arrivals) = match both {
        Err(StoreError::Damaged(what)) => {
            tracing::warn!(what, "what readers' cursors rest on is damaged; they begin anew");
            (None, None)
        }
        both => both?,
    };
    let strays = match store.meta(MetaKey::Strays) {
        Err(StoreError::Damaged(_)) => true, // looking once too often costs little
        value => value?.is_some_and(|value| !value.is_empty()),
    };
    Ok(Settings { epoch, arrivals: arrivals.unwrap_or(0), anchors, strays })
}

/// Damage is as good as absence to whoever asked; it is logged here, where it is seen.
fn unless_damaged(read: Result<Option<Vec<u8>>, StoreError>) -> Result<Option<Vec<u8>>, StoreError> {
    match read {
        Err(StoreError::Damaged(what)) => {
            tracing::warn!(what, "something on disk is damaged; it is dropped, and repair fetches it again");
            Ok(None)
        }
        read => read,
    }
}

fn number<S: Store + ?Sized>(store: &S, key: MetaKey) -> Result<Option<u64>, StoreError> {
    let bytes = store.meta(key)?;
    bytes
        .map(|bytes| bytes.as_slice().try_into().map(u64::from_be_bytes))
        .transpose()
        .map_err(|_| StoreError::Damaged("a number"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::Batch;
    use super::super::faulty::FaultyStore;
    use super::*;

    #[test]
    fn a_block_that_cannot_be_read_is_none_and_no_reason_to_ask_for_ever() {
        let mut store = FaultyStore::default();
        let (height, hash) = (Height(60), BlockHash::new([6; 32]));
        store.write(&Batch::of(Write::PutBlock { height, hash, bytes: vec![1] })).unwrap();
        let lookup = Lookup::BlockHashes(vec![height, Height(120)]);
        assert_eq!(look_up(&store, &lookup), Found::BlockHashes(vec![(height, hash)]));
        store.faults.blocks.store(true, Ordering::SeqCst);
        assert_eq!(look_up(&store, &lookup), Found::BlockHashes(Vec::new()));
    }
}
