//! A client that is killed at any moment of sending and receiving: nothing that was queued is lost, nothing is taken in
//! twice, nothing is shown twice but what was being shown, and no key seals twice.
//!
//! Each test starts itself again and again as the client of one account (`life`), which writes to itself and dies at the
//! n-th passing of a moment; the network of real hosts lives on in the parent. After each death the account's database
//! is opened and looked at, and the next life goes on from it. The seed draws the passing and how long after it the
//! process dies.
//!
//! What this cannot show: a process that dies takes nothing back that it gave the operating system, so a write that was
//! never synced survives here. A loss of power is for the simulator.

mod life;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sotto_proto::account::Entropy;
use sotto_proto::content::Content;
use sotto_proto::envelope::Record;

use self::life::{MOMENTS, Moment, Orders, open};
use super::network::{World, genesis};
use crate::messenger::kill_point::KillPoint;
use crate::store::{InboxNumber, OutboxState, STORED_RECEIPTS};

/// Deaths at each moment.
const SEEDS: u64 = 20;

/// What the lives of an account have said, and what may have happened twice.
#[derive(Default)]
struct Said {
    deaths: usize,
    /// Names of messages that were in the outbox for good, by their ids.
    queued: BTreeMap<String, String>,
    sent: Vec<String>,
    shown: BTreeMap<String, usize>,
    /// What was being shown as the process died: shown, and not known to be.
    unsure: BTreeMap<String, usize>,
}

/// What is not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Faults {
    lost: Vec<String>,
    twice: Vec<String>,
}

impl Said {
    fn hear(&mut self, output: &Output, moment: Moment) {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut last = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            last = None;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["queued", id, name] => {
                    self.queued.insert(id.to_owned(), name.to_owned());
                }
                ["sent", id] => self.sent.push(id.to_owned()),
                ["shown", name] => {
                    *self.shown.entry(name.to_owned()).or_default() += 1;
                    last = Some(name.to_owned());
                }
                _ => {}
            }
        }
        // A death some time after members were asked may come as late as this, too.
        let may_be_showing = matches!(moment, Moment::Showing | Moment::Passing(KillPoint::Asking));
        if let Some(last) = last.filter(|_| may_be_showing) {
            *self.unsure.entry(last).or_default() += 1;
        }
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for name in self.queued.values() {
            match self.shown.get(name).copied().unwrap_or(0) {
                0 => faults.lost.push(name.clone()),
                times if times > 1 + self.unsure.get(name).copied().unwrap_or(0) => faults.twice.push(name.clone()),
                _ => {}
            }
        }
        faults
    }

    /// Looks at what lies on disk: whole, and as far as the lives said they were.
    fn check_disk(&self, home: &Path) {
        let account = open(home);
        for id in self.queued.keys() {
            let found = account.store.outbox_message(&id.parse().unwrap()).unwrap();
            let message = found.unwrap_or_else(|| panic!("{id} is not in the outbox"));
            let record = message.record.as_ref().map(|record| record.envelope().id(&genesis().chain_id()));
            assert!(message.receipts.iter().all(|receipt| Some(receipt.receipt.id) == record), "{message:?}");
            let stored = message.receipts.len() >= STORED_RECEIPTS;
            assert_eq!(message.state == OutboxState::Stored, stored, "{message:?}");
            assert!(record.is_some() || message.state == OutboxState::Queued, "{message:?}");
            assert!(stored || !self.sent.contains(id), "what was said to be stored is not: {message:?}");
        }
        let inbox = account.store.inbox_after(InboxNumber(0), usize::MAX >> 1).unwrap();
        let mut names: Vec<_> = inbox.iter().map(|message| super::text(&message.letter).to_owned()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "something was taken in twice");
    }
}

