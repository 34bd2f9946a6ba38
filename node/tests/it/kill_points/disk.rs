//! What a dead node left on its disk, read row by row, and what is put there for the next life.

use std::collections::BTreeMap;
use std::path::Path;

use sotto_node::run::DATABASE;
use sotto_node::store::mail::{confirmations, record, record_entries};
use sotto_node::store::records::{Arrival, RecordEntry, RecordKey, Source};
use sotto_node::store::rocks::RocksStore;
use sotto_node::store::{Batch, Family, MetaKey, Store, Write};
use sotto_proto::address::Address;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{ChainId, Height, ItemId, NodeId, RecordId};
use sotto_proto::pow::{Difficulty, Nonce, Search, Work};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixSeconds;

use super::layout::Layout;

/// Rows read at once.
const ROWS: usize = 512;
/// How long records of these tests live.
pub(super) const TTL: u32 = 3600;

pub(super) type Records = BTreeMap<RecordId, Vec<u8>>;

pub(super) fn open(datadir: &Path) -> RocksStore {
    RocksStore::open(&datadir.join(DATABASE)).unwrap()
}

/// The same without changing anything.
pub(super) fn look_at(datadir: &Path) -> RocksStore {
    RocksStore::open_read_only(&datadir.join(DATABASE)).unwrap().expect("a database")
}

/// One record, found by its id.
pub(super) fn find(store: &impl Store, id: &RecordId) -> Option<Vec<u8>> {
    let page = record_entries(store, ItemId::from(*id), 1).unwrap();
    let entry = page.rows.first().filter(|entry| entry.id == *id)?;
    Some(record(store, &entry.key).unwrap().expect("an entry without its record"))
}

/// The records there are. Every one must be whole: found under its id and at its place, with the digest that is its id,
/// under an arrival number of its own that is not given out again; and nothing must lie beside them.
pub(super) fn read(store: &impl Store) -> Records {
    let (mut all, mut from, mut arrivals) = (Records::new(), Some(ItemId::new([0; 32])), Vec::new());
    let chain = Layout::chain();
    while let Some(first) = from {
        let page = record_entries(store, first, ROWS).unwrap();
        assert_eq!(page.damaged, 0, "damaged entries");
        for entry in page.rows {
            let bytes = record(store, &entry.key).unwrap().expect("an entry without its record");
            let decoded = Record::decode(&bytes).unwrap();
            let envelope = decoded.envelope();
            assert_eq!(envelope.id(&chain), entry.id, "the digest is another");
            assert_eq!((envelope.address(), envelope.expiry()), (entry.key.address, entry.expiry()));
            assert_eq!(bytes.len(), entry.length as usize);
            arrivals.push(entry.key.arrival);
            assert!(all.insert(entry.id, bytes).is_none(), "an entry twice");
        }
        from = page.next;
    }
    let rows = store.rows(Family::Records, &[], &[], usize::MAX).unwrap().len();
    assert_eq!(rows, all.len(), "records without an entry");
    arrivals.sort_unstable();
    let count = arrivals.len();
    arrivals.dedup();
    assert_eq!(arrivals.len(), count, "an arrival number twice");
    assert!(arrivals.last().is_none_or(|last| *last < reserved(store)), "a number that will be given out again");
    all
}

fn reserved(store: &impl Store) -> Arrival {
    let bytes = store.meta(MetaKey::Arrivals).unwrap();
    Arrival(bytes.map_or(1, |bytes| u64::from_be_bytes(bytes.try_into().unwrap())))
}

/// Who has confirmed an item, as far as the node has noted it.
pub(super) fn confirmed(store: &impl Store, id: &RecordId) -> Vec<NodeId> {
    confirmations(store, &ItemId::from(*id)).unwrap()
}

/// Puts records onto the disk as if they had been kept there.
pub(super) fn put(store: &mut impl Store, records: &Records) {
    let mut next = reserved(store);
    let mut batch = Batch::default();
    for (id, bytes) in records {
        let record = Record::decode(bytes).unwrap();
        let envelope = record.envelope();
        let entry = RecordEntry {
            key: RecordKey { address: envelope.address(), arrival: next },
            id: *id,
            timestamp: envelope.timestamp(),
            ttl: envelope.ttl().seconds(),
            length: u32::try_from(bytes.len()).unwrap(),
            source: Source::Client,
            received: envelope.timestamp(),
        };
        batch.push(Write::PutRecord { entry, bytes: bytes.clone() });
        next = next.next();
    }
    batch.push(Write::PutMeta(MetaKey::Arrivals, next.0.to_be_bytes().to_vec()));
    store.write(&batch).unwrap();
    store.sync().unwrap();
}

/// Makes records, each another one.
#[derive(Debug)]
pub(super) struct Maker {
    chain: ChainId,
    made: u64,
}

impl Default for Maker {
    fn default() -> Self {
        Self { chain: Layout::chain(), made: 0 }
    }
}

impl Maker {
    /// A record of `length` bytes of data for the owner's mailbox, with the least work.
    pub(super) fn make(&mut self, owner: &SigningKey, made_at: UnixSeconds, length: usize) -> (RecordId, Vec<u8>) {
        self.made += 1;
        let (address, mut data) = (Address::mailbox(&owner.public()), vec![0; length]);
        data[..8].copy_from_slice(&self.made.to_be_bytes());
        let envelope = Envelope::new(address, made_at, Ttl::new(TTL).unwrap(), Height(0), data).unwrap();
        let work = Work::new(&envelope, &self.chain.into());
        let nonce = work.prove_on(std::num::NonZeroUsize::MIN, Difficulty::MIN, Nonce(0), &Search::new()).unwrap();
        let id = envelope.id(&self.chain);
        (id, Record::new(envelope, nonce, None).unwrap().encode())
    }

    pub(super) fn some(&mut self, count: usize, owner: &SigningKey, at: UnixSeconds, length: usize) -> Records {
        (0..count).map(|_| self.make(owner, at, length)).collect()
    }
}
