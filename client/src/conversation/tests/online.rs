//! Places where somebody listens, what is pushed there, and that it came.

use sotto_proto::content::{Acknowledgement, Listening, ListeningTag, MessageIds};
use sotto_proto::id::NodeId;
use sotto_proto::limits::LISTENING_SECONDS;
use sotto_proto::request::PushData;
use sotto_proto::time::UnixSeconds;

use super::*;
use crate::conversation::online::Pushed;
use crate::crypto::{PushContext, seal_push};
use crate::store::{ContactState, ListeningPlace, OutboxState};

const NODE: NodeId = NodeId::new([7; 32]);

fn tag(byte: u8) -> ListeningTag {
    ListeningTag::new([byte; 16])
}

fn context(byte: u8) -> PushContext<'static> {
    PushContext { chain: &CHAIN, node: NODE, tag: tag(byte) }
}

fn at(byte: u8, until: u64) -> Body {
    Body::Listening(Listening::At { node: NODE, tag: tag(byte), until: UnixSeconds(until) })
}

impl Party {
    fn seconds(&self) -> u64 {
        self.now.seconds().0
    }

    /// Listens for a contact by a tag.
    fn listen_for(&mut self, whom: Address, byte: u8) {
        let place = ListeningPlace { node: NODE, tag: tag(byte), until: UnixSeconds(self.seconds() + 600) };
        self.change(|tx, _, _| Ok(tx.add_own_place(&whom, &place)?)).unwrap();
    }

    /// Where a contact listens, as far as it said.
    fn place(&mut self, of: Address) -> Option<ListeningPlace> {
        self.change(|tx, me, _| Ok(tx.place(&of, me.now.seconds())?)).unwrap()
    }

    /// Something arranged, sealed for the listening of that tag.
    fn arrange(&mut self, whom: Address, body: Body, byte: u8) -> PushData {
        let delivery = self.change(|tx, me, rng| arrange(tx, me, &whom, body, rng)).unwrap().unwrap();
        seal_push(&context(byte), &delivery.seal_key, &delivery.inside.unwrap(), &mut self.rng).unwrap()
    }

    /// A message of the outbox, sealed for the listening of that tag.
    fn push(&mut self, id: &MessageId, byte: u8) -> PushData {
        let message = self.store.outbox_message(id).unwrap().unwrap();
        let delivery = self.change(|tx, me, rng| delivery(tx, me, &message, rng)).unwrap();
        seal_push(&context(byte), &delivery.seal_key, &delivery.inside.unwrap(), &mut self.rng).unwrap()
    }

    fn hear_pushed(&mut self, data: &PushData, byte: u8) -> Option<Pushed> {
        let heard = self.change(|tx, me, rng| Ok(hear_pushed(tx, me, &context(byte), data, rng)?)).unwrap();
        if let Some(Pushed { letter: Some(Letter::Message { sender, content, .. }), .. }) = &heard {
            self.shown.push((*sender, content.clone()));
        }
        heard
    }

    fn state(&self, id: &MessageId) -> OutboxState {
        self.store.outbox_message(id).unwrap().unwrap().state
    }

    fn set_state(&mut self, of: Address, state: ContactState) {
        let change = |tx: &Transaction<'_>| {
            let contact = tx.contact(&of)?.unwrap();
            Ok(tx.put_contact(&Contact { state, ..contact })?)
        };
        self.change(|tx, _, _| change(tx)).unwrap();
    }
}

#[test]
fn a_message_that_is_pushed_and_stored_is_shown_once_and_acknowledged_once() {
    for pushed_first in [true, false] {
        let (mut alice, mut bob) = friends();
        bob.listen_for(alice.id(), 3);
        let id = alice.say(bob.id(), "once").unwrap();
        let (data, envelope) = (alice.push(&id, 3), alice.seal(&id));
        let acknowledge = if pushed_first {
            let heard = bob.hear_pushed(&data, 3).unwrap();
            assert_eq!(bob.hear(&envelope), None);
            heard.acknowledge
        } else {
            bob.hear(&envelope).unwrap();
            bob.hear_pushed(&data, 3).unwrap().acknowledge
        };
        assert_eq!(acknowledge, pushed_first.then_some(id));
        // Whatever the node hands over again changes nothing.
        assert_eq!(bob.hear_pushed(&data, 3).unwrap().acknowledge, None);
        assert_eq!(bob.texts(), ["once"]);
        still_talk(&mut alice, &mut bob);
    }
}

