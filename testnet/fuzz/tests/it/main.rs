//! Every target, in every run of the tests: its seeds, what once found something, and mutations of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use sotto_fuzz::mutation::Mutator;
use sotto_fuzz::{TARGETS, Target, find};

/// What all mutations follow from.
const SEED: u64 = 0x50_77_70;
/// Bytes of the whole checked-in corpus.
const CORPUS_MAX: u64 = 200 << 10;

/// In this crate's directory, where its tests run: another clone's build may serve.
fn corpus() -> PathBuf {
    PathBuf::from("corpus")
}

/// The checked-in inputs of a target with their names, in a fixed order.
fn checked_in(target: &Target) -> Vec<(String, Vec<u8>)> {
    let Ok(folder) = fs::read_dir(corpus().join(target.name)) else { return Vec::new() };
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    files.into_iter().map(read).collect()
}

/// Runs one input; a failure says how to run it again.
fn run(target: &Target, what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("{}: {what} does not hold; as hex for `corpus/{0}/`:\n{}", target.name, hex::encode(input));
        resume_unwind(panic);
    }
}

fn exercise(name: &str) {
    let target = find(name).expect("a target of the table");
    let mut inputs = (target.seeds)();
    assert!(!inputs.is_empty(), "nothing to begin from");
    for (number, seed) in inputs.iter().enumerate() {
        assert!(seed.len() <= target.max_len, "seed {number} has {} bytes", seed.len());
        run(target, &format!("seed {number}"), seed);
    }
    for (file, input) in checked_in(target) {
        run(target, &format!("corpus/{name}/{file}"), &input);
        inputs.push(input);
    }
    run(target, "nothing", &[]);
    let mut mutator = Mutator::new(SEED);
    for number in 0..target.mutations {
        let (input, other) = (mutator.below(inputs.len()), mutator.below(inputs.len()));
        let mutated = mutator.mutate(&inputs[input], &inputs[other], target.max_len);
        run(target, &format!("mutation {number} of input {input}"), &mutated);
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        /// What holds for all bytes, target by target.
        mod holds {
            $(#[test]
            fn $name() {
                super::exercise(stringify!($name));
            })*
        }
    };
}

tests! {
    cell record signed storage_test content
    chain_messages list_messages status_messages repair_messages offer_messages swarm_messages codec
    transaction block state_value genesis genesis_file state_proof text phrase config gossip_id
    tunnel_first tunnel_bytes tunnel_records path_build path_cells streams replay_set replay_file
    reconcile repair chain_sync snapshot transactions block_apply follower
    directory client_rows sealed session_rows session service_node
}

#[test]
fn every_target_has_a_name_of_its_own_and_a_test() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert_eq!(names, TESTED.iter().copied().collect());
}

#[test]
fn the_checked_in_corpus_is_small_and_of_known_targets() {
    let mut bytes = 0;
    for folder in fs::read_dir(corpus()).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(find(&name).is_some(), "no target is called {name}");
        bytes += fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    }
    assert!(bytes <= CORPUS_MAX, "{bytes} bytes");
}

#[test]
fn the_same_number_gives_the_same_mutations() {
    let mutated = |seed| Mutator::new(seed).mutate(&[1, 2, 3, 4], &[5, 6, 7], 100);
    assert_eq!(mutated(1), mutated(1));
    assert!((0..50).any(|seed| mutated(seed) != mutated(1)));
}
