//! Envelopes and records: golden bytes, round trips, and what strict decoding refuses.

use proptest::prelude::*;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::codec::DecodeError;
use sotto_proto::domain::{BLOCK, GENESIS};
use sotto_proto::envelope::{Envelope, HEADER_LEN, Record, SEAL_OVERHEAD, Ttl, data_size};
use sotto_proto::hash::hash;
use sotto_proto::id::{ChainId, Height, RecordId};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, RECORD_MAX};
use sotto_proto::pow::{self, Difficulty, Nonce};
use sotto_proto::sign::{Ed25519, Signature, SigningKey};
use sotto_proto::time::UnixSeconds;

const ADDRESS: &str = "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72";
pub(crate) const BLOCK_HASH: &str = "eb4366fc7e1bf53686977cb851f22755298c9f469bd0931e571c5bcf4f1ec4f1";

fn chain() -> ChainId {
    ChainId::new(*hash(GENESIS, b"test vector genesis").as_bytes())
}

/// The envelope of the golden values.
pub(crate) fn golden() -> Envelope {
    let data = (0..1664).map(|i| i as u8).collect();
    let ttl = Ttl::new(345_600).unwrap();
    Envelope::new(ADDRESS.parse().unwrap(), UnixSeconds(1_790_000_000), ttl, Height(4260), data).unwrap()
}

#[test]
fn the_golden_envelope_has_its_bytes_and_id() {
    let envelope = golden();
    let bytes = envelope.encode();
    assert_eq!(
        hex::encode(&bytes[..HEADER_LEN]),
        "0105d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72\
         000000006ab13b800005460000000000000010a400000680"
    );
    assert_eq!(bytes[HEADER_LEN..], *envelope.data());
    assert_eq!(envelope.id(&chain()).to_string(), "259f570276b6ad9ca9aef5ce3cf72a0b331b4ff78c2b122faed8660d10f1a612");
    assert_eq!(envelope.expiry(), UnixSeconds(1_790_345_600));
    assert_eq!(hash(BLOCK, b"anchor").to_string(), BLOCK_HASH);
}

#[test]
fn a_record_with_enough_work_passes_and_costs_nine_bytes_more_than_its_envelope() {
    let record = Record::new(golden(), Nonce(116_712), None).unwrap();
    let bytes = record.encode();
    assert_eq!(bytes.len(), golden().encoded_len() + 9);
    assert_eq!(hex::encode(&bytes[golden().encoded_len()..]), "000000000001c7e800");
    assert_eq!(Record::decode(&bytes), Ok(record.clone()));

    let anchor = BLOCK_HASH.parse().unwrap();
    assert!(pow::verify(&record, &anchor, Difficulty::new(10).unwrap()));
    assert!(!pow::verify(&record, &anchor, Difficulty::new(1 << 20).unwrap()));
}

#[test]
fn a_group_epoch_takes_records_with_a_write_signature_of_its_key_only() {
    let (key, other) = (SigningKey::from_seed(&[3; 32]), SigningKey::from_seed(&[4; 32]));
    let address = Address::group_epoch(&key.public());
    let envelope =
        Envelope::new(address, UnixSeconds(1), Ttl::new(10).unwrap(), Height(0), vec![0; ENVELOPE_DATA_SIZES[0]])
            .unwrap();
    let id = envelope.id(&chain());
    let signed = |key: &SigningKey, id: &RecordId| {
        Record::new(envelope.clone(), Nonce(0), Some(Record::sign_write(key, &chain(), id))).unwrap()
    };
    assert!(signed(&key, &id).may_write(&Ed25519, &chain(), &id));
    assert!(!signed(&other, &id).may_write(&Ed25519, &chain(), &id));
    assert!(!signed(&key, &RecordId::new([0; 32])).may_write(&Ed25519, &chain(), &id));
    assert_eq!(Record::decode(&signed(&key, &id).encode()), Ok(signed(&key, &id)));

    assert!(Record::new(envelope, Nonce(0), None).is_err());
    assert!(Record::new(golden(), Nonce(0), Some(Signature::new([0; 64]))).is_err());
    assert!(Record::new(golden(), Nonce(0), None).unwrap().may_write(&Ed25519, &chain(), &id));
}

