//! The swarm map over blocks: golden digests, agreement with a reference written from the rules, invariants, and what
//! an attacker gets by registering many nodes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::prelude::*;
use sotto_proto::address::Position;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain::Domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{BlockHash, ChainId, Hash, Height, NodeId, SwarmId};
use sotto_proto::swarm::{BeginBlockError, Changes, InvalidMap, Rng, SwarmMap, encode_members, read_members, seed};

/// The rules, word by word and without a thought for speed. Draws through [`Rng`], which has golden values of its own.
#[derive(Default)]
struct Reference {
    swarms: BTreeMap<u64, BTreeSet<NodeId>>,
    waiting: Vec<NodeId>,
    home: BTreeMap<NodeId, u64>,
}

impl Reference {
    fn begin_block(&mut self, seed: &Hash, leave: &[NodeId], join: &[NodeId]) {
        let mut rng = Rng::new(seed);
        self.step_1(&mut rng, leave, join);
        if self.swarms.is_empty() {
            if self.waiting.len() < 5 {
                return;
            }
            let first = self.waiting.drain(..self.waiting.len().min(10)).collect();
            self.swarms.insert(0, first);
        }
        self.step_3(&mut rng);
        self.place(&mut rng);
        self.step_5(&mut rng);
        for (id, members) in &self.swarms {
            self.home.extend(members.iter().map(|node| (*node, *id)));
        }
    }

    fn step_1(&mut self, rng: &mut Rng, leave: &[NodeId], join: &[NodeId]) {
        for node in leave {
            self.swarms.values_mut().for_each(|members| members.retain(|member| member != node));
            self.waiting.retain(|waiting| waiting != node);
        }
        for id in self.swarms.keys().copied().collect::<Vec<_>>() {
            if self.swarms[&id].is_empty() && self.swarms.len() > 1 {
                self.swarms.remove(&id);
            }
        }
        let mut joining = join.to_vec();
        joining.sort();
        rng.shuffle(&mut joining);
        for node in joining {
            match self.home.get(&node).and_then(|home| self.swarms.get_mut(home)) {
                Some(members) if members.len() < 10 => {
                    members.insert(node);
                }
                _ => self.waiting.push(node),
            }
        }
    }

    fn step_3(&mut self, rng: &mut Rng) {
        loop {
            let starving: Vec<_> =
                self.swarms.iter().filter(|(_, m)| m.len() < 5).map(|(id, m)| (m.len(), *id)).collect();
            let Some((size, x)) = starving.iter().copied().min_by_key(|(size, id)| (5 - size, *id)) else { break };
            let need = 5 - size;
            let spare: usize = self.swarms.values().map(|m| m.len().max(5) - 5).sum();
            if self.waiting.len() + spare >= need {
                for _ in 0..need {
                    let node = if self.waiting.is_empty() { self.steal(rng) } else { self.waiting.remove(0) };
                    self.swarms.get_mut(&x).unwrap().insert(node);
                }
            } else if self.swarms.len() > 1 {
                let (_, y) = starving.into_iter().min().unwrap();
                let mut members: Vec<_> = self.swarms.remove(&y).unwrap().into_iter().collect();
                rng.shuffle(&mut members);
                self.waiting.extend(members);
            } else {
                break;
            }
        }
    }

    fn steal(&mut self, rng: &mut Rng) -> NodeId {
        let largest = self.swarms.values().map(BTreeSet::len).max().unwrap();
        assert!(largest > 5);
        let donor = self.swarms.values_mut().find(|m| m.len() == largest).unwrap();
        take_random(donor, rng)
    }

    fn place(&mut self, rng: &mut Rng) {
        while !self.waiting.is_empty() {
            let open: Vec<u64> = self.swarms.iter().filter(|(_, m)| m.len() < 10).map(|(id, _)| *id).collect();
            if open.is_empty() {
                return;
            }
            let node = self.waiting.remove(0);
            let id = open[usize::try_from(rng.uniform(open.len() as u64)).unwrap()];
            self.swarms.get_mut(&id).unwrap().insert(node);
        }
    }

