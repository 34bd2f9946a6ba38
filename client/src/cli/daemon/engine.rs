//! An account at work in the daemon.
//!
//! ```text
//!  commands ──▶ line (a handle of the account) ──▶ outbox ──▶ sender (a thread, a messenger) ──▶ network
//!  listeners ◀── inbox, events ◀──────────────── receiver (a thread, a messenger) ◀──────────── network
//! ```
//!
//! Receiving never waits for a send that takes long. What came is durable before anybody is told; who listens reads it from
//! the store, behind what he has acknowledged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::chain::GenesisFile;
use tokio::sync::{broadcast, oneshot, watch};

use super::super::CliError;
use super::super::received::{Known, document, line};
use super::super::sending::Queued;
use super::{receiver, sender};
use crate::messenger::{Companion, Error, Mode, Progress, Went};
use crate::store::{InboxNumber, OpenAccount, StoreError};

/// Events that wait for a slow listener, beyond which he misses some; mail is not among them.
const EVENTS: usize = 1024;
/// Messages to send at once; who asks for more waits.
const JOBS: usize = 64;
/// Steps that wait for whoever asked.
const STEPS: usize = 64;

/// How the account is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Connection {
    /// Not yet.
    Connecting,
    /// Subscribed at so many members.
    Connected {
        /// How many.
        members: usize,
    },
    /// The network does not answer; it is tried again.
    Interrupted {
        /// Why.
        reason: String,
    },
}

impl Connection {
    /// For programs.
    pub(in super::super) fn document(&self) -> Value {
        match self {
            Self::Connecting => json!({"v": 1, "type": "network", "state": "connecting"}),
            Self::Connected { members } => json!({"v": 1, "type": "network", "state": "connected", "members": members}),
            Self::Interrupted { reason } => {
                json!({"v": 1, "type": "network", "state": "interrupted", "reason": reason})
            }
        }
    }
}

/// A message that came, as it is told.
#[derive(Clone, Debug)]
pub(in super::super) struct Told {
    /// Its number.
    pub(in super::super) number: InboxNumber,
    /// For programs.
    pub(in super::super) document: Value,
    /// For people.
    pub(in super::super) text: String,
}

/// What whoever has something sent is told.
#[derive(Debug)]
pub(in super::super) struct Sending {
    steps: mpsc::Receiver<Progress>,
    ended: oneshot::Receiver<Result<Went, Error>>,
}

impl Sending {
    /// Tells the steps, and how it ended; nothing if the daemon stops.
    pub(in super::super) fn wait(self, step: impl FnMut(Progress)) -> Option<Result<Went, Error>> {
        self.steps.into_iter().for_each(step);
        self.ended.blocking_recv().ok()
    }
}

/// Something to send at once.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) queued: Queued,
    pub(super) mode: Mode,
    steps: mpsc::SyncSender<Progress>,
    ended: oneshot::Sender<Result<Went, Error>>,
}

impl Job {
    /// Tells a step. Who is slow misses some.
    pub(super) fn step(&self, step: Progress) {
        let _ = self.steps.try_send(step);
    }

    /// Tells how it ended.
    pub(super) fn end(self, sent: Result<Went, Error>) {
        // Whoever asked may have gone away.
        let _ = self.ended.send(sent);
    }
}

/// An account at work.
#[derive(Debug)]
pub(in super::super) struct Engine {
    genesis: GenesisFile,
    own: Address,
    timeout: Duration,
    desk: Mutex<OpenAccount>,
    /// Whose connection the desk, the sender, the receiver and whoever says something share.
    line: OpenAccount,
    /// Handles that were given back, one of the line and another one: opening one takes longer than most of what is done
    /// with it.
    spare_line: Mutex<Option<OpenAccount>>,
    spare: Mutex<Option<OpenAccount>>,
    companion: Companion,
    jobs: tokio::sync::mpsc::Sender<Job>,
    inbox: watch::Sender<InboxNumber>,
    events: broadcast::Sender<Arc<Value>>,
    connection: watch::Sender<Connection>,
    stopping: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Puts an account to work.
    pub(super) fn start(genesis: GenesisFile, account: OpenAccount, timeout: Duration) -> Result<Arc<Self>, CliError> {
        let (jobs, waiting) = tokio::sync::mpsc::channel(JOBS);
        let newest = account.store.newest()?;
        let line = account.sharing()?;
        let engine = Arc::new(Self {
            genesis,
            own: account.account().address(),
            timeout,
            desk: Mutex::new(account),
            line,
            spare_line: Mutex::default(),
            spare: Mutex::default(),
            companion: Companion::default(),
            jobs,
            inbox: watch::channel(newest).0,
            events: broadcast::channel(EVENTS).0,
            connection: watch::channel(Connection::Connecting).0,
            stopping: watch::channel(false).0,
            threads: Mutex::default(),
        });
        let receiving = Arc::clone(&engine);
        let receiver = thread("receiver", move || receiver::run(&receiving))?;
        let sending = Arc::clone(&engine);
        let sender = thread("sender", move || sender::run(&sending, waiting))?;
        lock(&engine.threads).extend([receiver, sender]);
        Ok(engine)
    }

