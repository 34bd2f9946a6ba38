//! What users should have been told, and what they were told instead.
//!
//! | found | broken promise (`faults`, invariants) |
//! | --- | --- |
//! | lost | a message with two receipts was never shown to its reader (I1, I11) |
//! | twice | one was shown again (I11) |
//! | strange | one was shown that nobody wrote, or to somebody else (I3) |
//! | missing | a member of the swarm does not have it when all is healed (I1) |
//! | stale | a member serves it long after its time (I3) |
//! | unread | a member does not answer when all is healed (I2) |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{Entry, Event};

/// How long after its time a record may still be served: clocks differ.
const SERVED_AFTER: u64 = 120;
/// When a message that expires this soon is asked for, it may be gone.
const SOON: u64 = 120;
/// Of each kind of broken promise so many are named.
const NAMED: usize = 10;

/// What a history comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Messages that were written.
    pub written: u64,
    /// Those that are stored.
    pub acked: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Messages that were never stored; they wait in their senders' outboxes.
    pub unsent: u64,
    /// Messages that were shown.
    pub shown: u64,
    /// Stored messages that were never shown.
    pub lost: u64,
    /// Messages that were shown again.
    pub twice: u64,
    /// Messages that were shown though nobody wrote them to whom they were shown.
    pub strange: u64,
    /// Mailboxes that were read, each at each member.
    pub mailboxes: u64,
    /// Stored records that a member does not have, over all members.
    pub missing: u64,
    /// Records that a member serves though their time is long over.
    pub stale: u64,
    /// Members that could not be read.
    pub unread: u64,
    /// Some of what was broken, for people.
    pub named: Vec<String>,
}

impl Verdict {
    /// Whether all promises are kept.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        let broken = self.lost + self.twice + self.strange + self.missing + self.stale + self.unread;
        self.acked > 0 && broken == 0
    }

    /// What was broken, in numbers, for people.
    #[must_use]
    pub fn found(&self) -> String {
        let Self { lost, twice, strange, missing, mailboxes, stale, unread, .. } = self;
        format!(
            "{lost} lost, {twice} twice, {strange} strange, {missing} missing in {mailboxes} mailboxes read, {stale} stale, \
             {unread} unread"
        )
    }

    fn name(&mut self, what: String) {
        if self.named.len() < NAMED {
            self.named.push(what);
        }
    }
}

/// A stored message.
struct Stored<'a> {
    reader: usize,
    record: &'a str,
    expiry: u64,
}

/// Replays a history.
#[must_use]
pub fn judge(history: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut written: BTreeMap<usize, usize> = BTreeMap::new();
    let mut acked: BTreeMap<usize, Stored<'_>> = BTreeMap::new();
    let mut shown: BTreeSet<usize> = BTreeSet::new();
    for Entry { event, .. } in history {
        match event {
            Event::Intent { message, reader } => {
                written.insert(*message, *reader);
            }
            Event::Acked { message, record, expiry, .. } => {
                let reader = written.get(message).copied().unwrap_or(usize::MAX);
                acked.insert(*message, Stored { reader, record, expiry: *expiry });
            }
            Event::Failed { .. } => verdict.failed_attempts += 1,
            Event::Shown { message, reader } => match message {
                Some(message) if written.get(message) == Some(reader) => {
                    if !shown.insert(*message) {
                        verdict.twice += 1;
                        verdict.name(format!("message {message} was shown again"));
                    }
                }
                _ => {
                    verdict.strange += 1;
                    verdict.name(format!("reader {reader} was shown {message:?}, which is not theirs"));
                }
            },
            Event::Unread { node } => {
                verdict.unread += 1;
                verdict.name(format!("{node} could not be read"));
            }
            _ => {}
        }
    }
    verdict.written = written.len() as u64;
    verdict.acked = acked.len() as u64;
    verdict.unsent = written.keys().filter(|message| !acked.contains_key(message)).count() as u64;
    verdict.shown = shown.len() as u64;
    for (message, stored) in &acked {
        if !shown.contains(message) {
            verdict.lost += 1;
            verdict.name(format!("message {message} to reader {} was never shown", stored.reader));
        }
    }
    judge_members(history, &acked, &mut verdict);
    verdict
}

