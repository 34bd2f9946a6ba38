use super::*;

fn facts() -> Facts<'static> {
    Facts {
        tip: Height(812),
        final_height: Height(809),
        synced: true,
        final_state: Some(NodeState::Active),
        swarm: Some(SwarmId(0x3fff_ffff_ffff_ffff)),
        members: (9, 9),
        settled: true,
        has_swarms: true,
        holds_key: true,
        registering: true,
        epoch_blocks: 60,
        ..Facts::default()
    }
}

#[test]
fn what_is_wrong_comes_worst_first_with_what_to_do() {
    let entry = entry();
    let facts = Facts {
        storage_failure: Some("No space left on device"),
        clock_off_ms: Some(-75_400),
        lonely: true,
        entry: Some(&entry),
        ..facts()
    };
    let health = facts.health();
    assert_eq!(health.phase, Phase::Problem);
    assert!(!health.ready);
    assert_eq!(health.summary, "the database takes no more writes: No space left on device");
    let codes: Vec<_> = health.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["storage", "clock", "alone"]);
    assert_eq!(health.problems[1].text, "the clock is 75 s ahead of the other nodes'");
    assert!(health.problems.iter().all(|problem| !problem.advice.is_empty()));
}

#[test]
fn catching_up_is_no_problem() {
    let facts = Facts { tip: Height(120), behind: Some(Height(812)), synced: false, ..facts() };
    let health = facts.health();
    assert_eq!((health.phase, health.ready), (Phase::Starting, false));
    assert_eq!(health.summary, "catching up: block 120 of 812 (14 %)");
}

#[test]
fn a_full_store_is_a_problem_that_names_the_settings() {
    let health = Facts { mail_full: Some(MailLimits { records: 7, bytes: 3 << 20 }), ..facts() }.health();
    assert_eq!(health.problems.first().map(|problem| problem.code.as_str()), Some("mail-full"));
    assert!(health.summary.contains("7 records, 3 MiB"), "{}", health.summary);
    assert!(health.problems[0].advice.contains("mail-records"));
}

#[test]
fn a_node_that_drains_is_not_ready_and_says_how_to_go_on() {
    let health = Facts { draining: true, ..facts() }.health();
    assert_eq!((health.phase, health.ready), (Phase::Problem, false));
    assert!(health.problems[0].advice.ends_with("sotto-node drain --cancel"), "{health:?}");
}

#[test]
fn few_links_are_a_problem_only_after_some_time() {
    let entry = entry();
    let young = Facts { entry: Some(&entry), members: (3, 9), settled: false, ..facts() };
    let health = young.health();
    assert_eq!((health.phase, health.ready), (Phase::Starting, false));
    assert_eq!(health.summary, "looking for its swarm: 3 of 9 members of its swarm are connected");
    let health = Facts { settled: true, ..young.clone() }.health();
    assert_eq!(health.problems.first().map(|problem| problem.code.as_str()), Some("swarm-links"));
    let health = Facts { members: (5, 9), ..young }.health();
    assert_eq!((health.phase, health.ready), (Phase::Ok, true));
}

/// Any registered node.
fn entry() -> Entry {
    let mut chain = crate::test_chain::TestChain::new();
    let registration = chain.registration(0);
    chain.produce(vec![registration]);
    chain.tip().service_node(&crate::test_chain::node(0)).unwrap().clone()
}

#[test]
fn an_unregistered_node_is_told_how_to_register() {
    let facts = Facts { final_state: None, swarm: None, registering: false, ..facts() };
    let health = facts.health();
    assert_eq!(health.problems[0].advice, "stake and register it: sotto-node register");
    let joining = Facts { registering: true, ..facts };
    assert_eq!(joining.health().phase, Phase::Starting);
    let poor = CannotRegister::Coins {
        operator: sotto_proto::id::PublicKey::new([0xab; 32]),
        available: sotto_proto::id::Amount::coins(3),
        needed: sotto_proto::id::Amount::coins(100),
    };
    let health = Facts { cannot_register: Some(poor), ..joining }.health();
    assert!(health.summary.contains("has 3 coins, the stake is 100"), "{}", health.summary);
}

#[test]
fn a_newcomer_whose_clock_is_off_is_told_that_it_waits_for_that() {
    let joining = Facts { final_state: None, swarm: None, clock_unknown: true, ..facts() };
    assert_eq!(joining.health().summary, "joining: comparing the clock with other nodes'");
    let health = Facts { clock_off_ms: Some(75_400), ..joining }.health();
    assert_eq!(health.summary, "the clock is 75 s behind the other nodes': the node does not register with it");
    assert!(health.problems[0].advice.ends_with("then the node registers by itself"), "{health:?}");
}

#[test]
fn a_silent_chain_is_named_with_its_last_block() {
    let facts = Facts { silent_since: Some(UnixMillis(1_790_000_000_000)), ..facts() };
    assert_eq!(facts.health().summary, "the chain is silent since 2026-09-21T14:13:20Z");
}

#[test]
fn times_that_cannot_be_do_not_panic() {
    assert_eq!(rfc3339(UnixMillis(u64::MAX)), "a time that cannot be");
}
