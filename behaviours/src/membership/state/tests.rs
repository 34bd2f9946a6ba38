//! One node's rules by themselves, then many nodes against each other in virtual time.

mod world;

use rand_core::SeedableRng as _;
use sotto_proto::limits::{DRAWN_NEIGHBOURS, PENDING_OUTGOING, RELAY_IDLE};

use super::*;
use crate::membership::config::{CROSSED, YIELD};
use crate::test_support::{address, node, view_of_swarm};

type Rules = State<u32>;

fn at(seconds: f64) -> Monotonic {
    Monotonic(Duration::from_secs_f64(seconds))
}

fn peer(key: u8) -> Peer {
    Peer { node: node(key), addresses: vec![address(&node(key))] }
}

fn settings(own: u8) -> Settings {
    Settings {
        own: node(own),
        role: Role::Node,
        producer: peer(200),
        bootstrap: Vec::new(),
        private_addresses: true,
        listen: Some(address(&node(own))),
        nodes: 512,
    }
}

fn rules(own: u8) -> Rules {
    State::new(settings(own), ChaCha20Rng::from_seed([own; 32]))
}

fn nodes(keys: impl IntoIterator<Item = u8>) -> Vec<NodeId> {
    keys.into_iter().map(node).collect()
}

/// Lets time pass to `until` and says what was done.
fn run(state: &mut Rules, until: Monotonic) -> Vec<(Monotonic, Output)> {
    let mut done = Vec::new();
    let mut now = Monotonic::default();
    loop {
        while let Some(output) = state.poll_output() {
            done.push((now, output));
        }
        match state.next_timeout() {
            Some(at) if at <= until => {
                now = now.max(at);
                state.timeout(now);
            }
            _ => return done,
        }
    }
}

fn dials(done: &[(Monotonic, Output)]) -> Vec<(Monotonic, NodeId)> {
    let dial = |(at, output): &(Monotonic, Output)| match output {
        Output::Dial { node, .. } => Some((*at, *node)),
        _ => None,
    };
    done.iter().filter_map(dial).collect()
}

fn closes(done: &[(Monotonic, Output)]) -> Vec<(NodeId, CloseReason)> {
    let close = |(_, output): &(Monotonic, Output)| match output {
        Output::Close { node, reason } => Some((*node, *reason)),
        _ => None,
    };
    done.iter().filter_map(close).collect()
}

#[test]
fn a_member_with_a_greater_key_is_dialled_at_once_and_one_with_a_smaller_key_after_three_seconds() {
    let mut state = rules(5);
    state.set_view(view_of_swarm(1, &nodes([4, 5, 6]), &[]), at(0.0));
    let dials = dials(&run(&mut state, at(5.0)));
    let when = |key: u8| dials.iter().find(|(_, to)| *to == node(key)).map(|(at, _)| at.0);
    assert_eq!(when(6), Some(Duration::ZERO));
    assert!(when(4).is_some_and(|after| after >= YIELD), "{dials:?}");
}

#[test]
fn the_producer_is_wanted_below_three_links_only() {
    let mut state = rules(5);
    assert_eq!(dials(&run(&mut state, at(0.0))), [(at(0.0), node(200))]);
    state.established(node(200), 0, Direction::Dialed, at(0.1));
    state.set_view(view_of_swarm(1, &nodes([5, 6, 7, 8]), &[]), at(1.0));
    run(&mut state, at(1.0));
    for (link, key) in [(1, 6), (2, 7), (3, 8)] {
        state.established(node(key), link, Direction::Dialed, at(1.1));
    }
    // No longer wanted, and idle after five minutes.
    let done = run(&mut state, at(1.2).plus(RELAY_IDLE));
    assert_eq!(closes(&done), [(node(200), CloseReason::Idle)]);
    state.closed(node(200), 0, Cause::Own, at(400.0));
    assert!(dials(&run(&mut state, at(500.0))).is_empty());
    // Two links left: it is wanted again.
    state.closed(node(6), 1, Cause::Other, at(600.0));
    assert!(dials(&run(&mut state, at(601.0))).iter().any(|(_, to)| *to == node(200)));
}

