//! Members that keep what they have from a newcomer.

use super::wasting::Bench;
use super::*;

/// It has the same as whoever asks, it says.
fn flatter(repair: &mut Repair, own: &Peer, expected: NodeId) {
    let now = member(&own.set, at(1));
    let Some(RepairAct::Ask { node: asked, .. }) = repair.poll(&now, &mut rng()) else { panic!() };
    assert_eq!(asked, expected);
    assert_eq!(repair.answered(&now, Some(RepairResponse::Summary { equal: true })), None);
}

#[test]
fn two_that_claim_to_have_the_same_do_not_catch_a_newcomer_up_where_there_are_others() {
    let mut others = BTreeMap::from([(node(3), Peer::with(0..100, 16)), (node(4), Peer::with(0..100, 16))]);
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    repair.set_members((1..=4).map(node).collect());
    flatter(&mut repair, &own, node(1));
    flatter(&mut repair, &own, node(2));
    assert!(!repair.is_caught_up(4), "a third one is connected and was not asked");
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(repair.is_caught_up(4));
    assert_eq!(own.set.len(), 100);
}

#[test]
fn where_only_two_are_connected_they_must_do() {
    let (mut repair, own) = (Repair::default(), Peer::default());
    repair.set_members((1..=2).map(node).collect());
    flatter(&mut repair, &own, node(1));
    assert!(!repair.is_caught_up(4));
    flatter(&mut repair, &own, node(2));
    assert!(repair.is_caught_up(4));
}

#[test]
fn a_third_one_that_refuses_has_been_asked() {
    let mut others: BTreeMap<_, _> = (1..=4).map(|n| (node(n), Peer::with(0..10, 16))).collect();
    for n in [1, 2] {
        others.get_mut(&node(n)).unwrap().refuses = Some(Error::Busy);
    }
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(repair.is_caught_up(4));
}

#[test]
fn whoever_claims_to_have_something_and_does_not_bring_it_catches_nobody_up() {
    let mut bench = Bench::with_members(1..=1);
    let mut other = Peer::with(0..100, 16);
    let quick = Duration::from_millis(10);
    bench.play(10, |_, request| {
        let mut response = other.answer(request);
        if let RepairResponse::Items { items, .. } = &mut response {
            items.retain(|item| number(item) < 60);
        }
        (quick, response)
    });
    assert_eq!(bench.own.set.len(), 60);
    assert!(!bench.repair.is_caught_up(1));
    bench.play(40, |_, request| (quick, other.answer(request)));
    assert_eq!(bench.own.set.len(), 100);
    assert!(bench.repair.is_caught_up(1));
}
