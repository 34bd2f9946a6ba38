//! Are the addresses free, and if not, who holds them?
//!
//! Asked before anything is started: a node that cannot bind after forty others are up costs a minute to understand.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;

/// A process that listens where a node would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody listens there.
    #[error("{address} is taken by {}", describe(.holder.as_ref()))]
    Taken {
        /// The address.
        address: SocketAddrV4,
        /// Who listens there, when this user may know.
        holder: Option<Holder>,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address.
        address: SocketAddrV4,
        /// What the system says.
        source: io::Error,
    },
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "a process of another user".to_owned(),
        |holder| format!("{} (pid {})", holder.name, holder.pid),
    )
}

/// Checks that every address can be listened on now.
///
/// # Errors
/// The first that cannot, with its holder.
pub fn all_free(addresses: &[SocketAddrV4]) -> Result<(), PortError> {
    for &address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => drop(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(PortError::Taken { address, holder: holder(Path::new("/proc"), address) });
            }
            Err(source) => return Err(PortError::Refused { address, source }),
        }
    }
    Ok(())
}

/// The process that listens on `address`, as far as `proc` tells this user.
fn holder(proc: &Path, address: SocketAddrV4) -> Option<Holder> {
    let inode = ["net/tcp", "net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(proc.join(table)).ok()?;
        table.lines().skip(1).filter_map(Listener::parse).find(|listener| listener.blocks(address)).map(|l| l.inode)
    })?;
    let link = format!("socket:[{inode}]");
    fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        files.find(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link.as_str()))?;
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim_end().to_owned();
        Some(Holder { pid, name })
    })
}

/// A listening row of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    /// The address, when it is an IPv4 one other than the wildcard.
    ip: Option<Ipv4Addr>,
    port: u16,
    inode: u64,
}

impl Listener {
    /// Reads a row; `None` for sockets that do not listen.
    fn parse(row: &str) -> Option<Self> {
        const LISTENING: &str = "0A";
        let fields: Vec<&str> = row.split_ascii_whitespace().collect();
        if fields.get(3) != Some(&LISTENING) {
            return None;
        }
        let (ip, port) = fields.get(1)?.split_once(':')?;
        // The kernel prints each 32-bit word of the address in the machine's byte order; a mapped or plain IPv4 address
        // is the last word.
        let word = ip.get(ip.len().checked_sub(8)?..)?;
        let ip = Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
        Some(Self {
            ip: (!ip.is_unspecified()).then_some(ip),
            port: u16::from_str_radix(port, 16).ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }

    /// Whether it stands in the way of somebody who wants to listen on `address`.
    fn blocks(&self, address: SocketAddrV4) -> bool {
        self.port == address.port() && self.ip.is_none_or(|ip| ip == *address.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_kernel_table_are_read() {
        let row = "   0: 0100647F:6982 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 48151 1";
        let listener = Listener::parse(row).unwrap();
        assert_eq!(listener.ip, Some(Ipv4Addr::new(127, 100, 0, 1)));
        assert_eq!((listener.port, listener.inode), (27_010, 48_151));
        assert!(Listener::parse(&row.replace(" 0A ", " 01 ")).is_none());
        assert!(Listener::parse("").is_none());
    }

    #[test]
    fn a_wildcard_listener_blocks_every_address_of_its_port() {
        let row = "   1: 00000000000000000000000000000000:6982 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23 1";
        let listener = Listener::parse(row).unwrap();
        assert!(listener.blocks(SocketAddrV4::new(Ipv4Addr::new(127, 1, 2, 3), 27_010)));
        assert!(!listener.blocks(SocketAddrV4::new(Ipv4Addr::new(127, 1, 2, 3), 27_011)));
    }

    #[test]
    fn the_holder_of_a_taken_port_is_named() {
        let taken = TcpListener::bind("127.98.7.6:0").unwrap();
        let std::net::SocketAddr::V4(address) = taken.local_addr().unwrap() else { panic!("an IPv4 socket") };
        match all_free(&[address]) {
            Err(PortError::Taken { holder: Some(holder), .. }) => assert_eq!(holder.pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        all_free(&[SocketAddrV4::new(Ipv4Addr::new(127, 98, 7, 7), address.port())]).unwrap();
    }
}
