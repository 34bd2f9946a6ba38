//! Where an encrypted message is sealed to.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::Body;
use sotto_proto::id::X25519Key;

use super::speaking::{encrypt, for_sending, serves};
use super::{Error, Me};
use crate::crypto::{InitialHeader, InitialMessage, Inside, SessionBody};
use crate::store::{Encrypted, OutboxMessage, Session, StoreError, Transaction};

/// What is sealed, and to whom.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The address that it is stored at.
    pub(crate) address: Address,
    /// The key that it is sealed to.
    pub(crate) seal_key: X25519Key,
    /// What is under the seal; `None` for a plain message.
    pub(crate) inside: Option<Inside>,
}

/// How a message of the outbox goes out now: in plain to an inbox, or by its session. If that has been replaced since the
/// message was encrypted, or the message was erased, it is encrypted again by the present one.
///
/// # Errors
/// [`Error`]
pub(crate) fn delivery(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    message: &OutboxMessage,
    rng: &mut dyn CryptoRng,
) -> Result<Delivery, Error> {
    let Some(Encrypted { session: tag, message: sealed }) = message.encrypted.clone() else {
        let seal_key = X25519Key::new(*message.recipient.key());
        return Ok(Delivery { address: message.recipient, seal_key, inside: None });
    };
    let over = message.created.0.saturating_add(u64::from(message.ttl.seconds()) * 1000);
    if matches!(message.content.body, Body::Receipt(_) | Body::Typing(_)) && over < me.now.0 {
        return Err(Error::Late);
    }
    // What is not said may go to one that has begun and never got through with its answer.
    let is_said = !matches!(message.content.body, Body::Announce(_));
    let may_go =
        |session: &Session| Ok::<_, StoreError>(session.retired.is_none() && (!is_said || serves(tx, me, session)?));
    // Nothing is left of it where the message was erased before it went.
    let usable = match tx.session(&tag)? {
        Some(session) if !sealed.is_empty() && may_go(&session)? => Some(session),
        _ => None,
    };
    let (session, sealed) = match usable {
        Some(session) => (session, sealed),
        None => {
            let session = for_sending(tx, me, &message.recipient)?;
            let mut session = session.ok_or_else(|| Error::NotAccepted(message.recipient.short()))?;
            let encrypted = encrypt(tx, me, &mut session, &message.content, rng)?;
            tx.encrypt_again(&message.content.id, &encrypted)?;
            (session, encrypted.message)
        }
    };
    Ok(by_session(&session, sealed)?)
}

/// How something that a session has encrypted goes out.
pub(super) fn by_session(session: &Session, message: Vec<u8>) -> Result<Delivery, StoreError> {
    let body = SessionBody { tag: session.tag, message };
    let inside = match &session.initial {
        None => Inside::Session(body),
        Some(header) => {
            let header = InitialHeader::decode(header).map_err(|_| StoreError::Damaged("a session"))?;
            Inside::Initial(InitialMessage { header, body })
        }
    };
    Ok(Delivery { address: session.mailbox, seal_key: session.seal_key, inside: Some(inside) })
}
