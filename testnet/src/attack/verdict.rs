//! What honest users may feel of an attack, and what it may cost its victim.

use super::Attack;
use super::honest::{Felt, Measured, Stretch};
use super::nobody::CONTROL;
use super::victim::Process;

/// Honest latencies may become so many times as long.
const TIMES: f64 = 2.0;
/// A latency that short is good, whatever it was before: on a machine with few cores one turn of the scheduler is as long.
const GOOD_MS: f64 = 50.0;
/// How long a client that comes new may wait for its first path.
const NEW_PATH_MS: f64 = 2000.0;
/// So much more memory may be held.
const MEMORY: u64 = 32 << 20;
/// So much may be written into logs in a minute.
const LOG: u64 = 1 << 20;

/// What an attack missed of the goals; nothing when all hold.
pub(super) fn missed(attack: &Attack, felt: &[Felt], process: &Process, deaths: &[String]) -> Vec<String> {
    let mut missed: Vec<String> = deaths.iter().map(|who| format!("{who} died")).collect();
    if attack.name == CONTROL.name {
        // What is felt of no attack is what the others are compared with, and no goal.
        return missed;
    }
    missed.extend(felt.iter().filter_map(too_long));
    missed.extend(felt.iter().filter_map(failed));
    let [before, peak, _] = process.rss_bytes;
    let more = peak.saturating_sub(before);
    if more > MEMORY {
        missed.push(format!("{} MiB more memory", more >> 20));
    }
    if process.log_bytes_per_minute > LOG {
        missed.push(format!("{} KiB a minute in logs", process.log_bytes_per_minute >> 10));
    }
    missed
}

fn too_long(felt: &Felt) -> Option<String> {
    let limit = match felt.measured {
        Measured::NewPath => NEW_PATH_MS,
        Measured::Stored | Measured::Echo => (TIMES * felt.before.p99_ms).max(GOOD_MS),
        Measured::ThroughVictim => return None,
    };
    let p99 = felt.during.p99_ms;
    (p99 > limit).then(|| format!("{} p99 {p99:.0} ms, at most {limit:.0}", felt.name()))
}

/// What failed without the attack as well is not its doing. Whoever comes new may go through another guard.
fn failed(felt: &Felt) -> Option<String> {
    let part = |stretch: &Stretch| stretch.failed as f64 / (stretch.failed + stretch.count).max(1) as f64;
    let worse = felt.measured != Measured::ThroughVictim && part(&felt.during) > part(&felt.before);
    worse.then(|| format!("{} failed {} times", felt.name(), felt.during.failed))
}

#[cfg(test)]
mod tests {
    use super::super::attacks;
    use super::super::honest::Group;
    use super::*;

    fn felt(measured: Measured, before: f64, during: f64) -> Felt {
        let stretch = |p99_ms| Stretch { count: 100, failed: 0, p50_ms: 1.0, p99_ms };
        Felt { group: Group::Guard, measured, before: stretch(before), during: stretch(during), after: stretch(1.0) }
    }

    /// Any but the control.
    fn attack() -> &'static Attack {
        attacks().find(|attack| attack.name != CONTROL.name).unwrap()
    }

    fn well() -> Process {
        Process {
            rss_bytes: [50 << 20, 60 << 20, 55 << 20],
            log_bytes_per_minute: 1000,
            same: true,
            ..Default::default()
        }
    }

    #[test]
    fn an_attack_that_nobody_feels_misses_nothing() {
        let mut elsewhere = felt(Measured::ThroughVictim, 1.0, 5000.0);
        elsewhere.during.failed = 9;
        let felt = [felt(Measured::Stored, 60.0, 110.0), felt(Measured::Echo, 5.0, 49.0), elsewhere];
        assert_eq!(missed(attack(), &felt, &well(), &[]), Vec::<String>::new());
    }

    #[test]
    fn each_goal_is_missed_with_its_figure() {
        let mut failing = felt(Measured::Echo, 1.0, 1.0);
        failing.during.failed = 3;
        let felt = [felt(Measured::Stored, 60.0, 130.0), felt(Measured::NewPath, 1.0, 2100.0), failing];
        let process = Process { rss_bytes: [50 << 20, 90 << 20, 0], log_bytes_per_minute: 2 << 20, ..well() };
        let missed = missed(attack(), &felt, &process, &["node07".to_owned()]);
        assert_eq!(
            missed,
            [
                "node07 died",
                "guard stored p99 130 ms, at most 120",
                "guard new path p99 2100 ms, at most 2000",
                "guard echo failed 3 times",
                "40 MiB more memory",
                "2048 KiB a minute in logs",
            ]
        );
    }

    #[test]
    fn what_failed_before_as_well_is_not_the_attack_s_doing() {
        let mut failing = felt(Measured::Echo, 1.0, 1.0);
        (failing.before.failed, failing.during.failed) = (3, 3);
        assert_eq!(missed(attack(), &[failing], &well(), &[]), Vec::<String>::new());
    }

    #[test]
    fn no_attack_misses_nothing_unless_somebody_died() {
        let mut failing = felt(Measured::Echo, 1.0, 1.0);
        failing.during.failed = 3;
        let felt = [felt(Measured::Stored, 60.0, 1300.0), failing];
        let process = Process { rss_bytes: [50 << 20, 90 << 20, 0], ..well() };
        assert_eq!(missed(attack(), &felt, &process, &[]).len(), 3);
        assert_eq!(missed(&CONTROL, &felt, &process, &[]), Vec::<String>::new());
        assert_eq!(missed(&CONTROL, &felt, &process, &["node07".to_owned()]), ["node07 died"]);
    }
}
