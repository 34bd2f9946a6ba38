//! Two or three accounts with real stores, and what swarms keep for them.

mod agree;
mod away;
mod copied;
mod crash;
mod hostile;
mod kinds;
mod online;
mod order;
mod questions;
mod requests;
mod seasons;
mod sessions;
mod tap;
mod walk;

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::account::{Account, Entropy};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Envelope;
use sotto_proto::id::{ChainId, Height};
use sotto_proto::time::UnixMillis;

use super::*;
use crate::crypto::{Inside, SealContext, SessionTag, recorded, seal, seal_session};
use crate::store::{Contact, Letter, RequestState, Store, Transaction};

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
/// When it begins.
const BEGIN: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;

/// Somebody with a device.
struct Party {
    account: Account,
    name: &'static str,
    store: Store,
    rng: ChaCha20Rng,
    now: UnixMillis,
    /// What was shown, in its order.
    shown: Vec<(Address, Content)>,
    /// What of the outbox was stored.
    sent: BTreeMap<MessageId, usize>,
    /// What changed besides.
    notices: Vec<Notice>,
}

impl Party {
    fn new(byte: u8, name: &'static str) -> Self {
        Self {
            account: Account::new(&Entropy::take(&mut [byte; 16])),
            name,
            store: Store::in_memory(),
            rng: ChaCha20Rng::from_seed([byte; 32]),
            now: UnixMillis(BEGIN),
            shown: Vec::new(),
            sent: BTreeMap::new(),
            notices: Vec::new(),
        }
    }

    fn id(&self) -> Address {
        self.account.address()
    }

