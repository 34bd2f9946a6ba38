//! What became of a message, as it is shown: other words, signs, what it answers, when it disappears, how far it is.

use serde_json::{Map, Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Emoji, Expiry, ExpiryStart, MessageId};
use sotto_proto::time::UnixMillis;

use super::status::rfc3339;
use crate::network::storing::WANTED;
use crate::store::{OutboxState, RowState, StoreError, Transaction};
use crate::text::printable_line;

/// Characters of a message that stand for it where it is answered.
const QUOTED: usize = 40;
/// Digits of an id that stand for it.
const SHORT: usize = 8;

/// What became of a message.
#[derive(Debug, Default)]
pub(super) struct Details {
    is_edited: bool,
    is_deleted: bool,
    /// Signs, with whether they were put there from here.
    reactions: Vec<(bool, Emoji)>,
    /// When it disappears.
    expires: Option<UnixMillis>,
    /// After what time it disappears once it was read.
    unread: Option<Expiry>,
    /// What it answers, and the first words of that.
    reply: Option<(MessageId, Option<String>)>,
    /// How far it is, if it was said from here, and how many nodes keep it.
    delivery: Option<(OutboxState, usize)>,
}

impl Details {
    pub(super) fn look_up(
        tx: &Transaction<'_>,
        account: &Address,
        outgoing: bool,
        content: &Content,
    ) -> Result<Self, StoreError> {
        let present = tx.present_of(account, outgoing, &content.id)?;
        let expires = present.as_ref().and_then(|present| present.expires);
        let reply = match &content.body {
            Body::Text(text) => text.reply_to(),
            _ => None,
        };
        Ok(Self {
            is_edited: present.as_ref().is_some_and(|present| present.edited.is_some()),
            is_deleted: is_deleted(content),
            reactions: tx.reactions(account, &content.id)?,
            expires,
            unread: content.expiry.filter(|_| expires.is_none()),
            reply: reply.map(|id| Ok::<_, StoreError>((id, first_words(tx, account, &id)?))).transpose()?,
            delivery: if outgoing { tx.delivery_of(&content.id)? } else { None },
        })
    }

    /// For programs.
    pub(super) fn members(&self, own: &Address, account: &Address) -> Map<String, Value> {
        let by = |outgoing: bool| if outgoing { own.to_string() } else { account.to_string() };
        let reactions: Vec<_> = self
            .reactions
            .iter()
            .map(|(outgoing, emoji)| json!({"by": by(*outgoing), "emoji": emoji.as_str()}))
            .collect();
        let mut members = Map::new();
        let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        add("reply_to", self.reply.as_ref().map(|(id, _)| id.to_string()).into());
        add("edited", self.is_edited.into());
        add("deleted", self.is_deleted.into());
        add("reactions", reactions.into());
        add("expires_at", self.expires.map(rfc3339).into());
        if let Some((state, stored)) = self.delivery {
            add("state", state_name(state).into());
            add("stored", stored.into());
            add("wanted", WANTED.into());
        }
        members
    }

    /// For people, before its words.
    pub(super) fn quote(&self) -> String {
        match &self.reply {
            None => String::new(),
            Some((id, None)) => format!("↩ {}  ", short(id)),
            Some((_, Some(words))) => format!("↩ \"{words}\"  "),
        }
    }

    /// For people, behind its words: all in one pair of brackets, or nothing. `name` is what the other side is called.
    pub(super) fn remarks(&self, name: &str) -> String {
        let mut remarks = Vec::new();
        if self.is_edited {
            remarks.push("edited".to_owned());
        }
        for (outgoing, emoji) in &self.reactions {
            remarks.push(format!("{} {}", printable_line(emoji.as_str()), if *outgoing { "you" } else { name }));
        }
        match (self.expires, self.unread) {
            (Some(at), _) => remarks.push(format!("disappears {}", rfc3339(at))),
            (None, Some(expiry)) => remarks.push(format!("disappears {}", timer_words(Some(expiry)))),
            (None, None) => {}
        }
        match self.delivery {
            Some((OutboxState::Stored, stored)) => remarks.push(format!("stored {stored}/{WANTED}")),
            Some((state, _)) => remarks.push(state_name(state).to_owned()),
            None => {}
        }
        if remarks.is_empty() { String::new() } else { format!("  ({})", remarks.join(" · ")) }
    }
}

