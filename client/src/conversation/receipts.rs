//! What came and was read, and whether somebody is writing. Both are off until their user wants them.
//!
//! Receipts go to contacts only, for texts that a session brought for the first time, many in one message and a while after
//! the fact: whoever sends to learn whether somebody is there learns it late and not often (faults 43, 44). They are answered
//! by nothing.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, MessageIds, Receipt, Typing};
use sotto_proto::envelope::Ttl;
use sotto_proto::limits::RECEIPT_IDS;
use sotto_proto::time::UnixMillis;

use super::notice::{Change, Notice};
use super::speaking::{draw, for_sending, speak};
use super::{Error, Me};
use crate::store::{ContactState, OutboxState, Owed, StoreError, Switch, Transaction};

/// How long swarms keep a receipt: until the next day, for who was away overnight.
const RECEIPT_SECONDS: u32 = 86_400;
/// How long they keep that somebody is writing, and how long it is worth something.
const TYPING_SECONDS: u32 = 60;
/// Receipts that are looked for at once.
const OWED_MOST: usize = 4 * RECEIPT_IDS;

/// Tells a contact whether this account's user is writing to it. False if the account does not tell.
///
/// # Errors
/// Those of [`super::say`].
pub fn tell_typing(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    typing: Typing,
    rng: &mut dyn CryptoRng,
) -> Result<bool, Error> {
    if !tx.is_on(Switch::Typing)? {
        return Ok(false);
    }
    speak(tx, me, account, Content::new(draw(rng), me.now, Body::Typing(typing)), short(TYPING_SECONDS), rng)?;
    Ok(true)
}

/// The other side is writing, or no more.
pub(super) fn typing_heard(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    sent: UnixMillis,
    typing: Typing,
) -> Result<Option<Notice>, StoreError> {
    let is_recent = me.now.0.saturating_sub(sent.0) <= u64::from(TYPING_SECONDS) * 1000;
    let shows = is_recent && tx.is_on(Switch::Typing)?;
    Ok(shows.then(|| Notice::new(*account, Change::Typing(typing))))
}

/// A text came for the first time: if the account tells, its sender is owed a receipt.
pub(super) fn owe(tx: &Transaction<'_>, account: &Address, id: &MessageId) -> Result<(), StoreError> {
    if tx.is_on(Switch::Receipts)? { tx.owe_receipt(account, id) } else { Ok(()) }
}

/// Queues what is owed, a message for each contact. Whether there is any.
pub(super) fn tell(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<bool, Error> {
    let owed = tx.owed_receipts(OWED_MOST)?;
    if owed.is_empty() {
        return Ok(false);
    }
    if !tx.is_on(Switch::Receipts)? {
        tx.forget_owed()?;
        return Ok(false);
    }
    let mut is_queued = false;
    for owed in owed.chunk_by(|one, other| one.account == other.account) {
        let Some(Owed { account, .. }) = owed.first() else { continue };
        let is_contact = tx.contact(account)?.is_some_and(|contact| contact.state == ContactState::Accepted);
        if is_contact && for_sending(tx, me, account)?.is_none() {
            continue;
        }
        for owed in owed.chunks(RECEIPT_IDS) {
            if is_contact {
                let body = Body::Receipt(receipt(owed)?);
                speak(tx, me, account, Content::new(draw(rng), me.now, body), short(RECEIPT_SECONDS), rng)?;
                is_queued = true;
            }
            owed.iter().try_for_each(|owed| tx.settle_receipt(owed))?;
        }
    }
    Ok(is_queued)
}

fn receipt(owed: &[Owed]) -> Result<Receipt, Error> {
    let ids = |read: bool| {
        let ids = owed.iter().filter(|owed| owed.read == read).map(|owed| owed.message).collect();
        MessageIds::new(ids).map_err(|error| Error::Content(error.to_string()))
    };
    Receipt::new(ids(false)?, ids(true)?).map_err(|error| Error::Content(error.to_string()))
}

/// The other side has got or read something. Ids that were never sent to it mean nothing.
pub(super) fn heard(tx: &Transaction<'_>, account: &Address, receipt: &Receipt) -> Result<Vec<Notice>, StoreError> {
    let mut notices = Vec::new();
    let news = |ids: &MessageIds, state| -> Result<Vec<MessageId>, StoreError> {
        let mut news = Vec::new();
        for id in ids.as_slice() {
            if tx.set_delivery(account, id, state)? {
                news.push(*id);
            }
        }
        Ok(news)
    };
    let delivered = news(receipt.delivered(), OutboxState::Delivered)?;
    let read = news(receipt.read(), OutboxState::Read)?;
    for change in [Change::Delivered(delivered), Change::Read(read)] {
        if !matches!(&change, Change::Delivered(ids) | Change::Read(ids) if ids.is_empty()) {
            notices.push(Notice::new(*account, change));
        }
    }
    Ok(notices)
}

fn short(seconds: u32) -> Ttl {
    Ttl::new(seconds).unwrap_or(super::speaking::TTL)
}