#[test]
fn six_neighbours_are_drawn_from_other_swarms_and_failing_ones_are_made_up_for() {
    let members = nodes(0..10);
    let mut state = rules(0);
    state.set_view(view_of_swarm(1, &members, &nodes(100..150)), at(0.0));
    let drawn = |done: &[(Monotonic, Output)]| {
        dials(done)
            .into_iter()
            .map(|(_, to)| to)
            .filter(|to| (100..150).any(|key| node(key) == *to))
            .collect::<BTreeSet<_>>()
    };
    let first = drawn(&run(&mut state, at(0.0)));
    assert_eq!(first.len(), DRAWN_NEIGHBOURS);
    // One of them never answers.
    let failing = *first.first().unwrap();
    let mut all = first.clone();
    for second in 0..60 {
        state.dial_failed(failing, at(f64::from(second)));
        all.extend(drawn(&run(&mut state, at(f64::from(second) + 0.9))));
    }
    assert_eq!(all.len(), DRAWN_NEIGHBOURS + 1, "the failing one is made up for");
}

#[test]
fn failed_dials_back_off_and_never_stop() {
    let mut state = rules(5);
    let mut times = Vec::new();
    let mut now = at(0.0);
    while now < at(600.0) {
        let done = dials(&run(&mut state, at(600.0)));
        let Some((dialed_at, to)) = done.first() else { break };
        assert_eq!(*to, node(200));
        times.push(*dialed_at);
        now = dialed_at.plus(Duration::from_millis(1));
        state.dial_failed(node(200), now);
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!((20..80).contains(&times.len()), "{} dials in ten minutes", times.len());
    assert!(pauses.iter().all(|pause| *pause >= BACKOFF_FLOOR && *pause <= BACKOFF_MAX + Duration::from_secs(1)));
}

#[test]
fn a_peer_that_takes_and_drops_connections_counts_as_failing() {
    let mut state = rules(5);
    let mut count = 0;
    let mut link = 0;
    for tenth in 0..600 {
        let now = at(f64::from(tenth) / 10.0);
        for (_, to) in dials(&run(&mut state, now)) {
            count += 1;
            link += 1;
            state.established(to, link, Direction::Dialed, now);
            state.closed(to, link, Cause::Other, now);
        }
    }
    assert!((3..30).contains(&count), "{count} dials in a minute");
}

#[test]
fn crossed_dials_are_closed_by_the_smaller_key_which_dials_anew() {
    for (first, second) in [(Direction::Dialed, Direction::Accepted), (Direction::Accepted, Direction::Dialed)] {
        let (mut smaller, mut greater) = (rules(5), rules(9));
        let view = view_of_swarm(1, &nodes([1]), &nodes([5, 9]));
        for (state, other) in [(&mut smaller, 9), (&mut greater, 5)] {
            state.set_view(Arc::clone(&view), at(9.0));
            run(state, at(9.0));
            state.established(node(other), 1, first, at(10.0));
            state.established(node(other), 2, second, at(10.5));
        }
        assert_eq!(closes(&run(&mut smaller, at(10.5))), [(node(9), CloseReason::Crossed)]);
        assert_eq!(closes(&run(&mut greater, at(15.4))), [], "it waits for that");
        for (state, other, cause) in [(&mut smaller, 9, Cause::Own), (&mut greater, 5, Cause::Other)] {
            state.closed(node(other), 1, cause, at(10.6));
            state.closed(node(other), 2, cause, at(10.6));
        }
        let again = |state: &mut Rules, other: u8| {
            let done = dials(&run(state, at(20.0)));
            done.into_iter().find(|(_, to)| *to == node(other)).map(|(when, _)| when.since(at(10.6)))
        };
        assert!(again(&mut smaller, 9).is_some_and(|after| after <= SETTLE + SETTLE_JITTER));
        assert!(again(&mut greater, 5).is_some_and(|after| after >= YIELD));
    }
}

#[test]
fn crossed_dials_that_the_peer_does_not_close_are_closed_all_the_same() {
    let mut state = rules(9);
    state.set_view(view_of_swarm(1, &nodes([1]), &nodes([5, 9])), at(9.0));
    run(&mut state, at(9.0));
    state.established(node(5), 1, Direction::Dialed, at(10.0));
    state.established(node(5), 2, Direction::Accepted, at(10.5));
    assert_eq!(closes(&run(&mut state, at(15.4))), []);
    assert_eq!(closes(&run(&mut state, at(15.5))), [(node(5), CloseReason::Crossed)]);
}

#[test]
fn who_made_a_connection_is_told_as_long_as_it_is_there() {
    let mut state = rules(5);
    let directions = |state: &Rules| state.directions(&node(7)).collect::<Vec<_>>();
    assert_eq!(directions(&state), []);
    state.established(node(7), 1, Direction::Accepted, at(10.0));
    assert_eq!(directions(&state), [Direction::Accepted]);
    state.established(node(7), 2, Direction::Dialed, at(10.5));
    assert_eq!(directions(&state), [Direction::Accepted, Direction::Dialed]);
    state.closed(node(7), 1, Cause::Other, at(11.0));
    assert_eq!(directions(&state), [Direction::Dialed]);
}

#[test]
fn crossed_dials_of_hops_are_kept_as_paths_may_run_over_both() {
    for own in [4, 9] {
        let mut state = rules(own);
        state.established(node(5), 1, Direction::Dialed, at(10.0));
        state.established(node(5), 2, Direction::Accepted, at(10.5));
        assert_eq!(closes(&run(&mut state, at(30.0))), []);
        // One more after that: the peer knows of neither.
        state.established(node(5), 3, Direction::Accepted, at(40.0));
        assert_eq!(closes(&run(&mut state, at(40.0))), [(node(5), CloseReason::Restarted)]);
    }
}

#[test]
fn a_second_connection_after_a_while_means_that_the_peer_was_restarted() {
    let mut state = rules(5);
    state.established(node(9), 1, Direction::Accepted, at(10.0));
    state.established(node(9), 2, Direction::Accepted, at(10.0).plus(CROSSED));
    assert_eq!(closes(&run(&mut state, at(15.0))), [(node(9), CloseReason::Restarted)]);
    // The same at once when both were dialled by the peer: no dials cross then.
    state.established(node(8), 3, Direction::Accepted, at(20.0));
    state.established(node(8), 4, Direction::Accepted, at(20.1));
    assert_eq!(closes(&run(&mut state, at(20.1))), [(node(8), CloseReason::Restarted)]);
}

#[test]
fn a_peer_that_does_not_hear_a_topic_is_closed_after_ten_seconds_and_then_ever_more_rarely() {
    let mut state = rules(5);
    state.set_view(view_of_swarm(1, &nodes([5, 6, 7]), &[]), at(0.0));
    run(&mut state, at(0.0));
    state.established(node(6), 0, Direction::Dialed, at(0.0));
    state.established(node(7), 1, Direction::Dialed, at(0.0));
    let mut closed_at = Vec::new();
    for second in 0..200 {
        state.deaf(&[node(6)].into(), at(f64::from(second)));
        let done = run(&mut state, at(f64::from(second)));
        for (to, reason) in closes(&done).into_iter().filter(|(_, reason)| *reason == CloseReason::Deaf) {
            assert_eq!((to, reason), (node(6), CloseReason::Deaf));
            closed_at.push(second);
        }
    }
    assert_eq!(closed_at, [10, 31, 72, 153]);
}

#[test]
fn what_was_dialled_on_demand_is_let_go_after_five_minutes_without_use() {
    let mut state = rules(5);
    state.set_view(view_of_swarm(1, &nodes([5]), &nodes(100..150)), at(0.0));
    run(&mut state, at(0.0));
    let wanted: BTreeSet<_> = state.wanted.keys().copied().collect();
    let other = nodes(100..150).into_iter().find(|node| !wanted.contains(node)).unwrap();
    assert_eq!(state.demand(other, at(1.0)), Ok(()));
    assert_eq!(dials(&run(&mut state, at(1.0))), [(at(0.0).max(at(1.0)), other)]);
    state.established(other, 7, Direction::Dialed, at(1.1));
    state.used(other, at(100.0));
    assert_eq!(closes(&run(&mut state, at(399.0))), []);
    assert_eq!(closes(&run(&mut state, at(401.0))), [(other, CloseReason::Idle)]);
}

#[test]
fn a_peer_without_an_address_or_that_failed_just_now_is_not_waited_for() {
    let mut state = rules(5);
    assert_eq!(state.demand(node(9), at(0.0)), Err(Unreachable::NoAddress));
    state.set_view(view_of_swarm(1, &nodes([5]), &nodes([9])), at(0.0));
    run(&mut state, at(0.0));
    state.dial_failed(node(9), at(1.0));
    assert_eq!(state.poll_output(), Some(Output::Unreachable { node: node(9) }));
    assert_eq!(state.demand(node(9), at(1.0)), Err(Unreachable::BackingOff));
    assert_eq!(state.demand(node(9), at(40.0)), Ok(()));
}

#[test]
fn at_most_sixteen_dials_are_under_way() {
    let mut state = rules(5);
    state.set_view(view_of_swarm(1, &nodes([5]), &nodes(100..150)), at(0.0));
    for key in 100..150 {
        state.demand(node(key), at(0.0)).unwrap();
    }
    let first = dials(&run(&mut state, at(1.0)));
    assert_eq!(first.len(), PENDING_OUTGOING);
    state.dial_failed(first[0].1, at(2.0));
    assert_eq!(dials(&run(&mut state, at(2.0))).len(), 1);
}

#[test]
fn with_too_many_nodes_connected_the_one_unused_for_longest_makes_room() {
    let mut state = State::new(Settings { nodes: 10, ..settings(5) }, ChaCha20Rng::from_seed([1; 32]));
    state.set_view(view_of_swarm(1, &nodes([5]), &nodes(100..150)), at(0.0));
    run(&mut state, at(0.0));
    let wanted: BTreeSet<_> = state.wanted.keys().copied().collect();
    let unwanted = nodes(100..150).into_iter().filter(|node| !wanted.contains(node));
    let wanted = wanted.iter().copied().filter(|node| *node != self::node(200));
    let mut at_once = wanted.chain(unwanted).take(10).zip(0..);
    for (node, link) in at_once.by_ref().take(9) {
        state.established(node, link, Direction::Accepted, at(f64::from(link)));
    }
    assert_eq!(closes(&run(&mut state, at(20.0))), []);
    let (tenth, link) = at_once.next().unwrap();
    state.established(tenth, link, Direction::Accepted, at(21.0));
    let closed = closes(&run(&mut state, at(21.0)));
    // The six drawn are wanted; the first after them goes.
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].1, CloseReason::Crowded);
    assert_ne!(closed[0].0, tenth);
}

