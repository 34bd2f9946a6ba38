//! `sotto-node wait`.

use std::time::{Duration, Instant};

use clap::Args;

use super::{ANSWER, CliError, Context, Exit, status};

/// How long to wait where nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node wait --ready
  sotto-node wait --ready --timeout 10s && echo it serves

Exit codes: 0 ready · 8 not ready in time")]
pub(super) struct Wait {
    /// Until the node is active, has the whole chain and nothing is wrong
    #[arg(long, required = true)]
    ready: bool,
}

impl Wait {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let start = Instant::now();
        let patience = context.timeout.unwrap_or(PATIENCE);
        loop {
            // A node that is not there yet may be about to start. One that does not answer is not waited for any longer.
            let left = patience.saturating_sub(start.elapsed()).max(PAUSE);
            let found = status::fetch(&context.datadir, ANSWER.min(left));
            match &found {
                Ok(status) if status.ready => {
                    context.out.result(status, &format!("ready: {}", status.summary))?;
                    return Ok(Exit::Done);
                }
                _ if start.elapsed() >= patience => {
                    let reason = found.map_or_else(|error| error.message, |status| status.summary);
                    let message = format!("not ready after {}: {reason}", humantime::format_duration(patience));
                    return Err(CliError::new(Exit::NotReady, "not_ready", message).hint("sotto-node status"));
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}
