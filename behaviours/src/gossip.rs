//! The two gossip instances: blocks among registered nodes and the producer, records among the members of a swarm.
//!
//! Messages carry neither author nor signature of their own: blocks and records are signed or stamped themselves, and
//! are checked once, after duplicates are gone. Their id is taken from their content (B1). Nothing is passed on before
//! it was judged, see [`crate::network::Network::judge`].
//!
//! Swarms have at most ten members and each node has about as many links on the chain topic. Who publishes sends to
//! everybody it is connected with at once. Blocks are passed on along a small mesh; records, whose bodies are most of
//! what a swarm carries, reach everybody that way already, and ids tell what was missed.

mod intake;

use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, MetricsConfig,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicSubscriptionFilter, ValidationMode, Version,
};
use libp2p::metrics::Registry;
use sotto_proto::chain::{Header, SignedHeader};
use sotto_proto::domain;
use sotto_proto::envelope::HEADER_LEN;
use sotto_proto::hash::{Hasher, hash};
use sotto_proto::id::{ChainId, Height};
use sotto_proto::limits;

pub use self::intake::Intake;
use crate::names::Names;
use crate::network::BuildError;

/// A gossip instance.
pub type Behaviour = gossipsub::Behaviour<Intake, MaxCountSubscriptionFilter<Whitelist>>;

/// Mesh neighbours aimed at, when to look for more or fewer, and how many of them must have been dialled by us, so that
/// nobody fills a mesh by dialling in. Every neighbour more costs a copy of each message.
#[derive(Clone, Copy)]
struct Mesh {
    aim: usize,
    low: usize,
    high: usize,
    outbound: usize,
}

/// Nodes of the chain topic are not all connected with each other; with fewer than three neighbours a silent one could
/// cut a node off.
const CHAIN_MESH: Mesh = Mesh { aim: 3, low: 2, high: 4, outbound: 1 };
/// No mesh, so that nobody passes on what comes (but to a member that we dialled and that asks for it, until the next
/// heartbeat): all members of a swarm are connected, and who publishes sends to each of
/// them at once. With a mesh every member got each record three times, which was half of what links carried. Adverts of
/// ids, from everybody who has a record to a few others each second, bring what a member missed nevertheless; besides, the
/// second of those who took a record from its client publishes what it has not heard of after a second, and repair
/// compares sets.
const SWARM_MESH: Mesh = Mesh { aim: 0, low: 0, high: 0, outbound: 0 };

/// gossipsub checks these only for topics with settings of their own, and computes nonsense when they do not hold.
const fn holds(mesh: Mesh) -> bool {
    mesh.outbound <= mesh.low && mesh.low <= mesh.aim && mesh.aim <= mesh.high && 2 * mesh.outbound <= mesh.aim
}

const _: () = assert!(holds(CHAIN_MESH) && holds(SWARM_MESH), "mesh sizes");

/// Ids in one IHAVE or IWANT: 22 bytes each, so that a full one stays far below the 16 KiB that end a stream.
const CONTROL_IDS: usize = 512;
/// Topics a peer may be subscribed to: the swarms it was in lately, and some to spare.
const TOPICS_PER_PEER: usize = 16;
/// Messages that wait for one peer. A block may have a megabyte, and a second block follows a second later.
const CHAIN_QUEUE: usize = 32;
/// The same for records, of which many are small.
const SWARM_QUEUE: usize = 256;
/// How long a peer may take to send what it says it has; then others are asked, whose adverts reach five seconds back.
const PROMISE: Duration = Duration::from_secs(1);
/// Messages in one frame.
const MESSAGES_PER_FRAME: usize = 500;

/// First byte of a gossiped record.
const RECORD: u8 = 1;
/// Bytes of a record after its envelope: nonce and length of the write signature, and the signature where there is one.
const RECORD_TRAILERS: [usize; 2] = [8 + 1, 8 + 1 + 64];

