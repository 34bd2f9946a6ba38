//! A report as one page that needs nothing else.

use super::goals::goals;
use super::report::Report;
use crate::bench::{page, remarks, table};

impl Report {
    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let (records, nodes) = (self.options.records, self.testnet.nodes);
        let title = format!("Sotto recovery: {records} records on {nodes} nodes, {}", self.head.started);
        let goals = goals(self);
        let first: Vec<_> = goals.iter().map(|goal| (goal.found.clone(), goal.what.clone())).collect();
        let rows = goals.into_iter().map(|goal| {
            let verdict = if goal.is_met { "met" } else { "MISSED" };
            vec![goal.what, goal.found, goal.asked, verdict.to_owned()]
        });
        let found = table("What was found, and what was asked for", &["", "found", "asked for", ""], rows);
        let sections = [
            ("Goals", found),
            ("Part by part", remarks(&self.parts())),
            ("What was asked for, and how to read it", asked(self) + &remarks(&self.notes)),
        ];
        page(&title, &self.head.origin(self.options.seed), &first, &sections)
    }
}

fn asked(report: &Report) -> String {
    let (options, testnet) = (&report.options, &report.testnet);
    let rows = [
        ("records", options.records.to_string()),
        ("records that a member missed", options.missed.to_string()),
        ("a swarm was born", if options.split { "yes" } else { "no" }.to_owned()),
        ("clients that stored", options.clients.to_string()),
        ("records a second", options.rate.to_string()),
        ("bytes of a text", options.size.to_string()),
        ("seed", options.seed.to_string()),
        (
            "testnet",
            format!("{}, seed {}, {} nodes, {} swarms", testnet.name, testnet.seed, testnet.nodes, testnet.swarms),
        ),
        ("milliseconds between blocks", testnet.block_time_ms.to_string()),
    ];
    table("Options", &["", ""], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use crate::bench::assert_well_formed;

    #[test]
    fn the_page_is_well_formed_whatever_the_report_says() {
        let mut report = example();
        report.hand_over.took_s = 31.0;
        report.testnet.name = "</title><b onload=\"x\">&'".to_owned();
        let page = report.to_html();
        assert_well_formed(&page);
        assert!(
            page.contains("MISSED") && page.contains("Some &lt;CPU&gt; &amp; more") && !page.contains("<b "),
            "{page}"
        );
    }

    #[test]
    fn a_report_of_one_part_has_a_page_too() {
        let mut report = example();
        (report.restart, report.filled_meanwhile, report.split) = (None, None, None);
        assert_well_formed(&report.to_html());
    }
}
