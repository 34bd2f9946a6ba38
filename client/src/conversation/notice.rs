//! What else changed with what came, for programs that show it.

use sotto_proto::address::Address;
use sotto_proto::content::{MessageId, RunId, Typing};

/// Something changed besides what is new in the inbox. Nothing of this is kept: whoever was not there reads the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// In the conversation with whom.
    pub account: Address,
    /// What.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message has other words.
    Edited(MessageId),
    /// A message was deleted by its sender.
    Deleted(MessageId),
    /// There are other signs beside a message.
    Reacted(MessageId),
    /// The other side says that messages came.
    Delivered(Vec<MessageId>),
    /// The other side says that messages were read.
    Read(Vec<MessageId>),
    /// The other side writes, or no more. Worth something for a minute.
    Typing(Typing),
    /// Messages disappear after another time.
    Timer,
    /// Messages have disappeared.
    Expired(Vec<MessageId>),
    /// A verification by question and answer went on, perhaps to its end.
    Question(RunId),
}

impl Notice {
    pub(super) const fn new(account: Address, change: Change) -> Self {
        Self { account, change }
    }
}
