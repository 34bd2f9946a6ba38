//! Asking a running node: one HTTP/1.1 request over its Unix socket, without a runtime. What the commands use.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SocketPath;

/// Longest answer that is read.
const ANSWER_MAX: usize = 4 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No process listens on the socket.
    #[error("no node is running on this data directory")]
    NotRunning,
    /// The node does not answer in time.
    #[error("the node does not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer is not HTTP, or longer than any answer is.
    #[error("the node's answer is not understood")]
    NotUnderstood,
    /// The socket breaks or refuses.
    #[error("the node's socket: {0}")]
    Io(io::Error),
}

/// Sends a request to the node of `datadir` and waits for the answer.
///
/// # Errors
/// [`AskError`] when there is none.
pub fn ask(datadir: &Path, method: &str, target: &str, body: &str, timeout: Duration) -> Result<Answer, AskError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Timeout(timeout),
        _ => AskError::Io(error),
    };
    let bytes = exchange(datadir, method, target, body, timeout).map_err(failed)?;
    parse(&bytes).ok_or(AskError::NotUnderstood)
}

fn exchange(datadir: &Path, method: &str, target: &str, body: &str, timeout: Duration) -> io::Result<Vec<u8>> {
    let path = SocketPath::of(datadir)?;
    let mut stream = UnixStream::connect(path.as_path())?;
    stream.set_write_timeout(Some(timeout))?;
    let head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    match stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()) {
        // It has answered before it had heard everything, and closed.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
        written => written?,
    }
    read_to_end(&mut stream, Instant::now() + timeout)
}

/// Reads to the end of the stream or to [`ANSWER_MAX`], whichever comes first.
fn read_to_end(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < ANSWER_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(answer)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_into_status_and_body() {
        let answer = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "hi"));
        for bad in [&b""[..], b"HTTP/1.1 2", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\xff\xfe\r\n\r\n"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn nobody_listening_is_told_apart_from_nobody_answering() {
        let datadir = tempfile::tempdir().unwrap();
        let error = ask(datadir.path(), "GET", "/status", "", Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, AskError::NotRunning), "{error}");
        let _listener = std::os::unix::net::UnixListener::bind(datadir.path().join(super::super::SOCKET)).unwrap();
        let error = ask(datadir.path(), "GET", "/status", "", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, AskError::Timeout(_)), "{error}");
    }

    #[test]
    fn a_directory_with_a_long_name_is_reached_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let datadir = root.path().join("d".repeat(120));
        std::fs::create_dir(&datadir).unwrap();
        let path = SocketPath::of(&datadir).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(path.as_path()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        });
        assert_eq!(ask(&datadir, "GET", "/", "", Duration::from_secs(5)).unwrap().status, 204);
        server.join().unwrap();
    }
}
