//! A client's paths: building them, keeping them alive, and the streams on them.
//!
//! ```text
//!  PathStream ─ send ─▶ ┌──────────── Core (one lock) ───────────┐
//!  PathStream ◀─ recv ─ │ Streams, keys, inboxes (≤ credit each)  │ ◀─▶ Task ◀─▶ guard
//!                       │ outgoing (≤ 8 cells)                    │
//!                       └─────────────────────────────────────────┘
//! ```
//!
//! What is sent is sealed where it is sent, in the order of the lock, so a cell passes through no queue between the
//! caller and the stream to the guard. What is received waits in its stream's inbox; there is never more than the
//! credit that was given.

mod failure;
mod path;
mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::id::ChainId;
use sotto_proto::limits::HOPS;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

pub use self::failure::{Blame, PathEnd, PathError, StreamError};
use self::path::{Core, Handle, Owner};
pub use self::path::{Path, PathStream};
use self::task::Task;
use super::HopInfo;
use super::books::{Counted, Kind};
use super::build::{ClientBuild, ClientKeys};
use super::config::Deadlines;
use super::control::{Control, OpenError};
use super::hop::{read_frame, write_frame};
use super::outgoing::Outgoing;
use super::streams::{CreditBudget, Side, Streams};
use crate::clock::Clock;

/// What a path is built with.
pub(crate) struct Builder {
    pub(crate) chain: ChainId,
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) deadlines: Deadlines,
    pub(crate) budget: Arc<CreditBudget>,
    pub(crate) rng: ChaCha20Rng,
}

impl Builder {
    /// Builds a path and starts its task.
    pub(crate) async fn build(mut self, hops: [HopInfo; HOPS]) -> Result<Path, PathError> {
        let deadline = Instant::now() + self.deadlines.build;
        let minute = self.clock.now().wall.seconds().into();
        let sealed = ClientBuild::new(&self.chain, &hops, minute, &mut self.rng);
        let (frame, build) = sealed.map_err(|_| PathError::Keys)?;
        let opened = timeout_at(deadline, self.control.open(hops[0].node, Kind::Path)).await;
        let mut guard = opened.map_err(|_| PathError::GuardUnreachable)?.map_err(|error| match error {
            OpenError::Unreachable => PathError::GuardUnreachable,
            OpenError::Busy => PathError::Busy,
            OpenError::Refused => PathError::GuardClosed,
        })?;
        let exchange = async {
            write_frame(&mut guard, &frame).await?;
            read_frame(&mut guard).await
        };
        let reply = timeout_at(deadline, exchange).await.map_err(|_| PathError::TimedOut)?;
        let reply = reply.map_err(|_| PathError::GuardClosed)?;
        let keys = build.finish(&reply)?;
        Ok(self.start(hops, guard, keys))
    }

    fn start(self, hops: [HopInfo; HOPS], guard: Counted, keys: ClientKeys) -> Path {
        let (ended, end) = watch::channel(None);
        let core = Core {
            streams: Streams::new(Side::Client, self.budget),
            open: BTreeMap::new(),
            forward: keys.forward,
            abandoned: Vec::new(),
            reset_at: None,
            full: false,
            outgoing: Outgoing::default(),
            last_sent: Instant::now(),
            task: None,
            wanted: true,
            end: None,
        };
        let handle = Handle {
            core: Mutex::new(core),
            hops,
            chain: self.chain,
            clock: self.clock,
            rng: Mutex::new(self.rng),
            began: Instant::now(),
            new_streams: self.deadlines.new_streams,
            room: Notify::new(),
            end,
        };
        let core = Arc::new(handle);
        let path = Path(Arc::new(Owner(Arc::clone(&core))));
        let seed = path.seed();
        let task = Task::new(guard, core, keys.backward, self.deadlines, ChaCha20Rng::from_seed(seed), ended);
        tokio::spawn(task);
        path
    }
}
