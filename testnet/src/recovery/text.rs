//! A report for people, on a terminal.

use super::fill::Filled;
use super::goals::goals;
use super::report::Report;
use crate::bench::{grouped, mib, shown};

impl Report {
    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![self.head.origin(self.options.seed)];
        lines.extend(self.parts());
        for goal in goals(self) {
            let mark = if goal.is_met { "✓" } else { "!" };
            lines.push(format!("{mark} {}: {} ({})", goal.what, goal.found, goal.asked));
        }
        lines.join("\n")
    }

    /// A sentence for each part.
    pub(super) fn parts(&self) -> Vec<String> {
        let mut lines = vec![filled(&self.filled, &format!("in swarm {}", self.swarm))];
        let new = &self.hand_over;
        lines.push(format!(
            "{} began with nothing: a member after {:.1} s, with {} records of {} MiB {:.1} s later",
            new.node,
            new.active_s,
            grouped(new.records),
            shown(mib(new.record_bytes)),
            new.took_s
        ));
        lines.extend(self.filled_meanwhile.as_ref().map(|some| filled(some, "while a member was down")));
        if let Some(down) = &self.restart {
            lines.push(format!(
                "{} was down with {} records: a member {:.1} s after its start, answers after {:.1} s, has {} more after {:.1} s",
                down.node,
                grouped(down.records),
                down.active_s,
                down.served_s,
                grouped(down.missed),
                down.caught_up_s
            ));
        }
        if let Some(split) = &self.split {
            lines.push(format!(
                "{} nodes came, {} swarms became {} after {:.1} s: {} of the records moved, all had theirs {:.1} s later",
                split.joined,
                split.swarms_before,
                split.swarms,
                split.born_s,
                grouped(split.moved),
                split.hand_over_s
            ));
            let (before, during) = (&split.reads_before, &split.reads);
            lines.push(format!(
                "reads, p50 / p99 ms: {} / {} before, {} / {} meanwhile; {} messages stored, {} not, {} never read",
                shown(before.p50_ms),
                shown(before.p99_ms),
                shown(during.p50_ms),
                shown(during.p99_ms),
                split.stored,
                split.unsent,
                split.unread
            ));
            lines.extend(during.failures.iter().map(|(reason, count)| format!("! {count} × {reason}")));
        }
        let mark = if self.lost == 0 { "" } else { "! " };
        lines.push(format!("{mark}{} stored records are gone in the end", grouped(self.lost)));
        lines
    }
}

fn filled(filled: &Filled, place: &str) -> String {
    let failed = if filled.failed == 0 { String::new() } else { format!(", {} not", grouped(filled.failed)) };
    let (stored, size) = (grouped(filled.stored), shown(mib(filled.bytes)));
    format!("{stored} records stored {place} in {:.0} s ({size} MiB){failed}", filled.took_s)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;

    #[test]
    fn the_text_has_the_figures_and_what_was_asked_of_them() {
        let text = example().to_text();
        for part in [
            "10,000 records stored in swarm 0x7fffffffffffffff in 50 s (35.3 MiB)",
            "node07 began with nothing: a member after 2.5 s, with 10,000 records of 35.3 MiB",
            "node05 was down with 10,000 records",
            "0 stored records are gone in the end",
            "7 nodes came, 3 swarms became 4 after 9.0 s: 6,600 of the records moved",
            "✓ a new member has everything: 6.25 s (≤ 30 s)",
            "✓ reads meanwhile that worked, of 2000: 100.00 % (≥ 99.9 %)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('!'), "{text}");
    }

    #[test]
    fn what_went_wrong_is_marked() {
        let mut report = example();
        report.hand_over.took_s = 40.0;
        report.split.as_mut().unwrap().reads.failures.insert("no path".to_owned(), 3);
        let text = report.to_text();
        assert!(text.contains("! a new member has everything: 40.00 s") && text.contains("! 3 × no path"), "{text}");
    }
}
