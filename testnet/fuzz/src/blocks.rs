//! The chain's bytes: transactions, blocks, headers, state values, the genesis.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use sotto_chain::Equivocation;
use sotto_proto::chain::{
    Account, Block, Cooldown, Genesis, GenesisFile, LockedStake, MAX_BLOCK_TRANSACTIONS, NodeRecord, ServiceNode,
    SignedHeader, SwarmValue, TestLedger, Transaction, Waiting, Window,
};
use sotto_proto::id::{Amount, Height, NodeId, PublicKey, SwarmId};
use sotto_proto::limits::{MAX_TX_BYTES, NODE_RECORD_MAX};
use sotto_proto::sign::Ed25519;

use crate::check::{canonical, whole};
use crate::fixtures::{self, CHAIN, LEDGER, header, key, node, node_record, payloads, signed, unsigned};

pub(crate) fn transaction(input: &[u8]) {
    let Some(transaction) = canonical(input, Transaction::decode, Transaction::encode) else { return };
    assert!(input.len() <= MAX_TX_BYTES);
    let genuine = GENUINE.contains(input);
    assert_eq!(genuine, transaction.verify(&CHAIN, &Ed25519), "a forged transaction, or a good one is refused");
}

/// Transactions that were really signed.
static GENUINE: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let sign = |payload| signed(payload, &key("operator", 0), 3, &key("node", 0), &CHAIN).encode();
    payloads().into_iter().map(sign).collect()
});

pub(crate) fn transaction_seeds() -> Vec<Vec<u8>> {
    let unsigned = payloads().into_iter().map(|payload| unsigned(payload).encode());
    GENUINE.iter().cloned().chain(unsigned).collect()
}

pub(crate) fn block(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 3 {
        0 => {
            let Some(block) = canonical(bytes, Block::decode, Block::encode) else { return };
            assert!(block.transactions.len() <= MAX_BLOCK_TRANSACTIONS);
            // What gossip and stores take for the block's hash and header is what they are.
            let header = SignedHeader::decode(&bytes[..SignedHeader::LEN]).expect("a block begins with its header");
            assert_eq!(header.hash(&CHAIN), block.hash(&CHAIN));
            let _root = block.tx_root();
        }
        1 => drop(canonical(bytes, SignedHeader::decode, SignedHeader::encode)),
        _ => {
            let Some(pair) = canonical(bytes, Equivocation::decode, Equivocation::encode) else { return };
            let authority = key("authority", 0).public();
            assert!(!pair.holds(&CHAIN, &authority, &Ed25519), "evidence against an authority that signed one branch");
        }
    }
}

pub(crate) fn block_seeds() -> Vec<Vec<u8>> {
    let transactions: Vec<_> = payloads().into_iter().map(unsigned).collect();
    let blocks = [
        Block { header: header(4), transactions },
        Block { header: header(5), transactions: Vec::new() },
        LEDGER.blocks[1].clone(),
    ];
    let mut seeds: Vec<_> = blocks.iter().map(|block| whole(0, &block.encode())).collect();
    seeds.push(whole(1, &header(6).encode()));
    seeds.push(whole(2, &Equivocation { first: header(6), second: header(7) }.encode()));
    seeds
}

pub(crate) fn state_value(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 7 {
        0 => drop(canonical(bytes, Account::decode, Account::encode)),
        1 => drop(canonical(bytes, LockedStake::decode, LockedStake::encode)),
        2 => drop(canonical(bytes, Cooldown::decode, Cooldown::encode)),
        3 => drop(canonical(bytes, SwarmValue::decode, SwarmValue::encode)),
        4 => drop(canonical(bytes, Waiting::decode, Waiting::encode)),
        5 => {
            let Some(node) = canonical(bytes, ServiceNode::decode, ServiceNode::encode) else { return };
            let (passes, fails) = node.tests.passes_and_fails();
            assert_eq!(passes + fails, node.tests.verdicts.len() as u64);
            assert!(node.tests.missed.bad() <= 20);
            let _credit = node.credit_at(Height(u64::MAX), 0, u64::MAX);
        }
        _ => {
            if canonical(bytes, NodeRecord::decode, NodeRecord::encode).is_some() {
                assert!(bytes.len() <= NODE_RECORD_MAX);
            }
        }
    }
}

fn service_node() -> ServiceNode {
    let mut window = Window::default();
    window.push(true);
    ServiceNode {
        record: Arc::new(node_record(1)),
        stake: Amount::coins(100),
        registered_at: Height(1),
        since: Height(2),
        credit: 3,
        proved_epoch: 4,
        proved_at: Height(5),
        version: 6,
        rewarded_at: Height(7),
        rewards: Amount(8),
        home: Some(SwarmId(9)),
        member_since: Height(10),
        address_changed_at: Height(11),
        key_rotated_at: Height(12),
        tests: TestLedger {
            verdicts: [(NodeId::new([1; 32]), (5, true)), (NodeId::new([2; 32]), (6, false))].into(),
            unanswered: window,
            missed: window,
        },
    }
}

pub(crate) fn state_value_seeds() -> Vec<Vec<u8>> {
    let operator = PublicKey::new([1; 32]);
    let members = vec![node(1), node(2)];
    let swarm = SwarmValue { members: members.clone(), last_decommission: Height(3), tests: 4, difficulty: 5 };
    let waiting = Waiting {
        unassigned: members.clone(),
        joining: members,
        leaving: vec![(node(3), Some(SwarmId(4))), (node(4), None)],
        spared_epoch: Some(6),
    };
    vec![
        whole(0, &Account { balance: Amount::coins(3), nonce: 4 }.encode()),
        whole(1, &LockedStake { operator, amount: Amount(5), until: Height(6) }.encode()),
        whole(2, &Cooldown { until: Height(7) }.encode()),
        whole(3, &swarm.encode()),
        whole(4, &waiting.encode()),
        whole(4, &Waiting::default().encode()),
        whole(5, &service_node().encode()),
        whole(6, &node_record(1).encode()),
        whole(6, &node_record(2).encode()),
    ]
}

pub(crate) fn genesis(input: &[u8]) {
    let Some(genesis) = canonical(input, Genesis::decode, Genesis::encode) else { return };
    assert!(genesis.check().is_ok());
    assert!(genesis.balances.values().try_fold(Amount(0), |sum, more| sum.checked_add(*more)).is_some());
}

pub(crate) fn genesis_seeds() -> Vec<Vec<u8>> {
    vec![fixtures::genesis().encode()]
}

fn file() -> GenesisFile {
    GenesisFile {
        genesis: fixtures::genesis(),
        producer_addresses: vec!["/ip4/127.99.0.1/tcp/27000".parse().expect("an address")],
        bootstrap: vec![(node(7), "/ip6/::1/tcp/27010".parse().expect("an address"))],
    }
}

pub(crate) fn genesis_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(file) = GenesisFile::from_json(text) else { return };
    let again = GenesisFile::from_json(&file.to_json());
    assert_eq!(again.ok(), Some(file));
}

pub(crate) fn genesis_file_seeds() -> Vec<Vec<u8>> {
    vec![file().to_json().into_bytes()]
}