    fn excess(&self) -> u64 {
        self.swarms.values().map(|m| (m.len().max(7) - 7) as u64).sum()
    }

    fn step_5(&mut self, rng: &mut Rng) {
        while !self.waiting.is_empty() {
            let excess = self.excess();
            if excess + (self.waiting.len() as u64) < 7 {
                break;
            }
            let mut members = BTreeSet::new();
            for _ in 0..excess.min(7) {
                let mut r = rng.uniform(self.excess());
                for swarm in self.swarms.values_mut() {
                    let here = (swarm.len().max(7) - 7) as u64;
                    if r < here {
                        members.insert(take_random(swarm, rng));
                        break;
                    }
                    r -= here;
                }
            }
            while members.len() < 7 {
                members.insert(self.waiting.remove(0));
            }
            self.swarms.insert(self.new_id(), members);
            self.place(rng);
        }
    }

    fn new_id(&self) -> u64 {
        let modulus = u128::from(u64::MAX);
        let ids: Vec<u128> = self.swarms.keys().map(|id| u128::from(*id)).collect();
        let next = |i: usize| if i + 1 < ids.len() { ids[i + 1] } else { ids[0] + modulus };
        let widest = (0..ids.len()).map(|i| next(i) - ids[i]).max().unwrap();
        let i = (0..ids.len()).find(|i| next(*i) - ids[*i] == widest).unwrap();
        u64::try_from((ids[i] + widest / 2) % modulus).unwrap()
    }
}

fn take_random(members: &mut BTreeSet<NodeId>, rng: &mut Rng) -> NodeId {
    let index = usize::try_from(rng.uniform(members.len() as u64)).unwrap();
    let node = *members.iter().nth(index).unwrap();
    members.remove(&node);
    node
}

fn chain() -> ChainId {
    "49d2b4591bf30f2b81c012c612c13045109052d6073edd064af3b018540dc89a".parse().unwrap()
}

fn node(i: u32) -> NodeId {
    NodeId::new(*hash(Domain::new("node"), i.to_be_bytes()).as_bytes())
}

fn nodes(range: Range<u32>) -> Vec<NodeId> {
    range.map(node).collect()
}

/// A map with the records a chain keeps beside it, and blocks that follow each other.
#[derive(Clone)]
struct Network {
    map: SwarmMap,
    swarm_of: BTreeMap<NodeId, Option<SwarmId>>,
    home: BTreeMap<NodeId, SwarmId>,
    height: u64,
    entropy: Hash,
}

impl Default for Network {
    fn default() -> Self {
        let (map, swarm_of, home) = (SwarmMap::default(), BTreeMap::new(), BTreeMap::new());
        Self { map, swarm_of, home, height: 0, entropy: Hash::new([0; 32]) }
    }
}

impl Network {
    fn with_entropy(entropy: u64) -> Self {
        Self { entropy: hash(Domain::new("entropy"), entropy.to_be_bytes()), ..Self::default() }
    }

    /// The seed of the next block.
    fn seed(&self) -> Hash {
        seed(&chain(), &BlockHash::from(self.entropy), Height(self.height))
    }

    /// One block; checks everything that must hold after any block.
    fn block(&mut self, leave: &[NodeId], join: &[NodeId]) -> Changes {
        let seed = self.seed();
        let leaving: Vec<_> = leave.iter().map(|node| (*node, self.swarm_of[node])).collect();
        let (map, changes) = self.map.begin_block(&seed, &leaving, join, |node| self.home.get(node).copied()).unwrap();
        for node in join {
            self.swarm_of.entry(*node).or_insert(None);
        }
        self.assert_exact(&map, &changes);
        self.map = map;
        self.height += 1;
        for (node, swarm) in &changes.nodes {
            self.swarm_of.insert(*node, *swarm);
            self.home.extend(swarm.map(|id| (*node, id)));
        }
        for node in leave.iter().filter(|node| !join.contains(node)) {
            self.swarm_of.remove(node);
        }
        self.assert_settled();
        changes
    }

