//! Whether a record or a delete is taken: fully where a client brings it, by its form and a floor where a member does.
//!
//! A member has judged it before, by its own clock, quota and difficulty: whoever judges again refuses what was
//! acknowledged. So from members only what can never be right is rejected; what this node cannot judge here and now it
//! ignores, and repair brings it again.

use sotto_proto::envelope::Record;
use sotto_proto::id::RecordId;
use sotto_proto::limits::{
    MEMBER_TIMESTAMP_FUTURE_SECONDS, SURCHARGED_DIFFICULTY_MAX, TIMESTAMP_FUTURE_SECONDS, TIMESTAMP_PAST_SECONDS,
};
use sotto_proto::pow::{Difficulty, Work, anchor_is_recent};
use sotto_proto::request::{Error, SignedDelete};
use sotto_proto::time::UnixSeconds;

use super::anchors::{Anchor, Anchors};
use super::env::Env;

/// Steps of the surcharge: full at the quota, where the price is 2^8 times the usual.
const SURCHARGE_STEPS: u64 = 8;

/// What the work of a record that a member brings was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A final block: every member that can check it finds the same, so it may be passed on.
    Final,
    /// A block that is on this node's chain and not final yet: others may have another one there.
    NotFinal,
    /// Nothing: the block is known no more. Whoever stored the record has checked it ([`super::anchors`]).
    Lost,
}

/// Why something from a member is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It can never be right: whoever sends it misbehaves.
    Wrong(&'static str),
    /// It cannot be judged or kept here and now.
    NotNow(&'static str),
}

impl Doubt {
    /// The reason, for metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Wrong(label) | Self::NotNow(label) => label,
        }
    }

    /// Whether it may be taken later: a chain that is behind catches up, what has expired or was deleted stays so.
    pub(super) fn may_pass(self) -> bool {
        match self {
            Self::Wrong(_) => false,
            Self::NotNow(label) => !matches!(label, "expired" | "deleted" | "nothing_to_delete"),
        }
    }
}

/// Reads a record that a client brings. Form and kind, the first checks of B4.
///
/// # Errors
/// [`Error::Malformed`]
pub(super) fn form(bytes: &[u8]) -> Result<Record, Error> {
    let record = Record::decode(bytes).map_err(|_| Error::Malformed)?;
    if lives_too_long(&record) { Err(Error::Malformed) } else { Ok(record) }
}

fn lives_too_long(record: &Record) -> bool {
    let kind = record.envelope().address().kind();
    record.envelope().ttl().seconds() > kind.ttl_max_seconds()
}

/// Whether a client's record is of the present time.
///
/// # Errors
/// [`Error::ClockSkew`] from the future, [`Error::Expired`] from the past.
pub(super) fn times(record: &Record, now: UnixSeconds) -> Result<(), Error> {
    let timestamp = record.envelope().timestamp();
    if timestamp.0 > now.0.saturating_add(TIMESTAMP_FUTURE_SECONDS) {
        return Err(Error::ClockSkew { now });
    }
    if timestamp.0.saturating_add(TIMESTAMP_PAST_SECONDS) < now.0 || record.envelope().expiry() <= now {
        return Err(Error::Expired);
    }
    Ok(())
}

/// What a client has to prove for an address of which `used` bytes are taken: the price doubles with every eighth of
/// the quota, and is 256-fold when it is full (M7).
pub(super) fn price(base: Difficulty, used: u64, quota: u64) -> Difficulty {
    let steps = SURCHARGE_STEPS.saturating_mul(used) / quota.max(1);
    let price = u64::from(base.get()) << steps.min(SURCHARGE_STEPS);
    let price = u32::try_from(price.min(u64::from(SURCHARGED_DIFFICULTY_MAX))).unwrap_or(SURCHARGED_DIFFICULTY_MAX);
    Difficulty::new(price).unwrap_or(base)
}

/// How a client's work falls short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadWork {
    /// What to answer.
    pub(super) error: Error,
    /// Whether it is below what anybody would take, and not only below a surcharge the client could not know.
    pub(super) worthless: bool,
}

