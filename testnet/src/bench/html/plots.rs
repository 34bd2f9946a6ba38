//! The pictures of a report.

use super::super::costs::RoleCosts;
use super::super::figures::{grouped, shown};
use super::super::latency::Latency;
use super::super::report::{Report, Second};
use super::plot::{Axis, Bar, Bars, Lines, Series};

/// Percentiles that are marked: each is a nine further.
const NINES: [&str; 7] = ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];

/// Every latency, over percentiles.
pub(super) fn latency(report: &Report) -> String {
    let measured: Vec<(&str, &Latency)> =
        report.latency.named().into_iter().filter(|(_, latency)| !latency.is_empty()).collect();
    let least = measured.iter().map(|(_, latency)| latency.min_ms).fold(f64::INFINITY, f64::min);
    let most = measured.iter().map(|(_, latency)| latency.max_ms).fold(0.0, f64::max);
    let furthest = measured.iter().map(|(_, latency)| nines_of(latency.count)).fold(1.0, f64::max);
    let marks = NINES.iter().zip(0_u32..).take_while(|(_, nines)| f64::from(*nines) < furthest + 1.0);
    let summary: Vec<String> = measured
        .iter()
        .map(|(name, latency)| format!("{name}: median {} ms, p99 {} ms", shown(latency.p50_ms), shown(latency.p99_ms)))
        .collect();
    let lines = Lines {
        id: "latency",
        title: "Latency by percentile: how many of a hundred, a thousand, … were no longer",
        summary: summary.join("; "),
        x: Axis::marked("percentile", marks.map(|(text, nines)| (f64::from(nines), (*text).to_owned())).collect()),
        y: Axis::log("milliseconds", if least.is_finite() { least } else { 1.0 }, most),
        series: measured.into_iter().map(|(name, latency)| curve(name, latency)).collect(),
    };
    lines.figure()
}

/// The curve of one latency, the longest at the place of its last measurement.
fn curve(name: &str, latency: &Latency) -> Series {
    let end = nines_of(latency.count);
    let place = |percent: f64| (-(1.0 - percent / 100.0).max(1e-12).log10()).clamp(0.0, end);
    let points = latency.curve.iter().map(|(percent, ms)| (place(*percent), *ms)).collect();
    Series { name: name.to_owned(), points }
}

/// How many nines so many measurements can tell.
fn nines_of(count: u64) -> f64 {
    (count.max(1) as f64).log10()
}

/// Messages a second.
pub(super) fn throughput(report: &Report) -> String {
    let most = report.seconds.iter().map(|second| second.due.max(second.stored)).max().unwrap_or_default();
    let (load, of) = (&report.load, |value: fn(&Second) -> f64| over_seconds(report, value));
    let lines = Lines {
        id: "throughput",
        title: "Messages in each second",
        summary: format!(
            "{} messages were due and {} stored, {} a second",
            grouped(load.due),
            grouped(load.stored),
            shown(load.stored_per_s)
        ),
        x: seconds_axis(report),
        y: Axis::from_zero("messages", most as f64 * 1.1),
        series: vec![
            Series { name: "stored".to_owned(), points: of(|second| second.stored as f64) },
            Series { name: "due".to_owned(), points: of(|second| second.due as f64) },
        ],
    };
    lines.figure()
}

/// Latency to *stored* by the second in which messages were due.
pub(super) fn over_time(report: &Report) -> String {
    let with_figures = || report.seconds.iter().filter(|second| second.p50_ms > 0.0);
    let least = with_figures().map(|second| second.p50_ms).fold(f64::INFINITY, f64::min);
    let most = with_figures().map(|second| second.p99_ms).fold(0.0, f64::max);
    let of = |value: fn(&Second) -> f64| {
        with_figures().map(|second| (second.second as f64, value(second))).collect::<Vec<_>>()
    };
    let lines = Lines {
        id: "over-time",
        title: "Latency to stored, by the second in which a message was due",
        summary: format!("the longest p99 of a second is {} ms", shown(most)),
        x: seconds_axis(report),
        y: Axis::log("milliseconds", if least.is_finite() { least } else { 1.0 }, most),
        series: vec![
            Series { name: "p50".to_owned(), points: of(|second| second.p50_ms) },
            Series { name: "p99".to_owned(), points: of(|second| second.p99_ms) },
        ],
    };
    lines.figure()
}

fn over_seconds(report: &Report, value: fn(&Second) -> f64) -> Vec<(f64, f64)> {
    report.seconds.iter().map(|second| (second.second as f64, value(second))).collect()
}

fn seconds_axis(report: &Report) -> Axis {
    Axis::from_zero("seconds since the start of the clock", report.seconds.len().saturating_sub(1) as f64)
}

/// Processor time by role.
pub(super) fn cpu(report: &Report) -> String {
    let bar = |role: &RoleCosts| {
        let name = role.role.name(role.processes);
        Bar {
            name: if role.processes > 1 { format!("{} {name}", role.processes) } else { name.to_owned() },
            value: role.cpu_percent,
            idle: role.idle_cpu_percent,
            text: format!("{} % ({} % idle)", shown(role.cpu_percent), shown(role.idle_cpu_percent)),
        }
    };
    let bars: Vec<Bar> = report.costs.roles.iter().map(bar).collect();
    let summary: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.text)).collect();
    let title = "Processor time in percent of one core: under load, and in grey without";
    Bars { id: "cpu", title, summary: summary.join("; "), bars }.figure()
}
