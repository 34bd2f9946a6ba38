//! What is encrypted, and by which session.
//!
//! A message is encrypted once, when it is queued: the ratchet behind it is on disk with it. It may be sealed and stored
//! many times after that. When its session has been replaced meanwhile it is encrypted again under its own id.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Announcement, Body, Content, Expiry, MessageId};
use sotto_proto::envelope::Ttl;
use sotto_proto::request::Message as _;
use sotto_proto::time::{UnixMillis, UnixSeconds};
use zeroize::Zeroizing;

use super::disappearing::kept;
use super::tidying::{KNOWN_SECONDS, was_here_since};
use super::{DEVICE, Error, Me, keys};
use crate::crypto::{Bundle, InitialHeader, Ratchet, SessionTag, associated_data, initiate};
use crate::store::{ContactState, Encrypted, NewMessage, Said, Session, StoreError, Transaction};

/// How long swarms keep what has no other time: four days.
pub(super) const TTL: Ttl = Ttl::LONGEST;
/// What was sent in so many milliseconds before a contact began anew is sent again: longer nothing was kept for it.
const RESENT: u64 = 4 * 24 * 3_600_000;
/// Messages that are sent again.
const RESENT_MOST: usize = 1000;

/// Something to say to a contact.
#[derive(Clone, Debug)]
pub struct Saying {
    /// To whom.
    pub account: Address,
    /// What.
    pub body: Body,
    /// How long swarms keep it.
    pub ttl: Ttl,
}

/// Queues something to say, encrypted, and writes it into the history. A text disappears as the conversation has it.
///
/// # Errors
/// [`Error`]
pub fn say(tx: &Transaction<'_>, me: &Me<'_>, saying: Saying, rng: &mut dyn CryptoRng) -> Result<MessageId, Error> {
    let timer = match saying.body {
        Body::Text(_) => tx.timer(&saying.account)?.and_then(|(timer, _)| timer),
        _ => None,
    };
    say_for(tx, me, saying, timer, rng)
}

/// As [`say`], but it disappears as is said here; `None`: it stays.
///
/// # Errors
/// [`Error`]
pub fn say_for(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    Saying { account, body, ttl }: Saying,
    expiry: Option<Expiry>,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    speak(tx, me, &account, Content { expiry, ..Content::new(draw(rng), me.now, body) }, ttl, rng)
}

/// Queues a message by the present session, encrypted. What is said gets its number, and a place in the history.
pub(super) fn speak(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    mut content: Content,
    ttl: Ttl,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    let contact = tx.contact(account)?.ok_or_else(|| Error::NoContact(account.to_string()))?;
    if contact.state == ContactState::Blocked {
        return Err(Error::Blocked(contact.name));
    }
    let Some(mut session) = for_sending(tx, me, account)? else {
        // One that nobody answered while it could be.
        let is_over = !tx.sessions_of(account)?.is_empty();
        return Err(if is_over { Error::Expired(contact.name) } else { Error::NotAccepted(contact.name) });
    };
    let (id, ttl) = (content.id, kept(ttl, content.expiry));
    if content.body.is_said() {
        content.sequence = tx.next_sequence(account)?;
        let said =
            Said { account: *account, outgoing: true, device: DEVICE, arrived: me.now, content: content.clone() };
        tx.add_to_history(&said)?;
    }
    queue(tx, me, &mut session, content, ttl, rng)?;
    Ok(id)
}

/// The session that a contact is written to by: the greatest, unless it was never answered and no longer can be.
pub(super) fn for_sending(tx: &Transaction<'_>, me: &Me<'_>, account: &Address) -> Result<Option<Session>, StoreError> {
    let Some(session) = greatest(tx, me, account)? else { return Ok(None) };
    Ok(serves(tx, me, &session)?.then_some(session))
}

/// The greatest session with an account by [`rank`].
pub(super) fn greatest(tx: &Transaction<'_>, me: &Me<'_>, account: &Address) -> Result<Option<Session>, StoreError> {
    Ok(tx.sessions_of(account)?.into_iter().max_by_key(|session| rank(me, session)))
}

/// Whether what is sent by a session can be read. One that was never answered may still be, while its bundle lasts. Of one that
/// was, the other side has told new keys since where this device was away and missed that: those it knows are good for as
/// long as the other side keeps the keys that it has replaced. What was heard last may have been under way for four days,
/// and what is sent now may be.
pub(super) fn serves(tx: &Transaction<'_>, me: &Me<'_>, session: &Session) -> Result<bool, StoreError> {
    let now = me.now.seconds();
    let Some(heard) = session.received else { return Ok(now < session.expires) };
    let is_recent = now.0.saturating_sub(heard.0) <= KNOWN_SECONDS - 2 * u64::from(TTL.seconds());
    Ok(is_recent || was_here_since(tx, now, heard)?)
}

/// The order of sessions with an account: that of the later bundle is greater, and of two of one second that of the
/// smaller id (H10). Both ends know all of this of every session that they have, whatever came to them first: so they end
/// with the same one. A session repeats how it began until it is answered, so it serves before it is heard.
pub(super) fn rank(me: &Me<'_>, session: &Session) -> (UnixSeconds, bool, u32, SessionTag) {
    (session.expires, is_of_smaller(me, &session.account, session.initiator), session.epoch, session.tag)
}

