//! What comes pushed, and what is said in answer: that it came, and where this account listens.

use sotto_proto::address::Address;
use sotto_proto::content::{Acknowledgement, Body, MessageId, MessageIds};
use sotto_proto::domain;
use sotto_proto::hash::hash;
use sotto_proto::id::RecordId;
use sotto_proto::limits::LISTENING_SECONDS;
use sotto_proto::time::UnixSeconds;

use super::{Came, NotOnline};
use crate::conversation::{self, Me};
use crate::crypto::PushContext;
use crate::messenger::{Error, Messenger};
use crate::store::{Arrival, OwnPlace, StoreError};

/// Contacts that something came from in so many seconds are told by their mailboxes where they are listened for.
const IN_TOUCH_SECONDS: u64 = 86_400;
/// So many of them for each listening: each message is worked for.
const TOLD_BY_MAIL: usize = 8;

/// Something that came and is to be acknowledged.
#[derive(Clone, Copy, Debug)]
pub(in crate::messenger) struct Acknowledge {
    to: Address,
    id: MessageId,
}

impl Messenger {
    /// Takes in what was pushed, and says that it came.
    ///
    /// # Errors
    /// [`Error::Store`]; whatever the network does not carry is not said.
    pub(in crate::messenger) async fn take_pushed(&mut self, came: Came) -> Result<(), Error> {
        match self.hear(&came)? {
            Some(due) => self.acknowledge(due).await,
            None => Ok(()),
        }
    }

    /// Says that something came.
    ///
    /// # Errors
    /// [`Error::Store`]; whatever the network does not carry is not said.
    pub(in crate::messenger) async fn acknowledge(&mut self, due: Acknowledge) -> Result<(), Error> {
        match self.say_that_it_came(due.to, due.id).await {
            Err(Error::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "what came is not acknowledged");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes in what was pushed, in one transaction; what is to be acknowledged of it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(in crate::messenger) fn hear(&mut self, came: &Came) -> Result<Option<Acknowledge>, StoreError> {
        let (chain, rng, now) = (&self.chain, &mut self.rng, self.clock.now());
        let (tag, data) = (came.push.tag, &came.push.data);
        let mut notices = Vec::new();
        let heard = self.account.change(|tx, own| {
            let me = Me { chain, account: own.account, name: own.name, now };
            let context = PushContext { chain, node: came.node, tag };
            let Some(heard) = conversation::hear_pushed(tx, &me, &context, data, rng)? else { return Ok(None) };
            if let Some(letter) = heard.letter {
                let record = RecordId::new(*hash(domain::PUSH, data.as_slice()).as_bytes());
                let expiry = UnixSeconds(now.seconds().0.saturating_add(LISTENING_SECONDS));
                tx.take(Arrival { record, expiry, letter: Some(letter) }, now)?;
            }
            notices = heard.notices;
            Ok::<_, StoreError>(heard.acknowledge.map(|id| Acknowledge { to: heard.from, id }))
        })?;
        self.note(notices);
        Ok(heard)
    }

    /// Says that a message came, and before that where the sender can answer, if it does not know.
    async fn say_that_it_came(&mut self, to: Address, id: MessageId) -> Result<(), Error> {
        let way = self.way_to(&to).await?;
        let mut words = Vec::new();
        if let Some(own) = self.untold(&to)? {
            words.extend(self.arranged(&way, &to, conversation::said(&own.place))?);
            self.account.change(|tx, _| tx.set_place_told(&own.place.tag))?;
        }
        let ids = MessageIds::new(vec![id]).and_then(Acknowledgement::new);
        let ids = ids.map_err(|error| Error::NotOnline(NotOnline::Refused(error.to_string())))?;
        words.extend(self.arranged(&way, &to, Body::Acknowledge(ids))?);
        self.say_beside(to, way, words)
    }

    /// The newest place where this account listens for a contact, if that does not know it.
    pub(super) fn untold(&mut self, account: &Address) -> Result<Option<OwnPlace>, Error> {
        let now = self.clock.now().seconds();
        let own = self.account.read(|tx| tx.own_places(now))?;
        let newest = own.into_iter().rfind(|own| own.account == *account);
        Ok(newest.filter(|own| !own.told))
    }

    /// Tells contacts where this account listens for them: those that are online by the same way, those in touch by their
    /// mailboxes, and all others when something comes from them.
    ///
    /// # Errors
    /// [`Error::Store`]; whoever is not told now is told when something comes from it.
    pub(in crate::messenger) async fn tell_places(&mut self) -> Result<(), Error> {
        self.note_words()?;
        let now = self.clock.now().seconds();
        let own = self.account.read(|tx| tx.own_places(now))?;
        let mut left = TOLD_BY_MAIL;
        for own in own.into_iter().filter(|own| !own.told) {
            match self.tell_place(&own, &mut left).await {
                Ok(()) => {}
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "a contact is not told where it is listened for"),
            }
        }
        Ok(())
    }

    async fn tell_place(&mut self, own: &OwnPlace, left: &mut usize) -> Result<(), Error> {
        match self.way_to(&own.account).await {
            Ok(way) => {
                let word = self.arranged(&way, &own.account, conversation::said(&own.place))?;
                self.account.change(|tx, _| tx.set_place_told(&own.place.tag))?;
                self.say_beside(own.account, way, word.into_iter().collect())
            }
            Err(Error::NotOnline(_)) if *left > 0 => {
                *left -= usize::from(self.tell_by_mail(own)?);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Queues word of a place for a contact in touch; false for one that is not.
    fn tell_by_mail(&mut self, own: &OwnPlace) -> Result<bool, Error> {
        let now = self.clock.now();
        let since = UnixSeconds(now.seconds().0.saturating_sub(IN_TOUCH_SECONDS));
        let told = self.account.change(|tx, me| {
            let heard = tx.sessions_of(&own.account)?.iter().filter_map(|session| session.received).max();
            if heard.is_none_or(|heard| heard < since) {
                return Ok(false);
            }
            let me = Me { chain: &self.chain, account: me.account, name: me.name, now };
            conversation::tell_place(tx, &me, &own.account, &own.place, &mut self.rng)?;
            tx.set_place_told(&own.place.tag)?;
            Ok(true)
        });
        told.map_err(|error| match error {
            conversation::Error::Store(error) => Error::Store(error),
            error => Error::Conversation(error),
        })
    }
}
