//! `sotto account create` and `restore`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sotto_proto::account::Entropy;
use sotto_proto::chain::GenesisFile;
use zeroize::Zeroizing;

use super::phrase_of;
use crate::cli::context::{Context, bad_passphrase, clock, random};
use crate::cli::input;
use crate::cli::passphrase::{Chosen, nobody_to_ask};
use crate::cli::{CliError, Exit};
use crate::store::{AccountName, DeviceKey, Kdf, NewAccount, OpenAccount, Passphrase};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto --testnet dev account create --name carol
  sotto --testnet dev account create --name bot --passphrase-file bot.pass --generate-passphrase --json")]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    new: NewArgs,
    /// Also show secrets in JSON: the phrase, and a passphrase that was made up
    #[arg(long)]
    show_secrets: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto --testnet dev account restore --name carol
  sotto --testnet dev account restore --name carol --phrase-file words.txt --passphrase-file carol.pass")]
pub(in crate::cli) struct Restore {
    #[command(flatten)]
    new: NewArgs,
    /// The phrase is in this file; - is standard input
    #[arg(long, value_name = "FILE")]
    phrase_file: Option<PathBuf>,
    /// Also show a passphrase that was made up in JSON
    #[arg(long)]
    show_secrets: bool,
}

#[derive(Debug, Args)]
struct NewArgs {
    /// What to call it; only this device knows the name
    #[arg(long)]
    name: AccountName,
    /// Make up a passphrase; with --passphrase-file it is written there
    #[arg(long)]
    generate_passphrase: bool,
    /// An account whose guards (the nodes that see this device's address) the new one shares
    #[arg(long, value_name = "NAME")]
    share_guards_with: Option<AccountName>,
    /// That account's passphrase is in this file
    #[arg(long, value_name = "FILE", requires = "share_guards_with")]
    share_passphrase_file: Option<PathBuf>,
}

impl Create {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let genesis = context.genesis()?;
        let made = self.new.make(context, &genesis, || {
            let mut bytes = [0; Entropy::LEN];
            rand_core::Rng::fill_bytes(&mut random()?, &mut bytes);
            Ok(Entropy::take(&mut bytes))
        })?;
        let words = phrase_of(&made.account, false);
        let mut text = made.text();
        let _ = writeln!(text, "Recovery phrase (write it down, shown once):"); // a String takes everything
        for (number, word) in (1..).zip(words.expose().split(' ')) {
            let _ = write!(text, "{number:>4} {word}{}", if number % 4 == 0 { "\n" } else { "" });
        }
        let id = made.account.account().address();
        let _ = write!(text, "Your id    {id}    sotto account show --qr");
        let phrase = self.show_secrets.then(|| words.expose());
        context
            .out
            .result(&made.document("account.created", self.show_secrets, phrase), Zeroizing::new(text).as_str())?;
        Ok(Exit::Done)
    }
}

impl Restore {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let genesis = context.genesis()?;
        let made = self.new.make(context, &genesis, || read_phrase(context, self.phrase_file.as_deref()))?;
        let text = format!("{}Your id    {}", made.text(), made.account.account().address());
        context
            .out
            .result(&made.document("account.restored", self.show_secrets, None), Zeroizing::new(text).as_str())?;
        Ok(Exit::Done)
    }
}

/// A new account, and the passphrase if it was made up.
struct Made {
    account: OpenAccount,
    generated: Option<Passphrase>,
    written: bool,
}

impl NewArgs {
    fn make(
        &self,
        context: &Context,
        genesis: &GenesisFile,
        entropy: impl FnOnce() -> Result<Entropy, CliError>,
    ) -> Result<Made, CliError> {
        let accounts = context.accounts(genesis);
        if accounts.find(&self.name).is_some() {
            return Err(CliError::new(
                Exit::Conflict,
                "exists",
                format!("there is already an account {:?}", self.name.as_str()),
            )
            .hint("choose another name, or see: sotto account list"));
        }
        let entropy = entropy()?;
        let device = self.device(context, genesis)?;
        let file = context.settings.path("passphrase-file");
        let Chosen { passphrase, generated, written } = Chosen::choose(context, file, self.generate_passphrase)?;
        let kdf = Kdf::of(genesis.genesis.preset);
        let new =
            NewAccount { name: &self.name, entropy: &entropy, passphrase: &passphrase, kdf, device, created: clock() };
        let account = accounts.create(&new, &mut random()?)?;
        context.remember(&accounts, genesis)?;
        Ok(Made { account, generated: generated.then_some(passphrase), written })
    }

    /// The device's key: of the account that is named, else a new one.
    fn device(&self, context: &Context, genesis: &GenesisFile) -> Result<DeviceKey, CliError> {
        let accounts = context.accounts(genesis);
        let Some(name) = &self.share_guards_with else {
            if !accounts.folders()?.is_empty() {
                context
                    .out
                    .say("note: the new account chooses guards of its own; --share-guards-with NAME shares them");
            }
            return Ok(DeviceKey::generate(&mut random()?));
        };
        let passphrase = match &self.share_passphrase_file {
            Some(path) => input::read_secret(path, |warning| context.out.say(warning))?,
            None => context
                .terminal()
                .ok_or_else(|| nobody_to_ask(&format!("the passphrase of {name}"), "--share-passphrase-file FILE"))?
                .ask_secret(&format!("Passphrase of {name}: "))?,
        };
        let passphrase = Passphrase::typed(passphrase).map_err(bad_passphrase)?;
        Ok(accounts.open(name, &passphrase)?.device().key().clone())
    }
}

fn read_phrase(context: &Context, file: Option<&Path>) -> Result<Entropy, CliError> {
    if file.is_some() && file == context.settings.path("passphrase-file").as_deref() {
        return Err(CliError::new(Exit::Usage, "one_file", "phrase and passphrase cannot come from the same file"));
    }
    let text = match file {
        Some(path) => input::read_secret(path, |warning| context.out.say(warning))?,
        None => context
            .terminal()
            .ok_or_else(|| nobody_to_ask("the phrase", "--phrase-file FILE; - is standard input"))?
            .ask_secret("Phrase (12 or 13 words): ")?,
    };
    Entropy::from_phrase(&text).map_err(|error| {
        CliError::new(Exit::Failed, "phrase", error.to_string())
            .hint("type it as it was written down: words and spaces")
    })
}

impl Made {
    /// What is said of the passphrase, if it was made up.
    fn text(&self) -> String {
        // Room for all that follows, so that growing leaves no copies behind.
        let mut text = String::with_capacity(1024);
        if let Some(passphrase) = self.generated.as_ref().filter(|_| !self.written) {
            let _ = writeln!(text, "Generated passphrase:  {}", passphrase.expose()); // a String takes everything
        }
        text
    }

    fn document(&self, kind: &str, show_secrets: bool, phrase: Option<&str>) -> Value {
        let passphrase = self.generated.as_ref().filter(|_| show_secrets).map(Passphrase::expose);
        json!({
            "v": 1, "type": kind, "name": self.account.name().as_str(), "id": self.account.account().address().to_string(),
            "insecure": self.account.kdf().is_insecure(), "phrase": phrase, "passphrase": passphrase,
        })
    }
}
