//! Requests that came: they wait for their user, unless both sides have asked each other, or a contact begins anew.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{MessageId, Request as RequestBody};

use super::hearing::Heard;
use super::names::name_for;
use super::speaking::{announce, begin, resend};
use super::{Error, Me};
use crate::crypto::{Bundle, BundleError};
use crate::store::{Contact, ContactState, OutboxState, Request, RequestState, StoreError, Transaction};

/// Requests that may wait for an answer.
const WAITING_MOST: usize = 1000;
/// Times that a contact may begin anew in [`RENEWALS_MILLIS`] without its user's being asked.
const RENEWALS_MOST: usize = 3;
/// A day.
const RENEWALS_MILLIS: u64 = 86_400_000;

/// Takes a request that `sender` proved to have sent. What is to be shown of it, if anything: nothing is answered, and of
/// somebody who is blocked nothing is kept.
pub(super) fn receive(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    (sender, id): (&Address, &MessageId),
    request: &RequestBody,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let contact = tx.contact(sender)?;
    if *sender == me.address() || contact.as_ref().is_some_and(|contact| contact.state == ContactState::Blocked) {
        return Ok(Heard::Nothing);
    }
    let bundles = match verified(me, sender, request.bundles()) {
        Ok(bundles) => bundles,
        Err(error) => {
            tracing::debug!(%error, "a request whose keys are none");
            return Ok(Heard::Nothing);
        }
    };
    let Some(expires) = bundles.iter().map(Bundle::expires).min() else { return Ok(Heard::Nothing) };
    let row = Request {
        id: *id,
        account: *sender,
        outgoing: false,
        name: request.name().to_owned(),
        introduction: request.introduction().to_owned(),
        renewal: request.renewal(),
        bundles: request.bundles().concat(),
        state: RequestState::Waiting,
        created: me.now,
        expires,
    };
    if tx.waiting_requests()? >= WAITING_MOST || !tx.add_request(&row)? {
        return Ok(Heard::Nothing);
    }
    match contact {
        // Each has this side encrypt and send a lot: beyond some a day its user is asked.
        Some(contact) if contact.state == ContactState::Accepted && is_too_often(tx, me, sender)? => {}
        Some(contact) if contact.state == ContactState::Accepted => {
            // A contact with the same key: its sessions are gone, or no longer open what is sent.
            begin_anew(tx, me, &contact, &bundles, rng)?;
            tx.set_request_state(&row.id, RequestState::Accepted)?;
        }
        Some(contact) => {
            // Both have asked. One begins: the smaller id, or this side, if its own request may not have come.
            let initiates = me.address().to_bytes() < sender.to_bytes() || !is_on_its_way(tx, sender, me)?;
            tx.put_contact(&Contact { state: ContactState::Accepted, said_name: said(&row), ..contact })?;
            settle(tx, sender)?;
            if initiates {
                begin_all(tx, me, &bundles, rng)?;
            }
        }
        None => {}
    }
    Ok(Heard::Shown)
}

/// Whether a contact has begun anew so often of late that it is not accepted by itself.
fn is_too_often(tx: &Transaction<'_>, me: &Me<'_>, account: &Address) -> Result<bool, StoreError> {
    let since = me.now.0.saturating_sub(RENEWALS_MILLIS);
    let is_recent = |request: &&Request| request.state == RequestState::Accepted && request.created.0 > since;
    Ok(tx.requests_of(account, false)?.iter().filter(is_recent).count() >= RENEWALS_MOST)
}

/// Accepts a request: begins a session with each device that it has keys of.
///
/// # Errors
/// [`Error`]
pub fn accept(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    id: &MessageId,
    name: Option<&str>,
    rng: &mut dyn CryptoRng,
) -> Result<Contact, Error> {
    let request = waiting(tx, id)?;
    let bundles = verified(me, &request.account, &split(&request.bundles))?;
    if bundles.iter().all(|bundle| bundle.expires() <= me.now.seconds()) {
        return Err(Error::Expired(request.name));
    }
    let account = request.account;
    let said_name = said(&request);
    let contact = Contact {
        account,
        name: name_for(tx, &account, name, said_name.as_deref())?,
        said_name,
        state: ContactState::Accepted,
        created: me.now,
    };
    let is_known = tx.contact(&account)?.is_some_and(|known| known.state == ContactState::Accepted);
    tx.put_contact(&contact)?;
    settle(tx, &account)?;
    if is_known {
        begin_anew(tx, me, &contact, &bundles, rng)?;
    } else {
        begin_all(tx, me, &bundles, rng)?;
    }
    Ok(contact)
}

