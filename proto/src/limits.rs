//! Every bound of the protocol, with its reason. No protocol number stands anywhere else.
//!
//! What differs between mainnet and testnet is not here: those are genesis parameters ([`crate::chain`]). Sizes are in
//! bytes and `usize`, numbers of blocks are `u64`, spans of time on one machine are [`Duration`], spans between
//! timestamps are whole seconds as `u64`.
//!
//! [`budget`] holds the tables of a frame and what fits where; its arithmetic is checked by the compiler.

use std::ops::RangeInclusive;
use std::time::Duration;

pub mod budget;

pub use budget::{
    ANSWER_CELLS, BODY, BODY_DATA, BUILD, ENVELOPE_DATA_SIZES, FRAME, RECORD_MAX, REPLY, SEAL, TUNNEL_CELLS,
    answer_bytes, flight_bytes, request_bytes,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// ---- Envelopes (B4) ----

/// Seconds an envelope may be kept: below ten it would expire on the way; four days is what the paper keeps.
pub const TTL_SECONDS: RangeInclusive<u32> = 10..=345_600;
/// How far an envelope's timestamp may lie before the storing node's clock: a slow phone that works on its proof for
/// minutes is still in time; older ones would let work be stockpiled.
pub const TIMESTAMP_PAST_SECONDS: u64 = 600;
/// How far it may lie after it: clocks of honest clients follow the network's and are closer than this.
pub const TIMESTAMP_FUTURE_SECONDS: u64 = 60;
/// The same for copies from members of the swarm, who judged the envelope by their own clock (C4 of the design: a
/// record is never refused because the receiver's clock is behind).
pub const MEMBER_TIMESTAMP_FUTURE_SECONDS: u64 = 180;
/// Seconds a public record (`07`) may be kept: it says "I am here now".
pub const PUBLIC_TTL_MAX_SECONDS: u32 = 600;
/// Live public records an address may have: one for each listening node of a few devices.
pub const PUBLIC_RECORDS_PER_ADDRESS: usize = 8;
/// Anchor periods a stamp stays good for: the present one and the two before it.
pub const ANCHOR_PERIODS: u64 = 3;
/// Largest difficulty the chain sets (`D` of B4).
pub const DIFFICULTY_MAX: u32 = 1 << 20;
/// Largest difficulty a node asks for an address that is nearly full: the chain's times 2^8.
pub const SURCHARGED_DIFFICULTY_MAX: u32 = 1 << 28;

// ---- Content (B12) ----

/// Bytes of a message's content, whatever carries it: what the largest envelope holds of an initial message.
pub const CONTENT_MAX: usize = budget::content_bytes(ENVELOPE_DATA_SIZES[ENVELOPE_DATA_SIZES.len() - 1]);
/// Bytes of a text: 60 KiB, so that fields which later versions add still have room.
pub const TEXT_MAX: usize = 60 * KIB;

/// Bytes of a name that somebody gives to itself.
pub const NAME_MAX: usize = 64;
/// Bytes of the introduction in a request: some lines.
pub const INTRODUCTION_MAX: usize = 1000;
/// Bytes of a reaction: the longest emoji, two people of two colours and what joins them, has 35.
pub const EMOJI_MAX: usize = 40;
/// Messages that a receipt or an acknowledgement names of each kind: 4 KiB of ids, hours of a lively conversation.
pub const RECEIPT_IDS: usize = 256;
/// Seconds after which a message may disappear: up to four weeks. What is to stay longer stays.
pub const EXPIRY_SECONDS: RangeInclusive<u32> = 1..=28 * 86_400;
/// Bytes of a question by which somebody is verified, and of its answer.
pub const QUESTION_MAX: usize = 200;
/// Runs by question with one contact in [`QUESTION_SPAN_SECONDS`]. Each is a guess for whoever stands between.
pub const QUESTION_RUNS: usize = 3;
/// See [`QUESTION_RUNS`]: a day. A memory that a thousand guesses would find outlasts a year.
pub const QUESTION_SPAN_SECONDS: u64 = 86_400;

// ---- Keys of conversations (B12, H10) ----

/// Devices of an account, and one-time keys of a bundle: slot j is for the other side's device j.
pub const DEVICES_MAX: usize = 8;
/// A signed prekey is given out for so long: what nodes keep is safe from who steals it seven to fourteen days later.
pub const PREKEY_SECONDS: u64 = 7 * 86_400;
/// A bundle may be answered for so long.
pub const BUNDLE_SECONDS: u64 = 14 * 86_400;
/// Its private parts are kept for so much longer: an answer of the last day lies in a swarm for four.
pub const BUNDLE_KEPT_SECONDS: u64 = 4 * 86_400;
/// Bytes of a signed bundle: see the client's `crypto::Bundle`.
pub const SIGNED_BUNDLE_BYTES: usize = 33 + 1 + 33 + 4 + 8 + 8 + 32 + 1 + 32 * DEVICES_MAX + 32 + 64;
/// Messages that one message of a session may have overtaken: at a key each, what the other side can make a client work
/// for one message stays below a few milliseconds.
pub const SKIP_MAX: u32 = 1000;
/// Keys of overtaken messages that a session keeps: two gaps of the largest size, 72 KB.
pub const SKIPPED_MAX: usize = 2000;
/// Chains of which it keeps such keys: a message is tried with the header key of each. What is pushed to somebody who has just
/// gone leaves one in every turn of a conversation, and a message that takes the slow way must still open after many.
pub const SKIPPED_CHAINS_MAX: usize = 64;

// ---- Signed requests (B3) ----

/// How far the time of a signed retrieve, subscribe or delete may be from the node's clock, either way: long enough
/// for a path to be built meanwhile, short enough that a recorded request is soon worthless.
pub const REQUEST_TIME_SECONDS: u64 = 120;
/// Records one delete may name: its bytes stay within six cells.
pub const DELETE_IDS: usize = 256;
/// Live tombstones an address may have: they cost no work, so their number must be bounded.
pub const TOMBSTONES_PER_ADDRESS: usize = 4096;
/// Bytes of records one retrieve may ask for; the largest answer holds a little less, and says `more`.
pub const RETRIEVE_BYTES: u32 = 1 << 20;

// ---- Listening nodes (M2) ----

/// Tags of one listening: contacts that are told of it. With all of them the request is one cell.
pub const LISTEN_TAGS: usize = 64;
/// Places that an introduction set tells (M1).
pub const INTRODUCTION_PLACES: usize = 3;
/// Listeners of a node. On 50 nodes 50,000 people; their tags take some 8 MB.
pub const LISTENERS: usize = 1024;
/// Pushes on their way to one listener. Below [`TUNNEL_ANSWERS`], beyond which its tunnel would be reset.
pub const PUSHES_PER_LISTENER: usize = 8;
/// Bytes of pushes on their way to all listeners of a node: 66 of the largest, half of what its tunnels may hold.
pub const PUSHES_IN_FLIGHT: usize = 4 * MIB;
/// A listener that has not taken a push for so long is closed. Whoever pushed it has gone the other way long before.
pub const PUSH_STALL: Duration = Duration::from_secs(10);
/// Cells a second that may be pushed to one tag: 32 KB, of which a conversation needs little. Whoever knows a tag, a
/// contact that turns out to be none, takes no more of a listener than this.
pub const PUSH_CELLS_PER_SECOND: u32 = 16;
/// Cells at once after a pause: two of the longest messages.
pub const PUSH_CELLS_BURST: u32 = 64;
/// Seconds that a place where somebody listens is good for at most: as long as a path lives.
pub const LISTENING_SECONDS: u64 = PATH_AGE.as_secs();

// ---- Chain (B7, B8) ----

/// Canonical bytes of a block.
pub const MAX_BLOCK_BYTES: usize = MIB;
/// Bytes of a transaction as sent: the longest, `Register` with four addresses of the longest kind, is 788.
pub const MAX_TX_BYTES: usize = KIB;
/// A block is final when it is this deep; reorganisations are never deeper.
pub const FINAL_DEPTH: u64 = 3;
/// Final maps and states at hand: neighbours may be some heights apart.
pub const RECENT_MAPS: usize = 16;
/// A swarm below this takes members from others or is dissolved (paper 4.2).
pub const NMIN: usize = 5;
/// Members of a new swarm (paper 4.2).
pub const NTARGET: usize = 7;
/// A swarm at this size takes nobody (paper 4.2).
pub const NMAX: usize = 10;
/// Addresses a node registers: one for each network it is in, and a spare.
pub const ADDRESSES_PER_NODE: RangeInclusive<usize> = 1..=4;
/// Bytes of a binary multiaddr: `/dns4` names of the usual length, with a port and a key.
pub const MULTIADDR_MAX: usize = 128;
/// Bytes of a node's region.
pub const REGION_MAX: usize = 16;
/// Canonical bytes of a node record: its fixed fields, a region, and four `/ip6` addresses.
pub const NODE_RECORD_MAX: usize = 4 * 32 + 1 + 8 + 1 + REGION_MAX + 1 + 4 * (2 + crate::net_addr::NodeAddr::MAX_BYTES);
/// Characters of a name.
pub const NAME_LENGTH: RangeInclusive<usize> = 1..=64;
/// Bytes of the value a name stands for; an encrypted account id takes 73.
pub const NAME_VALUE_MAX: usize = 255;

// ---- Storage tests (B9) ----

/// Records one test names.
pub const TEST_SAMPLES: usize = 16;
/// Blocks the testee's final height may be ahead of the test's.
pub const TEST_BEHIND: u64 = 5;
/// Blocks the testee's final height may be behind the test's.
pub const TEST_AHEAD: u64 = 3;
/// How long after the tested height the chain takes its report, in blocks.
pub const TEST_REPORT_BLOCKS: RangeInclusive<u64> = 4..=20;
/// Bytes of a test: what its fields add up to.
pub const TEST_REQUEST_MAX: usize = 8 + 8 + 32 + 1 + TEST_SAMPLES * 32;
/// Bytes of an answer: sixteen of the longest signed deletes.
pub const TEST_ANSWER_MAX: usize = 1 + TEST_SAMPLES * (1 + 4 + SIGNED_DELETE_MAX);
/// Bytes of a delete with its key and signature.
pub const SIGNED_DELETE_MAX: usize = 33 + 8 + 2 + DELETE_IDS * (32 + 8 + 4) + 32 + 64;

// ---- Requests between hosts: u32 length ‖ protobuf ----

/// Room for protobuf around the bytes that an answer is about.
pub const FRAMING: usize = 16 * KIB;
/// A `chain` request: a transaction and its frame.
pub const CHAIN_REQUEST_MAX: usize = MAX_TX_BYTES + 64;
/// Bytes of blocks in one answer; a single block always fits.
pub const CHAIN_ANSWER_BYTES: usize = MAX_BLOCK_BYTES;
/// Blocks in one answer: at 1 s blocks half an hour, and their framing stays far below [`FRAMING`].
pub const CHAIN_ANSWER_BLOCKS: usize = 2048;
/// A `chain` answer with its frame.
pub const CHAIN_RESPONSE_MAX: usize = CHAIN_ANSWER_BYTES + FRAMING;
/// A `list` request: 256 bucket numbers.
pub const LIST_REQUEST_MAX: usize = KIB;
/// Headers in one answer: a client that was away needs one, whoever checks a few ancestors needs few.
pub const LIST_HEADERS: usize = 64;
/// Buckets of the node list: one for each first byte of a node key.
pub const LIST_BUCKETS: usize = 256;
/// Bytes of records in one answer, which must fit a tunnel's largest; what does not fit is asked for again.
pub const LIST_ANSWER_BYTES: usize = 960 * KIB;
/// A `list` answer with its frame.
pub const LIST_RESPONSE_MAX: usize = LIST_ANSWER_BYTES + FRAMING;
/// A `status` request or answer: two numbers.
pub const STATUS_MAX: usize = 64;
/// Bytes of the reason with which a transaction is refused.
pub const REASON_MAX: usize = 256;
/// Bytes of a software's version.
pub const VERSION_MAX: usize = 32;
/// Bytes a second served to one peer by `chain`: a new node has a day of the testnet in minutes, and no stranger has
/// more of a node than this.
pub const CHAIN_BYTES_PER_SECOND: usize = 256 * KIB;
/// How often neighbours exchange their time and final height.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(30);
/// A node this far from the median of its neighbours' clocks stops acknowledging and never deletes.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(60);
/// Neighbours' clocks that make a median.
pub const CLOCK_SAMPLES: usize = 3;
/// Neighbours that are asked for their clocks where there are so many, members of the own swarm first. Odd, and two may be
/// silent before the rest is fewer than five.
pub const CLOCK_PEERS: usize = 7;
/// A request in the first message of a tunnel, at the largest flight.
pub const REQUEST_MAX: usize = request_bytes(TUNNEL_CELLS);
/// An answer in a tunnel: the largest of [`ANSWER_CELLS`].
pub const RESPONSE_MAX: usize = answer_bytes(ANSWER_CELLS[ANSWER_CELLS.len() - 1]);
/// Records in one answer: the largest holds fewer of the smallest.
pub const ANSWER_RECORDS: usize = 600;

// ---- Repair and hand-over (B10) ----

/// A set ends this long before the initiator's clock: what is younger is still on its way by gossip.
pub const REPAIR_UNTIL_SECONDS: u64 = 10;
/// And leaves out what expires within this time: members drop it at moments of their own clocks.
pub const REPAIR_CUTOFF_SECONDS: u64 = 120;
/// How far the times of a scope may be from the responder's: neighbours' clocks, with room for a slow answer.
pub const REPAIR_CLOCK_SECONDS: u64 = 300;
/// Bytes of one negentropy message.
pub const RECONCILE_FRAME: usize = 32 * KIB;
/// Messages of one session; a difference that takes more (hundreds of thousands of items) takes another session.
pub const RECONCILE_MESSAGES: usize = 32;
/// In this time a member compares itself with every other one. Together with [`REPAIR_UNTIL_SECONDS`] it says how soon
/// after a fault all members have the same: 30 s.
pub const REPAIR_CYCLE: Duration = Duration::from_secs(20);
/// How often a former owner offers what it still has.
pub const HAND_OVER_INTERVAL: Duration = Duration::from_secs(30);
/// Items one page may ask for or hold.
pub const PAGE_ITEMS: usize = 512;
/// Bytes of items of one page: a joiner takes a hundred thousand small records in some hundred pages.
pub const PAGE_BYTES: usize = 512 * KIB;
/// Items one offer may name, and one hand-over may make durable.
pub const OFFER_ITEMS: usize = 1024;
/// Confirmations by different members of the owning swarm without which nothing is erased there (all, if it has fewer).
pub const HANDOVER_CONFIRMATIONS: usize = 2;
/// A `repair` request: a page of items with its frame.
pub const REPAIR_REQUEST_MAX: usize = PAGE_BYTES + FRAMING;
/// A `repair` answer: the same.
pub const REPAIR_RESPONSE_MAX: usize = PAGE_BYTES + FRAMING;
/// An `offer` request: the same.
pub const OFFER_REQUEST_MAX: usize = PAGE_BYTES + FRAMING;
/// An `offer` answer: the ids of everything that one request may name.
pub const OFFER_RESPONSE_MAX: usize = OFFER_ITEMS * 32 + 64;

// ---- Gossip (B1) ----

/// Bytes of a gossip message id.
pub const GOSSIP_ID: usize = 20;
/// Gossipsub measures its whole read buffer, which may hold the end of another frame, so it wants this much above the
/// largest message.
pub const GOSSIP_SLACK: usize = 16 * KIB;
/// A message on the chain topic: a block.
pub const CHAIN_GOSSIP_MAX: usize = MAX_BLOCK_BYTES;
/// A message on a swarm topic: a kind byte and the largest record.
pub const SWARM_GOSSIP_MAX: usize = 1 + RECORD_MAX;

// ---- Paths (B5) ----

/// Hops of a path.
pub const HOPS: usize = 3;
/// How far, in minutes, a build's time may be from the hop's, either way.
pub const BUILD_MINUTES: u32 = 2;
/// Bytes of an ephemeral key that the replay set remembers.
pub const REPLAY_ENTRY: usize = 16;
/// How long it remembers them: both windows of [`BUILD_MINUTES`], the minute itself, and one to spare.
pub const REPLAY_KEEP: Duration = Duration::from_secs(6 * 60);
/// Entries it holds; when it is full a hop refuses and never forgets.
pub const REPLAY_CAPACITY: usize = 1 << 18;
/// How long the guard, the middle and the exit wait until they answer that the next hop timed out. Each waits longer
/// than the one behind it, so that the reason reaches the client.
pub const REPLY_DEADLINES: [Duration; HOPS] = [Duration::from_secs(6), Duration::from_secs(3), Duration::from_secs(1)];
/// How long the client waits for its path.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(10);
/// Builds of clients that a node has pending.
pub const PENDING_CLIENT_BUILDS: usize = 64;
/// Builds that a node has pending with one neighbour.
pub const PENDING_NEIGHBOUR_BUILDS: usize = 256;
/// Builds a second that one client connection is allowed.
pub const BUILDS_PER_SECOND: u32 = 1;
/// Builds at once after a pause: two for each of three purposes.
pub const BUILD_BURST: u32 = 6;
/// Builds a second of all clients of a node together. Keys cost them nothing, so the rate of one bounds nobody; each build
/// costs three nodes a tenth of a millisecond and the replay set an entry, of which it holds so many for as long as it
/// keeps them.
pub const CLIENT_BUILDS_PER_SECOND: u32 = 200;
/// Their builds at once after a pause: more would hold up whoever has a path already. Others are told to come again.
pub const CLIENT_BUILD_BURST: u32 = 100;
const _: () = assert!(
    CLIENT_BUILDS_PER_SECOND as u64 * REPLAY_KEEP.as_secs() + (CLIENT_BUILD_BURST as u64) < REPLAY_CAPACITY as u64 / 2,
    "strangers cannot fill what a hop remembers"
);
/// Paths of one client connection.
pub const PATHS_PER_CLIENT: usize = 16;
/// Paths between two nodes, counted apart for each direction.
pub const PATHS_PER_NEIGHBOUR: usize = 256;
/// Path hops of a node: 10,000 clients on 50 nodes need 1,200.
pub const PATH_HOPS: usize = 4096;
/// Cells a relay may open before it must write: 16 KiB, about 80 µs on a link that others share. Four times as many made
/// bulk no faster.
pub const COALESCED_CELLS: usize = 8;
/// How long a write may be pending before its path is killed.
pub const WRITE_STALL: Duration = Duration::from_secs(5);
/// Writes that may be pending at once: each may hold 416 KiB in windows and queues. Of more the oldest path dies.
pub const STALLED_WRITES: usize = 64;
/// Cells under one key of one hop; far below what AES-GCM bears, reached by no path that lives a quarter of an hour.
pub const CELLS_PER_KEY: u64 = 1 << 24;
/// A path takes new streams until this age.
pub const PATH_NEW_STREAMS: Duration = Duration::from_secs(10 * 60);
/// Hops end a path at this age.
pub const PATH_AGE: Duration = Duration::from_secs(15 * 60);
/// Hops end a path that had no forward frame for this long.
pub const PATH_IDLE: Duration = Duration::from_secs(120);
/// The client sends a cell at least this often, drawn anew each time.
pub const PATH_KEEP_ALIVE_SECONDS: RangeInclusive<u64> = 25..=35;
/// Backward DROP cells come at most this often.
pub const BACKWARD_DROP_INTERVAL: Duration = Duration::from_secs(5);
/// Backward DROP cells that may come closer together than they were sent: links bunch what they carry.
pub const BACKWARD_DROP_BURST: u32 = 2;

// ---- Streams of a path (B5) ----

/// Streams open at once on a path.
pub const STREAMS_PER_PATH: usize = 16;
/// Streams open at once at an exit: times the initial credit this is 32 MiB.
pub const STREAMS_PER_EXIT: usize = 512;
/// Cells either side may send on a new stream, the OPEN included.
pub const INITIAL_CREDIT: u16 = 32;
/// The receiver gives credit back at the latest after so many cells.
pub const CREDIT_RETURN: u16 = 16;
/// Cells outstanding on the fastest stream (2 MiB): at the initial credit, 64 KiB a round trip, bulk would crawl.
pub const CREDIT_MAX: u16 = 1024;
/// Cells one WINDOW may grant.
pub const WINDOW_CELLS: RangeInclusive<u16> = 1..=CREDIT_MAX;
/// What a node lends beyond the initial credits, over all streams.
pub const CREDIT_BUDGET: usize = 32 * MIB;
/// DATA on closed streams that a path forgives: cells that were under way when the stream ended.
pub const LATE_DATA: usize = 64;
/// Cells without credit that a path forgives for each stream it had: END, RESET, and as many WINDOWs as return its
/// largest credit.
pub const LATE_CONTROL: usize = 2 + (CREDIT_MAX / CREDIT_RETURN) as usize;

// ---- Tunnels (B6) ----

/// A tunnel must deliver its first message in this time.
pub const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Bytes a node buffers of first messages before any key is checked; over it new tunnels are reset.
pub const UNAUTHENTICATED_BYTES: usize = 16 * MIB;
/// Tunnels a node has from one other node: half of what an exit may have open altogether.
pub const TUNNELS_PER_NEIGHBOUR: usize = 256;
/// Tunnels a node has from all others.
pub const TUNNELS: usize = 4096;
/// Tunnels a second that a node takes from one other node, before it computes anything.
pub const TUNNELS_PER_SECOND: u32 = 50;
/// Tunnels at once after a pause.
pub const TUNNEL_BURST: u32 = 200;
/// A node ends a tunnel at this age: the path that carries it has ended before.
pub const TUNNEL_AGE: Duration = Duration::from_secs(16 * 60);
/// Answers that a node has waiting for one tunnel whose other end does not read; with more the tunnel is reset.
pub const TUNNEL_ANSWERS: usize = 16;
/// Bytes of answers that a node's tunnels have and have not sent; of more the oldest answer is given up. Eight of the
/// largest, some fifty pages of mail.
pub const ANSWERS_IN_FLIGHT: usize = 8 * MIB;
/// How long a host that stops lets its paths say so.
pub const DRAIN: Duration = Duration::from_secs(1);
/// Dials to servers a path may ask for in [`SERVER_DIAL_SPAN`]: an exit is no port scanner.
pub const SERVER_DIALS: u32 = 2;
/// See [`SERVER_DIALS`].
pub const SERVER_DIAL_SPAN: Duration = Duration::from_secs(10);
/// Dials to servers an exit has pending.
pub const PENDING_SERVER_DIALS: usize = 8;
/// A failed dial is answered after this time, whatever failed: open and closed ports must look alike.
pub const DIAL_FAILURE: Duration = Duration::from_secs(2);

// ---- Connections ----

/// Connections a node has with other nodes.
pub const NODE_CONNECTIONS: usize = 512;
/// Connections a node has with clients.
pub const CLIENT_CONNECTIONS: usize = 1024;
/// Connections with one peer: one, and the other of a crossed dial until it is closed.
pub const CONNECTIONS_PER_PEER: usize = 2;
/// Connections from one IPv4 address or one IPv6 /64, where the genesis limits them: a household, not a flood.
pub const CONNECTIONS_PER_ADDRESS: usize = 32;
/// Incoming connections that are not yet authenticated, some kilobytes each. Silent ones are dropped after five seconds: with
/// few places a handful of sockets would keep everybody else out.
pub const PENDING_INCOMING: usize = 256;
/// Dials under way.
pub const PENDING_OUTGOING: usize = 16;
/// Streams of one Yamux connection. At exactly this number rust-yamux has no spare budget, so that no window grows
/// beyond 256 KiB, however late the peer answers its round-trip probes. Our own limits are far below.
pub const YAMUX_STREAMS: usize = 4096;
/// Bytes of one Yamux frame: what rust-yamux cuts its data into. It would read frames of 1 MiB, and holds what has come
/// of one until all of it is there.
pub const YAMUX_FRAME: usize = 16 * KIB;
/// Streams that may be negotiating their protocol on one connection: ours carry all of it in their first bytes.
pub const NEGOTIATING_STREAMS: usize = 16;
/// Streams of one connection that nobody has taken yet, because so many are negotiating; each may hold 256 KiB.
pub const WAITING_STREAMS: usize = 8;
/// Those of all connections of a host, the first of each left out: 32 MiB.
pub const WAITING_STREAMS_OF_ALL: usize = 128;
/// Streams of requests, gossip and pings that a peer has open on one connection: five protocols of
/// [`REQUESTS_PER_PEER`], two of gossip, one of pings, and some that are just ending.
pub const REQUEST_STREAMS: usize = 48;
/// Streams that a node has open on its connection with another.
pub const INBOUND_STREAMS_OF_NODE: usize = PATHS_PER_NEIGHBOUR + TUNNELS_PER_NEIGHBOUR + REQUEST_STREAMS;
/// The same of whoever is no node.
pub const INBOUND_STREAMS_OF_STRANGER: usize = PATHS_PER_CLIENT + REQUEST_STREAMS;
/// Requests of one protocol open with one peer, counted apart for each direction.
pub const REQUESTS_PER_PEER: usize = 8;
/// Neighbours a node draws from the list by its own key: they connect the swarms.
pub const DRAWN_NEIGHBOURS: usize = 6;
/// A node with fewer links than this also keeps one to the producer.
pub const FEWEST_LINKS: usize = 3;
/// A connection for relaying is closed after this time without a path.
pub const RELAY_IDLE: Duration = Duration::from_secs(300);

const _: () = {
    assert!(CHAIN_ANSWER_BLOCKS * 4 + 64 <= FRAMING, "framing of the blocks of an answer");
    assert!(LIST_BUCKETS * 16 + 64 <= FRAMING, "framing of the buckets of an answer");
    assert!(LIST_HEADERS * (145 + 64 + 4) <= LIST_ANSWER_BYTES, "headers fit their answer");
    assert!(TEXT_MAX + 1024 <= CONTENT_MAX, "a text, and a kibibyte for everything beside it");
    assert!(NMIN <= NTARGET && NTARGET <= NMAX);
    assert!(RECENT_MAPS as u64 > FINAL_DEPTH, "a reorganisation stays within the states at hand");
    assert!(STREAMS_PER_EXIT * INITIAL_CREDIT as usize * FRAME == 32 * MIB, "initial credits of an exit");
    assert!(CREDIT_RETURN < INITIAL_CREDIT, "credit comes back before it is used up");
    assert!(SIGNED_DELETE_MAX <= REQUEST_MAX, "a delete fits a request");
    assert!(LIST_RESPONSE_MAX + 8 <= RESPONSE_MAX, "a list answer fits a tunnel");
    assert!(LIST_REQUEST_MAX + 8 <= REQUEST_MAX, "a list request fits a tunnel");
    assert!(budget::RECORDS_BASE + budget::stored_record_bytes(RECORD_MAX) <= answer_bytes(TUNNEL_CELLS), "any record");
    assert!(PUSHES_PER_LISTENER < TUNNEL_ANSWERS, "a listener's tunnel is not reset for what it is pushed");
    assert!(PUSHES_IN_FLIGHT <= ANSWERS_IN_FLIGHT / 2, "pushes leave room for all other answers");
    assert!(PUSH_CELLS_BURST as usize >= 2 * TUNNEL_CELLS, "any push may be made after a pause");
    assert!(ANSWER_RECORDS * budget::SMALLEST_RECORD >= RESPONSE_MAX, "the bytes of an answer bite first");
    assert!(PAGE_ITEMS * 16 + 128 <= FRAMING, "framing of the items of a page");
    assert!(RECONCILE_FRAME + 64 <= PAGE_BYTES && PAGE_ITEMS * 32 + 64 <= PAGE_BYTES, "messages below a page");
    assert!(OFFER_ITEMS * 32 + 64 <= OFFER_REQUEST_MAX, "an offer fits its request");
    assert!(RECORD_MAX <= PAGE_BYTES && SIGNED_DELETE_MAX <= PAGE_BYTES, "any item fits a page");
    assert!(DELETE_IDS <= OFFER_ITEMS, "any delete's tombstones fit an answer");
    assert!(2 * INBOUND_STREAMS_OF_NODE < YAMUX_STREAMS, "our limits bite before Yamux'");
    assert!(5 * REQUESTS_PER_PEER + 3 < REQUEST_STREAMS, "who keeps to the limits of requests is never refused");
    assert!(NEGOTIATING_STREAMS + WAITING_STREAMS <= INBOUND_STREAMS_OF_STRANGER);
};
