//! One HTTP request to the producer that runs on a data directory.
//!
//! HTTP/1.0 over the admin socket: the answer ends with the connection, so there is nothing about chunks or reuse to
//! understand.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sotto_chain::producer::datadir::SOCKET;
use sotto_chain::producer::http;

use super::failure::{Exit, Failure};

/// How long a request may take, unless `--timeout` says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest answer: the stakes of some ten thousand nodes.
const MAX_ANSWER: u64 = 64 << 20;

/// Asks the producer of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    datadir: PathBuf,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(datadir: PathBuf, timeout: Option<Duration>) -> Self {
        // The operating system takes no timeout of zero.
        Self { datadir, timeout: timeout.unwrap_or(DEADLINE).max(Duration::from_millis(1)) }
    }

    /// How long a request may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks for a document.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.exchange("GET", path, "")?)
    }

    /// Has something done.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        read(self.exchange("POST", path, &body.to_string())?)
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
        let answer = self.send(method, path, body).map_err(|error| self.unreachable(&error))?;
        let unreadable = || Failure::new(Exit::Io, "unreadable", "the producer's answer cannot be read");
        let text = std::str::from_utf8(&answer).map_err(|_| unreadable())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(unreadable)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).ok_or_else(unreadable)?;
        let document: Value = serde_json::from_str(body).map_err(|_| unreadable())?;
        if (200..300).contains(&status) { Ok(document) } else { Err(Failure::of_document(&document)) }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = http::connect(&self.datadir.join(SOCKET))?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: sotto-chain\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let dir = self.datadir.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::new(Exit::Io, "not_running", format!("no producer runs on the data directory {dir}"))
                    .hint(format!("sotto-chain run --datadir {dir} --genesis FILE    # or name another --datadir"))
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let timeout = humantime::format_duration(self.timeout);
                Failure::new(Exit::Timeout, "timeout", format!("the producer did not answer within {timeout}"))
            }
            io::ErrorKind::PermissionDenied => {
                let message = format!("{dir}: only the owner of a data directory can talk to its producer");
                Failure::new(Exit::Permission, "permission", message)
            }
            _ => Failure::new(Exit::Io, "io", format!("the producer on {dir} cannot be asked: {error}")),
        }
    }
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, Failure> {
    serde_json::from_value(document).map_err(|error| {
        let message = format!("the producer answers what this program does not understand ({error})");
        Failure::new(Exit::Io, "unreadable", message).hint("use the same version of sotto-chain for both")
    })
}
