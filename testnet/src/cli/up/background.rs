//! A testnet without a terminal: `up --detach` and `down`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::announce;
use super::clear::clear_stopped;
use crate::cli::console::Console;
use crate::cli::location::{Location, shown};
use crate::cli::{Globals, signals};
use crate::control::{self, Request};
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::lock::Lock;
use crate::logs;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::progress::{Display, Progress};

/// How often a launcher looks at the supervisor it put into the background.
const BACKGROUND_POLL: Duration = Duration::from_millis(100);
/// How long the end of a testnet may take.
const DOWN_DEADLINE: Duration = Duration::from_secs(30);

/// Starts the supervisor as a process of its own and shows its progress until the testnet is up.
pub(super) async fn detach(globals: &Globals, plan: &Plan, console: &Console) -> Result<(), Failure> {
    let log = plan.dir.join(files::SUPERVISOR_LOG);
    let output = fs::File::create(&log).context("create", log.display())?;
    let errors = output.try_clone().context("open", log.display())?;
    let program = std::env::current_exe().context("tell", "where this program lies")?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--fresh"))
        .args(["--background", "--progress", "never"])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context("start", "the supervisor")?;
    let stop = CancellationToken::new();
    let signalled = signals::watch_signals(&stop)?;
    let mut display = Display::new(globals.progress_style());
    loop {
        tokio::select! {
            ended = child.wait() => {
                let reason = logs::last_line(&log).unwrap_or_default();
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(Failure::new(Exit::Failed, format!("the supervisor ended ({how}): {reason}"))
                    .hint(format!("see {}", log.display())));
            }
            () = stop.cancelled() => {
                end(plan, DOWN_DEADLINE).await?;
                return Err(Failure::new(signalled.borrow().unwrap_or(Exit::Interrupted), "stopped"));
            }
            () = tokio::time::sleep(BACKGROUND_POLL) => {}
        }
        // The socket appears a moment after the process.
        let Ok(progress) = control::ask::<Progress>(&plan.dir, &Request::Progress).await else { continue };
        display.show(&progress);
        if let Some(outcome) = progress.outcome {
            drop(display);
            outcome.into_result()?;
            return announce(plan, &Manifest::read(&plan.dir).context("read", "the manifest")?, console);
        }
    }
}

/// Ends a running testnet, and takes back what is left of one that was killed.
pub(in crate::cli) async fn down(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let plan = Location::new(globals)?.plan()?;
    let was_running = Lock::holder(&plan.dir).is_some();
    if was_running {
        end(&plan, globals.timeout.unwrap_or(DOWN_DEADLINE)).await?;
    }
    // Its supervisor has done that if it ran and may; whoever calls may be somebody else.
    let cleared = clear_stopped(&plan, console).await;
    let dir = shown(&plan.dir);
    let text = if was_running {
        format!("stopped: {dir} (its data stay; sotto-testnet clean removes them)")
    } else {
        format!("not running: {dir}")
    };
    let document = serde_json::json!({ "v": 1, "type": "testnet.down", "was_running": was_running });
    console.print(&text, &document).and(cleared)
}

/// Asks the supervisor to end and waits until it has let go of the directory.
async fn end(plan: &Plan, deadline: Duration) -> Result<(), Failure> {
    control::ask::<()>(&plan.dir, &Request::Down).await?;
    let gone = async {
        while Lock::holder(&plan.dir).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(deadline, gone)
        .await
        .map_err(|_| Failure::new(Exit::Timeout, format!("the testnet did not end within {deadline:?}")))
}
