//! What a measurement found: one JSON document.

use serde::{Deserialize, Serialize};

use super::fill::Filled;
use super::goals::goals;
use super::member::{HandOver, Restart};
use super::options::Options;
use super::split::Split;
use crate::bench::{Head, Testnet};
use crate::failure::{Exit, Failure};

/// Version of the document.
pub const VERSION: u8 = 1;
/// Kind of the document.
pub const TYPE: &str = "testnet.recovery";

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What every report begins with.
    #[serde(flatten)]
    pub head: Head,
    /// What was measured, as it was at the beginning.
    pub testnet: Testnet,
    /// What was asked for.
    pub options: Options,
    /// How to read the figures.
    pub notes: Vec<String>,
    /// The swarm whose members had to recover.
    pub swarm: String,
    /// What was stored in it first.
    pub filled: Filled,
    /// A member that began with nothing.
    pub hand_over: HandOver,
    /// What was stored while another one was down, if that was measured.
    pub filled_meanwhile: Option<Filled>,
    /// The one that was down.
    pub restart: Option<Restart>,
    /// A swarm that was born, if that was measured.
    pub split: Option<Split>,
    /// Of all records with two receipts: those that the members of the swarm that owns them do not have in the end.
    pub lost: u64,
}

impl Report {
    /// What was missed, for people.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.lost > 0 {
            missed.push(format!("{} stored records are gone", self.lost));
        }
        if let Some(split) = self.split.as_ref().filter(|split| split.unread > 0) {
            missed.push(format!("{} messages that were stored meanwhile were never read", split.unread));
        }
        let goals = goals(self);
        let late = goals.iter().filter(|goal| !goal.is_met);
        missed.extend(late.map(|goal| format!("{}: {}, {} asked", goal.what, goal.found, goal.asked)));
        missed
    }

    /// Whether nothing was lost, and every goal was met.
    ///
    /// # Errors
    /// [`Exit::Failed`] with everything that was missed.
    pub fn verdict(&self) -> Result<(), Failure> {
        let missed = self.missed();
        if missed.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, missed.join("; "))) }
    }

    /// The report as a file holds it.
    ///
    /// # Errors
    /// [`Exit::Internal`]; no report of ours has no JSON form.
    pub fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| Failure::new(Exit::Internal, error.to_string()))
    }
}

/// How to read the figures.
pub(super) fn notes() -> Vec<String> {
    [
        "Records are stored through paths, with receipts of two members; sealing and proof of work are done in advance. \
         Before each part the members are alike and what was stored is older than the ten seconds that they leave out of \
         comparisons.",
        "The new member is one whose database was removed. Its time counts from the moment it is an active member again \
         that has caught up with the chain – before, the others do not compare with it – until its digest is that of all \
         others; following the chain from the first block is told apart.",
        "Bytes on links are those of the loopback device meanwhile, whoever's they are, less what went over it in four \
         seconds while the member was away. They have the headers of TCP and IP, and what all nodes say to each other.",
        "The member that was down is killed without warning. Its times count from the start of its process; its reader \
         asks it alone, through a path, for a mailbox that it had.",
        "A swarm is born because nodes come until all others are full. Its time counts from the first node that follows \
         the new map until all do, none has records that another swarm owns, and the members of each are alike, while \
         two users write four messages a second in all and eight ask for mail five times a second each. Users are whole \
         messengers. They have their mail in the swarm that loses most to the new one.",
        "A record is lost that had two receipts, has not expired, and is not in its mailbox when all is over: every mailbox \
         is read then, at a member of the swarm that owns it, and records are told apart by their ids.",
        "Nodes and users share one machine.",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::options::tests::usual;
    use super::super::users::Reads;
    use super::*;
    use crate::bench::Machine;

    /// A measurement in which all went well.
    pub(in super::super) fn example() -> Report {
        let reads = Reads { worked: 2000, p50_ms: 20.0, p99_ms: 90.0, ..Reads::default() };
        let machine = Machine { cpu: "Some <CPU> & more".to_owned(), cores: 2, ..Machine::default() };
        let filled = Filled { stored: 10_000, failed: 0, bytes: 37_000_000, took_s: 50.1 };
        Report {
            head: Head { machine, ..Head::example(TYPE, VERSION) },
            testnet: Testnet { name: "dev".to_owned(), seed: 42, nodes: 24, swarms: 3, block_time_ms: 1000 },
            options: usual(),
            notes: notes(),
            swarm: "0x7fffffffffffffff".to_owned(),
            filled: filled.clone(),
            hand_over: HandOver {
                node: "node07".to_owned(),
                records: 10_000,
                record_bytes: 37_000_000,
                active_s: 2.5,
                took_s: 6.25,
                link_bytes: Some(39_000_000),
            },
            filled_meanwhile: Some(filled),
            restart: Some(Restart {
                node: "node05".to_owned(),
                records: 10_000,
                missed: 10_000,
                active_s: 0.9,
                served_s: 1.1,
                caught_up_s: 5.5,
            }),
            split: Some(Split {
                joined: 7,
                swarms_before: 3,
                swarms: 4,
                records_before: 20_000,
                records: 20_150,
                moved: 6_600,
                born_s: 9.0,
                hand_over_s: 21.0,
                reads_before: reads.clone(),
                reads,
                stored: 150,
                unsent: 0,
                unread: 0,
            }),
            lost: 0,
        }
    }

    #[test]
    fn a_report_reads_back_and_what_was_not_measured_misses_nothing() {
        let report = example();
        assert_eq!(serde_json::from_str::<Report>(&report.to_json().unwrap()).unwrap(), report);
        assert_eq!(report.verdict(), Ok(()));
        let hand_over = HandOver { link_bytes: None, ..report.hand_over.clone() };
        assert_eq!(
            Report { hand_over, restart: None, filled_meanwhile: None, split: None, ..report }.verdict(),
            Ok(())
        );
    }

    #[test]
    fn whatever_was_missed_is_named() {
        let changed = |change: fn(&mut Report)| {
            let mut report = example();
            change(&mut report);
            report.verdict().unwrap_err().message
        };
        assert!(changed(|report| report.hand_over.took_s = 30.5).contains("everything: 30.50 s, ≤ 30 s asked"));
        // 1.2 times the records and 64 KiB are 44,465,536 bytes.
        assert!(changed(|report| report.hand_over.link_bytes = Some(44_465_537)).contains("KiB on links"));
        assert!(changed(|report| report.restart.as_mut().unwrap().served_s = 3.5).contains("3.50 s"));
        assert!(changed(|report| report.restart.as_mut().unwrap().caught_up_s = 11.0).contains("10000 records"));
        assert!(changed(|report| report.split.as_mut().unwrap().hand_over_s = 61.0).contains("61.00 s"));
        assert!(changed(|report| report.split.as_mut().unwrap().reads.failed = 3).contains("99.85 %"));
        assert!(changed(|report| report.split.as_mut().unwrap().unread = 2).contains("2 messages"));
        assert!(changed(|report| report.lost = 1).contains("1 stored records are gone"));
    }

    #[test]
    fn as_many_bytes_as_are_allowed_are_no_miss() {
        let mut report = example();
        report.hand_over.link_bytes = Some(44_465_536);
        assert_eq!(report.verdict(), Ok(()));
    }
}