    /// The changes name what differs between the map before and `map`, nothing else.
    fn assert_exact(&self, map: &SwarmMap, changes: &Changes) {
        for (node, swarm) in &changes.nodes {
            assert_ne!(self.swarm_of[node], *swarm, "no change");
            assert!(swarm.is_none_or(|id| map.contains(id, node)));
        }
        let ids: BTreeSet<_> = self.map.iter().chain(map.iter()).map(|(id, _)| id).collect();
        let differ: BTreeSet<_> = ids.into_iter().filter(|id| self.map.members(*id) != map.members(*id)).collect();
        assert_eq!(changes.swarms, differ);
        assert_eq!(changes.waiting, self.map.waiting() != map.waiting());
    }

    fn assert_settled(&self) {
        let sizes: Vec<usize> = self.map.iter().map(|(_, members)| members.len()).collect();
        let waiting = self.map.waiting().len();
        let excess: usize = sizes.iter().map(|size| size.max(&7) - 7).sum();
        let least = if sizes.len() > 1 { 5 } else { 0 };
        assert!(sizes.iter().all(|size| (least..=10).contains(size)), "{sizes:?}");
        let full = !sizes.is_empty() && sizes.iter().all(|size| *size == 10) && excess + waiting < 7;
        assert!(waiting == 0 || full || (sizes.is_empty() && waiting < 5), "{sizes:?}, {waiting} waiting");
        let in_map = self.map.iter().flat_map(|(id, members)| members.iter().map(move |node| (*node, Some(id))));
        let waiting = self.map.waiting().iter().map(|node| (*node, None));
        assert_eq!(in_map.chain(waiting).collect::<BTreeMap<_, _>>(), self.swarm_of, "records and map agree");
        let stored = self.map.iter().map(|(id, members)| (id, members.to_vec()));
        assert_eq!(SwarmMap::from_parts(stored, self.map.waiting().to_vec()).as_ref(), Ok(&self.map));
    }

    fn assert_agrees_with(&self, reference: &Reference) {
        let swarms: BTreeMap<u64, BTreeSet<NodeId>> =
            self.map.iter().map(|(id, members)| (id.0, members.iter().copied().collect())).collect();
        assert_eq!(swarms, reference.swarms);
        assert_eq!(self.map.waiting(), reference.waiting);
        assert!(self.home.iter().map(|(node, id)| (*node, id.0)).eq(reference.home.clone()));
    }

    fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<_> = self.map.iter().map(|(_, members)| members.len()).collect();
        sizes.sort_unstable();
        sizes
    }
}

fn grown(count: u32, entropy: u64) -> Network {
    let mut network = Network::with_entropy(entropy);
    for i in 0..count {
        network.block(&[], &[node(i)]);
    }
    network
}

#[test]
fn golden_digests_of_the_wire_specification_hold() {
    let mut network = Network::default();
    let golden: BTreeMap<u32, (&str, Vec<usize>)> = BTreeMap::from([
        (5, ("3bed35847a15b093b41efcfc202728aeefc6c716cd968360e39fc5f9454588f1", vec![5])),
        (10, ("ac06a6c18443e19115105c1e7a9111a5d7fa58bc27a359589f5f34cad0a8d4e3", vec![10])),
        (13, ("362995e4794b9e2e951c7f2a3e8d2013bbeb1f7f53d8e76252c49c075ca71346", vec![10])),
        (14, ("3a46ec5e6f29042ec86fd6ddfed40d95beb46e86654dffd0853030c0411b0c44", vec![7, 7])),
        (21, ("43eaa7b6e2a5f1b41b63e3f06356cb82759696c4c5eb62ce0a0139f2f36cb34d", vec![7, 7, 7])),
        (50, ("6fdc45f46c0e4bef660f094a380a7087f33629f6c33d2b0aade356304b07184d", vec![10; 5])),
        (51, ("e39716cbf8222dc50527d19991dc0422556bcc2ce614a3a7410d0f9f9bc3b981", vec![8, 8, 8, 8, 9, 10])),
    ]);
    let check = |network: &Network, (digest, sizes): &(&str, Vec<usize>)| {
        assert_eq!((network.map.digest().to_string().as_str(), &network.sizes()), (*digest, sizes));
    };
    for i in 0..51 {
        network.block(&[], &[node(i)]);
        golden.get(&(i + 1)).into_iter().for_each(|expected| check(&network, expected));
    }
    network.block(&nodes(0..30), &[]);
    check(&network, &("fac7b0e1a4e60bef17d0342b500e0c755416e58b84349ed233ad474a3f24102d", vec![5, 5, 5, 6]));
    network.block(&[], &nodes(0..5));
    check(&network, &("8dddda3280ff43d9d48d84d2f503734498a4a8f9a5c77a0f8162095c12cdadf2", vec![5, 5, 7, 9]));
    network.block(&nodes(30..51), &[]);
    check(&network, &("3bed35847a15b093b41efcfc202728aeefc6c716cd968360e39fc5f9454588f1", vec![5]));
}

