//! Who is meant on a command line: an account id, with or without "sotto:" before it, or the name of a contact.

use std::str::FromStr;

use sotto_proto::address::{Address, AddressKind};

use super::{CliError, Exit};
use crate::conversation::{NameError, check_name};
use crate::store::{Contact, StoreError, Transaction};
use crate::text::printable_line;

/// Somebody, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// An account id.
    Id(Address),
    /// What a contact is called.
    Name(String),
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        // As `account show --qr` shows it.
        let id = lower.strip_prefix("sotto:");
        match id.unwrap_or(&lower).parse::<Address>() {
            Ok(address) if address.kind() == AddressKind::AccountInbox => Ok(Self::Id(address)),
            Ok(_) => Err("an account id begins with 05".to_owned()),
            Err(error) if id.is_some() => Err(error.to_string()),
            Err(error) => match check_name(text) {
                Ok(()) => Ok(Self::Name(text.to_owned())),
                Err(NameError::Id) => Err(error.to_string()),
                Err(name) => Err(format!("neither an account id nor a contact's name: {name}")),
            },
        }
    }
}

impl Recipient {
    /// The account, and the contact if it is one.
    ///
    /// # Errors
    /// When nobody is called so.
    pub(super) fn find(&self, tx: &Transaction<'_>) -> Result<(Address, Option<Contact>), CliError> {
        match self {
            Self::Id(address) => Ok((*address, tx.contact(address)?)),
            Self::Name(name) => {
                let contact = tx.contact_named(name)?.ok_or_else(|| no_contact(name))?;
                Ok((contact.account, Some(contact)))
            }
        }
    }

    /// The contact.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn contact(&self, tx: &Transaction<'_>) -> Result<Contact, CliError> {
        self.find(tx)?.1.ok_or_else(|| match self {
            Self::Id(address) => no_contact(&address.short()),
            Self::Name(name) => no_contact(name),
        })
    }
}

fn no_contact(name: &str) -> CliError {
    CliError::new(Exit::NotFound, "not_found", format!("nobody is called {name:?} here")).hint("sotto contact list")
}

/// What somebody is called: the contact's name, else the id.
pub(super) fn called(tx: &Transaction<'_>, account: &Address) -> Result<String, StoreError> {
    Ok(tx.contact(account)?.map_or_else(|| account.to_string(), |contact| printable_line(&contact.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_either_case_and_names_as_they_are() {
        let id = format!("05{}", "ab".repeat(32));
        let address = id.parse().unwrap();
        for text in [id.clone(), id.to_uppercase(), format!("SOTTO:{}", id.to_uppercase()), format!(" {id} ")] {
            assert_eq!(text.parse(), Ok(Recipient::Id(address)), "{text}");
        }
        assert_eq!("Alice B".parse(), Ok(Recipient::Name("Alice B".to_owned())));
        let mailbox = format!("06{}", "ab".repeat(32));
        for bad in [mailbox.as_str(), &id[..64], "sotto:alice", "", "a\nb"] {
            assert!(bad.parse::<Recipient>().is_err(), "{bad:?}");
        }
    }
}
