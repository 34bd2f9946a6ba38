//! What the daemon answers.

use serde_json::Value;
use sotto_proto::content::MessageId;

use super::{SHORT, Said, Session};
use crate::rpc_client::{
    Answered, Call, Contact, Document as _, Failure, Message, OnionPath, Request, SafetyNumber, SendState, Sent,
};
use crate::text::{printable, printable_line};

impl Session {
    /// Takes in an answer.
    pub(in crate::chat) fn answered(&mut self, (call, result): Answered) -> Said {
        match result {
            Ok(documents) => self.done(call, documents),
            Err(failure) => self.failed(&call, &failure),
        }
    }

    fn done(&mut self, call: Call, documents: Vec<Value>) -> Said {
        match call {
            Call::Contacts => self.know(Contact::all(documents)),
            Call::Requests => self.ask(Request::all(documents)),
            Call::History { account, .. } => {
                let messages = Message::all(documents);
                if messages.is_empty() {
                    return Said::line("nothing was said yet");
                }
                for message in &messages {
                    self.remember(account, message.id);
                }
                Said { lines: messages.iter().map(|message| self.shown(message)).collect(), calls: Vec::new() }
            }
            Call::Search { account, .. } => {
                let found = Message::all(documents);
                for message in
                    found.iter().filter(|message| account.is_none_or(|account| account == message.conversation))
                {
                    self.remember(message.conversation, message.id);
                }
                if found.is_empty() {
                    return Said::line("nothing was found");
                }
                Said { lines: found.iter().map(|message| self.shown(message)).collect(), calls: Vec::new() }
            }
            Call::Send { account, .. } => {
                let Some(sent) = Sent::all(documents).pop() else { return Said::line("✓ sent") };
                self.remember(account, sent.id);
                if sent.state == "stored" {
                    return Said::line(format!("✓ stored {}/{}", sent.stored, sent.wanted));
                }
                let why = sent.recipients.into_iter().find_map(|to| to.error).unwrap_or_default();
                Said::line(format!("… queued, and tried again: {}", printable_line(&why)))
            }
            Call::Ask { account, .. } => {
                Said::line(format!("✓ {} is asked; it is a contact once it accepts", account.short()))
                    .and(Call::Contacts)
            }
            Call::Accept { .. } => Said::line("✓ accepted; compare the safety number: @NAME, then /verify")
                .and(Call::Contacts)
                .and(Call::Requests),
            Call::Decline { .. } => Said::line("✓ declined; the other side is told nothing").and(Call::Requests),
            Call::SafetyNumber { .. } => self.number(SafetyNumber::all(documents)),
            Call::Confirm { account } => {
                Said::line(format!("✓ {} is verified", self.called(&account))).and(Call::Contacts)
            }
            Call::Question { account, .. } => Said::line(format!("✓ {} is asked", self.called(&account))),
            Call::Answer { answer, .. } if answer.is_empty() => Said::line("✓ refused"),
            Call::Answer { .. } => Said::line("✓ answered; whether it is the same answer comes soon"),
            Call::Path => match OnionPath::all(documents).pop() {
                Some(path) => {
                    let hops: Vec<String> = path.hops.iter().map(|hop| printable_line(&hop.node)).collect();
                    Said::line(format!("you → {} → swarm", hops.join(" → ")))
                }
                None => Said::line("there is no path"),
            },
            Call::React { .. } | Call::Edit { .. } | Call::Delete { .. } => Said::line("✓"),
            Call::Own | Call::Draft { .. } | Call::KeepDraft { .. } | Call::Acknowledge { .. } => Said::default(),
        }
    }

