//! What the state tables hold: the value of each key of the state tree, in canonical bytes.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | node | node key | [`ServiceNode`] |
//! | account | public key | [`Account`] |
//! | lock | node key | [`LockedStake`] |
//! | cooldown | node or operator key | [`Cooldown`] |
//! | swarm | `u64` id | [`SwarmValue`] |
//! | chain | `u8` 0 | [`Waiting`]: all that the next block needs and no other table has |
//!
//! Values change only when something happened to them: credit, for example, is stored with the height it was right at,
//! not counted down block by block.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node_record::{NodeRecord, NodeState};
use crate::codec::{DecodeError, Reader};
use crate::id::{Amount, Height, NodeId, PublicKey, SwarmId};
use crate::swarm::{encode_members, read_members};

/// Most testers whose verdict on one node is kept: as many as tests count.
const MAX_VERDICTS: usize = 200;

fn put(bytes: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
}

fn exactly<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Balance and nonce of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Coins.
    pub balance: Amount,
    /// How many nonce-bearing transactions it has signed.
    pub nonce: u64,
}

impl Account {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        put(&mut bytes, &[self.balance.0, self.nonce]);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes, |reader| Ok(Self { balance: Amount(reader.u64()?), nonce: reader.u64()? }))
    }
}

/// A stake that is not free yet, of a node that was deregistered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedStake {
    /// Whose it is.
    pub operator: PublicKey,
    /// How much.
    pub amount: Amount,
    /// The block that frees it.
    pub until: Height,
}

impl LockedStake {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.operator.as_bytes().to_vec();
        put(&mut bytes, &[self.amount.0, self.until.0]);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes, |reader| {
            Ok(Self { operator: reader.id()?, amount: Amount(reader.u64()?), until: Height(reader.u64()?) })
        })
    }
}

/// Until when a key may not register: it got a stake back not long ago, and could else draw its swarm again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// The first block in which it may.
    pub until: Height,
}

impl Cooldown {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.until.0.to_be_bytes().to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes, |reader| Ok(Self { until: Height(reader.u64()?) }))
    }
}

/// A swarm: its members and what its rules remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmValue {
    /// Members, ascending.
    pub members: Vec<NodeId>,
    /// When it last lost a member by decommission; 0: never.
    pub last_decommission: Height,
    /// How many storage tests of it were reported.
    pub tests: u64,
    /// D: difficulty of its proof of work.
    pub difficulty: u32,
}

impl SwarmValue {
    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = encode_members(&self.members);
        put(&mut bytes, &[self.last_decommission.0, self.tests]);
        bytes.extend_from_slice(&self.difficulty.to_be_bytes());
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes, |reader| {
            Ok(Self {
                members: read_members(reader)?,
                last_decommission: Height(reader.u64()?),
                tests: reader.u64()?,
                difficulty: reader.u32()?,
            })
        })
    }
}

/// What the next block depends on beside the tables: who waits for a swarm, joins and leaves, and an epoch of grace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Active nodes in no swarm, in the order they will be placed.
    pub unassigned: Vec<NodeId>,
    /// Nodes that start being active with the next block, ascending.
    pub joining: Vec<NodeId>,
    /// Nodes that stopped being active and leave with the next block, ascending, with the swarm they are in.
    pub leaving: Vec<(NodeId, Option<SwarmId>)>,
    /// The last epoch in which so many nodes were due for decommission that none is decommissioned in it.
    pub spared_epoch: Option<u64>,
}

impl Waiting {
    /// Canonical bytes: three lists with `u32` counts, and the spared epoch plus one (0: none).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = Vec::new();
        for nodes in [&self.unassigned, &self.joining] {
            bytes.extend_from_slice(&count(nodes.len()));
            nodes.iter().for_each(|node| bytes.extend_from_slice(node.as_ref()));
        }
        bytes.extend_from_slice(&count(self.leaving.len()));
        for (node, swarm) in &self.leaving {
            bytes.extend_from_slice(node.as_ref());
            put(&mut bytes, &[swarm.unwrap_or(SwarmId::NONE).0]);
        }
        put(&mut bytes, &[self.spared_epoch.map_or(0, |epoch| epoch.saturating_add(1))]);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        fn list<T>(
            reader: &mut Reader<'_>,
            item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
        ) -> Result<Vec<T>, DecodeError> {
            (0..reader.u32()?).map(|_| item(reader)).collect()
        }
        exactly(bytes, |reader| {
            Ok(Self {
                unassigned: list(reader, |reader| reader.id())?,
                joining: list(reader, |reader| reader.id())?,
                leaving: list(reader, |reader| {
                    Ok((reader.id()?, Some(SwarmId(reader.u64()?)).filter(|swarm| *swarm != SwarmId::NONE)))
                })?,
                spared_epoch: reader.u64()?.checked_sub(1),
            })
        })
    }
}

