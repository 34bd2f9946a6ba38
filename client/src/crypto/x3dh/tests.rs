use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::account::Entropy;
use sotto_proto::id::PublicKey;
use sotto_proto::time::UnixSeconds;

use super::super::BundleSecrets;
use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);

fn account(byte: u8) -> Account {
    Account::new(&Entropy::take(&mut [byte; 16]))
}

/// The responder's bundle and its secrets.
fn responder() -> (Bundle, BundleSecrets, Secret) {
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
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
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
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

/// By another implementation: Python's `cryptography` 48 with the secrets below.
#[test]
fn the_agreement_is_that_of_the_specification() {
    let secret = |byte: u8| Secret::take(&mut [byte; 32]);
    let (identity, ephemeral) = (Secret::from(account(1).x25519_secret()), secret(0x31));
    let (their_identity, prekey, one_time) = (Secret::from(account(2).x25519_secret()), secret(0x32), secret(0x33));
    let agreements = [
        identity.agree(&prekey.public()).unwrap(),
        ephemeral.agree(&their_identity.public()).unwrap(),
        ephemeral.agree(&prekey.public()).unwrap(),
        ephemeral.agree(&one_time.public()).unwrap(),
    ];
    let agreed = derive(&agreements, ephemeral.public());
    let [root, header, next] = agreed.secrets.parts().map(hex::encode);
    let tag = hex::encode(agreed.tag.as_bytes());
    assert_eq!([root, header, next, tag], VECTOR.map(str::to_owned));
}

const VECTOR: [&str; 4] = [
    "2e8c7d1d343a00ab3b541039fc115eda5e7484878bbfb17b14e013ee09122709",
    "037f916f340416d835be118f6d827f230630c5af032d1460acad7d1fc9dbccf6",
    "a806f1d85f351fa0cc9367c4a8cb844fbf6a8b35da70b133704c2eda38d8c9a7",
    "dc9abbb693c9b0ca5e63b76fe90651a6",
];

#[test]
fn a_key_that_gives_zeros_is_refused_in_each_of_the_four_places() {
    let (bundle, mut secrets, prekey) = responder();
    let one_time = secrets.take(0).unwrap();
    let order_eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    for small in ["00".repeat(32), format!("01{}", "00".repeat(31)), order_eight.to_owned()] {
        let small: X25519Key = small.parse().unwrap();
        let agreed = initiate(&account(1), &bundle, 0, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
        let good = header(&agreed, &account(1), 0);
        for header in
            [InitialHeader { ephemeral: small, ..good }, InitialHeader { initiator: Address::account(&small), ..good }]
        {
            let refused = respond(&account(2), &prekey, &one_time, &header);
            assert_eq!(refused.unwrap_err(), X3dhError::AllZero(AllZero));
        }
    }
}

#[test]
fn the_responder_alone_can_make_up_what_convinces_it() {
    // With the initiator's public key only: the shared secrets are the same whoever computes them.
    let (bundle, mut secrets, prekey) = responder();
    let (ephemeral, one_time) = (Secret::take(&mut [5; 32]), secrets.take(0).unwrap());
    let initiator = X25519Key::new(*account(1).address().key());
    let forged = derive(
        &[
            prekey.agree(&initiator).unwrap(),
            Secret::from(account(2).x25519_secret()).agree(&ephemeral.public()).unwrap(),
            prekey.agree(&ephemeral.public()).unwrap(),
            one_time.agree(&ephemeral.public()).unwrap(),
        ],
        ephemeral.public(),
    );
    let header = InitialHeader {
        initiator: account(1).address(),
        device: 0,
        epoch: bundle.epoch(),
        ephemeral: ephemeral.public(),
    };
    let believed = respond(&account(2), &prekey, &one_time, &header).unwrap();
    assert_eq!((believed.tag, believed.secrets.parts()), (forged.tag, forged.secrets.parts()));
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
    let agreed = initiate(&account(1), &bundle, 0, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
    assert_eq!(
        format!("{:?} {:?}", agreed.secrets, SessionTag::new([7; 16])),
        "SharedSecrets(secret) SessionTag(07070707)"
    );
}
