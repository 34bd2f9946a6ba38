//! Random histories of clients, members, loss of power and time, against a model of a few lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Store(u8),
    Gossip(u8),
    Delete(u8),
    GossipDelete(u8),
    PowerLoss,
    Pass(u64),
    Read,
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = 0_u8..12;
    prop_oneof![
        6 => n.clone().prop_map(Step::Store),
        4 => n.clone().prop_map(Step::Gossip),
        2 => n.clone().prop_map(Step::Delete),
        2 => n.prop_map(Step::GossipDelete),
        1 => Just(Step::PowerLoss),
        2 => (1_u64..40_000).prop_map(Step::Pass),
        3 => Just(Step::Read),
    ]
}

/// Records of lives from one minute on, so that some expire during a history.
fn of(n: u8) -> Record {
    Draft { ttl: 60 * (1 + u32::from(n)), ..Draft::to(&owner()) }.record(n)
}

/// What must be there: numbers of records, or that they are deleted.
#[derive(Default)]
struct Model {
    kept: BTreeMap<u8, Vec<u8>>,
    deleted: BTreeSet<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_is_kept_deleted_stays_deleted_and_a_reader_misses_nothing(
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let all: Vec<_> = (0..12).map(of).collect();
        let (mut bench, mut model) = (Bench::new(), Model::default());
        let (mut cursor, mut seen) = (Cursor::default(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Store(n) => {
                    let record = &all[usize::from(n)];
                    let stored = is_stored(&bench.store(record));
                    let expired = record.envelope().expiry() <= bench.seconds();
                    let in_time = record.envelope().timestamp().0 + 600 >= bench.seconds().0;
                    prop_assert_eq!(stored, !expired && in_time);
                    if stored && !model.deleted.contains(&n) {
                        model.kept.insert(n, record.encode());
                    }
                }
                Step::Gossip(n) => {
                    let record = &all[usize::from(n)];
                    let expired = record.envelope().expiry() <= bench.seconds();
                    let expected = if expired || model.deleted.contains(&n) { Verdict::Ignore } else { Verdict::Accept };
                    prop_assert_eq!(bench.gossip_record(record), expected);
                    if expected == Verdict::Accept {
                        model.kept.insert(n, record.encode());
                    }
                }
                Step::Delete(n) => {
                    let SwarmResponse::Deleted { unknown } = bench.delete(&owner(), &[&all[usize::from(n)]]) else {
                        panic!("not deleted")
                    };
                    if unknown.is_empty() {
                        model.kept.remove(&n);
                        model.deleted.insert(n);
                    } else {
                        prop_assert!(!model.kept.contains_key(&n) || all[usize::from(n)].envelope().expiry() <= bench.seconds());
                    }
                }
                Step::GossipDelete(n) => {
                    let delete = bench.signed_delete(&owner(), &[&all[usize::from(n)]]);
                    if bench.gossip_delete(&delete) == Verdict::Accept {
                        model.kept.remove(&n);
                        model.deleted.insert(n);
                    }
                }
                Step::PowerLoss => bench = bench.after_power_loss(),
                Step::Pass(millis) => bench.pass(millis),
                Step::Read => {
                    let read = records(bench.retrieve(&owner(), cursor, 9999));
                    cursor = Cursor { epoch: read.epoch, seq: read.next_seq };
                    seen.extend(read.records.into_iter().map(|stored| stored.record));
                }
            }
            bench.outputs.clear();
            let now = bench.seconds();
            let mut expected: Vec<_> = (model.kept.iter())
                .filter(|(n, _)| all[usize::from(**n)].envelope().expiry() > now)
                .map(|(_, bytes)| bytes.clone())
                .collect();
            let mut found = bench.read_all(&owner());
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            // Whoever reads along with its cursor has everything that is there, too.
            let rest = records(bench.retrieve(&owner(), cursor, 1 << 20));
            let all_seen: BTreeSet<_> = seen.iter().cloned().chain(rest.records.into_iter().map(|s| s.record)).collect();
            prop_assert!(found.iter().all(|record| all_seen.contains(record)));
        }
    }
}
