//! Other words, signs, deletion, disappearing, receipts: what one end says the other shows.

use sotto_proto::content::MessageIds;
use sotto_proto::content::{Edit, Emoji, Expiry, ExpiryStart, Reaction, Receipt, Typing};

use super::*;
use crate::store::{OutboxState, Place, Said, Switch};

fn text(text: &str) -> Text {
    Text::new(text.to_owned()).unwrap()
}

fn emoji(sign: &str) -> Option<Emoji> {
    Some(Emoji::new(sign.to_owned()).unwrap())
}

impl Party {
    pub(super) fn history(&mut self, with: Address) -> Vec<(Place, Said)> {
        self.store.transaction().unwrap().history(&with, None, usize::MAX).unwrap()
    }

    /// What is shown of a conversation: words, or `None` where a message was deleted.
    pub(super) fn words(&mut self, with: Address) -> Vec<Option<String>> {
        let history = self.history(with);
        let words = |(_, said): (Place, Said)| match said.content.body {
            Body::Text(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        history.into_iter().map(words).collect()
    }

    fn edit(&mut self, with: Address, of: MessageId, words: &str) -> Result<MessageId, Error> {
        self.change(|tx, me, rng| edit(tx, me, (&with, &of), text(words), rng))
    }

    fn delete(&mut self, with: Address, of: MessageId) -> Result<MessageId, Error> {
        self.change(|tx, me, rng| delete(tx, me, (&with, &of), rng))
    }

    fn react(&mut self, with: Address, to: MessageId, sign: Option<Emoji>) -> Result<MessageId, Error> {
        self.change(|tx, me, rng| react(tx, me, (&with, &to), sign, rng))
    }

    fn signs(&mut self, with: Address, to: MessageId) -> Vec<(bool, String)> {
        let signs = self.store.transaction().unwrap().reactions(&with, &to).unwrap();
        signs.into_iter().map(|(outgoing, emoji)| (outgoing, emoji.as_str().to_owned())).collect()
    }

    /// Says something that the rules would not let it say.
    fn forge(&mut self, with: Address, body: Body) {
        let saying = Saying { account: with, body, ttl: speaking::TTL };
        self.change(|tx, me, rng| say(tx, me, saying, rng)).unwrap();
    }

    fn tend(&mut self) -> (Vec<Notice>, bool) {
        self.change(|tx, me, rng| tend(tx, me, rng)).unwrap()
    }

    /// As the messenger does: what was heard is in the inbox, and shown.
    fn show_all(&mut self, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let outcome = self.change(|tx, me, rng| Ok(hear(tx, me, envelope, rng)?)).unwrap();
            self.notices.extend(outcome.notices);
            let record = envelope.id(&CHAIN);
            let arrival = crate::store::Arrival { record, expiry: envelope.expiry(), letter: outcome.letter };
            self.change(|tx, me, _| Ok(tx.take(arrival, me.now)?)).unwrap();
        }
    }

    fn mark_shown(&mut self) {
        let numbers: Vec<_> =
            self.store.unshown(usize::MAX >> 1).unwrap().iter().map(|message| message.number).collect();
        self.store.mark_shown(&numbers).unwrap();
    }
}

fn some(words: &[&str]) -> Vec<Option<String>> {
    words.iter().map(|words| Some((*words).to_owned())).collect()
}

#[test]
fn other_words_take_the_place_of_the_first_and_the_latest_wins_in_any_order() {
    let (mut alice, mut bob) = friends();
    let id = alice.say(bob.id(), "one").unwrap();
    alice.edit(bob.id(), id, "two").unwrap();
    // Her clock is set back: her last words are the last all the same.
    alice.now = UnixMillis(alice.now.0 - 60_000);
    alice.edit(bob.id(), id, "three").unwrap();
    assert_eq!(alice.words(bob.id()), some(&["three"]));
    let mut envelopes = alice.outgoing();
    envelopes.reverse();
    bob.hear_all(&envelopes[..2]);
    assert_eq!((bob.words(alice.id()), bob.texts().len()), (vec![], 0), "they wait for their message");
    bob.hear_all(&envelopes);
    assert_eq!((bob.words(alice.id()), bob.texts()), (some(&["three"]), vec!["three".to_owned()]));
}

#[test]
fn nobody_changes_what_somebody_else_said() {
    let (mut alice, mut bob) = friends();
    let own = bob.say(alice.id(), "bob's").unwrap();
    settle(&mut alice, &mut bob);
    assert!(matches!(alice.edit(bob.id(), own, "x"), Err(Error::NotOwn(_))));
    assert!(matches!(alice.delete(bob.id(), own), Err(Error::NotOwn(_))));
    assert!(matches!(alice.react(bob.id(), MessageId::new([9; 16]), emoji("x")), Err(Error::NoMessage(_))));
    alice.forge(bob.id(), Body::Edit(Edit { of: own, text: text("forged") }));
    alice.forge(bob.id(), Body::Delete(own));
    settle(&mut alice, &mut bob);
    assert_eq!(bob.words(alice.id()), some(&["bob's"]));
    assert_eq!(bob.notices, []);
}

#[test]
fn a_deletion_is_for_good_and_before_its_message_has_it_never_shown() {
    let (mut alice, mut bob) = friends();
    let (id, other) = (alice.say(bob.id(), "one").unwrap(), alice.say(bob.id(), "two").unwrap());
    settle(&mut alice, &mut bob);
    alice.delete(bob.id(), id).unwrap();
    assert!(matches!(alice.edit(bob.id(), id, "x"), Err(Error::NoMessage(_))));
    alice.forge(bob.id(), Body::Edit(Edit { of: id, text: text("x") }));
    settle(&mut alice, &mut bob);
    let expected = vec![None, Some("two".to_owned())];
    assert_eq!((alice.words(bob.id()), bob.words(alice.id())), (expected.clone(), expected));
    assert_eq!(bob.notices, [Notice { account: alice.id(), change: Change::Deleted(id) }]);
    let hidden = alice.say(bob.id(), "three").unwrap();
    let message = alice.outgoing();
    alice.delete(bob.id(), hidden).unwrap();
    alice.delete(bob.id(), other).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.hear_all(&message);
    assert_eq!(bob.words(alice.id()), [None, None, None]);
    assert!(!bob.texts().contains(&"three".to_owned()));
}

#[test]
fn what_is_deleted_before_it_left_goes_without_its_words_and_leaves_no_gap() {
    let (mut alice, mut bob) = friends();
    let id = alice.say(bob.id(), "never to be read").unwrap();
    alice.delete(bob.id(), id).unwrap();
    alice.say(bob.id(), "next").unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!(bob.texts(), ["next"]);
    assert_eq!(bob.words(alice.id()), [None, Some("next".to_owned())]);
    let numbers = bob.store.transaction().unwrap().numbers_of(&alice.id()).unwrap();
    assert_eq!(numbers.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_person_has_one_sign_beside_a_message_of_either() {
    let (mut alice, mut bob) = friends();
    let id = alice.say(bob.id(), "one").unwrap();
    settle(&mut alice, &mut bob);
    bob.react(alice.id(), id, emoji("👍")).unwrap();
    alice.react(bob.id(), id, emoji("❤")).unwrap();
    settle(&mut alice, &mut bob);
    bob.react(alice.id(), id, emoji("🎉")).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!(alice.signs(bob.id(), id), [(false, "🎉".to_owned()), (true, "❤".to_owned())]);
    assert_eq!(bob.signs(alice.id(), id), [(false, "❤".to_owned()), (true, "🎉".to_owned())]);
    bob.react(alice.id(), id, None).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((alice.signs(bob.id(), id).len(), bob.signs(alice.id(), id).len()), (1, 1));
    assert_eq!(alice.history(bob.id()).len(), 1, "signs are no messages of their own");
    assert_eq!(alice.notices.len(), 3);
}

#[test]
fn no_more_waits_for_messages_that_never_come_than_may() {
    let (mut alice, mut bob) = friends();
    for n in 0..300_u16 {
        let mut of = [7; 16];
        of[..2].copy_from_slice(&n.to_be_bytes());
        alice.forge(bob.id(), Body::Delete(MessageId::new(of)));
    }
    settle(&mut alice, &mut bob);
    let waiting =
        |party: &mut Party, with: Address| party.store.transaction().unwrap().waiting_beyond(&with, 0).unwrap().len();
    assert_eq!(waiting(&mut bob, alice.id()), 256);
    pass(15, [&mut alice, &mut bob]);
    bob.tidy();
    assert_eq!(waiting(&mut bob, alice.id()), 0);
}

#[test]
fn messages_disappear_at_both_ends_and_are_not_taken_in_again() {
    let (mut alice, mut bob) = friends();
    let with = bob.id();
    let expiry = Expiry::new(ExpiryStart::Sent, 60).ok();
    let saying = Saying { account: with, body: Body::Text(text("soon gone")), ttl: speaking::TTL };
    alice.change(|tx, me, rng| say_for(tx, me, saying, expiry, rng)).unwrap();
    let envelopes = alice.outgoing();
    bob.hear_all(&envelopes);
    assert_eq!((alice.words(bob.id()).len(), bob.words(alice.id()).len()), (1, 1));
    for party in [&mut alice, &mut bob] {
        party.now = UnixMillis(party.now.0 + 60_000);
        assert_eq!(party.tend().0.len(), 1);
    }
    assert_eq!((alice.words(bob.id()).len(), bob.words(alice.id()).len()), (0, 0));
    bob.hear_all(&envelopes);
    assert_eq!(bob.texts().len(), 1);
    // What comes too late is not shown at all.
    let saying = Saying { account: with, body: Body::Text(text("late")), ttl: speaking::TTL };
    alice.change(|tx, me, rng| say_for(tx, me, saying, expiry, rng)).unwrap();
    bob.now = UnixMillis(bob.now.0 + 60_000);
    bob.hear_all(&alice.outgoing());
    assert_eq!((bob.texts().len(), bob.words(alice.id()).len()), (1, 0));
}

#[test]
fn a_clock_that_is_ahead_does_not_keep_a_message_longer_than_its_time_here() {
    let (mut alice, mut bob) = friends();
    alice.now = UnixMillis(alice.now.0 + 300 * DAY);
    let saying = Saying { account: bob.id(), body: Body::Text(text("x")), ttl: speaking::TTL };
    let expiry = Expiry::new(ExpiryStart::Sent, 60).ok();
    alice.change(|tx, me, rng| say_for(tx, me, saying, expiry, rng)).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.now = UnixMillis(bob.now.0 + 60_000);
    bob.tend();
    assert_eq!(bob.words(alice.id()), []);
}

#[test]
fn both_ends_have_the_timer_that_was_said_last() {
    let (mut alice, mut bob) = friends();
    let timer = |party: &mut Party, with: Address| party.store.transaction().unwrap().timer(&with).unwrap().unwrap().0;
    let hour = Expiry::new(ExpiryStart::Read, 3600).ok();
    let day = Expiry::new(ExpiryStart::Sent, 86_400).ok();
    let (a, b) = (alice.id(), bob.id());
    // Both at once.
    alice.change(|tx, me, rng| set_timer(tx, me, &b, hour, rng)).unwrap();
    bob.now = UnixMillis(bob.now.0 + 1);
    bob.change(|tx, me, rng| set_timer(tx, me, &a, day, rng)).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((timer(&mut alice, b), timer(&mut bob, a)), (day, day));
    // Hers is later, although her clock is behind.
    alice.now = UnixMillis(alice.now.0 - 50_000);
    alice.change(|tx, me, rng| set_timer(tx, me, &b, hour, rng)).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((timer(&mut alice, b), timer(&mut bob, a)), (hour, hour));
    let id = alice.say(bob.id(), "disappears").unwrap();
    assert_eq!(alice.store.outbox_message(&id).unwrap().unwrap().content.expiry, hour);
    bob.change(|tx, me, rng| set_timer(tx, me, &a, None, rng)).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((timer(&mut alice, b), timer(&mut bob, a)), (None, None));
}

#[test]
fn receipts_are_off_until_they_are_wanted_and_tell_what_came_and_what_was_read() {
    let (mut alice, mut bob) = friends();
    let state = |party: &Party, id: &MessageId| party.store.outbox_message(id).unwrap().unwrap().state;
    let first = alice.say(bob.id(), "untold").unwrap();
    bob.show_all(&alice.outgoing());
    bob.mark_shown();
    assert_eq!((bob.tend(), bob.outgoing()), ((vec![], false), vec![]));
    bob.change(|tx, _, _| Ok(tx.turn(Switch::Receipts, true)?)).unwrap();
    let (one, two) = (alice.say(bob.id(), "one").unwrap(), alice.say(bob.id(), "two").unwrap());
    let envelopes = alice.outgoing();
    bob.show_all(&envelopes);
    assert!(bob.tend().1);
    let receipts = bob.outgoing();
    assert_eq!(receipts.len(), 1, "for both in one");
    alice.hear_all(&receipts);
    assert_eq!((state(&alice, &one), state(&alice, &first)), (OutboxState::Delivered, OutboxState::Stored));
    bob.show_all(&envelopes);
    assert!(!bob.tend().1, "once");
    bob.mark_shown();
    bob.tend();
    alice.hear_all(&bob.outgoing());
    assert_eq!((state(&alice, &one), state(&alice, &two)), (OutboxState::Read, OutboxState::Read));
    assert_eq!(alice.notices.len(), 2);
    // Nothing answers a receipt, and what is over is forgotten.
    assert_eq!(alice.outgoing(), []);
    assert_eq!(alice.shown.len(), 1, "that bob has accepted");
    pass(1, [&mut bob]);
    bob.tend();
    assert_eq!(bob.store.transaction().unwrap().drop_passing(bob.now).unwrap(), 0);
    let carol = alice.id();
    assert_eq!(bob.store.transaction().unwrap().numbers_of(&carol).unwrap().len(), 3);
}

#[test]
fn a_receipt_for_what_was_never_sent_to_its_sender_means_nothing() {
    let (mut alice, bob) = friends();
    let mut carol = Party::new(3, "carol");
    befriend(&mut alice, &mut carol);
    let id = alice.say(bob.id(), "to bob").unwrap();
    let ids = MessageIds::new(vec![id]).unwrap();
    carol.forge(alice.id(), Body::Receipt(Receipt::new(ids, MessageIds::default()).unwrap()));
    alice.hear_all(&carol.outgoing());
    assert_eq!(alice.store.outbox_message(&id).unwrap().unwrap().state, OutboxState::Queued);
    assert_eq!(alice.notices, []);
}

#[test]
fn who_is_writing_is_told_where_both_want_it_and_never_kept() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    let tell = |party: &mut Party, with: Address| {
        party.change(|tx, me, rng| tell_typing(tx, me, &with, Typing::Started, rng)).unwrap()
    };
    assert!(!tell(&mut alice, b));
    for party in [&mut alice, &mut bob] {
        party.change(|tx, _, _| Ok(tx.turn(Switch::Typing, true)?)).unwrap();
    }
    assert!(tell(&mut alice, b));
    bob.hear_all(&alice.outgoing());
    assert_eq!(bob.notices, [Notice { account: a, change: Change::Typing(Typing::Started) }]);
    assert_eq!(bob.history(a).len(), 0);
    // A minute later it is no news, and does not leave any more.
    assert!(tell(&mut alice, b));
    let queued = alice.store.pending(9).unwrap().remove(0).content.id;
    alice.now = UnixMillis(alice.now.0 + 61_000);
    assert!(matches!(alice.try_seal(&queued), Err(Error::Late)));
    alice.now = UnixMillis(alice.now.0 + 1_200_000);
    alice.tend();
    assert_eq!(alice.store.pending(9).unwrap(), []);
}

#[test]
fn a_sign_beside_nothing_waits_for_it() {
    let (mut alice, mut bob) = friends();
    let id = MessageId::new([9; 16]);
    alice.forge(bob.id(), Body::Reaction(Reaction { to: id, emoji: emoji("x") }));
    settle(&mut alice, &mut bob);
    assert_eq!((bob.notices.len(), bob.shown.len()), (0, 1), "only that alice is a contact");
}
