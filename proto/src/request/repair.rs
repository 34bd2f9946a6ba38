//! Protocol `repair`: how members of a swarm come to hold the same records and tombstones (B10).
//!
//! Both sides look at the same *set*: what maps to a swarm at a height, is older than `until` and lives beyond
//! `cutoff`. The initiator says which, because members would otherwise compare sets that differ at the edges by nothing
//! but their clocks. 56 bytes tell whether the sets are equal; only if they are not, the differences are searched.

use super::{Error, Message, MessageError, at_most, joined, split};
use crate::codec::{DecodeError, Reader};
use crate::id::{Height, ItemId, SwarmId};
use crate::limits::{
    PAGE_BYTES, PAGE_ITEMS, RECONCILE_FRAME, RECORD_MAX, REPAIR_REQUEST_MAX, REPAIR_RESPONSE_MAX, SIGNED_DELETE_MAX,
};
use crate::time::UnixSeconds;
use crate::wire;
use crate::wire::{item, repair_request, repair_response};

/// Which items are compared (32 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The final height whose swarm map says what belongs to the swarm.
    pub height: Height,
    /// The swarm.
    pub swarm: SwarmId,
    /// Items up to this timestamp.
    pub until: UnixSeconds,
    /// Items that expire after this time.
    pub cutoff: UnixSeconds,
}

impl Scope {
    /// Bytes of its canonical form.
    pub const LEN: usize = 8 + 8 + 8 + 8;

    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.height.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.swarm.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.until.0.to_be_bytes());
        bytes[24..].copy_from_slice(&self.cutoff.0.to_be_bytes());
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let scope = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(scope)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height(reader.u64()?),
            swarm: SwarmId(reader.u64()?),
            until: UnixSeconds(reader.u64()?),
            cutoff: UnixSeconds(reader.u64()?),
        })
    }
}

/// Sixteen bytes that two sets share only if they are equal (negentropy's fingerprint).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for Fingerprint {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A whole set in 56 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which set.
    pub scope: Scope,
    /// How many items are in it.
    pub count: u64,
    /// Which ones.
    pub fingerprint: Fingerprint,
}

impl Summary {
    /// Bytes of its canonical form.
    pub const LEN: usize = Scope::LEN + 8 + 16;

    /// Canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..Scope::LEN].copy_from_slice(&self.scope.to_bytes());
        bytes[Scope::LEN..Scope::LEN + 8].copy_from_slice(&self.count.to_be_bytes());
        bytes[Scope::LEN + 8..].copy_from_slice(&self.fingerprint.0);
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not exactly that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let summary = Self { scope: Scope::read(&mut reader)?, count: reader.u64()?, fingerprint: reader.id()? };
        reader.finish()?;
        Ok(summary)
    }
}

/// Something that a member keeps, as it goes from one to the other. Not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record (B4).
    Record(Vec<u8>),
    /// A signed delete (B3): the tombstones of all records it names.
    Delete(Vec<u8>),
}

impl Item {
    /// Bytes of what it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Record(bytes) | Self::Delete(bytes) => bytes.len(),
        }
    }

    /// Whether it holds nothing; no item that was received does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A question from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairRequest {
    /// Is your set this one?
    Summary(Summary),
    /// A message of a reconciliation; the responder keeps nothing between two of them.
    Reconcile {
        /// Which set.
        scope: Scope,
        /// The negentropy message.
        message: Vec<u8>,
    },
    /// Items the asker lacks.
    Fetch {
        /// The set they are of: nothing else is handed out.
        scope: Scope,
        /// Which ones, 1 to 512.
        ids: Vec<ItemId>,
        /// Bytes of items the asker takes; a first item that is larger comes all the same.
        max_bytes: u32,
    },
    /// Items the other side lacks.
    Give {
        /// The set they are of.
        scope: Scope,
        /// The items, 1 to 512 of at most 512 KiB.
        items: Vec<Item>,
    },
}

/// The answer to a [`RepairRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairResponse {
    /// To a summary.
    Summary {
        /// The sets are the same.
        equal: bool,
    },
    /// To a message of a reconciliation: the next one.
    Reconcile {
        /// The negentropy message.
        message: Vec<u8>,
    },
    /// To a fetch: the items, but for those that are gone meanwhile.
    Items {
        /// The items.
        items: Vec<Item>,
        /// Further ones of those asked for did not fit.
        more: bool,
    },
    /// To a gift: the items are looked at.
    Taken,
    /// Not served.
    Error(Error),
}

impl Message for RepairRequest {
    type Wire = wire::RepairRequest;
    const MAX_BYTES: usize = REPAIR_REQUEST_MAX;
}

impl Message for RepairResponse {
    type Wire = wire::RepairResponse;
    const MAX_BYTES: usize = REPAIR_RESPONSE_MAX;
}

