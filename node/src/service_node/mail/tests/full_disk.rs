//! A disk that is full: the mail on the real store, in a process whose files may not grow.
//!
//! The test starts itself again as the node whose disk it is, under a limit of the size of files; then it looks at what
//! that left, without the limit.

use std::process::Command;
use std::sync::mpsc::sync_channel;

use super::*;
use crate::keys::KeyDirectory;
use crate::store::StoreError;
use crate::store::rocks::RocksStore;
use crate::store::writer::{self, StoreHandle};

/// Where the child gets its orders.
const ORDERS: &str = "SOTTO_TEST_FULL_DISK";
/// The longest a file may get: 256 KiB, in the units of POSIX.
const FILE_BLOCKS: u32 = 512;

/// The mail, and a storage thread on a directory.
pub(super) struct OnDisk {
    pub(super) bench: Bench,
    store: StoreHandle,
    thread: std::thread::JoinHandle<()>,
    failures: Vec<StoreError>,
}

impl OnDisk {
    pub(super) fn open(directory: &std::path::Path) -> Self {
        let store = RocksStore::open(directory).unwrap();
        let (store, thread) = writer::spawn(store, KeyDirectory::of(std::path::Path::new("unused"))).unwrap();
        let mut bench = Bench::new();
        bench.mail = Mail::new(MailLimits::default(), &mut ChaCha20Rng::from_seed([5; 32]));
        bench.prompt = false;
        bench.follow();
        let mut node = Self { bench, store, thread, failures: Vec::new() };
        node.serve();
        node.bench.meet_two();
        node.serve();
        assert!(node.bench.mail.is_ready());
        node
    }

    /// The disk does what it is asked to, as far as it can.
    fn serve(&mut self) {
        loop {
            let asks = |output: &Output| matches!(output, Output::Persist { .. } | Output::LookUp { .. });
            let Some(at) = self.bench.outputs.iter().position(asks) else { return };
            match self.bench.outputs.remove(at) {
                Output::Persist { batch, token, .. } => {
                    let (tell, told) = sync_channel(1);
                    let done = Box::new(move |result| tell.send(result).unwrap());
                    let sent = self.store.try_persist(batch, done);
                    let written = sent.and_then(|()| told.recv().unwrap());
                    self.bench.act(|mail, env, out| mail.on_written(token, written.is_ok(), env, out));
                    self.failures.extend(written.err());
                }
                Output::LookUp { token, lookup } => {
                    let (tell, told) = sync_channel(1);
                    self.store.try_read(Box::new(move |store| tell.send(look_up(store, &lookup)).unwrap())).unwrap();
                    let found = told.recv().unwrap();
                    self.bench.act(|mail, env, out| mail.on_found(token, found, env, out));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn store(&mut self, record: &Record) -> SwarmResponse {
        self.bench.store_as(1, record, PublishOrder::First);
        self.serve();
        self.bench.answer()
    }

    /// Everything in the owner's mailbox.
    pub(super) fn read_all(&mut self) -> Vec<Vec<u8>> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        loop {
            let read = self.bench.read_at(&owner(), cursor, 1 << 20);
            let signed = SignedRead::<Retrieve>::sign(read, &owner(), &self.bench.view.chain);
            self.bench.ask(1, SwarmRequest::Retrieve(signed));
            self.serve();
            let records = records(self.bench.answer());
            cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
            all.extend(records.records.into_iter().map(|stored| stored.record));
            if !records.more {
                return all;
            }
        }
    }

    pub(super) fn close(self) {
        drop(self.store);
        self.thread.join().unwrap();
    }
}

fn large(n: u8) -> Record {
    Draft { data: 31_552, ..Draft::to(&owner()) }.record(n)
}

/// Does nothing unless it is the child: then it stores until it is refused, and says how far it came.
#[test]
fn child() {
    let Ok(directory) = std::env::var(ORDERS) else { return };
    let mut node = OnDisk::open(directory.as_ref());
    // The harness may have begun the line.
    let refused = (0..=u8::MAX).find_map(|n| match node.store(&large(n)) {
        SwarmResponse::Error(error) => Some((n, error)),
        response => {
            assert!(is_stored(&response));
            println!("\nstored {n}");
            None
        }
    });
    let (first, why) = refused.unwrap();
    println!("\nrefused {first} {why:?} {}", node.failures[0]);
    // So it stays, also for what would fit, and what is there is served.
    assert_eq!(error(node.store(&record(200))), Error::Busy);
    assert!(matches!(node.failures[..], [StoreError::Failed(_), StoreError::Failed(_)]), "{:?}", node.failures);
    let stored: Vec<_> = (0..first).map(|n| large(n).encode()).collect();
    assert_eq!(node.read_all(), stored);
    println!("\nserved");
}

#[test]
fn a_full_disk_refuses_with_busy_and_keeps_all_that_has_a_receipt() {
    let directory = tempfile::tempdir().unwrap();
    // A write beyond the limit is an error then, and no signal.
    let limited = format!("ulimit -f {FILE_BLOCKS}; trap '' XFSZ; exec \"$0\" \"$@\"");
    let output = Command::new("/bin/sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "service_node::mail::tests::full_disk::child", "--nocapture"])
        .env(ORDERS, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let stored = said.lines().filter(|line| line.starts_with("stored ")).count();
    let refused = said.lines().find_map(|line| line.strip_prefix("refused ")).unwrap();
    assert!(stored >= 3, "{said}");
    assert!(refused.starts_with(&format!("{stored} Busy ")) && refused.contains("File too large"), "{refused}");
    assert!(said.lines().any(|line| line == "served"), "{said}");

    let mut node = OnDisk::open(directory.path());
    let receipts: Vec<_> = (0..stored as u8).map(|n| large(n).encode()).collect();
    let kept = node.read_all();
    assert_eq!(kept[..stored], receipts, "no receipt without its record");
    assert!(kept.len() == stored, "and nothing of what was refused");
    assert!(is_stored(&node.store(&large(stored as u8))), "with room it is taken");
    assert!(node.failures.is_empty());
    node.close();
}