#[test]
fn what_is_acknowledged_is_sent_no_more_and_nothing_of_others_is() {
    let (mut alice, mut bob) = friends();
    // A third one's message is in the same outbox.
    let mut carol = Party::new(3, "carol");
    befriend(&mut alice, &mut carol);
    alice.listen_for(bob.id(), 4);
    let (came, other) = (alice.say(bob.id(), "came").unwrap(), alice.say(bob.id(), "other").unwrap());
    let foreign = alice.say(carol.id(), "for carol").unwrap();
    let ids = MessageIds::new(vec![came, foreign, MessageId::new([9; 16])]).unwrap();
    let word = bob.arrange(alice.id(), Body::Acknowledge(Acknowledgement::new(ids).unwrap()), 4);
    let heard = alice.hear_pushed(&word, 4).unwrap();
    assert_eq!((heard.letter, heard.acknowledge), (None, None), "nobody acknowledges acknowledgements");
    let states = [came, other, foreign].map(|id| alice.state(&id));
    assert_eq!(states[0], OutboxState::Delivered);
    assert!(states[1..].iter().all(|state| *state != OutboxState::Delivered), "{states:?}");
    let pending: Vec<_> = alice.store.pending(9).unwrap().into_iter().map(|message| message.id).collect();
    assert!(!pending.contains(&came) && pending.contains(&other), "{pending:?}");
}

#[test]
fn a_place_is_the_one_said_last_whatever_comes_last_and_lasts_no_longer_than_a_listening() {
    let (mut alice, mut bob) = friends();
    alice.listen_for(bob.id(), 4);
    let until = bob.seconds() + 600;
    let first = bob.arrange(alice.id(), at(5, until), 4);
    bob.now = UnixMillis(bob.now.0 + 1);
    let second = bob.arrange(alice.id(), at(6, u64::MAX), 4);
    alice.hear_pushed(&second, 4).unwrap();
    alice.hear_pushed(&first, 4).unwrap();
    let place = alice.place(bob.id()).unwrap();
    assert_eq!((place.tag, place.until), (tag(6), UnixSeconds(alice.seconds() + LISTENING_SECONDS)));
    alice.now = UnixMillis(alice.now.0 + 1000 * LISTENING_SECONDS);
    assert_eq!(alice.place(bob.id()), None, "over");
    bob.now = alice.now;
    let again = bob.arrange(alice.id(), at(7, bob.seconds() + 60), 4);
    alice.hear_pushed(&again, 4).unwrap();
    assert!(alice.place(bob.id()).is_some());
    bob.now = UnixMillis(bob.now.0 + 1);
    let stopped = bob.arrange(alice.id(), Body::Listening(Listening::Stopped), 4);
    alice.hear_pushed(&stopped, 4).unwrap();
    assert_eq!(alice.place(bob.id()), None);
}

#[test]
fn a_place_told_by_mail_has_no_number_and_is_kept_as_long_as_it_is_true() {
    let (mut alice, mut bob) = friends();
    let place = ListeningPlace { node: NODE, tag: tag(5), until: UnixSeconds(bob.seconds() + 500) };
    let whom = alice.id();
    bob.change(|tx, me, rng| tell_place(tx, me, &whom, &place, rng)).unwrap();
    let [word] = &bob.store.pending(9).unwrap()[..] else { panic!("one word") };
    assert_eq!((word.content.sequence, word.ttl.seconds()), (0, 500));
    alice.hear_all(&bob.outgoing());
    assert_eq!(alice.place(bob.id()), Some(place));
    assert_eq!(alice.texts(), Vec::<String>::new());
    still_talk(&mut alice, &mut bob);
}

