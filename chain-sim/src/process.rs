//! What every long-running program of ours asks of the operating system and shows of itself: one home for the block
//! producer and the service node, which share nothing else above the network.
//!
//! | module | what it owns |
//! | --- | --- |
//! | here | panics, core dumps, open files, memory |
//! | [`log`] | log lines and the files they go to |
//! | [`report`] | parts of status documents |
//! | [`serve`] | HTTP to strangers on this machine, bounded |

pub mod log;
pub mod report;
pub mod serve;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Open files a node or producer wants: 512 nodes, 1,024 clients, the database and room to spare.
pub const OPEN_FILES: u64 = 8192;

/// Makes a panic end the whole process. A task or thread that died alone would leave one that does some things and not
/// others; a service manager restarts a dead one within a second.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(%info, "panic: the process ends");
        print(info);
        std::process::abort();
    }));
}

/// Keeps the keys in memory out of core dumps and away from other processes of the same user.
pub fn forbid_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps cannot be forbidden: a crash may write keys to disk");
    }
}

/// Raises the soft limit of open files to [`OPEN_FILES`], or as far as the hard limit goes. Returns old and new limit.
#[must_use]
pub fn raise_open_files() -> (u64, u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let before = current.unwrap_or(u64::MAX);
    let wanted = OPEN_FILES.min(maximum.unwrap_or(u64::MAX));
    if before >= wanted {
        return (before, before);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => (before, wanted),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays at {before}");
            (before, before)
        }
    }
}

/// Bytes of memory the process has in RAM, as the kernel counts them.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_raised_as_far_as_allowed() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let (before, after) = raise_open_files();
        assert!(after >= before);
        assert!(after >= OPEN_FILES.min(hard));
    }

    #[test]
    fn a_panic_anywhere_ends_the_process() {
        const CHILD: &str = "SOTTO_TEST_PANIC";
        if std::env::var_os(CHILD).is_some() {
            abort_on_panic();
            let _never_returns = std::thread::spawn(|| panic!("on purpose")).join();
            return;
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::tests::a_panic_anywhere_ends_the_process"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
        assert_eq!(signal, Some(6), "SIGABRT, not {:?}", child.status);
    }

    #[test]
    fn resident_memory_is_known_and_plausible() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 18..1 << 36).contains(&bytes), "{bytes}");
    }
}
