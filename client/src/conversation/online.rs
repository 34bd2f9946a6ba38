//! The online way (M2): where contacts can be reached, what is pushed to them and comes pushed from them, and that it came.
//!
//! ```text
//! place        Body::Listening, told to accepted contacts only; each has a tag of its own
//! message      that of the outbox, encrypted once: pushed, and where nobody acknowledges it, stored as ever
//! acknowledged Body::Acknowledge, for what is told; what only helps to tell it (places, acknowledgements, typing) is not
//! ```

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::address::Address;
use sotto_proto::content::{Acknowledgement, Body, Content, Listening, MessageId};
use sotto_proto::envelope::Ttl;
use sotto_proto::limits::{LISTENING_SECONDS, TTL_SECONDS};
use sotto_proto::request::PushData;
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::delivery::{Delivery, by_session};
use super::hearing::{self, Heard, TRIED, open_with};
use super::notice::Notice;
use super::speaking::{draw, encrypt, for_sending, queue};
use super::{Error, Me};
use crate::crypto::{self, Inside, PushContext};
use crate::store::{ContactState, Encrypted, Letter, ListeningPlace, StoreError, Transaction};

/// What came of something pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// From whom.
    pub(crate) from: Address,
    /// To be shown.
    pub(crate) letter: Option<Letter>,
    /// What changed.
    pub(crate) notices: Vec<Notice>,
    /// To be acknowledged.
    pub(crate) acknowledge: Option<MessageId>,
}

/// A contact says where it listens. It is believed for as long as a listening lasts, whatever it says.
pub(super) fn listens(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    (said, listening): (UnixMillis, &Listening),
) -> Result<(), StoreError> {
    let latest = UnixSeconds(me.now.seconds().0.saturating_add(LISTENING_SECONDS));
    let listening = match *listening {
        Listening::At { node, tag, until } => Listening::At { node, tag, until: until.min(latest) },
        Listening::Stopped => Listening::Stopped,
    };
    // One whose clock is ahead shall not be unable to correct itself for longer than that.
    let said = UnixMillis(said.0.min(latest.0.saturating_mul(1000)));
    tx.set_place(account, said, &listening)
}

/// A contact says that messages came.
pub(super) fn acknowledged(
    tx: &Transaction<'_>,
    account: &Address,
    acknowledgement: &Acknowledgement,
) -> Result<(), StoreError> {
    tx.set_acknowledged(account, acknowledgement.ids().as_slice())?;
    Ok(())
}

/// Encrypts what is not said but arranged, for the online way alone: it is in no outbox, and nobody sends it again. `None`
/// if there is no session.
///
/// # Errors
/// [`Error`]
pub(crate) fn arrange(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    body: Body,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Delivery>, Error> {
    let is_contact = tx.contact(account)?.is_some_and(|contact| contact.state == ContactState::Accepted);
    let Some(mut session) = for_sending(tx, me, account)?.filter(|_| is_contact) else { return Ok(None) };
    let content = Content::new(draw(rng), me.now, body);
    let Encrypted { message, .. } = encrypt(tx, me, &mut session, &content, rng)?;
    Ok(Some(by_session(&session, message)?))
}

/// Queues word of where this account listens, for a contact that is not known to be online. Swarms keep it for as long as
/// it is true.
///
/// # Errors
/// [`Error`]
pub(crate) fn tell_place(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    place: &ListeningPlace,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let Some(mut session) = for_sending(tx, me, account)? else { return Ok(()) };
    let left = u32::try_from(place.until.0.saturating_sub(me.now.seconds().0)).unwrap_or(u32::MAX);
    let Some(ttl) = Ttl::new(left.min(*TTL_SECONDS.end())) else { return Ok(()) };
    queue(tx, me, &mut session, Content::new(draw(rng), me.now, said(place)), ttl, rng)
}

/// Word of a place.
pub(crate) const fn said(place: &ListeningPlace) -> Body {
    Body::Listening(Listening::At { node: place.node, tag: place.tag, until: place.until })
}

/// Opens what was pushed, and does what it says. `None` for what nobody meant for this listening, for cover, and for what
/// comes by the tag of a contact that did not send it.
///
/// # Errors
/// [`StoreError`] when the store fails.
pub(crate) fn hear_pushed(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    context: &PushContext<'_>,
    data: &PushData,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Pushed>, StoreError> {
    // By the public tag any contact may come.
    let from = tx.listened_for(&context.node, &context.tag)?;
    if from.is_none() && !tx.is_public_place(&me.account.address(), &context.node, &context.tag)? {
        return Ok(None);
    }
    let mut secrets: Vec<noise::Secret> = tx.prekeys()?.into_iter().take(TRIED).map(|prekey| prekey.secret).collect();
    // Whoever has not heard of a prekey yet seals to the account.
    secrets.push(me.account.x25519_secret().into());
    let inside = match crypto::open_push(context, &secrets, data) {
        Ok(Some(inside)) => inside,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::debug!(%error, "what was pushed does not open");
            return Ok(None);
        }
    };
    match tx.attempt(|| opened(tx, me, from, &inside, rng)) {
        Ok(pushed) => Ok(pushed),
        Err(Error::Store(error)) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "something pushed that changes nothing");
            Ok(None)
        }
    }
}

fn opened(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    expected: Option<Address>,
    inside: &Inside,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Pushed>, Error> {
    let (body, initiator) = match inside {
        Inside::Session(body) => (body, None),
        Inside::Initial(message) => (&message.body, Some(message.header.initiator)),
    };
    let session = tx.session(&body.tag)?;
    let sender = session.as_ref().map(|session| session.account).or(initiator);
    let Some(from) = sender.filter(|sender| expected.is_none_or(|expected| expected == *sender)) else {
        tracing::debug!("something pushed by another's tag");
        return Ok(None);
    };
    // Strangers have the inbox, where their requests are worked for.
    if tx.contact(&from)?.is_none_or(|contact| contact.state != ContactState::Accepted) {
        tracing::debug!("something pushed by a stranger");
        return Ok(None);
    }
    // Of a session that it begins, the first message is not acknowledged: it goes the other way as well.
    let decrypted = session.as_ref().map(|session| open_with(me, session, &body.message)).transpose()?.flatten();
    let content = decrypted.as_ref().map(|decrypted| &decrypted.content);
    let acknowledge = content.and_then(|content| is_acknowledged(&content.body).then_some(content.id));
    let heard = match (inside, session, decrypted) {
        (Inside::Session(_), Some(session), Some(decrypted)) => hearing::take(tx, me, session, decrypted, rng)?,
        (Inside::Session(_), ..) => Heard::Nothing,
        (Inside::Initial(message), ..) => super::initial::receive(tx, me, message, rng)?,
    };
    let (letter, notices) = match heard {
        Heard::Letter(letter) => (Some(letter), Vec::new()),
        Heard::Changed { letter, notices } => (letter, notices),
        Heard::Nothing | Heard::Shown => (None, Vec::new()),
    };
    Ok(Some(Pushed { from, letter, notices, acknowledge }))
}

/// Whether the sender waits to hear that it came.
const fn is_acknowledged(body: &Body) -> bool {
    !matches!(body, Body::Acknowledge(_) | Body::Listening(_) | Body::Typing(_))
}
