//! What is decrypted, and what that changes.

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::address::Address;
use sotto_proto::content::{Announcement, Body, Content};
use sotto_proto::envelope::Envelope;
use sotto_proto::limits::BUNDLE_SECONDS;
use sotto_proto::request::Message as _;
use sotto_proto::time::UnixSeconds;

use super::notice::Notice;
use super::speaking::{associated, ratchet_of};
use super::{Error, Me};
use crate::crypto::{self, OpenError, Opened, Ratchet, SessionBody};
use crate::store::{
    Contact, ContactState, Gone, Letter, Prekey, PrekeyNumber, RowState, Said, Session, StoreError, Transaction,
};

/// Signed prekeys that something sealed to a mailbox is tried with, the newest first: those of the time that one is kept
/// at most.
pub(super) const TRIED: usize = 16;

/// How long the key of an overtaken message is kept: longer than a swarm keeps it, for its sender may have stored it late.
const OVERTAKEN_SECONDS: u64 = BUNDLE_SECONDS;

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing to show: it is cover, control, repeated, forged, or from somebody who is blocked.
    Nothing,
    /// What the sender said, where the caller has it.
    Shown,
    /// This.
    Letter(Letter),
    /// It changed what is there already; that may be something to show as well.
    Changed {
        /// What to show.
        letter: Option<Letter>,
        /// What changed.
        notices: Vec<Notice>,
    },
}

/// What came of a record, for whoever takes it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What goes into the inbox.
    pub(crate) letter: Option<Letter>,
    /// What changed besides.
    pub(crate) notices: Vec<Notice>,
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
) -> Result<Outcome, StoreError> {
    let (opened, prekey) = match open(tx, me, envelope)? {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(%error, "a record does not open");
            return Ok(Outcome::default());
        }
    };
    // Whoever knows a session's tag is at its other end.
    let tag = match &opened {
        Opened::Session(body) => Some(body.tag),
        Opened::Initial(message) => Some(message.body.tag),
        Opened::Cover | Opened::Newer { .. } | Opened::Message { .. } => None,
    };
    if let (Some(tag), Some(prekey)) = (tag, prekey) {
        tx.set_known(&tag, prekey)?;
    }
    // What fails halfway changes nothing, and keeps nothing else from being taken in.
    let heard = tx.attempt(|| match opened {
        Opened::Cover => Ok(Heard::Nothing),
        Opened::Newer { kind, body } => Ok(Heard::Letter(Letter::Newer { kind, body })),
        Opened::Message { sender, content } => plain(tx, me, sender, content, rng),
        Opened::Session(body) => receive(tx, me, &body, rng),
        Opened::Initial(message) => super::initial::receive(tx, me, &message, rng),
    });
    match heard {
        Ok(Heard::Letter(letter)) => Ok(Outcome { letter: Some(letter), notices: Vec::new() }),
        Ok(Heard::Changed { letter, notices }) => Ok(Outcome { letter, notices }),
        Ok(Heard::Nothing | Heard::Shown) => Ok(Outcome::default()),
        Err(Error::Store(error)) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "a message that changes nothing");
            Ok(Outcome::default())
        }
    }
}

