//! The producer process as peers see it: over the network, killed, on a damaged disk.

mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::network::{
    ConnectionLimits, Event, FetchOutcome, Network, NetworkConfig, Peer, Request, RequestError, Response, Role,
    Timeouts, Verdict, WallClock,
};
use sotto_chain::producer::block_log::FILE_NAME;
use sotto_chain::producer::recovery::{RecoveryError, recover};
use sotto_chain::{Follower, State, apply};
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Block, Genesis, NodeRecord, Payload, Transaction, TxBody, list_root_of};
use sotto_proto::id::{Amount, BlockHash, ChainId, Hash, Height, X25519Key};
use sotto_proto::network::{NetworkView, NodeList};
use sotto_proto::request::{ChainRequest, ChainResponse, Error, ListRequest, ListResponse};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::swarm::Rng;
use sotto_proto::time::UnixMillis;
use tokio::sync::watch;
use zeroize::Zeroizing;

use self::witness::Witness;
use super::process::{PATIENCE, Place, fails, succeeds, until};

/// The witness's key.
fn node_key() -> SigningKey {
    SigningKey::from_seed(&[77; 32])
}

fn operator() -> SigningKey {
    SigningKey::from_seed(&test_seed(42, "operator", 0))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Applies the whole chain on disk from the genesis on; its hashes.
fn hashes_on_disk(place: &Place) -> BTreeMap<Height, BlockHash> {
    let genesis = place.genesis().genesis;
    let (log, _) = sotto_chain::producer::block_log::BlockLog::open(&place.datadir(), genesis.chain_id()).unwrap();
    let mut state = State::genesis(&genesis);
    let mut hashes = BTreeMap::new();
    for height in 1..=log.tip().0 {
        let block = Block::decode(&log.read(Height(height)).unwrap().unwrap()).unwrap();
        state = apply(&state, &block, &Ed25519).unwrap();
        hashes.insert(Height(height), state.tip_hash());
    }
    hashes
}

#[test]
fn a_producer_killed_again_and_again_never_shows_two_blocks_of_one_height() {
    const ROUNDS: u64 = 15;
    let place = Place::founded(&["--block-time", "50ms"]);
    let mut rng = Rng::new(&Hash::new([3; 32]));
    block_on(async {
        let mut witness = Witness::new(&place, Role::Node);
        let mut nonce = 1;
        for round in 0..ROUNDS {
            let producer = place.spawn(&[]);
            // Whoever dials before that is put off for longer and longer.
            until("the producer listens", || TcpStream::connect(place.http()).is_ok());
            if round == 0 {
                let register = witness.register(&place).encode();
                witness.submit(register).await.unwrap();
            }
            // New blocks after every start, with transactions in them; then the end comes at any moment.
            let before = witness.highest();
            let begin = Instant::now();
            while witness.highest() <= before {
                assert!(begin.elapsed() < PATIENCE, "no new block in round {round}");
                let transfer = witness.transfer(nonce).encode();
                nonce += u64::from(witness.submit(transfer).await.is_ok());
                for block in witness.blocks(witness.highest().next()).await {
                    witness.saw(&block);
                }
            }
            let left = Duration::from_micros(rng.uniform(250_000));
            let deadline = Instant::now() + left;
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                if let Ok(event) = tokio::time::timeout(left, witness.network.next()).await {
                    witness.on_event(event);
                }
            }
            producer.kill();
            // Pending transactions are lost with the process; what is on disk says what is next.
            let disk = hashes_on_disk(&place);
            for (height, seen) in &witness.seen {
                assert_eq!(seen.len(), 1, "two blocks of height {height} were shown");
                assert_eq!(disk.get(height), seen.first(), "block {height} was shown and is not on disk");
            }
            nonce = recover(&place.datadir(), &place.genesis().genesis, false)
                .unwrap()
                .links
                .back()
                .unwrap()
                .state
                .account(&operator().public())
                .nonce;
        }
        assert!(witness.highest() >= Height(ROUNDS));
    });
}

