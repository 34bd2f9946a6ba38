//! A peer that speaks Yamux by hand: it opens streams as fast as it can, and counts which of them were reset.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Ready, ready};
use futures::io::Cursor;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, Version};
use libp2p::swarm::dummy;
use libp2p::{Transport as _, noise};
use sotto_behaviours::network::Timeouts;
use sotto_behaviours::transport::{BoundTcp, multiaddr};
use sotto_behaviours::{host, peer};
use sotto_proto::id::NodeId;
use sotto_proto::net_addr::NodeAddr;

use super::keypair;

/// The flood, driven by a task of its own.
#[derive(Clone)]
pub(crate) struct Flood {
    streams: u32,
    data: Arc<Vec<u8>>,
    opened: Arc<AtomicUsize>,
    reset: Arc<AtomicUsize>,
}

impl Flood {
    /// Connects to `target` from `from`, opens so many streams and writes `data` into each.
    pub(crate) fn start(seed: u8, target: (NodeId, NodeAddr), from: IpAddr, streams: u32, data: Vec<u8>) -> Self {
        let flood = Self { streams, data: Arc::new(data), opened: Arc::default(), reset: Arc::default() };
        let transport = BoundTcp::new(Some(from), true)
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair(seed)).unwrap())
            .multiplex(flood.clone())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .map_err(io::Error::other)
            .boxed();
        let mut swarm = host::swarm(transport, dummy::Behaviour, &keypair(seed), &Timeouts::default());
        let opts = libp2p::swarm::dial_opts::DialOpts::peer_id(peer::peer_id(&target.0))
            .addresses(vec![multiaddr(&target.1)])
            .build();
        swarm.dial(opts).unwrap();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        flood
    }

    /// Streams that were opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Relaxed)
    }

    /// Those of them that the other side still holds.
    pub(crate) fn live(&self) -> usize {
        self.opened() - self.reset.load(Relaxed)
    }

    async fn write(self, mut io: impl AsyncWrite + Unpin) -> io::Result<()> {
        let length = u32::try_from(self.data.len()).unwrap().to_be_bytes();
        for stream in 0..self.streams {
            let id = (2 * stream + 1).to_be_bytes();
            // Version 0, data, SYN.
            io.write_all(&[&[0, 0, 0, 1], &id[..], &length, &self.data].concat()).await?;
            io.flush().await?;
            self.opened.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    async fn read(self, mut io: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut header = [0; 12];
        loop {
            io.read_exact(&mut header).await?;
            // RST
            if header[3] & 8 != 0 {
                self.reset.fetch_add(1, Relaxed);
            }
            let [.., a, b, c, d] = header;
            if header[1] == 0 {
                let length = u32::from_be_bytes([a, b, c, d]);
                io.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await?;
            }
        }
    }

    fn on(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> ByHand {
        let (reading, writing) = io.split();
        let (reader, writer) = (self.clone().read(reading), self.write(writing));
        ByHand(async move { futures::join!(reader, writer).0 }.boxed())
    }
}

impl UpgradeInfo for Flood {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Flood {
    type Output = ByHand;
    type Error = io::Error;
    type Future = Ready<io::Result<ByHand>>;

    fn upgrade_inbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(self.on(io)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Flood {
    type Output = ByHand;
    type Error = io::Error;
    type Future = Ready<io::Result<ByHand>>;

    fn upgrade_outbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(self.on(io)))
    }
}

/// A connection without streams as far as the own swarm is concerned.
pub(crate) struct ByHand(BoxFuture<'static, io::Result<()>>);

impl StreamMuxer for ByHand {
    type Substream = Cursor<Vec<u8>>;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.0.poll_unpin(cx).map(|ended| Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())))
    }
}