    /// Contacts are shown where they were asked for, and at first found there is whom plain lines are for.
    fn know(&mut self, contacts: Vec<Contact>) -> Said {
        let shows = std::mem::take(&mut self.shows_contacts);
        self.contacts = contacts;
        if let Some(with) = self.with.take() {
            return self.to(&with).unwrap_or_else(|wrong| self.fail(wrong));
        }
        if !shows {
            return Said::default();
        }
        if self.contacts.is_empty() {
            return Said::line("nobody yet: /ask ID WORDS");
        }
        let lines = self.contacts.iter().map(|contact| {
            let verified = if contact.verified { "  ✓ verified" } else { "" };
            let state = if contact.state == "contact" { String::new() } else { format!("  ({})", contact.state) };
            format!("{}{state}{verified}", printable_line(&contact.name))
        });
        Said { lines: lines.collect(), calls: Vec::new() }
    }

    fn ask(&mut self, requests: Vec<Request>) -> Said {
        let shows = std::mem::take(&mut self.shows_requests);
        self.requests = requests;
        match (shows, self.requests.len()) {
            (false, 0) => Said::default(),
            (false, count) if self.is_terminal => Said::line(format!("* {count} asking to talk: /requests")),
            (false, _) => Said::default(),
            (true, 0) => Said::line("nobody asks at the moment"),
            (true, _) => {
                let lines = self.requests.iter().enumerate().map(|(at, request)| {
                    let (name, words) = (printable_line(&request.name), printable_line(&request.introduction));
                    format!("{}  {name} ({})  “{words}”", at + 1, request.account)
                });
                Said { lines: lines.collect(), calls: Vec::new() }
            }
        }
    }

    fn number(&self, mut numbers: Vec<SafetyNumber>) -> Said {
        let Some(number) = numbers.pop() else { return Said::line("there is no number") };
        let name = self.called(&number.account);
        let mut lines: Vec<String> = number.lines().into();
        lines.push(if number.verified {
            format!("{name} is verified")
        } else {
            format!("{name} must see the same: compare by voice or face to face, then: /verify confirm")
        });
        Said { lines, calls: Vec::new() }
    }

    /// A message of the history.
    fn shown(&self, message: &Message) -> String {
        let id: String = message.id.to_string().chars().take(SHORT).collect();
        let who = if message.outgoing { "you".to_owned() } else { self.called(&message.conversation) };
        let time = message.sent.get(..16).unwrap_or_default().replace('T', " ");
        let text = match &message.body {
            _ if message.deleted => "[deleted]".to_owned(),
            Some(body) => printable(body),
            None => format!("[{}]", printable_line(&message.kind)),
        };
        let mut about = Vec::new();
        if let Some(reply) = &message.reply_to {
            about.push(format!("answers {}", printable_line(reply.id().get(..SHORT).unwrap_or_default())));
        }
        if message.edited {
            about.push("edited".to_owned());
        }
        if let Some(state) = SendState::of(message).filter(|_| message.outgoing) {
            about.push(state.to_string());
        }
        about.extend(message.reactions.iter().map(|reaction| printable_line(&reaction.emoji)));
        let about = if about.is_empty() { String::new() } else { format!("  ({})", about.join(", ")) };
        let gap = match message.missing_before {
            0 => String::new(),
            1 => "… 1 message missing …\n".to_owned(),
            missing => format!("… {missing} messages missing …\n"),
        };
        format!("{gap}{id}  {time}  {who}: {text}{about}")
    }

    fn failed(&mut self, call: &Call, failure: &Failure) -> Said {
        // Whoever waits for the next event is told that there is no daemon.
        if failure.is_gone {
            return Said::default();
        }
        // A message that could not be stored yet is kept, and not lost.
        let queued: Vec<MessageId> = Sent::all(failure.documents.clone()).into_iter().map(|sent| sent.id).collect();
        if let (Call::Send { account, .. }, Some(id)) = (call, queued.first()) {
            self.remember(*account, *id);
        }
        let hint = failure.hint.as_deref().map_or_else(String::new, |hint| format!("  ({})", printable_line(hint)));
        let what = if failure.is_unknown() {
            format!("the daemon does not know {:?}", call.method())
        } else {
            printable_line(&failure.message)
        };
        self.fail(format!("{what}{hint}"))
    }
}
