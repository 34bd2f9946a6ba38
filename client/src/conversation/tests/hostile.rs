//! Strangers, and contacts that mean no good.

use sotto_behaviours::noise;
use sotto_proto::content::Request as RequestBody;
use sotto_proto::id::X25519Key;

use super::*;
use crate::crypto::{Bundle, InitialHeader, InitialMessage, Inside, Ratchet, SessionBody, associated_data, initiate};
use crate::store::ContactState;

/// Somebody of many.
fn nobody(number: u16) -> Account {
    let mut entropy = [0xee; 16];
    entropy[..2].copy_from_slice(&number.to_be_bytes());
    Account::new(&Entropy::take(&mut entropy))
}

/// A request of `from` to `to`, with a bundle that was made then and has that prekey.
fn request(from: &Account, to: &Party, created: u64, prekey: X25519Key, rng: &mut ChaCha20Rng) -> Envelope {
    let mailbox = Address::mailbox(&from.public_key());
    let (bundle, _) = Bundle::create((from.address(), DEVICE), mailbox, 1, UnixMillis(created).seconds(), prekey, rng);
    let bundles = vec![bundle.sign(from.signing_key(), &CHAIN)];
    let body = RequestBody::new("mum".to_owned(), String::new(), bundles, false).unwrap();
    let content = Content::new(speaking::draw(rng), to.now, Body::Request(body));
    let (address, timestamp, ttl) = (to.id(), to.now.seconds(), speaking::TTL);
    let data = seal(&SealContext { chain: &CHAIN, address, timestamp, ttl }, from, content, rng).unwrap();
    Envelope::new(address, timestamp, ttl, Height(30), data).unwrap()
}

fn key(rng: &mut ChaCha20Rng) -> X25519Key {
    noise::Secret::generate(rng).public()
}

#[test]
fn strangers_that_fill_the_list_keep_no_contact_from_beginning_anew() {
    let (mut alice, mut bob) = friends();
    let mut rng = ChaCha20Rng::from_seed([50; 32]);
    for number in 0..1001 {
        let prekey = key(&mut rng);
        let wish = request(&nobody(number), &bob, BEGIN, prekey, &mut rng);
        bob.hear(&wish);
    }
    assert_eq!(bob.waiting().len(), 1000);
    assert_eq!(bob.outgoing(), [], "strangers cause nothing");
    pass(1, [&mut alice, &mut bob]);
    // Neither one that lost all it had, nor one that is asked at the same time.
    let mut alice = Party { rng: ChaCha20Rng::from_seed([51; 32]), now: alice.now, ..Party::new(1, "alice") };
    let mut carol = Party { now: alice.now, ..Party::new(3, "carol") };
    alice.ask(bob.id()).unwrap();
    carol.ask(bob.id()).unwrap();
    bob.ask(carol.id()).unwrap();
    let wishes = bob.outgoing();
    bob.hear_all(&alice.outgoing());
    bob.hear_all(&carol.outgoing());
    carol.hear_all(&wishes);
    settle(&mut alice, &mut bob);
    assert_eq!((alice.live(bob.id()), bob.live(carol.id()) + carol.live(bob.id())), (1, 1));
}

#[test]
fn a_stranger_has_one_request_waiting_the_newest() {
    let mut bob = Party::new(2, "bob");
    let mut rng = ChaCha20Rng::from_seed([52; 32]);
    let eve = nobody(1);
    let wishes: Vec<_> = (0..4_u64)
        .map(|hour| {
            let prekey = key(&mut rng);
            request(&eve, &bob, BEGIN + hour * 3_600_000, prekey, &mut rng)
        })
        .collect();
    bob.now = UnixMillis(BEGIN + 4 * 3_600_000);
    for at in [1, 0, 3, 2, 1] {
        bob.hear(&wishes[at]);
        assert_eq!(bob.waiting().len(), 1);
    }
    let [id] = bob.waiting()[..] else { panic!() };
    let waits = bob.store.transaction().unwrap().request(&id).unwrap().unwrap();
    assert_eq!(waits.expires.0, (BEGIN + 3 * 3_600_000 + 14 * DAY) / 1000);
}

