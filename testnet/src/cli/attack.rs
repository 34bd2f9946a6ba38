//! `sotto-testnet attack`: attacks on a node of the running testnet, and what honest users feel of them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokio::signal::ctrl_c;

use super::Globals;
use super::console::Console;
use super::location::{Location, shown};
use super::up::{finish, show};
use crate::attack::{self, Attackers, Listed, Options, Report};
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::plan::Plan;
use crate::progress::{Display, Outcome};
use crate::supervisor::Report as Steps;

/// Options of `attack`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// How long is measured before an attack, and how long it lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Only these attacks
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Say which attacks there are
    #[arg(long)]
    list: bool,
    /// Stop an attack after so many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// So many frames a second at most; default: what the machine gives
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pace: Option<u32>,
    /// Which node is attacked; default: the last one that is in a swarm
    #[arg(long, value_name = "N")]
    node: Option<u16>,
    /// Messages a second, of all honest clients together
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    rate: u32,
    /// Measure without an attack only once, before the first
    #[arg(long)]
    once: bool,
    /// What accounts, hops and the attackers' bytes are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where the report goes, as JSON; default: "attack" in the testnet's directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Options of the process of an attack's attackers, which only `attack` starts.
#[derive(Clone, Debug, Args)]
pub(super) struct AttackersArguments {
    /// The attack
    #[arg(long)]
    only: String,
    /// Which node is attacked
    #[arg(long)]
    node: u16,
    /// How long it lasts
    #[arg(long)]
    seconds: u32,
    /// Stop after so many frames
    #[arg(long)]
    frames: Option<u64>,
    /// So many frames a second at most
    #[arg(long)]
    pace: Option<u32>,
    /// What the attackers' bytes are drawn from
    #[arg(long)]
    seed: u64,
}

/// Attacks from the first line of its input until the end of it.
pub(super) async fn attackers(globals: &Globals, arguments: &AttackersArguments) -> Result<(), Failure> {
    let plan = Location::new(globals)?.plan()?;
    let options = Options {
        seconds: arguments.seconds,
        only: vec![arguments.only.clone()],
        frames: arguments.frames,
        pace: arguments.pace,
        node: Some(arguments.node),
        rate: 0,
        once: true,
        seed: arguments.seed,
    };
    Box::pin(attack::run_attackers(&plan, &options)).await
}

/// All attacks as one document.
#[derive(Serialize)]
struct List {
    v: u8,
    r#type: &'static str,
    attacks: Vec<Listed>,
}

/// Attacks, or says what there is.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if arguments.list {
        let list = List { v: 1, r#type: "testnet.attacks", attacks: attack::listed() };
        let width = list.attacks.iter().map(|one| one.name.len()).max().unwrap_or_default();
        let lines: Vec<_> = list.attacks.iter().map(|one| format!("{:width$}  {}", one.name, one.what)).collect();
        return console.print(&lines.join("\n"), &list);
    }
    let plan = Location::new(globals)?.plan()?;
    let options = Options {
        seconds: arguments.seconds,
        only: arguments.only.clone(),
        frames: arguments.frames,
        pace: arguments.pace,
        node: arguments.node,
        rate: arguments.rate,
        once: arguments.once,
        seed: arguments.seed,
    };
    let report = made(globals, &plan, &options).await?;
    let path = write(&report, &arguments.out.clone().unwrap_or_else(|| plan.dir.join(attack::DIR)))?;
    console.print(&format!("{}\nreport: {}", report.to_text(), shown(&path)), &report)?;
    report.verdict()
}

/// Attacks and shows how far it is. Ctrl-C ends it in order: nothing of it is left behind.
async fn made(globals: &Globals, plan: &Plan, options: &Options) -> Result<Report, Failure> {
    let steps = Steps::default();
    let display = tokio::spawn(show(steps.watch(), Display::new(globals.progress_style())));
    let attackers = Attackers::default();
    let result = tokio::select! {
        result = Box::pin(attack::run(plan, options, &steps, &attackers)) => result,
        _ = ctrl_c() => Err(Failure::new(Exit::Interrupted, "stopped")),
    };
    let ended = attackers.end().await;
    let result = result.and_then(|report| ended.map(|_| report));
    steps.outcome(result.as_ref().map_or_else(Outcome::from, |_| Outcome::Ready));
    finish(display).await;
    result
}

/// Writes the report below `out`, named by the time when it began.
fn write(report: &Report, out: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(out).context("create", out.display())?;
    let path = out.join(format!("attack-{}.json", report.head.stamp()));
    let json = report.to_json()? + "\n";
    files::write_atomically(&path, json.as_bytes()).context("write", path.display())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        match Cli::try_parse_from(line.split(' '))?.verb {
            Verb::Attack(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attacks_are_named_in_a_row_or_with_commas_and_numbers_are_within_bounds() {
        let row = parsed("sotto-testnet attack --only yamux streams --seconds 5").unwrap();
        let commas = parsed("sotto-testnet attack --only yamux,streams --seconds 5").unwrap();
        assert_eq!(row.only, ["yamux", "streams"]);
        assert_eq!((commas.only, commas.seconds), (row.only, 5));
        for wrong in ["--seconds 0", "--seconds 61", "--rate 0", "--frames x", "--pace 0", "--only"] {
            assert!(parsed(&format!("sotto-testnet attack {wrong}")).is_err(), "{wrong}");
        }
    }
}
