//! Storing a record: three random members of the owning swarm, and a fourth when one of them is slow.
//!
//! ```text
//! member 1 (publishes at once)       ── store ──► receipt ┐ two receipts: *stored*
//! member 2 (after a second, unseen)  ── store ──► receipt ┘
//! member 3 (after two)               ── store ── … frozen …
//! member 4, after 3 × the median     ── store ──► receipt   three receipts: done
//! ```
//!
//! A member that fails is replaced at once. A frozen one costs nothing: *stored* needs two receipts, and the next member
//! is asked after three times the median answer (at least 50 ms). When all were asked, those that are silent are asked once
//! more: there may be another way to them by now. Receipts are checked before they count, and one of each member.
//!
//! Here is the order of things only; how a member is asked is the caller's business.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sotto_proto::id::{Height, NodeId, SwarmId};
use sotto_proto::limits::SURCHARGED_DIFFICULTY_MAX;
use sotto_proto::request::{self, PublishOrder};
use tokio::time::Instant;

use super::hedge;

/// Receipts wanted.
pub const WANTED: usize = 3;
/// Receipts that make a message *stored*.
pub const STORED: usize = 2;

/// How long a third receipt is waited for once a message is stored and everybody was asked.
const GRACE: Duration = Duration::from_secs(2);

/// Why a member gave no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// It could not be asked, or did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It refused.
    #[error(transparent)]
    Refused(#[from] request::Error),
    /// Its answer is none, or its receipt does not hold.
    #[error("its answer is none: {0}")]
    Nonsense(&'static str),
}

/// Why a record is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More work is asked for; the record is as good as before once that is done.
    #[error("difficulty {difficulty} is asked for")]
    Work {
        /// What at least two members ask for, or the only one that answered; never more than a node may ask.
        difficulty: u32,
    },
    /// Its time is not good any more, or the clock is wrong.
    #[error("the message's time is refused")]
    Time,
    /// Another swarm owns the address: the node list is old.
    #[error("swarm {swarm} owns the address as of block {height}")]
    Swarm {
        /// The owner, as a member sees it.
        swarm: SwarmId,
        /// The final height it sees that at.
        height: Height,
    },
    /// Too few members gave receipts.
    #[error("{receipts} of {STORED} members needed have it; the last one asked: {last}")]
    TooFew {
        /// How many did.
        receipts: usize,
        /// What the last one that failed said.
        last: MemberError,
    },
    /// There is nobody to ask.
    #[error("the swarm has no members")]
    Nobody,
}

/// How storing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<R> {
    /// Receipts with those who gave them.
    pub receipts: Vec<(NodeId, R)>,
    /// Members that failed, and why.
    pub failed: Vec<(NodeId, MemberError)>,
}

/// Asks `members`, in this order, until three receipts are there, everybody was asked, or `patience` is over. `ask` asks
/// one member; `progress` is told of each receipt.
///
/// # Errors
/// [`StoreError`] if there are fewer than two receipts at the end.
pub async fn store<R, F>(
    members: &[NodeId],
    patience: Duration,
    mut ask: impl FnMut(NodeId, PublishOrder) -> F,
    mut progress: impl FnMut(&R, usize),
) -> Result<Stored<R>, StoreError>
where
    F: Future<Output = Result<R, MemberError>>,
{
    let mut waiting: VecDeque<NodeId> = members.iter().copied().collect();
    let mut asked = 0_usize;
    let mut pending = FuturesUnordered::new();
    let mut next = |waiting: &mut VecDeque<NodeId>, pending: &mut FuturesUnordered<_>| {
        let Some(node) = waiting.pop_front() else { return false };
        let order = [PublishOrder::First, PublishOrder::Second].get(asked).copied().unwrap_or(PublishOrder::Third);
        asked += 1;
        let (answer, began) = (ask(node, order), Instant::now());
        pending.push(async move { (node, answer.await, began.elapsed()) });
        true
    };
    while pending.len() < WANTED && next(&mut waiting, &mut pending) {}
    if pending.is_empty() {
        return Err(StoreError::Nobody);
    }
    let deadline = Instant::now() + patience;
    let mut times = Vec::new();
    let mut hedge_at = Instant::now() + hedge::delay(&mut times);
    // When the last one was asked.
    let mut exhausted = None;
    let mut again = true;
    let mut stored = Stored { receipts: Vec::new(), failed: Vec::new() };
    while stored.receipts.len() < WANTED && !pending.is_empty() {
        let is_stored = stored.receipts.len() >= STORED;
        let until = exhausted.filter(|_| is_stored).map_or(deadline, |at: Instant| deadline.min(at + GRACE));
        tokio::select! {
            biased;
            Some((node, answer, took)) = pending.next() => match answer {
                // Asked twice, it has answered twice.
                Ok(_) if stored.receipts.iter().any(|(other, _)| *other == node) => {}
                Ok(receipt) => {
                    progress(&receipt, stored.receipts.len() + 1);
                    stored.receipts.push((node, receipt));
                    times.push(took);
                    hedge_at = hedge_at.min(Instant::now() + hedge::delay(&mut times));
                }
                Err(error) => {
                    stored.failed.push((node, error));
                    next(&mut waiting, &mut pending);
                }
            },
            () = tokio::time::sleep_until(hedge_at.min(until)) => {
                if Instant::now() >= until {
                    break;
                }
                if waiting.is_empty() && std::mem::take(&mut again) {
                    let is_silent = |node: &&NodeId| {
                        !stored.receipts.iter().any(|(other, _)| other == *node)
                            && !stored.failed.iter().any(|(other, _)| other == *node)
                    };
                    waiting.extend(members.iter().filter(is_silent));
                }
                if !next(&mut waiting, &mut pending) {
                    exhausted.get_or_insert_with(Instant::now);
                }
                hedge_at = Instant::now() + hedge::delay(&mut times);
            }
        }
    }
    judge(stored)
}

