//! The store as a whole: what is on the disk, what survives a crash, what two accounts share.

mod accounts;
mod contacts;
mod erasing;
mod full;
mod handles;
mod history;
mod inbox;
mod outbox;
mod scale;
mod search;
mod secrecy;
mod sessions;
mod transactions;
mod whereabouts;
mod wipe;

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sotto_proto::account::Entropy;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{ChainId, Height, NodeId, RecordId, X25519Key};
use sotto_proto::limits::ENVELOPE_DATA_SIZES;
use sotto_proto::pow::Nonce;
use sotto_proto::request::{Cursor, Receipt};
use sotto_proto::sign::Signature;
use sotto_proto::time::{UnixMillis, UnixSeconds};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

const CHAIN: ChainId = ChainId::new([0xc4; 32]);
/// Cheap: these tests are not about guessing.
const CHEAP: Kdf = Kdf { memory_kib: 64, passes: 1, lanes: 1 };

fn rng() -> ChaCha20Rng {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    ChaCha20Rng::from_seed(seed)
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::typed(Zeroizing::new(text.to_owned())).unwrap()
}

fn create(accounts: &Accounts, called: &str, entropy: u8, device: DeviceKey) -> OpenAccount {
    let new = NewAccount {
        name: &name(called),
        entropy: &Entropy::take(&mut [entropy; 16]),
        passphrase: &passphrase(called),
        kdf: CHEAP,
        device,
        created: UnixMillis(1),
    };
    accounts.create(&new, &mut rng()).unwrap()
}

/// A directory with one open account, `alice`, whose passphrase is its name.
fn alice() -> (TempDir, Accounts, OpenAccount) {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(dir.path(), CHAIN);
    let account = create(&accounts, "alice", 1, DeviceKey::generate(&mut rng()));
    (dir, accounts, account)
}

/// The account as it would be found after a crash at this moment: what is on the disk now, opened elsewhere.
fn after_crash(dir: &Path) -> (TempDir, OpenAccount) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(dir, copy.path());
    let account = Accounts::new(copy.path(), CHAIN).open_crashed(&name("alice"), &passphrase("alice"));
    (copy, account)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn address(byte: u8) -> Address {
    Address::account(&X25519Key::new([byte; 32]))
}

fn content(id: u8, text: &str) -> Content {
    let body = Body::Text(Text::new(text.to_owned()).unwrap());
    Content::new(MessageId::new([id; 16]), UnixMillis(5), body)
}

fn ttl() -> Ttl {
    Ttl::new(86_400).unwrap()
}

fn record(byte: u8) -> (RecordId, Record) {
    let data = vec![byte; ENVELOPE_DATA_SIZES[0]];
    let envelope = Envelope::new(address(2), UnixSeconds(100), ttl(), Height(30), data).unwrap();
    (envelope.id(&CHAIN), Record::new(envelope, Nonce::from_bytes([byte; 8]), None).unwrap())
}

fn receipt(node: u8, id: RecordId) -> StoredReceipt {
    let node = NodeId::new([node; 32]);
    let receipt = Receipt { node, address: address(2), id, expiry: UnixSeconds(9), height: Height(3) };
    StoredReceipt { receipt, signature: Signature::new([7; 64]) }
}

fn page(cursor: Option<Cursor>, arrivals: Vec<Arrival>) -> Page {
    Page { address: address(1), node: NodeId::new([3; 32]), cursor, received: UnixMillis(7), arrivals }
}

fn arrival(byte: u8, letter: Option<Letter>) -> Arrival {
    Arrival { record: RecordId::new([byte; 32]), expiry: UnixSeconds(1000), letter }
}

fn letter(sender: u8, id: u8, text: &str) -> Option<Letter> {
    Some(Letter::Message { sender: address(sender), device: 0, session: None, content: content(id, text) })
}
