//! Deadlines and caps of paths and tunnels. Their defaults are the protocol's ([`sotto_proto::limits`]); tests set
//! shorter and smaller ones.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sotto_proto::limits;
use tokio::sync::watch;

use super::build::HopSecrets;

/// What a host that relays for others is given.
#[derive(Clone)]
pub struct RelayConfig {
    /// The X25519 keys that open builds and tunnels; the owner sends new ones when they rotate.
    pub secrets: watch::Receiver<Arc<HopSecrets>>,
    /// Where the replay sets are written, one file for each key and use.
    pub replay_dir: PathBuf,
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayConfig").field("replay_dir", &self.replay_dir).finish_non_exhaustive()
    }
}

/// How long things of paths and tunnels may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From a path stream's beginning to its whole build frame.
    pub build_frame: Duration,
    /// How long the guard, the middle and the exit wait before they answer that the next hop timed out.
    pub reply: [Duration; limits::HOPS],
    /// How long a client waits for its path.
    pub build: Duration,
    /// A hop ends a path that had no forward frame for this long.
    pub idle: Duration,
    /// A hop ends a path at this age.
    pub age: Duration,
    /// A client opens no more streams on a path of this age.
    pub new_streams: Duration,
    /// A client sends at least one cell in this time, drawn anew each time.
    pub keep_alive: RangeInclusive<Duration>,
    /// A path whose write is pending this long is killed.
    pub write_stall: Duration,
    /// A tunnel's first message must have come after this time.
    pub first_message: Duration,
    /// A node ends a tunnel at this age.
    pub tunnel_age: Duration,
    /// How long an exit waits for a connection to a destination.
    pub destination: Duration,
    /// Every failed dial to a server is answered after this time.
    pub dial_failure: Duration,
    /// How long a connection that carried a path or a tunnel is kept for the next one.
    pub warm: Duration,
    /// How long a host that stops lets its paths say so.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let (shortest, longest) = limits::PATH_KEEP_ALIVE_SECONDS.into_inner();
        Self {
            build_frame: limits::BUILD_DEADLINE,
            reply: limits::REPLY_DEADLINES,
            build: limits::BUILD_DEADLINE,
            idle: limits::PATH_IDLE,
            age: limits::PATH_AGE,
            new_streams: limits::PATH_NEW_STREAMS,
            keep_alive: Duration::from_secs(shortest)..=Duration::from_secs(longest),
            write_stall: limits::WRITE_STALL,
            first_message: limits::FIRST_MESSAGE,
            tunnel_age: limits::TUNNEL_AGE,
            destination: limits::REPLY_DEADLINES[0],
            dial_failure: limits::DIAL_FAILURE,
            warm: limits::RELAY_IDLE,
            drain: limits::DRAIN,
        }
    }
}

/// How many paths and tunnels there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Path hops of this node.
    pub hops: usize,
    /// Paths of one client connection.
    pub paths_per_client: usize,
    /// Paths between two nodes, each direction apart.
    pub paths_per_neighbour: usize,
    /// Builds of clients that are pending.
    pub pending_client_builds: usize,
    /// Builds pending with one neighbour.
    pub pending_neighbour_builds: usize,
    /// Builds a second of one client connection.
    pub builds_per_second: u32,
    /// Its builds at once after a pause.
    pub build_burst: u32,
    /// Builds a second of all clients together.
    pub client_builds_per_second: u32,
    /// Their builds at once after a pause.
    pub client_build_burst: u32,
    /// Writes that may be pending at once; of more the oldest path dies.
    pub stalled_writes: usize,
    /// Tunnel streams open at this exit.
    pub exit_streams: usize,
    /// Tunnels from one other node.
    pub tunnels_per_neighbour: usize,
    /// Tunnels from all others.
    pub tunnels: usize,
    /// Tunnels a second from one other node.
    pub tunnels_per_second: u32,
    /// Its tunnels at once after a pause.
    pub tunnel_burst: u32,
    /// Bytes of first messages that are buffered before any key is checked.
    pub unauthenticated_bytes: usize,
    /// Bytes of answers that tunnels have and have not sent; of more the oldest is given up.
    pub answer_bytes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            hops: limits::PATH_HOPS,
            paths_per_client: limits::PATHS_PER_CLIENT,
            paths_per_neighbour: limits::PATHS_PER_NEIGHBOUR,
            pending_client_builds: limits::PENDING_CLIENT_BUILDS,
            pending_neighbour_builds: limits::PENDING_NEIGHBOUR_BUILDS,
            builds_per_second: limits::BUILDS_PER_SECOND,
            build_burst: limits::BUILD_BURST,
            client_builds_per_second: limits::CLIENT_BUILDS_PER_SECOND,
            client_build_burst: limits::CLIENT_BUILD_BURST,
            stalled_writes: limits::STALLED_WRITES,
            exit_streams: limits::STREAMS_PER_EXIT,
            tunnels_per_neighbour: limits::TUNNELS_PER_NEIGHBOUR,
            tunnels: limits::TUNNELS,
            tunnels_per_second: limits::TUNNELS_PER_SECOND,
            tunnel_burst: limits::TUNNEL_BURST,
            unauthenticated_bytes: limits::UNAUTHENTICATED_BYTES,
            answer_bytes: limits::ANSWERS_IN_FLIGHT,
        }
    }
}
