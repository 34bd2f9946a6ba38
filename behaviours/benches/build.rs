//! The hop's side of a path's build, against what no design could save: one key generation and two agreements.
#![expect(clippy::expect_used, reason = "a bench stops at the first thing that is wrong")]

#[path = "support/ratio.rs"]
mod ratio;

use std::hint::black_box;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use criterion::{Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::{ArrivedBuild, ClientBuild, HopSecrets};
use sotto_proto::cell::{Frame, Minute, Position, Status};
use sotto_proto::id::{ChainId, NodeId};

const MINUTE: Minute = Minute(29_500_000);

fn build(c: &mut Criterion) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let chain = ChainId::new([1; 32]);
    let mut hop = |number| {
        let secret = Secret::generate(&mut rng);
        let info = HopInfo { node: NodeId::new([number; 32]), x25519: secret.public() };
        (HopSecrets::new([secret]), info)
    };
    let hops = [hop(1), hop(2), hop(3)];
    let infos = hops.each_ref().map(|(_, info)| *info);
    let (guard, _) = ClientBuild::new(&chain, &infos, MINUTE, &mut rng).expect("sound keys");
    let open = |index: usize, frame: &Frame, candidates: &[Position]| {
        let (secrets, info) = &hops[index];
        let arrived = ArrivedBuild::read(secrets, frame).expect("a build");
        arrived.open(&chain, &info.node, candidates).expect("for this hop")
    };
    let middle = open(0, &guard, &[Position::Guard]).inner_frame().cloned().expect("a middle");
    let exit = open(1, &middle, &[Position::Middle]).inner_frame().cloned().expect("an exit");
    let (exit_reply, _) =
        open(2, &exit, &[Position::Exit]).reply(Status::Built, MINUTE, None, &mut rng).expect("a reply");
    let (middle_reply, _) = open(1, &middle, &[Position::Middle])
        .reply(Status::Built, MINUTE, Some(&exit_reply), &mut rng)
        .expect("a reply");

    let own = PrivateKey::generate(&X25519).expect("a key");
    let peer = PrivateKey::generate(&X25519).expect("a key").compute_public_key().expect("its public half");
    let raw = || {
        let ephemeral = PrivateKey::generate(&X25519).expect("a key");
        for secret in [&own, &ephemeral] {
            let peer = UnparsedPublicKey::new(&X25519, peer.as_ref());
            agree(secret, peer, (), |shared| Ok(black_box(shared[0]))).expect("a sound key");
        }
    };
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let mut hop = |index: usize, frame: &Frame, reply: Option<&Frame>| {
        let opened = open(index, black_box(frame), Position::candidates(index > 0));
        black_box(opened.inner_frame());
        black_box(opened.reply(Status::Built, MINUTE, reply, &mut rng).expect("a reply"));
    };
    for (name, index, frame, reply) in
        [("guard", 0, &guard, Some(&middle_reply)), ("middle", 1, &middle, Some(&exit_reply)), ("exit", 2, &exit, None)]
    {
        ratio::print(
            name,
            "the raw key and agreements",
            || ratio::timed(raw),
            || ratio::timed(|| hop(index, frame, reply)),
        );
    }

    let mut group = c.benchmark_group("build");
    group.bench_function("raw_key_and_two_agreements", |b| b.iter(raw));
    group.bench_function("guard", |b| b.iter(|| hop(0, &guard, Some(&middle_reply))));
    group.bench_function("middle", |b| b.iter(|| hop(1, &middle, Some(&exit_reply))));
    group.bench_function("exit", |b| b.iter(|| hop(2, &exit, None)));
    group.bench_function("client", |b| {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        b.iter(|| ClientBuild::new(&chain, &infos, MINUTE, &mut rng).expect("sound keys"));
    });
    group.finish();
}

criterion_group!(benches, build);
criterion_main!(benches);
