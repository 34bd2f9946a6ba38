mod history;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::time::UnixMillis;

use super::app::{App, Effect, Focus, Input};
use super::conversation::{Compose, PAGE};
use super::views::View;
use crate::rpc_client::fake::{account, came, contact, id, message, request, sent, with};
use crate::rpc_client::{Call, Failure};

/// An app with its daemon: calls are answered from what it has.
pub(super) struct Desk {
    pub(super) app: App,
    /// Everything that went out and was not answered.
    pub(super) calls: Vec<Call>,
}

impl Desk {
    /// With bob (verified) and carol.
    pub(super) fn new() -> Self {
        let mut desk = Self { app: App { now: UnixMillis(1_000_000), ..App::default() }, calls: Vec::new() };
        desk.input(Input::Connected);
        desk.answer(&Call::Own, vec![json!({"type": "account", "name": "alice", "id": account(9).to_string()})]);
        desk.answer(&Call::Contacts, vec![contact(1, "bob"), contact(2, "carol")]);
        desk.answer(&Call::Requests, Vec::new());
        desk
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.app.update(input);
        self.calls.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Call(call) => Some(call.clone()),
            _ => None,
        }));
        effects
    }

    /// Answers a call that was made.
    pub(super) fn answer(&mut self, call: &Call, documents: Vec<Value>) {
        self.end(call, Ok(documents));
    }

    fn fail(&mut self, call: &Call, failure: Failure) {
        self.end(call, Err(failure));
    }

    fn end(&mut self, call: &Call, result: Result<Vec<Value>, Failure>) {
        let at =
            self.calls.iter().position(|made| made == call).unwrap_or_else(|| panic!("{call:?} of {:?}", self.calls));
        let call = self.calls.remove(at);
        self.input(Input::Answered(Box::new((call, result))));
    }

    /// Answers the newest page of somebody.
    pub(super) fn page(&mut self, byte: u8, documents: Vec<Value>) {
        self.answer(&history(byte, None), documents);
    }

    pub(super) fn key(&mut self, code: KeyCode) -> Vec<Effect> {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn control(&mut self, c: char) -> Vec<Effect> {
        self.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.key(KeyCode::Char(c));
        }
    }

    fn draft(&self) -> &str {
        self.app.conversation().unwrap().draft.text()
    }

    fn unread(&self, byte: u8) -> usize {
        self.app.conversations.iter().find(|conversation| conversation.account == account(byte)).unwrap().unread.len()
    }

    fn has(&self, call: &Call) -> bool {
        self.calls.contains(call)
    }
}

pub(super) fn history(byte: u8, before: Option<u64>) -> Call {
    Call::History { account: account(byte), limit: PAGE, before }
}

fn send(byte: u8, text: &str) -> Call {
    Call::Send { account: account(byte), text: text.to_owned(), reply_to: None }
}

fn keep(byte: u8, text: &str) -> Call {
    Call::KeepDraft { account: account(byte), text: text.to_owned() }
}

pub(super) fn messages(numbers: std::ops::Range<u8>) -> Vec<Value> {
    numbers.map(|number| message(1, number, number.is_multiple_of(2), &format!("message {number}"))).collect()
}

fn chosen(desk: &Desk) -> Option<Address> {
    desk.app.chosen
}

#[test]
fn what_is_written_stays_through_escape_other_conversations_and_the_end() {
    let mut desk = Desk::new();
    assert_eq!(chosen(&desk), Some(account(1)));
    desk.key(KeyCode::Enter);
    desk.text("hello b");
    desk.key(KeyCode::Esc);
    assert_eq!((desk.draft(), desk.app.focus), ("hello b", Focus::Messages));
    assert!(desk.has(&keep(1, "hello b")), "{:?}", desk.calls);
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('j'));
    assert_eq!((chosen(&desk), desk.draft()), (Some(account(2)), ""));
    desk.key(KeyCode::Enter);
    desk.text("hello c");
    let effects = desk.control('c');
    assert_eq!(effects.last(), Some(&Effect::Quit));
    assert!(desk.has(&keep(2, "hello c")), "kept before the end: {:?}", desk.calls);
    desk.key(KeyCode::Tab);
    desk.key(KeyCode::Char('k'));
    assert_eq!(desk.draft(), "hello b");
}

