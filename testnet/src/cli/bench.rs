//! `sotto-testnet bench`: messages at a rate through real paths, measured; or two reports beside each other.

mod recovery;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::ctrl_c;

use super::Globals;
use super::console::Console;
use super::location::{Location, shown};
use super::up::{finish, show};
use crate::bench::{self, Comparison, Head, Options, Report};
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::plan::Plan;
use crate::progress::{Display, Outcome};
use crate::supervisor::Report as Steps;

/// Messages a second, and bytes of each, unless somebody says otherwise.
const RATE: u32 = 50;
const SIZE: usize = 1024;

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Clients that send, each with a guard connection and paths of its own
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = counted::<1, 256>)]
    clients: usize,
    /// Messages a second, of all clients together [default: 50; with --recovery 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// For how many seconds
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// For how many seconds before that the same load is sent without being measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=60))]
    warm_up: u32,
    /// Bytes of the text of a message [default: 1024; with --recovery 2048]
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// Accounts that are written to, spread over all swarms
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = counted::<1, 10_000>)]
    recipients: usize,
    /// How many of the recipients follow their mail with a whole messenger
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = counted::<0, 16>)]
    followers: usize,
    /// Messages that wait for somebody who then catches up; 0 leaves this out
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = counted::<0, 5000>)]
    catch_up: usize,
    /// Clients beside them that hold a path and do nothing, in processes of their own
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = counted::<0, 20_000>)]
    idle_clients: usize,
    /// What accounts, recipients and hops are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Measure instead what a new member, one that was down and a swarm that is born take to have their records
    #[arg(long, conflicts_with_all = ["seconds", "warm_up", "recipients", "followers", "catch_up", "idle_clients"])]
    recovery: bool,
    /// Records that a new member has to get
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = counted::<1, 200_000>, requires = "recovery")]
    records: usize,
    /// Records that are stored while a member is down; 0 leaves this out
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = counted::<0, 200_000>, requires = "recovery")]
    missed: usize,
    /// No nodes come, and no swarm is born
    #[arg(long, requires = "recovery")]
    no_split: bool,
    /// Where the report goes, as JSON and as a page; default: "bench" in the testnet's directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compare two reports instead of measuring
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with = "recovery")]
    compare: Option<Vec<PathBuf>>,
}

/// Options of a process of idle clients, which only `bench` starts.
#[derive(Clone, Debug, Args)]
pub(super) struct IdleArguments {
    /// The number of the first
    #[arg(long)]
    first: usize,
    /// How many
    #[arg(long)]
    count: NonZeroUsize,
    /// What hops are drawn from
    #[arg(long)]
    seed: u64,
}

/// Holds paths until its input ends.
pub(super) async fn idle_clients(globals: &Globals, arguments: &IdleArguments) -> Result<(), Failure> {
    let plan = Location::new(globals)?.plan()?;
    bench::run_idle_clients(&plan, arguments.first, arguments.count, arguments.seed).await
}

/// A number from `LEAST` to `MOST`.
fn counted<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("want a number from {LEAST} to {MOST}"))
}

/// Measures, or compares.
pub(super) async fn run(globals: &Globals, arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    if let Some([a, b]) = arguments.compare.as_deref() {
        let comparison = Comparison::of_files(a, b)?;
        return console.print(&comparison.to_text(), &comparison);
    }
    let plan = Location::new(globals)?.plan()?;
    let out = arguments.out.clone().unwrap_or_else(|| plan.dir.join(bench::DIR));
    if arguments.recovery {
        return Box::pin(recovery::run(globals, &plan, arguments, &out, console)).await;
    }
    let options = Options {
        clients: arguments.clients,
        rate: arguments.rate.unwrap_or(RATE),
        seconds: arguments.seconds,
        warm_up: arguments.warm_up,
        size: arguments.size.unwrap_or(SIZE),
        recipients: arguments.recipients,
        followers: arguments.followers,
        catch_up: arguments.catch_up,
        idle_clients: arguments.idle_clients,
        seed: arguments.seed,
    };
    let report = measure(globals, &plan, &options).await?;
    let files = write("bench", &report.head, [report.to_json()? + "\n", report.to_html()], &out)?;
    console.print(&format!("{}\n{files}", report.to_text()), &report)?;
    report.verdict()
}

/// Runs the bench and shows how far it is. Ctrl-C ends it in order: nothing of it is left behind.
async fn measure(globals: &Globals, plan: &Plan, options: &Options) -> Result<Report, Failure> {
    let steps = Steps::default();
    let display = tokio::spawn(show(steps.watch(), Display::new(globals.progress_style())));
    let dir = plan.dir.join(bench::DIR);
    let result = tokio::select! {
        result = Box::pin(bench::run(plan, options, &dir, &steps)) => result,
        _ = ctrl_c() => Err(Failure::new(Exit::Interrupted, "stopped")),
    };
    steps.outcome(result.as_ref().map_or_else(Outcome::from, |_| Outcome::Ready));
    finish(display).await;
    result
}

/// Writes a report of this kind, as JSON and as a page, below `out`, named by the time when it began. Returns where, for
/// people.
fn write(kind: &str, head: &Head, [json, page]: [String; 2], out: &Path) -> Result<String, Failure> {
    fs::create_dir_all(out).context("create", out.display())?;
    let name = head.stamp();
    let write = |ending: &str, text: &str| {
        let path = out.join(format!("{kind}-{name}.{ending}"));
        files::write_atomically(&path, text.as_bytes()).context("write", path.display()).map(|()| shown(&path))
    };
    Ok(format!("report: {}\n        {}", write("json", &json)?, write("html", &page)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        match Cli::try_parse_from(line.split(' '))?.verb {
            Verb::Bench(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_within_bounds_and_a_comparison_takes_two_files() {
        let arguments = parsed("sotto-testnet bench --clients 16 --rate 250 --seconds 60 --json").unwrap();
        assert_eq!((arguments.clients, arguments.rate, arguments.seconds), (16, Some(250), 60));
        let compared = parsed("sotto-testnet bench --compare a.json b.json").unwrap().compare.unwrap();
        assert_eq!(compared, [PathBuf::from("a.json"), PathBuf::from("b.json")]);
        let recovery = parsed("sotto-testnet bench --recovery --records 200 --no-split --rate 100").unwrap();
        assert_eq!((recovery.records, recovery.missed, recovery.no_split), (200, 10_000, true));
        for wrong in ["--records 5", "--no-split", "--recovery --seconds 5", "--recovery --records 0"] {
            assert!(parsed(&format!("sotto-testnet bench {wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["--clients 0", "--rate 0", "--seconds 121", "--followers 17", "--compare a.json", "--rate x"] {
            assert!(parsed(&format!("sotto-testnet bench {wrong}")).is_err(), "{wrong}");
        }
    }
}
