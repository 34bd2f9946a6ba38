//! Seals from fixed secrets: a message without a session to an inbox, and a session's to a mailbox. Python's `cryptography`
//! 48, from the descriptions alone, makes the same of the secrets.

use rand_chacha::rand_core::Rng as _;
use serde::{Deserialize, Serialize};

use super::super::super::tests::Tape;
use super::*;

const VECTORS: &str = include_str!("../../../../tests/data/seal.json");

/// To an inbox where there is a sender, else to a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    chain: String,
    address: String,
    timestamp: u64,
    ttl: u32,
    /// Whose inbox it is.
    recipient_entropy: Option<String>,
    /// The signed prekey of the device whose mailbox it is.
    prekey_secret: Option<String>,
    ephemeral_secret: String,
    sender_entropy: Option<String>,
    sender_ephemeral_secret: Option<String>,
    /// What is sealed: the protobuf content, or session tag and message.
    body: String,
    data: String,
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn account_of(entropy: &str) -> Account {
    Account::new(&Entropy::take(&mut bytes(entropy)))
}

impl Vector {
    fn draw(seed: u8, length: usize, with_session: bool) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut hex = |length| {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            hex::encode(bytes)
        };
        let inbox = (!with_session).then(|| hex(16));
        let of_inbox = inbox.as_ref().map(|entropy| account_of(entropy).address().to_string());
        let address = of_inbox.unwrap_or_else(|| format!("06{}", hex(32)));
        let body = if with_session { hex(length) } else { hex::encode(text(length).encode().unwrap()) };
        let vector = Self {
            chain: hex(32),
            address,
            timestamp: 1_767_225_600 + u64::from(seed),
            ttl: 345_600,
            recipient_entropy: inbox,
            prekey_secret: with_session.then(|| hex(32)),
            ephemeral_secret: hex(32),
            sender_entropy: (!with_session).then(|| hex(16)),
            sender_ephemeral_secret: (!with_session).then(|| hex(32)),
            body,
            data: String::new(),
        };
        Self { data: hex::encode(vector.seal()), ..vector }
    }

    fn secret(&self) -> noise::Secret {
        match (&self.recipient_entropy, &self.prekey_secret) {
            (Some(entropy), None) => account_of(entropy).x25519_secret().into(),
            (None, Some(secret)) => noise::Secret::take(&mut bytes(secret)),
            both => panic!("{both:?}"),
        }
    }

    fn seal(&self) -> Vec<u8> {
        let chain = ChainId::new(bytes(&self.chain));
        let (address, timestamp) = (self.address.parse().unwrap(), UnixSeconds(self.timestamp));
        let context = SealContext { chain: &chain, address, timestamp, ttl: ttl(self.ttl) };
        let drawn = self.ephemeral_secret.clone() + self.sender_ephemeral_secret.as_deref().unwrap_or_default();
        let (mut tape, body) = (Tape(hex::decode(drawn).unwrap()), hex::decode(&self.body).unwrap());
        match &self.sender_entropy {
            Some(entropy) => seal(&context, &account_of(entropy), Content::decode(&body).unwrap(), &mut tape).unwrap(),
            None => {
                let (tag, message) = body.split_first_chunk().unwrap();
                let inside = Inside::Session(SessionBody { tag: SessionTag::new(*tag), message: message.to_vec() });
                seal_session(&context, &self.secret().public(), &inside, &mut tape).unwrap()
            }
        }
    }
}

#[test]
fn seals_are_those_of_the_vectors_and_open() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 4);
    for vector in vectors {
        assert_eq!(hex::encode(vector.seal()), vector.data);
        let chain = ChainId::new(bytes(&vector.chain));
        let (address, time) = (vector.address.parse().unwrap(), UnixSeconds(vector.timestamp));
        let data = hex::decode(&vector.data).unwrap();
        let envelope = Envelope::new(address, time, ttl(vector.ttl), Height(30), data).unwrap();
        let opened = open(&chain, &address, &[vector.secret()], &envelope).unwrap();
        assert_eq!(matches!(opened, Opened::Message { .. }), vector.sender_entropy.is_some());
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write_seal_vectors() {
    let vectors = [(1, 5, false), (2, 3000, false), (3, 120, true), (4, 2000, true)];
    let vectors = vectors.map(|(seed, length, with_session)| Vector::draw(seed, length, with_session));
    std::fs::write("tests/data/seal.json", serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}
