//! The books: how many paths and tunnels run with one peer. Places are permits that travel with their streams and
//! become free when those are dropped, wherever that happens.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::Stream;
use sotto_proto::id::NodeId;
use sotto_proto::time::Monotonic;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Caps;
use crate::line::Line;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One link of a path.
    Path,
    /// From an exit to a destination.
    Tunnel,
}

/// So many a second, and some at once after a pause.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    burst: u32,
    /// When all places are free again.
    full_at: Monotonic,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1) / per_second.max(1), burst)
    }

    /// One in each `interval`, and `burst` at once after a pause.
    pub(crate) fn every(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full_at: Monotonic::default() }
    }

    /// Takes a place, if there is one.
    pub(crate) fn take(&mut self, now: Monotonic) -> bool {
        let taken = self.full_at.max(now).plus(self.interval);
        let has_room = taken.since(now) <= self.interval.saturating_mul(self.burst);
        if has_room {
            self.full_at = taken;
        }
        has_room
    }
}

/// The books of one peer, over all its connections.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) node: NodeId,
    client_paths: Arc<Semaphore>,
    node_paths: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    outbound_paths: Arc<Semaphore>,
    outbound_tunnels: Arc<Semaphore>,
    pub(crate) pending_builds: Arc<Semaphore>,
    limits: [(Arc<Semaphore>, usize); 5],
    rates: Mutex<Rates>,
    line: Line,
}

#[derive(Debug)]
struct Rates {
    builds: Builds,
    tunnels: Bucket,
}

/// Builds of one client, or of all.
#[derive(Debug)]
pub(crate) struct Builds {
    served: Bucket,
    /// Builds beyond the rate are answered, which costs as much as taking them; so there is a rate of that, too.
    told: Bucket,
}

impl Builds {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let bucket = || Bucket::new(per_second, burst);
        Self { served: bucket(), told: bucket() }
    }

    /// One more, of which at most this is `allowed`.
    pub(crate) fn build(&mut self, allowed: Allowed, now: Monotonic) -> Allowed {
        if allowed == Allowed::Served && self.served.take(now) {
            Allowed::Served
        } else if allowed != Allowed::Ignored && self.told.take(now) {
            Allowed::Told
        } else {
            Allowed::Ignored
        }
    }
}

/// What becomes of one more build of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// It is served.
    Served,
    /// It is told that there are too many.
    Told,
    /// It is not even looked at.
    Ignored,
}

impl Books {
    pub(crate) fn new(node: NodeId, caps: &Caps) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let (client_paths, node_paths) = (semaphore(caps.paths_per_client), semaphore(caps.paths_per_neighbour));
        let (outbound_paths, tunnels) = (semaphore(caps.paths_per_neighbour), semaphore(caps.tunnels_per_neighbour));
        let outbound_tunnels = semaphore(caps.tunnels_per_neighbour);
        let limits = [
            (Arc::clone(&client_paths), caps.paths_per_client),
            (Arc::clone(&node_paths), caps.paths_per_neighbour),
            (Arc::clone(&tunnels), caps.tunnels_per_neighbour),
            (Arc::clone(&outbound_paths), caps.paths_per_neighbour),
            (Arc::clone(&outbound_tunnels), caps.tunnels_per_neighbour),
        ];
        let rates = Mutex::new(Rates {
            builds: Builds::new(caps.builds_per_second, caps.build_burst),
            tunnels: Bucket::new(caps.tunnels_per_second, caps.tunnel_burst),
        });
        Self {
            node,
            client_paths,
            node_paths,
            tunnels,
            outbound_paths,
            outbound_tunnels,
            pending_builds: semaphore(caps.pending_neighbour_builds),
            limits,
            rates,
            line: Line::new(),
        }
    }

    /// Where this peer's handshakes wait for each other.
    pub(crate) const fn line(&self) -> &Line {
        &self.line
    }

    /// A place for a stream that the peer opened.
    pub(crate) fn inbound(&self, kind: Kind, registered: bool) -> Option<OwnedSemaphorePermit> {
        let semaphore = match (kind, registered) {
            (Kind::Path, false) => &self.client_paths,
            (Kind::Path, true) => &self.node_paths,
            (Kind::Tunnel, _) => &self.tunnels,
        };
        Arc::clone(semaphore).try_acquire_owned().ok()
    }

    /// A place for a stream to the peer.
    pub(crate) fn outbound(&self, kind: Kind) -> Option<OwnedSemaphorePermit> {
        let semaphore = match kind {
            Kind::Path => &self.outbound_paths,
            Kind::Tunnel => &self.outbound_tunnels,
        };
        Arc::clone(semaphore).try_acquire_owned().ok()
    }

    /// One more build of a client.
    pub(crate) fn build(&self, now: Monotonic) -> Allowed {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).builds.build(Allowed::Served, now)
    }

    /// Whether one more tunnel is within the rate.
    pub(crate) fn tunnel(&self, now: Monotonic) -> bool {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).tunnels.take(now)
    }

    /// Whether anything runs with the peer.
    pub(crate) fn in_use(&self) -> bool {
        self.limits.iter().any(|(semaphore, places)| semaphore.available_permits() < *places)
    }
}

