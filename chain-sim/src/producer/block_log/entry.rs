//! The bytes of the block log: the file's head and the entries'.

use sotto_proto::codec::Reader;
use sotto_proto::domain::Domain;
use sotto_proto::hash::Hasher;
use sotto_proto::id::{ChainId, Height};
use sotto_proto::limits::MAX_BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"sottoblk";
const VERSION: u32 = 1;
/// Checksums are hashes cut to eight bytes: they find damage, not forgery; blocks carry signatures for that.
const CHECK: Domain = Domain::new("sotto/v1/block-log");

/// Bytes of the file's head.
pub(super) const FILE_HEAD: usize = 8 + 4 + 32 + 8 + 8;

/// Flag: the next entry belongs to the same batch.
pub(super) const MORE: u8 = 1;

/// The first bytes of the hash of `parts`.
fn check(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = Hasher::new(CHECK);
    for part in parts {
        hasher.update(part);
    }
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finish().as_bytes()[..8]);
    check
}

/// The file's head.
pub(super) fn file_head(chain: ChainId, base: Height) -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_be_bytes());
    head[12..44].copy_from_slice(chain.as_ref());
    head[44..52].copy_from_slice(&base.0.to_be_bytes());
    let sum = check(&[&head[..52]]);
    head[52..].copy_from_slice(&sum);
    head
}

/// Chain and base of a file's head.
pub(super) fn read_file_head(bytes: &[u8]) -> Result<(ChainId, Height), &'static str> {
    const SHORT: &str = "the file ends inside its head: it was cut, or is no block log";
    let body = bytes.get(..FILE_HEAD - 8).ok_or(SHORT)?;
    let mut reader = Reader::new(bytes);
    if reader.array().map_err(|_| SHORT)? != *MAGIC {
        return Err("the file is no block log");
    }
    if reader.u32().map_err(|_| SHORT)? != VERSION {
        return Err("the file was written by another version of this program");
    }
    let chain = reader.id().map_err(|_| SHORT)?;
    let base = Height(reader.u64().map_err(|_| SHORT)?);
    if reader.array().map_err(|_| SHORT)? != check(&[body]) {
        return Err("the file's head is damaged");
    }
    Ok((chain, base))
}

/// What stands in front of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    length: u32,
    pub(super) height: Height,
    pub(super) flags: u8,
    body_check: [u8; 8],
}

impl Head {
    /// Length on disk.
    pub(super) const BYTES: usize = 4 + 8 + 1 + 8 + 8;

    /// The head of `block`, which is not larger than a block can be.
    pub(super) fn new(height: Height, flags: u8, block: &[u8]) -> Self {
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        Self { length, height, flags, body_check: check(&[block]) }
    }

    /// The block's length.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    /// Whether `block` is the one this was written for.
    pub(super) fn matches(&self, block: &[u8]) -> bool {
        block.len() == self.length() && check(&[block]) == self.body_check
    }

    /// Appends the bytes for an entry that begins at `offset` of the file of `chain`.
    pub(super) fn write(&self, chain: ChainId, offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.height.0.to_be_bytes());
        out.push(self.flags);
        out.extend_from_slice(&self.body_check);
        let sum = check(&[chain.as_ref(), &offset.to_be_bytes(), &out[start..]]);
        out.extend_from_slice(&sum);
    }

    /// Reads the head at `offset`; `None` if it is damaged.
    pub(super) fn read(chain: ChainId, offset: u64, bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (length, height) = (reader.u32().ok()?, Height(reader.u64().ok()?));
        let (flags, body_check) = (reader.u8().ok()?, reader.array().ok()?);
        let sum = check(&[chain.as_ref(), &offset.to_be_bytes(), &bytes[..Self::BYTES - 8]]);
        let head = Self { length, height, flags, body_check };
        (reader.array().ok()? == sum && head.length() <= MAX_BLOCK_BYTES && flags <= MORE).then_some(head)
    }
}
