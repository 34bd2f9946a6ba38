//! `sotto-node config`.

use clap::{Args, Subcommand};

use super::{CliError, Context, Exit, NodeSettings};
use crate::config::{Config, Origin};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node config show --origin
  SOTTO_NODE_LISTEN=0.0.0.0:443 sotto-node config show
  sotto-node config check

Layers, each winning over the one before: defaults, /etc/sotto/node.toml, node.toml in the data directory (or --config
FILE), environment, flags.")]
pub(super) struct ConfigVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show every setting as it would be used
    Show {
        /// Show where each comes from
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        settings: NodeSettings,
    },
    /// Say whether a node would start with them
    Check {
        #[command(flatten)]
        settings: NodeSettings,
    },
}

impl ConfigVerb {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Show { origin, settings } => show(context, origin, &settings),
            Verb::Check { settings } => check(context, &settings),
        }
    }
}

fn show(context: &Context, with_origin: bool, node: &NodeSettings) -> Result<Exit, CliError> {
    let settings = context.settings(node)?;
    let mut text = format!("# data directory: {}\n", context.datadir.display());
    let mut values = serde_json::Map::new();
    for (setting, valued) in settings.iter() {
        let origin = if with_origin { format!("  # {}", valued.origin) } else { String::new() };
        let line = format!("{} = {:?}", setting.name, valued.text);
        // What is not set is shown as a comment, so that the whole can be used as a file.
        let unset = valued.text.is_empty() && valued.origin == Origin::Default;
        text.push_str(&format!("{}{line:<44}{origin}\n", if unset { "# " } else { "" }));
        let value = serde_json::json!({ "value": valued.text, "origin": valued.origin.to_string() });
        values.insert(setting.name.to_owned(), value);
    }
    let document = serde_json::json!({ "v": 1, "type": "node.config", "datadir": context.datadir, "settings": values });
    context.out.result(&document, &text)?;
    Ok(Exit::Done)
}

fn check(context: &Context, node: &NodeSettings) -> Result<Exit, CliError> {
    let config = Config::from_settings(&context.settings(node)?)?;
    let genesis = context.genesis(&config)?;
    let chain = genesis.genesis.chain_id();
    let document = serde_json::json!({ "v": 1, "type": "node.config_check", "ok": true, "chain": chain.to_string() });
    let preset = genesis.genesis.preset.name();
    context.out.result(&document, &format!("the settings are good; the chain is {} ({preset})", chain.short()))?;
    Ok(Exit::Done)
}
