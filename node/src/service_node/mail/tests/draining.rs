//! A node that is about to go: what it takes no more, and what it would take with it.

use sotto_proto::request::{OfferRequest, OfferResponse};

use super::replicating::{World, many, stolen};
use super::*;
use crate::service_node::message::ReplyId;

fn begin(bench: &mut Bench) {
    bench.act(|mail, env, _| mail.begin_draining(env));
}

fn drained(bench: &Bench) -> Option<Drained> {
    bench.mail.drained(bench.seconds())
}

fn left(bench: &Bench) -> Option<usize> {
    drained(bench).unwrap().left
}

/// Some nodes of the swarm of five that have the same, all of it old enough to be compared.
fn equal(numbers: &[u32]) -> World {
    let mut world = World::of(numbers);
    for record in many(10) {
        assert!(is_stored(&world.at(0).store(&record)));
    }
    world.connect();
    world.pass(40);
    assert!(world.nodes.values().all(|bench| bench.mail.records() == 10));
    world
}

#[test]
fn nothing_is_left_once_two_others_have_said_that_they_have_the_same() {
    let mut world = equal(&[0, 1, 2]);
    begin(world.at(0));
    assert_eq!(left(world.at(0)), Some(10), "what was said before does not count");
    world.deliver();
    assert_eq!(left(world.at(0)), Some(0));
    assert_eq!(drained(world.at(0)), Some(Drained { left: Some(0), members: 4, needed: 2 }));
}

#[test]
fn what_one_other_has_is_left_until_a_second_one_comes() {
    let mut world = World::of(&[0, 1]);
    for record in many(10) {
        assert!(is_stored(&world.at(0).store(&record)));
    }
    world.connect();
    begin(world.at(0));
    world.pass(60);
    assert_eq!(world.at(1).mail.records(), 10);
    assert_eq!(left(world.at(0)), Some(10), "one copy more is not two");
    let mut newcomer = Bench::newcomer(2, Disk::default(), MailLimits::default());
    newcomer.now = world.at(0).now;
    world.nodes.insert(2, newcomer);
    world.connect();
    world.pass(20);
    assert_eq!(world.at(2).mail.records(), 10);
    assert_eq!(left(world.at(0)), Some(0));
}

#[test]
fn only_what_the_others_lack_is_left() {
    let mut world = equal(&[0, 1, 2]);
    for n in 10..13 {
        assert_eq!(world.at(0).gossip_record(&record(n)), Verdict::Accept);
    }
    // Nobody takes anything: their disks stand still.
    for number in [1, 2] {
        world.at(number).prompt = false;
    }
    begin(world.at(0));
    world.pass(3);
    assert_eq!(left(world.at(0)), Some(3));
    for number in [1, 2] {
        world.at(number).prompt = true;
        world.at(number).act(|_, _, _| ());
    }
    world.pass(40);
    assert_eq!(left(world.at(0)), Some(0));
}

#[test]
fn what_comes_later_is_not_waited_for_and_what_was_on_its_way_is() {
    let mut bench = Bench::new();
    bench.prompt = false;
    bench.store_as(1, &record(1), PublishOrder::First);
    begin(&mut bench);
    assert_eq!(left(&bench), None);
    bench.prompt = true;
    bench.act(|_, _, _| ());
    assert!(is_stored(&bench.answer()), "its sender is told");
    assert_eq!(left(&bench), Some(1));
    assert_eq!(bench.gossip_record(&record(2)), Verdict::Accept);
    assert_eq!((bench.mail.records(), left(&bench)), (2, Some(1)));
    bench.pass(2000 * u64::from(TTL));
    assert_eq!((bench.mail.records(), left(&bench)), (0, Some(0)), "what has expired is no loss");
}

#[test]
fn whoever_drains_takes_no_mail_and_serves_readers() {
    let mut bench = Bench::new();
    let kept = record(1);
    assert!(is_stored(&bench.store(&kept)));
    begin(&mut bench);
    for again in [&kept, &record(2)] {
        assert_eq!(error(bench.store(again)), Error::Busy);
    }
    assert_eq!(error(bench.delete(&owner(), &[&kept])), Error::Busy);
    assert_eq!(bench.read_all(&owner()).len(), 1);
    let (asker, offer) = (Asker { node: node(7), reply: ReplyId(1) }, OfferRequest::Offer(vec![ItemId::new([1; 32])]));
    bench.act(|mail, env, out| mail.on_offer(asker, offer, env, out));
    let refused = bench.take(|output| match output {
        Output::Send { message: Outgoing::Response { response, .. }, .. } => Some(response.clone()),
        _ => None,
    });
    assert_eq!(refused, [Response::Offer(OfferResponse::Error(Error::Busy))]);

    bench.mail.end_draining();
    assert_eq!(drained(&bench), None);
    assert!(is_stored(&bench.store(&record(2))));
}

#[test]
fn when_the_members_change_it_is_found_out_anew_and_what_others_own_is_handed_over() {
    let mut world = equal(&[0, 1, 2]);
    begin(world.at(0));
    world.deliver();
    assert_eq!(left(world.at(0)), Some(0));
    let bench = world.at(0);
    bench.view = stolen(131);
    bench.follow();
    assert_eq!((left(bench), bench.mail.to_hand_over()), (Some(0), 10));
    assert_eq!(drained(bench).unwrap().members, 4);
}
