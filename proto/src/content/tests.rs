use proptest::prelude::*;

use super::*;
use crate::address::Address;
use crate::id::{NodeId, PublicKey, X25519Key};
use crate::limits::{EXPIRY_SECONDS, SIGNED_BUNDLE_BYTES, TEXT_MAX};
use crate::time::UnixSeconds;

const ID: MessageId = MessageId::new([5; 16]);

fn content(body: Body) -> Content {
    Content::new(MessageId::new([7; 16]), UnixMillis(1_767_225_600_123), body)
}

fn said(text: &str) -> Text {
    Text::new(text.to_owned()).unwrap()
}

fn ids(bytes: &[u8]) -> MessageIds {
    MessageIds::new(bytes.iter().map(|byte| MessageId::new([*byte; 16])).collect()).unwrap()
}

/// One of each kind, with its bytes behind the id and the time.
fn each_kind() -> Vec<(Body, String)> {
    let (id, share) = ("05".repeat(16), "01".repeat(32));
    let emoji = Emoji::new("👍".to_owned()).unwrap();
    let expiry = Expiry::new(ExpiryStart::Read, 3600).unwrap();
    let at = Listening::At { node: NodeId::new([3; 32]), tag: ListeningTag::new([4; 16]), until: UnixSeconds(9) };
    let ask = Step::Ask { question: QuestionText::new("?".to_owned()).unwrap(), share: Share::new([1; 32]) };
    let question = |step| Body::Question(Question { run: RunId::new([9; 16]), step });
    let key = X25519Key::new([9; 32]);
    let mailbox = Address::mailbox(&PublicKey::new([6; 32]));
    let request = Request::new("al".to_owned(), "hi".to_owned(), vec![vec![8; SIGNED_BUNDLE_BYTES]], true).unwrap();
    vec![
        (Body::Text(said("hi")), "1a040a026869".to_owned()),
        (Body::Text(said("hi").in_reply_to(ID)), format!("1a160a0268691210{id}")),
        (Body::Request(request), format!("2ae5030a02616c120268691ad803{}2001", "08".repeat(SIGNED_BUNDLE_BYTES))),
        (
            Body::Announce(Announcement::new(mailbox, key, 3, "al".to_owned()).unwrap()),
            format!("324b0a2106{}1220{}18032202616c", "06".repeat(32), "09".repeat(32)),
        ),
        (Body::Reaction(Reaction { to: ID, emoji: Some(emoji) }), format!("3a180a10{id}1204f09f918d")),
        (Body::Reaction(Reaction { to: ID, emoji: None }), format!("3a120a10{id}")),
        (Body::Edit(Edit { of: ID, text: said("ho") }), format!("42180a10{id}12040a02686f")),
        (Body::Delete(ID), format!("4a120a10{id}")),
        (Body::Receipt(Receipt::new(ids(&[5]), ids(&[5])).unwrap()), format!("52240a10{id}1210{id}")),
        (Body::Typing(Typing::Started), "5a00".to_owned()),
        (Body::Typing(Typing::Stopped), "5a020801".to_owned()),
        (Body::Timer(Some(expiry)), "62050a0310901c".to_owned()),
        (Body::Timer(None), "6200".to_owned()),
        (Body::Acknowledge(Acknowledgement::new(ids(&[5])).unwrap()), format!("6a120a10{id}")),
        (Body::Listening(at), format!("72380a360a20{}1210{}1809", "03".repeat(32), "04".repeat(16))),
        (Body::Listening(Listening::Stopped), "7200".to_owned()),
        (question(ask), format!("7a390a10{}12250a013f1220{share}", "09".repeat(16))),
        (question(Step::Refuse), format!("7a140a10{}2a00", "09".repeat(16))),
    ]
}

#[test]
fn every_kind_has_the_bytes_of_the_schema() {
    for (body, bytes) in each_kind() {
        let expected = format!("0a10{}10fbd0eab6b733{bytes}", "07".repeat(16));
        let encoded = content(body.clone()).encode().unwrap();
        assert_eq!(hex::encode(&encoded), expected, "{body:?}");
        assert_eq!(Content::decode(&encoded), Ok(content(body)));
    }
}

