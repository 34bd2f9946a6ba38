//! `sotto tui`: conversations on a whole terminal, through the daemon.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use tokio::net::UnixStream;

use super::context::{Context, clock};
use super::daemon::Attached;
use super::{CliError, Exit};
use crate::rpc_client::{self, Client, Events};
use crate::tui::{Ended, Error, Options, run};

/// Talk on the whole terminal; ? shows the keys
#[derive(Debug, Args)]
pub(super) struct Tui {
    /// The daemon's socket, instead of that in the account's folder
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Tui {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(CliError::new(Exit::Usage, "no_terminal", "this needs a terminal").hint("sotto chat"));
        }
        let attached = attach(context, self.socket)?;
        let connect = async || connect(&attached);
        let options = Options { connect, clock, color: context.out.color };
        match Context::runtime()?.block_on(run(options)) {
            Ok(Ended::Quit) => Ok(Exit::Done),
            Ok(Ended::Terminated) => Ok(Exit::Terminated),
            Err(Error::Daemon(error)) => Err(no_daemon(&error)),
            Err(Error::Terminal(error)) => Err(CliError::io("use", "the terminal", &error)),
        }
    }
}

/// The daemon that is meant: at a socket, else the one that has the account, else one of this process.
pub(super) fn attach(context: &Context, socket: Option<PathBuf>) -> Result<Attached, CliError> {
    socket.map_or_else(|| Attached::open(context), |socket| Ok(Attached::at(socket)))
}

/// A new connection with it. Must be called in a runtime.
pub(super) fn connect(attached: &Attached) -> Result<(Client, Events), rpc_client::Error> {
    let stream = attached.connect().and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    Ok(Client::over(stream.map_err(rpc_client::Error::Connect)?))
}

/// There is no daemon, or none any more, or it does not do what it must.
pub(super) fn no_daemon(error: &rpc_client::Error) -> CliError {
    match error {
        rpc_client::Error::Failed(failure) => {
            let shown = CliError::new(Exit::Network, "daemon", failure.message.clone());
            match &failure.hint {
                Some(hint) => shown.hint(hint.clone()),
                None => shown,
            }
        }
        error => CliError::new(Exit::Network, "daemon", error.to_string()).hint("sotto daemon start"),
    }
}
