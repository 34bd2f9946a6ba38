//! The two phrases that write down an account's sixteen bytes.
//!
//! | words | list | check |
//! | --- | --- | --- |
//! | 12 | BIP-39, English | four bits of SHA-256 in the last word |
//! | 13 | Session's (Monero's English list, 1,626 words) | the last word repeats one of the others, chosen by CRC-32 |
//!
//! Both are encodings and nothing more: no key stretching, no passphrase. The number of words says which one a text
//! is.

use std::fmt;
use std::sync::LazyLock;

use bip39::{Language, Mnemonic};
use zeroize::{Zeroize as _, Zeroizing};

use super::Entropy;

/// Words of a BIP-39 phrase.
const BIP39_WORDS: usize = 12;
/// Words of a Session phrase.
const SESSION_WORDS: usize = 13;
/// A typed word further than this from every word of the list is not taken for a slip.
const LARGEST_SLIP: usize = 2;
/// Longer than any word of either list by more than the largest slip.
const LONGEST_WORD: usize = 16;

/// Session's list, ascending; its words differ in their first three letters.
static SESSION_LIST: LazyLock<Box<[&str]>> = LazyLock::new(|| include_str!("session_words.txt").lines().collect());

/// The words of a phrase, separated by single spaces. Zeroized when dropped, and never shown by `Debug`.
pub struct Phrase(Zeroizing<String>);

impl Phrase {
    /// The words, for showing them to their owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        // Room for the longest phrase, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(String::with_capacity(SESSION_WORDS * (LONGEST_WORD + 1)));
        for word in words {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        Self(text)
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

/// Why a text is no phrase. Names at most one word; meant for the person who typed it, not for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Neither 12 nor 13 words.
    #[error("a phrase has 12 words (BIP-39) or 13 words (Session), not {actual}")]
    WordCount {
        /// How many words there are.
        actual: usize,
    },
    /// A word that the list does not have.
    #[error("word {position} is not in the word list{}", suggest(.suggestion))]
    UnknownWord {
        /// Which word, from 1.
        position: usize,
        /// The word of the list that looks most like it, if any looks like it at all.
        suggestion: Option<&'static str>,
    },
    /// All words are known, but they do not belong together.
    #[error("the words do not fit together: one of them is wrong, or two have changed places")]
    Checksum,
    /// The check holds, but three words together stand for no number. Nobody's phrase: no encoder writes it.
    #[error("words {first} to {} never stand together in a phrase", .first + 2)]
    Impossible {
        /// The first of the three, from 1.
        first: usize,
    },
}

fn suggest(suggestion: &Option<&'static str>) -> String {
    suggestion.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default()
}

impl Entropy {
    /// The 12-word BIP-39 phrase.
    #[must_use]
    #[expect(clippy::expect_used, reason = "BIP-39 has a phrase for every sixteen bytes")]
    pub fn to_phrase(&self) -> Phrase {
        Phrase::join(Mnemonic::from_entropy(self.expose()).expect("128 bits").words())
    }

    /// The 13-word phrase that Session shows for the same account.
    #[must_use]
    pub fn to_session_phrase(&self) -> Phrase {
        let list = &*SESSION_LIST;
        let mut words = Zeroizing::new([0; SESSION_WORDS]);
        let (groups, _) = self.expose().as_chunks::<4>();
        for (group, words) in groups.iter().zip(words.chunks_exact_mut(3)) {
            words.copy_from_slice(&session::encode(u32::from_le_bytes(*group)));
        }
        words[BIP39_WORDS] = session::check_word(&words[..BIP39_WORDS], list);
        Phrase::join(words.iter().map(|&word| list[word]))
    }

    /// Reads either phrase; case and the white space between words do not matter.
    ///
    /// # Errors
    /// [`PhraseError`] names the first thing that is wrong.
    pub fn from_phrase(text: &str) -> Result<Self, PhraseError> {
        let text = Zeroizing::new(text.to_lowercase());
        match text.split_whitespace().count() {
            BIP39_WORDS => from_bip39(&text),
            SESSION_WORDS => from_session(&text),
            actual => Err(PhraseError::WordCount { actual }),
        }
    }
}

fn from_bip39(text: &str) -> Result<Entropy, PhraseError> {
    for (index, word) in text.split_whitespace().enumerate() {
        find(word, index, Language::English.word_list())?;
    }
    // Twelve words of the list: only the check can still fail.
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, text).map_err(|_| PhraseError::Checksum)?;
    let (mut padded, _) = mnemonic.to_entropy_array();
    let mut bytes = [0; Entropy::LEN];
    bytes.copy_from_slice(&padded[..Entropy::LEN]);
    padded.zeroize();
    Ok(Entropy::take(&mut bytes))
}

