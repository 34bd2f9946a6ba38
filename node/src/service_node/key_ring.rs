//! The node's X25519 keys and their rotation.
//!
//! ```text
//!            draw            on disk            final on the chain         one period later
//!   current ──────▶ current ───────▶ current ─────────────────▶ current ─────────────────▶ current
//!                   (next)           next                       previous                   (previous overwritten)
//!                                    │ RotateKey sent from here on, until the chain shows it
//! ```
//!
//! Every arrow is one [`Job`] that is on disk before the next begins. After a crash the files say how far it came, and
//! the chain says which key is in use: both together are enough to go on.

use sotto_behaviours::noise::Secret;
use sotto_behaviours::onion::build::HopSecrets;
use sotto_proto::account::X25519Secret;
use sotto_proto::codec::Reader;
use sotto_proto::id::{NodeId, X25519Key};
use sotto_proto::time::UnixMillis;

use crate::keys::{KeyDirectory, KeyError, Seed, Slot};
use crate::store::writer::{Job, KeyChange};
use crate::store::{Batch, MetaKey, Write};

/// Rotations are spread over this part of a period, so that not all nodes change at once.
const SPREAD: u64 = 10;

/// A secret with its public half.
struct Held {
    secret: X25519Secret,
    public: X25519Key,
}

impl Held {
    fn new(seed: &Seed) -> Self {
        let secret = seed.x25519();
        Self { public: secret.public(), secret }
    }
}

/// What the chain shows of the node's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key in the final record.
    pub confirmed: X25519Key,
    /// The key in the newest record, which may still be undone.
    pub newest: X25519Key,
    /// About how long ago the chain took it, in milliseconds.
    pub age_ms: u64,
}

/// A step that is under way to the disk.
enum Step {
    PutNext(Box<Held>),
    Promote { at: UnixMillis },
    DestroyPrevious,
}

/// The keys, and where their rotation stands.
pub struct KeyRing {
    current: Option<Held>,
    previous: Option<Held>,
    next: Option<Held>,
    /// Since when the current key is that.
    since: Option<UnixMillis>,
    under_way: Option<Step>,
    /// A rotation was asked for.
    wanted: bool,
    /// How often the keys have changed.
    changes: u64,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |held: &Option<Held>| held.as_ref().map(|held| held.public.short());
        f.debug_struct("KeyRing")
            .field("current", &short(&self.current))
            .field("previous", &short(&self.previous))
            .field("next", &short(&self.next))
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The keys on disk. `rotation` is what [`MetaKey::Rotation`] holds.
    ///
    /// # Errors
    /// When a key file is there and cannot be read.
    pub fn load(keys: &KeyDirectory, rotation: Option<&[u8]>) -> Result<Self, KeyError> {
        let find = |slot| keys.find(slot).map(|seed| seed.as_ref().map(Held::new));
        let (current, previous, next) = (find(Slot::X25519)?, find(Slot::X25519Previous)?, find(Slot::X25519Next)?);
        Ok(Self::of(current, previous, next, rotation))
    }

    fn of(current: Option<Held>, previous: Option<Held>, next: Option<Held>, rotation: Option<&[u8]>) -> Self {
        let since = rotation
            .and_then(decode_rotation)
            .filter(|(key, _)| current.as_ref().is_some_and(|current| current.public == *key))
            .map(|(_, since)| since);
        Self { current, previous, next, since, under_way: None, wanted: false, changes: 0 }
    }

    /// What opens builds of paths and tunnels to this node, if it has a key at all.
    #[must_use]
    pub fn hop_secrets(&self) -> Option<HopSecrets> {
        self.current.as_ref()?;
        Some(HopSecrets::new(self.secrets().map(|(_, secret)| Secret::from(secret))))
    }

    /// Counts the changes of [`Self::hop_secrets`].
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The key to register: the current one.
    #[must_use]
    pub fn current(&self) -> Option<X25519Key> {
        self.current.as_ref().map(|held| held.public)
    }

