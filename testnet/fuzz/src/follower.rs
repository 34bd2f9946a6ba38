//! Which block is the tip, when blocks of three branches come in any order: the tip never gets lower, what is final
//! stays final, and the view is of what is final.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sotto_chain::{Follower, Inserted, State};
use sotto_proto::chain::Block;
use sotto_proto::id::{BlockHash, Height};
use sotto_proto::limits::FINAL_DEPTH;
use sotto_proto::sign::Ed25519;

use crate::fixtures::{LEDGER, produce};
use crate::input::Input;

/// Blocks of one input.
const STEPS: usize = 48;
/// Heights of each branch.
const LENGTH: usize = 10;

/// Three branches: the ledger's own, one that leaves it after the fourth block, one that leaves it after the first.
static BRANCHES: LazyLock<[Vec<Block>; 3]> = LazyLock::new(|| {
    let branch = |shared: usize, later: u64| {
        let mut state = LEDGER.states[shared].clone();
        let mut blocks = LEDGER.blocks[..shared].to_vec();
        while blocks.len() < LENGTH {
            let (block, next) = produce(&state, later, []);
            blocks.push(block);
            state = next;
        }
        blocks
    };
    [branch(LEDGER.blocks.len(), 1000), branch(4, 1007), branch(1, 1013)]
});

fn genesis() -> &'static State {
    &LEDGER.states[0]
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut follower = Follower::new(genesis().clone());
    let mut finals: BTreeMap<Height, BlockHash> = BTreeMap::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        let branch = &BRANCHES[usize::from(choice >> 4) % BRANCHES.len()];
        let block = branch[usize::from(choice & 15) % LENGTH].clone();
        let (before, halted) = (follower.tip().height(), follower.is_halted());
        let hash = block.hash(&genesis().chain());
        match follower.insert(block, &Ed25519).expect("every one is valid on its branch") {
            Inserted::Extended => assert_eq!(follower.tip().height(), before.next()),
            Inserted::Reorganised { depth, .. } => {
                assert!(depth <= FINAL_DEPTH && follower.tip().height() > before);
                assert_eq!(follower.tip().tip_hash(), hash);
            }
            Inserted::Halted => assert!(follower.is_halted()),
            _ => assert_eq!(follower.tip().height(), before),
        }
        assert!(follower.is_halted() || !halted, "a halt that ends by itself");
        assert!(follower.tip().height() >= before, "the tip gets lower");
        let view = follower.view();
        assert_eq!((view.tip, view.halted), (follower.tip().height(), follower.is_halted()));
        assert_eq!(view.current().height, follower.final_height());
        for snapshot in view.recent() {
            let known = finals.entry(snapshot.height).or_insert(snapshot.block_hash);
            assert_eq!(*known, snapshot.block_hash, "what was final is another block");
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let whole: Vec<u8> = (0..10).collect();
    // The second branch takes over from the first; the third would, and is too deep; both at once, backwards.
    let over = [&[0, 1, 2, 3, 4, 5][..], &[0x14, 0x15, 0x16, 0x17]].concat();
    let deep = [&[0, 1, 2, 3, 4, 5][..], &[0x21, 0x22, 0x23, 0x24, 0x25, 0x26]].concat();
    let backwards = (0..10).rev().flat_map(|n| [n, 0x10 | n]).collect();
    vec![whole, over, deep, backwards]
}
