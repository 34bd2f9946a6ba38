//! Members that keep the others waiting: with garbage, with drops, or with nothing.

use super::*;

/// Items from this number on are refused.
const FALSE: u64 = 1 << 40;
/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(3600);

/// A member whose neighbours take their time.
pub(super) struct Bench {
    pub(super) repair: Repair,
    pub(super) own: Peer,
    now: Monotonic,
    rng: ChaCha20Rng,
    /// Whom it asked what, and when.
    asked: Vec<(Monotonic, NodeId, RepairRequest)>,
}

impl Bench {
    pub(super) fn with_members(members: std::ops::RangeInclusive<u8>) -> Self {
        let mut repair = Repair::default();
        repair.set_members(members.map(node).collect());
        Self { repair, own: Peer::default(), now: at(0), rng: rng(), asked: Vec::new() }
    }

    /// Lets the members answer, each in its time, until `end`.
    pub(super) fn play(&mut self, end: u64, mut answer: impl FnMut(u8, RepairRequest) -> (Duration, RepairResponse)) {
        let mut act = None;
        while self.now <= at(end) {
            let now = self.now;
            act = match act {
                None => {
                    let act = self.repair.poll(&member(&self.own.set, now), &mut self.rng);
                    if act.is_none() {
                        self.now = self.repair.wake_at().unwrap();
                        assert!(self.now > now, "it wakes for nothing");
                    }
                    act
                }
                Some(RepairAct::Ask { node, request }) => {
                    self.asked.push((now, node, request.clone()));
                    let (time, response) = answer(node.as_bytes()[0], request);
                    let until = self.repair.wake_at().unwrap();
                    self.now = now.plus(time).min(until);
                    // Given up, or answered in time.
                    if self.now == until {
                        None
                    } else {
                        self.repair.answered(&member(&self.own.set, self.now), Some(response))
                    }
                }
                Some(RepairAct::Take { items, .. }) => {
                    let received = items.iter().map(|item| entry(number(item)).id).collect();
                    let refused = items.iter().filter(|item| number(item) >= FALSE).count();
                    let kept = items.iter().filter(|item| number(item) < FALSE && self.own.keep(item)).count();
                    let taken = Taken { received, kept, refused, postponed: false };
                    self.repair.took(&member(&self.own.set, now), &taken)
                }
                Some(RepairAct::Read { ids }) => {
                    let (items, settled, _) = self.own.page(&ids);
                    self.repair.read(&member(&self.own.set, now), items, &settled)
                }
            };
        }
    }

    /// When others than the first member were asked.
    fn others_asked(&self) -> impl Iterator<Item = Monotonic> {
        self.asked.iter().filter(|(_, to, _)| *to != node(1)).map(|(at, ..)| *at)
    }

    /// How often the first member was compared with.
    fn compared_with_first(&self) -> usize {
        let compares = |request: &RepairRequest| matches!(request, RepairRequest::Summary(_));
        self.asked.iter().filter(|(_, to, request)| *to == node(1) && compares(request)).count()
    }

    fn longest_gap(&self) -> Duration {
        let times: Vec<_> = self.others_asked().collect();
        times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap()
    }
}

/// One item a page, and always more.
fn drop_by_drop(peer: &mut Peer, request: RepairRequest) -> RepairResponse {
    match peer.answer(request) {
        RepairResponse::Items { mut items, .. } => {
            items.truncate(1);
            RepairResponse::Items { items, more: true }
        }
        other => other,
    }
}

/// The first of four members answers by `first`, the others have a hundred items and hurry.
fn beside(seconds: u64, mut first: impl FnMut(RepairRequest) -> (Duration, RepairResponse)) -> Bench {
    let mut bench = Bench::with_members(1..=4);
    let mut honest: Vec<_> = (0..3).map(|_| Peer::with(0..100, 1700)).collect();
    bench.play(seconds, |n, request| match n {
        1 => first(request),
        n => (Duration::from_millis(50), honest[usize::from(n) - 2].answer(request)),
    });
    bench
}

#[test]
fn garbage_drop_by_drop_is_left_after_a_few_pages_and_ever_longer() {
    let mut liar = Peer::with(FALSE..FALSE + 3000, 1700);
    let bench = beside(300, |request| (Duration::from_millis(10), drop_by_drop(&mut liar, request)));
    let fetches = bench.asked.iter().filter(|(.., request)| matches!(request, RepairRequest::Fetch { .. }));
    let from_liar = fetches.filter(|(_, to, _)| *to == node(1)).count();
    let compared = bench.compared_with_first();
    assert!((2..=5).contains(&compared), "{compared}");
    assert!(from_liar <= 3 * compared, "{from_liar} pages");
    assert_eq!(bench.own.set.len(), 100);
    assert!(bench.repair.is_caught_up(4));
}