#[test]
fn a_draft_of_the_store_is_there_again_unless_something_newer_was_typed() {
    let mut desk = Desk::new();
    let draft = |byte| Call::Draft { account: account(byte) };
    desk.answer(&draft(1), vec![json!({"type": "draft", "text": "from yesterday"})]);
    assert_eq!(desk.draft(), "from yesterday");
    desk.key(KeyCode::Char('j'));
    desk.key(KeyCode::Enter);
    desk.text("new");
    desk.answer(&draft(2), vec![json!({"type": "draft", "text": "old"})]);
    assert_eq!(desk.draft(), "new");
    // A daemon without drafts is not asked for ever.
    let mut desk = Desk::new();
    desk.fail(&draft(1), Failure { code: -32601, ..Failure::default() });
    desk.key(KeyCode::Enter);
    desk.text("x");
    desk.input(Input::Tick(UnixMillis(2_000_000)));
    assert!(!desk.has(&keep(1, "x")) && desk.app.notice.is_none());
}

#[test]
fn a_message_is_shown_as_queued_until_there_is_evidence() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..3));
    desk.key(KeyCode::Enter);
    desk.text("hi");
    desk.key(KeyCode::Enter);
    assert_eq!((desk.draft(), desk.app.conversation().unwrap().sending.len()), ("", 1));
    desk.input(Input::Told(json!({"v": 1, "type": "send.progress", "phase": "path", "hops": ["07", "31", "44"]})));
    assert_eq!(desk.app.hops, ["07", "31", "44"]);
    desk.answer(&send(1, "hi"), vec![sent(1, 3, "stored")]);
    assert_eq!(desk.app.conversation().unwrap().sending.len(), 0);
    let stored = with(message(1, 3, true, "hi"), json!({"state": "stored", "stored": 3}));
    desk.page(1, [messages(1..3), vec![stored]].concat());
    let last = desk.app.conversation().unwrap().messages.last().unwrap();
    assert_eq!(crate::rpc_client::SendState::of(last).unwrap().to_string(), "stored 3/3");
}

#[test]
fn what_could_not_be_queued_is_still_to_be_written_and_what_was_is_not_written_twice() {
    let mut desk = Desk::new();
    desk.key(KeyCode::Enter);
    desk.text("one");
    desk.key(KeyCode::Enter);
    desk.text("two");
    let failure = Failure { message: "too long".to_owned(), ..Failure::default() };
    desk.fail(&send(1, "one"), failure.clone());
    assert_eq!(desk.draft(), "one\ntwo");
    assert!(desk.app.notice.as_ref().unwrap().text.contains("too long"));
    desk.key(KeyCode::Enter);
    desk.fail(&send(1, "one\ntwo"), Failure { documents: vec![sent(1, 5, "queued")], ..failure });
    assert_eq!(desk.draft(), "");
}

#[test]
fn when_the_daemon_goes_away_nothing_that_was_written_is_lost_or_sent_twice() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..3));
    desk.key(KeyCode::Enter);
    for text in ["one", "two"] {
        desk.text(text);
        desk.key(KeyCode::Enter);
    }
    desk.text("three");
    desk.input(Input::Lost("gone".to_owned()));
    for text in ["one", "two"] {
        desk.fail(&send(1, text), Failure { is_gone: true, ..Failure::default() });
    }
    // Without a daemon nothing is sent, and the text stays.
    desk.key(KeyCode::Enter);
    assert_eq!(desk.draft(), "three");
    desk.calls.clear();
    desk.input(Input::Connected);
    desk.page(1, [messages(1..3), vec![message(1, 4, true, "one")]].concat());
    assert_eq!(desk.draft(), "two\nthree");
}

