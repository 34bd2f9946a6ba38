//! The machine with a virtual clock, a disk in memory and a network that only listens.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sotto_proto::chain::{Block, Genesis, Params, Payload, Transaction, TxBody};
use sotto_proto::id::{ChainId, X25519Key};
use sotto_proto::time::UnixMillis;

use super::*;
use crate::{Follower, Inserted, apply};

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
fn a_stalled_chain_stands_still_until_it_is_cleared() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    rig.fault(Fault::Stall { lasting: None }).unwrap();
    assert_eq!(rig.machine.next_timer(), None);
    rig.pass(Duration::from_secs(600));
    rig.feed(Input::Timer);
    assert_eq!(rig.machine.tip().height(), Height(1));
    rig.fault(Fault::Clear).unwrap();
    rig.block();
    assert_eq!(rig.machine.tip().height(), Height(2));
}

#[test]
fn slow_blocks_come_at_the_pace_asked_for() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.fault(Fault::Slow { every: Duration::from_secs(5), lasting: None }).unwrap();
    rig.block();
    let first = rig.machine.tip().time();
    rig.block();
    assert_eq!(rig.machine.tip().time().0 - first.0, 5000);
    let refused = rig.fault(Fault::Slow { every: Duration::from_millis(999), lasting: None });
    assert!(matches!(refused, Err(Refusal::Range { .. })));
}

