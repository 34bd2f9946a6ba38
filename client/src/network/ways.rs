//! Two ways to the same members: a path, and another one where nothing comes back through the first.
//!
//! ```text
//! member 1 ── path ── … silent …
//! member 2 ── path ── … silent …
//! member 4, asked late ── second path ──► answer: a hop of the first one is what is silent
//! ```
//!
//! A hop that freezes ends no path for a while, and all that are asked through it are silent together. Whoever is asked
//! in their place, because they are late, is asked through the second path; it is built only then.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::Shared;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Path, StreamError};
use sotto_behaviours::tunnel::client::{Error, Tunnel};
use sotto_proto::request::{Info, SwarmRequest, SwarmResponse};

use super::clock::SharedClock;
use super::lookups::{Lookup, LookupError};

/// A path, and where another one comes from.
#[derive(Debug)]
pub struct Ways<F: Future<Output = Option<Path>>> {
    first: Path,
    /// Nobody works on it before it is wanted.
    second: Shared<F>,
    /// Whether anything came back through the first.
    heard: AtomicBool,
    /// Whether anything came back through the second.
    heard_second: AtomicBool,
}

impl<F: Future<Output = Option<Path>>> Ways<F> {
    /// `second` is polled only if the first one is silent.
    pub fn new(first: Path, second: F) -> Self {
        let silent = || AtomicBool::new(false);
        Self { first, second: second.shared(), heard: silent(), heard_second: silent() }
    }

    /// The path that is used as long as something comes back through it.
    pub const fn first(&self) -> &Path {
        &self.first
    }

    /// The way of the next question. `late`: it is asked because those before it have not been answered.
    pub async fn next(&self, late: bool) -> Path {
        let is_silent = late && !self.is_heard();
        if !is_silent && self.first.end().is_none() {
            return self.first.clone();
        }
        self.second.clone().await.unwrap_or_else(|| self.first.clone())
    }

    /// Opens a tunnel to a node and asks it for time and height; `late` as for [`Ways::next`].
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn look_up(&self, to: HopInfo, late: bool, clock: &SharedClock) -> Result<(Lookup, Info), LookupError> {
        let way = self.next(late).await;
        let looked = Lookup::connect(&way, to, clock).await;
        let is_answer = match &looked {
            Err(LookupError::Tunnel(error)) => came_back(error, &way),
            Ok(_) | Err(_) => true,
        };
        if is_answer {
            self.heard(&way);
        }
        looked
    }

    /// Opens a tunnel to a member and asks it; `late` as for [`Ways::next`].
    ///
    /// # Errors
    /// [`Error`] of the tunnel.
    pub async fn connect(
        &self,
        to: HopInfo,
        late: bool,
        request: SwarmRequest,
    ) -> Result<(Tunnel, Option<SwarmResponse>), Error> {
        let way = self.next(late).await;
        let connected = Tunnel::connect(&way, to, Some(request)).await;
        if connected.as_ref().map_or_else(|error| came_back(error, &way), |_| true) {
            self.heard(&way);
        }
        connected
    }

    /// An answer came back along this way.
    pub fn heard(&self, path: &Path) {
        let heard = if path.is(&self.first) { &self.heard } else { &self.heard_second };
        heard.store(true, Ordering::Relaxed);
    }

    /// Whether anything came back through the first path.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether those who were `late` are to blame for it: something came back, but not from them. Where nothing did, one
    /// alone may be at fault; several are not, but what is between.
    #[must_use]
    pub fn blames(&self, late: usize) -> bool {
        self.is_heard() || (late < 2 && !self.heard_second.load(Ordering::Relaxed))
    }

    /// The path that is to be used from now on in place of the first, which was silent while this one was not.
    #[must_use]
    pub fn better(&self) -> Option<Path> {
        if self.is_heard() || !self.heard_second.load(Ordering::Relaxed) {
            return None;
        }
        self.second.peek().cloned().flatten()
    }
}

/// Whether a failure says that something came back along the way.
fn came_back(error: &Error, way: &Path) -> bool {
    match error {
        Error::Closed | Error::Sealed(_) | Error::Message(_) => true,
        Error::Stream(error) => !matches!(error, StreamError::Full) && way.end().is_none(),
        Error::TimedOut => false,
    }
}
