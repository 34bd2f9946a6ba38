//! What a run of attacks found: one JSON document.

use serde::{Deserialize, Serialize};

use super::honest::Felt;
use super::options::Options;
use super::tally::Counts;
use super::victim::Process;
use crate::bench::{Head, Testnet};
use crate::failure::{Exit, Failure};

/// Version of the document.
pub const VERSION: u8 = 1;
/// Kind of the document.
pub const TYPE: &str = "testnet.attack";

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What every report begins with.
    #[serde(flatten)]
    pub head: Head,
    /// What was attacked.
    pub testnet: Testnet,
    /// Which of its nodes.
    pub victim: String,
    /// What was asked for.
    pub options: Options,
    /// How to read the figures.
    pub notes: Vec<String>,
    /// The attacks, in order. The last one is the one that somebody died of, if anybody did.
    pub attacks: Vec<Attacked>,
}

/// One attack and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// Its name.
    pub name: String,
    /// What it does.
    pub what: String,
    /// What it did.
    pub counts: Counts,
    /// A defect of the attack itself: it says nothing about the victim then.
    pub error: Option<String>,
    /// What honest users felt.
    pub felt: Vec<Felt>,
    /// What it cost the victim.
    pub process: Process,
    /// While it lasted, in percent of the machine: busy with all that ran here, and taken by other machines of its host.
    pub machine_percent: Option<(f64, f64)>,
    /// Which goals it missed, each with its figure.
    pub missed: Vec<String>,
}

impl Report {
    /// Frames of all attacks together.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.attacks.iter().map(|attack| attack.counts.frames).sum()
    }

    /// Whether all attacks could be made, and all goals hold.
    ///
    /// # Errors
    /// [`Exit::Failed`] with everything that was missed; [`Exit::Internal`] when an attack could not be made.
    pub fn verdict(&self) -> Result<(), Failure> {
        let of = |attack: &Attacked, what: &String| format!("{}: {what}", attack.name);
        let defects: Vec<_> =
            self.attacks.iter().filter_map(|attack| attack.error.as_ref().map(|error| of(attack, error))).collect();
        let missed = self.attacks.iter().flat_map(|attack| attack.missed.iter().map(|what| of(attack, what)));
        let missed: Vec<_> = missed.collect();
        match (missed.is_empty(), defects.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Failure::new(Exit::Internal, defects.join("; "))),
            (false, _) => {
                Err(Failure::new(Exit::Failed, missed.into_iter().chain(defects).collect::<Vec<_>>().join("; ")))
            }
        }
    }

    /// The report as a file holds it.
    ///
    /// # Errors
    /// [`Exit::Internal`]; no report of ours has no JSON form.
    pub fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| Failure::new(Exit::Internal, error.to_string()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::honest::{Felt, Group, Measured, Stretch};
    use super::super::options::tests::usual;
    use super::*;

    /// A report of one attack that nobody felt.
    pub(in super::super) fn example() -> Report {
        let stretch = |p99_ms| Stretch { count: 100, failed: 0, p50_ms: p99_ms / 4.0, p99_ms };
        let felt = |group, measured| Felt {
            group,
            measured,
            before: stretch(20.0),
            during: stretch(31.0),
            after: stretch(19.0),
        };
        let attacked = Attacked {
            name: "connections".to_owned(),
            what: "floods of connections".to_owned(),
            counts: Counts {
                connections: 12_345,
                refused: 11_000,
                frames: 12_345,
                bytes: 0,
                answered: 0,
                held_ms: 5100,
            },
            error: None,
            felt: Group::ALL.iter().flat_map(|group| Measured::ALL.map(|measured| felt(*group, measured))).collect(),
            process: Process {
                rss_bytes: [50 << 20, 58 << 20, 51 << 20],
                fds: [80, 112, 81],
                cpu_percent: [4.0, 38.0],
                log_bytes_per_minute: 2048,
                same: true,
            },
            machine_percent: Some((81.0, 2.5)),
            missed: Vec::new(),
        };
        Report {
            head: Head::example(TYPE, VERSION),
            testnet: Testnet { name: "dev".to_owned(), seed: 42, nodes: 24, swarms: 3, block_time_ms: 1000 },
            victim: "node23".to_owned(),
            options: usual(),
            notes: Vec::new(),
            attacks: vec![attacked],
        }
    }

    #[test]
    fn a_report_reads_back_and_is_good_when_nothing_was_missed() {
        let report = example();
        let read: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(read, report);
        assert_eq!(report.verdict(), Ok(()));
        assert_eq!(report.frames(), 12_345);
    }

    #[test]
    fn what_was_missed_is_failed_and_a_defect_of_an_attack_is_told_apart() {
        let mut report = example();
        report.attacks[0].error = Some("no sockets left".to_owned());
        assert_eq!(report.verdict().unwrap_err().exit, Exit::Internal);
        report.attacks[0].missed = vec!["node23 died".to_owned()];
        let failure = report.verdict().unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.message, "connections: node23 died; connections: no sockets left");
    }
}
