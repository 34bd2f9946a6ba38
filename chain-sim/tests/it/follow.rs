//! Fork choice, finality, reorganisations and evidence.

use sotto_chain::{BlockDraft, BlockError, Equivocation, Follower, Inserted, State};
use sotto_proto::chain::{Block, Payload};
use sotto_proto::id::{Amount, Height};
use sotto_proto::sign::Ed25519;
use sotto_proto::time::UnixMillis;

use crate::harness::{Chain, operator};

fn chain_and_follower(blocks: u64) -> (Chain, Follower) {
    let mut chain = Chain::new(20);
    let mut follower = Follower::new(chain.state.clone());
    (0..12).for_each(|i| chain.register(i));
    chain.blocks(blocks);
    for block in &chain.blocks {
        assert_eq!(follower.insert(block.clone(), &Ed25519), Ok(Inserted::Extended));
    }
    (chain, follower)
}

/// A branch of `count` blocks that leaves the chain after `fork`; `salt` tells branches apart.
fn branch(chain: &Chain, fork: u64, count: u64, salt: u64) -> Vec<Block> {
    let mut state: State = chain.states[usize::try_from(fork).unwrap()].clone();
    (0..count)
        .map(|_| {
            let draft = BlockDraft::begin(&state, UnixMillis(state.time().0 + 1000 + salt)).unwrap();
            let (block, next) = draft.seal(&chain.authority);
            state = next;
            block
        })
        .collect()
}

fn insert_all(follower: &mut Follower, blocks: &[Block]) -> Vec<Inserted> {
    blocks.iter().map(|block| follower.insert(block.clone(), &Ed25519).unwrap()).collect()
}

#[test]
fn a_branch_takes_over_only_when_it_is_longer() {
    for depth in 1..=3 {
        let (chain, mut follower) = chain_and_follower(20);
        let blocks = branch(&chain, 20 - depth, depth + 1, 1);
        let results = insert_all(&mut follower, &blocks);
        assert!(results[..results.len() - 1].iter().all(|result| *result == Inserted::SideBranch));
        assert_eq!(results.last(), Some(&Inserted::Reorganised { depth, blocks: blocks.clone() }));
        assert_eq!(follower.tip().height(), Height(21));
        assert_eq!(follower.tip().tip_hash(), blocks.last().unwrap().hash(&chain.state.chain()));
        assert_eq!(follower.evidence().count(), usize::try_from(depth).unwrap());
        assert_eq!(follower.view().current().height, Height(18));
        assert!(!follower.is_halted());
    }
}

#[test]
fn a_longer_branch_from_below_the_final_block_halts_and_the_view_stays() {
    let (chain, mut follower) = chain_and_follower(20);
    let before = follower.view();
    let results = insert_all(&mut follower, &branch(&chain, 16, 5, 1));
    assert_eq!(results.last(), Some(&Inserted::Halted));
    assert!(follower.is_halted() && follower.view().halted);
    assert_eq!(follower.view().current().block_hash, before.current().block_hash);
    let next = branch(&chain, 20, 1, 0);
    assert_eq!(insert_all(&mut follower, &next), [Inserted::Halted]);
}

#[test]
fn a_branch_that_starts_late_asks_for_what_is_missing() {
    let (chain, mut follower) = chain_and_follower(20);
    let blocks = branch(&chain, 18, 3, 1);
    let parent = blocks[0].hash(&chain.state.chain());
    assert_eq!(insert_all(&mut follower, &blocks[1..2]), [Inserted::NeedsParent { height: Height(19), parent }]);
    assert_eq!(
        insert_all(&mut follower, &blocks).last().map(|result| matches!(result, Inserted::Reorganised { .. })),
        Some(true)
    );
}

#[test]
fn the_same_block_again_is_known() {
    let (chain, mut follower) = chain_and_follower(30);
    for index in [20, 28, 29] {
        assert_eq!(follower.insert(chain.blocks[index].clone(), &Ed25519), Ok(Inserted::Known));
    }
}