/// Declines a request; the other side is told nothing. With `block`, nothing of it is kept any more.
///
/// # Errors
/// [`Error`]
pub fn decline(tx: &Transaction<'_>, me: &Me<'_>, id: &MessageId, block: bool) -> Result<Request, Error> {
    let request = waiting(tx, id)?;
    tx.set_request_state(id, RequestState::Declined)?;
    if block {
        let account = request.account;
        let name = name_for(tx, &account, None, said(&request).as_deref())?;
        let (state, created) = (ContactState::Blocked, me.now);
        tx.put_contact(&Contact { account, name, said_name: said(&request), state, created })?;
    }
    Ok(request)
}

fn waiting(tx: &Transaction<'_>, id: &MessageId) -> Result<Request, Error> {
    let request = tx.request(id)?.filter(|request| !request.outgoing && request.state == RequestState::Waiting);
    request.ok_or_else(|| Error::NoRequest(id.to_string()))
}

/// What it calls itself, if it does.
fn said(request: &Request) -> Option<String> {
    Some(request.name.clone()).filter(|name| !name.is_empty())
}

/// All requests between the two are accepted by this.
fn settle(tx: &Transaction<'_>, account: &Address) -> Result<(), StoreError> {
    for outgoing in [false, true] {
        for request in tx.requests_of(account, outgoing)? {
            if request.state == RequestState::Waiting {
                tx.set_request_state(&request.id, RequestState::Accepted)?;
            }
        }
    }
    Ok(())
}

/// Whether the last own request to that account is kept by its swarm, and young enough to be read there still.
fn is_on_its_way(tx: &Transaction<'_>, account: &Address, me: &Me<'_>) -> Result<bool, StoreError> {
    for request in tx.requests_of(account, true)? {
        let kept = tx.outbox_message(&request.id)?.is_some_and(|message| message.state == OutboxState::Stored);
        let over = request.created.0.saturating_add(u64::from(super::speaking::TTL.seconds()) * 1000);
        if kept && me.now.0 < over {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bundles that are the sender's own and not over, one for each device.
fn verified(me: &Me<'_>, sender: &Address, signed: &[Vec<u8>]) -> Result<Vec<Bundle>, BundleError> {
    let mut bundles: Vec<Bundle> = Vec::new();
    for bytes in signed {
        let bundle = Bundle::verify(bytes, me.chain)?;
        let known = bundles.iter().any(|other| other.device() == bundle.device());
        if bundle.account() != *sender || known {
            return Err(BundleError::Account);
        }
        if bundle.expires() > me.now.seconds() {
            bundles.push(bundle);
        }
    }
    Ok(bundles)
}

/// The bundles of a row, one behind the other: each has the same length.
fn split(bundles: &[u8]) -> Vec<Vec<u8>> {
    bundles.chunks(Bundle::SIGNED_LEN).map(<[u8]>::to_vec).collect()
}

fn begin_all(tx: &Transaction<'_>, me: &Me<'_>, bundles: &[Bundle], rng: &mut dyn CryptoRng) -> Result<(), Error> {
    for bundle in bundles {
        let mut session = begin(tx, me, bundle, rng)?;
        announce(tx, me, &mut session, rng)?;
    }
    Ok(())
}

/// A contact that begins anew: earlier sessions are kept for what is under way, and what was sent of late is sent again,
/// for nobody knows what of it still opened. Its own ids keep it from being shown twice.
fn begin_anew(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    contact: &Contact,
    bundles: &[Bundle],
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    for session in tx.sessions_of(&contact.account)?.into_iter().filter(|session| session.retired.is_none()) {
        tx.retire_session(&session.tag, me.now.seconds())?;
    }
    begin_all(tx, me, bundles, rng)?;
    resend(tx, me, &contact.account, rng)
}
