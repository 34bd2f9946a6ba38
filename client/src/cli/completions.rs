//! `sotto completions`.

use clap::Args;
use clap_complete::Shell;

use super::{CliError, Exit};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto completions bash > ~/.local/share/bash-completion/completions/sotto
  sotto completions zsh > ~/.zfunc/_sotto
  sotto completions fish > ~/.config/fish/completions/sotto.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "sotto", &mut script);
        std::io::Write::write_all(&mut std::io::stdout(), &script)
            .map_err(|error| CliError::io("write", "the completions", &error))?;
        Ok(Exit::Done)
    }
}
