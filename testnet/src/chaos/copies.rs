//! Copies of directories, with modes and owners, on disk before they count.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

/// What a file takes is a multiple of this.
const PAGE: u64 = 4096;

/// Copies what is in `from` into the directory `to`, which is there. Sockets are left out: whoever listens makes them.
///
/// # Errors
/// Those of the file system; `to` is not complete then.
pub(super) fn copy_into(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            give(&entry.metadata()?, &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    give(&fs::metadata(from)?, to)?;
    File::open(to)?.sync_all()
}

/// Copies the directory `from` to `to`, in one step for whoever looks at `to`.
///
/// # Errors
/// Those of the file system; also if `to` is there.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    remove(part)?;
    fs::create_dir(part)?;
    copy_into(from, part)?;
    fs::rename(part, to)
}

/// Removes a directory, if it is there.
///
/// # Errors
/// Those of the file system.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes that a copy of `directory` takes. What goes away meanwhile takes none: its owner may be at work.
///
/// # Errors
/// Those of the file system.
pub(super) fn bytes(directory: &Path) -> io::Result<u64> {
    let mut total = PAGE;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let taken = entry.metadata().and_then(|metadata| {
            if metadata.is_dir() { bytes(&entry.path()) } else { Ok(metadata.len().next_multiple_of(PAGE)) }
        });
        match taken {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            taken => total += taken?,
        }
    }
    Ok(total)
}

/// The mode and the owner of the original.
fn give(original: &Metadata, copy: &Path) -> io::Result<()> {
    fs::set_permissions(copy, original.permissions())?;
    chown(copy, Some(original.uid()), Some(original.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_copy_is_like_the_original_but_for_sockets_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("keys")).unwrap();
        fs::write(from.join("keys/node.key"), vec![7; 5000]).unwrap();
        fs::set_permissions(from.join("keys/node.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(from.join("keys"), fs::Permissions::from_mode(0o700)).unwrap();
        let _listener = UnixListener::bind(from.join("admin.sock")).unwrap();
        // What an earlier copy left that was interrupted.
        fs::create_dir_all(dir.path().join("to.part/rest")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("keys/node.key")).unwrap(), vec![7; 5000]);
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("keys/node.key"), mode("keys")), (0o600, 0o700));
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        assert!(copy(&from, &to).is_err());
        assert_eq!(bytes(&to).unwrap(), 4096 + 4096 + 8192);
        remove(&to).unwrap();
        remove(&to).unwrap();
        assert!(!to.exists());
    }
}
