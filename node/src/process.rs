//! What the process asks of the operating system: systemd here, all else in [`sotto_chain::process`].

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

pub use sotto_chain::process::{abort_on_panic, forbid_core_dumps, raise_open_files, resident_bytes};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
