//! Disks that are full: a node's data on a small file system in memory, with a file that takes all that is left.
//!
//! | directory | what |
//! | --- | --- |
//! | `node03` | the data; those of before are under it, hidden |
//! | `node03.small` | the small file system; in it `data`, which is there when all data are, and mounted at `node03` |
//! | `node03.back` | a copy of the data on its way back, complete |
//! | `node03.old` | the data of before, about to be removed |
//!
//! Each step was done or was not, and at every moment one directory has all data. So [`give_back`] goes on where another
//! process was killed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::copies;
use super::mountinfo::{is_mounted, mounts};
use crate::failure::{Context as _, Exit, Failure};
use crate::procfs;

/// What a node gets beyond its data, before the rest is taken: it has to start.
const SPARE_BYTES: u64 = 16 << 20;
/// Memory that is left to everybody else when all small file systems are full.
const LEFT_BYTES: u64 = 512 << 20;
/// The file that takes all that is left.
const BALLAST: &str = "ballast";
/// It is never longer, whatever the file system says.
const MOST_BALLAST_BYTES: u64 = 4 * SPARE_BYTES;
/// What it is written in, first and last.
const LARGE: usize = 1 << 20;
const SMALL: usize = 4096;
/// How long somebody may still have a file open.
const BUSY: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);
/// What the small file systems are called.
const SOURCE: &str = "sotto-testnet";
/// How the directory of the small file system ends.
const ENDING: &str = ".small";
/// What is mounted of it.
const DATA: &str = "data";

fn beside(datadir: &Path, ending: &str) -> PathBuf {
    let mut path = datadir.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// Whether file systems can be mounted here: in containers not even root may.
pub(super) fn are_possible() -> bool {
    let probe = std::env::temp_dir().join(format!("sotto-testnet-probe-{}", std::process::id()));
    if !rustix::process::geteuid().is_root() || fs::create_dir(&probe).is_err() {
        return false;
    }
    let mounted = run("mount", &["-t".as_ref(), "tmpfs".as_ref(), SOURCE.as_ref(), &probe]);
    let unmounted = mounted.and_then(|()| unmount(&probe));
    fs::remove_dir(&probe).is_ok() && unmounted.is_ok()
}

/// Whether there is memory for small file systems with the data in these directories.
///
/// # Errors
/// [`Exit::Conflict`] if there is not, with what is wanted and what there is.
pub(super) fn check_memory(datadirs: &[PathBuf]) -> Result<(), Failure> {
    let mut wanted = LEFT_BYTES;
    for datadir in datadirs {
        wanted = wanted.saturating_add(size(datadir)?);
    }
    let available = procfs::available_bytes()
        .ok_or_else(|| Failure::new(Exit::Failed, "/proc/meminfo does not tell how much memory is available"))?;
    enough(available, wanted)
}

fn enough(available: u64, wanted: u64) -> Result<(), Failure> {
    if available >= wanted {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (wanted, available, left) = (mib(wanted), available >> 20, mib(LEFT_BYTES));
    let message = format!(
        "full disks lie in memory: {wanted} MiB are needed, {left} of them for everybody else, and {available} are available"
    );
    Err(Failure::new(Exit::Conflict, message).hint("name fewer nodes, or end other programs"))
}

/// How large the small file system for these data is, in bytes.
fn size(datadir: &Path) -> Result<u64, Failure> {
    Ok(copies::bytes(datadir).context("measure", datadir.display())?.saturating_add(SPARE_BYTES))
}

/// Moves the data of a node that does not run onto a small file system.
///
/// # Errors
/// [`Failure`] if it cannot be mounted or has no place; [`give_back`] makes all as it was.
pub(super) fn shrink(datadir: &Path) -> Result<(), Failure> {
    let small = beside(datadir, ENDING);
    let size = size(datadir)?;
    let owner = fs::metadata(datadir).context("look at", datadir.display())?;
    fs::create_dir(&small).context("create", small.display())?;
    let options = format!("size={size},mode=0700,uid={},gid={}", owner.uid(), owner.gid());
    run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), SOURCE.as_ref(), &small])?;
    let data = small.join(DATA);
    copies::copy(datadir, &data).context("copy to", small.display())?;
    run("mount", &["--bind".as_ref(), &data, datadir])
}

/// Takes all that is left on a small file system. Returns how much it was, in bytes.
///
/// # Errors
/// [`Failure`] if there is none, or it cannot be written for another reason.
pub(super) fn fill(datadir: &Path) -> Result<u64, Failure> {
    if !is_mounted(datadir) {
        return Err(Failure::new(Exit::Conflict, format!("{} is on no small file system", datadir.display())));
    }
    let path = datadir.join(BALLAST);
    take_all(&path, MOST_BALLAST_BYTES).context("fill", path.display())
}