/// Which of the last 20 events were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    bits: u32,
}

impl Window {
    const MASK: u32 = (1 << 20) - 1;

    /// Takes in one more event and forgets the one 20 before it.
    pub const fn push(&mut self, bad: bool) {
        self.bits = ((self.bits << 1) | bad as u32) & Self::MASK;
    }

    /// How many of the last 20 were bad; events that have not happened count as good.
    #[must_use]
    pub const fn bad(self) -> u64 {
        self.bits.count_ones() as u64
    }
}

/// What storage tests have shown of a node, as testee and as tester.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestLedger {
    /// Per tester the number of the test in its swarm, and whether the node passed. Tests without samples count only for
    /// a decommissioned node, on its way back.
    pub verdicts: BTreeMap<NodeId, (u64, bool)>,
    /// Which of its last 20 tests it left unanswered.
    pub unanswered: Window,
    /// Which of its last 20 duties as tester it left unreported.
    pub missed: Window,
}

impl TestLedger {
    /// How many testers' verdict is pass, and how many fail.
    #[must_use]
    pub fn passes_and_fails(&self) -> (u64, u64) {
        let passes = self.verdicts.values().filter(|(_, pass)| *pass).count() as u64;
        (passes, self.verdicts.len() as u64 - passes)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&u16::try_from(self.verdicts.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (tester, (number, pass)) in &self.verdicts {
            bytes.extend_from_slice(tester.as_ref());
            put(bytes, &[*number]);
            bytes.push(u8::from(*pass));
        }
        bytes.extend_from_slice(&self.unanswered.bits.to_be_bytes());
        bytes.extend_from_slice(&self.missed.bits.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        if count > MAX_VERDICTS {
            return Err(DecodeError::TooLong { field: "verdicts", limit: MAX_VERDICTS, actual: count });
        }
        let mut verdicts = BTreeMap::new();
        for _ in 0..count {
            let (tester, number) = (reader.id()?, reader.u64()?);
            let pass = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::Value("verdict")),
            };
            if verdicts.last_key_value().is_some_and(|(last, _)| *last >= tester) {
                return Err(DecodeError::Value("verdicts (not ascending)"));
            }
            verdicts.insert(tester, (number, pass));
        }
        let mut window = || {
            let bits = reader.u32()?;
            if bits > Window::MASK { Err(DecodeError::Value("window")) } else { Ok(Window { bits }) }
        };
        Ok(Self { verdicts, unanswered: window()?, missed: window()? })
    }
}

/// A registered node with all that its rules remember of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNode {
    /// What the list shows.
    pub record: Arc<NodeRecord>,
    /// What its operator has locked for it.
    pub stake: Amount,
    /// The block of its registration.
    pub registered_at: Height,
    /// Since when it is in its present state.
    pub since: Height,
    /// Credit at the height `since`.
    pub credit: u64,
    /// The last epoch it proved to be up in, or that of its registration.
    pub proved_epoch: u64,
    /// The block of its last uptime proof, or of its registration.
    pub proved_at: Height,
    /// The software version it last stated.
    pub version: u32,
    /// The block of its last reward, or the one that put it into the queue.
    pub rewarded_at: Height,
    /// All it has earned.
    pub rewards: Amount,
    /// The swarm it last belonged to.
    pub home: Option<SwarmId>,
    /// Since when it is in its swarm.
    pub member_since: Height,
    /// When it last changed its addresses; 0: never.
    pub address_changed_at: Height,
    /// When it last changed its X25519 key; 0: never.
    pub key_rotated_at: Height,
    /// What storage tests have shown.
    pub tests: TestLedger,
}