    /// The key that the chain should show and does not yet.
    #[must_use]
    pub fn to_announce(&self, shown: &Shown) -> Option<X25519Key> {
        self.next.as_ref().map(|next| next.public).filter(|next| *next != shown.newest)
    }

    /// Every secret that opens something now: builders of paths may know the current or the previous key, and those
    /// ahead of this node already the next one.
    pub fn secrets(&self) -> impl Iterator<Item = (&X25519Key, &X25519Secret)> {
        [&self.current, &self.previous, &self.next].into_iter().flatten().map(|held| (&held.public, &held.secret))
    }

    /// Whether the node has the secret of a key.
    #[must_use]
    pub fn holds(&self, key: &X25519Key) -> bool {
        self.secrets().any(|(public, _)| public == key)
    }

    /// Asks for a rotation now. One that is under way is it.
    pub const fn rotate_now(&mut self) {
        self.wanted = self.next.is_none();
    }

    /// When the next rotation is due.
    #[must_use]
    pub fn due_at(&self, node: &NodeId, period_ms: u64) -> Option<UnixMillis> {
        let early = period_ms / SPREAD * u64::from(node.as_bytes()[0]) / 256;
        self.since.map(|since| UnixMillis(since.0.saturating_add(period_ms - early)))
    }

    /// When the previous key is overwritten.
    fn expires_at(&self, period_ms: u64) -> Option<UnixMillis> {
        self.previous.as_ref()?;
        self.since.map(|since| UnixMillis(since.0.saturating_add(period_ms)))
    }

    /// The next time at which [`Self::step`] may have something to do.
    #[must_use]
    pub fn wake_at(&self, node: &NodeId, period_ms: u64) -> Option<UnixMillis> {
        let due = self.due_at(node, period_ms).filter(|_| self.next.is_none());
        [due, self.expires_at(period_ms)].into_iter().flatten().min()
    }

    /// The next step, if there is one: what is to be put on disk. [`Self::stepped`] must follow.
    pub fn step(
        &mut self,
        node: &NodeId,
        shown: &Shown,
        period_ms: u64,
        now: UnixMillis,
        draw: impl FnOnce() -> Seed,
    ) -> Option<Job> {
        if self.under_way.is_some() {
            return None;
        }
        let since = *self.since.get_or_insert(UnixMillis(now.0.saturating_sub(shown.age_ms)));
        if self.next.as_ref().is_some_and(|next| next.public == shown.confirmed) {
            self.under_way = Some(Step::Promote { at: now });
            let row = Write::PutMeta(MetaKey::Rotation, encode_rotation(&shown.confirmed, now));
            return Some(Job { keys: vec![KeyChange::Promote], batch: Batch::of(row) });
        }
        let lost = !self.holds(&shown.newest);
        let due = self.due_at(node, period_ms).is_some_and(|due| now >= due);
        if self.next.is_none() && (lost || due || self.wanted) {
            let seed = draw();
            self.under_way = Some(Step::PutNext(Box::new(Held::new(&seed))));
            return Some(Job { keys: vec![KeyChange::PutNext(seed)], batch: Batch::default() });
        }
        let expired = now.0 >= since.0.saturating_add(period_ms);
        let in_use = self.previous.as_ref().is_some_and(|previous| previous.public == shown.confirmed);
        if self.previous.is_some() && expired && !in_use {
            self.under_way = Some(Step::DestroyPrevious);
            let destroy = KeyChange::Destroy(Slot::X25519Previous);
            return Some(Job { keys: vec![destroy], batch: Batch::default() });
        }
        None
    }

    /// The step is on disk (`true`), or was not made.
    pub fn stepped(&mut self, done: bool) {
        self.changes += u64::from(done);
        match self.under_way.take() {
            Some(Step::PutNext(next)) if done => {
                self.next = Some(*next);
                self.wanted = false;
            }
            Some(Step::Promote { at }) if done => {
                self.previous = self.current.take();
                self.current = self.next.take();
                self.since = Some(at);
            }
            Some(Step::DestroyPrevious) if done => self.previous = None,
            _ => {}
        }
    }
}

