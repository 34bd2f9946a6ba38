//! The machine with a virtual clock, a disk in memory and a network that only listens.

use std::collections::BTreeSet;

use sotto_proto::chain::{Block, Genesis, Params, Payload, Transaction, TxBody};
use sotto_proto::id::{ChainId, X25519Key};
use sotto_proto::time::UnixMillis;

use super::*;
use crate::{Follower, Inserted, apply};

mod any_order;
mod faults;

const FOUNDED: UnixMillis = UnixMillis(1_790_000_000_000);

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn genesis(preset: Preset) -> Genesis {
    Genesis {
        preset,
        time: FOUNDED,
        authority: key(1).public(),
        producer: key(2).node_id(),
        balances: [3, 4, 5].map(|number| (key(number).public(), Amount::coins(1000))).into(),
        params: Params::preset(preset),
    }
}

/// A machine with everything around it.
struct Rig {
    machine: Machine,
    now: Now,
    /// What is on disk, by height.
    disk: BTreeMap<Height, Vec<u8>>,
    /// What is on its way there.
    writing: Option<Vec<Entry>>,
    published: Vec<(Block, Audience)>,
    replies: BTreeMap<Ticket, Result<Reply, Refusal>>,
    dropped: Vec<(TxId, String)>,
    tickets: u64,
    halted: bool,
}

impl Rig {
    fn new(preset: Preset) -> Self {
        let state = State::genesis(&genesis(preset));
        let now = Now { monotonic: Monotonic::default(), wall: FOUNDED };
        let faucet = Faucet::new(key(3));
        Self {
            machine: Machine::new(Chain::new(state), key(1), Some(faucet), now),
            now,
            disk: BTreeMap::new(),
            writing: None,
            published: Vec::new(),
            replies: BTreeMap::new(),
            dropped: Vec::new(),
            tickets: 0,
            halted: false,
        }
    }

    fn chain(&self) -> ChainId {
        self.machine.tip().chain()
    }

    fn feed(&mut self, input: Input) {
        for output in self.machine.handle(input, self.now) {
            match output {
                Output::Persist(entries) => {
                    assert!(self.writing.replace(entries).is_none(), "two batches at once");
                }
                Output::Publish { block, audience } => {
                    let block = Block::decode(&block).unwrap();
                    if audience != Audience::SecondHalf {
                        assert!(self.disk.contains_key(&block.height()), "published before it was on disk");
                    }
                    self.published.push((block, audience));
                }
                Output::Reply { ticket, reply } => assert!(self.replies.insert(ticket, reply).is_none()),
                Output::Dropped { id, reason } => self.dropped.push((id, reason)),
                Output::Halted => self.halted = true,
                Output::Adopted { .. } => {}
                Output::Defect(error) => panic!("{error}"),
            }
        }
    }

    /// Ends the write that is under way.
    fn sync(&mut self) {
        if let Some(entries) = self.writing.take() {
            let first = entries[0].height;
            self.disk.retain(|height, _| *height < first);
            self.disk.extend(entries.into_iter().map(|entry| (entry.height, entry.block)));
            self.feed(Input::Durable);
        }
    }

    /// Ends all writes that are under way and that follow from them.
    fn settle(&mut self) {
        while self.writing.is_some() {
            self.sync();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.plus(time);
        self.now.wall = UnixMillis(self.now.wall.0 + u64::try_from(time.as_millis()).unwrap());
    }

    /// Waits for the next block.
    fn block(&mut self) {
        let due = self.machine.next_timer().unwrap();
        self.pass(due.since(self.now.monotonic));
        self.feed(Input::Timer);
        self.settle();
    }

    fn ask(&mut self, input: impl FnOnce(Ticket) -> Input) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.feed(input(ticket));
        ticket
    }

