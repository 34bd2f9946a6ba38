//! What the daemon answers.

use sotto_proto::address::Address;

use super::app::App;
use super::conversation::Compose;
use super::views::View;
use crate::rpc_client::{
    Answered, Call, Contact, Document as _, Failure, Message, OnionPath, Own, Request, SafetyNumber, Sent,
};
use crate::text::printable_line;

/// Conversations whose last words are asked for at the start.
const PREVIEWS: usize = 30;

impl App {
    /// Takes in an answer.
    pub(super) fn answered(&mut self, (call, result): Answered) {
        match result {
            Ok(documents) => self.done(call, documents),
            Err(failure) => self.failed(call, &failure),
        }
    }

    fn done(&mut self, call: Call, documents: Vec<serde_json::Value>) {
        match call {
            Call::Own => self.own = Own::all(documents).pop(),
            Call::Contacts => self.know(&Contact::all(documents)),
            Call::History { account, limit, before } => {
                self.take_page(&account, Message::all(documents), limit, before);
            }
            Call::Search { text, .. } => {
                let mut hits = Message::all(documents);
                // The newest first, as whoever searches wants it.
                hits.sort_by(|a, b| b.sent.cmp(&a.sent));
                self.view = View::Found { text, hits, at: 0 };
            }
            Call::Send { account, text, .. } => {
                self.step = None;
                if let Some(conversation) = self.with(&account) {
                    conversation.sent(&text);
                }
                self.reload(&account);
            }
            Call::React { account, .. } | Call::Edit { account, .. } | Call::Delete { account, .. } => {
                self.reload(&account);
            }
            Call::Requests => self.requests = Request::all(documents),
            Call::Ask { account, .. } => {
                self.left = None;
                self.say(format!("{} is asked; it is a contact once it accepts", account.short()));
                self.ask(Call::Contacts);
            }
            Call::Accept { request, .. } => {
                let sender = self.requests.iter().find(|waiting| waiting.id == request).map(|waiting| waiting.account);
                self.say("accepted; compare the safety number with v");
                self.ask(Call::Contacts);
                self.ask(Call::Requests);
                if let Some(sender) = sender {
                    self.view = View::Talk;
                    let _ = self.with_new(&sender); // what is known of it comes with the contacts
                    self.choose(sender);
                }
            }
            Call::Decline { .. } => {
                self.say("declined; the other side is told nothing");
                self.ask(Call::Requests);
            }
            Call::SafetyNumber { .. } => {
                if let Some(number) = SafetyNumber::all(documents).pop() {
                    self.view = View::Number(number);
                }
            }
            Call::Confirm { account } => {
                self.view = View::Talk;
                let name = self.called(&account);
                self.say(format!("✓ {} is verified", printable_line(&name)));
                self.ask(Call::Contacts);
            }
            Call::Question { account, .. } => {
                self.left = None;
                self.view = View::Talk;
                let name = self.called(&account);
                self.say(format!("{} is asked", printable_line(&name)));
            }
            Call::Answer { answer, .. } => {
                self.left = None;
                self.view = View::Talk;
                self.say(if answer.is_empty() { "refused" } else { "answered; whether it is the same comes soon" });
            }
            Call::Path => {
                if let Some(path) = OnionPath::all(documents).pop() {
                    self.view = View::Path(path);
                }
            }
            Call::Draft { account } => self.take_draft(&account, &documents),
            Call::KeepDraft { .. } | Call::Acknowledge { .. } => {}
        }
    }

