//! JSON-RPC 2.0 over a stream: a request, an answer or a notification a line.
//!
//! Whoever can open the socket is the user: it lies in a directory of theirs, and the other end's user is checked. A
//! connection has a bounded line, a bounded number of calls at once, and answers in the order in which they are done.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc};
use zeroize::Zeroizing;

use super::call::{self, Failure, PARSE_ERROR};
use super::events::Listening;
use super::{Daemon, events};

/// Bytes of the longest line that is read.
pub(in super::super) const LINE: u64 = 1 << 20;
/// Calls of one connection that are at work at once; more wait.
const CALLS: usize = 32;
/// Lines that wait for a reader.
const WAITING: usize = 256;

/// Serves a connection until it ends or the daemon stops.
pub(super) async fn serve(daemon: Arc<Daemon>, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (answers, mut waiting) = mpsc::channel::<Value>(WAITING);
    let writing = async move {
        while let Some(answer) = waiting.recv().await {
            let line = format!("{answer}\n");
            if writer.write_all(line.as_bytes()).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    let reading = read(Arc::clone(&daemon), reader, answers);
    tokio::select! {
        () = async { tokio::join!(reading, writing); } => {}
        () = daemon.stopped() => {}
    }
}

async fn read(daemon: Arc<Daemon>, reader: impl AsyncRead + Send, answers: mpsc::Sender<Value>) {
    let mut reader = std::pin::pin!(BufReader::new(reader));
    let (calls, listening) = (Arc::new(Semaphore::new(CALLS)), Arc::new(Listening::default()));
    loop {
        // Answers may be secrets.
        let mut line = Zeroizing::new(Vec::new());
        let read = (&mut reader).take(LINE + 1).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        if line.len() as u64 > LINE {
            let failure = Failure::new(PARSE_ERROR, format!("a line has at most {LINE} bytes"));
            let _ = answers.send(failure.answer(&Value::Null)).await; // it goes away in any case
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(permit) = Arc::clone(&calls).acquire_owned().await else { break };
        let (daemon, answers, listening) = (Arc::clone(&daemon), answers.clone(), Arc::clone(&listening));
        tokio::spawn(async move {
            if let Some(answer) = answer_line(&daemon, &line, &answers, &listening).await {
                let _ = answers.send(answer).await; // it has gone away
            }
            drop(permit);
        });
    }
    // Nobody listens any more.
    listening.end();
}

/// The answer to a line: to one call, or to several at once.
async fn answer_line(
    daemon: &Arc<Daemon>,
    line: &[u8],
    answers: &mpsc::Sender<Value>,
    listening: &Arc<Listening>,
) -> Option<Value> {
    let Ok(request) = serde_json::from_slice::<Value>(line) else {
        return Some(Failure::new(PARSE_ERROR, "not JSON").answer(&Value::Null));
    };
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    match request.get("method").and_then(Value::as_str) {
        Some("events.subscribe") => {
            let begun = events::subscribe(daemon, &request, answers, listening).await;
            Some(call::answer(&id, begun))
        }
        Some("events.unsubscribe") => {
            listening.end();
            Some(call::answer(&id, Ok(json!({}))))
        }
        Some("cli.run") => {
            let notes = answers.clone();
            Some(call::answer(&id, call::run_line(daemon, request, notes).await))
        }
        _ => call::answer_request(daemon, request).await,
    }
}