#[test]
fn a_text_of_before_there_were_sessions_reads_as_it_did() {
    let bytes = hex::decode(format!("0a10{}10fbd0eab6b7331a040a026869", "07".repeat(16))).unwrap();
    assert_eq!(Content::decode(&bytes), Ok(content(Body::Text(said("hi")))));
}

#[test]
fn number_and_expiry_stand_behind_what_is_said() {
    let expiry = Some(Expiry::new(ExpiryStart::Sent, 86_400).unwrap());
    let numbered = Content { sequence: 300, expiry, ..content(Body::Text(said("hi"))) };
    let bytes = numbered.clone().encode().unwrap();
    let expected = format!("0a10{}10fbd0eab6b7331a040a02686920ac0282010408", "07".repeat(16));
    assert!(hex::encode(&bytes).starts_with(&expected));
    assert_eq!(Content::decode(&bytes), Ok(numbered));
}

#[test]
fn the_longest_text_fits_with_everything_beside_it() {
    let expiry = Some(Expiry::new(ExpiryStart::Read, *EXPIRY_SECONDS.end()).unwrap());
    let text = said(&"x".repeat(TEXT_MAX)).in_reply_to(ID);
    for body in [Body::Text(text.clone()), Body::Edit(Edit { of: ID, text })] {
        let longest = Content { sequence: u64::MAX, expiry, sent: UnixMillis(u64::MAX), ..content(body) };
        assert_eq!(Content::decode(&longest.clone().encode().unwrap()), Ok(longest));
    }
}

#[test]
fn what_a_later_version_says_is_kept_as_it_came() {
    let later = |bytes: &[u8]| [&[0x0a, 16][..], &[9; 16], bytes].concat();
    // Field 100; a timer, a text, and a question with such a field in the place of one that is known.
    let field = [0xa2, 6, 2, b'?', b'!'];
    let timer = [&[0x62, 7, 0x0a, 5][..], &field].concat();
    let text = [&[0x1a, 3, 0x0a, 1, b'x', 0x82, 1, 5][..], &field].concat();
    let question = [&[0x7a, 23, 0x0a, 16][..], &[8; 16], &field].concat();
    for bytes in [later(&field), later(&timer), later(&text), later(&question), later(&[])] {
        let content = Content::decode(&bytes).unwrap();
        assert_eq!((content.id, &content.body), (MessageId::new([9; 16]), &Body::Newer(bytes.clone())));
        assert_eq!(content.encode().unwrap(), bytes);
    }
}

#[test]
fn an_id_of_another_length_is_refused() {
    let bytes = [&[0x0a, 15][..], &[9; 15]].concat();
    assert_eq!(Content::decode(&bytes), Err(DecodeError::Value("message id").into()));
    let delete = [&[0x0a, 16][..], &[9; 16], &[0x4a, 3, 0x0a, 1, 5]].concat();
    assert_eq!(Content::decode(&delete), Err(DecodeError::Value("deleted message").into()));
}

#[test]
fn nothing_of_a_message_is_shown_by_debug() {
    assert_eq!(format!("{:?}", content(Body::Text(said("secret")))), "Content(MessageId(07070707), Text(6 bytes))");
    for (body, _) in each_kind() {
        let shown = format!("{body:?}");
        assert!(!["hi", "ho", "al", "👍", "?"].iter().any(|said| shown.contains(&format!("\"{said}\""))), "{shown}");
        assert!(!shown.contains("04040404"), "the tag: {shown}");
    }
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = each_kind().iter().map(|(body, _)| body.kind()).collect();
    assert_eq!((names.len(), Body::Newer(Vec::new()).kind()), (12, "newer"));
}

