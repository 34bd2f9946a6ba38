//! What every command works with.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::chain::{GenesisFile, MAX_GENESIS_FILE_BYTES};
use sotto_proto::time::UnixMillis;
use zeroize::{Zeroize as _, Zeroizing};

use super::daemon::link::Link;
use super::daemon::{Engine, socket_path};
use super::input::{self, Terminal};
use super::output::Output;
use super::settings::{Settings, Valued, default_datadir};
use super::{CliError, Exit};
use crate::store::{AccountName, Accounts, FolderName, OpenAccount, Passphrase};

/// A network's genesis file, kept beside its accounts so that it need not be named again.
const GENESIS: &str = crate::store::GENESIS;

/// Settings, output, and the ways to accounts and networks.
#[derive(Debug)]
pub(super) struct Context {
    /// Where results go.
    pub(super) out: Output,
    /// All settings.
    pub(super) settings: Settings,
    /// How long to wait for an answer.
    pub(super) timeout: Duration,
    /// Answer yes to every question.
    pub(super) assume_yes: bool,
    /// Fail instead of asking.
    pub(super) no_input: bool,
    /// Whoever called the command from another process, if it runs in the daemon.
    pub(super) caller: Option<Caller>,
}

/// Somebody in another process for whom the daemon runs a command.
#[derive(Debug)]
pub(super) struct Caller {
    /// The account at work.
    pub(super) engine: Arc<Engine>,
    /// What was answered to the questions of the command, in their order.
    pub(super) answers: Vec<Zeroizing<String>>,
    /// Its standard input, if it was given.
    pub(super) input: Option<String>,
    /// Where it was given.
    pub(super) folder: PathBuf,
}

/// An account with its network.
#[derive(Debug)]
pub(super) struct Unlocked {
    /// The network.
    pub(super) genesis: GenesisFile,
    /// The account.
    pub(super) account: OpenAccount,
}

impl Context {
    /// Where accounts are kept.
    pub(super) fn datadir(&self) -> PathBuf {
        self.settings.path("datadir").unwrap_or_else(default_datadir)
    }

    /// The network: of `--genesis` or `--testnet`, whichever is said more plainly; else the only one there is an account
    /// on.
    pub(super) fn genesis(&self) -> Result<GenesisFile, CliError> {
        match (self.settings.value("genesis"), self.settings.value("testnet")) {
            (None, None) => self.known_network(),
            (Some(_), None) => self.genesis_of_setting(),
            (None, Some(testnet)) => read_testnet(testnet),
            (Some(genesis), Some(testnet)) => match rank(genesis).cmp(&rank(testnet)) {
                std::cmp::Ordering::Greater => self.genesis_of_setting(),
                std::cmp::Ordering::Less => read_testnet(testnet),
                std::cmp::Ordering::Equal => Err(CliError::new(
                    Exit::Usage,
                    "two_networks",
                    format!("two networks are given: genesis ({}) and testnet ({})", genesis.origin, testnet.origin),
                )
                .hint("say one of them")),
            },
        }
    }

    fn genesis_of_setting(&self) -> Result<GenesisFile, CliError> {
        read_genesis(&self.settings.path("genesis").unwrap_or_default())
    }

    fn known_network(&self) -> Result<GenesisFile, CliError> {
        let mut known = known_networks(&self.datadir());
        match (known.pop(), known.is_empty()) {
            (Some(path), true) => read_genesis(&path),
            (None, _) => Err(CliError::new(Exit::Failed, "no_network", "which network? none is known yet")
                .hint("a local testnet: ./testnet/up.sh, then --testnet dev; another network: --genesis FILE, from whoever runs it")),
            (Some(_), false) => Err(CliError::new(
                Exit::Failed,
                "which_network",
                format!("which network? there are accounts on {}", known.len() + 1),
            )
            .hint("--testnet NAME or --genesis FILE says it; so does: sotto config set testnet NAME")),
        }
    }

    /// The accounts of a network.
    pub(super) fn accounts(&self, genesis: &GenesisFile) -> Accounts {
        Accounts::new(&self.datadir(), genesis.genesis.chain_id())
    }

    /// Keeps a network's genesis file beside its accounts.
    pub(super) fn remember(&self, accounts: &Accounts, genesis: &GenesisFile) -> Result<(), CliError> {
        let path = accounts.folder().join(GENESIS);
        if path.exists() {
            return Ok(());
        }
        fs::write(&path, genesis.to_json()).map_err(|error| CliError::io("write", path.display(), &error))
    }

