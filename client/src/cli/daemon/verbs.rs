//! `sotto daemon …`, `sotto lock`, `sotto unlock`, `sotto rpc`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Subcommand;
use rand_core::Rng as _;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::super::context::{Context, random};
use super::super::{CliError, Exit};
use super::link::Link;
use super::socket::{self, Listener};
use super::{Attached, CONNECTIONS, Daemon, THREADS, http, server, socket_path};

/// The file that holds the token of HTTP.
const TOKEN: &str = "http-token";
/// What `daemon run` says when it listens; `daemon start` waits for it.
const READY: &str = "daemon.ready";
/// Bytes that are read from the server at once.
const PIPE: usize = 64 << 10;

/// The daemon: holds the account, receives all the time, and serves all other commands and programs
#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// Run it in the foreground; Ctrl-C ends it
    Run(Run),
    /// Start it in the background
    Start(Run),
    /// Whether it runs, and how it is connected
    Status,
    /// End it
    Stop,
}

/// Where it listens, besides its socket in the account's folder.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Run {
    /// Listen on HTTP, too; loopback addresses only
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:7783")]
    http: Option<SocketAddr>,
}

impl Verb {
    pub(in super::super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Run(run) => run.run(context),
            Self::Start(run) => run.start(context),
            Self::Status => status(context),
            Self::Stop => stop(context),
        }
    }
}

impl Run {
    fn run(self, context: &Context) -> Result<Exit, CliError> {
        let runtime = runtime()?;
        let _entered = runtime.enter();
        // The account first: its lock says whether another process has it.
        let daemon = open(context)?;
        let path = folder(context)?;
        let listener = Listener::bind(&socket_path(&path))?;
        let ended = runtime.block_on(self.serve(context, &daemon, &path, listener));
        daemon.lock();
        // Calls that wait for something are not waited for.
        runtime.shutdown_background();
        ended
    }

    async fn serve(
        self,
        context: &Context,
        daemon: &Arc<Daemon>,
        folder: &Path,
        listener: Listener,
    ) -> Result<Exit, CliError> {
        let mut document = json!({"v": 1, "type": READY, "socket": socket_path(folder), "pid": std::process::id()});
        let mut text = format!("listening at {}", socket_path(folder).display());
        if let Some(address) = self.http {
            let bound = http::bind(address).await?;
            let address = bound.local_addr().map_err(|error| CliError::io("listen at", address, &error))?;
            let file = folder.join(TOKEN);
            let token = token(&file)?;
            tokio::spawn(http::serve(Arc::clone(daemon), bound, token));
            text = format!("{text}\nHTTP at http://{address}/api/v1/; its token is in {}", file.display());
            if let Some(document) = document.as_object_mut() {
                document.insert("http".into(), format!("http://{address}").into());
                document.insert("token_file".into(), json!(file));
            }
        }
        context.out.result(&document, text)?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let mut terminated =
            signal(SignalKind::terminate()).map_err(|error| CliError::io("watch", "signals", &error))?;
        loop {
            tokio::select! {
                accepted = listener.socket.accept() => match accepted {
                    Ok((stream, _)) if socket::is_own(&stream) => {
                        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                            tracing::warn!("{CONNECTIONS} connections are open, and no more are taken");
                            continue;
                        };
                        let daemon = Arc::clone(daemon);
                        tokio::spawn(async move {
                            server::serve(daemon, stream).await;
                            drop(permit);
                        });
                    }
                    Ok(_) => tracing::warn!("another user's process has tried to connect"),
                    Err(error) => {
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                () = daemon.stopped() => return Ok(Exit::Done),
                _ = tokio::signal::ctrl_c() => {
                    daemon.stop();
                    return Ok(Exit::Interrupted);
                }
                _ = terminated.recv() => {
                    daemon.stop();
                    return Ok(Exit::Done);
                }
            }
        }
    }

    /// Runs this program again, in the background, and waits until it listens.
    fn start(self, context: &Context) -> Result<Exit, CliError> {
        let path = folder(context)?;
        if Link::open(&socket_path(&path)).is_some() {
            let message = "the daemon runs already";
            return Err(CliError::new(Exit::Conflict, "running", message).hint("sotto daemon status"));
        }
        let passphrase = context.passphrase()?;
        let program = std::env::current_exe().map_err(|error| CliError::io("find", "this program", &error))?;
        let mut command = Command::new(program);
        command.args(["daemon", "run", "--json", "--no-input", "--passphrase-file", "-"]);
        for (setting, valued) in context.settings.iter() {
            if setting.name != "passphrase-file" && !valued.text.is_empty() {
                command.arg(format!("--{}={}", setting.name, valued.text));
            }
        }
        if let Some(address) = self.http {
            command.arg(format!("--http={address}"));
        }
        let log = path.join("daemon.log");
        let log = fs::File::options().create(true).append(true).mode(0o600).open(&log);
        let log = log.map_err(|error| CliError::io("write", path.join("daemon.log").display(), &error))?;
        // A group of its own: Ctrl-C in the terminal is not for it.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0).spawn();
        let mut child = child.map_err(|error| CliError::io("start", "the daemon", &error))?;
        if let Some(mut input) = child.stdin.take() {
            let written = input.write_all(passphrase.expose().as_bytes());
            written.map_err(|error| CliError::io("write to", "the daemon", &error))?;
        }
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(|error| CliError::io("read from", "the daemon", &error))?;
        }
        match serde_json::from_str::<Value>(&line) {
            Ok(mut ready) if ready["type"] == READY => {
                let text = format!("✓ the daemon runs (process {}); sotto daemon stop ends it", child.id());
                if let Some(ready) = ready.as_object_mut() {
                    ready.insert("type".into(), "daemon.started".into());
                }
                context.out.result(&ready, text)?;
                Ok(Exit::Done)
            }
            _ => {
                let ended =
                    child.wait().ok().and_then(|status| status.code()).and_then(|code| u64::try_from(code).ok());
                let exit = ended.and_then(Exit::from_code).unwrap_or(Exit::Failed);
                let message = format!("the daemon has not started; {} says why", path.join("daemon.log").display());
                Err(CliError::new(exit, "not_started", message).hint("sotto daemon run"))
            }
        }
    }
}

