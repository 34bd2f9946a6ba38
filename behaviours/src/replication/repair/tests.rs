mod wasting;
mod withholding;

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{Height, SwarmId};
use sotto_proto::request::{Error, Summary};
use sotto_proto::time::UnixSeconds;

use super::super::respond;
use super::super::set::{Entry, ItemSet};
use super::*;
use crate::test_support::node;

const TIME: UnixSeconds = UnixSeconds(1_790_000_000);

fn at(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

/// A member as far as repair goes. An item's bytes begin with its number.
#[derive(Default)]
struct Peer {
    set: ItemSet,
    items: BTreeMap<ItemId, Vec<u8>>,
    /// Answers every request with this instead.
    refuses: Option<Error>,
    /// Takes nothing that it is given.
    stubborn: bool,
    /// Cannot judge anything yet.
    behind: bool,
    asked: usize,
}

fn entry(n: u64) -> Entry {
    let id = hash(domain::TOMBSTONE, n.to_be_bytes());
    let timestamp = UnixSeconds(TIME.0 - 60 - n % 50_000);
    Entry { timestamp, id: ItemId::new(*id.as_bytes()), expiry: UnixSeconds(TIME.0 + 86_400) }
}

fn number(item: &Item) -> u64 {
    let (Item::Record(bytes) | Item::Delete(bytes)) = item;
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

impl Peer {
    fn with(numbers: impl IntoIterator<Item = u64>, length: usize) -> Self {
        let mut peer = Self::default();
        for n in numbers {
            let mut bytes = n.to_be_bytes().to_vec();
            bytes.resize(length, 7);
            peer.keep(&Item::Record(bytes));
        }
        peer
    }

    fn keep(&mut self, item: &Item) -> bool {
        let (Item::Record(bytes) | Item::Delete(bytes)) = item;
        let entry = entry(number(item));
        self.items.insert(entry.id, bytes.clone());
        self.set.insert(entry)
    }

    fn page(&self, ids: &[ItemId]) -> (Vec<Item>, BTreeSet<ItemId>, bool) {
        let (mut items, mut settled, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        for id in ids {
            if let Some(item) = self.items.get(id) {
                bytes += item.len();
                if bytes > PAGE_BYTES && !items.is_empty() {
                    return (items, settled, true);
                }
                items.push(Item::Record(item.clone()));
            }
            settled.insert(*id);
        }
        (items, settled, false)
    }

    fn answer(&mut self, request: RepairRequest) -> RepairResponse {
        self.asked += 1;
        if let Some(error) = &self.refuses {
            return RepairResponse::Error(error.clone());
        }
        match request {
            RepairRequest::Summary(summary @ Summary { scope, .. }) => {
                RepairResponse::Summary { equal: self.set.view(scope).summary() == summary }
            }
            RepairRequest::Reconcile { scope, message } => {
                RepairResponse::Reconcile { message: respond(&self.set.view(scope), &message).unwrap() }
            }
            RepairRequest::Fetch { ids, .. } => {
                let (items, _, more) = self.page(&ids);
                RepairResponse::Items { items, more }
            }
            RepairRequest::Give { items, .. } => {
                assert!(items.iter().map(Item::len).sum::<usize>() <= PAGE_BYTES);
                if !self.stubborn {
                    items.iter().for_each(|item| {
                        self.keep(item);
                    });
                }
                RepairResponse::Taken
            }
        }
    }
}

fn member(set: &ItemSet, now: Monotonic) -> Member<'_> {
    Member { swarm: SwarmId(7), height: Height(5), set, now, time: TIME }
}

/// Does what the machine says until it has nothing to say.
fn run(repair: &mut Repair, own: &mut Peer, others: &mut BTreeMap<NodeId, Peer>, now: Monotonic) {
    let mut act = repair.poll(&member(&own.set, now), &mut rng());
    let mut steps = 0;
    while let Some(next) = act {
        steps += 1;
        assert!(steps < 10_000, "it comes to an end");
        act = match next {
            RepairAct::Ask { node, request } => {
                let response = others.get_mut(&node).map(|peer| peer.answer(request));
                repair.answered(&member(&own.set, now), response)
            }
            RepairAct::Take { items, .. } => {
                let received = items.iter().map(|item| entry(number(item)).id).collect();
                let postponed = own.behind;
                let kept = items.iter().filter(|item| !postponed && own.keep(item)).count();
                repair.took(&member(&own.set, now), &Taken { received, kept, postponed, refused: 0 })
            }
            RepairAct::Read { ids } => {
                let (items, settled, _) = own.page(&ids);
                repair.read(&member(&own.set, now), items, &settled)
            }
        };
        if act.is_none() {
            act = repair.poll(&member(&own.set, now), &mut rng());
        }
    }
}

fn connect(repair: &mut Repair, others: &BTreeMap<NodeId, Peer>) {
    repair.set_members(others.keys().copied().collect());
}

#[test]
fn a_joiner_has_everything_after_its_first_connections_and_says_so_only_then() {
    let mut others = BTreeMap::from([(node(1), Peer::with(0..3000, 1700)), (node(2), Peer::with(1500..3500, 1700))]);
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    assert!(!repair.is_caught_up(2));
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert_eq!(own.set.len(), 3500);
    assert!(repair.is_caught_up(2) && repair.is_caught_up(9));
    // The second one is left to fetch what only the first had, and given it when the next comparison finds that it did not;
    // the first learns the rest in the next round.
    assert_eq!(others[&node(2)].set.len(), 3500);
    run(&mut repair, &mut own, &mut others, at(14));
    assert_eq!((others[&node(1)].set.len(), others[&node(2)].set.len()), (3500, 3500));
    repair.restart();
    assert!(!repair.is_caught_up(2), "another swarm is another set");
}

#[test]
fn what_was_lost_is_fetched_at_once_and_until_then_it_has_not_caught_up() {
    let mut others: BTreeMap<_, _> = (1..=3).map(|n| (node(n), Peer::with(0..100, 16))).collect();
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..100, 16));
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(repair.is_caught_up(3));
    // One is lost while an exchange is on its way: what that finds says nothing.
    let lose = |own: &mut Peer, n| assert!(own.set.remove(entry(n).timestamp, &entry(n).id));
    lose(&mut own, 5);
    repair.doubt();
    let Some(RepairAct::Ask { node, request }) = repair.poll(&member(&own.set, at(2)), &mut rng()) else { panic!() };
    let answer = others.get_mut(&node).unwrap().answer(request);
    lose(&mut own, 6);
    repair.doubt();
    assert!(!repair.is_caught_up(3));
    let equal = RepairResponse::Summary { equal: true };
    assert_ne!(answer, equal);
    assert_eq!(repair.answered(&member(&own.set, at(2)), Some(equal)), None);
    assert!(!repair.is_caught_up(1), "nor does one that says that all is the same");
    run(&mut repair, &mut own, &mut others, at(2));
    assert_eq!(own.set.len(), 100);
    assert!(repair.is_caught_up(3));
}