    /// The account that is meant: of `--account`, else the only one.
    pub(super) fn choose(&self, accounts: &Accounts) -> Result<FolderName, CliError> {
        if let Some(Valued { text, .. }) = self.settings.value("account") {
            let by_name = text.parse::<AccountName>().ok().and_then(|name| accounts.find(&name));
            let by_folder =
                || FolderName::read(text).filter(|folder| accounts.folders().is_ok_and(|all| all.contains(folder)));
            return by_name.or_else(by_folder).ok_or_else(|| {
                CliError::new(
                    Exit::NotFound,
                    "no_such_account",
                    format!("there is no account {text:?} on this network"),
                )
                .hint(format!("sotto account create --name {text:?}"))
            });
        }
        match accounts.folders()?.as_slice() {
            [only] => Ok(*only),
            [] => Err(CliError::new(Exit::NotFound, "no_account", "there is no account on this network yet")
                .hint("sotto account create --name NAME")),
            several => Err(CliError::new(
                Exit::Failed,
                "which_account",
                format!("which account? there are {} on this network", several.len()),
            )
            .hint("--account NAME says it; so does: sotto config set account NAME")),
        }
    }

    /// Unlocks the account that is meant; in the daemon it is open already.
    pub(super) fn unlock(&self) -> Result<Unlocked, CliError> {
        if let Some(caller) = &self.caller {
            return Ok(Unlocked { genesis: caller.engine.genesis().clone(), account: caller.engine.account()? });
        }
        let genesis = self.genesis()?;
        let accounts = self.accounts(&genesis);
        let folder = self.choose(&accounts)?;
        let passphrase = self.passphrase()?;
        let mut account = accounts.open_folder(folder, &passphrase)?;
        if let Some(name) = self.settings.value("account").and_then(|valued| valued.text.parse().ok())
            && accounts.find(&name) == Some(folder)
        {
            account.settle_name(&name)?;
        }
        if account.is_copy() {
            self.out.say(super::doctor::COPIED);
        }
        let mut unlocked = Unlocked { genesis, account };
        super::message::vanish(&mut unlocked)?;
        Ok(unlocked)
    }

    /// The same for saying something, which takes no time: in the daemon by the connection of those who work on messages.
    pub(super) fn unlock_to_say(&self) -> Result<Unlocked, CliError> {
        match &self.caller {
            Some(Caller { engine, .. }) => {
                Ok(Unlocked { genesis: engine.genesis().clone(), account: engine.on_the_line()? })
            }
            None => self.unlock(),
        }
    }

    /// The daemon that has the account that is meant, if one runs. Whatever keeps the account from being found is told
    /// when it is opened.
    pub(super) fn daemon(&self) -> Option<Link> {
        if self.caller.is_some() {
            return None;
        }
        let accounts = self.accounts(&self.genesis().ok()?);
        let folder = self.choose(&accounts).ok()?;
        Link::open(&socket_path(&accounts.folder().join(folder.to_string())))
    }

    /// The account's passphrase: from the file that was named, else asked for.
    pub(super) fn passphrase(&self) -> Result<Passphrase, CliError> {
        if let Some(path) = self.settings.path("passphrase-file") {
            let text = input::read_secret(&path, |warning| self.out.say(warning))?;
            return Passphrase::typed(text).map_err(bad_passphrase);
        }
        let mut terminal = self.terminal().ok_or_else(|| {
            CliError::new(Exit::Locked, "locked", "the account is locked and nobody is there to ask for its passphrase")
                .hint("--passphrase-file FILE")
        })?;
        Passphrase::typed(terminal.ask_secret("Passphrase: ")?).map_err(bad_passphrase)
    }

    /// The terminal, unless it is not to be used. That of a caller is in another process, which asks there.
    pub(super) fn terminal(&self) -> Option<Terminal> {
        match &self.caller {
            _ if self.no_input => None,
            Some(caller) => Some(Terminal::elsewhere(&caller.answers)),
            None => Terminal::open(),
        }
    }

