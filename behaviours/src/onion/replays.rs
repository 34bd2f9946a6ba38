//! The replay sets of a node: two for each of its keys, one for paths and one for tunnels, made and destroyed with the
//! key.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sotto_proto::cell::{KeyTag, Minute, key_tag};
use sotto_proto::id::X25519Key;
use sotto_proto::time::UnixSeconds;

use super::Ephemeral;
use super::books::Kind;
use super::build::HopSecrets;
use super::replay::{BootId, KeyOrigin, ReplayGuard, ReplayRefusal};

const KINDS: [Kind; 2] = [Kind::Path, Kind::Tunnel];
const SUFFIX: &str = "replay";
/// Between two lines in the log about refused first messages: who fills a set has as many refused as it likes.
const SAY_AGAIN_SECONDS: u64 = 10;

/// Makes empty replay sets for a key that was just drawn, before anybody could know it. A key that has none when a node
/// starts may have been used before: the node then refuses for three minutes what could be a repetition.
///
/// # Errors
/// When the files cannot be written.
pub fn prepare(dir: &Path, key: &X25519Key, now: UnixSeconds) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for kind in KINDS {
        ReplayGuard::open(&file(dir, kind, key_tag(key)), BootId::read()?, KeyOrigin::MadeAtThisStart, now)?;
    }
    Ok(())
}

/// All sets.
#[derive(Debug)]
pub(crate) struct Replays {
    dir: PathBuf,
    sets: Mutex<BTreeMap<KeyTag, Sets>>,
    /// When refusals were last logged.
    said: Mutex<UnixSeconds>,
}

#[derive(Debug)]
struct Sets {
    paths: ReplayGuard,
    tunnels: ReplayGuard,
}

impl Sets {
    fn open(dir: &Path, tag: KeyTag, origin: KeyOrigin, now: UnixSeconds) -> io::Result<Self> {
        let open = |kind| ReplayGuard::open(&file(dir, kind, tag), BootId::read()?, origin, now);
        Ok(Self { paths: open(Kind::Path)?, tunnels: open(Kind::Tunnel)? })
    }

    const fn of(&self, kind: Kind) -> &ReplayGuard {
        match kind {
            Kind::Path => &self.paths,
            Kind::Tunnel => &self.tunnels,
        }
    }

    const fn of_mut(&mut self, kind: Kind) -> &mut ReplayGuard {
        match kind {
            Kind::Path => &mut self.paths,
            Kind::Tunnel => &mut self.tunnels,
        }
    }
}

impl Replays {
    /// Loads the sets of the keys there are, and deletes those of keys that are gone.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be used.
    pub(crate) fn load(dir: &Path, secrets: &HopSecrets, now: UnixSeconds) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut sets = BTreeMap::new();
        for tag in secrets.tags() {
            sets.insert(tag, Sets::open(dir, tag, KeyOrigin::MadeBefore, now)?);
        }
        let kept: Vec<_> = sets.keys().flat_map(|tag| KINDS.map(|kind| file(dir, kind, *tag))).collect();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == SUFFIX) && !kept.contains(&path) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(Self { dir: dir.to_owned(), sets: Mutex::new(sets), said: Mutex::default() })
    }

    /// The keys changed: new ones, drawn by this process, begin with empty sets; those of gone ones are destroyed.
    pub(crate) fn follow(&self, secrets: &HopSecrets, now: UnixSeconds) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let tags: Vec<_> = secrets.tags().collect();
        for tag in &tags {
            if sets.contains_key(tag) {
                continue;
            }
            match Sets::open(&self.dir, *tag, KeyOrigin::MadeAtThisStart, now) {
                Ok(new) => {
                    sets.insert(*tag, new);
                }
                // Without a set every build to this key is refused as busy, and the other key still works.
                Err(error) => tracing::error!(%error, "no replay set for a new key"),
            }
        }
        let gone: Vec<_> = sets.keys().filter(|tag| !tags.contains(tag)).copied().collect();
        for tag in gone {
            let Some(Sets { paths, tunnels }) = sets.remove(&tag) else { continue };
            for result in [paths.destroy(), tunnels.destroy()] {
                if let Err(error) = result {
                    tracing::warn!(%error, "the replay set of an old key was not deleted");
                }
            }
        }
    }

    /// Whether a first message with this ephemeral key was there before.
    pub(crate) fn contains(&self, kind: Kind, tag: KeyTag, ephemeral: &Ephemeral) -> bool {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(&tag).is_some_and(|sets| sets.of(kind).contains(ephemeral))
    }

    /// Remembers a first message that opened; on disk, not synced, when this returns.
    ///
    /// # Errors
    /// [`ReplayRefusal`] when it must not be served.
    pub(crate) fn remember(
        &self,
        kind: Kind,
        tag: KeyTag,
        ephemeral: Ephemeral,
        minute: Minute,
        now: UnixSeconds,
    ) -> Result<(), ReplayRefusal> {
        let remembered = {
            let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
            let set = sets.get_mut(&tag).map(|sets| sets.of_mut(kind)).ok_or(ReplayRefusal::Full);
            set.and_then(|set| set.remember(ephemeral, minute, now))
        };
        remembered.inspect_err(|error| self.say(kind, error, now))
    }

    /// Logs, now and then, that first messages are refused. A repeated one is somebody else's fault.
    fn say(&self, kind: Kind, error: &ReplayRefusal, now: UnixSeconds) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(error, ReplayRefusal::Replayed) || now.0.abs_diff(said.0) < SAY_AGAIN_SECONDS {
            return;
        }
        *said = now;
        drop(said);
        tracing::warn!(%error, of = purpose(kind), "first messages are not served");
    }
}

const fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Path => "paths",
        Kind::Tunnel => "tunnels",
    }
}

fn file(dir: &Path, kind: Kind, tag: KeyTag) -> PathBuf {
    let [a, b, c, d] = *tag.as_bytes();
    dir.join(format!("{}-{a:02x}{b:02x}{c:02x}{d:02x}.{SUFFIX}", purpose(kind)))
}
