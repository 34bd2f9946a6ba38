//! Nothing of what is kept can be found on the disk.

use sotto_behaviours::noise::Secret;
use sotto_proto::chain::{Header, NodeRecord, NodeState};
use sotto_proto::id::{Hash, PublicKey};
use sotto_proto::sign::SigningKey;

use super::*;
use crate::crypto::SessionTag;

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
    plant_conversation(store);
    let guard = Guard { node: NodeId::new([BYTE; 32]), chosen: UnixSeconds(1), expires: UnixSeconds(2) };
    account.device().set_guards(&[guard], &mut rng()).unwrap();
    account
}

/// What conversations keep.
fn plant_conversation(store: &mut Store) {
    let (account, key, tag) = (address(BYTE), SigningKey::from_seed(&[BYTE; 32]), SessionTag::new([BYTE; 16]));
    let secret = || Zeroizing::new([SENTINEL.as_bytes(), &[BYTE; 64]].concat());
    let tx = store.transaction().unwrap();
    tx.set_display_name(SENTINEL).unwrap();
    tx.put_contact(&Contact {
        account,
        name: SENTINEL.into(),
        said_name: Some(SENTINEL.into()),
        state: ContactState::Accepted,
        created: UnixMillis(1),
    })
    .unwrap();
    tx.add_request(&Request {
        id: MessageId::new([BYTE; 16]),
        account,
        outgoing: false,
        name: SENTINEL.into(),
        introduction: SENTINEL.into(),
        renewal: false,
        bundles: SENTINEL.into(),
        state: RequestState::Waiting,
        created: UnixMillis(1),
        expires: UnixSeconds(1),
    })
    .unwrap();
    tx.add_mailbox(&OwnMailbox { address: Address::mailbox(&key.public()), key }, UnixSeconds(1)).unwrap();
    let prekey = tx.add_prekey(Secret::take(&mut [BYTE; 32]), UnixSeconds(1)).unwrap().number;
    let (created, expires) = (UnixSeconds(1), UnixSeconds(2));
    tx.put_bundle(&StoredBundle { epoch: 1, recipient: account, prekey, secrets: secret(), created, expires }).unwrap();
    tx.use_slot(1, 0, &X25519Key::new([BYTE; 32]), &tag).unwrap();
    tx.add_session(&Session {
        tag,
        account,
        device: 0,
        own_device: 0,
        initiator: true,
        ratchet: secret(),
        skipped: Some(secret()),
        initial: Some(secret().to_vec()),
        mailbox: account,
        seal_key: X25519Key::new([BYTE; 32]),
        peer_epoch: 1,
        expires,
        epoch: 1,
        created,
        received: None,
        retired: None,
    })
    .unwrap();
    let content = content(BYTE - 1, SENTINEL);
    let said = Said { account, outgoing: true, device: 0, arrived: UnixMillis(1), content: content.clone() };
    assert!(tx.add_to_history(&said).unwrap());
    tx.set_draft(&account, Some(&Text::new(SENTINEL.to_owned()).unwrap())).unwrap();
    let encrypted = Some(Encrypted { session: tag, message: secret().to_vec() });
    tx.enqueue(&NewMessage { encrypted, ..NewMessage::plain(account, content, ttl(), UnixMillis(1)) }).unwrap();
    tx.commit().unwrap();
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
        header: header.sign(&SigningKey::from_seed(&[BYTE; 32]), &CHAIN),
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

/// Whether these bytes hold a text, as it is or as it is searched by, or a key.
fn shows(bytes: &[u8]) -> bool {
    let folded = words::folded(SENTINEL);
    let parts = folded.split(' ').filter(|word| word.len() >= 6);
    let texts = [SENTINEL.as_bytes(), folded.as_bytes()].into_iter().chain(parts.map(str::as_bytes));
    let text = texts.into_iter().any(|text| bytes.windows(text.len()).any(|window| window == text));
    text || bytes.windows(6).any(|window| *window == [BYTE; 6])
}

fn assert_nothing_shows(dir: &Path) {
    let files = everything(dir);
    assert!(files.iter().any(|(name, bytes)| name.ends_with("store.db") && bytes.len() > 4096));
    for (name, bytes) in files {
        assert!(!name.contains(SENTINEL), "{name}");
        assert!(!shows(&bytes), "{name}");
        // The schema would name what a messenger keeps.
        let named = |window: &[u8]| [b"outbox", b"contac", b"messag", b"SQLite"].iter().any(|known| window == *known);
        assert!(!bytes.windows(6).any(named), "{name}");
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
    let mut account = accounts.open(&name(SENTINEL), &passphrase(SENTINEL)).unwrap();
    let tx = account.store.transaction().unwrap();
    assert_eq!(tx.display_name().unwrap().unwrap(), SENTINEL);
    assert!(tx.contact_named(SENTINEL).unwrap().is_some() && tx.bundle(1).unwrap().is_some());
    assert!(tx.session(&SessionTag::new([BYTE; 16])).unwrap().is_some());
    assert_eq!((tx.requests().unwrap().len(), tx.prekeys().unwrap().len(), tx.mailboxes().unwrap().len()), (1, 1, 1));
    assert_eq!(tx.history(&address(BYTE), None, 9).unwrap().len(), 1);
    drop(tx);
    assert_eq!(account.store.unshown(9).unwrap().len(), 2);
    assert_eq!(account.device().guards().unwrap().len(), 1);
}

/// What is logged while this is done.
fn logged(work: impl FnOnce()) -> Vec<u8> {
    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        tracing::debug!("the log is read");
        work();
    });
    log.0.lock().unwrap().clone()
}

