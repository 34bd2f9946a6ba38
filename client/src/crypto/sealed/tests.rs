mod vectors;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::account::Entropy;
use sotto_proto::content::{Body, MessageId, Text};
use sotto_proto::id::Height;
use sotto_proto::limits::budget::RATCHET_LAYER;
use sotto_proto::limits::{CONTENT_MAX, TEXT_MAX};
use sotto_proto::time::UnixMillis;

use super::super::tests::{account, low_order};
use super::super::{InitialHeader, SessionTag};
use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const TIME: UnixSeconds = UnixSeconds(1_767_225_600);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn ttl(seconds: u32) -> Ttl {
    Ttl::new(seconds).unwrap()
}

fn context(to: &Account) -> SealContext<'static> {
    SealContext { chain: &CHAIN, address: to.address(), timestamp: TIME, ttl: ttl(345_600) }
}

fn text(length: usize) -> Content {
    let body = Body::Text(Text::new("x".repeat(length)).unwrap());
    Content::new(MessageId::new([7; 16]), UnixMillis(1_767_225_600_123), body)
}

fn envelope(context: &SealContext<'_>, data: Vec<u8>) -> Envelope {
    Envelope::new(context.address, context.timestamp, context.ttl, Height(30), data).unwrap()
}

/// An envelope from account 1 to account 2.
fn sealed(content: Content) -> Envelope {
    let context = context(&account(2));
    let data = seal(&context, &account(1), content, &mut rng()).unwrap();
    envelope(&context, data)
}

/// An envelope of content made by hand.
fn sealed_by_hand(kind: u8, body: &[u8]) -> Envelope {
    let to = account(2);
    let context = context(&to);
    let ephemeral = noise::Secret::generate(&mut rng());
    let key = key_of(to.address()).unwrap();
    envelope(&context, seal_content(&seal_prologue(&context), &key, ephemeral, kind, body).unwrap())
}

fn open_as(byte: u8, envelope: &Envelope) -> Result<Opened, OpenError> {
    let account = account(byte);
    open(&CHAIN, &account.address(), &[account.x25519_secret().into()], envelope)
}

#[test]
fn a_message_comes_back_with_its_sender_at_every_data_size() {
    // What goes around the text: seal, authentication, protobuf (id 18, time 7, and the lengths of two fields).
    let mut lengths = vec![1, 1024, TEXT_MAX];
    for size in &ENVELOPE_DATA_SIZES[..5] {
        let most = (0..*size).rev().find(|length| {
            *length > 0 && data_size(1 + noise::X_LAYER + text(*length).encode().unwrap().len()) == Some(*size)
        });
        lengths.extend([most.unwrap(), most.unwrap() + 1]);
    }
    let mut sizes = std::collections::BTreeSet::new();
    for length in lengths {
        let envelope = sealed(text(length));
        sizes.insert(envelope.data().len());
        let expected = Opened::Message { sender: account(1).address(), content: text(length) };
        assert_eq!(open_as(2, &envelope).unwrap(), expected, "{length} bytes");
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), ENVELOPE_DATA_SIZES);
}

#[test]
fn a_kibibyte_of_text_fits_the_smallest_size() {
    assert_eq!(sealed(text(1024)).data().len(), ENVELOPE_DATA_SIZES[0]);
}

#[test]
fn a_copy_under_another_time_ttl_address_or_chain_does_not_open() {
    let good = sealed(text(5));
    let copy = |address, timestamp, seconds, anchor| {
        Envelope::new(address, timestamp, ttl(seconds), Height(anchor), good.data().to_vec()).unwrap()
    };
    let address = account(2).address();
    let secrets = [account(2).x25519_secret().into()];
    let other = copy(account(3).address(), TIME, 345_600, 30);
    assert!(matches!(open_as(2, &copy(address, UnixSeconds(TIME.0 + 1), 345_600, 30)), Err(OpenError::Seal(_))));
    assert!(matches!(open_as(2, &copy(address, TIME, 86_400, 30)), Err(OpenError::Seal(_))));
    assert!(matches!(open_as(2, &other), Err(OpenError::OtherAddress(_))));
    assert!(matches!(open_as(3, &other), Err(OpenError::Seal(_))));
    assert!(matches!(open(&ChainId::new([0; 32]), &address, &secrets, &good), Err(OpenError::Seal(_))));
    // The anchor is not sealed: a sender redoes the work without sealing again.
    assert!(open_as(2, &copy(address, TIME, 345_600, 60)).is_ok());
}