/// Whether a client's record carries the work asked for, on a recent anchor.
///
/// # Errors
/// [`BadWork`]
pub(super) fn work(record: &Record, anchors: &Anchors, price: Difficulty, env: &Env<'_>) -> Result<(), BadWork> {
    let refuse = |error| Err(BadWork { error, worthless: false });
    let height = record.envelope().anchor();
    let hash = match anchors.at(height, env.view, env.params) {
        Anchor::Impossible if height.0.is_multiple_of(env.params.epoch_blocks.max(1)) => {
            return refuse(Error::Expired);
        }
        Anchor::Impossible => return refuse(Error::Malformed),
        _ if !anchor_is_recent(height, env.height(), env.params.epoch_blocks) => return refuse(Error::Expired),
        Anchor::Known(hash) => hash,
        // The client is ahead of this node, or this node has just started.
        Anchor::NotYet | Anchor::Lost => return refuse(Error::Busy),
    };
    let work = Work::new(record.envelope(), &hash);
    if work.verify(record.nonce(), price) {
        return Ok(());
    }
    let worthless = !work.verify(record.nonce(), env.difficulty());
    Err(BadWork { error: Error::InsufficientWork { difficulty: price.get() }, worthless })
}

/// Whether the block that a record's work is anchored at is final here.
pub(super) fn is_final(record: &Record, env: &Env<'_>) -> bool {
    record.envelope().anchor() <= env.height()
}

/// Reads and judges a record that a member brings (C4).
pub(super) fn from_member(bytes: &[u8], anchors: &Anchors, env: &Env<'_>) -> Result<(Record, RecordId, Proof), Doubt> {
    let record = Record::decode(bytes).map_err(|_| Doubt::Wrong("malformed"))?;
    if lives_too_long(&record) {
        return Err(Doubt::Wrong("malformed"));
    }
    let (envelope, now) = (record.envelope(), env.time());
    if envelope.expiry() <= now {
        return Err(Doubt::NotNow("expired"));
    }
    if envelope.timestamp().0 > now.0.saturating_add(MEMBER_TIMESTAMP_FUTURE_SECONDS) {
        return Err(Doubt::NotNow("future"));
    }
    let is_final = is_final(&record, env);
    let proof = match anchors.at(envelope.anchor(), env.view, env.params) {
        Anchor::Known(hash) => {
            if !Work::new(envelope, &hash).verify(record.nonce(), floor(env)) {
                // Of an anchor that is not final the other member may know another block.
                return Err(if is_final { Doubt::Wrong("work") } else { Doubt::NotNow("work") });
            }
            if is_final { Proof::Final } else { Proof::NotFinal }
        }
        Anchor::NotYet => return Err(Doubt::NotNow("anchor")),
        Anchor::Lost => Proof::Lost,
        Anchor::Impossible if envelope.anchor().0.is_multiple_of(env.params.epoch_blocks.max(1)) => {
            return Err(Doubt::NotNow("anchor"));
        }
        Anchor::Impossible => return Err(Doubt::Wrong("anchor")),
    };
    let id = envelope.id(env.chain());
    if !record.may_write(env.verify, env.chain(), &id) {
        return Err(Doubt::Wrong("write_signature"));
    }
    if !env.owns(&envelope.address()) {
        return Err(Doubt::NotNow("wrong_swarm"));
    }
    Ok((record, id, proof))
}

/// The least work that any record of this chain has ever needed.
fn floor(env: &Env<'_>) -> Difficulty {
    let least = u32::try_from(env.params.min_difficulty).unwrap_or(u32::MAX);
    Difficulty::new(least).unwrap_or(Difficulty::MIN)
}

/// Reads and judges a signed delete that a member brings.
pub(super) fn delete_from_member(bytes: &[u8], env: &Env<'_>) -> Result<SignedDelete, Doubt> {
    let delete = SignedDelete::decode(bytes).map_err(|_| Doubt::Wrong("malformed"))?;
    if !delete.verify(env.chain(), env.verify) {
        return Err(Doubt::Wrong("signature"));
    }
    if !env.owns(delete.delete().address()) {
        return Err(Doubt::NotNow("wrong_swarm"));
    }
    Ok(delete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_doubles_with_every_eighth_of_the_quota() {
        let base = Difficulty::new(600).unwrap();
        let price = |used| price(base, used, 80).get();
        assert_eq!(
            [0, 9, 10, 19, 20, 79, 80, 159, 1000].map(price),
            [600, 600, 1200, 1200, 2400, 76_800, 153_600, 153_600, 153_600]
        );
        assert_eq!(super::price(Difficulty::new(1 << 20).unwrap(), 80, 80).get(), SURCHARGED_DIFFICULTY_MAX);
        assert_eq!(super::price(Difficulty::new(u32::MAX).unwrap(), u64::MAX, 0).get(), SURCHARGED_DIFFICULTY_MAX);
    }
}