#[test]
fn a_registered_node_hears_of_blocks_by_gossip_and_of_both_branches_of_an_equivocation() {
    let place = Place::founded(&["--block-time", "50ms"]);
    let _producer = place.start();
    block_on(async {
        let mut witness = Witness::new(&place, Role::Node);
        let register = witness.register(&place).encode();
        witness.submit(register).await.unwrap();
        // Gossip begins once the registration is final on both sides.
        succeeds(&place.cli(&["produce", "5"]));
        for block in witness.blocks(Height(1)).await {
            witness.saw(&block);
        }
        let hear = async |witness: &mut Witness| {
            let (before, begin) = (witness.gossiped, Instant::now());
            while witness.gossiped < before + 10 {
                assert!(begin.elapsed() < PATIENCE, "no gossip");
                if let Ok(event) = tokio::time::timeout(PATIENCE, witness.network.next()).await {
                    witness.on_event(event);
                }
            }
        };
        hear(&mut witness).await;
        assert!(witness.seen.values().all(|hashes| hashes.len() == 1));
        succeeds(&place.cli(&["fault", "equivocate"]));
        hear(&mut witness).await;
        assert_eq!(witness.seen.values().filter(|hashes| hashes.len() == 2).count(), 1);
    });
}

#[test]
fn every_bad_transaction_gets_a_typed_answer_and_the_producer_goes_on() {
    let place = Place::founded(&["--block-time", "50ms"]);
    let _producer = place.start();
    block_on(async {
        let mut witness = Witness::new(&place, Role::Client);
        let good = witness.transfer(0);
        let bytes = good.encode();
        let malformed = [
            Vec::new(),
            vec![0],
            vec![0xff; 1024],
            bytes[..bytes.len() - 1].to_vec(),
            [bytes.clone(), vec![0]].concat(),
            // An unknown version, an unknown type.
            [&[9], &bytes[1..]].concat(),
            [&[1, 99], &bytes[2..]].concat(),
        ];
        for bytes in malformed {
            assert_eq!(witness.submit(bytes).await, Err(Error::Malformed));
        }
        // Larger than any transaction: not even sent, and the connection stays.
        let oversized = Request::Chain(ChainRequest::SubmitTransaction(vec![0; 100_000]));
        assert!(witness.try_ask(oversized).await.is_err());
        let mut forged = good.clone();
        forged.body.nonce = 7;
        let elsewhere = Transaction::sign(good.body.clone(), &operator(), None, &ChainId::new([1; 32]));
        let broke = witness.sign(0, Payload::Transfer { to: node_key().public(), amount: Amount::coins(9999) });
        let reserved =
            witness.sign(0, Payload::RegisterName { name_hash: [1; 32].into(), owner: [2; 32].into(), value: vec![] });
        for (bad, reason) in [(forged, "nonce"), (elsewhere, "signature"), (broke, "coins"), (reserved, "not take")] {
            match witness.submit(bad.encode()).await {
                Err(Error::Rejected { reason: told }) => assert!(told.as_str().contains(reason), "{told}"),
                other => panic!("{other:?}"),
            }
        }
        // The good one goes in once, however often it is sent.
        for _ in 0..3 {
            assert_eq!(witness.submit(bytes.clone()).await, Ok(()));
        }
        let begin = Instant::now();
        let included = loop {
            let blocks = witness.blocks(Height(1)).await;
            let with = blocks.iter().filter(|block| !Block::decode(block).unwrap().transactions.is_empty()).count();
            if with > 0 || begin.elapsed() > PATIENCE {
                break with;
            }
        };
        assert_eq!(included, 1);
    });
}