#[test]
fn a_changed_bit_anywhere_closes_the_seal() {
    let good = sealed(text(5));
    for at in [0, 31, 32, 100, 1647, 1648, 1663] {
        for bit in [0x01, 0x80] {
            let mut data = good.data().to_vec();
            data[at] ^= bit;
            // The top bit of an X25519 key does not count in the agreement, but it is hashed.
            let copy = envelope(&context(&account(2)), data);
            assert!(matches!(open_as(2, &copy), Err(OpenError::Seal(_))), "byte {at}, bit {bit:#x}");
        }
    }
}

#[test]
fn the_inside_of_one_message_proves_nothing_in_another() {
    // Account 2, who can open what account 1 wrote to him, takes out the inner message and seals it anew.
    let good = sealed(text(5));
    let secret = noise::Secret::from(account(2).x25519_secret());
    let payload = noise::n_open(&seal_prologue(&context(&account(2))), &secret, good.data()).unwrap();
    let (kind, body) = unpad(&payload).unwrap();
    let mut rng = ChaCha20Rng::from_seed([10; 32]);
    let context = context(&account(2));
    let key = key_of(account(2).address()).unwrap();
    let again = seal_content(&seal_prologue(&context), &key, noise::Secret::generate(&mut rng), kind, body).unwrap();
    assert!(matches!(open_as(2, &envelope(&context, again)), Err(OpenError::Sender(_))));
}

#[test]
fn a_sender_that_is_only_claimed_is_refused() {
    // A plain Content without the handshake, and one whose handshake is for another recipient.
    let plain = text(5).encode().unwrap();
    assert!(matches!(open_as(2, &sealed_by_hand(KIND_PLAIN, &plain)), Err(OpenError::Sender(_))));
    let prologue = auth_prologue(&CHAIN, account(2).address(), &noise::Secret::generate(&mut rng()).public());
    let other = key_of(account(3).address()).unwrap();
    let body = noise::x_seal(&prologue, &account(1).x25519_secret().into(), &other, &plain, &mut rng()).unwrap();
    assert!(matches!(open_as(2, &sealed_by_hand(KIND_PLAIN, &body)), Err(OpenError::Sender(_))));
}

#[test]
fn cover_is_dropped_and_what_a_later_version_sends_is_kept() {
    assert_eq!(open_as(2, &sealed_by_hand(KIND_COVER, b"whatever")).unwrap(), Opened::Cover);
    let newer = Opened::Newer { kind: 9, body: b"later".to_vec() };
    assert_eq!(open_as(2, &sealed_by_hand(9, b"later")).unwrap(), newer);
}

#[test]
fn a_session_s_message_is_sealed_to_a_mailbox_and_opens_with_one_of_its_prekeys() {
    let (old, new) = (noise::Secret::generate(&mut rng()), noise::Secret::of_ed25519_seed(&[3; 32]));
    let address = Address::mailbox(&account(2).public_key());
    let context = SealContext { address, ..context(&account(2)) };
    let body = SessionBody { tag: [7; 16].into(), message: b"ratchet".to_vec() };
    let data = seal_session(&context, &old.public(), &Inside::Session(body.clone()), &mut rng()).unwrap();
    let envelope = envelope(&context, data);
    let open = |secrets: &[noise::Secret]| open(&CHAIN, &address, secrets, &envelope);
    assert_eq!(open(&[new.clone(), old]).unwrap(), Opened::Session(body));
    assert!(matches!(open(&[new]), Err(OpenError::Seal(_))));
    assert!(matches!(open(&[]), Err(OpenError::NoKey)));
}

#[test]
fn the_largest_content_fits_the_initial_message_of_a_session_and_not_a_byte_more_does() {
    let to = account(2);
    let header = InitialHeader { initiator: to.address(), device: 0, epoch: 1, ephemeral: X25519Key::new([9; 32]) };
    let seal = |content: usize| {
        let body = SessionBody { tag: [1; 16].into(), message: vec![7; RATCHET_LAYER + content] };
        let inside = Inside::Initial(InitialMessage { header, body });
        seal_session(&context(&to), &key_of(to.address()).unwrap(), &inside, &mut rng())
    };
    assert_eq!(seal(CONTENT_MAX).unwrap().len(), ENVELOPE_DATA_SIZES[5]);
    assert!(matches!(seal(CONTENT_MAX + 1), Err(SealError::TooLong { .. })));
}

