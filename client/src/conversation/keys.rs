//! This device's mailbox, its signed prekeys, and the bundles made from them.
//!
//! A mailbox is drawn once and is known to correspondents only. A signed prekey serves a week; whoever is in touch is told
//! the next one. Everything sealed to an earlier one opens for as long as it may still be under way.

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::address::Address;
use sotto_proto::limits::PREKEY_SECONDS;
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use super::{DEVICE, Error, Me};
use crate::crypto::Bundle;
use crate::store::{OwnMailbox, Prekey, StoreError, StoredBundle, Transaction};

/// The mailbox of this device: the newest, or its first.
pub(super) fn mailbox(tx: &Transaction<'_>, now: UnixSeconds, rng: &mut dyn CryptoRng) -> Result<Address, StoreError> {
    if let Some(newest) = tx.mailboxes()?.into_iter().next() {
        return Ok(newest.address);
    }
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    let key = SigningKey::from_seed(&seed);
    let address = Address::mailbox(&key.public());
    tx.add_mailbox(&OwnMailbox { address, key }, now)?;
    Ok(address)
}

/// The signed prekey in use: the newest, or the first.
pub(super) fn prekey(tx: &Transaction<'_>, now: UnixSeconds, rng: &mut dyn CryptoRng) -> Result<Prekey, StoreError> {
    match tx.prekeys()?.into_iter().next() {
        Some(newest) => Ok(newest),
        None => tx.add_prekey(noise::Secret::generate(rng), now),
    }
}

/// The signed prekey in use, if there is any: a new one once that has served a week. Whoever asks for this tells everybody
/// in touch.
pub(super) fn next_prekey(
    tx: &Transaction<'_>,
    now: UnixSeconds,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Prekey>, StoreError> {
    let Some(newest) = tx.prekeys()?.into_iter().next() else { return Ok(None) };
    let is_fresh = now.0.saturating_sub(newest.created.0) < PREKEY_SECONDS;
    if is_fresh { Ok(Some(newest)) } else { tx.add_prekey(noise::Secret::generate(rng), now).map(Some) }
}

/// A new bundle for `recipient`, signed; its secrets are in the store.
pub(super) fn bundle(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    recipient: &Address,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, Error> {
    let now = me.now.seconds();
    let (mailbox, prekey) = (mailbox(tx, now, rng)?, prekey(tx, now, rng)?);
    let epoch = tx.next_bundle_epoch()?;
    let (bundle, secrets) = Bundle::create((me.address(), DEVICE), mailbox, epoch, now, prekey.secret.public(), rng);
    tx.put_bundle(&StoredBundle {
        epoch,
        recipient: *recipient,
        prekey: prekey.number,
        secrets: secrets.encode(),
        created: now,
        expires: bundle.expires(),
    })?;
    Ok(bundle.sign(me.account.signing_key(), me.chain))
}
