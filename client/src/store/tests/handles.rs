//! One account open several times in one process.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::crypto::SessionTag;

/// Messages that each thread queues.
const EACH: u8 = 60;
const TAG: SessionTag = SessionTag::new([7; 16]);

fn session() -> Session {
    Session {
        tag: TAG,
        account: address(2),
        device: 0,
        own_device: 0,
        initiator: true,
        ratchet: Zeroizing::new(0_u32.to_be_bytes().to_vec()),
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
    }
}

/// As sending does: reads the ratchet, steps it, queues what came of it.
fn step(account: &mut OpenAccount, id: u8) -> Result<(), StoreError> {
    account.change(|tx, _| {
        let session = tx.session(&TAG)?.ok_or(StoreError::NotFound("session"))?;
        let count = u32::from_be_bytes(session.ratchet.as_slice().try_into().unwrap()) + 1;
        tx.set_ratchet(&TAG, &count.to_be_bytes(), None)?;
        tx.next_sequence(&address(2))?;
        let encrypted = Some(Encrypted { session: TAG, message: count.to_be_bytes().to_vec() });
        tx.enqueue(&NewMessage {
            encrypted,
            ..NewMessage::plain(address(2), content(id, "hi"), ttl(), UnixMillis(u64::from(id)))
        })
    })
}

/// Two more handles of an account.
type Two = fn(&OpenAccount) -> Result<(OpenAccount, OpenAccount), StoreError>;

#[test]
fn two_threads_that_write_at_once_lose_nothing_and_use_no_ratchet_key_twice() {
    let apart: Two = |alice| Ok((alice.another()?, alice.another()?));
    let together: Two = |alice| Ok((alice.sharing()?, alice.sharing()?));
    let mixed: Two = |alice| Ok((alice.sharing()?, alice.another()?));
    [apart, together, mixed].into_iter().for_each(write_at_once);
}

fn write_at_once(two: Two) {
    let (dir, _accounts, mut alice) = alice();
    alice
        .change(|tx, _| {
            let (name, state, created) = ("Bob".to_owned(), ContactState::Accepted, UnixMillis(1));
            tx.put_contact(&Contact { account: address(2), name, said_name: None, state, created })?;
            tx.add_session(&session())
        })
        .unwrap();
    let start = Barrier::new(2);
    let write = |mut account: OpenAccount, first: u8| {
        start.wait();
        for id in first..first + EACH {
            step(&mut account, id).unwrap();
            // What is no transaction of its own waits too.
            let (record_id, record) = record(id);
            account.store.set_worked(&MessageId::new([id; 16]), &record_id, &record).unwrap();
            account.store.set_setting("last", &[id]).unwrap();
            account.store.note_attempt(&MessageId::new([id; 16]), UnixMillis(1), "no path").unwrap();
        }
    };
    let (one, two) = two(&alice).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| write(one, 100));
        scope.spawn(|| write(two, 10));
    });
    let all = usize::from(2 * EACH);
    let found = |account: &mut OpenAccount| {
        let messages = account.store.pending(500).unwrap();
        let worked = messages.iter().filter(|message| (message.record.is_some(), message.attempts) == (true, 1));
        assert_eq!((messages.len(), worked.count()), (all, all));
        let made: BTreeSet<_> = messages.into_iter().map(|message| message.encrypted.unwrap().message).collect();
        let tx = account.store.transaction().unwrap();
        (made.len(), tx.session(&TAG).unwrap().unwrap().ratchet.to_vec(), tx.next_sequence(&address(2)).unwrap())
    };
    let expected = (all, 120_u32.to_be_bytes().to_vec(), 121);
    assert_eq!(found(&mut alice), expected);
    assert_eq!(found(&mut alice.another().unwrap()), expected);
    let (_copy, mut copy) = after_crash(dir.path());
    assert_eq!(found(&mut copy), expected);
}

#[test]
fn what_one_of_two_that_share_a_connection_has_begun_is_its_own_until_it_ends() {
    let (_dir, _accounts, mut alice) = alice();
    let other = alice.sharing().unwrap();
    assert!(other.shares_with(&alice) && !other.shares_with(&alice.another().unwrap()));
    // Given up, and given up by a panic.
    alice.store.transaction().unwrap().set_display_name("A").unwrap();
    let panics = thread::scope(|scope| {
        let broken = scope.spawn(|| {
            let tx = alice.store.transaction().unwrap();
            tx.set_display_name("B").unwrap();
            panic!("on purpose");
        });
        broken.join()
    });
    assert!(panics.is_err());
    assert_eq!(other.store.setting("display name").unwrap(), None);
    // The other one waits for its turn, and then finds what was committed.
    let found = thread::scope(|scope| {
        let tx = alice.store.transaction().unwrap();
        let waiting = scope.spawn(|| other.store.setting("display name").unwrap());
        tx.set_display_name("C").unwrap();
        tx.commit().unwrap();
        waiting.join().unwrap()
    });
    assert!(matches!(found.as_deref(), None | Some(b"C")), "before it or behind it");
    assert_eq!(other.store.setting("display name").unwrap(), Some(b"C".to_vec()));
}

#[test]
fn each_handle_sees_what_another_has_committed_and_nothing_before() {
    let (_dir, _accounts, mut alice) = alice();
    let other = alice.another().unwrap();
    let tx = alice.store.transaction().unwrap();
    tx.set_display_name("A").unwrap();
    assert_eq!(other.store.setting("display name").unwrap(), None, "readers do not wait");
    tx.commit().unwrap();
    assert_eq!(other.store.setting("display name").unwrap(), Some(b"A".to_vec()));
    assert_eq!((other.name(), other.entropy().expose()), (alice.name(), alice.entropy().expose()));
    assert_eq!(other.device().guards().unwrap(), []);
}

#[test]
fn the_account_is_in_use_until_the_last_handle_is_gone() {
    let (_dir, accounts, alice) = alice();
    let mut other = alice.another().unwrap();
    drop(alice);
    let open = |with: &str| accounts.open(&name("alice"), &passphrase(with));
    assert!(matches!(open("alice"), Err(StoreError::InUse { .. })));
    other.change_passphrase(&passphrase("second"), &mut rng()).unwrap();
    other.another().unwrap().change_passphrase(&passphrase("third"), &mut rng()).unwrap();
    drop(other);
    assert!(matches!(open("second"), Err(StoreError::WrongPassphrase)));
    open("third").unwrap();
}

#[test]
fn an_account_that_is_open_twice_is_not_renamed() {
    let (_dir, accounts, alice) = alice();
    let mut other = alice.another().unwrap();
    let own = std::process::id();
    assert!(matches!(accounts.rename(alice, &name("carol")), Err(StoreError::InUse { pid: Some(pid) }) if pid == own));
    assert!(accounts.find(&name("alice")).is_some() && accounts.find(&name("carol")).is_none());
    other.store.set_setting("still", b"there").unwrap();
    assert_eq!(accounts.rename(other, &name("carol")).unwrap().name().as_str(), "carol");
}
