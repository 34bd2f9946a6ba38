//! The chain's state after a block: a value that is cheap to clone, because every table shares its structure with the
//! states before it.

mod index;
mod snapshot;
mod tree;

use std::sync::Arc;

use imbl::OrdMap;
use sotto_proto::chain::{Account, Buckets, Cooldown, Genesis, LockedStake, Params, ServiceNode, SwarmValue, Waiting};
use sotto_proto::id::{Amount, BlockHash, ChainId, Hash, Height, NodeId, PublicKey, SwarmId};
use sotto_proto::network::{NodeList, Snapshot};
use sotto_proto::proof::{StateProof, StateProofError, Table};
use sotto_proto::swarm::SwarmMap;
use sotto_proto::time::UnixMillis;

pub(crate) use index::Indexes;
pub use snapshot::SnapshotError;
pub(crate) use tree::StateTree;

/// What the rules remember of a swarm beside its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwarmInfo {
    pub(crate) last_decommission: Height,
    pub(crate) tests: u64,
    pub(crate) difficulty: u32,
}

/// Who tests whom at a height, until it is reported or too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueTest {
    /// Who tests.
    pub tester: NodeId,
    /// Whether the outcome is on the chain.
    pub reported: bool,
}

/// Height, swarm and testee of a storage test.
pub(crate) type TestKey = (Height, SwarmId, NodeId);

/// The state after a block.
#[derive(Clone)]
pub struct State {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) chain: ChainId,
    pub(crate) height: Height,
    pub(crate) tip: BlockHash,
    pub(crate) time: UnixMillis,
    pub(crate) nodes: OrdMap<NodeId, Arc<ServiceNode>>,
    pub(crate) records: NodeList,
    pub(crate) accounts: OrdMap<PublicKey, Account>,
    pub(crate) locks: OrdMap<NodeId, LockedStake>,
    pub(crate) cooldowns: OrdMap<PublicKey, Cooldown>,
    pub(crate) swarms: SwarmMap,
    pub(crate) swarm_infos: OrdMap<SwarmId, SwarmInfo>,
    /// Nodes that became active with this block: they take part in the next map.
    pub(crate) joining: OrdMap<NodeId, ()>,
    /// Nodes that stopped being active with this block, and the swarm they are still in.
    pub(crate) leaving: OrdMap<NodeId, Option<SwarmId>>,
    /// The last epoch in which too many nodes were due for decommission at once: nobody falls in it.
    pub(crate) spared_epoch: Option<u64>,
    /// Tests that may still be reported. Derived from blocks, so not part of the state root.
    pub(crate) tests: OrdMap<TestKey, DueTest>,
    pub(crate) index: Indexes,
    pub(crate) tree: StateTree,
    pub(crate) buckets: Buckets,
    pub(crate) list_root: Hash,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("height", &self.height)
            .field("tip", &self.tip)
            .field("nodes", &self.nodes.len())
            .field("swarms", &self.swarms.len())
            .field("state_root", &self.state_root())
            .finish_non_exhaustive()
    }
}

impl State {
    /// The state of block 0: the genesis' balances, no nodes.
    #[must_use]
    pub fn genesis(genesis: &Genesis) -> Self {
        let chain = genesis.chain_id();
        let records = NodeList::new();
        let buckets = Buckets::new(&chain, &records);
        let mut state = Self {
            chain,
            height: Height::ZERO,
            tip: chain.into(),
            time: genesis.time,
            nodes: OrdMap::new(),
            accounts: genesis
                .balances
                .iter()
                .map(|(key, balance)| (*key, Account { balance: *balance, nonce: 0 }))
                .collect(),
            locks: OrdMap::new(),
            cooldowns: OrdMap::new(),
            swarms: SwarmMap::default(),
            swarm_infos: OrdMap::new(),
            joining: OrdMap::new(),
            leaving: OrdMap::new(),
            spared_epoch: None,
            tests: OrdMap::new(),
            index: Indexes::default(),
            tree: StateTree::default(),
            list_root: buckets.root(&chain),
            buckets,
            records,
            genesis: Arc::new(genesis.clone()),
        };
        state.plant_tree();
        state
    }

    /// Builds the state tree anew from the tables.
    fn plant_tree(&mut self) {
        let mut tree = StateTree::default();
        tree.update(self.entries().map(|(table, key, value)| (table, key, Some(value))));
        self.tree = tree;
    }