    /// Ends its work and closes the account, once nobody has a handle of it any more. Returns when both threads have
    /// ended.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // Whoever panics ends the process.
            let _ = thread.join();
        }
    }

    pub(in super::super) const fn genesis(&self) -> &GenesisFile {
        &self.genesis
    }

    /// The account's own address.
    pub(in super::super) const fn own(&self) -> Address {
        self.own
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn companion(&self) -> &Companion {
        &self.companion
    }

    /// A handle for whoever works on every message, and never for long.
    pub(in super::super) fn on_the_line(&self) -> Result<OpenAccount, StoreError> {
        let spare = lock(&self.spare_line).take();
        spare.map_or_else(|| self.line.sharing(), Ok)
    }

    /// A handle of the account, to be used for a while.
    pub(in super::super) fn account(&self) -> Result<OpenAccount, StoreError> {
        let spare = lock(&self.spare).take();
        spare.map_or_else(|| self.desk().another(), Ok)
    }

    /// A handle that is not needed any more.
    pub(in super::super) fn give_back(&self, account: OpenAccount) {
        let spare = if account.shares_with(&self.line) { &self.spare_line } else { &self.spare };
        *lock(spare) = Some(account);
    }

    /// The account, for something short.
    pub(super) fn desk(&self) -> MutexGuard<'_, OpenAccount> {
        lock(&self.desk)
    }

    /// Somebody has changed the account: what waits is sent, mailboxes are looked at again.
    pub(super) fn changed(&self) {
        self.companion.waiting.notify_one();
        self.companion.changed.notify_one();
    }

    /// Has a message of the outbox sent before all others that wait.
    pub(in super::super) fn send(&self, queued: Queued, mode: Mode) -> Sending {
        let ((steps, told), (ended, end)) = (mpsc::sync_channel(STEPS), oneshot::channel());
        // Without a sender it is stopping, and the other ends say so.
        let _ = self.jobs.blocking_send(Job { queued, mode, steps, ended });
        Sending { steps: told, ended: end }
    }

    /// Comes back when the daemon stops.
    pub(super) async fn stopped(&self) {
        // An error means that the engine is gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Tells all listeners.
    pub(super) fn tell(&self, event: Value) {
        // Nobody may be listening.
        let _ = self.events.send(Arc::new(event));
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Arc<Value>> {
        self.events.subscribe()
    }

    /// The number of the newest message, as it changes.
    pub(super) fn inbox(&self) -> watch::Receiver<InboxNumber> {
        self.inbox.subscribe()
    }

    pub(super) fn came(&self, newest: InboxNumber) {
        self.inbox.send_replace(newest);
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    pub(super) fn set_connection(&self, connection: Connection) {
        self.tell(connection.document());
        self.connection.send_replace(connection);
    }

    /// Messages that came after a number, the oldest first; without a number those that nobody has acknowledged.
    pub(super) fn told_after(&self, after: Option<InboxNumber>, limit: usize) -> Result<Vec<Told>, StoreError> {
        let mut desk = self.desk();
        let messages = match after {
            Some(after) => desk.store.inbox_after(after, limit)?,
            None => desk.store.unshown(limit)?,
        };
        let tx = desk.store.reading()?;
        let told = messages.into_iter().map(|message| {
            let known = Known::look_up(&tx, &message)?;
            let (document, text) = (document(&self.own, &message, &known), line(&message, &known));
            Ok(Told { number: message.number, document, text })
        });
        told.collect()
    }

    /// Everything up to this number was seen by whom it is for.
    pub(super) fn acknowledge(&self, through: InboxNumber) -> Result<usize, StoreError> {
        let acknowledged = self.desk().store.mark_shown_through(through)?;
        if acknowledged > 0 {
            self.changed();
        }
        Ok(acknowledged)
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, CliError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| CliError::io("start", "a thread", &error))
}

/// A panic ends the process, so that nobody finds what it left.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
