//! What the terminal interface is at a moment, and what changes it. Nothing here knows of a terminal or a socket: inputs go
//! in, effects come out.
//!
//! | input | handled in |
//! | --- | --- |
//! | keys, pastes | `keys`, `prompt`, `views` |
//! | answers of the daemon | `answers` |
//! | what the daemon tells | `events` |

use crossterm::event::KeyEvent;
use serde_json::Value;
use sotto_proto::address::Address;
use sotto_proto::time::UnixMillis;

use super::conversation::{Conversation, PAGE};
use super::prompt::Prompt;
use super::views::View;
use crate::rpc_client::{Answered, Call, Network, Own, Request};

/// How long a notice stays.
const NOTICE_MS: u64 = 8_000;
/// Conversations with people who are no contacts.
const STRANGERS: usize = 100;

/// What comes in.
#[derive(Debug)]
pub(super) enum Input {
    Key(KeyEvent),
    Paste(String),
    /// The terminal has another size.
    Resized,
    /// Time has passed.
    Tick(UnixMillis),
    /// The daemon is there, at first or again.
    Connected,
    /// It has gone away.
    Lost(String),
    Answered(Box<Answered>),
    /// The daemon tells something.
    Told(Value),
    /// The process is to end.
    End,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Call(Call),
    /// Something came.
    Bell,
    /// The terminal may show something else.
    Redraw,
    /// Everything that is to be kept was asked to be kept: end.
    Quit,
}

/// Where keys go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    List,
    Messages,
    Input,
}

/// Something that is said for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    until: UnixMillis,
}

/// The terminal interface.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) own: Option<Own>,
    /// Those where something was said last first.
    pub(super) conversations: Vec<Conversation>,
    /// The one that is shown.
    pub(super) chosen: Option<Address>,
    pub(super) focus: Focus,
    pub(super) view: View,
    pub(super) prompt: Option<Prompt>,
    /// A question that was left without an answer.
    pub(super) left: Option<Prompt>,
    pub(super) requests: Vec<Request>,
    pub(super) network: Network,
    /// The nodes of the path that something was sent over last.
    pub(super) hops: Vec<String>,
    /// What the message on its way is at.
    pub(super) step: Option<String>,
    pub(super) notice: Option<Notice>,
    /// Why there is no daemon, while there is none.
    pub(super) lost: Option<String>,
    pub(super) now: UnixMillis,
    /// Whether the daemon keeps drafts.
    pub(super) forgets_drafts: bool,
    /// The newest number that was told.
    pub(super) newest: u64,
    /// Everything up to this number was said to be seen.
    pub(super) acknowledged: u64,
    pub(super) effects: Vec<Effect>,
}

