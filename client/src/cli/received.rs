//! How what came is shown, and told to programs.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Emoji, MessageId, Question, Reaction, Step};

use super::details::{Details, first_words, is_deleted, short, timer_document, timer_words};
use super::request::arrived;
use super::status::rfc3339;
use crate::store::{InboxMessage, Letter, RequestState, RunState, StoreError, Transaction};
use crate::text::{printable, printable_line, quoted};

/// The kind, for programs, of what is sealed in a way that this version cannot read.
const NEWER_KIND: &str = "newer";
/// What is shown of what this version cannot read.
const NEWER: &str = "a message of a newer version";

/// What is known here of the sender, and of the request if it is one.
#[derive(Default)]
pub(super) struct Known {
    /// What it is called, if it is a contact.
    name: Option<String>,
    /// Whether its safety number was compared.
    is_verified: bool,
    /// What became of the request.
    request: Option<RequestState>,
    /// Whether this side has asked it as well.
    is_asked: bool,
    /// What became of the message since it came.
    details: Details,
    /// The first words of the message that it is about.
    about: Option<String>,
    /// How far the verification is that it belongs to.
    run: Option<RunState>,
}

impl Known {
    pub(super) fn look_up(tx: &Transaction<'_>, message: &InboxMessage) -> Result<Self, StoreError> {
        let Letter::Message { sender, content, .. } = &message.letter else { return Ok(Self::default()) };
        let name = tx.contact(sender)?.map(|contact| contact.name);
        let is_verified = tx.verified(sender)?.is_some();
        let about = match &content.body {
            Body::Edit(edit) => first_words(tx, sender, &edit.of)?,
            Body::Reaction(reaction) => first_words(tx, sender, &reaction.to)?,
            _ => None,
        };
        let run = match &content.body {
            Body::Question(question) => {
                let asked = matches!(question.step, Step::Answer { .. } | Step::Refuse);
                let run = match tx.question(sender, &question.run, asked)? {
                    Some(run) => Some(run),
                    None => tx.question(sender, &question.run, !asked)?,
                };
                run.map(|run| run.state)
            }
            _ => None,
        };
        let details = Details::look_up(tx, sender, false, content)?;
        let known = Self { name, is_verified, details, about, run, ..Self::default() };
        let Body::Request(_) = content.body else { return Ok(known) };
        Ok(Self {
            request: tx.request(&content.id)?.map(|request| request.state),
            is_asked: !tx.requests_of(sender, true)?.is_empty(),
            ..known
        })
    }
}

/// The name of what is said, for programs.
pub(super) fn kind(content: &Content) -> &'static str {
    match &content.body {
        Body::Announce(_) => "accepted",
        Body::Delete(_) if is_deleted(content) => "deleted",
        body => body.kind(),
    }
}

/// One document, for programs. `own` is the account that it came to.
pub(super) fn document(own: &Address, message: &InboxMessage, known: &Known) -> Value {
    let data = match &message.letter {
        Letter::Newer { .. } => json!({"kind": NEWER_KIND}),
        Letter::Message { sender, device, session, content } => {
            let id = sender.to_string();
            let (body, request) = match &content.body {
                Body::Text(text) => (Some(text.as_str()), None),
                Body::Edit(edit) => (Some(edit.text.as_str()), None),
                Body::Reaction(reaction) => (reaction.emoji.as_ref().map(Emoji::as_str), None),
                Body::Question(Question { step: Step::Ask { question, .. }, .. }) => (Some(question.as_str()), None),
                Body::Request(request) => (
                    Some(request.introduction()),
                    Some(json!({
                        "name": request.name(), "renewal": request.renewal(),
                        "waiting": known.request == Some(RequestState::Waiting),
                    })),
                ),
                _ => (None, None),
            };
            let about = match &content.body {
                Body::Edit(edit) => Some(edit.of),
                Body::Reaction(reaction) => Some(reaction.to),
                Body::Delete(of) => Some(*of),
                _ => None,
            };
            let mut data = json!({
                "conversation": id, "sender": id, "sender_device": device, "name": known.name,
                "id": content.id.to_string(), "sent": rfc3339(content.sent), "kind": kind(content), "body": body,
                "request": request, "attachments": [], "verified": known.is_verified, "session": session.is_some(),
                "about": about.map(|id| id.to_string()),
            });
            if let Some(data) = data.as_object_mut() {
                data.extend(known.details.members(own, sender));
                if let Body::Timer(expiry) = &content.body {
                    data.insert("timer".to_owned(), timer_document(*expiry));
                }
                if let Body::Question(question) = &content.body {
                    data.insert("run".to_owned(), hex::encode(question.run.as_bytes()).into());
                    data.insert("outcome".to_owned(), known.run.map(outcome_name).into());
                }
            }
            data
        }
    };
    json!({
        "v": 1, "type": event(&message.letter), "id": message.record.to_string(), "ts": rfc3339(message.received),
        "account": own.to_string(), "cursor": message.number.0.to_string(), "data": data,
    })
}

