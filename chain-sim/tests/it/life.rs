//! The life of a service node, from stake to stake returned.

use sotto_chain::TransactionError;
use sotto_proto::chain::{NodeState, Payload};
use sotto_proto::id::{Amount, Height, X25519Key};

use crate::harness::{Chain, node, operator};

fn with_nodes(count: u32) -> Chain {
    let mut chain = Chain::new(count + 8);
    (0..count).for_each(|i| chain.register(i));
    chain.blocks(2);
    chain
}

#[test]
fn fifty_registrations_in_one_block_make_five_swarms_of_ten() {
    let chain = with_nodes(50);
    assert_eq!(chain.state.swarms().iter().map(|(_, members)| members.len()).collect::<Vec<_>>(), [10; 5]);
    assert_eq!(chain.state.active_count(), 50);
    assert!(chain.state.nodes().values().all(|record| record.swarm.is_some()));
}

#[test]
fn the_fifty_first_node_makes_a_sixth_swarm() {
    let mut chain = with_nodes(50);
    chain.register(50);
    chain.blocks(2);
    assert_eq!(chain.state.swarms().len(), 6);
}

#[test]
fn a_registration_takes_the_stake_and_refuses_what_is_in_use() {
    let mut chain = with_nodes(5);
    assert_eq!(chain.balance(&operator(4).public()), Amount::coins(900));
    let again = |change: &dyn Fn(&mut Payload)| {
        let mut payload = Chain::registration(5);
        change(&mut payload);
        chain.try_now(&chain.next(payload, &operator(5)))
    };
    assert_eq!(again(&|_| {}), Ok(()));
    let Payload::Register { x25519: known, addresses: taken, .. } = Chain::registration(0) else { unreachable!() };
    let known_key = again(&|payload| {
        if let Payload::Register { x25519, .. } = payload {
            *x25519 = known;
        }
    });
    assert_eq!(known_key, Err(TransactionError::X25519));
    let zero_key = again(&|payload| {
        if let Payload::Register { x25519, .. } = payload {
            *x25519 = X25519Key::new([0; 32]);
        }
    });
    assert_eq!(zero_key, Err(TransactionError::X25519));
    let known_address = again(&|payload| {
        if let Payload::Register { addresses, .. } = payload {
            addresses.clone_from(&taken);
        }
    });
    assert_eq!(known_address, Err(TransactionError::AddressKnown(taken[0])));
    let twice = again(&|payload| {
        if let Payload::Register { addresses, .. } = payload {
            addresses.push(addresses[0]);
        }
    });
    assert!(matches!(twice, Err(TransactionError::AddressKnown(_))));
    let small = again(&|payload| {
        if let Payload::Register { stake, .. } = payload {
            *stake = Amount::coins(99);
        }
    });
    assert!(matches!(small, Err(TransactionError::Stake { .. })));
    let dear = again(&|payload| {
        if let Payload::Register { stake, .. } = payload {
            *stake = Amount::coins(1001);
        }
    });
    assert!(matches!(dear, Err(TransactionError::Balance { .. })));
    let same_node = chain.try_now(&chain.next(Chain::registration(0), &operator(6)));
    assert_eq!(same_node, Err(TransactionError::NodeKnown(node(0).node_id())));
    chain.block();
}

#[test]
fn private_addresses_are_refused_where_the_genesis_says_so() {
    let chain = Chain::with(1, |genesis| genesis.params.private_addresses = 0);
    let result = chain.try_now(&chain.next(Chain::registration(0), &operator(0)));
    assert!(matches!(result, Err(TransactionError::Address(_))));
}

#[test]
fn a_replayed_or_foreign_transaction_is_refused() {
    let mut chain = Chain::new(3);
    let transfer = Payload::Transfer { to: operator(1).public(), amount: Amount::coins(1) };
    let tx = chain.next(transfer.clone(), &operator(0));
    chain.submit(transfer, &operator(0));
    chain.block();
    assert_eq!(chain.try_now(&tx), Err(TransactionError::Nonce { expected: 1, actual: 0 }));
    let other = Chain::with(3, |genesis| genesis.params.reward = 1);
    assert_eq!(other.try_now(&tx), Err(TransactionError::Signature));
    assert_eq!(chain.balance(&operator(1).public()), Amount::coins(1001));
}

#[test]
fn the_reward_goes_to_the_active_node_that_has_waited_longest() {
    let mut chain = with_nodes(10);
    let before: Vec<_> = chain.state.service_nodes().map(|node| node.rewards).collect();
    chain.blocks(10);
    for (node, before) in chain.state.service_nodes().zip(before) {
        assert_eq!(node.rewards.0 - before.0, Amount::coins(10).0);
    }
}

