//! Files that are there whole or not at all, and that nobody else may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Makes `folder` and what is missing above it, for this user only.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(StoreError::io("create", folder))
}

/// Makes a new file of these bytes, durable before it returns. The folder's entry is the caller's to sync.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("write", path))
}

/// Puts a file of these bytes in the place of the one at `path`, if there is one: at any moment one of them is whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fresh = fresh(path);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", &fresh)(error)),
        _ => {}
    }
    write_new(&fresh, bytes)?;
    fs::rename(&fresh, path).map_err(StoreError::io("replace", path))?;
    sync_folder_of(path)
}

/// What is to take the place of the file at `path` lies there for a moment.
pub(super) fn fresh(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Overwrites a file where it lies, for what must not survive beside its successor.
pub(super) fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("overwrite", path))
}

/// Makes the entries of `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", folder))
}

fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// The file's bytes, which must be exactly `N`; `None` if there is no such file.
pub(super) fn read_exactly<const N: usize>(path: &Path) -> Result<Option<Box<[u8; N]>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let mut bytes = Vec::with_capacity(N + 1);
    file.take(N as u64 + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    let bytes: Box<[u8]> = bytes.into_boxed_slice();
    bytes.try_into().map(Some).map_err(|_| StoreError::Damaged("a file of another length"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replacing_keeps_no_old_file_and_needs_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(folder.path().join("a.new"), "left by a killed process").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(*read_exactly::<3>(&path).unwrap().unwrap(), *b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_another_length_is_damaged_and_a_missing_one_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        assert!(read_exactly::<3>(&path).unwrap().is_none());
        write_new(&path, b"four").unwrap();
        assert!(matches!(read_exactly::<3>(&path), Err(StoreError::Damaged(_))));
        assert!(matches!(read_exactly::<5>(&path), Err(StoreError::Damaged(_))));
        assert!(write_new(&path, b"again").is_err(), "a new file never takes an old one's place");
    }
}
