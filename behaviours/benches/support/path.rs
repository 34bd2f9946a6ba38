//! A path's keys at all ends, and cells for it.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::{ArrivedBuild, ClientBuild, ClientKeys, HopKeys, HopSecrets};
use sotto_proto::cell::{Body, Frame, Minute, Position, Status, StreamId};
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::{BODY_DATA, FRAME};

const MINUTE: Minute = Minute(29_500_000);

/// The keys of a new path.
pub(crate) fn path() -> (ClientKeys, Vec<HopKeys>) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let chain = ChainId::new([1; 32]);
    let secrets = [(); 3].map(|()| Secret::generate(&mut rng));
    let mut number = 0;
    let hops = secrets.each_ref().map(|secret| {
        number += 1;
        HopInfo { node: NodeId::new([number; 32]), x25519: secret.public() }
    });
    let (mut frame, client) = ClientBuild::new(&chain, &hops, MINUTE, &mut rng).expect("sound keys");
    let mut opened = Vec::new();
    for ((secret, hop), position) in secrets.into_iter().zip(&hops).zip(Position::ALL) {
        let secrets = HopSecrets::new([secret]);
        let arrived = ArrivedBuild::read(&secrets, &frame).expect("a build");
        let build = arrived.open(&chain, &hop.node, &[position]).expect("for this hop");
        let inner = build.inner_frame().cloned();
        opened.push(build);
        frame = inner.unwrap_or_else(Frame::zeroed);
    }
    let (mut reply, mut keys) = (None::<Frame>, Vec::new());
    for build in opened.into_iter().rev() {
        let (frame, hop) = build.reply(Status::Built, MINUTE, reply.as_ref(), &mut rng).expect("a reply");
        reply = Some(frame);
        keys.push(hop.expect("built"));
    }
    keys.reverse();
    let client = reply.and_then(|reply| client.finish(&reply).ok()).expect("built");
    (client, keys)
}

/// Cells as the client seals them, back to back.
pub(crate) fn sealed(client: &mut ClientKeys, cells: usize) -> Vec<u8> {
    let data = [7; BODY_DATA];
    let body = Body::Data { stream: StreamId::FIRST, data: &data };
    let mut frames = vec![[0; FRAME]; cells];
    for frame in &mut frames {
        client.forward.seal_body(&body, frame).expect("a sound body");
    }
    frames.into_flattened()
}
