//! `sotto search`: what was said, with whomever. The network is not asked.

use std::ops::Range;

use clap::Args;
use serde_json::{Value, json};
use sotto_proto::content::Body;

use super::context::Context;
use super::history::Before;
use super::recipient::called;
use super::status::rfc3339;
use super::{CliError, Exit};
use crate::store::{Place, Said, SearchWords, Transaction};
use crate::text::printable_line;

/// What is shown unless something else is wanted.
const SHOWN: usize = 20;
/// Characters that are shown before the first word that was found, and behind it.
const BEFORE_CHARS: usize = 40;
const BEHIND_CHARS: usize = 120;

/// Search everything that was said, with everybody; the newest first
#[derive(Debug, Args)]
pub(super) struct Search {
    /// Words, or the beginnings of words: what has all of them, in whatever case and with or without accents
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
    /// At most so many
    #[arg(short, long, value_name = "N", default_value_t = SHOWN)]
    limit: usize,
    /// Only what was said before a time (2026-11-22T00:33:05Z), or before the message of a number ("cursor" of --json)
    #[arg(long, value_name = "TIME|NUMBER")]
    before: Option<Before>,
}

/// What is searched for, as typed.
pub(super) fn search_words(typed: &str) -> Result<SearchWords, CliError> {
    SearchWords::new(typed).ok_or_else(|| {
        let message = format!("there is no word to be found in {:?}", printable_line(typed));
        CliError::new(Exit::Usage, "no_word", message).hint("letters, digits and emoji are what is found")
    })
}

impl Search {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let words = search_words(&self.text.join(" "))?;
        let mut unlocked = context.unlock()?;
        let found = unlocked.account.change(|tx, _| self.find(tx, &words))?;
        for one in &found {
            context.out.result(&one.document(), one.line(context.out.color))?;
        }
        match found.last() {
            None => context.out.say("nothing was found"),
            Some(last) if found.len() == self.limit => {
                context.out.say(format!("there may be more: --before {}", last.place.number));
            }
            Some(_) => {}
        }
        Ok(Exit::Done)
    }

    fn find(&self, tx: &Transaction<'_>, words: &SearchWords) -> Result<Vec<Found>, CliError> {
        let before = self.before.map(|before| place(tx, before)).transpose()?;
        let rows = tx.search(words, None, before, self.limit)?;
        rows.into_iter().map(|(place, said)| Found::look_up(tx, words, place, said)).collect()
    }
}

fn place(tx: &Transaction<'_>, before: Before) -> Result<Place, CliError> {
    match before {
        Before::Time(sent) => Ok(Place { sent, number: 0 }),
        Before::Number(number) => tx.place_of_number(number)?.ok_or_else(|| {
            CliError::new(Exit::NotFound, "not_found", format!("no message has the number {number}"))
                .hint("numbers are the \"cursor\" of: sotto search TEXT --json")
        }),
    }
}

/// Something that was found.
struct Found {
    place: Place,
    said: Said,
    /// What the other side is called.
    name: String,
    /// Where the words are, in bytes.
    marks: Vec<Range<usize>>,
}

impl Found {
    fn look_up(tx: &Transaction<'_>, words: &SearchWords, place: Place, said: Said) -> Result<Self, CliError> {
        let name = called(tx, &said.account)?;
        let marks = text_of(&said).map_or_else(Vec::new, |text| words.marks(text));
        Ok(Self { place, said, name, marks })
    }

    fn document(&self) -> Value {
        let Said { account, outgoing, content, .. } = &self.said;
        let text = text_of(&self.said).unwrap_or_default();
        let chars = |end: usize| text.get(..end).map_or(0, |before| before.chars().count());
        let marks: Vec<_> = self.marks.iter().map(|at| [chars(at.start), chars(at.end)]).collect();
        json!({
            "v": 1, "type": "search.result", "conversation": account.to_string(), "name": self.name,
            "cursor": self.place.number.to_string(), "outgoing": outgoing, "id": content.id.to_string(),
            "sent": rfc3339(content.sent), "body": text, "marks": marks,
        })
    }

    /// One line: the first place that was found, and what is around it.
    fn line(&self, color: bool) -> String {
        let text = text_of(&self.said).unwrap_or_default();
        let who = if self.said.outgoing { "you" } else { &self.name };
        format!("{}  {}  {who}: {}", rfc3339(self.said.content.sent), self.name, around(text, &self.marks, color))
    }
}