#[test]
fn fields_outside_their_limits_do_not_decode() {
    let good = golden().encode();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Envelope::decode(&changed)
    };
    assert_eq!(with(0, &[2]), Err(DecodeError::Value("envelope version")));
    assert_eq!(with(1, &[4]), Err(DecodeError::Value("address kind")));
    assert_eq!(with(42, &9_u32.to_be_bytes()), Err(DecodeError::Value("ttl")));
    assert_eq!(with(42, &345_601_u32.to_be_bytes()), Err(DecodeError::Value("ttl")));
    assert!(with(42, &10_u32.to_be_bytes()).is_ok());
    assert_eq!(with(54, &1665_u32.to_be_bytes()), Err(DecodeError::Truncated { missing: 1 }));
    assert_eq!(with(54, &1663_u32.to_be_bytes()), Err(DecodeError::Value("data length")));
    assert_eq!(
        with(54, &u32::MAX.to_be_bytes()),
        Err(DecodeError::TooLong { field: "data", limit: 63_424, actual: u32::MAX as usize })
    );
    assert_eq!(Envelope::decode(&[&good[..], &[0]].concat()), Err(DecodeError::Trailing(1)));

    let record = Record::new(golden(), Nonce(7), None).unwrap().encode();
    let (&last, body) = record.split_last().unwrap();
    assert_eq!(last, 0);
    for length in [1, 63, 64, 65, 255] {
        // An inbox takes no signature, whether its bytes are there or not.
        assert!(Record::decode(&[body, &[length]].concat()).is_err());
        assert!(Record::decode(&[body, &[length], &vec![0; length.into()]].concat()).is_err());
    }
}

#[test]
fn the_step_is_the_smallest_that_holds_the_sealed_content() {
    assert_eq!(data_size(0), Some(1664));
    for (step, next) in ENVELOPE_DATA_SIZES.iter().zip(ENVELOPE_DATA_SIZES[1..].iter().map(Some).chain([None])) {
        let most = step - SEAL_OVERHEAD;
        assert_eq!(data_size(most), Some(*step));
        assert_eq!(data_size(most + 1), next.copied());
    }
    assert_eq!(data_size(usize::MAX), None);
}

#[test]
fn an_expiry_beyond_all_time_is_held_there() {
    let far = UnixSeconds(u64::MAX - 1);
    let envelope = Envelope::new(golden().address(), far, golden().ttl(), Height(0), vec![0; 1664]).unwrap();
    assert_eq!(envelope.expiry(), UnixSeconds(u64::MAX));
}

#[test]
fn debug_shows_neither_key_nor_data() {
    let shown = format!("{:?}", golden());
    assert!(!shown.contains(&ADDRESS[12..]) && shown.contains("1664 bytes"), "{shown}");
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let kinds = [AddressKind::AccountInbox, AddressKind::Mailbox, AddressKind::GroupEpoch, AddressKind::PublicRecord];
    let sizes = prop::sample::select(&ENVELOPE_DATA_SIZES[..]);
    let address =
        (prop::sample::select(kinds.to_vec()), any::<[u8; 32]>()).prop_map(|(kind, key)| Address::new(kind, key));
    (address, any::<u64>(), 10..=345_600_u32, any::<u64>(), sizes, any::<u8>()).prop_map(
        |(address, time, ttl, anchor, size, fill)| {
            let data = (0..size).map(|i| fill.wrapping_mul(i as u8)).collect();
            Envelope::new(address, UnixSeconds(time), Ttl::new(ttl).unwrap(), Height(anchor), data).unwrap()
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    (envelopes(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(envelope, nonce, half)| {
        let auth = [half, half].concat().try_into().map(Signature::new).unwrap();
        let auth = (envelope.address().kind() == AddressKind::GroupEpoch).then_some(auth);
        Record::new(envelope, Nonce(nonce), auth).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_round_trip_and_fit_the_bound(record in records()) {
        let bytes = record.encode();
        prop_assert!(bytes.len() <= RECORD_MAX);
        prop_assert_eq!(&bytes[..record.envelope().encoded_len()], record.envelope().encode());
        prop_assert_eq!(Envelope::decode(&record.envelope().encode()), Ok(record.envelope().clone()));
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn no_prefix_of_a_record_is_a_record(record in records(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        prop_assert!(Record::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_changed_byte_gives_another_record_with_another_id_or_none(
        record in records(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Record::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
            let in_envelope = at < record.envelope().encoded_len();
            prop_assert_eq!(other.envelope().id(&chain()) != record.envelope().id(&chain()), in_envelope);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }

    /// Random bytes rarely get past the version, so here the header is plausible.
    #[test]
    fn nearly_right_bytes_never_panic(
        header in any::<[u8; HEADER_LEN]>(), kind in 3..8_u8, ttl in 0..400_000_u32, length in 0..1800_u32,
        rest in prop::collection::vec(any::<u8>(), 1600..1800),
    ) {
        let mut bytes = [header.as_slice(), &rest].concat();
        (bytes[0], bytes[1]) = (1, kind);
        bytes[42..46].copy_from_slice(&ttl.to_be_bytes());
        bytes[54..58].copy_from_slice(&length.to_be_bytes());
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
