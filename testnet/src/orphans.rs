//! Processes that outlived the supervisor that started them.
//!
//! A child ends when its standard input does, so it ends with its supervisor, however that ends. Not one that is held by
//! SIGSTOP, or that hangs: it keeps its ports and its files, and is known by its command line.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::RUN;
use crate::failure::{Context as _, Exit, Failure, both};
use crate::procfs;

/// How long a process may take to be gone after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// A process that a supervisor started: the producer or a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Its data directory.
    pub datadir: PathBuf,
    /// Its peer-to-peer address.
    pub listen: SocketAddrV4,
}

impl Child {
    /// The process with this id, if a supervisor started it.
    fn find(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/cmdline")).ok()?)
    }

    /// Reads a command line as `/proc/PID/cmdline` has it; `None` if no supervisor started that.
    fn parse(pid: u32, command_line: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
        let start = words.windows(RUN.len()).position(|some| some.iter().eq(RUN.map(str::as_bytes).iter()))?;
        let mut rest = words.into_iter().skip(start + RUN.len());
        let datadir = PathBuf::from(OsStr::from_bytes(rest.next()?));
        rest.find(|word| *word == b"--listen")?;
        let listen = std::str::from_utf8(rest.next()?).ok()?.parse().ok()?;
        Some(Self { pid, datadir, listen })
    }

    fn is_in(&self, dir: &Path) -> bool {
        let Some(parent) = self.datadir.parent() else { return false };
        // As the process sees it: in a container the same path is another directory.
        let its = fs::metadata(format!("/proc/{}/root{}", self.pid, parent.display()));
        if let (Ok(its), Ok(ours)) = (its, fs::metadata(dir)) {
            return (its.dev(), its.ino()) == (ours.dev(), ours.ino());
        }
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        real(parent) == real(dir)
    }

    /// It may just have ended.
    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = Pid::from_raw(self.pid.cast_signed()) else { return Ok(()) };
        match kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(std::io::Error::from(error)).context("end", self).map_err(|failure| self.by_force(failure))
            }
        }
    }

    fn by_force(&self, failure: Failure) -> Failure {
        failure.hint(format!("as root: kill -9 {}", self.pid))
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.datadir.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{label} (pid {})", self.pid)
    }
}

/// Ends all processes of the testnet in `dir`, which has no supervisor: in order, and by force after `grace`. Returns
/// which there were. Whoever calls holds the lock on `dir`, so that no supervisor comes.
///
/// # Errors
/// [`Failure`] if one cannot be ended: it is somebody else's, or waits for a disk that does not answer.
pub async fn end(dir: &Path, grace: Duration) -> Result<Vec<Child>, Failure> {
    let orphans: Vec<Child> = all().filter(|child| child.is_in(dir)).collect();
    // Who goes on finds the end of its standard input.
    let told = each(&orphans, Signal::CONT);
    let stubborn = wait(&orphans, grace).await;
    // Looked at again: its number may be somebody else's by now.
    let same = |child: &&Child| Child::find(child.pid).as_ref() == Some(*child);
    both(told, each(stubborn.iter().filter(same), Signal::KILL))?;
    match wait(&stubborn, PATIENCE).await.first() {
        None => Ok(orphans),
        Some(child) => Err(child.by_force(Failure::new(Exit::Failed, format!("{child} does not end")))),
    }
}

/// Tells all of them; one that cannot be told keeps it from no other.
fn each<'a>(children: impl IntoIterator<Item = &'a Child>, signal: Signal) -> Result<(), Failure> {
    let mut told = Ok(());
    for child in children {
        told = both(told, child.signal(signal));
    }
    told
}

/// The directory of a testnet one of whose processes is at one of these addresses.
#[must_use]
pub fn testnet_at(addresses: &[SocketAddrV4]) -> Option<PathBuf> {
    let child = all().find(|child| addresses.contains(&child.listen))?;
    child.datadir.parent().map(Path::to_owned)
}

