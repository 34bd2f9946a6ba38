//! `sotto-testnet chaos`: faults on the running testnet while users write and read, and what came of their messages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tokio::signal::ctrl_c;

use super::Globals;
use super::console::Console;
use super::location::{Location, shown};
use super::up::{finish, show};
use crate::chaos::{self, BadLinks, Cuts, Fault, Links, Options, Report, Scenario, Stage, Verdict};
use crate::control::{self, Action, Done, Processes, Request};
use crate::failure::{Context as _, Exit, Failure};
use crate::files;
use crate::plan::Plan;
use crate::progress::{Display, Outcome};
use crate::supervisor::Report as Steps;
use crate::target::{Selection, Target};

/// A fault that is applied by hand lasts until it is cleared.
const UNTIL_CLEARED: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Run scenarios, and check every message
    Run(RunArguments),
    /// Do something to nodes until "clear"
    Apply {
        /// What
        #[arg(value_enum)]
        fault: Applied,
        /// A node's number, several as 3,5 or 10-14, or "all"
        #[arg(value_name = "NODES")]
        nodes: Selection,
        /// Of "lossy": how many of 100 packets are lost
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=99))]
        percent: u16,
        /// Of "slow": how much goes through, in kbit/s
        #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
        kbit: u16,
    },
    /// Undo everything: nodes that were killed or stopped, links that were cut or are bad, faults of the chain
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

/// What can be applied by hand; for the chain see `sotto-testnet chain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Applied {
    /// Kill them without warning
    Kill,
    /// Stop them: they keep their connections and answer nobody
    Pause,
    /// Cut them off from all others; needs root and nft
    Cut,
    /// Nothing goes from them to all others; needs root and nft
    CutOneWay,
    /// A part of all packets to and from them is lost; needs root and nft
    Lossy,
    /// Packets to and from them wait for their turn; needs root and tc
    Slow,
}

impl From<Applied> for Fault {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Kill => Self::Kill,
            Applied::Pause => Self::Pause,
            Applied::Cut => Self::Cut,
            Applied::CutOneWay => Self::CutOneWay,
            Applied::Lossy => Self::Lossy,
            Applied::Slow => Self::Slow,
        }
    }
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
        Verb::Apply { fault, nodes, percent, kbit } => {
            let amount = if fault == Applied::Slow { kbit } else { percent };
            apply(&Location::new(globals)?.plan()?, (fault.into(), amount), &nodes, console).await
        }
        Verb::Clear => clear(&Location::new(globals)?.plan()?, console).await,
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
    for scenario in &scenarios {
        // Nodes may have come in the run before.
        let plan = Location::new(globals)?.plan()?;
        if arguments.all && scenario.needs_root() && !Cuts::are_possible().await {
            console.note(&format!("{}: skipped: needs root and nft", scenario.name));
            skipped.push(scenario.name.clone());
            continue;
        }
        if arguments.all
            && let Err(failure) = Links::check(&plan, scenario.kinds()).await
        {
            console.note(&format!("{}: skipped: {}", scenario.name, failure.message));
            skipped.push(scenario.name.clone());
            continue;
        }
        let out = arguments.out.clone().unwrap_or_else(|| plan.dir.join(chaos::DIR));
        let report = one(globals, &plan, scenario, &options, &out).await?;
        let path = write(&report, &out)?;
        console.note(&format!("{}\n  report      {}", report.to_text(), shown(&path)));
        missed.extend(report.verdict().err());
        reports.push(report);
    }
    let acked: u64 = reports.iter().map(|report| report.verdict.acked).sum();
    let text = format!(
        "{} runs, {acked} messages stored, {} with a broken promise, {} skipped: needs root",
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
    let name: String = report.started.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = out.join(format!("chaos-{}-{name}.json", report.scenario.name));
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    files::write_atomically(&path, (json + "\n").as_bytes()).context("write", path.display())?;
    Ok(path)
}

async fn apply(plan: &Plan, fault: (Fault, u16), nodes: &Selection, console: &Console) -> Result<(), Failure> {
    let targets = nodes.resolve(plan.settings.nodes).map_err(|missing| {
        Failure::new(Exit::NotFound, format!("there is no {missing}: {} nodes", plan.settings.nodes))
    })?;
    let nodes: Option<BTreeSet<u16>> = targets
        .into_iter()
        .map(|target| match target {
            Target::Node(index) => Some(index),
            Target::Chain => None,
        })
        .collect();
    let nodes = nodes.ok_or_else(|| {
        Failure::new(Exit::Usage, "the block producer has faults of its own").hint("sotto-testnet chain --help")
    })?;
    let applied = Stage::new(plan).apply_to(fault, nodes, Instant::now() + UNTIL_CLEARED).await?;
    let text = format!("{}; until: sotto-testnet chaos clear", applied.as_deref().unwrap_or("nobody"));
    console.print(&text, &json!({ "v": 1, "type": "testnet.chaos_applied", "applied": applied }))
}

