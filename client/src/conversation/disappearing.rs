//! Messages that disappear, after they were sent or after they were read.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Expiry, MessageId};
use sotto_proto::envelope::Ttl;
use sotto_proto::time::UnixMillis;

use super::notice::{Change, Notice};
use super::speaking::{TTL, draw, speak};
use super::{Error, Me};
use crate::store::{Gone, StoreError, Transaction};

/// How far the clock of whoever says after what time messages disappear may be ahead.
const AHEAD_MILLIS: u64 = 3_600_000;
/// Messages that are erased at once.
const AT_ONCE: usize = 256;
/// Times for which many messages are kept, in seconds: another one would tell what is behind it.
const USUAL_SECONDS: [u32; 3] = [600, 86_400, TTL.seconds()];

/// Says for both sides after what time messages of a conversation disappear; `None`: they stay. It is so for what is said
/// from then on.
///
/// # Errors
/// Those of [`super::say`].
pub fn set_timer(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    expiry: Option<Expiry>,
    rng: &mut dyn CryptoRng,
) -> Result<MessageId, Error> {
    let (_, before) = tx.timer(account)?.ok_or_else(|| Error::NoContact(account.to_string()))?;
    // It must be later than what was said before, by whichever clock.
    let sent = if before >= me.now { UnixMillis(before.0.saturating_add(1)) } else { me.now };
    let id = speak(tx, me, account, Content::new(draw(rng), sent, Body::Timer(expiry)), TTL, rng)?;
    tx.set_timer(account, expiry, sent, &id)?;
    Ok(id)
}

/// The other side has said it. What was said last by either counts, at both ends.
pub(super) fn timer_heard(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    content: &Content,
    expiry: Option<Expiry>,
) -> Result<Option<Notice>, StoreError> {
    let sent = content.sent.min(UnixMillis(me.now.0.saturating_add(AHEAD_MILLIS)));
    let is_news = tx.set_timer(account, expiry, sent, &content.id)?;
    Ok(is_news.then(|| Notice::new(*account, Change::Timer)))
}

/// Erases what has disappeared by now, and has what was read begin to. What went.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub fn vanish(tx: &Transaction<'_>, now: UnixMillis) -> Result<Vec<Notice>, StoreError> {
    tx.begin_reading(now)?;
    let mut notices: Vec<Notice> = Vec::new();
    loop {
        let expired = tx.expired(now, AT_ONCE)?;
        if expired.is_empty() {
            return Ok(notices);
        }
        for (account, outgoing, id) in expired {
            tx.erase(&account, outgoing, &id, Gone::Disappeared)?;
            match notices.iter_mut().find(|notice| notice.account == account) {
                Some(Notice { change: Change::Expired(ids), .. }) => ids.push(id),
                _ => notices.push(Notice::new(account, Change::Expired(vec![id]))),
            }
        }
    }
}

/// How long swarms keep something that disappears: not much longer than it is there.
pub(super) fn kept(ttl: Ttl, expiry: Option<Expiry>) -> Ttl {
    let Some(expiry) = expiry else { return ttl };
    let enough = USUAL_SECONDS.into_iter().find(|seconds| *seconds >= expiry.seconds());
    enough.and_then(Ttl::new).filter(|enough| enough.seconds() < ttl.seconds()).unwrap_or(ttl)
}
