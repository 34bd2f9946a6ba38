//! `sotto-node run`.

use clap::Args;

use super::{CliError, Context, Exit, NodeSettings};
use crate::run::{self, MakeOutlet, Start};
use crate::{log, process};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node run --register
  sotto-node run --datadir /srv/sotto --listen 0.0.0.0:22020 --announce /ip4/203.0.113.7/tcp/22020
  sotto-node run --log-format json --log-file /var/log/sotto-node.log
  sotto-node run --on-event 'mail -s sotto-node operator@example.org'

Stops on SIGTERM, SIGINT, or `POST /shutdown` on admin.sock. A second signal stops at once; nothing acknowledged is lost.")]
pub(super) struct Run {
    /// Stop when standard input ends: whoever started this has died
    #[arg(long)]
    exit_on_stdin_eof: bool,
    #[command(flatten)]
    settings: NodeSettings,
}

impl Run {
    pub(super) fn run(self, context: &Context, outlet: Option<MakeOutlet>) -> Result<Exit, CliError> {
        let config = context.config(&self.settings)?;
        let genesis = context.genesis(&config)?;
        log::init(&config.log, context.out.color)
            .map_err(|error| CliError::new(Exit::Failed, "log", error.to_string()))?;
        process::abort_on_panic();
        let start =
            Start { datadir: context.datadir.clone(), config, genesis, exit_on_stdin_eof: self.exit_on_stdin_eof };
        if !crate::keys::KeyDirectory::of(&start.datadir).path(crate::keys::Slot::Node).exists() {
            return Err(CliError::not_set_up(&start.datadir));
        }
        run::run(&start, outlet)?;
        Ok(Exit::Done)
    }
}