#[test]
fn an_exit_leaves_the_swarm_with_the_next_block_and_pays_back_after_the_lock_up() {
    let mut chain = with_nodes(12);
    let asked = chain.state.height().0 + 1;
    chain.submit(Payload::RequestExit { node: node(3).node_id() }, &operator(3));
    chain.block();
    assert_eq!(chain.state_of(3), Some(NodeState::Exiting));
    assert!(chain.state.nodes().get(&node(3).node_id()).unwrap().swarm.is_some());
    chain.block();
    assert!(chain.state.nodes().get(&node(3).node_id()).unwrap().swarm.is_none());
    let again = chain.next(Payload::RequestExit { node: node(3).node_id() }, &operator(3));
    assert_eq!(chain.try_now(&again), Err(TransactionError::State(NodeState::Exiting)));
    let stranger = chain.next(Payload::RequestExit { node: node(4).node_id() }, &operator(3));
    assert_eq!(chain.try_now(&stranger), Err(TransactionError::NotOperator));

    let before = chain.balance(&operator(3).public());
    chain.until(asked + 599);
    assert_eq!(chain.balance(&operator(3).public()), before);
    chain.block();
    assert_eq!(chain.state_of(3), None);
    assert_eq!(chain.balance(&operator(3).public()).0 - before.0, Amount::coins(100).0);
    // Neither the operator nor the node key may draw a swarm again at once.
    let back = chain.next(Chain::registration(3), &operator(3));
    let until = Height(asked + 1200);
    assert_eq!(chain.try_now(&back), Err(TransactionError::Cooldown(until)));
    chain.until(until.0 - 1);
    let back = chain.next(Chain::registration(3), &operator(3));
    assert_eq!(chain.try_now(&back), Ok(()));
}

#[test]
fn addresses_and_keys_change_at_most_once_in_half_an_epoch() {
    let mut chain = with_nodes(5);
    let rotate = |byte| Payload::RotateKey { x25519: X25519Key::new([byte; 32]) };
    let first = chain.state.nodes().get(&node(0).node_id()).unwrap().x25519;
    chain.submit(rotate(7), &node(0));
    let height = chain.block().height();
    let record = chain.state.nodes().get(&node(0).node_id()).unwrap();
    assert_eq!((record.x25519, record.previous_x25519), (X25519Key::new([7; 32]), Some(first)));
    assert_eq!(chain.try_now(&chain.next(rotate(8), &node(0))), Err(TransactionError::TooSoon(Height(height.0 + 30))));
    // The key before is still in use, the one before that is free again.
    assert_eq!(
        chain.try_now(&chain.next(Payload::RotateKey { x25519: first }, &node(1))),
        Err(TransactionError::X25519)
    );
    chain.until(height.0 + 29);
    chain.submit(rotate(8), &node(0));
    chain.block();
    assert_eq!(chain.try_now(&chain.next(Payload::RotateKey { x25519: first }, &node(1))), Ok(()));

    let moved = vec!["/ip4/127.9.9.9/tcp/9999".parse().unwrap()];
    chain.submit(Payload::UpdateAddress { addresses: moved.clone() }, &node(2));
    chain.block();
    assert_eq!(chain.state.nodes().get(&node(2).node_id()).unwrap().addresses, moved);
    let clash = chain.next(Payload::UpdateAddress { addresses: moved }, &node(3));
    assert!(matches!(chain.try_now(&clash), Err(TransactionError::AddressKnown(_))));
}

#[test]
fn a_fee_is_burnt_and_nodes_pay_none() {
    let chain = with_nodes(1);
    let supply = chain.state.supply().unwrap();
    let transfer = Payload::Transfer { to: operator(2).public(), amount: Amount::coins(1) };
    let mut tx = chain.next(transfer, &operator(1));
    tx.body.fee = Amount::coins(2);
    let tx = sotto_proto::chain::Transaction::sign(tx.body, &operator(1), None, &chain.state.chain());
    assert_eq!(chain.try_now(&tx), Ok(()));
    let mut draft = sotto_chain::BlockDraft::begin(&chain.state, chain.state.time()).unwrap();
    draft.try_add(tx, &sotto_proto::sign::Ed25519).unwrap();
    let (_, state) = draft.seal(&chain.authority);
    assert_eq!(state.supply().unwrap().0, supply.0 + Amount::coins(10).0 - Amount::coins(2).0);

    let mut tx = chain.next(Payload::RotateKey { x25519: X25519Key::new([9; 32]) }, &node(0));
    tx.body.fee = Amount(1);
    assert_eq!(chain.try_now(&tx), Err(TransactionError::Fee));
}

#[test]
fn names_and_load_reports_are_reserved() {
    let chain = with_nodes(5);
    let load = Payload::LoadReport { epoch: 0, swarm: sotto_proto::id::SwarmId(0), records: 1, bytes: 1 };
    assert_eq!(chain.try_now(&chain.next(load, &node(0))), Err(TransactionError::Reserved("load-report")));
}

