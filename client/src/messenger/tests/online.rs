//! Two messengers that reach each other online, or do not.

#![expect(clippy::large_futures, reason = "each test has a few")]

use super::*;
use crate::conversation::{self, Ask, Me, Saying};
use crate::messenger::{Mode, NotOnline, Went};
use crate::store::{Contact, ContactState, Switch};

/// As the messenger acts for its account.
fn change<T>(
    messenger: &mut Messenger,
    act: impl FnOnce(
        &crate::store::Transaction<'_>,
        &Me<'_>,
        &mut rand_chacha::ChaCha20Rng,
    ) -> Result<T, conversation::Error>,
) -> T {
    let now = messenger.clock.now();
    let done = messenger.account.change(|tx, own| {
        let me = Me { chain: &messenger.chain, account: own.account, name: own.name, now };
        act(tx, &me, &mut messenger.rng)
    });
    done.unwrap()
}

fn say(messenger: &mut Messenger, to: &Messenger, text: &str) -> MessageId {
    let account = to.address();
    say_to(messenger, account, text)
}

fn say_to(messenger: &mut Messenger, account: sotto_proto::address::Address, text: &str) -> MessageId {
    let body = Body::Text(Text::new(text.to_owned()).unwrap());
    let ttl = Ttl::new(86_400).unwrap();
    change(messenger, |tx, me, rng| conversation::say(tx, me, Saying { account, body, ttl }, rng))
}

/// Alice and bob, contacts by a session that both have written by.
async fn contacts(world: &World) -> (Messenger, Messenger) {
    let mut alice = world.messenger([1, 2, 3], PATIENCE).await;
    let mut bob = world.messenger_of_bob([1, 2, 3], PATIENCE).await;
    let whom = bob.address();
    let ask = Ask { account: whom, name: Some("bob"), introduction: "", renew: false };
    change(&mut alice, |tx, me, rng| conversation::ask(tx, me, &ask, rng));
    alice.send_pending(9).await.unwrap();
    bob.receive().await.unwrap();
    change(&mut bob, |tx, me, rng| {
        let id = tx.requests()?.remove(0).id;
        conversation::accept(tx, me, &id, Some("alice"), rng)
    });
    bob.send_pending(9).await.unwrap();
    alice.receive().await.unwrap();
    alice.send_pending(9).await.unwrap();
    bob.receive().await.unwrap();
    (alice, bob)
}