#[test]
fn nobody_but_the_authority_can_make_a_follower_keep_or_take_blocks() {
    let (chain, mut follower) = chain_and_follower(20);
    let forged = |fork| {
        let state = &chain.states[fork];
        BlockDraft::begin(state, UnixMillis(state.time().0 + 5)).unwrap().seal(&operator(0)).0
    };
    for fork in [20, 18] {
        assert_eq!(follower.insert(forged(fork), &Ed25519), Err(BlockError::Signature));
    }
    assert_eq!(follower.evidence().count(), 0);
}

#[test]
fn a_forged_old_block_is_refused_and_a_real_one_is_too_old_to_tell() {
    let (chain, mut follower) = chain_and_follower(40);
    assert_eq!(follower.insert(chain.blocks[0].clone(), &Ed25519), Ok(Inserted::TooOld));
    let mut forged = chain.blocks[0].clone();
    forged.header.signature = chain.blocks[1].header.signature;
    assert_eq!(follower.insert(forged, &Ed25519), Err(BlockError::Signature));
}

#[test]
fn a_false_body_under_a_true_header_is_refused_and_spoils_nothing() {
    let (mut chain, mut follower) = chain_and_follower(20);
    let fork = branch(&chain, 20, 2, 1);
    chain.submit(Payload::Transfer { to: operator(19).public(), amount: Amount::coins(1) }, &operator(18));
    chain.blocks(1);
    insert_all(&mut follower, &fork[..1]);
    let real = chain.blocks[20].clone();
    let poisoned = Block { transactions: Vec::new(), ..real.clone() };
    assert!(matches!(follower.insert(poisoned, &Ed25519), Err(BlockError::Root { which: "transactions", .. })));
    assert_eq!(insert_all(&mut follower, &[real]), [Inserted::SideBranch]);
    chain.blocks(1);
    let next = chain.blocks[21].clone();
    assert!(matches!(insert_all(&mut follower, &[next])[..], [Inserted::Reorganised { depth: 1, .. }]));
}

#[test]
fn a_longer_branch_from_below_everything_remembered_halts_too() {
    let (chain, mut follower) = chain_and_follower(60);
    let results = insert_all(&mut follower, &branch(&chain, 30, 31, 1));
    assert_eq!(results.first(), Some(&Inserted::TooOld));
    assert_eq!(results.last(), Some(&Inserted::Halted));
}

#[test]
fn a_branch_whose_root_is_forgotten_before_it_becomes_longer_halts() {
    let (chain, mut follower) = chain_and_follower(20);
    let longer = branch(&chain, 17, 44, 1);
    let mut state = chain.state.clone();
    insert_all(&mut follower, &longer[..3]);
    for block in &longer[3..] {
        // The chain grows one block at a time, and the branch with it.
        if state.height() < Height(50) {
            let draft = BlockDraft::begin(&state, UnixMillis(state.time().0 + 1000)).unwrap();
            let (block, next) = draft.seal(&chain.authority);
            state = next;
            assert_eq!(follower.insert(block, &Ed25519), Ok(Inserted::Extended));
        }
        follower.insert(block.clone(), &Ed25519).unwrap();
    }
    assert!(follower.is_halted());
}

#[test]
fn a_signed_branch_with_an_invalid_block_is_dropped_and_the_chain_stays() {
    let (chain, mut follower) = chain_and_follower(20);
    let mut blocks = branch(&chain, 19, 2, 1);
    let mut header = blocks[1].header.header.clone();
    header.state_root = sotto_proto::id::Hash::new([7; 32]);
    blocks[1].header = header.sign(&chain.authority, &chain.state.chain());
    assert_eq!(follower.insert(blocks[0].clone(), &Ed25519), Ok(Inserted::SideBranch));
    assert!(matches!(follower.insert(blocks[1].clone(), &Ed25519), Err(BlockError::Root { which: "state", .. })));
    assert_eq!(follower.tip().tip_hash(), chain.state.tip_hash());
    let next = branch(&chain, 20, 1, 0);
    assert_eq!(insert_all(&mut follower, &next), [Inserted::Extended]);
}

