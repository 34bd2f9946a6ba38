//! What a hop remembers of first messages: no message that was taken once is ever taken again, whatever the clock does
//! and whatever the file holds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use sotto_behaviours::onion::Ephemeral;
use sotto_behaviours::onion::replay::{BootId, KeyOrigin, ReplayGuard, ReplaySet};
use sotto_proto::cell::Minute;
use sotto_proto::time::UnixSeconds;
use tempfile::TempDir;

use crate::fixtures::NOW;
use crate::input::Input;

/// Steps of one input.
const STEPS: usize = 200;

fn ephemeral(n: u8) -> Ephemeral {
    Ephemeral::from([n; 16])
}

fn minute(now: UnixSeconds, distance: u8) -> Minute {
    Minute(Minute::from(now).0.saturating_add(u32::from(distance % 5)).saturating_sub(2))
}

pub(crate) fn set(input: &[u8]) {
    let mut input = Input::new(input);
    let mut set = match input.u8() % 2 {
        0 => ReplaySet::new(),
        _ => ReplaySet::barred_until(Minute::from(NOW)),
    };
    let (mut now, mut taken) = (NOW, BTreeSet::new());
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0..=4 => {
                let (who, minute) = (ephemeral(input.u8() % 16), minute(now, input.u8()));
                if set.insert(who, minute, now).is_ok() {
                    assert!(taken.insert((who, minute)), "taken a second time");
                    assert!(set.contains(&who));
                }
            }
            5 => now = UnixSeconds(now.0.saturating_add(input.number().saturating_mul(10))),
            // A clock that is set back.
            6 => now = UnixSeconds(now.0.saturating_sub(input.number().saturating_mul(10))),
            _ => set.expire(now),
        }
        assert!(set.len() <= taken.len());
    }
}

pub(crate) fn set_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 0, 1, 2, 0, 1, 2, 0, 2, 2, 5, 36, 7, 0, 1, 2, 6, 36, 0, 1, 2],
        vec![1, 0, 1, 2, 5, 60, 0, 1, 4, 0, 3, 3, 6, 200, 0, 3, 3],
    ]
}

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files"));
const BOOT: BootId = BootId::new([7; 16]);

fn path() -> PathBuf {
    FOLDER.path().join(format!("{:?}", std::thread::current().id()))
}

pub(crate) fn file(input: &[u8]) {
    let mut input = Input::new(input);
    let (origin, who) = (if input.flag() { KeyOrigin::MadeAtThisStart } else { KeyOrigin::MadeBefore }, input.u8());
    let path = path();
    let bytes = input.rest();
    std::fs::write(&path, bytes).expect("room for a small file");
    let mut guard = ReplayGuard::open(&path, BOOT, origin, NOW).expect("any bytes are a file or are none");
    assert!(guard.len() <= bytes.len() / 28);
    let written = guard.remember(ephemeral(who), Minute::from(NOW), NOW).is_ok();
    let (held, length) = (guard.contains(&ephemeral(who)), guard.len());
    assert!(held || !written);
    drop(guard);
    // The next process of this boot finds the same.
    let mut again = ReplayGuard::open(&path, BOOT, KeyOrigin::MadeBefore, NOW).expect("its own file");
    assert_eq!((again.len(), again.contains(&ephemeral(who))), (length, held));
    assert!(!held || again.remember(ephemeral(who), Minute::from(NOW), NOW).is_err(), "taken a second time");
    // After the next boot nothing of before is trusted, and nothing of before is taken.
    drop(again);
    let mut later =
        ReplayGuard::open(&path, BootId::new([8; 16]), KeyOrigin::MadeBefore, NOW).expect("a file of before");
    assert!(later.remember(ephemeral(who), Minute::from(NOW), NOW).is_err(), "taken after a boot");
}

pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let path = path().with_extension("seed");
    let mut guard = ReplayGuard::open(&path, BOOT, KeyOrigin::MadeAtThisStart, NOW).expect("a new file");
    for n in 1..5 {
        let seconds = UnixSeconds(NOW.0 - 300 + u64::from(n));
        guard.remember(ephemeral(n), Minute::from(NOW), seconds).expect("a new set has room");
    }
    let bytes = std::fs::read(&path).expect("it was written");
    // The next call begins without one.
    std::fs::remove_file(&path).expect("it was written");
    let seed = |origin, who, bytes: &[u8]| [&[origin, who][..], bytes].concat();
    vec![seed(0, 9, &bytes), seed(0, 2, &bytes), seed(1, 9, &[]), seed(1, 9, &bytes[..bytes.len() - 5])]
}
