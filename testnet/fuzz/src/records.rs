//! What is stored and what is signed: envelopes, records, reads, deletes, receipts, storage tests, contents.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sotto_proto::address::Address;
use sotto_proto::content::{
    self, Acknowledgement, Body, Confirmation, Content, Edit, Emoji, Expiry, ExpiryStart, Listening, ListeningTag,
    MessageId, MessageIds, Question, QuestionText, Reaction, RunId, Share, Step, Text, Typing,
};
use sotto_proto::envelope::{Envelope, HEADER_LEN, Record};
use sotto_proto::id::{Hash, Height, RecordId, SwarmId};
use sotto_proto::limits::{
    CONTENT_MAX, DELETE_IDS, DEVICES_MAX, EMOJI_MAX, ENVELOPE_DATA_SIZES, EXPIRY_SECONDS, INTRODUCTION_MAX, NAME_MAX,
    QUESTION_MAX, RECEIPT_IDS, RECORD_MAX, SIGNED_DELETE_MAX, TEST_ANSWER_MAX, TEST_REQUEST_MAX, TEST_SAMPLES,
    TEXT_MAX,
};
use sotto_proto::request::{Cursor, Delete, Fingerprint, Message as _, Read, Receipt, Scope, SignedDelete, Summary};
use sotto_proto::sign::Ed25519;
use sotto_proto::storage_test::{Answer, Nonce, Sample, Test};
use sotto_proto::time::UnixMillis;

use crate::check::{canonical, message, whole};
use crate::fixtures::{CHAIN, NOW, START, account, deletes, node, records};

pub(crate) fn record(input: &[u8]) {
    if let Some(envelope) = canonical(input, Envelope::decode, Envelope::encode) {
        assert_eq!(envelope.encoded_len(), input.len());
        assert!(ENVELOPE_DATA_SIZES.contains(&envelope.data().len()));
        assert!(envelope.expiry() >= envelope.timestamp());
    }
    let Some(record) = canonical(input, Record::decode, Record::encode) else { return };
    assert!(input.len() <= RECORD_MAX);
    // The id is that of the bytes as they came.
    let envelope = Envelope::decode(&input[..HEADER_LEN + record.envelope().data().len()]).expect("a record has one");
    assert_eq!(envelope.id(&CHAIN), record.envelope().id(&CHAIN));
    let id = record.envelope().id(&CHAIN);
    let genuine = record.auth().is_none() || GROUP.contains(&id);
    assert!(genuine || !record.may_write(&Ed25519, &CHAIN, &id), "a forged signature");
}

/// Ids of records of groups that were really signed.
static GROUP: LazyLock<BTreeSet<RecordId>> =
    LazyLock::new(|| records().iter().map(|record| record.envelope().id(&CHAIN)).collect());

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = records().iter().map(Record::encode).collect();
    seeds.extend(records().first().map(|record| record.envelope().encode()));
    seeds
}

pub(crate) fn signed(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 6 {
        0 => drop(canonical(bytes, Read::decode, Read::to_bytes)),
        1 => {
            if let Some(delete) = canonical(bytes, Delete::decode, Delete::to_bytes) {
                assert!(delete.records().len() <= DELETE_IDS);
            }
        }
        2 => {
            let Some(delete) = canonical(bytes, SignedDelete::decode, SignedDelete::encode) else { return };
            assert!(bytes.len() <= SIGNED_DELETE_MAX);
            assert!(!delete.verify(&CHAIN, &Ed25519) || DELETES.contains(bytes), "a forged delete");
        }
        3 => drop(canonical(bytes, Receipt::decode, Receipt::to_bytes)),
        4 => drop(canonical(bytes, Scope::decode, |scope| scope.to_bytes().to_vec())),
        _ => drop(canonical(bytes, Summary::decode, |summary| summary.to_bytes().to_vec())),
    }
}

/// Deletes that were really signed.
static DELETES: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| deletes().iter().map(SignedDelete::encode).collect());

pub(crate) fn scope() -> Scope {
    sotto_behaviours::replication::scope_at(Height(130), SwarmId(0), NOW)
}

pub(crate) fn receipt(address: Address) -> Receipt {
    Receipt { node: node(1), address, id: RecordId::new([3; 32]), expiry: NOW, height: Height(9) }
}

pub(crate) fn read(address: Address) -> Read {
    Read { node: node(1), address, time: NOW, cursor: Cursor { epoch: 7, seq: 99 }, max_bytes: 1 << 20 }
}

pub(crate) fn signed_seeds() -> Vec<Vec<u8>> {
    let address = account(1).address();
    let summary = Summary { scope: scope(), count: 3, fingerprint: Fingerprint::from([8; 16]) };
    let mut seeds = vec![
        whole(0, &read(address).to_bytes()),
        whole(3, &receipt(address).to_bytes()),
        whole(4, &scope().to_bytes()),
        whole(5, &summary.to_bytes()),
    ];
    for delete in deletes() {
        seeds.extend([whole(1, &delete.delete().to_bytes()), whole(2, &delete.encode())]);
    }
    seeds
}

pub(crate) fn storage_test(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if choice % 2 == 0 {
        if let Some(test) = canonical(bytes, Test::decode, Test::encode) {
            assert!(bytes.len() <= TEST_REQUEST_MAX && test.samples().len() <= TEST_SAMPLES);
        }
        return;
    }
    let test = test_of(usize::from(choice >> 1) % (TEST_SAMPLES + 1));
    let Some(answer) = canonical(bytes, |bytes| Answer::decode(&test, bytes), Answer::encode) else { return };
    assert!(bytes.len() <= TEST_ANSWER_MAX);
    if let Answer::Samples(samples) = answer {
        assert_eq!(samples.len(), test.samples().len());
    }
}

