//! The whole state as bytes, for restarting without replaying the chain, and back.
//!
//! ```text
//! u8 version = 1 ‖ height u64 ‖ tip 32 ‖ time u64
//! u32 n ‖ n × ( u8 table ‖ u32 len ‖ key ‖ u32 len ‖ value )
//! u32 m ‖ m × ( height u64 ‖ swarm u64 ‖ testee 32 ‖ tester 32 ‖ u8 reported )
//! BLAKE2b-256 of all that, with a domain
//! ```
//! Entries and tests stand in ascending order, none twice. The trees and indexes are rebuilt. The hash finds damage;
//! whether a snapshot is the right one is for the signed header of its height to say ([`State::is_after`]).

use std::sync::Arc;

use sotto_proto::chain::{
    Account, Buckets, Cooldown, Genesis, Header, LockedStake, ServiceNode, SignedHeader, SwarmValue, Waiting,
};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{Height, NodeId, PublicKey, SwarmId};
use sotto_proto::proof::Table;
use sotto_proto::swarm::{InvalidMap, SwarmMap};
use sotto_proto::time::UnixMillis;

use super::{DueTest, State, SwarmInfo, WAITING_KEY};

const VERSION: u8 = 1;
/// No key or value of the tables is longer: a node with all its verdicts has less than 9 KiB; the lists of those who
/// wait hold 40 bytes a node.
const MAX_VALUE: usize = 64 << 20;

/// Why bytes are not a snapshot of this chain's state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the format.
    #[error("snapshot: {0}")]
    Decode(#[from] DecodeError),
    /// It was damaged.
    #[error("snapshot: its bytes do not match its checksum")]
    Damaged,
    /// The swarms in it are none.
    #[error("snapshot: {0}")]
    Swarms(#[from] InvalidMap),
}

impl State {
    /// The whole state as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.height.0.to_be_bytes());
        bytes.extend_from_slice(self.tip.as_ref());
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        let entries: Vec<_> = self.entries().collect();
        bytes.extend_from_slice(&length(entries.len()));
        for (table, key, value) in entries {
            bytes.push(table.code());
            for part in [key, value] {
                bytes.extend_from_slice(&length(part.len()));
                bytes.extend_from_slice(&part);
            }
        }
        bytes.extend_from_slice(&length(self.tests.len()));
        for ((height, swarm, testee), test) in &self.tests {
            bytes.extend_from_slice(&height.0.to_be_bytes());
            bytes.extend_from_slice(&swarm.0.to_be_bytes());
            bytes.extend_from_slice(testee.as_ref());
            bytes.extend_from_slice(test.tester.as_ref());
            bytes.push(u8::from(test.reported));
        }
        let checksum = hash(domain::SNAPSHOT, &bytes);
        bytes.extend_from_slice(checksum.as_ref());
        bytes
    }

    /// Whether this is the state after the block of `header`.
    #[must_use]
    pub fn is_after(&self, header: &SignedHeader) -> bool {
        let Header { height, time, state_root, list_root, .. } = &header.header;
        (self.height, self.time, self.tip) == (*height, *time, header.hash(&self.chain))
            && (self.state_root(), self.list_root) == (*state_root, *list_root)
    }

    /// Rebuilds the state of a chain from [`encode`](Self::encode)'s bytes.
    ///
    /// # Errors
    /// [`SnapshotError`] if they are none. That they are the *right* ones is for the caller to see, by
    /// [`is_after`](Self::is_after) with the signed header of that height.
    pub fn decode(genesis: &Genesis, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (bytes, checksum) = bytes.split_last_chunk::<32>().ok_or(SnapshotError::Damaged)?;
        if hash(domain::SNAPSHOT, bytes).as_bytes() != checksum {
            return Err(SnapshotError::Damaged);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("snapshot version").into());
        }
        let mut state = Self::genesis(genesis);
        state.accounts.clear();
        (state.height, state.tip, state.time) = (Height(reader.u64()?), reader.id()?, UnixMillis(reader.u64()?));
        let mut tables = Tables::default();
        let mut last = None;
        for _ in 0..reader.u32()? {
            let table = Table::from_code(reader.u8()?).ok_or(DecodeError::Value("table"))?;
            let key = reader.var_bytes("key", 32)?;
            let value = reader.var_bytes("value", MAX_VALUE)?;
            if last.replace((table, key)).is_some_and(|last| last >= (table, key)) {
                return Err(DecodeError::Value("key (not ascending)").into());
            }
            tables.take(&mut state, table, key, value)?;
        }
        for _ in 0..reader.u32()? {
            let key = (Height(reader.u64()?), SwarmId(reader.u64()?), reader.id()?);
            let tester = reader.id()?;
            let reported = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::Value("reported").into()),
            };
            if state.tests.get_max().is_some_and(|(last, _)| *last >= key) {
                return Err(DecodeError::Value("test (not ascending)").into());
            }
            state.tests.insert(key, DueTest { tester, reported });
        }
        reader.finish()?;
        state.swarms = SwarmMap::from_parts(tables.swarms, tables.unassigned)?;
        state.buckets = Buckets::new(&state.chain, &state.records);
        state.list_root = state.buckets.root(&state.chain);
        state.plant_tree();
        Ok(state)
    }
}

/// What has to be read completely before the swarm map can be built.
#[derive(Default)]
struct Tables {
    swarms: Vec<(SwarmId, Vec<NodeId>)>,
    unassigned: Vec<NodeId>,
}

impl Tables {
    fn take(&mut self, state: &mut State, table: Table, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        let wrong_key = |_| DecodeError::Value("key");
        match table {
            Table::Node => {
                let node = ServiceNode::decode(value)?;
                if key != node.record.node.as_ref() {
                    return Err(DecodeError::Value("key"));
                }
                let genesis = Arc::clone(&state.genesis);
                state.index.insert(&node, &genesis.params);
                state.records.insert(node.record.node, Arc::clone(&node.record));
                state.nodes.insert(node.record.node, Arc::new(node));
            }
            Table::Account => {
                state.accounts.insert(PublicKey::try_from(key).map_err(wrong_key)?, Account::decode(value)?);
            }
            Table::Lock => {
                let (node, lock) = (NodeId::try_from(key).map_err(wrong_key)?, LockedStake::decode(value)?);
                state.index.lock_ends.insert((lock.until, node));
                state.locks.insert(node, lock);
            }
            Table::Cooldown => {
                let (key, cooldown) = (PublicKey::try_from(key).map_err(wrong_key)?, Cooldown::decode(value)?);
                state.index.cooldown_ends.insert((cooldown.until, key));
                state.cooldowns.insert(key, cooldown);
            }
            Table::Swarm => {
                let id = SwarmId(u64::from_be_bytes(key.try_into().map_err(|_| DecodeError::Value("key"))?));
                let SwarmValue { members, last_decommission, tests, difficulty } = SwarmValue::decode(value)?;
                state.swarm_infos.insert(id, SwarmInfo { last_decommission, tests, difficulty });
                self.swarms.push((id, members));
            }
            Table::Chain => {
                if key != WAITING_KEY {
                    return Err(DecodeError::Value("key"));
                }
                let Waiting { unassigned, joining, leaving, spared_epoch } = Waiting::decode(value)?;
                state.spared_epoch = spared_epoch;
                self.unassigned = unassigned;
                state.joining = joining.into_iter().map(|node| (node, ())).collect();
                state.leaving = leaving.into_iter().collect();
            }
            Table::Name => return Err(DecodeError::Value("table")),
        }
        Ok(())
    }
}
