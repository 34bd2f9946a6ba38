//! What contacts are called here.

use sotto_proto::address::Address;

use super::Error;
use crate::store::{StoreError, Transaction};

/// Bytes of a name.
const NAME_MAX: usize = 64;
/// Digits of an id that stand for a name.
const SHORT: usize = 10;
/// So many digits and nothing else are a mistyped id, which must not reach whoever is called so.
const ID_LIKE: usize = 40;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Of the wrong length.
    #[error("a name has 1 to 64 bytes")]
    Length,
    /// With characters that a name has not.
    #[error(
        "a name has no spaces at its ends, no \"-\" before it, nothing invisible and no \"@\", \"#\", \"/\" or \":\""
    )]
    Characters,
    /// It looks like an account id.
    #[error("a name does not look like an account id")]
    Id,
}

/// Whether a contact may be called so. What passes cannot be taken for an id, a command or a line of its own.
///
/// # Errors
/// [`NameError`]
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.len() > ID_LIKE && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NameError::Id);
    }
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(NameError::Length);
    }
    let is_bad = |c: char| c.is_control() || crate::text::is_invisible(c) || "@#/:".contains(c);
    // What begins with a dash would be an option.
    if name.trim() != name || name.starts_with('-') || name.chars().any(is_bad) {
        return Err(NameError::Characters);
    }
    Ok(())
}

/// A name for a contact: the one wanted, which must be free; or what it calls itself, or the beginning of its id, with a
/// number behind it if others are called so.
pub(super) fn name_for(
    tx: &Transaction<'_>,
    account: &Address,
    wanted: Option<&str>,
    said: Option<&str>,
) -> Result<String, Error> {
    if let Some(name) = wanted {
        check_name(name)?;
        return if is_free(tx, name, account)? { Ok(name.to_owned()) } else { Err(Error::NameTaken(name.to_owned())) };
    }
    let short = account.to_string().chars().take(SHORT).collect::<String>();
    let base = said.filter(|said| check_name(said).is_ok()).map_or(short, str::to_owned);
    if is_free(tx, &base, account)? {
        return Ok(base);
    }
    for number in 2_u32.. {
        let suffix = format!("-{number}");
        let end = (0..=base.len().min(NAME_MAX - suffix.len())).rev().find(|end| base.is_char_boundary(*end));
        let name = format!("{}{suffix}", base.get(..end.unwrap_or(0)).unwrap_or_default());
        if is_free(tx, &name, account)? {
            return Ok(name);
        }
    }
    Err(Error::NameTaken(base))
}

/// What somebody is called: the contact's name, else the beginning of its id.
pub(super) fn called(tx: &Transaction<'_>, account: &Address) -> Result<String, StoreError> {
    Ok(tx.contact(account)?.map_or_else(|| account.short(), |contact| contact.name))
}

fn is_free(tx: &Transaction<'_>, name: &str, account: &Address) -> Result<bool, StoreError> {
    Ok(tx.contact_named(name)?.is_none_or(|contact| contact.account == *account))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_be_taken_for_ids_commands_or_lines() {
        for good in ["alice", "Bob the Builder", "李雷", "a-2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let id = format!("05{}", "ab".repeat(32));
        for bad in ["", " alice", "--yes", "a\nb", "alice\u{3164}", "@alice", "g:x", "a\u{202e}b", &id, &"x".repeat(65)]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for digits in [id.as_str(), &id.to_uppercase(), &id[..50]] {
            assert_eq!(check_name(digits), Err(NameError::Id), "{digits}");
        }
        assert_eq!(check_name("cafe"), Ok(()));
    }
}
