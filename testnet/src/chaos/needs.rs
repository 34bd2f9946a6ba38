//! What faults need of the machine that is not everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cuts::Cuts;
use super::fault::Fault;
use super::groups::Groups;
use super::links::Links;
use super::scenario::Scenario;
use super::{mounts, rates, straces};
use crate::binaries::Binaries;
use crate::failure::{Exit, Failure};
use crate::guise;
use crate::plan::{Plan, Settings};

/// What a fault needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Root and `nft`.
    PacketFilter,
    /// Root and `tc`.
    TrafficControl,
    /// Root that may mount file systems.
    Mounts,
    /// Root and `strace`.
    Strace,
    /// Root and control groups.
    Groups,
    /// `libfaketime`.
    FakeTime,
    /// The program that misbehaves.
    Misbehaving,
}

impl Need {
    /// Whether it is there. What the kernel has to do is tried where it is nobody's.
    pub async fn is_met(self) -> bool {
        let Some(plan) = nowhere() else { return false };
        match self {
            Self::PacketFilter => Cuts::are_possible(&plan).await && Links::can_be_lossy(&plan).await,
            Self::TrafficControl => rates::are_possible(&plan).await,
            Self::Mounts => mounts::are_possible(),
            Self::Strace => straces::are_possible().await,
            Self::Groups => Groups::are_possible(),
            Self::FakeTime => guise::fake_time().is_some(),
            Self::Misbehaving => Binaries::locate().is_ok_and(|binaries| binaries.can_misbehave()),
        }
    }

    /// For a test that cannot be run without: counts it as skipped, in the file that `SOTTO_SKIPPED` names if there is
    /// one (see `testnet/test.sh`). In continuous integration, where `CI` is set, nothing is skipped.
    #[cfg(test)]
    #[track_caller]
    pub(super) fn skip(self) {
        let caller = std::panic::Location::caller();
        let line = format!("{}:{} needs {self} ({})", caller.file(), caller.line(), self.hint());
        let is_required = std::env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"));
        assert!(!is_required, "skipped although CI is set: {line}");
        println!("skipped: {line}");
        if let Some(path) = std::env::var_os("SOTTO_SKIPPED") {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
        }
    }

    /// How it comes to be there.
    const fn hint(self) -> &'static str {
        match self {
            Self::PacketFilter => "as root: apt-get install nftables",
            Self::TrafficControl => "as root, on a kernel that has HTB (modprobe sch_htb): apt-get install iproute2",
            Self::Mounts => "as root, outside of containers",
            Self::Strace => "as root that may trace processes: apt-get install strace",
            Self::Groups => "as root, outside of containers",
            Self::FakeTime => "apt-get install faketime",
            Self::Misbehaving => "cargo build --release --bins",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PacketFilter => "root and nft",
            Self::TrafficControl => "root and tc",
            Self::Mounts => "root that may mount",
            Self::Strace => "root and strace",
            Self::Groups => "root and control groups",
            Self::FakeTime => "libfaketime",
            Self::Misbehaving => "sotto-misbehaving",
        })
    }
}

/// A testnet that is never made, to try things with its addresses.
fn nowhere() -> Option<Plan> {
    let settings = Settings::new("probe", 0, 20, Duration::from_secs(1), 27_000).ok()?;
    Some(Plan::new(settings, PathBuf::new()))
}

/// What is known of this machine: each need is looked at once, because that starts processes.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<Need, bool>);

impl Known {
    /// The first thing that a scenario needs and that is not here.
    pub async fn missing(&mut self, scenario: &Scenario) -> Option<Need> {
        let needs: BTreeSet<Need> = scenario.kinds().filter_map(Fault::needs).collect();
        for need in needs {
            if !self.is_met(need).await {
                return Some(need);
            }
        }
        None
    }

    /// Whether a scenario can be played here.
    ///
    /// # Errors
    /// [`Failure`] with what it needs.
    pub async fn check_possible(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        self.missing(scenario).await.map_or(Ok(()), |need| Err(refused(&scenario.name, need)))
    }

    async fn is_met(&mut self, need: Need) -> bool {
        if let Some(is_met) = self.0.get(&need) {
            return *is_met;
        }
        let is_met = need.is_met().await;
        self.0.insert(need, is_met);
        is_met
    }
}

/// Whether a fault can be done here.
///
/// # Errors
/// [`Failure`] with what it needs.
pub async fn check_possible(fault: Fault) -> Result<(), Failure> {
    match fault.needs() {
        Some(need) if !need.is_met().await => Err(refused(&format!("\"{fault}\""), need)),
        _ => Ok(()),
    }
}

/// That `who` cannot be done here.
fn refused(who: &str, need: Need) -> Failure {
    Failure::new(Exit::Failed, format!("{who} needs {need}")).hint(need.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_known_of_the_machine_decides_and_is_not_looked_at_again() {
        let scenario =
            Scenario::built_in().unwrap().into_iter().find(|one| one.kinds().any(|kind| kind == Fault::Slow));
        let scenario = scenario.unwrap();
        let all = |is_met| Known(scenario.kinds().filter_map(Fault::needs).map(|need| (need, is_met)).collect());
        assert_eq!(all(true).missing(&scenario).await, None);
        assert_eq!(all(true).check_possible(&scenario).await, Ok(()));
        // Both cannot be true of one machine.
        let first = scenario.kinds().filter_map(Fault::needs).min();
        assert_eq!(all(false).missing(&scenario).await, first);
        let failure = all(false).check_possible(&scenario).await.unwrap_err();
        assert!(failure.message.contains(" needs ") && failure.hint.is_some(), "{failure:?}");
        let mut known = Known::default();
        let is_met = known.is_met(Need::FakeTime).await;
        assert_eq!(known.0, [(Need::FakeTime, is_met)].into());
    }
}
