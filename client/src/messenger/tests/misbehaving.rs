//! Members and witnesses that hold back, refuse and hand out drop by drop, and mail that has moved away from them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::network::WallClock;
use sotto_proto::chain::bucket_of;
use tokio::sync::mpsc;

use super::network::{FORMER, HOPS, MEMBERS, World, node_of};
use super::{DEADLINE, PATIENCE, following, next, queue, received, until_subscribed};
use crate::messenger::refresh::Newer;
use crate::messenger::sending::UNBELIEVED_ROUNDS;
use crate::messenger::{Continue, Error, Followed, Messenger, Progress};
use crate::network::directory::Directory;
use crate::network::lookups::LookupError;
use crate::network::paths::Purpose;
use crate::network::scores::Scores;

/// What one answer may take where a test needs members to be late, on a machine that builds meanwhile.
const BUSY: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_drips_its_pages_is_late_like_any_other_and_what_came_counts() {
    let mut world = World::new(12);
    let mut messenger = world.messenger([1, 2, 3], Duration::from_secs(3)).await;
    world.deliver("one");
    world.set_dripping(11);
    let began = Instant::now();
    let first = messenger.receive().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(first.messages.len(), 1);
    assert!((1..MEMBERS.len()).contains(&first.answered) && !first.caught_up, "not all told everything: {first:?}");
    let cursor = messenger.account().store.cursor(&messenger.address(), &node_of(11)).unwrap();
    assert!(cursor.is_some_and(|cursor| cursor.seq > 1), "{cursor:?}");
    let nodes = messenger.directory.nodes().clone();
    assert!(messenger.paths.shunned(&nodes).contains(&node_of(11)));
}

/// Draws until the next poll, of two members, asks these.
fn draw_next(messenger: &mut Messenger, wanted: [u8; 2]) {
    let (polls, members) =
        (messenger.polls(&messenger.inbox()).unwrap(), messenger.keepers(&messenger.inbox()).unwrap().to_vec());
    let now = messenger.clock().now().seconds();
    let asks = |rng: &mut ChaCha20Rng| polls.next(&members, now, rng).members.into_iter().collect::<BTreeSet<_>>();
    let mut rngs = (0..=u8::MAX).map(|seed| ChaCha20Rng::from_seed([seed; 32]));
    messenger.rng = rngs.find(|rng| asks(&mut rng.clone()) == wanted.map(node_of).into()).expect("one of ten pairs");
}

