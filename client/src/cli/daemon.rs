//! `sotto daemon`: one process that holds the account, follows its mail, sends, and serves all others.
//!
//! | file | what it does |
//! | --- | --- |
//! | `engine`, `receiver`, `sender` | the account at work, in two threads beside those of calls |
//! | `server`, `call`, `method`, `events`, `openrpc` | JSON-RPC over a stream; the command line as its methods |
//! | `http` | the same over HTTP, with events as a stream |
//! | `hooks` | events to a URL |
//! | `socket` | where it listens, and who may call |
//! | `link`, `attached` | the other end: commands that the daemon runs; a daemon of one's own where none runs |
//! | `verbs` | `sotto daemon …`, `lock`, `unlock`, `rpc` |

mod attached;
mod call;
mod engine;
mod events;
mod hooks;
mod http;
pub(super) mod link;
mod method;
mod openrpc;
mod receiver;
mod sender;
mod server;
mod socket;
mod verbs;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use zeroize::{Zeroize as _, Zeroizing};

pub(super) use self::attached::Attached;
pub(super) use self::engine::Engine;
pub(super) use self::hooks::{Hook, Hooks, MOST as MOST_HOOKS};
pub(super) use self::openrpc::document as openrpc;
pub(super) use self::server::LINE;
pub(super) use self::socket::path as socket_path;
pub(super) use self::verbs::{Verb, lock, rpc, unlock};
use super::context::bad_passphrase;
use super::{CliError, Exit};
use crate::store::{Accounts, FolderName, OpenAccount, Passphrase};
use sotto_proto::chain::GenesisFile;

/// Commands that are at work at once, more wait. Each has two of the runtime's threads: one runs it, one passes on what it
/// says.
const COMMANDS: usize = 24;
/// Threads for those and for what else takes its time.
const THREADS: usize = 64;
/// Connections at once, of each kind.
const CONNECTIONS: usize = 64;

/// Zeroizes what may be secret among a call's parameters, once it is used.
fn forget(params: &mut Value) {
    let text = |value: &mut Value| {
        if let Value::String(text) = value {
            text.zeroize();
        }
    };
    params.get_mut("answers").and_then(Value::as_array_mut).into_iter().flatten().for_each(text);
    params.get_mut("passphrase").into_iter().for_each(text);
}

/// The tree of commands, made once.
fn tree() -> &'static clap::Command {
    static TREE: LazyLock<clap::Command> = LazyLock::new(|| {
        let mut tree = super::command();
        tree.build();
        tree
    });
    &TREE
}

/// Puts an account to work, with its hooks.
fn begin(genesis: GenesisFile, account: OpenAccount, timeout: Duration) -> Result<Arc<Engine>, CliError> {
    let engine = Engine::start(genesis, account, timeout)?;
    tokio::spawn(hooks::run(Arc::clone(&engine)));
    Ok(engine)
}

/// What it takes to open the account again.
#[derive(Debug)]
struct Home {
    genesis: GenesisFile,
    accounts: Accounts,
    folder: FolderName,
    timeout: Duration,
}

/// A daemon: an account that is at work, or locked.
#[derive(Debug)]
pub(super) struct Daemon {
    home: Home,
    engine: Mutex<Option<Arc<Engine>>>,
    stopping: watch::Sender<bool>,
    commands: Semaphore,
}

impl Daemon {
    /// Puts an account to work.
    fn start(
        genesis: GenesisFile,
        accounts: Accounts,
        folder: FolderName,
        account: OpenAccount,
        timeout: Duration,
    ) -> Result<Arc<Self>, CliError> {
        let engine = begin(genesis.clone(), account, timeout)?;
        let home = Home { genesis, accounts, folder, timeout };
        let (engine, stopping) = (Mutex::new(Some(engine)), watch::channel(false).0);
        Ok(Arc::new(Self { home, engine, stopping, commands: Semaphore::new(COMMANDS) }))
    }

    /// The account at work.
    ///
    /// # Errors
    /// The account is locked.
    pub(super) fn engine(&self) -> Result<Arc<Engine>, CliError> {
        self.slot()
            .clone()
            .ok_or_else(|| CliError::new(Exit::Locked, "locked", "the account is locked").hint("sotto unlock"))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Engine>>> {
        // A panic ends the process, so that nobody finds what it left.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the account's work and forgets its keys.
    fn lock(&self) {
        if let Some(engine) = self.slot().take() {
            engine.stop();
        }
    }

    /// Puts the account to work again.
    fn unlock(&self, passphrase: Zeroizing<String>) -> Result<(), CliError> {
        if self.slot().is_some() {
            return Ok(());
        }
        let passphrase = Passphrase::typed(passphrase).map_err(bad_passphrase)?;
        // Its lock lets one of two through that unlock at once. Nobody else waits for the key derivation.
        let account = self.home.accounts.open_folder(self.home.folder, &passphrase)?;
        *self.slot() = Some(begin(self.home.genesis.clone(), account, self.home.timeout)?);
        Ok(())
    }

    fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until a command may run.
    async fn command(&self) -> Result<SemaphorePermit<'_>, CliError> {
        let stopped = |_| CliError::new(Exit::Network, "daemon_stopped", "the daemon is about to stop");
        self.commands.acquire().await.map_err(stopped)
    }

    /// Comes back when the daemon stops.
    async fn stopped(&self) {
        // An error means that the daemon is gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// For programs.
    fn status(&self) -> Value {
        let engine = self.slot().clone();
        json!({
            "v": 1, "type": "daemon.status", "pid": std::process::id(), "locked": engine.is_none(),
            "account": engine.as_ref().map(|engine| engine.own().to_string()),
            "connection": engine.map(|engine| engine.connection().document()),
        })
    }
}
