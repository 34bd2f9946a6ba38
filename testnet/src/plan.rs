//! Who runs where: every address, port and directory of a testnet follows from its [`Settings`] alone.
//!
//! Node *i* lives on `127.(100 + i).0.1`: each has a /16 of its own, so that rules about address ranges mean something
//! on one machine. Ports are `base + 10 + 10·i`, fixed, so that two runs can be compared line by line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files;

/// The smallest testnet: fewer nodes never form a swarm.
pub const MIN_NODES: u16 = 5;
/// The largest: node 155 has the last first octet pair `127.255`.
pub const MAX_NODES: u16 = 156;
/// Funded operators beyond the first nodes: so many can be added later.
pub const SPARE_OPERATORS: u16 = 64;
/// The second octet of node 0.
const FIRST_OCTET: u16 = 100;
/// The second octet of the producer.
const PRODUCER_OCTET: u8 = 99;
/// Ports from one process to the next.
const PORT_STRIDE: u16 = 10;

/// What a testnet is made from; kept beside its data, so that `up` finds it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of this document.
    pub v: u8,
    /// Kind of this document.
    pub r#type: String,
    /// What people call it.
    pub name: String,
    /// All keys follow from it.
    pub seed: u64,
    /// Nodes at the start; the genesis funds [`SPARE_OPERATORS`] operators more.
    pub founders: u16,
    /// Nodes now, with those added later.
    pub nodes: u16,
    /// Time between blocks.
    pub block_time_ms: u64,
    /// The lowest port.
    pub port_base: u16,
}

/// Why settings make no testnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many nodes.
    #[error("{0} nodes: a testnet has {MIN_NODES} to {MAX_NODES}")]
    Nodes(u16),
    /// Every operator that the genesis funds has its node.
    #[error("{0} nodes: genesis funds {1} operators")]
    Operators(u16, u16),
    /// The ports do not fit.
    #[error("port base {base}: {nodes} nodes need ports {base}..{end}, which must lie in 1024..65536")]
    Ports {
        /// The base asked for.
        base: u16,
        /// The nodes asked for.
        nodes: u16,
        /// One past the last port.
        end: u32,
    },
    /// A name that cannot be a directory.
    #[error("name {0:?}: letters, digits, '-' and '_' only, at most 32")]
    Name(String),
    /// Blocks too fast or too slow.
    #[error("block time {0:?}: between 200 ms and 10 min, in whole milliseconds")]
    BlockTime(Duration),
}

impl Settings {
    /// Checked settings of a new testnet.
    ///
    /// # Errors
    /// [`PlanError`] naming what does not fit.
    pub fn new(name: &str, seed: u64, nodes: u16, block_time: Duration, port_base: u16) -> Result<Self, PlanError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            return Err(PlanError::Name(name.to_owned()));
        }
        let block_time_ms = u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX);
        if !(200..=600_000).contains(&block_time_ms) {
            return Err(PlanError::BlockTime(block_time));
        }
        let settings = Self {
            v: 1,
            r#type: "testnet.settings".to_owned(),
            name: name.to_owned(),
            seed,
            founders: nodes,
            nodes,
            block_time_ms,
            port_base,
        };
        settings.check_size()?;
        Ok(settings)
    }

    /// The same testnet with `count` nodes more.
    ///
    /// # Errors
    /// [`PlanError`] when there is no operator, address or port for them.
    pub fn grown(&self, count: u16) -> Result<Self, PlanError> {
        let grown = Self { nodes: self.nodes.saturating_add(count), ..self.clone() };
        grown.check_size()?;
        Ok(grown)
    }

    /// Operators that the genesis funds.
    #[must_use]
    pub const fn operators(&self) -> u16 {
        self.founders.saturating_add(SPARE_OPERATORS)
    }

    fn check_size(&self) -> Result<(), PlanError> {
        if !(MIN_NODES..=MAX_NODES).contains(&self.nodes) {
            return Err(PlanError::Nodes(self.nodes));
        }
        if self.nodes > self.operators() {
            return Err(PlanError::Operators(self.nodes, self.operators()));
        }
        let end = u32::from(self.port_base) + u32::from(PORT_STRIDE) * (u32::from(self.nodes) + 1);
        if self.port_base < 1024 || end > 65_536 {
            return Err(PlanError::Ports { base: self.port_base, nodes: self.nodes, end });
        }
        Ok(())
    }
}

