//! A second path for each purpose that is in use for long: when one ends, the other is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::onion::client::{Blame, Path, PathError};
use sotto_proto::cell::Position;
use sotto_proto::id::NodeId;
use sotto_proto::limits::HOPS;
use sotto_proto::network::NodeList;
use tokio::task::{AbortHandle, JoinSet};

use super::{Error, Paths, Purpose, hops};
use crate::network::choice::{self, Avoid, NoPath};
use crate::network::host::GuardHost;

/// A path that has been up for so long serves more than one short command.
pub const SETTLED: Duration = Duration::from_secs(1);

/// Second paths that are being built.
#[derive(Debug, Default)]
pub(super) struct Spares {
    builds: JoinSet<Build>,
    /// One for a purpose.
    tasks: BTreeMap<Purpose, AbortHandle>,
}

#[derive(Debug)]
struct Build {
    purpose: Purpose,
    chosen: [NodeId; HOPS],
    built: Result<Path, PathError>,
}

impl Spares {
    /// None of them is wanted any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// That of this purpose is not wanted any more.
    pub(super) fn drop_build(&mut self, purpose: Purpose) {
        if let Some(task) = self.tasks.remove(&purpose) {
            task.abort();
        }
    }

    fn is_building(&self, purpose: Purpose) -> bool {
        self.tasks.get(&purpose).is_some_and(|task| !task.is_finished())
    }
}

impl Paths {
    /// Has a second path for `purpose` built if there is one, settled, and no other. Does not wait: the path is there for
    /// whoever asks next, or if that fails, tried again then.
    pub fn keep_spare(&mut self, nodes: &NodeList, purpose: Purpose, avoid: &Avoid) {
        self.take_spares();
        let mut serving = self.serving(nodes, purpose, avoid);
        let (Some(path), None) = (serving.next(), serving.next()) else { return };
        let (age, [_, middle, exit]) = (path.age(), path.hops().map(|hop| hop.node));
        drop(serving);
        if age < SETTLED || self.spares.is_building(purpose) {
            return;
        }
        if let Err(error) = self.build_spare(nodes, purpose, avoid, [middle, exit]) {
            tracing::debug!(%error, "no second path");
        }
    }

    fn build_spare(
        &mut self,
        nodes: &NodeList,
        purpose: Purpose,
        avoid: &Avoid,
        used: [NodeId; 2],
    ) -> Result<(), Error> {
        let guard = self.runners(nodes, avoid, &BTreeSet::new()).first().ok_or(NoPath::Guard)?.guard;
        let shunned = self.scores.shunned(nodes.len(), self.clock.own().monotonic);
        // What ends one path should not end the other; in a small network there may be no others.
        let all = shunned.iter().copied().chain(used).collect();
        let chosen = choice::behind_guard(nodes, &guard, avoid, &all, &mut self.rng)
            .or_else(|_| choice::behind_guard(nodes, &guard, avoid, &shunned, &mut self.rng))?;
        let build = self.host(nodes, guard)?.build(hops(nodes, chosen).ok_or(NoPath::TooFew)?);
        let task = self.spares.builds.spawn(async move { Build { purpose, chosen, built: build.await } });
        self.spares.tasks.insert(purpose, task);
        Ok(())
    }

    /// Takes what was built meanwhile.
    pub(super) fn take_spares(&mut self) {
        while let Some(joined) = self.spares.builds.try_join_next() {
            let Ok(Build { purpose, chosen, built }) = joined else { continue };
            match built {
                Ok(path) => {
                    self.clock.accepted();
                    self.held.push((purpose, path));
                }
                Err(error) => {
                    tracing::debug!(%error, "a second path was not built");
                    self.note_spare_failure(&error, &chosen);
                }
            }
        }
    }

    /// As for any build, but for the guard: paths in use go through it, and a second one is no reason to end those, nor to
    /// show the client's address to another. Where the guard is connected, silence is taken to be that of a hop behind.
    fn note_spare_failure(&mut self, error: &PathError, chosen: &[NodeId; HOPS]) {
        if error.blame() != Blame::Hop(Position::Guard) {
            self.note_failure(error, chosen);
        } else if matches!(error, PathError::TimedOut)
            && self.hosts.get(&chosen[0]).is_some_and(GuardHost::is_connected)
        {
            let now = self.clock.own().monotonic;
            chosen[1..].iter().for_each(|hop| self.scores.half(*hop, now));
        }
    }
}
