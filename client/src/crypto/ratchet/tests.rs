mod vectors;

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::account::{Account, Entropy};
use sotto_proto::address::Address;
use sotto_proto::id::PublicKey;
use sotto_proto::limits::{SKIPPED_CHAINS_MAX, SKIPPED_MAX};

use super::super::{Bundle, InitialHeader, initiate, respond};
use super::*;

const AD: &[u8] = b"both ends";
const NOW: UnixSeconds = UnixSeconds(1000);

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// Initiator and responder of a new session.
fn pair(rng: &mut ChaCha20Rng) -> (Ratchet, Ratchet) {
    let [one, other] = [1, 2].map(|byte| Account::new(&Entropy::take(&mut [byte; 16])));
    let (mailbox, prekey) = (Address::mailbox(&PublicKey::new([6; 32])), Secret::generate(rng));
    let (bundle, mut secrets) = Bundle::create((other.address(), 0), mailbox, 1, UnixSeconds(1), prekey.public(), rng);
    let agreed = initiate(&one, &bundle, 0, rng).unwrap();
    let header = InitialHeader { initiator: one.address(), device: 0, epoch: 1, ephemeral: agreed.ephemeral };
    let same = respond(&other, &prekey, &secrets.take(0).unwrap(), &header).unwrap();
    let initiator = Ratchet::initiator(&agreed.secrets, &prekey.public(), rng).unwrap();
    (initiator, Ratchet::responder(&same.secrets, prekey))
}

fn opens(to: &mut Ratchet, message: &[u8]) -> Vec<u8> {
    to.decrypt(AD, message, NOW).unwrap().plaintext.to_vec()
}

fn fails(to: &mut Ratchet, message: &[u8]) -> DecryptError {
    let before = (to.encode_core(), to.encode_skipped());
    let error = to.decrypt(AD, message, NOW).unwrap_err();
    assert_eq!((to.encode_core(), to.encode_skipped()), before, "a failure changes nothing");
    error
}

#[test]
fn messages_go_both_ways_and_the_responder_cannot_begin() {
    let mut rng = rng(1);
    let (mut alice, mut bob) = pair(&mut rng);
    assert_eq!(bob.encrypt(AD, b"too early", &mut rng), Err(EncryptError::NotYet));
    for turn in 0..20_u8 {
        for n in 0..3 {
            let message = alice.encrypt(AD, &[turn, n], &mut rng).unwrap();
            assert_eq!(message.len(), SEALED_HEADER + keys::BODY_OVERHEAD + 2);
            assert_eq!(opens(&mut bob, &message), [turn, n]);
        }
        let message = bob.encrypt(AD, &[turn], &mut rng).unwrap();
        assert_eq!(opens(&mut alice, &message), [turn]);
    }
    assert_eq!((alice.skipped.len(), bob.skipped.len()), (0, 0));
}

#[test]
fn overtaken_messages_open_once_also_after_steps_and_from_the_store() {
    let mut rng = rng(2);
    let (mut alice, mut bob) = pair(&mut rng);
    let first: Vec<_> = (0..5_u8).map(|n| alice.encrypt(AD, &[n], &mut rng).unwrap()).collect();
    assert_eq!(opens(&mut bob, &first[4]), [4]);
    let answer = bob.encrypt(AD, b"answer", &mut rng).unwrap();
    opens(&mut alice, &answer);
    let second: Vec<_> = (5..8_u8).map(|n| alice.encrypt(AD, &[n], &mut rng).unwrap()).collect();
    assert_eq!(opens(&mut bob, &second[2]), [7]);
    bob = Ratchet::decode(&bob.encode_core(), Some(&bob.encode_skipped())).unwrap();
    for message in [&first[0], &first[2], &second[0], &first[3], &first[1], &second[1]] {
        opens(&mut bob, message);
        assert!(matches!(fails(&mut bob, message), DecryptError::Repeated | DecryptError::Unknown));
    }
    assert_eq!(bob.skipped.len(), 0);
    for message in first.iter().chain(&second) {
        assert!(matches!(fails(&mut bob, message), DecryptError::Repeated | DecryptError::Unknown));
    }
}

#[test]
fn a_header_may_skip_a_thousand_messages_and_no_more() {
    let mut rng = rng(3);
    let (mut alice, mut bob) = pair(&mut rng);
    for _ in 0..SKIP_MAX {
        alice.encrypt(AD, b"lost", &mut rng).unwrap();
    }
    let most = alice.encrypt(AD, b"most", &mut rng).unwrap();
    alice.encrypt(AD, b"lost", &mut rng).unwrap();
    let mut other = Ratchet::decode(&bob.encode_core(), None).unwrap();
    let beyond = alice.encrypt(AD, b"beyond", &mut rng).unwrap();
    assert_eq!(fails(&mut other, &beyond), DecryptError::TooManySkipped { skipped: SKIP_MAX + 2 });
    assert_eq!(opens(&mut bob, &most), b"most");
    assert_eq!(bob.skipped.len(), SKIP_MAX as usize);
    assert_eq!(opens(&mut bob, &beyond), b"beyond");
}

