//! Events: what came, in order and behind a cursor, and what happens meanwhile.
//!
//! Mail is read from the store, so that none is missed however slow a listener is or how often it comes back: it is told
//! again until it is acknowledged. Everything else is worth something only now, and who is slow misses some of it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Daemon;
use super::call::{Failure, INVALID_PARAMS};
use super::engine::Engine;
use crate::store::InboxNumber;

/// Messages that are read from the store at once.
const ROWS: usize = 128;

/// The subscription of a connection: one at most.
#[derive(Debug, Default)]
pub(super) struct Listening(Mutex<Option<AbortHandle>>);

impl Listening {
    pub(super) fn end(&self) {
        self.begin(None);
    }

    fn begin(&self, task: Option<AbortHandle>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *running, task) {
            before.abort();
        }
    }
}

/// `events.subscribe {"after": CURSOR}`: everything after the cursor, else everything that was not acknowledged; then what
/// comes.
pub(super) async fn subscribe(
    daemon: &Arc<Daemon>,
    request: &Value,
    answers: &mpsc::Sender<Value>,
    listening: &Listening,
) -> Result<Value, Failure> {
    let engine = daemon.engine()?;
    let after = cursor(request.pointer("/params/after"))?;
    let newest = engine.inbox().borrow().0;
    let answers = answers.clone();
    let connection = engine.connection().document();
    let task = tokio::spawn(async move {
        let told = |event: &Value| json!({"jsonrpc": "2.0", "method": "event", "params": event});
        if answers.send(told(&connection)).await.is_err() {
            return;
        }
        let _ = run(&engine, after, |event| {
            let line = told(event);
            let answers = answers.clone();
            async move { answers.send(line).await.map_err(|_| Gone) }
        })
        .await;
    });
    listening.begin(Some(task.abort_handle()));
    Ok(json!({"cursor": newest.to_string()}))
}

/// Whoever listened has gone away, or the account was locked.
#[derive(Debug)]
pub(super) struct Gone;

/// Tells of everything, until nobody listens or the engine stops.
pub(super) async fn run<T>(
    engine: &Arc<Engine>,
    mut after: Option<InboxNumber>,
    mut tell: impl FnMut(&Value) -> T,
) -> Result<(), Gone>
where
    T: Future<Output = Result<(), Gone>>,
{
    let (mut inbox, mut events) = (engine.inbox(), engine.events());
    loop {
        inbox.mark_unchanged();
        loop {
            let rows = engine.told_after(after, ROWS).map_err(|error| {
                tracing::warn!(%error, "mail cannot be told");
                Gone
            })?;
            let Some(last) = rows.last() else { break };
            // Those that nobody has acknowledged are not in one piece: behind them, by number.
            after = Some(after.unwrap_or_default().max(last.number));
            for row in &rows {
                tell(&row.document).await?;
            }
        }
        // From now on by number, whatever is acknowledged meanwhile.
        after = Some(after.unwrap_or_else(|| *inbox.borrow()));
        tokio::select! {
            changed = inbox.changed() => changed.map_err(|_| Gone)?,
            event = events.recv() => match event {
                Ok(event) => tell(&event).await?,
                Err(RecvError::Lagged(missed)) => {
                    tell(&json!({"v": 1, "type": "events.missed", "count": missed})).await?;
                }
                Err(RecvError::Closed) => return Err(Gone),
            },
            () = engine.stopped() => return Err(Gone),
        }
    }
}

/// A cursor among parameters.
pub(super) fn cursor(value: Option<&Value>) -> Result<Option<InboxNumber>, Failure> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    let wrong = || Failure::new(INVALID_PARAMS, "a cursor is the \"cursor\" of an event");
    Ok(Some(InboxNumber(number.ok_or_else(wrong)?)))
}
