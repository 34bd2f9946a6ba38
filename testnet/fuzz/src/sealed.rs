//! Mailed messages as their recipient takes them: any bytes under the seal, any bytes under the proof of who wrote them,
//! and envelopes that were changed by whoever kept them.

use sotto_behaviours::noise::{N_LAYER, Secret, X_LAYER, n_seal_with, x_seal};
use sotto_client::crypto::{self, KIND_PLAIN, OpenError, Opened, SealContext, seal};
use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::content::Content;
use sotto_proto::domain;
use sotto_proto::envelope::{Envelope, SEAL_OVERHEAD, Ttl, sealed_header};
use sotto_proto::id::{Height, X25519Key};
use sotto_proto::limits::ENVELOPE_DATA_SIZES;
use sotto_proto::request::Message as _;

use crate::check::whole;
use crate::fixtures::{CHAIN, NOW, account, rng, secret};
use crate::input::Input;
use crate::records::plain;

const SIZE: usize = ENVELOPE_DATA_SIZES[0];
/// What fits under the seal, its kind among it.
const CONTENT: usize = SIZE - SEAL_OVERHEAD;

fn ttl() -> Ttl {
    Ttl::new(3600).expect("an hour")
}

fn to() -> Account {
    account(2)
}

/// Opens what lies in an account's inbox.
fn open(account: &Account, envelope: &Envelope) -> Result<Opened, OpenError> {
    crypto::open(&CHAIN, &account.address(), &[account.x25519_secret().into()], envelope)
}

fn envelope(data: Vec<u8>) -> Envelope {
    Envelope::new(to().address(), NOW, ttl(), Height(120), data).expect("an allowed length")
}

/// Seals whatever it is to the recipient, as anybody may.
fn sealed(payload: &[u8], ephemeral: Secret) -> Envelope {
    let header = sealed_header(to().address(), NOW, ttl());
    let prologue = [domain::SEAL.prefixed().as_slice(), CHAIN.as_bytes(), &header].concat();
    let key = X25519Key::new(*to().address().key());
    let mut padded = payload.to_vec();
    padded.resize(SIZE - N_LAYER, 0);
    envelope(n_seal_with(&prologue, &key, ephemeral, &padded).expect("a good key"))
}

/// A content with its length in front.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + body.len()).expect("a short content").to_be_bytes();
    [&length[..], &[kind], body].concat()
}

pub(crate) fn run(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 4 {
        0 => drop(open(&to(), &sealed(&bytes[..bytes.len().min(SIZE - N_LAYER)], secret(5)))),
        1 => {
            let body = &bytes[..bytes.len().min(CONTENT - 1)];
            let opened = open(&to(), &sealed(&framed(choice >> 2, body), secret(5)));
            match choice >> 2 {
                0 => assert_eq!(opened.expect("cover"), Opened::Cover),
                // Nobody proved who wrote it.
                KIND_PLAIN => assert!(matches!(opened, Err(OpenError::Sender(_)))),
                // Too short, or what a session may look at.
                2 => assert!(matches!(opened, Ok(Opened::Session(_)) | Err(OpenError::Malformed(_)))),
                3 => assert!(matches!(opened, Ok(Opened::Initial(_)) | Err(OpenError::Malformed(_)))),
                kind => assert_eq!(opened.expect("kept for later"), Opened::Newer { kind, body: body.to_vec() }),
            }
        }
        2 => proven(&bytes[..bytes.len().min(CONTENT - 1 - X_LAYER)]),
        _ => changed(&mut Input::new(bytes)),
    }
}

/// Any content of a sender who proves himself.
fn proven(content: &[u8]) {
    let (from, ephemeral) = (account(1), secret(5));
    let address: Address = to().address();
    let (label, seal) = (domain::AUTH.prefixed(), ephemeral.public());
    let prologue = [label.as_slice(), CHAIN.as_bytes(), &address.to_bytes(), seal.as_bytes()].concat();
    let key = X25519Key::new(*address.key());
    let proof = x_seal(&prologue, &from.x25519_secret().into(), &key, content, &mut rng(6)).expect("good keys");
    let opened = open(&to(), &sealed(&framed(KIND_PLAIN, &proof), ephemeral));
    match (Content::decode(content), opened) {
        (Ok(content), Ok(opened)) => {
            assert_eq!(opened, Opened::Message { sender: from.address(), content });
        }
        (Err(_), Err(OpenError::Content(_))) => {}
        (decoded, opened) => unreachable!("{decoded:?} opens as {opened:?}"),
    }
}

fn genuine() -> Envelope {
    let context = SealContext { chain: &CHAIN, address: to().address(), timestamp: NOW, ttl: ttl() };
    envelope(seal(&context, &account(1), plain("hello"), &mut rng(7)).expect("a short text"))
}

/// An honest message that whoever kept it changed, or published again under another time.
fn changed(input: &mut Input<'_>) {
    let good = genuine();
    let mut bytes = good.encode();
    input.edit(&mut bytes);
    let Ok(envelope) = Envelope::decode(&bytes) else { return };
    // The anchor is not sealed: work may be done again.
    let same = (envelope.address(), envelope.timestamp(), envelope.ttl(), envelope.data())
        == (good.address(), good.timestamp(), good.ttl(), good.data());
    let opened = open(&to(), &envelope);
    assert_eq!(opened.is_ok(), same, "a changed envelope opens, or a good one does not");
    assert!(open(&account(3), &good).is_err(), "somebody else opens it");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let content = plain("hello").encode().expect("a short text");
    let newer = [&[0x0a, 16][..], &[7; 16], &[0x10, 5]].concat();
    vec![
        whole(0, &framed(0, b"")),
        whole(0, &framed(9, b"later")),
        whole(1, b""),
        whole(5, b"no proof"),
        whole(1 | 7 << 2, b"later"),
        whole(2, &content),
        whole(2, &newer),
        whole(3, &[0, 0, 0, 0]),
        whole(3, &[1, 0, 36, 1]),
        whole(3, &[1, 0, 50, 1]),
        whole(3, &[1, 3, 0, 1]),
    ]
}
