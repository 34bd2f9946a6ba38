//! The one builder of libp2p hosts, for nodes, the producer and clients alike: TCP, Noise, Yamux, nothing else.
//!
//! - Yamux allows exactly as many streams as leave its window budget no spare, so that no peer can grow a window; far
//!   below that, what a peer may open is bounded by who it is (see `muxing`).
//! - Streams negotiate lazily: each of our protocols proposes one name and writes first, so its first bytes travel with
//!   the proposal. A listener that does not speak the protocol shows as an error of the first read.
//! - No identify: the chain is the address book, and a client tells nothing about itself.
//! - Everything before a connection is established has one deadline, not an idle timer.

use std::io;
use std::num::{NonZeroU8, NonZeroUsize};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::{Config, NetworkBehaviour};
use libp2p::{PeerId, Swarm, Transport, noise};
use prometheus_client::metrics::counter::Counter;
use sotto_proto::id::NodeId;
use sotto_proto::limits;

use crate::line::InLine;
use crate::network::Timeouts;
use crate::{muxing, peer};

/// What a host's swarm runs on: authenticated, multiplexed connections.
pub type HostTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Puts Noise and Yamux on any byte stream transport. `is_node` is asked once for each connection: who is no node may
/// open fewer streams.
///
/// # Errors
/// [`noise::Error`] when the identity cannot sign the Noise key.
pub fn secure<T>(
    transport: T,
    identity: &Keypair,
    timeouts: &Timeouts,
    is_node: impl Fn(&NodeId) -> bool + Clone + Send + Unpin + 'static,
) -> Result<HostTransport, noise::Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    secure_counted(transport, identity, timeouts, is_node, Counter::default())
}

/// The same; `refused` counts the streams that were one too many.
pub(crate) fn secure_counted<T>(
    transport: T,
    identity: &Keypair,
    timeouts: &Timeouts,
    is_node: impl Fn(&NodeId) -> bool + Clone + Send + Unpin + 'static,
    refused: Counter,
) -> Result<HostTransport, noise::Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let shared = muxing::Shared::new(refused);
    let authenticated = transport.upgrade(Version::V1Lazy).authenticate(InLine::new(noise::Config::new(identity)?));
    let upgraded = authenticated.multiplex_ext(move |peer, _| {
        let is_node = peer::node_id(peer).is_ok_and(|node| is_node(&node));
        muxing::Config::new(is_node, shared)
    });
    Ok(TransportTimeout::new(upgraded, timeouts.handshake)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .map_err(io::Error::other)
        .boxed())
}

/// The swarm of a host. Its connection tasks run on the tokio runtime of the caller.
#[must_use]
pub fn swarm<B: NetworkBehaviour>(
    transport: HostTransport,
    behaviour: B,
    identity: &Keypair,
    timeouts: &Timeouts,
) -> Swarm<B> {
    let config = Config::with_tokio_executor()
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_idle_connection_timeout(timeouts.idle)
        .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS)
        // A node's addresses are tried one after the other: one of them nearly always works.
        .with_dial_concurrency_factor(NonZeroU8::MIN)
        .with_notify_handler_buffer_size(COMMANDS)
        .with_per_connection_event_buffer_size(EVENTS);
    Swarm::new(transport, behaviour, identity.public().to_peer_id(), config)
}

/// Commands a connection task may have waiting; when one is full the whole behaviour waits for it.
const COMMANDS: NonZeroUsize = NonZeroUsize::new(32).unwrap();
/// Events a connection task may have waiting before it stops reading: libp2p's default.
const EVENTS: usize = 7;