#[test]
fn who_is_no_contact_any_more_has_neither_tag_nor_place() {
    let (mut alice, mut bob) = friends();
    bob.listen_for(alice.id(), 3);
    let id = alice.say(bob.id(), "unheard").unwrap();
    let data = alice.push(&id, 3);
    let place = alice.arrange(bob.id(), at(8, alice.seconds() + 60), 3);
    assert!(bob.hear_pushed(&place, 3).is_some() && bob.place(alice.id()).is_some());
    bob.set_state(alice.id(), ContactState::Blocked);
    assert_eq!(bob.hear_pushed(&data, 3), None);
    assert_eq!(bob.place(alice.id()), None);
    let whom = alice.id();
    let arranged = bob.change(|tx, me, rng| arrange(tx, me, &whom, at(3, 1), rng)).unwrap();
    assert!(arranged.is_none(), "nothing is told to it");
    assert_eq!(bob.change(|tx, me, _| Ok(tx.own_places(me.now.seconds())?)).unwrap(), []);
    bob.set_state(alice.id(), ContactState::Accepted);
    bob.change(|tx, _, _| Ok(tx.remove_contact(&whom)?)).unwrap();
    for table in ["place", "own_place"] {
        assert_eq!(bob.store.count(table), 0, "{table}");
    }
}

#[test]
fn a_tag_serves_the_contact_it_was_given_to_at_its_node_and_nobody_else() {
    let (mut alice, mut bob) = friends();
    let mut carol = Party::new(3, "carol");
    befriend(&mut carol, &mut bob);
    bob.listen_for(alice.id(), 3);
    let id = carol.say(bob.id(), "by alice's tag").unwrap();
    let data = carol.push(&id, 3);
    assert_eq!(bob.hear_pushed(&data, 3), None);
    assert_eq!(bob.texts(), Vec::<String>::new());
    assert!(bob.hear(&carol.seal(&id)).is_some(), "it comes by the other way");
    let data = alice.arrange(bob.id(), at(5, 1), 9);
    assert_eq!(bob.hear_pushed(&data, 9), None, "a tag that nobody has");
}

#[test]
fn before_an_answer_a_push_may_begin_a_session_and_is_not_acknowledged() {
    let (mut alice, mut bob) = friends();
    bob.listen_for(alice.id(), 3);
    pass(1, [&mut alice, &mut bob]);
    bob.renew(alice.id());
    alice.hear_all(&bob.outgoing());
    bob.listen_for(alice.id(), 4);
    let id = alice.say(bob.id(), "anew").unwrap();
    let heard = bob.hear_pushed(&alice.push(&id, 4), 4).unwrap();
    assert_eq!((heard.from, heard.acknowledge), (alice.id(), None));
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["anew"]);
    still_talk(&mut alice, &mut bob);
}

#[test]
fn by_the_public_tag_contacts_are_heard_and_nobody_else() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    bob.listen_for(b, 9);
    let id = alice.say(b, "by the public tag").unwrap();
    let data = alice.push(&id, 9);
    let heard = bob.hear_pushed(&data, 9).unwrap();
    assert_eq!((heard.from, heard.acknowledge), (a, Some(id)));
    let id = alice.say(b, "again").unwrap();
    let data = alice.push(&id, 9);
    bob.set_state(a, ContactState::Blocked);
    assert_eq!(bob.hear_pushed(&data, 9), None, "blocked");
    bob.set_state(a, ContactState::Accepted);
    assert_eq!(bob.change(|tx, _, _| Ok(tx.drop_public_places(&b)?)).unwrap(), 1);
    assert_eq!(bob.hear_pushed(&data, 9), None, "nobody listens");
    bob.listen_for(b, 9);
    assert_eq!(bob.hear_pushed(&data, 9).map(|heard| heard.acknowledge), Some(Some(id)));
}
