//! Questions about the node list through tunnels, each answered by one node.

use std::collections::{BTreeMap, BTreeSet};

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::chain::{Buckets, SignedHeader};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::request::{self, Info, ListRequest, ListResponse, SwarmRequest, SwarmResponse};

use super::clock::SharedClock;

/// Why a node's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is none.
    #[error(transparent)]
    Tunnel(#[from] tunnel::Error),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] request::Error),
    /// It does not fit the question.
    #[error("an answer that does not fit the question")]
    Nonsense,
    /// A final height that neither another node nor the node list bears out.
    #[error("a height that nobody else confirms")]
    Alone,
    /// Many answers, each in time, that together took too long.
    #[error("not everything in time")]
    Slow,
}

/// An open tunnel to a node that is asked about the list.
#[derive(Debug)]
pub struct Lookup {
    tunnel: Tunnel,
    node: NodeId,
}

impl Lookup {
    /// Opens a tunnel and asks the node for its final height and clock, which the shared clock hears.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn connect(path: &Path, to: HopInfo, clock: &SharedClock) -> Result<(Self, Info), LookupError> {
        let asked = clock.own().monotonic;
        let question = SwarmRequest::List(ListRequest::Info);
        let (tunnel, answer) = Tunnel::connect(path, to, Some(question)).await?;
        match list_answer(answer.ok_or(LookupError::Nonsense)?)? {
            ListResponse::Info(info) => {
                clock.heard(to.node, info.time, asked);
                Ok((Self { tunnel, node: to.node }, info))
            }
            _ => Err(LookupError::Nonsense),
        }
    }

    /// Who is asked.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The tunnel, for other questions.
    #[must_use]
    pub fn into_tunnel(self) -> Tunnel {
        self.tunnel
    }

    /// The node itself, asked again: a question and an answer of one cell each.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn info(&mut self) -> Result<Info, LookupError> {
        match self.ask(ListRequest::Info).await? {
            ListResponse::Info(info) => Ok(info),
            _ => Err(LookupError::Nonsense),
        }
    }

    /// The header of one height; its signature is not checked.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn header(&mut self, height: Height) -> Result<SignedHeader, LookupError> {
        match self.ask(ListRequest::Headers { from: height, count: 1 }).await? {
            ListResponse::Headers(mut headers) => {
                headers.pop().filter(|header| header.header.height == height).ok_or(LookupError::Nonsense)
            }
            _ => Err(LookupError::Nonsense),
        }
    }

    /// The hashes of all buckets of the list of one height; not checked.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn hashes(&mut self, height: Height) -> Result<Buckets, LookupError> {
        match self.ask(ListRequest::Hashes { height }).await? {
            ListResponse::Hashes { height: of, hashes } if of == height => Ok(hashes),
            _ => Err(LookupError::Nonsense),
        }
    }

    /// Some at least of the `wanted` buckets of the list of one height, and no others; not checked.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn buckets(
        &mut self,
        height: Height,
        wanted: &BTreeSet<u8>,
    ) -> Result<BTreeMap<u8, Vec<u8>>, LookupError> {
        match self.ask(ListRequest::Buckets { height, buckets: wanted.clone() }).await? {
            ListResponse::Buckets { height: of, buckets }
                if of == height && !buckets.is_empty() && buckets.keys().all(|bucket| wanted.contains(bucket)) =>
            {
                Ok(buckets)
            }
            _ => Err(LookupError::Nonsense),
        }
    }

    async fn ask(&mut self, question: ListRequest) -> Result<ListResponse, LookupError> {
        list_answer(self.tunnel.request(SwarmRequest::List(question)).await?)
    }
}

fn list_answer(answer: SwarmResponse) -> Result<ListResponse, LookupError> {
    match answer {
        SwarmResponse::List(ListResponse::Error(error)) | SwarmResponse::Error(error) => Err(error.into()),
        SwarmResponse::List(answer) => Ok(answer),
        _ => Err(LookupError::Nonsense),
    }
}