impl App {
    /// Takes something in, and says what is to be done.
    pub(super) fn update(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Resized => {}
            Input::Tick(now) => self.tick(now),
            Input::Connected => self.connected(),
            Input::Lost(reason) => self.lose(reason),
            Input::Answered(answered) => self.answered(*answered),
            Input::Told(event) => self.told(event),
            Input::End => self.quit(),
        }
        self.look();
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self, now: UnixMillis) {
        self.now = now;
        if self.notice.as_ref().is_some_and(|notice| notice.until <= now) {
            self.notice = None;
        }
        for conversation in &mut self.conversations {
            if conversation.typing_until.is_some_and(|until| until <= now) {
                conversation.typing_until = None;
            }
        }
        self.keep_drafts();
    }

    fn connected(&mut self) {
        self.lost = None;
        // What was asked for while there was no daemon comes from nobody.
        self.conversations.iter_mut().for_each(Conversation::lose);
        self.ask(Call::Own);
        self.ask(Call::Contacts);
        self.ask(Call::Requests);
        self.reload_chosen();
    }

    fn lose(&mut self, reason: String) {
        self.lost = Some(reason);
        self.step = None;
        self.conversations.iter_mut().for_each(Conversation::lose);
    }

    pub(super) fn ask(&mut self, call: Call) {
        self.effects.push(Effect::Call(call));
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        let until = UnixMillis(self.now.0.saturating_add(NOTICE_MS));
        self.notice = Some(Notice { text: text.into(), until });
    }

    /// Has drafts kept that have changed.
    pub(super) fn keep_drafts(&mut self) {
        if self.forgets_drafts || self.lost.is_some() {
            return;
        }
        let mut calls = Vec::new();
        for conversation in &mut self.conversations {
            if conversation.state.is_some() && conversation.written() != conversation.kept {
                conversation.kept = conversation.written().to_owned();
                calls.push(Call::KeepDraft { account: conversation.account, text: conversation.kept.clone() });
            }
        }
        self.effects.extend(calls.into_iter().map(Effect::Call));
    }

    pub(super) fn quit(&mut self) {
        self.keep_drafts();
        self.effects.push(Effect::Quit);
    }

    /// What is shown was seen.
    fn look(&mut self) {
        let sees = self.view == View::Talk && self.focus != Focus::List;
        if let Some(conversation) = self.conversation_mut()
            && sees
            && conversation.is_at_end()
        {
            conversation.unread.clear();
        }
        // The daemon counts in order: behind the first that was not seen nothing is said to be seen.
        let first = self.conversations.iter().filter_map(|conversation| conversation.unread.first()).min();
        let seen = first.map_or(self.newest, |first| first.saturating_sub(1).min(self.newest));
        if seen > self.acknowledged && self.lost.is_none() {
            self.acknowledged = seen;
            self.ask(Call::Acknowledge { cursor: seen });
        }
    }

    /// The conversation that is shown.
    pub(super) fn conversation(&self) -> Option<&Conversation> {
        let chosen = self.chosen?;
        self.conversations.iter().find(|conversation| conversation.account == chosen)
    }

    pub(super) fn conversation_mut(&mut self) -> Option<&mut Conversation> {
        let chosen = self.chosen?;
        self.with(&chosen)
    }

    /// The conversation with somebody, if there is one.
    pub(super) fn with(&mut self, account: &Address) -> Option<&mut Conversation> {
        self.conversations.iter_mut().find(|conversation| conversation.account == *account)
    }

    /// The conversation with somebody; a new one, unless there are too many with strangers.
    pub(super) fn with_new(&mut self, account: &Address) -> Option<&mut Conversation> {
        if self.with(account).is_none() {
            let strangers = self.conversations.iter().filter(|conversation| conversation.state.is_none()).count();
            if strangers >= STRANGERS {
                return None;
            }
            self.conversations.push(Conversation::new(*account));
        }
        self.with(account)
    }

    /// What somebody is called here.
    pub(super) fn called(&self, account: &Address) -> String {
        let known = self.conversations.iter().find(|conversation| conversation.account == *account);
        known.map_or_else(|| account.short(), |conversation| conversation.name.clone())
    }

    pub(super) fn unread(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.unread.len()).sum()
    }

    /// Where the conversation that is shown is in the list.
    pub(super) fn place(&self) -> Option<usize> {
        let chosen = self.chosen?;
        self.conversations.iter().position(|conversation| conversation.account == chosen)
    }

    /// Shows a conversation.
    pub(super) fn choose(&mut self, account: Address) {
        if self.chosen == Some(account) {
            return;
        }
        if let Some(before) = self.conversation_mut() {
            before.leave();
        }
        self.keep_drafts();
        self.chosen = Some(account);
        self.reload_chosen();
        if !self.forgets_drafts && self.conversation().is_some_and(|conversation| conversation.state.is_some()) {
            self.ask(Call::Draft { account });
        }
    }

    pub(super) fn reload_chosen(&mut self) {
        if let Some(account) = self.chosen {
            self.reload(&account);
        }
    }

    /// Has the end of a conversation loaded anew.
    pub(super) fn reload(&mut self, account: &Address) {
        if self.with(account).is_some_and(Conversation::reload) {
            self.ask(Call::History { account: *account, limit: PAGE, before: None });
        }
    }

    /// Has what is before the loaded part loaded.
    pub(super) fn load_older(&mut self, account: &Address) {
        if let Some(before) = self.with(account).and_then(Conversation::older) {
            self.ask(Call::History { account: *account, limit: PAGE, before: Some(before) });
        }
    }

    /// The conversations where something was said last first, the others by name.
    pub(super) fn sort(&mut self) {
        self.conversations.sort_by(|a, b| {
            let names = || a.name.to_lowercase().cmp(&b.name.to_lowercase());
            b.last.0.cmp(&a.last.0).then_with(names).then_with(|| a.account.cmp(&b.account))
        });
    }
}