fn from_session(text: &str) -> Result<Entropy, PhraseError> {
    let list = &*SESSION_LIST;
    let mut words = Zeroizing::new([0; SESSION_WORDS]);
    for (index, word) in text.split_whitespace().enumerate() {
        words[index] = find(word, index, list)?;
    }
    if words[BIP39_WORDS] != session::check_word(&words[..BIP39_WORDS], list) {
        return Err(PhraseError::Checksum);
    }
    let mut bytes = Zeroizing::new([0; Entropy::LEN]);
    let (groups, _) = words.as_chunks::<3>();
    for (index, (group, bytes)) in groups.iter().zip(bytes.chunks_exact_mut(4)).enumerate() {
        let number = session::decode(*group).ok_or(PhraseError::Impossible { first: 3 * index + 1 })?;
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    Ok(Entropy::take(&mut bytes))
}

/// Where `word` is in an ascending list.
fn find(word: &str, index: usize, list: &'static [&'static str]) -> Result<usize, PhraseError> {
    list.binary_search(&word)
        .map_err(|_| PhraseError::UnknownWord { position: index + 1, suggestion: nearest(word, list) })
}

/// The word of the list with the fewest slips between it and `word`, the alphabetically first of several.
fn nearest(word: &str, list: &'static [&'static str]) -> Option<&'static str> {
    if word.chars().count() > LONGEST_WORD {
        return None;
    }
    let (slips, nearest) = list.iter().map(|&known| (slips(word, known), known)).min()?;
    (slips <= LARGEST_SLIP).then_some(nearest)
}

/// Letters to insert, drop, replace or swap with their neighbour to make `typed` into `meant` (optimal string
/// alignment).
fn slips(typed: &str, meant: &str) -> usize {
    let meant: Vec<char> = meant.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=meant.len()).collect();
    let mut previous = None;
    for (i, letter) in typed.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, &target) in meant.iter().enumerate() {
            let replaced = last[j] + usize::from(letter != target);
            let mut cost = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(target) && letter == meant[j - 1] {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        previous = Some(letter);
        before_last = std::mem::replace(&mut last, row);
    }
    last[meant.len()]
}

/// Monero's arithmetic: three words for four bytes.
mod session {
    /// Words of the list.
    const BASE: u64 = 1626;
    /// So many first letters tell all words of the list apart; the check is made over them.
    const PREFIX: usize = 3;

    /// The three words of a number; each after the first is written relative to the one before.
    pub(super) fn encode(number: u32) -> [usize; 3] {
        let number = u64::from(number);
        let first = number % BASE;
        let second = (number / BASE + first) % BASE;
        let third = (number / BASE / BASE + second) % BASE;
        [first, second, third].map(index)
    }

    /// The number of three words. `None` for the few triples beyond 2^32 (1626³ is a little more).
    pub(super) fn decode(words: [usize; 3]) -> Option<u32> {
        let [first, second, third] = words.map(|word| word as u64);
        let digit = |word: u64, before: u64| (BASE + word - before) % BASE;
        let number = first + BASE * digit(second, first) + BASE * BASE * digit(third, second);
        u32::try_from(number).ok()
    }

    /// The word among `words` that is repeated at the end.
    pub(super) fn check_word(words: &[usize], list: &[&str]) -> usize {
        let crc = crc32(words.iter().flat_map(|&word| list[word].bytes().take(PREFIX)));
        words[index(u64::from(crc) % words.len() as u64)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "below 1626")]
    const fn index(word: u64) -> usize {
        word as usize
    }

    /// CRC-32 as in zip and Ethernet (reflected polynomial 0xEDB88320). Thirty-six bytes need no table.
    fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
        !bytes.fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_crc_has_its_check_value() {
            assert_eq!(crc32("123456789".bytes()), 0xCBF4_3926);
        }

        #[test]
        fn the_largest_number_has_words_and_the_next_triple_has_no_number() {
            let words = encode(u32::MAX);
            assert_eq!(decode(words), Some(u32::MAX));
            // The same digits with the first raised by one; the others are relative to it.
            assert_eq!(decode(words.map(|word| (word + 1) % 1626)), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_count_typing_errors() {
        for (typed, meant, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abd", "abc", 1),
            ("bac", "abc", 1),
            ("ab", "abc", 1),
            ("", "abc", 3),
            ("acbd", "abdc", 2),
        ] {
            assert_eq!(slips(typed, meant), expected, "{typed} {meant}");
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_word_that_was_meant() {
        assert_eq!(nearest("virtaul", &SESSION_LIST), Some("virtual"));
        assert_eq!(nearest("fleeet", &SESSION_LIST), Some("fleet"));
        assert_eq!(nearest("zzzzz", &SESSION_LIST), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), &SESSION_LIST), None);
        assert_eq!(nearest("abandno", Language::English.word_list()), Some("abandon"));
    }

    #[test]
    fn both_lists_are_ascending_and_fit_the_bounds() {
        for list in [&**SESSION_LIST, Language::English.word_list().as_slice()] {
            assert!(list.is_sorted());
            assert!(list.iter().all(|word| word.len() + LARGEST_SLIP <= LONGEST_WORD));
        }
        assert_eq!(SESSION_LIST.len(), 1626);
    }

    #[test]
    fn debug_shows_no_word() {
        let phrase = Entropy::take(&mut [0; 16]).to_phrase();
        assert!(phrase.expose().starts_with("abandon"));
        assert_eq!(format!("{phrase:?}"), "Phrase(secret)");
    }
}
