//! `sotto config`.

use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use super::settings::{self, Origin};
use super::{CliError, Exit};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  sotto config set testnet dev
  sotto config show --origin

Layers, each winning over the one before: defaults, /etc/sotto/config.toml, your own file (see: sotto config path),
environment, flags.")]
pub(super) enum Verb {
    /// Show every setting as it would be used
    Show {
        /// Show where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// Set a setting in your own file; an empty value takes it out
    Set {
        /// Its name, as in the flag
        name: String,
        /// The value
        value: String,
    },
    /// Say whether the settings make sense, and what they lead to
    Check,
    /// Where your own file is
    Path,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Show { origin } => show(context, origin),
            Self::Set { name, value } => set(context, &name, &value),
            Self::Check => check(context),
            Self::Path => {
                let path = &context.settings.file;
                context.out.result(&json!({ "v": 1, "type": "config.path", "path": path }), path.display())?;
                Ok(Exit::Done)
            }
        }
    }
}

fn show(context: &Context, with_origin: bool) -> Result<Exit, CliError> {
    let (mut text, mut values) = (String::new(), serde_json::Map::new());
    for (setting, valued) in context.settings.iter() {
        let origin = if with_origin { format!("  # {}", valued.origin) } else { String::new() };
        let line = format!("{} = {:?}", setting.name, valued.text);
        // What is not set is shown as a comment, so that the whole can be used as a file.
        let unset = valued.text.is_empty() && valued.origin == Origin::Default;
        text.push_str(&format!("{}{line:<36}{origin}\n", if unset { "# " } else { "" }));
        let value = json!({ "value": valued.text, "origin": valued.origin.to_string() });
        values.insert(setting.name.to_owned(), value);
    }
    context.out.result(&json!({ "v": 1, "type": "config", "settings": values }), text)?;
    Ok(Exit::Done)
}

fn set(context: &Context, name: &str, value: &str) -> Result<Exit, CliError> {
    let setting = settings::find(name)?;
    let file = &context.settings.file;
    settings::set_in_file(file, setting, value)?;
    let document = json!({ "v": 1, "type": "config.set", "name": setting.name, "value": value, "file": file });
    context.out.result(&document, format!("{} = {value:?} in {}", setting.name, file.display()))?;
    Ok(Exit::Done)
}

fn check(context: &Context) -> Result<Exit, CliError> {
    let genesis = context.genesis()?;
    let (chain, preset) = (genesis.genesis.chain_id(), genesis.genesis.preset.name());
    let accounts = context.accounts(&genesis).folders()?.len();
    let datadir = context.datadir();
    let document = json!({
        "v": 1, "type": "config.check", "ok": true, "chain": chain.to_string(), "preset": preset, "datadir": datadir,
        "accounts": accounts,
    });
    let text = format!(
        "the settings are good: network {} ({preset}), {accounts} accounts in {}",
        chain.short(),
        datadir.display()
    );
    context.out.result(&document, text)?;
    Ok(Exit::Done)
}
