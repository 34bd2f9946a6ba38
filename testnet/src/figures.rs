//! What a testnet costs: memory of its nodes, processor time of everything while nobody asks for anything.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::procfs;
use crate::progress::seconds;

/// How long the testnet is left alone before the measurement: registrations and meshes have settled by then.
pub const SETTLE: Duration = Duration::from_secs(5);
/// How long it is watched.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Version of this document.
    pub v: u8,
    /// Kind of this document.
    pub r#type: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// From start to ready.
    pub ready_ms: u64,
    /// Length of the idle window.
    pub window_ms: u64,
    /// Processor time of all processes in the window, in percent of one core.
    pub idle_cpu_percent: f64,
    /// The same of the block producer alone.
    pub producer_cpu_percent: f64,
    /// Smallest resident memory of a node in bytes.
    pub rss_min: u64,
    /// Median of the same.
    pub rss_median: u64,
    /// Largest of the same.
    pub rss_max: u64,
}

/// Watches the processes over [`WINDOW`] after [`SETTLE`]; `None` when one of them ends meanwhile.
pub async fn measure(producer: u32, nodes: &[u32], ready: Duration) -> Option<Figures> {
    tokio::time::sleep(SETTLE).await;
    let started = Instant::now();
    let before = sample(producer, nodes)?;
    tokio::time::sleep(WINDOW).await;
    let after = sample(producer, nodes)?;
    let window = started.elapsed();
    let mut resident: Vec<u64> = nodes.iter().map(|pid| procfs::resident_bytes(*pid)).collect::<Option<_>>()?;
    resident.sort_unstable();
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / window.as_secs_f64();
    Some(Figures {
        v: 1,
        r#type: "testnet.figures",
        nodes: nodes.len(),
        ready_ms: u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
        window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
        idle_cpu_percent: percent(after.all.saturating_sub(before.all)),
        producer_cpu_percent: percent(after.producer.saturating_sub(before.producer)),
        rss_min: resident.first().copied()?,
        rss_median: resident.get(resident.len() / 2).copied()?,
        rss_max: resident.last().copied()?,
    })
}

/// Processor time used so far.
struct Sample {
    all: Duration,
    producer: Duration,
}

/// The launcher itself counts too: it is part of what the machine has to bear.
fn sample(producer: u32, nodes: &[u32]) -> Option<Sample> {
    let producer = procfs::processor_time(producer)?;
    let launcher = procfs::processor_time(std::process::id())?;
    let nodes: Duration = nodes.iter().map(|pid| procfs::processor_time(*pid)).sum::<Option<_>>()?;
    Some(Sample { all: producer + launcher + nodes, producer })
}

impl Figures {
    /// The figures for people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "memory is shown in tenths of a MiB")]
    pub fn to_text(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        format!(
            " figures   ready after {}\n           idle CPU {:.1} % of one core for everything over {} (producer {:.1} %)\n           \
             memory {:.1} to {:.1} MiB a node (median {:.1})",
            seconds(Duration::from_millis(self.ready_ms)),
            self.idle_cpu_percent,
            seconds(Duration::from_millis(self.window_ms)),
            self.producer_cpu_percent,
            mib(self.rss_min),
            mib(self.rss_max),
            mib(self.rss_median),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_text_for_people_and_json_for_programs() {
        let figures = Figures {
            v: 1,
            r#type: "testnet.figures",
            nodes: 50,
            ready_ms: 7_940,
            window_ms: 10_000,
            idle_cpu_percent: 11.26,
            producer_cpu_percent: 0.9,
            rss_min: 20 << 20,
            rss_median: 21 << 20,
            rss_max: 23 << 20,
        };
        let text = figures.to_text();
        for part in ["ready after 7.9 s", "11.3 % of one core", "20.0 to 23.0 MiB"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(serde_json::to_value(&figures).unwrap()["type"], "testnet.figures");
    }

    #[test]
    fn a_process_that_ended_spoils_the_sample_instead_of_counting_as_zero() {
        assert!(sample(std::process::id(), &[std::process::id()]).is_some());
        assert!(sample(std::process::id(), &[u32::MAX]).is_none());
    }
}
