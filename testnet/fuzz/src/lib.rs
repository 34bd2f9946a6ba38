//! Fuzz targets: what Sotto parses of strangers' bytes, and every machine that strangers talk to.
//!
//! A [`Target`] takes any bytes and panics when something does not hold that must hold for all bytes: that nothing
//! panics, that what decodes encodes to the same bytes again, that bounds are kept, that what was forged, repeated or
//! put in another order does not come through. Parsers get the bytes themselves; machines get them as a sequence of
//! steps (`input`).
//!
//! | who runs them | how |
//! | --- | --- |
//! | every test run (`tests/it`) | seeds, the checked-in corpus, and mutations of both by a fixed seed ([`mutation`]) |
//! | `testnet/fuzz/run.sh` | libFuzzer, guided by coverage, as long as wanted (`libfuzzer/`) |
//!
//! An input that found something stays in `corpus/<target>/`, so that it is run for ever.

#![expect(
    clippy::expect_used,
    reason = "a target says by panicking what does not hold; a fixture that cannot be made is such a finding, too"
)]

mod blocks;
mod build;
mod cells;
mod check;
mod codec;
mod config;
mod directory;
mod fixtures;
mod follower;
mod gossip;
mod input;
mod ledger;
mod messages;
pub mod mutation;
mod path;
mod path_link;
mod proof;
mod reconcile;
mod records;
mod repair;
mod replay;
mod sealed;
mod service;
mod service_steps;
mod service_world;
mod session;
mod snapshot;
mod streams;
mod sync;
mod text;
mod tunnel;

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its test, of its folder in the corpus, and for `run.sh`.
    pub name: &'static str,
    /// What is fuzzed, in one line.
    pub about: &'static str,
    /// Longest input that is worth trying, in bytes.
    pub max_len: usize,
    /// How many mutations each test run tries: as many as fit into half a second of one core.
    pub mutations: u32,
    /// Runs one input; panics when something does not hold.
    pub run: fn(&[u8]),
    /// Valid inputs made by our own encoders, so that mutations begin deep inside.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident ($module:ident::$run:ident, $seeds:ident) $max_len:literal $mutations:literal $about:literal;)*) => {
        /// All of them.
        pub static TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            about: $about,
            max_len: $max_len,
            mutations: $mutations,
            run: $module::$run,
            seeds: $module::$seeds,
        }),*];
    };
}

targets! {
    cell (cells::cell, cell_seeds) 2100 4000 "frames and cells of a path: builds, replies, commands, bodies, tunnel frames";
    record (records::record, record_seeds) 4096 3000 "envelopes and records";
    signed (records::signed, signed_seeds) 2048 1500 "signed reads and deletes, receipts, scopes and summaries";
    storage_test (records::storage_test, storage_test_seeds) 2048 4000 "storage tests and their answers";
    content (records::content, content_seeds) 2048 4000 "what a person says, under the seals";
    chain_messages (messages::chain, chain_seeds) 4096 4000 "requests and answers of the protocol chain";
    list_messages (messages::list, list_seeds) 12288 3000 "requests and answers of the protocol list";
    status_messages (messages::status, status_seeds) 128 4000 "requests and answers of the protocol status";
    repair_messages (messages::repair, repair_seeds) 4096 4000 "requests and answers of the protocol repair";
    offer_messages (messages::offer, offer_seeds) 4096 4000 "requests and answers of the protocol offer";
    swarm_messages (messages::swarm, swarm_seeds) 4096 4000 "what clients and members say in tunnels";
    codec (codec::run, seeds) 4096 2500 "length-prefixed messages on streams, as a peer may write them";
    transaction (blocks::transaction, transaction_seeds) 1100 2000 "signed transactions";
    block (blocks::block, block_seeds) 4096 2500 "blocks, signed headers and pairs that prove an equivocation";
    state_value (blocks::state_value, state_value_seeds) 1024 4000 "values of the state tables and node records";
    genesis (blocks::genesis, genesis_seeds) 2048 3000 "the genesis in canonical bytes";
    genesis_file (blocks::genesis_file, genesis_file_seeds) 4096 1500 "the genesis as JSON";
    state_proof (proof::run, seeds) 4096 2000 "proofs of state entries against a real tree";
    text (text::text, text_seeds) 128 6000 "addresses, ids, amounts, regions and network addresses as people type them";
    phrase (text::phrase, phrase_seeds) 160 400 "the two phrases of an account";
    config (config::run, seeds) 1024 1200 "a node's configuration file";
    gossip_id (gossip::run, seeds) 4096 3000 "ids of gossiped blocks, records and deletes, and topics";
    tunnel_first (tunnel::first, first_seeds) 64 800 "a tunnel's first flight and its answer, changed on the way";
    tunnel_bytes (tunnel::bytes, bytes_seeds) 4096 3000 "any bytes as the first of a tunnel";
    tunnel_records (tunnel::records, records_seeds) 256 500 "an open tunnel whose cells are changed, repeated, reordered";
    path_build (build::run, seeds) 96 250 "building a path whose frames are changed on any link";
    path_cells (path::run, seeds) 256 250 "a path whose cells are changed, repeated, reordered, cut";
    streams (streams::run, seeds) 512 3000 "the streams of a path and their credit";
    replay_set (replay::set, set_seeds) 512 3000 "what a hop remembers of first messages, under any clock";
    replay_file (replay::file, file_seeds) 512 600 "the file of a replay set";
    reconcile (reconcile::run, seeds) 16384 400 "finding the differences of two sets with a member that says anything";
    repair (repair::run, seeds) 1024 800 "a node's repair sessions with members that answer anything";
    chain_sync (sync::run, seeds) 512 2000 "what to fetch from whom, with peers that say anything";
    snapshot (snapshot::run, seeds) 8192 150 "snapshots of the chain's state with a right checksum";
    transactions (ledger::transactions, transactions_seeds) 2048 60 "well signed transactions of any content in a block";
    block_apply (ledger::changed, changed_seeds) 64 150 "blocks that were changed after they were signed";
    follower (follower::run, seeds) 64 100 "blocks of three branches in any order";
    directory (directory::renewal, renewal_seeds) 4096 500 "buckets of the node list as a light client takes them";
    client_rows (directory::rows, rows_seeds) 1024 4000 "what a client keeps of polls and failures";
    sealed (sealed::run, seeds) 1024 500 "mailed messages: under the seal, under the proof of the sender, and changed";
    session_rows (session::rows, rows_seeds) 1024 1500 "keys that begin a session, and how one lies in the store";
    session (session::talk, talk_seeds) 1024 60 "both ends of a session, whose messages are changed, repeated, reordered, lost";
    service_node (service::run, seeds) 768 120 "a node: clients, members and the disk do anything in any order";
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
