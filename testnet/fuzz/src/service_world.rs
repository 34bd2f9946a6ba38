//! What the node of `service` lives in: two swarms of five, owners of mailboxes in both, their records with work done.

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use sotto_chain::State;
use sotto_proto::address::Address;
use sotto_proto::chain::NodeRecord;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, ChainId, Height, NodeId, RecordId, SwarmId};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, TTL_SECONDS};
use sotto_proto::network::{NetworkView, Snapshot};
use sotto_proto::pow::{Difficulty, Nonce, Search, Work};
use sotto_proto::request::{Delete, DeletedRecord, SignedDelete};
use sotto_proto::sign::SigningKey;
use sotto_proto::swarm::SwarmMap;

use crate::fixtures::{NOW, START, genesis, key, node_record};

pub(crate) const MINE: SwarmId = SwarmId(0);
pub(crate) const OTHER: SwarmId = SwarmId(1 << 63);
/// The newest final block.
pub(crate) const HEIGHT: Height = Height(130);
const ANCHOR: Height = Height(120);

/// Somebody with a mailbox, and records for it.
pub(crate) struct Owner {
    pub(crate) key: SigningKey,
    pub(crate) records: Vec<Record>,
}

/// All of it.
pub(crate) struct World {
    pub(crate) chain: ChainId,
    pub(crate) tip: State,
    pub(crate) view: Arc<NetworkView>,
    /// Three of the node's own swarm, then one of the other.
    pub(crate) owners: Vec<Owner>,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let tip = State::genesis(&genesis());
    let view = view();
    let swarms = &view.current().swarms;
    let owner = |swarm, key: SigningKey| {
        let address = Address::mailbox(&key.public());
        (swarms.owner(&address) == Some(swarm))
            .then(|| Owner { records: (0..3).map(|n| record(address, n)).collect(), key })
    };
    let in_swarm = |swarm| (0..=u8::MAX).filter_map(move |n| owner(swarm, key("owner", n)));
    let owners = in_swarm(MINE).take(3).chain(in_swarm(OTHER).take(1)).collect();
    World { chain: tip.chain(), tip, view: Arc::new(view), owners }
});

/// Member `n`; the first five are in the node's own swarm, and number 0 is the node.
pub(crate) fn member(n: u8) -> NodeId {
    static MEMBERS: LazyLock<Vec<NodeId>> = LazyLock::new(|| (0..10).map(|n| key("node", n).node_id()).collect());
    MEMBERS[usize::from(n) % MEMBERS.len()]
}

fn anchor_hash(height: Height) -> BlockHash {
    BlockHash::new(std::array::from_fn(|i| if i < 8 { height.0.to_be_bytes()[i] } else { 0xab }))
}

fn view() -> NetworkView {
    let unknown = NetworkView::unknown(&genesis());
    let sorted = |range: std::ops::Range<u8>| {
        let mut members: Vec<_> = range.map(member).collect();
        members.sort_unstable();
        members
    };
    let swarms = [(MINE, sorted(0..5)), (OTHER, sorted(5..10))];
    let record = |node, swarm| NodeRecord { node, swarm: Some(swarm), ..node_record(1) };
    let nodes = swarms
        .iter()
        .flat_map(|(swarm, members)| members.iter().map(|node| (*node, Arc::new(record(*node, *swarm)))))
        .collect();
    let swarms = SwarmMap::from_parts(swarms, Vec::new()).expect("two swarms of five");
    let current = Snapshot { time: START, nodes, swarms, ..unknown.current().clone() };
    let snapshot = |height| Arc::new(Snapshot { height, block_hash: anchor_hash(height), ..current.clone() });
    let earlier = (HEIGHT.0 - 15..HEIGHT.0).rev().map(|height| snapshot(Height(height))).collect();
    NetworkView::new(unknown.chain, HEIGHT.plus(3), false, snapshot(HEIGHT), earlier)
}

/// A record that lives as long as any may, so that none expires while an input is run.
fn record(address: Address, n: u8) -> Record {
    let ttl = Ttl::new(*TTL_SECONDS.end()).expect("the longest");
    let data = vec![n; ENVELOPE_DATA_SIZES[0]];
    let envelope = Envelope::new(address, NOW, ttl, ANCHOR, data).expect("an allowed length");
    let work = Work::new(&envelope, &anchor_hash(ANCHOR));
    let nonce = work.prove_on(NonZeroUsize::MIN, Difficulty::MIN, Nonce(0), &Search::new()).expect("nobody cancels");
    Record::new(envelope, nonce, None).expect("a mailbox needs no signature")
}

impl World {
    pub(crate) fn id(&self, record: &Record) -> RecordId {
        record.envelope().id(&self.chain)
    }

    /// The owner deletes one of his records.
    pub(crate) fn delete(&self, owner: &Owner, record: &Record) -> SignedDelete {
        let (timestamp, ttl) = (record.envelope().timestamp(), record.envelope().ttl().seconds());
        let deleted = DeletedRecord { id: self.id(record), timestamp, ttl };
        let delete = Delete::new(record.envelope().address(), NOW, vec![deleted]).expect("one record of a mailbox");
        SignedDelete::sign(delete, &owner.key, &self.chain)
    }
}