    fn submit(&mut self, transaction: &Transaction) -> Result<TxId, Refusal> {
        let transaction = transaction.encode();
        let ticket = self.ask(|ticket| Input::Submit { ticket, transaction });
        match self.replies.remove(&ticket).unwrap()? {
            Reply::Submitted(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    fn fault(&mut self, fault: Fault) -> Result<Reply, Refusal> {
        let ticket = self.ask(|ticket| Input::Fault { ticket, fault });
        self.settle();
        self.replies.remove(&ticket).unwrap()
    }

    fn transfer(&self, from: u8, nonce: u64, fee: u64, to: u8, coins: u64) -> Transaction {
        let payload = Payload::Transfer { to: key(to).public(), amount: Amount::coins(coins) };
        let body = TxBody { signer: key(from).public(), nonce, fee: Amount(fee), payload };
        Transaction::sign(body, &key(from), None, &self.chain())
    }

    fn register(&self, operator: u8, nonce: u64, node: u8) -> Transaction {
        let payload = Payload::Register {
            node: key(node).node_id(),
            x25519: X25519Key::new([node; 32]),
            stake: Amount::coins(100),
            region: "eu".parse().unwrap(),
            addresses: vec![format!("127.0.0.1:{}", 2000 + u16::from(node)).parse().unwrap()],
        };
        let body = TxBody { signer: key(operator).public(), nonce, fee: Amount(0), payload };
        Transaction::sign(body, &key(operator), Some(&key(node)), &self.chain())
    }

    /// The chain on disk applies from the genesis on and ends at the machine's tip.
    fn check_disk(&self) {
        let mut state = State::genesis(self.machine.tip().founding());
        for (height, bytes) in &self.disk {
            assert_eq!(*height, state.height().next());
            state = apply(&state, &Block::decode(bytes).unwrap(), &Ed25519).unwrap();
        }
        assert_eq!(state.tip_hash(), self.machine.tip().tip_hash());
        assert_eq!(state.state_root(), self.machine.tip().state_root());
    }

    /// A node that hears of everything that was published, in order.
    fn follower(&self) -> Follower {
        let mut follower = Follower::new(State::genesis(self.machine.tip().founding()));
        for (block, _) in &self.published {
            follower.insert(block.clone(), &Ed25519).unwrap();
        }
        follower
    }
}

#[test]
fn a_block_comes_with_every_tick_and_its_time_is_the_clocks() {
    let mut rig = Rig::new(Preset::Testnet);
    for height in 1..=30 {
        rig.block();
        assert_eq!(rig.machine.tip().height(), Height(height));
        assert_eq!(rig.machine.tip().time(), UnixMillis(FOUNDED.0 + height * 1000));
    }
    rig.check_disk();
    assert_eq!(rig.published.len(), 30);
}

#[test]
fn header_times_grow_even_while_the_clock_goes_back() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    rig.now.wall = UnixMillis(5);
    let before = rig.machine.tip().time();
    rig.block();
    assert_eq!(rig.machine.tip().time(), UnixMillis(before.0 + 1));
}

#[test]
fn nothing_leaves_before_it_is_on_disk_and_a_slow_disk_skips_turns() {
    let mut rig = Rig::new(Preset::Testnet);
    for _ in 0..5 {
        rig.pass(Duration::from_secs(1));
        rig.feed(Input::Timer);
    }
    assert_eq!((rig.published.len(), rig.machine.tip().height()), (0, Height::ZERO));
    rig.sync();
    assert_eq!((rig.published.len(), rig.machine.tip().height()), (1, Height(1)));
    rig.block();
    assert_eq!(rig.machine.tip().height(), Height(2));
    rig.check_disk();
}

#[test]
fn a_transaction_gets_into_the_next_block_and_asking_again_changes_nothing() {
    let mut rig = Rig::new(Preset::Testnet);
    let transfer = rig.transfer(4, 0, 7, 9, 10);
    let id = rig.submit(&transfer).unwrap();
    assert_eq!(rig.submit(&transfer), Ok(id));
    assert_eq!((rig.machine.pool().len(), rig.machine.fate(&id)), (1, Some(Fate::Waiting)));
    assert_eq!(rig.machine.account(&key(4).public()).next_nonce, 1);
    // Also while its block is on the way to disk.
    rig.pass(Duration::from_secs(1));
    rig.feed(Input::Timer);
    assert_eq!((rig.submit(&transfer), rig.machine.fate(&id)), (Ok(id), Some(Fate::Waiting)));
    assert_eq!(rig.machine.account(&key(4).public()).next_nonce, 1);
    rig.settle();
    assert_eq!(rig.machine.fate(&id), Some(Fate::Included(Height(1))));
    assert_eq!(rig.submit(&transfer), Ok(id));
    assert!(rig.machine.pool().is_empty());
    assert_eq!(rig.machine.tip().account(&key(9).public()).balance, Amount::coins(10));
    rig.check_disk();
}

#[test]
fn transactions_that_rest_on_waiting_ones_are_admitted_with_them() {
    let mut rig = Rig::new(Preset::Testnet);
    // 9 owns nothing yet, and pays the higher fee.
    for transaction in [rig.transfer(4, 0, 1, 9, 10), rig.transfer(9, 0, 999, 8, 2), rig.transfer(9, 1, 5, 8, 2)] {
        rig.submit(&transaction).unwrap();
    }
    rig.block();
    assert_eq!(rig.machine.tip().account(&key(8).public()).balance, Amount::coins(4));
    assert_eq!(rig.dropped, []);
    rig.check_disk();
}

#[test]
fn refusals_say_what_is_wrong_and_leave_no_trace() {
    let mut rig = Rig::new(Preset::Testnet);
    let good = rig.transfer(4, 0, 0, 9, 10);
    let mut forged = good.clone();
    forged.signature = key(5).sign(sotto_proto::domain::TX, &rig.chain(), &good.body.encode());
    let elsewhere = Transaction::sign(good.body.clone(), &key(4), None, &ChainId::new([0; 32]));
    let mut squatted = rig.register(4, 0, 20);
    squatted.node_signature = Some(squatted.signature);
    let cases = [
        (rig.transfer(4, 1, 0, 9, 10), "nonce 1, the signer's next is 0"),
        (rig.transfer(4, 0, 0, 9, 5000), "coins needed"),
        (rig.transfer(4, 0, 0, 9, 0), "an amount of 0"),
        (forged, "signature"),
        (elsewhere, "signature"),
        (squatted, "signature"),
    ];
    for (transaction, reason) in cases {
        let refusal = rig.submit(&transaction).unwrap_err().to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }
    for bytes in [vec![], vec![0; 2000], good.encode()[..50].to_vec(), [good.encode(), vec![0]].concat()] {
        let ticket = rig.ask(|ticket| Input::Submit { ticket, transaction: bytes });
        assert!(matches!(rig.replies.remove(&ticket), Some(Err(Refusal::Malformed(_)))));
    }
    assert!(rig.machine.pool().is_empty());
}

#[test]
fn more_than_a_block_of_transactions_waits_for_the_blocks_after() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.machine.pool = Pool::new(Limits { per_signer: 10_000, ..Limits::default() });
    let count = 8000;
    for nonce in 0..count {
        let transfer = rig.transfer(4, nonce, 1, 9, 0);
        let mut body = transfer.body;
        body.payload = Payload::Transfer { to: key(9).public(), amount: Amount(1) };
        let transfer = Transaction::sign(body, &key(4), None, &rig.chain());
        rig.submit(&transfer).unwrap();
    }
    rig.block();
    assert!(!rig.machine.pool().is_empty(), "one block cannot hold them all");
    rig.block();
    assert!(rig.machine.pool().is_empty());
    assert_eq!(rig.machine.tip().account(&key(9).public()).balance, Amount(count));
    assert_eq!(rig.dropped, []);
    rig.check_disk();
}

#[test]
fn many_blocks_can_be_made_at_once_and_are_answered_when_they_are_on_disk() {
    let mut rig = Rig::new(Preset::Testnet);
    let ticket = rig.ask(|ticket| Input::Produce { ticket, count: 100 });
    assert!(rig.replies.is_empty());
    rig.settle();
    assert_eq!(rig.replies.remove(&ticket), Some(Ok(Reply::Produced { tip: Height(100) })));
    assert_eq!(rig.published.len(), 100);
    rig.check_disk();
    for count in [0, u64::MAX] {
        let ticket = rig.ask(|ticket| Input::Produce { ticket, count });
        assert!(matches!(rig.replies.remove(&ticket), Some(Err(Refusal::Range { .. }))));
    }
}

#[test]
fn faults_and_gifts_are_for_testnets() {
    let mut rig = Rig::new(Preset::Mainnet);
    let faults = [
        Fault::Stall { lasting: None },
        Fault::Slow { every: Duration::from_secs(300), lasting: None },
        Fault::Reorg { depth: 1, deep: false },
        Fault::TwoHeads { blocks: 1 },
        Fault::Equivocate,
        Fault::Clear,
    ];
    for fault in faults {
        assert_eq!(rig.fault(fault), Err(Refusal::NotTestnet));
    }
    let to = key(9).public();
    let ticket = rig.ask(|ticket| Input::Faucet { ticket, to, amount: Amount::coins(1) });
    assert_eq!(rig.replies.remove(&ticket), Some(Err(Refusal::Faucet(FaucetError::None))));
}

#[test]
fn the_faucet_gives_several_times_in_one_block() {
    let mut rig = Rig::new(Preset::Testnet);
    let to = key(9).public();
    for _ in 0..3 {
        let ticket = rig.ask(|ticket| Input::Faucet { ticket, to, amount: Amount::coins(5) });
        assert!(matches!(rig.replies.remove(&ticket), Some(Ok(Reply::Submitted(_)))));
    }
    rig.block();
    assert_eq!(rig.machine.tip().account(&to).balance, Amount::coins(15));
}

#[test]
fn a_producer_that_sees_a_later_block_of_its_own_key_stops_and_says_why() {
    let mut ahead = Rig::new(Preset::Testnet);
    ahead.block();
    ahead.block();
    let header = ahead.published[1].0.header.clone();
    let mut rig = Rig::new(Preset::Testnet);
    let mut forged = header.clone();
    forged.signature = key(9).sign(sotto_proto::domain::HEADER, &rig.chain(), &header.header.encode());
    rig.feed(Input::Seen(Box::new(forged)));
    assert!(!rig.halted);
    rig.feed(Input::Seen(Box::new(header)));
    assert!(rig.halted && rig.machine.halted().unwrap().contains("old copy"));
    assert_eq!(rig.machine.next_timer(), None);
    let transfer = rig.transfer(4, 0, 0, 9, 1);
    assert!(matches!(rig.submit(&transfer), Err(Refusal::Halted(_))));
    let ticket = rig.ask(|ticket| Input::Produce { ticket, count: 1 });
    assert!(matches!(rig.replies.remove(&ticket), Some(Err(Refusal::Halted(_)))));
}

#[test]
fn the_view_follows_the_final_state() {
    let mut rig = Rig::new(Preset::Testnet);
    assert_eq!(rig.machine.view().current().height, Height::ZERO);
    for _ in 0..30 {
        rig.block();
    }
    let view = rig.machine.view();
    assert_eq!((view.tip, view.current().height), (Height(30), Height(27)));
    assert_eq!(view.recent().count(), sotto_proto::limits::RECENT_MAPS);
    assert_eq!(view.recent().last().unwrap().height, Height(12));
}