/// Which topics peers may subscribe to. Others are not even remembered.
#[derive(Clone, Debug)]
pub enum Whitelist {
    /// The topic of blocks.
    Chain(TopicHash),
    /// The topic of any swarm: a peer may be a block ahead of us and in a swarm that we will be in shortly, and it says
    /// so only once.
    Swarms(Names),
}

impl TopicSubscriptionFilter for Whitelist {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        match self {
            Self::Chain(only) => only == topic,
            Self::Swarms(names) => names.swarm_of_topic(topic).is_some(),
        }
    }
}

/// Peers that are given this score are left out of what is published meanwhile.
pub const LEFT_OUT: f64 = -2.0;
/// Every other peer's.
pub const HEARD: f64 = 0.0;
/// How long a peer is remembered after it is gone.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Nothing that a peer does changes its score: all weights but that of the application are nil. Without scores gossipsub
/// would ask for an id once, of whoever said first that it has it, and never again: whoever does not keep that promise
/// would keep the message from us, and ids that nobody has would stay in memory for good.
fn score() -> (PeerScoreParams, PeerScoreThresholds) {
    let params = PeerScoreParams {
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        retain_score: REMEMBERED,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        publish_threshold: LEFT_OUT / 2.0,
        gossip_threshold: LEFT_OUT / 2.0,
        // What they send is listened to all the same.
        graylist_threshold: 2.0 * LEFT_OUT,
        accept_px_threshold: 0.0,
        opportunistic_graft_threshold: 0.0,
    };
    (params, thresholds)
}

/// The instance for blocks.
///
/// # Errors
/// [`BuildError::Gossip`] when gossipsub refuses the settings.
pub fn chain(
    chain: ChainId,
    names: &Names,
    intake: Intake,
    registry: Option<&mut Registry>,
) -> Result<Behaviour, BuildError> {
    let settings = Settings {
        protocol: names.chain_gossip().to_string(),
        max_message: limits::CHAIN_GOSSIP_MAX,
        queue: CHAIN_QUEUE,
        mesh: CHAIN_MESH,
        // A block that passes a node by is fetched when a neighbour says how high it is, a second or two later than an
        // advert would bring it, so that one neighbour a second is told is enough.
        adverts: 1,
        id: Box::new(move |message| block_message_id(&chain, &message.data)),
    };
    build(settings, intake, registry)
}

/// The instance for the own swarm.
///
/// # Errors
/// [`BuildError::Gossip`] when gossipsub refuses the settings.
pub fn swarm(
    chain: ChainId,
    names: &Names,
    intake: Intake,
    registry: Option<&mut Registry>,
) -> Result<Behaviour, BuildError> {
    let settings = Settings {
        protocol: names.swarm_gossip().to_string(),
        max_message: limits::SWARM_GOSSIP_MAX,
        queue: SWARM_QUEUE,
        mesh: SWARM_MESH,
        adverts: 3,
        id: Box::new(move |message| swarm_message_id(&chain, &message.data)),
    };
    build(settings, intake, registry)
}

/// The height of a gossiped block, if its header can be read and something follows it.
pub(crate) fn height_of(block: &[u8]) -> Option<Height> {
    let (header, body) = block.split_at_checked(SignedHeader::LEN)?;
    const { assert!(SignedHeader::LEN > Header::LEN) };
    if body.is_empty() {
        return None;
    }
    SignedHeader::decode(header).ok().map(|signed| signed.header.height)
}

/// The id of a gossiped block: the first bytes of its hash, so that it is the same whoever encoded it.
pub fn block_message_id(chain: &ChainId, data: &[u8]) -> MessageId {
    match data.first_chunk::<{ SignedHeader::LEN }>() {
        Some(signed_header) => {
            let block_hash = Hasher::new(domain::BLOCK).chain(chain).chain(signed_header).finish();
            MessageId::new(&block_hash.as_bytes()[..limits::GOSSIP_ID])
        }
        // Too short to be a block: one of our own, which gossipsub gives an id before anybody refuses it.
        None => message_id(data),
    }
}

