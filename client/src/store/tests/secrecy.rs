//! Nothing of what is kept can be found on the disk.

use sotto_proto::chain::{Header, NodeRecord, NodeState};
use sotto_proto::id::{Hash, PublicKey};

use super::*;

/// In every text.
const SENTINEL: &str = "Zq7-sentinel-Xv3";
/// In every key and id.
const BYTE: u8 = 0xd7;

fn plant(accounts: &Accounts) -> OpenAccount {
    let mut account = create(accounts, SENTINEL, BYTE, DeviceKey::take(&mut [BYTE; 32]));
    let store = &mut account.store;
    store.set_setting(SENTINEL, SENTINEL.as_bytes()).unwrap();
    let message = NewMessage::plain(address(BYTE), content(BYTE, SENTINEL), ttl(), UnixMillis(1));
    let id = message.content.id;
    store.enqueue(&message).unwrap();
    let (record_id, record) = record(BYTE);
    store.note_attempt(&id, UnixMillis(1), SENTINEL).unwrap();
    store.set_worked(&id, &record_id, &record).unwrap();
    store.add_receipts(&id, &[receipt(BYTE, record_id)]).unwrap();
    let newer = Letter::Newer { kind: 9, body: SENTINEL.into() };
    let arrivals = vec![arrival(BYTE, letter(BYTE, BYTE, SENTINEL)), arrival(BYTE - 1, Some(newer))];
    let cursor = Cursor { epoch: u64::from_be_bytes([BYTE; 8]), seq: 1 };
    store.take_in(&Page { node: NodeId::new([BYTE; 32]), ..page(Some(cursor), arrivals) }).unwrap();
    store.save_network(&network()).unwrap();
    let evidence = Evidence { found: UnixMillis(1), kind: SENTINEL.into(), bytes: SENTINEL.into() };
    store.add_evidence(&evidence).unwrap();
    let guard = Guard { node: NodeId::new([BYTE; 32]), chosen: UnixSeconds(1), expires: UnixSeconds(2) };
    account.device().set_guards(&[guard], &mut rng()).unwrap();
    account
}

fn network() -> SavedNetwork {
    let header = Header {
        height: Height(5),
        previous: Hash::new([BYTE; 32]).into(),
        time: UnixMillis(1),
        tx_root: Hash::new([BYTE; 32]),
        state_root: Hash::new([BYTE; 32]),
        list_root: Hash::new([BYTE; 32]),
    };
    SavedNetwork {
        header: header.sign(&sotto_proto::sign::SigningKey::from_seed(&[BYTE; 32]), &CHAIN),
        nodes: vec![NodeRecord {
            node: NodeId::new([BYTE; 32]),
            operator: PublicKey::new([BYTE; 32]),
            state: NodeState::Active,
            x25519: X25519Key::new([BYTE; 32]),
            previous_x25519: Some(X25519Key::new([BYTE; 32])),
            swarm: None,
            region: "eu".parse().unwrap(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()],
        }],
        fetched: UnixMillis(1),
    }
}

/// Every file below `dir`, and every name.
fn everything(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.display().to_string(), Vec::new()));
            found.extend(everything(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn assert_nothing_shows(dir: &Path) {
    let files = everything(dir);
    assert!(files.iter().any(|(name, bytes)| name.ends_with("store.db") && bytes.len() > 4096));
    for (name, bytes) in files {
        assert!(!name.contains(SENTINEL), "{name}");
        let text = bytes.windows(SENTINEL.len()).any(|window| window == SENTINEL.as_bytes());
        let key = bytes.windows(6).any(|window| *window == [BYTE; 6]);
        assert!(!text && !key, "{name}");
        // The schema would name what a messenger keeps.
        assert!(!bytes.windows(6).any(|window| window == b"outbox" || window == b"SQLite"), "{name}");
    }
}

#[test]
fn a_sentinel_in_every_field_is_nowhere_in_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(dir.path(), CHAIN);
    let account = plant(&accounts);
    // While it is open, with everything still in the write-ahead log, and after it was closed.
    let wal = everything(dir.path()).into_iter().find(|(name, _)| name.ends_with("-wal")).unwrap();
    assert!(wal.1.len() > 4096, "the log is in use");
    assert_nothing_shows(dir.path());
    assert_eq!(account.store.network().unwrap(), Some(network()));
    assert_eq!(account.store.evidence().unwrap()[0].kind, SENTINEL);
    drop(account);
    assert_nothing_shows(dir.path());
    // It really was all there.
    let account = accounts.open(&name(SENTINEL), &passphrase(SENTINEL)).unwrap();
    assert_eq!(account.store.unshown(9).unwrap().len(), 2);
    assert_eq!(account.device().guards().unwrap().len(), 1);
}

#[test]
fn nobody_else_on_the_machine_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let account = plant(&Accounts::new(dir.path(), CHAIN));
    for (name, _) in everything(dir.path()) {
        let mode = fs::metadata(&name).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} {mode:o}");
    }
    drop(account);
}

#[test]
fn debug_of_an_open_account_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let account = plant(&Accounts::new(dir.path(), CHAIN));
    let shown = format!("{account:?} {:?} {:?}", account.store, account.device().key());
    assert!(!shown.contains(SENTINEL) && !shown.contains("215, 215"), "{shown}");
    assert!(shown.contains("Store(open) DeviceKey(secret)"), "{shown}");
}

#[test]
fn only_the_newest_evidence_is_kept() {
    let (_dir, _, mut alice) = alice();
    for number in 0..300 {
        let evidence = Evidence { found: UnixMillis(number), kind: "list".into(), bytes: vec![0; 70_000] };
        alice.store.add_evidence(&evidence).unwrap();
    }
    let kept = alice.store.evidence().unwrap();
    assert_eq!((kept.len(), kept[0].found, kept[255].found), (256, UnixMillis(299), UnixMillis(44)));
    assert_eq!(kept[0].bytes.len(), 65_536);
}
