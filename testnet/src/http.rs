//! One HTTP request to a process of ours, over TCP or a Unix socket.
//!
//! HTTP/1.0, one request a connection: the answer ends where the connection does, so nothing about chunks or reuse has
//! to be understood. Answers are bounded in size and time.

use std::fs::File;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The kernel takes 107 bytes; longer paths go through `/proc/self/fd`.
const MAX_SOCKET_PATH: usize = 100;

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {DEADLINE:?}")]
    Timeout,
    /// Not HTTP, or not JSON.
    #[error("unreadable answer: {0}")]
    Unreadable(&'static str),
    /// The process refused.
    #[error("{reason} (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the process said.
        reason: String,
    },
}

/// The JSON at `http://address path`.
///
/// # Errors
/// [`HttpError`]; a status other than 2xx is [`HttpError::Refused`].
pub async fn get(address: SocketAddrV4, path: &str) -> Result<Value, HttpError> {
    within_deadline(async { exchange(TcpStream::connect(address).await?, "GET", path, None).await }).await
}

/// The JSON at `path` of the process that listens on the Unix socket at `socket`: no byte of it is on any link.
///
/// # Errors
/// As [`get`].
pub async fn get_unix(socket: &Path, path: &str) -> Result<Value, HttpError> {
    within_deadline(async { exchange(connect_unix(socket).await?, "GET", path, None).await }).await
}

/// Posts JSON to `path` of the process that listens on the Unix socket at `socket`.
///
/// # Errors
/// [`HttpError`]; a status other than 2xx is [`HttpError::Refused`].
pub async fn post(socket: &Path, path: &str, body: &Value) -> Result<Value, HttpError> {
    within_deadline(async {
        let stream = connect_unix(socket).await?;
        exchange(stream, "POST", path, Some(body.to_string())).await
    })
    .await
}

/// Connects to a Unix socket whose path may be longer than a socket address.
///
/// # Errors
/// Those of the system.
pub async fn connect_unix(socket: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = short_socket_path(socket)?;
    UnixStream::connect(path).await
}

/// A path for `socket` that fits a socket address; it works while the returned directory handle lives.
///
/// # Errors
/// When the socket's directory cannot be opened.
pub fn short_socket_path(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if socket.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((socket.to_owned(), None));
    }
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let directory = File::open(parent)?;
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((path, Some(directory)))
}

async fn within_deadline<T>(exchange: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
    tokio::time::timeout(DEADLINE, exchange).await.unwrap_or(Err(HttpError::Timeout))
}

async fn exchange<S>(mut stream: S, method: &str, path: &str, body: Option<String>) -> Result<Value, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Value, HttpError> {
    let text = std::str::from_utf8(answer).map_err(|_| HttpError::Unreadable("not UTF-8"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(HttpError::Unreadable("no end of headers"))?;
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| digits.parse::<u16>().ok())
        .ok_or(HttpError::Unreadable("no status line"))?;
    if !(200..300).contains(&status) {
        return Err(HttpError::Refused { status, reason: reason(body) });
    }
    if body.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(body).map_err(|_| HttpError::Unreadable("not JSON"))
}

/// The sentence in an error answer, which is JSON with a `message`, `error` or `reason`, or plain text.
fn reason(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let field = |name: &str| json.as_ref()?.get(name)?.as_str().map(str::to_owned);
    ["message", "error", "reason"].into_iter().find_map(field).unwrap_or_else(|| body.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_answer_is_read() {
        let answer = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"ok\":true}";
        assert_eq!(parse(answer).unwrap()["ok"], true);
    }

    #[test]
    fn a_refusal_carries_its_sentence() {
        let answer = b"HTTP/1.1 409 Conflict\r\n\r\n{\"message\":\"reorgs reach 3 blocks back\"}";
        match parse(answer) {
            Err(HttpError::Refused { status: 409, reason }) => assert_eq!(reason, "reorgs reach 3 blocks back"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_that_are_no_answer_are_an_error_and_never_a_panic() {
        for bytes in [&b""[..], b"\xff\xff", b"HTTP/1.", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n\r\n{", b"\r\n\r\n"] {
            assert!(matches!(parse(bytes), Err(HttpError::Unreadable(_))), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_like_an_address() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /swarm HTTP/1.0\r\n"));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{\"items\":7}").await.unwrap();
        };
        let (answer, ()) = tokio::join!(get_unix(&socket, "/swarm"), serve);
        assert_eq!(answer.unwrap()["items"], 7);
        assert!(matches!(get_unix(&directory.path().join("none"), "/swarm").await, Err(HttpError::Io(_))));
    }

    #[tokio::test]
    async fn a_socket_in_a_very_deep_directory_is_reached() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("testnet.sock");
        let (path, _directory) = short_socket_path(&socket).unwrap();
        let _listener = tokio::net::UnixListener::bind(path).unwrap();
        connect_unix(&socket).await.unwrap();
    }
}
