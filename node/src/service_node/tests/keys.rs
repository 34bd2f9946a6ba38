//! The X25519 key changes, whatever happens to the disk.

use super::*;

#[test]
fn the_x25519_key_is_rotated_when_its_period_is_over() {
    let chain = TestChain::with(|params| params.key_rotation_s = 100);
    let mut bench = Bench::with(chain, |_| {});
    bench.follow();
    bench.connect();
    let mut rotations = Vec::new();
    for _ in 0..350 {
        for payload in bench.block() {
            if let Payload::RotateKey { x25519 } = payload {
                assert!(bench.keys.find(Slot::X25519Next).unwrap().is_some(), "on disk before it is sent");
                rotations.push((bench.chain.tip().height().0, x25519));
            }
        }
        bench.persist();
        let shown = bench.chain.tip().service_node(&node(0)).map(|entry| entry.record.x25519);
        assert!(shown.is_none_or(|key| bench.machine.keys.holds(&key)));
    }
    assert_eq!(rotations.len(), 3, "{rotations:?}");
    let current = bench.keys.read(Slot::X25519).unwrap().x25519().public();
    assert_eq!(current, rotations[2].1);
    assert!(bench.keys.find(Slot::X25519Previous).unwrap().is_some());
    assert!(bench.report().key_rotation.unwrap() > bench.now.wall);
}

#[test]
fn a_rotation_can_be_asked_for_and_survives_a_restart_before_it_is_announced() {
    let mut bench = Bench::registered();
    let first = bench.machine.keys.current().unwrap();
    bench.tell(Input::Command { id: CommandId(1), command: Command::RotateKey });
    assert_eq!(bench.persist(), 1);
    bench.outputs.clear(); // the process dies with the transaction unsent
    let settings = bench.machine.settings.clone();
    bench.machine = machine(&bench.keys, settings, bench.now);
    bench.follow();
    bench.connect();
    let payloads = bench.blocks(5);
    assert!(matches!(&payloads[..], [Payload::RotateKey { .. }]), "{payloads:?}");
    bench.persist();
    assert_ne!(bench.machine.keys.current().unwrap(), first);
    assert!(bench.machine.keys.holds(&first));
}

#[test]
fn a_key_that_cannot_be_written_is_not_announced() {
    let mut bench = Bench::registered();
    bench.tell(Input::Command { id: CommandId(1), command: Command::RotateKey });
    assert_eq!(bench.refuse_writes(), 1);
    assert_eq!(bench.blocks(2), []);
    assert_eq!(bench.persist(), 1, "but it is tried again");
}

#[test]
fn a_disk_that_refuses_is_asked_ever_more_seldom_and_shown() {
    let mut bench = Bench::registered();
    let shows_it = |bench: &Bench| bench.report().problems.iter().any(|problem| problem.code == "key-files");
    bench.tell(Input::Command { id: CommandId(1), command: Command::RotateKey });
    let mut attempts = Vec::new();
    for second in 0..60 {
        if bench.refuse_writes() > 0 {
            attempts.push(second);
        }
        assert_eq!(bench.refuse_writes(), 0, "without a pause");
        bench.pass(1000);
    }
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31]);
    assert!(shows_it(&bench));
    bench.pass(5000);
    assert_eq!(bench.persist(), 1);
    assert!(!shows_it(&bench));
}
