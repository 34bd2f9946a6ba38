//! What a stretch of time cost: processor time and memory of each process, bytes on links.
//!
//! All of a testnet's links are on the loopback device, whose counters are the kernel's for the whole machine. So a
//! stretch without load is measured first, and what it costs is taken off.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::latency::in_ms;
use crate::failure::{Exit, Failure};
use crate::procfs::{self, MachineTime};

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A service node.
    Node,
    /// The block producer.
    Producer,
    /// Whoever started the testnet.
    Launcher,
    /// This process: the clients that send, those that follow, the probes.
    Generator,
    /// Clients that only hold their paths.
    IdleClients,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Node, Self::Producer, Self::Launcher, Self::Generator, Self::IdleClients];

    /// For people, when there are `count`.
    #[must_use]
    pub const fn name(self, count: usize) -> &'static str {
        match self {
            Self::Node if count == 1 => "node",
            Self::Node => "nodes",
            Self::Producer => "block producer",
            Self::Launcher => "launcher",
            Self::Generator => "generator",
            Self::IdleClients => "idle clients",
        }
    }
}

/// A process that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// Its name.
    pub(super) name: String,
    /// What it is for.
    pub(super) role: Role,
    /// Its process id.
    pub(super) pid: u32,
}

/// All counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    at: Instant,
    /// Processor time and resident memory, in the order of the processes.
    processes: Vec<(Duration, u64)>,
    loopback: Option<u64>,
    machine: Option<MachineTime>,
}

/// Reads all counters.
///
/// # Errors
/// [`Exit::Failed`] when a process has ended: the bench is worth nothing then.
pub(super) fn sample(watched: &[Watched]) -> Result<Sample, Failure> {
    let of = |process: &Watched| {
        let counters = procfs::processor_time(process.pid).zip(procfs::resident_bytes(process.pid));
        counters.ok_or_else(|| {
            let hint = format!("sotto-testnet logs {}    # why", process.name.trim_start_matches("node"));
            Failure::new(Exit::Failed, format!("{} ended during the bench", process.name)).hint(hint)
        })
    };
    Ok(Sample {
        at: Instant::now(),
        processes: watched.iter().map(of).collect::<Result<_, _>>()?,
        loopback: procfs::loopback_bytes(),
        machine: MachineTime::now(),
    })
}

/// What the processes of one role cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleCosts {
    /// Which.
    pub role: Role,
    /// How many there are.
    pub processes: usize,
    /// Processor time of all of them under load, in percent of one core.
    pub cpu_percent: f64,
    /// The same in the stretch without load.
    pub idle_cpu_percent: f64,
    /// The same of the median process under load.
    pub cpu_percent_median: f64,
    /// The same of the busiest process under load.
    pub cpu_percent_max: f64,
    /// Resident memory of all of them at the end of the load.
    pub rss_bytes: u64,
    /// Resident memory of the median process then.
    pub rss_bytes_median: u64,
    /// Resident memory of the largest process then.
    pub rss_bytes_max: u64,
}

/// What one process cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessCosts {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Processor time under load, in percent of one core.
    pub cpu_percent: f64,
    /// The same in the stretch without load.
    pub idle_cpu_percent: f64,
    /// Resident memory before the load.
    pub rss_bytes_before: u64,
    /// Resident memory at the end of the load.
    pub rss_bytes: u64,
}

/// Bytes that went over the loopback device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkCosts {
    /// Under load, whoever's they are.
    pub bytes: u64,
    /// In the stretch without load, in a second.
    pub idle_bytes_per_s: f64,
    /// For each message that was stored: what was more than without load.
    pub bytes_per_message: f64,
}

