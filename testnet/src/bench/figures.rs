//! The figures of a report under names: what is printed, shown on the page and compared.

use super::costs::{Role, ratio};
use super::report::Report;

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) better: Better,
}

/// All figures that another run can be compared by. What was not measured is left out.
pub(crate) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name: String, unit, value, better| figures.push(Figure { name, unit, value, better });
    let load = &report.load;
    add("stored messages".to_owned(), "/s", load.stored_per_s, Better::Higher);
    add("stored, of those due".to_owned(), "%", percent(load.stored, load.due), Better::Higher);
    if load.to_followers > 0 {
        add("shown, of those stored".to_owned(), "%", percent(load.delivered, load.to_followers), Better::Higher);
    }
    for (name, latency) in report.latency.named().into_iter().filter(|(_, latency)| !latency.is_empty()) {
        add(format!("{name}, p50"), "ms", latency.p50_ms, Better::Lower);
        add(format!("{name}, p99"), "ms", latency.p99_ms, Better::Lower);
    }
    if let Some(caught) = &report.catch_up {
        add(format!("catching up {} messages", caught.messages), "ms", caught.took_ms, Better::Lower);
    }
    add("all members alike after".to_owned(), "s", report.replicated_after_s, Better::Lower);
    let costs = &report.costs;
    add("CPU of the network a message".to_owned(), "ms", costs.cpu_ms_per_message, Better::Lower);
    add("CPU of the generator a message".to_owned(), "ms", costs.generator_cpu_ms_per_message, Better::Lower);
    if let Some(links) = &costs.links {
        add("bytes on links a message".to_owned(), "KiB", links.bytes_per_message / 1024.0, Better::Lower);
    }
    for role in &costs.roles {
        let name = role.role.name(role.processes);
        add(format!("CPU of {name}"), "% of a core", role.cpu_percent, Better::Lower);
        add(format!("CPU of {name}, idle"), "% of a core", role.idle_cpu_percent, Better::Lower);
    }
    if let Some(nodes) = report.role(Role::Node) {
        add("memory of the median node".to_owned(), "MiB", mib(nodes.rss_bytes_median), Better::Lower);
        add("memory of the largest node".to_owned(), "MiB", mib(nodes.rss_bytes_max), Better::Lower);
    }
    figures
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * ratio(part as f64, whole as f64)
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A number with three digits or so, as people read it.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count with its thousands apart.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::latency::Latency;
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own_and_is_a_number() {
        let figures = figures(&example());
        let names: BTreeSet<_> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names.len(), figures.len());
        assert!(names.contains("stored (two receipts), p99"), "{names:?}");
        assert!(figures.iter().all(|figure| figure.value.is_finite()));
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let mut report = example();
        report.catch_up = None;
        report.latency.delivered = Latency::default();
        report.load.to_followers = 0;
        let figures = figures(&report);
        assert!(!figures.iter().any(|figure| figure.name.contains("follower") || figure.name.contains("catching")));
        assert!(!figures.iter().any(|figure| figure.name.starts_with("shown")));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["1234.4", "123.4", "12.34", "1.234"].map(|text| shown(text.parse().unwrap())),
            ["1234", "123", "12.3", "1.23"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