/// A key seals once: whatever was stored under one ephemeral key is one and the same record.
fn no_key_sealed_twice(records: &[Vec<u8>]) {
    let mut sealed = BTreeMap::new();
    for bytes in records {
        let record = Record::decode(bytes).unwrap();
        let data = record.envelope().data();
        let before = sealed.insert(data[..32].to_vec(), data.to_vec());
        assert!(before.is_none_or(|before| before == data), "two messages under one key");
    }
}

/// The message that a record carries to the account.
fn carried(bytes: &[u8]) -> Content {
    let account = sotto_proto::account::Account::new(&Entropy::take(&mut [9; 16]));
    let record = Record::decode(bytes).unwrap();
    match crate::crypto::open(
        &genesis().chain_id(),
        &account.address(),
        &[account.x25519_secret().into()],
        record.envelope(),
    )
    .unwrap()
    {
        crate::crypto::Opened::Message { content, .. } => content,
        other => panic!("{other:?}"),
    }
}

/// One life, to its death if it is ordered to die.
async fn live(home: PathBuf, orders: Orders) -> Output {
    let run = move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "messenger::tests::kill_points::life::child", "--nocapture"])
            .env(life::ORDERS, orders.encode(&home))
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn why(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Kills the client `seeds` times at each moment, lets it live at last, and says what was lost or came twice.
async fn kill(subnet: u8, moments: &[Moment], seeds: u64) -> Faults {
    let world = World::new(subnet);
    world.settled().await;
    drop(world.account([1, 2, 3]));
    let (mut said, mut random, mut life) = (Said::default(), u64::from(subnet), 0);
    for moment in moments {
        let before = said.queued.len();
        for seed in 0..seeds {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            life += 1;
            let orders = Orders::drawn(*moment, random >> 33, life);
            let output = live(world.home(), orders).await;
            assert_eq!(output.status.signal(), Some(6), "{moment:?}, seed {seed}: {orders:?}: {}", why(&output));
            said.deaths += 1;
            said.hear(&output, *moment);
            said.check_disk(&world.home());
        }
        println!("{moment:?}: {seeds} deaths, {} messages queued", said.queued.len() - before);
    }
    life += 1;
    let output = live(world.home(), Orders::to_live(life)).await;
    assert!(output.status.success(), "{}", why(&output));
    said.hear(&output, Moment::Shown);
    said.check_disk(&world.home());
    no_key_sealed_twice(&world.mailbox.records());
    let faults = said.faults();
    let records = world.mailbox.records();
    println!(
        "{} deaths, {} messages queued, {} records stored for them, {} lost, {} twice",
        said.deaths,
        said.queued.len(),
        records.len(),
        faults.lost.len(),
        faults.twice.len()
    );
    let carried: Vec<_> = records.iter().map(|bytes| carried(bytes)).collect();
    for (id, name) in &said.queued {
        let is_it = |content: &&Content| content.id.to_string() == *id;
        assert!(carried.iter().any(|content| is_it(&content)), "{name} is at no member");
    }
    faults
}

fn is_sending(moment: &Moment) -> bool {
    use KillPoint::{Asking, Queued, Receipt, Saved, Sealed};
    matches!(moment, Moment::Passing(Sealed | Queued | Asking | Receipt | Saved))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_killed_while_it_sends_loses_nothing_and_nothing_comes_twice() {
    let moments: Vec<_> = MOMENTS.into_iter().filter(is_sending).collect();
    assert_eq!(kill(20, &moments, SEEDS).await, Faults::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_killed_while_it_receives_loses_nothing_and_nothing_comes_twice() {
    let moments: Vec<_> = MOMENTS.into_iter().filter(|moment| !is_sending(moment)).collect();
    assert_eq!(kill(21, &moments, SEEDS).await, Faults::default());
}

/// The check of the check: a client that marks before it shows is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_marks_what_it_has_not_shown_is_found_to_lose_it() {
    let faults = kill(22, &[Moment::MarkedUnshown], 3).await;
    assert_eq!((faults.lost.len(), faults.twice.len()), (3, 0), "{faults:?}");
}