fn judge<R>(stored: Stored<R>) -> Result<Stored<R>, StoreError> {
    if stored.receipts.len() >= STORED {
        return Ok(stored);
    }
    // Of each member one, though it may have been asked twice.
    let refused: BTreeMap<NodeId, &request::Error> = stored
        .failed
        .iter()
        .filter_map(|(node, error)| match error {
            MemberError::Refused(error) => Some((*node, error)),
            MemberError::Unreachable(_) | MemberError::Nonsense(_) => None,
        })
        .collect();
    let refusals = || refused.values().copied();
    let wanted = refusals().filter_map(|error| match error {
        request::Error::InsufficientWork { difficulty } => Some(*difficulty),
        _ => None,
    });
    if let Some(difficulty) = difficulty(wanted, stored.receipts.len(), refused.len()) {
        return Err(StoreError::Work { difficulty });
    }
    let newest = refusals().filter_map(|error| match error {
        request::Error::WrongSwarm { swarm, height } => Some((*height, *swarm)),
        _ => None,
    });
    if let Some((height, swarm)) = newest.max() {
        return Err(StoreError::Swarm { swarm, height });
    }
    if refusals().any(|error| matches!(error, request::Error::Expired | request::Error::ClockSkew { .. })) {
        return Err(StoreError::Time);
    }
    let receipts = stored.receipts.len();
    match stored.failed.into_iter().next_back() {
        Some((_, last)) => Err(StoreError::TooFew { receipts, last }),
        None => Err(StoreError::TooFew { receipts, last: MemberError::Unreachable("no answer in time".into()) }),
    }
}

