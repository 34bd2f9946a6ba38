//! `sotto history`: what was said with somebody. The network is not asked.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, MessageId, Question, Step};
use sotto_proto::time::UnixMillis;

use super::context::Context;
use super::details::{Details, short, timer_words};
use super::received::kind;
use super::recipient::{Recipient, called};
use super::search::search_words;
use super::status::rfc3339;
use super::{CliError, Exit};
use crate::store::{Place, Said, Transaction};
use crate::text::{printable, printable_line};

/// Messages that are shown unless something else is wanted.
const SHOWN: usize = 50;
/// Rows that are read from the store at once.
const ROWS: usize = 256;

/// Show what was said with somebody
#[derive(Debug, Args)]
pub(super) struct History {
    /// The name of a contact, or an account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// The last so many messages; 50, or with --export all
    #[arg(short, long, value_name = "N")]
    limit: Option<usize>,
    /// Only what has words that begin so, in whatever case and with or without accents
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only what was said before a time (2026-11-22T00:33:05Z), or before the message of a number ("cursor" of --json)
    #[arg(long, value_name = "TIME|NUMBER")]
    before: Option<Before>,
    /// Write it to a new file instead; that file is not encrypted
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Show the beginning of each message's id, by which it can be answered, edited or deleted
    #[arg(long)]
    ids: bool,
}

/// Where to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Time(UnixMillis),
    Number(u64),
}

impl FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let time =
            humantime::parse_rfc3339_weak(text).map_err(|error| format!("neither a number nor a time: {error}"))?;
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Self::Time(UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))))
    }
}

impl History {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut unlocked = context.unlock()?;
        let entries = unlocked.account.change(|tx, own| self.entries(tx, &own.account.address()))?;
        match &self.export {
            None => {
                for entry in &entries {
                    context.out.result(&entry.document(), self.lines(entry))?;
                }
            }
            Some(path) => {
                let line =
                    |entry: &Entry| if context.out.json { entry.document().to_string() } else { self.lines(entry) };
                let lines: String = entries.iter().map(|entry| line(entry) + "\n").collect();
                write_new(path, lines.as_bytes())?;
                let (count, file) = (entries.len(), path.display().to_string());
                let document = json!({ "v": 1, "type": "history.exported", "messages": count, "file": file });
                let text = format!("✓ {count} messages are in {file}; whoever reads that file reads them");
                context.out.result(&document, text)?;
            }
        }
        Ok(Exit::Done)
    }

    /// What is to be shown, the oldest first.
    fn entries(&self, tx: &Transaction<'_>, own: &Address) -> Result<Vec<Entry>, CliError> {
        let (account, _) = self.which.find(tx)?;
        let name = called(tx, &account)?;
        let before = self.before.map(|before| place(tx, &account, before)).transpose()?;
        let limit = self.limit.unwrap_or(if self.export.is_some() { usize::MAX } else { SHOWN });
        let (numbers, hidden) = (tx.numbers_of(&account)?, tx.hidden_numbers_of(&account)?);
        let found = self.find(tx, &account, before, limit)?;
        let is_whole = self.search.is_none();
        let entries = found.into_iter().map(|(place, said)| {
            let missing = if is_whole { missing_before(&numbers, &hidden, &said) } else { 0 };
            Entry::new(tx, own, (place, said), missing, name.clone())
        });
        entries.collect()
    }

    /// With ids where they are wanted.
    fn lines(&self, entry: &Entry) -> String {
        let id = if self.ids { format!("{}  ", short(&entry.said.content.id)) } else { String::new() };
        entry.lines_with(&id)
    }

    fn find(
        &self,
        tx: &Transaction<'_>,
        account: &Address,
        mut before: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, Said)>, CliError> {
        if let Some(typed) = &self.search {
            let mut found = tx.search(&search_words(typed)?, Some(account), before, limit)?;
            found.reverse();
            return Ok(found);
        }
        // The newest first, until there are enough.
        let mut found = Vec::new();
        while found.len() < limit {
            let rows = tx.history(account, before, ROWS)?;
            let Some((first, _)) = rows.first() else { break };
            before = Some(*first);
            found.extend(rows.into_iter().rev());
        }
        found.truncate(limit);
        found.reverse();
        Ok(found)
    }
}

