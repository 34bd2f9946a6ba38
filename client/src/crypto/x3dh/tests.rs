use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::account::Entropy;
use sotto_proto::id::PublicKey;
use sotto_proto::time::UnixSeconds;

use super::super::BundleSecrets;
use super::super::tests::{account, low_order};
use super::*;

mod vectors;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// The responder's bundle and its secrets.
fn responder() -> (Bundle, BundleSecrets, Secret) {
    let mut rng = rng(9);
    let (mailbox, prekey) = (Address::mailbox(&PublicKey::new([6; 32])), Secret::generate(&mut rng));
    let whose = (account(2).address(), 0);
    let (bundle, secrets) = Bundle::create(whose, mailbox, 7, UnixSeconds(1), prekey.public(), &mut rng);
    (bundle, secrets, prekey)
}

fn header(agreed: &Agreed, initiator: &Account, device: u8) -> InitialHeader {
    InitialHeader { initiator: initiator.address(), device, epoch: 7, ephemeral: agreed.ephemeral }
}

#[test]
fn both_sides_agree_for_each_device_and_no_two_alike() {
    let (bundle, mut secrets, prekey) = responder();
    let mut rng = rng(1);
    let mut tags = std::collections::BTreeSet::new();
    for device in 0..8 {
        let agreed = initiate(&account(1), &bundle, device, &mut rng).unwrap();
        let one_time = secrets.take(device).unwrap();
        let same = respond(&account(2), &prekey, &one_time, &header(&agreed, &account(1), device)).unwrap();
        assert_eq!((same.secrets.parts(), same.tag), (agreed.secrets.parts(), agreed.tag));
        assert!(tags.insert(agreed.tag));
        let [root, header_key, next] = agreed.secrets.parts();
        assert!(root != header_key && header_key != next && root != next);
    }
    assert_eq!(initiate(&account(1), &bundle, 8, &mut rng).unwrap_err(), X3dhError::Slot(8));
}

#[test]
fn a_key_that_gives_zeros_is_refused_in_each_of_the_four_places() {
    let (bundle, mut secrets, prekey) = responder();
    let one_time = secrets.take(0).unwrap();
    let good = header(&initiate(&account(1), &bundle, 0, &mut rng(1)).unwrap(), &account(1), 0);
    for small in low_order() {
        // DH1, by the initiator's identity key; the other three, by its ephemeral key.
        let initiator = InitialHeader { initiator: Address::account(&small), ..good };
        for header in [initiator, InitialHeader { ephemeral: small, ..good }] {
            let refused = respond(&account(2), &prekey, &one_time, &header);
            assert_eq!(refused.unwrap_err(), X3dhError::AllZero(AllZero), "{small}");
        }
        // Of each place alone: what the responder agrees with is agreed with by a secret of its own.
        for secret in [&prekey, &one_time, &Secret::from(account(2).x25519_secret())] {
            assert_eq!(secret.agree(&small), Err(AllZero), "{small}");
        }
    }
}

#[test]
fn nobody_begins_as_somebody_else_not_even_by_the_identity_key_of_the_responder() {
    let (bundle, mut secrets, prekey) = responder();
    let one_time = secrets.take(0).unwrap();
    // A stranger, and whoever stole the responder's identity key but neither of its prekeys: both lack DH1.
    for somebody in [account(3), account(2)] {
        let agreed = initiate(&somebody, &bundle, 0, &mut rng(1)).unwrap();
        let believed = respond(&account(2), &prekey, &one_time, &header(&agreed, &account(1), 0)).unwrap();
        assert_ne!(believed.tag, agreed.tag);
        assert!(believed.secrets.parts().iter().zip(agreed.secrets.parts()).all(|(one, other)| *one != other));
    }
}

#[test]
fn messages_are_bound_to_both_ends_and_the_session() {
    let tag = SessionTag::new([7; 16]);
    let (one, other) = ((account(1).address(), 0), (account(2).address(), 3));
    let bytes = associated_data(&CHAIN, one, other, &tag);
    assert_eq!(bytes.len(), 1 + 10 + 32 + 34 + 34 + 16);
    assert_ne!(bytes, associated_data(&CHAIN, other, one, &tag));
    assert_ne!(bytes, associated_data(&CHAIN, (one.0, 1), other, &tag));
}

#[test]
fn debug_shows_no_secret() {
    let (bundle, ..) = responder();
    let agreed = initiate(&account(1), &bundle, 0, &mut rng(1)).unwrap();
    assert_eq!(
        format!("{:?} {:?}", agreed.secrets, SessionTag::new([7; 16])),
        "SharedSecrets(secret) SessionTag(07070707)"
    );
}