impl ServiceNode {
    /// Its credit, in blocks, at a height in its present state: earned while active, used up while decommissioned.
    #[must_use]
    pub fn credit_at(&self, height: Height, blocks_per_credit: u64, most: u64) -> u64 {
        let blocks = height.since(self.since);
        match self.record.state {
            NodeState::Active => {
                self.credit.saturating_add(blocks.checked_div(blocks_per_credit).unwrap_or(0)).min(most)
            }
            NodeState::Decommissioned => self.credit.saturating_sub(blocks),
            NodeState::Exiting => self.credit,
        }
    }

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.record.encode();
        put(&mut bytes, &[self.stake.0, self.registered_at.0, self.since.0, self.credit, self.proved_epoch]);
        put(&mut bytes, &[self.proved_at.0]);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        put(&mut bytes, &[self.rewarded_at.0, self.rewards.0, self.home.unwrap_or(SwarmId::NONE).0]);
        put(&mut bytes, &[self.member_since.0, self.address_changed_at.0, self.key_rotated_at.0]);
        self.tests.write(&mut bytes);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes, |reader| {
            Ok(Self {
                record: Arc::new(NodeRecord::read(reader)?),
                stake: Amount(reader.u64()?),
                registered_at: Height(reader.u64()?),
                since: Height(reader.u64()?),
                credit: reader.u64()?,
                proved_epoch: reader.u64()?,
                proved_at: Height(reader.u64()?),
                version: reader.u32()?,
                rewarded_at: Height(reader.u64()?),
                rewards: Amount(reader.u64()?),
                home: Some(SwarmId(reader.u64()?)).filter(|swarm| *swarm != SwarmId::NONE),
                member_since: Height(reader.u64()?),
                address_changed_at: Height(reader.u64()?),
                key_rotated_at: Height(reader.u64()?),
                tests: TestLedger::read(reader)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::node_record::tests::vector;
    use super::*;

    fn node() -> ServiceNode {
        let mut tests = TestLedger::default();
        tests.verdicts.insert(NodeId::new([1; 32]), (7, true));
        tests.verdicts.insert(NodeId::new([2; 32]), (9, false));
        tests.unanswered.push(true);
        ServiceNode {
            record: Arc::new(vector(1)),
            stake: Amount::coins(100),
            registered_at: Height(3),
            since: Height(4),
            credit: 300,
            proved_epoch: 2,
            proved_at: Height(130),
            version: 65_536,
            rewarded_at: Height(90),
            rewards: Amount::coins(20),
            home: Some(SwarmId(0)),
            member_since: Height(5),
            address_changed_at: Height(0),
            key_rotated_at: Height(60),
            tests,
        }
    }

    #[test]
    fn every_value_round_trips() {
        let node = node();
        assert_eq!(ServiceNode::decode(&node.encode()), Ok(node));
        let account = Account { balance: Amount(5), nonce: 6 };
        assert_eq!(Account::decode(&account.encode()), Ok(account));
        let lock = LockedStake { operator: PublicKey::new([1; 32]), amount: Amount(2), until: Height(3) };
        assert_eq!(LockedStake::decode(&lock.encode()), Ok(lock));
        let cooldown = Cooldown { until: Height(8) };
        assert_eq!(Cooldown::decode(&cooldown.encode()), Ok(cooldown));
        let members = vec![NodeId::new([1; 32]), NodeId::new([2; 32])];
        let swarm = SwarmValue { members, last_decommission: Height(0), tests: 4, difficulty: 1 };
        assert_eq!(SwarmValue::decode(&swarm.encode()), Ok(swarm));
        let waiting = Waiting {
            unassigned: vec![NodeId::new([9; 32])],
            joining: vec![NodeId::new([1; 32])],
            leaving: vec![(NodeId::new([3; 32]), Some(SwarmId(1))), (NodeId::new([4; 32]), None)],
            spared_epoch: Some(7),
        };
        assert_eq!(Waiting::decode(&waiting.encode()), Ok(waiting));
    }

    #[test]
    fn the_canonical_values_never_change() {
        // Golden: other implementations of the chain must arrive at the same state root.
        let digest = |bytes: Vec<u8>| hex::encode(crate::hash::blake2b_256(&bytes));
        let golden: Vec<&str> = include_str!("../../tests/data/state_values.txt").lines().collect();
        assert_eq!(digest(node().encode()), golden[0]);
        assert_eq!(hex::encode(Account { balance: Amount(5), nonce: 6 }.encode()), golden[1]);
        let swarm =
            SwarmValue { members: vec![NodeId::new([1; 32])], last_decommission: Height(2), tests: 3, difficulty: 4 };
        assert_eq!(hex::encode(swarm.encode()), golden[2]);
    }

    #[test]
    fn credit_grows_while_active_and_is_used_up_while_decommissioned() {
        let mut node = node();
        assert_eq!(node.credit_at(Height(4), 2, 1800), 300);
        assert_eq!(node.credit_at(Height(14), 2, 1800), 305);
        assert_eq!(node.credit_at(Height(1 << 40), 2, 1800), 1800);
        Arc::make_mut(&mut node.record).state = NodeState::Decommissioned;
        assert_eq!(node.credit_at(Height(14), 2, 1800), 290);
        assert_eq!(node.credit_at(Height(1000), 2, 1800), 0);
    }

    #[test]
    fn the_window_forgets_after_twenty() {
        let mut window = Window::default();
        window.push(true);
        (0..19).for_each(|_| window.push(false));
        assert_eq!(window.bad(), 1);
        window.push(false);
        assert_eq!(window.bad(), 0);
    }
}