/// Writes until nothing is left, or `most` bytes.
fn take_all(path: &Path, most: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let zeros = vec![0; LARGE];
    let (mut size, mut taken) = (LARGE, 0_u64);
    while taken < most {
        match file.write(zeros.get(..size).unwrap_or_default()) {
            Ok(written) => taken += written as u64,
            Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
            Err(_) if size == SMALL => break,
            Err(_) => size = SMALL,
        }
    }
    Ok(taken)
}

/// Frees what was taken.
///
/// # Errors
/// [`Failure`] if it cannot be removed.
pub(super) fn free(datadir: &Path) -> Result<(), Failure> {
    let path = datadir.join(BALLAST);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path.display()),
        _ => Ok(()),
    }
}

/// A node is about to be started: where its data are on a small file system that is not mounted at their place, they come
/// back first. It must not begin with older ones.
///
/// # Errors
/// As [`give_all_back`].
pub fn give_back_hidden(datadir: &Path) -> Result<(), Failure> {
    if beside(datadir, ENDING).exists() && !is_mounted(datadir) { give_back(datadir) } else { Ok(()) }
}

/// Moves the data of a node that does not run back from its small file system, if there is one, and goes on where that
/// was interrupted.
///
/// # Errors
/// [`Failure`] if there is no place for them, or somebody still uses them. They are where they were then.
pub(super) fn give_back(datadir: &Path) -> Result<(), Failure> {
    let [small, back, old] = [ENDING, ".back", ".old"].map(|ending| beside(datadir, ending));
    // First: while somebody uses them they change.
    while is_mounted(datadir) {
        unmount(datadir)?;
    }
    let data = small.join(DATA);
    if data.is_dir() {
        free(&data)?;
        copies::remove(&back).context("remove", back.display())?;
        copies::copy(&data, &back).context("copy to", back.display())?;
    }
    // Before the node has its data: later they are older than those.
    if is_mounted(&small) {
        unmount(&small)?;
    }
    if back.is_dir() {
        if datadir.is_dir() {
            copies::remove(&old).context("remove", old.display())?;
            fs::rename(datadir, &old).context("move", datadir.display())?;
        }
        fs::rename(&back, datadir).context("move", back.display())?;
        if let Some(Ok(directory)) = datadir.parent().map(File::open) {
            directory.sync_all().context("sync", datadir.display())?;
        }
    }
    copies::remove(&old).context("remove", old.display())?;
    match fs::remove_dir(&small) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", small.display()),
        _ => Ok(()),
    }
}

/// Data directories in `dir` that are on small file systems, or were when somebody was interrupted.
pub(super) fn shrunk(dir: &Path) -> Vec<PathBuf> {
    // The kernel names what links lead to.
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let ours =
        mounts().into_iter().filter(|mount| mount.source == SOURCE && mount.point.parent() == Some(real.as_path()));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let left = entries.filter(|path| path.to_string_lossy().ends_with(ENDING));
    let names = ours.map(|mount| mount.point).chain(left).filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(ENDING).unwrap_or(name);
        // Somebody may keep other things here, before it is known whether this is a testnet.
        let is_node = name.strip_prefix("node").is_some_and(|number| number.parse::<u16>().is_ok());
        is_node.then(|| name.to_owned())
    });
    let names: BTreeSet<String> = names.collect();
    names.into_iter().map(|name| dir.join(name)).collect()
}

/// Moves all data of a testnet that does not run back from small file systems.
///
/// # Errors
/// [`Failure`] of the first that cannot be moved.
pub fn give_all_back(dir: &Path) -> Result<(), Failure> {
    shrunk(dir).iter().try_for_each(|datadir| give_back(datadir).map_err(again_as_root))
}

/// Unmounts all small file systems of a testnet that does not run. The data on them are gone: all data are about to be
/// removed.
///
/// # Errors
/// [`Failure`] of the first that cannot be unmounted.
pub fn discard_all(dir: &Path) -> Result<(), Failure> {
    for datadir in shrunk(dir) {
        for point in [&datadir, &beside(&datadir, ENDING)] {
            while is_mounted(point) {
                unmount(point).map_err(again_as_root)?;
            }
        }
    }
    Ok(())
}

fn again_as_root(failure: Failure) -> Failure {
    match failure.hint {
        None => failure.hint("again as root: its data are on a file system in memory"),
        Some(_) => failure,
    }
}

