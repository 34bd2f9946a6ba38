//! `sotto passphrase`, and how a new passphrase is chosen.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::context::{Context, bad_passphrase, random};
use super::input;
use super::{CliError, Exit};
use crate::store::Passphrase;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Put another passphrase in the place of the present one
    Change {
        /// The new passphrase is in this file
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Make up a passphrase; with --new-passphrase-file it is written there
        #[arg(long)]
        generate_passphrase: bool,
        /// Also show a passphrase that was made up in JSON
        #[arg(long)]
        show_secrets: bool,
    },
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Self::Change { new_passphrase_file, generate_passphrase, show_secrets } = self;
        let mut unlocked = context.unlock()?;
        let chosen = Chosen::choose(context, new_passphrase_file, generate_passphrase)?;
        unlocked.account.change_passphrase(&chosen.passphrase, &mut random()?)?;
        let made_up = (chosen.generated && !chosen.written).then(|| chosen.passphrase.expose());
        let shown = made_up.filter(|_| show_secrets);
        let text = match made_up {
            Some(passphrase) => format!("Generated passphrase:  {passphrase}"),
            None => "the passphrase is changed".to_owned(),
        };
        context.out.result(&json!({ "v": 1, "type": "passphrase.changed", "passphrase": shown }), text)?;
        Ok(Exit::Done)
    }
}

/// A passphrase that was chosen for an account.
pub(super) struct Chosen {
    pub(super) passphrase: Passphrase,
    /// Whether it was made up.
    pub(super) generated: bool,
    /// Whether it was written to the file that was named, so that it need not be shown.
    pub(super) written: bool,
}

impl Chosen {
    /// From `file`, made up, or asked for.
    pub(super) fn choose(context: &Context, file: Option<PathBuf>, generate: bool) -> Result<Self, CliError> {
        match (file, generate) {
            (Some(path), true) => {
                let chosen = Self::generate()?;
                write_secret(&path, chosen.passphrase.expose())?;
                Ok(Self { written: true, ..chosen })
            }
            (Some(path), false) => {
                let text = input::read_secret(&path, |warning| context.out.say(warning))?;
                let passphrase = Passphrase::chosen(text).map_err(|error| {
                    CliError::new(Exit::Failed, "passphrase", format!("{}: {error}", path.display()))
                        .hint("--generate-passphrase makes one up and writes it to a new file")
                })?;
                Ok(Self { passphrase, generated: false, written: false })
            }
            (None, true) => Self::generate(),
            (None, false) => Self::ask(context),
        }
    }

    fn generate() -> Result<Self, CliError> {
        Ok(Self { passphrase: Passphrase::generate(&mut random()?), generated: true, written: false })
    }

    fn ask(context: &Context) -> Result<Self, CliError> {
        let mut terminal = context
            .terminal()
            .ok_or_else(|| nobody_to_ask("a new passphrase", "--passphrase-file FILE, or --generate-passphrase"))?;
        let first = terminal.ask_secret("New passphrase (empty = generate): ")?;
        if first.is_empty() {
            return Self::generate();
        }
        let passphrase = Passphrase::chosen(first).map_err(bad_passphrase)?;
        if *terminal.ask_secret("Once more: ")? != *passphrase.expose() {
            return Err(CliError::new(Exit::Failed, "passphrase", "the two passphrases differ"));
        }
        Ok(Self { passphrase, generated: false, written: false })
    }
}

/// A secret is needed and there is no terminal to ask on.
pub(super) fn nobody_to_ask(what: &str, hint: &str) -> CliError {
    CliError::new(Exit::Locked, "locked", format!("nobody is there to ask for {what}")).hint(hint)
}

/// Writes a made-up passphrase to a new file that only its owner can read.
fn write_secret(path: &Path, text: &str) -> Result<(), CliError> {
    let write = || -> io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::new(Exit::Conflict, "exists", format!("{} is there already", path.display()))
                .hint("leave out --generate-passphrase to use what is in it")
        }
        _ => CliError::io("write", path.display(), &error),
    })
}
