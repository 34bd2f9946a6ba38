//! What a block costs in a network of 100,000 nodes, and what a look-up costs.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first thing that is wrong")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sotto_proto::address::Position;
use sotto_proto::domain::Domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{BlockHash, ChainId, Hash, Height, NodeId, SwarmId};
use sotto_proto::swarm::{Changes, SwarmMap, seed};

const NODES: u32 = 100_000;

fn nodes(range: std::ops::Range<u32>) -> Vec<NodeId> {
    range.map(|i| NodeId::new(*hash(Domain::new("node"), i.to_be_bytes()).as_bytes())).collect()
}

fn block(height: u64) -> Hash {
    seed(&ChainId::new([1; 32]), &BlockHash::new([2; 32]), Height(height))
}

fn begin(map: &SwarmMap, leave: &[(NodeId, Option<SwarmId>)], join: &[NodeId]) -> (SwarmMap, Changes) {
    map.begin_block(&block(1), leave, join, |_| None).unwrap()
}

/// The first of every `step` nodes of the map, with their swarms.
fn some_of(map: &SwarmMap, step: usize) -> Vec<(NodeId, Option<SwarmId>)> {
    map.iter().flat_map(|(id, members)| members.iter().map(move |node| (*node, Some(id)))).step_by(step).collect()
}

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swarm_map/100000_nodes");
    group.sample_size(20);
    let new = nodes(NODES..NODES + 1_000);
    let (full, _) = begin(&SwarmMap::default(), &[], &nodes(0..NODES));
    assert_eq!(full.len(), 10_000);
    let (roomy, _) = begin(&full, &some_of(&full, 11), &[]);
    let percent = some_of(&full, 100);

    group.bench_function("one_join_where_all_are_full", |b| b.iter(|| begin(&full, &[], &new[..1])));
    group.bench_function("one_join_where_there_is_room", |b| b.iter(|| begin(&roomy, &[], &new[..1])));
    group.bench_function("one_leaves", |b| b.iter(|| begin(&full, &percent[..1], &[])));
    group.bench_function("churn_of_1_percent", |b| b.iter(|| begin(&full, &percent, &new)));
    group.bench_function("1000_join_where_all_are_full", |b| b.iter(|| begin(&full, &[], &new)));
    let half = some_of(&full, 2);
    group.bench_function("half_leave", |b| b.iter(|| begin(&full, &half, &[])));
    let most: Vec<_> = full.iter().flat_map(|(id, members)| members[..7].iter().map(move |n| (*n, Some(id)))).collect();
    group.bench_function("seven_of_ten_leave_every_swarm", |b| b.iter(|| begin(&full, &most, &[])));
    let all = nodes(0..NODES);
    group.bench_function("all_join_at_once", |b| b.iter(|| begin(&SwarmMap::default(), &[], &all)));
    group.bench_function("owner", |b| {
        let mut position = 0_u64;
        b.iter(|| {
            position = position.wrapping_add(0x9e37_79b9_7f4a_7c15);
            full.owner_of(Position(black_box(position)))
        });
    });
    group.bench_function("digest", |b| b.iter(|| full.digest()));
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
