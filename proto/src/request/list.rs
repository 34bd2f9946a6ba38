//! Protocol `list`: all that a light client needs to find and check the node list. Served to anybody.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, Line, Message, MessageError, at_most, joined, split};
use crate::chain::{Buckets, NodeState, SignedHeader};
use crate::codec::DecodeError;
use crate::id::{Hash, Height};
use crate::limits::{LIST_ANSWER_BYTES, LIST_BUCKETS, LIST_HEADERS, LIST_REQUEST_MAX, LIST_RESPONSE_MAX, VERSION_MAX};
use crate::time::UnixMillis;
use crate::wire;
use crate::wire::{list_request, list_response};

/// A question about a node or the node list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListRequest {
    /// The node itself.
    Info,
    /// Signed headers in ascending order, without gaps.
    Headers {
        /// Height of the first one wanted.
        from: Height,
        /// How many at most, 1 to 64.
        count: u8,
    },
    /// Buckets of the node list.
    Buckets {
        /// As of this height, one of the last 16 final ones.
        height: Height,
        /// Which ones, at least one: bucket b holds the nodes whose key begins with byte b.
        buckets: BTreeSet<u8>,
    },
    /// The hashes of all buckets: whoever has a list learns from them which ones have changed.
    Hashes {
        /// As of this height, one of the last 16 final ones.
        height: Height,
    },
}

/// The answer to a [`ListRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListResponse {
    /// How the node sees itself.
    Info(Info),
    /// Headers from the height asked for, without gaps; signatures and hashes not checked.
    Headers(Vec<SignedHeader>),
    /// As many of the buckets asked for as fit; the asker asks again for the rest.
    Buckets {
        /// The height they are of.
        height: Height,
        /// The canonical node records of each, ascending by node key, not looked into.
        buckets: BTreeMap<u8, Vec<u8>>,
    },
    /// The hashes of all buckets.
    Hashes {
        /// The height they are of.
        height: Height,
        /// The hashes, not compared with any list root.
        hashes: Buckets,
    },
    /// Not served.
    Error(Error),
}

/// How a node sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its final height.
    pub final_height: Height,
    /// Its clock.
    pub time: UnixMillis,
    /// Its software's version.
    pub version: Line<VERSION_MAX>,
    /// Its standing on the chain; `None` if it is not registered.
    pub state: Option<NodeState>,
}

impl Message for ListRequest {
    type Wire = wire::ListRequest;
    const MAX_BYTES: usize = LIST_REQUEST_MAX;
}

impl Message for ListResponse {
    type Wire = wire::ListResponse;
    const MAX_BYTES: usize = LIST_RESPONSE_MAX;
}

