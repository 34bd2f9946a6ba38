//! Real messengers of the bench: encrypted stores in a directory of the run, which goes with it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use sotto_behaviours::network::WallClock;
use sotto_client::messenger::Messenger;
use sotto_client::store::{
    AccountName, AccountNameError, Accounts, DeviceKey, Kdf, NewAccount, OpenAccount, Passphrase,
};
use zeroize::Zeroizing;

use super::network::{Network, PATIENCE, Person};
use super::stamping::random;
use crate::failure::{Context as _, Exit, Failure};

/// What protects the accounts of a bench: nothing.
const PASSPHRASE: &str = "test only";

/// The directory of a run's messengers; removed when dropped.
#[derive(Debug)]
pub(crate) struct Devices(PathBuf);

impl Devices {
    /// A directory below `dir` that holds nothing yet.
    pub(crate) fn new(dir: &Path, run: &str) -> Result<Self, Failure> {
        let dir = dir.join(format!("devices-{run}"));
        fs::create_dir_all(&dir).context("create", dir.display())?;
        Ok(Self(dir))
    }

    /// Makes a device with one account on it.
    pub(crate) fn device(&self, network: &Network, person: &Person, name: &str) -> Result<OpenAccount, Failure> {
        let mut rng = random()?;
        let account: AccountName = name.parse().map_err(|error: AccountNameError| failed(&error))?;
        let passphrase = Passphrase::typed(Zeroizing::new(PASSPHRASE.to_owned())).map_err(|error| failed(&error))?;
        let new = NewAccount {
            name: &account,
            entropy: &person.entropy,
            passphrase: &passphrase,
            kdf: Kdf::INSECURE,
            device: DeviceKey::generate(&mut rng),
            created: WallClock::system().now(),
        };
        let accounts = Accounts::new(&self.0.join(name), network.chain);
        accounts.create(&new, &mut rng).map_err(|error| failed(&error))
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("sotto-testnet: {} is left over: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

/// The account on the network.
pub(crate) async fn messenger(network: &Network, account: OpenAccount) -> Result<Messenger, Failure> {
    let genesis = (*network.genesis).clone();
    Messenger::open(genesis, account, PATIENCE, |_| ()).await.map_err(|error| failed(&error))
}

/// Runs a future on a thread of its own, as a messenger is on a device of its own.
pub(crate) fn on_a_thread<T, F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<Running<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
    T: Send + 'static,
{
    let (sender, ended) = tokio::sync::oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.context("start", "a runtime").and_then(|runtime| runtime.block_on(work()));
        // Whoever waited may have been interrupted.
        let _nobody_waits = sender.send(result);
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).context("start", "a thread")?;
    Ok(Running(ended))
}

/// A thread that will have something to tell.
#[derive(Debug)]
pub(crate) struct Running<T>(tokio::sync::oneshot::Receiver<Result<T, Failure>>);

impl<T> Running<T> {
    /// What it has to tell.
    pub(crate) async fn result(self, patience: Duration) -> Result<T, Failure> {
        let broke = || Failure::new(Exit::Internal, "a messenger of the bench broke");
        match tokio::time::timeout(patience, self.0).await {
            Ok(result) => result.map_err(|_| broke())?,
            Err(_) => Err(Failure::new(Exit::Timeout, format!("a messenger of the bench took more than {patience:?}"))),
        }
    }
}

pub(crate) fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format!("a messenger of the bench: {error}"))
        .hint("sotto-testnet status    # are all nodes well?")
}
