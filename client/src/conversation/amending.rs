//! Other words, signs beside a message, deletion at both ends.
//!
//! Only who has said something can say it otherwise or delete it, and only in the same conversation. What overtakes its
//! message waits for it. Of several wordings the one of the latest time by their sender's clock is shown, of several signs of
//! a person the same; a deletion is for good. So both ends show the same once they have everything, in whatever order it
//! came and however often.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Edit, Emoji, MessageId, Reaction, Text};
use sotto_proto::time::UnixMillis;

use super::notice::{Change, Notice};
use super::speaking::{TTL, draw, speak};
use super::{Error, Me};
use crate::store::{Amendment, Gone, Present, RowState, StoreError, Transaction};

/// So much of one contact waits for messages that have not come; what waits longest goes first.
const WAITING_MOST: usize = 256;
/// What has waited for so long waits no more: swarms keep nothing for longer than four days, and a contact that begins anew
/// sends again what is no older than that.
pub(super) const WAITING_MILLIS: u64 = 14 * 86_400_000;

/// Gives a text that was said from here other words, at both ends.
///
/// # Errors
/// [`Error::NoMessage`], [`Error::NotOwn`], [`Error::NoText`], and those of [`super::say`].
pub fn edit(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    (account, of): (&Address, &MessageId),
    text: Text,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    let message = own(tx, account, of)?;
    if !matches!(message.content.body, Body::Text(_)) {
        return Err(Error::NoText(of.to_string()));
    }
    // The clock may have been set back since the last wording.
    let sent = message.edited.map_or(me.now, |(sent, _)| after(me, sent));
    let body = Body::Edit(Edit { of: *of, text });
    // Where the message never comes, its other words disappear as it would have.
    let expiry = message.content.expiry;
    amend(tx, me, account, of, Content { expiry, ..Content::new(draw(rng), sent, body) }, rng)
}

/// Deletes what was said from here, at both ends.
///
/// # Errors
/// [`Error::NoMessage`], [`Error::NotOwn`], and those of [`super::say`].
pub fn delete(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    (account, of): (&Address, &MessageId),
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    own(tx, account, of)?;
    amend(tx, me, account, of, Content::new(draw(rng), me.now, Body::Delete(*of)), rng)
}

/// Erases a message here. The other side keeps it.
///
/// # Errors
/// [`Error::NoMessage`]
pub fn delete_here(tx: &Transaction<'_>, account: &Address, id: &MessageId) -> Result<(), Error> {
    let messages = shown(tx, account, id)?;
    for message in messages {
        tx.erase(account, message.outgoing, id, Gone::Disappeared)?;
    }
    Ok(())
}

/// Puts a sign beside a message of either side, in the place of the one before; `None` takes it back.
///
/// # Errors
/// [`Error::NoMessage`], and those of [`super::say`].
pub fn react(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    (account, to): (&Address, &MessageId),
    emoji: Option<Emoji>,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    shown(tx, account, to)?;
    let before = newest(&tx.amendments(account, to)?, |about| about.outgoing && is_reaction(about));
    let sent = before.map_or(me.now, |(sent, _)| after(me, sent));
    let body = Body::Reaction(Reaction { to: *to, emoji });
    amend(tx, me, account, to, Content::new(draw(rng), sent, body), rng)
}

fn amend(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    target: &MessageId,
    content: Content,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    let id = speak(tx, me, account, content, TTL, rng)?;
    settle(tx, account, target)?;
    Ok(id)
}

/// Now, or as soon after a time as can be told apart.
fn after(me: &Me<'_>, sent: UnixMillis) -> UnixMillis {
    me.now.max(UnixMillis(sent.0.saturating_add(1)))
}

/// The messages of that id that are there.
fn shown(tx: &Transaction<'_>, account: &Address, id: &MessageId) -> Result<Vec<Present>, Error> {
    let mut messages = tx.present(account, id)?;
    messages.retain(|message| message.state == RowState::Shown);
    if messages.is_empty() { Err(Error::NoMessage(id.to_string())) } else { Ok(messages) }
}

/// The message of that id that was said from here.
fn own(tx: &Transaction<'_>, account: &Address, id: &MessageId) -> Result<Present, Error> {
    let own = shown(tx, account, id)?.into_iter().find(|message| message.outgoing);
    own.ok_or_else(|| Error::NotOwn(id.to_string()))
}

