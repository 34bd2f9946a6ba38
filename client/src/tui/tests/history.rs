//! What is loaded, what was chosen in it, and what is done with that.

use crossterm::event::KeyCode;
use serde_json::json;

use super::*;

#[test]
fn going_up_loads_what_was_before_once() {
    let mut desk = Desk::new();
    let (older, newer): (Vec<_>, Vec<_>) = (
        (0..30).map(|n| message(1, n, false, "old")).collect(),
        (30..80).map(|n| message(1, n, false, "new")).collect(),
    );
    desk.page(1, newer);
    desk.key(KeyCode::Char('l'));
    desk.key(KeyCode::Char('g'));
    desk.key(KeyCode::Char('k'));
    assert_eq!(desk.calls.iter().filter(|call| **call == history(1, Some(30))).count(), 1);
    desk.answer(&history(1, Some(30)), older);
    let conversation = desk.app.conversation().unwrap();
    assert_eq!((conversation.messages.len(), conversation.is_whole, conversation.selected), (80, true, Some(30)));
    desk.key(KeyCode::Char('g'));
    assert_eq!(desk.app.conversation().unwrap().selected, Some(0));
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::History { before: Some(_), .. })), "there is no more");
    desk.key(KeyCode::Char('G'));
    assert_eq!(desk.app.conversation().unwrap().selected, None);
}

#[test]
fn a_newer_page_replaces_what_it_says_anew_and_leaves_no_hidden_gap() {
    let mut desk = Desk::new();
    desk.page(1, (0..50).map(|n| message(1, n, false, "x")).collect());
    desk.input(Input::Told(
        json!({"v": 1, "type": "message.changed", "conversation": account(1).to_string(), "id": "x"}),
    ));
    let edited = |n| with(message(1, n, false, "x"), json!({"edited": true}));
    desk.page(1, (10..60).map(edited).collect());
    let messages = &desk.app.conversation().unwrap().messages;
    assert_eq!((messages.len(), messages[9].edited, messages[10].edited), (60, false, true));
    // More came than a page holds: what was loaded before does not touch it.
    desk.input(Input::Told(came(1, 99, "x")));
    desk.page(1, (150..200).map(|n| message(1, n, false, "x")).collect());
    let conversation = desk.app.conversation().unwrap();
    assert_eq!((conversation.messages.len(), conversation.is_whole), (50, false));
}

#[test]
fn changes_while_a_page_is_on_its_way_are_asked_for_once_more() {
    let mut desk = Desk::new();
    desk.input(Input::Told(came(1, 7, "a")));
    desk.input(Input::Told(came(1, 8, "b")));
    let asked = |desk: &Desk| desk.calls.iter().filter(|call| **call == history(1, None)).count();
    assert_eq!(asked(&desk), 1);
    desk.page(1, messages(1..3));
    assert_eq!(asked(&desk), 1);
    desk.page(1, messages(1..5));
    assert_eq!(asked(&desk), 0);
}

#[test]
fn replies_and_edits_put_aside_what_was_being_written() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..5));
    desk.key(KeyCode::Enter);
    desk.text("draft");
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('k'));
    desk.key(KeyCode::Char('e'));
    assert_eq!(desk.draft(), "message 4");
    desk.control('g');
    assert_eq!((desk.draft(), &desk.app.conversation().unwrap().compose), ("draft", &Compose::New));
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('e'));
    desk.text("!");
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::KeepDraft { text, .. } if text != "draft")));
    desk.key(KeyCode::Enter);
    assert!(desk.has(&Call::Edit { account: account(1), message: id(4), text: "message 4!".to_owned() }));
    assert_eq!(desk.draft(), "draft");
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('k'));
    desk.key(KeyCode::Char('k'));
    desk.key(KeyCode::Char('e'));
    assert!(desk.app.notice.is_some() && desk.app.focus == Focus::Messages, "others' words are theirs");
    desk.key(KeyCode::Char('r'));
    desk.key(KeyCode::Enter);
    let reply = Call::Send { account: account(1), text: "draft".to_owned(), reply_to: Some(id(3)) };
    assert!(desk.has(&reply), "{:?}", desk.calls);
}