fn judge_members(history: &[Entry], acked: &BTreeMap<usize, Stored<'_>>, verdict: &mut Verdict) {
    let mut of_reader: BTreeMap<usize, Vec<(usize, &Stored<'_>)>> = BTreeMap::new();
    for (message, stored) in acked {
        of_reader.entry(stored.reader).or_default().push((*message, stored));
    }
    for Entry { event, .. } in history {
        let Event::Held { node, reader, records, time } = event else { continue };
        verdict.mailboxes += 1;
        let held: BTreeSet<&str> = records.iter().map(String::as_str).collect();
        for (message, stored) in of_reader.get(reader).into_iter().flatten() {
            let is_held = held.contains(stored.record);
            if !is_held && stored.expiry > time.saturating_add(SOON) {
                verdict.missing += 1;
                verdict.name(format!("{node} does not have message {message} to reader {reader}"));
            }
            if is_held && stored.expiry.saturating_add(SERVED_AFTER) < *time {
                verdict.stale += 1;
                verdict.name(format!("{node} serves message {message} after its time"));
            }
        }
    }
}

/// Attempts by when they began: how long those took that worked, and how many did not.
pub(super) fn attempts(history: &[Entry], from: Duration, until: Duration) -> (Vec<Duration>, u64) {
    let (mut took, mut failed) = (Vec::new(), 0);
    for entry in history {
        let (time, worked) = match &entry.event {
            Event::Acked { took_ms, .. } => (*took_ms, true),
            Event::Failed { took_ms, .. } => (*took_ms, false),
            _ => continue,
        };
        let time = Duration::from_millis(time);
        let began = entry.at().saturating_sub(time);
        if began < from || began >= until {
            continue;
        }
        if worked { took.push(time) } else { failed += 1 }
    }
    (took, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn history(events: &[Event]) -> Vec<Entry> {
        (0_u64..).zip(events).map(|(at_ms, event)| Entry { at_ms, event: event.clone() }).collect()
    }

    fn intent(message: usize) -> Event {
        Event::Intent { message, reader: message % 2 }
    }

    fn acked(message: usize) -> Event {
        let record = format!("r{message}");
        Event::Acked { message, record, expiry: NOW + 1000, receipts: 3, took_ms: 10 }
    }

    fn shown(message: usize) -> Event {
        Event::Shown { message: Some(message), reader: message % 2 }
    }

    fn held(reader: usize, messages: &[usize], time: u64) -> Event {
        let records = messages.iter().map(|message| format!("r{message}")).collect();
        Event::Held { node: "node".to_owned(), reader, records, time }
    }

    /// Four messages that went well, and one that waits.
    fn good() -> Vec<Event> {
        let mut events: Vec<_> = (0..4).flat_map(|message| [intent(message), acked(message), shown(message)]).collect();
        events.push(intent(4));
        events.push(Event::Failed { message: 4, error: "no path".to_owned(), took_ms: 5 });
        events.extend([held(0, &[0, 2], NOW), held(1, &[1, 3], NOW)]);
        events
    }

    #[test]
    fn a_history_without_a_broken_promise_is_good() {
        let verdict = judge(&history(&good()));
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.written, verdict.acked, verdict.shown, verdict.unsent), (5, 4, 4, 1));
        assert_eq!((verdict.failed_attempts, verdict.mailboxes), (1, 2));
        assert!(!judge(&[]).is_good(), "where nothing was stored nothing is shown");
    }

    #[test]
    fn every_broken_promise_is_found() {
        type Count = fn(&Verdict) -> u64;
        let without = |event: &Event| good().into_iter().filter(|other| other != event).collect::<Vec<_>>();
        let with = |event: Event| good().into_iter().chain([event]).collect::<Vec<_>>();
        let cases: [(Vec<Event>, Count); 8] = [
            (without(&shown(2)), |verdict| verdict.lost),
            (with(shown(1)), |verdict| verdict.twice),
            (with(Event::Shown { message: None, reader: 0 }), |verdict| verdict.strange),
            (with(Event::Shown { message: Some(9), reader: 1 }), |verdict| verdict.strange),
            (with(Event::Shown { message: Some(1), reader: 0 }), |verdict| verdict.strange),
            (with(held(1, &[3], NOW)), |verdict| verdict.missing),
            (with(held(1, &[1, 3], NOW + 1121)), |verdict| verdict.stale / 2),
            (with(Event::Unread { node: "node".to_owned() }), |verdict| verdict.unread),
        ];
        for (events, count) in cases {
            let verdict = judge(&history(&events));
            assert_eq!(count(&verdict), 1, "{verdict:?}");
            assert!(!verdict.is_good() && !verdict.named.is_empty());
        }
    }

    #[test]
    fn a_message_that_is_written_but_not_acknowledged_may_be_shown_and_one_that_expires_may_be_gone() {
        let mut events = good();
        events.extend([shown(4), held(0, &[], NOW + 900), held(0, &[0, 2], NOW + 1119)]);
        assert!(judge(&history(&events)).is_good());
    }

    #[test]
    fn attempts_count_when_they_began() {
        let at = |at_ms, event| Entry { at_ms, event };
        let failed = Event::Failed { message: 1, error: String::new(), took_ms: 500 };
        let history = [at(100, acked(0)), at(1000, failed.clone()), at(1600, failed), at(2000, acked(2))];
        let second = Duration::from_secs(1);
        assert_eq!(attempts(&history, Duration::ZERO, second), (vec![Duration::from_millis(10)], 1));
        assert_eq!(attempts(&history, second, 2 * second), (vec![Duration::from_millis(10)], 1));
    }
}
