//! What the screen knows of a conversation: the part of its history that was loaded, what is unread, what is being written.

use std::collections::BTreeSet;

use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::time::UnixMillis;

use super::field::Field;
use crate::rpc_client::{Contact, Message};

/// Messages that are loaded at once.
pub(super) const PAGE: usize = 50;
/// Messages that stay loaded of a conversation that is not looked at.
const KEPT: usize = 200;
/// Pages that are loaded to find a message that was searched for.
const SEEK_PAGES: usize = 100;

/// What is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Compose {
    /// A message.
    #[default]
    New,
    /// An answer to a message.
    Reply(MessageId),
    /// Another wording of a message.
    Edit {
        /// The message.
        id: MessageId,
        /// What was being written before; it comes back.
        before: Field,
    },
}

/// What is being loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loading {
    #[default]
    Nothing,
    Newest {
        /// Something has changed meanwhile.
        again: bool,
    },
    Older,
}

/// A message that is looked for, further back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seek {
    cursor: u64,
    pages: usize,
}

/// What was sent and is not in the history yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) text: String,
    /// The daemon went away meanwhile: it may have it, or not.
    is_unsure: bool,
}

/// A conversation.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) account: Address,
    pub(super) name: String,
    /// `asked`, `contact`, `blocked`; nothing for somebody who is none.
    pub(super) state: Option<String>,
    pub(super) is_verified: bool,
    /// The oldest first.
    pub(super) messages: Vec<Message>,
    /// Whether there is nothing before them.
    pub(super) is_whole: bool,
    loading: Loading,
    pub(super) sending: Vec<Outgoing>,
    /// Numbers of what came and was not looked at.
    pub(super) unread: BTreeSet<u64>,
    /// When something was last said, RFC 3339, and the words.
    pub(super) last: (String, String),
    pub(super) draft: Field,
    /// The draft as the daemon has it.
    pub(super) kept: String,
    pub(super) compose: Compose,
    /// The number of the message that is chosen; nothing follows the newest.
    pub(super) selected: Option<u64>,
    seek: Option<Seek>,
    /// The other side writes, as far as is known.
    pub(super) typing_until: Option<UnixMillis>,
}

impl Conversation {
    /// With somebody of whom only the account is known.
    pub(super) fn new(account: Address) -> Self {
        Self {
            account,
            name: account.short(),
            state: None,
            is_verified: false,
            messages: Vec::new(),
            is_whole: false,
            loading: Loading::Nothing,
            sending: Vec::new(),
            unread: BTreeSet::new(),
            last: (String::new(), String::new()),
            draft: Field::default(),
            kept: String::new(),
            compose: Compose::New,
            selected: None,
            seek: None,
            typing_until: None,
        }
    }

    /// Learns what is known of the contact.
    pub(super) fn learn(&mut self, contact: &Contact) {
        self.name.clone_from(&contact.name);
        self.state = Some(contact.state.clone());
        self.is_verified = contact.verified;
    }

    /// Whether the newest page is to be asked for now.
    pub(super) fn reload(&mut self) -> bool {
        let now = self.loading == Loading::Nothing;
        self.loading = match self.loading {
            Loading::Older => return false,
            Loading::Nothing => Loading::Newest { again: false },
            Loading::Newest { .. } => Loading::Newest { again: true },
        };
        now
    }

    /// The number to load what is before, if there may be something.
    pub(super) fn older(&mut self) -> Option<u64> {
        let first = self.messages.first()?.cursor;
        if self.is_whole || self.loading != Loading::Nothing {
            return None;
        }
        self.loading = Loading::Older;
        Some(first)
    }

    /// Loading ended, whatever it gave. Whether the newest page is to be asked for once more.
    pub(super) fn loaded(&mut self) -> bool {
        let again = self.loading == Loading::Newest { again: true };
        self.loading = Loading::Nothing;
        again
    }

    /// Takes in the newest page, of so many at most.
    pub(super) fn take_newest(&mut self, page: Vec<Message>, limit: usize) {
        self.settle_unsure(&page);
        let is_all = page.len() < limit;
        let touches = page.first().is_some_and(|first| self.messages.iter().any(|known| known.id == first.id));
        if is_all || !touches {
            // Between what is loaded and this page there may be more.
            self.messages.clear();
            self.is_whole = is_all;
        } else if let Some(first) = page.first() {
            let at = self.messages.iter().position(|known| known.id == first.id).unwrap_or_default();
            self.messages.truncate(at);
        }
        self.messages.extend(page);
        if let Some(last) = self.messages.last() {
            self.last = (last.sent.clone(), words(last));
        } else if is_all {
            self.last.1.clear();
        }
        if self.selected.is_some_and(|cursor| self.index(cursor).is_none()) {
            self.selected = None;
        }
    }

