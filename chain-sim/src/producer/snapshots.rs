//! States on disk, so that a restart replays a thousand blocks instead of all.
//!
//! ```text
//! file = magic 8 ‖ version u32 ‖ chain id 32 ‖ signed header 209 ‖ check 32 ‖ state (the rest)
//! ```
//!
//! A snapshot is used only if the state read from it has the roots that the authority signed in the header of its
//! height. The check is for what the roots do not cover. A snapshot that fails is passed over for an older one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sotto_proto::chain::{Genesis, SignedHeader};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain::Domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{ChainId, Hash, Height};
use sotto_proto::sign::Ed25519;

use crate::producer::files::{replace_file, sync_dir};
use crate::{SnapshotError, State};

const MAGIC: [u8; 8] = *b"sottosnp";
const VERSION: u32 = 1;
const CHECK: Domain = Domain::new("sotto/v1/snapshot-file");
const EXTENSION: &str = "state";

/// A snapshot is written whenever this many more blocks are final.
pub const INTERVAL: u64 = 1000;
/// How many are kept: the newest, and one to fall back to.
pub const KEPT: usize = 2;

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Its first bytes are not those of a snapshot.
    #[error("not a snapshot: {0}")]
    Head(#[from] DecodeError),
    /// It is of another chain.
    #[error("it belongs to chain {0}")]
    OtherChain(ChainId),
    /// The authority did not sign its header.
    #[error("its header is not signed by the authority")]
    Signature,
    /// Its bytes have changed since they were written.
    #[error("it is damaged")]
    Damaged,
    /// The state cannot be read.
    #[error("its state cannot be read: {0}")]
    State(#[from] SnapshotError),
    /// The state is not the one the header commits to.
    #[error("its state has the root {actual}, its header says {expected}")]
    Root {
        /// What the authority signed.
        expected: Hash,
        /// What the state has.
        actual: Hash,
    },
    /// The state is of another block than its header.
    #[error("its state is of another block than its header")]
    OtherBlock,
}

/// The directory of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    /// Uses `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Heights of the snapshots there, highest first.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn heights(&self) -> io::Result<Vec<Height>> {
        let mut heights = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION)
                && let Some(height) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
            {
                heights.push(Height(height));
            }
        }
        heights.sort_unstable_by(|a, b| b.cmp(a));
        Ok(heights)
    }

    /// Writes the state after the block of `header`, then removes all but the newest [`KEPT`].
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(&self, chain: ChainId, header: &SignedHeader, state: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(state.len() + 256);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(chain.as_ref());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(hash(CHECK, state).as_ref());
        bytes.extend_from_slice(state);
        replace_file(&self.path(header.header.height), &bytes)?;
        for old in self.heights()?.into_iter().skip(KEPT) {
            fs::remove_file(self.path(old))?;
        }
        sync_dir(&self.dir)
    }

    /// Reads the state of `height` and checks it against what the authority signed.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, height: Height, genesis: &Genesis) -> Result<(SignedHeader, State), LoadError> {
        let bytes = fs::read(self.path(height))?;
        let mut reader = Reader::new(&bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::Value("magic").into());
        }
        if reader.u32()? != VERSION {
            return Err(DecodeError::Value("version").into());
        }
        let chain: ChainId = reader.id()?;
        if chain != genesis.chain_id() {
            return Err(LoadError::OtherChain(chain));
        }
        let header = SignedHeader::decode(reader.bytes(SignedHeader::LEN)?)?;
        if header.header.height != height || !header.verify(&chain, &genesis.authority, &Ed25519) {
            return Err(LoadError::Signature);
        }
        let check: Hash = reader.id()?;
        let body = reader.bytes(reader.remaining())?;
        if hash(CHECK, body) != check {
            return Err(LoadError::Damaged);
        }
        let state = State::decode(genesis, body)?;
        let (expected, actual) = (header.header.state_root, state.state_root());
        if expected != actual {
            return Err(LoadError::Root { expected, actual });
        }
        let block = (state.height(), state.tip_hash(), state.time(), state.list_root());
        if block != (height, header.hash(&chain), header.header.time, header.header.list_root) {
            return Err(LoadError::OtherBlock);
        }
        Ok((header, state))
    }

    /// Where the snapshot of `height` lies.
    #[must_use]
    pub fn path(&self, height: Height) -> PathBuf {
        // Twenty digits hold every height, so names sort like heights.
        self.dir.join(format!("{:020}.{EXTENSION}", height.0))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
