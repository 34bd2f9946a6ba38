//! Texts of strangers, and words that are to be pasted.

/// Whether a character changes how others are shown, or shows nothing (Unicode: Default_Ignorable_Code_Point, and what
/// sets the direction or breaks the line): what it stands in may not be what it seems.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What emoji are put together with; it neither moves nor hides what stands beside it.
const fn joins_emoji(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{e0020}'..='\u{e007f}')
}

fn shown(c: char) -> char {
    if c.is_control() || (is_invisible(c) && !joins_emoji(c)) { '\u{fffd}' } else { c }
}

/// A stranger's text on a terminal: no control characters but line breaks, which are indented, so that no text passes
/// for another line of ours.
pub(crate) fn printable(text: &str) -> String {
    let plain = text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { shown(c) });
    plain.collect::<String>().replace('\n', "\n    ")
}

/// As [`printable`], in one line.
pub(crate) fn printable_line(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// One word of a shell's command line, whatever is in it: hints are pasted, and a stranger may have chosen the name.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", printable_line(word).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_move_the_cursor_or_begin_a_line() {
        assert_eq!(printable("a\u{1b}[2Jb\rc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable("one\ntwo"), "one\n    two");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(printable_line("one\ntwo\u{200b}"), "one\u{fffd}two\u{fffd}");
        assert_eq!(printable_line("alice\u{3164}"), "alice\u{fffd}");
    }

    #[test]
    fn languages_and_emoji_are_shown_as_they_are() {
        for text in ["grüße 👋", "李雷", "👩\u{200d}🚀", "❤\u{fe0f}", "שלום"] {
            assert_eq!((printable(text), printable_line(text)), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn a_pasted_name_is_one_word_and_runs_nothing() {
        assert_eq!(quoted("alice"), "alice");
        assert_eq!(quoted("Bob the Builder"), "'Bob the Builder'");
        assert_eq!(quoted("O'Brien"), r"'O'\''Brien'");
        assert_eq!(quoted("x';reboot;'"), r"'x'\'';reboot;'\'''");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
        assert_eq!(quoted(""), "''");
    }
}
