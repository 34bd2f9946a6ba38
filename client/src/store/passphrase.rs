//! What a person types to unlock an account, or has made up for them.

use std::fmt;

use bip39::Language;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Words of a generated passphrase: 66 bits, each guess of which costs an Argon2id.
const GENERATED_WORDS: usize = 6;

/// A passphrase. Zeroized when dropped, never shown by `Debug`.
pub struct Passphrase(Zeroizing<String>);

/// Why a text is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too short to be worth the name.
    #[error("a passphrase has at least {} characters", Passphrase::MIN_CHARS)]
    TooShort,
    /// Longer than anybody types.
    #[error("a passphrase has at most {} bytes", Passphrase::MAX_BYTES)]
    TooLong,
}

impl Passphrase {
    /// Characters of the shortest passphrase a person may choose.
    pub const MIN_CHARS: usize = 8;
    /// Bytes of the longest.
    pub const MAX_BYTES: usize = 1024;

    /// A passphrase that somebody chose for a new account.
    ///
    /// # Errors
    /// [`PassphraseError`] if it is too short or too long.
    pub fn chosen(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        if text.chars().count() < Self::MIN_CHARS {
            return Err(PassphraseError::TooShort);
        }
        Self::typed(text)
    }

    /// A passphrase that somebody typed to unlock an account; whether it is the right one turns out there.
    ///
    /// # Errors
    /// [`PassphraseError::TooLong`].
    pub fn typed(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        if text.len() > Self::MAX_BYTES { Err(PassphraseError::TooLong) } else { Ok(Self(text)) }
    }

    /// Six words of the BIP-39 list, drawn evenly: `velvet-anchor-…`.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let list = Language::English.word_list();
        // Room for all of it, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(String::with_capacity(GENERATED_WORDS * 9));
        for _ in 0..GENERATED_WORDS {
            if !text.is_empty() {
                text.push('-');
            }
            // The list has 2,048 words: eleven bits of the draw choose evenly.
            text.push_str(list[rng.next_u32() as usize % list.len()]);
        }
        Self(text)
    }

    /// The words, for showing a generated passphrase to its owner, and for the key derivation.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn generated_passphrases_are_six_words_and_never_the_same() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (one, two) = (Passphrase::generate(&mut rng), Passphrase::generate(&mut rng));
        let words: Vec<_> = one.expose().split('-').collect();
        assert_eq!(words.len(), 6);
        assert!(words.iter().all(|word| Language::English.word_list().contains(word)), "{words:?}");
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn short_and_endless_ones_are_refused() {
        let text = |length| Zeroizing::new("x".repeat(length));
        assert_eq!(Passphrase::chosen(text(7)).unwrap_err(), PassphraseError::TooShort);
        assert_eq!(Passphrase::typed(text(1025)).unwrap_err(), PassphraseError::TooLong);
        assert!(Passphrase::chosen(text(8)).is_ok() && Passphrase::typed(text(0)).is_ok());
    }

    #[test]
    fn debug_shows_nothing() {
        let passphrase = Passphrase::typed(Zeroizing::new("hunter2".to_owned())).unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(secret)");
    }
}
