//! Who runs where, for people's scripts: `manifest.json`, written in one step when the testnet is ready, and again
//! when nodes come or are restarted.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::files;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document.
    pub v: u8,
    /// Kind of this document.
    pub r#type: String,
    /// What people call the testnet.
    pub name: String,
    /// What all keys follow from. TEST ONLY: they are public.
    pub seed: u64,
    /// Time between blocks.
    pub block_time_ms: u64,
    /// Its directory, absolute.
    pub dir: PathBuf,
    /// The genesis file.
    pub genesis: PathBuf,
    /// Where the supervisor takes commands.
    pub socket: PathBuf,
    /// The supervisor's process.
    pub pid: u32,
    /// From start to ready.
    pub ready_ms: u64,
    /// The final height at which all agreed.
    pub height: u64,
    /// The block producer.
    pub producer: Process,
    /// The swarms at that height.
    pub swarms: Vec<Swarm>,
    /// The nodes, in order.
    pub nodes: Vec<Node>,
}

/// A process and where it is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id at the time of writing.
    pub pid: Option<u32>,
    /// Its peer-to-peer address.
    pub listen: SocketAddrV4,
    /// Its HTTP address: `/status`, `/metrics`, `/healthz`, `/readyz`.
    pub http: SocketAddrV4,
    /// Its data directory.
    pub dir: PathBuf,
    /// What it prints.
    pub log: PathBuf,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub i: u16,
    /// Its public key in hex.
    pub id: String,
    /// Its process.
    #[serde(flatten)]
    pub process: Process,
}

/// A swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swarm {
    /// `0x` and 16 digits.
    pub id: String,
    /// Numbers of its members.
    pub nodes: Vec<u16>,
}

impl Manifest {
    /// Writes the manifest into `path`, in one step.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        json.push(b'\n');
        files::write_atomically(path, &json)
    }

    /// Reads the manifest of the testnet in `dir`.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::InvalidData`] when it is no manifest.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let json = fs::read(dir.join(files::MANIFEST))?;
        serde_json::from_slice(&json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process {
            pid: Some(7),
            listen: "127.100.0.1:27010".parse().unwrap(),
            http: "127.100.0.1:27011".parse().unwrap(),
            dir: dir.path().join("node00"),
            log: dir.path().join("node00/output.log"),
        };
        let manifest = Manifest {
            v: 1,
            r#type: "testnet.manifest".to_owned(),
            name: "dev".to_owned(),
            seed: 42,
            block_time_ms: 1000,
            dir: dir.path().to_owned(),
            genesis: dir.path().join(files::GENESIS),
            socket: dir.path().join(files::SOCKET),
            pid: 6,
            ready_ms: 7_900,
            height: 9,
            producer: process.clone(),
            swarms: vec![Swarm { id: "0x0000000000000000".to_owned(), nodes: vec![0] }],
            nodes: vec![Node { i: 0, id: "ab".to_owned(), process }],
        };
        manifest.write(&dir.path().join(files::MANIFEST)).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.path().join(files::MANIFEST)).unwrap()).unwrap();
        assert_eq!(json["type"], "testnet.manifest");
        assert_eq!(json["nodes"][0]["listen"], "127.100.0.1:27010");
    }
}
