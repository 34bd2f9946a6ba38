//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::app::{App, Effect, Focus};
use super::conversation::Compose;
use super::field::Field;
use super::prompt::Question;
use super::views::View;
use crate::rpc_client::{Call, Message};

/// Messages that a page has, for keys that move by pages.
const PAGE: isize = 10;

/// Keys and what they do, as they are shown.
pub(super) const HELP: &[(&str, &str)] = &[
    ("", "everywhere but where you write"),
    ("? q Ctrl-C", "this help; end (drafts stay)"),
    ("Tab", "list, messages, input, list …"),
    ("j k ↓ ↑", "next, previous"),
    ("g G Home End", "first, last"),
    ("PgUp PgDn", "ten at once; above the first: older messages"),
    ("Enter", "list: write to somebody; messages: all of one"),
    ("i", "write"),
    ("u", "the next conversation with something unread"),
    ("/", "search: in the list all, in messages there"),
    ("R n", "requests to talk; ask somebody"),
    ("v p", "safety number, questions; path"),
    ("Ctrl-L", "draw anew"),
    ("", "a chosen message"),
    ("r e d +", "reply, edit, delete, react"),
    ("", "while you write"),
    ("Enter", "send"),
    ("Alt-Enter Ctrl-J", "a new line"),
    ("Esc", "back to the messages; what you wrote stays"),
    ("Ctrl-G", "no reply or edit after all; what you wrote before comes back"),
    ("Ctrl-W Ctrl-U", "delete a word, to the beginning of the line"),
    ("Ctrl-A Ctrl-E", "to the beginning, the end of the line"),
];

