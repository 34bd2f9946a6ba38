//! What one hop does to one cell, against the bare AES-256-GCM open of 2 KiB that no design could save.
#![expect(clippy::expect_used, reason = "a bench stops at the first thing that is wrong")]

#[path = "support/path.rs"]
mod path;
#[path = "support/ratio.rs"]
mod ratio;

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sotto_behaviours::onion::layers::CellBuffer;
use sotto_proto::cell::{Body, StreamId};
use sotto_proto::limits::{BODY_DATA, COALESCED_CELLS, FRAME};

use self::path::{path, sealed};

/// Cells sealed ahead: opening moves a counter, so each can be opened once.
const CELLS: usize = 512;

fn filled(bytes: &[u8]) -> CellBuffer {
    let mut cells = CellBuffer::new();
    while cells.space().len() < bytes.len() {
        cells.grow();
    }
    cells.space()[..bytes.len()].copy_from_slice(bytes);
    cells.filled(bytes.len());
    cells
}

/// A cell at a time, over and over in the same memory: what the cryptography costs, and no cache.
fn ratios() {
    let raw = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let mut sealed_raw = vec![7; FRAME];
    let (plain, tag) = sealed_raw.split_at_mut(FRAME - 16);
    raw.seal_in_place_scatter(nonce(), Aad::empty(), plain, &[], tag).expect("short enough");
    let mut cell = [0; FRAME];
    let mut open_raw = || {
        cell.copy_from_slice(&sealed_raw);
        let (sealed, tag) = cell.split_at_mut(FRAME - 16);
        ratio::timed(|| {
            black_box(raw.open_in_place_separate_tag(nonce(), Aad::empty(), tag, sealed).expect("opens"));
        })
    };
    let (mut client, mut hops) = path();
    let frames = sealed(&mut client, ratio::ROUNDS);
    let (mut frames, mut cells, guard) = (frames.chunks(FRAME), CellBuffer::new(), &mut hops[0]);
    ratio::print("one cell forward at the guard", "the raw open", &mut open_raw, || {
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
    let mut cells = CellBuffer::new();
    ratio::print("one cell backward at the guard", "the raw open", &mut open_raw, || {
        cells.space().fill(7);
        cells.filled(FRAME);
        ratio::timed(|| {
            black_box(guard.backward.wrap(&mut cells).expect("sealed"));
            cells.advance();
        })
    });
}

/// All times are for [`CELLS`] cells.
fn cell(c: &mut Criterion) {
    ratios();
    let mut group = c.benchmark_group("cell");
    group.throughput(Throughput::Bytes((CELLS * FRAME) as u64));

    let raw = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let mut plain = vec![0; FRAME - 16];
    let tag = raw.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut plain).expect("short enough");
    let raw_cell = [&plain, tag.as_ref()].concat();
    group.bench_function("raw_open_2048", |b| {
        b.iter_batched_ref(
            || vec![raw_cell.clone(); CELLS],
            |cells| {
                for cell in cells {
                    let (sealed, tag) = cell.split_at_mut(FRAME - 16);
                    let opened = raw.open_in_place_separate_tag(nonce(), Aad::empty(), tag, sealed);
                    black_box(opened.expect("opens"));
                }
            },
            BatchSize::NumIterations(1),
        );
    });

    for (name, batch) in [("guard_forward", 1), ("guard_forward_batch", COALESCED_CELLS)] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || {
                    let (mut client, mut hops) = path();
                    let bytes = sealed(&mut client, CELLS);
                    let buffers: Vec<_> = bytes.chunks(batch * FRAME).map(filled).collect();
                    (hops.swap_remove(0).forward, buffers)
                },
                |(guard, buffers)| {
                    for cells in buffers {
                        let opened = guard.open(cells).expect("opens");
                        for run in cells.relayed(&opened) {
                            black_box(run);
                        }
                        cells.advance();
                    }
                },
                BatchSize::NumIterations(1),
            );
        });
    }

    group.bench_function("guard_backward_batch", |b| {
        b.iter_batched_ref(
            || {
                let (_, mut hops) = path();
                let frames = vec![7; COALESCED_CELLS * FRAME];
                let buffers: Vec<_> = (0..CELLS / COALESCED_CELLS).map(|_| filled(&frames)).collect();
                (hops.swap_remove(0).backward, buffers)
            },
            |(guard, buffers)| {
                for cells in buffers {
                    black_box(guard.wrap(cells).expect("sealed"));
                    cells.advance();
                }
            },
            BatchSize::NumIterations(1),
        );
    });

    let data = [7; BODY_DATA];
    let body = Body::Data { stream: StreamId::FIRST, data: &data };
    group.bench_function("client_seal", |b| {
        b.iter_batched_ref(
            || (path().0.forward, Box::new([0; FRAME])),
            |(client, frame)| {
                for _ in 0..CELLS {
                    client.seal_body(black_box(&body), frame).expect("a sound body");
                }
            },
            BatchSize::NumIterations(1),
        );
    });
    group.finish();
}

criterion_group!(benches, cell);
criterion_main!(benches);
