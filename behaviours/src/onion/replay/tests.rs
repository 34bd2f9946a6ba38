use std::fs::OpenOptions;
use std::io::Write as _;

use tempfile::TempDir;

use super::*;

const BOOT: BootId = BootId::new([1; 16]);
const NOW: UnixSeconds = UnixSeconds(1_770_000_000);

fn minute(now: UnixSeconds) -> Minute {
    Minute::from(now)
}

fn later(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

fn ephemeral(number: u32) -> Ephemeral {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Ephemeral::from(bytes)
}

fn guard(directory: &TempDir, boot: BootId, origin: KeyOrigin, now: UnixSeconds) -> ReplayGuard {
    ReplayGuard::open(&directory.path().join("paths"), boot, origin, now).unwrap()
}

/// How many of ten thousand messages are taken.
fn taken(guard: &mut ReplayGuard, now: UnixSeconds) -> usize {
    let accept = |number: &u32| {
        !guard.contains(&ephemeral(*number)) && guard.remember(ephemeral(*number), minute(NOW), now).is_ok()
    };
    (0..10_000).filter(accept).count()
}

#[test]
fn ten_thousand_replays_are_refused_before_and_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut first = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    assert_eq!(taken(&mut first, NOW), 10_000);
    assert_eq!(taken(&mut first, later(1)), 0);
    assert_eq!(first.len(), 10_000);
    // A kill does not run any code of ours.
    std::mem::forget(first);
    let mut second = guard(&directory, BOOT, KeyOrigin::MadeBefore, later(2));
    assert_eq!(taken(&mut second, later(2)), 0);
    assert_eq!(second.len(), 10_000);
    let now = later(3);
    second.remember(ephemeral(10_000), minute(now), now).unwrap();
}

#[test]
fn what_a_lookup_missed_the_insertion_refuses() {
    let mut set = ReplaySet::new();
    assert!(!set.contains(&ephemeral(1)));
    set.insert(ephemeral(1), minute(NOW), NOW).unwrap();
    let again = set.insert(ephemeral(1), minute(NOW), NOW);
    assert!(matches!(again, Err(ReplayRefusal::Replayed)), "{again:?}");
}

#[test]
fn a_full_set_refuses_and_never_forgets_early() {
    let mut set = ReplaySet::with_capacity(3);
    for number in 0..3 {
        set.insert(ephemeral(number), minute(NOW), NOW).unwrap();
    }
    for number in 3..1000 {
        assert!(matches!(set.insert(ephemeral(number), minute(NOW), NOW), Err(ReplayRefusal::Full)));
    }
    assert!(set.is_full() && (0..3).all(|number| set.contains(&ephemeral(number))));
    let now = later(REPLAY_KEEP.as_secs());
    set.insert(ephemeral(3), minute(now), now).unwrap();
    assert_eq!(set.len(), 1);
}

#[test]
fn the_real_capacity_is_the_protocols() {
    let mut set = ReplaySet::new();
    for number in 0..u32::try_from(REPLAY_CAPACITY).unwrap() {
        set.insert(ephemeral(number), minute(NOW), NOW).unwrap();
    }
    assert!(matches!(set.insert(ephemeral(u32::MAX), minute(NOW), NOW), Err(ReplayRefusal::Full)));
}

#[test]
fn messages_are_remembered_for_as_long_as_they_could_be_taken() {
    let mut set = ReplaySet::new();
    set.insert(ephemeral(1), Minute(minute(NOW).0 + BUILD_MINUTES), NOW).unwrap();
    set.expire(later(REPLAY_KEEP.as_secs() - 1));
    assert!(set.contains(&ephemeral(1)));
    let end = later(REPLAY_KEEP.as_secs());
    set.expire(end);
    assert!(!set.contains(&ephemeral(1)));
    assert!(!Minute(minute(NOW).0 + BUILD_MINUTES).is_near(minute(end)));
}

#[test]
fn a_clock_that_is_set_back_does_not_make_old_messages_good() {
    let mut set = ReplaySet::new();
    set.insert(ephemeral(1), minute(NOW), NOW).unwrap();
    set.expire(later(3600));
    assert!(set.is_empty());
    let again = set.insert(ephemeral(1), minute(NOW), NOW);
    assert!(matches!(again, Err(ReplayRefusal::Barred { .. })), "{again:?}");
}

