//! Keys, records, blocks and a chain that targets share; all of it follows from numbers.

use std::sync::LazyLock;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::noise::Secret;
use sotto_chain::{BlockDraft, State};
use sotto_proto::account::{Account, Entropy};
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::chain::{
    Block, Genesis, Header, NodeRecord, NodeState, Params, Payload, Preset, SignedHeader, Transaction, TxBody,
};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::hash::blake2b_256;
use sotto_proto::id::{Amount, BlockHash, ChainId, Hash, Height, NodeId, PublicKey, RecordId, SwarmId, X25519Key};
use sotto_proto::limits::ENVELOPE_DATA_SIZES;
use sotto_proto::pow::Nonce;
use sotto_proto::request::{Delete, DeletedRecord, SignedDelete};
use sotto_proto::sign::{Ed25519, Signature, SigningKey};
use sotto_proto::time::{UnixMillis, UnixSeconds};

pub(crate) const CHAIN: ChainId = ChainId::new([7; 32]);
/// When everything happens.
pub(crate) const START: UnixMillis = UnixMillis(1_790_000_000_000);
pub(crate) const NOW: UnixSeconds = UnixSeconds(1_790_000_000);

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn key(role: &str, n: u8) -> SigningKey {
    SigningKey::from_seed(&blake2b_256(&[role.as_bytes(), &[n]].concat()))
}

/// A node that never signs.
pub(crate) fn node(n: u8) -> NodeId {
    NodeId::new(blake2b_256(&[b'n', n]))
}

pub(crate) fn secret(n: u8) -> Secret {
    Secret::take(&mut blake2b_256(&[b'x', n]))
}

pub(crate) fn x25519(n: u8) -> X25519Key {
    secret(n).public()
}

pub(crate) fn account(n: u8) -> Account {
    Account::new(&Entropy::take(&mut [n; Entropy::LEN]))
}

pub(crate) fn envelope(address: Address, fill: u8) -> Envelope {
    let ttl = Ttl::new(3600).expect("an hour");
    Envelope::new(address, NOW, ttl, Height(120), vec![fill; ENVELOPE_DATA_SIZES[0]]).expect("an allowed length")
}

/// A record of each kind of address, without work.
pub(crate) fn records() -> Vec<Record> {
    let kinds = [AddressKind::AccountInbox, AddressKind::Mailbox, AddressKind::PublicRecord, AddressKind::GroupEpoch];
    let record = |kind| {
        let owner = key("owner", 1);
        let envelope = envelope(Address::new(kind, *owner.public().as_bytes()), 5);
        let auth = (kind == AddressKind::GroupEpoch).then(|| Record::sign_write(&owner, &CHAIN, &envelope.id(&CHAIN)));
        Record::new(envelope, Nonce(77), auth).expect("a signature where there must be one")
    };
    kinds.map(record).into()
}

/// Deletes of a mailbox and of an account.
pub(crate) fn deletes() -> Vec<SignedDelete> {
    let record = |n| DeletedRecord { id: RecordId::new([n; 32]), timestamp: NOW, ttl: 3600 };
    let (owner, account) = (key("owner", 1), account(1));
    [(Address::mailbox(&owner.public()), &owner, 1), (account.address(), account.signing_key(), 3)]
        .map(|(address, key, count)| {
            let delete = Delete::new(address, NOW, (0..count).map(record).collect()).expect("a delete");
            SignedDelete::sign(delete, key, &CHAIN)
        })
        .into()
}

pub(crate) fn header(height: u64) -> SignedHeader {
    let header = Header {
        height: Height(height),
        previous: BlockHash::new([1; 32]),
        time: UnixMillis(START.0 + height),
        tx_root: Hash::new([2; 32]),
        state_root: Hash::new([3; 32]),
        list_root: Hash::new([4; 32]),
    };
    header.sign(&key("authority", 0), &CHAIN)
}

pub(crate) fn node_record(n: u8) -> NodeRecord {
    NodeRecord {
        node: node(n),
        x25519: X25519Key::new([9; 32]),
        previous_x25519: (n % 2 == 1).then(|| X25519Key::new([8; 32])),
        operator: PublicKey::new([1; 32]),
        state: NodeState::Active,
        swarm: (n % 3 != 2).then_some(SwarmId(1 << 60)),
        region: "eu-1".parse().expect("a region"),
        addresses: vec![
            "/ip4/127.100.0.1/tcp/27010".parse().expect("an address"),
            "/ip6/2600::1/tcp/5000".parse().expect("an address"),
        ],
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        preset: Preset::Testnet,
        time: START,
        authority: key("authority", 0).public(),
        producer: key("producer", 0).node_id(),
        balances: (0..6).map(|n| (key("operator", n).public(), Amount::coins(1000))).collect(),
        params: Params::preset(Preset::Testnet),
    }
}

