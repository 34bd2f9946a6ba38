//! Everything a host speaks, put together.
//!
//! The order counts: the first fields may refuse a connection, and those after them must not have heard of it then.

use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, gossipsub, ping};
use sotto_proto::limits;
use sotto_proto::request::{
    ChainRequest, ChainResponse, ListRequest, ListResponse, Message, OfferRequest, OfferResponse, RepairRequest,
    RepairResponse, StatusRequest, StatusResponse,
};

use super::{Role, Timeouts};
use crate::chain_sync::protocol::{Codec, Received};
use crate::gated::Gated;
use crate::{gossip, limits as connection_limits, membership, onion};

/// A request-response protocol of ours.
pub(super) type Exchange<Q, A> = request_response::Behaviour<Codec<Q, A>>;
/// One that not everybody may use, at a host that serves it.
pub(super) type GatedExchange<Q, A> = Toggle<Gated<Exchange<Q, A>>>;
/// What happens on it.
pub(super) type ExchangeEvent<Q, A> = request_response::Event<Received<Q>, A>;

#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Out")]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) membership: membership::Behaviour,
    pub(super) ping: ping::Behaviour,
    /// Registered nodes and the producer. Clients have no gossip at all.
    pub(super) chain_gossip: Toggle<Gated<gossip::Behaviour>>,
    /// Members of the own swarm.
    pub(super) swarm_gossip: Toggle<Gated<gossip::Behaviour>>,
    /// Anybody.
    pub(super) chain: Exchange<ChainRequest, ChainResponse>,
    /// Anybody.
    pub(super) list: Exchange<ListRequest, ListResponse>,
    /// Registered nodes and the producer.
    pub(super) status: GatedExchange<StatusRequest, StatusResponse>,
    /// Members of the own swarm.
    pub(super) repair: GatedExchange<RepairRequest, RepairResponse>,
    /// Registered nodes.
    pub(super) offer: GatedExchange<OfferRequest, OfferResponse>,
    /// Paths and tunnels. The last one: it keeps books of connections that others may refuse.
    pub(super) onion: onion::behaviour::Behaviour,
}

/// What comes out of the parts.
#[derive(Debug)]
pub(super) enum Out {
    Membership(membership::Event),
    Ping(ping::Event),
    /// Of either instance; the message's topic tells which.
    Gossip(gossipsub::Event),
    Chain(ExchangeEvent<ChainRequest, ChainResponse>),
    List(ExchangeEvent<ListRequest, ListResponse>),
    Status(ExchangeEvent<StatusRequest, StatusResponse>),
    Repair(ExchangeEvent<RepairRequest, RepairResponse>),
    Offer(ExchangeEvent<OfferRequest, OfferResponse>),
    Onion(onion::behaviour::Event),
}

/// Streams of one protocol on one connection, both directions together.
const STREAMS: usize = 2 * limits::REQUESTS_PER_PEER;

/// One of the protocols. Clients ask and do not even advertise that they could answer.
pub(super) fn exchange<Q, A>(name: StreamProtocol, role: Role, timeouts: &Timeouts) -> Exchange<Q, A>
where
    Q: Message + Send + 'static,
    A: Message + Send + 'static,
{
    let support = if role == Role::Client { ProtocolSupport::Outbound } else { ProtocolSupport::Full };
    let config =
        request_response::Config::default().with_request_timeout(timeouts.request).with_max_concurrent_streams(STREAMS);
    // Half of the whole exchange is more than any one of its phases may take.
    Exchange::with_codec(Codec::new(timeouts.request / 2), [(name, support)], config)
}

/// One of the protocols behind a gate; `None` at a host that has no part in it.
pub(super) fn gated<Q, A>(name: Option<StreamProtocol>, role: Role, timeouts: &Timeouts) -> GatedExchange<Q, A>
where
    Q: Message + Send + 'static,
    A: Message + Send + 'static,
{
    name.map(|name| Gated::new(exchange(name, role, timeouts))).into()
}

impl From<std::convert::Infallible> for Out {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<membership::Event> for Out {
    fn from(event: membership::Event) -> Self {
        Self::Membership(event)
    }
}

impl From<ping::Event> for Out {
    fn from(event: ping::Event) -> Self {
        Self::Ping(event)
    }
}

impl From<gossipsub::Event> for Out {
    fn from(event: gossipsub::Event) -> Self {
        Self::Gossip(event)
    }
}

impl From<ExchangeEvent<ChainRequest, ChainResponse>> for Out {
    fn from(event: ExchangeEvent<ChainRequest, ChainResponse>) -> Self {
        Self::Chain(event)
    }
}

impl From<ExchangeEvent<ListRequest, ListResponse>> for Out {
    fn from(event: ExchangeEvent<ListRequest, ListResponse>) -> Self {
        Self::List(event)
    }
}

impl From<ExchangeEvent<StatusRequest, StatusResponse>> for Out {
    fn from(event: ExchangeEvent<StatusRequest, StatusResponse>) -> Self {
        Self::Status(event)
    }
}

impl From<onion::behaviour::Event> for Out {
    fn from(event: onion::behaviour::Event) -> Self {
        Self::Onion(event)
    }
}

impl From<ExchangeEvent<RepairRequest, RepairResponse>> for Out {
    fn from(event: ExchangeEvent<RepairRequest, RepairResponse>) -> Self {
        Self::Repair(event)
    }
}

impl From<ExchangeEvent<OfferRequest, OfferResponse>> for Out {
    fn from(event: ExchangeEvent<OfferRequest, OfferResponse>) -> Self {
        Self::Offer(event)
    }
}
