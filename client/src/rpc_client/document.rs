//! What the daemon answers and tells: the documents of the command line's `--json`, as far as they are shown. Members that
//! are not known here are passed by.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;

use crate::text::printable_line;

/// Those of several documents that are of a kind.
pub(crate) trait Document: DeserializeOwned {
    /// The "type" of such a document.
    const TYPE: &'static str;

    /// Whether documents of a type are such.
    fn is_type(name: &str) -> bool {
        name == Self::TYPE
    }

    /// All of them, in order. What is not one is passed by.
    fn all(documents: Vec<Value>) -> Vec<Self> {
        let is_one = |document: &Value| document.get("type").and_then(Value::as_str).is_some_and(Self::is_type);
        documents.into_iter().filter(is_one).filter_map(|document| serde_json::from_value(document).ok()).collect()
    }
}

/// An id, a number or a time, which are texts in documents.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(text: D) -> Result<T, D::Error> {
    String::deserialize(text)?.parse().map_err(D::Error::custom)
}

/// This account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Own {
    #[serde(deserialize_with = "parsed")]
    pub(crate) id: Address,
    pub(crate) name: String,
}

impl Document for Own {
    const TYPE: &'static str = "account";
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Contact {
    #[serde(deserialize_with = "parsed")]
    pub(crate) account: Address,
    pub(crate) name: String,
    /// `asked`, `contact` or `blocked`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) verified: bool,
}

impl Document for Contact {
    const TYPE: &'static str = "contact";
}

/// A message, as the history has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Message {
    #[serde(deserialize_with = "parsed")]
    pub(crate) conversation: Address,
    /// Its number.
    #[serde(deserialize_with = "parsed")]
    pub(crate) cursor: u64,
    pub(crate) outgoing: bool,
    #[serde(deserialize_with = "parsed")]
    pub(crate) id: MessageId,
    /// RFC 3339, UTC.
    pub(crate) sent: String,
    #[serde(default)]
    pub(crate) arrived: String,
    /// The other side's messages that are missing before it.
    #[serde(default)]
    pub(crate) missing_before: u64,
    #[serde(default = "text")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) reply_to: Option<ReplyTo>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) edited: bool,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) deleted: bool,
    #[serde(default)]
    pub(crate) reactions: Vec<Reaction>,
    #[serde(default)]
    pub(crate) expires_at: Option<String>,
    /// `queued`, `stored`, `failed`, `delivered` or `read`, of what was sent from here.
    #[serde(default)]
    pub(crate) state: Option<String>,
    /// How many nodes have signed that they keep it.
    #[serde(default)]
    pub(crate) stored: Option<u64>,
}

impl Document for Message {
    const TYPE: &'static str = "message";

    fn is_type(name: &str) -> bool {
        // What was found is less of the same.
        name == Self::TYPE || name == "search.result"
    }
}

/// The kind of what does not say it.
fn text() -> String {
    "text".to_owned()
}

/// Whether something is so, or since when.
fn truth<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(!matches!(Value::deserialize(value)?, Value::Null | Value::Bool(false)))
}

/// What a message answers: its id, perhaps with its words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum ReplyTo {
    Id(String),
    Words {
        id: String,
        #[serde(default)]
        body: Option<String>,
    },
}

impl ReplyTo {
    /// The message's id, as it is written.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Words { id, .. } => id,
        }
    }

    /// Its words, where they are said.
    pub(crate) fn words(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Words { body, .. } => body.as_deref(),
        }
    }
}

/// What somebody feels about a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Reaction {
    /// An account id, or a name.
    pub(crate) by: String,
    pub(crate) emoji: String,
}

/// A request to talk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Request {
    #[serde(deserialize_with = "parsed")]
    pub(crate) id: MessageId,
    #[serde(deserialize_with = "parsed")]
    pub(crate) account: Address,
    /// `in` or `out`.
    pub(crate) direction: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) introduction: String,
    #[serde(default)]
    pub(crate) ts: String,
}

impl Document for Request {
    const TYPE: &'static str = "request";
}

/// What both sides must see alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct SafetyNumber {
    #[serde(deserialize_with = "parsed")]
    pub(crate) account: Address,
    pub(crate) digits: String,
    pub(crate) verified: bool,
}

impl Document for SafetyNumber {
    const TYPE: &'static str = "safety_number";
}

impl SafetyNumber {
    /// Two lines of six groups.
    pub(crate) fn lines(&self) -> [String; 2] {
        let digits: Vec<char> = self.digits.chars().filter(char::is_ascii_digit).collect();
        let groups: Vec<String> = digits.chunks(5).map(|group| group.iter().collect()).collect();
        let line = |skip| groups.iter().skip(skip).take(6).map(String::as_str).collect::<Vec<_>>().join(" ");
        [line(0), line(6)]
    }
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Path {
    pub(crate) hops: Vec<Hop>,
}

impl Document for Path {
    const TYPE: &'static str = "path";
}

/// A node on a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Hop {
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) region: Option<String>,
}