impl App {
    /// Takes in a key.
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('l') if is_control => self.effects.push(Effect::Redraw),
            _ if self.prompt.is_some() => self.prompt_key(key),
            KeyCode::Char('c') if is_control => self.quit(),
            _ if self.view != View::Talk => {
                if !self.view_key(key) {
                    self.common_key(key);
                }
            }
            _ => match self.focus {
                Focus::Input => self.input_key(key),
                Focus::List => self.list_key(key),
                Focus::Messages => self.messages_key(key),
            },
        }
    }

    /// Takes in what was pasted: where something is written, and nowhere as keys.
    pub(super) fn paste(&mut self, text: &str) {
        if let Some(prompt) = &mut self.prompt {
            prompt.field.insert(&text.replace(['\n', '\r'], " "));
        } else if self.view == View::Talk
            && self.focus == Focus::Input
            && let Some(conversation) = self.conversation_mut()
        {
            conversation.draft.insert(text);
        }
    }

    /// Keys that mean the same wherever nothing is written.
    fn common_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('q') => self.quit(),
            KeyCode::Char('?') => self.view = View::Help { from: 0 },
            KeyCode::Char('/') => self.ask_search(),
            KeyCode::Char('R') => self.show_requests(),
            KeyCode::Char('n') => self.put(Question::Whom, ""),
            KeyCode::Char('u') => self.next_unread(),
            KeyCode::Char('p') => {
                self.say("a path is looked at …");
                self.ask(Call::Path);
            }
            KeyCode::Char('v') => {
                if let Some(account) = self.chosen {
                    self.ask(Call::SafetyNumber { account });
                }
            }
            KeyCode::Char('i' | 'a') => self.write(),
            KeyCode::Tab => {
                self.focus = match self.focus {
                    Focus::List => Focus::Messages,
                    Focus::Messages => Focus::Input,
                    Focus::Input => Focus::List,
                };
            }
            _ => {}
        }
    }

    /// To the input, if there is somebody to write to.
    fn write(&mut self) {
        self.view = View::Talk;
        if self.chosen.is_some() {
            self.focus = Focus::Input;
        } else {
            self.say("nobody to write to yet: n asks somebody to talk");
        }
    }

    fn list_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => self.step_list(1),
            KeyCode::Char('k') | KeyCode::Up => self.step_list(-1),
            KeyCode::PageDown => self.step_list(PAGE),
            KeyCode::PageUp => self.step_list(-PAGE),
            KeyCode::Char('g') | KeyCode::Home => self.step_list(isize::MIN),
            KeyCode::Char('G') | KeyCode::End => self.step_list(isize::MAX),
            KeyCode::Enter => self.write(),
            KeyCode::Char('l') | KeyCode::Right => self.focus = Focus::Messages,
            _ => self.common_key(key),
        }
    }

    fn step_list(&mut self, by: isize) {
        let Some(last) = self.conversations.len().checked_sub(1) else { return };
        let to = self.place().map_or(0, |at| at.saturating_add_signed(by).min(last));
        if let Some(account) = self.conversations.get(to).map(|conversation| conversation.account) {
            self.choose(account);
        }
    }

    /// To the next conversation below, or from above, where something is unread.
    fn next_unread(&mut self) {
        let below = self.place().map_or(0, |at| at + 1);
        let (before, behind) = self.conversations.split_at(below.min(self.conversations.len()));
        let next = behind.iter().chain(before).find(|conversation| !conversation.unread.is_empty());
        match next.map(|conversation| conversation.account) {
            Some(account) => {
                self.choose(account);
                self.view = View::Talk;
                self.focus = Focus::Messages;
            }
            None => self.say("nothing is unread"),
        }
    }

    fn messages_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => self.step_messages(1),
            KeyCode::Char('k') | KeyCode::Up => self.step_messages(-1),
            KeyCode::PageDown => self.step_messages(PAGE),
            KeyCode::PageUp => self.step_messages(-PAGE),
            KeyCode::Char('g') | KeyCode::Home => self.step_messages(isize::MIN),
            KeyCode::Char('G') | KeyCode::End => {
                if let Some(conversation) = self.conversation_mut() {
                    conversation.selected = None;
                }
            }
            KeyCode::Char('h') | KeyCode::Left | KeyCode::Esc => self.focus = Focus::List,
            KeyCode::Enter => {
                if let Some(message) = self.chosen_message() {
                    self.view = View::Whole { message: Box::new(message), from: 0 };
                }
            }
            KeyCode::Char('r') => self.reply(),
            KeyCode::Char('e') => self.edit_message(),
            KeyCode::Char('+') => {
                if let Some(Message { conversation: account, id: message, .. }) = self.chosen_message() {
                    self.put(Question::React { account, message }, "");
                }
            }
            KeyCode::Char('d') => {
                if let Some(message) = self.chosen_message() {
                    let (account, id, is_own) = (message.conversation, message.id, message.outgoing);
                    self.put(Question::Delete { account, message: id, is_own }, "");
                }
            }
            _ => self.common_key(key),
        }
    }

    fn step_messages(&mut self, by: isize) {
        let Some(conversation) = self.conversation_mut() else { return };
        let account = conversation.account;
        if conversation.step(by) {
            self.load_older(&account);
        }
    }

    /// The message that is chosen; the newest, if none is.
    fn chosen_message(&mut self) -> Option<Message> {
        let message = self.conversation().and_then(|conversation| {
            conversation.chosen().or_else(|| conversation.messages.last()).filter(|message| !message.deleted)
        });
        let message = message.cloned();
        if message.is_none() {
            self.say("no message is chosen: k goes up to them");
        }
        message
    }

    fn reply(&mut self) {
        let Some(message) = self.chosen_message() else { return };
        let Some(conversation) = self.conversation_mut() else { return };
        end_compose(&mut conversation.compose, &mut conversation.draft);
        conversation.compose = Compose::Reply(message.id);
        self.write();
    }

    fn edit_message(&mut self) {
        let Some(message) = self.chosen_message() else { return };
        let (true, Some(text)) = (message.outgoing, message.body) else {
            self.say("only your own texts can be edited");
            return;
        };
        let Some(conversation) = self.conversation_mut() else { return };
        end_compose(&mut conversation.compose, &mut conversation.draft);
        let before = std::mem::replace(&mut conversation.draft, Field::new(text));
        conversation.compose = Compose::Edit { id: message.id, before };
        self.write();
    }

    fn input_key(&mut self, key: KeyEvent) {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_line = key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT);
        match key.code {
            KeyCode::Esc => {
                self.focus = Focus::Messages;
                self.keep_drafts();
            }
            KeyCode::Tab => self.focus = Focus::List,
            KeyCode::PageUp => self.step_messages(-PAGE),
            KeyCode::PageDown => self.step_messages(PAGE),
            KeyCode::Char('g') if is_control => {
                if let Some(conversation) = self.conversation_mut() {
                    end_compose(&mut conversation.compose, &mut conversation.draft);
                }
            }
            KeyCode::Char('j') if is_control => self.type_in("\n"),
            KeyCode::Enter if is_line => self.type_in("\n"),
            KeyCode::Enter => self.send(),
            _ => {
                if let Some(conversation) = self.conversation_mut() {
                    edit(&mut conversation.draft, key);
                }
            }
        }
    }

    fn type_in(&mut self, text: &str) {
        if let Some(conversation) = self.conversation_mut() {
            conversation.draft.insert(text);
        }
    }

    fn send(&mut self) {
        if self.lost.is_some() {
            self.say("the daemon is away; what you wrote stays here");
            return;
        }
        let Some(conversation) = self.conversation_mut() else { return };
        if conversation.draft.is_blank() {
            return;
        }
        let (account, text) = (conversation.account, conversation.draft.take());
        let call = match std::mem::take(&mut conversation.compose) {
            Compose::Edit { id, before } => {
                conversation.draft = before;
                Call::Edit { account, message: id, text }
            }
            compose => {
                let reply_to = if let Compose::Reply(id) = compose { Some(id) } else { None };
                conversation.sends(text.clone());
                Call::Send { account, text, reply_to }
            }
        };
        conversation.selected = None;
        self.ask(call);
        self.keep_drafts();
    }
}

/// Back to a message of its own: an edited wording goes, what was written before comes back.
fn end_compose(compose: &mut Compose, draft: &mut Field) {
    if let Compose::Edit { before, .. } = std::mem::take(compose) {
        *draft = before;
    }
}

/// A key in what is being typed.
pub(super) fn edit(field: &mut Field, key: KeyEvent) {
    let is_word = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        KeyCode::Char('a') if is_word => field.home(),
        KeyCode::Char('e') if is_word => field.end(),
        KeyCode::Char('u') if is_word => field.delete_to_home(),
        KeyCode::Char('w') if is_word => field.delete_word(),
        KeyCode::Char(_) if is_word => {}
        KeyCode::Char(c) => field.insert(c.encode_utf8(&mut [0; 4])),
        KeyCode::Left if is_word => field.word_left(),
        KeyCode::Right if is_word => field.word_right(),
        KeyCode::Left => field.left(),
        KeyCode::Right => field.right(),
        KeyCode::Home => field.home(),
        KeyCode::End => field.end(),
        KeyCode::Backspace if is_word => field.delete_word(),
        KeyCode::Backspace => field.backspace(),
        KeyCode::Delete => field.delete(),
        _ => {}
    }
}
