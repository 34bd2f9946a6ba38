//! `sotto-node keys`: what may be shown of the keys, changing the X25519 key, and the backup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{ANSWER, CliError, Context, Exit, init};
use crate::admin::client;
use crate::keys::{KeyDirectory, Seed, Slot, write_secret};

/// Longest backup that is read.
const BACKUP_BYTES: u64 = 4096;
/// Type of a backup document.
const BACKUP_TYPE: &str = "node.keys";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node keys show
  sotto-node keys rotate
  sotto-node keys backup /media/stick/node-keys.json")]
pub(super) struct Keys {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// Show the public keys and their files; never the secrets
    Show,
    /// Change the X25519 key of the running node now instead of when it is due
    Rotate,
    /// Write all secrets to a new file, for `init --restore`; whoever reads it is the node, and has its coins
    Backup {
        /// The file; must not exist
        file: PathBuf,
    },
}

impl Keys {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        match self.verb {
            KeysVerb::Show => show(context),
            KeysVerb::Rotate => rotate(context),
            KeysVerb::Backup { file } => backup(context, &file),
        }
    }
}

fn directory(context: &Context) -> Result<KeyDirectory, CliError> {
    let keys = KeyDirectory::of(&context.datadir);
    if !keys.path(Slot::Node).exists() {
        return Err(CliError::not_set_up(&context.datadir));
    }
    keys.check()?;
    Ok(keys)
}

fn show(context: &Context) -> Result<Exit, CliError> {
    let keys = directory(context)?;
    let mut shown = BTreeMap::new();
    let mut text = String::new();
    for slot in Slot::ALL {
        let Some(seed) = keys.find(slot)? else { continue };
        let public = match slot {
            Slot::Node | Slot::Operator => seed.signing_key().public().to_string(),
            Slot::X25519 | Slot::X25519Previous | Slot::X25519Next => seed.x25519().public().to_string(),
        };
        text.push_str(&format!("{:<15} {public}  {}\n", slot.name(), keys.path(slot).display()));
        shown.insert(slot.name(), public);
    }
    let document = serde_json::json!({ "v": 1, "type": "node.public_keys", "keys": shown });
    context.out.result(&document, &text)?;
    Ok(Exit::Done)
}

fn rotate(context: &Context) -> Result<Exit, CliError> {
    directory(context)?;
    let answer = client::ask(&context.datadir, "POST", "/keys/rotate", "", context.timeout.unwrap_or(ANSWER))?;
    if answer.status != 202 {
        let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let message = document["message"].as_str().unwrap_or(&answer.body).to_owned();
        return Err(CliError::new(Exit::Conflict, "refused", message));
    }
    let text = "a new X25519 key is on its way to the chain; the present one stays good for one more period";
    context.out.result(&serde_json::json!({ "v": 1, "type": "node.rotation", "begun": true }), text)?;
    Ok(Exit::Done)
}

/// The secrets of a backup. Zeroized as the strings are dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupFile {
    v: u32,
    #[serde(rename = "type")]
    kind: String,
    keys: BTreeMap<String, String>,
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        self.keys.values_mut().for_each(String::zeroize);
    }
}

/// Keys out of a backup.
#[derive(Debug)]
pub(super) struct Backup {
    pub(super) node: Seed,
    pub(super) operator: Option<Seed>,
    pub(super) x25519: Option<Seed>,
}

fn backup(context: &Context, file: &Path) -> Result<Exit, CliError> {
    let keys = directory(context)?;
    let mut backup = BackupFile { v: 1, kind: BACKUP_TYPE.to_owned(), keys: BTreeMap::new() };
    for slot in [Slot::Node, Slot::Operator, Slot::X25519] {
        if let Some(seed) = keys.find(slot)? {
            backup.keys.insert(slot.name().to_owned(), hex::encode(seed.expose()));
        }
    }
    let text = Zeroizing::new(serde_json::to_string_pretty(&backup).unwrap_or_default());
    write_secret(file, text.as_bytes())?;
    let names: Vec<_> = backup.keys.keys().cloned().collect();
    let document = serde_json::json!({ "v": 1, "type": "node.backup", "file": file, "keys": names });
    let text = format!(
        "{} keys are in {}, readable by you only\nThey are not encrypted: put the file where nobody else gets at it.\n",
        names.len(),
        file.display()
    );
    context.out.result(&document, &text)?;
    Ok(Exit::Done)
}

/// Reads a backup.
pub(super) fn read_backup(path: &Path) -> Result<Backup, CliError> {
    let bad = |reason: &str| {
        CliError::new(Exit::Failed, "backup", format!("{} is no backup of keys: {reason}", path.display()))
    };
    let text = Zeroizing::new(init::read_bounded(path, BACKUP_BYTES, "backup")?);
    // The parser's own message would quote the file.
    let file: BackupFile = serde_json::from_str(&text).map_err(|_| bad("not the JSON of one"))?;
    if file.v != 1 || file.kind != BACKUP_TYPE {
        return Err(bad("another version or type"));
    }
    let find = |slot: Slot| match file.keys.get(slot.name()) {
        None => Ok(None),
        Some(text) => Seed::from_hex(text.as_bytes()).map(Some).ok_or_else(|| bad("a key is not 64 hex digits")),
    };
    Ok(Backup {
        node: find(Slot::Node)?.ok_or_else(|| bad("it has no node key"))?,
        operator: find(Slot::Operator)?,
        x25519: find(Slot::X25519)?,
    })
}
