//! What is found elsewhere than it lay begins anew.

use super::*;
use crate::crypto::SessionTag;

/// Alice with a contact of each state, a session, keys, a message and a draft.
fn talking() -> (TempDir, Accounts, OpenAccount) {
    let (dir, accounts, mut alice) = alice();
    alice
        .change(|tx, _| {
            let states = [ContactState::Requested, ContactState::Accepted, ContactState::Blocked];
            for (number, state) in (1..).zip(states) {
                let (name, created) = (format!("contact {number}"), UnixMillis(1));
                tx.put_contact(&Contact { account: address(number), name, said_name: None, state, created })?;
            }
            tx.add_session(&Session {
                tag: SessionTag::new([7; 16]),
                account: address(2),
                device: 0,
                own_device: 0,
                initiator: true,
                ratchet: Zeroizing::new(vec![7; 300]),
                skipped: None,
                initial: None,
                mailbox: address(2),
                seal_key: X25519Key::new([1; 32]),
                peer_epoch: 1,
                expires: UnixSeconds(9),
                epoch: 1,
                created: UnixSeconds(1),
                received: None,
                retired: None,
            })?;
            let prekey = tx.add_prekey(sotto_behaviours::noise::Secret::take(&mut [3; 32]), UnixSeconds(1))?.number;
            let (secrets, created, expires) = (Zeroizing::new(vec![1]), UnixSeconds(1), UnixSeconds(2));
            tx.put_bundle(&StoredBundle { epoch: 1, recipient: address(2), prekey, secrets, created, expires })?;
            tx.add_request(&Request {
                id: MessageId::new([1; 16]),
                account: address(2),
                outgoing: false,
                name: String::new(),
                introduction: String::new(),
                renewal: false,
                bundles: vec![1; 9],
                state: RequestState::Accepted,
                created: UnixMillis(1),
                expires: UnixSeconds(1),
            })?;
            let said = content(1, "hi");
            let said = Said { account: address(2), outgoing: true, device: 0, arrived: UnixMillis(1), content: said };
            assert!(tx.add_to_history(&said)?);
            tx.set_draft(&address(2), Some(&Text::new("begun".to_owned()).unwrap()))
        })
        .unwrap();
    (dir, accounts, alice)
}

fn open(accounts: &Accounts) -> OpenAccount {
    accounts.open(&name("alice"), &passphrase("alice")).unwrap()
}

/// Whether its keys are gone and its contacts are to be asked; what was said is there in any case.
fn has_begun_anew(alice: &mut OpenAccount) -> bool {
    let tx = alice.store.transaction().unwrap();
    assert_eq!((tx.contacts().unwrap().len(), tx.history(&address(2), None, 9).unwrap().len()), (3, 1));
    assert!(tx.draft(&address(2)).unwrap().is_some());
    let keys = tx.sessions_of(&address(2)).unwrap().len() + tx.prekeys().unwrap().len();
    let bundles = tx.bundle(1).unwrap().iter().count() + tx.requests().unwrap()[0].bundles.len();
    let renewals = tx.renewals(9).unwrap();
    assert!((keys, bundles, renewals.len()) == (2, 10, 0) || (keys, bundles, renewals.len()) == (0, 0, 2));
    assert!(!renewals.contains(&address(3)), "who is blocked is not asked");
    keys == 0
}

#[test]
fn a_copy_is_noticed_once_and_no_key_of_it_serves() {
    let (dir, accounts, mut alice) = talking();
    assert!(!alice.is_copy() && !has_begun_anew(&mut alice));
    let place = tempfile::tempdir().unwrap();
    // Whether it was in use or not.
    copy_folder(dir.path(), place.path());
    drop(alice);
    let copies = Accounts::new(place.path(), CHAIN);
    let mut copy = open(&copies);
    assert!(copy.is_copy() && has_begun_anew(&mut copy));
    assert!(!copy.another().unwrap().is_copy(), "said once");
    copy.change(|tx, _| tx.set_renewed(&address(1))).unwrap();
    drop(copy);
    let mut copy = open(&copies);
    assert!(!copy.is_copy());
    assert_eq!(copy.change(|tx, _| tx.renewals(9)).unwrap(), [address(2)], "it goes on where it was");
    let mut alice = open(&accounts);
    assert!(!alice.is_copy() && !has_begun_anew(&mut alice), "the original is as it was");
}

#[test]
fn an_earlier_state_that_is_written_over_the_files_is_noticed() {
    let (dir, accounts, alice) = talking();
    drop(alice);
    let backup = tempfile::tempdir().unwrap();
    copy_folder(dir.path(), backup.path());
    drop(open(&accounts));
    let folder = |dir: &Path| {
        let accounts = Accounts::new(dir, CHAIN);
        accounts.folder().join(accounts.folders().unwrap()[0].to_string())
    };
    for file in ["store.db", "keyslots.bin", "PLACE"] {
        fs::copy(folder(backup.path()).join(file), folder(dir.path()).join(file)).unwrap();
    }
    let mut alice = open(&accounts);
    assert!(alice.is_copy() && has_begun_anew(&mut alice));
}

#[test]
fn what_people_do_with_an_account_is_no_copy() {
    let (dir, accounts, mut alice) = talking();
    alice.change_passphrase(&passphrase("second"), &mut rng()).unwrap();
    let carol = accounts.rename(alice, &name("carol")).unwrap();
    drop(accounts.rename(carol, &name("alice")).unwrap());
    let moved = dir.path().with_extension("moved");
    fs::rename(dir.path(), &moved).unwrap();
    let accounts = Accounts::new(&moved, CHAIN);
    for _ in 0..2 {
        let mut alice = accounts.open(&name("alice"), &passphrase("second")).unwrap();
        assert!(!alice.is_copy() && !has_begun_anew(&mut alice));
    }
    // One of an earlier version, which took no note of where it lay.
    let alice = accounts.open(&name("alice"), &passphrase("second")).unwrap();
    alice.store.connection().execute("DELETE FROM setting WHERE key = 'place'", []).unwrap();
    drop(alice);
    let folder = accounts.folder().join(accounts.folders().unwrap()[0].to_string());
    fs::remove_file(folder.join("PLACE")).unwrap();
    let mut alice = accounts.open(&name("alice"), &passphrase("second")).unwrap();
    assert!(!alice.is_copy() && !has_begun_anew(&mut alice));
    drop(alice);
    // But whoever leaves the file behind has copied the others.
    fs::remove_file(folder.join("PLACE")).unwrap();
    assert!(accounts.open(&name("alice"), &passphrase("second")).unwrap().is_copy());
    fs::rename(&moved, dir.path()).unwrap();
}
