//! What is over and goes, and what is renewed before it is over.

use rand_core::CryptoRng;
use sotto_proto::limits::{BUNDLE_KEPT_SECONDS, BUNDLE_SECONDS, TTL_SECONDS};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::amending::WAITING_MILLIS;
use super::asking::{Ask, ask};
use super::disappearing::vanish;
use super::notice::Notice;
use super::speaking::{announce, for_sending, greatest};
use super::{Error, Me, keys};
use crate::store::{Gone, Presence, StoreError, Transaction};

/// After so long a contact that was not heard since is told the present prekey again: a day before swarms forget it.
const AGAIN_SECONDS: u64 = 3 * 86_400;

/// Whoever has not looked for so long was away.
const AWAY_SECONDS: u64 = 2 * 86_400;
/// Times of looking are kept so exactly.
const PRESENT_SECONDS: u64 = 3600;
/// A signed prekey is kept for so long for a contact that may know no later one.
pub(super) const KNOWN_SECONDS: u64 = 90 * 86_400;
/// A verification by question that nobody ends is over after a week.
const QUESTION_MILLIS: u64 = 7 * 86_400_000;
/// Contacts that are asked to begin anew each time that mail is fetched.
const RENEWED_AT_ONCE: usize = 20;

/// Until when a request that is made now may be accepted.
pub(super) const fn request_expiry(now: UnixMillis) -> UnixSeconds {
    UnixSeconds(now.seconds().0.saturating_add(BUNDLE_SECONDS))
}

/// Forgets keys and sessions by which nothing can come any more, and gives out a new signed prekey every week.
///
/// # Errors
/// [`Error`]
pub(crate) fn tidy(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    let now = me.now.seconds();
    let ago = |seconds: u64| UnixSeconds(now.0.saturating_sub(seconds));
    let stored = u64::from(*TTL_SECONDS.end());
    tx.drop_bundles(ago(BUNDLE_KEPT_SECONDS))?;
    tx.drop_sessions(ago(stored))?;
    let here = here_since(tx, now)?;
    let back = |seconds: u64| UnixSeconds(here.0.saturating_sub(seconds));
    tx.drop_prekeys(back(BUNDLE_SECONDS + BUNDLE_KEPT_SECONDS), back(KNOWN_SECONDS))?;
    tx.forget_requests(ago(BUNDLE_KEPT_SECONDS))?;
    for (account, outgoing, id) in tx.waiting_since(UnixMillis(me.now.0.saturating_sub(WAITING_MILLIS)))? {
        tx.erase(&account, outgoing, &id, Gone::Superseded)?;
    }
    tx.drop_questions(UnixMillis(me.now.0.saturating_sub(QUESTION_MILLIS)))?;
    renew_copied(tx, me, rng)?;
    super::answering::begin_waited(tx, me, rng)?;
    rotate(tx, me, rng)
}

/// What time brings, every few seconds: messages disappear, senders are told what came and was read, and what was worth
/// something for a while is forgotten. What has disappeared, and whether something was queued.
///
/// # Errors
/// [`Error`]
pub(crate) fn tend(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(Vec<Notice>, bool), Error> {
    let notices = vanish(tx, me.now)?;
    let is_queued = super::receipts::tell(tx, me, rng)?;
    tx.drop_passing(me.now)?;
    Ok((notices, is_queued))
}

/// The time by which the age of keys is judged: now; and after an absence the time before it, until all that was sealed
/// meanwhile has been read, or is gone. Who writes to somebody who is away knows no newer key.
fn here_since(tx: &Transaction<'_>, now: UnixSeconds) -> Result<UnixSeconds, Error> {
    let before = tx.presence()?;
    let mut presence = before.unwrap_or(Presence { last: now, left: now, until: now });
    if now.0.saturating_sub(presence.last.0) > AWAY_SECONDS {
        presence.left = presence.last;
        presence.until = UnixSeconds(now.0.saturating_add(u64::from(*TTL_SECONDS.end())));
    }
    // Not with every look: each is a write.
    if before.is_none() || now.0.abs_diff(presence.last.0) > PRESENT_SECONDS {
        presence.last = now;
        tx.set_presence(&presence)?;
    }
    Ok(if now < presence.until { presence.left } else { now })
}

/// Whether this device has looked for mail all the time since then.
pub(super) fn was_here_since(tx: &Transaction<'_>, now: UnixSeconds, then: UnixSeconds) -> Result<bool, StoreError> {
    let Some(Presence { last, until, .. }) = tx.presence()? else { return Ok(true) };
    let is_away = now.0.saturating_sub(last.0) > AWAY_SECONDS;
    let returned = until.0.saturating_sub(u64::from(*TTL_SECONDS.end()));
    Ok(!is_away && returned <= then.0)
}

/// Asks those to begin anew whose sessions went when the account's data turned out to be a copy. Not all at once: each
/// costs work, and a message.
fn renew_copied(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    for account in tx.renewals(RENEWED_AT_ONCE)? {
        tx.set_renewed(&account)?;
        // It has begun by itself.
        if for_sending(tx, me, &account)?.is_some() {
            continue;
        }
        let wish = Ask { account, name: None, introduction: "", renew: true };
        // It may have asked itself, and its request waits for the user.
        attempt(tx, || ask(tx, me, &wish, rng).map(|_id| ()))?;
    }
    Ok(())
}

/// Does something for one contact, or nothing of it: where it cannot be done, that keeps nothing from all others.
pub(super) fn attempt(tx: &Transaction<'_>, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    match tx.attempt(change) {
        Err(error @ Error::Store(_)) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "what was to be done for a contact is not");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// A prekey that has served a week is followed by the next, which everybody in touch is told: again before a swarm forgets
/// it, until something comes back. Whoever was away for weeks finds it so before the key that it knows is gone for good.
pub(super) fn rotate(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    let now = me.now.seconds();
    let Some(prekey) = keys::next_prekey(tx, now, rng)? else { return Ok(()) };
    for account in tx.untold(&prekey, UnixSeconds(now.0.saturating_sub(AGAIN_SECONDS)))? {
        if let Some(mut session) = greatest(tx, me, &account)? {
            attempt(tx, || announce(tx, me, &mut session, rng))?;
        }
    }
    Ok(())
}