/// How a message was sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Sent {
    #[serde(deserialize_with = "parsed")]
    pub(crate) id: MessageId,
    /// `stored` or `queued`.
    pub(crate) state: String,
    pub(crate) stored: u64,
    pub(crate) wanted: u64,
    #[serde(default)]
    pub(crate) recipients: Vec<To>,
}

impl Document for Sent {
    const TYPE: &'static str = "send.result";
}

/// A recipient, and why it was not reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct To {
    #[serde(deserialize_with = "parsed")]
    pub(crate) to: Address,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// Where a message is, of what was sent from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    Queued,
    /// It is not tried any more.
    Failed,
    Stored(u64),
    Delivered,
    Read,
}

impl SendState {
    /// Nodes that sign for a message that is stored well.
    pub(crate) const WANTED: usize = crate::network::storing::WANTED;

    /// What a document says; nothing if it does not say it.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        match message.state.as_deref()? {
            "stored" => Some(Self::Stored(message.stored.unwrap_or_default())),
            "failed" => Some(Self::Failed),
            "delivered" => Some(Self::Delivered),
            "read" => Some(Self::Read),
            _ => Some(Self::Queued),
        }
    }
}

impl Display for SendState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Queued => f.write_str("queued"),
            Self::Failed => f.write_str("failed"),
            Self::Stored(0) => f.write_str("stored"),
            Self::Stored(stored) => write!(f, "stored {stored}/{}", Self::WANTED),
            Self::Delivered => f.write_str("delivered"),
            Self::Read => f.write_str("read"),
        }
    }
}

/// What came, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Came {
    #[serde(deserialize_with = "parsed")]
    pub(crate) cursor: u64,
    pub(crate) data: Data,
}

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Data {
    /// An account id; nothing, if it cannot be read.
    #[serde(default)]
    pub(crate) conversation: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) sent: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) session: bool,
    /// The message that it is about, if it is about one.
    #[serde(default)]
    pub(crate) about: Option<String>,
    /// How far a question and its answer are.
    #[serde(default)]
    pub(crate) outcome: Option<String>,
}

impl Data {
    /// What somebody did with an earlier message; nothing, if it is one of its own.
    pub(crate) fn deed(&self) -> Option<String> {
        let words = self.body.as_deref().map_or_else(String::new, printable_line);
        if self.kind == "question" {
            return Some(match self.outcome.as_deref() {
                Some("asked") if !words.is_empty() => format!("asks you, to be sure of you: {words}"),
                Some("same") => "has the same answer: you are verified to each other".to_owned(),
                Some("different") => "has another answer, or somebody stands between: compare the numbers".to_owned(),
                Some("ended") => "does not answer the question".to_owned(),
                _ => "goes on with a question".to_owned(),
            });
        }
        self.about.as_ref()?;
        Some(match self.kind.as_str() {
            "reaction" if words.is_empty() => "takes a reaction back".to_owned(),
            "reaction" => format!("reacts: {words}"),
            "edit" => format!("says instead: {words}"),
            "delete" | "deleted" => "deleted a message".to_owned(),
            kind => printable_line(kind),
        })
    }

    /// With whom.
    pub(crate) fn account(&self) -> Option<Address> {
        self.conversation.as_deref()?.parse().ok()
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Event {
    /// A message.
    #[serde(rename = "message.received")]
    Message(Came),
    /// Somebody asks to talk.
    #[serde(rename = "request.received")]
    Asked(Came),
    /// Somebody who was asked wants to.
    #[serde(rename = "request.accepted")]
    Accepted(Came),
    /// A message is on its way.
    #[serde(rename = "send.progress")]
    Step(Step),
    /// What became of a message.
    #[serde(rename = "send.result")]
    Sent(Sent),
    /// A message is not what it was: its wording, reactions, state, or that it is there.
    #[serde(rename = "message.changed")]
    Changed(Changed),
    /// Somebody has begun to write, or ended.
    #[serde(rename = "typing")]
    Typing(Typing),
    /// The network.
    #[serde(rename = "network")]
    Network(Network),
    /// What was told meanwhile was missed.
    #[serde(rename = "events.missed")]
    Missed {},
    /// Something that is not known here.
    #[serde(other)]
    Newer,
}

impl Event {
    /// What an event says; nothing if it makes no sense.
    pub(crate) fn read(event: Value) -> Option<Self> {
        serde_json::from_value(event).ok()
    }
}

/// A step of sending.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Step {
    /// `path`, `pow` or `stored`.
    pub(crate) phase: String,
    #[serde(default)]
    pub(crate) hops: Vec<String>,
    #[serde(default)]
    pub(crate) stored: u64,
    #[serde(default)]
    pub(crate) wanted: u64,
}

/// Which message changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Changed {
    #[serde(deserialize_with = "parsed")]
    pub(crate) conversation: Address,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Typing {
    #[serde(deserialize_with = "parsed")]
    pub(crate) conversation: Address,
    pub(crate) started: bool,
}

/// How the network is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Network {
    /// `connecting`, `connected` or `interrupted`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) members: u64,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}