#[test]
fn deleting_and_declining_ask_first() {
    let mut desk = Desk::new();
    desk.page(1, messages(1..4));
    desk.key(KeyCode::Char('l'));
    desk.key(KeyCode::Char('d'));
    desk.key(KeyCode::Char('e'));
    assert!(
        !desk.calls.iter().any(|call| matches!(call, Call::Delete { .. })),
        "nobody deletes others' words for them"
    );
    desk.key(KeyCode::Char('d'));
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('k'));
    desk.key(KeyCode::Char('k'));
    desk.key(KeyCode::Char('d'));
    desk.key(KeyCode::Char('e'));
    assert!(desk.has(&Call::Delete { account: account(1), message: id(2), everyone: true }));
    desk.input(Input::Told(with(came(7, 30, "hi"), json!({"type": "request.received"}))));
    desk.answer(&Call::Requests, vec![request(7, "Dora", "hello")]);
    desk.key(KeyCode::Char('R'));
    desk.key(KeyCode::Char('b'));
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::Decline { .. })));
    desk.key(KeyCode::Char('b'));
    assert!(desk.has(&Call::Decline { request: id(7), block: true }));
}

#[test]
fn a_request_is_accepted_under_a_name_and_its_conversation_opened() {
    let mut desk = Desk::new();
    desk.key(KeyCode::Char('R'));
    desk.answer(&Call::Requests, vec![request(7, "Dora", "hello")]);
    desk.key(KeyCode::Char('a'));
    desk.text(" D");
    desk.key(KeyCode::Enter);
    let accept = Call::Accept { request: id(7), name: Some("Dora D".to_owned()) };
    desk.answer(&accept, vec![json!({"v": 1, "type": "request.accepted"})]);
    desk.answer(&Call::Contacts, vec![contact(1, "bob"), contact(2, "carol"), contact(7, "Dora D")]);
    assert_eq!((chosen(&desk), &desk.app.view), (Some(account(7)), &View::Talk));
    assert_eq!(desk.app.conversation().unwrap().name, "Dora D");
}

#[test]
fn a_question_that_was_left_is_there_again_with_what_was_typed() {
    let mut desk = Desk::new();
    desk.key(KeyCode::Char('n'));
    desk.text("05abc");
    desk.key(KeyCode::Esc);
    desk.key(KeyCode::Char('n'));
    assert_eq!(desk.app.prompt.as_ref().unwrap().field.text(), "05abc");
    desk.key(KeyCode::Enter);
    assert!(desk.app.prompt.is_none() && desk.app.notice.is_some());
    desk.key(KeyCode::Char('n'));
    desk.control('u');
    desk.input(Input::Paste(format!("SOTTO:{}\n", account(5).to_string().to_uppercase())));
    desk.key(KeyCode::Enter);
    desk.text("it is me");
    desk.key(KeyCode::Enter);
    assert!(desk.has(&Call::Ask { account: account(5), words: "it is me".to_owned() }));
}

#[test]
fn what_was_found_is_gone_to_however_far_back_it_is() {
    let mut desk = Desk::new();
    desk.page(1, (100..150).map(|n| message(1, n, false, "new")).collect());
    desk.key(KeyCode::Char('l'));
    desk.key(KeyCode::Char('/'));
    desk.text("needle");
    desk.key(KeyCode::Enter);
    let search = Call::Search { account: Some(account(1)), text: "needle".to_owned() };
    desk.answer(&search, vec![message(1, 20, false, "a needle"), message(1, 30, false, "needle, too")]);
    let View::Found { hits, .. } = &desk.app.view else { panic!("found") };
    assert_eq!(hits.iter().map(|hit| hit.cursor).collect::<Vec<_>>(), [30, 20]);
    desk.key(KeyCode::Char('j'));
    desk.key(KeyCode::Enter);
    desk.answer(&history(1, Some(100)), (50..100).map(|n| message(1, n, false, "old")).collect());
    desk.answer(&history(1, Some(50)), (0..50).map(|n| message(1, n, false, "older")).collect());
    assert_eq!(desk.app.conversation().unwrap().selected, Some(20));
    assert!(!desk.calls.iter().any(|call| matches!(call, Call::History { before: Some(_), .. })));
}
