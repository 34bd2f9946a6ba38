use serde::Deserialize;

use super::*;

/// Appendix B.3 of draft-irtf-cfrg-cpace-21, and A.1 for the lengths.
const VECTORS: &str = include_str!("../../../../tests/data/cpace_ristretto255.json");

#[derive(Deserialize)]
struct Vectors {
    prs: String,
    ci: String,
    sid: String,
    generator_string: String,
    g: String,
    ya: String,
    ada: String,
    share_a: String,
    yb: String,
    adb: String,
    share_b: String,
    k: String,
    isk_ir: String,
    valid: Product,
    invalid: Vec<String>,
}

#[derive(Deserialize)]
struct Product {
    s: String,
    x: String,
    product: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(VECTORS).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn array(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

fn exponent(hex: &str) -> Exponent {
    Exponent::read(&array(hex)).unwrap()
}

#[test]
fn the_generator_is_that_of_the_draft() {
    let vectors = vectors();
    let (prs, ci, sid) = (bytes(&vectors.prs), bytes(&vectors.ci), bytes(&vectors.sid));
    assert_eq!(hex::encode(generator_string(&prs, &ci, &sid)), vectors.generator_string);
    assert_eq!(hex::encode(generator(&prs, &ci, &sid).compress().as_bytes()), vectors.g);
}

#[test]
fn shares_and_keys_are_those_of_the_draft() {
    let vectors = vectors();
    let (prs, ci, sid) = (bytes(&vectors.prs), bytes(&vectors.ci), bytes(&vectors.sid));
    let generator = generator(&prs, &ci, &sid);
    let (ya, yb) = (exponent(&vectors.ya), exponent(&vectors.yb));
    let (share_a, share_b) = (ya.times_generator(&generator), yb.times_generator(&generator));
    assert_eq!((hex::encode(share_a), hex::encode(share_b)), (vectors.share_a, vectors.share_b));
    let transcript = [lv_cat(&[&share_a, &bytes(&vectors.ada)]), lv_cat(&[&share_b, &bytes(&vectors.adb)])].concat();
    for shared in [ya.times(&share_b).unwrap(), yb.times(&share_a).unwrap()] {
        assert_eq!(hex::encode(*shared), vectors.k);
        assert_eq!(hex::encode(*IntermediateKey::new(&sid, &shared, &transcript).0), vectors.isk_ir);
    }
}

#[test]
fn what_is_no_element_and_the_neutral_one_are_refused() {
    let Vectors { valid, invalid, .. } = vectors();
    let scalar = exponent(&valid.s);
    assert_eq!(scalar.times(&array(&valid.x)).map(|product| hex::encode(*product)), Some(valid.product));
    assert_eq!(invalid.len(), 2);
    for share in invalid {
        assert!(scalar.times(&array(&share)).is_none(), "{share}");
    }
    assert!(scalar.times(&[0xff; 32]).is_none());
}

#[test]
fn lengths_stand_in_seven_bits_a_byte() {
    let all: Vec<u8> = (0..=127).collect();
    assert_eq!(lv_cat(&[]), [0; 0]);
    assert_eq!(lv_cat(&[b""]), [0]);
    assert_eq!(lv_cat(&[b"1234"]), *b"\x041234");
    assert_eq!(lv_cat(&[b"1234", b"5", b"", b"678"]), *b"\x041234\x015\0\x03678");
    assert_eq!(lv_cat(&[&all[..127]]), [&[127][..], &all[..127]].concat());
    assert_eq!(lv_cat(&[&all]), [&[0x80, 1][..], &all].concat());
    assert_eq!(lv_cat(&[&[7; 300]])[..3], [0xac, 2, 7]);
}

#[test]
fn the_first_block_is_full_whatever_the_length_of_the_secret() {
    for length in [0, 1, 8, 100, 108, 109, 127, 128, 200] {
        let string = generator_string(&vec![b'x'; length], b"channel", b"session");
        // Name and secret with their lengths, then zeros.
        let secret = DSI.len() + 1 + length + if length < 128 { 1 } else { 2 };
        let zeros = string[secret + 1..].iter().take_while(|byte| **byte == 0).count();
        assert!(secret + 1 + zeros >= BLOCK, "{length}");
        assert_eq!(usize::from(string[secret]), zeros, "{length}");
        assert!(zeros == 0 || secret + 1 + zeros == BLOCK, "{length}");
        assert!(string.ends_with(b"\x07channel\x07session"));
    }
}

#[test]
fn only_canonical_scalars_are_read() {
    assert!(Exponent::read(&[0xff; 32]).is_none());
    let scalar = exponent(&vectors().ya);
    assert_eq!(hex::encode(*scalar.expose()), vectors().ya);
}
