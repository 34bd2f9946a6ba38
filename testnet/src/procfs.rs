//! Memory and processor time of other processes, as the kernel tells them.

use std::fs;
use std::time::Duration;

/// Ticks a second in `/proc/PID/stat`: fixed by the kernel's interface on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory of a process in bytes; `None` when it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    parse_kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// Processor time a process has used, user and system, all threads; `None` when it is gone.
#[must_use]
pub fn processor_time(pid: u32) -> Option<Duration> {
    parse_processor_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Bytes that went over the loopback device since the machine started, whoever's they are; `None` where the kernel does
/// not count them.
#[must_use]
pub fn loopback_bytes() -> Option<u64> {
    fs::read_to_string("/sys/class/net/lo/statistics/rx_bytes").ok()?.trim().parse().ok()
}

/// Memory that programs can still have without swapping, in bytes; `None` where the kernel does not tell.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    parse_kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Whether a process with this pid exists and is not a zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| after_name(&stat).is_some_and(|rest| !rest.starts_with('Z')))
}

/// Whether a process with this pid may still have files and ports: it is no zombie, or has threads that are not gone.
#[must_use]
pub fn holds_files(pid: u32) -> bool {
    is_alive(pid) || fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

/// Processor time of the whole machine, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineTime {
    /// All there was.
    pub all: u64,
    /// What nobody used.
    pub idle: u64,
    /// What other machines of the same host took.
    pub stolen: u64,
}

impl MachineTime {
    /// Until now; `None` where the kernel does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, waiting for a disk, interrupts, soft interrupts, taken by other machines.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
        let [.., idle, waiting, _, _, stolen] = ticks.as_slice() else { return None };
        Some(Self { all: ticks.iter().sum(), idle: idle + waiting, stolen: *stolen })
    }

    /// Since `before`, in percent of the machine: busy with its own, and stolen by others.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(before.all)?.max(1) as f64;
        let part = |ticks: u64| 100.0 * ticks as f64 / all;
        let stolen = part(self.stolen.saturating_sub(before.stolen));
        Some((100.0 - part(self.idle.saturating_sub(before.idle)) - stolen, stolen))
    }
}

/// Reads a line such as `VmRSS:      2048 kB`; returns bytes.
fn parse_kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn parse_processor_time(stat: &str) -> Option<Duration> {
    // Fields 14 and 15 of the line; the state after the name is field 3.
    let mut fields = after_name(stat)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// What follows the program's name, which may itself contain blanks and parentheses.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(parse_processor_time(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn our_own_memory_and_time_are_readable() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(processor_time(pid).is_some());
        assert!(available_bytes().unwrap() > 1 << 20);
        assert_eq!(parse_kilobytes("MemFree: 7 kB\nMemAvailable:  2048 kB\n", "MemAvailable:"), Some(2 << 20));
        assert!(is_alive(pid) && holds_files(pid));
    }

    #[test]
    fn a_process_that_is_gone_has_no_figures() {
        assert_eq!(resident_bytes(u32::MAX), None);
        assert!(!is_alive(u32::MAX) && !holds_files(u32::MAX));
    }

    #[test]
    fn the_machine_s_time_is_read_from_its_first_line() {
        let stat = "cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(MachineTime::parse(stat), Some(MachineTime { all: 531, idle: 450, stolen: 8 }));
        assert_eq!(MachineTime::parse("nothing"), None);
        assert_eq!(MachineTime::parse("cpu 1 2"), None);
        let before = MachineTime { all: 331, idle: 350, stolen: 8 };
        assert_eq!(MachineTime::parse(stat).unwrap().since(&before), Some((50.0, 0.0)));
    }
}
