//! What follows from a line, and from what the daemon says.

mod answers;

use std::collections::VecDeque;

use serde_json::Value;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::content::MessageId;

use super::command::{Command, HELP};
use crate::rpc_client::{Call, Came, Contact, Event, Request};
use crate::text::{printable, printable_line};

/// Messages whose ids are known by their beginnings.
const KNOWN: usize = 2000;
/// Digits of an id that are shown.
const SHORT: usize = 8;
/// Digits of an id that are enough to say which.
const ENOUGH: usize = 4;

/// What to write and what to ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) lines: Vec<String>,
    pub(super) calls: Vec<Call>,
}

impl Said {
    fn line(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], calls: Vec::new() }
    }

    fn call(call: Call) -> Self {
        Self { lines: Vec::new(), calls: vec![call] }
    }

    fn and(mut self, call: Call) -> Self {
        self.calls.push(call);
        self
    }
}

/// A message that can be meant.
#[derive(Clone, Copy, Debug)]
struct Known {
    account: Address,
    id: MessageId,
}

/// The conversation with the daemon and with whoever types.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Whom plain lines are for, as it was given at the start and not found yet.
    with: Option<String>,
    peer: Option<Address>,
    contacts: Vec<Contact>,
    requests: Vec<Request>,
    /// The oldest first.
    known: VecDeque<Known>,
    /// Whether `/contacts` or `/requests` was asked for; else the lists are only refreshed.
    shows_contacts: bool,
    shows_requests: bool,
    is_terminal: bool,
    is_ended: bool,
    has_failed: bool,
}

impl Session {
    pub(super) fn new(with: Option<String>, is_terminal: bool) -> Self {
        Self { with, is_terminal, ..Self::default() }
    }

    /// What is asked at first.
    pub(super) fn begin(&self) -> Said {
        Said::default().and(Call::Contacts).and(Call::Requests)
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether some line did not do what it says.
    pub(super) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// What stands before what is typed.
    pub(super) fn prompt(&self) -> String {
        self.peer.map_or_else(|| "> ".to_owned(), |peer| format!("{}> ", self.called(&peer)))
    }

    /// Takes in a line.
    pub(super) fn line(&mut self, line: &str) -> Said {
        let said = Command::read(line).and_then(|command| self.command(command));
        said.unwrap_or_else(|wrong| self.fail(wrong))
    }

    fn fail(&mut self, wrong: impl std::fmt::Display) -> Said {
        self.has_failed = true;
        Said::line(format!("✗ {wrong}"))
    }

    fn command(&mut self, command: Command<'_>) -> Result<Said, String> {
        let call = match command {
            Command::Nothing => return Ok(Said::default()),
            Command::Help => return Ok(Said::line(HELP)),
            Command::Quit => {
                self.is_ended = true;
                return Ok(Said::default());
            }
            Command::To(rest) => return self.to(rest),
            Command::Say(text) => Call::Send { account: self.peer()?, text: text.to_owned(), reply_to: None },
            Command::Contacts => {
                self.shows_contacts = true;
                Call::Contacts
            }
            Command::Requests => {
                self.shows_requests = true;
                Call::Requests
            }
            Command::Accept { number, name } => {
                let name = (!name.is_empty()).then(|| name.to_owned());
                Call::Accept { request: self.request(number)?, name }
            }
            Command::Decline { number, block } => Call::Decline { request: self.request(number)?, block },
            Command::Ask { account, words } => {
                Call::Ask { account: id(account).ok_or("an account id has 66 digits")?, words: words.to_owned() }
            }
            Command::History(limit) => Call::History { account: self.peer()?, limit, before: None },
            Command::Search(text) => Call::Search { account: Some(self.peer()?), text: text.to_owned() },
            Command::Reply { message, text } => {
                let Known { account, id } = self.meant(message)?;
                Call::Send { account, text: text.to_owned(), reply_to: Some(id) }
            }
            Command::React { message, emoji } => {
                let Known { account, id: message } = self.meant(message)?;
                Call::React { account, message, emoji: emoji.to_owned() }
            }
            Command::Edit { message, text } => {
                let Known { account, id: message } = self.meant(message)?;
                Call::Edit { account, message, text: text.to_owned() }
            }
            Command::Delete { message, everyone } => {
                let Known { account, id: message } = self.meant(message)?;
                Call::Delete { account, message, everyone }
            }
            Command::Verify => Call::SafetyNumber { account: self.peer()? },
            Command::Confirm => Call::Confirm { account: self.peer()? },
            Command::Question { question, answer } => {
                Call::Question { account: self.peer()?, question: question.to_owned(), answer: answer.to_owned() }
            }
            Command::Answer(answer) => Call::Answer { account: self.peer()?, answer: answer.to_owned() },
            Command::Path => Call::Path,
        };
        Ok(Said::call(call))
    }

    /// Whom plain lines are for.
    fn peer(&self) -> Result<Address, String> {
        self.peer.ok_or_else(|| "to whom? @NAME TEXT".to_owned())
    }

    /// To somebody, from now on: a contact by its name, which may have spaces in it, or anybody by the account id.
    fn to(&mut self, rest: &str) -> Result<Said, String> {
        let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (account, text) = match id(first) {
            Some(account) => (account, behind),
            None => self
                .named(rest)
                .ok_or_else(|| format!("nobody is called {:?} here; see: /contacts", printable_line(first)))?,
        };
        self.peer = Some(account);
        let text = text.trim();
        if text.is_empty() {
            return Ok(Said::default());
        }
        Ok(Said::call(Call::Send { account, text: text.to_owned(), reply_to: None }))
    }

    /// The contact with the longest name that a text begins with, and what is behind it.
    fn named<'a>(&self, text: &'a str) -> Option<(Address, &'a str)> {
        let begun = self.contacts.iter().filter_map(|contact| {
            let rest = text.strip_prefix(contact.name.as_str())?;
            let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
            ends.then_some((contact.name.len(), contact.account, rest))
        });
        begun.max_by_key(|(length, ..)| *length).map(|(_, account, rest)| (account, rest))
    }

