//! What each role sees, as a test and not as a claim: all that comes to it, and all that its own keys open, is kept and
//! searched for what it must not know. What it has to know is found by the same search, so that the search is known to
//! work.
//!
//! Every role is played by the test once among honest neighbours, whose frames are measured, and once with all others,
//! so that what one of them knows (the client's address) can be looked for at the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use sotto_behaviours::names::Names;
use sotto_behaviours::network::{NetworkConfig, Request, Role};
use sotto_behaviours::noise;
use sotto_behaviours::onion::build::ClientBuild;
use sotto_behaviours::peer;
use sotto_behaviours::tunnel::Tunnel;
use sotto_behaviours::tunnel::handshake::ClientHandshake;
use sotto_proto::account::{Account, Entropy};
use sotto_proto::cell::{Body, Destination, Frame, Position, StreamId};
use sotto_proto::domain;
use sotto_proto::envelope::{Envelope, Record, Ttl, sealed_header};
use sotto_proto::id::Height;
use sotto_proto::limits::FRAME;
use sotto_proto::pow::Nonce;
use sotto_proto::request::{
    Cursor, Delete, DeletedRecord, Error, ListRequest, ListResponse, Message as _, PublishOrder, Read, SignedDelete,
    SignedRead, SwarmRequest,
};
use sotto_proto::time::UnixSeconds;

use crate::support::{
    PathNet, Rogue, Seat, Watch, Way, exit, hop, minute, node_of, read_frame, relay, rng, storing_node, until,
    write_frame,
};
use crate::test_support::CHAIN;

const GUARD: u8 = 1;
const MIDDLE: u8 = 2;
const EXIT: u8 = 3;
const STORING: u8 = 4;
const CLIENT: u8 = 40;
const PLAINTEXT: &[u8] = b"meet me at the old mill at nine, and tell nobody";
const TIME: UnixSeconds = UnixSeconds(1_800_000_000);

/// What one role saw.
#[derive(Debug, Default)]
struct Seen {
    forward: Vec<u8>,
    backward: Vec<u8>,
    opened: Vec<u8>,
    /// Who sent it the client's frames, and the addresses it saw them at.
    openers: Vec<PeerId>,
    addresses: Vec<Multiaddr>,
    /// Everybody it was connected with.
    met: Vec<PeerId>,
}

impl Seen {
    fn holds(&self, needle: &[u8]) -> bool {
        assert!(needle.len() >= 8, "found anywhere by chance");
        let peers = self.openers.iter().map(|peer| peer.to_bytes());
        let addresses = self.addresses.iter().map(Multiaddr::to_vec);
        let all = [self.forward.clone(), self.backward.clone(), self.opened.clone()];
        all.into_iter().chain(peers).chain(addresses).any(|bytes| contains(&bytes, needle))
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Seen>>);

impl Watch for Tap {
    fn opened_by(&self, peer: PeerId) {
        self.0.lock().unwrap().openers.push(peer);
    }

    fn arrives(&self, way: Way, bytes: &[u8]) {
        let mut seen = self.0.lock().unwrap();
        match way {
            Way::Forward => seen.forward.extend_from_slice(bytes),
            Way::Backward => seen.backward.extend_from_slice(bytes),
        }
    }

    fn reads(&self, opened: &[u8]) {
        self.0.lock().unwrap().opened.extend_from_slice(opened);
    }
}

/// What a user says and does.
struct User {
    account: Account,
    record: Record,
}

impl User {
    fn new() -> Self {
        let account = Account::new(&Entropy::take(&mut [0x5c; 16]));
        let ttl = Ttl::new(3600).unwrap();
        // As B12 has it: bound to the address, the time and the life span.
        let mut payload = u32::try_from(PLAINTEXT.len()).unwrap().to_be_bytes().to_vec();
        payload.extend_from_slice(PLAINTEXT);
        payload.resize(7616 - noise::N_LAYER, 0);
        let prologue = prologue(&account);
        let data = noise::n_seal(&prologue, &account.x25519_secret().public(), &payload, &mut rng()).unwrap();
        let envelope = Envelope::new(account.address(), TIME, ttl, Height(0), data).unwrap();
        Self { account, record: Record::new(envelope, Nonce(7), None).unwrap() }
    }