#[test]
fn clients_can_check_headers_and_the_whole_list_of_a_final_height() {
    let place = Place::founded(&["--block-time", "50ms"]);
    let _producer = place.start();
    block_on(async {
        let mut witness = Witness::new(&place, Role::Client);
        let register = witness.register(&place).encode();
        witness.submit(register).await.unwrap();
        succeeds(&place.cli(&["produce", "30"]));
        let ListResponse::Info(info) = witness.list(ListRequest::Info).await else { panic!() };
        assert!(info.final_height >= Height(27) && info.state.is_none());
        let height = info.final_height;
        let ListResponse::Headers(headers) = witness.list(ListRequest::Headers { from: height, count: 64 }).await
        else {
            panic!()
        };
        let header = &headers[0];
        let genesis = place.genesis().genesis;
        assert!(header.header.height == height && header.verify(&witness.chain, &genesis.authority, &Ed25519));
        let wanted = (0..=255).collect();
        let answer = witness.list(ListRequest::Buckets { height, buckets: wanted }).await;
        let ListResponse::Buckets { buckets, .. } = answer else { panic!("{answer:?}") };
        let mut nodes = NodeList::new();
        for bytes in buckets.values().filter(|bytes| !bytes.is_empty()) {
            let record = NodeRecord::decode(bytes).unwrap();
            nodes.insert(record.node, Arc::new(record));
        }
        assert_eq!(nodes.len(), 1);
        assert_eq!(list_root_of(&witness.chain, &nodes), header.header.list_root);
        let answer = witness.list(ListRequest::Hashes { height }).await;
        let ListResponse::Hashes { hashes, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(hashes.root(&witness.chain), header.header.list_root);
        // What is not final, or not there any more, is not shown.
        let above = witness.list(ListRequest::Headers { from: Height(1 << 40), count: 1 }).await;
        assert_eq!(above, ListResponse::Headers(Vec::new()));
        let old = witness.list(ListRequest::Buckets { height: Height(1), buckets: [0].into() }).await;
        assert!(matches!(old, ListResponse::Error(Error::Unavailable { .. })), "{old:?}");
        let old = witness.list(ListRequest::Hashes { height: Height(1) }).await;
        assert!(matches!(old, ListResponse::Error(Error::Unavailable { .. })), "{old:?}");
        let zero = witness.chain(ChainRequest::Blocks { from: Height(0), max_bytes: 1000 }).await;
        assert_eq!(zero, ChainResponse::Error(Error::Unavailable { lowest: Height(1) }));
        assert_eq!(witness.blocks(Height(u64::MAX)).await, Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_peer_of_another_genesis_gets_no_answer_and_learns_why() {
    let place = Place::founded(&[]);
    let _producer = place.start();
    block_on(async {
        let mut genesis = place.genesis().genesis;
        genesis.time = UnixMillis(genesis.time.0 + 1);
        let mut witness = Witness::on(&place, Role::Client, genesis);
        let error = witness.try_ask(Request::Chain(ChainRequest::Tip)).await.unwrap_err();
        assert_eq!(error, RequestError::Unsupported);
    });
}

#[test]
fn a_second_producer_on_the_same_directory_is_refused_with_the_pid() {
    let place = Place::founded(&[]);
    let producer = place.start();
    let (code, error) = fails(&place.run());
    assert!(code == 12 && error.contains(&producer.pid().to_string()), "{error}");
}

#[test]
fn a_producer_ends_with_its_standard_input_and_goes_on_where_it_was() {
    let place = Place::founded(&["--block-time", "50ms"]);
    let producer = place.start();
    succeeds(&place.cli(&["produce", "10"]));
    let (code, log) = producer.end();
    assert_eq!(code, Some(0), "{log}");
    let (tip, _) = hashes_on_disk(&place).pop_last().unwrap();
    let _again = place.start();
    assert!(place.json(&["status"])["tip"].as_u64() >= Some(tip.0));
}

#[test]
fn a_restart_begins_at_the_newest_good_snapshot_and_notices_a_log_that_was_cut() {
    let place = Place::founded(&[]);
    let producer = place.start();
    succeeds(&place.cli(&["fault", "stall"]));
    succeeds(&place.cli(&["produce", "2100"]));
    let snapshots = place.datadir().join("snapshots");
    let files = || {
        let mut names: Vec<_> = fs::read_dir(&snapshots).unwrap().map(|file| file.unwrap().path()).collect();
        names.sort();
        names
    };
    until("two snapshots are written", || files().len() == 2);
    producer.kill();
    let genesis = place.genesis().genesis;
    let tip = hashes_on_disk(&place).pop_last().unwrap();
    let open = || recover(&place.datadir(), &genesis, false).unwrap();
    let fresh = open();
    assert!(fresh.report.start >= Height(2000) && fresh.report.passed_over.is_empty(), "{}", fresh.report);
    assert_eq!(fresh.links.back().unwrap().state.tip_hash(), tip.1);
    // The newest is damaged, then both.
    for (damaged, least) in [(1, Height(1000)), (0, Height(0))] {
        let path = &files()[damaged];
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, &bytes).unwrap();
        let opened = open();
        assert!(opened.report.start >= least && !opened.report.passed_over.is_empty(), "{}", opened.report);
        assert_eq!(opened.links.back().unwrap().state.tip_hash(), tip.1);
        assert_eq!(opened.links.back().unwrap().state.state_root(), fresh.links.back().unwrap().state.state_root());
    }
    // A log from before the snapshots would make the producer sign heights twice.
    fs::remove_file(place.datadir().join(FILE_NAME)).unwrap();
    assert!(matches!(recover(&place.datadir(), &genesis, false), Err(RecoveryError::Forgotten { .. })));
    let (code, error) = fails(&place.run());
    assert!(code == 1 && error.contains("snapshot of block"), "{error}");
}

#[test]
fn a_pruned_chain_restarts_and_says_from_where_it_serves() {
    let place = Place::founded(&[]);
    let producer = place.spawn(&["--prune", "100"]);
    until("the producer answers", || place.cli(&["status"]).status.success());
    succeeds(&place.cli(&["fault", "stall"]));
    succeeds(&place.cli(&["produce", "1100"]));
    let length = || fs::metadata(place.datadir().join(FILE_NAME)).unwrap().len();
    block_on(async {
        let mut witness = Witness::new(&place, Role::Client);
        let begin = Instant::now();
        let lowest = loop {
            match witness.chain(ChainRequest::Blocks { from: Height(1), max_bytes: 1000 }).await {
                ChainResponse::Error(Error::Unavailable { lowest }) => break lowest,
                other => assert!(begin.elapsed() < PATIENCE, "{other:?}"),
            }
        };
        assert!(lowest > Height(800), "{lowest}");
        assert_eq!(witness.blocks(lowest).await.len() as u64, 1101 - lowest.0 + witness.extra(&place));
    });
    let before = length();
    assert!(before < 400_000, "{before}");
    producer.kill();
    let opened = recover(&place.datadir(), &place.genesis().genesis, false).unwrap();
    assert!(opened.report.start >= Height(1000), "{}", opened.report);
}

impl Witness {
    /// Blocks made by the clock before it was stopped.
    fn extra(&self, place: &Place) -> u64 {
        let status = place.cli(&["status", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&status.stdout).unwrap()["tip"].as_u64().unwrap() - 1100
    }
}

#[test]
fn the_http_port_is_bounded_and_answers_by_address_only() {
    let place = Place::founded(&["--block-time", "1s"]);
    let _producer = place.start();
    let ask = |host: &str| {
        let mut stream = TcpStream::connect(place.http()).unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        // The other side may close before all is sent or read.
        let _sent = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _read = stream.read_to_string(&mut answer);
        answer
    };
    let own = place.http().to_string();
    assert!(ask(&own).starts_with("HTTP/1.1 200"));
    assert!(ask("evil.example").starts_with("HTTP/1.1 421"));
    let held: Vec<_> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(place.http()).unwrap();
            let _sent = stream.write_all(b"G");
            stream
        })
        .collect();
    assert!(!ask(&own).starts_with("HTTP/1.1 200"), "64 connections are too many");
    drop(held);
    until("room comes back", || ask(&own).starts_with("HTTP/1.1 200"));
}
