//! Text that is being typed, and where in it.

use sotto_proto::limits::TEXT_MAX;
use unicode_segmentation::UnicodeSegmentation as _;

/// What is typed into. The place is a byte, and a boundary of what people see as one character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    text: String,
    at: usize,
}

impl Field {
    /// With a text, behind it.
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { at: text.len(), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes before the place.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> String {
        self.at = 0;
        std::mem::take(&mut self.text)
    }

    /// Types something. Nothing is typed that a terminal would obey, and no more than a message may have.
    pub(super) fn insert(&mut self, typed: &str) {
        let typed = typed.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
        for c in typed.chars().filter(|c| *c == '\n' || !c.is_control()) {
            if self.text.len() + c.len_utf8() > TEXT_MAX {
                return;
            }
            self.text.insert(self.at, c);
            self.at += c.len_utf8();
        }
    }

    pub(super) fn left(&mut self) {
        self.at -= self.before().graphemes(true).next_back().map_or(0, str::len);
    }

    pub(super) fn right(&mut self) {
        self.at += self.behind().graphemes(true).next().map_or(0, str::len);
    }

    pub(super) fn word_left(&mut self) {
        let before = self.before().trim_end();
        self.at = before.rfind(char::is_whitespace).map_or(0, |at| at + before.get(at..).map_or(0, first_bytes));
    }

    pub(super) fn word_right(&mut self) {
        let behind = self.behind();
        let gap = behind.len() - behind.trim_start().len();
        let word = behind.trim_start().find(char::is_whitespace);
        self.at = word.map_or(self.text.len(), |word| self.at + gap + word);
    }

    /// To the beginning of the line.
    pub(super) fn home(&mut self) {
        self.at = self.before().rfind('\n').map_or(0, |at| at + 1);
    }

    /// To the end of the line.
    pub(super) fn end(&mut self) {
        self.at += self.behind().find('\n').unwrap_or(self.behind().len());
    }

    pub(super) fn backspace(&mut self) {
        self.delete_back_to(Self::left);
    }

    pub(super) fn delete(&mut self) {
        let from = self.at;
        self.right();
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    pub(super) fn delete_word(&mut self) {
        self.delete_back_to(Self::word_left);
    }

    pub(super) fn delete_to_home(&mut self) {
        self.delete_back_to(Self::home);
    }

    fn delete_back_to(&mut self, go: impl Fn(&mut Self)) {
        let to = self.at;
        go(self);
        self.text.replace_range(self.at..to, "");
    }

    fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    fn behind(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// Bytes of the first code point.
fn first_bytes(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see_as_one_character_is_one_for_the_keys() {
        let mut field = Field::new("e\u{301}👩\u{200d}🚀x");
        field.left();
        field.backspace();
        assert_eq!((field.text(), field.at()), ("e\u{301}x", 3));
        field.left();
        assert_eq!(field.at(), 0);
        field.delete();
        assert_eq!(field.text(), "x");
        field.backspace();
        field.left();
        assert_eq!((field.text(), field.at()), ("x", 0));
    }

    #[test]
    fn lines_and_words_have_beginnings_and_ends() {
        let mut field = Field::new("one two\nthree four");
        field.word_left();
        assert_eq!(field.at(), 14);
        field.home();
        assert_eq!(field.at(), 8);
        field.end();
        field.delete_word();
        assert_eq!(field.text(), "one two\nthree ");
        field.delete_to_home();
        assert_eq!(field.text(), "one two\n");
        field.home();
        field.word_left();
        field.word_right();
        assert_eq!(field.at(), 7);
        let mut field = Field::new("hi 👋👋");
        field.delete_word();
        assert_eq!(field.text(), "hi ");
    }

    #[test]
    fn what_is_pasted_cannot_steer_a_terminal_and_has_a_bound() {
        let mut field = Field::default();
        field.insert("a\r\nb\u{1b}[2J\tc");
        assert_eq!(field.text(), "a\nb[2J    c");
        field.insert(&"é".repeat(TEXT_MAX));
        assert!(field.text().len() <= TEXT_MAX && field.text().len() + 1 >= TEXT_MAX);
        assert!(!field.is_blank() && Field::new(" \n").is_blank());
    }
}