#[test]
fn a_block_without_coming_and_going_changes_nothing() {
    for count in [0, 3, 5, 13, 33] {
        let mut network = grown(count, 1);
        let before = network.map.clone();
        assert_eq!(network.block(&[], &[]), Changes::default());
        assert_eq!(network.map, before);
    }
}

#[test]
fn maps_of_successive_blocks_share_the_swarms_that_did_not_change() {
    let mut network = grown(500, 1);
    let before = network.map.clone();
    let changes = network.block(&[node(7)], &[]);
    assert_eq!(changes.swarms.len(), 1);
    for (id, members) in before.iter().filter(|(id, _)| !changes.swarms.contains(id)) {
        assert!(std::ptr::eq(members, network.map.members(id).unwrap()));
    }
}

#[test]
fn a_node_that_comes_back_returns_home_where_there_is_room() {
    let mut network = grown(50, 3);
    for i in 0..50 {
        let home = network.swarm_of[&node(i)].unwrap();
        network.block(&[node(i)], &[]);
        network.block(&[], &[]);
        network.block(&[], &[node(i)]);
        assert_eq!(network.swarm_of[&node(i)], Some(home));
    }
}

#[test]
fn a_node_that_leaves_and_joins_in_one_block_is_back_without_a_change() {
    let mut network = grown(50, 3);
    assert_eq!(network.block(&[node(1)], &[node(1)]).nodes, BTreeMap::new());
}

/// However the draws fall: a swarm is drawn from the excess first, so whoever registers seven nodes at once in a full
/// network gets the places that became free, and those are three in any one swarm.
#[test]
fn seven_registrations_at_once_never_get_more_than_three_members_of_a_swarm() {
    for swarms in [3, 5, 20] {
        let honest = grown(10 * swarms, u64::from(swarms));
        assert_eq!(honest.sizes(), vec![10; swarms as usize]);
        let bought = nodes(1_000..1_007);
        let mut worst = 0;
        for entropy in 0..500_u64 {
            let mut network = Network { entropy: hash(Domain::new("draw"), entropy.to_be_bytes()), ..honest.clone() };
            network.block(&[], &bought);
            let per_swarm = network.map.iter().map(|(_, m)| m.iter().filter(|n| bought.contains(n)).count());
            worst = worst.max(per_swarm.max().unwrap());
        }
        assert_eq!(worst, 3, "{swarms} swarms");
    }
}

#[test]
fn when_nearly_all_leave_at_once_the_rest_gather_in_the_swarms_they_can_fill() {
    for left in [0, 1, 4, 5, 9, 10, 11, 49, 99, 250] {
        let mut network = Network::with_entropy(9);
        let mut reference = Reference::default();
        for (leave, join) in [(0..0, 0..1_000), (left..1_000, 0..0), (0..0, left..1_000)] {
            let (leave, join) = (nodes(leave), nodes(join));
            reference.begin_block(&network.seed(), &leave, &join);
            network.block(&leave, &join);
            network.assert_agrees_with(&reference);
        }
    }
}