fn place(tx: &Transaction<'_>, account: &Address, before: Before) -> Result<Place, CliError> {
    match before {
        Before::Time(sent) => Ok(Place { sent, number: 0 }),
        Before::Number(number) => tx.place_of(account, number)?.ok_or_else(|| {
            CliError::new(Exit::NotFound, "not_found", format!("no message of this history has the number {number}"))
                .hint("numbers are the \"cursor\" of: sotto history CONTACT --json")
        }),
    }
}

/// How many of the other side's messages between this one and the one it numbered before have not come.
fn missing_before(numbers: &BTreeSet<(u8, u64)>, hidden: &BTreeSet<(u8, u64)>, said: &Said) -> u64 {
    let (device, mut number) = (said.device, said.content.sequence);
    if said.outgoing || number == 0 {
        return 0;
    }
    let mut missing = 0;
    // What is missing before something that is not shown is told with what is.
    for earlier in numbers.range((device, 0)..(device, number)).rev() {
        missing += number.saturating_sub(earlier.1).saturating_sub(1);
        number = earlier.1;
        if !hidden.contains(earlier) {
            return missing;
        }
    }
    missing + number.saturating_sub(1)
}

/// Something that was said, as it is shown.
pub(super) struct Entry {
    place: Place,
    said: Said,
    /// The other side's messages that are missing before it.
    missing: u64,
    /// What the other side is called.
    name: String,
    /// Who shows it.
    own: Address,
    details: Details,
}

impl Entry {
    fn new(
        tx: &Transaction<'_>,
        own: &Address,
        (place, said): (Place, Said),
        missing: u64,
        name: String,
    ) -> Result<Self, CliError> {
        let details = Details::look_up(tx, &said.account, said.outgoing, &said.content)?;
        Ok(Self { place, said, missing, name, own: *own, details })
    }

    /// The messages of an id: one, or one of each side.
    pub(super) fn of(
        tx: &Transaction<'_>,
        own: &Address,
        account: &Address,
        id: &MessageId,
    ) -> Result<Vec<Self>, CliError> {
        let name = called(tx, account)?;
        let found = tx.said(account, id)?.into_iter();
        found.map(|found| Self::new(tx, own, found, 0, name.clone())).collect()
    }

    fn text(&self) -> Option<&str> {
        match &self.said.content.body {
            Body::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(super) fn document(&self) -> Value {
        let Said { account, outgoing, device, arrived, content } = &self.said;
        let mut document = json!({
            "v": 1, "type": "message", "conversation": account.to_string(), "cursor": self.place.number.to_string(),
            "outgoing": outgoing, "device": device, "id": content.id.to_string(), "sent": rfc3339(content.sent),
            "arrived": rfc3339(*arrived), "sequence": content.sequence, "missing_before": self.missing,
            "kind": kind(content), "body": self.text(),
        });
        if let Some(document) = document.as_object_mut() {
            document.extend(self.details.members(&self.own, account));
        }
        document
    }

    pub(super) fn lines(&self) -> String {
        self.lines_with("")
    }

    fn lines_with(&self, id: &str) -> String {
        let content = &self.said.content;
        let gap = match self.missing {
            0 => String::new(),
            1 => "… 1 message missing …\n".to_owned(),
            missing => format!("… {missing} messages missing …\n"),
        };
        let who = if self.said.outgoing { "you" } else { &self.name };
        let text = match &content.body {
            Body::Text(text) => printable(text.as_str()),
            Body::Timer(expiry) => format!("[messages disappear: {}]", timer_words(*expiry)),
            Body::Question(Question { step: Step::Ask { question, .. }, .. }) => {
                format!("[asks: {}]", printable_line(question.as_str()))
            }
            _ => format!("[{}]", kind(content)),
        };
        let (quote, remarks) = (self.details.quote(), self.details.remarks(&printable_line(&self.name)));
        format!("{gap}{}  {id}{who}  {quote}{text}{remarks}", rfc3339(content.sent))
    }
}

/// Writes a file that only its owner may read, and none that there is already.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::new(Exit::Conflict, "exists", format!("{} is there already", path.display()))
                .hint("choose another file")
        }
        _ => CliError::io("write", path.display(), &error),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = fs::remove_file(path); // half of it is of no use
        failed(error)
    })
}

#[cfg(test)]
mod tests;
