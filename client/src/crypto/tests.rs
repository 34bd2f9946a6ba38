//! What the objects of this folder are together: a first contact, and who could have made it up.

use std::convert::Infallible;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{SeedableRng as _, TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha256};
use sotto_behaviours::noise::{self, Secret};
use sotto_proto::account::{Account, Entropy};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::{Envelope, Ttl, data_size, sealed_header};
use sotto_proto::id::{ChainId, Height, X25519Key};
use sotto_proto::request::Message as _;
use sotto_proto::time::{UnixMillis, UnixSeconds};

use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
const TIME: UnixSeconds = UnixSeconds(1_767_225_600);

/// Every encoding of a u at which X25519 gives zeros whatever the secret: 0, 1, the two of order eight and −1, those of
/// them that are below 2^255 − p once more with p added, and each with the top bit, which X25519 does not look at.
pub(super) fn low_order() -> Vec<X25519Key> {
    let all = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let keys = all.map(|hex| hex.parse::<X25519Key>().unwrap());
    let with_top_bit = keys.map(|key| {
        let mut bytes = *key.as_bytes();
        bytes[31] |= 0x80;
        X25519Key::new(bytes)
    });
    keys.into_iter().chain(with_top_bit).collect()
}

/// Gives out what stands in a vector in place of randomness.
pub(super) struct Tape(pub(super) Vec<u8>);

impl TryRng for Tape {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Tape {}

/// The account of sixteen such bytes.
pub(super) fn account(byte: u8) -> Account {
    Account::new(&Entropy::take(&mut [byte; 16]))
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn text(text: &str) -> Content {
    let body = Body::Text(Text::new(text.to_owned()).unwrap());
    Content::new(MessageId::new([7; 16]), UnixMillis(1_767_225_600_123), body)
}

/// What account 2 has: its mailbox, a signed prekey, a bundle and the secrets of that.
struct Responder {
    account: Account,
    mailbox: Address,
    prekey: Secret,
    bundle: Bundle,
    secrets: BundleSecrets,
}

fn responder() -> Responder {
    let (account, mut rng) = (account(2), rng(9));
    let (mailbox, prekey) = (Address::mailbox(&account.public_key()), Secret::generate(&mut rng));
    let whose = (account.address(), 0);
    let (bundle, secrets) = Bundle::create(whose, mailbox, 7, TIME, prekey.public(), &mut rng);
    Responder { account, mailbox, prekey, bundle, secrets }
}

fn context(address: Address) -> SealContext<'static> {
    SealContext { chain: &CHAIN, address, timestamp: TIME, ttl: Ttl::new(345_600).unwrap() }
}

fn envelope(context: &SealContext<'_>, data: Vec<u8>) -> Envelope {
    Envelope::new(context.address, context.timestamp, context.ttl, Height(30), data).unwrap()
}

impl Responder {
    /// An initial message at the mailbox, as it is taken in: who it is from, and what it says.
    fn believes(&mut self, data: Vec<u8>) -> (Address, Vec<u8>) {
        let envelope = envelope(&context(self.mailbox), data);
        let opened = open(&CHAIN, &self.mailbox, std::slice::from_ref(&self.prekey), &envelope).unwrap();
        let Opened::Initial(InitialMessage { header, body }) = opened else { panic!("{opened:?}") };
        let one_time = self.secrets.take(header.device).unwrap();
        let agreed = respond(&self.account, &self.prekey, &one_time, &header).unwrap();
        assert_eq!(agreed.tag, body.tag);
        let bound = self.bound_to((header.initiator, header.device), &agreed.tag);
        let mut ratchet = Ratchet::responder(&agreed.secrets, self.prekey.clone());
        let said = ratchet.decrypt(&bound, &body.message, TIME).unwrap();
        (header.initiator, said.plaintext.to_vec())
    }

    fn bound_to(&self, initiator: (Address, u8), tag: &SessionTag) -> Vec<u8> {
        associated_data(&CHAIN, initiator, (self.account.address(), 0), tag)
    }

