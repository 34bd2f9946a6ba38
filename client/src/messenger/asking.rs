//! Questions to members for mail, and why one tells nothing.

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::id::{ChainId, Height, NodeId};
use sotto_proto::limits::{REQUEST_TIME_SECONDS, RETRIEVE_BYTES};
use sotto_proto::request::{
    self, Cursor, Purpose as Signed, Read, Records, Retrieve, SignedRead, SwarmRequest, SwarmResponse,
};
use sotto_proto::time::{Monotonic, UnixMillis, UnixSeconds};

use super::mailbox::Mailbox;
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
    fn new(reader: Reader, failure: &MemberFailure, asked: Monotonic, clock: &SharedClock) -> Option<Self> {
        let answered = clock.own().monotonic;
        Some(Self { reader, said: failure.other_time()?, at: asked.plus(answered.since(asked) / 2) })
    }
}

/// Those who refuse our time are believed: the time of each counts as that of any node. Returns whom to ask again,
/// because the network's time is now near its own.
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
    pub(super) mailbox: Mailbox,
    pub(super) clock: SharedClock,
}

impl Asking {
    pub(super) fn sign<P: Signed>(&self, node: NodeId, cursor: Option<Cursor>) -> SignedRead<P> {
        let (time, cursor) = (self.clock.now().seconds(), cursor.unwrap_or_default());
        let read = Read { node, address: self.mailbox.address, time, cursor, max_bytes: RETRIEVE_BYTES };
        SignedRead::sign(read, &self.mailbox.key, &self.chain)
    }
}

/// Opens a tunnel with the first question in it; asks again without a cursor if the member does not know it. One that
/// refuses our time is not asked again at once: what the others say decides whose time is wrong. `late` as for
/// [`Ways::next`].
pub(super) async fn open(
    ways: &Ways<impl Future<Output = Option<Path>>>,
    late: bool,
    reader: Option<Reader>,
    asking: &Asking,
) -> Result<(Tunnel, Records), (MemberFailure, Option<Refusal>)> {
    let reader = reader.ok_or((MemberFailure::Nonsense, None))?;
    let asked = asking.clock.own().monotonic;
    let told = first_page(ways, late, reader, asking).await;
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
) -> Result<(Tunnel, Records), MemberFailure> {
    let question = |cursor| SwarmRequest::Retrieve(asking.sign::<Retrieve>(to.node, cursor));
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

#[cfg(test)]
mod tests {
    use sotto_behaviours::network::WallClock;
    use sotto_proto::id::X25519Key;

    use super::*;
    use crate::network::test_support::node;

    fn reader(n: u8) -> Reader {
        (HopInfo { node: node(n), x25519: X25519Key::new([n; 32]) }, None)
    }

    /// Nodes that refuse our time, with times that are ahead by so many seconds.
    fn refusing<const N: usize>(clock: &SharedClock, ahead: [u64; N]) -> Vec<Refusal> {
        let own = clock.own();
        let refuses = |(ahead, n): (u64, u8)| {
            let now = UnixSeconds(own.wall.seconds().0 + ahead);
            let failure = MemberFailure::Refused(request::Error::ClockSkew { now });
            Refusal::new(reader(n), &failure, own.monotonic, clock).unwrap()
        };
        ahead.into_iter().zip(0_u8..).map(refuses).collect()
    }

    fn asked_again(clock: &SharedClock, refusals: Vec<Refusal>) -> Vec<NodeId> {
        believe(refusals, clock).into_iter().map(|(to, _)| to.node).collect()
    }

    #[test]
    fn three_that_refuse_our_time_mend_it_and_those_whose_time_it_is_then_are_asked_again() {
        let clock = SharedClock::new(WallClock::system());
        assert!(asked_again(&clock, refusing(&clock, [500, 500])).is_empty(), "two set no clock");
        assert_eq!(clock.own_ahead(), None);
        let again = asked_again(&clock, refusing(&clock, [500, 5_000_000, 500, 501, 499]));
        assert_eq!(again, [0_u8, 2, 3, 4].map(node));
        let ahead = clock.own_ahead().unwrap();
        assert!(ahead.abs_diff(-500_000) < 30_000, "{ahead}");
    }

    #[test]
    fn other_failures_say_nothing_about_the_time() {
        let clock = SharedClock::new(WallClock::system());
        assert!(Refusal::new(reader(1), &MemberFailure::Nonsense, clock.own().monotonic, &clock).is_none());
    }
}
