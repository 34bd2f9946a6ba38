//! Several accounts beside each other; making, renaming and erasing them.

use super::*;

const GUARD: Guard = Guard { node: NodeId::new([0xaa; 32]), chosen: UnixSeconds(1), expires: UnixSeconds(2) };

fn guards(account: &OpenAccount) -> Vec<Guard> {
    account.device().guards().unwrap()
}

#[test]
fn an_account_opens_with_its_passphrase_and_no_other() {
    let (_dir, accounts, alice) = alice();
    let id = alice.account().address();
    assert!(matches!(
        accounts.open(&name("alice"), &passphrase("alice")),
        Err(StoreError::InUse { pid: Some(pid) }) if pid == std::process::id()
    ));
    drop(alice);
    assert!(matches!(accounts.open(&name("alice"), &passphrase("Alice")), Err(StoreError::WrongPassphrase)));
    assert!(matches!(accounts.open(&name("bob"), &passphrase("alice")), Err(StoreError::NotFound(_))));
    let alice = accounts.open(&name("alice"), &passphrase("alice")).unwrap();
    assert_eq!((alice.account().address(), alice.entropy().expose()), (id, &[1; 16]));
    assert_eq!((alice.name().as_str(), alice.created(), alice.kdf()), ("alice", UnixMillis(1), CHEAP));
    assert!(alice.store.cipher_version().unwrap().starts_with("4."));
}

