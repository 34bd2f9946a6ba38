//! Unix sockets in directories whose paths are longer than a socket's address may be.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The kernel takes 107 bytes; some are left for the file's name.
const LONGEST: usize = 100;

/// A path to `socket` that is short enough, and what keeps it valid.
fn short(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if socket.as_os_str().as_bytes().len() <= LONGEST {
        return Ok((socket.to_owned(), None));
    }
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = File::open(dir)?;
    Ok((Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name), Some(dir)))
}

/// Listens on `socket`, which only its owner may use. One left behind by a killed process is replaced: the caller holds
/// the directory's lock.
///
/// # Errors
/// What the operating system says.
pub fn bind(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (path, _dir) = short(socket)?;
    // The directory is closed to others, so nobody gets in between the two calls.
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to `socket`.
///
/// # Errors
/// What the operating system says.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (path, _dir) = short(socket)?;
    UnixStream::connect(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_in_a_very_deep_directory_works() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a-rather-long-name-for-a-directory".repeat(4)).join("another-long-name".repeat(8));
        fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("admin.sock");
        for _ in 0..2 {
            // The second time a file is in the way, as after kill -9.
            let listener = bind(&socket).unwrap();
            connect(&socket).unwrap();
            listener.accept().await.unwrap();
            assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