/// A messenger that has polled all members before anything had come, and holds it against none that it was slow.
async fn polled(world: &World, patience: Duration) -> Messenger {
    let mut messenger = Box::pin(world.messenger([1, 2, 3], patience)).await;
    let (began, address) = (Instant::now(), messenger.address());
    while messenger.account().store.cursors(&address).unwrap().len() < MEMBERS.len() {
        assert!(began.elapsed() < DEADLINE, "some member never answers");
        messenger.paths.set_scores(Scores::default());
        Box::pin(messenger.receive()).await.unwrap();
    }
    messenger.paths.set_scores(Scores::default());
    messenger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_drips_its_pages_is_replaced_in_a_poll_of_two() {
    let mut world = World::new(20);
    let mut messenger = polled(&world, BUSY).await;
    world.deliver("one");
    world.set_dripping(11);
    draw_next(&mut messenger, [11, 12]);
    let path = messenger.path(Purpose::Receive).await.unwrap();
    let poll = messenger.receive().await.unwrap();
    assert_eq!((poll.messages.len(), poll.answered), (1, 2), "{poll:?}");
    assert!(poll.asked > 2 && poll.caught_up, "{poll:?}");
    assert!(messenger.paths.is_held(&path), "the others are asked on the same path");
    let cursor = messenger.account().store.cursor(&messenger.address(), &node_of(11)).unwrap();
    assert!(cursor.is_some_and(|cursor| cursor.seq > 1), "it was read beyond its first page: {cursor:?}");
    let nodes = messenger.directory.nodes().clone();
    assert!(messenger.paths.shunned(&nodes).contains(&node_of(11)), "the next poll does not wait for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_read_one_member_to_its_end_and_nobody_in_place_of_the_other_is_not_up_to_date() {
    let mut world = World::new(21);
    let mut messenger = polled(&world, BUSY).await;
    world.deliver("one");
    [11, 13, 14, 15].iter().for_each(|seed| world.set_dripping(*seed));
    draw_next(&mut messenger, [11, 12]);
    let poll = messenger.receive().await.unwrap();
    assert!(poll.messages.len() == 1 && poll.answered < 2 && !poll.caught_up, "{poll:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_in_which_all_are_late_with_what_is_known_is_an_answer_and_its_path_stays() {
    let world = World::new(22);
    let mut messenger = polled(&world, BUSY).await;
    MEMBERS.iter().for_each(|seed| world.set_dripping(*seed));
    let path = messenger.path(Purpose::Receive).await.unwrap();
    let poll = messenger.receive().await.unwrap();
    assert!(poll.messages.is_empty() && poll.answered == 0 && !poll.caught_up, "{poll:?}");
    assert!(messenger.paths.is_held(&path));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_fall_silent_together_between_their_pages_are_not_marked_but_another_path_is_taken() {
    let world = World::new(26);
    let mut messenger = polled(&world, BUSY).await;
    MEMBERS.iter().for_each(|seed| world.set_dripping(*seed));
    world.mailbox.drip_ms.store(60_000, Ordering::Relaxed);
    let silent = messenger.path(Purpose::Receive).await.unwrap();
    let before = world.mailbox.retrieves.load(Ordering::Relaxed);
    let first_pages = async {
        while world.mailbox.retrieves.load(Ordering::Relaxed) < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // To the client this is a hop that is frozen.
        world.set_silent(&MEMBERS, true);
    };
    let (poll, ()) = tokio::join!(messenger.receive(), first_pages);
    poll.unwrap();
    assert!(!messenger.paths.is_held(&silent));
    let (nodes, address) = (messenger.directory.nodes().clone(), messenger.address());
    let cursors = messenger.account().store.cursors(&address).unwrap();
    let told: Vec<_> = cursors.into_iter().filter(|(_, cursor)| cursor.seq > 0).map(|(node, _)| node).collect();
    let marked = messenger.paths.shunned(&nodes);
    assert!(told.len() > 1 && told.iter().all(|node| !marked.contains(node)), "{told:?}, {marked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_that_fall_silent_behind_their_first_pages_are_marked_and_the_path_stays() {
    let mut world = World::new(27);
    let mut messenger = polled(&world, BUSY).await;
    world.deliver("one");
    [11, 12].iter().for_each(|seed| world.set_dripping(*seed));
    world.mailbox.drip_ms.store(60_000, Ordering::Relaxed);
    draw_next(&mut messenger, [11, 12]);
    let path = messenger.path(Purpose::Receive).await.unwrap();
    let poll = messenger.receive().await.unwrap();
    assert_eq!((poll.messages.len(), poll.answered, poll.caught_up), (1, 2, true), "{poll:?}");
    assert!(messenger.paths.is_held(&path), "others answer through it");
    let nodes = messenger.directory.nodes().clone();
    let marked = messenger.paths.shunned(&nodes);
    assert!([11, 12].iter().all(|seed| marked.contains(&node_of(*seed))), "{marked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_would_be_over_by_the_clocks_of_most_members_still_comes() {
    let mut world = World::new(28);
    let five_days = 5 * 86_400;
    world.mailbox.clocks.lock().unwrap().extend(MEMBERS[..3].iter().map(|seed| (*seed, five_days)));
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    world.deliver("kept");
    assert_eq!(received(&mut messenger).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_witness_that_drips_the_list_the_next_one_goes_on_with_what_is_missing() {
    let world = World::new(13);
    // Nine buckets at one every 600 ms are more than one witness may take.
    let mut messenger = world.messenger([1, 2, 3], Duration::from_secs(2)).await;
    let (newest, fetched) = (messenger.directory.clone(), messenger.clock().own().wall);
    let (header, nodes) = world.before_all();
    messenger.directory = Directory::new(header, nodes, fetched, true).unwrap();
    HOPS.iter().for_each(|seed| world.set_dripping(*seed));
    let began = Instant::now();
    messenger.refresh().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(messenger.directory.nodes(), newest.nodes());
    let told = world.list.buckets.lock().unwrap().clone();
    let changed: BTreeSet<_> = HOPS.iter().map(|seed| bucket_of(&node_of(*seed))).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), changed);
    assert!(told.len() <= changed.len() + 2, "but for those under way, none is asked for twice: {told:?}");
    let nodes = messenger.directory.nodes().clone();
    assert!(!messenger.paths.shunned(&nodes).is_empty(), "whoever was slow is marked");
}

/// Has the messenger believe that those who kept the mail before still do.
fn set_back(messenger: &mut Messenger, world: &World) {
    let (header, nodes) = world.before_move();
    messenger.directory = Directory::new(header, nodes, messenger.clock().own().wall, true).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_has_moved_to_another_swarm_is_read_there_at_once() {
    let mut world = World::new(14);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    set_back(&mut messenger, &world);
    world.deliver("moved");
    let received = messenger.receive().await.unwrap();
    assert_eq!(received.messages.len(), 1);
    assert!(received.caught_up, "{received:?}");
    assert_eq!(messenger.keepers(&messenger.inbox()).unwrap().len(), MEMBERS.len(), "the list is the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_had_does_not_fail_the_poll_that_brought_something() {
    let mut world = World::new(15);
    let mut messenger = world.messenger([1, 2, 3], Duration::from_secs(4)).await;
    set_back(&mut messenger, &world);
    let known = messenger.directory.header().header.height;
    assert!(matches!(messenger.refresh_for(known).await.unwrap(), Newer::Nowhere));
    world.list.lying.store(true, Ordering::Relaxed);
    world.deliver("where it was");
    assert!(matches!(messenger.receive().await.unwrap_err(), Error::NoAnswer { asked: 3, .. }));
    // One of the three keeps it still, the others speak of a list that is not to be had.
    world.mailbox.keeping.store(1, Ordering::Relaxed);
    assert_eq!(received(&mut messenger).await, ["where it was"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_members_refuse_and_hops_do_not_is_mended_for_every_page_and_subscription() {
    let mut world = World::new(24);
    world.settled().await;
    // Two whole minutes are what hops allow; more of them are counted towards the end of one.
    while WallClock::system().now().seconds().0 % 60 >= 40 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ahead = 125_000;
    world.ahead.store(ahead, Ordering::Relaxed);
    world.mailbox.page.store(2, Ordering::Relaxed);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    (0..5).for_each(|n: u8| world.deliver(&n.to_string()));
    assert_eq!(received(&mut messenger).await, ["0", "1", "2", "3", "4"]);
    let known = messenger.clock().own_ahead().expect("three have said their time");
    assert!(known.unsigned_abs().abs_diff(ahead) < 40_000, "{known}");
    following(messenger, |mut told| async move {
        until_subscribed(&world, 1).await;
        world.deliver("pushed");
        assert_eq!(next(&mut told).await, "pushed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_to_a_swarm_that_is_not_to_be_found_ends_with_the_reason_and_goes_on_once_it_is() {
    let world = World::new(23);
    let mut messenger = world.messenger([1, 2, 3], Duration::from_secs(4)).await;
    set_back(&mut messenger, &world);
    world.list.lying.store(true, Ordering::Relaxed);
    let id = queue(&mut messenger, "to whoever keeps it");
    let mut rounds = 0;
    let error = messenger.send(&id, |step| rounds += usize::from(matches!(step, Progress::Path { .. }))).await;
    assert!(matches!(error, Err(Error::Moved { .. })), "{error:?}");
    assert_eq!((rounds, world.mailbox.len()), (1, 0));
    world.list.lying.store(false, Ordering::Relaxed);
    messenger.send(&id, |_| ()).await.unwrap();
    assert_eq!(world.mailbox.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_never_agree_on_a_height_end_a_sending_after_some_rounds() {
    let world = World::new(25);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    world.list.disagreeing.store(true, Ordering::Relaxed);
    let id = queue(&mut messenger, "at no height");
    let mut rounds = 0;
    let error = messenger.send(&id, |step| rounds += usize::from(matches!(step, Progress::Path { .. }))).await;
    assert!(matches!(error, Err(Error::Unbelieved(LookupError::Alone))), "{error:?}");
    assert_eq!((rounds, world.mailbox.len()), (UNBELIEVED_ROUNDS, 0));
    world.list.disagreeing.store(false, Ordering::Relaxed);
    messenger.send(&id, |_| ()).await.unwrap();
    assert_eq!(world.mailbox.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_move_with_the_mail_to_another_swarm() {
    let mut world = World::new(16);
    world.mailbox.keeping.store(FORMER.len(), Ordering::Relaxed);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    set_back(&mut messenger, &world);
    following(messenger, |mut told| async move {
        until_subscribed(&world, 1).await;
        world.deliver("where it was");
        assert_eq!(next(&mut told).await, "where it was");
        world.mailbox.keeping.store(0, Ordering::Relaxed);
        let before = world.mailbox.subscriptions.load(Ordering::Relaxed);
        world.deliver("where it is");
        assert_eq!(next(&mut told).await, "where it is");
        until_subscribed(&world, before + 1).await;
        world.deliver("pushed there");
        assert_eq!(next(&mut told).await, "pushed there");
        assert!(told.try_recv().is_err(), "nothing is told twice");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_refuse_subscriptions_are_not_asked_again_while_there_are_others() {
    let mut world = World::new(17);
    world.mailbox.refusing.lock().unwrap().extend(MEMBERS[..3].iter().map(|seed| (*seed, 0)));
    following(world.messenger([1, 2, 3], PATIENCE).await, |mut told| async move {
        until_subscribed(&world, 1).await;
        world.deliver("pushed");
        assert_eq!(next(&mut told).await, "pushed");
        let refusals: usize = world.mailbox.refusing.lock().unwrap().values().sum();
        assert!(refusals <= 5, "each of the three once, or a little more on a busy machine: {refusals}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_freeze_do_not_pass_for_a_quiet_mailbox() {
    let mut world = World::new(18);
    following(world.messenger([1, 2, 3], Duration::from_secs(2)).await, |mut told| async move {
        until_subscribed(&world, 1).await;
        let frozen = world.mailbox.subscribed.lock().unwrap().clone();
        world.set_silent(&frozen, true);
        let began = Instant::now();
        world.deliver("told elsewhere");
        assert_eq!(next(&mut told).await, "told elsewhere");
        assert!(began.elapsed() > Duration::from_secs(5), "nobody pushed it: {:?}", began.elapsed());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_falls_silent_under_subscriptions_is_left_and_no_member_is_marked_for_it() {
    let mut world = World::new(19);
    let patience = Duration::from_secs(1);
    let mut messenger = world.messenger([1, 2, 3], patience).await;
    let silent = messenger.path(Purpose::Receive).await.unwrap();
    let (sender, mut told) = mpsc::channel(64);
    let following = messenger.follow(|followed, _| {
        sender.try_send(followed).unwrap();
        Continue::Yes
    });
    let script = async {
        until_subscribed(&world, 1).await;
        // To the client this is a hop that is frozen.
        world.set_silent(&MEMBERS, true);
        loop {
            match told.recv().await.unwrap() {
                Followed::Interrupted(error) => break assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}"),
                Followed::Subscribed { .. } | Followed::Noticed(_) => {}
                Followed::Messages(messages) => panic!("{messages:?}"),
            }
        }
    };
    tokio::select! {
        ended = following => panic!("{ended:?}"),
        left = tokio::time::timeout(DEADLINE, script) => left.expect("long before the next poll"),
    }
    assert!(!messenger.paths.is_held(&silent), "the path is to blame");
    let nodes = messenger.directory.nodes().clone();
    let (marked, subscribed) = (messenger.paths.shunned(&nodes), world.mailbox.subscribed.lock().unwrap().clone());
    assert!(subscribed.iter().all(|seed| !marked.contains(&node_of(*seed))), "{marked:?}");
    world.set_silent(&MEMBERS, false);
    world.deliver("kept");
    assert_eq!(received(&mut messenger).await, ["kept"]);
}