#[test]
fn more_than_one_session_finds_is_fetched_in_several() {
    let mut others = BTreeMap::from([(node(1), Peer::with(0..40_000, 16))]);
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert_eq!(own.set.len(), 40_000);
    assert!(repair.is_caught_up(1) && !repair.is_caught_up(2));
}

#[test]
fn a_member_alone_in_its_swarm_has_caught_up_and_asks_nobody() {
    let (mut repair, own) = (Repair::default(), Peer::default());
    assert!(repair.is_caught_up(0));
    assert_eq!(repair.poll(&member(&own.set, at(100)), &mut rng()), None);
    assert_eq!(repair.wake_at(), None);
}

#[test]
fn whoever_comes_is_compared_with_at_once_and_once_more_when_nothing_is_too_young() {
    let mut others: BTreeMap<_, _> = (1..=5).map(|n| (node(n), Peer::with(0..10, 16))).collect();
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..10, 16));
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    let asked = |others: &BTreeMap<_, Peer>| others.values().map(|peer| peer.asked).sum::<usize>();
    assert_eq!(asked(&others), 6, "each once, and the first of the cycle");
    // Between two of a cycle of five pass four seconds.
    for second in 2..5 {
        run(&mut repair, &mut own, &mut others, at(second));
    }
    assert_eq!(asked(&others), 6);
    for second in 5..13 {
        run(&mut repair, &mut own, &mut others, at(second));
    }
    assert_eq!(asked(&others), 8);
    run(&mut repair, &mut own, &mut others, at(13));
    assert_eq!(asked(&others), 14, "each once more, and the next of the cycle");
    assert!(others.values().all(|peer| peer.asked >= 2));
}