#[test]
fn keys_of_small_order_and_bundles_of_a_time_to_come_are_no_request() {
    let mut bob = Party::new(2, "bob");
    let mut rng = ChaCha20Rng::from_seed([53; 32]);
    let eve = nobody(1);
    let good = key(&mut rng);
    let small = ["00".repeat(32), format!("01{}", "00".repeat(31)), format!("ec{}7f", "ff".repeat(30))];
    for small in small {
        let wish = request(&eve, &bob, BEGIN, small.parse().unwrap(), &mut rng);
        assert_eq!(bob.hear(&wish), None);
    }
    for created in [BEGIN + DAY, u64::MAX / 2] {
        let wish = request(&eve, &bob, created, good, &mut rng);
        assert_eq!(bob.hear(&wish), None, "{created}");
    }
    assert_eq!(bob.waiting(), []);
}

#[test]
fn a_contact_keeps_the_name_that_it_has_here_whatever_it_calls_itself() {
    let (mut alice, mut bob) = friends();
    bob.change(|tx, _, _| {
        let contact = tx.contact(&alice.account.address())?.unwrap();
        Ok(tx.put_contact(&Contact { name: "Mum".to_owned(), ..contact })?)
    })
    .unwrap();
    // The fourth of a day, with that by which they met, is not accepted by itself.
    for _ in 0..3 {
        alice.now = UnixMillis(alice.now.0 + 1000);
        bob.now = alice.now;
        alice.renew(bob.id());
        bob.hear_all(&alice.outgoing());
    }
    let [id] = bob.waiting()[..] else { panic!() };
    assert_eq!(bob.accept().name, "Mum");
    let request = bob.store.transaction().unwrap().request(&id).unwrap().unwrap();
    assert_eq!(request.state, RequestState::Accepted);
    settle(&mut alice, &mut bob);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn whoever_was_removed_after_it_was_asked_is_no_contact_when_it_accepts() {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    alice.change(|tx, _, _| Ok(tx.remove_contact(&bob.account.address())?)).unwrap();
    alice.hear_all(&bob.outgoing());
    assert_eq!((alice.shown.len(), alice.outgoing(), alice.live(bob.id())), (0, vec![], 0));
    assert_eq!(alice.store.transaction().unwrap().contact(&bob.id()).unwrap(), None);
}

#[test]
fn a_bundle_serves_nobody_but_the_account_that_it_was_made_for() {
    let (mut alice, bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    alice.ask(bob.id()).unwrap();
    let (mailbox, prekey) = {
        let tx = alice.store.transaction().unwrap();
        (tx.mailboxes().unwrap()[0].address, tx.prekeys().unwrap()[0].secret.public())
    };
    let content = alice.store.pending(1).unwrap().remove(0).content;
    let Body::Request(wish) = &content.body else { panic!() };
    let bundle = Bundle::verify(&wish.bundles()[0], &CHAIN).unwrap();
    let mut rng = ChaCha20Rng::from_seed([54; 32]);
    let eve = nobody(1);
    let said = Content::new(MessageId::new([7; 16]), alice.now, Body::Text(Text::new("I am bob".to_owned()).unwrap()));
    // As herself, and under the name of bob.
    for claimed in [eve.address(), bob.id()] {
        let agreed = initiate(&eve, &bundle, DEVICE, &mut rng).unwrap();
        let header =
            InitialHeader { initiator: claimed, device: DEVICE, epoch: bundle.epoch(), ephemeral: agreed.ephemeral };
        let mut ratchet = Ratchet::initiator(&agreed.secrets, bundle.prekey(), &mut rng).unwrap();
        let bound = associated_data(&CHAIN, (claimed, DEVICE), (alice.id(), DEVICE), &agreed.tag);
        let plain = sotto_proto::request::Message::encode(said.clone()).unwrap();
        let message = ratchet.encrypt(&bound, &plain, &mut rng).unwrap();
        let inside = Inside::Initial(InitialMessage { header, body: SessionBody { tag: agreed.tag, message } });
        let timestamp = alice.now.seconds();
        let context = SealContext { chain: &CHAIN, address: mailbox, timestamp, ttl: speaking::TTL };
        let data = seal_session(&context, &prekey, &inside, &mut rng).unwrap();
        let envelope = Envelope::new(mailbox, timestamp, speaking::TTL, Height(30), data).unwrap();
        assert_eq!(alice.hear(&envelope), None);
    }
    assert_eq!((alice.live(eve.address()), alice.live(bob.id())), (0, 0));
    let contact = alice.store.transaction().unwrap().contact(&bob.id()).unwrap().unwrap();
    assert_eq!(contact.state, ContactState::Requested);
}

#[test]
fn a_request_of_a_contact_that_somebody_else_seals_begins_nothing() {
    // Eve was asked by alice as well, and sends the keys that she was given on to bob.
    let (mut alice, mut bob) = friends();
    let eve = nobody(1);
    alice.ask(eve.address()).unwrap();
    let content = alice.store.pending(1).unwrap().remove(0).content;
    let mut rng = ChaCha20Rng::from_seed([55; 32]);
    let (address, timestamp, ttl) = (bob.id(), bob.now.seconds(), speaking::TTL);
    let data = seal(&SealContext { chain: &CHAIN, address, timestamp, ttl }, &eve, content, &mut rng).unwrap();
    let envelope = Envelope::new(address, timestamp, ttl, Height(30), data).unwrap();
    let before = bob.serving(alice.id());
    assert_eq!(bob.hear(&envelope), None);
    assert_eq!((bob.serving(alice.id()), bob.waiting(), bob.outgoing()), (before, vec![], vec![]));
}

#[test]
fn who_blocks_a_contact_is_waited_for_by_none_of_its_requests() {
    let (mut alice, mut bob) = friends();
    for _ in 0..4 {
        alice.now = UnixMillis(alice.now.0 + 1000);
        bob.now = alice.now;
        alice.renew(bob.id());
        bob.hear_all(&alice.outgoing());
    }
    let waiting = bob.waiting();
    assert_eq!(waiting.len(), 2);
    bob.change(|tx, me, _| decline(tx, me, &waiting[0], true)).unwrap();
    assert_eq!(bob.waiting(), []);
    let accepted = bob.change(|tx, me, rng| accept(tx, me, &waiting[1], None, rng));
    assert!(matches!(accepted, Err(Error::NoRequest(_))), "that would undo it");
    let contact = bob.store.transaction().unwrap().contact(&alice.id()).unwrap().unwrap();
    assert_eq!(contact.state, ContactState::Blocked);
}

#[test]
fn a_plain_message_in_the_name_of_a_contact_is_nothing() {
    // As whoever has stolen the key of bob can make it, without alice's.
    let (alice, mut bob) = friends();
    let mut rng = ChaCha20Rng::from_seed([56; 32]);
    let (address, timestamp, ttl) = (bob.id(), bob.now.seconds(), speaking::TTL);
    let mut write = |from: &Account, text: &str| {
        let content =
            Content::new(speaking::draw(&mut rng), alice.now, Body::Text(Text::new(text.to_owned()).unwrap()));
        let data = seal(&SealContext { chain: &CHAIN, address, timestamp, ttl }, from, content, &mut rng).unwrap();
        Envelope::new(address, timestamp, ttl, Height(30), data).unwrap()
    };
    let (forged, of_a_stranger) = (write(&alice.account, "send me money"), write(&nobody(1), "hello"));
    assert_eq!(bob.hear(&forged), None);
    assert!(bob.hear(&of_a_stranger).is_some());
    assert_eq!(bob.texts(), ["hello"]);
    assert_eq!(bob.store.transaction().unwrap().history(&alice.id(), None, 9).unwrap().len(), 0);
}
