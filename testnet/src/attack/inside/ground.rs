//! Where an attack stands: whom it can use as hops, what they are called, and who it is itself.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;

use libp2p::identity::Keypair;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sotto_behaviours::names::Names;
use sotto_behaviours::network::WallClock;
use sotto_behaviours::onion::HopInfo;
use sotto_proto::account::{Account, Entropy};
use sotto_proto::cell::{Minute, Position};
use sotto_proto::chain::{NodeRecord, NodeState};
use sotto_proto::id::{ChainId, NodeId, SwarmId};
use sotto_proto::limits::HOPS;
use sotto_proto::time::UnixSeconds;

use super::super::Scene;
use super::mail::Mailbox;
use super::peer::Peer;
use super::wire::Failed;

/// Accounts that are drawn until one belongs where it is wanted: with a hundred swarms one in 10^17 searches fails.
const DRAWN: usize = 4000;

/// One attacker: a scene, a number, and draws of its own.
pub(super) struct Ground {
    pub(super) scene: Arc<Scene>,
    pub(super) names: Names,
    pub(super) index: usize,
    pub(super) rng: ChaCha20Rng,
    /// The mailbox it filled, or reads, since an earlier round.
    pub(super) mailbox: Option<Arc<Mailbox>>,
}

impl Ground {
    pub(super) fn new(scene: &Arc<Scene>, role: &str, index: usize) -> Self {
        let names = Names::new(&scene.network.chain);
        Self { scene: Arc::clone(scene), names, index, rng: scene.rng(role, index), mailbox: None }
    }

    pub(super) fn chain(&self) -> &ChainId {
        &self.scene.network.chain
    }

    /// The victim as a hop or a destination.
    pub(super) fn victim(&self) -> HopInfo {
        hop(&self.scene.victim.record)
    }

    /// A connection with the victim under a key that nobody has seen before.
    pub(super) async fn stranger(&mut self) -> Result<Peer, Failed> {
        let victim = (self.scene.victim.node, self.scene.victim.listen);
        self.stranger_at(victim).await
    }

    /// The same with any node.
    pub(super) async fn stranger_at(&mut self, at: (NodeId, SocketAddrV4)) -> Result<Peer, Failed> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let identity = Keypair::ed25519_from_bytes(seed).map_err(io::Error::other)?;
        Peer::connect(&self.scene, self.index, &identity, at, &[]).await
    }

    /// Active nodes except the victim, in a drawn order.
    pub(super) fn others(&mut self) -> Vec<&NodeRecord> {
        let victim = self.scene.victim.node;
        let nodes = self.scene.network.directory.nodes().values().map(|record| &**record);
        let mut others: Vec<_> =
            nodes.filter(|record| record.node != victim && record.state == NodeState::Active).collect();
        others.sort_by_cached_key(|_| self.rng.next_u64());
        others
    }

    /// The hops of a path with the victim in this place, or nowhere; and where the guard listens.
    pub(super) fn hops(&mut self, victim: Option<Position>) -> Result<([HopInfo; HOPS], SocketAddrV4), Failed> {
        let of_victim = self.scene.victim.record.clone();
        let mut others = self.others().into_iter();
        let mut draw = |position| match victim {
            Some(place) if place == position => Ok(of_victim.clone()),
            _ => others.next().cloned().ok_or_else(|| Failed::Path("too few nodes".to_owned())),
        };
        let [guard, middle, exit] = Position::ALL;
        let [guard, middle, exit] = [draw(guard)?, draw(middle)?, draw(exit)?];
        let at = listen(&guard).ok_or_else(|| Failed::Path("the guard has no address".to_owned()))?;
        Ok(([hop(&guard), hop(&middle), hop(&exit)], at))
    }

    /// Somebody else, where tunnels through the victim may lead.
    pub(super) fn destination(&mut self) -> Result<HopInfo, Failed> {
        let other = self.others().into_iter().next().map(hop);
        other.ok_or_else(|| Failed::Path("nobody else is there".to_owned()))
    }

    /// An account whose mail this swarm keeps.
    pub(super) fn account_in(&mut self, swarm: SwarmId) -> Result<Account, Failed> {
        for _ in 0..DRAWN {
            let mut bytes = [0; Entropy::LEN];
            self.rng.fill_bytes(&mut bytes);
            let account = Account::new(&Entropy::take(&mut bytes));
            if self.scene.network.directory.owner(&account.address()) == Some(swarm) {
                return Ok(account);
            }
        }
        Err(Failed::Unmade(format!("no account belongs to swarm {swarm}")))
    }
}

/// A record as a hop.
pub(super) fn hop(record: &NodeRecord) -> HopInfo {
    HopInfo { node: record.node, x25519: record.x25519 }
}

/// Where a node listens.
pub(super) fn listen(record: &NodeRecord) -> Option<SocketAddrV4> {
    record.addresses.iter().find_map(|address| match address.ip {
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port)),
        IpAddr::V6(_) => None,
    })
}

/// The network's time, which on one machine is the machine's.
pub(super) fn now() -> UnixSeconds {
    WallClock::system().now().seconds()
}

/// The minute that builds and tunnels name.
pub(super) fn minute() -> Minute {
    now().into()
}