const fn event(letter: &Letter) -> &'static str {
    match letter {
        Letter::Message { content: Content { body: Body::Request(_), .. }, .. } => "request.received",
        Letter::Message { content: Content { body: Body::Announce(_), .. }, .. } => "request.accepted",
        Letter::Message { .. } | Letter::Newer { .. } => "message.received",
    }
}

/// A line, for people; more where a text has more.
pub(super) fn line(message: &InboxMessage, known: &Known) -> String {
    let Letter::Message { sender, session, content, .. } = &message.letter else {
        return format!("{}  [{NEWER}]", rfc3339(message.received));
    };
    let called = known.name.as_deref().map_or_else(|| sender.to_string(), printable_line);
    let words = match &content.body {
        // Whoever has this account's key can write so in anybody's name, which nobody can in a session.
        Body::Text(text) if known.name.is_some() && session.is_none() => {
            format!("{called} (without a session)  {}", printable(text.as_str()))
        }
        Body::Text(text) => {
            let (quote, remarks) = (known.details.quote(), known.details.remarks(&called));
            format!("{called}  {quote}{}{remarks}", printable(text.as_str()))
        }
        Body::Request(request) => match known.request {
            Some(RequestState::Accepted) if request.renewal() => {
                format!("{called} begins anew: its sessions are gone, its account is the same")
            }
            Some(RequestState::Accepted) if known.is_asked => {
                format!("{called} has asked you, too: you are contacts now")
            }
            state => arrived(sender, (&content.id, request), state),
        },
        Body::Announce(_) => format!("{called} has accepted your request"),
        Body::Newer(_) => format!("{called}  [{NEWER}]"),
        Body::Edit(edit) => {
            format!("{called}  edited {}: {}", named(&edit.of, known), printable(edit.text.as_str()))
        }
        Body::Reaction(Reaction { to, emoji: Some(emoji) }) => {
            format!("{called}  {} to {}", printable_line(emoji.as_str()), named(to, known))
        }
        Body::Reaction(Reaction { to, emoji: None }) => {
            format!("{called}  took back a sign from {}", named(to, known))
        }
        Body::Delete(_) if is_deleted(content) => format!("{called}  [deleted]"),
        Body::Delete(of) => format!("{called}  deleted {}", named(of, known)),
        Body::Timer(expiry) => format!("{called}  has set that messages disappear: {}", timer_words(*expiry)),
        Body::Question(question) => asked(&called, question, known),
        // Of what says nothing to people, the name.
        body => format!("{called}  [{}]", body.kind()),
    };
    format!("{}  {words}", rfc3339(content.sent))
}

/// The message that something is about, as people know it.
fn named(id: &MessageId, known: &Known) -> String {
    known.about.as_ref().map_or_else(|| short(id), |words| format!("\"{words}\""))
}

/// A step of a verification by question and answer.
fn asked(called: &str, question: &Question, known: &Known) -> String {
    match (&question.step, known.run) {
        (Step::Ask { question, .. }, Some(RunState::Asked)) => {
            let name = known.name.as_deref().unwrap_or_default();
            let text = printable_line(question.as_str());
            format!("{called} asks you, to be sure of you: {text}   answer: sotto verify answer {}", quoted(name))
        }
        (Step::Ask { question, .. }, _) => format!("{called} asked you: {}", printable_line(question.as_str())),
        (_, Some(RunState::Same)) => format!("✓ {called} has the same answer: you are verified to each other"),
        (_, Some(RunState::Different)) => {
            format!("✗ {called} has another answer, or somebody stands between; compare: sotto verify show")
        }
        (_, Some(RunState::Ended)) => format!("{called} does not answer the question"),
        _ => format!("{called}  [question]"),
    }
}

