//! A connection by hand: authenticated and multiplexed as any, and nothing on it but what the attack does.
//!
//! ```text
//! Peer::open ──▶ wanted (32) ──▶ drive: the connection's task ──▶ stream
//!                                  └ what the other side opens: pings are answered, the rest is read and thrown away
//! ```

use std::future::poll_fn;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::identity::Keypair;
use libp2p::{StreamProtocol, Transport as _};
use sotto_behaviours::network::Timeouts;
use sotto_behaviours::transport::multiaddr;
use sotto_behaviours::{host, peer};
use sotto_proto::id::NodeId;
use sotto_proto::net_addr::NodeAddr;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::{Scene, Tally};
use super::wire::{Failed, PATIENCE, Wire, negotiate};

/// Streams that wait to be opened.
const WANTED: usize = 32;
/// Streams of the other side that are served at once.
const SERVED: usize = 64;
/// How long one of them may take to say what it is.
const NEGOTIATION: Duration = Duration::from_secs(5);
const PING: &str = "/ipfs/ping/1.0.0";
const PING_BYTES: usize = 32;

/// The connection; it ends when this is dropped.
pub(super) struct Peer {
    wanted: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    frozen: CancellationToken,
    task: AbortHandle,
    tally: Arc<Tally>,
}

impl Peer {
    /// Connects with a node as `identity`, from the address of attacker `source`; takes streams of `spoken`.
    pub(super) async fn connect(
        scene: &Arc<Scene>,
        source: usize,
        identity: &Keypair,
        (node, at): (NodeId, SocketAddrV4),
        spoken: &[StreamProtocol],
    ) -> Result<Self, Failed> {
        let dialer = super::dialer::Dialer::new(Arc::clone(scene), source);
        let secured = host::secure(dialer, identity, &Timeouts::default(), |_| true);
        let mut transport = secured.map_err(Failed::unmade)?;
        let address = multiaddr(&NodeAddr::new((*at.ip()).into(), at.port()));
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(address, opts).map_err(|error| Failed::Gone(error.to_string()))?;
        let (peer, muxer) = timeout(PATIENCE, dial).await??;
        if peer != peer::peer_id(&node) {
            return Err(Failed::Gone("somebody else is there".to_owned()));
        }
        let spoken: Vec<String> = spoken.iter().map(StreamProtocol::to_string).chain([PING.to_owned()]).collect();
        let (wanted, received) = mpsc::channel(WANTED);
        let frozen = CancellationToken::new();
        let task = tokio::spawn(drive(muxer, received, spoken.into(), frozen.clone())).abort_handle();
        Ok(Self { wanted, frozen, task, tally: Arc::clone(&scene.tally) })
    }

    /// Opens a stream; nothing is sent on it yet.
    pub(super) async fn open(&self, protocol: &StreamProtocol) -> Result<Wire, Failed> {
        let gone = || Failed::Gone("the connection has ended".to_owned());
        let (reply, opened) = oneshot::channel();
        let opening = async {
            self.wanted.send(reply).await.map_err(|_| gone())?;
            opened.await.map_err(|_| gone())
        };
        Ok(Wire::new(timeout(PATIENCE, opening).await??, protocol.as_ref(), &self.tally))
    }

    /// From now on nothing is read from the connection, nor written to it; it stays open.
    pub(super) fn freeze(&self) {
        self.frozen.cancel();
    }

    /// Whether the connection has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.wanted.is_closed()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    muxer: StreamMuxerBox,
    wanted: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    spoken: Arc<[String]>,
    frozen: CancellationToken,
) {
    let mut connection = Connection { muxer, wanted, next: None, served: FuturesUnordered::new(), spoken };
    tokio::select! {
        biased;
        // The muxer is kept: the connection does not end by this.
        () = frozen.cancelled() => std::future::pending().await,
        () = poll_fn(|cx| connection.poll(cx)) => {}
    }
}

struct Connection {
    muxer: StreamMuxerBox,
    wanted: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    next: Option<oneshot::Sender<SubstreamBox>>,
    served: FuturesUnordered<BoxFuture<'static, ()>>,
    spoken: Arc<[String]>,
}

impl Connection {
    /// Ready when the connection has ended, or nobody wants it any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while let Poll::Ready(Some(())) = self.served.poll_next_unpin(cx) {}
            if self.next.is_none() {
                match self.wanted.poll_recv(cx) {
                    Poll::Ready(Some(next)) => self.next = Some(next),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if self.next.is_some() {
                match self.muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        // Whoever wanted it may have given up.
                        let _given_up = self.next.take().map(|next| next.send(stream));
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match self.muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    if self.served.len() < SERVED {
                        self.served.push(serve(stream, Arc::clone(&self.spoken)).boxed());
                    }
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match self.muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A stream that the other side opened.
async fn serve(mut stream: SubstreamBox, spoken: Arc<[String]>) {
    let Ok(Ok(name)) = timeout(NEGOTIATION, negotiate(&mut stream, &spoken)).await else { return };
    // Ends with the stream; an idle one takes one of a few places.
    let _ended = if name == PING { echo(&mut stream).await } else { swallow(&mut stream).await };
}

async fn echo(stream: &mut SubstreamBox) -> io::Result<()> {
    let mut ping = [0; PING_BYTES];
    loop {
        stream.read_exact(&mut ping).await?;
        stream.write_all(&ping).await?;
        stream.flush().await?;
    }
}

async fn swallow(stream: &mut SubstreamBox) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
