//! Faults on request: stalls, slow blocks, reorganisations, two heads, equivocation.

use super::*;

#[test]
fn a_stalled_chain_stands_still_until_it_is_cleared() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    rig.fault(Fault::Stall { lasting: None }).unwrap();
    assert_eq!(rig.machine.next_timer(), None);
    rig.pass(Duration::from_secs(600));
    rig.feed(Input::Timer);
    assert_eq!(rig.machine.tip().height(), Height(1));
    rig.fault(Fault::Clear).unwrap();
    rig.block();
    assert_eq!(rig.machine.tip().height(), Height(2));
}

#[test]
fn slow_blocks_come_at_the_pace_asked_for() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.fault(Fault::Slow { every: Duration::from_secs(5), lasting: None }).unwrap();
    rig.block();
    let first = rig.machine.tip().time();
    rig.block();
    assert_eq!(rig.machine.tip().time().0 - first.0, 5000);
    let refused = rig.fault(Fault::Slow { every: Duration::from_millis(999), lasting: None });
    assert!(matches!(refused, Err(Refusal::Range { .. })));
}

#[test]
fn a_reorganisation_replaces_blocks_and_its_transactions_get_in_again() {
    for depth in 1..=3 {
        let mut rig = Rig::new(Preset::Testnet);
        for _ in 0..5 {
            rig.block();
        }
        let transfer = rig.transfer(4, 0, 0, 9, 10);
        let id = rig.submit(&transfer).unwrap();
        rig.block();
        let undone = rig.machine.tip().tip_hash();
        rig.pass(Duration::from_millis(300));
        assert_eq!(rig.fault(Fault::Reorg { depth, deep: false }), Ok(Reply::Faulted));
        assert_eq!(rig.machine.tip().height(), Height(7));
        assert_ne!(rig.machine.chain().at(Height(6)).unwrap().tip_hash(), undone);
        assert_eq!(rig.machine.fate(&id), Some(Fate::Included(Height(7 - depth))));
        rig.check_disk();
        rig.block();
        // A node that hears of it follows.
        let follower = rig.follower();
        assert!(!follower.is_halted());
        assert_eq!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn deeper_than_final_is_possible_on_purpose_only_and_halts_the_nodes() {
    let mut rig = Rig::new(Preset::Testnet);
    for _ in 0..3 {
        rig.block();
    }
    assert!(matches!(rig.fault(Fault::Reorg { depth: 4, deep: false }), Err(Refusal::Range { most: 3, .. })));
    assert!(matches!(rig.fault(Fault::Reorg { depth: 9, deep: true }), Err(Refusal::TooDeep { held: 3, .. })));
    for _ in 0..12 {
        rig.block();
    }
    assert_eq!(rig.fault(Fault::Reorg { depth: 9, deep: true }), Ok(Reply::Faulted));
    rig.check_disk();
    assert!(rig.follower().is_halted());
}

#[test]
fn two_heads_are_both_valid_one_for_each_half_and_the_chain_goes_on_with_the_first() {
    for blocks in 1..=MAX_HEADS {
        let mut rig = Rig::new(Preset::Testnet);
        rig.block();
        let transfer = rig.transfer(4, 0, 0, 9, 10);
        rig.submit(&transfer).unwrap();
        rig.published.clear();
        let fork = rig.machine.tip().clone();
        assert_eq!(rig.fault(Fault::TwoHeads { blocks }), Ok(Reply::Faulted));
        assert_eq!(rig.published.len(), 2, "the first two at once");
        for _ in 1..blocks {
            rig.block();
        }
        for half in [Audience::FirstHalf, Audience::SecondHalf] {
            let mut state = fork.clone();
            for (block, _) in rig.published.iter().filter(|(_, audience)| *audience == half) {
                state = apply(&state, block, &Ed25519).unwrap();
            }
            assert_eq!(state.height(), Height(1 + blocks));
            assert_eq!(state.account(&key(9).public()).balance, Amount::coins(10));
        }
        let hashes: BTreeSet<_> = rig.published.iter().map(|(block, _)| block.hash(&fork.chain())).collect();
        assert_eq!(hashes.len() as u64, 2 * blocks);
        rig.check_disk();
        // Whoever saw the second branch first comes over with the next block.
        let mut follower = Follower::new(fork);
        let (first, second): (Vec<_>, Vec<_>) =
            rig.published.drain(..).partition(|(_, audience)| *audience == Audience::FirstHalf);
        for (block, _) in second.into_iter().chain(first) {
            follower.insert(block, &Ed25519).unwrap();
        }
        assert_ne!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
        rig.block();
        assert_eq!(rig.published[0].1, Audience::All, "the split is over");
        let inserted = follower.insert(rig.published[0].0.clone(), &Ed25519).unwrap();
        assert!(matches!(inserted, Inserted::Reorganised { .. }), "{inserted:?}");
        assert_eq!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn a_crowded_pool_is_replayed_in_part_and_every_signer_goes_on_from_its_own() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.machine.pool = Pool::new(Limits { replayed: 4, ..Limits::default() });
    for nonce in 0..10 {
        for from in [4, 5] {
            let transfer = rig.transfer(from, nonce, 0, from + 10, 1);
            rig.submit(&transfer).unwrap();
        }
    }
    // As after a block that had no room for them.
    rig.machine.draft = None;
    for from in [4, 5] {
        let ahead = rig.transfer(from, 11, 0, from + 10, 1);
        let expected = TransactionError::Nonce { expected: 10, actual: 11 };
        assert_eq!(rig.submit(&ahead), Err(Refusal::Invalid(expected)));
        let next = rig.transfer(from, 10, 0, from + 10, 1);
        rig.submit(&next).unwrap();
    }
    assert_eq!((rig.machine.pool().len(), rig.dropped.len()), (22, 0));
    rig.block();
    for from in [4, 5] {
        assert_eq!(rig.machine.account(&key(from).public()).nonce, 11);
    }
}

#[test]
fn the_second_branch_of_a_split_can_be_asked_for_as_long_as_the_split_lasts() {
    let branch = |rig: &Rig, from| {
        let (hash, blocks) = rig.machine.second_branch(Height(from))?;
        let blocks: Vec<_> = blocks.map(|block| Block::decode(&block).unwrap()).collect();
        assert_eq!(blocks.last().map(|block| block.hash(&rig.chain())), Some(hash));
        Some(blocks.iter().map(|block| block.height().0).collect::<Vec<_>>())
    };
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    assert_eq!(branch(&rig, 2), None);
    let ticket = rig.ask(|ticket| Input::Fault { ticket, fault: Fault::TwoHeads { blocks: 2 } });
    assert_eq!(branch(&rig, 2), None, "its twin is not on disk yet");
    rig.settle();
    assert_eq!(rig.replies.remove(&ticket), Some(Ok(Reply::Faulted)));
    assert_eq!((branch(&rig, 1), branch(&rig, 2)), (None, Some(vec![2])), "the fork is common to both");
    rig.block();
    assert_eq!((branch(&rig, 2), branch(&rig, 3)), (Some(vec![2, 3]), Some(vec![3])));
    rig.block();
    assert_eq!(branch(&rig, 2), None);
}

#[test]
fn a_split_ends_early_when_something_else_is_asked_for() {
    let ways: [fn(&mut Rig); 3] = [
        |rig| rig.fault(Fault::Clear).map(drop).unwrap(),
        |rig| rig.fault(Fault::Reorg { depth: 2, deep: false }).map(drop).unwrap(),
        |rig| {
            rig.ask(|ticket| Input::Produce { ticket, count: 1 });
            rig.settle();
        },
    ];
    for end in ways {
        let mut rig = Rig::new(Preset::Testnet);
        (0..5).for_each(|_| rig.block());
        rig.fault(Fault::TwoHeads { blocks: 3 }).unwrap();
        let mut other = Follower::new(rig.machine.chain().oldest().clone());
        let (first, rest): (Vec<_>, Vec<_>) =
            rig.published.drain(..).partition(|(_, audience)| *audience == Audience::FirstHalf);
        for (block, _) in rest.into_iter().chain(first) {
            other.insert(block, &Ed25519).unwrap();
        }
        assert_ne!(other.tip().tip_hash(), rig.machine.tip().tip_hash());
        end(&mut rig);
        rig.block();
        for (block, audience) in rig.published.drain(..) {
            assert_eq!(audience, Audience::All);
            other.insert(block, &Ed25519).unwrap();
        }
        assert_eq!(other.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn an_equivocation_shows_two_signed_headers_of_one_height_to_all() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    rig.published.clear();
    rig.fault(Fault::Equivocate).unwrap();
    let [(one, Audience::All), (other, Audience::All)] = &rig.published[..] else { panic!("{:?}", rig.published) };
    assert_eq!(one.height(), other.height());
    assert_ne!(one.header, other.header);
    assert!([one, other].iter().all(|block| block.header.verify(&rig.chain(), &key(1).public(), &Ed25519)));
}
