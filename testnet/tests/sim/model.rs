//! What must be true, whatever happens: every message as its sender and its owner know it, and the checks of what nodes
//! say against that.
//!
//! | invariant | checked |
//! | --- | --- |
//! | I1 acknowledged messages are served, byte for byte, by every live member | at the end, member by member |
//! | I1 what a node gave a receipt for is on its disk | at every start, and when its clock is right again |
//! | I1 what a disk damaged is whole again on it | more than a minute later |
//! | I2 their owner has read them, by cursors that were kept all along | at the end |
//! | I2 by those cursors of each member everything that it serves from the beginning up to there | at the end |
//! | I3 nothing is served that was never sent, has expired, or whose delete that node acknowledged | at every read |
//! | I4 members' sets are equal | at the end |
//! | I5 nodes with the same final block agree on the map | at the end |
//! | I9 nobody honest is blamed | at every verdict |
//! | I11 a member's numbers only grow, and it pushes nothing twice | at every read |
//! | I14 what clients begin after the last fault has healed succeeds | at the end |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_proto::envelope::Record;
use sotto_proto::id::{ChainId, NodeId, RecordId};
use sotto_proto::limits::REPAIR_CUTOFF_SECONDS;
use sotto_proto::request::{Receipt, SwarmResponse};
use sotto_proto::sign::{Ed25519, Signature};
use sotto_proto::time::{Monotonic, UnixSeconds};

/// Receipts that make a message *stored*, and answers that make a delete one.
pub(crate) const ENOUGH: usize = 2;
/// T_conv: within this time after an acknowledgement every live member has what was acknowledged.
const CONVERGED: Duration = Duration::from_secs(30);
/// How long after its expiry a record may still be served: clocks differ.
const GRACE_SECONDS: u64 = 120;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which invariant.
    pub(crate) of: &'static str,
    /// What was seen.
    pub(crate) what: String,
}

/// A message, as those who know of it know it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) owner: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) timestamp: UnixSeconds,
    pub(crate) ttl: u32,
    pub(crate) expiry: UnixSeconds,
    /// Nodes, and which of their disks, that said they keep it.
    receipts: BTreeMap<(usize, u32), Monotonic>,
    acknowledged: Option<Monotonic>,
    /// Its owner has asked for it to be erased, and may have been heard or not.
    pub(crate) delete_asked: bool,
    /// Nodes, and which of their disks, that said it is erased; and when that was heard.
    erased: BTreeMap<(usize, u32), Monotonic>,
    /// When enough of them had said so.
    deleted: Option<Monotonic>,
}

impl Message {
    /// Whether all members know by now what became of it then. What expires soon is not repaired.
    fn is_settled(&self, then: Option<Monotonic>, asked: Monotonic, time: UnixSeconds) -> bool {
        let known = then.is_some_and(|at| at.plus(CONVERGED) <= asked);
        known && self.expiry.0 > time.0 + REPAIR_CUTOFF_SECONDS + 5
    }
}

/// How clients fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) deleted: u64,
    pub(crate) reads: u64,
    /// Records whose bits a disk flipped.
    pub(crate) damaged: u64,
    /// Final maps that differed from the one before.
    pub(crate) maps: u64,
    /// Begun after the last fault had healed: all, and those that failed.
    pub(crate) late: u64,
    pub(crate) late_failed: u64,
}

pub(crate) struct Model {
    chain: ChainId,
    /// A node of which nothing is expected.
    liar: Option<usize>,
    pub(crate) messages: BTreeMap<RecordId, Message>,
    pub(crate) tally: Tally,
    pub(crate) violations: Vec<Violation>,
}

/// Where and when something was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) node: usize,
    /// Which of its disks.
    pub(crate) disk: u32,
    /// When it was asked.
    pub(crate) asked: Monotonic,
    /// The time of day, by no node's clock.
    pub(crate) time: UnixSeconds,
    /// How far the node's clock is off, in seconds.
    pub(crate) skew: u64,
}

impl Model {
    pub(crate) const fn new(chain: ChainId, liar: Option<usize>) -> Self {
        let tally =
            Tally { sent: 0, acknowledged: 0, deleted: 0, reads: 0, damaged: 0, maps: 0, late: 0, late_failed: 0 };
        Self { chain, liar, messages: BTreeMap::new(), tally, violations: Vec::new() }
    }

    /// Whether nothing is expected of this node.
    pub(crate) fn is_liar(&self, node: usize) -> bool {
        self.liar == Some(node)
    }

