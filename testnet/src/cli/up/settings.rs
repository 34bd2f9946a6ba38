//! What a testnet is made from: options, unless it is there already.

use std::time::Duration;

use super::Arguments;
use crate::cli::location::{Location, shown};
use crate::failure::{Exit, Failure};
use crate::files;
use crate::plan::{Plan, Settings};
use crate::ports;

/// Where ports begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortBase {
    Auto,
    At(u16),
}

impl std::str::FromStr for PortBase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::At).map_err(|_| format!("{number:?}: want a port or \"auto\"")),
        }
    }
}

/// The plan of the testnet in the directory, else a new one; options that contradict what is there are refused.
pub(super) fn plan(location: &Location, arguments: &Arguments) -> Result<Plan, Failure> {
    // Without a genesis an earlier start was refused, and nothing was made yet.
    let made = if location.dir.join(files::GENESIS).exists() { location.settings()? } else { None };
    let settings = match made {
        Some(settings) => unchanged(settings, location, arguments)?,
        None => new_settings(location, arguments)?,
    };
    Ok(Plan::new(settings, location.dir.clone()))
}

fn unchanged(settings: Settings, location: &Location, arguments: &Arguments) -> Result<Settings, Failure> {
    let block_time = Duration::from_millis(settings.block_time_ms);
    let differs = [
        ("--nodes", arguments.nodes.is_some_and(|nodes| nodes != settings.nodes), settings.nodes.to_string()),
        ("--seed", arguments.seed.is_some_and(|seed| seed != settings.seed), settings.seed.to_string()),
        (
            "--block-time",
            arguments.block_time.is_some_and(|time| time != block_time),
            humantime::format_duration(block_time).to_string(),
        ),
        (
            "--port-base",
            matches!(arguments.port_base, Some(PortBase::At(base)) if base != settings.port_base),
            settings.port_base.to_string(),
        ),
    ];
    match differs.into_iter().find(|(_, differs, _)| *differs) {
        None => Ok(settings),
        Some((option, _, there)) => {
            let message = format!("the testnet in {} was made with {option} {there}", shown(&location.dir));
            Err(Failure::new(Exit::Conflict, message)
                .hint("--fresh removes its data first; --name NAME starts another one"))
        }
    }
}

fn new_settings(location: &Location, arguments: &Arguments) -> Result<Settings, Failure> {
    let nodes = arguments.nodes.unwrap_or(50);
    let seed = arguments.seed.unwrap_or(42);
    let block_time = arguments.block_time.unwrap_or(Duration::from_secs(1));
    let settings = |base: u16| {
        Settings::new(&location.name, seed, nodes, block_time, base)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    };
    match arguments.port_base.unwrap_or(PortBase::At(27_000)) {
        PortBase::At(base) => settings(base),
        PortBase::Auto => {
            for base in (20_000..32_000).step_by(2_000) {
                let candidate = settings(base)?;
                if ports::all_free(&Plan::new(candidate.clone(), location.dir.clone()).sockets()).is_ok() {
                    return Ok(candidate);
                }
            }
            Err(Failure::new(Exit::InUse, "no free range of ports from 20000 to 32000"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::supervisor::write_settings;

    fn arguments(line: &str) -> Arguments {
        match Cli::parse_from(line.split(' ')).verb {
            Verb::Up(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn location(dir: &tempfile::TempDir) -> Location {
        Location { dir: dir.path().to_owned(), name: "lab".to_owned() }
    }

    /// What is there after a start.
    fn made(dir: &tempfile::TempDir, line: &str) -> Plan {
        let plan = plan(&location(dir), &arguments(line)).unwrap();
        write_settings(&plan.settings, dir.path()).unwrap();
        fs::write(plan.genesis(), "{}").unwrap();
        plan
    }

    #[test]
    fn a_second_start_takes_the_settings_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = made(&dir, "sotto-testnet up -n 7 --seed 9 --port-base 30000");
        let again = plan(&location(&dir), &arguments("sotto-testnet up")).unwrap();
        assert_eq!(first, again);
        assert_eq!((again.settings.nodes, again.settings.seed, again.settings.port_base), (7, 9, 30_000));
    }

    #[test]
    fn options_that_contradict_the_data_are_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        made(&dir, "sotto-testnet up -n 7");
        let failure = plan(&location(&dir), &arguments("sotto-testnet up -n 7 --seed 43")).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("--seed 42"), "{failure}");
    }

    #[test]
    fn impossible_settings_are_usage_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(plan(&location(&dir), &arguments("sotto-testnet up -n 3")).unwrap_err().exit, Exit::Usage);
    }
}