impl From<RepairRequest> for wire::RepairRequest {
    fn from(request: RepairRequest) -> Self {
        use repair_request::Kind;
        let bytes = |scope: Scope| scope.to_bytes().to_vec();
        let kind = match request {
            RepairRequest::Summary(summary) => {
                Kind::Summary(wire::SummaryRequest { summary: summary.to_bytes().to_vec() })
            }
            RepairRequest::Reconcile { scope, message } => {
                Kind::Reconcile(wire::ReconcileRequest { scope: bytes(scope), message })
            }
            RepairRequest::Fetch { scope, ids, max_bytes } => {
                Kind::Fetch(wire::FetchRequest { scope: bytes(scope), ids: joined(&ids), max_bytes })
            }
            RepairRequest::Give { scope, items } => {
                Kind::Give(wire::GiveRequest { scope: bytes(scope), items: page_to_wire(items) })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::RepairRequest> for RepairRequest {
    type Error = MessageError;

    fn try_from(request: wire::RepairRequest) -> Result<Self, MessageError> {
        use repair_request::Kind;
        Ok(match request.kind.ok_or(MessageError::Missing("repair request"))? {
            Kind::Summary(summary) => Self::Summary(Summary::decode(&summary.summary)?),
            Kind::Reconcile(round) => {
                Self::Reconcile { scope: Scope::decode(&round.scope)?, message: reconcile_message(round.message)? }
            }
            Kind::Fetch(fetch) => Self::Fetch {
                scope: Scope::decode(&fetch.scope)?,
                ids: not_none("ids", split("ids", PAGE_ITEMS, &fetch.ids)?)?,
                max_bytes: fetch.max_bytes,
            },
            Kind::Give(give) => Self::Give {
                scope: Scope::decode(&give.scope)?,
                items: not_none("items", page_from_wire(give.items)?)?,
            },
        })
    }
}

impl From<RepairResponse> for wire::RepairResponse {
    fn from(response: RepairResponse) -> Self {
        use repair_response::Kind;
        let kind = match response {
            RepairResponse::Summary { equal } => Kind::Summary(wire::SummaryResponse { equal }),
            RepairResponse::Reconcile { message } => Kind::Reconcile(wire::ReconcileResponse { message }),
            RepairResponse::Items { items, more } => {
                Kind::Items(wire::ItemsResponse { items: page_to_wire(items), more })
            }
            RepairResponse::Taken => Kind::Give(wire::GiveResponse {}),
            RepairResponse::Error(error) => Kind::Error(error.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::RepairResponse> for RepairResponse {
    type Error = MessageError;

    fn try_from(response: wire::RepairResponse) -> Result<Self, MessageError> {
        use repair_response::Kind;
        Ok(match response.kind.ok_or(MessageError::Missing("repair response"))? {
            Kind::Summary(summary) => Self::Summary { equal: summary.equal },
            Kind::Reconcile(round) => Self::Reconcile { message: reconcile_message(round.message)? },
            Kind::Items(page) => Self::Items { items: page_from_wire(page.items)?, more: page.more },
            Kind::Give(_) => Self::Taken,
            Kind::Error(error) => Self::Error(error.try_into()?),
        })
    }
}

fn reconcile_message(message: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    at_most("reconciliation message", RECONCILE_FRAME, message.len())?;
    not_none("reconciliation message", message)
}

/// A list that says something.
pub(super) fn not_none<T>(field: &'static str, list: Vec<T>) -> Result<Vec<T>, DecodeError> {
    if list.is_empty() { Err(DecodeError::Value(field)) } else { Ok(list) }
}

pub(super) fn page_to_wire(items: Vec<Item>) -> Vec<wire::Item> {
    let kind = |item| match item {
        Item::Record(bytes) => item::Kind::Record(bytes),
        Item::Delete(bytes) => item::Kind::Delete(bytes),
    };
    items.into_iter().map(|item| wire::Item { kind: Some(kind(item)) }).collect()
}

pub(super) fn page_from_wire(page: Vec<wire::Item>) -> Result<Vec<Item>, MessageError> {
    at_most("items", PAGE_ITEMS, page.len())?;
    let items = page.into_iter().map(Item::try_from).collect::<Result<Vec<_>, _>>()?;
    at_most("bytes of items", PAGE_BYTES, items.iter().map(Item::len).sum())?;
    Ok(items)
}

impl TryFrom<wire::Item> for Item {
    type Error = MessageError;

    fn try_from(item: wire::Item) -> Result<Self, MessageError> {
        let (item, limit) = match item.kind.ok_or(MessageError::Missing("item"))? {
            item::Kind::Record(bytes) => (Self::Record(bytes), RECORD_MAX),
            item::Kind::Delete(bytes) => (Self::Delete(bytes), SIGNED_DELETE_MAX),
        };
        at_most("item", limit, item.len())?;
        if item.is_empty() { Err(DecodeError::Value("item").into()) } else { Ok(item) }
    }
}
