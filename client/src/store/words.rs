//! What a text is found by: its words, as they are whatever case, accent or width they are written in.
//!
//! ```text
//! "Grüße, 世界 – example.com"  ──▶  grusse · 世 · 界 · example · com
//! ```
//!
//! A word is a run of letters, digits and what combines with them. In scripts that put no spaces between words, and of
//! signs such as emoji, each character is a word of its own, so that any part of a sentence is a row of words. Words are
//! folded by Unicode's compatibility decomposition, without accents, as small letters.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Characters of a word that count: longer ones are no words, and equal as far as this are equal.
const WORD_CHARS: usize = 48;
/// Words of a question that count.
const WORDS_MOST: usize = 32;

/// A word of a text.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    /// Where in the text it stands, in bytes.
    at: Range<usize>,
    /// As it is found: letters and digits only.
    folded: String,
}

/// All words of a text, folded, with a space between them.
pub(super) fn folded(text: &str) -> String {
    let words: Vec<_> = words(text).into_iter().map(|word| word.folded).collect();
    words.join(" ")
}

/// What is searched for: texts in which each part occurs. The last word of a part may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchWords(Vec<Vec<String>>);

impl SearchWords {
    /// What somebody typed. What stands between two spaces is a part: "example.com" is two words, one behind the other.
    /// `None` when there is nothing to be found by, such as in "…". Nothing in it is a command.
    #[must_use]
    pub fn new(typed: &str) -> Option<Self> {
        let mut left = WORDS_MOST;
        let parts = typed.split_whitespace().filter_map(|part| {
            let words: Vec<_> = words(part).into_iter().map(|word| word.folded).take(left).collect();
            left -= words.len();
            (!words.is_empty()).then_some(words)
        });
        let parts: Vec<_> = parts.collect();
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// As the index is asked. Words have letters and digits only, so that quotes are all it takes.
    pub(super) fn expression(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|part| format!("\"{}\" *", part.join(" "))).collect();
        parts.join(" AND ")
    }

    /// Where in a text it is, in bytes, in order and apart from each other.
    #[must_use]
    pub fn marks(&self, text: &str) -> Vec<Range<usize>> {
        let words = words(text);
        let mut found: Vec<_> = self.0.iter().flat_map(|part| marks_of(part, &words)).collect();
        found.sort_by_key(|range| (range.start, range.end));
        let mut marks: Vec<Range<usize>> = Vec::new();
        for range in found {
            match marks.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => marks.push(range),
            }
        }
        marks
    }
}

fn marks_of(part: &[String], words: &[Word]) -> Vec<Range<usize>> {
    let Some((last, first)) = part.split_last() else { return Vec::new() };
    let is_it = |row: &&[Word]| {
        let Some((end, begin)) = row.split_last() else { return false };
        begin.iter().zip(first).all(|(word, wanted)| word.folded == *wanted) && end.folded.starts_with(last)
    };
    let rows = words.windows(part.len()).filter(is_it);
    rows.filter_map(|row| Some(row.first()?.at.start..row.last()?.at.end)).collect()
}

fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut begun: Option<Range<usize>> = None;
    // Whether what has begun takes no further letters.
    let mut is_single = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let goes_on = is_combining_mark(c) || crate::text::is_invisible(c);
        match (&mut begun, class(c)) {
            (Some(word), _) if goes_on => word.end = end,
            (Some(word), Class::Letter) if !is_single => word.end = end,
            (_, class @ (Class::Letter | Class::Single)) => {
                found.extend(begun.replace(at..end));
                is_single = class == Class::Single;
            }
            (_, Class::Between) => found.extend(begun.take()),
        }
    }
    found.extend(begun);
    let word = |at: Range<usize>| {
        let folded = fold(text.get(at.clone())?);
        (!folded.is_empty()).then_some(Word { at, folded })
    };
    found.into_iter().filter_map(word).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Makes words with others.
    Letter,
    /// A word by itself.
    Single,
    /// Between words.
    Between,
}

