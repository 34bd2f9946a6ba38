//! Requests sent: a bundle for each device of the other side, an introduction, a name.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Request as RequestBody};

use super::names::name_for;
use super::speaking::for_sending;
use super::{Error, Me, keys};
use crate::store::{Contact, ContactState, NewMessage, Request, RequestState, Transaction};

/// How long a swarm keeps a request.
const KEPT_MILLIS: u64 = super::speaking::TTL.seconds() as u64 * 1000;

/// Whom to ask, and how.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whom.
    pub account: Address,
    /// What the contact is to be called here; its id's beginning if nothing.
    pub name: Option<&'a str>,
    /// A few words to the other side.
    pub introduction: &'a str,
    /// Sessions with a contact are to be begun anew: after a restore, or where messages no longer open.
    pub renew: bool,
}

/// Queues a request. It is a message of the outbox, to the account's inbox.
///
/// # Errors
/// [`Error`]
pub fn ask(tx: &Transaction<'_>, me: &Me<'_>, ask: &Ask<'_>, rng: &mut dyn CryptoRng) -> Result<MessageId, Error> {
    let account = ask.account;
    if account == me.address() {
        return Err(Error::Oneself);
    }
    let contact = tx.contact(&account)?;
    let is_contact = contact.as_ref().is_some_and(|contact| contact.state == ContactState::Accepted);
    match &contact {
        Some(contact) if contact.state == ContactState::Blocked => return Err(Error::Blocked(contact.name.clone())),
        Some(contact) if is_contact && !ask.renew && for_sending(tx, me, &account)?.is_some() => {
            return Err(Error::Already(contact.name.clone()));
        }
        _ => {}
    }
    let waits = |request: &Request| request.state == RequestState::Waiting && request.expires > me.now.seconds();
    if let Some(request) = tx.requests_of(&account, false)?.into_iter().find(waits) {
        return Err(Error::Asks { name: said_name(&request, &contact), id: request.id.to_string() });
    }
    // A swarm keeps it for four days: after that it may be sent again.
    let is_kept = |request: &Request| request.created.0.saturating_add(KEPT_MILLIS) > me.now.0;
    let waiting = tx.requests_of(&account, true)?.into_iter().find(|request| waits(request) && is_kept(request));
    if let Some(request) = waiting.filter(|_| !ask.renew) {
        return Err(Error::Waiting(name_of(&contact, &request.account)));
    }
    super::tidying::rotate(tx, me, rng)?;
    let name = name_for(tx, &account, ask.name, contact.as_ref().map(|contact| contact.name.as_str()))?;
    if !is_contact {
        let (created, said_name) = (me.now, None);
        let state = ContactState::Requested;
        tx.put_contact(&Contact { account, name, said_name, state, created })?;
    }
    queue(tx, me, &account, ask.introduction, is_contact, rng)
}

/// What somebody who asks calls itself.
fn said_name(request: &Request, contact: &Option<Contact>) -> String {
    if request.name.is_empty() { name_of(contact, &request.account) } else { request.name.clone() }
}

fn name_of(contact: &Option<Contact>, account: &Address) -> String {
    contact.as_ref().map_or_else(|| account.short(), |contact| contact.name.clone())
}

fn queue(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    introduction: &str,
    renewal: bool,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    let id = super::speaking::draw(rng);
    let bundle = keys::bundle(tx, me, account, rng)?;
    let body = RequestBody::new(me.name.to_owned(), introduction.to_owned(), vec![bundle], renewal);
    let body = Body::Request(body.map_err(|error| Error::Content(error.to_string()))?);
    tx.add_request(&Request {
        id,
        account: *account,
        outgoing: true,
        name: me.name.to_owned(),
        introduction: introduction.to_owned(),
        renewal,
        bundles: Vec::new(),
        state: RequestState::Waiting,
        created: me.now,
        expires: super::tidying::request_expiry(me.now),
    })?;
    let content = Content::new(id, me.now, body);
    tx.enqueue(&NewMessage::plain(*account, content, super::speaking::TTL, me.now))?;
    Ok(id)
}
