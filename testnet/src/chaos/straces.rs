//! Disks that do not sync: `strace` has a process's fsync and fdatasync fail with EIO. It also slows the process down.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::failure::{Context as _, Exit, Failure};
use crate::procfs;

/// Its arguments before the process id; with them those of ours are told from others.
const ARGUMENTS: &[&str] =
    &["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-p"];
/// How long it may take to come and to go.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// An strace of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pid: u32,
    /// Whose fsync fails.
    pub(super) traced: u32,
}

/// Whether syncs can be made to fail here, tried on a process that does nothing: in containers not even root may.
pub(super) async fn are_possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let sleeping = Command::new("sleep").arg("60").stdin(Stdio::null()).kill_on_drop(true).spawn();
    let Some(pid) = sleeping.as_ref().ok().and_then(Child::id) else { return false };
    if attach(pid).await.is_err() {
        return false;
    }
    for attached in attached(&[pid]) {
        if detach(attached).await.is_err() {
            return false;
        }
    }
    true
}

/// Has the syncs of this process fail from now on, also when this program has ended.
///
/// # Errors
/// [`Failure`] if strace does not take hold of it.
pub(super) async fn attach(traced: u32) -> Result<(), Failure> {
    let mut command = Command::new("strace");
    command.args(ARGUMENTS).arg(traced.to_string());
    // A group of its own: Ctrl-C must not end it before the node is looked after.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let hint = "apt-get install strace    # and as root";
    let mut strace = command.spawn().context("run", "strace").map_err(|failure| failure.hint(hint))?;
    let until = Instant::now() + PATIENCE;
    while !is_traced(traced) {
        if Instant::now() >= until || strace.try_wait().context("look at", "strace")?.is_some() {
            // Fails only if it has ended.
            let _ended: Result<_, _> = strace.start_kill();
            return Err(Failure::new(Exit::Failed, format!("strace does not take hold of process {traced}")).hint(hint));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Lets the syncs of this process work again.
///
/// # Errors
/// [`Failure`] if strace does not let go.
pub(super) async fn detach(attached: Attached) -> Result<(), Failure> {
    if let Some(pid) = Pid::from_raw(attached.pid.cast_signed()) {
        // It may just have ended, with the process.
        let _gone: Result<_, _> = kill_process(pid, Signal::TERM);
    }
    let until = Instant::now() + PATIENCE;
    while procfs::is_alive(attached.pid) {
        if Instant::now() >= until {
            let message = format!("strace (pid {}) does not let go of process {}", attached.pid, attached.traced);
            return Err(Failure::new(Exit::Failed, message).hint(format!("kill -9 {}", attached.pid)));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// All straces of ours on these processes, whoever started them.
pub(super) fn attached(processes: &[u32]) -> Vec<Attached> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = pids.filter_map(|pid| {
        let traced = traced_by(&fs::read(format!("/proc/{pid}/cmdline")).ok()?)?;
        processes.contains(&traced).then_some(Attached { pid, traced })
    });
    ours.collect()
}

/// Whom the process with this command line traces, if it is an strace of ours.
fn traced_by(command_line: &[u8]) -> Option<u32> {
    let mut words = command_line.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).unwrap_or_default());
    let is_strace = words.next()?.rsplit('/').next() == Some("strace");
    let is_ours = ARGUMENTS.iter().all(|argument| words.next() == Some(*argument));
    words.next().filter(|_| is_strace && is_ours)?.parse().ok()
}

fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::super::needs::Need;
    use super::*;

    #[test]
    fn only_straces_with_our_arguments_are_ours() {
        let line = |words: &[&str]| {
            let words = [&["/usr/bin/strace"][..], words].concat();
            words.iter().flat_map(|word| [word.as_bytes(), &[0]].concat()).collect::<Vec<u8>>()
        };
        assert_eq!(traced_by(&line(&[ARGUMENTS, &["123"]].concat())), Some(123));
        assert_eq!(traced_by(&line(&["-f", "-p", "123"])), None);
        assert_eq!(traced_by(&line(ARGUMENTS)), None);
        assert_eq!(traced_by(b"sotto-node\0run\0"), None);
        assert_eq!(traced_by(b""), None);
    }

    #[tokio::test]
    async fn a_process_that_is_traced_is_found_and_let_go() {
        if !are_possible().await {
            return Need::Strace.skip();
        }
        let mut sleeping = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = sleeping.id().unwrap();
        attach(pid).await.unwrap();
        let found = attached(&[pid]);
        assert_eq!(found.iter().map(|attached| attached.traced).collect::<Vec<_>>(), [pid]);
        assert!(attached(&[]).is_empty());
        detach(found[0]).await.unwrap();
        assert!(!is_traced(pid) && attached(&[pid]).is_empty());
        assert!(sleeping.try_wait().unwrap().is_none(), "it goes on");
    }
}