#[test]
fn the_last_swarm_stays_when_its_last_member_leaves_and_takes_back_its_own() {
    let mut network = grown(5, 1);
    network.block(&nodes(0..5), &[]);
    assert_eq!(network.sizes(), [0]);
    assert_eq!(network.map.owner_of(Position(1)), None);
    network.block(&[], &[node(3)]);
    assert_eq!(network.map.members(SwarmId(0)), Some(&[node(3)][..]));
    assert_eq!(network.map.owner_of(Position(1)), Some(SwarmId(0)));
}

#[test]
fn leaving_from_where_one_is_not_and_joining_twice_are_refused() {
    let network = grown(13, 1);
    let begin = |leave: &[(NodeId, Option<SwarmId>)], join: &[NodeId]| {
        network.map.begin_block(&network.seed(), leave, join, |node| network.home.get(node).copied()).map(|_| ())
    };
    let (swarm, waiting, stranger) = (Some(SwarmId(0)), network.map.waiting()[0], node(99));
    let member = network.map.members(SwarmId(0)).unwrap()[0];
    for (node, swarm) in
        [(stranger, swarm), (stranger, Some(SwarmId(1))), (stranger, None), (member, None), (waiting, swarm)]
    {
        assert_eq!(begin(&[(node, swarm)], &[]), Err(BeginBlockError::NotThere { node, swarm }));
    }
    assert_eq!(begin(&[(member, swarm), (member, swarm)], &[]), Err(BeginBlockError::NotThere { node: member, swarm }));
    assert_eq!(begin(&[], &[stranger, member, stranger]), Err(BeginBlockError::JoinsTwice(stranger)));
    assert_eq!(begin(&[], &[waiting]), Err(BeginBlockError::JoinsTwice(waiting)));
    assert_eq!(begin(&[], &[member]), Err(BeginBlockError::JoinsTwice(member)));
    assert_eq!(begin(&[(member, swarm), (waiting, None)], &[stranger]), Ok(()));
}

#[test]
fn only_settled_maps_can_be_loaded() {
    let mut keys = nodes(0..40);
    keys.sort();
    let ten = |k: usize| keys[10 * k..10 * (k + 1)].to_vec();
    let load = |swarms: &[(u64, Vec<NodeId>)], waiting: &[NodeId]| {
        SwarmMap::from_parts(swarms.iter().map(|(id, m)| (SwarmId(*id), m.clone())), waiting.to_vec()).map(|_| ())
    };
    assert_eq!(load(&[(0, ten(0)), (9, ten(1))], &[]), Ok(()));
    assert_eq!(load(&[(0, ten(0))], &keys[10..13]), Ok(()));
    assert_eq!(load(&[(0, ten(0)[..3].to_vec())], &[]), Ok(()));
    assert_eq!(load(&[], &keys[..4]), Ok(()));

    assert_eq!(load(&[(0, ten(0)), (0, ten(1))], &[]), Err(InvalidMap::Id(SwarmId(0))));
    assert_eq!(load(&[(u64::MAX, ten(0))], &[]), Err(InvalidMap::Id(SwarmId::NONE)));
    assert_eq!(load(&[(0, ten(0)), (1, ten(0))], &[]), Err(InvalidMap::Twice(keys[0])));
    assert_eq!(load(&[(0, ten(0))], &[keys[4]]), Err(InvalidMap::Twice(keys[4])));
    assert_eq!(load(&[], &[keys[4], keys[4]]), Err(InvalidMap::Twice(keys[4])));
    let mut swapped = ten(0);
    swapped.swap(3, 4);
    assert_eq!(load(&[(0, swapped)], &[]), Err(InvalidMap::Order(SwarmId(0))));
    let (small, large) = (ten(1)[..4].to_vec(), keys[..11].to_vec());
    assert_eq!(load(&[(0, ten(0)), (3, small)], &[]), Err(InvalidMap::Size { swarm: SwarmId(3), size: 4 }));
    assert_eq!(load(&[(0, large)], &[]), Err(InvalidMap::Size { swarm: SwarmId(0), size: 11 }));
    assert_eq!(load(&[(0, ten(0))], &keys[10..14]), Err(InvalidMap::Waiting { waiting: 4, most: 3 }));
    assert_eq!(load(&[(0, ten(0)), (7, ten(1))], &keys[20..21]), Err(InvalidMap::Waiting { waiting: 1, most: 0 }));
    assert_eq!(load(&[(0, ten(0)[..9].to_vec())], &keys[10..11]), Err(InvalidMap::Waiting { waiting: 1, most: 0 }));
    assert_eq!(load(&[], &keys[..5]), Err(InvalidMap::Waiting { waiting: 5, most: 4 }));
}