/// Which of the minutes around the start are taken.
fn minutes_taken(mut guard: ReplayGuard, start: UnixSeconds) -> Vec<i64> {
    (-2..=6)
        .filter(|offset: &i64| {
            let at = Minute(minute(start).0.checked_add_signed(*offset as i32).unwrap());
            let now = UnixSeconds(u64::from(at.0) * 60);
            guard.remember(ephemeral(u32::MAX - *offset as u32), at, now.max(start)).is_ok()
        })
        .collect()
}

#[test]
fn a_new_key_begins_with_an_empty_set() {
    let directory = TempDir::new().unwrap();
    let fresh = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    assert_eq!(minutes_taken(fresh, NOW), (-2..=6).collect::<Vec<_>>());
}

#[test]
fn an_older_key_without_its_file_refuses_the_minutes_around_its_start() {
    let directory = TempDir::new().unwrap();
    let lost = guard(&directory, BOOT, KeyOrigin::MadeBefore, NOW);
    assert_eq!(minutes_taken(lost, NOW), [3, 4, 5, 6]);
}

#[test]
fn after_a_power_failure_the_minutes_around_the_start_are_refused_also_when_killed_again() {
    let directory = TempDir::new().unwrap();
    assert_eq!(taken(&mut guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW), NOW), 10_000);
    let other = BootId::new([2; 16]);
    let after = guard(&directory, other, KeyOrigin::MadeBefore, later(30));
    assert!(after.is_empty(), "another start's file says nothing of what was lost with it");
    drop(after);
    // Killed at once and started again, under the same boot id: the bar must not be forgotten.
    let again = guard(&directory, other, KeyOrigin::MadeBefore, later(31));
    assert_eq!(minutes_taken(again, later(30)), [3, 4, 5, 6]);
}

#[test]
fn a_file_that_is_none_is_no_memory() {
    for bytes in [&b""[..], b"sreplay", b"garbage garbage garbage garbage garbage"] {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("paths"), bytes).unwrap();
        let found = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
        assert_eq!(minutes_taken(found, NOW), [3, 4, 5, 6]);
    }
}

#[test]
fn an_entry_that_was_cut_off_is_left_out_and_later_ones_stay_in_place() {
    let directory = TempDir::new().unwrap();
    let mut first = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    first.remember(ephemeral(1), minute(NOW), NOW).unwrap();
    drop(first);
    let mut file = OpenOptions::new().append(true).open(directory.path().join("paths")).unwrap();
    file.write_all(&[9; 27]).unwrap();
    let mut second = guard(&directory, BOOT, KeyOrigin::MadeBefore, NOW);
    assert_eq!(second.len(), 1);
    second.remember(ephemeral(2), minute(NOW), NOW).unwrap();
    drop(second);
    let third = guard(&directory, BOOT, KeyOrigin::MadeBefore, NOW);
    assert!(third.contains(&ephemeral(1)) && third.contains(&ephemeral(2)));
}

#[test]
fn the_file_stays_as_short_as_what_is_remembered() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("paths");
    let mut guard = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    for number in 0..20_000_u32 {
        let now = later(u64::from(number));
        guard.remember(ephemeral(number), minute(now), now).unwrap();
    }
    let entries = std::fs::metadata(&path).unwrap().len() / 28;
    assert!(entries < 6_000, "{entries} entries for {}", guard.len());
    drop(guard);
    let again = ReplayGuard::open(&path, BOOT, KeyOrigin::MadeBefore, later(19_999)).unwrap();
    assert_eq!(again.len(), 360);
    assert!(again.contains(&ephemeral(19_999)) && !again.contains(&ephemeral(19_000)));
}

#[test]
fn a_file_dies_with_its_key() {
    let directory = TempDir::new().unwrap();
    let guard = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    assert!(directory.path().join("paths").exists());
    guard.destroy().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    ReplayGuard::in_memory().destroy().unwrap();
}

#[test]
fn what_cannot_be_written_is_not_taken() {
    let directory = TempDir::new().unwrap();
    let mut guard = guard(&directory, BOOT, KeyOrigin::MadeAtThisStart, NOW);
    // The file has to be written anew, and its directory is gone.
    guard.file.as_mut().unwrap().set_broken();
    drop(directory);
    let refused = guard.remember(ephemeral(1), minute(NOW), NOW);
    assert!(matches!(refused, Err(ReplayRefusal::File(_))), "{refused:?}");
    assert!(guard.is_empty());
}

#[test]
fn this_machine_has_a_boot_id() {
    assert_eq!(BootId::read().unwrap(), BootId::read().unwrap());
}
