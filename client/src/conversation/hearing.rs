//! What is decrypted, and what that changes.

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::address::Address;
use sotto_proto::content::{Announcement, Body, Content};
use sotto_proto::envelope::Envelope;
use sotto_proto::limits::BUNDLE_SECONDS;
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixSeconds;

use super::speaking::{associated, ratchet_of};
use super::{Error, Me};
use crate::crypto::{self, Opened, Ratchet, SessionBody};
use crate::store::{Contact, ContactState, Letter, Said, Session, StoreError, Transaction};

/// Signed prekeys that something sealed to a mailbox is tried with, the newest first.
const TRIED: usize = 4;

/// How long the key of an overtaken message is kept: longer than a swarm keeps it, for its sender may have stored it late.
const OVERTAKEN_SECONDS: u64 = BUNDLE_SECONDS;

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and most are letters")]
pub(crate) enum Heard {
    /// Nothing to show: it is cover, control, repeated, forged, or from somebody who is blocked.
    Nothing,
    /// What the sender said, where the caller has it.
    Shown,
    /// This.
    Letter(Letter),
}

/// Opens what was stored at one of the account's addresses, and does what it says. What nobody meant for this account
/// changes nothing.
///
/// # Errors
/// [`StoreError`] when the store fails.
pub(crate) fn hear(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    envelope: &Envelope,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Letter>, StoreError> {
    let secrets = secrets_for(tx, me, &envelope.address())?;
    let opened = match crypto::open(me.chain, &envelope.address(), &secrets, envelope) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(%error, "a record does not open");
            return Ok(None);
        }
    };
    // What fails halfway changes nothing, and keeps nothing else from being taken in.
    let heard = tx.attempt(|| match opened {
        Opened::Cover => Ok(Heard::Nothing),
        Opened::Newer { kind, body } => Ok(Heard::Letter(Letter::Newer { kind, body })),
        Opened::Message { sender, content } => plain(tx, me, sender, content, rng),
        Opened::Session(body) => receive(tx, me, &body),
        Opened::Initial(message) => super::initial::receive(tx, me, &message, rng),
    });
    match heard {
        Ok(Heard::Letter(letter)) => Ok(Some(letter)),
        Ok(Heard::Nothing | Heard::Shown) => Ok(None),
        Err(Error::Store(error)) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "a message that changes nothing");
            Ok(None)
        }
    }
}

/// What may open an envelope to that address.
fn secrets_for(tx: &Transaction<'_>, me: &Me<'_>, address: &Address) -> Result<Vec<noise::Secret>, StoreError> {
    if *address == me.address() {
        return Ok(vec![me.account.x25519_secret().into()]);
    }
    Ok(tx.prekeys()?.into_iter().take(TRIED).map(|prekey| prekey.secret).collect())
}

/// A message before there is a session: a request, or a text of somebody who is no contact.
fn plain(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    sender: Address,
    content: Content,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let is_blocked = tx.contact(&sender)?.is_some_and(|contact| contact.state == ContactState::Blocked);
    if is_blocked {
        return Ok(Heard::Nothing);
    }
    let letter = Letter::Message { sender, device: super::DEVICE, session: None, content };
    let Letter::Message { content, .. } = &letter else { return Ok(Heard::Nothing) };
    match &content.body {
        Body::Request(request) => match super::answering::receive(tx, me, (&sender, &content.id), request, rng)? {
            Heard::Shown => Ok(Heard::Letter(letter)),
            heard => Ok(heard),
        },
        Body::Text(_) | Body::Newer(_) => {
            tx.add_to_history(&Said {
                account: sender,
                outgoing: false,
                device: super::DEVICE,
                arrived: me.now,
                content: content.clone(),
            })?;
            Ok(Heard::Letter(letter))
        }
        // All that is said by a session only.
        Body::Announce(_)
        | Body::Reaction(_)
        | Body::Edit(_)
        | Body::Delete(_)
        | Body::Receipt(_)
        | Body::Typing(_)
        | Body::Timer(_)
        | Body::Acknowledge(_)
        | Body::Listening(_)
        | Body::Question(_) => Ok(Heard::Nothing),
    }
}

