//! A whole path, built, answered and used, whose frames were made by an independent implementation.
//!
//! The sealing here is snow's; the layout is ours. Every frame is 2,048 bytes and compared by its BLAKE2b-256.

use sha2::{Digest as _, Sha256};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, TransportState};
use sotto_proto::cell::{
    Backward, Body, Build, BuildHead, BuildPayload, Destination, Direction, Forward, Frame, Minute, Position,
    ReplyPayload, Status, StreamId, key_tag, prologue,
};
use sotto_proto::domain;
use sotto_proto::hash::{blake2b_256, hash};
use sotto_proto::id::{ChainId, NodeId, X25519Key};
use sotto_proto::limits::FRAME;
use sotto_proto::sign::SigningKey;

const MINUTE: Minute = Minute(29_500_000);

fn secret(name: &str) -> [u8; 32] {
    Sha256::digest(format!("sotto vector {name}")).into()
}

fn chain() -> ChainId {
    ChainId::new(*hash(domain::GENESIS, b"test vector genesis").as_bytes())
}

struct Hop {
    position: Position,
    node: NodeId,
    x25519_secret: [u8; 32],
    x25519: X25519Key,
    client_ephemeral: [u8; 32],
    ephemeral: [u8; 32],
}

impl Hop {
    fn new(position: Position) -> Self {
        let i = position.number() - 1;
        let x25519_secret = secret(&format!("node{i} x"));
        let x25519 = curve25519_dalek::MontgomeryPoint::mul_base_clamped(x25519_secret).to_bytes();
        Self {
            position,
            node: SigningKey::from_seed(&secret(&format!("node{i} ed"))).node_id(),
            x25519_secret,
            x25519: X25519Key::new(x25519),
            client_ephemeral: secret(&format!("client e{i}")),
            ephemeral: secret(&format!("node e{i}")),
        }
    }

    fn head(&self) -> BuildHead {
        BuildHead { key_tag: key_tag(&self.x25519) }
    }

    fn client_handshake(&self) -> HandshakeState {
        noise()
            .prologue(&prologue(&chain(), &self.node, self.head()))
            .and_then(|noise| noise.remote_public_key(self.x25519.as_bytes()))
            .map(|noise| noise.fixed_ephemeral_key_for_testing_only(&self.client_ephemeral))
            .and_then(Builder::build_initiator)
            .unwrap()
    }

    fn handshake(&self, head: BuildHead) -> HandshakeState {
        noise()
            .prologue(&prologue(&chain(), &self.node, head))
            .and_then(|noise| noise.local_private_key(&self.x25519_secret))
            .map(|noise| noise.fixed_ephemeral_key_for_testing_only(&self.ephemeral))
            .and_then(Builder::build_responder)
            .unwrap()
    }
}

fn noise<'a>() -> Builder<'a> {
    let suite: NoiseParams = "Noise_NK_25519_AESGCM_SHA256".parse().unwrap();
    Builder::new(suite)
}