/// Makes a message what it is by all that is about it, and keeps no more of that than is needed. What is news.
pub(super) fn settle(tx: &Transaction<'_>, account: &Address, target: &MessageId) -> Result<Vec<Notice>, StoreError> {
    let (messages, about) = (tx.present(account, target)?, tx.amendments(account, target)?);
    if messages.is_empty() {
        tx.set_waiting(account, target, true)?;
        for (outgoing, id) in tx.waiting_beyond(account, WAITING_MOST)? {
            tx.erase(account, outgoing, &id, Gone::Superseded)?;
        }
        return Ok(Vec::new());
    }
    tx.set_waiting(account, target, false)?;
    let (mut notices, mut left) = (Vec::new(), Vec::new());
    for message in messages.into_iter().filter(|message| message.state == RowState::Shown) {
        let is_by_sender = |amendment: &&Amendment| amendment.outgoing == message.outgoing;
        if about.iter().filter(is_by_sender).any(|amendment| is_deletion_of(amendment, target)) {
            tx.erase(account, message.outgoing, target, Gone::Deleted)?;
            notices.push(Notice::new(*account, Change::Deleted(*target)));
            continue;
        }
        left.push(message.outgoing);
        if reword(tx, account, &message, about.iter().filter(is_by_sender))? {
            notices.push(Notice::new(*account, Change::Edited(*target)));
        }
    }
    let is_latest = |amendment: &Amendment, is_kind: fn(&Amendment) -> bool| {
        let of_side = |other: &Amendment| other.outgoing == amendment.outgoing && is_kind(other);
        newest(&about, of_side) == Some((amendment.content.sent, amendment.content.id))
    };
    for amendment in &about {
        let id = amendment.content.id;
        match &amendment.content.body {
            // The words stay with what came, which is still to be shown, until the message goes or gets others.
            Body::Edit(_) if left.contains(&amendment.outgoing) && is_latest(amendment, is_edit) => {}
            Body::Reaction(_) if !left.is_empty() && is_latest(amendment, is_reaction) => {}
            Body::Edit(_) | Body::Reaction(_) => tx.erase(account, amendment.outgoing, &id, Gone::Superseded)?,
            // It is done, or was never its sender's to do.
            _ => tx.set_done(account, amendment.outgoing, &id)?,
        }
    }
    Ok(notices)
}

/// Gives a message the latest of its wordings; whether that is another one.
fn reword<'a>(
    tx: &Transaction<'_>,
    account: &Address,
    message: &Present,
    by_sender: impl Iterator<Item = &'a Amendment>,
) -> Result<bool, StoreError> {
    let Body::Text(before) = &message.content.body else { return Ok(false) };
    let edits = by_sender.filter_map(|amendment| match &amendment.content.body {
        Body::Edit(edit) => Some(((amendment.content.sent, amendment.content.id), &edit.text)),
        _ => None,
    });
    let Some((edited, text)) = edits.max_by_key(|(edited, _)| *edited) else { return Ok(false) };
    if message.edited.is_some_and(|known| known >= edited) {
        return Ok(false);
    }
    // What it answers stays: other words are no other message.
    let Ok(mut text) = Text::new(text.as_str().to_owned()) else { return Ok(false) };
    if let Some(answered) = before.reply_to() {
        text = text.in_reply_to(answered);
    }
    let content = Content { body: Body::Text(text), ..message.content.clone() };
    tx.set_words(account, message.outgoing, &content, edited)?;
    Ok(true)
}

fn is_deletion_of(amendment: &Amendment, target: &MessageId) -> bool {
    matches!(amendment.content.body, Body::Delete(of) if of == *target)
}

const fn is_edit(amendment: &Amendment) -> bool {
    matches!(amendment.content.body, Body::Edit(_))
}

const fn is_reaction(amendment: &Amendment) -> bool {
    matches!(amendment.content.body, Body::Reaction(_))
}

/// The latest of those that count.
fn newest(about: &[Amendment], counts: impl Fn(&Amendment) -> bool) -> Option<(UnixMillis, MessageId)> {
    about
        .iter()
        .filter(|amendment| counts(amendment))
        .map(|amendment| (amendment.content.sent, amendment.content.id))
        .max()
}

/// Something about a message came and is in the history. The notices, and whether it is to be shown.
pub(super) fn heard(
    tx: &Transaction<'_>,
    account: &Address,
    content: &Content,
    signs_before: &[(bool, Emoji)],
) -> Result<Vec<Notice>, StoreError> {
    match &content.body {
        Body::Edit(Edit { of, .. }) | Body::Delete(of) => settle(tx, account, of),
        Body::Reaction(Reaction { to, .. }) => {
            let mut notices = settle(tx, account, to)?;
            let is_shown = tx.present(account, to)?.iter().any(|message| message.state == RowState::Shown);
            if is_shown && tx.reactions(account, to)? != signs_before {
                notices.push(Notice::new(*account, Change::Reacted(*to)));
            }
            Ok(notices)
        }
        _ => Ok(Vec::new()),
    }
}
