//! The other end of the daemon's JSON-RPC 2.0: calls and their answers, and what happens meanwhile.
//!
//! ```text
//!  call ─▶ lines (32) ─▶ writer ─▶ stream ─▶ reader ─▶ the call's answer
//!                                               └────▶ events (256) ─▶ Events::next
//! ```
//!
//! Whoever has the [`Events`] must read them: while 256 of them wait, answers wait behind them.
//!
//! | file | what it does |
//! | --- | --- |
//! | `call` | what is asked: methods with their parameters |
//! | `calls` | calls at work, each with its answer |
//! | `document` | what is answered and told |

mod call;
mod calls;
mod document;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub(crate) use self::call::Call;
pub(crate) use self::calls::{Answered, Calls};
pub(crate) use self::document::{
    Came, Contact, Document, Event, Message, Network, Own, Path as OnionPath, Request, SafetyNumber, SendState, Sent,
};

/// Bytes of the longest line that is read or written.
const LINE: u64 = 1 << 20;
/// Calls that wait for their answers; more wait to be made.
const CALLS: usize = 32;
/// Events that wait for whoever reads them.
const EVENTS: usize = 256;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None listens.
    #[error("no daemon listens: {0}")]
    Connect(std::io::Error),
    /// The daemon ended, or said what makes no sense.
    #[error("the daemon has gone away")]
    Gone,
    /// A call that does not fit into a line.
    #[error("a call has at most {LINE} bytes, and this one {0}")]
    TooLong(u64),
    /// The daemon did not do it.
    #[error("{}", .0.message)]
    Failed(Failure),
}

/// Why the daemon did not do something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// The code of JSON-RPC 2.0, section 5.1.
    pub code: i64,
    /// What is wrong.
    pub message: String,
    /// What to do next, if that is known.
    pub hint: Option<String>,
    /// The exit code that the command would have had.
    pub exit: Option<u64>,
    /// What the command said before it failed.
    pub documents: Vec<Value>,
    /// The daemon went away before it answered: it may have done it, or not.
    pub is_gone: bool,
}

impl Failure {
    /// JSON-RPC 2.0: the method does not exist, or is not offered.
    const METHOD_NOT_FOUND: i64 = -32601;
    /// JSON-RPC 2.0: the method has other parameters.
    const INVALID_PARAMS: i64 = -32602;

    /// Whether a daemon of another version does not know what was asked.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self.code, Self::METHOD_NOT_FOUND | Self::INVALID_PARAMS)
    }

    fn read(error: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let data = error.get("data").unwrap_or(&Value::Null);
        Self {
            code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
            message: error.get("message").and_then(text).unwrap_or_default(),
            hint: data.get("hint").and_then(text),
            exit: data.get("exit").and_then(Value::as_u64),
            documents: data.get("documents").and_then(Value::as_array).cloned().unwrap_or_default(),
            is_gone: false,
        }
    }

    fn gone() -> Self {
        Self { message: Error::Gone.to_string(), is_gone: true, ..Self::default() }
    }
}

type Waiting = Arc<Mutex<Pending>>;

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Pending {
    calls: BTreeMap<u64, oneshot::Sender<Result<Value, Failure>>>,
    is_gone: bool,
}

/// Calls to a daemon. Clones share the connection, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    lines: mpsc::Sender<String>,
    waiting: Waiting,
    permits: Arc<Semaphore>,
    next: Arc<AtomicU64>,
}

/// What the daemon tells, once asked to by `events.subscribe`.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Value>);

impl Events {
    /// The parameters of the next event.
    ///
    /// # Errors
    /// [`Error::Gone`] when there will be none any more.
    pub async fn next(&mut self) -> Result<Value, Error> {
        self.0.recv().await.ok_or(Error::Gone)
    }
}

impl Client {
    /// Over a stream that a daemon serves. Must be called in a runtime.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> (Self, Events) {
        let (reader, writer) = tokio::io::split(stream);
        let (lines, to_write) = mpsc::channel(CALLS);
        let (events, told) = mpsc::channel(EVENTS);
        let waiting = Waiting::default();
        let client = Self {
            lines,
            waiting: Arc::clone(&waiting),
            permits: Arc::new(Semaphore::new(CALLS)),
            next: Arc::new(AtomicU64::new(1)),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = write(writer, to_write) => {}
                () = read(reader, &waiting, events) => {}
            }
            // Whoever waits is told that nothing comes any more.
            let mut pending = lock(&waiting);
            pending.is_gone = true;
            pending.calls.clear();
        });
        (client, Events(told))
    }

    /// Calls, and waits for the answer.
    ///
    /// # Errors
    /// What the daemon says, or that it has gone away.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Error> {
        let _permit = self.permits.acquire().await.map_err(|_| Error::Gone)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        if line.len() as u64 > LINE {
            return Err(Error::TooLong(line.len() as u64));
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut pending = lock(&self.waiting);
            if pending.is_gone {
                return Err(Error::Gone);
            }
            pending.calls.insert(id, answer);
        }
        let _forget = Forget { waiting: &self.waiting, id };
        self.lines.send(line).await.map_err(|_| Error::Gone)?;
        answered.await.map_err(|_| Error::Gone)?.map_err(Error::Failed)
    }
}

/// A call that nobody waits for any more leaves nothing behind.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).calls.remove(&self.id);
    }
}

/// A panic ends the process, so that nobody finds what it left.
fn lock(waiting: &Waiting) -> MutexGuard<'_, Pending> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if writer.write_all(line.as_bytes()).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Hands on answers and events, until the stream ends or makes no sense.
async fn read(reader: impl AsyncRead + Unpin, waiting: &Waiting, events: mpsc::Sender<Value>) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE + 1).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) || line.len() as u64 > LINE {
            return;
        }
        let Ok(mut message) = serde_json::from_slice::<Value>(&line) else { return };
        if message.get("method").and_then(Value::as_str) == Some("event") {
            let event = message.get_mut("params").map(Value::take).unwrap_or_default();
            // Whoever does not listen has dropped the other end.
            let _ = events.send(event).await;
            continue;
        }
        let Some(id) = message.get("id").and_then(Value::as_u64) else { continue };
        let Some(answer) = lock(waiting).calls.remove(&id) else { continue };
        let result = match message.get("error") {
            Some(error) => Err(Failure::read(error)),
            None => Ok(message.get_mut("result").map(Value::take).unwrap_or_default()),
        };
        // Whoever asked may have gone away.
        let _ = answer.send(result);
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
