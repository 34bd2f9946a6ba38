//! How a session lies in the store: what changes with every message, and apart from it the keys of overtaken ones.
//!
//! ```text
//! version ‖ root 32 ‖ own ratchet key 32 ‖ [their key 32] ‖ [sending chain 68] ‖ [receiving chain 68]
//!     ‖ messages of the sending chain before u32 ‖ next sending header key 32 ‖ next receiving header key 32
//! [x]   = u8 0, or u8 1 ‖ x        chain = key 32 ‖ header key 32 ‖ number u32
//! ```

use sotto_behaviours::noise::Secret;
use sotto_proto::codec::{DecodeError, Reader};
use zeroize::Zeroizing;

use super::skipped::{Skipped, read_key};
use super::{Chain, Ratchet};

const VERSION: u8 = 1;
/// Bytes with all that may be there.
const MOST: usize = 1 + 32 + 32 + 33 + 2 * 69 + 4 + 32 + 32;

impl Ratchet {
    /// Everything but the keys of overtaken messages: at most 304 bytes.
    #[must_use]
    pub fn encode_core(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST));
        bytes.push(VERSION);
        bytes.extend_from_slice(self.root.expose());
        bytes.extend_from_slice(self.own.expose());
        bytes.push(u8::from(self.peer.is_some()));
        bytes.extend_from_slice(self.peer.as_ref().map_or(&[], |key| key.as_bytes().as_slice()));
        for chain in [&self.sending, &self.receiving] {
            bytes.push(u8::from(chain.is_some()));
            if let Some(Chain { key, header, number }) = chain {
                bytes.extend_from_slice(key.expose());
                bytes.extend_from_slice(header.expose());
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        bytes.extend_from_slice(&self.previous.to_be_bytes());
        bytes.extend_from_slice(self.next_sending.expose());
        bytes.extend_from_slice(self.next_receiving.expose());
        bytes
    }

    /// The keys of overtaken messages.
    #[must_use]
    pub fn encode_skipped(&self) -> Zeroizing<Vec<u8>> {
        self.skipped.encode()
    }

    /// Reads a session as it was stored, with the keys of overtaken messages if there are any.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not exactly that.
    pub fn decode(core: &[u8], skipped: Option<&[u8]>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(core);
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("version of a session"));
        }
        let root = read_key(&mut reader)?;
        let own = Secret::take(&mut Zeroizing::new(reader.array()?));
        let ratchet = Self {
            root,
            own,
            peer: optional(&mut reader, |reader| reader.id())?,
            sending: optional(&mut reader, read_chain)?,
            receiving: optional(&mut reader, read_chain)?,
            previous: reader.u32()?,
            next_sending: read_key(&mut reader)?,
            next_receiving: read_key(&mut reader)?,
            skipped: skipped.map(Skipped::decode).transpose()?.unwrap_or_default(),
        };
        reader.finish()?;
        Ok(ratchet)
    }
}

fn optional<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => read(reader).map(Some),
        _ => Err(DecodeError::Value("flag")),
    }
}

fn read_chain(reader: &mut Reader<'_>) -> Result<Chain, DecodeError> {
    Ok(Chain { key: read_key(reader)?, header: read_key(reader)?, number: reader.u32()? })
}
