//! How what changed besides new mail is told.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{MessageId, Typing};

use crate::conversation::{Change, Notice};

/// For programs: `typing`, or `message.changed` with what became of which messages.
pub(super) fn document(own: &Address, notice: &Notice) -> Value {
    let (account, conversation) = (own.to_string(), notice.account.to_string());
    if let Change::Typing(typing) = &notice.change {
        let started = *typing == Typing::Started;
        return json!({
            "v": 1, "type": "typing", "account": account, "conversation": conversation, "started": started,
        });
    }
    let ids: Vec<_> = ids(&notice.change).iter().map(ToString::to_string).collect();
    json!({
        "v": 1, "type": "message.changed", "account": account, "conversation": conversation,
        "change": kind(&notice.change), "ids": ids,
    })
}

/// For people; nothing of what is shown as mail, too.
pub(super) fn line(name: &str, change: &Change) -> Option<String> {
    match change {
        Change::Typing(Typing::Started) => Some(format!("{name} is writing")),
        Change::Typing(Typing::Stopped) => Some(format!("{name} has stopped writing")),
        Change::Delivered(ids) | Change::Read(ids) | Change::Expired(ids) => {
            Some(format!("{name}: {} {}", kind(change), ids.len()))
        }
        Change::Edited(_) | Change::Deleted(_) | Change::Reacted(_) | Change::Timer | Change::Question(_) => None,
    }
}

/// In one word.
const fn kind(change: &Change) -> &'static str {
    match change {
        Change::Edited(_) => "edited",
        Change::Deleted(_) => "deleted",
        Change::Reacted(_) => "reacted",
        Change::Delivered(_) => "delivered",
        Change::Read(_) => "read",
        Change::Typing(_) => "typing",
        Change::Timer => "timer",
        Change::Expired(_) => "expired",
        Change::Question(_) => "question",
    }
}

fn ids(change: &Change) -> &[MessageId] {
    match change {
        Change::Edited(id) | Change::Deleted(id) | Change::Reacted(id) => std::slice::from_ref(id),
        Change::Delivered(ids) | Change::Read(ids) | Change::Expired(ids) => ids,
        Change::Typing(_) | Change::Timer | Change::Question(_) => &[],
    }
}