/// One of each kind of transaction.
pub(crate) fn payloads() -> Vec<Payload> {
    let addresses = vec!["/ip4/127.100.0.1/tcp/27010".parse().expect("an address")];
    let (hash, owner) = (Hash::new([6; 32]), PublicKey::new([5; 32]));
    vec![
        registration(0),
        Payload::UpdateAddress { addresses },
        Payload::RotateKey { x25519: x25519(9) },
        Payload::RequestExit { node: key("node", 0).node_id() },
        Payload::StorageReport {
            height: Height(4),
            swarm: SwarmId(0),
            testee: key("node", 1).node_id(),
            outcome: sotto_proto::chain::Outcome::Pass,
            samples: 3,
        },
        Payload::LoadReport { epoch: 0, swarm: SwarmId(0), records: 5, bytes: 6 },
        Payload::UptimeProof { epoch: 0, version: 1 },
        Payload::RegisterName { name_hash: hash, owner, value: b"value".to_vec() },
        Payload::UpdateName { name_hash: hash, owner, value: Vec::new() },
        Payload::Transfer { to: owner, amount: Amount::coins(3) },
    ]
}

/// Node `n` is registered by operator `n`.
pub(crate) fn registration(n: u8) -> Payload {
    Payload::Register {
        node: key("node", n).node_id(),
        x25519: x25519(n),
        stake: Amount::coins(100),
        region: "eu".parse().expect("a region"),
        addresses: vec![format!("/ip4/127.100.0.1/tcp/{}", 27_010 + u16::from(n)).parse().expect("an address")],
    }
}

/// `payload`, signed by whoever may, as his transaction number `nonce`.
pub(crate) fn signed(
    payload: Payload,
    signer: &SigningKey,
    nonce: u64,
    node: &SigningKey,
    chain: &ChainId,
) -> Transaction {
    let node = matches!(payload, Payload::Register { .. }).then_some(node);
    Transaction::sign(TxBody { signer: signer.public(), nonce, fee: Amount(0), payload }, signer, node, chain)
}

/// The same without a signature that holds.
pub(crate) fn unsigned(payload: Payload) -> Transaction {
    let node_signature = matches!(payload, Payload::Register { .. }).then(|| Signature::new([2; 64]));
    let body = TxBody { signer: PublicKey::new([1; 32]), nonce: 3, fee: Amount(4), payload };
    Transaction { body, signature: Signature::new([1; 64]), node_signature }
}

/// A chain: the state before each block and after the last, and the blocks.
pub(crate) struct Ledger {
    pub(crate) states: Vec<State>,
    pub(crate) blocks: Vec<Block>,
}

impl Ledger {
    pub(crate) fn tip(&self) -> &State {
        self.states.last().expect("at least the genesis")
    }

    fn produce(&mut self, transactions: impl IntoIterator<Item = Transaction>) {
        let (block, state) = produce(self.tip(), 1000, transactions);
        self.blocks.push(block);
        self.states.push(state);
    }
}

/// The block after `state`, so many milliseconds later.
pub(crate) fn produce(
    state: &State,
    later: u64,
    transactions: impl IntoIterator<Item = Transaction>,
) -> (Block, State) {
    let mut draft = BlockDraft::begin(state, UnixMillis(state.time().0 + later)).expect("time goes on");
    for transaction in transactions {
        draft.try_add(transaction, &Ed25519).expect("a valid transaction");
    }
    draft.seal(&key("authority", 0))
}

/// Six nodes register in the first block, their operators pay each other in the second; three empty ones follow.
pub(crate) static LEDGER: LazyLock<Ledger> = LazyLock::new(|| {
    let state = State::genesis(&genesis());
    let chain = state.chain();
    let mut ledger = Ledger { states: vec![state], blocks: Vec::new() };
    ledger.produce((0..6).map(|n| signed(registration(n), &key("operator", n), 0, &key("node", n), &chain)));
    ledger.produce((0..6).map(|n| {
        let payload = Payload::Transfer { to: key("operator", n + 1).public(), amount: Amount::coins(3) };
        signed(payload, &key("operator", n), 1, &key("node", n), &chain)
    }));
    (0..3).for_each(|_| ledger.produce([]));
    ledger
});
