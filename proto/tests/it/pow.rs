//! Proof of work: the published cases, our golden values, and the lanes against the scalar hash.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use sotto_proto::pow::lanes::{BATCH, Block};
use sotto_proto::pow::{self, Difficulty, Lanes, Nonce, Search, Target, Work};

use crate::envelope::{BLOCK_HASH, golden};

fn published() -> Value {
    serde_json::from_str(include_str!("../data/pow.json")).unwrap()
}

fn difficulty(value: &Value) -> Difficulty {
    Difficulty::new(u32::try_from(value["difficulty"].as_u64().unwrap()).unwrap()).unwrap()
}

/// Standard base64 with padding, enough for the test data.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').chars().map(|c| DIGITS.find(c).unwrap() as u32);
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0);
    for digit in digits {
        (bits, held) = ((bits << 6 | digit) & 0xffff, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn every_published_case_has_its_digest_value_target_and_verdict() {
    let published = published();
    let cases = published["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let text = |field: &str| case[field].as_str().unwrap();
        let payload = [text("timestamp"), text("ttl"), text("pubkey"), text("data")].concat();
        let nonce = base64(text("nonce")).try_into().unwrap();
        // The field is in milliseconds, and hashed as such; the formula takes seconds.
        let ttl_seconds = text("ttl").parse::<u32>().unwrap() / 1000;

        let trial = pow::trial(nonce, payload.as_bytes());
        assert_eq!(hex::encode(trial), text("hash_sha512"), "{}", text("name"));
        assert_eq!(pow::value(&trial).to_string(), text("value"));
        let total_len = payload.len() + 8;
        assert_eq!(total_len as u64, case["total_len"].as_u64().unwrap());
        let target = pow::target(total_len, ttl_seconds, difficulty(case));
        assert_eq!(target.0.to_string(), text("target"));
        assert_eq!(target.admits(pow::value(&trial)), case["valid"].as_bool().unwrap());
    }
}

#[test]
fn the_published_target_comes_out() {
    for case in published()["calc_target"].as_array().unwrap() {
        let number = |field: &str| usize::try_from(case[field].as_u64().unwrap()).unwrap();
        let ttl_seconds = u32::try_from(number("ttl_ms") / 1000).unwrap();
        let target = pow::target(number("payload_len") + 8, ttl_seconds, difficulty(case));
        assert_eq!(Value::from(target.0.to_be_bytes().to_vec()), case["target"]);
    }
}

#[test]
fn nonces_count_up_and_wrap_as_published() {
    for case in published()["increment_nonce"].as_array().unwrap() {
        let bytes = |field: &str| -> [u8; 8] { serde_json::from_value(case[field].clone()).unwrap() };
        let times = case.get("times").map_or(1, |times| times.as_u64().unwrap());
        let counted = (0..times).fold(Nonce::from_bytes(bytes("in")), |nonce, _| nonce.plus(1));
        assert_eq!(counted.to_bytes(), bytes("out"));
    }
}

#[test]
fn the_golden_envelope_has_its_inner_hash_target_nonce_and_value() {
    let work = Work::new(&golden(), &BLOCK_HASH.parse().unwrap());
    assert_eq!(
        hex::encode(work.inner()),
        "31cc86af47f0f95a97c2a1fb2f351f65e90a491c3d94110c9af49eb02225ea65\
         59a91d8f5c191cd121222b6e9ccb8889d981a26a4d58f26b269432fffb3bfcef"
    );
    let ten = Difficulty::new(10).unwrap();
    assert_eq!(work.target(ten), Target(168_125_629_545_293));
    assert_eq!(work.prove(ten, Nonce(0), &Search::new()), Ok(Nonce(116_712)));
    assert_eq!(work.prove_on(NonZeroUsize::MIN, ten, Nonce(0), &Search::new()), Ok(Nonce(116_712)));
    assert_eq!(work.value(Nonce(116_712)), 33_046_776_697_170);
    assert!(work.verify(Nonce(116_712), ten));
    assert!(!work.verify(Nonce(116_713), ten));
}

#[test]
fn work_for_one_anchor_or_envelope_is_no_work_for_another() {
    let work = Work::new(&golden(), &BLOCK_HASH.parse().unwrap());
    let other_anchor = Work::new(&golden(), &"00".repeat(32).parse().unwrap());
    assert_ne!(work.inner(), other_anchor.inner());
    assert!(!other_anchor.verify(Nonce(116_712), Difficulty::new(10).unwrap()));
}

proptest! {
    #[test]
    fn lanes_agree_with_the_scalar_hash(
        inner in prop::array::uniform32(any::<u8>()).prop_flat_map(|half| {
            prop::array::uniform32(any::<u8>()).prop_map(move |other| -> [u8; 64] {
                [half, other].concat().try_into().unwrap()
            })
        }),
        start in any::<u64>(),
        one_in in 1..400_u64,
    ) {
        let (batches, start, target) = (32_u32, Nonce(start), Target(u64::MAX / one_in));
        let scalar = (0..u64::from(batches) * BATCH).map(|step| start.plus(step)).find(|nonce| {
            let trial: [u8; 64] = Sha512::new().chain_update(nonce.to_bytes()).chain_update(inner).finalize().into();
            target.admits(pow::value(&trial))
        });
        let block = Block::new(&inner);
        for lanes in Lanes::available() {
            prop_assert_eq!(lanes.first(&block, target, start, batches), scalar, "{:?}", lanes);
        }
    }

    #[test]
    fn more_difficulty_length_or_time_never_makes_work_easier(
        len in 93..70_000_usize, ttl in 10..345_600_u32, difficulty in 1..u32::MAX,
    ) {
        let target = |len, ttl, difficulty| pow::target(len, ttl, Difficulty::new(difficulty).unwrap());
        let here = target(len, ttl, difficulty);
        prop_assert!(target(len + 1, ttl, difficulty) <= here);
        prop_assert!(target(len, ttl + 1, difficulty) <= here);
        prop_assert!(target(len, ttl, difficulty + 1) <= here);
    }
}