/// Where one process keeps its things and listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `chain` or `node07`.
    pub label: String,
    /// Its peer-to-peer address.
    pub listen: SocketAddrV4,
    /// Its HTTP address.
    pub http: SocketAddrV4,
    /// Its data directory.
    pub datadir: PathBuf,
    /// Its log, which it rotates.
    pub log: PathBuf,
    /// What it writes on stdout and stderr: why it did not start, or its last words.
    pub output: PathBuf,
}

/// [`Settings`] in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is made from.
    pub settings: Settings,
    /// Where everything lies.
    pub dir: PathBuf,
}

impl Plan {
    /// Lays `settings` out in `dir`.
    #[must_use]
    pub const fn new(settings: Settings, dir: PathBuf) -> Self {
        Self { settings, dir }
    }

    /// The block producer.
    #[must_use]
    pub fn producer(&self) -> Place {
        place(&self.dir, "chain".to_owned(), Ipv4Addr::new(127, PRODUCER_OCTET, 0, 1), self.settings.port_base)
    }

    /// Node `index`, whether it is there already or not. The address octet saturates at 255, which
    /// [`Settings`] never reaches.
    #[must_use]
    pub fn node(&self, index: u16) -> Place {
        let octet = u8::try_from(FIRST_OCTET.saturating_add(index)).unwrap_or(u8::MAX);
        let port = self.settings.port_base.saturating_add(PORT_STRIDE.saturating_mul(index.saturating_add(1)));
        place(&self.dir, format!("node{index:02}"), Ipv4Addr::new(127, octet, 0, 1), port)
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = Place> {
        (0..self.settings.nodes).map(|index| self.node(index))
    }

    /// Every address that must be free before the start.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddrV4> {
        std::iter::once(self.producer()).chain(self.nodes()).flat_map(|place| [place.listen, place.http]).collect()
    }

    /// The genesis file.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.dir.join(files::GENESIS)
    }
}

fn place(dir: &Path, label: String, ip: Ipv4Addr, port: u16) -> Place {
    let datadir = dir.join(&label);
    Place {
        listen: SocketAddrV4::new(ip, port),
        http: SocketAddrV4::new(ip, port.saturating_add(1)),
        log: datadir.join(files::LOG),
        output: datadir.join(files::OUTPUT),
        datadir,
        label,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(nodes: u16, port_base: u16) -> Result<Settings, PlanError> {
        Settings::new("dev", 42, nodes, SECOND, port_base)
    }

    #[test]
    fn addresses_and_ports_follow_the_fixed_layout() {
        let plan = Plan::new(settings(50, 27_000).unwrap(), PathBuf::from("data"));
        assert_eq!(plan.producer().listen.to_string(), "127.99.0.1:27000");
        assert_eq!(plan.producer().http.to_string(), "127.99.0.1:27001");
        assert_eq!(plan.node(0).listen.to_string(), "127.100.0.1:27010");
        assert_eq!(plan.node(49).http.to_string(), "127.149.0.1:27501");
        assert_eq!(plan.node(7).datadir, PathBuf::from("data/node07"));
        assert_eq!(plan.nodes().count(), 50);
    }

    #[test]
    fn no_two_processes_share_a_socket_in_the_largest_testnet() {
        let plan = Plan::new(settings(MAX_NODES, 27_000).unwrap(), PathBuf::from("data"));
        let sockets = plan.sockets();
        assert_eq!(sockets.len(), 2 * (usize::from(MAX_NODES) + 1));
        assert_eq!(sockets.iter().collect::<BTreeSet<_>>().len(), sockets.len());
    }

    #[test]
    fn settings_that_make_no_testnet_are_refused_with_the_reason() {
        assert_eq!(settings(4, 27_000), Err(PlanError::Nodes(4)));
        assert_eq!(settings(157, 27_000), Err(PlanError::Nodes(157)));
        assert!(matches!(settings(50, 80), Err(PlanError::Ports { base: 80, .. })));
        assert!(matches!(settings(50, 65_400), Err(PlanError::Ports { .. })));
        assert!(matches!(Settings::new("a/b", 1, 50, SECOND, 27_000), Err(PlanError::Name(_))));
        assert!(matches!(Settings::new("a", 1, 50, Duration::ZERO, 27_000), Err(PlanError::BlockTime(_))));
    }

    #[test]
    fn a_testnet_grows_until_its_funded_operators_are_used_up() {
        let settings = settings(5, 27_000).unwrap();
        assert_eq!(settings.grown(64).map(|grown| grown.nodes), Ok(69));
        assert_eq!(settings.grown(65), Err(PlanError::Operators(70, 69)));
    }
}
