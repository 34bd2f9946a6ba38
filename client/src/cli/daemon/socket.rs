//! Where the daemon listens: a Unix socket in the account's folder, which is the user's alone.
//!
//! A socket's path may have 107 bytes and a folder's more, so it is reached through an open folder.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::super::{CliError, Exit};

/// Its name.
const NAME: &str = "socket";

/// The socket of the account in a folder.
pub(in super::super) fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// A short path to a long one, as long as the file is open.
fn through(socket: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(socket.parent().unwrap_or_else(|| Path::new(".")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((folder, short))
}

/// Connects with the daemon at a socket.
pub(super) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (_folder, short) = through(socket)?;
    UnixStream::connect(short)
}

/// A listening socket; its file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: tokio::net::UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens. What a killed daemon left is replaced; one that answers is not.
    pub(super) fn bind(path: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::io("listen at", path.display(), &error);
        if connect(path).is_ok() {
            let message = format!("a daemon listens at {} already", path.display());
            return Err(CliError::new(Exit::InUse, "in_use", message).hint("sotto daemon status"));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let (_folder, short) = through(path).map_err(failed)?;
        let listener = UnixListener::bind(short).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // the next daemon replaces it
    }
}

/// Whether the other end is of this process's user, or root.
pub(super) fn is_own(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_path_is_bound_and_found_and_a_dead_socket_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        let socket = path(&deep);
        let listener = Listener::bind(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let stream = connect(&socket).unwrap();
        let (accepted, _) = listener.socket.accept().await.unwrap();
        assert!(is_own(&accepted));
        assert_eq!(Listener::bind(&socket).unwrap_err().exit, Exit::InUse);
        drop(stream);
        let Listener { socket: raw, path: left } = &listener;
        let _ = raw;
        assert!(left.exists());
        drop(listener);
        assert!(!socket.exists());
        drop(UnixListener::bind(through(&socket).unwrap().1).unwrap());
        assert!(socket.exists() && connect(&socket).is_err());
        Listener::bind(&socket).unwrap();
    }
}
