//! What the daemon tells.

use serde_json::Value;
use sotto_proto::address::Address;
use sotto_proto::time::UnixMillis;

use super::app::{App, Effect};
use crate::rpc_client::{Call, Came, Event};
use crate::text::printable_line;

/// As long as nothing else is said, somebody writes.
const TYPING_MS: u64 = 60_000;
/// Unread messages of a conversation that are counted.
const UNREAD: usize = 1000;

impl App {
    /// Takes in an event.
    pub(super) fn told(&mut self, event: Value) {
        match Event::read(event) {
            Some(Event::Message(came)) => self.message_came(&came),
            Some(Event::Asked(came)) => {
                self.newest = self.newest.max(came.cursor);
                self.effects.push(Effect::Bell);
                self.say("somebody asks to talk: R shows it");
                self.ask(Call::Requests);
            }
            Some(Event::Accepted(came)) => {
                self.newest = self.newest.max(came.cursor);
                let name = came.data.name.unwrap_or_default();
                self.say(format!("{} has accepted your request", printable_line(&name)));
                self.ask(Call::Contacts);
            }
            Some(Event::Step(step)) => match step.phase.as_str() {
                "path" => self.hops = step.hops,
                "pow" => self.step = Some("work …".to_owned()),
                "stored" => self.step = Some(format!("stored {}/{}", step.stored, step.wanted)),
                _ => {}
            },
            Some(Event::Sent(sent)) => {
                self.step = None;
                for to in &sent.recipients {
                    self.changed(&to.to);
                }
            }
            Some(Event::Changed(changed)) => self.changed(&changed.conversation),
            Some(Event::Typing(typing)) => {
                let until = typing.started.then_some(UnixMillis(self.now.0.saturating_add(TYPING_MS)));
                if let Some(conversation) = self.with(&typing.conversation) {
                    conversation.typing_until = until;
                }
            }
            Some(Event::Network(network)) => self.network = network,
            Some(Event::Missed {}) => {
                self.ask(Call::Contacts);
                self.ask(Call::Requests);
                self.reload_chosen();
            }
            Some(Event::Newer) | None => {}
        }
    }

    fn message_came(&mut self, came: &Came) {
        self.newest = self.newest.max(came.cursor);
        let data = &came.data;
        let Some(account) = data.account() else {
            self.say("a message of a newer version came; this one cannot read it");
            return;
        };
        if let Some(deed) = data.deed() {
            let name = self.called(&account);
            self.say(format!("{name} {deed}"));
            self.changed(&account);
            return;
        }
        let Some(conversation) = self.with_new(&account) else {
            self.say("messages of too many strangers; sotto recv shows them");
            return;
        };
        conversation.typing_until = None;
        if conversation.unread.len() < UNREAD {
            conversation.unread.insert(came.cursor);
        }
        let mut words = data.body.clone().unwrap_or_else(|| format!("[{}]", data.kind));
        if !data.session {
            words = format!("(without a session) {words}");
        }
        let is_new_contact = data.name.is_some() && conversation.state.is_none();
        if conversation.last.0 <= data.sent {
            conversation.last = (data.sent.clone(), words);
        }
        self.effects.push(Effect::Bell);
        self.sort();
        self.changed(&account);
        if is_new_contact {
            self.ask(Call::Contacts);
        }
    }

    /// Something in a conversation is not as it was: what is loaded of it is loaded anew.
    fn changed(&mut self, account: &Address) {
        let is_loaded = self.with(account).is_some_and(|conversation| !conversation.messages.is_empty());
        if is_loaded || self.chosen == Some(*account) {
            self.reload(account);
        }
    }
}