#[test]
fn a_reorganisation_replaces_blocks_and_its_transactions_get_in_again() {
    for depth in 1..=3 {
        let mut rig = Rig::new(Preset::Testnet);
        for _ in 0..5 {
            rig.block();
        }
        let transfer = rig.transfer(4, 0, 0, 9, 10);
        let id = rig.submit(&transfer).unwrap();
        rig.block();
        let undone = rig.machine.tip().tip_hash();
        rig.pass(Duration::from_millis(300));
        assert_eq!(rig.fault(Fault::Reorg { depth, deep: false }), Ok(Reply::Faulted));
        assert_eq!(rig.machine.tip().height(), Height(7));
        assert_ne!(rig.machine.chain().at(Height(6)).unwrap().tip_hash(), undone);
        assert_eq!(rig.machine.fate(&id), Some(Fate::Included(Height(7 - depth))));
        rig.check_disk();
        rig.block();
        // A node that hears of it follows.
        let follower = rig.follower();
        assert!(!follower.is_halted());
        assert_eq!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn deeper_than_final_is_possible_on_purpose_only_and_halts_the_nodes() {
    let mut rig = Rig::new(Preset::Testnet);
    for _ in 0..3 {
        rig.block();
    }
    assert!(matches!(rig.fault(Fault::Reorg { depth: 4, deep: false }), Err(Refusal::Range { most: 3, .. })));
    assert!(matches!(rig.fault(Fault::Reorg { depth: 9, deep: true }), Err(Refusal::TooDeep { held: 3, .. })));
    for _ in 0..12 {
        rig.block();
    }
    assert_eq!(rig.fault(Fault::Reorg { depth: 9, deep: true }), Ok(Reply::Faulted));
    rig.check_disk();
    assert!(rig.follower().is_halted());
}

#[test]
fn two_heads_are_both_valid_one_for_each_half_and_the_chain_goes_on_with_the_first() {
    for blocks in 1..=MAX_HEADS {
        let mut rig = Rig::new(Preset::Testnet);
        rig.block();
        let transfer = rig.transfer(4, 0, 0, 9, 10);
        rig.submit(&transfer).unwrap();
        rig.published.clear();
        let fork = rig.machine.tip().clone();
        assert_eq!(rig.fault(Fault::TwoHeads { blocks }), Ok(Reply::Faulted));
        assert_eq!(rig.published.len(), 2, "the first two at once");
        for _ in 1..blocks {
            rig.block();
        }
        for half in [Audience::FirstHalf, Audience::SecondHalf] {
            let mut state = fork.clone();
            for (block, _) in rig.published.iter().filter(|(_, audience)| *audience == half) {
                state = apply(&state, block, &Ed25519).unwrap();
            }
            assert_eq!(state.height(), Height(1 + blocks));
            assert_eq!(state.account(&key(9).public()).balance, Amount::coins(10));
        }
        let hashes: BTreeSet<_> = rig.published.iter().map(|(block, _)| block.hash(&fork.chain())).collect();
        assert_eq!(hashes.len() as u64, 2 * blocks);
        rig.check_disk();
        // Whoever saw the second branch first comes over with the next block.
        let mut follower = Follower::new(fork);
        let (first, second): (Vec<_>, Vec<_>) =
            rig.published.drain(..).partition(|(_, audience)| *audience == Audience::FirstHalf);
        for (block, _) in second.into_iter().chain(first) {
            follower.insert(block, &Ed25519).unwrap();
        }
        assert_ne!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
        rig.block();
        assert_eq!(rig.published[0].1, Audience::All, "the split is over");
        let inserted = follower.insert(rig.published[0].0.clone(), &Ed25519).unwrap();
        assert!(matches!(inserted, Inserted::Reorganised { .. }), "{inserted:?}");
        assert_eq!(follower.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn a_crowded_pool_is_replayed_in_part_and_every_signer_goes_on_from_its_own() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.machine.pool = Pool::new(Limits { replayed: 4, ..Limits::default() });
    for nonce in 0..10 {
        for from in [4, 5] {
            let transfer = rig.transfer(from, nonce, 0, from + 10, 1);
            rig.submit(&transfer).unwrap();
        }
    }
    // As after a block that had no room for them.
    rig.machine.draft = None;
    for from in [4, 5] {
        let ahead = rig.transfer(from, 11, 0, from + 10, 1);
        let expected = TransactionError::Nonce { expected: 10, actual: 11 };
        assert_eq!(rig.submit(&ahead), Err(Refusal::Invalid(expected)));
        let next = rig.transfer(from, 10, 0, from + 10, 1);
        rig.submit(&next).unwrap();
    }
    assert_eq!((rig.machine.pool().len(), rig.dropped.len()), (22, 0));
    rig.block();
    for from in [4, 5] {
        assert_eq!(rig.machine.account(&key(from).public()).nonce, 11);
    }
}

#[test]
fn the_second_branch_of_a_split_can_be_asked_for_as_long_as_the_split_lasts() {
    let branch = |rig: &Rig, from| {
        let (hash, blocks) = rig.machine.second_branch(Height(from))?;
        let blocks: Vec<_> = blocks.map(|block| Block::decode(&block).unwrap()).collect();
        assert_eq!(blocks.last().map(|block| block.hash(&rig.chain())), Some(hash));
        Some(blocks.iter().map(|block| block.height().0).collect::<Vec<_>>())
    };
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    assert_eq!(branch(&rig, 2), None);
    let ticket = rig.ask(|ticket| Input::Fault { ticket, fault: Fault::TwoHeads { blocks: 2 } });
    assert_eq!(branch(&rig, 2), None, "its twin is not on disk yet");
    rig.settle();
    assert_eq!(rig.replies.remove(&ticket), Some(Ok(Reply::Faulted)));
    assert_eq!((branch(&rig, 1), branch(&rig, 2)), (None, Some(vec![2])), "the fork is common to both");
    rig.block();
    assert_eq!((branch(&rig, 2), branch(&rig, 3)), (Some(vec![2, 3]), Some(vec![3])));
    rig.block();
    assert_eq!(branch(&rig, 2), None);
}

#[test]
fn a_split_ends_early_when_something_else_is_asked_for() {
    let ways: [fn(&mut Rig); 3] = [
        |rig| rig.fault(Fault::Clear).map(drop).unwrap(),
        |rig| rig.fault(Fault::Reorg { depth: 2, deep: false }).map(drop).unwrap(),
        |rig| {
            rig.ask(|ticket| Input::Produce { ticket, count: 1 });
            rig.settle();
        },
    ];
    for end in ways {
        let mut rig = Rig::new(Preset::Testnet);
        (0..5).for_each(|_| rig.block());
        rig.fault(Fault::TwoHeads { blocks: 3 }).unwrap();
        let mut other = Follower::new(rig.machine.chain().oldest().clone());
        let (first, rest): (Vec<_>, Vec<_>) =
            rig.published.drain(..).partition(|(_, audience)| *audience == Audience::FirstHalf);
        for (block, _) in rest.into_iter().chain(first) {
            other.insert(block, &Ed25519).unwrap();
        }
        assert_ne!(other.tip().tip_hash(), rig.machine.tip().tip_hash());
        end(&mut rig);
        rig.block();
        for (block, audience) in rig.published.drain(..) {
            assert_eq!(audience, Audience::All);
            other.insert(block, &Ed25519).unwrap();
        }
        assert_eq!(other.tip().tip_hash(), rig.machine.tip().tip_hash());
    }
}

#[test]
fn an_equivocation_shows_two_signed_headers_of_one_height_to_all() {
    let mut rig = Rig::new(Preset::Testnet);
    rig.block();
    rig.published.clear();
    rig.fault(Fault::Equivocate).unwrap();
    let [(one, Audience::All), (other, Audience::All)] = &rig.published[..] else { panic!("{:?}", rig.published) };
    assert_eq!(one.height(), other.height());
    assert_ne!(one.header, other.header);
    assert!([one, other].iter().all(|block| block.header.verify(&rig.chain(), &key(1).public(), &Ed25519)));
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

/// Something that happens to the machine.
#[derive(Clone, Debug)]
enum Step {
    Transfer { from: u8, nonce: u64, fee: u64, coins: u64 },
    Register { operator: u8, nonce: u64, node: u8 },
    Proof { node: u8, epoch: u64 },
    Garbage(Vec<u8>),
    Tick,
    Sync,
    Reorg(u64),
    Heads(u64),
    Produce(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (3_u8..8, 0_u64..6, 0_u64..5, 0_u64..700)
            .prop_map(|(from, nonce, fee, coins)| Step::Transfer { from, nonce, fee, coins }),
        2 => (3_u8..6, 0_u64..4, 10_u8..14).prop_map(|(operator, nonce, node)| Step::Register { operator, nonce, node }),
        2 => (10_u8..14, 0_u64..2).prop_map(|(node, epoch)| Step::Proof { node, epoch }),
        1 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Garbage),
        4 => Just(Step::Tick),
        4 => Just(Step::Sync),
        1 => (1_u64..4).prop_map(Step::Reorg),
        1 => (1_u64..4).prop_map(Step::Heads),
        1 => (1_u64..40).prop_map(Step::Produce),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_disk_holds_a_valid_chain_and_coins_are_conserved(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut rig = Rig::new(Preset::Testnet);
        for step in steps {
            match step {
                Step::Transfer { from, nonce, fee, coins } => {
                    let transaction = rig.transfer(from, nonce, fee, from + 1, coins);
                    let _ = rig.submit(&transaction);
                }
                Step::Register { operator, nonce, node } => {
                    let transaction = rig.register(operator, nonce, node);
                    let _ = rig.submit(&transaction);
                }
                Step::Proof { node, epoch } => {
                    let payload = Payload::UptimeProof { epoch, version: 1 };
                    let body = TxBody { signer: key(node).public(), nonce: 0, fee: Amount(0), payload };
                    let transaction = Transaction::sign(body, &key(node), None, &rig.chain());
                    let _ = rig.submit(&transaction);
                }
                Step::Garbage(transaction) => {
                    rig.ask(|ticket| Input::Submit { ticket, transaction });
                }
                Step::Tick => {
                    rig.pass(Duration::from_secs(1));
                    rig.feed(Input::Timer);
                }
                Step::Sync => rig.sync(),
                Step::Reorg(depth) => {
                    rig.ask(|ticket| Input::Fault { ticket, fault: Fault::Reorg { depth, deep: false } });
                }
                Step::Heads(blocks) => {
                    rig.ask(|ticket| Input::Fault { ticket, fault: Fault::TwoHeads { blocks } });
                }
                Step::Produce(count) => {
                    rig.ask(|ticket| Input::Produce { ticket, count });
                }
            }
        }
        rig.settle();
        rig.check_disk();
        // Everybody who asked was answered, once.
        prop_assert!(rig.replies.len() as u64 <= rig.tickets);
        let tip = rig.machine.tip();
        let nodes = tip.nodes().len() as u64;
        let rewards: u64 = tip.service_nodes().map(|node| node.rewards.0).sum();
        let founded: u64 = tip.founding().balances.values().map(|balance| balance.0).sum();
        prop_assert!(nodes <= 4);
        prop_assert!(tip.supply().unwrap().0 <= founded + rewards);
        // A node that heard of everything is where the producer is, but for branches of equal length.
        let follower = rig.follower();
        prop_assert!(!follower.is_halted());
        prop_assert_eq!(follower.tip().height(), tip.height());
    }
}
