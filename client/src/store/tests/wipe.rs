//! What is erased for good, and what is left alone.

use super::*;

fn everything(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_keys_of_all_go_before_the_files_of_any_and_no_passphrase_is_asked_for() {
    let (dir, accounts, alice) = alice();
    let elsewhere = Accounts::new(dir.path(), ChainId::new([0xff; 32]));
    let bob = create(&accounts, "bob", 2, DeviceKey::generate(&mut rng()));
    drop(create(&elsewhere, "carol", 3, DeviceKey::generate(&mut rng())));
    bob.device().set_guards(&[], &mut rng()).unwrap();
    fs::write(accounts.folder().join(GENESIS), "public").unwrap();
    fs::create_dir(accounts.folder().join(".new-0011223344556677")).unwrap();
    fs::create_dir_all(accounts.folder().join(".gone-0011223344556677/x")).unwrap();
    fs::write(dir.path().join("another's file"), "not ours").unwrap();
    let own = std::process::id();
    assert!(matches!(Wipe::of_all(dir.path()), Err(StoreError::InUse { pid: Some(pid) }) if pid == own));
    drop((alice, bob));
    let wipe = Wipe::of_all(dir.path()).unwrap();
    assert!(matches!(accounts.open(&name("bob"), &passphrase("bob")), Err(StoreError::InUse { .. })), "held");
    let copies: Vec<_> = accounts
        .folders()
        .unwrap()
        .into_iter()
        .map(|folder| fs::read(accounts.folder().join(folder.to_string()).join("keyslots.bin")).unwrap())
        .collect();
    let (mut order, mut slots) = (Vec::new(), Vec::new());
    wipe.run(&mut rng(), |wiped| {
        if order.len() == 2 {
            slots = accounts
                .folders()
                .unwrap()
                .into_iter()
                .map(|folder| fs::read(accounts.folder().join(folder.to_string()).join("keyslots.bin")).unwrap())
                .collect();
        }
        order.push(matches!(wiped, Wiped::Keys(_)));
    })
    .unwrap();
    assert_eq!(order, [true, true, true, false, false, false]);
    assert!(slots.iter().zip(&copies).all(|(now, before)| now.len() == before.len() && now[..64] != before[..64]));
    assert_eq!(everything(dir.path()), ["another's file"]);
    // Nothing is left to erase.
    assert_eq!(Wipe::of_all(dir.path()).unwrap().folders().count(), 0);
    assert_eq!(Wipe::of_all(&dir.path().join("none")).unwrap().folders().count(), 0);
}

#[test]
fn one_account_goes_and_the_guards_stay_as_long_as_there_is_another() {
    let (dir, accounts, alice) = alice();
    let bob = create(&accounts, "bob", 2, alice.device().key().clone());
    alice.device().set_guards(&[], &mut rng()).unwrap();
    drop((alice, bob));
    let folder = |called: &str| accounts.find(&name(called)).unwrap();
    accounts.delete(folder("alice"), &mut rng()).unwrap();
    drop(accounts.open(&name("bob"), &passphrase("bob")).unwrap());
    assert_eq!(everything(accounts.folder()).len(), 2);
    accounts.delete(folder("bob"), &mut rng()).unwrap();
    assert_eq!(everything(accounts.folder()), [""; 0]);
    assert_eq!(everything(dir.path()).len(), 1, "the network's folder stays");
}

#[test]
fn a_broken_account_and_one_that_was_being_erased_can_be_erased() {
    let (_dir, accounts, alice) = alice();
    drop(alice);
    let folder = accounts.folders().unwrap()[0];
    let path = accounts.folder().join(folder.to_string());
    // Killed between the key slots and the files, with what a change of the passphrase had left beside them.
    fs::copy(path.join("keyslots.bin"), path.join("keyslots.new")).unwrap();
    let slots = fs::read(path.join("keyslots.bin")).unwrap();
    vault::Vault::destroy(&path, &mut rng()).unwrap();
    for file in ["keyslots.bin", "keyslots.new"] {
        assert_ne!(fs::read(path.join(file)).unwrap()[24..], slots[24..], "{file}");
    }
    fs::create_dir(accounts.folder().join(format!(".gone-{folder}"))).unwrap();
    fs::remove_file(path.join("keyslots.bin")).unwrap();
    fs::remove_file(path.join("store.db")).unwrap();
    accounts.delete(folder, &mut rng()).unwrap();
    assert_eq!(everything(accounts.folder()), [""; 0]);
}
