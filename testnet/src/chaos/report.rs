//! What a run came to: one JSON document, and a text for people.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::Verdict;
use super::scenario::Scenario;
use crate::bench::{Head, Latency as Times, mib};
use crate::failure::{Exit, Failure};

/// Version of this document.
pub(super) const VERSION: u8 = 1;
/// Its kind.
pub(super) const TYPE: &str = "testnet.chaos";
/// All members must have the same so soon after the last fault (I4).
const AGREED: Duration = Duration::from_secs(30);
/// Of what users begin once all is healed, so much must work (I14).
const WORKS: f64 = 0.99;
/// No node may have more memory (I7) and files.
const RSS: u64 = 128 << 20;
const FDS: u64 = 600;

/// How sending went for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Attempts that worked.
    pub worked: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// The median of those that worked: a whole send with its proof of work, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl Latency {
    pub(super) fn of((took, failed): (Vec<Duration>, u64)) -> Self {
        let times = Times::of(took);
        Self { worked: times.count, failed, p50_ms: times.p50_ms, p99_ms: times.p99_ms }
    }

    fn share(&self) -> f64 {
        let all = self.worked + self.failed;
        if all == 0 { 0.0 } else { self.worked as f64 / all as f64 }
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What every report begins with.
    #[serde(flatten)]
    pub head: Head,
    /// Nodes at the end.
    pub nodes: u16,
    /// What was to happen.
    pub scenario: Scenario,
    /// What all draws followed from.
    pub seed: u64,
    /// Messages a second that writers tried to send.
    pub rate: u32,
    /// Faults that happened.
    pub faults: u64,
    /// Everything in the order in which it happened.
    pub history: PathBuf,
    /// Sending before the first fault.
    pub before: Latency,
    /// While faults happened.
    pub during: Latency,
    /// Ten to fifteen seconds after the last one.
    pub after: Latency,
    /// How long after the last fault all nodes and all members agreed; the load ends 15 s after it.
    pub agreed_after_ms: Option<u64>,
    /// What they did not agree on.
    pub disagreement: Option<String>,
    /// The most memory of any node.
    pub worst_rss_bytes: u64,
    /// The most open files of any node.
    pub worst_fds: u64,
    /// The most nodes that were decommissioned at once, beyond those that were at the beginning.
    pub decommissioned: u64,
    /// Processes that did not run at the end, or panicked.
    pub deaths: Vec<String>,
    /// What users were told.
    pub verdict: Verdict,
}