#[test]
fn a_chain_left_too_far_behind_costs_its_keys_and_not_the_session() {
    let mut rng = rng(10);
    let (mut alice, mut bob) = pair(&mut rng);
    let first = alice.encrypt(AD, b"first", &mut rng).unwrap();
    opens(&mut bob, &first);
    let late = alice.encrypt(AD, b"late", &mut rng).unwrap();
    for _ in 0..SKIP_MAX {
        alice.encrypt(AD, b"lost", &mut rng).unwrap();
    }
    let beyond = alice.encrypt(AD, b"beyond", &mut rng).unwrap();
    assert_eq!(fails(&mut bob, &beyond), DecryptError::TooManySkipped { skipped: SKIP_MAX + 1 });
    let answer = bob.encrypt(AD, b"answer", &mut rng).unwrap();
    opens(&mut alice, &answer);
    let after = alice.encrypt(AD, b"after", &mut rng).unwrap();
    let decrypted = bob.decrypt(AD, &after, NOW).unwrap();
    assert_eq!((decrypted.plaintext.as_slice(), decrypted.skipped_changed), (b"after".as_slice(), false));
    assert_eq!((fails(&mut bob, &late), bob.skipped.len()), (DecryptError::Unknown, 0));
    for turn in 0..3_u8 {
        let message = bob.encrypt(AD, &[turn], &mut rng).unwrap();
        assert_eq!(opens(&mut alice, &message), [turn]);
        let message = alice.encrypt(AD, &[turn], &mut rng).unwrap();
        assert_eq!(opens(&mut bob, &message), [turn]);
    }
}

#[test]
fn a_hostile_number_is_refused_before_any_key_is_derived() {
    let mut rng = rng(4);
    let (mut alice, mut bob) = pair(&mut rng);
    for number in [u32::MAX - 1, 1 << 31, SKIP_MAX + 1] {
        alice.sending.as_mut().unwrap().number = number;
        let message = alice.encrypt(AD, b"x", &mut rng).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(fails(&mut bob, &message), DecryptError::TooManySkipped { skipped: number });
        assert!(began.elapsed().as_millis() < 100);
    }
    alice.sending.as_mut().unwrap().number = u32::MAX;
    assert_eq!(alice.encrypt(AD, b"x", &mut rng), Err(EncryptError::Exhausted));
}

#[test]
fn at_most_two_thousand_keys_of_so_many_chains_are_kept_and_old_ones_go() {
    let mut rng = rng(5);
    let (mut alice, mut bob) = pair(&mut rng);
    for turn in 0..8_u64 {
        for _ in 0..700 {
            alice.encrypt(AD, b"lost", &mut rng).unwrap();
        }
        let message = alice.encrypt(AD, b"x", &mut rng).unwrap();
        bob.decrypt(AD, &message, UnixSeconds(turn)).unwrap();
        let answer = bob.encrypt(AD, b"y", &mut rng).unwrap();
        opens(&mut alice, &answer);
        assert!(bob.skipped.len() <= SKIPPED_MAX && bob.skipped.header_keys().count() <= SKIPPED_CHAINS_MAX);
    }
    assert_eq!(bob.skipped.len(), SKIPPED_MAX);
    assert!(bob.drop_skipped_before(UnixSeconds(7)));
    assert_eq!(bob.skipped.len(), 700);
    assert!(!bob.drop_skipped_before(UnixSeconds(7)), "they are gone");
    assert!(bob.encode_core().len() <= 304);
}

#[test]
fn a_message_that_took_the_slow_way_opens_after_many_turns_in_each_of_which_something_was_lost() {
    let mut rng = rng(12);
    let (mut alice, mut bob) = pair(&mut rng);
    let late = alice.encrypt(AD, b"late", &mut rng).unwrap();
    for _ in 0..SKIPPED_CHAINS_MAX / 2 {
        alice.encrypt(AD, b"lost", &mut rng).unwrap();
        let message = alice.encrypt(AD, b"came", &mut rng).unwrap();
        opens(&mut bob, &message);
        bob.encrypt(AD, b"lost", &mut rng).unwrap();
        let answer = bob.encrypt(AD, b"answer", &mut rng).unwrap();
        opens(&mut alice, &answer);
    }
    opens(&mut bob, &late);
}

#[test]
fn every_changed_bit_is_refused_and_changes_nothing() {
    let mut rng = rng(6);
    let (mut alice, mut bob) = pair(&mut rng);
    let first = alice.encrypt(AD, b"first", &mut rng).unwrap();
    opens(&mut bob, &first);
    let answer = bob.encrypt(AD, b"answer", &mut rng).unwrap();
    for message in [alice.encrypt(AD, b"second", &mut rng).unwrap(), first] {
        for at in 0..message.len() {
            let mut bad = message.clone();
            bad[at] ^= 1 << (at % 8);
            fails(&mut bob, &bad);
            fails(&mut bob, &message[..at]);
        }
    }
    let wrong_session = alice.decrypt(b"other ends", &answer, NOW).unwrap_err();
    assert_eq!(wrong_session, DecryptError::Unknown);
    assert_eq!(opens(&mut alice, &answer), b"answer");
}