#[test]
fn in_each_cycle_everybody_is_compared_with_once() {
    const CYCLES: u64 = 50;
    let mut others: BTreeMap<_, _> = (1..=5).map(|n| (node(n), Peer::with(0..10, 16))).collect();
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..10, 16));
    connect(&mut repair, &others);
    // Until they have been compared with once more after they came, and that cycle is over.
    for second in 1..21 {
        run(&mut repair, &mut own, &mut others, at(second));
    }
    let before: BTreeMap<_, _> = others.iter().map(|(node, peer)| (*node, peer.asked)).collect();
    for second in 21..21 + 20 * CYCLES {
        run(&mut repair, &mut own, &mut others, at(second));
    }
    for (node, peer) in &others {
        assert_eq!(peer.asked - before[node], CYCLES as usize);
    }
}

#[test]
fn a_failure_costs_a_newcomer_seconds_and_not_the_exchange() {
    let mut others = BTreeMap::from([(node(1), Peer::with(0..100, 16))]);
    others.get_mut(&node(1)).unwrap().refuses = Some(Error::Busy);
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(!repair.is_caught_up(1) && own.set.is_empty());
    others.get_mut(&node(1)).unwrap().refuses = None;
    run(&mut repair, &mut own, &mut others, at(5));
    assert!(repair.is_caught_up(1));
    assert_eq!(own.set.len(), 100);
}

#[test]
fn whoever_cannot_judge_yet_has_not_caught_up_and_tries_again_soon() {
    let mut others = BTreeMap::from([(node(1), Peer::with(0..100, 16))]);
    let (mut repair, mut own) = (Repair::default(), Peer { behind: true, ..Peer::default() });
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(!repair.is_caught_up(1));
    assert!(repair.wake_at() <= Some(at(4)), "{:?}", repair.wake_at());
    own.behind = false;
    run(&mut repair, &mut own, &mut others, at(5));
    assert!(repair.is_caught_up(1));
    assert_eq!(own.set.len(), 100);
}

#[test]
fn a_newcomer_that_one_member_refuses_soon_has_the_other() {
    let mut others: BTreeMap<_, _> = (1..=2).map(|n| (node(n), Peer::with(0..10, 16))).collect();
    others.values_mut().for_each(|peer| peer.refuses = Some(Error::Busy));
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    others.values_mut().for_each(|peer| peer.refuses = None);
    run(&mut repair, &mut own, &mut others, at(4));
    assert!(repair.is_caught_up(1) && !repair.is_caught_up(2));
    run(&mut repair, &mut own, &mut others, at(7));
    assert!(repair.is_caught_up(2));
}

#[test]
fn an_answer_that_never_comes_does_not_stop_repair_for_ever() {
    let mut others = BTreeMap::from([(node(1), Peer::with(0..100, 16))]);
    let (mut repair, mut own) = (Repair::default(), Peer::default());
    connect(&mut repair, &others);
    assert!(matches!(repair.poll(&member(&own.set, at(0)), &mut rng()), Some(RepairAct::Ask { .. })));
    assert_eq!(repair.poll(&member(&own.set, at(9)), &mut rng()), None);
    assert_eq!(repair.wake_at(), Some(at(10)));
    run(&mut repair, &mut own, &mut others, at(10));
    assert_eq!(own.set.len(), 100);
}