/// A message of a session.
pub(super) fn receive(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    SessionBody { tag, message }: &SessionBody,
) -> Result<Heard, Error> {
    let Some(mut session) = tx.session(tag)? else {
        tracing::debug!("a message of a session that is not known");
        return Ok(Heard::Nothing);
    };
    let Some((content, mut ratchet)) = open_with(me, &session, message)? else { return Ok(Heard::Nothing) };
    ratchet.drop_skipped_before(UnixSeconds(me.now.seconds().0.saturating_sub(OVERTAKEN_SECONDS)));
    session.ratchet = ratchet.encode_core();
    tx.set_ratchet(tag, &session.ratchet, Some(&ratchet.encode_skipped()))?;
    let is_first = session.received.is_none();
    session.received = Some(me.now.seconds());
    session.initial = None;
    tx.set_received(tag, me.now.seconds())?;
    deliver(tx, me, &mut session, content, is_first)
}

/// Decrypts by a session, without any change to the store: the content, and the ratchet behind it.
pub(super) fn open_with(
    me: &Me<'_>,
    session: &Session,
    message: &[u8],
) -> Result<Option<(Content, Ratchet)>, StoreError> {
    let mut ratchet = ratchet_of(session)?;
    let decrypted = match ratchet.decrypt(&associated(me, session), message, me.now.seconds()) {
        Ok(decrypted) => decrypted,
        Err(error) => {
            tracing::debug!(%error, "a message does not decrypt");
            return Ok(None);
        }
    };
    match Content::decode(&decrypted.plaintext) {
        Ok(content) => Ok(Some((content, ratchet))),
        Err(error) => {
            tracing::debug!(%error, "what was decrypted is no message");
            Ok(None)
        }
    }
}

/// Does what a message of a session says. `is_first`: nothing came by the session before.
pub(super) fn deliver(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    session: &mut Session,
    content: Content,
    is_first: bool,
) -> Result<Heard, Error> {
    let Some(contact) = tx.contact(&session.account)? else { return Ok(Heard::Nothing) };
    if contact.state == ContactState::Blocked {
        return Ok(Heard::Nothing);
    }
    let (sender, device, tag) = (session.account, session.device, Some(session.tag));
    let shown = match &content.body {
        Body::Announce(announcement) => {
            announced(tx, session, contact, announcement)?;
            // Once, at the beginning, it says that a request was accepted.
            is_first && !session.initiator
        }
        // Requests are for inboxes; nobody waits for the others.
        Body::Request(_) | Body::Receipt(_) | Body::Typing(_) | Body::Acknowledge(_) | Body::Listening(_) => false,
        Body::Text(_)
        | Body::Reaction(_)
        | Body::Edit(_)
        | Body::Delete(_)
        | Body::Timer(_)
        | Body::Question(_)
        | Body::Newer(_) => tx.add_to_history(&Said {
            account: sender,
            outgoing: false,
            device,
            arrived: me.now,
            content: content.clone(),
        })?,
    };
    if !shown {
        return Ok(Heard::Nothing);
    }
    Ok(Heard::Letter(Letter::Message { sender, device, session: tag, content }))
}

/// Where the other side reads from now on. An announcement that was overtaken by a later one changes nothing.
fn announced(
    tx: &Transaction<'_>,
    session: &mut Session,
    contact: Contact,
    announcement: &Announcement,
) -> Result<(), StoreError> {
    if announcement.epoch() >= session.peer_epoch {
        session.mailbox = announcement.mailbox();
        session.seal_key = *announcement.seal_key();
        session.peer_epoch = announcement.epoch();
        tx.set_peer(&session.tag, &session.mailbox, &session.seal_key, session.peer_epoch)?;
    }
    let said_name = Some(announcement.name().to_owned()).filter(|name| !name.is_empty());
    if said_name.is_some() && said_name != contact.said_name {
        tx.put_contact(&Contact { said_name, ..contact })?;
    }
    Ok(())
}