    fn requests(&self) -> [SwarmRequest; 3] {
        let address = self.account.address();
        let key = self.account.signing_key();
        let cursor = Cursor::default();
        let read = Read { node: node_of(STORING), address, time: TIME, cursor, max_bytes: 1 << 20 };
        let deleted = DeletedRecord { id: self.record.envelope().id(&CHAIN), timestamp: TIME, ttl: 3600 };
        let delete = Delete::new(address, TIME, vec![deleted]).unwrap();
        [
            SwarmRequest::Store { record: self.record.encode(), publish_order: PublishOrder::First },
            SwarmRequest::Retrieve(SignedRead::sign(read, key, &CHAIN)),
            SwarmRequest::Delete(SignedDelete::sign(delete, key, &CHAIN)),
        ]
    }

    /// What is looked for, by name.
    fn needles(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let node = |seed| node_of(seed).as_ref().to_vec();
        BTreeMap::from([
            ("client", node(CLIENT)),
            ("guard", node(GUARD)),
            ("middle", node(MIDDLE)),
            ("exit", node(EXIT)),
            ("storing node", node(STORING)),
            ("account", self.account.address().key().to_vec()),
            ("signing key", self.account.public_key().as_bytes().to_vec()),
            ("record id", self.record.envelope().id(&CHAIN).as_ref().to_vec()),
            ("sealed data", self.record.envelope().data()[..64].to_vec()),
            ("plaintext", PLAINTEXT[..16].to_vec()),
        ])
    }
}

fn prologue(account: &Account) -> Vec<u8> {
    let header = sealed_header(account.address(), TIME, Ttl::new(3600).unwrap());
    [domain::SEAL.prefixed().as_slice(), CHAIN.as_ref(), &header].concat()
}

/// A user stores, retrieves and deletes through a path of which the test plays these roles.
async fn tapped(roles: &[u8], user: &User) -> BTreeMap<u8, Seen> {
    let net = PathNet::new();
    let mut taps = Vec::new();
    for role in roles {
        let (mut rogue, role) = (Rogue::new(&net.net, *role), *role);
        let tap = Tap::default();
        let shown = tap.clone();
        let task = tokio::spawn(async move {
            let seat = |position| Seat { seed: role, position, next: role + 1 };
            match role {
                GUARD => relay(&mut rogue, seat(Position::Guard), &tap).await,
                MIDDLE => relay(&mut rogue, seat(Position::Middle), &tap).await,
                EXIT => exit(&mut rogue, seat(Position::Exit), &tap).await,
                _ => storing_node(&mut rogue, role, &tap).await,
            }
            rogue.met()
        });
        taps.push((role, shown, task));
    }
    let honest: Vec<u8> = [GUARD, MIDDLE, EXIT, STORING].into_iter().filter(|role| !roles.contains(role)).collect();
    let _nodes = net.nodes(&honest).await;
    let client = net.client(CLIENT);
    let path = client.path([GUARD, MIDDLE, EXIT]).await.unwrap();
    let [store, retrieve, delete] = user.requests();
    let (mut tunnel, answer) = Tunnel::connect(&path, hop(STORING), Some(store)).await.unwrap();
    assert!(answer.is_some());
    for request in [retrieve, delete] {
        tunnel.request(request).await.unwrap();
    }
    drop(tunnel);
    drop(path);

    let mut seen = BTreeMap::new();
    for (role, tap, task) in taps {
        let met = tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
        let mut all = std::mem::take(&mut *tap.0.lock().unwrap());
        all.addresses = met.iter().filter(|(peer, _)| all.openers.contains(peer)).map(|(_, at)| at.clone()).collect();
        all.met = met.into_iter().map(|(peer, _)| peer).collect();
        seen.insert(role, all);
    }
    seen
}

/// By role: what it must know, and what it may know besides. All else it must not.
const KNOWLEDGE: [(u8, &[&str], &[&str]); 4] = [
    (GUARD, &["client", "middle"], &[]),
    (MIDDLE, &["guard", "exit"], &[]),
    (EXIT, &["middle", "storing node"], &[]),
    // A request names the node it is for, so that no other can use it.
    (STORING, &["exit", "account", "signing key", "record id", "sealed data"], &["storing node"]),
];

fn check_knowledge(seen: &BTreeMap<u8, Seen>, user: &User) {
    for (role, must, may) in KNOWLEDGE {
        let Some(seen) = seen.get(&role) else { continue };
        for (name, needle) in user.needles() {
            match seen.holds(&needle) {
                true => assert!(must.contains(&name) || may.contains(&name), "role {role} knows the {name}"),
                false => assert!(!must.contains(&name), "role {role} does not know the {name}: what was searched?"),
            }
        }
    }
}

#[tokio::test]
async fn nobody_on_a_path_knows_more_than_its_neighbours_and_its_part() {
    let user = User::new();
    let seen = tapped(&[GUARD, MIDDLE, EXIT, STORING], &user).await;
    check_knowledge(&seen, &user);
    // The address that the guard sees the client at is the guard's alone.
    let [address] = &seen[&GUARD].addresses[..] else { panic!("{:?}", seen[&GUARD].addresses) };
    let Some(Protocol::Memory(place)) = address.iter().next() else { panic!("{address}") };
    let client = peer::peer_id(&node_of(CLIENT));
    assert!(seen[&GUARD].holds(&place.to_be_bytes()) && seen[&GUARD].met.contains(&client));
    for role in [MIDDLE, EXIT, STORING] {
        assert!(!seen[&role].holds(&place.to_be_bytes()), "role {role} knows the client's address");
        assert!(!seen[&role].met.contains(&client), "the client was connected with {role}");
    }
    // The storing node holds the sealed bytes; the plaintext is in them, for whoever has the account's key.
    let data = user.record.envelope().data();
    assert!(contains(&seen[&STORING].opened, data));
    let secret = user.account.x25519_secret().into();
    assert!(contains(&noise::n_open(&prologue(&user.account), &secret, data).unwrap(), PLAINTEXT));
}

#[tokio::test]
async fn honest_neighbours_send_frames_of_one_size_and_nothing_behind_what_is_sealed() {
    let user = User::new();
    for role in [GUARD, MIDDLE, EXIT, STORING] {
        let seen = tapped(&[role], &user).await;
        check_knowledge(&seen, &user);
        let seen = &seen[&role];
        // The storing node is the last one.
        let links: &[_] = if role == STORING { &[&seen.forward] } else { &[&seen.forward, &seen.backward] };
        for bytes in links {
            // The build and its reply, and the cells of three requests at the least.
            assert!(bytes.len() >= 4 * FRAME && bytes.len() % FRAME == 0, "role {role}: {} bytes", bytes.len());
        }
        let Some(position) = Position::from_number(role) else { continue };
        check_tails(&seen.forward, position.build_len(), position.sealed_len());
        if let Some(next) = position.next() {
            check_tails(&seen.backward, next.reply_len(), next.sealed_len());
        }
    }
}

fn check_tails(link: &[u8], first: usize, later: usize) {
    let lengths = std::iter::once(first).chain(std::iter::repeat(later));
    for (frame, length) in link.chunks(FRAME).zip(lengths) {
        assert!(frame[length..].iter().all(|byte| *byte == 0), "{:?}", &frame[length..]);
    }
}

#[tokio::test]
async fn a_guard_sends_its_client_frames_of_one_size() {
    let net = PathNet::new();
    let _nodes = net.nodes(&[GUARD, MIDDLE, EXIT, STORING]).await;
    let client = Rogue::new(&net.net, 50);
    let (frame, build) = ClientBuild::new(&CHAIN, &[GUARD, MIDDLE, EXIT].map(hop), minute(), &mut rng()).unwrap();
    let mut guard = client.open(GUARD, Names::new(&CHAIN).path()).await;
    write_frame(&mut guard, &frame).await;
    let mut keys = build.finish(&read_frame(&mut guard).await).unwrap();

    let destination = Destination::Node(node_of(STORING));
    let [store, ..] = User::new().requests();
    let room = destination.first_bytes();
    let request = store.encode().unwrap();
    let (flight, mut answer) =
        ClientHandshake::new(&CHAIN, &hop(STORING), room, minute(), &request, &mut rng()).unwrap();
    let (first, rest) = flight.split_at(room);
    let stream = StreamId::FIRST;
    let mut bodies = vec![Body::Open { stream, destination, first }];
    bodies.extend(rest.chunks(1992).map(|data| Body::Data { stream, data }));
    for body in bodies {
        let mut cell = Frame::zeroed();
        keys.forward.seal_body(&body, cell.as_mut_bytes()).unwrap();
        write_frame(&mut guard, &cell).await;
    }
    let mut cells = 0;
    loop {
        let mut cell = read_frame(&mut guard).await;
        cells += 1;
        match keys.backward.open(cell.as_mut_bytes()).unwrap() {
            sotto_behaviours::onion::layers::FromPath::Body(Body::Data { data, .. }) => {
                if answer.push(data).unwrap() {
                    break;
                }
            }
            sotto_behaviours::onion::layers::FromPath::Body(_) => {}
            end @ sotto_behaviours::onion::layers::FromPath::Destroy { .. } => panic!("{end:?}"),
        }
    }
    assert!(cells >= 4, "the whole record came back in {cells} cells");
    guard.close().await.unwrap();
    let mut left = Vec::new();
    // It may end the stream by a reset; what came before counts.
    let _end = tokio::time::timeout(Duration::from_secs(30), guard.read_to_end(&mut left)).await.unwrap();
    assert_eq!(left.len() % FRAME, 0, "{} bytes", left.len());
}

#[tokio::test]
async fn a_bootstrap_node_is_asked_for_the_list_and_told_nothing_else() {
    const BOOTSTRAP: u8 = 6;
    let (net, user) = (PathNet::new(), User::new());
    let names = Names::new(&CHAIN);
    let mut bootstrap = Rogue::taking(&net.net, BOOTSTRAP, vec![names.list(), names.path(), names.tunnel()]);
    let _nodes = net.nodes(&[GUARD, MIDDLE, EXIT, STORING]).await;
    let config = NetworkConfig {
        role: Role::Client,
        listen: None,
        bootstrap: vec![net.net.peer(BOOTSTRAP)],
        ..net.config(CLIENT)
    };
    let mut hosts = vec![net.net.host_with(config, net.view())];
    // It has a path and uses its account on it, so that there is something to give away.
    let built = hosts[0].network.build_path([GUARD, MIDDLE, EXIT].map(hop));
    let [store, retrieve, _] = user.requests();
    let using = tokio::spawn(async move {
        let path = built.await.unwrap().unwrap();
        let (mut tunnel, _) = Tunnel::connect(&path, hop(STORING), Some(store)).await.unwrap();
        tunnel.request(retrieve).await.unwrap();
        (path, tunnel)
    });
    until(&mut hosts, "the account was used", |_| using.is_finished()).await;
    let _in_use = using.await.unwrap();

    let asked = [
        ListRequest::Info,
        ListRequest::Headers { from: Height(77), count: 5 },
        ListRequest::Buckets { height: Height(80), buckets: [0, 9, 255].into() },
        ListRequest::Hashes { height: Height(81) },
    ];
    let requests = asked.clone();
    let answering = tokio::spawn(async move {
        let (mut heard, mut read) = (Vec::new(), Vec::new());
        for _ in 0..requests.len() {
            let (peer, (name, mut stream)) = bootstrap.accept_from().await;
            assert_eq!((peer, name), (peer::peer_id(&node_of(CLIENT)), names.list()));
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            read.push(ListRequest::decode(&request[4..]).unwrap());
            heard.extend(request);
            let busy = ListResponse::Error(Error::Busy).encode().unwrap();
            stream.write_all(&u32::try_from(busy.len()).unwrap().to_be_bytes()).await.unwrap();
            stream.write_all(&busy).await.unwrap();
            stream.close().await.unwrap();
        }
        (heard, read, bootstrap)
    });
    for request in asked.clone() {
        let id = hosts[0].network.request(node_of(BOOTSTRAP), Request::List(request)).unwrap();
        until(&mut hosts, "answered", |hosts| hosts[0].responses.contains_key(&id)).await;
        assert!(hosts[0].responses[&id].1.is_ok());
    }
    let (heard, read, bootstrap) = answering.await.unwrap();
    // It sees the client, and what is asked.
    assert!(bootstrap.met().iter().any(|(peer, _)| *peer == peer::peer_id(&node_of(CLIENT))));
    assert_eq!(read, asked);
    assert_eq!(bootstrap.waiting(), 0, "nothing else was opened to it");
    for (name, needle) in user.needles() {
        assert!(!contains(&heard, &needle), "the bootstrap node is told the {name}");
    }
}