/// The id of a gossiped record: the first bytes of its own, so that it is the same whatever nonce it carries. Deletes,
/// and what is neither, have an id of their own.
pub fn swarm_message_id(chain: &ChainId, data: &[u8]) -> MessageId {
    match data.split_first().and_then(|(kind, record)| (*kind == RECORD).then(|| envelope(record))?) {
        Some(envelope) => {
            let record_id = Hasher::new(domain::ENVELOPE).chain(chain).chain(envelope).finish();
            MessageId::new(&record_id.as_bytes()[..limits::GOSSIP_ID])
        }
        None => message_id(data),
    }
}

/// The envelope at the front of a record that is as long as it says.
fn envelope(record: &[u8]) -> Option<&[u8]> {
    let length = record.get(HEADER_LEN - 4..HEADER_LEN)?.try_into().map(u32::from_be_bytes).ok()?;
    let (envelope, rest) = record.split_at_checked(HEADER_LEN.checked_add(usize::try_from(length).ok()?)?)?;
    RECORD_TRAILERS.contains(&rest.len()).then_some(envelope)
}

fn message_id(data: &[u8]) -> MessageId {
    MessageId::new(&hash(domain::GOSSIP, data).as_bytes()[..limits::GOSSIP_ID])
}

struct Settings {
    protocol: String,
    max_message: usize,
    queue: usize,
    mesh: Mesh,
    /// Peers outside the mesh that are told each second of messages they may have missed.
    adverts: usize,
    id: Box<dyn Fn(&Message) -> MessageId + Send + Sync>,
}

fn build(settings: Settings, intake: Intake, registry: Option<&mut Registry>) -> Result<Behaviour, BuildError> {
    let Settings { protocol, max_message, queue, mesh, adverts, id } = settings;
    let config = ConfigBuilder::default()
        // A name of our own means version 1.1 of the protocol, without IDONTWANT, which costs more than it saves here.
        .protocol_id(protocol, Version::V1_1)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(id)
        .mesh_n(mesh.aim)
        .mesh_n_low(mesh.low)
        .mesh_n_high(mesh.high)
        .mesh_outbound_min(mesh.outbound)
        .flood_publish(true)
        .gossip_lazy(adverts)
        .gossip_factor(0.0)
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(Duration::from_secs(1))
        // Adverts reach five seconds back, validation may take ten; longer gaps are for sync and repair.
        .history_length(10)
        .history_gossip(5)
        .duplicate_cache_time(Duration::from_secs(120))
        .prune_backoff(Duration::from_secs(15))
        .unsubscribe_backoff(Duration::from_secs(5))
        .max_transmit_size(max_message + limits::GOSSIP_SLACK)
        .max_publish_messages(MESSAGES_PER_FRAME)
        .max_control_messages_sent(CONTROL_IDS)
        .connection_handler_queue_len(queue)
        .iwant_followup_time(PROMISE)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(2))
        .build()
        .map_err(|error| BuildError::Gossip(error.to_string()))?;
    let filter = MaxCountSubscriptionFilter {
        filter: intake.topics(),
        max_subscribed_topics: TOPICS_PER_PEER,
        max_subscriptions_per_request: 2 * TOPICS_PER_PEER,
    };
    let mut behaviour =
        Behaviour::new_with_subscription_filter_and_transform(MessageAuthenticity::Anonymous, config, filter, intake)
            .map_err(|error| BuildError::Gossip(error.to_owned()))?;
    let (params, thresholds) = score();
    behaviour.with_peer_score(params, thresholds).map_err(BuildError::Gossip)?;
    Ok(match registry {
        Some(registry) => behaviour.with_metrics(registry, MetricsConfig::default()),
        None => behaviour,
    })
}

#[cfg(test)]
mod tests {
    use sotto_proto::address::{Address, AddressKind};
    use sotto_proto::chain::Block;
    use sotto_proto::envelope::{Envelope, Record, Ttl};
    use sotto_proto::id::{BlockHash, Hash, SwarmId};
    use sotto_proto::pow::Nonce;
    use sotto_proto::sign::SigningKey;
    use sotto_proto::time::{UnixMillis, UnixSeconds};

