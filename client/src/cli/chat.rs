//! `sotto chat`: conversations line by line, through the daemon.

use std::io::{self, BufReader, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use super::context::Context;
use super::tui::{attach, connect, no_daemon};
use super::{CliError, Exit};
use crate::chat::{Ended, Error, Input, Output, run};

/// Talk line by line: @NAME TEXT to somebody, plain lines to the last one, /help for the rest
#[derive(Debug, Args)]
pub(super) struct Chat {
    /// Whom the first plain line is for: a contact's name, or an account id
    #[arg(value_name = "CONTACT")]
    with: Option<String>,
    /// The daemon's socket, instead of that in the account's folder
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Chat {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let failed = |error: io::Error| CliError::io("use", "the terminal", &error);
        let attached = attach(context, self.socket)?;
        let ended = Context::runtime()?.block_on(async {
            let connected = connect(&attached).map_err(|error| no_daemon(&error))?;
            let (input, output) = if io::stdin().is_terminal() && !context.no_input {
                Input::terminal().map_err(failed)?
            } else {
                let output: Output = Box::new(io::stdout());
                (Input::pipe(BufReader::new(io::stdin())).map_err(failed)?, output)
            };
            run(connected, input, output, self.with).await.map_err(|error| cli_error(&error))
        })?;
        Ok(match ended {
            Ended::Done => Exit::Done,
            Ended::Failed => Exit::Failed,
            Ended::Terminated => Exit::Terminated,
        })
    }
}

fn cli_error(error: &Error) -> CliError {
    match error {
        Error::Daemon(error) => no_daemon(error),
        Error::Io(error) => CliError::io("read or write", "the conversation", error),
    }
}