    fn request(&self, number: usize) -> Result<MessageId, String> {
        let request = number.checked_sub(1).and_then(|at| self.requests.get(at));
        request.map(|request| request.id).ok_or_else(|| "there is no request of this number; see: /requests".to_owned())
    }

    /// The message that is meant in the conversation: by the beginning of its id, or the last.
    fn meant(&self, which: &str) -> Result<Known, String> {
        let peer = self.peer()?;
        let mut here = self.known.iter().rev().filter(|known| known.account == peer);
        if which == "last" {
            return here.next().copied().ok_or_else(|| "no message is known yet; see: /history".to_owned());
        }
        if which.len() < ENOUGH {
            return Err(format!("{ENOUGH} digits of the id at least; /history shows them"));
        }
        let which = which.to_ascii_lowercase();
        let found: Vec<Known> = here.filter(|known| known.id.to_string().starts_with(&which)).copied().collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(format!("no message here begins with {which:?}; /history N shows more")),
            _ => Err(format!("{} messages begin with {which:?}: more digits", found.len())),
        }
    }

    /// Remembers a message, as the newest.
    fn remember(&mut self, account: Address, id: MessageId) {
        self.known.retain(|known| known.id != id);
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(Known { account, id });
    }

    /// What somebody is called.
    fn called(&self, account: &Address) -> String {
        let known = self.contacts.iter().find(|contact| contact.account == *account);
        known.map_or_else(|| account.short(), |contact| printable_line(&contact.name))
    }

    /// Takes in what the daemon tells.
    pub(super) fn told(&mut self, event: Value) -> Said {
        match Event::read(event) {
            Some(Event::Message(came)) => self.message(&came),
            Some(Event::Asked(came)) => Said::line("* somebody asks to talk: /requests")
                .and(Call::Acknowledge { cursor: came.cursor })
                .and(Call::Requests),
            Some(Event::Accepted(came)) => {
                let name = printable_line(came.data.name.as_deref().unwrap_or("somebody"));
                Said::line(format!("* {name} has accepted your request"))
                    .and(Call::Acknowledge { cursor: came.cursor })
                    .and(Call::Contacts)
            }
            Some(Event::Network(network)) if network.state == "interrupted" => {
                let reason = network.reason.as_deref().map_or_else(String::new, printable_line);
                Said::line(format!("* the network does not answer: {reason}; trying again"))
            }
            Some(Event::Missed {}) => Said::line("* some of what happened was missed: /history shows it"),
            // What is typed here is answered here, and other things are no lines of a conversation.
            Some(
                Event::Network(_)
                | Event::Step(_)
                | Event::Sent(_)
                | Event::Changed(_)
                | Event::Typing(_)
                | Event::Newer,
            )
            | None => Said::default(),
        }
    }

    fn message(&mut self, came: &Came) -> Said {
        let data = &came.data;
        let Some(account) = data.account() else {
            return Said::line("* a message of a newer version came; this one cannot read it")
                .and(Call::Acknowledge { cursor: came.cursor });
        };
        let name = data.name.as_deref().map_or_else(|| self.called(&account), printable_line);
        if let Some(deed) = data.deed() {
            return Said::line(format!("* {name} {deed}")).and(Call::Acknowledge { cursor: came.cursor });
        }
        if let Some(id) = data.id.as_deref().and_then(|id| id.parse().ok()) {
            self.remember(account, id);
        }
        let text = data.body.as_deref().map_or_else(|| format!("[{}]", printable_line(&data.kind)), printable);
        // Whoever has this account's key can write so in anybody's name, which nobody can in a session.
        let how = if data.session { "" } else { " (without a session)" };
        Said::line(format!("{name}{how}: {text}")).and(Call::Acknowledge { cursor: came.cursor })
    }
}

/// An account id as it is written.
fn id(text: &str) -> Option<Address> {
    let text = text.to_ascii_lowercase();
    let id: Address = text.strip_prefix("sotto:").unwrap_or(&text).parse().ok()?;
    (id.kind() == AddressKind::AccountInbox).then_some(id)
}
