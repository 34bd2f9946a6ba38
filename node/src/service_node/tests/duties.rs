//! What a registered node puts on the chain, and when.

use super::*;

#[test]
fn every_epoch_is_proved_once_in_its_first_half() {
    let mut bench = Bench::registered();
    let length = bench.chain.genesis.params.epoch_blocks;
    let mut proved = BTreeMap::<u64, u64>::new();
    for _ in 0..5 * length + length / 2 {
        for payload in bench.block() {
            let Payload::UptimeProof { epoch, .. } = payload else { panic!("{payload:?}") };
            let height = bench.chain.tip().height().0;
            assert_eq!(epoch, height / length);
            assert!(height % length <= length / 2, "{height}");
            assert_eq!(proved.insert(epoch, height), None, "epoch {epoch} twice");
        }
    }
    assert_eq!(proved.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(bench.report().uptime_due_in.unwrap() > length);
}

#[test]
fn a_proof_undone_by_a_reorganisation_is_sent_again() {
    let mut bench = Bench::registered();
    let length = bench.chain.genesis.params.epoch_blocks;
    while !bench.block().iter().any(|payload| matches!(payload, Payload::UptimeProof { .. })) {}
    let epoch = bench.chain.tip().height().0 / length;
    bench.chain.reorganise(1);
    bench.follow();
    let (_, again) = bench.transactions().remove(0);
    assert!(matches!(again.body.payload, Payload::UptimeProof { epoch: of, .. } if of == epoch));
}

#[test]
fn changed_addresses_are_put_on_the_chain() {
    let mut bench = Bench::registered();
    let moved: NodeAddr = "/ip4/127.100.0.1/tcp/27999".parse().unwrap();
    bench.machine.settings.addresses = vec![moved];
    let payloads = bench.blocks(3);
    assert_eq!(payloads, [Payload::UpdateAddress { addresses: vec![moved] }]);
    bench.machine.settings.addresses = vec!["/ip4/127.100.0.1/tcp/28000".parse().unwrap()];
    assert_eq!(bench.blocks(10), [], "the chain takes a change once in half an epoch");
    assert!(bench.blocks(30).iter().any(|payload| matches!(payload, Payload::UpdateAddress { .. })));
}
