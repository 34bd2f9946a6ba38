//! Requests that came: they wait for their user, unless both sides have asked each other, or a contact begins anew.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{MessageId, Request as RequestBody};
use sotto_proto::limits::BUNDLE_SECONDS;
use sotto_proto::time::UnixMillis;

use super::hearing::Heard;
use super::names::name_for;
use super::speaking::{announce, begin, is_of_smaller, rank, resend};
use super::tidying::attempt;
use super::{Error, Me};
use crate::crypto::{Bundle, BundleError};
use crate::store::{Contact, ContactState, OutboxState, Request, RequestState, StoreError, Transaction};

/// Requests of strangers that may wait for an answer.
const WAITING_MOST: usize = 1000;
/// Times that a contact may begin anew in [`RENEWALS_MILLIS`] without its user's being asked.
const RENEWALS_MOST: usize = 3;
/// How far the clock of whoever asks may be ahead.
const AHEAD_SECONDS: u64 = 3600;
/// A day.
const RENEWALS_MILLIS: u64 = 86_400_000;
/// Within which no more than so many requests are accepted by themselves: an hour.
const AUTO_ACCEPT_MILLIS: u64 = 3_600_000;

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
    if contact.is_none() && !may_wait(tx, &row)? {
        return Ok(Heard::Nothing);
    }
    if !tx.add_request(&row)? {
        return Ok(Heard::Nothing);
    }
    match contact {
        // Each has this side encrypt and send a lot: beyond some a day its user is asked.
        Some(contact) if contact.state == ContactState::Accepted && is_too_often(tx, me, sender)? => {}
        Some(contact) if contact.state == ContactState::Accepted => {
            // A contact with the same key: its sessions are gone, or no longer open what is sent.
            tx.set_request_state(&row.id, RequestState::Accepted)?;
            begin_anew(tx, me, &contact.account, &bundles, rng)?;
        }
        Some(contact) => {
            // Both have asked. One begins: the smaller id, or this side, if its own request may not have come.
            let initiates = is_of_smaller(me, sender, true) || !is_on_its_way(tx, sender, me)?;
            tx.put_contact(&Contact { state: ContactState::Accepted, said_name: said(&row), ..contact })?;
            settle(tx, sender)?;
            if initiates {
                begin_anew(tx, me, sender, &bundles, rng)?;
            }
        }
        None if is_welcome(tx, me)? => match accept(tx, me, id, None, rng) {
            Ok(_) => {}
            Err(Error::Store(error)) => return Err(error.into()),
            // It waits for its user.
            Err(error) => tracing::debug!(%error, "a request is not accepted by itself"),
        },
        None => {}
    }
    Ok(Heard::Shown)
}

/// Whether a stranger's request may wait: there is room, and none of the same account is as new. It takes the place of those
/// before it, whose keys may be gone with a device.
fn may_wait(tx: &Transaction<'_>, row: &Request) -> Result<bool, StoreError> {
    let mut waiting = tx.requests_of(&row.account, false)?;
    waiting.retain(|request| request.state == RequestState::Waiting && request.id != row.id);
    if waiting.iter().any(|request| request.expires >= row.expires) {
        return Ok(false);
    }
    for request in &waiting {
        tx.set_request_state(&request.id, RequestState::Declined)?;
    }
    Ok(tx.waiting_requests()? < WAITING_MOST)
}

/// Whether a stranger's request is accepted by itself: if the user wants that, and so many an hour at most.
fn is_welcome(tx: &Transaction<'_>, me: &Me<'_>) -> Result<bool, StoreError> {
    let most = tx.auto_accept()?;
    let since = UnixMillis(me.now.0.saturating_sub(AUTO_ACCEPT_MILLIS));
    Ok(most > 0 && tx.accepted_since(since)? < most)
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
    super::tidying::rotate(tx, me, rng)?;
    let account = request.account;
    let contact = Contact {
        account,
        name: name_here(tx, &request, name)?,
        said_name: said(&request),
        state: ContactState::Accepted,
        created: me.now,
    };
    tx.put_contact(&contact)?;
    settle(tx, &account)?;
    begin_anew(tx, me, &account, &bundles, rng)?;
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
        let name = name_here(tx, &request, None)?;
        let (state, created) = (ContactState::Blocked, me.now);
        self::block(tx, &Contact { account, name, said_name: said(&request), state, created })?;
    }
    Ok(request)
}

/// Blocks a contact, or somebody who never became one; its requests that wait for an answer are declined, for accepting one
/// would undo it.
///
/// # Errors
/// [`StoreError`] when the store fails.
pub fn block(tx: &Transaction<'_>, contact: &Contact) -> Result<(), StoreError> {
    tx.put_contact(&Contact { state: ContactState::Blocked, ..contact.clone() })?;
    for request in tx.requests_of(&contact.account, false)? {
        if request.state == RequestState::Waiting {
            tx.set_request_state(&request.id, RequestState::Declined)?;
        }
    }
    Ok(())
}

fn waiting(tx: &Transaction<'_>, id: &MessageId) -> Result<Request, Error> {
    let request = tx.request(id)?.filter(|request| !request.outgoing && request.state == RequestState::Waiting);
    request.ok_or_else(|| Error::NoRequest(id.to_string()))
}

/// What whoever asks is to be called here: as wanted, or as before. What it calls itself is for those who have no name yet.
fn name_here(tx: &Transaction<'_>, request: &Request, wanted: Option<&str>) -> Result<String, Error> {
    match (wanted, tx.contact(&request.account)?) {
        (None, Some(known)) => Ok(known.name),
        _ => name_for(tx, &request.account, wanted, said(request).as_deref()),
    }
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
        let left = bundle.expires().0.saturating_sub(me.now.seconds().0);
        // One of a time to come would never be over.
        if (1..=BUNDLE_SECONDS + AHEAD_SECONDS).contains(&left) {
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

/// Begins with somebody, perhaps anew: earlier sessions are kept for what is under way, and what was sent of late is sent
/// again, for nobody knows what of it still opened. Its own ids keep it from being shown twice. Bundles from before the
/// present session change nothing: that request was answered, and came late.
fn begin_anew(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    bundles: &[Bundle],
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let mut bundles = bundles.to_vec();
    for session in tx.sessions_of(account)? {
        let (expires, is_smaller, epoch, _) = rank(me, &session);
        let ours = is_of_smaller(me, account, true);
        bundles.retain(|bundle| (bundle.expires(), ours, bundle.epoch()) > (expires, is_smaller, epoch));
    }
    begin_all(tx, me, &bundles, rng)?;
    resend(tx, me, account, rng)
}

/// Begins with those who asked when this side had asked them as well and waited for them to begin: they never read that.
pub(super) fn begin_waited(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    for account in tx.without_session()? {
        if is_on_its_way(tx, &account, me)? {
            continue;
        }
        let accepted = |request: &Request| request.state == RequestState::Accepted;
        let Some(request) = tx.requests_of(&account, false)?.into_iter().find(accepted) else { continue };
        match verified(me, &account, &split(&request.bundles)) {
            Ok(bundles) => attempt(tx, || begin_anew(tx, me, &account, &bundles, rng))?,
            Err(error) => tracing::debug!(%error, "a request whose keys are none"),
        }
    }
    Ok(())
}