    pub(crate) fn violated(&mut self, of: &'static str, what: String) {
        if self.violations.len() < 8 {
            self.violations.push(Violation { of, what });
        }
    }

    /// A client begins to send.
    pub(crate) fn sends(&mut self, owner: usize, record: &Record) -> RecordId {
        let envelope = record.envelope();
        let id = envelope.id(&self.chain);
        self.tally.sent += 1;
        let message = Message {
            owner,
            bytes: record.encode(),
            timestamp: envelope.timestamp(),
            ttl: envelope.ttl().seconds(),
            expiry: envelope.expiry(),
            receipts: BTreeMap::new(),
            acknowledged: None,
            delete_asked: false,
            erased: BTreeMap::new(),
            deleted: None,
        };
        self.messages.insert(id, message);
        id
    }

    /// A member says that it keeps a message; whether that can be believed.
    pub(crate) fn receipt(
        &mut self,
        id: RecordId,
        (index, disk, node): (usize, u32, NodeId),
        (receipt, signature): (&Receipt, &Signature),
        now: Monotonic,
    ) -> bool {
        let of_liar = self.is_liar(index);
        let holds = receipt.id == id && receipt.node == node && receipt.verify(&self.chain, signature, &Ed25519);
        let Some(message) = self.messages.get_mut(&id) else { return false };
        if !holds || receipt.expiry != message.expiry {
            if !of_liar {
                self.violated("I1", format!("{} gave a receipt that does not hold", node.short()));
            }
            return false;
        }
        message.receipts.entry((index, disk)).or_insert(now);
        if message.receipts.len() >= ENOUGH && message.acknowledged.is_none() {
            message.acknowledged = Some(now);
            self.tally.acknowledged += 1;
        }
        true
    }

    /// Messages that this node's disk may damage, one of `nodes`: they are at others, and no other's disk damages them.
    pub(crate) fn damageable(&self, node: usize, nodes: usize, now: Monotonic) -> Vec<RecordId> {
        let settled = |message: &Message| message.acknowledged.is_some_and(|at| at.plus(CONVERGED) <= now);
        let mine = |id: &RecordId| usize::from(id.as_ref()[0]) % nodes == node;
        let all = self.messages.iter().filter(|(id, message)| mine(id) && settled(message));
        all.map(|(id, _)| *id).collect()
    }

    /// What this disk had of a message is not as it was: it has to have it again at the end, and may lack it until then.
    pub(crate) fn damaged(&mut self, id: &RecordId, node: usize, disk: u32) {
        if let Some(message) = self.messages.get_mut(id) {
            message.receipts.remove(&(node, disk));
        }
        self.tally.damaged += 1;
    }

    /// Its owner asks for messages to be erased.
    pub(crate) fn asks_to_delete(&mut self, ids: &[RecordId]) {
        for id in ids {
            if let Some(message) = self.messages.get_mut(id) {
                message.delete_asked = true;
            }
        }
    }

