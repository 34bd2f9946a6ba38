//! What of gossip is let in at all.
//!
//! gossipsub keeps the id of every message for two minutes and the message itself until it is judged, on whatever topic
//! it comes, and asks nobody before. So each message passes here first: what is provably wrong is refused and held
//! against its sender, what is of no use is refused, and of the rest each peer may send so many a second.
//!
//! gossipsub does not say here who sent a message, but deals with one peer's at a time: [`Intake::hears`] is told before.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash, TopicSubscriptionFilter as _};
use sotto_proto::id::Height;
use sotto_proto::limits::{CHAIN_GOSSIP_MAX, RECENT_MAPS, SWARM_GOSSIP_MAX};
use sotto_proto::time::Monotonic;

use super::{Whitelist, height_of};
use crate::clock::Clock;
use crate::names::Names;

/// Peers of which something is remembered: more than are connected at once.
const PEERS: usize = 1024;
/// Messages that have gathered after a pause, and how many come on top each second. An honest peer sends each block
/// once, and some records a second; ids of two minutes at this rate come to less than a megabyte.
const BLOCKS: Rate = Rate { burst: 64, per_second: 32 };
const RECORDS: Rate = Rate { burst: 256, per_second: 128 };

/// Why a message is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// Its topic is none that could be subscribed to.
    #[error("a foreign topic")]
    Foreign,
    /// It is not what travels on this topic.
    #[error("malformed")]
    Malformed,
    /// Its topic is not followed here, not yet or no more.
    #[error("a topic not followed")]
    Unfollowed,
    /// It is a block that can be of no use.
    #[error("a block too old")]
    Old,
    /// Its sender has sent too many.
    #[error("too many messages")]
    TooMany,
}

impl Refusal {
    /// Whether no honest peer sends this.
    const fn is_offence(self) -> bool {
        matches!(self, Self::Foreign | Self::Malformed)
    }
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    per_second: u32,
}

/// What a peer may still send.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In thousandths of a message.
    left: u64,
    at: Monotonic,
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Monotonic) {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(rate.per_second.into());
        self.left = self.left.saturating_add(gained).min(rate.full());
        self.at = self.at.plus(Duration::from_millis(millis));
    }
}

impl Rate {
    const fn full(self) -> u64 {
        self.burst as u64 * 1000
    }
}

/// The rules: pure, the time comes in with each call.
#[derive(Debug)]
struct Rules {
    topics: Whitelist,
    followed: Option<TopicHash>,
    rate: Rate,
    /// Blocks below this are of no use.
    lowest: Height,
    peers: BTreeMap<PeerId, Bucket>,
    offences: BTreeMap<PeerId, u32>,
}

impl Rules {
    fn new(topics: Whitelist) -> Self {
        let (followed, rate) = match &topics {
            Whitelist::Chain(topic) => (Some(topic.clone()), BLOCKS),
            Whitelist::Swarms(_) => (None, RECORDS),
        };
        Self { topics, followed, rate, lowest: Height::ZERO, peers: BTreeMap::new(), offences: BTreeMap::new() }
    }

    fn admit(&mut self, from: PeerId, topic: &TopicHash, data: &[u8], now: Monotonic) -> Result<(), Refusal> {
        let result = self.look(topic, data).and_then(|()| self.take(from, now));
        if result.is_err_and(Refusal::is_offence) && (self.offences.len() < PEERS || self.offences.contains_key(&from))
        {
            let count = self.offences.entry(from).or_default();
            *count = count.saturating_add(1);
        }
        result
    }

