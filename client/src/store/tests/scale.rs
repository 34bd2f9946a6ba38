//! Ten thousand contacts, a hundred thousand messages. Run by hand: `cargo test --release -- --ignored --nocapture scale`.

use std::time::{Duration, Instant};

use super::*;
use crate::crypto::SessionTag;

const CONTACTS: u32 = 10_000;
const MESSAGES: u32 = 100_000;

fn numbered(number: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn somebody(number: u32) -> Address {
    Address::account(&X25519Key::new(numbered(number)))
}

fn id(number: u32) -> MessageId {
    MessageId::new(std::array::from_fn(|i| numbered(number)[i]))
}

/// Bytes of the skipped keys that every hundredth contact has.
const SKIPPED: u32 = 64_000;
/// Bytes that a contact may take besides: its row, a session, keys given to it, a request, and what finds them.
const CONTACT_BYTES: u32 = 4096;

/// Contacts as those of whom each has asked once, and has been given a bundle.
fn fill_contacts(store: &mut Store) {
    let tx = store.transaction().unwrap();
    for number in 0..CONTACTS {
        let account = somebody(number);
        let state = if number % 10 == 0 { ContactState::Requested } else { ContactState::Accepted };
        let name = format!("contact {number}");
        tx.put_contact(&Contact { account, name, said_name: None, state, created: UnixMillis(1) }).unwrap();
        tx.add_session(&Session {
            tag: SessionTag::new(*id(number).as_bytes()),
            account,
            device: 0,
            own_device: 0,
            initiator: true,
            ratchet: Zeroizing::new(vec![7; 300]),
            skipped: (number % 100 == 0).then(|| Zeroizing::new(vec![8; SKIPPED as usize])),
            initial: None,
            mailbox: account,
            seal_key: X25519Key::new(numbered(number)),
            peer_epoch: 1,
            expires: UnixSeconds(9),
            epoch: 1,
            created: UnixSeconds(1),
            received: Some(UnixSeconds(2)),
            retired: (number % 50 == 0).then_some(UnixSeconds(u64::from(number))),
        })
        .unwrap();
        let (secrets, created, expires) = (Zeroizing::new(vec![7; 300]), UnixSeconds(1), UnixSeconds(2));
        let (epoch, prekey) = (number + 1, PrekeyNumber(1));
        tx.put_bundle(&StoredBundle { epoch, recipient: account, prekey, secrets, created, expires }).unwrap();
        tx.add_request(&Request {
            id: id(number),
            account,
            outgoing: false,
            name: format!("contact {number}"),
            introduction: "x".repeat(200),
            renewal: false,
            bundles: vec![9; 600],
            state: RequestState::Accepted,
            created: UnixMillis(1),
            expires: UnixSeconds(1),
        })
        .unwrap();
    }
    tx.commit().unwrap();
}

/// A hundred thousand messages, half of them with one contact.
fn fill(store: &mut Store) {
    let tx = store.transaction().unwrap();
    for number in 0..MESSAGES {
        let account = somebody(if number % 2 == 0 { 1 } else { number % CONTACTS });
        let text = Text::new(format!("This is what number {number} says, in some {} words.", number % 977)).unwrap();
        let mut content = Content::new(id(number), UnixMillis(u64::from(number)), Body::Text(text));
        content.sequence = u64::from(number) + 1;
        let outgoing = number % 4 < 2;
        let said = Said { account, outgoing, device: 0, arrived: UnixMillis(1), content: content.clone() };
        assert!(tx.add_to_history(&said).unwrap());
        let session = SessionTag::new([1; 16]);
        let encrypted = Some(Encrypted { session, message: vec![9; 1100] });
        if outgoing {
            let message = NewMessage { encrypted, ..NewMessage::plain(account, content, ttl(), UnixMillis(1)) };
            tx.enqueue(&message).unwrap();
        }
    }
    tx.commit().unwrap();
}

fn timed<T>(what: &str, most: Duration, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    let took = begin.elapsed();
    println!("{what:<48} {took:>10.1?}");
    assert!(took <= most, "{what}: {took:?}, more than {most:?}");
    done
}

#[test]
#[ignore = "takes a minute, and times depend on the machine"]
fn ten_thousand_contacts_and_a_hundred_thousand_messages_do_not_make_it_slow() {
    let (_dir, accounts, mut alice) = alice();
    let bytes = |store: &Store| -> u32 {
        let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        store.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let empty = bytes(&alice.store);
    fill_contacts(&mut alice.store);
    let contact = (bytes(&alice.store) - empty - CONTACTS / 100 * SKIPPED) / CONTACTS;
    println!("{contact} bytes a contact");
    assert!(contact <= CONTACT_BYTES, "{contact} bytes a contact");
    let before = bytes(&alice.store);
    timed("fill", Duration::from_secs(300), || fill(&mut alice.store));
    println!("{} bytes a message", (bytes(&alice.store) - before) / MESSAGES);
    drop(alice);
    let second = Duration::from_secs(1);
    let mut alice = timed("open", second / 5, || accounts.open(&name("alice"), &passphrase("alice")).unwrap());
    let tx = alice.store.transaction().unwrap();
    assert_eq!(timed("list contacts", second, || tx.contacts().unwrap()).len(), CONTACTS as usize);
    timed("find one by name", second, || tx.contact_named("CONTACT 7777").unwrap().unwrap());
    timed("its sessions", second, || assert_eq!(tx.sessions_of(&somebody(7777)).unwrap().len(), 1));
    timed("all sessions, one contact after the other", 5 * second, || {
        for number in 0..CONTACTS {
            assert_eq!(tx.sessions_of(&somebody(number)).unwrap().len(), 1);
        }
    });
    timed("the last 50 messages of a long conversation", second, || {
        assert_eq!(tx.history(&somebody(1), None, 50).unwrap().len(), 50);
    });
    timed("the numbers of its messages", second, || assert!(tx.numbers_of(&somebody(1)).unwrap().len() > 20_000));
    timed("all of it", 5 * second, || assert!(tx.history(&somebody(1), None, usize::MAX).unwrap().len() > 50_000));
    timed("what to send again to one contact", second, || {
        assert!(!tx.encrypted_since(&somebody(5), UnixMillis(0), 1000).unwrap().is_empty());
    });
    let words = |typed: &str| SearchWords::new(typed).unwrap();
    timed("find a rare word", second / 5, || {
        assert_eq!(tx.search(&words("77777"), None, None, 20).unwrap().len(), 1);
    });
    timed("find a word that is in all messages", second, || {
        assert_eq!(tx.search(&words("numb says"), None, None, 20).unwrap().len(), 20);
    });
    timed("find it in one conversation", second, || {
        assert_eq!(tx.search(&words("words"), Some(&somebody(5)), None, 20).unwrap().len(), 10);
    });
    timed("forget retired sessions", second, || tx.drop_sessions(UnixSeconds(5000)).unwrap());
    timed("forget a contact", second, || tx.remove_contact(&somebody(9)).unwrap());
    timed("forget the longest conversation", 60 * second, || tx.remove_contact(&somebody(1)).unwrap());
    timed("commit", 30 * second, || tx.commit().unwrap());
    timed("what waits to be sent, the first 50", second, || assert_eq!(alice.store.pending(50).unwrap().len(), 50));
}
