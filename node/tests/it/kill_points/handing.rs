//! A node that dies while it hands over what another swarm owns, or while it is handed over to: at every moment each
//! record is on the disk of its old owner, or of two members of the new one; and who confirmed a record has it.

use std::time::Instant;

use sotto_behaviours::network::{Request, Response};
use sotto_node::event_loop::KillPoint;
use sotto_proto::id::{ItemId, RecordId};
use sotto_proto::limits::HANDOVER_CONFIRMATIONS;
use sotto_proto::request::{Item, OfferRequest, OfferResponse};

use super::SEEDS;
use super::disk::{self, Maker, Records};
use super::layout::{MINE, OTHER, node, owner_in};
use super::life::{Moment, What};
use super::process::{Draws, LOOK, Life, PATIENCE, left_by};
use super::world::World;

/// Bytes of data of a record: so many that the records of a life make more than one page.
const LARGE: usize = 31_552;
/// Records that are put on the giver's disk for each life.
const GIVEN: usize = 20;
/// Members that take.
const TAKERS: [u32; 3] = [3, 4, 5];

/// Records that are neither with their old owner nor with two of the new ones, and those confirmed by who has not got
/// them, are failures. Forgets what is handed over; returns how many were.
fn check(given: &mut Records, world: &World, what: &str) -> usize {
    let store = disk::look_at(&world.datadir());
    let left = disk::read(&store);
    let before = given.len();
    given.retain(|id, bytes| {
        let has = |number: &u32| disk::find(world.disk_of(*number), id).as_ref() == Some(bytes);
        let at: Vec<_> = TAKERS.into_iter().filter(has).collect();
        let kept = left.get(id) == Some(bytes);
        assert!(kept || at.len() >= HANDOVER_CONFIRMATIONS, "{what}: {id} is with {at:?} only");
        for confirmed in disk::confirmed(&store, id) {
            assert!(at.iter().any(|number| node(*number) == confirmed), "{what}: {id} is confirmed and not there");
            assert!(kept, "{what}: a confirmation of what is gone");
        }
        kept
    });
    before - given.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_hands_over_keeps_what_two_others_have_not() {
    let world = World::new(33).await;
    let owner = owner_in(OTHER, &world.layout.view(), 0);
    let (mut given, mut maker, mut draws) = (Records::new(), Maker::default(), Draws(33));
    // Each life has two pages for the first member; erasing comes once.
    let moments = [
        (Moment::Loop(KillPoint::Handed), 2),
        (Moment::Unwritten(What::Deletion), 1),
        (Moment::Unsynced(What::Deletion), 1),
        (Moment::Synced(What::Deletion), 1),
    ];
    for (moment, passings) in moments {
        let mut handed = 0;
        for seed in 0..SEEDS {
            let what = format!("{moment:?}, seed {seed}");
            let now = world.layout.clock().now().seconds();
            let new = maker.some(GIVEN, &owner, now, LARGE);
            disk::put(&mut disk::open(&world.datadir()), &new);
            given.extend(new);
            world.start(moment, draws.below(passings)).await.died(&what).await;
            handed += check(&mut given, &world, &what);
        }
        println!("{moment:?}: {SEEDS} deaths, {handed} records handed over, {} to go, 0 lost", given.len());
    }
    let mut life = world.start(Moment::Never, 0).await;
    let began = Instant::now();
    while life.status().records > 0 {
        assert!(began.elapsed() < PATIENCE, "not all is handed over");
        tokio::time::sleep(LOOK).await;
    }
    life.stop().await;
    check(&mut given, &world, "at last");
    assert_eq!(given, Records::new());
}

/// Offers items to node 0; which of them it lacks.
async fn offer(world: &World, ids: &[RecordId]) -> Option<Vec<bool>> {
    let ids: Vec<_> = ids.iter().map(|id| ItemId::from(*id)).collect();
    match world.ask(Request::Offer(OfferRequest::Offer(ids.clone()))).await? {
        Response::Offer(OfferResponse::Wanted(wanted)) => Some(wanted.of(ids.len()).unwrap().collect()),
        Response::Offer(OfferResponse::Error(_)) => None,
        other => panic!("{other:?}"),
    }
}

/// Hands records over to node 0 until it dies; what it confirmed.
async fn hand(world: &World, life: &Life, page: &mut impl FnMut() -> Records) -> Records {
    let mut confirmed = Records::new();
    while life.is_alive() {
        let records = page();
        let ids: Vec<_> = records.keys().copied().collect();
        let Some(wanted) = offer(world, &ids).await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        assert!(wanted.iter().all(|wanted| *wanted), "it says it has what nobody gave it");
        let items = records.values().map(|bytes| Item::Record(bytes.clone())).collect();
        let Some(Response::Offer(answer)) = world.ask(Request::Offer(OfferRequest::Hand(items))).await else {
            continue;
        };
        let OfferResponse::Durable(durable) = answer else { panic!("{answer:?}") };
        let durable: Vec<_> = durable.iter().map(|id| RecordId::new(*id.as_bytes())).collect();
        assert_eq!(durable, ids, "confirmed is something else");
        confirmed.extend(records);
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_takes_over_has_what_it_confirmed() {
    let world = World::new(34).await;
    let owner = owner_in(MINE, &world.layout.view(), 1);
    let (mut confirmed, mut made) = (Records::new(), Records::new());
    let (mut maker, mut draws) = (Maker::default(), Draws(34));
    let moments = [
        Moment::Unsynced(What::Records),
        Moment::Synced(What::Records),
        Moment::Loop(KillPoint::Durable),
        Moment::Loop(KillPoint::Confirmed),
    ];
    for moment in moments {
        let before = confirmed.len();
        for seed in 0..SEEDS {
            let what = format!("{moment:?}, seed {seed}");
            let life = world.start(moment, draws.below(6)).await;
            let mut page = || {
                let page = maker.some(4, &owner, world.layout.clock().now().seconds(), 1664);
                made.extend(page.clone());
                page
            };
            confirmed.extend(hand(&world, &life, &mut page).await);
            life.died(&what).await;
            let left = left_by(&world.datadir());
            let lost = confirmed.iter().filter(|(id, bytes)| left.get(*id) != Some(*bytes)).count();
            assert_eq!(lost, 0, "{what}: confirmed and not there");
            assert!(left.iter().all(|(id, bytes)| made.get(id) == Some(bytes)), "{what}: nobody gave it that");
        }
        println!("{moment:?}: {SEEDS} deaths, {} records confirmed, 0 lost", confirmed.len() - before);
    }
    let life = world.start(Moment::Never, 0).await;
    for ids in confirmed.keys().copied().collect::<Vec<_>>().chunks(500) {
        let began = Instant::now();
        let wanted = loop {
            if let Some(wanted) = offer(&world, ids).await {
                break wanted;
            }
            assert!(began.elapsed() < PATIENCE, "no answer to an offer");
            tokio::time::sleep(LOOK).await;
        };
        assert!(wanted.iter().all(|wanted| !wanted), "what it confirmed it wants again");
    }
    life.stop().await;
}
