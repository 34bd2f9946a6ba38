//! Asking several nodes for what any of them can tell, without waiting for those that are slow.
//!
//! ```text
//! due 1    ── asked ──► answer ┐
//! due 2    ── asked ── … silent … late: waited for no longer, another is asked in its place
//! spare 1            └─ asked ──► answer: enough
//! ```
//!
//! Those that are due are all asked, a few at a time; the spare ones only where answers would be missing. Who has not
//! answered after three times the median answer (at least 50 ms; half a second while nobody has answered) is late: its
//! answer counts if it comes, but nobody waits for it once there are enough. A failure is replaced at once.
//!
//! [`Hedge`] holds the rules and is told the time; [`ask`] drives it. How a node is asked is the caller's business.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

/// Late is who takes so many times the median answer.
const TIMES: u32 = 3;
/// But nobody before this.
const AT_LEAST: Duration = Duration::from_millis(50);
/// As long as nobody has answered, late is who takes this long.
pub const BLIND: Duration = Duration::from_millis(500);
/// When nobody is left to ask and some have answered, the late are waited for no longer than this after the last question.
const GRACE: Duration = Duration::from_secs(2);
/// Unanswered questions at a time, late ones included: fewer than the streams of a path.
const PENDING: usize = 12;

/// How long an answer may take after answers that took `times`, before another node is asked as well.
pub fn delay(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(BLIND, |median| (*median * TIMES).max(AT_LEAST))
}

/// Whom to ask, and what is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All there are, known by their places in the order of asking.
    pub candidates: usize,
    /// The first so many are asked in any case.
    pub due: usize,
    /// So many answers are enough.
    pub needed: usize,
    /// So many will do when nobody is left to ask.
    pub least: usize,
    /// So many are asked at once; those that are late do not count.
    pub at_once: usize,
    /// How long it may take in all.
    pub patience: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Ask this one.
    Ask(usize),
    /// Wait for an answer, but no longer than this.
    Wait(Instant),
    /// It is over.
    Done,
}

/// The rules.
#[derive(Debug)]
struct Hedge {
    plan: Plan,
    deadline: Instant,
    /// How many were asked, in the order of their places.
    asked: usize,
    /// When each of those that have not answered was asked.
    pending: BTreeMap<usize, Instant>,
    answers: usize,
    times: Vec<Duration>,
}

impl Hedge {
    fn new(plan: Plan, now: Instant) -> Self {
        let (deadline, due) = (now + plan.patience, plan.due.min(plan.candidates));
        let plan = Plan { due, ..plan };
        Self { plan, deadline, asked: 0, pending: BTreeMap::new(), answers: 0, times: Vec::new() }
    }

    /// The places of those that are late.
    fn late(&mut self, now: Instant) -> Vec<usize> {
        let delay = delay(&mut self.times);
        self.pending.iter().filter(|(_, asked)| **asked + delay <= now).map(|(place, _)| *place).collect()
    }

    fn next(&mut self, now: Instant) -> Next {
        let deadline = self.end();
        if now >= deadline {
            return Next::Done;
        }
        let delay = delay(&mut self.times);
        let in_time = |asked: &Instant| *asked + delay > now;
        let on_time = self.pending.values().filter(|asked| in_time(asked)).count();
        let due_on_time = self.pending.range(..self.plan.due).any(|(_, asked)| in_time(asked));
        let is_due = self.asked < self.plan.due;
        if self.answers >= self.plan.needed && !is_due && !due_on_time {
            return Next::Done;
        }
        let is_missing = self.asked < self.plan.candidates && self.answers + on_time < self.plan.needed;
        if (is_due || is_missing) && on_time < self.plan.at_once && self.pending.len() < PENDING {
            let place = self.asked;
            self.asked += 1;
            self.pending.insert(place, now);
            return Next::Ask(place);
        }
        if self.pending.is_empty() {
            return Next::Done;
        }
        let late_at = self.pending.values().filter(|asked| in_time(asked)).map(|asked| *asked + delay).min();
        Next::Wait(late_at.unwrap_or(deadline).min(deadline))
    }

    /// When it is over at the latest.
    fn end(&self) -> Instant {
        match self.pending.values().max() {
            Some(last) if self.asked == self.plan.candidates && self.answers >= self.plan.least => {
                self.deadline.min(*last + GRACE)
            }
            _ => self.deadline,
        }
    }

    fn answered(&mut self, place: usize, is_good: bool, now: Instant) {
        let Some(asked) = self.pending.remove(&place) else { return };
        if is_good {
            self.answers += 1;
            self.times.push(now - asked);
        }
    }
}

/// What came of asking.
#[derive(Debug)]
pub struct Told<T, E> {
    /// Places and answers, in the order in which they came.
    pub answers: Vec<(usize, T)>,
    /// Places and failures.
    pub failures: Vec<(usize, E)>,
    /// Places of those that were given up on because they were late.
    pub late: Vec<usize>,
    /// The first so many places were asked.
    pub asked: usize,
}

