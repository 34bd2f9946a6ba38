//! Everything of an agreement, from fixed secrets: the bundle and its signature, the four agreements, what is derived
//! from them, and the initial message. Python's `cryptography` 48, from the descriptions alone, makes the same of the
//! secrets.

use rand_chacha::rand_core::Rng as _;
use serde::{Deserialize, Serialize};

use super::super::super::tests::Tape;
use super::super::super::{InitialMessage, Inside, SessionBody};
use super::*;

const VECTORS: &str = include_str!("../../../../tests/data/x3dh.json");

/// What a vector begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Secrets {
    chain: String,
    initiator_entropy: String,
    initiator_device: u8,
    responder_entropy: String,
    responder_device: u8,
    mailbox: String,
    epoch: u32,
    created: u64,
    prekey_secret: String,
    one_time_secrets: Vec<String>,
    ephemeral_secret: String,
    ratchet_message: String,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    initiator: String,
    responder: String,
    bundle: String,
    ed25519_key: String,
    signature: String,
    dh: [String; 4],
    ikm: String,
    root_key: String,
    header_key: String,
    next_header_key: String,
    session_tag: String,
    associated_data: String,
    initial_message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    secrets: Secrets,
    outcome: Outcome,
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn secret(hex: &str) -> Secret {
    Secret::take(&mut bytes(hex))
}

impl Secrets {
    fn draw(number: u8) -> Self {
        let mut rng = rng(number);
        let mut hex = |length| {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            hex::encode(bytes)
        };
        Self {
            chain: hex(32),
            initiator_entropy: hex(16),
            initiator_device: number,
            responder_entropy: hex(16),
            responder_device: 7 - number,
            mailbox: format!("06{}", hex(32)),
            epoch: 0x0102_0300 + u32::from(number),
            created: 1_767_225_600 + u64::from(number),
            prekey_secret: hex(32),
            one_time_secrets: (0..8).map(|_| hex(32)).collect(),
            ephemeral_secret: hex(32),
            ratchet_message: hex(96),
        }
    }

    /// Both sides, as a client has them.
    fn outcome(&self) -> Outcome {
        let [initiator, responder] =
            [&self.initiator_entropy, &self.responder_entropy].map(|hex| Account::new(&Entropy::take(&mut bytes(hex))));
        let (chain, prekey) = (ChainId::new(bytes(&self.chain)), secret(&self.prekey_secret));
        let ends = [(initiator.address(), self.initiator_device), (responder.address(), self.responder_device)];
        let (mailbox, created) = (self.mailbox.parse().unwrap(), UnixSeconds(self.created));
        let mut tape = Tape(hex::decode(self.one_time_secrets.concat()).unwrap());
        let (bundle, mut secrets) = Bundle::create(ends[1], mailbox, self.epoch, created, prekey.public(), &mut tape);
        let signed = bundle.sign(responder.signing_key(), &chain);
        let bundle = Bundle::verify(&signed, &chain).unwrap();

        let mut tape = Tape(bytes::<32>(&self.ephemeral_secret).to_vec());
        let agreed = initiate(&initiator, &bundle, self.initiator_device, &mut tape).unwrap();
        let header = InitialHeader {
            initiator: initiator.address(),
            device: self.initiator_device,
            epoch: bundle.epoch(),
            ephemeral: agreed.ephemeral,
        };
        let one_time = secrets.take(self.initiator_device).unwrap();
        let same = respond(&responder, &prekey, &one_time, &header).unwrap();
        assert_eq!((same.tag, same.secrets.parts()), (agreed.tag, agreed.secrets.parts()));

        let (identity, ephemeral) = (Secret::from(initiator.x25519_secret()), secret(&self.ephemeral_secret));
        let dh = [
            identity.agree(&prekey.public()),
            ephemeral.agree(&X25519Key::new(*responder.address().key())),
            ephemeral.agree(&prekey.public()),
            ephemeral.agree(&one_time.public()),
        ]
        .map(|agreement| hex::encode(*agreement.unwrap()));
        let body = SessionBody { tag: agreed.tag, message: hex::decode(&self.ratchet_message).unwrap() };
        let (_, initial) = Inside::Initial(InitialMessage { header, body }).encode();
        let [root_key, header_key, next_header_key] = agreed.secrets.parts().map(hex::encode);
        Outcome {
            initiator: initiator.address().to_string(),
            responder: responder.address().to_string(),
            bundle: hex::encode(&signed[..Bundle::LEN]),
            ed25519_key: hex::encode(&signed[Bundle::LEN..Bundle::LEN + 32]),
            signature: hex::encode(&signed[Bundle::LEN + 32..]),
            ikm: format!("{}{}", "ff".repeat(32), dh.concat()),
            dh,
            root_key,
            header_key,
            next_header_key,
            session_tag: hex::encode(agreed.tag.as_bytes()),
            associated_data: hex::encode(associated_data(&chain, ends[0], ends[1], &agreed.tag)),
            initial_message: hex::encode(initial),
        }
    }
}

#[test]
fn bundles_agreements_and_initial_messages_are_those_of_the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 3);
    for Vector { secrets, outcome } in vectors {
        assert_eq!(secrets.outcome(), outcome);
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write_x3dh_vectors() {
    let vectors = [0, 3, 7].map(|number| {
        let secrets = Secrets::draw(number);
        Vector { outcome: secrets.outcome(), secrets }
    });
    std::fs::write("tests/data/x3dh.json", serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}
