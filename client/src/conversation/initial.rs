//! The first message of a session that somebody else began, by a bundle of ours.
//!
//! A bundle is sealed to one account, so only that one may begin by it; which of its devices, its slot says. A slot serves
//! once: what it began is found again by its ephemeral key, and another one is refused, also after a restart (H10).

use rand_core::CryptoRng;

use super::hearing::{Heard, deliver, open_with};
use super::speaking::{announce, supersede};
use super::{DEVICE, Error, Me};
use crate::crypto::{BundleSecrets, InitialMessage, Ratchet, respond};
use crate::store::{Contact, ContactState, RequestState, Session, StoreError, StoredBundle, Transaction};

/// Takes an initial message, the first or a repeated one.
pub(super) fn receive(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    message: &InitialMessage,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let header = &message.header;
    if let Some(session) = tx.session(&message.body.tag)? {
        // Repeated, for no answer came: that may go on after its bundle is gone.
        let is_this = !session.initiator && (session.account, session.device) == (header.initiator, header.device);
        return if is_this { super::hearing::receive(tx, me, &message.body, rng) } else { Ok(Heard::Nothing) };
    }
    let Some(mut bundle) = tx.bundle(header.epoch)? else {
        tracing::debug!("a session by a bundle that is gone");
        return Ok(Heard::Nothing);
    };
    let is_blocked = tx.contact(&header.initiator)?.is_some_and(|contact| contact.state == ContactState::Blocked);
    if is_blocked {
        return Ok(Heard::Nothing);
    }
    if bundle.recipient != header.initiator {
        tracing::debug!("a session by somebody else's bundle");
        return Ok(Heard::Nothing);
    }
    if tx.used_slot(header.epoch, header.device)?.is_some() {
        tracing::debug!("a second session by a key that served already, or one that is over");
        return Ok(Heard::Nothing);
    }
    let Some(mut session) = agree(tx, me, message, &mut bundle)? else { return Ok(Heard::Nothing) };
    let Some(decrypted) = open_with(me, &session, &message.body.message)? else { return Ok(Heard::Nothing) };
    session.ratchet = decrypted.ratchet.encode_core();
    session.skipped = decrypted.skipped_changed.then(|| decrypted.ratchet.encode_skipped());
    tx.add_session(&session)?;
    tx.set_known(&session.tag, bundle.prekey)?;
    tx.put_bundle(&bundle)?;
    tx.use_slot(header.epoch, header.device, &header.ephemeral, &session.tag)?;
    let is_renewal = settle(tx, me, &session, &bundle)?;
    let heard = deliver(tx, me, &mut session, decrypted.content, true, rng)?;
    // The other side repeats its keys until something comes by the session.
    let account = session.account;
    announce(tx, me, &mut session, rng)?;
    if is_renewal {
        super::speaking::resend(tx, me, &account, rng)?;
    }
    Ok(heard)
}

/// The session that an initial message would begin; nothing is in the store yet.
fn agree(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    message: &InitialMessage,
    bundle: &mut StoredBundle,
) -> Result<Option<Session>, Error> {
    let header = &message.header;
    let prekey = tx.prekeys()?.into_iter().find(|prekey| prekey.number == bundle.prekey);
    let Some(prekey) = prekey else {
        tracing::debug!("a session by a prekey that is gone");
        return Ok(None);
    };
    let mut secrets = BundleSecrets::decode(&bundle.secrets).map_err(|_| StoreError::Damaged("a bundle"))?;
    let Some(one_time) = secrets.take(header.device) else { return Ok(None) };
    let agreed = match respond(me.account, &prekey.secret, &one_time, header) {
        Ok(agreed) if agreed.tag == message.body.tag => agreed,
        Ok(_) => return Ok(None),
        Err(error) => {
            tracing::debug!(%error, "a session that cannot be agreed on");
            return Ok(None);
        }
    };
    bundle.secrets = secrets.encode();
    let ratchet = Ratchet::responder(&agreed.secrets, prekey.secret);
    Ok(Some(Session {
        tag: agreed.tag,
        account: header.initiator,
        device: header.device,
        own_device: DEVICE,
        initiator: false,
        ratchet: ratchet.encode_core(),
        skipped: None,
        initial: None,
        // Until its announcement comes, which is the first that it says, it is answered at its inbox.
        mailbox: header.initiator,
        seal_key: header.initiator_key(),
        peer_epoch: 0,
        created: me.now.seconds(),
        expires: bundle.expires,
        epoch: bundle.epoch,
        received: Some(me.now.seconds()),
        retired: None,
    }))
}

/// The request is accepted by this. True if it was one to begin anew.
fn settle(tx: &Transaction<'_>, me: &Me<'_>, session: &Session, bundle: &StoredBundle) -> Result<bool, Error> {
    let account = session.account;
    for request in tx.requests_of(&account, true)? {
        if request.state == RequestState::Waiting {
            tx.set_request_state(&request.id, RequestState::Accepted)?;
        }
    }
    let contact = match tx.contact(&account)? {
        Some(contact) => Contact { state: ContactState::Accepted, ..contact },
        None => Contact {
            account,
            name: super::names::name_for(tx, &account, None, None)?,
            said_name: None,
            state: ContactState::Accepted,
            created: me.now,
        },
    };
    tx.put_contact(&contact)?;
    supersede(tx, me, &account)?;
    // One-time keys are those of a request that asked to begin anew, or of the first one.
    let asked = tx.requests_of(&account, true)?;
    Ok(asked.iter().any(|request| request.renewal && request.created.seconds() == bundle.created))
}
