//! Single rules first, then a node that follows a chain among peers that fail in every way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sotto_proto::request::Line;

use super::*;
use crate::test_support::node;

const PRODUCER: u8 = 200;

fn at(seconds: f64) -> Monotonic {
    Monotonic(Duration::from_secs_f64(seconds))
}

fn sync(local: u64) -> Sync {
    let mut sync = Sync::new(node(PRODUCER), Height(local), at(0.0));
    sync.set_gossiping(true, at(0.0));
    sync
}

fn connect(sync: &mut Sync, key: u8, tip: u64, now: Monotonic) {
    sync.connected(node(key));
    assert_eq!(sync.poll_output(), Some(Output::Tip { node: node(key) }));
    sync.heard(node(key), Height(tip), now);
}

/// The next request for blocks: to whom, its id, from which height.
fn request(sync: &mut Sync) -> Option<(NodeId, FetchId, u64)> {
    match sync.poll_output()? {
        Output::Blocks { node, fetch, from, .. } => Some((node, fetch, from.0)),
        Output::Tip { .. } => None,
    }
}

#[test]
fn what_is_missing_is_fetched_and_the_next_range_while_the_first_is_inserted() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100, at(0.0));
    let (to, first, from) = request(&mut sync).unwrap();
    assert_eq!((to, from), (node(1), 11));
    assert_eq!(request(&mut sync), None, "one in flight per peer");
    assert!(sync.answered(first, 40, Height(100), at(0.1)));
    let (_, second, from) = request(&mut sync).unwrap();
    assert_eq!(from, 51);
    assert!(sync.answered(second, 50, Height(100), at(0.2)));
    assert_eq!(request(&mut sync), None);
    sync.inserted(first, FetchOutcome::Inserted { tip: Height(50) }, at(0.3));
    sync.inserted(second, FetchOutcome::Inserted { tip: Height(100) }, at(0.4));
    assert_eq!(request(&mut sync), None, "nothing is missing any more");
}

#[test]
fn the_producer_is_asked_only_while_nobody_else_has_the_blocks() {
    let mut alone = sync(0);
    connect(&mut alone, PRODUCER, 50, at(0.0));
    assert_eq!(request(&mut alone).unwrap().0, node(PRODUCER));

    let mut accompanied = sync(0);
    accompanied.connected(node(PRODUCER));
    accompanied.connected(node(1));
    while accompanied.poll_output().is_some() {}
    accompanied.heard(node(1), Height(50), at(0.0));
    accompanied.heard(node(PRODUCER), Height(50), at(0.0));
    assert_eq!(request(&mut accompanied).unwrap().0, node(1));
}

#[test]
fn a_block_that_is_about_to_come_by_gossip_is_left_to_it() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 11, at(0.0));
    assert_eq!(request(&mut sync), None);
    assert_eq!(sync.next_timeout(), Some(at(0.0).plus(GRACE)));
    sync.set_tip(Height(11), at(0.2));
    sync.timeout(at(1.0));
    assert_eq!(request(&mut sync), None);
    // And fetched when it does not come.
    sync.heard(node(1), Height(12), at(2.0));
    sync.timeout(at(2.0).plus(GRACE));
    assert_eq!(request(&mut sync).unwrap().2, 12);
}

#[test]
fn a_slow_peer_is_not_waited_for_alone_and_the_first_answer_counts() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100, at(0.0));
    let (_, slow, _) = request(&mut sync).unwrap();
    sync.connected(node(2));
    sync.poll_output();
    sync.heard(node(2), Height(100), at(0.1));
    assert_eq!(request(&mut sync), None);
    sync.timeout(at(0.0).plus(SLOW));
    let (to, hedge, from) = request(&mut sync).unwrap();
    assert_eq!((to, from), (node(2), 11));
    assert!(sync.answered(hedge, 90, Height(100), at(3.5)));
    assert!(!sync.answered(slow, 90, Height(100), at(4.0)), "the range is there already");
    sync.inserted(hedge, FetchOutcome::Inserted { tip: Height(100) }, at(4.1));
    assert_eq!(request(&mut sync), None);
}

#[test]
fn after_a_failure_another_peer_has_its_turn_and_the_first_a_pause() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100, at(0.0));
    let (_, fetch, _) = request(&mut sync).unwrap();
    sync.connected(node(2));
    sync.poll_output();
    sync.heard(node(2), Height(100), at(0.1));
    sync.failed(fetch, &Failure::Broken, at(0.2));
    let (to, fetch, _) = request(&mut sync).unwrap();
    assert_eq!(to, node(2));
    sync.failed(fetch, &Failure::Broken, at(0.3));
    assert_eq!(request(&mut sync), None, "both pause");
    sync.timeout(at(0.2).plus(BACKOFF_FIRST));
    assert_eq!(request(&mut sync).unwrap().0, node(1));
}

