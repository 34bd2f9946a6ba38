//! Anything in any order.

use proptest::prelude::*;

use super::*;

/// Something that happens to the machine.
#[derive(Clone, Debug)]
enum Step {
    Transfer { from: u8, nonce: u64, fee: u64, coins: u64 },
    Register { operator: u8, nonce: u64, node: u8 },
    Proof { node: u8, epoch: u64 },
    Garbage(Vec<u8>),
    Tick,
    Sync,
    Reorg(u64),
    Heads(u64),
    Produce(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (3_u8..8, 0_u64..6, 0_u64..5, 0_u64..700)
            .prop_map(|(from, nonce, fee, coins)| Step::Transfer { from, nonce, fee, coins }),
        2 => (3_u8..6, 0_u64..4, 10_u8..14).prop_map(|(operator, nonce, node)| Step::Register { operator, nonce, node }),
        2 => (10_u8..14, 0_u64..2).prop_map(|(node, epoch)| Step::Proof { node, epoch }),
        1 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Garbage),
        4 => Just(Step::Tick),
        4 => Just(Step::Sync),
        1 => (1_u64..4).prop_map(Step::Reorg),
        1 => (1_u64..4).prop_map(Step::Heads),
        1 => (1_u64..40).prop_map(Step::Produce),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_disk_holds_a_valid_chain_and_coins_are_conserved(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut rig = Rig::new(Preset::Testnet);
        for step in steps {
            match step {
                Step::Transfer { from, nonce, fee, coins } => {
                    let transaction = rig.transfer(from, nonce, fee, from + 1, coins);
                    let _ = rig.submit(&transaction);
                }
                Step::Register { operator, nonce, node } => {
                    let transaction = rig.register(operator, nonce, node);
                    let _ = rig.submit(&transaction);
                }
                Step::Proof { node, epoch } => {
                    let payload = Payload::UptimeProof { epoch, version: 1 };
                    let body = TxBody { signer: key(node).public(), nonce: 0, fee: Amount(0), payload };
                    let transaction = Transaction::sign(body, &key(node), None, &rig.chain());
                    let _ = rig.submit(&transaction);
                }
                Step::Garbage(transaction) => {
                    rig.ask(|ticket| Input::Submit { ticket, transaction });
                }
                Step::Tick => {
                    rig.pass(Duration::from_secs(1));
                    rig.feed(Input::Timer);
                }
                Step::Sync => rig.sync(),
                Step::Reorg(depth) => {
                    rig.ask(|ticket| Input::Fault { ticket, fault: Fault::Reorg { depth, deep: false } });
                }
                Step::Heads(blocks) => {
                    rig.ask(|ticket| Input::Fault { ticket, fault: Fault::TwoHeads { blocks } });
                }
                Step::Produce(count) => {
                    rig.ask(|ticket| Input::Produce { ticket, count });
                }
            }
        }
        rig.settle();
        rig.check_disk();
        // Everybody who asked was answered, once.
        prop_assert!(rig.replies.len() as u64 <= rig.tickets);
        let tip = rig.machine.tip();
        let nodes = tip.nodes().len() as u64;
        let rewards: u64 = tip.service_nodes().map(|node| node.rewards.0).sum();
        let founded: u64 = tip.founding().balances.values().map(|balance| balance.0).sum();
        prop_assert!(nodes <= 4);
        prop_assert!(tip.supply().unwrap().0 <= founded + rewards);
        // A node that heard of everything is where the producer is, but for branches of equal length.
        let follower = rig.follower();
        prop_assert!(!follower.is_halted());
        prop_assert_eq!(follower.tip().height(), tip.height());
    }
}
