//! One connection's path and tunnel streams: negotiates them and hands them out. Nothing that is said on them passes
//! here.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{InboundUpgrade, StreamProtocol};
use tokio::sync::mpsc;

use super::books::{Books, Kind};
use super::control::{OpenError, Opening};
use super::hop::Hop;

/// The names of the protocols on one chain.
#[derive(Clone, Debug)]
pub(crate) struct Protocols {
    pub(crate) path: StreamProtocol,
    pub(crate) tunnel: StreamProtocol,
}

/// The handler of one connection.
pub(crate) struct Handler {
    pub(super) protocols: Protocols,
    pub(super) books: Arc<Books>,
    pub(super) openings: mpsc::Receiver<Opening>,
    /// Takes the peer's streams; without one none are offered.
    pub(super) hop: Option<Arc<Hop>>,
    /// How long the connection is kept after a stream.
    pub(super) warm: Duration,
    pub(super) last_used: Option<Instant>,
}

/// Accepts whichever of the names is proposed and says which it was.
#[derive(Clone, Debug)]
pub(crate) struct AnyOf(Vec<(StreamProtocol, Kind)>);

impl UpgradeInfo for AnyOf {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().into_iter()
    }
}

impl<C> InboundUpgrade<C> for AnyOf {
    type Output = (C, Option<Kind>);
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: C, chosen: StreamProtocol) -> Self::Future {
        let kind = self.0.into_iter().find(|(name, _)| *name == chosen).map(|(_, kind)| kind);
        std::future::ready(Ok((stream, kind)))
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = AnyOf;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyOf> {
        let offered = match self.hop {
            Some(_) => {
                vec![(self.protocols.path.clone(), Kind::Path), (self.protocols.tunnel.clone(), Kind::Tunnel)]
            }
            None => Vec::new(),
        };
        SubstreamProtocol::new(AnyOf(offered), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.last_used.is_some_and(|at| at.elapsed() < self.warm)
    }

    fn on_behaviour_event(&mut self, never: Self::FromBehaviour) {
        match never {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Opening, Self::ToBehaviour>> {
        while let Poll::Ready(Some(opening)) = self.openings.poll_recv(cx) {
            if opening.reply.is_closed() {
                continue;
            }
            let name = match opening.kind {
                Kind::Path => self.protocols.path.clone(),
                Kind::Tunnel => self.protocols.tunnel.clone(),
            };
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(name), opening);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Opening>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, kind), .. }) => {
                if let (Some(hop), Some(kind)) = (&self.hop, kind)
                    && hop.accept(kind, &self.books, stream)
                    // A client keeps its connection itself, as long as it likes to have paths.
                    && hop.is_registered(&self.books.node)
                {
                    self.last_used = Some(Instant::now());
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                self.last_used = Some(Instant::now());
                // Whoever asked for it may have given up meanwhile; the stream is reset then.
                let _given_up = info.reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let failure = match error.error {
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => OpenError::Unreachable,
                    StreamUpgradeError::NegotiationFailed | StreamUpgradeError::Apply(_) => OpenError::Refused,
                };
                let _given_up = error.info.reply.send(Err(failure));
            }
            _ => {}
        }
    }
}