/// Whether the one with the smaller id begins, or began.
pub(super) fn is_of_smaller(me: &Me<'_>, account: &Address, initiator: bool) -> bool {
    initiator == (me.address().to_bytes() < account.to_bytes())
}

/// All sessions with an account but the greatest are kept for what is under way, and no longer.
pub(super) fn supersede(tx: &Transaction<'_>, me: &Me<'_>, account: &Address) -> Result<(), StoreError> {
    let mut sessions = tx.sessions_of(account)?;
    sessions.sort_by_key(|session| rank(me, session));
    sessions.pop();
    for session in sessions.iter().filter(|session| session.retired.is_none()) {
        tx.retire_session(&session.tag, me.now.seconds())?;
        tx.end_questions(&session.tag)?;
    }
    Ok(())
}

/// Begins a session by somebody's bundle.
pub(super) fn begin(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    bundle: &Bundle,
    rng: &mut dyn CryptoRng,
) -> Result<Session, Error> {
    let agreed = initiate(me.account, bundle, DEVICE, rng)?;
    let header =
        InitialHeader { initiator: me.address(), device: DEVICE, epoch: bundle.epoch(), ephemeral: agreed.ephemeral };
    let ratchet = Ratchet::initiator(&agreed.secrets, bundle.prekey(), rng)?;
    let session = Session {
        tag: agreed.tag,
        account: bundle.account(),
        device: bundle.device(),
        own_device: DEVICE,
        initiator: true,
        ratchet: ratchet.encode_core(),
        skipped: None,
        initial: Some(header.encode()),
        mailbox: bundle.mailbox(),
        seal_key: *bundle.prekey(),
        peer_epoch: 0,
        created: me.now.seconds(),
        expires: bundle.expires(),
        epoch: bundle.epoch(),
        received: None,
        retired: None,
    };
    tx.add_session(&session)?;
    supersede(tx, me, &session.account)?;
    Ok(session)
}

/// Tells the other side of a session where this device reads, and what is sealed to it.
pub(super) fn announce(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    session: &mut Session,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let now = me.now.seconds();
    let (mailbox, prekey) = (keys::mailbox(tx, now, rng)?, keys::prekey(tx, now, rng)?);
    let announcement = Announcement::new(mailbox, prekey.secret.public(), prekey.number.0, me.name.to_owned());
    let body = Body::Announce(announcement.map_err(|error| Error::Content(error.to_string()))?);
    // Without a number: what is numbered is said, so that a gap in the numbers is something that did not come.
    queue(tx, me, session, Content::new(draw(rng), me.now, body), TTL, rng)?;
    Ok(tx.set_told(&session.tag, prekey.number, now)?)
}

/// Sends again, by the present session, what was sent of late.
pub(super) fn resend(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let since = UnixMillis(me.now.0.saturating_sub(RESENT));
    for id in tx.encrypted_since(account, since, RESENT_MOST)? {
        let (Some(message), Some(mut session)) = (tx.outbox_message(&id)?, for_sending(tx, me, account)?) else {
            continue;
        };
        if message.content.body.is_said() && message.encrypted.is_some_and(|encrypted| encrypted.session != session.tag)
        {
            let encrypted = encrypt(tx, me, &mut session, &message.content, rng)?;
            tx.encrypt_again(&id, &encrypted)?;
        }
    }
    Ok(())
}

pub(super) fn queue(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    session: &mut Session,
    content: Content,
    ttl: Ttl,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let encrypted = Some(encrypt(tx, me, session, &content, rng)?);
    let (recipient, created) = (session.account, me.now);
    tx.enqueue(&NewMessage { recipient, content, ttl, created, encrypted })?;
    Ok(())
}

/// Encrypts by a session, whose ratchet goes on in the store and in `session`.
pub(super) fn encrypt(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    session: &mut Session,
    content: &Content,
    rng: &mut dyn CryptoRng,
) -> Result<Encrypted, Error> {
    let plain = content.clone().encode().map_err(|error| Error::Content(error.to_string()))?;
    let plain = Zeroizing::new(plain);
    let mut ratchet = ratchet_of(session)?;
    let message = ratchet.encrypt(&associated(me, session), &plain, rng)?;
    session.ratchet = ratchet.encode_core();
    tx.set_ratchet(&session.tag, &session.ratchet, None)?;
    Ok(Encrypted { session: session.tag, message })
}

/// A session's ratchet.
pub(super) fn ratchet_of(session: &Session) -> Result<Ratchet, StoreError> {
    let skipped = session.skipped.as_ref().map(|skipped| skipped.as_slice());
    Ratchet::decode(&session.ratchet, skipped).map_err(|_| StoreError::Damaged("a session"))
}

/// What a session's messages are bound to (B12).
pub(super) fn associated(me: &Me<'_>, session: &Session) -> Vec<u8> {
    let (own, other) = ((me.address(), session.own_device), (session.account, session.device));
    let (initiator, responder) = if session.initiator { (own, other) } else { (other, own) };
    associated_data(me.chain, initiator, responder, &session.tag)
}

pub(super) fn draw(rng: &mut dyn CryptoRng) -> MessageId {
    let mut id = [0; MessageId::LEN];
    rng.fill_bytes(&mut id);
    MessageId::new(id)
}