#[test]
fn through_a_whole_life_of_a_store_nothing_shows_on_the_disk_or_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = logged(|| {
        let accounts = Accounts::new(dir.path(), CHAIN);
        let mut account = plant(&accounts);
        let who = address(BYTE);
        // Searched, said otherwise, erased.
        let tx = account.store.transaction().unwrap();
        let words = SearchWords::new(SENTINEL).unwrap();
        let (place, _) = tx.search(&words, Some(&who), None, 9).unwrap().remove(0);
        tx.index_text(place.number, &format!("{SENTINEL} {SENTINEL}-otherwise")).unwrap();
        tx.commit().unwrap();
        assert_nothing_shows(dir.path());
        // A copy that somebody takes while it is open, in the middle of a change.
        let tx = account.store.transaction().unwrap();
        tx.unindex(place.number).unwrap();
        tx.set_display_name(&SENTINEL.repeat(100)).unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), copy.path());
        assert_nothing_shows(copy.path());
        tx.remove_contact(&who).unwrap();
        tx.commit().unwrap();
        account.change_passphrase(&passphrase(&format!("{SENTINEL} once more")), &mut rng()).unwrap();
        let wal = "PRAGMA wal_checkpoint(TRUNCATE)";
        account.store.connection().query_row(wal, [], |_| Ok(())).unwrap();
        account.another().unwrap().store.connection().execute_batch("VACUUM").unwrap();
        assert_nothing_shows(dir.path());
        let account = accounts.rename(account, &name(&format!("{SENTINEL}.2"))).unwrap();
        drop(account);
        assert_nothing_shows(dir.path());
        // The copy is opened elsewhere, and a wrong passphrase tried.
        let copies = Accounts::new(copy.path(), CHAIN);
        let wrong = copies.open(&name(SENTINEL), &passphrase("wrong")).unwrap_err();
        assert!(!shows(format!("{wrong} {wrong:?}").as_bytes()));
        let found = copies.open(&name(SENTINEL), &passphrase(SENTINEL)).unwrap();
        assert!(found.is_copy());
        assert_nothing_shows(copy.path());
        drop(found);
        // What is left of an account that was erased in the middle.
        let folder = copies.folders().unwrap()[0];
        vault::Vault::destroy(&copies.folder().join(folder.to_string()), &mut rng()).unwrap();
        assert_nothing_shows(copy.path());
    });
    assert!(log.windows(11).any(|window| window == b"the log is ") && !shows(&log));
}

#[test]
fn what_is_in_the_clear_would_be_found() {
    let dir = tempfile::tempdir().unwrap();
    let account = plant(&Accounts::new(dir.path(), CHAIN));
    let plain = dir.path().join("plain.db");
    fs::write(&plain, "").unwrap();
    let to = plain.to_str().unwrap();
    account.store.connection().execute_batch(&format!("ATTACH '{to}' AS plain KEY ''")).unwrap();
    account.store.connection().query_row("SELECT sqlcipher_export('plain')", [], |_| Ok(())).unwrap();
    account.store.connection().execute_batch("DETACH plain").unwrap();
    let bytes = fs::read(plain).unwrap();
    assert!(shows(&bytes), "a decrypted database");
    assert!(shows(format!("x{SENTINEL}x").as_bytes()) && shows(&[BYTE; 7]) && !shows(b"Zq7-sentine"));
    assert!(shows(words::folded(SENTINEL).as_bytes()));
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
    let mut account = plant(&Accounts::new(dir.path(), CHAIN));
    let shown = format!("{account:?} {:?} {:?}", account.store, account.device().key());
    assert!(!shown.contains(SENTINEL) && !shown.contains("215, 215"), "{shown}");
    assert!(shown.contains("Store(open) DeviceKey(secret)"), "{shown}");
    let tx = account.store.transaction().unwrap();
    let shown =
        format!("{tx:?} {:?} {:?} {:?}", tx.mailboxes().unwrap(), tx.prekeys().unwrap(), tx.requests().unwrap());
    assert!(!shown.contains(SENTINEL) && !shown.contains("215, 215"), "{shown}");
    assert!(shown.contains("Transaction(open)"), "{shown}");
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