/// The account that is meant, at work.
pub(super) fn open(context: &Context) -> Result<Arc<Daemon>, CliError> {
    let unlocked = context.unlock()?;
    let accounts = context.accounts(&unlocked.genesis);
    let folder = context.choose(&accounts)?;
    Daemon::start(unlocked.genesis, accounts, folder, unlocked.account, context.timeout)
}

/// The folder of the account that is meant.
pub(super) fn folder(context: &Context) -> Result<PathBuf, CliError> {
    let accounts = context.accounts(&context.genesis()?);
    Ok(accounts.folder().join(context.choose(&accounts)?.to_string()))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build();
    built.map_err(|error| CliError::new(Exit::Failed, "runtime", format!("cannot start: {error}")))
}

/// The token in a file of the user's; a new one if there is none.
fn token(file: &Path) -> Result<Zeroizing<String>, CliError> {
    if let Ok(token) = fs::read_to_string(file)
        && token.trim().len() == 64
    {
        return Ok(Zeroizing::new(token.trim().to_owned()));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    random()?.fill_bytes(&mut *bytes);
    let token = Zeroizing::new(hex::encode(*bytes));
    let opened = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(file);
    let written = opened.and_then(|mut file| file.write_all(token.as_bytes()));
    written.map_err(|error| CliError::io("write", file.display(), &error))?;
    Ok(token)
}

fn link(context: &Context) -> Result<Link, CliError> {
    Link::open(&socket_path(&folder(context)?)).ok_or_else(|| {
        CliError::new(Exit::NotFound, "no_daemon", "no daemon runs for this account").hint("sotto daemon start")
    })
}

fn status(context: &Context) -> Result<Exit, CliError> {
    let status = link(context)?.ask("daemon.status", &json!({}))?;
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let state = match text("/connection/state").as_str() {
        _ if status["locked"] == true => "locked: sotto unlock".to_owned(),
        "connected" => format!("connected: mail comes at once, from {} nodes", status["connection"]["members"]),
        "interrupted" => format!("interrupted: {}", text("/connection/reason")),
        state => state.to_owned(),
    };
    context
        .out
        .result(&status, format!("process   {}\naccount   {}\nstate     {state}", status["pid"], text("/account")))?;
    Ok(Exit::Done)
}

fn stop(context: &Context) -> Result<Exit, CliError> {
    let path = folder(context)?;
    link(context)?.ask("daemon.stop", &json!({}))?;
    let accounts = context.accounts(&context.genesis()?);
    let account = context.choose(&accounts)?;
    // What it was about to write is written when its lock is gone.
    for _ in 0..200 {
        if !accounts.is_in_use(account) && !socket_path(&path).exists() {
            let document = json!({"v": 1, "type": "daemon.stopped"});
            context.out.result(&document, "the daemon has ended")?;
            return Ok(Exit::Done);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(CliError::new(Exit::NotReady, "stopping", "the daemon takes long to end").hint("sotto daemon status"))
}

/// Have the daemon forget the account's keys, until `sotto unlock`
pub(in super::super) fn lock(context: &Context) -> Result<Exit, CliError> {
    link(context)?.ask("daemon.lock", &json!({}))?;
    context.out.result(&json!({"v": 1, "type": "daemon.locked"}), "the account is locked: sotto unlock")?;
    Ok(Exit::Done)
}

/// Give the daemon the account's keys again
pub(in super::super) fn unlock(context: &Context) -> Result<Exit, CliError> {
    let mut link = link(context)?;
    let passphrase = context.passphrase()?;
    let mut params = json!({"passphrase": passphrase.expose()});
    let unlocked = link.ask("daemon.unlock", &params);
    if let Some(Value::String(text)) = params.get_mut("passphrase") {
        zeroize::Zeroize::zeroize(text);
    }
    unlocked?;
    context.out.result(&json!({"v": 1, "type": "daemon.unlocked"}), "the account is unlocked")?;
    Ok(Exit::Done)
}

/// Serves standard input and output: through the daemon if it runs, else with the account in this process.
pub(in super::super) fn rpc(context: &Context) -> Result<Exit, CliError> {
    let attached = Attached::open(context)?;
    let failed = |error: std::io::Error| CliError::io("use", "the stream", &error);
    let mut from = attached.connect().map_err(failed)?;
    let mut to = from.try_clone().map_err(failed)?;
    std::thread::spawn(move || {
        // Either end has been closed: no more calls; answers may still come.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut output, mut buffer) = (std::io::stdout().lock(), vec![0; PIPE]);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let written = output.write_all(buffer.get(..length).unwrap_or_default()).and_then(|()| output.flush());
        if written.is_err() {
            break;
        }
    }
    Ok(Exit::Done)
}
