//! Questions about the node list through tunnels, each answered by one node.

use std::collections::BTreeSet;
use std::sync::Arc;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::chain::{NodeRecord, SignedHeader, bucket_of};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::network::NodeList;
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
    /// A record is not canonical.
    #[error("a node record that is none: {0}")]
    Record(#[from] DecodeError),
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
                clock.heard(info.time, asked);
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

    /// The whole list of one height; not checked.
    ///
    /// # Errors
    /// [`LookupError`]
    pub async fn list(&mut self, height: Height) -> Result<NodeList, LookupError> {
        let mut missing: BTreeSet<u8> = (0..=u8::MAX).collect();
        let mut nodes = NodeList::new();
        while !missing.is_empty() {
            let answer = self.ask(ListRequest::Buckets { height, buckets: missing.clone() }).await?;
            let ListResponse::Buckets { height: of, buckets } = answer else { return Err(LookupError::Nonsense) };
            let before = missing.len();
            for (bucket, bytes) in &buckets {
                if of == height && missing.remove(bucket) {
                    read_bucket(*bucket, bytes, &mut nodes)?;
                }
            }
            if missing.len() == before {
                return Err(LookupError::Nonsense);
            }
        }
        Ok(nodes)
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

/// Reads the records of one bucket into `nodes`.
///
/// # Errors
/// [`DecodeError`] if they are not canonical or belong elsewhere.
pub(super) fn read_bucket(bucket: u8, bytes: &[u8], nodes: &mut NodeList) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        let record = NodeRecord::read(&mut reader)?;
        if bucket_of(&record.node) != bucket {
            return Err(DecodeError::Value("node of another bucket"));
        }
        nodes.insert(record.node, Arc::new(record));
    }
    Ok(())
}