    fn look(&mut self, topic: &TopicHash, data: &[u8]) -> Result<(), Refusal> {
        if self.followed.as_ref() != Some(topic) {
            let known = self.topics.can_subscribe(topic);
            return Err(if known { Refusal::Unfollowed } else { Refusal::Foreign });
        }
        match self.topics {
            Whitelist::Chain(_) if data.len() > CHAIN_GOSSIP_MAX => Err(Refusal::Malformed),
            Whitelist::Chain(_) => match height_of(data) {
                Some(height) if height < self.lowest => Err(Refusal::Old),
                Some(_) => Ok(()),
                None => Err(Refusal::Malformed),
            },
            Whitelist::Swarms(_) if data.is_empty() || data.len() > SWARM_GOSSIP_MAX => Err(Refusal::Malformed),
            Whitelist::Swarms(_) => Ok(()),
        }
    }

    fn take(&mut self, from: PeerId, now: Monotonic) -> Result<(), Refusal> {
        if !self.peers.contains_key(&from) && self.peers.len() >= PEERS {
            self.forget(now);
            if self.peers.len() >= PEERS {
                return Err(Refusal::TooMany);
            }
        }
        let bucket = self.peers.entry(from).or_insert(Bucket { left: self.rate.full(), at: now });
        bucket.refill(self.rate, now);
        bucket.left = bucket.left.checked_sub(1000).ok_or(Refusal::TooMany)?;
        Ok(())
    }

    fn forget(&mut self, now: Monotonic) {
        let rate = self.rate;
        self.peers.retain(|_, bucket| {
            bucket.refill(rate, now);
            bucket.left < rate.full()
        });
    }
}

/// The rules of one gossip instance, shared by it and its owner.
#[derive(Clone)]
pub struct Intake {
    state: Arc<Mutex<State>>,
    clock: Clock,
}

struct State {
    rules: Rules,
    /// Whose messages are being dealt with.
    from: Option<PeerId>,
}

impl Intake {
    /// For the instance of blocks.
    #[must_use]
    pub(crate) fn of_blocks(names: &Names, clock: Clock) -> Self {
        Self::new(Whitelist::Chain(names.chain_topic().hash()), clock)
    }

    /// For the instance of the own swarm.
    #[must_use]
    pub(crate) fn of_swarm(names: &Names, clock: Clock) -> Self {
        Self::new(Whitelist::Swarms(names.clone()), clock)
    }

    fn new(topics: Whitelist, clock: Clock) -> Self {
        Self { state: Arc::new(Mutex::new(State { rules: Rules::new(topics), from: None })), clock }
    }

    pub(super) fn topics(&self) -> Whitelist {
        self.lock().rules.topics.clone()
    }

    /// What comes in from now on is of this peer.
    pub fn hears(&self, peer: &PeerId) {
        self.lock().from = Some(*peer);
    }

    /// Which topic is followed, of those there can be.
    pub fn follow(&self, topic: Option<TopicHash>) {
        self.lock().rules.followed = topic;
    }

    /// Where the own chain is: blocks that every node at hand has as final are not taken any more.
    pub fn set_tip(&self, tip: Height) {
        self.lock().rules.lowest = tip.minus(RECENT_MAPS as u64);
    }

    /// Who has sent what no honest peer sends, and how often, since this was last asked.
    #[must_use]
    pub fn take_offences(&self) -> BTreeMap<PeerId, u32> {
        std::mem::take(&mut self.lock().rules.offences)
    }

    /// Forgets peers that may begin anew.
    pub fn forget(&self, now: Monotonic) {
        self.lock().rules.forget(now);
    }

    /// Nothing in here is left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataTransform for Intake {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        let mut state = self.lock();
        let from = state.from.ok_or_else(|| io::Error::other("a message of nobody"))?;
        state.rules.admit(from, &raw.topic, &raw.data, self.clock.monotonic()).map_err(io::Error::other)?;
        let RawMessage { source, data, sequence_number, topic, .. } = raw;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use sotto_proto::chain::Header;
    use sotto_proto::id::{BlockHash, ChainId, Hash, SwarmId};
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::test_support::CHAIN;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    /// As far as is looked into a block here.
    fn block_at(height: u64) -> Vec<u8> {
        let header = Header {
            height: Height(height),
            previous: BlockHash::new([1; 32]),
            time: UnixMillis(9),
            tx_root: Hash::new([2; 32]),
            state_root: Hash::new([3; 32]),
            list_root: Hash::new([4; 32]),
        };
        [header.encode(), vec![0; 64 + 4]].concat()
    }