    /// Standard input as text, at most so many bytes; `None` if there is none, as for a caller that gives everything in
    /// its parameters.
    pub(super) fn standard_input(&self, most: u64) -> Result<Option<String>, CliError> {
        if let Some(caller) = &self.caller {
            return Ok(caller.input.clone());
        }
        let mut text = String::new();
        let read = std::io::stdin().take(most).read_to_string(&mut text);
        read.map_err(|error| CliError::io("read", "standard input", &error))?;
        Ok(Some(text))
    }

    /// A file that was named, as seen from where the command was given.
    pub(super) fn file(&self, path: &Path) -> PathBuf {
        match &self.caller {
            Some(caller) => caller.folder.join(path),
            None => path.to_owned(),
        }
    }

    /// Asks before something that cannot be undone: `word` must be typed, unless `--yes` is given.
    pub(super) fn confirm(&self, what: &str, word: &str) -> Result<(), CliError> {
        if self.assume_yes {
            return Ok(());
        }
        let refused = |message: &str| CliError::new(Exit::Failed, "not_confirmed", message).hint("--yes confirms it");
        let mut terminal = self.terminal().ok_or_else(|| refused("nobody is there to confirm it"))?;
        let typed = terminal.ask(&format!("{what}\nType {word} to go on: "))?;
        if typed == word { Ok(()) } else { Err(refused("nothing was changed")) }
    }

    /// A runtime for what talks to the network.
    pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            CliError::new(Exit::Failed, "runtime", format!("cannot start: {error}"))
                .hint("is the limit of open files reached? see: ulimit -n")
        })
    }
}

/// A random source that the operating system has seeded.
pub(super) fn random() -> Result<ChaCha20Rng, CliError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| CliError::new(Exit::Internal, "random", format!("no random numbers: {error}")))?;
    let rng = ChaCha20Rng::from_seed(seed);
    seed.zeroize();
    Ok(rng)
}

/// The machine's clock; everything else is told the time.
#[expect(clippy::disallowed_methods, reason = "the edge of the program: the one place that reads the clock")]
pub(super) fn clock() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// An error about a passphrase somebody chose or typed.
pub(super) fn bad_passphrase(error: crate::store::PassphraseError) -> CliError {
    CliError::new(Exit::Failed, "passphrase", error.to_string()).hint("leave it empty and one is made up for you")
}

/// How plainly a setting was said: flag, environment, user's file, system's file.
const fn rank(valued: &Valued) -> u8 {
    use super::settings::Origin::{Default, Environment, File, Flag, System};
    match valued.origin {
        Default => 0,
        System => 1,
        File(_) => 2,
        Environment(_) => 3,
        Flag(_) => 4,
    }
}

/// Genesis files of the networks that there are accounts on.
fn known_networks(datadir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(datadir) else { return Vec::new() };
    let mut known: Vec<_> =
        entries.flatten().map(|entry| entry.path().join(GENESIS)).filter(|path| path.is_file()).collect();
    known.sort();
    known
}

/// The genesis of a local testnet: a directory, or a name below `testnet/data` of this directory or one above it.
fn read_testnet(testnet: &Valued) -> Result<GenesisFile, CliError> {
    let name = &testnet.text;
    if name.contains('/') {
        return read_genesis(&Path::new(name).join(GENESIS));
    }
    let here = std::env::current_dir().map_err(|error| CliError::io("find", "the current directory", &error))?;
    let relative = Path::new("testnet/data").join(name).join(GENESIS);
    let found = here.ancestors().map(|folder| folder.join(&relative)).find(|path| path.is_file());
    let path = found.ok_or_else(|| {
        let message = format!("there is no testnet {name:?} ({}): no {}", testnet.origin, relative.display());
        CliError::new(Exit::NotFound, "no_such_testnet", message).hint(
            "start one with ./testnet/up.sh, and run sotto below the same directory; or give its path: --testnet DIR/",
        )
    })?;
    read_genesis(&path)
}

/// Reads a genesis file.
pub(super) fn read_genesis(path: &Path) -> Result<GenesisFile, CliError> {
    let wrong = |message: String| {
        CliError::new(Exit::Failed, "genesis", format!("{}: {message}", path.display()))
            .hint("a network's genesis file comes from whoever runs it; a local testnet has one at testnet/data/dev/genesis.json")
    };
    let bytes = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if bytes > MAX_GENESIS_FILE_BYTES as u64 {
        return Err(wrong(format!("{bytes} bytes is too large for a genesis file")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    GenesisFile::from_json(&text).map_err(|error| wrong(error.to_string()))
}