    /// The data of an initial message from account 1, after an agreement that somebody made.
    fn written(&self, agreed: &Agreed, rng: &mut ChaCha20Rng) -> Vec<u8> {
        let initiator = (account(1).address(), 3);
        let header =
            InitialHeader { initiator: initiator.0, device: initiator.1, epoch: 7, ephemeral: agreed.ephemeral };
        let mut ratchet = Ratchet::initiator(&agreed.secrets, self.bundle.prekey(), rng).unwrap();
        let message = ratchet.encrypt(&self.bound_to(initiator, &agreed.tag), b"I owe you", rng).unwrap();
        let inside = Inside::Initial(InitialMessage { header, body: SessionBody { tag: agreed.tag, message } });
        seal_session(&context(self.mailbox), self.bundle.prekey(), &inside, rng).unwrap()
    }
}

#[test]
fn the_responder_alone_can_make_up_a_session_that_convinces_it() {
    // As the initiator writes it.
    let agreed = initiate(&account(1), &responder().bundle, 3, &mut rng(1)).unwrap();
    let real = responder().written(&agreed, &mut rng(2));
    // As the responder makes it up, by its own secrets, an ephemeral key of its own and the other's public key: DH1 is
    // an agreement of the other's identity key with its signed prekey.
    let mut forger = responder();
    let (one_time, ephemeral) = (forger.secrets.take(3).unwrap(), Secret::take(&mut [5; 32]).public());
    let header = InitialHeader { initiator: account(1).address(), device: 3, epoch: 7, ephemeral };
    let agreed = respond(&forger.account, &forger.prekey, &one_time, &header).unwrap();
    let forged = forger.written(&agreed, &mut rng(2));
    // Whoever is shown both cannot say which is which, not even with all secrets of the responder.
    let expected = (account(1).address(), b"I owe you".to_vec());
    assert_eq!((real.len(), responder().believes(real)), (forged.len(), expected.clone()));
    assert_eq!(responder().believes(forged), expected);
}

/// `Noise_X_25519_AESGCM_SHA256` in the sender's name, written by the receiver: it has its own secret and the sender's
/// public key, and both agreements can be made by that.
fn x_made_up(prologue: &[u8], receiver: &Secret, sender: &X25519Key, payload: &[u8]) -> Vec<u8> {
    let ephemeral = Secret::take(&mut [6; 32]).public();
    let mut hash = [0; 32];
    hash[..27].copy_from_slice(b"Noise_X_25519_AESGCM_SHA256");
    let mut chaining = hash;
    let mut mix = |bytes: &[u8]| -> [u8; 32] {
        hash = Sha256::digest([hash.as_slice(), bytes].concat()).into();
        hash
    };
    mix(prologue);
    mix(receiver.public().as_bytes());
    let mut bound = mix(ephemeral.as_bytes());
    let mut message = ephemeral.as_bytes().to_vec();
    for (peer, plain) in [(&ephemeral, sender.as_bytes().as_slice()), (sender, payload)] {
        let mut output = [0; 64];
        Hkdf::<Sha256>::new(Some(&chaining), &*receiver.agree(peer).unwrap()).expand(&[], &mut output).unwrap();
        chaining.copy_from_slice(&output[..32]);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &output[32..]).unwrap());
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, Aad::from(bound), &mut sealed).unwrap();
        bound = mix(&sealed);
        message.extend_from_slice(&sealed);
    }
    message
}

#[test]
fn the_recipient_alone_can_make_up_a_plain_message_at_its_inbox_and_its_mailbox() {
    let responder = responder();
    let identity = Secret::from(responder.account.x25519_secret());
    let sender = X25519Key::new(*account(1).address().key());
    for (address, secret) in [(responder.account.address(), identity), (responder.mailbox, responder.prekey)] {
        let (context, outer) = (context(address), Secret::take(&mut [8; 32]));
        // lp("sotto/auth/1") ‖ chain id ‖ address ‖ e of the seal
        let prologue = [b"\x0csotto/auth/1", CHAIN.as_ref(), &address.to_bytes(), outer.public().as_ref()].concat();
        let body = x_made_up(&prologue, &secret, &sender, &text("I owe you").encode().unwrap());
        let mut payload = [&(1 + body.len() as u32).to_be_bytes(), [KIND_PLAIN].as_slice(), &body].concat();
        payload.resize(data_size(1 + body.len()).unwrap() - noise::N_LAYER, 0);
        // lp("sotto/seal/1") ‖ chain id ‖ version, address, timestamp, ttl
        let header = sealed_header(address, context.timestamp, context.ttl);
        let prologue = [b"\x0csotto/seal/1".as_slice(), CHAIN.as_ref(), &header].concat();
        let data = noise::n_seal_with(&prologue, &secret.public(), outer, &payload).unwrap();
        let opened = open(&CHAIN, &address, &[secret], &envelope(&context, data)).unwrap();
        assert_eq!(opened, Opened::Message { sender: account(1).address(), content: text("I owe you") });
    }
}

#[test]
fn a_session_s_message_opens_for_its_two_ends_only_as_they_are() {
    let mut responder = responder();
    let (initiator, tag) = ((account(1).address(), 3), SessionTag::new([7; 16]));
    let agreed = initiate(&account(1), &responder.bundle, 3, &mut rng(1)).unwrap();
    let mut sender = Ratchet::initiator(&agreed.secrets, responder.bundle.prekey(), &mut rng(2)).unwrap();
    let message = sender.encrypt(&responder.bound_to(initiator, &tag), b"text", &mut rng(3)).unwrap();
    let header = InitialHeader { initiator: initiator.0, device: 3, epoch: 7, ephemeral: agreed.ephemeral };
    let one_time = responder.secrets.take(3).unwrap();
    let same = respond(&responder.account, &responder.prekey, &one_time, &header).unwrap();
    let mut receiver = Ratchet::responder(&same.secrets, responder.prekey.clone());
    let (own, elsewhere) = ((responder.account.address(), 0), ChainId::new([1; 32]));
    let others = [
        associated_data(&CHAIN, own, initiator, &tag),
        associated_data(&CHAIN, (account(3).address(), 3), own, &tag),
        associated_data(&CHAIN, initiator, (account(3).address(), 0), &tag),
        associated_data(&CHAIN, (initiator.0, 2), own, &tag),
        associated_data(&CHAIN, initiator, (own.0, 1), &tag),
        associated_data(&CHAIN, initiator, own, &SessionTag::new([8; 16])),
        associated_data(&elsewhere, initiator, own, &tag),
    ];
    for bound in others {
        assert!(receiver.decrypt(&bound, &message, TIME).is_err());
    }
    let said = receiver.decrypt(&responder.bound_to(initiator, &tag), &message, TIME).unwrap();
    assert_eq!(said.plaintext.as_slice(), b"text");
}
