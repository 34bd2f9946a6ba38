//! A report for people, on a terminal.

use comfy_table::{CellAlignment, Table, presets};

use super::costs::RoleCosts;
use super::figures::{grouped, mib, shown};
use super::report::Report;

impl Report {
    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![load(self), latencies(self).to_string()];
        lines.extend(catch_up(self));
        lines.extend(idle_clients(self));
        lines.extend(costs(self));
        lines.push(replicated(self));
        lines.join("\n")
    }
}

fn load(report: &Report) -> String {
    let (load, options) = (&report.load, &report.options);
    let mut text = format!(
        "{}\n{} of {} messages stored, {} a second ({} asked for) · {} with a third receipt",
        report.head.origin(options.seed),
        grouped(load.stored),
        grouped(load.due),
        shown(load.stored_per_s),
        options.rate,
        grouped(load.third)
    );
    for (reason, count) in &load.failures {
        text.push_str(&format!("\n! {} × {reason}", grouped(*count)));
    }
    if load.to_followers > 0 {
        let shown = format!("{} of {} shown to followers", grouped(load.delivered), grouped(load.to_followers));
        text.push_str(&format!(" · {shown}"));
    }
    if load.probes_failed > 0 {
        text.push_str(&format!("\n! {} probes had no answer under load", load.probes_failed));
    }
    text
}

fn latencies(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["milliseconds", "p50", "p90", "p99", "p99.9", "longest", "count"]);
    for (name, latency) in report.latency.named().into_iter().filter(|(_, latency)| !latency.is_empty()) {
        let times = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms].map(shown);
        let mut row = vec![name.to_owned()];
        row.extend(times);
        row.push(grouped(latency.count));
        table.add_row(row);
    }
    for column in 1..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn catch_up(report: &Report) -> Option<String> {
    let caught = report.catch_up.as_ref()?;
    Some(format!(
        "catching up: {} of {} messages after {:.2} s",
        grouped(caught.received),
        grouped(caught.messages),
        caught.took_ms / 1e3
    ))
}

fn idle_clients(report: &Report) -> Option<String> {
    let idle = report.idle_clients.as_ref()?;
    Some(format!(
        "{} idle clients in {} processes: all with a path after {:.0} s, {} at the end; {} paths were lost between",
        grouped(idle.clients),
        idle.processes,
        idle.took_s,
        grouped(idle.still_up),
        grouped(idle.lost)
    ))
}

fn costs(report: &Report) -> Vec<String> {
    let costs = &report.costs;
    let mut message = format!("a message: {} ms of CPU in the network", shown(costs.cpu_ms_per_message));
    if let Some(links) = &costs.links {
        message.push_str(&format!(", {} KiB on links", shown(links.bytes_per_message / 1024.0)));
    }
    let role = |role: &RoleCosts| {
        let name = role.role.name(role.processes);
        format!("{name} {} (idle {})", shown(role.cpu_percent), shown(role.idle_cpu_percent))
    };
    let roles: Vec<_> = costs.roles.iter().map(role).collect();
    let mut lines = vec![message, format!("CPU, % of one core: {}", roles.join(" · "))];
    if let Some(nodes) = report.role(super::costs::Role::Node) {
        let (median, most) = (mib(nodes.rss_bytes_median), mib(nodes.rss_bytes_max));
        lines.push(format!("memory of a node: {median:.1} MiB (median), {most:.1} MiB (largest)"));
    }
    if let (Some(busy), Some(stolen)) = (costs.machine_busy_percent, costs.machine_stolen_percent) {
        lines.push(format!("the machine was {busy:.0} % busy, and {stolen:.1} % of it was taken by others"));
    }
    lines
}

fn replicated(report: &Report) -> String {
    let good = report.swarms.iter().filter(|swarm| swarm.is_good()).count();
    let by_digest = report.swarms.iter().filter(|swarm| swarm.is_good() && swarm.read_back.is_none()).count();
    let how = match good - by_digest {
        0 => "the generator's digest".to_owned(),
        read => format!("{read} of them read back at every member, the others by the generator's digest"),
    };
    let text = format!(
        "all members alike {:.0} s after the last message in {good} of {} swarms, with what was stored ({how})",
        report.replicated_after_s,
        report.swarms.len()
    );
    if good == report.swarms.len() { text } else { format!("! {text}") }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;

    #[test]
    fn the_text_has_the_figures_that_people_ask_for() {
        let text = example().to_text();
        for part in [
            "1,500 of 1,500 messages stored",
            "50.0 a second (50 asked for)",
            "187 of 187 shown to followers",
            "stored (two receipts)",
            "1,000 of 1,000 messages after 0.90 s",
            "10,000 idle clients in 4 processes: all with a path after 60 s, 10,000 at the end; 3 paths were lost",
            "11.5 ms of CPU",
            "58.6 KiB on links",
            "22.0 MiB (median)",
            "in 1 of 1 swarms",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_went_wrong_is_marked() {
        let mut report = example();
        report.load.failures.insert("no path".to_owned(), 3);
        report.swarms[0].alike = false;
        let text = report.to_text();
        assert!(text.contains("! 3 × no path") && text.contains("! all members alike"), "{text}");
    }
}