#[test]
fn member_lists_survive_their_bytes_and_other_bytes_are_refused() {
    let read = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        read_members(&mut reader).map(|nodes| (nodes, reader.remaining()))
    };
    for count in 0..=10 {
        let list = nodes(0..count);
        let bytes = encode_members(&list);
        assert_eq!(bytes.len(), 2 + 32 * list.len());
        assert!((0..bytes.len()).all(|end| read(&bytes[..end]).is_err()));
        assert_eq!(read(&[&bytes[..], &[0; 3]].concat()), Ok((list, 3)));
    }
    let eleven = DecodeError::TooLong { field: "members", limit: 10, actual: 11 };
    assert_eq!(read(&encode_members(&nodes(0..11))), Err(eleven));
}

/// What happens at one height: how many new nodes register, which part of the active nodes stops, and which part of
/// the stopped comes back.
#[derive(Clone, Debug)]
struct Churn {
    new: u32,
    stop: f64,
    back: f64,
}

/// Mostly quiet heights with one or two nodes coming and going, some busy ones, some disasters.
fn churn(new: u32) -> impl Strategy<Value = Churn> {
    let part = || prop_oneof![4 => Just(0.0), 4 => 0.0..0.06, 2 => 0.0..0.4, 1 => 0.4..1.0];
    let new = prop_oneof![4 => Just(0), 4 => 0..3_u32, 1 => 0..new];
    (new, part(), part()).prop_map(|(new, stop, back)| Churn { new, stop, back })
}

fn agree_over(first: u32, heights: &[Churn], entropy: u64) {
    let mut choose = Rng::new(&hash(Domain::new("choose"), entropy.to_be_bytes()));
    let mut pick = |nodes: &BTreeSet<NodeId>, part: f64| -> Vec<NodeId> {
        let threshold = (part * 1e9) as u64;
        nodes.iter().copied().filter(|_| choose.uniform(1_000_000_000) < threshold).collect()
    };
    let mut network = Network::with_entropy(entropy);
    let mut reference = Reference::default();
    let (mut active, mut stopped, mut known) = (BTreeSet::new(), BTreeSet::new(), 0);
    let start = Churn { new: first, stop: 0.0, back: 0.0 };
    for height in std::iter::once(&start).chain(heights) {
        let leave = pick(&active, height.stop);
        let mut join = pick(&stopped, height.back);
        join.extend(nodes(known..known + height.new));
        known += height.new;
        active.retain(|node| !leave.contains(node));
        stopped.extend(leave.iter().copied());
        stopped.retain(|node| !join.contains(node));
        active.extend(join.iter().copied());
        reference.begin_block(&network.seed(), &leave, &join);
        network.block(&leave, &join);
        network.assert_agrees_with(&reference);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn small_networks_agree_with_the_reference_over_hundreds_of_blocks(
        first in 0..60_u32, heights in prop::collection::vec(churn(20), 300), entropy in any::<u64>(),
    ) {
        agree_over(first, &heights, entropy);
    }

    #[test]
    fn networks_of_hundreds_agree_with_the_reference(
        first in 200..800_u32, heights in prop::collection::vec(churn(200), 40), entropy in any::<u64>(),
    ) {
        agree_over(first, &heights, entropy);
    }
}
