//! What is over and goes, and what is renewed before it is over.

use rand_core::CryptoRng;
use sotto_proto::limits::{BUNDLE_KEPT_SECONDS, BUNDLE_SECONDS, TTL_SECONDS};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::speaking::{announce, greatest};
use super::{Error, Me, keys};
use crate::store::Transaction;

/// After so long a contact that was not heard since is told the present prekey again: a day before swarms forget it.
const AGAIN_SECONDS: u64 = 3 * 86_400;

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
    super::answering::begin_waited(tx, me, rng)?;
    rotate(tx, me, rng)
}

/// A prekey that has served a week is followed by the next, which everybody in touch is told: again before a swarm forgets
/// it, until something comes back. Whoever was away for weeks finds it so before the key that it knows is gone for good.
pub(super) fn rotate(tx: &Transaction<'_>, me: &Me<'_>, rng: &mut dyn CryptoRng) -> Result<(), Error> {
    let now = me.now.seconds();
    let Some(prekey) = keys::next_prekey(tx, now, rng)? else { return Ok(()) };
    for account in tx.untold(&prekey, UnixSeconds(now.0.saturating_sub(AGAIN_SECONDS)))? {
        if let Some(mut session) = greatest(tx, me, &account)? {
            announce(tx, me, &mut session, rng)?;
        }
    }
    Ok(())
}
