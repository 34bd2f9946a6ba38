//! What is asked of the daemon: the commands of the command line, as its methods.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;

/// Messages that a search shows at most.
const FOUND: usize = 100;

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// This account.
    Own,
    /// All contacts.
    Contacts,
    /// What was said with somebody: the last so many, before the message of a number.
    History {
        account: Address,
        limit: usize,
        before: Option<u64>,
    },
    /// What of it contains a text; without an account, of everything.
    Search {
        account: Option<Address>,
        text: String,
    },
    /// Says something.
    Send {
        account: Address,
        text: String,
        reply_to: Option<MessageId>,
    },
    React {
        account: Address,
        message: MessageId,
        /// Nothing takes it back.
        emoji: String,
    },
    Edit {
        account: Address,
        message: MessageId,
        text: String,
    },
    Delete {
        account: Address,
        message: MessageId,
        everyone: bool,
    },
    /// Requests that wait for an answer.
    Requests,
    /// Asks somebody to talk.
    Ask {
        account: Address,
        words: String,
    },
    Accept {
        request: MessageId,
        /// What to call it.
        name: Option<String>,
    },
    Decline {
        request: MessageId,
        block: bool,
    },
    /// The safety number.
    SafetyNumber {
        account: Address,
    },
    /// It was compared.
    Confirm {
        account: Address,
    },
    /// Asks a contact something that only it knows.
    Question {
        account: Address,
        question: String,
        answer: String,
    },
    /// Answers what a contact has asked; nothing refuses to.
    Answer {
        account: Address,
        answer: String,
    },
    /// The path that messages take.
    Path,
    /// What was written to somebody and not sent.
    Draft {
        account: Address,
    },
    /// Keeps it; nothing, if the text is empty.
    KeepDraft {
        account: Address,
        text: String,
    },
    /// Everything up to this number was seen.
    Acknowledge {
        cursor: u64,
    },
}

impl Call {
    /// Its method.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Own => "account.show",
            Self::Contacts => "contact.list",
            Self::History { .. } | Self::Search { account: Some(_), .. } => "history",
            Self::Search { account: None, .. } => "search",
            Self::Send { .. } => "send",
            Self::React { .. } => "message.react",
            Self::Edit { .. } => "message.edit",
            Self::Delete { .. } => "message.delete",
            Self::Requests => "request.list",
            Self::Ask { .. } => "request.send",
            Self::Accept { .. } => "request.accept",
            Self::Decline { .. } => "request.decline",
            Self::SafetyNumber { .. } => "verify.show",
            Self::Confirm { .. } => "verify.confirm",
            Self::Question { .. } => "verify.ask",
            Self::Answer { .. } => "verify.answer",
            Self::Path => "path.show",
            Self::Draft { .. } | Self::KeepDraft { .. } => "contact.draft",
            Self::Acknowledge { .. } => "events.ack",
        }
    }

    /// Its parameters.
    pub(crate) fn params(&self) -> Value {
        match self {
            Self::Own | Self::Contacts | Self::Path => json!({}),
            Self::History { account, limit, before } => {
                json!({"contact": account.to_string(), "limit": limit, "before": before.map(|number| number.to_string())})
            }
            Self::Search { account: Some(account), text } => {
                json!({"contact": account.to_string(), "search": text, "limit": FOUND})
            }
            Self::Search { account: None, text } => json!({"text": text, "limit": FOUND}),
            Self::Send { account, text, reply_to } => with(
                json!({"recipients": [account.to_string()], "message": text}),
                "replyTo",
                reply_to.map(|id| json!(id.to_string())),
            ),
            Self::React { account, message, emoji } if emoji.is_empty() => {
                json!({"contact": account.to_string(), "id": message.to_string(), "remove": true})
            }
            Self::React { account, message, emoji } => {
                json!({"contact": account.to_string(), "id": message.to_string(), "emoji": emoji})
            }
            Self::Edit { account, message, text } => {
                json!({"contact": account.to_string(), "id": message.to_string(), "message": text})
            }
            Self::Delete { account, message, everyone } => with(
                json!({"contact": account.to_string(), "id": message.to_string(), "yes": true}),
                "everyone",
                everyone.then_some(json!(true)),
            ),
            Self::Requests => json!({"incoming": true}),
            Self::Ask { account, words } => json!({"recipient": account.to_string(), "message": words}),
            Self::Accept { request, name } => {
                with(json!({"request": request.to_string()}), "name", name.as_ref().map(|name| json!(name)))
            }
            Self::Decline { request, block } => json!({"request": request.to_string(), "block": block}),
            Self::SafetyNumber { account } | Self::Confirm { account } => json!({"contact": account.to_string()}),
            Self::Question { account, question, answer } => {
                json!({"contact": account.to_string(), "question": question, "answers": [answer]})
            }
            Self::Answer { account, answer } if answer.is_empty() => {
                json!({"contact": account.to_string(), "refuse": true})
            }
            Self::Answer { account, answer } => json!({"contact": account.to_string(), "answers": [answer]}),
            Self::Draft { account } => json!({"contact": account.to_string(), "action": "show"}),
            Self::KeepDraft { account, text } if text.is_empty() => {
                json!({"contact": account.to_string(), "action": "clear"})
            }
            Self::KeepDraft { account, text } => {
                json!({"contact": account.to_string(), "action": "set", "text": text})
            }
            Self::Acknowledge { cursor } => json!({"cursor": cursor.to_string()}),
        }
    }
}

/// A parameter only where it says something: a daemon that does not have it refuses it.
fn with(mut params: Value, name: &str, value: Option<Value>) -> Value {
    if let (Some(params), Some(value)) = (params.as_object_mut(), value) {
        params.insert(name.to_owned(), value);
    }
    params
}