#[test]
fn slow_drops_hold_up_the_others_for_ten_seconds_garbage_or_not() {
    for first in [FALSE, 1000] {
        let mut liar = Peer::with(first..first + 3000, 1700);
        let bench = beside(600, |request| {
            let time = if matches!(request, RepairRequest::Fetch { .. }) { 4_000 } else { 10 };
            (Duration::from_millis(time), drop_by_drop(&mut liar, request))
        });
        assert!(bench.others_asked().next() <= Some(at(11)), "{:?}", bench.others_asked().next());
        assert!(bench.longest_gap() <= Duration::from_secs(20), "{:?}", bench.longest_gap());
        assert!((0..100).all(|n| bench.own.items.contains_key(&entry(n).id)));
    }
}

#[test]
fn whoever_never_answers_holds_up_the_others_for_ten_seconds_a_minute() {
    let bench = beside(600, |_| (NEVER, RepairResponse::Taken));
    assert_eq!(bench.others_asked().next(), Some(at(10)));
    assert!(bench.compared_with_first() <= 11, "{}", bench.compared_with_first());
    assert!(bench.longest_gap() <= Duration::from_secs(17), "{:?}", bench.longest_gap());
    assert_eq!(bench.own.set.len(), 100);
}

#[test]
fn a_reconciliation_without_end_is_left_like_silence() {
    // Each message names a thousand items more, and takes its time.
    let mut liar = Peer::with(FALSE..FALSE + 40_000, 16);
    let bench = beside(200, |request| (Duration::from_millis(2_000), liar.answer(request)));
    assert!(bench.others_asked().next() <= Some(at(13)), "{:?}", bench.others_asked().next());
    assert_eq!(bench.own.set.len(), 100);
}

#[test]
fn whoever_has_much_to_give_has_its_turn_and_then_the_others_theirs() {
    let mut rich = Peer::with(0..200, 60_000);
    let bench = beside(200, |request| (Duration::from_secs(1), rich.answer(request)));
    let first = bench.others_asked().next().unwrap();
    assert!(at(10) <= first && first <= at(12), "{first:?}");
    assert_eq!(bench.own.set.len(), 200, "and its turn comes again");
}

#[test]
fn without_others_whoever_has_much_to_give_is_not_interrupted() {
    let mut bench = Bench::with_members(1..=1);
    let mut rich = Peer::with(0..200, 60_000);
    bench.play(40, |_, request| (Duration::from_secs(1), rich.answer(request)));
    assert_eq!(bench.own.set.len(), 200);
    let compared: Vec<_> = bench.asked.iter().filter(|(.., ask)| matches!(ask, RepairRequest::Summary(_))).collect();
    assert!(compared.windows(2).all(|pair| pair[1].0 >= at(27)), "one exchange brought it all");
}

#[test]
fn whoever_comes_again_and_again_does_not_always_go_first() {
    let (mut repair, own) = (Repair::default(), Peer::default());
    let (mut now, mut equal, mut other_asked) = (at(1), false, 0);
    while now < at(600) {
        repair.set_members(BTreeSet::from([node(2)]));
        repair.set_members(BTreeSet::from([node(1), node(2)]));
        now = now.plus(Duration::from_millis(10));
        let now_here = member(&own.set, now);
        let Some(RepairAct::Ask { node: asked, .. }) = repair.poll(&now_here, &mut rng()) else { continue };
        // The first one has nothing to say and keeps silent in turns.
        equal = asked == node(2) || !equal;
        other_asked += usize::from(asked == node(2));
        if equal {
            assert_eq!(repair.answered(&now_here, Some(RepairResponse::Summary { equal })), None);
        } else {
            now = now.plus(Duration::from_secs(10));
        }
    }
    assert!(other_asked > 4, "{other_asked}");
}

#[test]
fn an_own_disk_that_is_slow_is_not_the_other_members_fault() {
    let mut other = Peer::with(0..100, 16);
    let mut bench = Bench::with_members(1..=1);
    let now = member(&bench.own.set, at(0));
    let mut act = bench.repair.poll(&now, &mut rng());
    let items = loop {
        match act.unwrap() {
            RepairAct::Ask { request, .. } => act = bench.repair.answered(&now, Some(other.answer(request))),
            RepairAct::Take { items, .. } => break items,
            RepairAct::Read { .. } => panic!("there is nothing to give"),
        }
    };
    assert_eq!(bench.repair.wake_at(), Some(at(60)));
    let received = items.iter().map(|item| entry(number(item)).id).collect();
    let taken = Taken { received, kept: items.len(), ..Taken::default() };
    assert_eq!(bench.repair.took(&member(&bench.own.set, at(50)), &taken), None);
    assert!(bench.repair.is_caught_up(1));
}
