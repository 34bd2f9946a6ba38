//! Questions that are answered in a line, or with a key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::content::MessageId;

use super::app::{App, Focus};
use super::field::Field;
use super::views::View;
use crate::rpc_client::Call;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What to search for; in one conversation, or in all.
    Search { account: Option<Address> },
    /// What one feels about a message.
    React { account: Address, message: MessageId },
    /// Whom to ask to talk.
    Whom,
    /// Who one is, for whoever is asked.
    Words { account: Address },
    /// What to call whoever asks.
    Name { request: MessageId },
    /// For whom to delete a message.
    Delete { account: Address, message: MessageId, is_own: bool },
    /// Whether the safety number was compared.
    Compared { account: Address },
    /// What to ask a contact that only it knows.
    Memory { account: Address },
    /// What the right answer is.
    RightAnswer { account: Address, question: String },
    /// What one answers.
    Answer { account: Address },
    /// Whether to decline, and to block.
    Decline { request: MessageId },
}

impl Question {
    /// As it is asked.
    pub(super) const fn text(&self) -> &'static str {
        match self {
            Self::Search { account: Some(_) } => "Search here: ",
            Self::Search { account: None } => "Search all: ",
            Self::React { .. } => "Reaction (empty takes it back): ",
            Self::Whom => "Ask whom (account id): ",
            Self::Words { .. } => "A few words about you: ",
            Self::Name { .. } => "Call this contact: ",
            Self::Delete { is_own: true, .. } => "Delete: m for me, e for everyone, Esc keeps it",
            Self::Delete { is_own: false, .. } => "Delete: m for me, Esc keeps it",
            Self::Compared { .. } => "Did you compare all digits, by voice or face to face? y, or Esc",
            Self::Memory { .. } => "What only you two know (they read it): ",
            Self::RightAnswer { .. } => "The answer (they do not see it): ",
            Self::Answer { .. } => "Your answer (empty refuses): ",
            Self::Decline { .. } => "Decline: d only, b and block the sender, Esc leaves it",
        }
    }

    /// Whether a key answers it.
    pub(super) const fn takes_key(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::Compared { .. } | Self::Decline { .. })
    }
}

/// A question with what was typed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) question: Question,
    pub(super) field: Field,
}

impl App {
    /// Asks; what was typed the last time, and left, is there again.
    pub(super) fn put(&mut self, question: Question, text: &str) {
        let left = self.left.take().filter(|left| left.question == question);
        self.prompt = Some(left.unwrap_or_else(|| Prompt { question, field: Field::new(text) }));
    }

    /// A key while something is asked.
    pub(super) fn prompt_key(&mut self, key: KeyEvent) {
        let Some(prompt) = self.prompt.as_mut() else { return };
        match key.code {
            KeyCode::Esc => self.left = self.prompt.take(),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.left = self.prompt.take(),
            KeyCode::Char(c) if prompt.question.takes_key() => {
                if let Some(prompt) = self.prompt.take() {
                    self.chosen_by_key(&prompt.question, c);
                }
            }
            KeyCode::Enter if !prompt.question.takes_key() => {
                if let Some(prompt) = self.prompt.take() {
                    self.answered_prompt(prompt);
                }
            }
            _ => super::keys::edit(&mut prompt.field, key),
        }
    }

    fn chosen_by_key(&mut self, question: &Question, key: char) {
        match (question, key) {
            (Question::Delete { account, message, .. }, 'm') => {
                self.ask(Call::Delete { account: *account, message: *message, everyone: false });
            }
            (Question::Delete { account, message, is_own: true }, 'e') => {
                self.ask(Call::Delete { account: *account, message: *message, everyone: true });
            }
            (Question::Compared { account }, 'y') => self.ask(Call::Confirm { account: *account }),
            (Question::Decline { request }, 'd' | 'b') => {
                self.ask(Call::Decline { request: *request, block: key == 'b' });
            }
            _ => self.say("nothing was changed"),
        }
    }

    fn answered_prompt(&mut self, prompt: Prompt) {
        let text = prompt.field.text().trim().to_owned();
        match prompt.question {
            Question::Search { account } if !text.is_empty() => self.ask(Call::Search { account, text }),
            Question::Search { .. } => {}
            Question::React { account, message } => self.ask(Call::React { account, message, emoji: text }),
            Question::Whom => match account_id(&text) {
                Some(account) => self.put(Question::Words { account }, ""),
                None => {
                    self.left = Some(Prompt { question: Question::Whom, ..prompt });
                    self.say("an account id has 66 digits and begins with 05; n asks again");
                }
            },
            Question::Words { account } => {
                // Until it has worked, the words are not lost.
                self.left = Some(Prompt { question: Question::Words { account }, field: prompt.field });
                self.ask(Call::Ask { account, words: text });
            }
            Question::Name { request } => {
                let name = (!text.is_empty()).then_some(text);
                self.ask(Call::Accept { request, name });
            }
            Question::Memory { account } if !text.is_empty() => {
                self.put(Question::RightAnswer { account, question: text }, "");
            }
            Question::Memory { .. } => {}
            Question::RightAnswer { account, question } if text.is_empty() => {
                self.say("without an answer nothing is asked");
                self.left = Some(Prompt { question: Question::RightAnswer { account, question }, ..prompt });
            }
            Question::RightAnswer { account, question } => {
                self.ask(Call::Question { account, question, answer: text });
            }
            Question::Answer { account } => self.ask(Call::Answer { account, answer: text }),
            Question::Delete { .. } | Question::Compared { .. } | Question::Decline { .. } => {}
        }
    }

    /// Asks what to call whoever asks to talk.
    pub(super) fn ask_name(&mut self, at: usize) {
        let Some(request) = self.requests.get(at) else { return };
        let (id, name) = (request.id, request.name.clone());
        self.put(Question::Name { request: id }, &name);
    }

    /// Asks what to search for: where the messages are, there; where all are listed, in all.
    pub(super) fn ask_search(&mut self) {
        let account = if self.focus == Focus::List { None } else { self.chosen };
        let again = match &self.view {
            View::Found { text, .. } => text.clone(),
            _ => String::new(),
        };
        self.put(Question::Search { account }, &again);
    }
}

/// An account id as it is written, with or without "sotto:" before it, in whatever case.
fn account_id(text: &str) -> Option<Address> {
    let text = text.to_ascii_lowercase();
    let id: Address = text.strip_prefix("sotto:").unwrap_or(&text).parse().ok()?;
    (id.kind() == AddressKind::AccountInbox).then_some(id)
}
