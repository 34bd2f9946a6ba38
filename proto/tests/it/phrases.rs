//! Phrases: the published ones, both directions, and what a person who mistyped one is told.

use proptest::prelude::*;
use serde_json::Value;
use sotto_proto::account::phrase::PhraseError;
use sotto_proto::account::{Account, Entropy};

fn published() -> Value {
    serde_json::from_str(include_str!("../data/mnemonic.json")).unwrap()
}

fn entropy(bytes: [u8; 16]) -> Entropy {
    Entropy::take(&mut bytes.clone())
}

fn error(text: &str) -> PhraseError {
    Entropy::from_phrase(text).unwrap_err()
}

#[test]
fn every_published_session_phrase_is_read_and_written_and_gives_its_account() {
    let published = published();
    let cases = published["ok"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let text = |field: &str| case[field].as_str().unwrap();
        let read = Entropy::from_phrase(text("mnemonic")).unwrap();
        assert_eq!(hex::encode(read.expose()), text("seed16"));
        assert_eq!(read.to_session_phrase().expose(), text("mnemonic"));

        let account = Account::new(&read);
        assert_eq!(account.public_key().to_string(), text("ed25519_pk"));
        assert_eq!(account.address().to_string(), text("account_id"));
    }
}

#[test]
fn every_published_bad_phrase_is_refused_for_its_reason() {
    for case in published()["bad"].as_array().unwrap() {
        let error = error(case["mnemonic"].as_str().unwrap());
        match case["why"].as_str().unwrap() {
            "wrong checksum word" => assert_eq!(error, PhraseError::Checksum),
            "unknown word" => assert_eq!(error, PhraseError::UnknownWord { position: 1, suggestion: None }),
            why => panic!("no expectation for {why:?}"),
        }
    }
}

#[test]
fn the_word_list_is_the_published_one() {
    let words: Vec<String> = serde_json::from_str(include_str!("../data/mnemonic_words_en.json")).unwrap();
    let built_in: Vec<&str> = include_str!("../../src/account/session_words.txt").lines().collect();
    assert_eq!(built_in, words);
}

#[test]
fn bip39_phrases_are_the_published_ones() {
    // https://github.com/trezor/python-mnemonic/blob/master/vectors.json, the English ones of 128 bits.
    for (bytes, words) in [
        (
            "00000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
        ),
        (
            "80808080808080808080808080808080",
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        ),
        ("ffffffffffffffffffffffffffffffff", "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"),
        (
            "9e885d952ad362caeb4efe34a8e91bd2",
            "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic",
        ),
    ] {
        let read = Entropy::from_phrase(words).unwrap();
        assert_eq!(hex::encode(read.expose()), bytes);
        assert_eq!(read.to_phrase().expose(), words);
    }
}

#[test]
fn case_and_white_space_do_not_matter() {
    let words = "  Legal WINNER thank\tyear wave sausage\nworth useful legal winner  thank yellow\r\n";
    assert_eq!(Entropy::from_phrase(words).unwrap().expose(), &[0x7f; 16]);
}

#[test]
fn a_mistyped_word_is_named_with_its_place_and_the_word_that_was_meant() {
    let bip39 = error("legal winner thank year wave sausgae worth useful legal winner thank yellow");
    assert_eq!(bip39, PhraseError::UnknownWord { position: 6, suggestion: Some("sausage") });
    assert_eq!(bip39.to_string(), "word 6 is not in the word list; did you mean \"sausage\"?");

    let session = error("virtual rounded dating itself sober fleet adrenaline puzzled wept rural axis fictional fleet");
    assert_eq!(session, PhraseError::UnknownWord { position: 7, suggestion: Some("adrenalin") });

    let hopeless = error("virtual rounded dating itself sober fleet \u{1F511} puzzled wept rural axis fictional fleet");
    assert_eq!(hopeless.to_string(), "word 7 is not in the word list");
}

#[test]
fn any_other_number_of_words_is_refused() {
    for count in (0..30).filter(|count| ![12, 13].contains(count)) {
        assert_eq!(error(&"abandon ".repeat(count)), PhraseError::WordCount { actual: count });
    }
}

#[test]
fn a_wrong_checksum_is_refused_in_both_kinds() {
    let swapped = "winner legal thank year wave sausage worth useful legal winner thank yellow";
    assert_eq!(error(swapped), PhraseError::Checksum);
    let swapped = "rounded virtual dating itself sober fleet adrenalin puzzled wept rural axis fictional fleet";
    assert_eq!(error(swapped), PhraseError::Checksum);
}

#[test]
fn three_words_that_stand_for_no_number_are_refused() {
    // "zoom" is the last word; the triple of digits 1625, 1625, 1625 is 1626³ − 1 and does not fit 32 bits.
    let words: Vec<&str> = include_str!("../../src/account/session_words.txt").lines().collect();
    let triple = [words[1625], words[1624], words[1623]];
    let twelve = [[words[0]; 3], triple, [words[0]; 3], [words[0]; 3]].concat();
    let refused = twelve.iter().map(|last| error(&[twelve.join(" "), (*last).to_owned()].join(" ")));
    assert!(refused.into_iter().any(|error| error == PhraseError::Impossible { first: 4 }));
}

proptest! {
    #[test]
    fn both_phrases_lead_back_to_the_same_account(bytes in any::<[u8; 16]>()) {
        let original = entropy(bytes);
        let address = Account::new(&original).address();
        for (phrase, words) in [(original.to_phrase(), 12), (original.to_session_phrase(), 13)] {
            prop_assert_eq!(phrase.expose().split(' ').count(), words);
            let read = Entropy::from_phrase(phrase.expose()).unwrap();
            prop_assert_eq!(read.expose(), &bytes);
            prop_assert_eq!(Account::new(&read).address(), address);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", words in prop::collection::vec("[a-z]{0,20}", 12..14)) {
        prop_assert!(Entropy::from_phrase(&text).is_err());
        prop_assert!(Entropy::from_phrase(&words.join(" ")).is_err());
    }
}