#[test]
fn a_rate_limit_is_respected_and_bounded() {
    for (asked, waits) in [(2, 2.0), (3_000_000, RETRY_AFTER_MAX.as_secs_f64()), (0, BUSY.as_secs_f64())] {
        let mut sync = sync(10);
        connect(&mut sync, 1, 100, at(0.0));
        let (_, fetch, _) = request(&mut sync).unwrap();
        let refusal = Error::RateLimited { retry_after: Duration::from_secs(asked) };
        sync.failed(fetch, &Failure::Refused(refusal), at(0.0));
        sync.timeout(at(waits - 0.01));
        assert_eq!(request(&mut sync), None);
        sync.timeout(at(waits));
        assert!(request(&mut sync).is_some());
    }
}

#[test]
fn a_peer_that_has_pruned_what_is_missing_is_not_asked_for_it_again() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100_000, at(0.0));
    let (_, fetch, _) = request(&mut sync).unwrap();
    sync.connected(node(PRODUCER));
    sync.poll_output();
    sync.heard(node(PRODUCER), Height(100_000), at(0.1));
    sync.failed(fetch, &Failure::Refused(Error::Unavailable { lowest: Height(90_000) }), at(0.2));
    let (to, fetch, _) = request(&mut sync).unwrap();
    assert_eq!(to, node(PRODUCER));
    sync.failed(fetch, &Failure::Broken, at(0.3));
    assert_eq!(request(&mut sync), None);
}

#[test]
fn another_branch_is_asked_for_from_sixteen_below_the_tip_and_once_only() {
    let mut sync = sync(100);
    connect(&mut sync, 1, 103, at(0.0));
    let (_, fetch, from) = request(&mut sync).unwrap();
    assert_eq!(from, 101);
    assert!(sync.answered(fetch, 3, Height(103), at(0.1)));
    sync.inserted(fetch, FetchOutcome::NeedsParent, at(0.2));
    sync.timeout(at(0.2));
    let (_, fetch, from) = request(&mut sync).unwrap();
    assert_eq!(from, 84);
    assert!(sync.answered(fetch, 20, Height(103), at(0.3)));
    sync.inserted(fetch, FetchOutcome::NeedsParent, at(0.4));
    sync.timeout(at(10.0));
    assert_eq!(request(&mut sync), None, "its chain is not ours");

    let mut young = self::sync(3);
    connect(&mut young, 1, 9, at(0.0));
    let (_, fetch, _) = request(&mut young).unwrap();
    assert!(young.answered(fetch, 6, Height(9), at(0.1)));
    young.inserted(fetch, FetchOutcome::NeedsParent, at(0.2));
    assert_eq!(request(&mut young).unwrap().2, 1, "the genesis is not a block");
}

#[test]
fn a_gossiped_block_on_another_branch_of_the_same_height_rewinds_too() {
    let mut sync = sync(100);
    connect(&mut sync, 1, 100, at(0.0));
    sync.behind(node(1), Height(101), at(1.0));
    assert_eq!(request(&mut sync).unwrap().2, 84);
}

#[test]
fn a_peer_with_an_invalid_block_is_left_alone_for_minutes_and_what_followed_it_is_dropped() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100, at(0.0));
    let (_, bad, _) = request(&mut sync).unwrap();
    assert!(sync.answered(bad, 40, Height(100), at(0.1)));
    let (_, after, _) = request(&mut sync).unwrap();
    sync.inserted(bad, FetchOutcome::Invalid, at(0.2));
    assert!(!sync.answered(after, 40, Height(100), at(0.3)));
    sync.timeout(at(100.0));
    assert_eq!(request(&mut sync), None);
    sync.connected(node(2));
    sync.poll_output();
    sync.heard(node(2), Height(100), at(101.0));
    let (to, _, from) = request(&mut sync).unwrap();
    assert_eq!((to, from), (node(2), 11));
}

#[test]
fn a_peer_that_claims_much_and_sends_nothing_keeps_us_from_nobody() {
    let mut sync = sync(10);
    sync.connected(node(2));
    sync.poll_output();
    connect(&mut sync, 1, 1_000_000, at(0.0));
    let mut served = false;
    for tenth in 0..600 {
        let now = at(f64::from(tenth) / 10.0);
        sync.timeout(now);
        while let Some((to, fetch, from)) = request(&mut sync) {
            if to == node(1) {
                assert!(!sync.answered(fetch, 0, Height(1_000_000), now));
            } else if from == 11 {
                assert!(sync.answered(fetch, 5, Height(15), now));
                sync.inserted(fetch, FetchOutcome::Inserted { tip: Height(15) }, now);
                served = true;
            }
        }
    }
    assert!(served);
}

#[test]
fn a_node_nobody_gossips_with_asks_every_second_and_one_in_the_mesh_every_ten() {
    for (gossiping, least, most) in [(false, 25, 31), (true, 2, 4)] {
        let mut sync = sync(10);
        sync.set_gossiping(gossiping, at(0.0));
        connect(&mut sync, 1, 10, at(0.0));
        let mut questions = 0;
        for tenth in 0..300 {
            let now = at(f64::from(tenth) / 10.0);
            sync.timeout(now);
            while let Some((_, fetch, from)) = request(&mut sync) {
                assert_eq!(from, 11);
                assert!(!sync.answered(fetch, 0, Height(10), now));
                questions += 1;
            }
        }
        assert!((least..=most).contains(&questions), "{questions}");
    }
}

