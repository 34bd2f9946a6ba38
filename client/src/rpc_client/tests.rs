use serde_json::json;

use super::fake::{account, connect, contact, id, message, with};
use super::*;

#[tokio::test]
async fn answers_come_to_their_calls_in_whatever_order() {
    let ((client, _events), mut fake) = connect();
    let calls =
        tokio::spawn(async move { tokio::join!(client.call("one", json!({})), client.call("two", json!({"a": 1}))) });
    let first = fake.next().await.unwrap();
    let second = fake.next().await.unwrap();
    assert_eq!((first.1.as_str(), second.1.as_str(), &second.2), ("one", "two", &json!({"a": 1})));
    fake.answer(second.0, json!("second")).await;
    fake.answer(first.0, json!("first")).await;
    let (one, two) = calls.await.unwrap();
    assert_eq!((one.unwrap(), two.unwrap()), (json!("first"), json!("second")));
}

#[tokio::test]
async fn a_failure_says_what_to_do_next_and_how_a_command_would_have_ended() {
    let ((client, _events), mut fake) = connect();
    let call = tokio::spawn(async move { client.call("send", json!({})).await });
    let (id, ..) = fake.next().await.unwrap();
    let data = json!({"code": "not_found", "exit": 7, "hint": "sotto contact list", "documents": [{"v": 1}]});
    fake.fail(id, json!({"code": -32000, "message": "nobody is called so", "data": data})).await;
    let Err(Error::Failed(failure)) = call.await.unwrap() else { panic!("it failed") };
    assert_eq!((failure.message.as_str(), failure.exit), ("nobody is called so", Some(7)));
    assert_eq!((failure.hint.as_deref(), failure.documents.len()), (Some("sotto contact list"), 1));
    assert!(!failure.is_unknown());
    assert!(Failure::read(&json!({"code": -32601, "message": "no such method"})).is_unknown());
}

#[tokio::test]
async fn who_waits_learns_that_the_daemon_is_gone_and_who_calls_later_as_well() {
    let ((client, mut events), mut fake) = connect();
    let waiting = client.clone();
    let call = tokio::spawn(async move { waiting.call("status", json!({})).await });
    fake.next().await.unwrap();
    drop(fake);
    assert!(matches!(call.await.unwrap(), Err(Error::Gone)));
    assert!(matches!(events.next().await, Err(Error::Gone)));
    assert!(matches!(client.call("status", json!({})).await, Err(Error::Gone)));
}

#[tokio::test]
async fn a_line_that_is_too_long_or_no_json_ends_the_connection() {
    for line in ["x".repeat(LINE as usize + 1), "{".to_owned()] {
        let ((client, mut events), mut fake) = connect();
        tokio::spawn(async move {
            fake.line(&line).await;
            // Whether the client reads all of it or not, it ends.
            while fake.next().await.is_some() {}
        });
        assert!(matches!(events.next().await, Err(Error::Gone)));
        assert!(matches!(client.call("status", json!({})).await, Err(Error::Gone)));
    }
    let ((client, _events), _fake) = connect();
    let long = client.call("send", json!({"message": "x".repeat(LINE as usize)})).await;
    assert!(matches!(long, Err(Error::TooLong(_))));
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_forgotten() {
    let ((client, _events), mut fake) = connect();
    let abandoned = client.clone();
    let call = tokio::spawn(async move { abandoned.call("slow", json!({})).await });
    let (id, ..) = fake.next().await.unwrap();
    call.abort();
    assert!(call.await.is_err());
    assert!(lock(&client.waiting).calls.is_empty());
    fake.answer(id, json!(1)).await;
    // And what comes for it is no other call's.
    let next = client.clone();
    let call = tokio::spawn(async move { next.call("next", json!({})).await });
    let (id, ..) = fake.next().await.unwrap();
    fake.answer(id, json!(2)).await;
    assert_eq!(call.await.unwrap().unwrap(), json!(2));
}

#[test]
fn documents_are_read_with_what_other_versions_add_and_leave_out() {
    let plain = Message::all(vec![message(1, 5, false, "hi"), contact(1, "bob"), json!({"type": "message"})]).remove(0);
    assert_eq!((plain.conversation, plain.cursor, plain.body.as_deref()), (account(1), 5, Some("hi")));
    assert_eq!((SendState::of(&plain), plain.edited, plain.deleted), (None, false, false));
    let more = with(
        message(1, 6, true, "hi"),
        json!({"reply_to": {"id": "ab", "body": "what"}, "edited": "2026-11-27T10:00:00Z", "deleted": false,
               "reactions": [{"by": "05", "emoji": "👍"}], "state": "stored", "stored": 2, "new": 1}),
    );
    let more = Message::all(vec![more]).remove(0);
    assert!(more.edited && !more.deleted && more.reactions.len() == 1);
    let reply = more.reply_to.as_ref().unwrap();
    assert_eq!((reply.id(), reply.words()), ("ab", Some("what")));
    assert_eq!(SendState::of(&more).unwrap().to_string(), "stored 2/3");
}

#[test]
fn what_was_found_is_a_message_with_less_said_of_it() {
    let found = json!({
        "v": 1, "type": "search.result", "conversation": account(1).to_string(), "name": "bob", "cursor": "7",
        "outgoing": false, "id": id(7).to_string(), "sent": "2026-11-27T10:07:00.000Z", "body": "a needle",
        "marks": [[2, 8]],
    });
    let found = Message::all(vec![found]).remove(0);
    assert_eq!((found.cursor, found.kind.as_str(), found.body.as_deref()), (7, "text", Some("a needle")));
}

#[test]
fn events_that_are_not_known_are_told_apart_from_nonsense() {
    assert_eq!(Event::read(json!({"v": 1, "type": "something.new", "x": 1})), Some(Event::Newer));
    assert_eq!(Event::read(json!({"v": 1})), None);
    assert!(matches!(
        Event::read(json!({"v": 1, "type": "network", "state": "connected", "members": 3})),
        Some(Event::Network(network)) if network.members == 3
    ));
    assert!(matches!(Event::read(json!({"v": 1, "type": "events.missed", "count": 3})), Some(Event::Missed {})));
}
