//! The other end: a command that finds the account in the daemon's hands has the daemon run it, and prints what comes back.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::context::Context;
use super::super::input::{ASK, ASK_SECRET, Terminal};
use super::super::{CliError, Exit};
use super::socket;

/// The code of an error that the daemon gave none.
const UNKNOWN: &str = "daemon";
/// Different codes of a daemon's errors that are kept.
const CODES_MOST: usize = 256;

/// A connection with the daemon.
#[derive(Debug)]
pub(in super::super) struct Link {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    next: u64,
}

impl Link {
    /// Connects, if a daemon listens there.
    pub(in super::super) fn open(path: &Path) -> Option<Self> {
        Self::over(socket::connect(path).ok()?).ok()
    }

    /// Over a stream that a daemon serves.
    pub(super) fn over(writer: UnixStream) -> io::Result<Self> {
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { reader, writer, next: 1 })
    }

    /// Calls, where nothing comes before the answer.
    pub(in super::super) fn ask(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        self.call(method, params, |_, _| Ok(()))
    }

    /// Calls, and hands on notifications that come before the answer.
    pub(in super::super) fn call(
        &mut self,
        method: &str,
        params: &Value,
        mut notified: impl FnMut(&str, &Value) -> Result<(), CliError>,
    ) -> Result<Value, CliError> {
        let id = self.next;
        self.next += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut line = Zeroizing::new(request.to_string());
        line.push('\n');
        self.writer.write_all(line.as_bytes()).map_err(|error| gone(&error))?;
        loop {
            let message = self.read()?;
            if message.get("id").and_then(Value::as_u64) == Some(id) {
                return match message.get("error") {
                    Some(error) => Err(failure(error)),
                    None => Ok(message.get("result").cloned().unwrap_or(Value::Null)),
                };
            }
            if let Some(method) = message.get("method").and_then(Value::as_str) {
                notified(method, message.get("params").unwrap_or(&Value::Null))?;
            }
        }
    }

    fn read(&mut self) -> Result<Value, CliError> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err(gone(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => serde_json::from_str(&line).map_err(|error| gone(&error.into())),
            Err(error) => Err(gone(&error)),
        }
    }
}

fn gone(error: &io::Error) -> CliError {
    CliError::new(Exit::Network, "daemon", format!("the daemon has gone away: {error}")).hint("sotto daemon status")
}

/// A code of an error as it lives in one: each is kept once, and no more of them than a daemon has.
fn interned(code: &str) -> &'static str {
    static CODES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut codes = CODES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = codes.get(code) {
        return known;
    }
    if codes.len() >= CODES_MOST {
        return UNKNOWN;
    }
    let code: &'static str = Box::leak(code.to_owned().into_boxed_str());
    codes.insert(code);
    code
}

/// The error of a command, as the daemon told it.
fn failure(error: &Value) -> CliError {
    let text = |pointer: &str| error.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let message = text("/message").unwrap_or_else(|| "the daemon failed".into());
    let exit = error.pointer("/data/exit").and_then(Value::as_u64).and_then(Exit::from_code).unwrap_or(Exit::Failed);
    let code = match text("/data/code").as_deref() {
        Some(ASK) => ASK,
        Some(ASK_SECRET) => ASK_SECRET,
        Some(code) => interned(code),
        None => UNKNOWN,
    };
    let retry = error.pointer("/data/retry_after_ms").and_then(Value::as_u64);
    let failure = CliError { hint: text("/data/hint"), ..CliError::new(exit, code, message) };
    match retry {
        Some(pause) => failure.retry_after(std::time::Duration::from_millis(pause)),
        None => failure,
    }
}

/// Runs a command in the daemon. `args` are those behind the program's name.
pub(in super::super) fn run(context: &Context, link: &mut Link, args: Vec<String>) -> Result<Exit, CliError> {
    let reads_input = args.iter().any(|arg| arg == "-" || arg.ends_with("=-"));
    let input = if reads_input { context.standard_input(super::LINE / 2)? } else { None };
    let folder = std::env::current_dir().map_err(|error| CliError::io("find", "the current directory", &error))?;
    let settings: Vec<(&str, &str)> =
        context.settings.iter().map(|(setting, valued)| (setting.name, valued.text.as_str())).collect();
    let out = &context.out;
    let mut answers: Vec<Zeroizing<String>> = Vec::new();
    loop {
        let mut params = json!({
            "args": args, "answers": answers.iter().map(|answer| answer.as_str()).collect::<Vec<_>>(), "input": input,
            "json": out.json, "quiet": out.quiet(), "progress": out.progress_shown().to_string(), "folder": folder,
            "settings": settings,
        });
        let ended = link.call("cli.run", &params, |method, params| {
            let line = params.get("line").and_then(Value::as_str).unwrap_or_default().to_owned();
            match (method, params.get("stream").and_then(Value::as_str)) {
                ("cli.line", Some("out")) => out.data(line)?,
                ("cli.line", _) => out.note(line),
                _ => {}
            }
            Ok(())
        });
        super::forget(&mut params);
        match ended {
            Ok(result) => {
                let exit = result.get("exit").and_then(Value::as_u64).and_then(Exit::from_code);
                return Ok(exit.unwrap_or(Exit::Failed));
            }
            Err(error) if error.code == ASK || error.code == ASK_SECRET => {
                let nobody = || CliError::new(Exit::Failed, "not_confirmed", "nobody is there to answer");
                let mut terminal: Terminal = context.terminal().ok_or_else(nobody)?;
                answers.push(if error.code == ASK {
                    Zeroizing::new(terminal.ask(&error.message)?)
                } else {
                    terminal.ask_secret(&error.message)?
                });
            }
            Err(error) => return Err(error),
        }
    }
}
