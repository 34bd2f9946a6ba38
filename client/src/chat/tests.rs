use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::rpc_client::fake::{Fake, account, came, connect, contact, id, message, request, sent};

/// What was written, for a test to look at.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A daemon with two contacts, a request and a little history. Gives back all calls.
async fn serve(mut fake: Fake, events: Vec<Value>) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    while let Some((call, method, params)) = fake.next().await {
        let result = match method.as_str() {
            "contact.list" => json!([contact(1, "bob"), contact(2, "Bob B")]),
            "request.list" => json!([request(7, "Carol\u{1b}", "from the\nworkshop")]),
            "history" => json!([message(1, 5, false, "one\ntwo\u{1b}"), message(1, 6, true, "yes")]),
            "send" if params["message"] == "bad" => {
                let data = json!({"exit": 1, "hint": "a message has 1 to 61440 bytes of text"});
                fake.fail(call, json!({"code": -32000, "message": "too long", "data": data})).await;
                calls.push((method, params));
                continue;
            }
            "send" => json!([sent(1, 0x42, "stored")]),
            "verify.show" => {
                json!([{"v": 1, "type": "safety_number", "account": account(1).to_string(), "digits": "12345".repeat(12),
                        "verified": false}])
            }
            "message.react" => {
                fake.fail(call, json!({"code": -32601, "message": "there is no method"})).await;
                calls.push((method, params));
                continue;
            }
            _ => json!([]),
        };
        fake.answer(call, result).await;
        if method == "events.subscribe" {
            for event in &events {
                fake.tell(event.clone()).await;
            }
        }
        calls.push((method, params));
    }
    calls
}

/// Types lines, and gives back how it ended, what was written, and what was asked.
async fn chat(lines: &str, with: Option<&str>, events: Vec<Value>) -> (Ended, String, Vec<(String, Value)>) {
    let (connected, fake) = connect();
    let daemon = tokio::spawn(serve(fake, events));
    let (input, written) = (Input::pipe(Cursor::new(lines.to_owned().into_bytes())).unwrap(), Written::default());
    let ended = run(connected, input, Box::new(written.clone()), with.map(str::to_owned)).await.unwrap();
    let calls = tokio::time::timeout(Duration::from_secs(10), daemon).await.unwrap().unwrap();
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    (ended, text, calls)
}

#[tokio::test]
async fn lines_of_a_pipe_are_sent_in_order_and_each_is_answered() {
    let (ended, text, calls) = chat("@bob hi\nhow are you\n@Bob B hello\n", None, Vec::new()).await;
    assert_eq!((ended, text.as_str()), (Ended::Done, "✓ stored 3/3\n✓ stored 3/3\n✓ stored 3/3\n"));
    let sends: Vec<_> = calls.iter().filter(|(method, _)| method == "send").map(|(_, params)| params.clone()).collect();
    let send = |byte, text: &str| json!({"recipients": [account(byte).to_string()], "message": text});
    assert_eq!(sends, [send(1, "hi"), send(1, "how are you"), send(2, "hello")]);
}

#[tokio::test]
async fn what_comes_is_written_and_only_then_said_to_be_seen() {
    let (_, text, calls) = chat("/help\n", None, vec![came(1, 17, "one\ntwo\u{1b}[2J"), came(5, 18, "psst")]).await;
    assert!(text.contains("bob: one\n    two\u{fffd}[2J\n"), "{text}");
    assert!(text.contains(&format!("{}: psst\n", account(5).short())), "{text}");
    let seen: Vec<_> = calls.iter().filter(|(method, _)| method == "events.ack").map(|(_, params)| params).collect();
    assert_eq!(seen, [&json!({"cursor": "17"}), &json!({"cursor": "18"})]);
}

