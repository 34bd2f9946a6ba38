//! The names of the files in a testnet's directory, and how they are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What the testnet is made from; a directory without it is none of ours and is never removed.
pub const SETTINGS: &str = "settings.json";
/// The genesis of its chain.
pub const GENESIS: &str = "genesis.json";
/// Who runs where, written when the testnet is ready.
pub const MANIFEST: &str = "manifest.json";
/// Where the supervisor listens for commands.
pub const SOCKET: &str = "testnet.sock";
/// Held while a supervisor runs; contains its pid.
pub const LOCK: &str = "LOCK";
/// What a supervisor in the background prints.
pub const SUPERVISOR_LOG: &str = "supervisor.log";
/// Below which directory its users' things lie.
pub const USERS: &str = "users";
/// The log of a process.
pub const LOG: &str = "log";
/// Where a process listens for its operator.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// The database of a node.
pub const DATABASE: &str = "db";
/// What a process prints on stdout and stderr.
pub const OUTPUT: &str = "output.log";

/// Replaces `path` by `bytes` in one step: a reader sees the old or the new file, never half of one, also after a crash.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