fn test_of(samples: usize) -> Test {
    let ids = (0..).take(samples).map(|n| RecordId::new([n; 32])).collect();
    Test::new(Height(9), SwarmId(0), Nonce::from([5; 32]), ids).expect("not too many samples")
}

pub(crate) fn storage_test_seeds() -> Vec<Vec<u8>> {
    let delete = deletes().remove(0);
    let samples = vec![Sample::Present(Hash::new([1; 32])), Sample::Absent, Sample::Deleted(Box::new(delete))];
    let answers = [Answer::Samples(samples), Answer::Behind { height: Height(7) }, Answer::NotThisPair];
    let mut seeds: Vec<_> = [0, 1, TEST_SAMPLES].map(|samples| whole(0, &test_of(samples).encode())).into();
    // An answer about three samples.
    seeds.extend(answers.iter().map(|answer| whole(1 | 3 << 1, &answer.encode())));
    seeds
}

pub(crate) fn content(input: &[u8]) {
    let Some(content) = message::<Content>(input) else { return };
    assert!(input.len() <= CONTENT_MAX);
    match &content.body {
        Body::Text(text) => assert!((1..=TEXT_MAX).contains(&text.as_str().len())),
        Body::Request(request) => {
            assert!(request.name().len() <= NAME_MAX && request.introduction().len() <= INTRODUCTION_MAX);
            assert!((1..=DEVICES_MAX).contains(&request.bundles().len()));
        }
        Body::Announce(announcement) => {
            assert!(announcement.name().len() <= NAME_MAX && announcement.seal_key().is_usable());
        }
        Body::Reaction(reaction) => {
            let emoji = reaction.emoji.as_ref().map_or("?", Emoji::as_str);
            assert!((1..=EMOJI_MAX).contains(&emoji.len()) && !emoji.chars().any(char::is_control));
        }
        Body::Edit(edit) => assert!((1..=TEXT_MAX).contains(&edit.text.as_str().len())),
        Body::Receipt(receipt) => {
            let (delivered, read) = (receipt.delivered().as_slice().len(), receipt.read().as_slice().len());
            assert!(delivered <= RECEIPT_IDS && read <= RECEIPT_IDS && delivered + read > 0);
        }
        Body::Acknowledge(came) => assert!((1..=RECEIPT_IDS).contains(&came.ids().as_slice().len())),
        Body::Timer(expiry) => assert!(expiry.is_none_or(|expiry| EXPIRY_SECONDS.contains(&expiry.seconds()))),
        Body::Question(Question { step: Step::Ask { question, .. }, .. }) => {
            assert!((1..=QUESTION_MAX).contains(&question.as_str().len()));
        }
        Body::Question(_) | Body::Delete(_) | Body::Typing(_) | Body::Listening(_) => {}
        // What a later version wrote is kept as it is.
        Body::Newer(bytes) => assert_eq!(bytes, input),
    }
}

pub(crate) fn plain(text: &str) -> Content {
    let text = Text::new(text.to_owned()).expect("a short text");
    Content::new(MessageId::new([4; MessageId::LEN]), UnixMillis(START.0 + 5), Body::Text(text))
}

pub(crate) fn content_seeds() -> Vec<Vec<u8>> {
    let newer = [&[0x0a, 16][..], &[7; 16], &[0x10, 5, 0xa2, 6, 2, 1, 2]].concat();
    let encode = |content: Content| content.encode().expect("a short content");
    let mut seeds = vec![encode(plain("hello, swarm")), newer];
    seeds.extend(bodies().into_iter().map(|body| encode(Content { sequence: 3, body, ..plain("?") })));
    seeds
}

/// One of each kind that is small.
fn bodies() -> Vec<Body> {
    let id = MessageId::new([9; MessageId::LEN]);
    let ids = || MessageIds::new(vec![id, id]).expect("two ids");
    let text = || Text::new("another word".to_owned()).expect("a short text").in_reply_to(id);
    let emoji = Emoji::new("👍".to_owned()).expect("an emoji");
    let place = Listening::At { node: node(3), tag: ListeningTag::new([4; 16]), until: START.seconds() };
    let (share, confirmation) = (Share::new([1; Share::LEN]), Confirmation::new([2; Confirmation::LEN]));
    let question = QuestionText::new("where?".to_owned()).expect("a short question");
    let steps = [
        Step::Ask { question, share },
        Step::Answer { share, confirmation },
        Step::Confirm { confirmation },
        Step::Refuse,
    ];
    let mut bodies = vec![
        Body::Text(text()),
        Body::Reaction(Reaction { to: id, emoji: Some(emoji) }),
        Body::Edit(Edit { of: id, text: text() }),
        Body::Delete(id),
        Body::Receipt(content::Receipt::new(ids(), ids()).expect("ids")),
        Body::Typing(Typing::Stopped),
        Body::Timer(Some(Expiry::new(ExpiryStart::Read, 3600).expect("an hour"))),
        Body::Acknowledge(Acknowledgement::new(ids()).expect("ids")),
        Body::Listening(place),
    ];
    bodies.extend(steps.map(|step| Body::Question(Question { run: RunId::new([5; RunId::LEN]), step })));
    bodies
}
