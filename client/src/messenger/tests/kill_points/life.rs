//! The client that dies: writes to itself, receives, shows, and says on its standard output what it has done for good.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sotto_behaviours::network::WallClock;
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;

use super::super::network::{genesis, passphrase};
use super::super::{PATIENCE, text};
use crate::messenger::Messenger;
use crate::messenger::kill_point::{KillPoint, Probe};
use crate::store::{Accounts, NewMessage, OpenAccount, StoreError};

/// Where the child gets its orders.
pub(super) const ORDERS: &str = "SOTTO_TEST_KILL_CLIENT";
/// Messages of one life.
const MESSAGES: u8 = 4;
/// Passings of every moment that no life is without: one for each message, or one for each member that is asked.
const PASSINGS: u64 = MESSAGES as u64;
const PASSINGS_AT_MEMBERS: u64 = 2 * PASSINGS;
/// Longest time from the drawn passing to a death within an exchange with members, in milliseconds.
const DELAY: u64 = 12;

/// A moment to die at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Of the messenger.
    Passing(KillPoint),
    /// A message was written out and is not marked as shown.
    Showing,
    /// It is.
    Shown,
    /// It is, and was not written out: what no client may do.
    MarkedUnshown,
}

pub(super) const MOMENTS: [Moment; 9] = [
    Moment::Passing(KillPoint::Sealed),
    Moment::Passing(KillPoint::Queued),
    Moment::Passing(KillPoint::Asking),
    Moment::Passing(KillPoint::Receipt),
    Moment::Passing(KillPoint::Saved),
    Moment::Passing(KillPoint::Opened),
    Moment::Passing(KillPoint::TakenIn),
    Moment::Showing,
    Moment::Shown,
];

/// Of how many passings, and when after the drawn one, a life dies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    moment: Option<Moment>,
    left: u64,
    delay: u64,
    life: u64,
}

impl Orders {
    pub(super) fn drawn(moment: Moment, drawn: u64, life: u64) -> Self {
        // Members are asked at once: what differs is how far their answers are.
        let delay = if moment == Moment::Passing(KillPoint::Asking) { drawn / 64 % DELAY } else { 0 };
        let left = drawn % if is_at_members(moment) { PASSINGS_AT_MEMBERS } else { PASSINGS };
        Self { moment: Some(moment), left, delay, life }
    }

    pub(super) const fn to_live(life: u64) -> Self {
        Self { moment: None, left: 0, delay: 0, life }
    }

    pub(super) fn encode(&self, home: &Path) -> String {
        let Self { moment, left, delay, life } = self;
        let place = moment.map_or(99, |moment| MOMENTS.iter().position(|other| *other == moment).unwrap_or(98));
        format!("{place} {left} {delay} {life} {}", home.display())
    }

    fn decode(text: &str) -> (Self, &Path) {
        let parts: Vec<_> = text.splitn(5, ' ').collect();
        let number = |at: usize| parts[at].parse::<u64>().unwrap();
        let moment = match number(0) {
            99 => None,
            98 => Some(Moment::MarkedUnshown),
            place => Some(MOMENTS[place as usize]),
        };
        (Self { moment, left: number(1), delay: number(2), life: number(3) }, Path::new(parts[4]))
    }

    /// A moment is passed; at the drawn passing the process dies, at once or after the drawn delay.
    fn pass(&mut self, moment: Moment) {
        if self.moment != Some(moment) {
            return;
        }
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        if self.delay == 0 {
            std::process::abort();
        }
        let delay = Duration::from_millis(self.delay);
        std::thread::spawn(move || {
            std::thread::sleep(delay); // the drawn time between the passing and the death
            std::process::abort();
        });
        self.moment = None;
    }
}

const fn is_at_members(moment: Moment) -> bool {
    use KillPoint::{Asking, Opened, Receipt, TakenIn};
    matches!(moment, Moment::Passing(Asking | Receipt | Opened | TakenIn))
}

pub(super) fn open(home: &Path) -> OpenAccount {
    let name = "alice".parse().unwrap();
    Accounts::new(home, genesis().chain_id()).open(&name, &passphrase()).unwrap()
}

/// The harness may have begun the line.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

struct Life {
    messenger: Messenger,
    /// A message is on its way: from then on what comes is worth dying at.
    sent: Arc<AtomicBool>,
    orders: Orders,
}

impl Life {
    /// Sends and shows what earlier lives left.
    async fn catch_up(&mut self) {
        self.show();
        let (_, waiting) = self.messenger.send_pending(usize::MAX >> 1).await.unwrap();
        assert_eq!(waiting, 0, "a message of an earlier life is not stored");
        self.messenger.receive().await.unwrap();
        self.show();
    }

    async fn round(&mut self, number: u8) {
        let mut id = [1; 16];
        id[..8].copy_from_slice(&self.orders.life.to_be_bytes());
        id[8] = number;
        let (id, name) = (MessageId::new(id), format!("{}-{number}", self.orders.life));
        let now = self.messenger.clock().now();
        let content = Content::new(id, now, Body::Text(Text::new(name.clone()).unwrap()));
        let recipient = self.messenger.address();
        let new = NewMessage::plain(recipient, content, Ttl::new(86_400).unwrap(), now);
        self.messenger.account_mut().store.enqueue(&new).unwrap();
        say(&format!("queued {id} {name}"));
        self.messenger.send(&id, |_| ()).await.unwrap();
        say(&format!("sent {id}"));
        self.sent.store(true, Ordering::Relaxed);
        self.messenger.receive().await.unwrap();
        self.show();
    }

    fn show(&mut self) {
        let Self { messenger, orders, .. } = self;
        let store = &mut messenger.account_mut().store;
        for message in store.unshown(usize::MAX >> 1).unwrap() {
            if orders.moment == Some(Moment::MarkedUnshown) {
                store.mark_shown(&[message.number]).unwrap();
                orders.pass(Moment::MarkedUnshown);
            }
            let show = || {
                say(&format!("shown {}", text(&message.letter)));
                orders.pass(Moment::Showing);
                Ok::<_, StoreError>(())
            };
            store.show(message.number, show).unwrap();
            orders.pass(Moment::Shown);
        }
    }
}

/// Does nothing unless it is the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (orders, home) = Orders::decode(&orders);
    let file = GenesisFile { genesis: genesis(), producer_addresses: Vec::new(), bootstrap: Vec::new() };
    let opened = Messenger::open_at(file, open(home), WallClock::system(), PATIENCE, |_| ()).await;
    let mut messenger = opened.unwrap();
    let (mut of_messenger, sent) = (orders, Arc::new(AtomicBool::new(false)));
    let is_sent = Arc::clone(&sent);
    messenger.probe = Probe::new(move |point| {
        if is_sent.load(Ordering::Relaxed) || !matches!(point, KillPoint::Opened | KillPoint::TakenIn) {
            of_messenger.pass(Moment::Passing(point));
        }
    });
    let mut life = Life { messenger, sent, orders };
    life.catch_up().await;
    for number in 0..MESSAGES {
        life.round(number).await;
    }
}