    fn blocks() -> (Rules, TopicHash) {
        let topic = Names::new(&CHAIN).chain_topic().hash();
        (Rules::new(Whitelist::Chain(topic.clone())), topic)
    }

    #[test]
    fn foreign_topics_and_what_is_no_block_are_refused_and_held_against_the_sender() {
        let (mut rules, topic) = blocks();
        let (good, bad) = (PeerId::random(), PeerId::random());
        let foreign = Names::new(&ChainId::new([9; 32])).chain_topic().hash();
        let swarm = Names::new(&CHAIN).swarm_topic(SwarmId(7)).hash();
        assert_eq!(rules.admit(good, &topic, &block_at(5), at(0)), Ok(()));
        assert_eq!(rules.admit(bad, &foreign, &block_at(5), at(0)), Err(Refusal::Foreign));
        assert_eq!(rules.admit(bad, &swarm, &block_at(5), at(0)), Err(Refusal::Foreign));
        assert_eq!(rules.admit(bad, &topic, b"no block", at(0)), Err(Refusal::Malformed));
        assert_eq!(rules.admit(bad, &topic, &vec![1; CHAIN_GOSSIP_MAX + 1], at(0)), Err(Refusal::Malformed));
        assert_eq!(rules.offences, BTreeMap::from([(bad, 4)]));
    }

    #[test]
    fn topics_of_other_swarms_and_old_blocks_are_refused_and_no_offence() {
        let names = Names::new(&CHAIN);
        let (own, other) = (names.swarm_topic(SwarmId(7)).hash(), names.swarm_topic(SwarmId(8)).hash());
        let mut rules = Rules::new(Whitelist::Swarms(names));
        let peer = PeerId::random();
        assert_eq!(rules.admit(peer, &own, b"record", at(0)), Err(Refusal::Unfollowed));
        rules.followed = Some(own.clone());
        assert_eq!(rules.admit(peer, &own, b"record", at(0)), Ok(()));
        assert_eq!(rules.admit(peer, &other, b"record", at(0)), Err(Refusal::Unfollowed));
        let (mut rules, topic) = blocks();
        rules.lowest = Height(100);
        assert_eq!(rules.admit(peer, &topic, &block_at(99), at(0)), Err(Refusal::Old));
        assert_eq!(rules.admit(peer, &topic, &block_at(100), at(0)), Ok(()));
        assert!(rules.offences.is_empty());
    }

    #[test]
    fn what_one_peer_sends_is_bounded_and_others_are_not_concerned() {
        let (mut rules, topic) = blocks();
        let (flooder, other) = (PeerId::random(), PeerId::random());
        let mut let_in = 0;
        for millis in 0..10_000 {
            let_in += usize::from(rules.admit(flooder, &topic, &block_at(millis), at(millis)).is_ok());
        }
        assert!((320..=64 + 320).contains(&let_in), "{let_in}");
        assert_eq!(rules.admit(other, &topic, &block_at(1), at(10_000)), Ok(()));
        rules.forget(at(60_000));
        assert!(rules.peers.is_empty());
    }

    #[test]
    fn it_remembers_so_many_peers_and_no_more() {
        let (mut rules, topic) = blocks();
        for _ in 0..2 * PEERS {
            let _one_too_many = rules.admit(PeerId::random(), &topic, &block_at(1), at(0));
            let _offence = rules.admit(PeerId::random(), &topic, b"no block", at(0));
        }
        assert_eq!((rules.peers.len(), rules.offences.len()), (PEERS, PEERS));
    }
}
