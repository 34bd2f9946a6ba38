use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::super::tests::{account, low_order};
use super::super::{X3dhError, initiate};
use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn bundle(byte: u8) -> (Bundle, BundleSecrets) {
    let mailbox = Address::mailbox(&PublicKey::new([6; 32]));
    let prekey = Secret::generate(&mut rng()).public();
    Bundle::create((account(byte).address(), 2), mailbox, 7, NOW, prekey, &mut rng())
}

fn signed() -> Vec<u8> {
    bundle(1).0.sign(account(1).signing_key(), &CHAIN)
}

#[test]
fn a_signed_bundle_reads_back_what_was_signed() {
    let (expected, _) = bundle(1);
    let bytes = signed();
    assert_eq!((bytes.len(), Bundle::LEN), (Bundle::SIGNED_LEN, 376));
    assert_eq!(Bundle::verify(&bytes, &CHAIN), Ok(expected.clone()));
    assert_eq!(expected.expires(), UnixSeconds(NOW.0 + 14 * 86_400));
    let placed = [(0..33, expected.account().to_bytes().to_vec()), (33..34, vec![2]), (67..71, vec![0, 0, 0, 7])];
    for (place, bytes_there) in placed {
        assert_eq!(bytes[place], bytes_there);
    }
}

#[test]
fn every_changed_byte_cut_or_addition_is_refused() {
    let good = signed();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(Bundle::verify(&bad, &CHAIN).is_err(), "byte {at}");
        assert!(Bundle::verify(&good[..at], &CHAIN).is_err(), "cut at {at}");
    }
    assert!(Bundle::verify(&[good.as_slice(), &[0]].concat(), &CHAIN).is_err());
    assert_eq!(Bundle::verify(&good, &ChainId::new([1; 32])), Err(BundleError::Signature));
}

#[test]
fn a_bundle_signed_by_somebody_else_is_refused() {
    let bytes = bundle(1).0.sign(account(2).signing_key(), &CHAIN);
    assert_eq!(Bundle::verify(&bytes, &CHAIN), Err(BundleError::Signature));
}

/// The bytes of a bundle, changed, with a signature of its account that holds.
fn signed_otherwise(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bundle(1).0.to_bytes();
    change(&mut bytes);
    let signature = account(1).signing_key().sign(domain::PREKEYS, &CHAIN, &bytes);
    [&bytes, account(1).public_key().as_bytes().as_slice(), signature.as_bytes()].concat()
}

#[test]
fn what_the_format_does_not_allow_is_refused_also_with_a_signature_that_holds() {
    let refused = |change: fn(&mut Vec<u8>)| Bundle::verify(&signed_otherwise(change), &CHAIN).unwrap_err();
    let bad = |field| BundleError::Malformed(DecodeError::Value(field));
    assert!(Bundle::verify(&signed_otherwise(|_| ()), &CHAIN).is_ok());
    assert_eq!(refused(|bytes| bytes[0] = 0x06), bad("address of a bundle"));
    assert_eq!(refused(|bytes| bytes[0] = 0x04), bad("address kind"));
    assert_eq!(refused(|bytes| bytes[33] = 8), bad("device"));
    assert_eq!(refused(|bytes| bytes[34] = 0x05), bad("address of a bundle"));
    assert_eq!(refused(|bytes| bytes[34] = 0x03), bad("address of a bundle"));
    // Created a second later, or over a second earlier.
    assert_eq!(refused(|bytes| bytes[78] ^= 1), bad("expiry of a bundle"));
    assert_eq!(refused(|bytes| bytes[86] ^= 1), bad("expiry of a bundle"));
    // It would be over before it was made.
    assert_eq!(refused(|bytes| bytes[71..79].fill(0xff)), bad("expiry of a bundle"));
    for count in [0, 7, 9] {
        let signed = signed_otherwise(|bytes| bytes[119] = count);
        assert_eq!(Bundle::verify(&signed, &CHAIN), Err(bad("count of one-time keys")));
    }
}

/// A bundle in which the signed prekey, or the one-time key of that place, is another.
fn with_key(place: usize, key: X25519Key) -> Bundle {
    let (mut bundle, _) = bundle(1);
    match bundle.one_time.get_mut(place) {
        Some(one_time) => *one_time = key,
        None => bundle.prekey = key,
    }
    bundle
}

#[test]
fn keys_of_small_order_or_in_another_encoding_are_refused_in_every_place() {
    let mut encoded_otherwise = *bundle(1).0.prekey.as_bytes();
    encoded_otherwise[31] |= 0x80;
    for key in low_order().into_iter().chain([X25519Key::new(encoded_otherwise)]) {
        for place in 0..=DEVICES_MAX {
            let bytes = with_key(place, key).sign(account(1).signing_key(), &CHAIN);
            assert_eq!(Bundle::verify(&bytes, &CHAIN), Err(BundleError::Key), "place {place}");
        }
    }
}

#[test]
fn an_initiator_agrees_on_nothing_with_a_key_of_small_order_even_if_nobody_had_verified_the_bundle() {
    for key in low_order() {
        // DH1 and DH3; DH4; DH2.
        let (prekey, one_time, mut identity) = (with_key(DEVICES_MAX, key), with_key(3, key), bundle(1).0);
        identity.account = Address::account(&key);
        for bundle in [prekey, one_time, identity] {
            let agreed = initiate(&account(2), &bundle, 3, &mut rng());
            assert!(matches!(agreed, Err(X3dhError::AllZero(_))), "{key}");
        }
    }
}

#[test]
fn a_one_time_secret_is_there_once_also_from_the_store() {
    let (bundle, mut secrets) = bundle(1);
    for slot in 0..8 {
        let key = *bundle.one_time_key(slot).unwrap();
        assert_eq!(secrets.take(slot).unwrap().public(), key);
        secrets = BundleSecrets::decode(&secrets.encode()).unwrap();
        assert!(secrets.take(slot).is_none());
    }
    assert!(secrets.take(8).is_none() && bundle.one_time_key(8).is_none());
    assert_eq!(format!("{secrets:?} {bundle:?}"), format!("BundleSecrets(0 of 8 left) {bundle:?}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn bundles_and_their_secrets_round_trip(
        device in 0..8_u8, epoch: u32, created in 0..u64::MAX / 2, mailbox: [u8; 32], seed: [u8; 32], taken: u8,
    ) {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let (whose, mailbox) = ((account(1).address(), device), Address::new(AddressKind::Mailbox, mailbox));
        let prekey = Secret::generate(&mut rng).public();
        let (bundle, mut secrets) = Bundle::create(whose, mailbox, epoch, UnixSeconds(created), prekey, &mut rng);
        let signed = bundle.sign(account(1).signing_key(), &CHAIN);
        prop_assert_eq!(Bundle::verify(&signed, &CHAIN), Ok(bundle));
        for slot in (0..8).filter(|slot| taken & (1 << slot) != 0) {
            secrets.take(slot);
        }
        let stored = secrets.encode();
        prop_assert_eq!(BundleSecrets::decode(&stored).unwrap().encode(), stored);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = Bundle::verify(&bytes, &CHAIN);
        let _ = BundleSecrets::decode(&bytes);
    }
}
