//! A node that dies while what has expired goes from its disk: what lives stays, nothing goes by half, and what went does
//! not come back.

use std::time::Instant;

use sotto_proto::id::RecordId;
use sotto_proto::limits::REPAIR_CUTOFF_SECONDS;
use sotto_proto::time::UnixSeconds;

use super::SEEDS;
use super::disk::{self, Maker, Records, TTL};
use super::layout::{MINE, owner_in};
use super::life::{Moment, What};
use super::process::{Draws, LOOK, PATIENCE, left_by};
use super::world::World;

/// Records that have expired, at the beginning of each life: more than go at once.
const EXPIRED: usize = 600;
/// Records that live, for each life.
const LIVING: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_records_expire_keeps_those_that_live_whole() {
    let world = World::new(35).await;
    let owner = owner_in(MINE, &world.layout.view(), 2);
    let (mut living, mut gone) = (Records::new(), Vec::<RecordId>::new());
    let (mut maker, mut draws) = (Maker::default(), Draws(35));
    for moment in [Moment::Unwritten, Moment::Unsynced, Moment::Synced].map(|moment| moment(What::Deletion)) {
        let mut swept = 0;
        for seed in 0..SEEDS {
            let what = format!("{moment:?}, seed {seed}");
            let now = world.layout.clock().now().seconds();
            let long_ago = UnixSeconds(now.0 - u64::from(TTL) - REPAIR_CUTOFF_SECONDS - 10);
            let mut store = disk::open(&world.datadir());
            let mut before: Vec<_> = disk::read(&store).into_keys().collect();
            let missing = EXPIRED.saturating_sub(before.len() - living.len());
            let (dead, new) = (maker.some(missing, &owner, long_ago, 1664), maker.some(LIVING, &owner, now, 1664));
            before.extend(dead.keys());
            disk::put(&mut store, &dead);
            disk::put(&mut store, &new);
            drop(store);
            living.extend(new);
            world.start(moment, draws.below(2)).await.died(&what).await;
            let left = left_by(&world.datadir());
            let lost = living.iter().filter(|(id, bytes)| left.get(*id) != Some(*bytes)).count();
            assert_eq!(lost, 0, "{what}: what lives is gone");
            assert!(gone.iter().all(|id| !left.contains_key(id)), "{what}: something came back");
            let went: Vec<_> = before.into_iter().filter(|id| !left.contains_key(id)).collect();
            swept += went.len();
            gone.extend(went);
        }
        println!("{moment:?}: {SEEDS} deaths, {swept} expired records gone, {} living, 0 lost", living.len());
    }
    let mut life = world.start(Moment::Never, 0).await;
    let began = Instant::now();
    while life.status().records != living.len() {
        assert!(began.elapsed() < PATIENCE, "what has expired does not go");
        tokio::time::sleep(LOOK).await;
    }
    life.stop().await;
    assert_eq!(left_by(&world.datadir()), living);
}
