//! What is shown in place of the messages, and its keys.

use crossterm::event::{KeyCode, KeyEvent};

use super::app::{App, Focus};
use super::prompt::Question;
use crate::rpc_client::{Call, Message, OnionPath, SafetyNumber};

/// Lines that a page has, for keys that move by pages.
const PAGE: usize = 10;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    /// What was said.
    #[default]
    Talk,
    /// The keys, from a line on.
    Help { from: usize },
    /// Requests, and which of them is chosen.
    Requests { at: usize },
    /// The safety number.
    Number(SafetyNumber),
    /// The path.
    Path(OnionPath),
    /// What was found.
    Found { text: String, hits: Vec<Message>, at: usize },
    /// All of one message, from a line on.
    Whole { message: Box<Message>, from: usize },
}

impl App {
    /// A key where something is shown in place of the messages. Whether it meant something.
    pub(super) fn view_key(&mut self, key: KeyEvent) -> bool {
        if matches!(key.code, KeyCode::Esc | KeyCode::Char('q')) {
            self.view = View::Talk;
            return true;
        }
        let requests = self.requests.len();
        match &mut self.view {
            View::Talk => false,
            View::Help { from } | View::Whole { from, .. } => moved(from, usize::MAX, key.code),
            View::Requests { at } => {
                let chosen = *at;
                moved(at, requests, key.code) || self.request_key(chosen, key.code)
            }
            View::Number(number) => {
                let (account, is_verified) = (number.account, number.verified);
                let question = match key.code {
                    KeyCode::Char('c') if !is_verified => Question::Compared { account },
                    KeyCode::Char('m') => Question::Memory { account },
                    KeyCode::Char('a') => Question::Answer { account },
                    _ => return false,
                };
                self.put(question, "");
                true
            }
            View::Path(_) => false,
            View::Found { hits, at, .. } => {
                if moved(at, hits.len(), key.code) {
                    return true;
                }
                let hit = hits.get(*at).cloned();
                match (hit, key.code) {
                    (Some(hit), KeyCode::Enter) => self.go_to(&hit),
                    _ => return false,
                }
                true
            }
        }
    }

    fn request_key(&mut self, at: usize, code: KeyCode) -> bool {
        match code {
            KeyCode::Enter | KeyCode::Char('a') => self.ask_name(at),
            KeyCode::Char('d' | 'b') => {
                if let Some(request) = self.requests.get(at).map(|request| request.id) {
                    self.put(Question::Decline { request }, "");
                }
            }
            _ => return false,
        }
        true
    }

    /// Shows a message where it was said.
    fn go_to(&mut self, hit: &Message) {
        let account = hit.conversation;
        if self.with_new(&account).is_none() {
            return;
        }
        self.choose(account);
        self.view = View::Talk;
        self.focus = Focus::Messages;
        let is_found = self.with(&account).is_some_and(|conversation| conversation.begin_seek(hit.cursor));
        if !is_found {
            self.load_older(&account);
        }
    }

    /// Shows the requests, as they are now.
    pub(super) fn show_requests(&mut self) {
        self.view = View::Requests { at: 0 };
        self.ask(Call::Requests);
    }
}

/// Moves through so many lines. Whether the key does.
fn moved(at: &mut usize, count: usize, code: KeyCode) -> bool {
    let last = count.saturating_sub(1);
    *at = match code {
        KeyCode::Char('j') | KeyCode::Down => at.saturating_add(1),
        KeyCode::Char('k') | KeyCode::Up => at.saturating_sub(1),
        KeyCode::PageDown => at.saturating_add(PAGE),
        KeyCode::PageUp => at.saturating_sub(PAGE),
        KeyCode::Char('g') | KeyCode::Home => 0,
        _ => return false,
    }
    .min(last);
    true
}
