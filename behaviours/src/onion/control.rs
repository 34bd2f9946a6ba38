//! Opening streams to peers, connected or not. An opening goes straight to the connection's own task; only where there
//! is no connection does it pass through the swarm, which dials.
//!
//! ```text
//! Control::open ──▶ links: peer → openings (256 a link) ──▶ Handler ──▶ stream
//!        │ not connected
//!        └──▶ dials (256) ──▶ Behaviour: waiting (1,024) ──▶ membership dials ──▶ Handler
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use sotto_proto::id::NodeId;
use tokio::sync::{mpsc, oneshot};

use super::books::{Books, Counted, Kind};
use crate::peer;

/// Openings that one connection may have waiting: as many as there may be paths.
pub(super) const OPENINGS: usize = 256;
/// Openings to peers that are not connected, on their way to the swarm.
pub(super) const DIALS: usize = 256;
/// Openings that wait for a connection.
pub(super) const WAITING: usize = 1024;

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// No connection could be made.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// Too many streams with this peer, or too many wait for connections.
    #[error("too many streams")]
    Busy,
    /// The connection ended, or the peer refused the stream.
    #[error("the peer refused the stream")]
    Refused,
}

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(super) kind: Kind,
    pub(super) reply: oneshot::Sender<Result<Stream, OpenError>>,
}

/// A connection that streams can be opened on.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: ConnectionId,
    pub(super) openings: mpsc::Sender<Opening>,
    pub(super) books: Arc<Books>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(Arc<Mutex<BTreeMap<PeerId, Vec<Link>>>>);

impl Links {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Vec<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an opening to one of the peer's connections, the newest first; back if none takes it.
    pub(super) fn dispatch(&self, peer: &PeerId, mut opening: Opening) -> Result<(), Opening> {
        let links = self.lock();
        for link in links.get(peer).into_iter().flatten().rev() {
            opening = match link.openings.try_send(opening) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(opening) | mpsc::error::TrySendError::Closed(opening)) => opening,
            };
        }
        Err(opening)
    }

    fn books(&self, peer: &PeerId) -> Option<Arc<Books>> {
        self.lock().get(peer).and_then(|links| links.last()).map(|link| Arc::clone(&link.books))
    }
}

/// Opens streams. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(super) links: Links,
    pub(super) dials: mpsc::Sender<(NodeId, Opening)>,
}

impl Control {
    /// Opens a stream; dials first where there is no connection. The caller sets the deadline.
    ///
    /// Streams negotiate lazily: that the peer does not speak the protocol shows as an error of the first read.
    pub(crate) async fn open(&self, node: NodeId, kind: Kind) -> Result<Counted, OpenError> {
        let peer = peer::peer_id(&node);
        let books = self.links.books(&peer);
        let place = books.as_ref().map(|books| books.outbound(kind).ok_or(OpenError::Busy)).transpose()?;
        let (reply, opened) = oneshot::channel();
        if let Err(opening) = self.links.dispatch(&peer, Opening { kind, reply }) {
            if books.is_some() {
                return Err(OpenError::Busy);
            }
            self.dials.try_send((node, opening)).map_err(|_| OpenError::Busy)?;
        }
        let stream = opened.await.map_err(|_| OpenError::Refused)??;
        let place = match place {
            Some(place) => place,
            None => self.links.books(&peer).and_then(|books| books.outbound(kind)).ok_or(OpenError::Busy)?,
        };
        Ok(Counted::new(stream, vec![place]))
    }
}
