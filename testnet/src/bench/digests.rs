//! After the run: does every member of each swarm hold the same, and is it what was sent?
//!
//! Members say how many records of their swarm they hold and what those hash to. Where a swarm held nothing before and
//! the fate of every message is known, the generator's own set must hash to the same. Elsewhere every mailbox is read at
//! every member, and must hold what was stored, and nothing that was not sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_behaviours::replication::{Entry, ItemSet, scope_at};
use sotto_proto::id::{Height, RecordId, SwarmId};
use sotto_proto::time::UnixSeconds;

use super::stamping::Stamped;
use crate::plan::Plan;
use crate::status::{self, NodeStatus};

/// How long members may take to agree: their sets leave out the last ten seconds, and repair goes round in thirty.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often they are asked.
const POLL: Duration = Duration::from_secs(1);
/// A moment when everything that was sent is older than what members leave out.
const LATER: u64 = 3600;

/// What a swarm came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmCheck {
    /// Its id.
    pub swarm: String,
    /// Its members that answered.
    pub members: usize,
    /// Whether all say the same.
    pub alike: bool,
    /// Records that a member has.
    pub items: u64,
    /// What they hash to there.
    pub digest: String,
    /// Records that this bench stored there.
    pub stored: u64,
    /// What those hash to: the generator's digest.
    pub generator_digest: String,
    /// Whether the two digests can be compared: nothing was there before, and every message is known to be stored.
    pub comparable: bool,
    /// Whether they are equal.
    pub equal: bool,
    /// What reading every mailbox at every member came to, where digests cannot be compared or are not equal.
    pub read_back: Option<ReadBack>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// Members that were read from.
    pub members: u64,
    /// Members that could not be.
    pub silent: u64,
    /// Stored messages that a member did not have, over all members.
    pub missing: u64,
    /// Records in the mailboxes that nobody sent, over all members.
    pub strange: u64,
}

impl SwarmCheck {
    /// Whether every member has what was stored.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let read = self.read_back.is_some_and(|read| read.silent == 0 && read.missing == 0 && read.strange == 0);
        self.alike && ((self.comparable && self.equal) || read)
    }
}

/// All messages of the bench, and which of them are stored.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Those with two receipts.
    stored: BTreeMap<SwarmId, BTreeMap<RecordId, Entry>>,
    /// Those without: a member may have them all the same.
    doubtful: BTreeMap<SwarmId, BTreeSet<RecordId>>,
}

impl Ledger {
    /// Notes what became of a message.
    pub(super) fn note(&mut self, message: &Stamped, stored: bool) {
        if stored {
            let entry = Entry { timestamp: message.timestamp, id: message.id.into(), expiry: message.expiry };
            self.stored.entry(message.swarm).or_default().insert(message.id, entry);
        } else {
            self.doubtful.entry(message.swarm).or_default().insert(message.id);
        }
    }