/// Opens an envelope by the key of the inbox, or by a signed prekey, which is told then.
fn open(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    envelope: &Envelope,
) -> Result<Result<(Opened, Option<PrekeyNumber>), OpenError>, StoreError> {
    let address = envelope.address();
    if address == me.address() {
        let secret: noise::Secret = me.account.x25519_secret().into();
        return Ok(crypto::open(me.chain, &address, &[secret], envelope).map(|opened| (opened, None)));
    }
    let mut failure = OpenError::NoKey;
    for Prekey { number, secret, .. } in tx.prekeys()?.into_iter().take(TRIED) {
        match crypto::open(me.chain, &address, &[secret], envelope) {
            Ok(opened) => return Ok(Ok((opened, Some(number)))),
            // Sealed to another one, or to none.
            Err(error @ OpenError::Seal(_)) => failure = error,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(failure))
}

/// A message before there is a session: a request, or a text of somebody who is no contact.
fn plain(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    sender: Address,
    content: Content,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let state = tx.contact(&sender)?.map(|contact| contact.state);
    if state == Some(ContactState::Blocked) {
        return Ok(Heard::Nothing);
    }
    let letter = |content| Letter::Message { sender, device: super::DEVICE, session: None, content };
    match &content.body {
        Body::Request(request) => match super::answering::receive(tx, me, (&sender, &content.id), request, rng)? {
            Heard::Shown => Ok(Heard::Letter(letter(content))),
            heard => Ok(heard),
        },
        // Whoever has stolen the key of this account can write that in the name of anybody. A contact has sessions, which
        // he cannot: of it he shall not be believed (faults 37).
        Body::Text(_) | Body::Newer(_) if state == Some(ContactState::Accepted) => {
            tracing::debug!("a plain message in the name of a contact");
            Ok(Heard::Nothing)
        }
        Body::Text(_) | Body::Newer(_) => {
            let said = keep(
                tx,
                me,
                Said { account: sender, outgoing: false, device: super::DEVICE, arrived: me.now, content },
            )?;
            Ok(said.map_or(Heard::Nothing, |content| Heard::Letter(letter(content))))
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
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let Some(session) = tx.session(tag)? else {
        tracing::debug!("a message of a session that is not known");
        return Ok(Heard::Nothing);
    };
    let Some(decrypted) = open_with(me, &session, message)? else { return Ok(Heard::Nothing) };
    take(tx, me, session, decrypted, rng)
}

/// What a session has decrypted: its ratchet goes on, and what is said is done.
pub(super) fn take(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    mut session: Session,
    decrypted: Decrypted,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let Decrypted { content, mut ratchet, skipped_changed } = decrypted;
    let over = UnixSeconds(me.now.seconds().0.saturating_sub(OVERTAKEN_SECONDS));
    let skipped_changed = ratchet.drop_skipped_before(over) || skipped_changed;
    session.ratchet = ratchet.encode_core();
    // They may be many times as long as all else, and seldom change.
    let skipped = skipped_changed.then(|| ratchet.encode_skipped());
    tx.set_ratchet(&session.tag, &session.ratchet, skipped.as_ref().map(|skipped| skipped.as_slice()))?;
    let is_first = session.received.is_none();
    session.received = Some(me.now.seconds());
    session.initial = None;
    tx.set_received(&session.tag, me.now.seconds())?;
    deliver(tx, me, &mut session, content, is_first, rng)
}

/// What a session decrypts.
pub(super) struct Decrypted {
    /// What it says.
    pub(super) content: Content,
    /// The ratchet behind it.
    pub(super) ratchet: Ratchet,
    /// Whether keys of overtaken messages came or went.
    pub(super) skipped_changed: bool,
}

/// Decrypts by a session, without any change to the store.
pub(super) fn open_with(me: &Me<'_>, session: &Session, message: &[u8]) -> Result<Option<Decrypted>, StoreError> {
    let mut ratchet = ratchet_of(session)?;
    let decrypted = match ratchet.decrypt(&associated(me, session), message, me.now.seconds()) {
        Ok(decrypted) => decrypted,
        Err(error) => {
            tracing::debug!(%error, "a message does not decrypt");
            return Ok(None);
        }
    };
    match Content::decode(&decrypted.plaintext) {
        Ok(content) => Ok(Some(Decrypted { content, ratchet, skipped_changed: decrypted.skipped_changed })),
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
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let Some(contact) = tx.contact(&session.account)? else { return Ok(Heard::Nothing) };
    if contact.state == ContactState::Blocked {
        return Ok(Heard::Nothing);
    }
    let (sender, device, tag) = (session.account, session.device, Some(session.tag));
    let letter = |content| Letter::Message { sender, device, session: tag, content };
    let said = |content: &Content| {
        let content = content.clone();
        Said { account: sender, outgoing: false, device, arrived: me.now, content }
    };
    match &content.body {
        Body::Announce(announcement) => {
            announced(tx, session, contact, announcement)?;
            // Once, at the beginning, it says that a request was accepted.
            let is_shown = is_first && !session.initiator;
            Ok(if is_shown { Heard::Letter(letter(content)) } else { Heard::Nothing })
        }
        Body::Acknowledge(acknowledgement) => {
            super::online::acknowledged(tx, &sender, acknowledgement)?;
            Ok(Heard::Nothing)
        }
        Body::Listening(listening) => {
            super::online::listens(tx, me, &sender, (content.sent, listening))?;
            Ok(Heard::Nothing)
        }
        // Requests are for inboxes; nobody waits for the others.
        Body::Request(_) => Ok(Heard::Nothing),
        Body::Receipt(receipt) => Ok(changed(None, super::receipts::heard(tx, &sender, receipt)?)),
        Body::Typing(typing) => {
            let notice = super::receipts::typing_heard(tx, me, &sender, content.sent, *typing)?;
            Ok(changed(None, notice))
        }
        Body::Text(_) | Body::Newer(_) => {
            let id = content.id;
            let Some(content) = keep(tx, me, said(&content))? else { return Ok(Heard::Nothing) };
            if matches!(content.body, Body::Text(_)) {
                super::receipts::owe(tx, &sender, &id)?;
            }
            Ok(Heard::Letter(letter(content)))
        }
        Body::Timer(expiry) => {
            if !tx.add_to_history(&said(&content))? {
                return Ok(Heard::Nothing);
            }
            let notice = super::disappearing::timer_heard(tx, me, &sender, &content, *expiry)?;
            Ok(changed(Some(letter(content)), notice))
        }
        Body::Reaction(_) | Body::Edit(_) | Body::Delete(_) => {
            let before = match &content.body {
                Body::Reaction(reaction) => tx.reactions(&sender, &reaction.to)?,
                _ => Vec::new(),
            };
            if !tx.add_to_history(&said(&content))? {
                return Ok(Heard::Nothing);
            }
            let notices = super::amending::heard(tx, &sender, &content, &before)?;
            // What waits for its message, or changes nothing of it, is nothing to show.
            Ok(if notices.is_empty() { Heard::Nothing } else { changed(Some(letter(content)), notices) })
        }
        Body::Question(question) => {
            if !tx.add_to_history(&said(&content))? {
                return Ok(Heard::Nothing);
            }
            super::questioning::heard(tx, me, session, &content, question, rng)
        }
    }
}

fn changed(letter: Option<Letter>, notices: impl IntoIterator<Item = Notice>) -> Heard {
    Heard::Changed { letter, notices: notices.into_iter().collect() }
}

/// Writes what came into the history. What is to be shown of it: nothing where it is there already, has been deleted before
/// it came, or has disappeared by now; and other words where they overtook it.
fn keep(tx: &Transaction<'_>, me: &Me<'_>, said: Said) -> Result<Option<Content>, StoreError> {
    if !tx.add_to_history(&said)? {
        return Ok(None);
    }
    let (account, id) = (said.account, said.content.id);
    if said.expires().is_some_and(|expires| expires <= me.now) {
        tx.erase(&account, false, &id, Gone::Disappeared)?;
        return Ok(None);
    }
    super::amending::settle(tx, &account, &id)?;
    let present = tx.present_of(&account, false, &id)?;
    Ok(present.filter(|present| present.state == RowState::Shown).map(|present| present.content))
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
