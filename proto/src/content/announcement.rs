//! Where a device reads from now on, and what its mail is sealed to: said inside a session (H9).

use std::fmt;

use super::at_most;
use crate::address::{Address, AddressKind};
use crate::codec::{DecodeError, Reader};
use crate::id::X25519Key;
use crate::limits::NAME_MAX;
use crate::wire;

/// An announcement.
#[derive(Clone, PartialEq, Eq)]
pub struct Announcement {
    mailbox: Address,
    seal_key: X25519Key,
    epoch: u32,
    name: String,
}

impl Announcement {
    /// A device reads at `mailbox`, with a signed prekey of that number, and its account calls itself `name`.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no mailbox, the key is none to agree on secrets with, or the name too long.
    pub fn new(mailbox: Address, seal_key: X25519Key, epoch: u32, name: String) -> Result<Self, DecodeError> {
        if mailbox.kind() != AddressKind::Mailbox {
            return Err(DecodeError::Value("mailbox"));
        }
        if !seal_key.is_usable() {
            return Err(DecodeError::Value("seal key"));
        }
        at_most("name", NAME_MAX, name.len())?;
        Ok(Self { mailbox, seal_key, epoch, name })
    }

    /// Where it reads.
    #[must_use]
    pub const fn mailbox(&self) -> Address {
        self.mailbox
    }

    /// What mail is sealed to there.
    #[must_use]
    pub const fn seal_key(&self) -> &X25519Key {
        &self.seal_key
    }

    /// The number of that key: a lower one is an earlier announcement.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What the sender calls itself; it may be empty, and anything.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Announcement({}, epoch {})", self.mailbox.short(), self.epoch)
    }
}

impl From<Announcement> for wire::Announcement {
    fn from(announcement: Announcement) -> Self {
        Self {
            mailbox: announcement.mailbox.to_bytes().to_vec(),
            seal_key: announcement.seal_key.as_bytes().to_vec(),
            epoch: announcement.epoch,
            name: announcement.name,
        }
    }
}

impl TryFrom<wire::Announcement> for Announcement {
    type Error = DecodeError;

    fn try_from(announcement: wire::Announcement) -> Result<Self, DecodeError> {
        let (mut mailbox, mut key) = (Reader::new(&announcement.mailbox), Reader::new(&announcement.seal_key));
        let (address, seal_key) = (Address::read(&mut mailbox)?, key.id()?);
        mailbox.finish()?;
        key.finish()?;
        Self::new(address, seal_key, announcement.epoch, announcement.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PublicKey;

    #[test]
    fn only_a_mailbox_and_a_key_that_is_one_can_be_announced() {
        let (mailbox, key) = (Address::mailbox(&PublicKey::new([6; 32])), X25519Key::new([9; 32]));
        let good = Announcement::new(mailbox, key, 3, "bob".to_owned()).unwrap();
        assert_eq!(Announcement::try_from(wire::Announcement::from(good.clone())), Ok(good.clone()));
        assert!(!format!("{good:?}").contains("bob"));
        assert!(Announcement::new(Address::account(&key), key, 3, String::new()).is_err());
        assert!(Announcement::new(mailbox, X25519Key::new([0; 32]), 3, String::new()).is_err());
        assert!(Announcement::new(mailbox, key, 3, "x".repeat(NAME_MAX + 1)).is_err());
        let longer = wire::Announcement { mailbox: vec![6; 34], ..good.into() };
        assert!(Announcement::try_from(longer).is_err());
    }
}