/// X25519 key ‖ Unix ms.
fn encode_rotation(key: &X25519Key, since: UnixMillis) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    bytes.extend_from_slice(&since.0.to_be_bytes());
    bytes
}

fn decode_rotation(bytes: &[u8]) -> Option<(X25519Key, UnixMillis)> {
    let mut reader = Reader::new(bytes);
    let row = (reader.id().ok()?, UnixMillis(reader.u64().ok()?));
    reader.finish().ok()?;
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 1_800_000;
    const NODE: NodeId = NodeId::new([0; 32]);

    fn seed(byte: u8) -> Seed {
        Seed::take(&mut [byte; 32])
    }

    fn public(byte: u8) -> X25519Key {
        seed(byte).x25519().public()
    }

    fn shown(confirmed: u8, newest: u8) -> Shown {
        Shown { confirmed: public(confirmed), newest: public(newest), age_ms: 0 }
    }

    /// A disk that applies jobs as the storage thread does, and the ring that a start from it gives.
    struct Disk {
        _datadir: tempfile::TempDir,
        keys: KeyDirectory,
        row: Option<Vec<u8>>,
    }

    impl Disk {
        fn new() -> Self {
            let datadir = tempfile::tempdir().unwrap();
            let keys = KeyDirectory::of(datadir.path());
            keys.create().unwrap();
            keys.write_new(Slot::X25519, &seed(1)).unwrap();
            Self { _datadir: datadir, keys, row: None }
        }

        fn start(&self) -> KeyRing {
            self.keys.promote_if_cut_short().unwrap();
            KeyRing::load(&self.keys, self.row.as_deref()).unwrap()
        }

        fn apply(&mut self, job: Job) {
            for change in job.keys {
                match change {
                    KeyChange::PutNext(seed) => self.keys.put_next(&seed).unwrap(),
                    KeyChange::Promote => self.keys.promote().unwrap(),
                    KeyChange::Destroy(slot) => self.keys.destroy(slot).unwrap(),
                }
            }
            if let Some(Write::PutMeta(MetaKey::Rotation, row)) = job.batch.writes.into_iter().next() {
                self.row = Some(row);
            }
        }
    }

    fn step(ring: &mut KeyRing, shown: Shown, now: u64, drawn: u8) -> Option<Job> {
        ring.step(&NODE, &shown, PERIOD, UnixMillis(now), || seed(drawn))
    }

    #[test]
    fn a_rotation_goes_from_draw_to_chain_to_destruction() {
        let mut disk = Disk::new();
        let mut ring = disk.start();
        assert!(step(&mut ring, shown(1, 1), 0, 2).is_none());
        assert_eq!(ring.due_at(&NODE, PERIOD), Some(UnixMillis(PERIOD)));

        disk.apply(step(&mut ring, shown(1, 1), PERIOD, 2).unwrap());
        assert_eq!(ring.to_announce(&shown(1, 1)), None, "not before it is on disk");
        ring.stepped(true);
        assert_eq!(ring.to_announce(&shown(1, 1)), Some(public(2)));
        assert_eq!(ring.to_announce(&shown(1, 2)), None, "the newest block has it");
        assert!(step(&mut ring, shown(1, 2), PERIOD + 1, 9).is_none(), "it may still be undone");
        assert!(ring.holds(&public(1)) && ring.holds(&public(2)));

        disk.apply(step(&mut ring, shown(2, 2), PERIOD + 3000, 9).unwrap());
        ring.stepped(true);
        assert_eq!(ring.current(), Some(public(2)));
        assert!(ring.holds(&public(1)), "for clients whose list is old");

        assert!(step(&mut ring, shown(2, 2), 2 * PERIOD + 2999, 3).is_none());
        // Both are due now: the new key comes first, then the old one goes.
        disk.apply(step(&mut ring, shown(2, 2), 2 * PERIOD + 3000, 3).unwrap());
        ring.stepped(true);
        disk.apply(step(&mut ring, shown(2, 2), 2 * PERIOD + 3000, 9).unwrap());
        ring.stepped(true);
        assert!(!ring.holds(&public(1)));
        assert_eq!(disk.keys.find(Slot::X25519Previous).unwrap().map(|_| ()), None);
    }

    #[test]
    fn every_key_that_may_be_meant_opens_builds_and_every_change_is_counted() {
        let disk = Disk::new();
        let mut ring = disk.start();
        let tags = |ring: &KeyRing| ring.hop_secrets().unwrap().tags().collect::<Vec<_>>();
        let tag = |byte| sotto_proto::cell::key_tag(&public(byte));
        assert_eq!(tags(&ring), [tag(1)]);
        assert!(step(&mut ring, shown(1, 1), 0, 2).is_none());
        let steps = [(1, PERIOD, vec![tag(1), tag(2)]), (2, PERIOD + 1, vec![tag(2), tag(1)])];
        for (changes, (confirmed, now, expected)) in (1..).zip(steps) {
            step(&mut ring, shown(confirmed, confirmed), now, 2).unwrap();
            ring.stepped(true);
            assert_eq!((tags(&ring), ring.changes()), (expected, changes));
        }
        step(&mut ring, shown(2, 2), 3 * PERIOD, 3).unwrap();
        ring.stepped(false);
        assert_eq!(ring.changes(), 2, "nothing came of that");
    }

    #[test]
    fn a_crash_after_any_step_is_continued() {
        // 0: before anything, 1: next key on disk, 2: promoted, 3: previous destroyed.
        for crash_after in 0..=3 {
            let mut disk = Disk::new();
            let (mut chain, mut now, mut changed) = (1, 0, 0);
            for round in 0..8 {
                let mut ring = disk.start();
                for _ in 0..crash_after.max(1) {
                    now += PERIOD / 2;
                    let shown = Shown { age_ms: now - changed, ..shown(chain, chain) };
                    if let Some(job) = step(&mut ring, shown, now, 2 + round) {
                        disk.apply(job);
                        if crash_after == 0 {
                            break; // on disk, but the machine never heard of it
                        }
                        ring.stepped(true);
                    }
                    if let Some(key) = ring.to_announce(&shown) {
                        (chain, changed) = ((1..20).find(|byte| public(*byte) == key).unwrap(), now);
                    }
                    assert!(ring.holds(&public(chain)), "the key on the chain must never be lost");
                }
            }
            assert!(chain > 1, "crash after {crash_after}: no rotation ever came through");
            assert!(disk.start().holds(&public(chain)));
        }
    }

    #[test]
    fn a_reorganisation_that_undoes_the_change_announces_it_again() {
        let disk = Disk::new();
        let mut ring = disk.start();
        ring.rotate_now();
        step(&mut ring, shown(1, 1), 5, 2).unwrap();
        ring.stepped(true);
        assert_eq!(ring.to_announce(&shown(1, 2)), None);
        assert_eq!(ring.to_announce(&shown(1, 1)), Some(public(2)));
    }

    #[test]
    fn a_key_the_node_does_not_have_is_replaced_at_once() {
        let disk = Disk::new();
        let mut ring = disk.start();
        assert!(!ring.holds(&public(7)));
        assert!(step(&mut ring, shown(7, 7), 5, 2).is_some());
    }

    #[test]
    fn a_failed_step_is_tried_again() {
        let disk = Disk::new();
        let mut ring = disk.start();
        ring.rotate_now();
        assert!(step(&mut ring, shown(1, 1), 5, 2).is_some());
        assert!(step(&mut ring, shown(1, 1), 5, 2).is_none(), "one at a time");
        ring.stepped(false);
        assert!(step(&mut ring, shown(1, 1), 5, 2).is_some());
    }

    #[test]
    fn after_a_restore_without_database_the_chain_says_how_old_the_key_is() {
        let disk = Disk::new();
        let mut ring = disk.start();
        let old = Shown { age_ms: PERIOD, ..shown(1, 1) };
        assert!(step(&mut ring, old, 10 * PERIOD, 2).is_some());
    }

    #[test]
    fn debug_shows_no_secret() {
        let ring = Disk::new().start();
        assert!(!format!("{ring:?}").contains(&hex::encode([1_u8; 8])));
    }
}
