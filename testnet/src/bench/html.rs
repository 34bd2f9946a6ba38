//! A report as one page that needs nothing else: no script, no font, no network.

mod markup;
mod plot;
mod plots;

use self::markup::escaped;
pub(crate) use self::markup::table;
#[cfg(test)]
pub(crate) use self::markup::tests::assert_well_formed;
use super::costs::RoleCosts;
use super::digests::SwarmCheck;
use super::figures::{grouped, mib, shown};
use super::report::Report;

const STYLE: &str = include_str!("html/style.css");

impl Report {
    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = format!(
            "Sotto bench: {} messages a second on {} nodes, {}",
            self.options.rate, self.testnet.nodes, self.head.started
        );
        let sections = [
            ("Latency", plots::latency(self) + &latencies(self)),
            ("Second by second", plots::throughput(self) + &plots::over_time(self)),
            ("Processor and memory", plots::cpu(self) + &costs(self)),
            ("Replication", replication(self)),
            ("What was asked for, and how to read it", about(self)),
        ];
        page(&title, &self.head.origin(self.options.seed), &first_figures(self), &sections)
    }
}

/// A page: the figures that people look for first, as number and words, and sections of markup with their headings.
pub(crate) fn page(title: &str, origin: &str, first: &[(String, String)], sections: &[(&str, String)]) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    page.push_str(&format!("<p class=\"origin\">{}</p>\n", escaped(origin)));
    let tile = |(value, text): &(String, String)| {
        format!("<li><strong>{}</strong> <span>{}</span></li>\n", escaped(value), escaped(text))
    };
    page.push_str(&format!("<ul class=\"tiles\">\n{}</ul>\n", first.iter().map(tile).collect::<String>()));
    for (heading, content) in sections {
        page.push_str(&format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n"));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Remarks, one below the other.
pub(crate) fn remarks(notes: &[String]) -> String {
    let notes: String = notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
    format!("<ul>\n{notes}</ul>\n")
}

fn first_figures(report: &Report) -> Vec<(String, String)> {
    let (load, stored) = (&report.load, &report.latency.stored);
    let good = report.swarms.iter().filter(|swarm| swarm.is_good()).count();
    let mut figures = vec![
        (format!("{}/s", shown(load.stored_per_s)), format!("stored; {}/s asked for", report.options.rate)),
        (format!("{} ms", shown(stored.p99_ms)), format!("to stored, p99; median {} ms", shown(stored.p50_ms))),
        (grouped(load.failed), format!("of {} messages not stored", grouped(load.due))),
        (format!("{good}/{}", report.swarms.len()), "swarms whose members all hold what was stored".to_owned()),
        (format!("{} ms", shown(report.costs.cpu_ms_per_message)), "CPU of the network a message".to_owned()),
    ];
    if let Some(caught) = &report.catch_up {
        let text = format!("to catch up {} of {} messages", grouped(caught.received), grouped(caught.messages));
        figures.push((format!("{:.2} s", caught.took_ms / 1e3), text));
    }
    figures
}

fn latencies(report: &Report) -> String {
    let measured = report.latency.named().into_iter().filter(|(_, latency)| !latency.is_empty());
    let row = |(name, latency): (&str, &super::latency::Latency)| {
        let times = [latency.min_ms, latency.mean_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms];
        let mut row = vec![name.to_owned()];
        row.extend(times.map(shown));
        row.extend([shown(latency.max_ms), grouped(latency.count)]);
        row
    };
    let head = ["milliseconds", "shortest", "mean", "p50", "p90", "p99", "p99.9", "longest", "count"];
    table("Latencies in milliseconds", &head, measured.map(row))
}

fn costs(report: &Report) -> String {
    let costs = &report.costs;
    let row = |role: &RoleCosts| {
        vec![
            role.role.name(role.processes).to_owned(),
            role.processes.to_string(),
            shown(role.cpu_percent),
            shown(role.idle_cpu_percent),
            shown(role.cpu_percent_median),
            shown(role.cpu_percent_max),
            shown(mib(role.rss_bytes)),
            shown(mib(role.rss_bytes_median)),
            shown(mib(role.rss_bytes_max)),
        ]
    };
    let head = [
        "",
        "processes",
        "CPU %",
        "CPU %, idle",
        "CPU %, median",
        "CPU %, most",
        "MiB in all",
        "MiB, median",
        "MiB, most",
    ];
    let roles = table("Processor time in percent of one core, and memory, by role", &head, costs.roles.iter().map(row));
    let mut machine = vec![
        ("CPU of the network a message, ms", shown(costs.cpu_ms_per_message)),
        ("CPU of the generator a message, ms", shown(costs.generator_cpu_ms_per_message)),
    ];
    if let Some(links) = &costs.links {
        machine.push(("bytes on links a message, KiB", shown(links.bytes_per_message / 1024.0)));
        machine.push(("bytes on links without load, KiB/s", shown(links.idle_bytes_per_s / 1024.0)));
    }
    if let (Some(busy), Some(stolen)) = (costs.machine_busy_percent, costs.machine_stolen_percent) {
        machine.push(("the machine was busy, % of all cores", shown(busy)));
        machine.push(("taken by other machines, % of all cores", shown(stolen)));
    }
    let rows = machine.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    roles + &table("What a message costs", &["", ""], rows) + &processes(report)
}

fn processes(report: &Report) -> String {
    let row = |process: &super::costs::ProcessCosts| {
        vec![
            process.name.clone(),
            shown(process.cpu_percent),
            shown(process.idle_cpu_percent),
            shown(mib(process.rss_bytes_before)),
            shown(mib(process.rss_bytes)),
        ]
    };
    let head = ["process", "CPU %", "CPU %, idle", "MiB before", "MiB after"];
    let table = table("Each process", &head, report.costs.processes.iter().map(row));
    format!("<details>\n<summary>Each process</summary>\n{table}</details>\n")
}

fn replication(report: &Report) -> String {
    let row = |swarm: &SwarmCheck| {
        let read = match &swarm.read_back {
            Some(read) => {
                format!(
                    "{} members: {} missing, {} strange, {} silent",
                    read.members, read.missing, read.strange, read.silent
                )
            }
            None => "not needed".to_owned(),
        };
        let equal = match (swarm.comparable, swarm.equal) {
            (false, _) => "not comparable",
            (true, true) => "equal",
            (true, false) => "DIFFERENT",
        };
        vec![
            swarm.swarm.clone(),
            swarm.members.to_string(),
            if swarm.alike { "alike" } else { "DIFFERENT" }.to_owned(),
            grouped(swarm.items),
            grouped(swarm.stored),
            swarm.digest.clone(),
            equal.to_owned(),
            read,
        ]
    };
    let head =
        ["swarm", "members", "among themselves", "records", "stored now", "digest", "generator's digest", "read back"];
    let table = table("What the members of each swarm hold afterwards", &head, report.swarms.iter().map(row));
    let text = format!("All members said the same {} s after the last message.", shown(report.replicated_after_s));
    format!("<p>{}</p>\n{table}", escaped(&text))
}

fn about(report: &Report) -> String {
    let (options, load, testnet) = (&report.options, &report.load, &report.testnet);
    let rows = [
        ("clients that send", options.clients.to_string()),
        ("messages a second", options.rate.to_string()),
        ("seconds", options.seconds.to_string()),
        ("seconds of warm-up", options.warm_up.to_string()),
        ("bytes of a text", options.size.to_string()),
        ("recipients", options.recipients.to_string()),
        ("of them followers", options.followers.to_string()),
        ("idle clients with a path", options.idle_clients.to_string()),
        ("seed", options.seed.to_string()),
        (
            "testnet",
            format!("{}, seed {}, {} nodes, {} swarms", testnet.name, testnet.seed, testnet.nodes, testnet.swarms),
        ),
        ("milliseconds between blocks", testnet.block_time_ms.to_string()),
        (
            "work before the clock started",
            format!("{} messages in {} s", grouped(report.work.messages), shown(report.work.took_s)),
        ),
        ("with a third receipt", grouped(load.third)),
        ("stored for followers, and shown", format!("{}, {}", grouped(load.to_followers), grouped(load.delivered))),
        ("shown more than once", grouped(load.delivered_twice)),
        ("probes without an answer under load", grouped(load.probes_failed)),
    ];
    let failures = load.failures.iter().map(|(reason, count)| (reason.as_str(), grouped(*count)));
    let rows = rows.into_iter().chain(failures).map(|(name, value)| vec![name.to_owned(), value]);
    table("Options and counts", &["", ""], rows) + &remarks(&report.notes)
}

#[cfg(test)]
mod tests {
    use super::super::latency::Latency;
    use super::super::report::tests::example;
    use super::markup::tests::assert_well_formed;

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let page = example().to_html();
        assert_well_formed(&page);
        for part in ["<script", "http://", "https://", "src=", "url(", "@import"] {
            // The namespace of SVG is a name, and inline SVG does not need it.
            assert!(!page.contains(part), "{part}");
        }
        for part in
            ["<title>", "lang=\"en\"", "role=\"img\"", "<caption>", "prefers-color-scheme: dark", "<h2>Latency</h2>"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn whatever_is_in_the_report_is_text_on_the_page() {
        let mut report = example();
        let evil = "</title><b onload=\"x\">&'";
        report.head.commit = Some(evil.to_owned());
        report.testnet.name = evil.to_owned();
        report.head.started = evil.to_owned();
        report.notes.push(evil.to_owned());
        report.load.failures.insert(evil.to_owned(), 1);
        report.swarms[0].swarm = evil.to_owned();
        report.costs.processes[0].name = evil.to_owned();
        let page = report.to_html();
        assert_well_formed(&page);
        assert!(!page.contains("<b "), "{page}");
        assert!(page.contains("Some &lt;CPU&gt; &amp; more"));
    }

    #[test]
    fn a_run_in_which_nothing_was_stored_has_a_page_too() {
        let mut report = example();
        report.latency.stored = Latency::default();
        report.latency.third = Latency::default();
        report.latency.delivered = Latency::default();
        report.seconds.clear();
        report.swarms.clear();
        report.costs.roles.clear();
        report.costs.processes.clear();
        report.catch_up = None;
        let page = report.to_html();
        assert_well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
