//! A hop's work for 2 KiB beside that of Sphinx packets, which mix networks use: each packet carries its keys in its
//! header, so each hop agrees on a secret for every packet; a path agrees once and then only opens cells.
#![expect(clippy::expect_used, reason = "a bench stops at the first thing that is wrong")]

#[path = "../../benches/support/path.rs"]
mod path;
#[path = "../../benches/support/ratio.rs"]
mod ratio;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::{ArrivedBuild, ClientBuild, HopSecrets};
use sotto_behaviours::onion::layers::CellBuffer;
use sotto_proto::cell::{Body, Minute, Position, Status, StreamId};
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::{BODY_DATA, FRAME};
use sphinx_packet::SphinxPacket;
use sphinx_packet::constants::{DESTINATION_ADDRESS_LENGTH, IDENTIFIER_LENGTH, NODE_ADDRESS_LENGTH};
use sphinx_packet::header::delays::{self, Delay};
use sphinx_packet::packet::ProcessedPacketData;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::{PublicKey, StaticSecret};

const MINUTE: Minute = Minute(29_500_000);

/// A route of three of their nodes.
struct Route {
    first: StaticSecret,
    nodes: Vec<Node>,
    destination: Destination,
    delays: Vec<Delay>,
}

impl Route {
    fn new() -> Self {
        let secrets = [1, 2, 3].map(|number| StaticSecret::from([number; 32]));
        let node = |secret: &StaticSecret| {
            Node::new(NodeAddressBytes::from_bytes([5; NODE_ADDRESS_LENGTH]), PublicKey::from(secret))
        };
        let nodes: Vec<Node> = secrets.iter().map(node).collect();
        let [first, ..] = secrets;
        let address = DestinationAddressBytes::from_bytes([3; DESTINATION_ADDRESS_LENGTH]);
        let delays = delays::generate_from_average_duration(nodes.len(), Duration::from_millis(10));
        Self { first, nodes, destination: Destination::new(address, [4; IDENTIFIER_LENGTH]), delays }
    }

    /// A packet that carries what a cell does.
    fn packet(&self) -> SphinxPacket {
        let builder = SphinxPacketBuilder::new().with_payload_size(FRAME);
        builder.build_packet([7; BODY_DATA], &self.nodes, &self.destination, &self.delays).expect("a sound route")
    }

    /// What the first node does with a packet.
    fn process(&self, packet: SphinxPacket) {
        let processed = packet.process(&self.first).expect("for this node");
        assert!(matches!(black_box(processed.data), ProcessedPacketData::ForwardHop { .. }), "it goes on");
    }
}

/// The work of a guard with the build of a path, from the first byte to the keys and its reply.
fn guard_build() -> impl FnMut() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let chain = ChainId::new([1; 32]);
    let mut hop = |number| {
        let secret = Secret::generate(&mut rng);
        let info = HopInfo { node: NodeId::new([number; 32]), x25519: secret.public() };
        (HopSecrets::new([secret]), info)
    };
    let hops = [hop(1), hop(2), hop(3)];
    let infos = hops.each_ref().map(|(_, info)| *info);
    let (frame, _) = ClientBuild::new(&chain, &infos, MINUTE, &mut rng).expect("sound keys");
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    move || {
        let (secrets, info) = &hops[0];
        let arrived = ArrivedBuild::read(secrets, &frame).expect("a build");
        let opened = arrived.open(&chain, &info.node, &[Position::Guard]).expect("for this hop");
        let inner = opened.inner_frame().cloned();
        // Any frame is a reply to whoever only passes it on.
        black_box(opened.reply(Status::Built, MINUTE, inner.as_ref(), &mut rng).expect("a reply"));
    }
}

fn ratios(route: &Route) {
    let packet = route.packet().to_bytes();
    let mut process = || {
        let packet = SphinxPacket::from_bytes(&packet).expect("a packet");
        ratio::timed(|| route.process(packet))
    };
    let mut build = guard_build();
    ratio::print("a path's build at the guard", "a Sphinx packet", &mut process, || ratio::timed(&mut build));
    let (mut client, mut hops) = path::path();
    let frames = path::sealed(&mut client, ratio::ROUNDS);
    let (mut frames, mut cells, guard) = (frames.chunks(FRAME), CellBuffer::new(), &mut hops[0]);
    ratio::print("a cell at the guard", "a Sphinx packet", &mut process, || {
        cells.space().copy_from_slice(frames.next().expect("one for each round"));
        cells.filled(FRAME);
        ratio::timed(|| {
            let opened = guard.forward.open(&mut cells).expect("opens");
            for run in cells.relayed(&opened) {
                black_box(run);
            }
            cells.advance();
        })
    });
    let (data, mut frame) = ([7; BODY_DATA], [0; FRAME]);
    let body = Body::Data { stream: StreamId::FIRST, data: &data };
    let create = || ratio::timed(|| drop(black_box(route.packet())));
    ratio::print("a cell at its sender", "a Sphinx packet", create, || {
        ratio::timed(|| client.forward.seal_body(black_box(&body), &mut frame).expect("a sound body"))
    });
}

fn sphinx(c: &mut Criterion) {
    let route = Route::new();
    ratios(&route);
    let mut group = c.benchmark_group("sphinx");
    group.bench_function("create", |b| b.iter(|| route.packet()));
    let packet = route.packet().to_bytes();
    let copy = || SphinxPacket::from_bytes(&packet).expect("a packet");
    group.bench_function("process", |b| b.iter_batched(copy, |packet| route.process(packet), BatchSize::SmallInput));
    let mut build = guard_build();
    group.bench_function("guard_build", |b| b.iter(&mut build));
    group.finish();
}

criterion_group!(benches, sphinx);
criterion_main!(benches);
