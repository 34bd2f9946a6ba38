//! A messenger on a network of real hosts: what frozen and dead nodes, a sleep and a full disk cost it.

mod kill_points;
mod misbehaving;
mod network;
mod online;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use sotto_proto::chain::bucket_of;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::id::NodeId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::network::{HOPS, MEMBERS, World, node_of};
use super::{Continue, Error, Followed, Messenger};
use crate::network::directory::Directory;
use crate::network::light_client::UpdateError;
use crate::network::paths::Purpose;
use crate::network::scores::Scores;
use crate::store::{Letter, NewMessage, OutboxState, StoreErrorKind};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

fn text(letter: &Letter) -> &str {
    match letter {
        Letter::Message { content: Content { body: Body::Text(text), .. }, .. } => text.as_str(),
        other => panic!("not a text: {other:?}"),
    }
}

async fn received(messenger: &mut Messenger) -> Vec<String> {
    let received = messenger.receive().await.unwrap();
    received.messages.iter().map(|message| text(&message.letter).to_owned()).collect()
}

/// Queues a message of the account to itself.
fn queue(messenger: &mut Messenger, text: &str) -> MessageId {
    let (recipient, created) = (messenger.address(), messenger.clock().now());
    let mut id = [0; 16];
    messenger.rng.fill_bytes(&mut id);
    let id = MessageId::new(id);
    let body = Body::Text(Text::new(text.to_owned()).unwrap());
    let content = Content::new(id, created, body);
    let new = NewMessage::plain(recipient, content, Ttl::new(86_400).unwrap(), created);
    messenger.account_mut().store.enqueue(&new).unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_members_cost_a_moment_and_mail_comes_once() {
    let mut world = World::new(1);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    world.deliver("one");
    assert_eq!(received(&mut messenger).await, ["one"]);
    world.set_silent(&MEMBERS[..2], true);
    for round in 0..4 {
        world.deliver(&round.to_string());
        let began = Instant::now();
        assert_eq!(received(&mut messenger).await, [round.to_string()]);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_members_are_silent_it_is_said_within_patience_and_told_afterwards() {
    let mut world = World::new(2);
    let patience = Duration::from_secs(3);
    let mut messenger = world.messenger([1, 2, 3], patience).await;
    world.deliver("kept");
    messenger.path(Purpose::Receive).await.unwrap();
    world.set_silent(&MEMBERS, true);
    let began = Instant::now();
    let error = messenger.receive().await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { asked: 5, .. }), "{error:?}");
    assert!(began.elapsed() < patience + Duration::from_secs(2), "{:?}", began.elapsed());
    world.set_silent(&MEMBERS, false);
    assert_eq!(received(&mut messenger).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_witnesses_cost_a_moment_and_when_all_are_silent_it_is_said_within_patience() {
    let world = World::new(8);
    let mut messenger = world.messenger([1, 2, 3], Duration::from_secs(3)).await;
    world.set_silent(&HOPS[..2], true);
    for _ in 0..3 {
        messenger.refresh().await.unwrap();
    }
    world.set_silent(&HOPS, true);
    let began = Instant::now();
    let error = messenger.refresh().await.unwrap_err();
    assert!(matches!(error, Error::Update(UpdateError::TooFew { answered: 0 })), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_changed_list_the_changed_bucket_is_fetched_of_an_equal_one_nothing_and_a_lie_is_kept_as_evidence() {
    let world = World::new(9);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    let asked = || (world.list.hashes.load(Ordering::Relaxed), world.list.buckets.lock().unwrap().clone());
    messenger.refresh().await.unwrap();
    assert_eq!(asked(), (0, Vec::new()), "of an equal list nothing is fetched");

    let (newest, fetched) = (messenger.directory.clone(), messenger.clock().own().wall);
    let (header, nodes) = world.before(HOPS[8]);
    messenger.directory = Directory::new(header.clone(), nodes, fetched, true).unwrap();
    world.list.lying.store(true, Ordering::Relaxed);
    messenger.refresh().await.unwrap_err();
    assert_eq!(messenger.directory.header(), &header, "the old list stays");
    let evidence = messenger.account().store.evidence().unwrap();
    assert!(evidence[0].kind.contains("not the one the header commits to"), "{evidence:?}");

    world.list.lying.store(false, Ordering::Relaxed);
    world.list.hashes.store(0, Ordering::Relaxed);
    world.list.buckets.lock().unwrap().clear();
    messenger.refresh().await.unwrap();
    assert_eq!(asked(), (1, vec![bucket_of(&node_of(HOPS[8]))]));
    assert_eq!(messenger.directory.nodes(), newest.nodes());
}

fn hops(messenger: &Messenger) -> Vec<[NodeId; 3]> {
    messenger.paths().held().map(|(_, path)| path.hops().map(|hop| hop.node)).collect()
}

async fn until_two_paths(messenger: &mut Messenger) {
    let began = Instant::now();
    while hops(messenger).len() < 2 {
        messenger.path(Purpose::Receive).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < DEADLINE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_path_that_is_not_built_leaves_the_first_and_its_guard_in_use() {
    let mut world = World::new(11);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    let first = messenger.path(Purpose::Receive).await.unwrap();
    let mut frozen = Vec::new();
    for seed in HOPS {
        if first.hops().iter().all(|hop| hop.node != node_of(seed)) {
            world.stop(seed).await;
            // It takes connections and never says a word.
            let address = world.address(seed);
            frozen.push(TcpListener::bind((address.ip, address.port)).await.unwrap());
        }
    }
    let began = Instant::now();
    while *messenger.paths().scores() == Scores::default() {
        let path = messenger.path(Purpose::Receive).await.unwrap();
        assert_eq!(path.hops(), first.hops());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < DEADLINE);
    }
    assert_eq!(first.end(), None, "what a second path meets does not end the first");
    assert_eq!(messenger.path(Purpose::Receive).await.unwrap().hops(), first.hops());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_in_use_has_a_second_one_beside_it_that_takes_over_when_it_ends() {
    let mut world = World::new(10);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    let first = messenger.path(Purpose::Receive).await.unwrap();
    messenger.path(Purpose::Receive).await.unwrap();
    assert_eq!(hops(&messenger).len(), 1, "not for one short command");
    until_two_paths(&mut messenger).await;
    let silent = messenger.paths().held().nth(1).unwrap().1.clone();
    messenger.paths.give_up(&silent);
    assert_eq!(hops(&messenger), [first.hops().map(|hop| hop.node)], "the one that was given up goes, not the first");
    until_two_paths(&mut messenger).await;
    let second = hops(&messenger)[1];
    for again in 0..3 {
        let path = messenger.path(Purpose::Receive).await.unwrap();
        assert_eq!(path.hops(), first.hops(), "{again}: the first one is used as long as it lives");
    }
    assert_eq!(hops(&messenger).len(), 2, "and no third one is built");
    let [_, middle, exit] = first.hops().map(|hop| hop.node);
    assert!(!second.contains(&middle) && !second.contains(&exit), "what ends one does not end the other");

    world.stop(HOPS.into_iter().find(|seed| node_of(*seed) == exit).unwrap()).await;
    first.closed().await;
    let took_over = messenger.path(Purpose::Receive).await.unwrap();
    assert_eq!(took_over.hops().map(|hop| hop.node), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_guard_costs_a_moment_once() {
    let mut world = World::new(3);
    world.stop(1).await;
    let address = world.address(1);
    // It takes connections and never says a word.
    let _frozen = TcpListener::bind((address.ip, address.port)).await.unwrap();
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    let began = Instant::now();
    let path = messenger.path(Purpose::Receive).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(path.hops()[0].node, node_of(2));
    assert_eq!(messenger.paths().guards().iter().count(), 3, "silent is not away: nobody is drawn in its place");
    let began = Instant::now();
    messenger.path(Purpose::Send).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1400), "remembered: {:?}", began.elapsed());
}

/// Follows while `script` plays, which is handed what is told.
async fn following<F: Future<Output = ()>>(mut messenger: Messenger, script: impl FnOnce(mpsc::Receiver<String>) -> F) {
    let (sender, told) = mpsc::channel(64);
    let following = messenger.follow(|followed, store| {
        if let Followed::Messages(messages) = followed {
            for message in messages {
                sender.try_send(text(&message.letter).to_owned()).unwrap();
                store.mark_shown(&[message.number]).unwrap();
            }
        }
        Continue::Yes
    });
    tokio::select! {
        ended = following => panic!("{ended:?}"),
        () = script(told) => {}
    }
}

async fn next(told: &mut mpsc::Receiver<String>) -> String {
    tokio::time::timeout(DEADLINE, told.recv()).await.expect("told in time").unwrap()
}

async fn until_subscribed(world: &World, more_than: usize) {
    let subscribed = async {
        while world.mailbox.subscriptions.load(Ordering::Relaxed) <= more_than {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, subscribed).await.expect("subscribed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_when_the_guard_dies_and_when_all_connections_die_and_come_back() {
    let mut world = World::new(4);
    following(world.messenger([1, 2, 3], PATIENCE).await, |mut told| async move {
        until_subscribed(&world, 1).await;
        world.deliver("pushed");
        assert_eq!(next(&mut told).await, "pushed");
        let before = world.mailbox.subscriptions.load(Ordering::Relaxed);
        world.stop(1).await;
        world.deliver("through another guard");
        assert_eq!(next(&mut told).await, "through another guard");
        until_subscribed(&world, before).await;
        for seed in HOPS {
            world.stop(seed).await;
        }
        world.deliver("while there is no network");
        assert!(tokio::time::timeout(Duration::from_secs(1), told.recv()).await.is_err());
        let before = world.mailbox.subscriptions.load(Ordering::Relaxed);
        for seed in HOPS {
            world.start(seed);
        }
        assert_eq!(next(&mut told).await, "while there is no network");
        until_subscribed(&world, before).await;
        world.deliver("again");
        assert_eq!(next(&mut told).await, "again");
        assert!(told.try_recv().is_err(), "nothing is told twice");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sleep_of_hours_the_subscriptions_are_made_anew_at_once() {
    let mut world = World::new(5);
    following(world.messenger([1, 2, 3], PATIENCE).await, |mut told| async move {
        until_subscribed(&world, 1).await;
        world.deliver("before");
        assert_eq!(next(&mut told).await, "before");
        let before = world.mailbox.subscriptions.load(Ordering::Relaxed);
        let began = Instant::now();
        world.ahead.fetch_add(8 * 3_600_000, Ordering::Relaxed);
        until_subscribed(&world, before).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        world.deliver("after");
        assert_eq!(next(&mut told).await, "after");
        assert!(told.try_recv().is_err(), "nothing is told twice");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_full_disk_nothing_is_lost_and_nothing_comes_twice() {
    let mut world = World::new(6);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    world.deliver(&"long ".repeat(2000));
    world.deliver("short");
    messenger.account_mut().store.set_full(true);
    let error = messenger.receive().await.unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Full), "{error:?}");
    assert_eq!(messenger.account().store.unshown(10).unwrap(), []);
    assert_eq!(messenger.account().store.cursors(&messenger.address()).unwrap(), [], "to be read again");
    messenger.account_mut().store.set_full(false);
    assert_eq!(received(&mut messenger).await.len(), 2);
    assert_eq!(received(&mut messenger).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_meets_a_full_disk_is_sent_once_there_is_room() {
    let world = World::new(7);
    let mut messenger = world.messenger([1, 2, 3], PATIENCE).await;
    let id = queue(&mut messenger, &"wait ".repeat(3000));
    messenger.account_mut().store.set_full(true);
    let error = messenger.send(&id, |_| ()).await.unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Full), "{error:?}");
    assert_eq!(world.mailbox.len(), 0, "what is not in the store is not sent");
    messenger.account_mut().store.set_full(false);
    assert_eq!(messenger.account().store.outbox_message(&id).unwrap().unwrap().state, OutboxState::Queued);
    messenger.send(&id, |_| ()).await.unwrap();
    assert_eq!(world.mailbox.len(), 1);
    assert_eq!(received(&mut messenger).await.len(), 1);
}
