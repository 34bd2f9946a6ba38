//! One call: what is asked, who does it, what is answered.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::context::Caller;
use super::super::output::{Output, Progress, Said};
use super::super::{CliError, Exit};
use super::engine::Engine;
use super::method::{self, MethodError};
use super::{Daemon, events, openrpc};

/// Codes of JSON-RPC 2.0, section 5.1.
pub(super) const PARSE_ERROR: i64 = -32700;
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;
/// A command failed: `data.exit` is the exit code it would have had.
pub(super) const FAILED: i64 = -32000;

/// Lines of a command that wait to be passed on.
const LINES: usize = 256;
/// The longest time to wait for mail.
const WAIT_MOST: Duration = Duration::from_secs(60);
/// From the answer to whoever ends the daemon to its end.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Messages that are taken at once.
const TAKE_MOST: usize = 256;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    code: i64,
    message: String,
    data: Value,
}

impl Failure {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: Value::Null }
    }

    pub(super) fn answer(&self, id: &Value) -> Value {
        let error = json!({"code": self.code, "message": self.message, "data": self.data});
        json!({"jsonrpc": "2.0", "id": id, "error": error})
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        let retry = error.retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let data = json!({"code": error.code, "exit": error.exit.code(), "hint": error.hint, "retry_after_ms": retry});
        Self { code: FAILED, message: error.message, data }
    }
}

impl From<MethodError> for Failure {
    fn from(error: MethodError) -> Self {
        let code = if matches!(error, MethodError::Unknown(_)) { METHOD_NOT_FOUND } else { INVALID_PARAMS };
        Self::new(code, error.to_string())
    }
}

/// The answer to a call.
pub(super) fn answer(id: &Value, result: Result<Value, Failure>) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(failure) => failure.answer(id),
    }
}

