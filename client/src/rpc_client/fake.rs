//! A daemon that says what a test has it say, and the documents of one.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::id::X25519Key;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, ReadHalf, WriteHalf, split};
use tokio::net::UnixStream;

use super::{Client, Events};

/// The daemon's end of a connection.
pub(crate) struct Fake {
    lines: Lines<BufReader<ReadHalf<UnixStream>>>,
    writer: WriteHalf<UnixStream>,
}

/// A connection with a fake.
pub(crate) fn connect() -> ((Client, Events), Fake) {
    let (stream, served) = UnixStream::pair().unwrap();
    let (reader, writer) = split(served);
    (Client::over(stream), Fake { lines: BufReader::new(reader).lines(), writer })
}

impl Fake {
    /// The next call: its id, method and parameters; nothing when the client is gone.
    pub(crate) async fn next(&mut self) -> Option<(u64, String, Value)> {
        let line = self.lines.next_line().await.unwrap()?;
        let call: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(call["jsonrpc"], "2.0", "{line}");
        let method = call["method"].as_str().unwrap().to_owned();
        Some((call["id"].as_u64().unwrap(), method, call["params"].clone()))
    }

    pub(crate) async fn answer(&mut self, id: u64, result: Value) {
        self.line(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()).await;
    }

    pub(crate) async fn fail(&mut self, id: u64, error: Value) {
        self.line(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()).await;
    }

    pub(crate) async fn tell(&mut self, event: Value) {
        self.line(&json!({"jsonrpc": "2.0", "method": "event", "params": event}).to_string()).await;
    }

    pub(crate) async fn line(&mut self, line: &str) {
        // The client may have gone away.
        let _ = self.writer.write_all(format!("{line}\n").as_bytes()).await;
    }
}

pub(crate) fn account(byte: u8) -> Address {
    Address::account(&X25519Key::new([byte; 32]))
}

pub(crate) fn id(byte: u8) -> MessageId {
    MessageId::new([byte; 16])
}

pub(crate) fn contact(byte: u8, name: &str) -> Value {
    json!({
        "v": 1, "type": "contact", "account": account(byte).to_string(), "name": name, "said_name": null,
        "state": "contact", "since": "2026-11-27T09:00:00.000Z", "verified": byte == 1, "verified_at": null,
    })
}

/// A message with an account; its number is its minute, and its id as well.
pub(crate) fn message(byte: u8, number: u8, outgoing: bool, body: &str) -> Value {
    json!({
        "v": 1, "type": "message", "conversation": account(byte).to_string(), "cursor": number.to_string(),
        "outgoing": outgoing, "device": 1, "id": id(number).to_string(),
        "sent": format!("2026-11-27T10:{number:02}:00.000Z"), "arrived": format!("2026-11-27T10:{number:02}:01.000Z"),
        "sequence": number, "missing_before": 0, "kind": "text", "body": body,
    })
}

/// A document with other members.
pub(crate) fn with(mut document: Value, members: Value) -> Value {
    document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    document
}

/// A message that came from an account.
pub(crate) fn came(byte: u8, cursor: u64, body: &str) -> Value {
    let name = ["bob", "carol"].get(usize::from(byte) - 1);
    json!({
        "v": 1, "type": "message.received", "id": "01".repeat(32), "ts": "2026-11-27T11:00:00.000Z",
        "account": account(9).to_string(), "cursor": cursor.to_string(),
        "data": {
            "conversation": account(byte).to_string(), "sender": account(byte).to_string(), "sender_device": 1,
            "name": name, "id": id(0xee).to_string(), "sent": "2026-11-27T11:00:00.000Z", "kind": "text",
            "body": body, "request": null, "reply_to": null, "attachments": [], "expires_at": null, "verified": true,
            "session": true,
        },
    })
}

/// A request of an account.
pub(crate) fn request(byte: u8, name: &str, introduction: &str) -> Value {
    json!({
        "v": 1, "type": "request", "id": id(byte).to_string(), "account": account(byte).to_string(),
        "direction": "in", "name": name, "introduction": introduction, "renewal": false, "state": "waiting",
        "ts": "2026-11-27T09:00:00.000Z", "expires": "2026-12-11T09:00:00.000Z",
    })
}

pub(crate) fn sent(byte: u8, number: u8, state: &str) -> Value {
    json!({
        "v": 1, "type": "send.result", "id": id(number).to_string(), "state": state, "mode": "offline",
        "stored": if state == "stored" { 3 } else { 0 }, "wanted": 3,
        "recipients": [{"to": account(byte).to_string(), "name": "bob", "ok": state == "stored"}],
    })
}