impl Report {
    /// Which goals were missed, for people.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let verdict = &self.verdict;
        let counts = [
            (verdict.lost, "stored messages were never shown"),
            (verdict.twice, "messages were shown twice"),
            (verdict.strange, "messages were shown that nobody wrote"),
            (verdict.missing, "records are missing at members"),
            (verdict.stale, "records are served after their time"),
            (verdict.unread, "members could not be read"),
        ];
        missed.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        if verdict.acked == 0 {
            missed.push("nothing was stored".to_owned());
        }
        match (self.agreed_after_ms.map(Duration::from_millis), &self.disagreement) {
            (Some(after), _) if after <= AGREED => {}
            (Some(after), _) => missed.push(format!("agreed after {:.1} s, at most 30", after.as_secs_f64())),
            (None, reason) => missed.push(format!("no agreement: {}", reason.as_deref().unwrap_or("not known why"))),
        }
        if self.after.share() < WORKS {
            let percent = 100.0 * self.after.share();
            missed.push(format!("{percent:.1} % of sends work once all is healed, at least 99"));
        }
        if self.worst_rss_bytes > RSS {
            missed.push(format!("{:.0} MiB of memory, at most 128", mib(self.worst_rss_bytes)));
        }
        if self.worst_fds > FDS {
            missed.push(format!("{} open files, at most {FDS}", self.worst_fds));
        }
        let pass = &self.scenario.pass;
        if let Some(most) = pass.p99_ms.filter(|most| self.during.p99_ms > f64::from(*most)) {
            missed.push(format!("p99 of a whole send {:.0} ms during faults, at most {most}", self.during.p99_ms));
        }
        if let Some(most) = pass.decommissioned.filter(|most| self.decommissioned > *most) {
            missed.push(format!("{} honest nodes decommissioned, at most {most}", self.decommissioned));
        }
        missed.extend(self.deaths.iter().map(|death| format!("died: {death}")));
        missed
    }

    /// Whether every promise was kept.
    ///
    /// # Errors
    /// [`Exit::Failed`] with what was not.
    pub fn verdict(&self) -> Result<(), Failure> {
        let missed = self.missed();
        if missed.is_empty() {
            return Ok(());
        }
        let again = format!("sotto-testnet chaos run {} --seed {}", self.scenario.name, self.seed);
        Err(Failure::new(Exit::Failed, format!("{}: {}", self.scenario.name, missed.join("; "))).hint(again))
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let verdict = &self.verdict;
        let mut lines = vec![
            format!("{}  {} (seed {}, {} nodes)", self.scenario.name, self.scenario.what, self.seed, self.nodes),
            format!(
                "  faults      {}; all agreed {} after the last",
                self.faults,
                self.agreed_after_ms.map_or_else(|| "NEVER".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
            ),
            format!(
                "  messages    {} written, {} stored, {} unsent, {} attempts failed",
                verdict.written, verdict.acked, verdict.unsent, verdict.failed_attempts
            ),
            format!("  found       {}", verdict.found()),
        ];
        for (name, times) in [("before", self.before), ("during", self.during), ("after", self.after)] {
            lines.push(format!(
                "  {name:10}  a whole send {:.0} ms, p99 {:.0} ms; {} worked, {} failed",
                times.p50_ms, times.p99_ms, times.worked, times.failed
            ));
        }
        lines.push(format!(
            "  processes   {:.0} MiB and {} files at most; {} died, {} decommissioned",
            mib(self.worst_rss_bytes),
            self.worst_fds,
            self.deaths.len(),
            self.decommissioned
        ));
        lines.extend(verdict.named.iter().map(|what| format!("  broken      {what}")));
        let missed = self.missed();
        lines.push(if missed.is_empty() {
            "  verdict     all promises kept".to_owned()
        } else {
            format!("  verdict     {}", missed.join("; "))
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Pass;
    use super::*;

    const fn good() -> Latency {
        Latency { worked: 100, failed: 0, p50_ms: 50.0, p99_ms: 90.0 }
    }

    fn report() -> Report {
        Report {
            head: Head::example(TYPE, VERSION),
            nodes: 24,
            scenario: Scenario {
                name: "mine".to_owned(),
                what: "x".to_owned(),
                seconds: 1,
                pass: Pass { p99_ms: Some(5000), decommissioned: Some(0) },
                faults: Vec::new(),
            },
            seed: 7,
            rate: 10,
            faults: 3,
            history: PathBuf::from("history"),
            before: good(),
            during: good(),
            after: good(),
            agreed_after_ms: Some(12_000),
            disagreement: None,
            worst_rss_bytes: 30 << 20,
            worst_fds: 100,
            decommissioned: 0,
            deaths: Vec::new(),
            verdict: Verdict { acked: 300, written: 300, shown: 300, ..Verdict::default() },
        }
    }

    #[test]
    fn a_scenario_without_goals_of_its_own_has_no_bounds_beyond_those_of_all() {
        let mut slow = Report { during: Latency { p99_ms: 60_000.0, ..good() }, decommissioned: 3, ..report() };
        assert_eq!(slow.missed().len(), 2);
        slow.scenario.pass = Pass::default();
        assert_eq!(slow.missed(), Vec::<String>::new());
    }

    #[test]
    fn what_was_missed_is_named_with_what_repeats_it() {
        assert_eq!(report().missed(), Vec::<String>::new());
        assert!(report().to_text().ends_with("all promises kept"));
        let failed = Latency { worked: 90, failed: 10, ..Latency::default() };
        for (bad, what) in [
            (Report { agreed_after_ms: Some(31_000), ..report() }, "31.0 s"),
            (Report { agreed_after_ms: None, disagreement: Some("two sets".to_owned()), ..report() }, "two sets"),
            (Report { after: failed, ..report() }, "90.0 %"),
            (Report { worst_rss_bytes: 200 << 20, ..report() }, "200"),
            (Report { during: Latency { p99_ms: 5001.0, ..good() }, ..report() }, "5001 ms"),
            (Report { decommissioned: 2, ..report() }, "2 honest nodes"),
            (Report { deaths: vec!["node03: killed".to_owned()], ..report() }, "node03"),
            (Report { verdict: Verdict { lost: 2, ..report().verdict }, ..report() }, "2 stored messages"),
            (Report { verdict: Verdict::default(), ..report() }, "nothing was stored"),
        ] {
            let failure = bad.verdict().unwrap_err();
            assert!(failure.message.contains(what), "{failure:?}");
            assert!(failure.hint.unwrap().contains("chaos run mine --seed 7"));
            assert!(bad.to_text().contains(what));
        }
    }
}
