//! What somebody typed, in the one form in which both sides have it.

use std::fmt;

use sotto_proto::limits::QUESTION_MAX;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::text::is_invisible;

/// An answer, in one form however it was typed:
///
/// 1. compatible characters are made one (Unicode NFKC): keyboards compose accents differently;
/// 2. lower case (Unicode, of no language in particular);
/// 3. what is not seen is left out;
/// 4. NFKC again, because lower case may decompose;
/// 5. words are one space apart, with none before and behind.
///
/// Punctuation stays: leaving it out would make different answers the same. Zeroized when dropped; never shown by
/// `Debug`.
#[derive(Clone)]
pub struct Answer(Zeroizing<String>);

/// What was typed is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing is left of it.
    #[error("the answer is empty")]
    Empty,
    /// It is longer than answers may be.
    #[error("the answer has {actual} bytes, at most {QUESTION_MAX} are allowed")]
    TooLong {
        /// Its bytes, as it was typed or in its one form.
        actual: usize,
    },
}

impl Answer {
    /// Takes what was typed.
    ///
    /// # Errors
    /// [`AnswerError`] when there is nothing to see in it, or too much.
    pub fn new(typed: &str) -> Result<Self, AnswerError> {
        let within = |actual| if actual > QUESTION_MAX { Err(AnswerError::TooLong { actual }) } else { Ok(()) };
        within(typed.len())?;
        let lower = Zeroizing::new(Zeroizing::new(typed.nfkc().collect::<String>()).to_lowercase());
        let seen = Zeroizing::new(lower.chars().filter(|c| !is_invisible(*c)).nfkc().collect::<String>());
        let words = Zeroizing::new(seen.split_whitespace().collect::<Vec<_>>().join(" "));
        within(words.len())?;
        if words.is_empty() { Err(AnswerError::Empty) } else { Ok(Self(words)) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(secret)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(typed: &str) -> String {
        Answer::new(typed).unwrap().0.to_string()
    }

    #[test]
    fn an_answer_has_one_form_however_it_is_typed() {
        for typed in
            ["  Café   Central\n", "cafe\u{301} CENTRAL", "ＣＡＦÉ\tcentral", "ca\u{ad}fé\u{a0}central\u{200b}"]
        {
            assert_eq!(form(typed), "café central", "{typed:?}");
        }
        assert_eq!((form("GRÜSSE"), form("ИВАН Иванов")), ("grüsse".to_owned(), "иван иванов".to_owned()));
        // Lower case of this letter is two characters.
        assert_eq!(form("\u{130}stanbul"), form("i\u{307}stanbul"));
        assert_eq!(form("❤\u{fe0f}"), form("❤"));
    }

    #[test]
    fn different_answers_stay_different() {
        let answers = ["june 3", "june3", "june-3", "3 june", "jüne 3", "june 30"];
        let forms: std::collections::BTreeSet<_> = answers.iter().map(|typed| form(typed)).collect();
        assert_eq!(forms.len(), answers.len());
    }

    #[test]
    fn nothing_and_too_much_are_no_answers() {
        for typed in ["", " \t\n", "\u{200b}\u{ad}"] {
            assert_eq!(Answer::new(typed).err(), Some(AnswerError::Empty));
        }
        assert!(Answer::new(&"x".repeat(QUESTION_MAX)).is_ok());
        let actual = QUESTION_MAX + 1;
        assert_eq!(Answer::new(&"x".repeat(actual)).err(), Some(AnswerError::TooLong { actual }));
        // One character that is eighteen.
        assert!(matches!(Answer::new(&"\u{fdfa}".repeat(60)), Err(AnswerError::TooLong { .. })));
    }

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", Answer::new("secret").unwrap()), "Answer(secret)");
        assert!(!format!("{:?}", Answer::new("the lake").unwrap()).contains("lake"));
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(typed in ".{0,60}") {
            if let Ok(answer) = Answer::new(&typed) {
                let again = Answer::new(&answer.0).unwrap();
                prop_assert_eq!(&*again.0, &*answer.0);
            }
        }

        #[test]
        fn case_and_spaces_make_no_difference(words in proptest::collection::vec("[a-zà-ÿ0-9]{1,8}", 1..5)) {
            let upper = words.join("   ").to_uppercase();
            prop_assert_eq!(form(&format!(" {} ", upper)), form(&words.join(" ")));
        }
    }
}