/// Bob follows and listens while `script` plays, which is handed the texts he is told and alice.
async fn bob_follows<F: Future<Output = ()>>(
    world: &World,
    script: impl FnOnce(mpsc::Receiver<String>, Messenger) -> F,
) {
    let (mut alice, mut bob) = contacts(world).await;
    let (sender, told) = mpsc::channel(64);
    bob.listen_while_following();
    let following = bob.follow(|followed, _| {
        if let Followed::Messages(messages) = followed {
            for message in messages {
                if let Letter::Message { content: Content { body: Body::Text(text), .. }, .. } = &message.letter {
                    sender.try_send(text.as_str().to_owned()).unwrap();
                }
            }
        }
        Continue::Yes
    });
    let script = async move {
        let until_known = async {
            loop {
                alice.receive().await.unwrap();
                if place_of_bob(&mut alice) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(DEADLINE, until_known).await.expect("told where bob listens");
        script(told, alice).await;
    };
    tokio::select! {
        ended = following => panic!("{ended:?}"),
        () = script => {}
    }
}

fn bob(alice: &mut Messenger) -> Contact {
    change(alice, |tx, _, _| Ok(tx.contact_named("bob")?.unwrap()))
}

/// Whether alice knows where bob listens.
fn place_of_bob(alice: &mut Messenger) -> bool {
    let account = bob(alice).account;
    change(alice, |tx, me, _| Ok(tx.place(&account, me.now.seconds())?)).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_online_without_being_stored_is_acknowledged_and_shown_once() {
    let world = &World::new(40);
    world.mailbox.doubling.store(1, Ordering::Relaxed);
    bob_follows(world, |mut told, mut alice| async move {
        let (account, stored) = (bob(&mut alice).account, world.mailbox.len());
        for text in ["one", "two"] {
            let id = say_to(&mut alice, account, text);
            let went = alice.send_by(&id, Mode::Online, |_| ()).await.unwrap();
            assert!(matches!(&went, Went::Online(pushed) if pushed.id == id), "{went:?}");
            assert_eq!(next(&mut told).await, text);
            assert_eq!(alice.account().store.outbox_message(&id).unwrap().unwrap().state, OutboxState::Delivered);
        }
        assert_eq!(world.mailbox.len(), stored, "nothing of it was stored");
        assert_eq!(alice.send_pending(9).await.unwrap(), (0, 0), "and nothing is left to be");
        assert!(told.try_recv().is_err(), "nothing is told twice");
        let seeds = world.mailbox.listenings.lock().unwrap().clone();
        assert!(seeds.iter().all(|seed| !MEMBERS.contains(seed)), "{seeds:?}: not in the swarm that keeps the mail");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_acknowledges_is_stored_after_three_seconds_and_shown_once() {
    let world = &World::new(41);
    bob_follows(world, |mut told, mut alice| async move {
        let account = bob(&mut alice).account;
        world.mailbox.swallowing.store(true, Ordering::Relaxed);
        let id = say_to(&mut alice, account, "swallowed");
        let began = Instant::now();
        let went = alice.send_by(&id, Mode::Auto, |_| ()).await.unwrap();
        assert!(matches!(went, Went::Offline(_)), "{went:?}");
        assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(next(&mut told).await, "swallowed");
        let id = say_to(&mut alice, account, "kept");
        let error = alice.send_by(&id, Mode::Online, |_| ()).await.unwrap_err();
        assert!(matches!(error, Error::NotOnline(NotOnline::Unacknowledged)), "{error:?}");
        alice.send(&id, |_| ()).await.unwrap();
        assert_eq!(next(&mut told).await, "kept");
        assert!(told.try_recv().is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_gone_is_written_to_offline_at_once_and_read_when_he_comes_back() {
    let world = World::new(42);
    let (mut alice, mut bob_again) = contacts(&world).await;
    bob_again.listen_while_following();
    let listened = async {
        while !place_of_bob(&mut alice) {
            alice.receive().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        ended = bob_again.follow(|_, _| Continue::Yes) => panic!("{ended:?}"),
        done = tokio::time::timeout(DEADLINE, listened) => done.expect("told where bob listens"),
    }
    // He follows no more, and his listening goes with it.
    bob_again.stop_listening();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (id, began) = (say(&mut alice, &bob_again, "later"), Instant::now());
    let went = alice.send_by(&id, Mode::Auto, |_| ()).await.unwrap();
    assert!(matches!(went, Went::Offline(_)) && !place_of_bob(&mut alice), "{went:?}: forgotten");
    let id = say(&mut alice, &bob_again, "still later");
    let error = alice.send_by(&id, Mode::Online, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::NotOnline(NotOnline::Unknown)), "{error:?}");
    alice.send(&id, |_| ()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(received(&mut bob_again).await, ["later", "still later"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_is_neither_heard_nor_acknowledged_and_his_tag_is_taken_away() {
    let world = World::new(43);
    let (mut alice, mut bob) = contacts(&world).await;
    bob.listen_while_following();
    bob.receive().await.unwrap();
    let (_, has_news) = bob.keep_listening().await.unwrap();
    assert!(has_news);
    bob.tell_places().await.unwrap();
    bob.send_pending(9).await.unwrap();
    while !place_of_bob(&mut alice) {
        alice.receive().await.unwrap();
    }
    let (asker, before) = (alice.address(), bob.account().store.newest().unwrap());
    change(&mut bob, |tx, _, _| {
        let contact = tx.contact(&asker)?.unwrap();
        Ok(tx.put_contact(&Contact { state: ContactState::Blocked, ..contact })?)
    });
    let id = say(&mut alice, &bob, "unheard");
    let (pushed, ()) = tokio::join!(alice.send_by(&id, Mode::Online, |_| ()), async {
        let came = tokio::time::timeout(DEADLINE, bob.online.next()).await.unwrap().unwrap();
        bob.take_pushed(came).await.unwrap();
        let place = tokio::time::timeout(Duration::from_millis(300), bob.online.next()).await;
        if let Ok(Some(came)) = place {
            bob.take_pushed(came).await.unwrap();
        }
    });
    assert!(matches!(pushed, Err(Error::NotOnline(NotOnline::Unacknowledged))), "{pushed:?}");
    assert_eq!(world.mailbox.pushes.load(Ordering::Relaxed), 2, "alice's place and message, and no answer");
    assert_eq!(bob.account().store.inbox_after(before, 9).unwrap(), []);
    bob.listen_while_following();
    bob.keep_listening().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = alice.send_by(&id, Mode::Online, |_| ()).await;
    assert!(matches!(again, Err(Error::NotOnline(NotOnline::Gone))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_it_is_known_to_be_online_to_all_who_know_his_id_and_contacts_reach_him_by_that() {
    let world = World::new(44);
    let (mut alice, mut bob) = contacts(&world).await;
    let account = bob.address();
    bob.listen_while_following();
    bob.keep_listening().await.unwrap();
    assert_eq!(alice.presence(&account).await.unwrap(), None, "nobody is told unless he wants it");
    change(&mut bob, |tx, _, _| Ok(tx.turn(Switch::PublicPresence, true)?));
    bob.keep_listening().await.unwrap();
    let set = alice.presence(&account).await.unwrap().unwrap();
    assert_eq!(set.places().len(), 1);
    assert!(!place_of_bob(&mut alice), "alice was not told");
    let id = say(&mut alice, &bob, "found");
    let (sent, ()) = tokio::join!(alice.send_by(&id, Mode::Online, |_| ()), async {
        // Her place, and the message.
        for _ in 0..2 {
            let came = tokio::time::timeout(DEADLINE, bob.online.next()).await.unwrap().unwrap();
            bob.take_pushed(came).await.unwrap();
        }
    });
    assert!(matches!(sent, Ok(Went::Online(_))), "{sent:?}");
    // Off again, that is taken back, and contacts alone are listened for.
    change(&mut bob, |tx, _, _| Ok(tx.turn(Switch::PublicPresence, false)?));
    bob.keep_listening().await.unwrap();
    assert_eq!(alice.presence(&account).await.unwrap(), None, "taken back");
    let (public, own) = change(&mut bob, |tx, me, _| {
        Ok((tx.public_places(&account, me.now.seconds())?, tx.own_places(me.now.seconds())?))
    });
    assert_eq!((public, own.len()), (Vec::new(), 1));
}