/// The answer to a request, or to a batch of them; none to notifications.
pub(super) async fn answer_request(daemon: &Arc<Daemon>, request: Value) -> Option<Value> {
    let Value::Array(batch) = request else { return answer_one(daemon, request).await };
    if batch.is_empty() {
        return Some(Failure::new(INVALID_REQUEST, "an empty batch").answer(&Value::Null));
    }
    let mut answers = Vec::new();
    for request in batch {
        answers.extend(answer_one(daemon, request).await);
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

async fn answer_one(daemon: &Arc<Daemon>, mut request: Value) -> Option<Value> {
    let mut params = request.get_mut("params").map_or(Value::Null, Value::take);
    let (id, is_notification) = (request.get("id").cloned().unwrap_or(Value::Null), request.get("id").is_none());
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Some(Failure::new(INVALID_REQUEST, "a request has a method").answer(&id));
    };
    let result = call(daemon, method, &params).await;
    super::forget(&mut params);
    (!is_notification).then(|| answer(&id, result))
}

async fn call(daemon: &Arc<Daemon>, method: &str, params: &Value) -> Result<Value, Failure> {
    match method {
        "rpc.discover" => Ok(openrpc::document()),
        "daemon.status" => Ok(daemon.status()),
        "daemon.stop" => {
            let daemon = Arc::clone(daemon);
            tokio::spawn(async move {
                tokio::time::sleep(LAST_WORDS).await;
                daemon.stop();
            });
            Ok(json!({}))
        }
        "daemon.lock" => {
            let daemon = Arc::clone(daemon);
            run_blocking(move || daemon.lock()).await?;
            Ok(json!({}))
        }
        "daemon.unlock" => {
            let passphrase = params.get("passphrase").and_then(Value::as_str);
            let passphrase = passphrase.ok_or_else(|| Failure::new(INVALID_PARAMS, "the passphrase is missing"))?;
            let (daemon, passphrase) = (Arc::clone(daemon), Zeroizing::new(passphrase.to_owned()));
            run_blocking(move || daemon.unlock(passphrase)).await??;
            Ok(json!({}))
        }
        "inbox.take" => take(&daemon.engine()?, params).await,
        "events.ack" => {
            let cursor = events::cursor(params.get("cursor"))?;
            let cursor = cursor.ok_or_else(|| Failure::new(INVALID_PARAMS, "the cursor is missing"))?;
            let acknowledged = daemon.engine()?.acknowledge(cursor).map_err(CliError::from)?;
            Ok(json!({"acknowledged": acknowledged}))
        }
        method => {
            let _permit = daemon.command().await?;
            command(daemon.engine()?, method, params).await
        }
    }
}

/// `inbox.take {after, limit, waitMs}`: what came after a cursor, else what nobody has acknowledged, the oldest first, each
/// with its line for people; waits for something if there is nothing.
async fn take(engine: &Arc<Engine>, params: &Value) -> Result<Value, Failure> {
    let number = |name: &str| params.get(name).and_then(Value::as_u64);
    let limit = number("limit").map_or(TAKE_MOST, |limit| usize::try_from(limit).unwrap_or(TAKE_MOST)).min(TAKE_MOST);
    let wait = Duration::from_millis(number("waitMs").unwrap_or(0)).min(WAIT_MOST);
    let after = events::cursor(params.get("after"))?;
    let mut inbox = engine.inbox();
    let begun = tokio::time::Instant::now();
    loop {
        inbox.mark_unchanged();
        let told = engine.told_after(after, limit).map_err(CliError::from)?;
        let left = wait.saturating_sub(begun.elapsed());
        if !told.is_empty() || left.is_zero() {
            let messages: Vec<Value> = told
                .into_iter()
                .map(|told| json!({"cursor": told.number.0.to_string(), "document": told.document, "text": told.text}))
                .collect();
            return Ok(json!({"messages": messages, "connection": engine.connection().document()}));
        }
        tokio::select! {
            _ = inbox.changed() => {}
            () = tokio::time::sleep(left) => {}
            () = engine.stopped() => return Err(stopped()),
        }
    }
}

fn stopped() -> Failure {
    CliError::new(Exit::Network, "daemon_stopped", "the daemon is about to stop").into()
}

/// Runs a command for a method, and gathers what it prints.
async fn command(engine: Arc<Engine>, method: &str, params: &Value) -> Result<Value, Failure> {
    let (args, answers) = (method::arguments(super::tree(), method, params)?, method::answers(params)?);
    let (caller, lines) = mpsc::sync_channel(LINES);
    let out = Output::to_caller(true, true, Progress::Never, caller);
    let run = Run { args, out, answers, input: None, folder: PathBuf::new(), settings: Vec::new() };
    let gathering = tokio::task::spawn_blocking(move || {
        let data = lines.into_iter().filter_map(|said| match said {
            Said::Data(line) => serde_json::from_str(&line).ok(),
            Said::Note(_) => None,
        });
        data.collect::<Vec<Value>>()
    });
    let ended = run_blocking(move || run.run(&engine)).await?;
    let documents = gathering.await.map_err(|_| stopped())?;
    match ended {
        Ok(Exit::Done) => Ok(Value::Array(documents)),
        Ok(exit) => {
            let data = json!({"code": "ended", "exit": exit.code(), "hint": null, "documents": documents});
            Err(Failure { code: FAILED, message: format!("ended with exit code {}", exit.code()), data })
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            if let Some(data) = failure.data.as_object_mut()
                && !documents.is_empty()
            {
                data.insert("documents".into(), documents.into());
            }
            Err(failure)
        }
    }
}

/// What `cli.run` is given: a command as it was typed elsewhere.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    args: Vec<String>,
    #[serde(default)]
    answers: Vec<String>,
    input: Option<String>,
    json: bool,
    quiet: bool,
    progress: String,
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

/// `cli.run`: runs a command as it was typed, and passes on what it prints, line by line.
pub(super) async fn run_line(
    daemon: &Arc<Daemon>,
    mut request: Value,
    notes: tokio::sync::mpsc::Sender<Value>,
) -> Result<Value, Failure> {
    let engine = daemon.engine()?;
    let params = request.get_mut("params").map_or(Value::Null, Value::take);
    let typed: Typed =
        serde_json::from_value(params).map_err(|error| Failure::new(INVALID_PARAMS, error.to_string()))?;
    let _permit = daemon.command().await?;
    let progress = typed.progress.parse().map_err(|error| Failure::new(INVALID_PARAMS, error))?;
    let (caller, lines) = mpsc::sync_channel(LINES);
    let run = Run {
        args: typed.args.into_iter().map(Into::into).collect(),
        out: Output::to_caller(typed.json, typed.quiet, progress, caller),
        answers: typed.answers.into_iter().map(Zeroizing::new).collect(),
        input: typed.input,
        folder: typed.folder,
        settings: typed.settings,
    };
    let passing = tokio::task::spawn_blocking(move || {
        for said in lines {
            let (stream, line) = match said {
                Said::Data(line) => ("out", line),
                Said::Note(line) => ("err", line),
            };
            let line = json!({"jsonrpc": "2.0", "method": "cli.line", "params": {"stream": stream, "line": line}});
            if notes.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let ended = run_blocking(move || run.run(&engine)).await?;
    passing.await.map_err(|_| stopped())?;
    Ok(json!({"exit": ended?.code()}))
}

/// A command to run.
struct Run {
    args: Vec<std::ffi::OsString>,
    out: Output,
    answers: Vec<Zeroizing<String>>,
    input: Option<String>,
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Run {
    fn run(self, engine: &Arc<Engine>) -> Result<Exit, CliError> {
        let Self { args, out, answers, input, folder, settings } = self;
        let caller = Caller { engine: Arc::clone(engine), answers, input, folder };
        let ended = super::super::run_for(caller, args, &settings, out);
        engine.changed();
        ended
    }
}

/// Runs something that takes its time, beside everything else.
async fn run_blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(run).await.map_err(|_| stopped())
}