/// Waits until all are gone; returns those that are not in time.
async fn wait(children: &[Child], patience: Duration) -> Vec<Child> {
    let until = Instant::now() + patience;
    loop {
        let left: Vec<Child> = children.iter().filter(|child| procfs::holds_files(child.pid)).cloned().collect();
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Those of all testnets on this machine. One that has ended and was not waited for has no command line.
fn all() -> impl Iterator<Item = Child> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(Child::find)
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command, Stdio};

    use super::*;
    use crate::binaries::Binaries;
    use crate::guise::Guise;
    use crate::plan::{Plan, Settings};

    /// A shell that runs `script` under the command line of a node in `dir`.
    fn shell(dir: &Path, script: &str, port: u16) -> process::Child {
        let datadir = dir.join("node03");
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(RUN).arg(datadir).args(["--listen", &format!("127.103.0.1:{port}")]);
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        // Its command line is there a moment after the program is.
        while Child::find(child.id()).is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    fn is_stopped(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ")
    }

    fn hold(child: &process::Child) {
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::STOP).unwrap();
        while !is_stopped(child.id()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_a_supervisor_starts_is_known_by_its_command_line_and_nothing_else_is() {
        let settings = Settings::new("dev", 42, 20, Duration::from_secs(1), 27_000).unwrap();
        let plan = Plan::new(settings, PathBuf::from("/data/dev"));
        let binaries = Binaries::in_directory(Path::new("/bin"));
        let line = |command: &Command| {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>()
        };
        let place = plan.node(3);
        let node = line(&binaries.run_node(&plan, &place, &Guise::Plain).unwrap());
        let child = Child::parse(7, &node).unwrap();
        assert_eq!((child.to_string(), child.listen), ("node03 (pid 7)".to_owned(), place.listen));
        assert!(child.is_in(&plan.dir) && !child.is_in(Path::new("/data")) && !child.is_in(&place.datadir));
        let producer = Child::parse(8, &line(&binaries.run_producer(&plan))).unwrap();
        assert_eq!((producer.datadir, producer.listen), (plan.producer().datadir, plan.producer().listen));
        for other in [line(&binaries.exit(&place)), line(&binaries.init(&plan, 3)), Vec::new()] {
            assert_eq!(Child::parse(7, &other), None);
        }
    }

    #[tokio::test]
    async fn one_that_is_held_goes_on_to_its_end_and_those_of_others_are_left_alone() {
        let [dir, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let ended = dir.path().join("ended");
        let mut held = shell(dir.path(), &format!("read line; echo in order > {}", ended.display()), 28_001);
        let mut others = shell(other.path(), "read line", 28_002);
        hold(&held);
        drop(held.stdin.take());
        let found = end(dir.path(), Duration::from_secs(10)).await.unwrap();
        assert_eq!(found.iter().map(|child| child.pid).collect::<Vec<_>>(), [held.id()]);
        assert_eq!(fs::read_to_string(ended).unwrap(), "in order\n");
        assert!(!procfs::is_alive(held.id()) && procfs::is_alive(others.id()));
        assert_eq!(end(dir.path(), Duration::ZERO).await, Ok(Vec::new()));
        let at = |port: u16| testnet_at(&[format!("127.103.0.1:{port}").parse().unwrap()]);
        assert_eq!((at(28_001), at(28_002)), (None, Some(other.path().to_owned())));
        others.kill().unwrap();
        held.wait().and(others.wait()).unwrap();
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        // Without processes of its own: until it becomes another program, a child has its parent's command line.
        let mut stubborn = shell(dir.path(), "while :; do read line; done", 28_003);
        assert_eq!(end(dir.path(), Duration::from_millis(50)).await.unwrap().len(), 1);
        assert!(!procfs::is_alive(stubborn.id()));
        assert!(stubborn.wait().unwrap().to_string().contains("SIGKILL"));
    }
}