#[test]
fn what_the_other_side_will_not_take_is_offered_once_a_round_and_no_more() {
    let mut others = BTreeMap::from([(node(1), Peer { stubborn: true, ..Peer::default() })]);
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..600, 16));
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    assert!(others[&node(1)].asked < 20, "{}", others[&node(1)].asked);
    assert!(repair.is_caught_up(1));
}

#[test]
fn a_page_of_something_else_ends_the_fetching() {
    let other = Peer::with(0..100, 16);
    let (mut repair, own) = (Repair::default(), Peer::default());
    repair.set_members(BTreeSet::from([node(1)]));
    let now = member(&own.set, at(1));
    let mut act = repair.poll(&now, &mut rng());
    let mut pages = 0;
    let mut other = other;
    while let Some(next) = act {
        act = match next {
            RepairAct::Ask { request: RepairRequest::Fetch { .. }, .. } => {
                pages += 1;
                let other = vec![Item::Record(5_000_u64.to_be_bytes().to_vec())];
                repair.answered(&now, Some(RepairResponse::Items { items: other, more: true }))
            }
            RepairAct::Ask { request, .. } => repair.answered(&now, Some(other.answer(request))),
            RepairAct::Take { .. } => {
                let received = BTreeSet::from([entry(5_000).id]);
                repair.took(&now, &Taken { received, ..Taken::default() })
            }
            RepairAct::Read { .. } => panic!("there is nothing to give"),
        };
    }
    assert_eq!(pages, 1);
}

#[test]
fn a_member_that_left_is_not_asked_any_more() {
    let (mut repair, own) = (Repair::default(), Peer::default());
    repair.set_members(BTreeSet::from([node(1), node(2)]));
    repair.set_members(BTreeSet::from([node(2)]));
    let act = repair.poll(&member(&own.set, at(1)), &mut rng());
    assert!(matches!(act, Some(RepairAct::Ask { node: asked, .. }) if asked == node(2)));
}

#[test]
fn a_comparison_tells_what_the_other_lacks_and_the_next_one_that_it_lacks_nothing() {
    let mut others = BTreeMap::from([(node(1), Peer::with(2..10, 16))]);
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..8, 16));
    connect(&mut repair, &others);
    assert_eq!(repair.take_compared(), None);
    let now = member(&own.set, at(1));
    let mut act = repair.poll(&now, &mut rng());
    let compared = loop {
        let Some(RepairAct::Ask { request, .. }) = act else { panic!("{act:?}") };
        let response = others.get_mut(&node(1)).unwrap().answer(request);
        act = repair.answered(&now, Some(response));
        if let Some(compared) = repair.take_compared() {
            break compared;
        }
    };
    assert_eq!((compared.node, compared.scope), (node(1), scope_at(Height(5), SwarmId(7), TIME)));
    assert_eq!(compared.lacking, [entry(0).id, entry(1).id].into());
    assert_eq!(repair.take_compared(), None, "once only");

    let mut repair = Repair::default();
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(2));
    run(&mut repair, &mut own, &mut others, at(30));
    assert_eq!(repair.take_compared().map(|compared| compared.lacking), Some(BTreeSet::new()));
}

#[test]
fn whoever_wants_to_know_has_everybody_compared_with_at_once() {
    let mut others: BTreeMap<_, _> = (1..=5).map(|n| (node(n), Peer::with(0..10, 16))).collect();
    let (mut repair, mut own) = (Repair::default(), Peer::with(0..10, 16));
    connect(&mut repair, &others);
    run(&mut repair, &mut own, &mut others, at(1));
    let before: Vec<_> = others.values().map(|peer| peer.asked).collect();
    assert!(!repair.is_due(at(2)));
    repair.compare_all();
    repair.compare_all();
    assert!(repair.is_due(at(2)));
    run(&mut repair, &mut own, &mut others, at(2));
    assert!(others.values().zip(before).all(|(peer, before)| peer.asked == before + 1), "each once");
}