/// Asks as `plan` says, until there are enough answers, nobody is left to ask, or patience is over. What the late would
/// have said is dropped with their questions.
pub async fn ask<T, E, F>(plan: Plan, mut question: impl FnMut(usize) -> F) -> Told<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut hedge = Hedge::new(plan, Instant::now());
    let mut pending = FuturesUnordered::new();
    let mut told = Told { answers: Vec::new(), failures: Vec::new(), late: Vec::new(), asked: 0 };
    loop {
        match hedge.next(Instant::now()) {
            Next::Ask(place) => {
                let answer = question(place);
                pending.push(async move { (place, answer.await) });
            }
            Next::Wait(until) => tokio::select! {
                biased;
                Some((place, answer)) = pending.next() => {
                    hedge.answered(place, answer.is_ok(), Instant::now());
                    match answer {
                        Ok(answer) => told.answers.push((place, answer)),
                        Err(failure) => told.failures.push((place, failure)),
                    }
                }
                () = tokio::time::sleep_until(until) => {}
            },
            Next::Done => break,
        }
    }
    told.late = hedge.late(Instant::now());
    told.asked = hedge.asked;
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// How a node answers, and after how many milliseconds; never if none.
    type Node = (Option<u64>, Result<(), ()>);

    const QUICK: Node = (Some(2), Ok(()));
    const DEAD: Node = (Some(1), Err(()));
    const SILENT: Node = (None, Ok(()));

    struct Run {
        told: Told<(), ()>,
        took: Duration,
    }

    impl Run {
        fn answered(&self) -> Vec<usize> {
            self.told.answers.iter().map(|(place, ())| *place).collect()
        }
    }

    async fn play(nodes: &[Node], due: usize, needed: usize) -> Run {
        let began = Instant::now();
        let plan = Plan { candidates: nodes.len(), due, needed, least: 1, at_once: 4, patience: PATIENCE };
        let told = ask(plan, |place| {
            let (after, answer) = nodes[place];
            async move {
                match after {
                    Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    None => std::future::pending().await,
                }
                answer
            }
        })
        .await;
        Run { told, took: began.elapsed() }
    }

    #[tokio::test(start_paused = true)]
    async fn two_quick_ones_are_enough_and_nobody_else_is_asked() {
        let run = play(&[QUICK; 6], 2, 2).await;
        assert_eq!((run.answered(), run.told.asked), (vec![0, 1], 2));
        assert_eq!(run.took, Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_costs_the_hedge_delay_and_is_named() {
        for silent in 0..2 {
            let mut nodes = [QUICK; 6];
            nodes[silent] = SILENT;
            let run = play(&nodes, 2, 2).await;
            assert_eq!((run.told.answers.len(), run.told.asked), (2, 3));
            assert_eq!(run.told.late, [silent]);
            assert!(run.took <= AT_LEAST + Duration::from_millis(3), "{:?}", run.took);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_silent_ones_are_both_replaced_after_the_blind_delay() {
        let run = play(&[SILENT, SILENT, QUICK, QUICK, QUICK], 2, 2).await;
        assert_eq!((run.answered(), run.told.late), (vec![2, 3], vec![0, 1]));
        assert_eq!(run.took, BLIND + Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_spares_are_replaced_as_well() {
        let run = play(&[SILENT, SILENT, SILENT, SILENT, QUICK, QUICK], 2, 2).await;
        assert_eq!(run.answered(), [4, 5]);
        assert_eq!(run.took, 2 * BLIND + Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_silent_it_ends_with_patience() {
        let run = play(&[SILENT; 20], 2, 2).await;
        assert_eq!((run.told.answers.len(), run.told.asked), (0, PENDING));
        assert_eq!(run.told.late.len(), PENDING);
        assert_eq!(run.took, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_counts_while_others_are_missing_and_is_dropped_afterwards() {
        let late = (Some(700), Ok(()));
        let run = play(&[late, QUICK], 2, 2).await;
        assert_eq!((run.answered(), run.told.late.len()), (vec![1, 0], 0));
        let run = play(&[late, QUICK, QUICK], 2, 2).await;
        assert_eq!((run.answered(), run.told.late), (vec![1, 2], vec![0]));
        tokio::time::sleep(PATIENCE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn dead_ones_are_replaced_at_once_and_nobody_left_ends_it() {
        let run = play(&[DEAD, DEAD, QUICK, QUICK], 2, 2).await;
        assert_eq!((run.answered(), run.told.failures.len()), (vec![2, 3], 2));
        assert_eq!(run.took, Duration::from_millis(3));
        let run = play(&[DEAD, DEAD, DEAD], 2, 2).await;
        assert_eq!((run.told.answers.len(), run.told.failures.len()), (0, 3));
        assert_eq!(play(&[], 2, 2).await.told.asked, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn when_only_silent_ones_are_left_what_there_is_will_do() {
        let run = play(&[QUICK, DEAD, DEAD, SILENT, SILENT], 2, 2).await;
        assert_eq!((run.answered(), run.told.late), (vec![0], vec![3, 4]));
        assert!(run.took <= GRACE + Duration::from_millis(200), "{:?}", run.took);
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_are_due_are_asked_and_waited_for_until_they_are_late() {
        let run = play(&[QUICK; 10], 10, 2).await;
        assert_eq!(run.told.answers.len(), 10);
        assert_eq!(run.took, Duration::from_millis(6), "four at a time");
        let mut nodes = [QUICK; 10];
        nodes[1] = SILENT;
        nodes[9] = SILENT;
        let run = play(&nodes, 10, 2).await;
        assert_eq!((run.told.answers.len(), run.told.late), (8, vec![1, 9]));
        assert!(run.took <= AT_LEAST + Duration::from_millis(10), "{:?}", run.took);
    }
}