const fn is_sign(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

fn class(c: char) -> Class {
    match c {
        // Thai, Lao, Burmese, Khmer; kana, Bopomofo; Han.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' if c.is_alphanumeric() => {
            Class::Single
        }
        '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => {
            Class::Single
        }
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
            Class::Single
        }
        _ if is_sign(c) => Class::Single,
        _ if c.is_alphanumeric() => Class::Letter,
        _ => Class::Between,
    }
}

/// Accents and vowel points: of Latin, Greek, Cyrillic; of Hebrew; of Arabic.
const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// A word as it is found. By way of capital letters, so that "ß" and "ss" are the same.
fn fold(word: &str) -> String {
    let plain = word.nfkd().filter(|c| !is_accent(*c) && !crate::text::is_invisible(*c));
    let small = plain.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let is_kept = |c: &char| c.is_alphanumeric() || is_combining_mark(*c) || is_sign(*c);
    small.nfkd().filter(|c| !is_accent(*c)).nfc().filter(is_kept).take(WORD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(typed: &str, text: &str) -> Vec<String> {
        let marks = SearchWords::new(typed).unwrap().marks(text);
        marks.into_iter().map(|at| text[at].to_owned()).collect()
    }

    #[test]
    fn words_are_the_same_whatever_their_case_accents_and_width() {
        for (text, expected) in [
            ("Grüße, vom HAFEN!", "grusse vom hafen"),
            ("E\u{301}clair éclair Ｆｕｌｌ ﬁn", "eclair eclair full fin"),
            ("ΣΊΣΥΦΟΣ Σίσυφος", "σισυφοσ σισυφοσ"),
            ("Ёлка й", "елка и"),
            ("don't e-mail x@example.com", "don t e mail x example com"),
            ("世界。こんにちは が", "世 界 こ ん に ち は が"),
            ("हिन्दी में", "हिन्दी में"),
            ("한국어는", "한국어는"),
            ("ok 👍🏽👍 ❤\u{fe0f}", "ok 👍 🏽 👍 ❤"),
            ("zero\u{200d}width", "zerowidth"),
            ("\"a\" OR b* NEAR(c)", "a or b near c"),
            ("…", ""),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_searched_for_is_marked_where_it_stands() {
        assert_eq!(found("GRUSS", "viele Grüße!"), ["Grüße"]);
        assert_eq!(found("haf vie", "viele Grüße vom Hafen"), ["viele", "Hafen"]);
        assert_eq!(found("世界", "你好世界，界世"), ["世界"]);
        assert_eq!(found("example.co", "at example.com, example com, com"), ["example.com", "example com"]);
        assert_eq!(found("a", "a ab b"), ["a", "ab"]);
        assert_eq!(found("นที่", "วันที่"), ["นที่"]);
    }

    #[test]
    fn nothing_that_is_typed_is_a_command() {
        for typed in ["", " ", "\"", "…", "* ( )"] {
            assert_eq!(SearchWords::new(typed), None, "{typed:?}");
        }
        let words = SearchWords::new("a\" OR words : b* ^c - NOT").unwrap();
        assert_eq!(words.expression(), r#""a" * AND "or" * AND "words" * AND "b" * AND "c" * AND "not" *"#);
        let long = SearchWords::new(&"x ".repeat(1000)).unwrap();
        assert_eq!(long.0.len(), WORDS_MOST);
    }

    proptest! {
        #[test]
        fn every_part_of_a_text_is_found_in_it(text in "\\PC{0,60}", from in 0_usize..60, length in 1_usize..20) {
            prop_assert!(!folded(&text).contains(['"', '*', '(']));
            // From the beginning of a word on, all of it that is in one part is found.
            let Some(word) = words(&text).into_iter().nth(from % 20) else { return Ok(()) };
            let part: String = text[word.at.start..].chars().take(length).take_while(|c| !c.is_whitespace()).collect();
            if let Some(query) = SearchWords::new(&part) {
                let is_cut = part.chars().count() == length;
                let marks = query.marks(&text);
                prop_assert!(is_cut || !marks.is_empty(), "{part:?} in {text:?}");
                prop_assert!(marks.iter().all(|at| text.get(at.clone()).is_some()));
            }
        }
    }
}