/// What two members at least ask for. One alone is believed if nobody else refused and its receipt is the one that is
/// lacking; otherwise the refusal is that member's failure. Nodes never ask for more than the largest surcharge, so whoever
/// does so is not heard.
fn difficulty(wanted: impl Iterator<Item = u32>, receipts: usize, refused: usize) -> Option<u32> {
    let mut wanted: Vec<u32> = wanted.filter(|difficulty| *difficulty <= SURCHARGED_DIFFICULTY_MAX).collect();
    wanted.sort_unstable_by(|one, other| other.cmp(one));
    match wanted[..] {
        [_, second, ..] => Some(second),
        [only] if refused == 1 && receipts < STORED => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::network::test_support::node;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// What a member does when asked: answers after some milliseconds, or never.
    #[derive(Clone)]
    struct Member(Option<u64>, Result<(), MemberError>);

    fn quick() -> Member {
        Member(Some(2), Ok(()))
    }

    fn dead() -> Member {
        Member(Some(1), Err(MemberError::Unreachable("dead".into())))
    }

    fn frozen() -> Member {
        Member(None, Ok(()))
    }

    fn refusing(error: request::Error) -> Member {
        Member(Some(1), Err(error.into()))
    }

    struct Run {
        result: Result<Stored<()>, StoreError>,
        asked: Vec<(NodeId, PublishOrder)>,
        took: Duration,
        /// When each receipt came.
        receipts_at: Vec<Duration>,
    }

    async fn run(members: &[Member]) -> Run {
        let keys: Vec<_> = (0..members.len()).map(|n| node(u8::try_from(n).unwrap())).collect();
        let (asked, receipts_at) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let began = Instant::now();
        let result = store(
            &keys,
            PATIENCE,
            |node, order| {
                asked.borrow_mut().push((node, order));
                let Member(after, answer) = members[usize::from(node.as_bytes()[0])].clone();
                async move {
                    match after {
                        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                        None => std::future::pending().await,
                    }
                    answer
                }
            },
            |(), _| receipts_at.borrow_mut().push(began.elapsed()),
        )
        .await;
        Run { result, asked: asked.into_inner(), took: began.elapsed(), receipts_at: receipts_at.into_inner() }
    }

    #[tokio::test(start_paused = true)]
    async fn three_quick_members_are_enough_and_numbered() {
        let run = run(&[quick(), quick(), quick(), quick()]).await;
        assert_eq!(run.result.unwrap().receipts.len(), 3);
        let orders: Vec<_> = run.asked.iter().map(|(_, order)| *order).collect();
        assert_eq!(orders, [PublishOrder::First, PublishOrder::Second, PublishOrder::Third]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_member_costs_nothing_and_is_made_up_for() {
        for place in 0..3 {
            let mut members = vec![quick(); 5];
            members[place] = frozen();
            let run = run(&members).await;
            assert_eq!(run.receipts_at[1], Duration::from_millis(2), "stored as fast as ever");
            assert_eq!(run.result.unwrap().receipts.len(), 3);
            assert!(run.took <= Duration::from_millis(60), "{:?}", run.took);
            assert_eq!(run.asked.len(), 4);
            assert_eq!(run.asked[3].1, PublishOrder::Third);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dead_members_are_replaced_at_once() {
        let run = run(&[dead(), dead(), dead(), quick(), quick(), quick()]).await;
        let stored = run.result.unwrap();
        assert_eq!((stored.receipts.len(), stored.failed.len()), (3, 3));
        assert!(run.took < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn two_receipts_are_stored_even_if_nobody_else_is_left() {
        assert_eq!(run(&[quick(), dead(), quick()]).await.result.unwrap().receipts.len(), 2);
        let run = run(&[quick(), quick(), frozen()]).await;
        assert_eq!(run.result.unwrap().receipts.len(), 2);
        assert!(run.took < GRACE + Duration::from_millis(500), "{:?}", run.took);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_asked_once_more_when_all_were_and_counts_once() {
        let keys: Vec<_> = (0..4).map(node).collect();
        let asked = RefCell::new(Vec::new());
        let ask = |node, _| {
            let is_first = node == keys[0];
            let before = asked.borrow().iter().filter(|other| **other == node).count();
            asked.borrow_mut().push(node);
            async move {
                match (is_first, before) {
                    // It answers both times, the first time late.
                    (true, 0) => tokio::time::sleep(Duration::from_millis(2100)).await,
                    (_, 0) => std::future::pending().await,
                    _ => tokio::time::sleep(Duration::from_millis(300)).await,
                }
                Ok(())
            }
        };
        let stored = store(&keys, PATIENCE, ask, |(), _| ()).await.unwrap();
        let members: std::collections::BTreeSet<_> = stored.receipts.iter().map(|(node, ())| *node).collect();
        assert_eq!(members.len(), 3, "{stored:?}");
        assert!(asked.borrow().iter().all(|node| asked.borrow().iter().filter(|other| *other == node).count() <= 2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_receipt_is_not_stored() {
        let run = run(&[quick(), dead(), dead(), dead()]).await;
        let last = MemberError::Unreachable("dead".into());
        assert_eq!(run.result, Err(StoreError::TooFew { receipts: 1, last }));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_when_nobody_is_there_and_waiting_ends() {
        assert_eq!(run(&[]).await.result, Err(StoreError::Nobody));
        let run = run(&[frozen(), frozen()]).await;
        assert!(matches!(run.result, Err(StoreError::TooFew { receipts: 0, .. })), "{:?}", run.result);
        assert_eq!(run.took, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_change_is_said() {
        let work = |difficulty| refusing(request::Error::InsufficientWork { difficulty });
        assert_eq!(run(&[work(3), work(9), work(4)]).await.result, Err(StoreError::Work { difficulty: 4 }));
        assert_eq!(run(&[refusing(request::Error::Expired)]).await.result, Err(StoreError::Time));
        let wrong = |height| refusing(request::Error::WrongSwarm { swarm: SwarmId(height), height: Height(height) });
        let newest = StoreError::Swarm { swarm: SwarmId(8), height: Height(8) };
        assert_eq!(run(&[wrong(7), wrong(8), dead()]).await.result, Err(newest));
        assert!(run(&[work(3), quick(), quick()]).await.result.is_ok(), "two have it all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn one_member_alone_does_not_decide_how_much_work_is_done() {
        let work = |difficulty| refusing(request::Error::InsufficientWork { difficulty });
        let asked = |difficulty| Err(StoreError::Work { difficulty });
        assert_eq!(run(&[work(7), dead(), frozen()]).await.result, asked(7), "nobody else says anything");
        assert_eq!(run(&[work(SURCHARGED_DIFFICULTY_MAX), work(3), work(3)]).await.result, asked(3));
        for too_much in [SURCHARGED_DIFFICULTY_MAX + 1, u32::MAX] {
            assert_eq!(run(&[work(too_much), work(3), work(5)]).await.result, asked(3));
            let result = run(&[work(too_much), dead(), dead()]).await.result;
            assert!(matches!(result, Err(StoreError::TooFew { receipts: 0, .. })), "{result:?}");
        }
        assert_eq!(run(&[quick(), work(9), dead()]).await.result, asked(9), "its receipt is the one that is lacking");
        let wrong = refusing(request::Error::WrongSwarm { swarm: SwarmId(8), height: Height(8) });
        let newest = StoreError::Swarm { swarm: SwarmId(8), height: Height(8) };
        assert_eq!(run(&[work(9), wrong, dead()]).await.result, Err(newest));
    }
}
