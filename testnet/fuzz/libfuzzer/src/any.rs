//! libFuzzer on the target that `FUZZ_TARGET` names.
//!
//! | variable | what |
//! | --- | --- |
//! | `FUZZ_TARGET` | a target's name; `list` prints name and longest input of each, and ends |
//! | `FUZZ_SEEDS` | a folder: the target's seeds are written into it, and the program ends |
//!
//! All other settings are libFuzzer's own arguments. When an input takes longer than any before, its time is printed as
//! `slowest: <microseconds> us`: libFuzzer's own statistics know whole seconds only.

#![no_main]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{env, fs, io};

use libfuzzer_sys::fuzz_target;
use sotto_fuzz::{TARGETS, Target, find};

static TARGET: OnceLock<&'static Target> = OnceLock::new();
/// Time of the slowest input, in microseconds.
static SLOWEST: AtomicU64 = AtomicU64::new(1000);

fn chosen() -> &'static Target {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.max_len));
        exit(0);
    }
    find(&name).unwrap_or_else(|| {
        eprintln!("FUZZ_TARGET={name:?} is no target; FUZZ_TARGET=list prints all of them");
        exit(2)
    })
}

fn write_seeds(target: &Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let seeds = (target.seeds)();
    seeds.iter().enumerate().try_for_each(|(number, seed)| fs::write(folder.join(format!("seed-{number}")), seed))
}

fn begin() {
    let target = *TARGET.get_or_init(chosen);
    if let Some(folder) = env::var_os("FUZZ_SEEDS") {
        exit(match write_seeds(target, Path::new(&folder)) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("seeds cannot be written to {}: {error}", Path::new(&folder).display());
                2
            }
        });
    }
    // What is made once must not count as the time of the first input.
    if let Some(seed) = (target.seeds)().first() {
        (target.run)(seed);
    }
}

fn run(input: &[u8]) {
    let Some(target) = TARGET.get() else { return };
    let start = Instant::now();
    (target.run)(input);
    let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if SLOWEST.fetch_max(took, Ordering::Relaxed) < took {
        eprintln!("slowest: {took} us");
    }
}

fuzz_target!(init: begin(), |input: &[u8]| run(input));
