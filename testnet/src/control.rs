//! Commands to a running supervisor: one JSON line there, one back, over the Unix socket in the testnet's directory.
//!
//! Only the supervisor can start and stop its children, so every command that does goes this way. Whoever may open
//! the socket (0600) owns the testnet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::guise::Guise;
use crate::http;
use crate::progress::Progress;
use crate::target::Target;

/// The longest line in either direction.
const MAX_LINE_BYTES: u64 = 1024 * 1024;
/// Requests that may wait for the supervisor.
pub const WAITING_REQUESTS: usize = 16;
/// Clients that are talked to at once.
const CONVERSATIONS: usize = 32;
/// How long a client may take to send its line.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// What a supervisor can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cmd")]
pub enum Request {
    /// How far the start is; answered at any time.
    Progress,
    /// Which processes there are; answers [`Processes`].
    Processes,
    /// Start so many more nodes; answers [`Added`].
    Add {
        /// How many.
        count: u16,
    },
    /// Do something to some processes; answers [`Done`].
    Act {
        /// What.
        action: Action,
        /// To whom.
        targets: Vec<Target>,
    },
    /// End some nodes in order if they run, and start them in another guise; answers [`Done`].
    Disguise {
        /// Until they are started again.
        guise: Guise,
        /// Their numbers.
        nodes: Vec<u16>,
    },
    /// Write the manifest anew, with all nodes there are.
    Manifest,
    /// End everything; answered before it happens.
    Down,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// End it in order if it runs, then start it as it is.
    Restart,
}

/// The processes of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// The supervisor.
    pub supervisor: u32,
    /// Nodes there are.
    pub nodes: u16,
    /// Its children.
    pub children: Vec<ChildState>,
}

/// A child of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildState {
    /// Which.
    pub target: Target,
    /// Its process id, also after its end.
    pub pid: u32,
    /// `running`, `paused` or how it ended.
    pub state: String,
    /// How it was started.
    #[serde(default, skip_serializing_if = "Guise::is_plain")]
    pub guise: Guise,
}

/// New nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Their numbers.
    pub indices: Vec<u16>,
    /// All nodes there are now.
    pub nodes: u16,
}

/// A finished action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How long stopping took, when the action was to restart.
    pub stopped_ms: u64,
    /// All nodes there are.
    pub nodes: u16,
}

/// The line back.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    exit: u8,
    message: String,
    hint: Option<String>,
}

/// A request with the place for its answer.
pub type Waiting = (Request, oneshot::Sender<Result<Value, Failure>>);

/// The listening end of the socket; removes it when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
}

