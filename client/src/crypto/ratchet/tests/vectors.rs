//! A session from its first message on, from fixed secrets: every key, header and message, in the order in which they are
//! sent, and that in which they come. Python's `cryptography` 48, from the descriptions alone, makes the same of the
//! secrets.

use rand_core::Rng as _;
use serde::{Deserialize, Serialize};

use super::super::super::tests::Tape;
use super::*;

const VECTORS: &str = include_str!("../../../../tests/data/ratchet.json");
/// Who sends, in order: three, two after a step, two after a step, one after a step.
const SENT: &str = "iiirriir";
/// The places of messages as they come, each behind what it waits for: the second is overtaken by its own chain and by a
/// step, the fourth and the sixth by a later one of their chains.
const COME: [[usize; 2]; 4] = [[0, 2], [4, 3], [6, 1], [5, 7]];

/// What a message is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    from: String,
    /// Drawn at a step.
    ratchet_secret: Option<String>,
    header_nonce: String,
    body_nonce: String,
    plaintext: String,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    /// Of the sender, behind its step.
    root_key: String,
    /// Before this message.
    chain_key: String,
    header_key: String,
    next_header_key: String,
    message_key: String,
    ratchet_key: String,
    previous: u32,
    number: u32,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    #[serde(flatten)]
    made: Made,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vector {
    root_key: String,
    header_key: String,
    next_header_key: String,
    prekey_secret: String,
    initiator_secret: String,
    associated_data: String,
    messages: Vec<Message>,
    /// Places of messages as they come.
    come: Vec<usize>,
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

impl Vector {
    /// With secrets that are drawn, and of messages what they are made with.
    fn draw(seed: u8) -> (Self, Vec<Made>) {
        let mut rng = rng(seed);
        let mut hex = |length| {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            hex::encode(bytes)
        };
        let vector = Self {
            root_key: hex(32),
            header_key: hex(32),
            next_header_key: hex(32),
            prekey_secret: hex(32),
            initiator_secret: hex(32),
            associated_data: hex(113),
            messages: Vec::new(),
            come: COME.concat(),
        };
        let letters: Vec<char> = SENT.chars().collect();
        let made = letters.iter().enumerate().map(|(place, from)| {
            // The initiator's first key is drawn when the session begins.
            let steps = place > 0 && letters[place - 1] != *from;
            Made {
                from: if *from == 'i' { "initiator" } else { "responder" }.to_owned(),
                ratchet_secret: steps.then(|| hex(32)),
                header_nonce: hex(12),
                body_nonce: hex(12),
                plaintext: hex(10 * place),
            }
        });
        let made = made.collect();
        (vector, made)
    }

    /// Plays it: what is made of each message, while those come that may have come by then. Every one of them opens, once.
    fn play(&self, made: &[Made]) -> Vec<Message> {
        let associated = hex::decode(&self.associated_data).unwrap();
        let parts = [&self.root_key, &self.header_key, &self.next_header_key].map(|hex| bytes(hex));
        let (secrets, prekey) = (SharedSecrets::of_parts(parts), Secret::take(&mut bytes(&self.prekey_secret)));
        let mut tape = Tape(hex::decode(&self.initiator_secret).unwrap());
        let initiator = Ratchet::initiator(&secrets, &prekey.public(), &mut tape).unwrap();
        let mut ends = [initiator, Ratchet::responder(&secrets, prekey)];
        let (mut messages, mut coming) = (Vec::<Message>::new(), self.come.iter().copied().peekable());
        for made in made {
            let end = &mut ends[usize::from(made.from == "responder")];
            if let Some(secret) = &made.ratchet_secret {
                end.step(&mut Tape(hex::decode(secret).unwrap())).unwrap();
            }
            let key = |key: &Key| hex::encode(key.expose());
            let chain = end.sending.clone().unwrap();
            let mut outcome = Outcome {
                root_key: key(&end.root),
                chain_key: key(&chain.key),
                header_key: key(&chain.header),
                next_header_key: key(&end.next_sending),
                message_key: key(&chain.clone().next()),
                ratchet_key: hex::encode(end.own.public().as_bytes()),
                previous: end.previous,
                number: chain.number,
                message: String::new(),
            };
            let mut tape = Tape(hex::decode([made.header_nonce.as_str(), &made.body_nonce].concat()).unwrap());
            let message = end.encrypt(&associated, &hex::decode(&made.plaintext).unwrap(), &mut tape).unwrap();
            outcome.message = hex::encode(message);
            messages.push(Message { made: made.clone(), outcome });
            while let Some(place) = coming.next_if(|place| *place < messages.len()) {
                let Message { made, outcome } = &messages[place];
                let other = &mut ends[usize::from(made.from == "initiator")];
                let message = hex::decode(&outcome.message).unwrap();
                let opened = other.decrypt(&associated, &message, NOW).unwrap();
                assert_eq!(hex::encode(opened.plaintext.as_slice()), made.plaintext, "message {place}");
                assert!(other.decrypt(&associated, &message, NOW).is_err(), "once");
            }
        }
        assert_eq!(coming.next(), None, "all have come");
        messages
    }
}

#[test]
fn keys_headers_and_messages_are_those_of_the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 3);
    for vector in vectors {
        let made: Vec<Made> = vector.messages.iter().map(|message| message.made.clone()).collect();
        assert_eq!(vector.play(&made), vector.messages);
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write_ratchet_vectors() {
    let vectors = [1, 2, 3].map(|seed| {
        let (vector, made) = Vector::draw(seed);
        Vector { messages: vector.play(&made), ..vector }
    });
    std::fs::write("tests/data/ratchet.json", serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}