/// What the load cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// How long it was measured under load, until a moment after the last message.
    pub window_s: f64,
    /// How long it was measured without load.
    pub idle_window_s: f64,
    /// Processor time of nodes, producer and launcher for each stored message: what was more than without load.
    pub cpu_ms_per_message: f64,
    /// The same of this process, whose clients stand for devices elsewhere.
    pub generator_cpu_ms_per_message: f64,
    /// How busy the machine was under load, in percent of all its cores.
    pub machine_busy_percent: Option<f64>,
    /// How much of all its cores other virtual machines took then.
    pub machine_stolen_percent: Option<f64>,
    /// Bytes on links, if the kernel counts them.
    pub links: Option<LinkCosts>,
    /// By role.
    pub roles: Vec<RoleCosts>,
    /// By process.
    pub processes: Vec<ProcessCosts>,
}

/// A stretch of time between two samples.
pub(super) struct Stretch<'a>(pub(super) &'a Sample, pub(super) &'a Sample);

impl Stretch<'_> {
    fn length(&self) -> Duration {
        self.1.at.duration_since(self.0.at)
    }

    /// Processor time of the process at `place`, in percent of one core.
    fn cpu_percent(&self, place: usize) -> f64 {
        let at = |sample: &Sample| sample.processes.get(place).map_or(Duration::ZERO, |(cpu, _)| *cpu);
        ratio(100.0 * at(self.1).saturating_sub(at(self.0)).as_secs_f64(), self.length().as_secs_f64())
    }

    fn loopback(&self) -> Option<u64> {
        Some(self.1.loopback?.saturating_sub(self.0.loopback?))
    }

    /// In percent of the machine: busy, and stolen by others.
    fn machine(&self) -> Option<(f64, f64)> {
        self.1.machine?.since(&self.0.machine?)
    }
}

/// What `load` cost beyond what `idle` did, for `messages` stored messages.
pub(super) fn costs(watched: &[Watched], idle: &Stretch<'_>, load: &Stretch<'_>, messages: u64) -> Costs {
    let of = |(place, process): (usize, &Watched)| {
        let rss = |sample: &Sample| sample.processes.get(place).map_or(0, |(_, rss)| *rss);
        ProcessCosts {
            name: process.name.clone(),
            role: process.role,
            cpu_percent: load.cpu_percent(place),
            idle_cpu_percent: idle.cpu_percent(place),
            rss_bytes_before: rss(load.0),
            rss_bytes: rss(load.1),
        }
    };
    let processes: Vec<ProcessCosts> = watched.iter().enumerate().map(of).collect();
    let (window, messages) = (load.length(), messages as f64);
    let per_message = |is_counted: fn(Role) -> bool| {
        let counted = processes.iter().filter(|process| is_counted(process.role));
        let percent: f64 = counted.map(|process| process.cpu_percent - process.idle_cpu_percent).sum();
        ratio(percent.max(0.0) / 100.0 * in_ms(window), messages)
    };
    let idle_bytes = idle.loopback().map(|bytes| ratio(bytes as f64, idle.length().as_secs_f64()));
    let links = load.loopback().zip(idle_bytes).map(|(bytes, idle_bytes_per_s)| {
        let more = (bytes as f64 - idle_bytes_per_s * window.as_secs_f64()).max(0.0);
        LinkCosts { bytes, idle_bytes_per_s, bytes_per_message: ratio(more, messages) }
    });
    let machine = load.machine();
    Costs {
        window_s: window.as_secs_f64(),
        idle_window_s: idle.length().as_secs_f64(),
        cpu_ms_per_message: per_message(|role| !matches!(role, Role::Generator | Role::IdleClients)),
        generator_cpu_ms_per_message: per_message(|role| role == Role::Generator),
        machine_busy_percent: machine.map(|(busy, _)| busy),
        machine_stolen_percent: machine.map(|(_, stolen)| stolen),
        links,
        roles: Role::ALL.into_iter().filter_map(|role| role_costs(role, &processes)).collect(),
        processes,
    }
}