#[test]
fn followers_that_saw_other_heads_first_agree_as_soon_as_one_branch_grows() {
    for (blocks, winner) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
        let (chain, mut first) = chain_and_follower(20);
        let mut second = first.clone();
        let branches = [branch(&chain, 20, blocks + 1, 0), branch(&chain, 20, blocks + 1, 9)];
        for pair in branches[0].iter().zip(&branches[1]).take(usize::try_from(blocks).unwrap()) {
            let (a, b) = (pair.0.clone(), pair.1.clone());
            assert_eq!(insert_all(&mut first, &[a.clone(), b.clone()]), [Inserted::Extended, Inserted::SideBranch]);
            assert_eq!(insert_all(&mut second, &[b, a]), [Inserted::Extended, Inserted::SideBranch]);
            assert_ne!(first.tip().tip_hash(), second.tip().tip_hash());
        }
        let last = branches[winner].last().unwrap();
        for follower in [&mut first, &mut second] {
            insert_all(follower, std::slice::from_ref(last));
            assert_eq!(follower.tip().tip_hash(), last.hash(&chain.state.chain()));
            assert_eq!(follower.evidence().count() as u64, blocks);
            assert!(!follower.is_halted());
        }
        assert_eq!(first.view().current().block_hash, second.view().current().block_hash);
    }
}

#[test]
fn evidence_round_trips_and_is_remembered_only_if_it_holds() {
    let (chain, mut follower) = chain_and_follower(20);
    insert_all(&mut follower, &branch(&chain, 18, 2, 9));
    let evidence: Vec<_> = follower.evidence().cloned().collect();
    assert_eq!((evidence.len(), follower.equivocations()), (2, 2));
    let mut later = Follower::new(chain.state.clone());
    for pair in &evidence {
        let read = Equivocation::decode(&pair.encode()).unwrap();
        assert_eq!((&read, read.height()), (pair, pair.second.header.height));
        let swapped = Equivocation { first: read.second.clone(), second: read.first.clone() };
        let twice_the_same = Equivocation { first: read.first.clone(), second: read.first.clone() };
        let forged = Equivocation { first: evidence[0].first.clone(), second: evidence[1].second.clone() };
        let mut unsigned = read.clone();
        unsigned.second.header.time.0 += 1;
        for wrong in [twice_the_same, forged, unsigned] {
            assert!(!later.remember(wrong, &Ed25519));
        }
        assert!(later.remember(read, &Ed25519));
        assert!(!later.remember(swapped, &Ed25519), "known");
    }
    assert!(later.evidence().eq(&evidence));
    assert!(Equivocation::decode(&evidence[0].encode()[1..]).is_err());
    assert!(Equivocation::decode(&[0; 3]).is_err());
}

#[test]
fn the_view_is_three_blocks_behind_and_remembers_sixteen_maps() {
    let (_, follower) = chain_and_follower(40);
    let view = follower.view();
    assert_eq!((view.tip, view.current().height), (Height(40), Height(37)));
    assert_eq!(
        view.recent().map(|snapshot| snapshot.height.0).collect::<Vec<_>>(),
        (22..=37).rev().collect::<Vec<_>>()
    );
    let (_, young) = chain_and_follower(2);
    assert_eq!(young.view().current().height, Height(0));
}

#[test]
fn a_restart_from_a_snapshot_follows_on_to_the_same_roots() {
    let (mut chain, _) = chain_and_follower(20);
    chain.submit(Payload::Transfer { to: operator(19).public(), amount: Amount::coins(1) }, &operator(18));
    chain.submit(Payload::RequestExit { node: crate::harness::node(3).node_id() }, &operator(3));
    chain.blocks(1);
    let bytes = chain.state.encode();
    let restored = State::decode(chain.state.founding(), &bytes).unwrap();
    assert_eq!(restored.state_root(), chain.state.state_root());
    assert_eq!(restored.list_root(), chain.state.list_root());
    assert_eq!(restored.encode(), bytes);
    let mut follower = Follower::new(restored);
    chain.blocks(700);
    for block in &chain.blocks[21..] {
        assert_eq!(follower.insert(block.clone(), &Ed25519), Ok(Inserted::Extended));
    }
    assert_eq!(follower.tip().state_root(), chain.state.state_root());
}
