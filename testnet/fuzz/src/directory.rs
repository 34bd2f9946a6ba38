//! What a client makes of lists that others keep for it, and of what it keeps itself.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sotto_client::network::polls::Polls;
use sotto_client::network::renewal::Renewal;
use sotto_client::network::scores::Scores;
use sotto_proto::chain::{Buckets, Header, SignedHeader, list_root_of, records_of};
use sotto_proto::id::{BlockHash, Hash, Height};
use sotto_proto::network::NodeList;
use sotto_proto::time::{Monotonic, Now, UnixMillis};

use crate::check::{seed, whole};
use crate::fixtures::{CHAIN, NOW, START, key, node, node_record};
use crate::input::Input;

/// The list a client has, the list that it is to have, and the header that commits to it.
static LISTS: LazyLock<(NodeList, NodeList, SignedHeader)> = LazyLock::new(|| {
    let list = |range: std::ops::Range<u8>| range.map(|n| (node(n), Arc::new(node_record(n)))).collect();
    let (old, new): (NodeList, NodeList) = (list(0..6), list(3..9));
    let header = Header {
        height: Height(20),
        previous: BlockHash::new([0; 32]),
        time: UnixMillis(1),
        tx_root: Hash::new([0; 32]),
        state_root: Hash::new([0; 32]),
        list_root: list_root_of(&CHAIN, &new),
    };
    let header = header.sign(&key("authority", 0), &CHAIN);
    (old, new, header)
});

fn bucket(bucket: u8) -> Vec<u8> {
    records_of(&LISTS.1, bucket).flat_map(|record| record.encode()).collect()
}

pub(crate) fn renewal(input: &[u8]) {
    let mut input = Input::new(input);
    let (old, new, header) = &*LISTS;
    let mut renewal = Renewal::new(CHAIN, header, old, Buckets::new(&CHAIN, new), node(200)).expect("the right hashes");
    let missing: Vec<u8> = renewal.missing().iter().copied().collect();
    while !input.is_empty() {
        let index = *input.pick(&missing).expect("the lists differ");
        let mut bytes = bucket(index);
        match input.u8() % 3 {
            0 => {}
            1 => input.edit(&mut bytes),
            _ => bytes = input.chunk().to_vec(),
        }
        let honest = bytes == bucket(index);
        let taken = renewal.take(&[(index, bytes)].into(), node(200)).is_ok();
        assert!(taken || !honest, "the truth is not taken");
        if !taken {
            return;
        }
    }
    for index in renewal.missing().clone() {
        renewal.take(&[(index, bucket(index))].into(), node(200)).expect("the truth");
    }
    assert!(renewal.into_nodes() == *new, "another list than the header's");
}

pub(crate) fn renewal_seeds() -> Vec<Vec<u8>> {
    let given = bucket(node(7).as_bytes()[0]);
    let length = u16::try_from(given.len()).expect("a short bucket").to_be_bytes();
    vec![
        vec![0, 0, 1, 0, 2, 0],
        vec![0, 1, 1, 0, 3, 1],
        vec![0, 0, 1, 1, 2, 0, 9, 0],
        [&[3, 2][..], &length, &given].concat(),
    ]
}

pub(crate) fn rows(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if choice % 2 == 0 {
        let Ok(polls) = Polls::decode(bytes) else { return };
        assert_eq!(Polls::decode(&polls.encode()), Ok(polls));
        return;
    }
    let now = Now { monotonic: Monotonic(Duration::from_secs(9)), wall: START };
    let Ok(mut scores) = Scores::decode(bytes, now) else { return };
    let again = Scores::decode(&scores.encode(now), now).expect("what was written can be read");
    assert_eq!(again, scores);
    assert!(scores.shunned(20, now.monotonic).len() <= 5, "more than a quarter is shunned");
}

pub(crate) fn rows_seeds() -> Vec<Vec<u8>> {
    let now = Now { monotonic: Monotonic(Duration::from_secs(9)), wall: START };
    let (mut polls, mut scores) = (Polls::default(), Scores::default());
    for n in 0..4 {
        polls.answered(node(n), NOW);
        scores.reported(node(n), node(n + 1), now.monotonic);
    }
    vec![whole(0, &polls.encode()), whole(1, &scores.encode(now)), seed(1, &START.0.to_be_bytes())]
}