fn role_costs(role: Role, processes: &[ProcessCosts]) -> Option<RoleCosts> {
    let of_role: Vec<&ProcessCosts> = processes.iter().filter(|process| process.role == role).collect();
    let mut cpu: Vec<f64> = of_role.iter().map(|process| process.cpu_percent).collect();
    let mut rss: Vec<u64> = of_role.iter().map(|process| process.rss_bytes).collect();
    cpu.sort_by(f64::total_cmp);
    rss.sort_unstable();
    Some(RoleCosts {
        role,
        processes: of_role.len(),
        cpu_percent: cpu.iter().sum(),
        idle_cpu_percent: of_role.iter().map(|process| process.idle_cpu_percent).sum(),
        cpu_percent_median: *cpu.get(cpu.len() / 2)?,
        cpu_percent_max: *cpu.last()?,
        rss_bytes: rss.iter().sum(),
        rss_bytes_median: *rss.get(rss.len() / 2)?,
        rss_bytes_max: *rss.last()?,
    })
}

/// 0 where there is nothing to divide by.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64, cpu_ms: &[u64], loopback: u64, machine: MachineTime) -> Sample {
        let processes = cpu_ms.iter().map(|ms| (Duration::from_millis(*ms), 1 << 20)).collect();
        let (loopback, machine) = (Some(loopback), Some(machine));
        Sample { at: start + Duration::from_secs(seconds), processes, loopback, machine }
    }

    fn watched() -> Vec<Watched> {
        let of = |(name, role): (&str, Role)| Watched { name: name.to_owned(), role, pid: 0 };
        [("node00", Role::Node), ("node01", Role::Node), ("bench", Role::Generator)].map(of).to_vec()
    }

    #[test]
    fn what_the_idle_network_costs_is_taken_off() {
        let start = Instant::now();
        let ticks = |all, idle, stolen| MachineTime { all, idle, stolen };
        let samples = [
            at(start, 0, &[0, 0, 0], 0, ticks(0, 0, 0)),
            at(start, 10, &[100, 100, 0], 10_000, ticks(2000, 1900, 0)),
            at(start, 10, &[100, 100, 0], 10_000, ticks(2000, 1900, 0)),
            at(start, 30, &[1300, 3300, 2000], 110_000, ticks(6000, 2900, 1000)),
        ];
        let costs = costs(&watched(), &Stretch(&samples[0], &samples[1]), &Stretch(&samples[2], &samples[3]), 1000);
        // 4,400 ms of the nodes, of which 20 s × 2 % are idle.
        assert!((costs.cpu_ms_per_message - 4.0).abs() < 1e-6, "{costs:?}");
        assert!((costs.generator_cpu_ms_per_message - 2.0).abs() < 1e-6, "{costs:?}");
        let links = costs.links.as_ref().unwrap();
        assert!((links.bytes_per_message - 80.0).abs() < 1e-6, "{links:?}");
        assert_eq!(costs.machine_stolen_percent, Some(25.0));
        assert_eq!(costs.machine_busy_percent, Some(50.0));
        let nodes = &costs.roles[0];
        assert_eq!((nodes.role, nodes.processes), (Role::Node, 2));
        assert!((nodes.cpu_percent - 22.0).abs() < 1e-6, "{nodes:?}");
        assert!((nodes.cpu_percent_max - 16.0).abs() < 1e-6, "{nodes:?}");
    }

    #[test]
    fn no_message_and_no_time_give_zero_and_not_infinity() {
        let start = Instant::now();
        let one = at(start, 0, &[0, 0, 0], 0, MachineTime::default());
        let costs = costs(&watched(), &Stretch(&one, &one), &Stretch(&one, &one), 0);
        assert_eq!(costs.cpu_ms_per_message, 0.0);
        assert_eq!(costs.links.unwrap().bytes_per_message, 0.0);
    }

    #[test]
    fn a_process_that_ended_is_named() {
        let gone = Watched { name: "node07".to_owned(), role: Role::Node, pid: u32::MAX };
        let failure = sample(&[gone]).unwrap_err();
        assert!(failure.message.contains("node07"), "{failure}");
        assert_eq!(failure.hint.as_deref(), Some("sotto-testnet logs 07    # why"));
    }
}
