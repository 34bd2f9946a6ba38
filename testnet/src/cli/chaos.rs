//! `sotto-testnet chaos`: faults on the running testnet while users write and read, and what came of their messages.

mod by_hand;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::signal::ctrl_c;

use self::by_hand::{ApplyArguments, apply, clear, list};
use super::Globals;
use super::console::Console;
use super::location::{Location, shown};
use super::up::{finish, show};
use crate::chaos::{self, Known, Options, Report, Scenario, Stage, Verdict};
use crate::failure::{Context as _, Exit, Failure};
use crate::files;
use crate::plan::Plan;
use crate::progress::{Display, Outcome};
use crate::supervisor::Report as Steps;

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Run scenarios, and check every message
    Run(RunArguments),
    /// Do something to nodes until "clear"
    Apply(ApplyArguments),
    /// Undo everything that was done to nodes, links and the chain, also by a run that was killed
    Clear,
    /// The scenarios there are, and the faults the testnet is under
    List,
    /// Check the history of an earlier run again
    Judge {
        /// Its file
        #[arg(value_name = "FILE")]
        history: PathBuf,
    },
}

/// Options of `chaos run`.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArguments {
    /// Names of scenarios (see "chaos list") or files (with a slash)
    #[arg(value_name = "SCENARIO", required_unless_present = "all")]
    scenarios: Vec<String>,
    /// All that come with the program, one after the other
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// How long faults happen; default: as long as the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Messages a second, of all writers together
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=500))]
    rate: u32,
    /// Users that write
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    writers: u16,
    /// Users that read
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=64))]
    readers: u16,
    /// What times and nodes are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where histories and reports go; default: "chaos" in the testnet's directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Does what the verb says.
pub(super) async fn run(globals: &Globals, verb: Verb, console: &Console) -> Result<(), Failure> {
    match verb {
        Verb::Run(arguments) => Box::pin(run_all(globals, &arguments, console)).await,
        Verb::Apply(arguments) => Box::pin(apply(&Location::new(globals)?.plan()?, arguments, console)).await,
        Verb::Clear => Box::pin(clear(&Location::new(globals)?.plan()?, console)).await,
        Verb::List => list(globals, console).await,
        Verb::Judge { history } => judge(&history, console),
    }
}

async fn run_all(globals: &Globals, arguments: &RunArguments, console: &Console) -> Result<(), Failure> {
    let scenarios = chosen(arguments)?;
    let options = Options {
        rate: arguments.rate,
        writers: arguments.writers.into(),
        readers: arguments.readers.into(),
        seconds: arguments.seconds,
        seed: arguments.seed,
    };
    let (mut reports, mut skipped, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    let mut known = Known::default();
    for scenario in &scenarios {
        // Nodes may have come in the run before.
        let plan = Location::new(globals)?.plan()?;
        if arguments.all
            && let Some(need) = known.missing(scenario).await
        {
            console.note(&format!("{}: skipped: needs {need}", scenario.name));
            skipped.push(scenario.name.clone());
            continue;
        }
        known.check_possible(scenario).await?;
        let out = arguments.out.clone().unwrap_or_else(|| plan.dir.join(chaos::DIR));
        let report = match one(globals, &plan, scenario, &options, &out).await {
            Ok(report) => report,
            // The others can be run all the same.
            Err(failure) if arguments.all && failure.exit != Exit::Interrupted => {
                console.note(&format!("{}: {}", scenario.name, failure.message));
                missed.push(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let path = write(&report, &out)?;
        console.note(&format!("{}\n  report      {}", report.to_text(), shown(&path)));
        missed.extend(report.verdict().err());
        reports.push(report);
    }
    let acked: u64 = reports.iter().map(|report| report.verdict.acked).sum();
    let text = format!(
        "{} runs, {acked} messages stored, {} with a broken promise, {} skipped",
        reports.len(),
        missed.len(),
        skipped.len()
    );
    console.print(
        &text,
        &json!({ "v": 1, "type": "testnet.chaos_runs", "acked": acked, "runs": reports, "skipped": skipped }),
    )?;
    missed.into_iter().next().map_or(Ok(()), Err)
}

fn chosen(arguments: &RunArguments) -> Result<Vec<Scenario>, Failure> {
    if arguments.all {
        return Scenario::built_in();
    }
    let read = |name: &String| {
        if !name.contains('/') {
            return Scenario::named(name);
        }
        let text = fs::read_to_string(name).context("read", name)?;
        Scenario::parse(&text).map_err(|failure| Failure::new(failure.exit, format!("{name}: {}", failure.message)))
    };
    arguments.scenarios.iter().map(read).collect()
}

/// Runs one scenario and shows how far it is. Ctrl-C ends it in order: everything is undone.
async fn one(
    globals: &Globals,
    plan: &Plan,
    scenario: &Scenario,
    options: &Options,
    out: &Path,
) -> Result<Report, Failure> {
    let steps = Steps::default();
    let display = tokio::spawn(show(steps.watch(), Display::new(globals.progress_style())));
    let mut stage = Stage::new(plan);
    let result = tokio::select! {
        result = Box::pin(chaos::run(plan, scenario, options, out, (&steps, &mut stage))) => result,
        _ = ctrl_c() => Err(Failure::new(Exit::Interrupted, "stopped")),
    };
    let undone = stage.undo_all().await;
    let result = result.and_then(|report| undone.map(|()| report));
    steps.outcome(result.as_ref().map_or_else(Outcome::from, |_| Outcome::Ready));
    finish(display).await;
    result
}

fn write(report: &Report, out: &Path) -> Result<PathBuf, Failure> {
    let path = out.join(format!("chaos-{}-{}.json", report.scenario.name, report.head.stamp()));
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    files::write_atomically(&path, (json + "\n").as_bytes()).context("write", path.display())?;
    Ok(path)
}

fn judge(history: &Path, console: &Console) -> Result<(), Failure> {
    let verdict: Verdict = chaos::judge(&chaos::read_history(history)?);
    let mut lines = vec![format!("{} written, {} stored, {}", verdict.written, verdict.acked, verdict.found())];
    lines.extend(verdict.named.iter().cloned());
    console.print(&lines.join("\n"), &json!({ "v": 1, "type": "testnet.chaos_verdict", "verdict": verdict }))?;
    if verdict.is_good() { Ok(()) } else { Err(Failure::new(Exit::Failed, "a promise was broken")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb as Any};
    use super::*;

    fn parsed(line: &str) -> Result<Verb, clap::Error> {
        match Cli::try_parse_from(line.split(' '))?.verb {
            Any::Chaos(verb) => Ok(verb),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scenarios_are_named_or_all_are_run_and_numbers_are_within_bounds() {
        assert!(matches!(parsed("sotto-testnet chaos run f1 ./mine.toml --seed 7").unwrap(),
            Verb::Run(RunArguments { scenarios, seed: 7, .. }) if scenarios == ["f1", "./mine.toml"]));
        assert!(matches!(parsed("sotto-testnet chaos run --all").unwrap(), Verb::Run(RunArguments { all: true, .. })));
        for wrong in ["run", "run --all f1", "run f1 --rate 0", "run f1 --seconds 0"] {
            assert!(parsed(&format!("sotto-testnet chaos {wrong}")).is_err(), "{wrong}");
        }
    }
}
