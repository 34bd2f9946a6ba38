//! A report for people, on a terminal.

use comfy_table::{CellAlignment, Table, presets};

use super::honest::{Felt, Group, Measured, Stretch};
use super::report::{Attacked, Report};
use crate::bench::{grouped, mib, shown};

/// What is shown of honest users: group, what, how the column is called.
const COLUMNS: [(Group, Measured, &str); 5] = [
    (Group::Swarm, Measured::Stored, "stored (swarm)"),
    (Group::Swarm, Measured::Echo, "echo (swarm)"),
    (Group::Guard, Measured::Stored, "stored (guard)"),
    (Group::Guard, Measured::Echo, "echo (guard)"),
    (Group::Guard, Measured::NewPath, "new path"),
];

impl Report {
    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![
            self.heading(),
            self.attacks_table().to_string(),
            String::new(),
            "p99 in ms, before → during → after (failed):".to_owned(),
            self.felt_table().to_string(),
        ];
        for attack in &self.attacks {
            let name = &attack.name;
            lines.extend(attack.missed.iter().map(|what| format!("! {name}: {what}")));
            lines.extend(attack.error.iter().map(|what| format!("! {name} could not be made: {what}")));
        }
        lines.join("\n")
    }

    fn heading(&self) -> String {
        let Self { testnet, options, victim, .. } = self;
        let pace = options.pace.map_or_else(String::new, |pace| format!(", {} frames a second", grouped(pace.into())));
        format!(
            "{victim} of {} nodes in {} swarms attacked {} times for {} s each{pace}: {} frames in all",
            testnet.nodes,
            testnet.swarms,
            self.attacks.len(),
            options.seconds,
            grouped(self.frames())
        )
    }

    fn attacks_table(&self) -> Table {
        let header = [
            "attack",
            "frames",
            "connections",
            "refused",
            "held, s",
            "memory, MiB",
            "files",
            "CPU, %",
            "log, KiB/min",
            "machine, %",
            "",
        ];
        table(&header, self.attacks.iter().map(cost))
    }

    fn felt_table(&self) -> Table {
        let mut header = vec!["attack"];
        header.extend(COLUMNS.map(|(_, _, name)| name));
        header.push("through victim");
        table(&header, self.attacks.iter().map(felt))
    }
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in 1..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cost(attack: &Attacked) -> Vec<String> {
    let (counts, process) = (&attack.counts, &attack.process);
    let arrows = |values: &[String]| values.join(" → ");
    vec![
        attack.name.clone(),
        grouped(counts.frames),
        grouped(counts.connections),
        grouped(counts.refused),
        if counts.held_ms == 0 { String::new() } else { shown(counts.held_ms as f64 / 1e3) },
        arrows(&process.rss_bytes.map(|bytes| format!("{:.0}", mib(bytes)))),
        arrows(&process.fds.map(|fds| fds.to_string())),
        arrows(&process.cpu_percent.map(|percent| format!("{percent:.0}"))),
        shown(process.log_bytes_per_minute as f64 / 1024.0),
        attack.machine_percent.map_or_else(String::new, |(busy, stolen)| format!("{busy:.0} + {stolen:.0}")),
        if attack.missed.is_empty() && attack.error.is_none() { "ok" } else { "MISSED" }.to_owned(),
    ]
}

fn felt(attack: &Attacked) -> Vec<String> {
    let of = |group, measured| attack.felt.iter().find(|felt| (felt.group, felt.measured) == (group, measured));
    let mut row = vec![attack.name.clone()];
    row.extend(COLUMNS.map(|(group, measured, _)| of(group, measured).map_or_else(String::new, latencies)));
    let through = of(Group::Guard, Measured::ThroughVictim).map(|felt| {
        [&felt.before, &felt.during].map(|one| format!("{}/{}", one.count, one.count + one.failed)).join(" → ")
    });
    row.push(through.unwrap_or_default());
    row
}

fn latencies(felt: &Felt) -> String {
    let one = |stretch: &Stretch| {
        let time = if stretch.count == 0 { "–".to_owned() } else { shown(stretch.p99_ms) };
        if stretch.failed == 0 { time } else { format!("{time} ({})", stretch.failed) }
    };
    [&felt.before, &felt.during, &felt.after].map(one).join(" → ")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;

    #[test]
    fn the_text_has_what_people_ask_for() {
        let text = example().to_text();
        for part in [
            "node23 of 24 nodes",
            "12,345",
            "50 → 58 → 51",
            "80 → 112 → 81",
            "4 → 38",
            "81 + 2",
            "20.0 → 31.0 → 19.0",
            "ok",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("100/100 → 100/100"), "{text}");
    }

    #[test]
    fn what_was_missed_and_what_failed_is_marked() {
        let mut report = example();
        report.attacks[0].missed.push("node23 died".to_owned());
        report.attacks[0].felt[1].during.failed = 7;
        let text = report.to_text();
        for part in ["MISSED", "! connections: node23 died", "31.0 (7)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