#[test]
fn a_message_of_another_conversation_leaves_what_is_typed_alone_and_is_counted() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..3));
    desk.key(KeyCode::Enter);
    desk.text("typing to b");
    let effects = desk.input(Input::Told(came(2, 20, "psst")));
    assert!(effects.contains(&Effect::Bell));
    assert_eq!((chosen(&desk), desk.draft(), desk.app.focus), (Some(account(1)), "typing to b", Focus::Input));
    assert_eq!((desk.unread(2), desk.unread(1)), (1, 0));
    // It is first in the list now, and nothing is said to be seen.
    assert_eq!(desk.app.conversations[0].account, account(2));
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::Acknowledge { cursor } if *cursor >= 20)));
    desk.input(Input::Told(came(1, 21, "hi")));
    assert_eq!((desk.unread(1), desk.app.unread()), (0, 1));
    // Behind what was not seen nothing is.
    assert!(!desk.has(&Call::Acknowledge { cursor: 21 }));
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('u'));
    assert_eq!((chosen(&desk), desk.unread(2)), (Some(account(2)), 0));
    assert!(desk.has(&Call::Acknowledge { cursor: 21 }));
}

#[test]
fn what_somebody_does_with_an_earlier_message_is_said_and_is_no_message() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..3));
    let mut reaction = came(1, 20, "👍\u{1b}");
    reaction["data"]["kind"] = json!("reaction");
    reaction["data"]["about"] = json!(id(2).to_string());
    desk.input(Input::Told(reaction));
    assert_eq!((desk.unread(1), desk.app.notice.as_ref().unwrap().text.as_str()), (0, "bob reacts: 👍\u{fffd}"));
    assert!(desk.has(&history(1, None)) && desk.has(&Call::Acknowledge { cursor: 20 }));
}

#[test]
fn looking_at_the_list_reads_nothing() {
    let mut desk = Desk::new();
    desk.input(Input::Told(came(1, 7, "hi")));
    assert_eq!((desk.app.focus, desk.unread(1)), (Focus::List, 1));
    desk.key(KeyCode::Char('l'));
    assert_eq!(desk.unread(1), 0);
    assert!(desk.has(&Call::Acknowledge { cursor: 7 }));
}

#[test]
fn whoever_writes_is_said_to_until_something_came_or_a_minute_passed() {
    let mut desk = Desk::new();
    let typing = |started| {
        Input::Told(json!({"v": 1, "type": "typing", "conversation": account(1).to_string(), "started": started}))
    };
    let writes = |desk: &Desk| desk.app.conversation().unwrap().typing_until.is_some();
    desk.input(typing(true));
    assert!(writes(&desk));
    desk.input(typing(false));
    assert!(!writes(&desk));
    desk.input(typing(true));
    desk.input(Input::Told(came(1, 5, "hi")));
    assert!(!writes(&desk));
    desk.input(typing(true));
    desk.input(Input::Tick(UnixMillis(1_000_000 + 59_999)));
    assert!(writes(&desk));
    desk.input(Input::Tick(UnixMillis(1_000_000 + 60_000)));
    assert!(!writes(&desk));
}

#[test]
fn pasted_text_is_text_and_never_keys() {
    let mut desk = Desk::new();
    let effects = desk.input(Input::Paste("q".to_owned()));
    assert!(!effects.contains(&Effect::Quit));
    desk.key(KeyCode::Enter);
    desk.input(Input::Paste("one\r\ntwo\u{1b}".to_owned()));
    assert_eq!(desk.draft(), "one\ntwo");
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::Send { .. })));
}

#[test]
fn strangers_are_shown_and_have_a_bound() {
    let mut desk = Desk::new();
    let before = desk.app.conversations.len();
    for stranger in 10..=255 {
        desk.input(Input::Told(came(stranger, u64::from(stranger), "buy")));
    }
    assert_eq!(desk.app.conversations.len(), before + 100);
}
