//! The chain of a simulated network: one producer, and whoever follows it hears of each tip a moment later or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use sotto_chain::{BlockDraft, Follower, Inserted, State};
use sotto_node::service_node::ChainUpdate;
use sotto_proto::account::{X25519Secret, test_seed};
use sotto_proto::chain::{Block, Genesis, Params, Payload, Preset, Transaction, TxBody};
use sotto_proto::id::{Amount, BlockHash, ChainId, Height};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::UnixMillis;

/// The seed of all keys: who the nodes are is the same in every simulation.
const KEYS: u64 = 42;
/// Time of the genesis.
const GENESIS: UnixMillis = UnixMillis(1_790_000_000_000);
/// Blocks before a simulation begins: two anchors of work are final then.
const BLOCKS: u64 = 130;
/// Nodes that it takes for a second swarm.
pub(crate) const TWO_SWARMS: usize = 14;
/// Milliseconds between blocks.
pub(crate) const BLOCK_TIME_MS: u64 = 1000;

/// The key of a role.
pub(crate) fn key(role: &str, index: usize) -> SigningKey {
    SigningKey::from_seed(&seed(role, index))
}

/// The seed of a role's key.
pub(crate) fn seed(role: &str, index: usize) -> [u8; 32] {
    test_seed(KEYS, role, u32::try_from(index).unwrap())
}

/// Where a node listens.
pub(crate) fn address(number: usize) -> NodeAddr {
    format!("/ip4/127.{}.0.1/tcp/27010", 100 + number).parse().unwrap()
}

/// The producer, and the chain as it sees it.
#[derive(Clone)]
pub(crate) struct Chain {
    genesis: Arc<Genesis>,
    follower: Follower,
    /// Transactions of nodes that wait for a block: what it cannot hold they send again.
    pool: Vec<Transaction>,
    /// All that the operator ever wanted, by nonce: it is sent until the chain has it, and again after a reorganisation.
    orders: Vec<Transaction>,
    /// Reorganisations so far: no branch may be like another.
    reorganisations: u64,
    /// Blocks at the heights that work is anchored at: nodes keep them, as they keep all others.
    anchors: BTreeMap<Height, (BlockHash, Vec<u8>)>,
}

impl Chain {
    /// A chain on which so many nodes are registered and active, in two swarms at least; and the numbers of their keys.
    pub(crate) fn begin(nodes: usize) -> (Self, Vec<usize>) {
        let mut params = Params::preset(Preset::Testnet);
        params.set("block_time_ms", BLOCK_TIME_MS).unwrap();
        // Keys are files of the host's, not of the simulation: they stay as they are.
        params.set("key_rotation_s", 1 << 32).unwrap();
        let operator = key("operator", 0);
        let genesis = Arc::new(Genesis {
            preset: Preset::Testnet,
            time: GENESIS,
            authority: key("authority", 0).public(),
            producer: key("producer", 0).node_id(),
            balances: BTreeMap::from([(operator.public(), Amount::coins(10_000_000))]),
            params,
        });
        let follower = Follower::new(State::genesis(&genesis));
        let mut chain = Self {
            genesis,
            follower,
            pool: Vec::new(),
            orders: Vec::new(),
            reorganisations: 0,
            anchors: BTreeMap::new(),
        };
        let mut active: Vec<usize> = (0..nodes.max(TWO_SWARMS)).collect();
        active.iter().for_each(|number| chain.register(*number));
        (0..4).for_each(|_| chain.produce());
        for _ in nodes..active.len() {
            let swarms = &chain.tip().swarms().clone();
            let (_, largest) = swarms.iter().max_by_key(|(_, members)| members.len()).unwrap();
            let at = active.iter().position(|index| largest.contains(&key("node", *index).node_id())).unwrap();
            chain.request_exit(active.remove(at));
            (0..2).for_each(|_| chain.produce());
        }
        while chain.tip().height().0 < BLOCKS {
            chain.prove_all(&active);
            chain.produce();
        }
        assert_eq!(chain.tip().active_count(), nodes, "so many are left");
        (chain, active)
    }

