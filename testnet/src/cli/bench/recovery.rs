//! `sotto-testnet bench --recovery`: how soon members and swarms have their records.

use std::path::Path;

use tokio::signal::ctrl_c;

use super::{Arguments, write};
use crate::bench;
use crate::chaos::Stage;
use crate::cli::Globals;
use crate::cli::console::Console;
use crate::cli::up::{finish, show};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::progress::{Display, Outcome};
use crate::recovery::{self, Options, Report};
use crate::supervisor::Report as Steps;

/// Records a second, and bytes of the text in each, unless somebody says otherwise.
const RATE: u32 = 200;
const SIZE: usize = 2048;

/// Measures, and writes the report below `out`.
pub(super) async fn run(
    globals: &Globals,
    plan: &Plan,
    arguments: &Arguments,
    out: &Path,
    console: &Console,
) -> Result<(), Failure> {
    let options = Options {
        records: arguments.records,
        missed: arguments.missed,
        split: !arguments.no_split,
        clients: arguments.clients,
        rate: arguments.rate.unwrap_or(RATE),
        size: arguments.size.unwrap_or(SIZE),
        seed: arguments.seed,
    };
    let report = measure(globals, plan, &options).await?;
    let files = write("recovery", &report.head, [report.to_json()? + "\n", report.to_html()], out)?;
    console.print(&format!("{}\n{files}", report.to_text()), &report)?;
    report.verdict()
}

/// Runs the measurement and shows how far it is. Ctrl-C ends it in order: whoever was killed is started.
async fn measure(globals: &Globals, plan: &Plan, options: &Options) -> Result<Report, Failure> {
    let steps = Steps::default();
    let display = tokio::spawn(show(steps.watch(), Display::new(globals.progress_style())));
    let (mut stage, dir) = (Stage::new(plan), plan.dir.join(bench::DIR));
    let result = tokio::select! {
        result = Box::pin(recovery::run(plan, options, &dir, (&steps, &mut stage))) => result,
        _ = ctrl_c() => Err(Failure::new(Exit::Interrupted, "stopped")),
    };
    let undone = stage.undo_all().await;
    let result = result.and_then(|report| undone.map(|()| report));
    steps.outcome(result.as_ref().map_or_else(Outcome::from, |_| Outcome::Ready));
    finish(display).await;
    result
}