#[test]
fn a_client_wants_nobody_and_reaches_whom_it_needs() {
    let mut state = State::<u32>::new(Settings { role: Role::Client, ..settings(5) }, ChaCha20Rng::from_seed([1; 32]));
    state.set_view(view_of_swarm(1, &nodes([6, 7]), &nodes(100..150)), at(0.0));
    assert!(dials(&run(&mut state, at(100.0))).is_empty());
    state.demand(node(100), at(100.0)).unwrap();
    assert_eq!(dials(&run(&mut state, at(100.0))).len(), 1);
}

#[test]
fn a_host_of_another_genesis_is_tried_every_thirty_seconds_only() {
    let mut state = rules(5);
    let mut count = 0;
    for second in 0..300 {
        let now = at(f64::from(second));
        for (_, to) in dials(&run(&mut state, now)) {
            count += 1;
            state.established(to, second, Direction::Dialed, now);
            state.foreign(to);
            state.closed(to, second, Cause::Own, now);
        }
    }
    assert_eq!(count, 10);
}

#[test]
fn own_and_undialable_addresses_are_never_dialled() {
    let mut state =
        State::<u32>::new(Settings { private_addresses: false, ..settings(5) }, ChaCha20Rng::from_seed([1; 32]));
    state.set_view(view_of_swarm(1, &nodes([5, 6, 7]), &nodes(100..150)), at(0.0));
    assert!(dials(&run(&mut state, at(60.0))).is_empty());
    let mut state = rules(5);
    let mut snapshot = view_of_swarm(1, &nodes([5]), &nodes([6])).current().clone();
    let mut impostor = (*snapshot.nodes[&node(6)]).clone();
    impostor.addresses = vec![address(&node(5))];
    snapshot.nodes.insert(node(6), Arc::new(impostor));
    state.set_view(crate::test_support::view(Arc::new(snapshot)), at(0.0));
    assert!(dials(&run(&mut state, at(60.0))).iter().all(|(_, to)| *to == node(200)));
}
