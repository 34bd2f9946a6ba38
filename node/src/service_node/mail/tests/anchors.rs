//! Work on blocks that are lost or not final yet: nothing is passed on that others may reject.

use sotto_proto::request::{RepairRequest, Scope};

use super::*;
use crate::service_node::message::ReplyId;

/// The last anchor; at height 177 it is the tip, and not final.
const LAST: Height = Height(180);

fn view_at(height: u64) -> NetworkView {
    view(&TestChain::new().genesis, Height(height))
}

/// A node whose tip is the last anchor.
fn at_the_anchor(hash: BlockHash) -> Bench {
    let mut bench = Bench::new();
    bench.view = view_at(177);
    bench.act(|mail, env, out| mail.on_chain((LAST, hash), env, out));
    bench
}

fn last(draft: Draft) -> Draft {
    Draft { anchor: LAST, ..draft }
}

#[test]
fn what_nobody_here_can_check_any_more_comes_by_repair_and_not_by_gossip() {
    let mut bench = Bench::new();
    bench.view = view_at(1000);
    bench.follow();
    let draft = Draft { anchor: Height(60), ..Draft::to(&owner()) };
    for record in [draft.record(1), draft.without_work(2)] {
        assert_eq!(bench.gossip_record(&record), Verdict::Ignore);
    }
    assert_eq!(bench.mail.records(), 0);
    let now = bench.seconds();
    let scope = Scope { height: Height(1000), swarm: MINE, until: now, cutoff: now };
    let give = RepairRequest::Give { scope, items: vec![Item::Record(draft.record(1).encode())] };
    let asker = Asker { node: node(1), reply: ReplyId(9) };
    bench.act(|mail, env, out| mail.on_repair(asker, give, env, out));
    assert_eq!(bench.read_all(&owner()), [draft.record(1).encode()]);
    assert_eq!(bench.gossip_record(&draft.record(1)), Verdict::Ignore, "also what is here");
}

#[test]
fn of_a_record_on_a_lost_anchor_all_else_is_checked() {
    let mut bench = Bench::new();
    bench.view = view_at(1000);
    bench.follow();
    let lost = |owner: &SigningKey| Draft { anchor: Height(60), ..Draft::to(owner) };
    let (now, mine) = (bench.seconds(), owner());
    let wrong = [
        Draft { timestamp: UnixSeconds(now.0 - u64::from(TTL)), ..lost(&mine) },
        Draft { timestamp: UnixSeconds(now.0 + 1000), ..lost(&mine) },
        Draft { anchor: Height(61), ..lost(&mine) },
        lost(&owner_in(OTHER, 0)),
    ];
    let mut give = |record: Record| {
        let scope = Scope { height: Height(1000), swarm: MINE, until: now, cutoff: now };
        let give = RepairRequest::Give { scope, items: vec![Item::Record(record.encode())] };
        let asker = Asker { node: node(1), reply: ReplyId(9) };
        bench.act(|mail, env, out| mail.on_repair(asker, give, env, out));
        bench.mail.records()
    };
    assert_eq!(wrong.map(|draft| give(draft.without_work(1))), [0; 4]);
    assert_eq!(give(lost(&mine).without_work(1)), 1);
}

#[test]
fn on_an_anchor_that_is_not_final_gossip_is_kept_and_not_passed_on() {
    let mut bench = at_the_anchor(anchor_hash(LAST));
    let record = last(Draft::to(&owner())).record(1);
    assert_eq!(bench.gossip_record(&record), Verdict::Ignore);
    assert_eq!(bench.read_all(&owner()), [record.encode()]);
    bench.view = view_at(180);
    bench.follow();
    assert_eq!(bench.gossip_record(&record), Verdict::Accept, "it is final now");
}

#[test]
fn a_clients_record_is_published_when_its_anchor_is_final() {
    let mut bench = at_the_anchor(anchor_hash(LAST));
    let record = last(Draft::to(&owner())).record(1);
    assert!(is_stored(&bench.store(&record)), "the node lags behind the client");
    bench.pass(5_000);
    assert!(bench.published().is_empty());
    bench.view = view_at(180);
    bench.follow();
    bench.pass(10);
    assert_eq!(bench.published(), [[vec![RECORD], record.encode()].concat()]);
    bench.pass(5_000);
    assert!(bench.published().is_empty(), "once");
}

#[test]
fn the_second_and_third_publish_it_when_they_have_their_turn_from_then_on() {
    for (order, seconds) in [(PublishOrder::Second, 1), (PublishOrder::Third, 2)] {
        let mut bench = at_the_anchor(anchor_hash(LAST));
        bench.store_as(1, &last(Draft::to(&owner())).record(1), order);
        assert!(is_stored(&bench.answer()));
        bench.pass(5_000);
        bench.view = view_at(180);
        bench.follow();
        bench.pass(seconds * 1000 - 10);
        assert!(bench.published().is_empty());
        bench.pass(20);
        assert_eq!(bench.published().len(), 1);
    }
}

#[test]
fn a_clients_record_on_a_block_that_did_not_stay_is_never_published() {
    let fork = BlockHash::new([7; 32]);
    let mut bench = at_the_anchor(fork);
    let envelope = last(Draft::to(&owner())).envelope(1);
    let proves = |hash: &BlockHash, nonce: Nonce| Work::new(&envelope, hash).verify(nonce, Difficulty::MIN);
    let mut nonces = (0..).map(Nonce);
    let nonce = nonces.find(|nonce| proves(&fork, *nonce) && !proves(&anchor_hash(LAST), *nonce)).unwrap();
    let record = Record::new(envelope, nonce, None).unwrap();
    assert!(is_stored(&bench.store(&record)));
    bench.view = view_at(180);
    bench.follow();
    bench.pass(10_000);
    assert!(bench.published().is_empty());
}