    /// A member says that it has erased a message.
    pub(crate) fn erased(&mut self, id: RecordId, node: usize, disk: u32, now: Monotonic) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.erased.entry((node, disk)).or_insert(now);
        let nodes: BTreeSet<_> = message.erased.keys().map(|(node, _)| node).collect();
        if nodes.len() >= ENOUGH && message.deleted.is_none() {
            message.deleted = Some(now);
            self.tally.deleted += 1;
        }
    }

    /// A node served a record to this owner; its id, if it is one that may be served.
    pub(crate) fn served(&mut self, owner: usize, bytes: &[u8], at: At) -> Option<RecordId> {
        self.tally.reads += 1;
        let Ok(record) = Record::decode(bytes) else {
            if !self.is_liar(at.node) {
                self.violated("I3", format!("node {} served what is no record", at.node));
            }
            return None;
        };
        let id = record.envelope().id(&self.chain);
        let wrong = match self.messages.get(&id) {
            None => Some("was never sent"),
            Some(message) if message.owner != owner => Some("is somebody else's"),
            Some(message) if message.bytes != bytes => Some("was changed"),
            Some(message) if message.expiry.0 + GRACE_SECONDS + at.skew < at.time.0 => Some("has expired"),
            Some(message) if message.erased.get(&(at.node, at.disk)).is_some_and(|since| *since < at.asked) => {
                Some("it had erased")
            }
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            if self.is_liar(at.node) {
                // It does not get past its owner.
                return None;
            }
            self.violated("I3", format!("node {} served {}, which {wrong}", at.node, id.short()));
            return None;
        }
        Some(id)
    }

    /// Whether every live member must serve a message when it is asked at this moment.
    fn is_owed(message: &Message, asked: Monotonic, time: UnixSeconds) -> bool {
        !message.delete_asked && message.is_settled(message.acknowledged, asked, time)
    }

    /// What a node gave receipts for since a time is on its disk.
    pub(crate) fn keeps(
        &mut self,
        node: usize,
        disk: u32,
        records: &BTreeSet<RecordId>,
        (since, time): (Monotonic, UnixSeconds),
    ) {
        if self.is_liar(node) {
            return;
        }
        let lost: Vec<_> = (self.messages.iter())
            .filter(|(id, m)| {
                m.receipts.get(&(node, disk)).is_some_and(|at| *at > since) && !m.delete_asked && !records.contains(id)
            })
            .filter(|(_, message)| message.expiry > time)
            .map(|(id, _)| id.short())
            .collect();
        if let Some(first) = lost.first() {
            let what = format!(
                "node {node} gave receipts for {} messages that are not on its disk, {first} first",
                lost.len()
            );
            self.violated("I1", what);
        }
    }

    /// A member was read from the beginning, after everything has healed.
    pub(crate) fn audited(&mut self, owner: usize, got: &BTreeSet<RecordId>, at: At) {
        let (node, asked) = (at.node, at.asked);
        let missing: Vec<_> = (self.messages.iter())
            .filter(|(id, message)| {
                message.owner == owner && !got.contains(id) && Self::is_owed(message, asked, at.time)
            })
            .collect();
        if let Some((id, message)) = missing.first() {
            let what = format!(
                "node {node} lacks {} messages, {} first, acknowledged at {:.3} s by {:?} (node, disk)",
                missing.len(),
                id.short(),
                message.acknowledged.unwrap_or_default().0.as_secs_f64(),
                message.receipts.keys(),
            );
            self.violated("I1", what);
        }
        let deleted = |message: &Message| message.is_settled(message.deleted, asked, at.time);
        let back: Vec<_> = got.iter().filter(|id| self.messages.get(id).is_some_and(deleted)).collect();
        if let Some(first) = back.first() {
            let what = format!("node {node} serves {} deleted messages, {} first", back.len(), first.short());
            self.violated("I3", what);
        }
    }

    /// A member was read from the beginning, and before that by the cursor that was kept for it; `all` is what lies before
    /// that.
    pub(crate) fn read_by_cursor(
        &mut self,
        owner: usize,
        node: usize,
        all: &BTreeSet<RecordId>,
        read: &BTreeSet<RecordId>,
    ) {
        if let Some(first) = all.difference(read).next() {
            let what = format!("client {owner} never read {} of node {node}, which serves it", first.short());
            self.violated("I2", what);
        }
    }

    /// An owner has read all members by the cursors it has kept.
    pub(crate) fn has_read(&mut self, owner: usize, seen: &BTreeSet<RecordId>, now: Monotonic, time: UnixSeconds) {
        let missed =
            self.messages.iter().filter(|(_, message)| message.owner == owner && Self::is_owed(message, now, time));
        let missed: Vec<_> = missed.filter(|(id, _)| !seen.contains(id)).map(|(id, _)| id.short()).collect();
        if !missed.is_empty() {
            self.violated("I2", format!("client {owner} never read {} messages, {} first", missed.len(), missed[0]));
        }
    }

    /// Something that a client began has ended.
    pub(crate) fn ended(&mut self, began: Monotonic, healed: Monotonic, what: &str, succeeded: bool) {
        if began < healed.plus(Duration::from_secs(15)) {
            return;
        }
        self.tally.late += 1;
        if !succeeded {
            self.tally.late_failed += 1;
            self.violated("I14", format!("a {what} begun at {:.1} s failed", began.0.as_secs_f64()));
        }
    }
}

/// What a response says, in few words: for traces.
pub(crate) fn label(response: &SwarmResponse) -> String {
    match response {
        SwarmResponse::Stored { .. } => "stored".into(),
        SwarmResponse::Records(records) => format!("{} records", records.records.len()),
        SwarmResponse::Deleted { .. } => "deleted".into(),
        SwarmResponse::List(_) => "list".into(),
        SwarmResponse::Listening => "listening".into(),
        SwarmResponse::Pushed(_) => "pushed".into(),
        SwarmResponse::Delivered => "delivered".into(),
        SwarmResponse::NoListener => "no listener".into(),
        SwarmResponse::Error(error) => error.label().into(),
    }
}