    /// Takes in what was before, of so many at most.
    pub(super) fn take_older(&mut self, mut page: Vec<Message>, limit: usize) {
        self.is_whole = page.len() < limit;
        page.retain(|message| self.messages.iter().all(|known| known.id != message.id));
        page.append(&mut self.messages);
        self.messages = page;
    }

    /// What was sent when the daemon went away is in the history, or goes back to where it was written.
    fn settle_unsure(&mut self, page: &[Message]) {
        let known: BTreeSet<MessageId> = self.messages.iter().map(|message| message.id).collect();
        let mut new: Vec<&str> = page
            .iter()
            .filter(|message| message.outgoing && !known.contains(&message.id))
            .filter_map(|message| message.body.as_deref())
            .collect();
        for outgoing in std::mem::take(&mut self.sending) {
            let found = new.iter().position(|text| *text == outgoing.text);
            match found {
                _ if !outgoing.is_unsure => self.sending.push(outgoing),
                Some(at) => {
                    new.remove(at);
                }
                None => self.put_back(&outgoing.text),
            }
        }
    }

    /// What could not be sent is not lost.
    pub(super) fn put_back(&mut self, text: &str) {
        let draft = match &mut self.compose {
            Compose::Edit { before, .. } => before,
            Compose::New | Compose::Reply(_) => &mut self.draft,
        };
        let behind = draft.take();
        *draft = Field::new(if behind.is_empty() { text.to_owned() } else { format!("{text}\n{behind}") });
    }

    /// Something is on its way.
    pub(super) fn sends(&mut self, text: String) {
        self.sending.push(Outgoing { text, is_unsure: false });
    }

    /// It is not any more.
    pub(super) fn sent(&mut self, text: &str) {
        if let Some(at) = self.sending.iter().position(|outgoing| outgoing.text == text) {
            self.sending.remove(at);
        }
    }

    /// The daemon went away: no answer comes any more.
    pub(super) fn lose(&mut self) {
        self.loading = Loading::Nothing;
        self.seek = None;
        self.sending.iter_mut().for_each(|outgoing| outgoing.is_unsure = true);
    }

    /// Nobody looks at it any more.
    pub(super) fn leave(&mut self) {
        let surplus = self.messages.len().saturating_sub(KEPT);
        if surplus > 0 && self.loading == Loading::Nothing {
            self.messages.drain(..surplus);
            self.is_whole = false;
        }
        self.selected = None;
        self.seek = None;
    }

    /// Looks for a message further back. Whether it is found already.
    pub(super) fn begin_seek(&mut self, cursor: u64) -> bool {
        self.seek = Some(Seek { cursor, pages: 0 });
        self.go_on_seeking()
    }

    /// Whether nothing is left to be loaded for what is looked for.
    pub(super) fn go_on_seeking(&mut self) -> bool {
        let Some(Seek { cursor, pages }) = self.seek else { return true };
        if self.index(cursor).is_some() {
            self.selected = Some(cursor);
        } else if !self.is_whole && pages < SEEK_PAGES {
            self.seek = Some(Seek { cursor, pages: pages + 1 });
            return false;
        }
        self.seek = None;
        true
    }

    pub(super) fn index(&self, cursor: u64) -> Option<usize> {
        self.messages.iter().position(|message| message.cursor == cursor)
    }

    /// The message that is chosen.
    pub(super) fn chosen(&self) -> Option<&Message> {
        self.messages.get(self.index(self.selected?)?)
    }

    /// Moves the choice by so many messages; below the newest there is none. Whether there is no more above.
    pub(super) fn step(&mut self, by: isize) -> bool {
        let below = self.messages.len();
        let at = self.selected.and_then(|cursor| self.index(cursor)).unwrap_or(below);
        let to = at.saturating_add_signed(by).min(below);
        self.selected = self.messages.get(to).map(|message| message.cursor);
        to == 0 && by < 0
    }

    /// Whether whoever looks at it sees the newest.
    pub(super) fn is_at_end(&self) -> bool {
        self.selected.is_none_or(|cursor| self.messages.last().is_some_and(|last| last.cursor == cursor))
    }

    /// What is to be kept of what is being written.
    pub(super) fn written(&self) -> &str {
        match &self.compose {
            Compose::Edit { before, .. } => before.text(),
            Compose::New | Compose::Reply(_) => self.draft.text(),
        }
    }
}

/// What is shown of a message where there is no room.
pub(super) fn words(message: &Message) -> String {
    let who = if message.outgoing { "you: " } else { "" };
    format!("{who}{}", body(message))
}

/// A message's text, or what stands for it.
pub(super) fn body(message: &Message) -> String {
    if message.deleted {
        return "[deleted]".to_owned();
    }
    message.body.clone().unwrap_or_else(|| format!("[{}]", message.kind))
}
