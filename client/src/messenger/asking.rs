//! Questions to members for mail, and why one tells nothing.

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::id::{ChainId, Height, NodeId};
use sotto_proto::limits::{REQUEST_TIME_SECONDS, RETRIEVE_BYTES};
use sotto_proto::request::{
    self, Cursor, Purpose as Signed, Read, Records, Retrieve, SignedRead, SwarmRequest, SwarmResponse,
};
use sotto_proto::time::{Monotonic, UnixMillis, UnixSeconds};

use crate::network::clock::SharedClock;
use crate::network::ways::Ways;

/// How a member is asked, and how far it was read.
pub(super) type Reader = (HopInfo, Option<Cursor>);

/// Why a member told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemberFailure {
    #[error(transparent)]
    Tunnel(#[from] tunnel::Error),
    #[error(transparent)]
    Refused(#[from] request::Error),
    #[error("an answer that does not fit the question")]
    Nonsense,
}

impl MemberFailure {
    /// The final height at which the member sees another swarm keep the mail, if it says so.
    pub(super) const fn elsewhere(&self) -> Option<Height> {
        match self {
            Self::Refused(request::Error::WrongSwarm { height, .. }) => Some(*height),
            Self::Refused(_) | Self::Tunnel(_) | Self::Nonsense => None,
        }
    }

    /// The member's own time, if it refuses ours.
    pub(super) const fn other_time(&self) -> Option<UnixSeconds> {
        match self {
            Self::Refused(request::Error::ClockSkew { now }) => Some(*now),
            Self::Refused(_) | Self::Tunnel(_) | Self::Nonsense => None,
        }
    }
}

/// A member that refuses our time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    reader: Reader,
    /// Its own time, and when it said so.
    said: UnixSeconds,
    at: Monotonic,
}

impl Refusal {
    /// What a member said that was asked at `asked`, if it refuses our time.
    pub(super) fn new(reader: Reader, failure: &MemberFailure, asked: Monotonic, clock: &SharedClock) -> Option<Self> {
        let answered = clock.own().monotonic;
        Some(Self { reader, said: failure.other_time()?, at: asked.plus(answered.since(asked) / 2) })
    }
}

/// Those who refuse our time are believed: each one's counts as that of any node. Returns whom to ask again, because the
/// network's time is now near its own.
pub(super) fn believe(refusals: Vec<Refusal>, clock: &SharedClock) -> Vec<Reader> {
    let now = clock.own().monotonic;
    for Refusal { reader: (to, _), said, at } in &refusals {
        // It says whole seconds.
        let passed = u64::try_from(now.since(*at).as_millis()).unwrap_or(u64::MAX);
        let there = said.0.saturating_mul(1000).saturating_add(500).saturating_add(passed);
        clock.heard(to.node, UnixMillis(there), now);
    }
    let time = clock.now().seconds();
    let is_mended = |refusal: &Refusal| time.0.abs_diff(refusal.said.0) <= REQUEST_TIME_SECONDS;
    refusals.into_iter().filter(is_mended).map(|refusal| refusal.reader).collect()
}

/// What questions to members are made from.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) chain: ChainId,
    pub(super) address: Address,
    pub(super) clock: SharedClock,
}

impl Asking {
    pub(super) fn sign<P: Signed>(&self, account: &Account, node: NodeId, cursor: Option<Cursor>) -> SignedRead<P> {
        let (time, cursor) = (self.clock.now().seconds(), cursor.unwrap_or_default());
        let read = Read { node, address: self.address, time, cursor, max_bytes: RETRIEVE_BYTES };
        SignedRead::sign(read, account.signing_key(), &self.chain)
    }
}

/// What came of asking one member.
pub(super) type Opened = Result<(Tunnel, Records), (MemberFailure, Option<Refusal>)>;

/// Opens a tunnel with the first question in it; asks again without a cursor if the member does not know it. One that
/// refuses our time is not asked again at once: what the others say decides whose time is wrong. `late` as for
/// [`Ways::next`].
pub(super) async fn open(
    ways: &Ways<impl Future<Output = Option<Path>>>,
    late: bool,
    reader: Option<Reader>,
    asking: &Asking,
    account: &Account,
) -> Opened {
    let reader = reader.ok_or((MemberFailure::Nonsense, None))?;
    let asked = asking.clock.own().monotonic;
    let told = first_page(ways, late, reader, asking, account).await;
    told.map_err(|failure| {
        let refusal = Refusal::new(reader, &failure, asked, &asking.clock);
        (failure, refusal)
    })
}

async fn first_page(
    ways: &Ways<impl Future<Output = Option<Path>>>,
    late: bool,
    (to, cursor): Reader,
    asking: &Asking,
    account: &Account,
) -> Result<(Tunnel, Records), MemberFailure> {
    let question = |cursor| SwarmRequest::Retrieve(asking.sign::<Retrieve>(account, to.node, cursor));
    let (mut tunnel, answer) = ways.connect(to, late, question(cursor)).await?;
    let told = match records_of(answer.ok_or(MemberFailure::Nonsense)?) {
        Err(MemberFailure::Refused(request::Error::CursorUnknown)) if cursor.is_some() => {
            records_of(tunnel.request(question(None)).await?)
        }
        told => told,
    };
    Ok((tunnel, told?))
}

pub(super) fn records_of(answer: SwarmResponse) -> Result<Records, MemberFailure> {
    match answer {
        SwarmResponse::Records(records) => Ok(records),
        SwarmResponse::Error(error) => Err(error.into()),
        _ => Err(MemberFailure::Nonsense),
    }
}
