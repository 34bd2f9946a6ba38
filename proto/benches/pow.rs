//! Trials a second of the search at every vector width against the plain hash, and checks a second.
//!
//! One core each. `cargo bench -p sotto-proto --bench pow`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest as _, Sha512};
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, Height};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, TTL_SECONDS};
use sotto_proto::pow::lanes::{BATCH, Block};
use sotto_proto::pow::{self, Difficulty, Lanes, Nonce, Target};
use sotto_proto::time::UnixSeconds;

const BATCHES: u32 = 256;
const NONCES: u64 = BATCHES as u64 * BATCH;

/// A target that no trial meets, so that all nonces are tried.
const OUT_OF_REACH: Target = Target(1);

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.throughput(Throughput::Elements(NONCES));
    let inner = [0x5a; 64];
    group.bench_function("scalar sha2", |b| {
        b.iter(|| {
            (0..NONCES).map(Nonce).find(|nonce| {
                let trial = Sha512::new().chain_update(nonce.to_bytes()).chain_update(black_box(&inner)).finalize();
                OUT_OF_REACH.admits(pow::value(&trial.into()))
            })
        });
    });
    let block = Block::new(&inner);
    for lanes in Lanes::available() {
        group.bench_function(lanes.name(), |b| {
            b.iter(|| lanes.first(black_box(&block), OUT_OF_REACH, Nonce(0), BATCHES));
        });
    }
    group.finish();
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify");
    group.throughput(Throughput::Elements(1));
    let anchor = BlockHash::new([7; 32]);
    let difficulty = Difficulty::MIN;
    let ttl = Ttl::new(*TTL_SECONDS.end()).unwrap_or_else(|| unreachable!("the limit is within the limits"));
    for size in [ENVELOPE_DATA_SIZES[0], ENVELOPE_DATA_SIZES[5]] {
        let address = Address::new(AddressKind::AccountInbox, [5; 32]);
        let envelope = Envelope::new(address, UnixSeconds(1_790_000_000), ttl, Height(60), vec![0x5a; size]);
        let Ok(Ok(record)) = envelope.map(|envelope| Record::new(envelope, Nonce(3), None)) else {
            unreachable!("one of the six lengths, and an inbox takes no signature")
        };
        group.bench_function(format!("{size} bytes"), |b| {
            b.iter(|| pow::verify(black_box(&record), &anchor, difficulty));
        });
    }
    group.finish();
}

criterion_group!(benches, search, check);
criterion_main!(benches);
