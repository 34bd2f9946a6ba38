//! What is over and goes, and what is renewed before it is over.

use rand_core::CryptoRng;
use sotto_proto::limits::{BUNDLE_KEPT_SECONDS, BUNDLE_SECONDS, TTL_SECONDS};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::speaking::{announce, for_sending};
use super::{Error, Me, keys};
use crate::store::{ContactState, Transaction};

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
    tx.drop_prekeys(ago(BUNDLE_SECONDS + BUNDLE_KEPT_SECONDS))?;
    tx.forget_requests(ago(BUNDLE_KEPT_SECONDS))?;
    rotate(tx, me, rng)
}

/// A prekey that has served a week is followed by the next, which everybody in touch is told.
fn rotate(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    let now = me.now.seconds();
    match tx.prekeys()?.first() {
        Some(prekey) if !keys::is_fresh(prekey.created, now) => {}
        _ => return Ok(()),
    }
    keys::prekey(tx, now, rng)?;
    let contacts = tx.contacts()?;
    for contact in contacts.into_iter().filter(|contact| contact.state == ContactState::Accepted) {
        if let Some(mut session) = for_sending(tx, me, &contact.account)? {
            announce(tx, me, &mut session, rng)?;
        }
    }
    Ok(())
}
