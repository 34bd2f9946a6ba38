//! What the process asks of the operating system once, at its start.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Open files a node wants: 512 nodes, 1,024 clients, the database and room to spare.
pub const OPEN_FILES: u64 = 8192;

/// Makes a panic end the whole process. A task that died alone would leave a node that answers some requests and not
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

/// Tells systemd something (`sd_notify`), if it started this process and wants to know.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send_to(&socket, state.replace('\n', " ").as_bytes()) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

fn send_to(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
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
    fn systemd_hears_on_both_kinds_of_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let name = format!("sotto-test-{}", std::process::id());
        let abstract_listener =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (listener, socket) in [(listener, path.into_os_string()), (abstract_listener, format!("@{name}").into())] {
            send_to(&socket, b"READY=1").unwrap();
            let mut buffer = [0; 16];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }

    #[test]
    fn resident_memory_is_known_and_plausible() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 18..1 << 36).contains(&bytes), "{bytes}");
    }
}
