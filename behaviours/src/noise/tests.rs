use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use snow::resolvers::DefaultResolver;

use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

fn secret(byte: u8) -> Secret {
    Secret::take(&mut [byte; 32])
}

/// The same handshake with snow's own primitives.
fn theirs(pattern: Pattern) -> snow::Builder<'static> {
    snow::Builder::with_resolver(pattern.params(), Box::new(DefaultResolver)).prologue(b"prologue").unwrap()
}

#[test]
fn n_speaks_with_another_implementation_both_ways() {
    let receiver = secret(1);
    let sealed = n_seal(b"prologue", &receiver.public(), b"text", &mut rng()).unwrap();
    assert_eq!(sealed.len(), N_LAYER + 4);
    let mut opened = [0; 64];
    let mut responder = theirs(Pattern::N).local_private_key(receiver.expose()).unwrap().build_responder().unwrap();
    let length = responder.read_message(&sealed, &mut opened).unwrap();
    assert_eq!(&opened[..length], b"text");

    let public = receiver.public();
    let mut initiator = theirs(Pattern::N).remote_public_key(public.as_bytes()).unwrap().build_initiator().unwrap();
    let mut sealed = [0; 128];
    let length = initiator.write_message(b"answer", &mut sealed).unwrap();
    assert_eq!(n_open(b"prologue", &receiver, &sealed[..length]).unwrap().as_slice(), b"answer");
}

#[test]
fn x_speaks_with_another_implementation_both_ways_and_tells_the_sender() {
    let (sender, receiver) = (secret(1), secret(2));
    let sealed = x_seal(b"prologue", &sender, &receiver.public(), b"text", &mut rng()).unwrap();
    assert_eq!(sealed.len(), X_LAYER + 4);
    let mut opened = [0; 128];
    let mut responder = theirs(Pattern::X).local_private_key(receiver.expose()).unwrap().build_responder().unwrap();
    let length = responder.read_message(&sealed, &mut opened).unwrap();
    assert_eq!(&opened[..length], b"text");
    assert_eq!(responder.get_remote_static().unwrap(), sender.public().as_bytes());

    let public = receiver.public();
    let mut initiator = theirs(Pattern::X)
        .local_private_key(sender.expose())
        .and_then(|builder| builder.remote_public_key(public.as_bytes()))
        .and_then(snow::Builder::build_initiator)
        .unwrap();
    let mut sealed = [0; 128];
    let length = initiator.write_message(b"answer", &mut sealed).unwrap();
    let (from, text) = x_open(b"prologue", &receiver, &sealed[..length]).unwrap();
    assert_eq!((from, text.as_slice()), (sender.public(), &b"answer"[..]));
}

#[test]
fn a_seal_is_for_one_key_and_one_prologue_and_no_byte_may_change() {
    let (sender, receiver) = (secret(1), secret(2));
    let n = n_seal(b"p", &receiver.public(), b"text", &mut rng()).unwrap();
    let x = x_seal(b"p", &sender, &receiver.public(), b"text", &mut rng()).unwrap();
    assert!(n_open(b"p", &sender, &n).is_err() && n_open(b"q", &receiver, &n).is_err());
    assert!(x_open(b"p", &sender, &x).is_err() && x_open(b"q", &receiver, &x).is_err());
    for index in 0..n.len() {
        let mut changed = n.clone();
        changed[index] ^= 1;
        assert!(n_open(b"p", &receiver, &changed).is_err(), "byte {index}");
    }
    for index in 0..x.len() {
        let mut changed = x.clone();
        changed[index] ^= 1;
        assert!(x_open(b"p", &receiver, &changed).is_err(), "byte {index}");
    }
    for length in 0..x.len() {
        assert!(x_open(b"p", &receiver, &x[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn an_ephemeral_key_may_be_drawn_before_the_payload_is_made() {
    let receiver = secret(2);
    let ephemeral = Secret::generate(&mut rng());
    let public = ephemeral.public();
    let sealed = n_seal_with(b"p", &receiver.public(), ephemeral, b"text").unwrap();
    assert_eq!(&sealed[..32], public.as_bytes());
    assert_eq!(sealed, n_seal(b"p", &receiver.public(), b"text", &mut rng()).unwrap());
}

#[test]
fn the_randomness_is_the_injected_one() {
    let to = secret(1).public();
    let once = n_seal(b"", &to, b"text", &mut rng()).unwrap();
    assert_eq!(once, n_seal(b"", &to, b"text", &mut rng()).unwrap());
    let mut going_on = rng();
    let first = n_seal(b"", &to, b"text", &mut going_on).unwrap();
    assert_ne!(first, n_seal(b"", &to, b"text", &mut going_on).unwrap());
}

#[test]
fn an_agreement_on_zeros_is_an_error() {
    // 0, 1, the two of order eight, −1, and the first two once more with 2^255 − 19 added.
    let small = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    // X25519 does not look at the top bit.
    for (small, top) in small.into_iter().flat_map(|small| [(small, 0), (small, 0x80)]) {
        let mut bytes = *small.parse::<X25519Key>().unwrap().as_bytes();
        bytes[31] |= top;
        let key = X25519Key::new(bytes);
        assert_eq!(secret(1).agree(&key), Err(AllZero), "{key}");
        assert!(n_seal(b"", &key, b"text", &mut rng()).is_err(), "{small}");
        let forged = [key.as_bytes(), &[7; 32][..]].concat();
        assert!(n_open(b"", &secret(1), &forged).is_err(), "{small}");
    }
}

#[test]
fn the_longest_noise_message_is_the_limit() {
    let receiver = secret(2);
    let longest = vec![7; 65_535 - N_LAYER];
    let sealed = n_seal(b"", &receiver.public(), &longest, &mut rng()).unwrap();
    assert_eq!(*n_open(b"", &receiver, &sealed).unwrap(), longest);
    assert!(n_seal(b"", &receiver.public(), &vec![7; 65_536 - N_LAYER], &mut rng()).is_err());
    assert!(n_open(b"", &receiver, &[7; 65_536]).is_err());
}

#[test]
fn a_secret_has_the_public_half_that_the_account_code_computes() {
    for byte in 0..16 {
        let theirs = X25519Secret::take(&mut [byte; 32]);
        assert_eq!(Secret::from(&theirs).public(), theirs.public());
        assert_eq!(Secret::of_ed25519_seed(&[byte; 32]).public(), X25519Secret::of_ed25519_seed(&[byte; 32]).public());
    }
}

#[test]
fn secrets_are_not_shown_and_what_they_came_from_is_wiped() {
    let mut bytes = [0x5a; 32];
    let secret = Secret::take(&mut bytes);
    assert_eq!(bytes, [0; 32]);
    assert_eq!(format!("{secret:?}"), format!("Secret({})", secret.public().short()));
    let handshake = Handshake::responder(Pattern::Nk, b"", &secret).unwrap();
    assert_eq!(format!("{handshake:?}"), "Handshake(secret)");
}

#[test]
fn a_handshake_has_no_keys_before_its_end() {
    let secret = secret(1);
    let unfinished = Handshake::initiator(Pattern::Nk, b"", None, &secret.public()).unwrap();
    assert!(unfinished.split().is_err());
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(n_open(b"", &secret(1), &message).is_err());
        prop_assert!(x_open(b"", &secret(1), &message).is_err());
    }
}
