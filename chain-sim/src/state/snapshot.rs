//! The whole state as bytes, for restarting without replaying the chain, and back.
//!
//! ```text
//! u8 version = 1 ‖ height u64 ‖ tip 32 ‖ time u64
//! u32 n ‖ n × ( u8 table ‖ u32 len ‖ key ‖ u32 len ‖ value )
//! u32 m ‖ m × ( height u64 ‖ swarm u64 ‖ testee 32 ‖ tester 32 ‖ u8 reported )
//! ```
//! The trees and indexes are rebuilt. Whoever loads a snapshot compares the state root with a signed header's.

use std::sync::Arc;

use sotto_proto::chain::{Account, Buckets, Cooldown, Genesis, LockedStake, ServiceNode, SwarmValue, Waiting};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::{Height, NodeId, PublicKey, SwarmId};
use sotto_proto::proof::Table;
use sotto_proto::swarm::{InvalidMap, SwarmMap};
use sotto_proto::time::UnixMillis;

use super::{DueTest, State, SwarmInfo};

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
        bytes
    }

    /// Rebuilds the state of a chain from [`encode`](Self::encode)'s bytes.
    ///
    /// # Errors
    /// [`SnapshotError`] if they are none. That they are *right* is for the caller to see: by comparing
    /// [`state_root`](Self::state_root) and [`list_root`](Self::list_root) with the signed header of that height.
    pub fn decode(genesis: &Genesis, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("snapshot version").into());
        }
        let mut state = Self::genesis(genesis);
        state.accounts.clear();
        (state.height, state.tip, state.time) = (Height(reader.u64()?), reader.id()?, UnixMillis(reader.u64()?));
        let mut tables = Tables::default();
        for _ in 0..reader.u32()? {
            let table = Table::from_code(reader.u8()?).ok_or(DecodeError::Value("table"))?;
            let key = reader.var_bytes("key", 32)?;
            let value = reader.var_bytes("value", MAX_VALUE)?;
            tables.take(&mut state, table, key, value)?;
        }
        for _ in 0..reader.u32()? {
            let key = (Height(reader.u64()?), SwarmId(reader.u64()?), reader.id()?);
            let tester = reader.id()?;
            state.tests.insert(key, DueTest { tester, reported: reader.u8()? == 1 });
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
                let Waiting { unassigned, joining, leaving } = Waiting::decode(value)?;
                self.unassigned = unassigned;
                state.joining = joining.into_iter().map(|node| (node, ())).collect();
                state.leaving = leaving.into_iter().collect();
            }
            Table::Name => return Err(DecodeError::Value("table")),
        }
        Ok(())
    }
}
