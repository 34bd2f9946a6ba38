use proptest::prelude::*;
use serde::Deserialize;
use sotto_proto::id::X25519Key;

use super::*;

/// Computed by another program from the description above.
const VECTORS: &str = include_str!("../../../tests/data/safety_number.json");

#[derive(Deserialize)]
struct Vector {
    chain: String,
    own: String,
    other: String,
    digits: String,
    code: String,
}

fn number(chain: u8, own: u8, other: u8) -> SafetyNumber {
    let account = |byte| Address::account(&X25519Key::new([byte; 32]));
    SafetyNumber::new(&ChainId::new([chain; 32]), &account(own), &account(other))
}

#[test]
fn numbers_and_codes_are_those_of_the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 4);
    for vector in vectors {
        let chain: [u8; 32] = hex::decode(&vector.chain).unwrap().try_into().unwrap();
        let number =
            SafetyNumber::new(&ChainId::new(chain), &vector.own.parse().unwrap(), &vector.other.parse().unwrap());
        assert_eq!((number.digits(), number.code()), (vector.digits, vector.code));
    }
}

#[test]
fn both_sides_see_the_same_number_and_match_each_others_codes() {
    let (alice, bob) = (number(1, 2, 3), number(1, 3, 2));
    assert_eq!(alice.digits(), bob.digits());
    assert_eq!(alice.to_string(), bob.to_string());
    assert_eq!((alice.scan(&bob.code()), bob.scan(&alice.code())), (Ok(Scanned::Match), Ok(Scanned::Match)));
    assert_eq!(alice.scan(&alice.code()), Ok(Scanned::Own), "shown back by somebody, it proves nothing");
    assert_eq!(alice.scan(&format!(" {}\n", bob.code().to_lowercase())), Ok(Scanned::Match));
}

#[test]
fn another_account_or_network_has_another_number() {
    let alice = number(1, 2, 3);
    // Between them stands somebody with two accounts.
    for other in [number(1, 4, 2), number(1, 3, 4), number(2, 3, 2), number(1, 4, 5)] {
        assert_eq!(alice.scan(&other.code()), Ok(Scanned::Other));
        assert_ne!(alice.digits(), other.digits());
        assert_eq!(alice.matches(&other.digits()), Ok(false));
    }
}

#[test]
fn digits_are_compared_however_they_are_spaced() {
    let alice = number(1, 2, 3);
    for typed in [alice.digits(), alice.to_string(), format!("  {}\t", alice.digits())] {
        assert_eq!(alice.matches(&typed), Ok(true));
    }
    assert_eq!(alice.to_string().lines().map(str::len).collect::<Vec<_>>(), [35, 35]);
    assert_eq!(alice.matches("12345 67890"), Err(DigitsError { found: 10 }));
    assert_eq!(
        alice.matches(&alice.digits().replacen(|c: char| c.is_ascii_digit(), "x", 1)).map_err(|e| e.found),
        Err(60)
    );
}

#[test]
fn what_is_no_code_of_this_version_is_refused() {
    let code = number(1, 2, 3).code();
    let newer = code.replacen("VERIFY:01", "VERIFY:02", 1);
    assert_eq!(number(1, 3, 2).scan(&newer), Err(CodeError::Version { found: 2 }));
    for bad in ["", "SOTTO-VERIFY:", &code[13..], &code[..code.len() - 2], &format!("{code}00"), "SOTTO-VERIFY:zz"] {
        assert_eq!(number(1, 3, 2).scan(bad), Err(CodeError::Form), "{bad}");
    }
}

#[test]
fn debug_does_not_tell_who_talks_with_whom() {
    assert_eq!(format!("{:?}", number(1, 2, 3)), "SafetyNumber(of two accounts)");
}

proptest! {
    #[test]
    fn whatever_is_scanned_or_typed_never_panics(text in ".{0,200}", hex in "[0-9A-F]{0,140}") {
        let number = SafetyNumber { own: [1; 32], other: [2; 32] };
        prop_assert!(number.scan(&text).is_err());
        prop_assert_ne!(number.scan(&format!("{PREFIX}{hex}")), Ok(Scanned::Match));
        prop_assert_ne!(number.matches(&text), Ok(true));
    }
}