/// How far a verification is, for programs.
const fn outcome_name(state: RunState) -> &'static str {
    match state {
        RunState::Asked => "asked",
        RunState::Answered => "answered",
        RunState::Same => "same",
        RunState::Different => "different",
        RunState::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::content::{Announcement, Request, Text};
    use sotto_proto::id::{PublicKey, RecordId, X25519Key};
    use sotto_proto::limits::SIGNED_BUNDLE_BYTES;
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::crypto::SessionTag;
    use crate::store::InboxNumber;

    const AT: &str = "1970-01-01T00:00:01.000Z";

    fn sender() -> Address {
        format!("05{}", "cd".repeat(32)).parse().unwrap()
    }

    fn text() -> Body {
        Body::Text(Text::new("one\ntwo\u{1b}".to_owned()).unwrap())
    }

    fn request(renewal: bool) -> Body {
        let bundles = vec![vec![7; SIGNED_BUNDLE_BYTES]];
        Body::Request(Request::new("Carol".to_owned(), "hi".to_owned(), bundles, renewal).unwrap())
    }

    fn announcement() -> Body {
        let (mailbox, key) = (Address::mailbox(&PublicKey::new([6; 32])), X25519Key::new([9; 32]));
        Body::Announce(Announcement::new(mailbox, key, 1, "carol".to_owned()).unwrap())
    }

    fn came(session: bool, body: Body) -> InboxMessage {
        let content = Content::new(MessageId::new([0xab; 16]), UnixMillis(1000), body);
        let session = session.then(|| SessionTag::new([3; 16]));
        inbox(Letter::Message { sender: sender(), device: 2, session, content })
    }

    fn inbox(letter: Letter) -> InboxMessage {
        InboxMessage {
            number: InboxNumber(17),
            record: RecordId::new([1; 32]),
            received: UnixMillis(2000),
            letter,
            shown: false,
        }
    }

    fn carol(request: Option<RequestState>, is_asked: bool) -> Known {
        Known { name: Some("carol".to_owned()), is_verified: true, request, is_asked, ..Known::default() }
    }

    #[test]
    fn a_contact_is_called_by_its_name_and_a_stranger_by_its_id() {
        let (known, stranger) = (carol(None, false), Known::default());
        assert_eq!(line(&came(true, text()), &known), format!("{AT}  carol  one\n    two\u{fffd}"));
        assert_eq!(line(&came(false, text()), &stranger), format!("{AT}  {}  one\n    two\u{fffd}", sender()));
        assert_eq!(line(&came(true, announcement()), &known), format!("{AT}  carol has accepted your request"));
        let newer = came(true, Body::Newer(Vec::new()));
        assert_eq!(line(&newer, &known), format!("{AT}  carol  [a message of a newer version]"));
        let delete = came(true, Body::Delete(MessageId::new([2; 16])));
        assert_eq!(line(&delete, &known), format!("{AT}  carol  deleted 02020202"));
        let deleted = came(true, Body::Delete(MessageId::new([0xab; 16])));
        assert_eq!(line(&deleted, &known), format!("{AT}  carol  [deleted]"));
        let newer = inbox(Letter::Newer { kind: 9, body: Vec::new() });
        assert_eq!(line(&newer, &stranger), "1970-01-01T00:00:02.000Z  [a message of a newer version]");
    }

    #[test]
    fn a_contacts_text_that_came_by_no_session_says_so() {
        let shown = line(&came(false, text()), &carol(None, false));
        assert_eq!(shown, format!("{AT}  carol (without a session)  one\n    two\u{fffd}"));
    }

    #[test]
    fn a_request_says_what_became_of_it_and_not_what_might_have() {
        let state = |state| line(&came(false, request(false)), &carol(Some(state), false));
        let asked = format!("{AT}  request from Carol ({})  \"hi\"", sender());
        assert_eq!(state(RequestState::Waiting), format!("{asked}  accept: sotto request accept abababab"));
        assert_eq!(state(RequestState::Accepted), format!("{asked}  accepted"));
        assert_eq!(state(RequestState::Declined), format!("{asked}  declined"));
        assert_eq!(line(&came(false, request(false)), &Known::default()), format!("{asked}  expired"));
        let crossing = line(&came(false, request(false)), &carol(Some(RequestState::Accepted), true));
        assert_eq!(crossing, format!("{AT}  carol has asked you, too: you are contacts now"));
        let renewed = line(&came(false, request(true)), &carol(Some(RequestState::Accepted), false));
        assert_eq!(renewed, format!("{AT}  carol begins anew: its sessions are gone, its account is the same"));
        // Too often of late: it waits for the user, as a stranger's would.
        let waits = line(&came(false, request(true)), &carol(Some(RequestState::Waiting), false));
        assert_eq!(waits, format!("{asked}  accept: sotto request accept abababab"));
    }

    #[test]
    fn programs_are_told_who_by_which_device_and_in_a_session_or_not() {
        let own = format!("05{}", "ef".repeat(32)).parse().unwrap();
        let told = document(&own, &came(true, text()), &carol(None, false));
        let expected = json!({
            "v": 1, "type": "message.received", "id": "01".repeat(32), "ts": "1970-01-01T00:00:02.000Z",
            "account": own.to_string(), "cursor": "17",
            "data": {
                "conversation": sender().to_string(), "sender": sender().to_string(), "sender_device": 2,
                "name": "carol", "id": "ab".repeat(16), "sent": AT, "kind": "text", "body": "one\ntwo\u{1b}",
                "request": null, "reply_to": null, "attachments": [], "expires_at": null, "verified": true,
                "session": true, "about": null, "edited": false, "deleted": false, "reactions": [],
            },
        });
        assert_eq!(told, expected);
        let known = Known { request: Some(RequestState::Waiting), ..Known::default() };
        let asked = document(&own, &came(false, request(false)), &known);
        assert_eq!((&asked["type"], &asked["data"]["session"]), (&json!("request.received"), &json!(false)));
        let expected = json!({"name": "Carol", "renewal": false, "waiting": true});
        assert_eq!((&asked["data"]["request"], &asked["data"]["body"]), (&expected, &json!("hi")));
        let accepted = document(&own, &came(true, announcement()), &carol(None, false));
        assert_eq!((&accepted["type"], &accepted["data"]["kind"]), (&json!("request.accepted"), &json!("accepted")));
    }
}