#[test]
fn what_arranges_a_conversation_is_not_part_of_it() {
    let kinds = each_kind();
    let said: std::collections::BTreeSet<_> =
        kinds.iter().filter(|(body, _)| body.is_said()).map(|(body, _)| body.kind()).collect();
    assert_eq!(said.into_iter().collect::<Vec<_>>(), ["delete", "edit", "question", "reaction", "text", "timer"]);
    assert!(Body::Newer(Vec::new()).is_said(), "a later version may have said something");
}

fn any_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId::new)
}

fn any_ids() -> impl Strategy<Value = MessageIds> {
    proptest::collection::vec(any_id(), 1..5).prop_map(|ids| MessageIds::new(ids).unwrap())
}

fn any_text() -> impl Strategy<Value = Text> {
    (".{1,200}", proptest::option::of(any_id())).prop_map(|(text, reply_to)| {
        let text = Text::new(text).unwrap();
        reply_to.map_or(text.clone(), |id| text.in_reply_to(id))
    })
}

fn any_expiry() -> impl Strategy<Value = Option<Expiry>> {
    let start = prop_oneof![Just(ExpiryStart::Sent), Just(ExpiryStart::Read)];
    proptest::option::of((start, EXPIRY_SECONDS).prop_map(|(start, seconds)| Expiry::new(start, seconds).unwrap()))
}

fn any_step() -> impl Strategy<Value = Step> {
    let share = any::<[u8; 32]>().prop_map(Share::new);
    let confirmation = any::<[[u8; 32]; 2]>().prop_map(|halves| {
        let bytes: [u8; 64] = halves.concat().try_into().unwrap();
        Confirmation::new(bytes)
    });
    prop_oneof![
        (".{1,40}", share.clone())
            .prop_map(|(text, share)| Step::Ask { question: QuestionText::new(text).unwrap(), share }),
        (share, confirmation.clone()).prop_map(|(share, confirmation)| Step::Answer { share, confirmation }),
        confirmation.prop_map(|confirmation| Step::Confirm { confirmation }),
        Just(Step::Refuse),
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let emoji = proptest::option::of("[a-z👍🏿]{1,8}".prop_map(|emoji| Emoji::new(emoji).unwrap()));
    let place = (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(node, tag, until)| Listening::At {
        node: NodeId::new(node),
        tag: ListeningTag::new(tag),
        until: UnixSeconds(until),
    });
    prop_oneof![
        any_text().prop_map(Body::Text),
        (any_id(), emoji).prop_map(|(to, emoji)| Body::Reaction(Reaction { to, emoji })),
        (any_id(), any_text()).prop_map(|(of, text)| Body::Edit(Edit { of, text })),
        any_id().prop_map(Body::Delete),
        (any_ids(), any_ids()).prop_map(|(came, read)| Body::Receipt(Receipt::new(came, read).unwrap())),
        prop_oneof![Just(Typing::Started), Just(Typing::Stopped)].prop_map(Body::Typing),
        any_expiry().prop_map(Body::Timer),
        any_ids().prop_map(|ids| Body::Acknowledge(Acknowledgement::new(ids).unwrap())),
        prop_oneof![place, Just(Listening::Stopped)].prop_map(Body::Listening),
        (any::<[u8; 16]>(), any_step()).prop_map(|(run, step)| Body::Question(Question { run: RunId::new(run), step })),
    ]
}

proptest! {
    #[test]
    fn contents_round_trip(
        id in any_id(), sent: u64, sequence: u64, expiry in any_expiry(), body in any_body(),
    ) {
        let content = Content { id, sent: UnixMillis(sent), sequence, expiry, body };
        prop_assert_eq!(Content::decode(&content.clone().encode().unwrap()).unwrap(), content);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(content) = Content::decode(&bytes) {
            prop_assert_eq!(Content::decode(&content.clone().encode().unwrap()).unwrap(), content);
        }
    }

    #[test]
    fn changed_contents_never_panic_and_never_change_again(
        body in any_body(), at in any::<proptest::sample::Index>(), byte: u8,
    ) {
        let mut bytes = content(body).encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(content) = Content::decode(&bytes) {
            prop_assert_eq!(Content::decode(&content.clone().encode().unwrap()).unwrap(), content);
        }
    }
}