/// Seals or opens with `step`, which writes into the buffer it is given.
fn run(step: impl FnOnce(&mut [u8]) -> Result<usize, snow::Error>) -> Vec<u8> {
    let mut buffer = vec![0; FRAME];
    let length = step(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// The client's side of a path and the three hops'.
struct Path {
    client: Vec<TransportState>,
    hops: Vec<TransportState>,
    builds: Vec<Frame>,
    replies: Vec<Frame>,
}

fn hops() -> [Hop; 3] {
    Position::ALL.map(Hop::new)
}

/// The frames on link 1, 2, 3 and what each hop holds after it opened its own.
fn build() -> (Vec<HandshakeState>, Vec<HandshakeState>, Vec<Frame>) {
    let hops = hops();
    let mut client: Vec<_> = hops.iter().map(Hop::client_handshake).collect();
    let mut inner = Vec::new();
    for (hop, handshake) in hops.iter().zip(&mut client).rev() {
        let next = hop.position.next().map(|next| hops[usize::from(next.number()) - 1].node);
        let payload = BuildPayload { minute: MINUTE, position: hop.position, next, inner: &inner };
        let payload = payload.to_bytes().unwrap();
        inner = hop.head().layer(&run(|out| handshake.write_message(&payload, out)));
    }

    let (mut nodes, mut frames) = (Vec::new(), vec![Frame::new(&inner).unwrap()]);
    for hop in &hops {
        let frame = &frames[frames.len() - 1];
        let build = Build::read(frame, hop.position).unwrap();
        assert_eq!(build.head, hop.head());
        let mut handshake = hop.handshake(build.head);
        let opened = run(|out| handshake.read_message(build.message, out));
        let payload = BuildPayload::read(hop.position, &opened).unwrap();
        assert!(payload.minute.is_near(MINUTE));
        if payload.next.is_some() {
            frames.push(Frame::new(payload.inner).unwrap());
        }
        nodes.push(handshake);
    }
    (client, nodes, frames)
}

fn built_path() -> Path {
    let (mut client, mut nodes, builds) = build();
    let (mut inner, mut replies) = (Vec::new(), Vec::new());
    for (position, handshake) in Position::ALL.into_iter().zip(&mut nodes).rev() {
        let payload = ReplyPayload { status: Status::Built, minute: MINUTE, inner: &inner };
        let payload = payload.to_bytes(position).unwrap();
        inner = run(|out| handshake.write_message(&payload, out));
        replies.push(Frame::new(&inner).unwrap());
    }
    replies.reverse();

    let mut layer = replies[0].reply(Position::Guard).to_vec();
    for (position, handshake) in Position::ALL.into_iter().zip(&mut client) {
        let opened = run(|out| handshake.read_message(&layer, out));
        let reply = ReplyPayload::read(position, &opened).unwrap();
        assert_eq!((reply.status, reply.minute), (Status::Built, MINUTE));
        layer = reply.inner.to_vec();
    }
    let transport = |states: Vec<HandshakeState>| -> Vec<_> {
        states.into_iter().map(|state| state.into_transport_mode().unwrap()).collect()
    };
    Path { client: transport(client), hops: transport(nodes), builds, replies }
}

impl Path {
    /// The frames that carry `body` to the exit, and what the exit found in the last.
    fn forward(&mut self, body: Body<'_>) -> (Vec<Frame>, Vec<u8>) {
        let mut rest = Vec::new();
        body.write(&mut rest).unwrap();
        for (position, keys) in Position::ALL.into_iter().zip(&mut self.client).rev() {
            let mut plain = Vec::new();
            Forward::Relay(&rest).write(position, &mut plain).unwrap();
            rest = run(|out| keys.write_message(&plain, out));
        }
        let mut frames = Vec::new();
        for (position, keys) in Position::ALL.into_iter().zip(&mut self.hops) {
            let frame = Frame::new(&rest).unwrap();
            let opened = run(|out| keys.read_message(frame.sealed(position), out));
            let Forward::Relay(next) = Forward::read(position, &opened).unwrap() else { panic!("not relayed") };
            rest = next.to_vec();
            frames.push(frame);
        }
        (frames, rest)
    }

    /// The frames on link 1, 2, 3 that carry `body` to the client, and what it found.
    fn backward(&mut self, body: Body<'_>) -> (Vec<Frame>, Vec<u8>) {
        let (mut rest, mut frames) = (Vec::new(), Vec::new());
        body.write(&mut rest).unwrap();
        for (position, keys) in Position::ALL.into_iter().zip(&mut self.hops).rev() {
            let mut plain = Vec::new();
            Backward::Relay(&rest).write(position, &mut plain).unwrap();
            rest = run(|out| keys.write_message(&plain, out));
            frames.push(Frame::new(&rest).unwrap());
        }
        frames.reverse();
        for (position, keys) in Position::ALL.into_iter().zip(&mut self.client) {
            let opened = run(|out| keys.read_message(&rest, out));
            let Backward::Relay(inner) = Backward::read(position, &opened).unwrap() else { panic!("not relayed") };
            rest = inner.to_vec();
        }
        (frames, rest)
    }
}

fn digests(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| hex::encode(blake2b_256(frame.as_bytes()))).collect()
}

#[test]
fn keys_and_tags_are_those_of_the_vectors() {
    let expected = [
        ("b8e0f036486abc9b74bf455800e422840b3bbab8a1aadc8d42d1eaafc88f2027", "b671dac3"),
        ("fdd17f5b662afe3e402294b766e16a12d2bf06f2dcc33cad1dbf63d0287453a6", "94e4b579"),
        ("9ce7678e574fb6f693f8e14eae28b826928e7dd498c80a2814ac2dbee290ded7", "67ebca0b"),
    ];
    for (hop, (node, tag)) in hops().iter().zip(expected) {
        assert_eq!(hop.node.to_string(), node);
        assert_eq!(hex::encode(hop.head().key_tag.as_bytes()), tag);
    }
}

#[test]
fn golden_frames_of_a_build_and_its_reply_hold() {
    let path = built_path();
    assert_eq!(
        digests(&path.builds),
        [
            "8e77d354d304e0933227da914fa73a2a3eb6bf57976442eeef97380ed1ec6194",
            "432788010622f037b97de04480683b747dc0c92e8ed66abbd718d038210cd401",
            "7a389949e0fff7e8c3fcd0b40b588489296350ec9fdf2629dccd780d8bb7cfaa",
        ]
    );
    assert_eq!(
        digests(&path.replies),
        [
            "1d2153b3f60a2c404738be7601fc373d97216fb53e4a5c19627ffde5d0b0989c",
            "a02c3ffe7899d71cdcef4e86516f5b6fd4861c428a8186d8a67be7acb0972db0",
            "1157d1c477103e41d0310a87dc904521e807b0e4185ea0bcfe74565080413583",
        ]
    );
}

#[test]
fn golden_frames_of_the_first_cells_hold() {
    let mut path = built_path();
    let stream = StreamId::FIRST;
    let destination = Destination::Node(SigningKey::from_seed(&secret("dest ed")).node_id());
    let open = Body::Open { stream, destination, first: b"hello" };
    let (frames, at_exit) = path.forward(open);
    assert_eq!(Body::read(Direction::Forward, &at_exit), Ok(open));
    assert_eq!(
        digests(&frames),
        [
            "de135bb90c1371d3f68c133398bc7df8d091a7c9b84c58eef8e595bd18b6af86",
            "66ed71d7c116a9392b9c2f65d4d34e52a7c4c7d160a0b7547dd740fb5fb21b96",
            "b3d142078e1e503992ea3d1ec98b992b87f197b7d1e17ec74c1dfe3be282c88b",
        ]
    );
    let data = Body::Data { stream, data: b"world" };
    let (frames, at_client) = path.backward(data);
    assert_eq!(Body::read(Direction::Backward, &at_client), Ok(data));
    assert_eq!(
        digests(&frames),
        [
            "7ea4297263aa30cdfd59895eadd7e14d8649960f0546576aa6d13b628e816521",
            "6590fe801cbf925bb4e3e191d1335508065be175e24b88a8b930c9d7ec24cdbd",
            "99e741666e1d9f89bc648c77a7ca48740b2f6af11af768dab769404ac75867a7",
        ]
    );
}

#[test]
fn a_layer_opens_at_its_own_position_only() {
    let (_, _, frames) = build();
    for hop in hops() {
        for (frame, link) in frames.iter().zip(Position::ALL) {
            for tried in Position::ALL {
                let build = Build::read(frame, tried).unwrap();
                let opens = hop.handshake(build.head).read_message(build.message, &mut [0; FRAME]).is_ok();
                assert_eq!(opens, hop.position == link && tried == link, "{} link {link} tried {tried}", hop.position);
            }
        }
    }
}

#[test]
fn bytes_behind_a_layer_change_nothing_and_bytes_in_it_kill_it() {
    let (_, _, frames) = build();
    for (hop, frame) in hops().iter().zip(&frames) {
        let length = hop.position.build_len();
        for index in (0..length).step_by(61).chain([0, 1, 2, 5, 6, 37, 38, length - 1]).chain(length..FRAME) {
            let mut changed = frame.clone();
            changed.as_mut_bytes()[index] ^= 1;
            let opens = Build::read(&changed, hop.position)
                .is_ok_and(|build| hop.handshake(build.head).read_message(build.message, &mut [0; FRAME]).is_ok());
            assert_eq!(opens, index >= length, "{} byte {index}", hop.position);
        }
    }
}
