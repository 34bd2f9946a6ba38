//! Storage tests: the pair that a block chooses, and the bytes that testers and testees exchange.

use proptest::collection::vec;
use proptest::prelude::*;
use sotto_proto::address::Address;
use sotto_proto::domain::{self, Domain};
use sotto_proto::hash::hash;
use sotto_proto::id::{BlockHash, ChainId, Height, NodeId, RecordId, SwarmId};
use sotto_proto::limits::{DELETE_IDS, TEST_ANSWER_MAX, TEST_REQUEST_MAX, TEST_SAMPLES};
use sotto_proto::request::{Delete, DeletedRecord, SignedDelete};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::storage_test::{Answer, Nonce, Pair, Sample, Test, pairs};
use sotto_proto::time::UnixSeconds;

fn chain() -> ChainId {
    ChainId::new(*hash(domain::GENESIS, b"test vector genesis").as_bytes())
}

fn block(label: &str) -> BlockHash {
    hash(domain::BLOCK, label).into()
}

/// Nodes `H("node", u32 i)`, ascending.
fn nodes(range: std::ops::Range<u32>) -> Vec<NodeId> {
    let mut nodes: Vec<_> =
        range.map(|i| NodeId::new(*hash(Domain::new("node"), i.to_be_bytes()).as_bytes())).collect();
    nodes.sort();
    nodes
}

fn ids(count: u8) -> Vec<RecordId> {
    (0..count).map(|i| RecordId::new([i; 32])).collect()
}

fn test_of(samples: Vec<RecordId>) -> Test {
    Test::new(Height(9), SwarmId(0), Nonce::from([5; 32]), samples).unwrap()
}

fn longest_delete() -> SignedDelete {
    let key = SigningKey::from_seed(&[4; 32]);
    let record = |i: usize| DeletedRecord {
        id: RecordId::new([u8::try_from(i).unwrap(); 32]),
        timestamp: UnixSeconds(1_790_000_000),
        ttl: 600,
    };
    let records = (0..DELETE_IDS).map(record).collect();
    let delete = Delete::new(Address::mailbox(&key.public()), UnixSeconds(1_790_000_001), records).unwrap();
    SignedDelete::sign(delete, &key, &chain())
}

#[test]
fn the_golden_pair_holds() {
    let members = nodes(0..7);
    let pairs = pairs(&chain(), &block("x"), SwarmId(0), &members, &[]).unwrap();
    assert_eq!(pairs.regular, Pair { tester: members[4], testee: members[0] });
    assert_eq!(pairs.returning, None);
}

#[test]
fn the_golden_answer_holds() {
    // The envelope of the wire specification's example.
    let header = "0105d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72\
                  000000006ab13b800005460000000000000010a400000680";
    let mut envelope = hex::decode(header).unwrap();
    envelope.extend((0..1664).map(|i| u8::try_from(i % 256).unwrap()));
    let id = hash(domain::ENVELOPE, [chain().as_ref(), &envelope].concat());
    assert_eq!(id.to_string(), "259f570276b6ad9ca9aef5ce3cf72a0b331b4ff78c2b122faed8660d10f1a612");

    let nonce: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let test = Test::new(Height(9), SwarmId(0), nonce.into(), vec![]).unwrap();
    assert_eq!(
        test.answer_hash(&chain(), &nodes(0..7)[0], &envelope).to_string(),
        "f8b0ef2ad0d96bd83e72d5092591e4f1b110b4ee2f8757eb113af17b3be83176"
    );
}

#[test]
fn an_answer_serves_one_testee_height_nonce_and_envelope() {
    let [a, b] = [NodeId::new([1; 32]), NodeId::new([2; 32])];
    let at = |height, nonce: u8| Test::new(Height(height), SwarmId(0), [nonce; 32].into(), vec![]).unwrap();
    let hashes = [
        at(9, 1).answer_hash(&chain(), &a, b"envelope"),
        at(9, 1).answer_hash(&chain(), &b, b"envelope"),
        at(8, 1).answer_hash(&chain(), &a, b"envelope"),
        at(9, 2).answer_hash(&chain(), &a, b"envelope"),
        at(9, 1).answer_hash(&chain(), &a, b"envelopE"),
        at(9, 1).answer_hash(&ChainId::new([0; 32]), &a, b"envelope"),
    ];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "{index}");
    }
}

#[test]
fn a_swarm_with_fewer_than_two_members_tests_nobody() {
    for count in [0, 1] {
        assert_eq!(pairs(&chain(), &block("x"), SwarmId(0), &nodes(0..count), &nodes(90..93)), None);
    }
}

#[test]
fn the_extra_pair_leaves_the_regular_one_as_it_is() {
    let (members, away) = (nodes(0..7), nodes(90..93));
    for i in 0..50 {
        let block = block(&format!("block {i}"));
        let without = pairs(&chain(), &block, SwarmId(7), &members, &[]).unwrap();
        let with = pairs(&chain(), &block, SwarmId(7), &members, &away).unwrap();
        assert_eq!(with.regular, without.regular);
        let extra = with.returning.unwrap();
        assert!(members.contains(&extra.tester) && away.contains(&extra.testee));
    }
}

