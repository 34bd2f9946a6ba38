//! Text that becomes part of a page.

/// A text in which nothing is markup, inside or outside of an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What no document may contain.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A table whose rows begin with their names.
pub(crate) fn table(caption: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("<div class=\"scroll\">\n<table>\n<caption>{}</caption>\n", escaped(caption));
    if head.iter().any(|name| !name.is_empty()) {
        let cell = |name: &&str| {
            if name.is_empty() { "<td></td>".to_owned() } else { format!("<th scope=\"col\">{}</th>", escaped(name)) }
        };
        text.push_str(&format!("<thead><tr>{}</tr></thead>\n", head.iter().map(cell).collect::<String>()));
    }
    text.push_str("<tbody>\n");
    for row in rows {
        let mut cells = row.iter().map(|cell| escaped(cell));
        let name = cells.next().unwrap_or_default();
        let rest: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        text.push_str(&format!("<tr><th scope=\"row\">{name}</th>{rest}</tr>\n"));
    }
    text.push_str("</tbody>\n</table>\n</div>\n");
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Elements that have no end.
    const VOID: [&str; 2] = ["meta", "br"];

    /// Every element ends where it should, and every `&` begins one of our references.
    pub(crate) fn assert_well_formed(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap_or(page);
        while let Some(begin) = rest.find('<') {
            assert_references(&rest[..begin]);
            let end = begin + rest[begin..].find('>').expect("a tag that does not end");
            let tag = &rest[begin + 1..end];
            rest = &rest[end + 1..];
            assert!(!tag.contains('<'), "a tag in a tag: {tag}");
            assert!(tag.matches('"').count().is_multiple_of(2), "an attribute that does not end: {tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "before {:.80}", rest);
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap();
            assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "{tag}");
            if name == "style" {
                rest = &rest[rest.find("</style>").unwrap()..];
            }
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "still open: {open:?}");
    }

    fn assert_references(text: &str) {
        for (at, _) in text.match_indices('&') {
            let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|one| text[at..].starts_with(one));
            assert!(known, "a bare & in {text}");
        }
        assert!(!text.contains('>'), "a bare > in {text}");
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("<a href=\"x\">&amp;'</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;amp;&#39;&lt;/a&gt;");
        assert_eq!(escaped("– \u{7}\u{1b}[31m ü"), "– \u{fffd}\u{fffd}[31m ü");
    }

    #[test]
    fn a_table_is_well_formed_whatever_its_cells_say() {
        let rows = vec![vec!["<b>".to_owned(), "&".to_owned()], Vec::new()];
        let text = table("a < b", &["", "x > y"], rows.into_iter());
        assert_well_formed(&text);
        assert!(text.contains("&lt;b&gt;") && text.contains("a &lt; b") && text.contains("x &gt; y"));
    }

    #[test]
    #[should_panic(expected = "before")]
    fn crossed_elements_are_noticed() {
        assert_well_formed("<p><b></p></b>");
    }

    #[test]
    #[should_panic(expected = "still open")]
    fn elements_that_do_not_end_are_noticed() {
        assert_well_formed("<p><b></b>");
    }
}
