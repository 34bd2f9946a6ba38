//! How a session's messages begin (B12, kinds 2 and 3).
//!
//! ```text
//! kind 2   session tag 16 ‖ message of the ratchet
//! kind 3   u8 1 ‖ initiator 33 ‖ its device u8 ‖ epoch of the bundle u32 ‖ ephemeral key 32 ‖ kind 2
//! ```
//!
//! An initiator writes kind 3 until something comes back: any of its messages may be the first that is read.

use sotto_proto::address::{Address, AddressKind};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::X25519Key;
use sotto_proto::limits::DEVICES_MAX;

use super::SessionTag;

/// The only version of X3DH.
const VERSION: u8 = 1;

/// What tells the responder how to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialHeader {
    /// Who begins.
    pub initiator: Address,
    /// Its device, which is the slot of the one-time key.
    pub device: u8,
    /// The bundle that it answers.
    pub epoch: u32,
    /// The key that it drew.
    pub ephemeral: X25519Key,
}

impl InitialHeader {
    /// The initiator's identity key.
    #[must_use]
    pub const fn initiator_key(&self) -> X25519Key {
        X25519Key::new(*self.initiator.key())
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            &self.initiator.to_bytes(),
            &[self.device],
            &self.epoch.to_be_bytes(),
            self.ephemeral.as_bytes(),
        ]
        .concat()
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that, or a key is none to agree on secrets with.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(header)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != VERSION {
            return Err(DecodeError::Value("version of an initial message"));
        }
        let (initiator, device) = (Address::read(reader)?, reader.u8()?);
        let header = Self { initiator, device, epoch: reader.u32()?, ephemeral: reader.id()? };
        // In another encoding a key agrees on the same secrets: one account would have several names, one session several
        // beginnings.
        if initiator.kind() != AddressKind::AccountInbox || !header.initiator_key().is_usable() {
            return Err(DecodeError::Value("initiator"));
        }
        if usize::from(device) >= DEVICES_MAX {
            return Err(DecodeError::Value("device"));
        }
        if !header.ephemeral.is_usable() {
            return Err(DecodeError::Value("ephemeral key"));
        }
        Ok(header)
    }
}

/// A message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionBody {
    /// Which session.
    pub tag: SessionTag,
    /// Of its ratchet.
    pub message: Vec<u8>,
}

impl SessionBody {
    fn encode(&self) -> Vec<u8> {
        [self.tag.as_bytes().as_slice(), &self.message].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.id()?;
        Ok(Self { tag, message: reader.bytes(reader.remaining())?.to_vec() })
    }
}

/// An initial message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMessage {
    /// How the session begins.
    pub header: InitialHeader,
    /// Its message.
    pub body: SessionBody,
}

impl InitialMessage {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = InitialHeader::read(&mut reader)?;
        Ok(Self { header, body: SessionBody::decode(reader.bytes(reader.remaining())?)? })
    }
}

/// What is under the seal of a session's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Kind 2.
    Session(SessionBody),
    /// Kind 3.
    Initial(InitialMessage),
}

impl Inside {
    /// Kind and body.
    pub(super) fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Session(body) => (super::sealed::KIND_SESSION, body.encode()),
            Self::Initial(message) => {
                (super::sealed::KIND_INITIAL, [message.header.encode(), message.body.encode()].concat())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sotto_behaviours::noise::Secret;

    use super::super::tests::low_order;
    use super::*;

    fn message() -> InitialMessage {
        let header = InitialHeader {
            initiator: Address::account(&X25519Key::new([9; 32])),
            device: 3,
            epoch: 0x0102_0304,
            ephemeral: X25519Key::new([5; 32]),
        };
        InitialMessage { header, body: SessionBody { tag: SessionTag::new([7; 16]), message: b"ratchet".to_vec() } }
    }

    #[test]
    fn an_initial_message_has_the_bytes_of_the_protocol() {
        let (kind, bytes) = Inside::Initial(message()).encode();
        let expected = format!("0105{}0301020304{}{}", "09".repeat(32), "05".repeat(32), "07".repeat(16));
        assert_eq!((kind, hex::encode(&bytes)), (3, format!("{expected}{}", hex::encode("ratchet"))));
        assert_eq!(InitialMessage::decode(&bytes), Ok(message()));
        let (kind, bytes) = Inside::Session(message().body).encode();
        assert_eq!((kind, SessionBody::decode(&bytes)), (2, Ok(message().body)));
    }

    #[test]
    fn keys_of_small_order_or_in_another_encoding_are_refused() {
        let good = message().header;
        let mut encoded_otherwise = *good.ephemeral.as_bytes();
        encoded_otherwise[31] |= 0x80;
        for key in low_order().into_iter().chain([X25519Key::new(encoded_otherwise)]) {
            let initiator = InitialHeader { initiator: Address::account(&key), ..good };
            let ephemeral = InitialHeader { ephemeral: key, ..good };
            assert_eq!(InitialHeader::decode(&initiator.encode()), Err(DecodeError::Value("initiator")));
            assert_eq!(InitialHeader::decode(&ephemeral.encode()), Err(DecodeError::Value("ephemeral key")));
        }
    }

    #[test]
    fn another_version_kind_or_device_is_refused() {
        let good = message().header.encode();
        for (place, byte) in [(0, 2), (1, 6), (34, 8)] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert!(InitialHeader::decode(&bad).is_err(), "byte {place}");
        }
        assert!(InitialHeader::decode(&good[1..]).is_err());
    }

    proptest! {
        #[test]
        fn initial_messages_round_trip(
            keys: [[u8; 32]; 2], device in 0..8_u8, epoch: u32, tag: [u8; 16],
            message in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            // A public key is always in its one encoding.
            let [initiator, ephemeral] = keys.map(|mut key| Secret::take(&mut key).public());
            let header = InitialHeader { initiator: Address::account(&initiator), device, epoch, ephemeral };
            let body = SessionBody { tag: tag.into(), message };
            let (kind, bytes) = Inside::Session(body.clone()).encode();
            prop_assert_eq!((kind, SessionBody::decode(&bytes)), (2, Ok(body.clone())));
            let message = InitialMessage { header, body };
            let (kind, bytes) = Inside::Initial(message.clone()).encode();
            prop_assert_eq!((kind, InitialMessage::decode(&bytes)), (3, Ok(message)));
            prop_assert_eq!(InitialHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = InitialMessage::decode(&bytes);
            let _ = SessionBody::decode(&bytes);
        }
    }
}