    /// What is stored in a swarm for sure.
    pub(super) fn stored(&self, swarm: SwarmId) -> BTreeSet<RecordId> {
        self.stored.get(&swarm).map(|stored| stored.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether a record was sent to a swarm, stored or not.
    pub(super) fn was_sent(&self, swarm: SwarmId, id: &RecordId) -> bool {
        self.stored.get(&swarm).is_some_and(|stored| stored.contains_key(id))
            || self.doubtful.get(&swarm).is_some_and(|doubtful| doubtful.contains(id))
    }

    fn is_certain(&self, swarm: SwarmId) -> bool {
        self.doubtful.get(&swarm).is_none_or(BTreeSet::is_empty)
    }

    /// How many are stored in a swarm, and what they hash to, as its members count.
    fn digest(&self, swarm: SwarmId, now: UnixSeconds) -> (u64, String) {
        let entries = self.stored.get(&swarm).into_iter().flat_map(BTreeMap::values).copied();
        let set: ItemSet = entries.collect();
        // Heights are for those who ask each other. The scope leaves out what expires soon: nothing here.
        let mut scope = scope_at(Height::ZERO, swarm, now);
        scope.until = UnixSeconds(now.0.saturating_add(LATER));
        let summary = set.view(scope).summary();
        let digest = summary.fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        (summary.count, digest)
    }
}

/// Swarms that hold nothing yet, by what their members say.
pub(super) fn empty_swarms(answers: &[Option<NodeStatus>]) -> BTreeSet<String> {
    let members = by_swarm(answers);
    let is_empty = |of: &Vec<&NodeStatus>| of.iter().all(|status| status.records == 0 && status.swarm_items == 0);
    members.into_iter().filter(|(_, of)| is_empty(of)).map(|(swarm, _)| swarm).collect()
}

fn by_swarm(answers: &[Option<NodeStatus>]) -> BTreeMap<String, Vec<&NodeStatus>> {
    let mut members: BTreeMap<String, Vec<&NodeStatus>> = BTreeMap::new();
    for status in answers.iter().flatten() {
        if let Some(swarm) = &status.swarm {
            members.entry(swarm.clone()).or_default().push(status);
        }
    }
    members
}

/// Compares what the members say with each other and with the ledger. `empty` are the swarms that held nothing before.
fn compare(
    answers: &[Option<NodeStatus>],
    ledger: &Ledger,
    swarms: &[(SwarmId, usize)],
    empty: &BTreeSet<String>,
    now: UnixSeconds,
) -> Vec<SwarmCheck> {
    let members = by_swarm(answers);
    let check = |(id, size): &(SwarmId, usize)| {
        let swarm = format!("0x{id}");
        let said = members.get(&swarm).map(Vec::as_slice).unwrap_or_default();
        let first = said.first().map(|status| (status.swarm_items, status.swarm_digest.clone(), status.records));
        let same = |status: &&NodeStatus| {
            Some((status.swarm_items, status.swarm_digest.clone(), status.records)) == first && !status.mail_syncing
        };
        let alike = said.len() >= *size && said.iter().all(same);
        let (items, digest, _) = first.unwrap_or_default();
        let (stored, generator_digest) = ledger.digest(*id, now);
        let comparable = empty.contains(&swarm) && ledger.is_certain(*id);
        let equal = items == stored && digest == generator_digest;
        let members = said.len();
        SwarmCheck {
            swarm,
            members,
            alike,
            items,
            digest,
            stored,
            generator_digest,
            comparable,
            equal,
            read_back: None,
        }
    };
    swarms.iter().map(check).collect()
}

/// Asks until all members of each swarm say the same, and what was stored where that can be compared, or patience is
/// over. Returns what they said last.
pub(super) async fn check(
    plan: &Plan,
    ledger: &Ledger,
    swarms: &[(SwarmId, usize)],
    empty: &BTreeSet<String>,
    now: impl Fn() -> UnixSeconds,
) -> Vec<SwarmCheck> {
    let began = Instant::now();
    loop {
        let answers = status::ask_all(plan.nodes().map(|place| place.http)).await;
        let checks = compare(&answers, ledger, swarms, empty, now());
        // What is not comparable needs at least what was stored to be old enough to be counted.
        let settled =
            |check: &SwarmCheck| check.alike && check.items >= check.stored && (check.equal || !check.comparable);
        if checks.iter().all(settled) || began.elapsed() >= PATIENCE {
            return checks;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::address::Address;
    use sotto_proto::id::X25519Key;

    use super::*;

    const SWARM: SwarmId = SwarmId(7);
    const NOW: UnixSeconds = UnixSeconds(1_790_000_000);

    fn stamped(number: u8) -> Stamped {
        Stamped {
            number: number.into(),
            client: 0,
            recipient: 0,
            due: Duration::ZERO,
            record: Vec::new(),
            id: RecordId::new([number; 32]),
            address: Address::account(&X25519Key::new([9; 32])),
            swarm: SWARM,
            timestamp: NOW,
            expiry: UnixSeconds(NOW.0 + 1200),
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        (1..=3).for_each(|number| ledger.note(&stamped(number), true));
        ledger
    }

    fn member(items: u64, digest: &str) -> Option<NodeStatus> {
        Some(NodeStatus {
            swarm: Some(format!("0x{SWARM}")),
            swarm_items: items,
            records: items,
            swarm_digest: digest.to_owned(),
            ..NodeStatus::default()
        })
    }

    fn check_of(answers: &[Option<NodeStatus>], ledger: &Ledger, was_empty: bool) -> SwarmCheck {
        let empty = if was_empty { BTreeSet::from([format!("0x{SWARM}")]) } else { BTreeSet::new() };
        compare(answers, ledger, &[(SWARM, 2)], &empty, NOW).remove(0)
    }

    #[test]
    fn members_with_the_generator_s_digest_are_good() {
        let (count, digest) = ledger().digest(SWARM, NOW);
        assert_eq!((count, digest.len()), (3, 32));
        let check = check_of(&[member(3, &digest), member(3, &digest)], &ledger(), true);
        assert!(check.is_good(), "{check:?}");
    }

    #[test]
    fn a_member_that_lacks_something_or_says_nothing_is_noticed() {
        let (_, digest) = ledger().digest(SWARM, NOW);
        for others in [member(2, "other"), member(3, "other"), None] {
            let check = check_of(&[member(3, &digest), others], &ledger(), true);
            assert!(!check.is_good(), "{check:?}");
        }
        let same_but_wrong = check_of(&[member(3, "other"), member(3, "other")], &ledger(), true);
        assert!(same_but_wrong.alike && !same_but_wrong.is_good());
    }

    #[test]
    fn where_digests_cannot_be_compared_reading_decides() {
        let mut doubtful = ledger();
        doubtful.note(&stamped(4), false);
        assert!(doubtful.was_sent(SWARM, &RecordId::new([4; 32])));
        assert!(!doubtful.was_sent(SWARM, &RecordId::new([5; 32])));
        let answers = [member(9, "x"), member(9, "x")];
        for (ledger, was_empty) in [(&doubtful, true), (&ledger(), false)] {
            let mut check = check_of(&answers, ledger, was_empty);
            assert!(check.alike && !check.comparable && !check.is_good());
            check.read_back = Some(ReadBack { members: 2, ..ReadBack::default() });
            assert!(check.is_good());
            check.read_back = Some(ReadBack { members: 2, missing: 1, ..ReadBack::default() });
            assert!(!check.is_good());
        }
    }

    #[test]
    fn a_swarm_is_empty_when_no_member_holds_anything() {
        assert_eq!(empty_swarms(&[member(0, ""), member(0, "")]).len(), 1);
        assert_eq!(empty_swarms(&[member(0, ""), member(1, "")]).len(), 0);
    }
}