    /// A node is to be registered.
    pub(crate) fn register(&mut self, number: usize) {
        let node = key("node", number);
        let register = Payload::Register {
            node: node.node_id(),
            x25519: X25519Secret::take(&mut seed("x25519", number)).public(),
            stake: Amount(self.genesis.params.stake),
            region: "eu".parse().unwrap(),
            addresses: vec![address(number)],
        };
        self.order(register, Some(&node));
    }

    /// A node is to go.
    pub(crate) fn request_exit(&mut self, number: usize) {
        self.order(Payload::RequestExit { node: key("node", number).node_id() }, None);
    }

    fn order(&mut self, payload: Payload, node: Option<&SigningKey>) {
        let operator = key("operator", 0);
        let nonce = self.orders.len() as u64;
        let body = TxBody { signer: operator.public(), nonce, fee: Amount(0), payload };
        self.orders.push(Transaction::sign(body, &operator, node, &self.id()));
    }

    /// Each node says that it is alive, once an epoch: they do so themselves once they run.
    fn prove_all(&mut self, nodes: &[usize]) {
        let next = self.tip().height().next().0;
        if !next.is_multiple_of(self.genesis.params.epoch_blocks) {
            return;
        }
        let epoch = next / self.genesis.params.epoch_blocks;
        for index in nodes {
            let node = key("node", *index);
            let payload = Payload::UptimeProof { epoch, version: 1 };
            let body = TxBody { signer: node.public(), nonce: 0, fee: Amount(0), payload };
            self.pool.push(Transaction::sign(body, &node, None, &self.id()));
        }
    }

    pub(crate) fn id(&self) -> ChainId {
        self.genesis.chain_id()
    }

    pub(crate) fn tip(&self) -> &State {
        self.follower.tip()
    }

    /// What a node that has every block knows.
    pub(crate) fn update(&self) -> ChainUpdate {
        ChainUpdate { view: Arc::new(self.follower.view()), tip: self.follower.tip().clone() }
    }

    pub(crate) fn anchors(&self) -> &BTreeMap<Height, (BlockHash, Vec<u8>)> {
        &self.anchors
    }

    /// A node's transaction waits for the next block.
    pub(crate) fn submit(&mut self, bytes: &[u8]) {
        self.pool.extend(Transaction::decode(bytes));
    }

    /// The next block.
    pub(crate) fn produce(&mut self) {
        let tip = self.tip().clone();
        let transactions = self.wanted(&tip);
        let (block, _) = self.block_after(&tip, 0, transactions);
        self.take(block);
    }

    /// Replaces the last `depth` blocks by one more.
    pub(crate) fn reorganise(&mut self, depth: u64) {
        let mut state = self.follower.state_at(self.tip().height().minus(depth)).unwrap().clone();
        let mut transactions = self.wanted(&state);
        self.reorganisations += 1;
        for _ in 0..=depth {
            let (block, next) = self.block_after(&state, self.reorganisations, std::mem::take(&mut transactions));
            state = next;
            self.take(block);
        }
        assert_eq!(self.tip().tip_hash(), state.tip_hash(), "the longer branch is the chain");
    }

    /// What waits for the block after `parent`.
    fn wanted(&mut self, parent: &State) -> Vec<Transaction> {
        let done = parent.account(&key("operator", 0).public()).nonce as usize;
        let orders = self.orders.get(done..).unwrap_or_default().iter().cloned();
        orders.chain(self.pool.drain(..)).collect()
    }

    /// A block after `parent`, made `late` milliseconds after it is due. What it cannot hold is forgotten: nodes send
    /// again what the chain does not show.
    fn block_after(&self, parent: &State, late: u64, transactions: Vec<Transaction>) -> (Block, State) {
        let time = UnixMillis(parent.time().0 + BLOCK_TIME_MS + late);
        let mut draft = BlockDraft::begin(parent, time).unwrap();
        for transaction in transactions {
            let _refused = draft.try_add(transaction, &Ed25519);
        }
        draft.seal(&key("authority", 0))
    }

    fn take(&mut self, block: Block) {
        let height = block.height();
        if height.0.is_multiple_of(self.genesis.params.epoch_blocks) {
            self.anchors.insert(height, (block.hash(&self.id()), block.encode()));
        }
        match self.follower.insert(block, &Ed25519).unwrap() {
            Inserted::Extended | Inserted::Reorganised { .. } | Inserted::SideBranch => {}
            other => panic!("the producer's own block: {other:?}"),
        }
    }
}