#[tokio::test]
async fn a_line_that_fails_says_so_and_so_does_the_end() {
    let (ended, text, calls) = chat("hello\n@nobody hi\n/nonsense\n@bob bad\n@bob fine\n", None, Vec::new()).await;
    let expected = "✗ to whom? @NAME TEXT\n✗ nobody is called \"nobody\" here; see: /contacts\n\
                    ✗ there is no /nonsense; see: /help\n✗ too long  (a message has 1 to 61440 bytes of text)\n✓ stored 3/3\n";
    assert_eq!((ended, text.as_str()), (Ended::Failed, expected));
    assert_eq!(calls.iter().filter(|(method, _)| method == "send").count(), 2);
}

#[tokio::test]
async fn messages_are_meant_by_the_beginning_of_their_ids_or_as_the_last() {
    let lines = "/reply last too early\n/history\n/reply 0505 no\n/edit last YES\n/reply 9999 x\n/react 0505 👍\n/delete last everyone\n";
    let (_, text, calls) = chat(lines, Some("bob"), Vec::new()).await;
    assert!(
        text.contains("05050505  2026-11-27 10:05  bob: one\n    two\u{fffd}\n06060606  2026-11-27 10:06  you: yes\n"),
        "{text}"
    );
    assert!(
        text.contains("✗ no message here begins with \"9999\"") && text.contains("✗ no message is known yet"),
        "{text}"
    );
    assert!(text.contains("✗ the daemon does not know \"message.react\""), "{text}");
    let of = |method: &str| calls.iter().find(|(asked, _)| asked == method).map(|(_, params)| params.clone()).unwrap();
    let bob = account(1).to_string();
    assert_eq!(of("send"), json!({"recipients": [bob], "message": "no", "replyTo": id(5).to_string()}));
    // The last is what was sent just now.
    assert_eq!(of("message.edit"), json!({"contact": bob, "id": id(0x42).to_string(), "message": "YES"}));
    assert_eq!(
        of("message.delete"),
        json!({"contact": bob, "id": id(0x42).to_string(), "everyone": true, "yes": true})
    );
}

#[tokio::test]
async fn requests_are_answered_by_their_numbers_and_safety_numbers_shown() {
    let (ended, text, calls) = chat("/requests\n/accept 1 Caro\n/decline 2\n@bob\n/verify\n", None, Vec::new()).await;
    assert!(text.contains(&format!("1  Carol\u{fffd} ({})  “from the\u{fffd}workshop”\n", account(7))), "{text}");
    let six = ["12345"; 6].join(" ");
    assert!(text.contains(&format!("{six}\n{six}\nbob must see the same")), "{text}");
    assert!(text.contains("✗ there is no request of this number") && ended == Ended::Failed, "{text}");
    let (_, accepted) = calls.iter().find(|(method, _)| method == "request.accept").unwrap();
    assert_eq!(*accepted, json!({"request": id(7).to_string(), "name": "Caro"}));
}

#[tokio::test]
async fn questions_are_asked_and_answered_with_what_is_never_an_argument() {
    let (_, text, calls) = chat("@bob\n/question Where? = Lisbon\n/answer Porto\n/refuse\n", None, Vec::new()).await;
    assert!(text.contains("bob is asked") && text.contains("✓ refused"), "{text}");
    let params =
        |method| calls.iter().filter(|(called, _)| called == method).map(|(_, params)| params).collect::<Vec<_>>();
    let bob = account(1).to_string();
    assert_eq!(params("verify.ask"), [&json!({"contact": bob, "question": "Where?", "answers": ["Lisbon"]})]);
    let expected = [json!({"contact": bob, "answers": ["Porto"]}), json!({"contact": bob, "refuse": true})];
    assert_eq!(params("verify.answer"), expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_daemon_that_goes_away_ends_it() {
    let (connected, mut fake) = connect();
    let daemon = tokio::spawn(async move {
        let (call, ..) = fake.next().await.unwrap();
        fake.answer(call, json!({"cursor": "0"})).await;
    });
    let input = Input::pipe(Cursor::new(b"@bob hi\n".to_vec())).unwrap();
    let ended = run(connected, input, Box::new(Written::default()), None).await;
    daemon.await.unwrap();
    assert!(matches!(ended, Err(Error::Daemon(rpc_client::Error::Gone))), "{ended:?}");
}