#[test]
fn blocks_whose_outcome_is_never_told_do_not_stop_sync() {
    let mut sync = sync(10);
    connect(&mut sync, 1, 100, at(0.0));
    let (_, fetch, _) = request(&mut sync).unwrap();
    assert!(sync.answered(fetch, 90, Height(100), at(0.1)));
    sync.timeout(at(1.0).plus(INSERTION));
    assert_eq!(request(&mut sync).unwrap().2, 11);
}

/// What a peer does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Honest,
    Silent,
    Empty,
    Invalid,
    Busy,
    Refusing,
    OnBranch,
}

fn manners() -> impl Strategy<Value = Manner> {
    use Manner::{Busy, Empty, Honest, Invalid, OnBranch, Refusing, Silent};
    prop::sample::select(vec![Honest, Silent, Empty, Invalid, Busy, Refusing, OnBranch])
}

/// Follows a chain of `top` blocks, of which an honest peer sends `batch` at once, from start to end.
fn follow(others: Vec<Manner>, top: u64, batch: u64, gossiping: bool, latency: f64) -> Result<(), TestCaseError> {
    let mut sync = Sync::new(node(PRODUCER), Height(0), at(0.0));
    sync.set_gossiping(gossiping, at(0.0));
    let manners: BTreeMap<_, _> = std::iter::once(Manner::Honest)
        .chain(others)
        .enumerate()
        .map(|(index, manner)| (node(index as u8), manner))
        .collect();
    for peer in manners.keys() {
        sync.connected(*peer);
    }
    let mut local = 0_u64;
    let mut wires: Vec<(Monotonic, NodeId, FetchId, u64)> = Vec::new();
    let mut tenth = 0;
    while local < top {
        tenth += 1;
        prop_assert!(tenth < 40_000, "stuck at {local} of {top}");
        let now = at(f64::from(tenth) / 10.0);
        if sync.next_timeout().is_some_and(|due| due <= now) {
            sync.timeout(now);
        }
        while let Some(output) = sync.poll_output() {
            match output {
                Output::Tip { node } => sync.heard(node, Height(top), now),
                Output::Blocks { node, fetch, from, .. } => {
                    prop_assert!(wires.iter().all(|(_, to, ..)| *to != node), "one in flight per peer");
                    wires.push((now.plus(Duration::from_secs_f64(latency)), node, fetch, from.0));
                    prop_assert!(wires.len() <= FETCHES);
                }
            }
        }
        let due: Vec<_> = wires.extract_if(.., |(at, ..)| *at <= now).collect();
        for (sent, peer, fetch, from) in due {
            match manners[&peer] {
                Manner::Honest => {
                    let last = (from + batch - 1).min(top);
                    let count = (last + 1).saturating_sub(from) as usize;
                    if sync.answered(fetch, count, Height(top), now) {
                        // What cannot be joined is not inserted.
                        let outcome = if from <= local + 1 {
                            local = local.max(last);
                            FetchOutcome::Inserted { tip: Height(local) }
                        } else {
                            FetchOutcome::NeedsParent
                        };
                        sync.inserted(fetch, outcome, now);
                    }
                }
                Manner::Silent if now.since(sent) < Duration::from_secs(10) => wires.push((sent, peer, fetch, from)),
                Manner::Silent => sync.failed(fetch, &Failure::Broken, now),
                Manner::Empty => prop_assert!(!sync.answered(fetch, 0, Height(u64::MAX), now)),
                Manner::Invalid | Manner::OnBranch => {
                    if sync.answered(fetch, 3, Height(top + 5), now) {
                        let invalid = matches!(manners[&peer], Manner::Invalid);
                        let outcome = if invalid { FetchOutcome::Invalid } else { FetchOutcome::NeedsParent };
                        sync.inserted(fetch, outcome, now);
                    }
                }
                Manner::Busy => sync.failed(fetch, &Failure::Refused(Error::Busy), now),
                Manner::Refusing => {
                    let refusal = Error::Rejected { reason: Line::new("no") };
                    sync.failed(fetch, &Failure::Refused(refusal), now);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_one_honest_peer_among_any_others_the_chain_is_followed(
        others in prop::collection::vec(manners(), 0..6),
        top in 1_u64..500,
        batch in 1_u64..80,
        gossiping: bool,
        latency in 0.01_f64..2.0,
    ) {
        follow(others, top, batch, gossiping, latency)?;
    }
}

#[test]
fn a_peer_that_is_asked_from_further_back_has_first_answered_what_it_was_asked_before() {
    follow(vec![Manner::OnBranch], 5, 2, false, 0.01).unwrap();
}