#[test]
fn the_stake_of_a_node_that_used_up_its_credit_is_locked_and_then_free() {
    let mut chain = Chain::with(60, |genesis| genesis.params.credit_at_registration = 5);
    (0..50).for_each(|i| chain.register(i));
    chain.blocks(2);
    chain.alive.remove(&node(7).node_id());
    while chain.state_of(7) == Some(NodeState::Active) {
        chain.block();
    }
    assert_eq!(chain.state.height(), Height(180)); // epochs 1 and 2 passed without a proof
    assert_eq!(chain.state_of(7), Some(NodeState::Decommissioned));
    let credit = chain.state.credit(chain.state.service_node(&node(7).node_id()).unwrap());
    assert_eq!(credit, 5 + 179 / 2);
    let before = chain.balance(&operator(7).public());
    chain.blocks(credit - 1);
    assert_eq!(chain.state_of(7), Some(NodeState::Decommissioned));
    chain.block();
    assert_eq!(chain.state_of(7), None);
    assert_eq!(chain.state.locked_stakes().count(), 1);
    let known = chain.try_now(&chain.next(Chain::registration(7), &operator(58)));
    assert_eq!(known, Err(TransactionError::NodeKnown(node(7).node_id())));
    chain.blocks(600);
    assert_eq!(chain.state.locked_stakes().count(), 0);
    assert_eq!(chain.balance(&operator(7).public()).0 - before.0, Amount::coins(100).0);
}

#[test]
fn a_silent_node_that_proves_again_returns_home() {
    let mut chain = with_nodes(50);
    let home = chain.state.nodes().get(&node(7).node_id()).unwrap().swarm;
    chain.alive.remove(&node(7).node_id());
    chain.until(181);
    let record = chain.state.nodes().get(&node(7).node_id()).unwrap().clone();
    assert_eq!((record.state, record.swarm), (NodeState::Decommissioned, None));
    chain.alive.insert(node(7).node_id(), 7);
    chain.blocks(2);
    let record = chain.state.nodes().get(&node(7).node_id()).unwrap();
    assert_eq!((record.state, record.swarm), (NodeState::Active, home));
}

#[test]
fn few_are_decommissioned_at_once_and_one_in_ten_blocks_a_swarm() {
    let mut chain = with_nodes(50);
    (0..10).for_each(|i| {
        chain.alive.remove(&node(i).node_id());
    });
    let mut last = std::collections::BTreeMap::new();
    let mut gone = 0;
    for _ in 0..400 {
        let before = chain.state.clone();
        chain.block();
        let fell: Vec<_> = chain
            .state
            .service_nodes()
            .filter(|node| node.record.state == NodeState::Decommissioned && node.since == chain.state.height())
            .collect();
        assert!(fell.len() <= 1, "2 % of 50 is one");
        for node in fell {
            let swarm = before.nodes().get(&node.record.node).unwrap().swarm;
            if let Some(last) = last.insert(swarm, chain.state.height()) {
                assert!(chain.state.height().since(last) >= 10);
            }
            gone += 1;
        }
    }
    assert_eq!(gone, 10);
}

#[test]
fn when_more_than_a_quarter_is_due_nobody_is_decommissioned() {
    let mut chain = with_nodes(50);
    (0..13).for_each(|i| {
        chain.alive.remove(&node(i).node_id());
    });
    chain.until(300);
    assert_eq!(chain.state.active_count(), 50);
    chain.alive.insert(node(0).node_id(), 0);
    chain.until(700);
    assert_eq!(chain.state.active_count(), 38);
}

#[test]
fn nobody_falls_while_a_network_that_was_cut_off_proves_itself_again() {
    let mut chain = with_nodes(50);
    let everybody = std::mem::take(&mut chain.alive);
    chain.until(300);
    assert_eq!(chain.state.active_count(), 50);
    // One after the other, as their places in the epoch come.
    for (id, i) in everybody {
        chain.alive.insert(id, i);
        chain.block();
    }
    chain.until(500);
    assert_eq!(chain.state.active_count(), 50);
}

#[test]
fn a_proof_in_the_block_that_decommissions_a_node_brings_it_back() {
    let mut chain = with_nodes(50);
    chain.alive.remove(&node(7).node_id());
    chain.until(179);
    chain.alive.insert(node(7).node_id(), 7);
    chain.block();
    let id = node(7).node_id();
    assert_eq!(chain.state.service_node(&id).unwrap().since, Height(180));
    assert_eq!(chain.state_of(7), Some(NodeState::Active));
    chain.block();
    assert!(chain.state.nodes().get(&id).unwrap().swarm.is_some());
}

#[test]
fn an_uptime_proof_counts_once_and_for_its_epoch_only() {
    let mut chain = with_nodes(5);
    chain.alive.clear();
    let proof = |epoch| Payload::UptimeProof { epoch, version: 1 };
    assert_eq!(chain.try_now(&chain.next(proof(0), &node(0))), Err(TransactionError::AlreadyProved));
    chain.until(60);
    assert_eq!(chain.try_now(&chain.next(proof(0), &node(0))), Err(TransactionError::Epoch { expected: 1, actual: 0 }));
    chain.submit(proof(1), &node(0));
    chain.block();
    assert_eq!(chain.try_now(&chain.next(proof(1), &node(0))), Err(TransactionError::AlreadyProved));
    let unknown = chain.next(proof(1), &node(6));
    assert_eq!(chain.try_now(&unknown), Err(TransactionError::NodeUnknown(node(6).node_id())));
}