    /// One transaction.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &Me<'_>, &mut ChaCha20Rng) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let me = Me { chain: &CHAIN, account: &self.account, name: self.name, now: self.now };
        let transaction = self.store.transaction()?;
        let done = change(&transaction, &me, &mut self.rng)?;
        transaction.commit()?;
        Ok(done)
    }

    fn ask(&mut self, whom: Address) -> Result<MessageId, Error> {
        let wish = Ask { account: whom, name: None, introduction: "hello", renew: false };
        self.change(|tx, me, rng| ask(tx, me, &wish, rng))
    }

    fn renew(&mut self, whom: Address) -> MessageId {
        let wish = Ask { account: whom, name: None, introduction: "", renew: true };
        self.change(|tx, me, rng| ask(tx, me, &wish, rng)).unwrap()
    }

    /// Accepts the only request that waits.
    fn accept(&mut self) -> Contact {
        let waiting = self.waiting();
        let [id] = waiting.as_slice() else { panic!("{waiting:?}") };
        self.change(|tx, me, rng| accept(tx, me, id, None, rng)).unwrap()
    }

    /// Requests that wait for an answer.
    fn waiting(&mut self) -> Vec<MessageId> {
        let requests = self.store.transaction().unwrap().requests().unwrap();
        let waits = requests.into_iter().filter(|request| !request.outgoing && request.state == RequestState::Waiting);
        waits.map(|request| request.id).collect()
    }

    fn say(&mut self, whom: Address, text: &str) -> Result<MessageId, Error> {
        let body = Body::Text(Text::new(text.to_owned()).unwrap());
        self.change(|tx, me, rng| say(tx, me, Saying { account: whom, body, ttl: speaking::TTL }, rng))
    }

    fn tidy(&mut self) {
        self.change(|tx, me, rng| tidy(tx, me, rng)).unwrap();
    }

    /// Seals everything of the outbox that is not stored yet, and takes it for stored.
    fn outgoing(&mut self) -> Vec<Envelope> {
        let pending = self.store.pending(usize::MAX).unwrap();
        pending.into_iter().map(|message| self.seal(&message.content.id)).collect()
    }

    fn seal(&mut self, id: &MessageId) -> Envelope {
        self.try_seal(id).unwrap()
    }

    /// As [`Party::seal`]; there may be no session any more.
    fn try_seal(&mut self, id: &MessageId) -> Result<Envelope, Error> {
        let message = self.store.outbox_message(id).unwrap().unwrap();
        let delivery = self.change(|tx, me, rng| delivery(tx, me, &message, rng))?;
        match &delivery.inside {
            None => {}
            Some(Inside::Session(body)) => recorded::left(&body.message),
            Some(Inside::Initial(message)) => recorded::left(&message.body.message),
        }
        let (chain, timestamp) = (&CHAIN, self.now.seconds());
        let context = SealContext { chain, address: delivery.address, timestamp, ttl: message.ttl };
        let data = match &delivery.inside {
            None => seal(&context, &self.account, message.content, &mut self.rng).unwrap(),
            Some(inside) => seal_session(&context, &delivery.seal_key, inside, &mut self.rng).unwrap(),
        };
        *self.sent.entry(*id).or_default() += 1;
        self.store.set_stored(id);
        Ok(Envelope::new(delivery.address, timestamp, message.ttl, Height(30), data).unwrap())
    }

    /// Reads an envelope as the messenger does: what is shown is taken into the inbox, once.
    fn hear(&mut self, envelope: &Envelope) -> Option<Content> {
        let outcome = self.change(|tx, me, rng| Ok(hear(tx, me, envelope, rng)?)).unwrap();
        self.notices.extend(outcome.notices);
        match outcome.letter {
            Some(Letter::Message { sender, content, .. }) => {
                self.shown.push((sender, content.clone()));
                Some(content)
            }
            Some(Letter::Newer { .. }) => panic!("nobody wrote that"),
            None => None,
        }
    }

    fn hear_all(&mut self, envelopes: &[Envelope]) {
        for envelope in envelopes {
            self.hear(envelope);
        }
    }

    /// The texts that were shown.
    fn texts(&self) -> Vec<String> {
        let text = |(_, content): &(Address, Content)| match &content.body {
            Body::Text(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        self.shown.iter().filter_map(text).collect()
    }

    /// The session that is written by.
    fn serving(&mut self, with: Address) -> Option<SessionTag> {
        self.change(|tx, me, _| Ok(speaking::for_sending(tx, me, &with)?.map(|session| session.tag))).unwrap()
    }

    /// Names of the sessions that are not replaced.
    fn live(&mut self, with: Address) -> usize {
        let sessions = self.store.transaction().unwrap().sessions_of(&with).unwrap();
        sessions.iter().filter(|session| session.retired.is_none()).count()
    }
}

/// Delivers what both have to say, until they have nothing more.
fn settle(one: &mut Party, other: &mut Party) {
    for _ in 0..10 {
        let (from_one, from_other) = (one.outgoing(), other.outgoing());
        if from_one.is_empty() && from_other.is_empty() {
            return;
        }
        other.hear_all(&from_one);
        one.hear_all(&from_other);
    }
    panic!("they answer each other for ever");
}

/// Days go by for everybody.
fn pass<const N: usize>(days: u64, parties: [&mut Party; N]) {
    for party in parties {
        party.now = UnixMillis(party.now.0 + days * DAY);
    }
}

/// Both write by one session, and what they say for four weeks arrives.
fn still_talk(one: &mut Party, other: &mut Party) {
    for day in 0..28 {
        pass(1, [&mut *one, &mut *other]);
        one.tidy();
        other.tidy();
        settle(one, other);
        let text = format!("day {day}");
        one.say(other.id(), &text).unwrap();
        other.say(one.id(), &text).unwrap();
        settle(one, other);
        for party in [&*one, &*other] {
            assert_eq!(party.texts().last(), Some(&text), "{} did not hear it", party.name);
        }
    }
    assert_eq!(one.serving(other.id()), other.serving(one.id()));
    assert_eq!((one.live(other.id()), other.live(one.id())), (1, 1));
}

/// Alice and Bob, in both orders of their ids: who does what in a test is not who begins.
fn both_ways() -> [(Party, Party); 2] {
    [(Party::new(1, "alice"), Party::new(2, "bob")), (Party::new(2, "alice"), Party::new(1, "bob"))]
}

/// Makes them friends: the second accepts.
fn befriend(alice: &mut Party, bob: &mut Party) {
    alice.ask(bob.id()).unwrap();
    bob.hear_all(&alice.outgoing());
    bob.accept();
    settle(alice, bob);
}

/// Two that have a session.
fn friends() -> (Party, Party) {
    let (mut alice, mut bob) = (Party::new(1, "alice"), Party::new(2, "bob"));
    befriend(&mut alice, &mut bob);
    (alice, bob)
}
