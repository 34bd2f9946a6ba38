//! How much room a text takes on a terminal, and how it is made to fit.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::text::printable_line;

/// Code points of the longest character that is shown whole: marks can be stacked without end.
const STACKED: usize = 16;

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A character as it is shown: nothing of it moves anything else.
fn shown(grapheme: &str) -> String {
    printable_line(&grapheme.chars().take(STACKED).collect::<String>())
}

/// A text of others in one line, cut to fit.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let text = text.split(['\n', '\t']).collect::<Vec<_>>().join(" ");
    let (mut line, mut used) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        let grapheme = shown(grapheme);
        let wide = width(&grapheme);
        if used + wide > columns {
            // The last one makes room for the sign that something is missing.
            while used + 1 > columns {
                let Some((at, last)) = line.grapheme_indices(true).next_back() else { return line };
                used -= width(last);
                line.truncate(at);
            }
            line.push('…');
            return line;
        }
        used += wide;
        line.push_str(&grapheme);
    }
    line
}

/// A text of others in lines that fit: broken at spaces, and inside of a word only where that is too long.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for line in text.replace('\t', "    ").split('\n') {
        let (mut done, mut used) = (String::new(), 0);
        for word in line.split_word_bounds() {
            let graphemes: Vec<String> = word.graphemes(true).map(shown).collect();
            let wide: usize = graphemes.iter().map(|grapheme| width(grapheme)).sum();
            if used + wide > columns && used > 0 {
                lines.push(std::mem::take(&mut done).trim_end().to_owned());
                used = 0;
                if word.trim().is_empty() {
                    continue;
                }
            }
            for grapheme in graphemes {
                let wide = width(&grapheme);
                if used + wide > columns {
                    lines.push(std::mem::take(&mut done));
                    used = 0;
                }
                used += wide;
                done.push_str(&grapheme);
            }
        }
        lines.push(done);
    }
    lines
}

/// What is being typed, in lines that fit, and the row and column of the place in it.
pub(super) fn typed(text: &str, at: usize, columns: usize) -> (Vec<String>, (usize, usize)) {
    let columns = columns.max(2);
    let (mut lines, mut line, mut used, mut place) = (Vec::new(), String::new(), 0, None);
    for (from, grapheme) in text.grapheme_indices(true) {
        if place.is_none() && from >= at {
            place = Some((lines.len(), used));
        }
        if grapheme == "\n" {
            lines.push(std::mem::take(&mut line));
            used = 0;
            continue;
        }
        let grapheme = shown(grapheme);
        let wide = width(&grapheme);
        // A column is left for the cursor.
        if used + wide >= columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
            if place.is_some_and(|(row, _)| row + 1 == lines.len()) && from == at {
                place = Some((lines.len(), 0));
            }
        }
        used += wide;
        line.push_str(&grapheme);
    }
    let place = place.unwrap_or((lines.len(), used));
    lines.push(line);
    (lines, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_marks_none() {
        assert_eq!((width("李雷"), width("e\u{301}"), width("👩\u{200d}🚀")), (4, 1, 2));
        assert_eq!(cut("李雷李雷", 8), "李雷李雷");
        assert_eq!(cut("李雷李雷", 7), "李雷李…");
        assert_eq!(cut("李雷李雷", 6), "李雷…");
        assert_eq!(cut("one\ntwo\u{1b}", 8), "one two\u{fffd}");
        assert_eq!((cut("abc", 0), cut("abc", 1)), (String::new(), "…".to_owned()));
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_inside() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("李雷李", 4), ["李雷", "李"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert!(wrap("one two three four", 5).iter().all(|line| width(line) <= 5));
    }

    #[test]
    fn stacked_marks_have_an_end_and_nothing_steers_the_terminal() {
        let stacked = format!("a{}", "\u{301}".repeat(500));
        assert_eq!(wrap(&stacked, 10).concat().chars().count(), STACKED);
        assert_eq!(wrap("a\u{202e}b\u{1b}[2J", 20), ["a\u{fffd}b\u{fffd}[2J"]);
    }

    #[test]
    fn the_place_in_what_is_typed_is_where_the_next_character_goes() {
        assert_eq!(typed("abc", 3, 10), (vec!["abc".to_owned()], (0, 3)));
        assert_eq!(typed("ab\ncd", 3, 10), (vec!["ab".to_owned(), "cd".to_owned()], (1, 0)));
        assert_eq!(typed("李雷", 3, 10).1, (0, 2));
        let (lines, place) = typed("abcdefgh", 4, 5);
        assert_eq!((lines, place), (vec!["abcd".to_owned(), "efgh".to_owned()], (1, 0)));
        assert_eq!(typed("", 0, 5), (vec![String::new()], (0, 0)));
    }
}
