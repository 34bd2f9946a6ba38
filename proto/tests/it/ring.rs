//! Who owns a position, and where new swarms go: published vectors, ties, wrap, and brute force.

use proptest::collection::btree_set;
use proptest::prelude::*;
use sotto_proto::address::{Address, Position};
use sotto_proto::hash::hash;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::swarm::{SwarmMap, new_id, owner};

const SEVEN: [u64; 7] = [100, 200, 300, 399, 498, 596, 694];

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<SwarmId> {
    numbers.into_iter().map(SwarmId).collect()
}

/// A map of swarms with these ids; who is in them does not matter.
fn map_of(ids: &[SwarmId]) -> SwarmMap {
    let member = |id: SwarmId, k: u8| {
        NodeId::new(
            *hash(sotto_proto::domain::Domain::new("node"), [&id.0.to_be_bytes()[..], &[k]].concat()).as_bytes(),
        )
    };
    let swarms = ids.iter().map(|id| {
        let mut members: Vec<_> = (0..5).map(|k| member(*id, k)).collect();
        members.sort();
        (*id, members)
    });
    SwarmMap::from_parts(swarms, Vec::new()).unwrap()
}

/// The owner as the slice and as the map see it, which must be the same.
fn owner_both_ways(position: u64, ids: &[SwarmId]) -> u64 {
    let by_slice = owner(Position(position), ids);
    assert_eq!(by_slice, map_of(ids).owner_of(Position(position)));
    by_slice.unwrap().0
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn numbers(value: &serde_json::Value) -> Vec<SwarmId> {
    ids(value.as_array().unwrap().iter().map(number))
}

#[test]
fn published_owners_of_accounts_hold() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../data/swarm_mapping.json")).unwrap();
    let rows = vectors["swarm_by_pk"].as_array().unwrap();
    assert_eq!(rows.len(), 18);
    for row in rows {
        let address: Address = row["pubkey"].as_str().unwrap().parse().unwrap();
        let ids = numbers(&row["swarms"]);
        assert_eq!(owner_both_ways(address.position().0, &ids), number(&row["expected"]), "{row}");
        assert_eq!(map_of(&ids).owner(&address), Some(SwarmId(number(&row["expected"]))));
    }
}

#[test]
fn published_ids_of_new_swarms_hold() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../data/swarm_new_id.json")).unwrap();
    let rows = vectors["pairs"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert_eq!(new_id(&numbers(&row["existing"])).0, number(&row["new_id"]), "{row}");
    }
}

#[test]
fn half_way_between_two_swarms_the_left_one_owns_also_across_zero() {
    assert_eq!(owner_both_ways(150, &ids(SEVEN)), 100);
    assert_eq!(owner_both_ways(151, &ids(SEVEN)), 200);
    assert_eq!(owner_both_ways(0x8000_0000_0000_018d, &ids(SEVEN)), 694);
    assert_eq!(owner_both_ways(0x8000_0000_0000_018e, &ids(SEVEN)), 100);
    let wide = ids([100, u64::MAX - 19]);
    assert_eq!(owner_both_ways(40, &wide), u64::MAX - 19, "60 either way across zero");
    assert_eq!(owner_both_ways(41, &wide), 100);
}

#[test]
fn the_last_position_of_the_ring_is_next_to_zero() {
    assert_eq!(owner_both_ways(u64::MAX, &ids(SEVEN)), 100);
    let with_zero = ids([0].into_iter().chain(SEVEN).chain([u64::MAX - 19]));
    assert_eq!(owner_both_ways(u64::MAX, &with_zero), 0);
}

#[test]
fn a_swarm_owns_its_own_place_and_the_only_one_owns_everything() {
    for id in SEVEN {
        assert_eq!(owner_both_ways(id, &ids(SEVEN)), id);
    }
    for position in [0, 6, 7, 8, u64::MAX] {
        assert_eq!(owner_both_ways(position, &ids([7])), 7);
    }
    assert_eq!(owner(Position(1), &[]), None);
    assert_eq!(SwarmMap::default().owner_of(Position(1)), None);
}

#[test]
fn a_last_swarm_without_members_owns_nothing() {
    let map = SwarmMap::from_parts([(SwarmId(7), Vec::new())], Vec::new()).unwrap();
    assert_eq!(map.owner_of(Position(7)), None);
    assert_eq!(map.members(SwarmId(7)), Some(&[][..]));
}

#[test]
fn a_new_swarm_goes_into_the_first_of_the_largest_gaps() {
    assert_eq!(new_id(&[]), SwarmId(0));
    assert_eq!(new_id(&ids([0])), SwarmId(u64::MAX / 2));
    let third = (u64::MAX) / 3; // three equal gaps, modulo 2^64 − 1
    assert_eq!(new_id(&ids([0, third, 2 * third])), SwarmId(third / 2));
    assert_eq!(new_id(&ids([5, 5 + third, 5 + 2 * third])), SwarmId(5 + third / 2));
}

#[test]
fn ids_of_the_first_swarms_halve_the_ring_again_and_again() {
    let mut born = Vec::new();
    for _ in 0..5 {
        let id = new_id(&born);
        born.push(id);
        born.sort();
    }
    let names: Vec<String> = born.iter().map(ToString::to_string).collect();
    let expected = ["0000000000000000", "3fffffffffffffff", "5fffffffffffffff", "7fffffffffffffff", "bfffffffffffffff"];
    assert_eq!(names, expected);
}

/// Distance to every swarm in turn; the nearest owns, of two as near the one to the left.
fn owner_by_distance(position: u64, ids: &[SwarmId]) -> u64 {
    let around = 1_u128 << 64;
    let (p, left_first) = (u128::from(position), |id: u128, p: u128| (p + around - id) % around);
    let distance = |id: &&SwarmId| {
        let to_left = left_first(u128::from(id.0), p);
        (to_left.min((around - to_left) % around), to_left)
    };
    ids.iter().min_by_key(distance).unwrap().0
}

/// All gaps as a list, in wide integers.
fn new_id_by_list(ids: &[SwarmId]) -> u64 {
    let modulus = u128::from(u64::MAX);
    let n = ids.len();
    let at = |i: usize| u128::from(ids[i].0);
    let gap = |i: usize| if i + 1 < n { at(i + 1) - at(i) } else { modulus - at(i) + at(0) };
    let widest = (0..n).map(gap).max().unwrap();
    let first = (0..n).find(|i| gap(*i) == widest).unwrap();
    u64::try_from((at(first) + widest / 2) % modulus).unwrap()
}

/// Places that crowd around the seams of the ring as often as anywhere.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..40_u64, (u64::MAX - 40)..u64::MAX, ((1 << 63) - 40)..((1_u64 << 63) + 40)]
}

proptest! {
    #[test]
    fn the_owner_is_the_nearest_swarm(
        position in prop_oneof![place(), Just(u64::MAX)], set in btree_set(place(), 1..30),
    ) {
        let ids = ids(set);
        prop_assert_eq!(owner_both_ways(position, &ids), owner_by_distance(position, &ids));
    }

    #[test]
    fn a_new_id_is_no_id_in_use_and_the_middle_of_a_widest_gap(set in btree_set(place(), 1..30)) {
        let ids = ids(set);
        let id = new_id(&ids);
        prop_assert_eq!(id.0, new_id_by_list(&ids));
        prop_assert!(id != SwarmId::NONE && !ids.contains(&id));
    }
}