impl Server {
    /// Listens in `dir`, whose lock the caller holds: a socket left there by a killed supervisor is replaced.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn bind(dir: &Path) -> Result<Self, Failure> {
        let socket = dir.join(files::SOCKET);
        Self::bind_at(&socket).context("listen on", socket.display()).map(|listener| Self { listener, socket })
    }

    fn bind_at(socket: &Path) -> io::Result<UnixListener> {
        use std::os::unix::fs::PermissionsExt;
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (path, _directory) = http::short_socket_path(socket)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Serves until `stop`. Progress and the end are answered here, the rest goes to the supervisor.
    pub async fn serve(
        self,
        progress: watch::Receiver<Progress>,
        requests: mpsc::Sender<Waiting>,
        stop: CancellationToken,
    ) {
        let conversations = Arc::new(Semaphore::new(CONVERSATIONS));
        loop {
            let Ok(permit) = Arc::clone(&conversations).acquire_owned().await else { return };
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of file descriptors: wait for some to come back instead of spinning.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (progress, requests, stop) = (progress.clone(), requests.clone(), stop.clone());
            tokio::spawn(async move {
                // A client that goes away in the middle is its own affair.
                let _client_gone: Result<_, _> = converse(stream, &progress, &requests, &stop).await;
                drop(permit);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone: Result<_, _> = std::fs::remove_file(&self.socket);
    }
}

async fn converse(
    stream: UnixStream,
    progress: &watch::Receiver<Progress>,
    requests: &mpsc::Sender<Waiting>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut bounded = (&mut stream).take(MAX_LINE_BYTES);
    tokio::time::timeout(READ_DEADLINE, bounded.read_line(&mut line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let request: Result<Request, _> = serde_json::from_str(&line);
    let ends = matches!(request, Ok(Request::Down));
    let result = match request {
        Ok(Request::Progress) => serde_json::to_value(&*progress.borrow()).map_err(internal),
        Ok(Request::Down) => Ok(Value::Null),
        Ok(request) => forward(request, requests).await,
        Err(error) => Err(Failure::new(Exit::Usage, format!("not a request: {error}"))),
    };
    let mut answer = serde_json::to_string(&Answer::from(result))?;
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await?;
    if ends {
        stop.cancel();
    }
    Ok(())
}

async fn forward(request: Request, requests: &mpsc::Sender<Waiting>) -> Result<Value, Failure> {
    let (sender, answer) = oneshot::channel();
    let stopping = || Failure::new(Exit::Network, "the testnet is stopping");
    requests.send((request, sender)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

impl From<Result<Value, Failure>> for Answer {
    fn from(result: Result<Value, Failure>) -> Self {
        match result {
            Ok(data) => Self { v: 1, data: Some(data), error: None },
            Err(Failure { exit, message, hint }) => {
                Self { v: 1, data: None, error: Some(Refusal { exit: exit as u8, message, hint }) }
            }
        }
    }
}

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}

/// Turns an answer's value into JSON.
///
/// # Errors
/// [`Exit::Internal`] for values that have no JSON form; ours all do.
pub fn to_value<T: Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(internal)
}

/// Asks the supervisor of the testnet in `dir`.
///
/// # Errors
/// [`Exit::Network`] when none listens there, else what the supervisor answers.
pub async fn ask<T: DeserializeOwned>(dir: &Path, request: &Request) -> Result<T, Failure> {
    let line = serde_json::to_string(request).map_err(internal)?;
    let answer = exchange(&dir.join(files::SOCKET), line).await.map_err(|error| not_running(dir, &error))?;
    let answer: Answer = serde_json::from_str(&answer).map_err(internal)?;
    match answer.error {
        Some(Refusal { exit, message, hint }) => Err(Failure { exit: Exit::from_number(exit), message, hint }),
        None => serde_json::from_value(answer.data.unwrap_or(Value::Null)).map_err(internal),
    }
}

async fn exchange(socket: &Path, mut line: String) -> io::Result<String> {
    let mut stream = BufReader::new(http::connect_unix(socket).await?);
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_LINE_BYTES).read_line(&mut answer).await?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

fn not_running(dir: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::Network, format!("no testnet is running in {}", dir.display()))
                .hint("./testnet/up.sh        # starts one")
        }
        _ => Failure::new(Exit::Network, format!("the testnet in {} does not answer: {error}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_as_written() {
        let requests = [
            Request::Progress,
            Request::Add { count: 2 },
            Request::Act { action: Action::Kill, targets: vec![Target::Chain, Target::Node(3)] },
            Request::Disguise { guise: Guise::Clock { ahead_seconds: 60 }, nodes: vec![3] },
            Request::Down,
        ];
        for request in requests {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request, "{line}");
        }
    }

    fn serve(dir: &Path) -> (mpsc::Receiver<Waiting>, CancellationToken, tokio::task::JoinHandle<()>) {
        let stop = CancellationToken::new();
        let (requests, received) = mpsc::channel(WAITING_REQUESTS);
        let (_, progress) = watch::channel(Progress::default());
        let server = Server::bind(dir).unwrap();
        let task = tokio::spawn(server.serve(progress, requests, stop.clone()));
        (received, stop, task)
    }

    #[tokio::test]
    async fn the_supervisors_refusal_reaches_the_client() {
        let dir = tempfile::tempdir().unwrap();
        let (mut requests, _stop, _task) = serve(dir.path());
        let refusal = Failure::new(Exit::Conflict, "no operator left").hint("fewer");
        let expected = refusal.clone();
        tokio::spawn(async move {
            let (_, answer) = requests.recv().await.unwrap();
            answer.send(Err(refusal)).unwrap();
        });
        let answer = ask::<Added>(dir.path(), &Request::Add { count: 99 }).await;
        assert_eq!(answer, Err(expected));
    }

    #[tokio::test]
    async fn down_ends_the_server_and_removes_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let (_requests, stop, task) = serve(dir.path());
        ask::<()>(dir.path(), &Request::Down).await.unwrap();
        task.await.unwrap();
        assert!(stop.is_cancelled());
        assert!(!dir.path().join(files::SOCKET).exists());
        let failure = ask::<()>(dir.path(), &Request::Down).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Network);
    }

    #[tokio::test]
    async fn a_line_that_is_no_request_is_answered_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (_requests, _stop, _task) = serve(dir.path());
        let answer = exchange(&dir.path().join(files::SOCKET), "{\"cmd\":\"fly\"}".to_owned()).await.unwrap();
        assert!(answer.contains("not a request"), "{answer}");
    }

    #[tokio::test]
    async fn a_socket_left_by_a_killed_supervisor_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(files::SOCKET)).unwrap());
        let (_requests, _stop, _task) = serve(dir.path());
        let progress: Progress = ask(dir.path(), &Request::Progress).await.unwrap();
        assert_eq!(progress, Progress::default());
    }
}