#[test]
fn padding_that_is_not_zero_and_lengths_that_lie_are_malformed() {
    let payload = |length: u32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    assert_eq!(unpad(&payload(2, b"\x09x\0\0")), Ok((9, &b"x"[..])));
    assert_eq!(unpad(&payload(2, b"\x09x\0\x01")), Err(DecodeError::Value("padding")));
    assert_eq!(unpad(&payload(0, b"\0\0")), Err(DecodeError::Value("content")));
    assert_eq!(unpad(&payload(5, b"\x09x\0\0")), Err(DecodeError::Truncated { missing: 1 }));
    assert!(matches!(unpad(&payload(u32::MAX, b"")), Err(DecodeError::TooLong { .. })));
}

#[test]
fn nothing_is_sealed_to_what_is_no_account() {
    let key = *account(2).address().key();
    for address in [Address::new(AddressKind::Mailbox, key), Address::new(AddressKind::AccountInbox, [0; 32])] {
        let context = SealContext { address, ..context(&account(2)) };
        let error = seal(&context, &account(1), text(5), &mut rng()).unwrap_err();
        assert!(matches!(error, SealError::Recipient(refused) if refused == address));
    }
}

#[test]
fn a_session_s_message_is_sealed_to_no_key_but_the_recipient_s() {
    let (bytes, other) = (*account(2).address().key(), noise::Secret::of_ed25519_seed(&[3; 32]).public());
    let own = X25519Key::new(bytes);
    let fits = |kind, key: X25519Key| {
        let context = SealContext { address: Address::new(kind, bytes), ..context(&account(2)) };
        let inside = Inside::Session(SessionBody { tag: [7; 16].into(), message: b"ratchet".to_vec() });
        match seal_session(&context, &key, &inside, &mut rng()) {
            Ok(_) => true,
            Err(SealError::Recipient(refused)) if refused == context.address => false,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(fits(AddressKind::AccountInbox, own) && !fits(AddressKind::AccountInbox, other));
    assert!(fits(AddressKind::Mailbox, own) && fits(AddressKind::Mailbox, other));
    assert!(!fits(AddressKind::GroupEpoch, own) && !fits(AddressKind::PublicRecord, own));
    assert!(low_order().into_iter().all(|key| !fits(AddressKind::Mailbox, key)));
}

#[test]
fn a_session_s_message_that_is_cut_is_malformed_and_not_of_a_later_version() {
    let initial = 1 + Address::LEN + 1 + 4 + 32 + SessionTag::LEN;
    for (kind, whole) in [(KIND_SESSION, SessionTag::LEN), (KIND_INITIAL, initial)] {
        for length in 0..whole {
            let opened = open_as(2, &sealed_by_hand(kind, &vec![1; length]));
            assert!(matches!(opened, Err(OpenError::Malformed(_))), "kind {kind}, {length} bytes");
        }
    }
}

#[test]
fn content_beyond_the_largest_size_is_refused() {
    let newer = Content { body: Body::Newer(vec![0; CONTENT_MAX + 1]), ..text(1) };
    let error = seal(&context(&account(2)), &account(1), newer, &mut rng()).unwrap_err();
    assert!(matches!(error, SealError::Content(MessageError::TooLarge { .. })), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_content_under_a_good_seal_never_panics(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        match open_as(2, &sealed_by_hand(kind, &body)) {
            Ok(Opened::Cover) => prop_assert_eq!(kind, KIND_COVER),
            Ok(Opened::Newer { kind: read, body: kept }) => prop_assert_eq!((read, kept), (kind, body)),
            Ok(Opened::Message { .. }) => prop_assert!(false, "nobody has proved anything"),
            Ok(Opened::Session(_)) => prop_assert_eq!(kind, KIND_SESSION),
            Ok(Opened::Initial(_)) => prop_assert_eq!(kind, KIND_INITIAL),
            Err(error) => prop_assert!((KIND_PLAIN..=KIND_INITIAL).contains(&kind), "{}", error),
        }
    }
}
