use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::account::{Account, Entropy};

use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn account(byte: u8) -> Account {
    Account::new(&Entropy::take(&mut [byte; 16]))
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

#[test]
fn keys_of_small_order_are_refused_in_every_place() {
    let small = ["00".repeat(32), format!("01{}", "00".repeat(31))].map(|hex| hex.parse::<X25519Key>().unwrap());
    for key in small {
        for place in 0..=DEVICES_MAX {
            let (mut bundle, _) = bundle(1);
            if place == DEVICES_MAX {
                bundle.prekey = key
            } else {
                bundle.one_time[place] = key
            }
            let bytes = bundle.sign(account(1).signing_key(), &CHAIN);
            assert_eq!(Bundle::verify(&bytes, &CHAIN), Err(BundleError::Key), "place {place}");
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
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = Bundle::verify(&bytes, &CHAIN);
        let _ = BundleSecrets::decode(&bytes);
    }
}
