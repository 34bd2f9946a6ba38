use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::request::{Error, Wanted};
use sotto_proto::time::UnixSeconds;

use super::*;
use crate::test_support::node;

const THEIRS: SwarmId = SwarmId(9);

fn at(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

fn id(n: u64) -> ItemId {
    ItemId::new(*hash(domain::TOMBSTONE, n.to_be_bytes()).as_bytes())
}

/// What a former owner holds, the members of the swarm that owns it, and what they hold.
struct World {
    held: BTreeMap<SwarmId, ItemSet>,
    members: BTreeMap<SwarmId, BTreeMap<NodeId, Peer>>,
    kept: BTreeSet<(ItemId, NodeId)>,
    erased: BTreeSet<ItemId>,
    handed: usize,
    offers: usize,
    acts: VecDeque<HandOverAct>,
}

#[derive(Clone, Default)]
struct Peer {
    durable: BTreeSet<ItemId>,
    refuses: bool,
    silent: bool,
    /// Says yes and keeps nothing, if it is asked with a page.
    forgetful: bool,
}

impl Foreign for World {
    fn swarms(&self) -> Vec<SwarmId> {
        self.held.keys().copied().collect()
    }

    fn items(&self, swarm: SwarmId) -> Option<&ItemSet> {
        self.held.get(&swarm)
    }

    fn members(&self, swarm: SwarmId) -> BTreeSet<NodeId> {
        self.members.get(&swarm).map(|members| members.keys().copied().collect()).unwrap_or_default()
    }
}

impl World {
    fn new(count: u64, members: impl IntoIterator<Item = (u8, Peer)>) -> Self {
        let entry = |n| Entry { timestamp: UnixSeconds(1000 + n % 7), id: id(n), expiry: UnixSeconds(9000) };
        Self {
            held: BTreeMap::from([(THEIRS, (0..count).map(entry).collect())]),
            members: BTreeMap::from([(THEIRS, members.into_iter().map(|(n, peer)| (node(n), peer)).collect())]),
            kept: BTreeSet::new(),
            erased: BTreeSet::new(),
            handed: 0,
            offers: 0,
            acts: VecDeque::new(),
        }
    }

    fn answer(&mut self, to: NodeId, request: OfferRequest) -> Option<OfferResponse> {
        let peer = self.members.get_mut(&THEIRS)?.get_mut(&to)?;
        if peer.silent {
            return None;
        }
        if peer.refuses {
            return Some(OfferResponse::Error(Error::Busy));
        }
        Some(match request {
            OfferRequest::Offer(ids) => {
                assert!((1..=OFFER_ITEMS).contains(&ids.len()));
                self.offers += 1;
                OfferResponse::Wanted(Wanted::new(ids.iter().map(|id| !peer.durable.contains(id))))
            }
            OfferRequest::Hand(items) => {
                self.handed += items.len();
                let ids: Vec<_> = items.iter().map(item_id).collect();
                if peer.forgetful {
                    return Some(OfferResponse::Durable(Vec::new()));
                }
                peer.durable.extend(&ids);
                OfferResponse::Durable(ids)
            }
        })
    }

    /// Does what the machine says until it has nothing to say.
    fn run(&mut self, hand_over: &mut HandOver, now: Monotonic) {
        let mut steps = 0;
        while self.step(hand_over, now) {
            steps += 1;
            assert!(steps < 10_000, "it comes to an end");
        }
    }

    /// One thing of those; false if there is none.
    fn step(&mut self, hand_over: &mut HandOver, now: Monotonic) -> bool {
        if self.acts.is_empty() {
            self.acts.extend(hand_over.poll(self, now, &mut ChaCha20Rng::from_seed([3; 32])));
        }
        let Some(act) = self.acts.pop_front() else { return false };
        let acts = match act {
            HandOverAct::Recall { ids } => {
                let known: Vec<_> = self.kept.iter().copied().filter(|(id, _)| ids.contains(id)).collect();
                hand_over.recalled(self, known, now)
            }
            HandOverAct::Ask { node, request } => {
                let response = self.answer(node, request);
                hand_over.answered(self, response, now)
            }
            HandOverAct::Read { ids } => {
                // Only half of them fit.
                let fitting = &ids[..ids.len().div_ceil(2)];
                let items = fitting.iter().map(item).collect();
                hand_over.read(self, items, &fitting.iter().copied().collect(), now)
            }
            HandOverAct::Confirmed { node, ids } => {
                self.kept.extend(ids.into_iter().map(|id| (id, node)));
                Vec::new()
            }
            HandOverAct::Erase { swarm, ids } => {
                self.erase(swarm, &ids);
                Vec::new()
            }
        };
        self.acts.extend(acts);
        true
    }

    fn erase(&mut self, swarm: SwarmId, ids: &[ItemId]) {
        let set = self.held.get_mut(&swarm).unwrap();
        for id in ids {
            let entry = *set.iter().find(|entry| entry.id == *id).unwrap();
            assert!(set.remove(entry.timestamp, id));
            self.erased.insert(*id);
        }
        self.kept.retain(|(id, _)| !ids.contains(id));
        if set.is_empty() {
            self.held.remove(&swarm);
        }
    }

    fn holders(&self, id: &ItemId) -> usize {
        self.members[&THEIRS].values().filter(|peer| peer.durable.contains(id)).count()
    }
}

fn item(id: &ItemId) -> Item {
    Item::Record(id.as_bytes().to_vec())
}

fn item_id(item: &Item) -> ItemId {
    let (Item::Record(bytes) | Item::Delete(bytes)) = item;
    ItemId::try_from(bytes.as_slice()).unwrap()
}

#[test]
fn everything_is_erased_once_two_members_hold_it_and_not_before() {
    let mut world = World::new(2500, (1..=5).map(|n| (n, Peer::default())));
    let mut hand_over = HandOver::default();
    while world.step(&mut hand_over, at(0)) {
        assert!(world.erased.iter().all(|id| world.holders(id) >= 2));
    }
    assert_eq!(world.erased.len(), 2500);
    assert!(world.held.is_empty() && world.kept.is_empty());
    assert_eq!(world.handed, 5000, "to two each, and to nobody twice");
}

#[test]
fn a_crash_at_any_point_loses_nothing_and_the_work_is_taken_up_again() {
    for steps in 0..30 {
        let mut world = World::new(1500, (1..=5).map(|n| (n, Peer::default())));
        let mut hand_over = HandOver::default();
        for _ in 0..steps {
            world.step(&mut hand_over, at(0));
        }
        world.acts.clear();
        world.run(&mut HandOver::default(), at(0));
        assert_eq!(world.erased.len(), 1500, "after {steps} steps");
        assert!((0..1500).all(|n| world.holders(&id(n)) >= 2));
    }
}

#[test]
fn what_members_hold_already_is_not_sent_again() {
    let all: BTreeSet<_> = (0..2000).map(id).collect();
    let peer = Peer { durable: all, ..Peer::default() };
    let mut world = World::new(2000, (1..=5).map(|n| (n, peer.clone())));
    world.run(&mut HandOver::default(), at(0));
    assert!(world.held.is_empty());
    assert_eq!((world.handed, world.offers), (0, 4), "two batches at two members each");
}

#[test]
fn one_confirmation_is_not_enough_while_there_are_more_members() {
    let silent = Peer { silent: true, ..Peer::default() };
    let refusing = Peer { refuses: true, ..Peer::default() };
    let forgetful = Peer { forgetful: true, ..Peer::default() };
    let mut world =
        World::new(10, [(1, Peer::default()), (2, silent), (3, refusing), (4, forgetful.clone()), (5, forgetful)]);
    let mut hand_over = HandOver::default();
    world.run(&mut hand_over, at(0));
    assert!(world.erased.is_empty());
    assert_eq!(world.kept.len(), 10, "the one's word is kept");
    assert!(hand_over.wake_at() > at(0), "and the rest is tried again later");
    world.members.get_mut(&THEIRS).unwrap().insert(node(3), Peer::default());
    world.run(&mut hand_over, at(29));
    assert!(world.erased.is_empty());
    world.run(&mut hand_over, at(30));
    assert_eq!(world.erased.len(), 10);
}

#[test]
fn the_only_member_of_a_swarm_is_all_there_is_to_ask() {
    let mut world = World::new(10, [(1, Peer::default())]);
    world.run(&mut HandOver::default(), at(0));
    assert_eq!(world.erased.len(), 10);
    let mut nobody = World::new(10, []);
    nobody.run(&mut HandOver::default(), at(0));
    assert!(nobody.erased.is_empty() && nobody.offers == 0);
}

#[test]
fn a_confirmation_on_disk_counts_after_a_restart_as_long_as_its_member_is_one() {
    let silent = || Peer { silent: true, ..Peer::default() };
    for (first_stays, erased) in [(true, 10), (false, 0)] {
        let mut world = World::new(10, (1..=4).map(|n| (n, silent())).chain([(5, Peer::default())]));
        world.kept.extend((0..10).map(|n| (id(n), node(1))));
        if !first_stays {
            world.members.get_mut(&THEIRS).unwrap().remove(&node(1));
        }
        world.run(&mut HandOver::default(), at(0));
        assert_eq!(world.erased.len(), erased);
    }
}

#[test]
fn a_member_that_leaves_between_its_word_and_the_end_does_not_count() {
    let mut world = World::new(10, (1..=3).map(|n| (n, Peer::default())));
    let mut hand_over = HandOver::default();
    while world.kept.len() < 10 {
        assert!(world.step(&mut hand_over, at(0)));
    }
    let first = world.kept.first().unwrap().1;
    world.members.get_mut(&THEIRS).unwrap().remove(&first);
    world.run(&mut hand_over, at(0));
    assert!(world.erased.is_empty(), "only one of the two present members was asked");
    world.run(&mut hand_over, at(30));
    assert_eq!(world.erased.len(), 10);
}

#[test]
fn an_answer_about_another_offer_counts_for_nothing() {
    let mut world = World::new(10, (1..=2).map(|n| (n, Peer::default())));
    let mut hand_over = HandOver::default();
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    hand_over.poll(&world, at(0), &mut rng).unwrap();
    let acts = hand_over.recalled(&world, [], at(0));
    assert!(matches!(acts.as_slice(), [HandOverAct::Ask { request: OfferRequest::Offer(_), .. }]));
    // An empty bitmap: nothing is wanted, as if all ten were held.
    let acts = hand_over.answered(&world, Some(OfferResponse::Wanted(Wanted::new([]))), at(0));
    assert!(matches!(acts.as_slice(), [HandOverAct::Ask { request: OfferRequest::Offer(ids), .. }] if ids.len() == 10));
    // Confirming what was never offered, and an answer to another question.
    let acts = hand_over.answered(&world, Some(OfferResponse::Durable((0..10).map(id).collect())), at(0));
    assert_eq!(acts, [], "no confirmation, nothing erased");
    world.run(&mut hand_over, at(0));
    assert!(world.erased.is_empty());
    world.run(&mut hand_over, at(30));
    assert_eq!(world.erased.len(), 10, "the next round is another one");
}

#[test]
fn a_request_that_is_never_answered_does_not_stop_the_hand_over() {
    let world = World::new(10, (1..=2).map(|n| (n, Peer::default())));
    let mut hand_over = HandOver::default();
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    assert!(hand_over.poll(&world, at(0), &mut rng).is_some());
    assert_eq!(hand_over.poll(&world, at(59), &mut rng), None);
    assert_eq!(hand_over.wake_at(), at(60));
    // The rest of the set had its turn; then it begins anew.
    assert_eq!(hand_over.poll(&world, at(60), &mut rng), None);
    assert!(matches!(hand_over.poll(&world, at(90), &mut rng), Some(HandOverAct::Recall { .. })));
}
