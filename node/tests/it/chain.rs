//! A chain to test against: made block by block, the same on every run. The library's own tests have it as well.

#![allow(dead_code, reason = "either user leaves something")]

use std::collections::BTreeMap;

use sotto_chain::{BlockDraft, Follower, Inserted, State};
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Block, Genesis, GenesisFile, Params, Payload, Preset, Transaction, TxBody};
use sotto_proto::id::{Amount, Height, NodeId};
use sotto_proto::network::NetworkView;
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::UnixMillis;

/// The seed of every test's keys.
pub(crate) const SEED: u64 = 42;
/// Time of the genesis.
pub(crate) const START: UnixMillis = UnixMillis(1_790_000_000_000);

/// The deterministic key of a role.
pub(crate) fn key(role: &str, index: u32) -> SigningKey {
    SigningKey::from_seed(&test_seed(SEED, role, index))
}

/// A producer, and a follower of what it makes.
pub(crate) struct TestChain {
    pub(crate) genesis: Genesis,
    authority: SigningKey,
    follower: Follower,
    /// The chain's blocks.
    pub(crate) blocks: Vec<Block>,
    /// Every block in the order it came, also those that were replaced.
    pub(crate) arrivals: Vec<Block>,
}

impl TestChain {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A testnet with some parameters changed, and ten operators with a million coins each.
    pub(crate) fn with(change: impl FnOnce(&mut Params)) -> Self {
        let mut params = Params::preset(Preset::Testnet);
        change(&mut params);
        let balances: BTreeMap<_, _> =
            (0..10).map(|i| (key("operator", i).public(), Amount::coins(1_000_000))).collect();
        let authority = key("authority", 0);
        let genesis = Genesis {
            preset: Preset::Testnet,
            time: START,
            authority: authority.public(),
            producer: key("producer", 0).node_id(),
            balances,
            params,
        };
        let follower = Follower::new(State::genesis(&genesis));
        Self { genesis, authority, follower, blocks: Vec::new(), arrivals: Vec::new() }
    }

    pub(crate) fn genesis_file(&self) -> GenesisFile {
        GenesisFile { genesis: self.genesis.clone(), producer_addresses: Vec::new(), bootstrap: Vec::new() }
    }

    pub(crate) fn tip(&self) -> &State {
        self.follower.tip()
    }

    pub(crate) fn view(&self) -> NetworkView {
        self.follower.view()
    }

    /// The state of a recent height.
    pub(crate) fn state_at(&self, height: u64) -> State {
        self.follower.state_at(Height(height)).unwrap().clone()
    }

    /// A block after `parent`, made `late` milliseconds after a block time.
    pub(crate) fn block_after(&self, parent: &State, late: u64, transactions: Vec<Transaction>) -> (Block, State) {
        let time = UnixMillis(parent.time().0 + self.genesis.params.block_time_ms + late);
        let mut draft = BlockDraft::begin(parent, time).unwrap();
        for transaction in transactions {
            draft.try_add(transaction, &Ed25519).unwrap();
        }
        draft.seal(&self.authority)
    }

    /// The next block, with these transactions.
    pub(crate) fn produce(&mut self, transactions: Vec<Transaction>) -> Block {
        let (block, _) = self.block_after(self.tip(), 0, transactions);
        self.take(block.clone());
        block
    }

    /// `count` empty blocks.
    pub(crate) fn advance(&mut self, count: u64) {
        (0..count).for_each(|_| drop(self.produce(Vec::new())));
    }

    /// Replaces the last `depth` blocks by one more; returns the new ones.
    pub(crate) fn reorganise(&mut self, depth: u64) -> Vec<Block> {
        let mut state = self.state_at(self.tip().height().0 - depth);
        let mut blocks = Vec::new();
        for _ in 0..=depth {
            let (block, next) = self.block_after(&state, 7, Vec::new());
            state = next;
            blocks.push(block);
        }
        for block in &blocks {
            self.take(block.clone());
        }
        assert_eq!(self.tip().tip_hash(), state.tip_hash());
        blocks
    }

    /// Whether a transaction can be in the next block.
    pub(crate) fn accepts(&self, transaction: &Transaction) -> bool {
        let time = UnixMillis(self.tip().time().0 + self.genesis.params.block_time_ms);
        BlockDraft::begin(self.tip(), time).unwrap().try_add(transaction.clone(), &Ed25519).is_ok()
    }

    /// A block that was made before.
    pub(crate) fn take(&mut self, block: Block) {
        self.arrivals.push(block.clone());
        match self.follower.insert(block.clone(), &Ed25519).unwrap() {
            Inserted::Extended => self.blocks.push(block),
            Inserted::Reorganised { depth, blocks } => {
                self.blocks.truncate(self.blocks.len() - usize::try_from(depth).unwrap());
                self.blocks.extend(blocks);
            }
            Inserted::SideBranch => {}
            other => panic!("{other:?}"),
        }
    }

    /// A signed transaction of a key, with its present nonce.
    pub(crate) fn transaction(&self, signer: &SigningKey, payload: Payload, node: Option<&SigningKey>) -> Transaction {
        let nonce = if payload.bears_nonce() { self.tip().account(&signer.public()).nonce } else { 0 };
        let body = TxBody { signer: signer.public(), nonce, fee: Amount(0), payload };
        Transaction::sign(body, signer, node, &self.genesis.chain_id())
    }

    /// The registration of the node with this index, by the operator with the same.
    pub(crate) fn registration(&self, index: u32) -> Transaction {
        let node = key("node", index);
        let payload = Payload::Register {
            node: node.node_id(),
            x25519: x25519(index),
            stake: Amount(self.genesis.params.stake),
            region: "eu".parse().unwrap(),
            addresses: vec![format!("/ip4/127.{}.0.1/tcp/27010", 100 + index).parse().unwrap()],
        };
        self.transaction(&key("operator", index % 10), payload, Some(&node))
    }

    /// An uptime proof of a node for the epoch of the next block.
    pub(crate) fn proof(&self, index: u32) -> Transaction {
        let epoch = self.tip().height().next().0 / self.genesis.params.epoch_blocks;
        self.transaction(&key("node", index), Payload::UptimeProof { epoch, version: 1 }, None)
    }
}

/// The first X25519 key of the node with this index.
pub(crate) fn x25519(index: u32) -> sotto_proto::id::X25519Key {
    sotto_proto::account::X25519Secret::take(&mut test_seed(SEED, "x25519", index)).public()
}

/// The node key of an index.
pub(crate) fn node(index: u32) -> NodeId {
    key("node", index).node_id()
}
