use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};
use sotto_proto::account::{Account, Entropy};

use super::super::tests::{Tape, account};
use super::*;

const VECTORS: &str = include_str!("../../../tests/data/introduction.json");

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
/// A midnight.
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn places(count: u8) -> Vec<(NodeId, ListeningTag)> {
    (0..count).map(|n| (NodeId::new([n; 32]), ListeningTag::new([n; 16]))).collect()
}

fn after(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

fn set(count: u8) -> Introduction {
    Introduction::new(account(1).address(), NOW, after(300), places(count))
}

/// What `by` signs, at the address of the account that the set is about.
fn sealed(set: &Introduction, by: u8) -> Vec<u8> {
    set.seal(account(by).signing_key(), &CHAIN, &mut rng())
}

fn open(data: &[u8], now: UnixSeconds) -> Result<Introduction, IntroductionError> {
    Introduction::open(data, &account(1).address(), &CHAIN, NOW, now)
}

#[test]
fn a_set_opens_for_whoever_knows_the_account_and_is_as_long_as_any_small_message() {
    for count in 0..=3 {
        let data = sealed(&set(count), 1);
        assert_eq!(data.len(), ENVELOPE_DATA_SIZES[0]);
        assert_eq!(open(&data, NOW), Ok(set(count)));
    }
    assert_eq!(set(5).places(), places(3), "of more places the first ones");
}

/// From fixed secrets. Python's `hashlib` and `cryptography` 48, from the descriptions alone, make the same of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    chain: String,
    entropy: String,
    issued: u64,
    expires: u64,
    places: Vec<(String, String)>,
    nonce: String,
    account: String,
    address: String,
    key: String,
    data: String,
}

impl Vector {
    fn draw(number: u8) -> Self {
        let chars = |byte: u8, count: usize| hex::encode(vec![byte; count]);
        let issued = 1_767_225_600 + 86_399 * u64::from(number);
        let places = (1..=number).map(|place| (chars(place, 32), chars(16 * place, 16))).collect();
        let (chain, entropy, nonce) = (chars(0xc0 + number, 32), chars(0xe0 + number, 16), chars(0xf0 + number, 24));
        let (account, address, key, data) = Default::default();
        let vector = Self { chain, entropy, issued, expires: issued + 500, places, nonce, account, address, key, data };
        vector.filled()
    }

    /// With what follows from the rest.
    fn filled(&self) -> Self {
        let bytes = |hex: &str| hex::decode(hex).unwrap();
        let account = Account::new(&Entropy::take(&mut bytes(&self.entropy).try_into().unwrap()));
        let (address, issued) = (account.address(), UnixSeconds(self.issued));
        let places = self.places.iter().map(|(node, tag)| {
            (NodeId::new(bytes(node).try_into().unwrap()), ListeningTag::new(bytes(tag).try_into().unwrap()))
        });
        let set = Introduction::new(address, issued, UnixSeconds(self.expires), places);
        let chain = ChainId::new(bytes(&self.chain).try_into().unwrap());
        let data = set.seal(account.signing_key(), &chain, &mut Tape(bytes(&self.nonce)));
        assert_eq!(Introduction::open(&data, &address, &chain, issued, issued), Ok(set));
        Self {
            account: address.to_string(),
            address: introduction_address(&address, issued).to_string(),
            key: hex::encode(derived(domain::INTROSET_KEY, &address, issued)),
            data: hex::encode(data),
            ..self.clone()
        }
    }
}

#[test]
fn records_are_those_of_the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 3);
    for vector in vectors {
        assert_eq!(vector.filled(), vector);
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write_introduction_vectors() {
    let vectors = [0, 1, 3].map(Vector::draw);
    std::fs::write("tests/data/introduction.json", serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}

#[test]
fn the_address_changes_with_the_day() {
    let account = account(1).address();
    assert_eq!(introduction_address(&account, after(86_399)), introduction_address(&account, NOW));
    assert_ne!(introduction_address(&account, after(86_400)), introduction_address(&account, NOW));
}

#[test]
fn every_changed_byte_cut_or_addition_is_refused() {
    let good = sealed(&set(2), 1);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(open(&bad, NOW), Err(IntroductionError::Sealed), "byte {at}");
    }
    for length in [0, 23, 24, 39, 40, good.len() - 1] {
        assert_eq!(open(&good[..length], NOW), Err(IntroductionError::Sealed), "{length} bytes");
    }
    assert!(open(&[good.as_slice(), &[0]].concat(), NOW).is_err());
}

#[test]
fn another_account_chain_day_or_signer_is_refused() {
    let data = sealed(&set(1), 1);
    let other = account(2).address();
    assert_eq!(Introduction::open(&data, &other, &CHAIN, NOW, NOW), Err(IntroductionError::Sealed));
    let mine = account(1).address();
    assert!(Introduction::open(&data, &mine, &ChainId::new([0; 32]), NOW, NOW).is_err());
    assert!(Introduction::open(&data, &mine, &CHAIN, after(86_400), NOW).is_err());
    // Whoever knows the id can seal, and cannot sign.
    assert_eq!(open(&sealed(&set(1), 2), NOW), Err(IntroductionError::Signature));
}

#[test]
fn it_holds_from_its_issue_to_its_end_and_for_ten_minutes_at_most() {
    let data = sealed(&set(1), 1);
    assert!(open(&data, UnixSeconds(NOW.0 - 60)).is_ok() && open(&data, after(299)).is_ok());
    for now in [UnixSeconds(NOW.0 - 61), after(300), UnixSeconds(u64::MAX)] {
        assert_eq!(open(&data, now), Err(IntroductionError::Time), "{now:?}");
    }
    let long = Introduction::new(account(1).address(), NOW, after(86_400), places(1));
    assert_eq!(long.expires(), after(600));
    let longer = Introduction { expires: after(601), ..set(1) };
    assert_eq!(open(&sealed(&longer, 1), NOW), Err(IntroductionError::Time));
    let never = Introduction { issued: UnixSeconds(u64::MAX), ..set(1) };
    assert!(Introduction::open(&sealed(&never, 1), &account(1).address(), &CHAIN, never.issued, NOW).is_err());
}
