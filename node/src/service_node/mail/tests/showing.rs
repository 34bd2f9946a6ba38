//! What the operator is shown.

use super::replicating::stolen;
use super::*;

/// A member's answer to the question whether it has the same.
fn answer(bench: &mut Bench, member: NodeId, equal: bool) {
    bench.mail.on_connection(member, true);
    bench.act(|_, _, _| ());
    let asked = bench.take(|output| match output {
        Output::Send { message: Outgoing::Request { tag, request: Request::Repair(_) }, .. } => Some(*tag),
        _ => None,
    });
    assert_eq!(asked.len(), 1);
    let response = Ok(Response::Repair(RepairResponse::Summary { equal }));
    bench.act(|mail, env, out| mail.on_member_answer(asked[0], response, env, out));
}

#[test]
fn what_members_said_of_their_sets_is_remembered_as_long_as_they_are_members() {
    let mut bench = Bench::new();
    let equal = |bench: &Bench, n| bench.mail.compared_with(&node(n)).map(|compared| compared.equal);
    assert_eq!([1, 2, 3].map(|n| equal(&bench, n)), [Some(true), Some(true), None]);
    answer(&mut bench, node(3), false);
    assert_eq!(equal(&bench, 3), Some(false));
    assert_eq!(bench.mail.compared_with(&node(3)).unwrap().at, bench.now.monotonic);

    // The swarm is another one: nothing that was compared counts any more.
    bench.view = stolen(131);
    bench.follow();
    assert_eq!([1, 2, 3].map(|n| equal(&bench, n)), [None; 3]);
}

#[test]
fn tombstones_and_what_is_to_be_handed_over_are_counted() {
    let mut bench = Bench::new();
    let (kept, gone) = (record(1), record(2));
    assert!(is_stored(&bench.store(&kept)) && is_stored(&bench.store(&gone)));
    bench.delete(&owner(), &[&gone]);
    assert_eq!((bench.mail.records(), bench.mail.tombstones(), bench.mail.to_hand_over()), (1, 1, 0));
    bench.view = stolen(131);
    bench.follow();
    assert_eq!((bench.mail.records(), bench.mail.tombstones(), bench.mail.to_hand_over()), (1, 1, 2));
}