#[test]
fn over_many_blocks_every_member_tests_every_other_about_as_often() {
    let members = nodes(0..5);
    let mut seen = std::collections::BTreeMap::new();
    for i in 0..4000 {
        let pair = pairs(&chain(), &block(&format!("block {i}")), SwarmId(7), &members, &[]).unwrap().regular;
        assert_ne!(pair.tester, pair.testee);
        *seen.entry((pair.tester, pair.testee)).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 5 * 4);
    assert!(seen.values().all(|&times| (130..270).contains(&times)), "{:?}", seen.values());
}

#[test]
fn a_testee_answers_from_five_blocks_behind_it_to_three_ahead() {
    let test = Test::new(Height(100), SwarmId(0), [0; 32].into(), vec![]).unwrap();
    for (own, due) in [(96, false), (97, true), (100, true), (105, true), (106, false)] {
        assert_eq!(test.is_due(Height(own)), due, "{own}");
    }
    let first = Test::new(Height(0), SwarmId(0), [0; 32].into(), vec![]).unwrap();
    assert!(first.is_due(Height(0)));
}

#[test]
fn a_test_names_at_most_sixteen_records_and_none_twice() {
    let make = |samples| Test::new(Height(1), SwarmId(0), [0; 32].into(), samples);
    assert!(make(ids(16)).is_ok());
    assert!(make(ids(17)).is_err());
    assert!(make([ids(3), ids(1)].concat()).is_err());
    let mut bytes = test_of(ids(2)).encode();
    let second = bytes.len() - 32;
    bytes[second..].fill(0);
    assert!(Test::decode(&bytes).is_err());
}

#[test]
fn the_longest_test_and_answer_are_exactly_at_their_limits() {
    let test = test_of(ids(16));
    assert_eq!(test.encode().len(), TEST_REQUEST_MAX);
    let delete = longest_delete();
    assert!(delete.verify(&chain(), &Ed25519));
    let answer = Answer::Samples(vec![Sample::Deleted(Box::new(delete)); TEST_SAMPLES]);
    let bytes = answer.encode();
    assert_eq!(bytes.len(), TEST_ANSWER_MAX);
    assert_eq!(Answer::decode(&test, &bytes), Ok(answer));
}

#[test]
fn an_answer_has_one_sample_for_each_record_asked_for() {
    let answer = Answer::Samples(vec![Sample::Absent; 3]).encode();
    assert!(Answer::decode(&test_of(ids(3)), &answer).is_ok());
    assert!(Answer::decode(&test_of(ids(2)), &answer).is_err());
    assert!(Answer::decode(&test_of(ids(4)), &answer).is_err());
}

#[test]
fn unknown_codes_and_tags_are_refused() {
    assert!(Answer::decode(&test_of(vec![]), &[3]).is_err());
    assert!(Answer::decode(&test_of(ids(1)), &[0, 0]).is_err());
    assert!(Answer::decode(&test_of(ids(1)), &[0, 4]).is_err());
    assert!(Answer::decode(&test_of(ids(1)), &[0, 3, 0, 1, 0, 0]).is_err());
    assert!(Answer::decode(&test_of(vec![]), &[1, 0]).is_err());
    assert!(Answer::decode(&test_of(vec![]), &[2, 0]).is_err());
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|hash| Sample::Present(hash.into())),
        Just(Sample::Absent),
        Just(Sample::Deleted(Box::new(longest_delete()))),
    ]
}

proptest! {
    #[test]
    fn tests_round_trip(height in any::<u64>(), swarm in any::<u64>(), nonce in any::<[u8; 32]>(), count in 0..=16u8) {
        let test = Test::new(Height(height), SwarmId(swarm), nonce.into(), ids(count)).unwrap();
        prop_assert_eq!(Test::decode(&test.encode()), Ok(test));
    }

    #[test]
    fn answers_round_trip(samples in vec(sample(), 0..=16)) {
        let test = test_of(ids(u8::try_from(samples.len()).unwrap()));
        let answer = Answer::Samples(samples);
        prop_assert_eq!(Answer::decode(&test, &answer.encode()), Ok(answer));
    }

    #[test]
    fn refusals_round_trip(height in any::<u64>()) {
        for answer in [Answer::Behind { height: Height(height) }, Answer::NotThisPair] {
            prop_assert_eq!(Answer::decode(&test_of(ids(4)), &answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..700), count in 0..=16u8) {
        if let Ok(test) = Test::decode(&bytes) {
            prop_assert_eq!(test.encode(), bytes.clone());
        }
        if let Ok(answer) = Answer::decode(&test_of(ids(count)), &bytes) {
            prop_assert_eq!(answer.encode(), bytes);
        }
    }
}