    use super::*;
    use crate::clock::Clock;
    use crate::network::WallClock;
    use crate::test_support::CHAIN;

    #[test]
    fn both_instances_can_be_built() {
        let names = Names::new(&CHAIN);
        let mut registry = Registry::default();
        let clock = Clock::new(WallClock::system());
        let (blocks, records) = (Intake::of_blocks(&names, clock.clone()), Intake::of_swarm(&names, clock));
        assert!(chain(CHAIN, &names, blocks, Some(&mut registry)).is_ok());
        assert!(swarm(CHAIN, &names, records, None).is_ok());
    }

    #[test]
    fn a_block_is_known_by_the_beginning_of_its_hash_whatever_follows_the_header() {
        let header = Header {
            height: Height(7),
            previous: BlockHash::new([1; 32]),
            time: UnixMillis(9),
            tx_root: Hash::new([2; 32]),
            state_root: Hash::new([3; 32]),
            list_root: Hash::new([4; 32]),
        };
        let block = Block { header: header.sign(&SigningKey::from_seed(&[5; 32]), &CHAIN), transactions: Vec::new() };
        let id = block_message_id(&CHAIN, &block.encode());
        assert_eq!(id.0, block.hash(&CHAIN).as_bytes()[..20]);
        assert_eq!(block_message_id(&CHAIN, &[block.encode(), vec![0; 10]].concat()), id);
        assert_ne!(block_message_id(&ChainId::new([9; 32]), &block.encode()), id);
    }

    #[test]
    fn what_is_too_short_to_be_a_block_has_an_id_of_its_own() {
        assert_ne!(block_message_id(&CHAIN, b""), block_message_id(&CHAIN, b"a"));
        assert_eq!(block_message_id(&CHAIN, b"a").0.len(), limits::GOSSIP_ID);
    }

    #[test]
    fn a_record_is_known_by_the_beginning_of_its_id_whatever_its_nonce() {
        let address = Address::new(AddressKind::Mailbox, [3; 32]);
        let ttl = Ttl::new(600).unwrap();
        let envelope = Envelope::new(address, UnixSeconds(9), ttl, Height(60), vec![1; 1664]).unwrap();
        let id = envelope.id(&CHAIN);
        let message = |nonce| {
            let record = Record::new(envelope.clone(), Nonce(nonce), None).unwrap();
            [vec![RECORD], record.encode()].concat()
        };
        assert_eq!(swarm_message_id(&CHAIN, &message(1)).0, id.as_bytes()[..20]);
        assert_eq!(swarm_message_id(&CHAIN, &message(1)), swarm_message_id(&CHAIN, &message(2)));
        // What is no record as it stands has an id of its own, and cannot stand in the record's way.
        for wrong in [vec![], vec![RECORD], message(1)[..message(1).len() - 1].to_vec(), [message(1), vec![0]].concat()]
        {
            assert_eq!(swarm_message_id(&CHAIN, &wrong), message_id(&wrong));
        }
        let delete = [vec![2], message(1)[1..].to_vec()].concat();
        assert_eq!(swarm_message_id(&CHAIN, &delete), message_id(&delete));
    }

    #[test]
    fn only_topics_of_this_chain_are_followed() {
        let names = Names::new(&CHAIN);
        let (chain, swarm) = (names.chain_topic().hash(), names.swarm_topic(SwarmId(7)).hash());
        let mut blocks = Whitelist::Chain(chain.clone());
        let mut swarms = Whitelist::Swarms(names);
        assert!(blocks.can_subscribe(&chain) && !blocks.can_subscribe(&swarm));
        assert!(swarms.can_subscribe(&swarm) && !swarms.can_subscribe(&chain));
        let foreign = Names::new(&ChainId::new([9; 32])).swarm_topic(SwarmId(7)).hash();
        assert!(!swarms.can_subscribe(&foreign));
    }
}