/// A stream with its places.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: Stream,
    /// Held for its drop.
    _places: Vec<OwnedSemaphorePermit>,
}

impl Counted {
    pub(crate) const fn new(stream: Stream, places: Vec<OwnedSemaphorePermit>) -> Self {
        Self { stream, _places: places }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::node;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    #[test]
    fn a_bucket_gives_a_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(1, 6);
        assert_eq!((0..20).filter(|_| bucket.take(at(0))).count(), 6);
        assert!(!bucket.take(at(999)));
        assert!(bucket.take(at(1000)) && !bucket.take(at(1000)));
        assert_eq!((0..20).filter(|_| bucket.take(at(60_000))).count(), 6);
    }

    #[test]
    fn builds_beyond_the_rate_are_told_so_and_those_beyond_that_ignored() {
        let books = Books::new(node(1), &Caps::default());
        let verdicts: Vec<_> = (0..100).map(|_| books.build(at(0))).collect();
        let count = |of| verdicts.iter().filter(|verdict| **verdict == of).count();
        assert_eq!((count(Allowed::Served), count(Allowed::Told), count(Allowed::Ignored)), (6, 6, 88));
    }

    #[test]
    fn all_clients_together_have_a_rate_and_what_one_is_refused_counts_in_it() {
        let mut builds = Builds::new(2, 4);
        let served: Vec<_> = (0..10).map(|_| builds.build(Allowed::Served, at(0))).collect();
        assert_eq!(served[..4], [Allowed::Served; 4]);
        assert_eq!(served[4..8], [Allowed::Told; 4]);
        assert_eq!(served[8..], [Allowed::Ignored; 2]);
        assert_eq!(builds.build(Allowed::Told, at(600)), Allowed::Told);
        assert_eq!(builds.build(Allowed::Told, at(600)), Allowed::Ignored);
        assert_eq!(builds.build(Allowed::Ignored, at(9000)), Allowed::Ignored);
        assert_eq!(builds.build(Allowed::Served, at(9000)), Allowed::Served);
    }

    #[test]
    fn clients_nodes_and_directions_have_places_of_their_own() {
        let caps = Caps { paths_per_client: 2, paths_per_neighbour: 3, ..Caps::default() };
        let books = Books::new(node(1), &caps);
        assert!(!books.in_use());
        let of_client: Vec<_> = (0..9).map_while(|_| books.inbound(Kind::Path, false)).collect();
        let of_node: Vec<_> = (0..9).map_while(|_| books.inbound(Kind::Path, true)).collect();
        let to_node: Vec<_> = (0..9).map_while(|_| books.outbound(Kind::Path)).collect();
        assert_eq!((of_client.len(), of_node.len(), to_node.len()), (2, 3, 3));
        assert!(books.in_use());
        drop((of_client, of_node, to_node));
        assert!(!books.in_use() && books.inbound(Kind::Path, false).is_some());
    }
}