    /// Every entry of every table: what the state root covers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Table, Vec<u8>, Vec<u8>)> {
        let keys = std::iter::empty()
            .chain(self.nodes.keys().map(|key| (Table::Node, key.as_bytes().to_vec())))
            .chain(self.accounts.keys().map(|key| (Table::Account, key.as_bytes().to_vec())))
            .chain(self.locks.keys().map(|key| (Table::Lock, key.as_bytes().to_vec())))
            .chain(self.cooldowns.keys().map(|key| (Table::Cooldown, key.as_bytes().to_vec())))
            .chain(self.swarm_infos.keys().map(|id| (Table::Swarm, id.0.to_be_bytes().to_vec())))
            .chain(std::iter::once((Table::Chain, WAITING_KEY.to_vec())));
        keys.filter_map(|(table, key)| self.value(table, &key).map(|value| (table, key, value)))
    }

    /// The canonical value of one key of a table, if it is there.
    #[must_use]
    pub fn value(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        match table {
            Table::Node => Some(self.nodes.get(&NodeId::try_from(key).ok()?)?.encode()),
            Table::Account => Some(self.accounts.get(&PublicKey::try_from(key).ok()?)?.encode()),
            Table::Lock => Some(self.locks.get(&NodeId::try_from(key).ok()?)?.encode()),
            Table::Cooldown => Some(self.cooldowns.get(&PublicKey::try_from(key).ok()?)?.encode()),
            Table::Swarm => self.swarm_value(SwarmId(u64::from_be_bytes(key.try_into().ok()?))).map(|s| s.encode()),
            Table::Chain => (key == WAITING_KEY).then(|| self.waiting().encode()),
            Table::Name => None,
        }
    }

    /// A proof that `key` of `table` has the value it has, or that there is none.
    ///
    /// # Errors
    /// [`StateProofError`] if the proof is longer than any can be, which would be a defect.
    pub fn prove(&self, table: Table, key: &[u8]) -> Result<StateProof, StateProofError> {
        self.tree.prove(table, key)
    }

    fn swarm_value(&self, id: SwarmId) -> Option<SwarmValue> {
        let info = self.swarm_infos.get(&id)?;
        Some(SwarmValue {
            members: self.swarms.members(id)?.to_vec(),
            last_decommission: info.last_decommission,
            tests: info.tests,
            difficulty: info.difficulty,
        })
    }

    fn waiting(&self) -> Waiting {
        Waiting {
            unassigned: self.swarms.waiting().to_vec(),
            joining: self.joining.keys().copied().collect(),
            leaving: self.leaving.iter().map(|(node, swarm)| (*node, *swarm)).collect(),
            spared_epoch: self.spared_epoch,
        }
    }

    /// The chain's id.
    #[must_use]
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The genesis it grew from.
    #[must_use]
    pub fn founding(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain's parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.genesis.params
    }

    /// The block this is the state after.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// That block's hash.
    #[must_use]
    pub const fn tip_hash(&self) -> BlockHash {
        self.tip
    }

    /// That block's time.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.time
    }

    /// The epoch of the block.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        epoch_of(self.height, self.params())
    }

    /// Root of the state tree.
    #[must_use]
    pub fn state_root(&self) -> Hash {
        self.tree.root()
    }

    /// Root of the node list.
    #[must_use]
    pub const fn list_root(&self) -> Hash {
        self.list_root
    }

    /// The hashes of the node list's buckets.
    #[must_use]
    pub const fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The node list.
    #[must_use]
    pub const fn nodes(&self) -> &NodeList {
        &self.records
    }

    /// The swarm map.
    #[must_use]
    pub const fn swarms(&self) -> &SwarmMap {
        &self.swarms
    }

    /// A registered node with all that the rules remember of it.
    #[must_use]
    pub fn service_node(&self, node: &NodeId) -> Option<&ServiceNode> {
        self.nodes.get(node).map(|node| &**node)
    }

    /// Every registered node, ascending by key.
    pub fn service_nodes(&self) -> impl Iterator<Item = &ServiceNode> {
        self.nodes.values().map(|node| &**node)
    }

    /// How many nodes are active.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.index.proofs.len()
    }

    /// Balance and nonce of a key; zero for one never seen.
    #[must_use]
    pub fn account(&self, key: &PublicKey) -> Account {
        self.accounts.get(key).copied().unwrap_or_default()
    }

    /// Stakes of deregistered nodes that are not free yet, ascending by node.
    pub fn locked_stakes(&self) -> impl Iterator<Item = (&NodeId, &LockedStake)> {
        self.locks.iter()
    }

    /// The height from which a key may register again, if it has to wait.
    #[must_use]
    pub fn cooldown(&self, key: &PublicKey) -> Option<Height> {
        self.cooldowns.get(key).map(|cooldown| cooldown.until)
    }

    /// The storage tests that may still be reported, with their height, swarm and testee.
    pub fn due_tests(&self) -> impl Iterator<Item = (Height, SwarmId, NodeId, DueTest)> {
        self.tests.iter().map(|((height, swarm, testee), test)| (*height, *swarm, *testee, *test))
    }

    /// A node's credit now, in blocks.
    #[must_use]
    pub fn credit(&self, node: &ServiceNode) -> u64 {
        node.credit_at(self.height, self.params().blocks_per_credit, self.params().max_credit)
    }

    /// What the rest of the network is shown of this state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            height: self.height,
            block_hash: self.tip,
            time: self.time,
            state_root: self.state_root(),
            list_root: self.list_root,
            buckets: self.buckets.clone(),
            nodes: self.records.clone(),
            swarms: self.swarms.clone(),
        }
    }

    /// All coins there are: balances and stakes. Grows by the reward a block, shrinks by fees.
    #[must_use]
    pub fn supply(&self) -> Option<Amount> {
        let balances = self.accounts.values().map(|account| account.balance);
        let stakes = self.nodes.values().map(|node| node.stake);
        let locked = self.locks.values().map(|lock| lock.amount);
        balances.chain(stakes).chain(locked).try_fold(Amount(0), Amount::checked_add)
    }
}

/// The one key of [`Table::Chain`].
pub(crate) const WAITING_KEY: [u8; 1] = [0];

/// The epoch a height belongs to.
pub(crate) fn epoch_of(height: Height, params: &Params) -> u64 {
    height.0.checked_div(params.epoch_blocks).unwrap_or(0)
}
