//! A client's end of a tunnel to a service node: one stream of a path, sealed from end to end.

use std::fmt;
use std::time::Duration;

use sotto_proto::cell::Destination;
use sotto_proto::limits;
use sotto_proto::request::{Message as _, MessageError, SwarmRequest, SwarmResponse};
use tokio::time::timeout;

use super::TunnelError;
use super::handshake::ClientHandshake;
use super::record::{Inbound, Outbound};
use crate::onion::HopInfo;
use crate::onion::client::{Path, PathStream, StreamError};

/// How long the destination may take to answer.
pub const PATIENCE: Duration = limits::FIRST_MESSAGE;

/// How long a tunnel may wait for its turn on the path.
const TURN: Duration = Duration::from_secs(5);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream or its path ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The destination ended the tunnel before it had answered: it did not know the key, or took the first message for
    /// a repeated one, or the clock is wrong.
    #[error("the destination closed the tunnel before it answered")]
    Closed,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// What came does not open.
    #[error("the answer does not open: {0}")]
    Sealed(#[from] TunnelError),
    /// What came is no answer, or the request is none.
    #[error("not a message of this protocol: {0}")]
    Message(#[from] MessageError),
}

/// An open tunnel. Requests follow each other; dropped, it ends.
pub struct Tunnel {
    stream: PathStream,
    outbound: Outbound,
    inbound: Inbound,
}

impl Tunnel {
    /// Opens a tunnel to a service node and asks the first request with it, which costs no round trip of its own.
    ///
    /// # Errors
    /// [`Error`] if the tunnel is not there afterwards.
    pub async fn connect(
        path: &Path,
        to: HopInfo,
        first: Option<SwarmRequest>,
    ) -> Result<(Self, Option<SwarmResponse>), Error> {
        let asks = first.is_some();
        let request = first.map(SwarmRequest::encode).transpose()?.unwrap_or_default();
        let (mut tunnel, answer) =
            timeout(PATIENCE, Self::open(path, to, &request)).await.map_err(|_| Error::TimedOut)??;
        let answer = match answer {
            Some(answer) => answer,
            None => timeout(PATIENCE, tunnel.receive()).await.map_err(|_| Error::TimedOut)??,
        };
        let answer = if asks { Some(SwarmResponse::decode(&answer)?) } else { None };
        Ok((tunnel, answer))
    }

    async fn open(path: &Path, to: HopInfo, request: &[u8]) -> Result<(Self, Option<Vec<u8>>), Error> {
        let destination = Destination::Node(to.node);
        let room = destination.first_bytes();
        let (flight, mut handshake) =
            ClientHandshake::new(path.chain(), &to, room, path.minute(), request, &mut *path.rng())?;
        let (first, rest) = flight.split_at(room.min(flight.len()));
        // Waiting for the own path must not look like a destination that does not answer.
        let stream = timeout(TURN, path.open_in_turn(destination, first)).await;
        let mut stream = stream.unwrap_or(Err(StreamError::Full))?;
        stream.send(rest).await?;
        loop {
            let data = stream.recv().await?.ok_or(Error::Closed)?;
            if handshake.push(&data)? {
                break;
            }
        }
        let (outbound, mut inbound) = handshake.finish()?;
        let answer = inbound.poll()?;
        Ok((Self { stream, outbound, inbound }, answer))
    }

    /// Asks, and waits for the answer. What is pushed meanwhile is taken for it: a tunnel with a subscription carries
    /// nothing else.
    ///
    /// # Errors
    /// [`Error`] if there is none; the tunnel is of no use then.
    pub async fn request(&mut self, request: SwarmRequest) -> Result<SwarmResponse, Error> {
        let flight = self.outbound.request(&request.encode()?)?;
        let exchange = async {
            self.stream.send(&flight).await?;
            self.next().await
        };
        timeout(PATIENCE, exchange).await.map_err(|_| Error::TimedOut)?
    }

    /// Asks without waiting for the answer, which comes by [`Tunnel::next`] among what is pushed.
    ///
    /// # Errors
    /// [`Error`] if it cannot be asked; the tunnel is of no use then.
    pub async fn send(&mut self, request: SwarmRequest) -> Result<(), Error> {
        let flight = self.outbound.request(&request.encode()?)?;
        timeout(PATIENCE, self.stream.send(&flight)).await.map_err(|_| Error::TimedOut)??;
        Ok(())
    }

    /// The next push of a subscription; waits for it as long as the path lives. Given up halfway, nothing
    /// is lost.
    ///
    /// # Errors
    /// [`Error`] if there is none; the tunnel is of no use then.
    pub async fn next(&mut self) -> Result<SwarmResponse, Error> {
        Ok(SwarmResponse::decode(&self.receive().await?)?)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(message) = self.inbound.poll()? {
                return Ok(message);
            }
            let data = self.stream.recv().await?.ok_or(Error::Closed)?;
            self.inbound.push(&data)?;
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("stream", &self.stream).finish_non_exhaustive()
    }
}