fn text_of(said: &Said) -> Option<&str> {
    match &said.content.body {
        Body::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

/// The text around the first mark. What is marked is bold, where colours are wanted.
fn around(text: &str, marks: &[Range<usize>], color: bool) -> String {
    let first = marks.first().map_or(0, |at| at.start);
    let (before, behind) = text.split_at_checked(first).unwrap_or((text, ""));
    let begin = before.char_indices().rev().take(BEFORE_CHARS).last().map_or(first, |(at, _)| at);
    let end = behind.char_indices().nth(BEHIND_CHARS).map_or(text.len(), |(at, _)| first + at);
    let shown = |from: usize, to: usize| text.get(from..to).map(printable_line).unwrap_or_default();
    let mut line = if begin > 0 { "…".to_owned() } else { String::new() };
    let mut at = begin;
    for mark in marks.iter().filter(|mark| color && mark.end <= end) {
        line += &format!("{}\u{1b}[1m{}\u{1b}[0m", shown(at, mark.start), shown(mark.start, mark.end));
        at = mark.end;
    }
    line += &shown(at, end);
    if end < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use sotto_proto::address::Address;
    use sotto_proto::content::{Content, MessageId, Text};
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::store::{Contact, ContactState, Store};

    fn account(digit: char) -> Address {
        format!("05{}", digit.to_string().repeat(64)).parse().unwrap()
    }

    fn store() -> Store {
        let mut store = Store::in_memory();
        let tx = store.transaction().unwrap();
        let (name, state, created) = ("Carol".to_owned(), ContactState::Accepted, UnixMillis(1));
        tx.put_contact(&Contact { account: account('c'), name, said_name: None, state, created }).unwrap();
        for (second, digit, text) in
            [(1, 'c', "to the harbour"), (2, 'd', "Häfen\nund\u{1b}[2J Harbours"), (3, 'c', "no")]
        {
            let body = Body::Text(Text::new(text.to_owned()).unwrap());
            let sent = UnixMillis(second * 1000);
            let content = Content::new(MessageId::new([u8::try_from(second).unwrap(); MessageId::LEN]), sent, body);
            let (account, outgoing) = (account(digit), second == 1);
            assert!(tx.add_to_history(&Said { account, outgoing, device: 0, arrived: sent, content }).unwrap());
        }
        tx.commit().unwrap();
        store
    }

    fn found(store: &mut Store, arguments: &[&str]) -> Result<Vec<Found>, CliError> {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            search: Search,
        }
        let search = Line::parse_from([&["search"], arguments].concat()).search;
        search.find(&store.transaction().unwrap(), &search_words(&search.text.join(" "))?)
    }

    #[test]
    fn all_conversations_are_searched_and_the_newest_comes_first() {
        let mut store = store();
        let shown = |found: &[Found]| found.iter().map(|one| one.place.number).collect::<Vec<_>>();
        assert_eq!(shown(&found(&mut store, &["HARB"]).unwrap()), [2, 1]);
        assert_eq!(shown(&found(&mut store, &["harbour", "--limit", "1"]).unwrap()), [2]);
        assert_eq!(shown(&found(&mut store, &["harbour", "--before", "2"]).unwrap()), [1]);
        assert_eq!(shown(&found(&mut store, &["the", "harbour"]).unwrap()), [1]);
        assert_eq!(found(&mut store, &["…"]).err().unwrap().exit, Exit::Usage);
        assert_eq!(found(&mut store, &["a", "--before", "9"]).err().unwrap().exit, Exit::NotFound);
    }

    #[test]
    fn lines_and_documents_say_where_the_words_are() {
        let mut store = store();
        let found = found(&mut store, &["harb"]).unwrap();
        assert_eq!(found[1].line(false), "1970-01-01T00:00:01.000Z  Carol  you: to the harbour");
        assert_eq!(found[1].line(true), "1970-01-01T00:00:01.000Z  Carol  you: to the \u{1b}[1mharbour\u{1b}[0m");
        let id = account('d').to_string();
        let stranger = format!("1970-01-01T00:00:02.000Z  {id}  {id}: Häfen\u{fffd}und\u{fffd}[2J Harbours");
        assert_eq!(found[0].line(false), stranger, "nothing moves the cursor");
        let document = found[0].document();
        assert_eq!((&document["marks"], &document["cursor"]), (&json!([[14, 22]]), &json!("2")));
        assert_eq!(document["body"], "Häfen\nund\u{1b}[2J Harbours");
    }

    #[test]
    fn of_a_long_text_the_place_that_was_found_is_shown() {
        let text = format!("{}wanted{}", "ü ".repeat(500), " ü".repeat(500));
        let marks = search_words("wanted").unwrap().marks(&text);
        let line = around(&text, &marks, true);
        assert!(
            line.starts_with("…ü ü") && line.ends_with("ü…") && line.contains("\u{1b}[1mwanted\u{1b}[0m"),
            "{line}"
        );
        assert_eq!(line.chars().count(), BEFORE_CHARS + BEHIND_CHARS + 2 + 8);
    }
}
