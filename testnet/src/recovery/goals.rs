//! What was asked of recovery, and what was found.

use super::member::HandOver;
use super::report::Report;
use crate::bench::shown;

/// A new member has ten thousand records of 2 KiB so soon.
const HAND_OVER_S: f64 = 30.0;
/// For so many bytes on links: this many times the records', and 64 KiB.
const BYTES_FACTOR: f64 = 1.2;
const BYTES_BESIDE: u64 = 64 << 10;
/// A member that was killed answers readers so soon after its start, and has ten thousand records that it missed.
const SERVED_S: f64 = 3.0;
const CAUGHT_UP_S: f64 = 10.0;
/// After a swarm was born everybody has what is theirs so soon.
const SPLIT_S: f64 = 60.0;
/// Of the reads meanwhile so many work, in percent.
const READS_PERCENT: f64 = 99.9;

/// A figure with what was asked of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) found: String,
    pub(super) asked: String,
    pub(super) is_met: bool,
}

/// Bytes that may go over links for a new member.
#[must_use]
pub(super) fn bytes_allowed(records: u64) -> u64 {
    (records as f64 * BYTES_FACTOR) as u64 + BYTES_BESIDE
}

/// All goals of a report, in the order in which they were measured.
pub(super) fn goals(report: &Report) -> Vec<Goal> {
    let within = |what: String, seconds: f64, most: f64| Goal {
        what,
        found: format!("{seconds:.2} s"),
        asked: format!("≤ {most:.0} s"),
        is_met: seconds <= most,
    };
    let mut goals = vec![within("a new member has everything".to_owned(), report.hand_over.took_s, HAND_OVER_S)];
    goals.extend(bytes(&report.hand_over));
    if let Some(restart) = &report.restart {
        goals.push(within("a member that was killed answers a reader".to_owned(), restart.served_s, SERVED_S));
        let what = format!("it has the {} records that it missed", restart.missed);
        goals.push(within(what, restart.caught_up_s, CAUGHT_UP_S));
    }
    if let Some(split) = &report.split {
        goals.push(within("after a swarm was born all have what is theirs".to_owned(), split.hand_over_s, SPLIT_S));
        let percent = 100.0 * split.reads.share();
        goals.push(Goal {
            what: format!("reads meanwhile that worked, of {}", split.reads.worked + split.reads.failed),
            found: format!("{percent:.2} %"),
            asked: format!("≥ {READS_PERCENT} %"),
            is_met: percent >= READS_PERCENT,
        });
    }
    goals
}

fn bytes(hand_over: &HandOver) -> Option<Goal> {
    let kib = |bytes: u64| shown(bytes as f64 / 1024.0);
    let (bytes, allowed) = (hand_over.link_bytes?, bytes_allowed(hand_over.record_bytes));
    Some(Goal {
        what: format!("KiB on links for its {} KiB of records", kib(hand_over.record_bytes)),
        found: kib(bytes),
        asked: format!("≤ {}", kib(allowed)),
        is_met: bytes <= allowed,
    })
}
