//! A chain of its own for each test: makes blocks, applies them a second time, checks what must always hold.

use std::collections::BTreeMap;

use sotto_chain::{BlockDraft, State, TransactionError, apply};
use sotto_proto::chain::{Block, Genesis, NodeState, Payload, Preset, Transaction, TxBody};
use sotto_proto::id::{Amount, Height, NodeId, PublicKey, X25519Key};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::UnixMillis;

pub(crate) const START: u64 = 1_790_000_000_000;

pub(crate) struct Chain {
    pub(crate) authority: SigningKey,
    pub(crate) state: State,
    pub(crate) states: Vec<State>,
    pub(crate) blocks: Vec<Block>,
    pending: Vec<Transaction>,
    /// Nodes kept alive: a proof is sent for them in every epoch.
    pub(crate) alive: BTreeMap<NodeId, u32>,
}

/// The operator's key of node `i`.
pub(crate) fn operator(i: u32) -> SigningKey {
    SigningKey::from_seed(&seed(b"operator", i))
}

/// The key of node `i`.
pub(crate) fn node(i: u32) -> SigningKey {
    SigningKey::from_seed(&seed(b"node", i))
}

fn x25519(i: u32) -> X25519Key {
    let mut bytes = seed(b"x", i);
    bytes[31] &= 0x7f;
    X25519Key::new(bytes)
}

fn seed(role: &[u8], i: u32) -> [u8; 32] {
    sotto_proto::hash::blake2b_256(&[role, &i.to_be_bytes()].concat())
}

pub(crate) fn genesis(operators: u32, change: impl FnOnce(&mut Genesis)) -> Genesis {
    let mut genesis = Genesis {
        preset: Preset::Testnet,
        time: UnixMillis(START),
        authority: SigningKey::from_seed(&[1; 32]).public(),
        producer: SigningKey::from_seed(&[2; 32]).node_id(),
        balances: (0..operators).map(|i| (operator(i).public(), Amount::coins(1000))).collect(),
        params: sotto_proto::chain::Params::preset(Preset::Testnet),
    };
    change(&mut genesis);
    genesis
}

impl Chain {
    pub(crate) fn new(operators: u32) -> Self {
        Self::with(operators, |_| {})
    }

    pub(crate) fn with(operators: u32, change: impl FnOnce(&mut Genesis)) -> Self {
        let state = State::genesis(&genesis(operators, change));
        Self {
            authority: SigningKey::from_seed(&[1; 32]),
            states: vec![state.clone()],
            state,
            blocks: Vec::new(),
            pending: Vec::new(),
            alive: BTreeMap::new(),
        }
    }

    pub(crate) fn sign(&self, payload: Payload, signer: &SigningKey, nonce: u64) -> Transaction {
        let node = match &payload {
            Payload::Register { node: id, .. } => (0..1000).map(node).find(|key| key.node_id() == *id),
            _ => None,
        };
        let body = TxBody { signer: signer.public(), nonce, fee: Amount(0), payload };
        Transaction::sign(body, signer, node.as_ref(), &self.state.chain())
    }

    /// Signs with the next nonce, counting what waits for the next block.
    pub(crate) fn next(&self, payload: Payload, signer: &SigningKey) -> Transaction {
        let waiting =
            self.pending.iter().filter(|tx| tx.body.signer == signer.public() && tx.body.payload.bears_nonce());
        let nonce = self.state.account(&signer.public()).nonce + waiting.count() as u64;
        let nonce = if payload.bears_nonce() { nonce } else { 0 };
        self.sign(payload, signer, nonce)
    }

    /// Puts a transaction into the next block.
    pub(crate) fn submit(&mut self, payload: Payload, signer: &SigningKey) {
        self.pending.push(self.next(payload, signer));
    }

    /// Whether a transaction would be taken now.
    pub(crate) fn try_now(&self, tx: &Transaction) -> Result<(), TransactionError> {
        let mut draft = BlockDraft::begin(&self.state, UnixMillis(self.state.time().0 + 1)).unwrap();
        draft.try_add(tx.clone(), &Ed25519)
    }

    pub(crate) fn registration(i: u32) -> Payload {
        Payload::Register {
            node: node(i).node_id(),
            x25519: x25519(i),
            stake: Amount::coins(100),
            region: "lab".parse().unwrap(),
            addresses: vec![format!("/ip4/127.{}.0.1/tcp/{}", 100 + i % 100, 27_000 + i).parse().unwrap()],
        }
    }

    /// Registers node `i` in the next block and keeps it alive.
    pub(crate) fn register(&mut self, i: u32) {
        self.submit(Self::registration(i), &operator(i));
        self.alive.insert(node(i).node_id(), i);
    }

    /// One more block with everything submitted; every one must be valid.
    pub(crate) fn block(&mut self) -> &State {
        let parent = self.state.clone();
        let time = UnixMillis(parent.time().0 + parent.params().block_time_ms);
        let mut draft = BlockDraft::begin(&parent, time).unwrap();
        let epoch = parent.height().next().0 / parent.params().epoch_blocks;
        for (id, i) in &self.alive {
            let due = draft
                .state()
                .service_node(id)
                .is_some_and(|node| node.proved_epoch < epoch && node.record.state != NodeState::Exiting);
            if due {
                let proof = self.sign(Payload::UptimeProof { epoch, version: 1 }, &node(*i), 0);
                draft.try_add(proof, &Ed25519).unwrap();
            }
        }
        for tx in std::mem::take(&mut self.pending) {
            draft.try_add(tx.clone(), &Ed25519).unwrap_or_else(|error| panic!("{}: {error}", tx.body.payload.name()));
        }
        let (block, state) = draft.seal(&self.authority);
        let again = apply(&parent, &Block::decode(&block.encode()).unwrap(), &Ed25519).unwrap();
        assert_eq!((again.state_root(), again.tip_hash()), (state.state_root(), state.tip_hash()));
        self.state = state;
        self.states.push(self.state.clone());
        self.blocks.push(block);
        self.check_invariants(&parent);
        &self.state
    }

    pub(crate) fn blocks(&mut self, count: u64) -> &State {
        (0..count).for_each(|_| {
            self.block();
        });
        &self.state
    }

    pub(crate) fn until(&mut self, height: u64) -> &State {
        while self.state.height() < Height(height) {
            self.block();
        }
        &self.state
    }

    /// No coins appear but the reward; every node stands where the map says; the list root is that of the list.
    fn check_invariants(&self, parent: &State) {
        let (before, after) = (parent.supply().unwrap(), self.state.supply().unwrap());
        assert!(after.0 == before.0 || after.0 == before.0 + self.state.params().reward, "{before} -> {after}");
        for (id, record) in self.state.nodes() {
            if let Some(swarm) = record.swarm {
                assert!(self.state.swarms().members(swarm).unwrap().contains(id));
            }
        }
        for (swarm, members) in self.state.swarms().iter() {
            assert!(
                members.iter().all(|id| self.state.nodes().get(id).is_none_or(|record| record.swarm == Some(swarm)))
            );
        }
        let list_root = sotto_proto::chain::list_root_of(&self.state.chain(), self.state.nodes());
        assert_eq!(self.state.list_root(), list_root);
    }

    pub(crate) fn state_of(&self, i: u32) -> Option<NodeState> {
        self.state.service_node(&node(i).node_id()).map(|node| node.record.state)
    }

    pub(crate) fn balance(&self, key: &PublicKey) -> Amount {
        self.state.account(key).balance
    }
}