impl From<ListRequest> for wire::ListRequest {
    fn from(request: ListRequest) -> Self {
        use list_request::Kind;
        let kind = match request {
            ListRequest::Info => Kind::Info(wire::InfoRequest {}),
            ListRequest::Headers { from, count } => {
                Kind::Headers(wire::HeadersRequest { from_height: from.0, count: count.into() })
            }
            ListRequest::Buckets { height, buckets } => {
                Kind::Buckets(wire::BucketsRequest { height: height.0, buckets: buckets.into_iter().collect() })
            }
            ListRequest::Hashes { height } => Kind::Hashes(wire::HashesRequest { height: height.0 }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::ListRequest> for ListRequest {
    type Error = MessageError;

    fn try_from(request: wire::ListRequest) -> Result<Self, MessageError> {
        use list_request::Kind;
        Ok(match request.kind.ok_or(MessageError::Missing("list request"))? {
            Kind::Info(_) => Self::Info,
            Kind::Headers(headers) => Self::Headers {
                from: Height(headers.from_height),
                count: u8::try_from(headers.count)
                    .ok()
                    .filter(|&count| (1..=LIST_HEADERS).contains(&count.into()))
                    .ok_or(DecodeError::Value("count of headers"))?,
            },
            Kind::Buckets(buckets) => {
                Self::Buckets { height: Height(buckets.height), buckets: wanted_buckets(&buckets.buckets)? }
            }
            Kind::Hashes(hashes) => Self::Hashes { height: Height(hashes.height) },
        })
    }
}

fn wanted_buckets(bytes: &[u8]) -> Result<BTreeSet<u8>, DecodeError> {
    at_most("buckets", LIST_BUCKETS, bytes.len())?;
    if bytes.is_empty() || !bytes.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Value("buckets"));
    }
    Ok(bytes.iter().copied().collect())
}

impl From<ListResponse> for wire::ListResponse {
    fn from(response: ListResponse) -> Self {
        use list_response::Kind;
        let kind = match response {
            ListResponse::Info(info) => Kind::Info(info.into()),
            ListResponse::Headers(headers) => {
                Kind::Headers(wire::HeadersResponse { headers: headers.iter().map(SignedHeader::encode).collect() })
            }
            ListResponse::Buckets { height, buckets } => Kind::Buckets(wire::BucketsResponse {
                height: height.0,
                buckets: buckets
                    .into_iter()
                    .map(|(index, records)| wire::Bucket { index: index.into(), records })
                    .collect(),
            }),
            ListResponse::Hashes { height, hashes } => {
                Kind::Hashes(wire::HashesResponse { height: height.0, hashes: joined(hashes.hashes()) })
            }
            ListResponse::Error(error) => Kind::Error(error.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::ListResponse> for ListResponse {
    type Error = MessageError;

    fn try_from(response: wire::ListResponse) -> Result<Self, MessageError> {
        use list_response::Kind;
        Ok(match response.kind.ok_or(MessageError::Missing("list response"))? {
            Kind::Info(info) => Self::Info(info.try_into()?),
            Kind::Headers(response) => Self::Headers(headers(&response.headers)?),
            Kind::Buckets(response) => {
                Self::Buckets { height: Height(response.height), buckets: buckets(response.buckets)? }
            }
            Kind::Hashes(response) => {
                Self::Hashes { height: Height(response.height), hashes: hashes(&response.hashes)? }
            }
            Kind::Error(error) => Self::Error(error.try_into()?),
        })
    }
}

fn headers(encoded: &[Vec<u8>]) -> Result<Vec<SignedHeader>, DecodeError> {
    at_most("headers", LIST_HEADERS, encoded.len())?;
    let headers: Vec<_> = encoded.iter().map(|bytes| SignedHeader::decode(bytes)).collect::<Result<_, _>>()?;
    let consecutive = headers.is_sorted_by(|a, b| a.header.height.0.checked_add(1) == Some(b.header.height.0));
    if consecutive { Ok(headers) } else { Err(DecodeError::Value("headers (not consecutive)")) }
}

fn buckets(list: Vec<wire::Bucket>) -> Result<BTreeMap<u8, Vec<u8>>, DecodeError> {
    at_most("buckets", LIST_BUCKETS, list.len())?;
    at_most("bytes of buckets", LIST_ANSWER_BYTES, list.iter().map(|bucket| bucket.records.len()).sum())?;
    if !list.is_sorted_by(|a, b| a.index < b.index) {
        return Err(DecodeError::Value("buckets (not ascending)"));
    }
    let index = |index: u32| u8::try_from(index).map_err(|_| DecodeError::Value("bucket"));
    list.into_iter().map(|bucket| Ok((index(bucket.index)?, bucket.records))).collect()
}

fn hashes(bytes: &[u8]) -> Result<Buckets, DecodeError> {
    let hashes = split("bucket hashes", LIST_BUCKETS, bytes)?;
    let hashes: [Hash; LIST_BUCKETS] = hashes.try_into().map_err(|_| DecodeError::Value("bucket hashes"))?;
    Ok(hashes.into())
}

impl From<Info> for wire::InfoResponse {
    fn from(info: Info) -> Self {
        let state = match info.state {
            None => wire::NodeState::Unspecified,
            Some(NodeState::Active) => wire::NodeState::Active,
            Some(NodeState::Decommissioned) => wire::NodeState::Decommissioned,
            Some(NodeState::Exiting) => wire::NodeState::Exiting,
        };
        Self {
            final_height: info.final_height.0,
            time_ms: info.time.0,
            version: info.version.into(),
            state: state.into(),
        }
    }
}

impl TryFrom<wire::InfoResponse> for Info {
    type Error = MessageError;

    fn try_from(info: wire::InfoResponse) -> Result<Self, MessageError> {
        let state = match info.state() {
            wire::NodeState::Unspecified if info.state != 0 => return Err(DecodeError::Value("node state").into()),
            wire::NodeState::Unspecified => None,
            wire::NodeState::Active => Some(NodeState::Active),
            wire::NodeState::Decommissioned => Some(NodeState::Decommissioned),
            wire::NodeState::Exiting => Some(NodeState::Exiting),
        };
        Ok(Self {
            final_height: Height(info.final_height),
            time: UnixMillis(info.time_ms),
            version: info.version.try_into()?,
            state,
        })
    }
}