    fn know(&mut self, contacts: &[Contact]) {
        let is_first = self.conversations.is_empty();
        self.conversations.retain(|conversation| {
            // Whoever is forgotten is gone from the list; who never was a contact stays while it is looked at.
            conversation.state.is_none() || contacts.iter().any(|contact| contact.account == conversation.account)
        });
        for contact in contacts {
            // The first contacts are many: whoever has been looked for in vain is new.
            let known = if is_first { None } else { self.with(&contact.account) };
            match known {
                Some(conversation) => conversation.learn(contact),
                None => {
                    let mut conversation = super::conversation::Conversation::new(contact.account);
                    conversation.learn(contact);
                    self.conversations.push(conversation);
                }
            }
        }
        self.sort();
        if self.place().is_none() {
            self.chosen = None;
        }
        if is_first {
            let previews: Vec<Address> =
                self.conversations.iter().take(PREVIEWS).map(|conversation| conversation.account).collect();
            for account in previews {
                self.ask(Call::History { account, limit: 1, before: None });
            }
        }
        if self.chosen.is_none()
            && let Some(first) = self.conversations.first().map(|conversation| conversation.account)
        {
            self.choose(first);
        }
    }

    fn take_page(&mut self, account: &Address, page: Vec<Message>, limit: usize, before: Option<u64>) {
        let Some(conversation) = self.with(account) else { return };
        if limit == 1 {
            // The last words only; whoever looks at it loads more.
            if let (Some(last), true) = (page.last(), conversation.messages.is_empty()) {
                conversation.last = (last.sent.clone(), super::conversation::words(last));
            }
            self.sort();
            return;
        }
        match before {
            None => conversation.take_newest(page, limit),
            Some(_) => conversation.take_older(page, limit),
        }
        let again = conversation.loaded();
        let is_found = conversation.go_on_seeking();
        self.sort();
        if again {
            self.reload(account);
        } else if !is_found {
            self.load_older(account);
        }
    }

    fn take_draft(&mut self, account: &Address, documents: &[serde_json::Value]) {
        let draft = documents.first().and_then(|document| document.get("text")).and_then(serde_json::Value::as_str);
        let Some(conversation) = self.with(account) else { return };
        let draft = draft.unwrap_or_default();
        // What was typed meanwhile is newer.
        if conversation.compose == Compose::New && conversation.draft.text().is_empty() && conversation.kept.is_empty()
        {
            draft.clone_into(&mut conversation.kept);
            conversation.draft = super::field::Field::new(draft);
        }
    }

    fn failed(&mut self, call: Call, failure: &Failure) {
        match &call {
            Call::Draft { .. } | Call::KeepDraft { .. } if failure.is_unknown() => {
                self.forgets_drafts = true;
                return;
            }
            // What is nowhere to be found was never written.
            Call::Draft { .. } => return,
            Call::History { account, limit, before } if *limit > 1 => self.page_failed(account, before.is_some()),
            Call::Send { account, text, .. } => self.send_failed(account, text, failure),
            Call::Edit { account, text, .. } => {
                if let Some(conversation) = self.with(account) {
                    conversation.put_back(text);
                }
            }
            _ => {}
        }
        // Which is said elsewhere.
        if failure.is_gone {
            return;
        }
        let what = if failure.is_unknown() {
            format!("the daemon does not know {:?}", call.method())
        } else {
            printable_line(&failure.message)
        };
        let hint = failure.hint.as_deref().map_or_else(String::new, |hint| format!("  ({})", printable_line(hint)));
        self.say(format!("✗ {what}{hint}"));
    }

    fn page_failed(&mut self, account: &Address, was_older: bool) {
        let Some(conversation) = self.with(account) else { return };
        let again = conversation.loaded();
        // What is before a message that is gone meanwhile is asked for anew, from the end.
        if again || was_older {
            self.reload(account);
        }
    }

    /// A message that was queued goes with the next; one that was not is still to be written.
    fn send_failed(&mut self, account: &Address, text: &str, failure: &Failure) {
        // Once the daemon is there again, its history says whether it has it.
        if failure.is_gone {
            return;
        }
        self.step = None;
        let is_queued = !Sent::all(failure.documents.clone()).is_empty();
        if let Some(conversation) = self.with(account) {
            conversation.sent(text);
            if !is_queued {
                conversation.put_back(text);
            }
        }
        self.reload(account);
    }
}