#[test]
fn two_accounts_have_no_bytes_in_common() {
    let (dir, accounts, alice) = alice();
    let bob = create(&accounts, "bob", 1, DeviceKey::generate(&mut rng()));
    alice.device().set_guards(&[GUARD], &mut rng()).unwrap();
    bob.device().set_guards(&[GUARD], &mut rng()).unwrap();
    drop((alice, bob));
    let mut windows = std::collections::BTreeMap::new();
    for (owner, folder) in accounts.folders().unwrap().into_iter().enumerate() {
        let folder = accounts.folder().join(folder.to_string());
        for file in ["keyslots.bin", "store.db"] {
            let bytes = fs::read(folder.join(file)).unwrap();
            // The header of the key slots is the same for every account, but for its salt.
            let parts = if file == "keyslots.bin" { vec![&bytes[24..56], &bytes[64..]] } else { vec![&bytes[..]] };
            for window in parts.into_iter().flat_map(|part| part.windows(7)) {
                assert_eq!(windows.insert(window.to_vec(), owner).unwrap_or(owner), owner, "{file}");
            }
        }
    }
    assert!(windows.len() > 8192);
    let devices = fs::read_dir(accounts.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(devices.filter(|name| name.to_string_lossy().starts_with("device-")).count(), 2);
    drop(dir);
}

#[test]
fn accounts_that_were_given_the_devices_key_share_its_guards() {
    let (_dir, accounts, alice) = alice();
    let bob = create(&accounts, "bob", 2, alice.device().key().clone());
    let carol = create(&accounts, "carol", 3, DeviceKey::generate(&mut rng()));
    alice.device().set_guards(&[GUARD], &mut rng()).unwrap();
    drop(bob);
    let bob = accounts.open(&name("bob"), &passphrase("bob")).unwrap();
    assert_eq!((guards(&alice), guards(&bob), guards(&carol)), (vec![GUARD], vec![GUARD], vec![]));
}

#[test]
fn another_passphrase_takes_the_place_of_the_first() {
    let (_dir, accounts, mut alice) = alice();
    alice.change_passphrase(&passphrase("second"), &mut rng()).unwrap();
    drop(alice);
    assert!(matches!(accounts.open(&name("alice"), &passphrase("alice")), Err(StoreError::WrongPassphrase)));
    let alice = accounts.open(&name("alice"), &passphrase("second")).unwrap();
    let mut carol = accounts.rename(alice, &name("carol")).unwrap();
    carol.change_passphrase(&passphrase("third"), &mut rng()).unwrap();
    drop(carol);
    accounts.open(&name("carol"), &passphrase("third")).unwrap();
}

#[test]
fn a_renamed_account_is_found_under_its_new_name_only() {
    let (dir, accounts, alice) = alice();
    drop(create(&accounts, "bob", 2, DeviceKey::generate(&mut rng())));
    assert!(matches!(accounts.rename(alice, &name("bob")), Err(StoreError::Exists(_))));
    let alice = accounts.open(&name("alice"), &passphrase("alice")).unwrap();
    let mut carol = accounts.rename(alice, &name("carol")).unwrap();
    carol.store.set_setting("still", b"there").unwrap();
    drop(carol);
    assert!(accounts.find(&name("alice")).is_none());
    let carol = accounts.open(&name("carol"), &passphrase("alice")).unwrap();
    assert_eq!((carol.name().as_str(), carol.store.setting("still").unwrap()), ("carol", Some(b"there".to_vec())));
    drop(carol);
    // A crash between the folder and the name inside: opening mends it.
    let folder = |called: &str| accounts.folder().join(FolderName::of(&CHAIN, &name(called)).to_string());
    fs::rename(folder("carol"), folder("dave")).unwrap();
    drop(accounts.open(&name("dave"), &passphrase("alice")).unwrap());
    assert_eq!(accounts.open(&name("dave"), &passphrase("alice")).unwrap().name().as_str(), "dave");
    drop(dir);
}

#[test]
fn an_erased_account_is_gone_and_its_old_files_are_noise() {
    let (dir, accounts, alice) = alice();
    let folder = accounts.folders().unwrap()[0];
    assert!(matches!(accounts.delete(folder, &mut rng()), Err(StoreError::InUse { .. })));
    drop(alice);
    // Somebody keeps a copy of all but the key slots, and finds those as they are in the middle of deleting.
    let path = accounts.folder().join(folder.to_string());
    vault::Vault::destroy(&path, &mut rng()).unwrap();
    assert!(matches!(accounts.open(&name("alice"), &passphrase("alice")), Err(StoreError::Damaged(_))));
    accounts.delete(folder, &mut rng()).unwrap();
    assert_eq!(fs::read_dir(accounts.folder()).unwrap().count(), 0);
    assert!(matches!(accounts.delete(folder, &mut rng()), Err(StoreError::NotFound(_))));
    drop(dir);
}

#[test]
fn an_account_of_another_network_is_not_opened_here() {
    let (dir, accounts, alice) = alice();
    drop(alice);
    let other = ChainId::new([0xff; 32]);
    let elsewhere = Accounts::new(dir.path(), other);
    fs::create_dir_all(elsewhere.folder()).unwrap();
    let folder = accounts.folders().unwrap()[0];
    let target = elsewhere.folder().join(FolderName::of(&other, &name("alice")).to_string());
    fs::rename(accounts.folder().join(folder.to_string()), target).unwrap();
    assert!(matches!(
        elsewhere.open(&name("alice"), &passphrase("alice")),
        Err(StoreError::OtherNetwork { expected, actual: CHAIN }) if expected == other
    ));
}

#[test]
fn what_a_killed_process_left_half_made_is_swept_and_hinders_nobody() {
    let (dir, accounts, alice) = alice();
    drop(alice);
    let half = accounts.folder().join(".new-0011223344556677");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("keyslots.bin"), "half").unwrap();
    let hour_ago = fs::metadata(&half).unwrap().modified().unwrap() - std::time::Duration::from_secs(3600);
    fs::File::open(&half).unwrap().set_modified(hour_ago).unwrap();
    // One that is being made just now stays.
    let young = accounts.folder().join(".new-8899aabbccddeeff");
    fs::create_dir(&young).unwrap();
    let gone = accounts.folder().join(".gone-0011223344556677");
    fs::create_dir(&gone).unwrap();
    drop(create(&accounts, "bob", 2, DeviceKey::generate(&mut rng())));
    assert_eq!((half.exists(), gone.exists(), young.exists()), (false, false, true));
    assert_eq!(accounts.folders().unwrap().len(), 2);
    let again = NewAccount {
        name: &name("bob"),
        entropy: &Entropy::take(&mut [5; 16]),
        passphrase: &passphrase("x"),
        kdf: CHEAP,
        device: DeviceKey::generate(&mut rng()),
        created: UnixMillis(1),
    };
    assert!(matches!(accounts.create(&again, &mut rng()), Err(StoreError::Exists(_))));
    drop(dir);
}

#[test]
fn names_are_what_fits_on_a_line() {
    for good in ["a", "Alice B.", "ünï", &"x".repeat(32)] {
        assert!(good.parse::<AccountName>().is_ok(), "{good}");
    }
    for bad in ["", " a", "a ", "a\nb", "a\u{202e}b", &"x".repeat(33)] {
        assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
    }
}