/// Whether nothing is left of a message but that it was deleted.
pub(super) fn is_deleted(content: &Content) -> bool {
    matches!(content.body, Body::Delete(of) if of == content.id)
}

/// The beginning of an id: enough to name it.
pub(super) fn short(id: &MessageId) -> String {
    id.to_string().chars().take(SHORT).collect()
}

/// The first words of a message, if it is there.
pub(super) fn first_words(
    tx: &Transaction<'_>,
    account: &Address,
    id: &MessageId,
) -> Result<Option<String>, StoreError> {
    let shown = tx.present(account, id)?.into_iter().find(|present| present.state == RowState::Shown);
    Ok(shown.and_then(|present| match &present.content.body {
        Body::Text(text) => Some(beginning(text.as_str())),
        _ => None,
    }))
}

fn beginning(text: &str) -> String {
    let line = printable_line(text.lines().next().unwrap_or_default());
    let is_whole = line.chars().count() <= QUOTED && text.lines().nth(1).is_none();
    let words: String = line.chars().take(QUOTED).collect();
    if is_whole { words } else { format!("{words}…") }
}

/// The name of how far a message is, for programs.
pub(super) const fn state_name(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Queued | OutboxState::Working => "queued",
        OutboxState::Stored => "stored",
        OutboxState::Failed => "failed",
        OutboxState::Delivered => "delivered",
        OutboxState::Read => "read",
    }
}

/// After what time messages disappear, in words.
pub(super) fn timer_words(expiry: Option<Expiry>) -> String {
    let Some(expiry) = expiry else { return "never".to_owned() };
    let time = humantime::format_duration(std::time::Duration::from_secs(expiry.seconds().into()));
    match expiry.start() {
        ExpiryStart::Sent => format!("{time} after it was sent"),
        ExpiryStart::Read => format!("{time} after it was read"),
    }
}

/// The same for programs.
pub(super) fn timer_document(expiry: Option<Expiry>) -> Value {
    expiry.map_or(Value::Null, |expiry| {
        json!({"seconds": expiry.seconds(), "after": if expiry.start() == ExpiryStart::Sent { "sent" } else { "read" }})
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_message_is_one_line_and_says_whether_there_is_more() {
        assert_eq!(beginning("hello"), "hello");
        assert_eq!(beginning("one\ntwo"), "one…");
        assert_eq!(beginning(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
        assert_eq!(beginning("a\u{1b}[2J"), "a\u{fffd}[2J");
    }

    #[test]
    fn remarks_stand_behind_the_words_and_only_where_there_is_something_to_remark() {
        assert_eq!(Details::default().remarks("carol"), "");
        let details = Details {
            is_edited: true,
            reactions: vec![(false, Emoji::new("👍".to_owned()).unwrap())],
            expires: Some(UnixMillis(0)),
            delivery: Some((OutboxState::Stored, 2)),
            reply: Some((MessageId::new([0xab; 16]), None)),
            ..Details::default()
        };
        assert_eq!(
            details.remarks("carol"),
            "  (edited · 👍 carol · disappears 1970-01-01T00:00:00.000Z · stored 2/3)"
        );
        assert_eq!(details.quote(), "↩ abababab  ");
        let address = |byte: &str| format!("05{}", byte.repeat(32)).parse::<Address>().unwrap();
        let (own, other) = (address("aa"), address("bb"));
        let members = Value::Object(details.members(&own, &other));
        assert_eq!(members["reactions"], json!([{"by": other.to_string(), "emoji": "👍"}]));
        assert_eq!(
            (&members["state"], &members["stored"], &members["edited"]),
            (&json!("stored"), &json!(2), &json!(true))
        );
        assert_eq!(members["expires_at"], json!("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn a_timer_is_said_in_words_and_in_seconds() {
        let expiry = |start| Some(Expiry::new(start, 5400).unwrap());
        assert_eq!(timer_words(expiry(ExpiryStart::Sent)), "1h 30m after it was sent");
        assert_eq!(timer_words(expiry(ExpiryStart::Read)), "1h 30m after it was read");
        assert_eq!(timer_words(None), "never");
        assert_eq!(timer_document(expiry(ExpiryStart::Read)), json!({"seconds": 5400, "after": "read"}));
    }
}
