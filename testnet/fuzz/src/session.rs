//! Sessions: the keys that begin one, how it lies in the store, and two ends whose messages are changed, repeated, overtaken
//! and lost.

use sotto_behaviours::noise::Secret;
use sotto_client::crypto::{Bundle, BundleSecrets, DecryptError, InitialHeader, Ratchet, initiate, respond};
use sotto_proto::address::Address;

use crate::check::{canonical, whole};
use crate::fixtures::{CHAIN, NOW, account, key, rng, secret};
use crate::input::Input;

/// What messages are bound to.
const BOUND: &[u8] = b"both ends";

fn prekey() -> Secret {
    secret(9)
}

fn bundle() -> (Bundle, BundleSecrets) {
    let mailbox = Address::mailbox(&key("mailbox", 1).public());
    Bundle::create((account(2).address(), 0), mailbox, 7, NOW, prekey().public(), &mut rng(3))
}

/// What was written to an end: the message, what it says, whether it was read.
type Written = (Vec<u8>, Vec<u8>, bool);

/// Both ends of a session.
fn ends() -> [Ratchet; 2] {
    let (bundle, mut secrets) = bundle();
    let agreed = initiate(&account(1), &bundle, 0, &mut rng(4)).expect("good keys");
    let header = InitialHeader { initiator: account(1).address(), device: 0, epoch: 7, ephemeral: agreed.ephemeral };
    let one_time = secrets.take(0).expect("it has not served");
    let same = respond(&account(2), &prekey(), &one_time, &header).expect("good keys");
    let one = Ratchet::initiator(&agreed.secrets, bundle.prekey(), &mut rng(5)).expect("a good key");
    [one, Ratchet::responder(&same.secrets, prekey())]
}

pub(crate) fn rows(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 4 {
        0 => {
            if let Ok(bundle) = Bundle::verify(bytes, &CHAIN) {
                assert_eq!(bundle.account(), account(2).address(), "nobody else has signed one");
            }
        }
        1 => drop(canonical(bytes, InitialHeader::decode, InitialHeader::encode)),
        2 => {
            // Secrets are clamped.
            if let Ok(secrets) = BundleSecrets::decode(bytes) {
                let stored = secrets.encode();
                assert_eq!(stored.len(), bytes.len());
                assert_eq!(BundleSecrets::decode(&stored).expect("what was stored").encode(), stored);
            }
        }
        _ => {
            let (core, skipped) = bytes.split_at(bytes.len().min(304));
            let skipped = Some(skipped).filter(|skipped| !skipped.is_empty());
            if let Ok(ratchet) = Ratchet::decode(core, skipped) {
                let stored = (ratchet.encode_core(), ratchet.encode_skipped());
                assert_eq!(stored.0.len(), core.len());
                let again = Ratchet::decode(&stored.0, Some(&stored.1)).expect("what was stored");
                assert_eq!((again.encode_core(), again.encode_skipped()), stored);
            }
        }
    }
}

pub(crate) fn talk(input: &[u8]) {
    let mut input = Input::new(input);
    let (mut ends, mut rng) = (ends(), rng(6));
    let mut written: [Vec<Written>; 2] = [Vec::new(), Vec::new()];
    for step in 0..200_u8 {
        let side = usize::from(input.flag());
        match input.u8() {
            0..=99 => {
                let plain = vec![step; 5];
                if let Ok(message) = ends[side].encrypt(BOUND, &plain, &mut rng) {
                    written[1 - side].push((message, plain, false));
                }
            }
            100..=199 => {
                let count = written[side].len();
                let place = input.below(count.max(1));
                let Some((message, plain, read)) = written[side].get_mut(place) else { continue };
                match ends[side].decrypt(BOUND, message, NOW) {
                    Ok(decrypted) => {
                        assert_eq!(*decrypted.plaintext, *plain);
                        assert!(!std::mem::replace(read, true), "read twice");
                    }
                    Err(DecryptError::Repeated | DecryptError::Unknown) => {}
                    Err(error) => unreachable!("an honest message: {error}"),
                }
            }
            200..=239 => {
                let count = written[side].len();
                let place = input.below(count.max(1));
                let Some((message, ..)) = written[side].get(place) else { continue };
                let mut changed = message.clone();
                input.edit(&mut changed);
                let before = (ends[side].encode_core(), ends[side].encode_skipped());
                if changed != *message {
                    assert!(ends[side].decrypt(BOUND, &changed, NOW).is_err(), "a changed message opens");
                    assert_eq!((ends[side].encode_core(), ends[side].encode_skipped()), before);
                }
            }
            _ => {
                let again = Ratchet::decode(&ends[side].encode_core(), Some(&ends[side].encode_skipped()));
                ends[side] = again.expect("what was stored");
            }
        }
    }
}

pub(crate) fn rows_seeds() -> Vec<Vec<u8>> {
    let (bundle, mut secrets) = bundle();
    let header = InitialHeader { initiator: account(1).address(), device: 3, epoch: 7, ephemeral: secret(5).public() };
    let [mut one, mut other] = ends();
    let message = one.encrypt(BOUND, b"hello", &mut rng(1)).expect("it begins");
    other.decrypt(BOUND, &message, NOW).expect("the first");
    let all = secrets.encode().to_vec();
    secrets.take(3);
    vec![
        whole(0, &bundle.sign(account(2).signing_key(), &CHAIN)),
        whole(1, &header.encode()),
        whole(2, &all),
        whole(2, &secrets.encode()),
        whole(3, &one.encode_core()),
        whole(3, &other.encode_core()),
    ]
}

pub(crate) fn talk_seeds() -> Vec<Vec<u8>> {
    // Both write and read in turns; some is read in another order, some changed.
    let turns = [0, 10, 1, 150, 0, 1, 20, 0, 150, 0, 0, 30, 0, 40, 1, 150, 1, 1, 150, 0, 1, 220, 0, 3, 0, 250];
    vec![whole(0, &turns)[1..].to_vec(), turns.repeat(4)]
}