async fn clear(plan: &Plan, console: &Console) -> Result<(), Failure> {
    // Links first: what is wrong with them outlives the testnet. A kernel that refuses is told of when the rest is done.
    let cut = Cuts::count(plan).await.unwrap_or_default();
    if cut > 0 {
        Cuts::clear(plan).await?;
    }
    let mended = Links::clear(plan).await;
    let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
    let in_state = |paused: bool| -> Vec<Target> {
        let chosen = processes.children.iter().filter(|child| child.state != "running");
        chosen.filter(|child| (child.state == "paused") == paused).map(|child| child.target).collect()
    };
    let (paused, ended) = (in_state(true), in_state(false));
    for (action, targets) in [(Action::Resume, &paused), (Action::Restart, &ended)] {
        if !targets.is_empty() {
            let _done: Done = control::ask(&plan.dir, &Request::Act { action, targets: targets.clone() }).await?;
        }
    }
    chaos::clear_chain(plan).await?;
    let bad = mended?;
    let text = format!(
        "{} went on, {} started, {cut} links joined, links of {} nodes mended; blocks as usual",
        paused.len(),
        ended.len(),
        bad.nodes()
    );
    let document = json!({ "v": 1, "type": "testnet.chaos_cleared", "resumed": paused.len(), "started": ended.len(),
        "links_joined": cut, "links_mended": bad });
    console.print(&text, &document)
}

async fn list(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let scenarios = Scenario::built_in()?;
    let mut lines = vec!["scenarios".to_owned()];
    for scenario in &scenarios {
        let root = if scenario.needs_root() { " (needs root and nft)" } else { "" };
        lines.push(format!("  {:4}  {:>3} s  {}{root}", scenario.name, scenario.seconds, scenario.what));
    }
    // Without a testnet there are no faults.
    let plan = Location::new(globals)?.plan().ok();
    let processes = match &plan {
        Some(plan) => control::ask::<Processes>(&plan.dir, &Request::Processes).await.ok(),
        None => None,
    };
    let children = processes.map(|processes| processes.children).unwrap_or_default();
    let unwell: Vec<_> = children.into_iter().filter(|child| child.state != "running").collect();
    let cut = match &plan {
        Some(plan) => Cuts::count(plan).await,
        None => Some(0),
    };
    let bad = match &plan {
        Some(plan) => Links::bad(plan).await,
        None => Some(BadLinks::default()),
    };
    lines.push("faults".to_owned());
    lines.extend(unwell.iter().map(|child| format!("  {}: {}", child.target, child.state)));
    match &bad {
        Some(bad) => {
            lines.extend(bad.lossy.iter().map(|node| format!("  {}: lossy links", Target::Node(*node))));
            lines.extend(bad.slow.iter().map(|node| format!("  {}: slow links", Target::Node(*node))));
        }
        None => lines.push("  bad links: not known without root, nft and tc".to_owned()),
    }
    match cut {
        Some(0) if unwell.is_empty() && bad.as_ref().is_some_and(|bad| bad.nodes() == 0) => {
            lines.push("  none".to_owned());
        }
        Some(0) => {}
        Some(links) => lines.push(format!("  {links} links are cut")),
        None => lines.push("  cut links: not known without root and nft".to_owned()),
    }
    let faults: Vec<_> = unwell.iter().map(|child| json!({ "target": child.target, "state": child.state })).collect();
    let document = json!({ "v": 1, "type": "testnet.chaos", "scenarios": scenarios, "faults": faults,
        "links_cut": cut, "links_bad": bad });
    console.print(&lines.join("\n"), &document)
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
        for wrong in [
            "run",
            "run --all f1",
            "run f1 --rate 0",
            "run f1 --seconds 0",
            "apply burn 3",
            "apply cut",
            "apply lossy 3 --percent 100",
        ] {
            assert!(parsed(&format!("sotto-testnet chaos {wrong}")).is_err(), "{wrong}");
        }
        assert!(matches!(
            parsed("sotto-testnet chaos apply cut-one-way 3-5").unwrap(),
            Verb::Apply { fault: Applied::CutOneWay, .. }
        ));
        assert!(matches!(
            parsed("sotto-testnet chaos apply slow 3 --kbit 64").unwrap(),
            Verb::Apply { fault: Applied::Slow, kbit: 64, .. }
        ));
    }
}