#[test]
fn a_ratchet_key_that_gives_zeros_is_refused() {
    let mut rng = rng(7);
    let (alice, mut bob) = pair(&mut rng);
    for small in ["00".repeat(32), format!("01{}", "00".repeat(31))] {
        let header = Header { key: small.parse().unwrap(), previous: 0, number: 0 };
        let chain = alice.sending.as_ref().unwrap();
        let sealed = header.seal(&chain.header, AD, &mut rng);
        let message = [sealed.as_slice(), &[0; 40]].concat();
        assert_eq!(fails(&mut bob, &message), DecryptError::AllZero(AllZero));
    }
}

#[test]
fn a_copied_state_never_meets_its_key_with_the_same_nonce() {
    let mut rng = rng(8);
    let (mut alice, mut bob) = pair(&mut rng);
    let mut copy = Ratchet::decode(&alice.encode_core(), None).unwrap();
    let one = alice.encrypt(AD, b"one", &mut rng).unwrap();
    let other = copy.encrypt(AD, b"other", &mut rng).unwrap();
    assert_ne!(one[SEALED_HEADER..SEALED_HEADER + keys::NONCE], other[SEALED_HEADER..SEALED_HEADER + keys::NONCE]);
    opens(&mut bob, &one);
    assert_eq!(fails(&mut bob, &other), DecryptError::Repeated, "and it is noticed");
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let mut rng = rng(9);
    let (alice, bob) = pair(&mut rng);
    assert_eq!(format!("{alice:?}"), "Ratchet(sent Some(0), received None, 0 skipped)");
    assert_eq!(format!("{bob:?} {:?}", bob.root), "Ratchet(sent None, received None, 0 skipped) Key(secret)");
}

/// Two sides write, and what they wrote is delivered in any order, twice, or never.
fn walk(seed: u64, steps: usize) -> usize {
    recorded::begin();
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (alice, bob) = pair(&mut rng);
    let mut sides = [alice, bob];
    let mut under_way: [Vec<(u64, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
    let (mut opened, mut next) = (BTreeSet::new(), 0_u64);
    // Keys of one chain more drive out those of the first.
    let mut full = [false; 2];
    for step in 0..steps {
        let side = usize::from(rng.next_u32() % 2 == 0);
        match rng.next_u32() % 10 {
            0..4 => {
                let Ok(message) = sides[side].encrypt(AD, &next.to_be_bytes(), &mut rng) else { continue };
                recorded::left(&message);
                under_way[1 - side].push((next, message));
                next += 1;
            }
            4..9 if !under_way[side].is_empty() => {
                let place = rng.next_u64() as usize % under_way[side].len().min(8);
                let (number, message) = under_way[side][place].clone();
                match sides[side].decrypt(AD, &message, NOW) {
                    Ok(decrypted) => {
                        assert_eq!(*decrypted.plaintext, number.to_be_bytes(), "seed {seed}, step {step}");
                        assert!(opened.insert(number), "seed {seed}, step {step}: {number} opened twice");
                    }
                    Err(DecryptError::Repeated | DecryptError::Unknown) => {
                        assert!(opened.contains(&number) || full[side], "seed {seed}, step {step}: {number} is lost");
                    }
                    Err(error) => panic!("seed {seed}, step {step}: {error}"),
                }
                full[side] |= sides[side].skipped.header_keys().count() == SKIPPED_CHAINS_MAX;
                // One in four comes once more.
                if rng.next_u32() % 4 != 0 {
                    under_way[side].remove(place);
                }
            }
            _ => {
                let copy = Ratchet::decode(&sides[side].encode_core(), Some(&sides[side].encode_skipped())).unwrap();
                sides[side] = copy;
            }
        }
        let kept = under_way[side].len().min(40);
        under_way[side].truncate(kept);
    }
    assert!(opened.len() > steps / 20, "{} of {next}", opened.len());
    assert_eq!(recorded::end() as u64, 2 * next, "a header and a body each, no key and nonce twice");
    full.into_iter().filter(|full| *full).count()
}

#[test]
fn every_message_opens_once_in_whatever_order_they_come() {
    let full: usize = (0..20).map(|seed| walk(seed, 2000)).sum();
    assert!(full < 20, "{full} of 40 ends had keys of all chains: the others tell");
}

#[test]
#[ignore = "a million steps take a minute"]
fn every_message_opens_once_in_a_million_steps() {
    for seed in 100..200 {
        walk(seed, 10_000);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        skipped in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let _ = Ratchet::decode(&bytes, Some(&skipped));
        let (_, mut bob) = pair(&mut rng(1));
        prop_assert!(bob.decrypt(AD, &bytes, NOW).is_err());
    }
}