fn unmount(point: &Path) -> Result<(), Failure> {
    let until = Instant::now() + BUSY;
    loop {
        match run("umount", &[point]) {
            Err(_) if Instant::now() < until => std::thread::sleep(LOOK),
            result => return result,
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().context("run", program)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(Exit::Failed, format!("{program}: {}", said.lines().next().unwrap_or("no reason given"))))
}

#[cfg(test)]
mod tests {
    use super::super::needs::Need;
    use super::*;

    fn node() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let datadir = dir.path().join("node03");
        fs::create_dir_all(datadir.join("db")).unwrap();
        fs::write(datadir.join("db/000011.sst"), "records").unwrap();
        (dir, datadir)
    }

    fn is_whole(datadir: &Path, records: &str) {
        assert_eq!(fs::read_to_string(datadir.join("db/000011.sst")).unwrap(), records);
        assert_eq!(fs::read_dir(datadir.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(shrunk(datadir.parent().unwrap()), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_way_back_is_gone_on_wherever_it_was_interrupted() {
        let newer = |path: PathBuf| {
            fs::create_dir_all(path.join("db")).unwrap();
            fs::write(path.join("db/000011.sst"), "newer").unwrap();
        };
        // Before anything was mounted, or after the machine was started anew.
        let (dir, datadir) = node();
        fs::create_dir(beside(&datadir, ENDING)).unwrap();
        assert_eq!(shrunk(dir.path()), [datadir.as_path()]);
        give_all_back(dir.path()).unwrap();
        is_whole(&datadir, "records");
        // The copy was complete, and nothing was moved yet.
        newer(beside(&datadir, ".back"));
        give_back(&datadir).unwrap();
        is_whole(&datadir, "newer");
        // The data of before were moved away.
        let (_dir, datadir) = node();
        newer(beside(&datadir, ".back"));
        fs::rename(&datadir, beside(&datadir, ".old")).unwrap();
        give_back(&datadir).unwrap();
        is_whole(&datadir, "newer");
        give_back(&datadir).unwrap();
        is_whole(&datadir, "newer");
    }

    #[test]
    fn what_is_no_node_s_is_nobody_s() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["photos.small", "photos.old", "node.small", "nodes.small"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(shrunk(dir.path()), Vec::<PathBuf>::new());
        give_all_back(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn what_is_on_the_real_disk_is_never_filled() {
        let (_dir, datadir) = node();
        assert_eq!(fill(&datadir).unwrap_err().exit, Exit::Conflict);
        assert!(!datadir.join(BALLAST).exists());
        assert_eq!(take_all(&datadir.join(BALLAST), 5000).unwrap(), LARGE as u64);
        free(&datadir).unwrap();
        free(&datadir).unwrap();
        is_whole(&datadir, "records");
    }

    #[test]
    fn data_that_would_take_all_memory_are_refused() {
        let (dir, datadir) = node();
        let least = LEFT_BYTES + size(&datadir).unwrap();
        assert_eq!(enough(least, least), Ok(()));
        let failure = enough(least - 1, least).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("529 MiB are needed") && failure.hint.is_some(), "{failure:?}");
        // More than any machine has, and nothing on disk.
        File::create(datadir.join("db/large.sst")).unwrap().set_len(1 << 43).unwrap();
        assert_eq!(check_memory(&[datadir]).unwrap_err().exit, Exit::Conflict);
        assert_eq!(check_memory(&[dir.path().join("nobody")]).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn a_disk_is_full_and_nothing_is_lost_on_the_way_there_and_back() {
        let (dir, datadir) = node();
        if !are_possible() {
            return Need::Mounts.skip();
        }
        shrink(&datadir).unwrap();
        assert!(is_mounted(&datadir));
        assert_eq!(shrunk(dir.path()), [datadir.as_path()]);
        let taken = fill(&datadir).unwrap();
        assert!((SPARE_BYTES / 2..=SPARE_BYTES + LARGE as u64).contains(&taken), "{taken}");
        let refused = fs::write(datadir.join("db/000012.sst"), vec![1; 8192]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        free(&datadir).unwrap();
        fs::write(datadir.join("db/000011.sst"), "newer").unwrap();
        fs::remove_file(datadir.join("db/000012.sst")).unwrap();
        give_all_back(dir.path()).unwrap();
        assert!(!is_mounted(&datadir));
        is_whole(&datadir, "newer");
        // Before all is removed, nothing is copied.
        shrink(&datadir).unwrap();
        discard_all(dir.path()).unwrap();
        assert!(!is_mounted(&datadir) && !is_mounted(&beside(&datadir, ENDING)));
        assert_eq!(fs::read_dir(beside(&datadir, ENDING)).unwrap().count(), 0);
    }
}
