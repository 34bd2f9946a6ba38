//! What is mounted where, as the kernel tells it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which part of it is mounted.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// Of which kind it is.
    pub(super) kind: String,
    /// What it is called by whoever mounted it, or the device.
    pub(super) source: String,
    /// Its own options, those that are not of the mount.
    pub(super) options: String,
}

/// Everything that is mounted, in the order in which it was; nothing where the kernel does not tell.
pub(super) fn mounts() -> Vec<Mount> {
    fs::read_to_string("/proc/self/mountinfo").map_or_else(|_| Vec::new(), |text| parse(&text))
}

/// Whether something is mounted at `point`.
pub(super) fn is_mounted(point: &Path) -> bool {
    // The kernel names what links lead to.
    let point = fs::canonicalize(point);
    point.is_ok_and(|point| mounts().iter().any(|mount| mount.point == point))
}

/// Lines such as `31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755`.
fn parse(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (path(place.next()?), path(place.next()?));
        let mut kind = kind.splitn(3, ' ');
        let [kind, source, options] = [kind.next()?, kind.next()?, kind.next()?].map(str::to_owned);
        Some(Mount { root, point, kind, source, options })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// A path in which blanks are written as `\040`.
fn path(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if *byte == b'\\' => {
                bytes.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_and_without_optional_fields_and_with_blanks() {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                    35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw shared:9 master:1 - cgroup cgroup rw,memory\n\
                    40 27 0:39 / /data/my\\040nets/a rw - tmpfs sotto-testnet rw,size=1024k\n\
                    nonsense\n";
        let mounts = parse(text);
        let points: Vec<_> = mounts.iter().map(|mount| mount.point.to_str().unwrap()).collect();
        assert_eq!(points, ["/", "/sys/fs/cgroup/memory", "/data/my nets/a"]);
        let memory = &mounts[1];
        assert_eq!((memory.kind.as_str(), memory.options.as_str()), ("cgroup", "rw,memory"));
        assert_eq!(memory.root, Path::new("/docker/1"));
        assert_eq!(mounts[2].source, "sotto-testnet");
    }

    #[test]
    fn the_root_is_mounted_and_a_new_directory_is_not() {
        assert!(is_mounted(Path::new("/")));
        assert!(!is_mounted(tempfile::tempdir().unwrap().path()));
    }
}
