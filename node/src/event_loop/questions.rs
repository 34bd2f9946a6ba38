//! Questions from outside, answered between two events: by whoever asked over HTTP or the admin socket.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sotto_behaviours::membership::Direction;
use sotto_proto::id::{Height, NodeId, SwarmId};
use sotto_proto::network::Snapshot;
use tokio_util::sync::CancellationToken;

use super::EventLoop;
use crate::http::Question;
use crate::service_node::{CommandId, Input};
use crate::status::drain::DrainStatus;
use crate::status::peers::{BannedStatus, PeerClass, PeerDirection, PeerStatus, PeersStatus};
use crate::status::store::StoreStatus;
use crate::status::swarm::{MemberStatus, SwarmStatus};

impl EventLoop {
    pub(super) fn on_question(&mut self, question: Question, shutdown: &CancellationToken) {
        // Whoever asked may have gone away; that is no error.
        match question {
            Question::Status(reply) => drop(reply.send(self.status())),
            Question::Swarm(reply) => drop(reply.send(self.swarm_status())),
            Question::Peers(reply) => drop(reply.send(self.peers_status())),
            Question::Store(reply) => drop(reply.send(self.store_status())),
            Question::Drain(reply) => drop(reply.send(self.drain_status())),
            Question::Account(key, reply) => drop(reply.send(self.parts.machine.account(&key))),
            Question::Command(command, reply) => {
                self.commands.retain(|_, waiting| !waiting.is_closed());
                let id = CommandId(self.number());
                self.commands.insert(id, reply);
                self.tell(Input::Command { id, command });
            }
            Question::Survey(peers, reply) => {
                self.surveys.retain(|_, waiting| !waiting.is_closed());
                let id = CommandId(self.number());
                self.surveys.insert(id, reply);
                self.tell(Input::Survey { id, peers });
            }
            Question::Shutdown => {
                tracing::info!("stopping, as asked over the admin socket");
                shutdown.cancel();
            }
        }
    }

    /// How much there is of the own swarm, and its fingerprint in hex.
    pub(super) fn own_set(&self) -> (u64, String) {
        let (machine, now) = (&self.parts.machine, self.parts.clock.now());
        let height = self.snapshot().map_or(Height::ZERO, |snapshot| snapshot.height);
        let set = machine.swarm().map(|swarm| machine.mail().summary(swarm, height, now.wall.seconds()));
        set.map(|(items, fingerprint)| (items, hex::encode(fingerprint.as_bytes()))).unwrap_or_default()
    }

    fn snapshot(&self) -> Option<&Snapshot> {
        self.parts.machine.chain().map(|chain| chain.view.current())
    }

    fn members(&self) -> &[NodeId] {
        let members = |swarm: SwarmId| self.snapshot()?.swarms.members(swarm);
        self.parts.machine.swarm().and_then(members).unwrap_or_default()
    }

    fn registered_addresses(&self, node: &NodeId) -> Vec<String> {
        let record = self.snapshot().and_then(|snapshot| snapshot.nodes.get(node));
        record.map(|record| record.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    fn swarm_status(&self) -> SwarmStatus {
        let (machine, mail) = (&self.parts.machine, self.parts.machine.mail());
        let (own, now) = (machine.node_id(), self.parts.clock.now().monotonic);
        let connected: BTreeSet<NodeId> = self.parts.network.connected().collect();
        let member = |node: &NodeId| {
            let compared = mail.compared_with(node);
            MemberStatus {
                node: node.to_string(),
                own: *node == own,
                addresses: self.registered_addresses(node),
                connected: connected.contains(node),
                compared_ms_ago: compared.map(|compared| millis(now.since(compared.at))),
                agrees: compared.map(|compared| compared.equal),
            }
        };
        let (items, digest) = self.own_set();
        SwarmStatus {
            v: SwarmStatus::VERSION,
            kind: SwarmStatus::TYPE.to_owned(),
            node: own.to_string(),
            swarm: machine.swarm().map(|swarm| format!("0x{swarm}")),
            height: self.snapshot().map_or(0, |snapshot| snapshot.height.0),
            members: self.members().iter().map(member).collect(),
            records: mail.records(),
            bytes: mail.bytes(),
            to_hand_over: mail.to_hand_over(),
            syncing: mail.is_syncing(),
            items,
            digest,
        }
    }

    fn peers_status(&self) -> PeersStatus {
        let now = Instant::now();
        let since = |node: &NodeId| self.connected_at.get(node).map(|at| millis(now.duration_since(*at)));
        let peer = |node: NodeId| PeerStatus {
            peer: node.to_string(),
            class: self.class(&node),
            direction: self.direction(&node),
            registered_addresses: self.registered_addresses(&node),
            connected_ms: since(&node),
        };
        let mut peers: Vec<_> = self.parts.network.connected().map(peer).collect();
        peers.sort_by_key(|peer| peer.class); // they came in the order of their keys
        let wall = self.parts.clock.now().wall;
        let banned = |(node, left): (NodeId, Duration)| BannedStatus {
            peer: node.to_string(),
            until_ms: wall.0.saturating_add(millis(left)),
        };
        PeersStatus {
            v: PeersStatus::VERSION,
            kind: PeersStatus::TYPE.to_owned(),
            count: peers.len(),
            peers,
            banned: self.parts.network.banned().map(banned).collect(),
        }
    }

    pub(super) fn direction(&self, node: &NodeId) -> Option<PeerDirection> {
        let directions: Vec<_> = self.parts.network.directions(node).collect();
        match (directions.contains(&Direction::Dialed), directions.contains(&Direction::Accepted)) {
            (true, true) => Some(PeerDirection::Both),
            (true, false) => Some(PeerDirection::Out),
            (false, true) => Some(PeerDirection::In),
            (false, false) => None,
        }
    }

    fn class(&self, node: &NodeId) -> PeerClass {
        let producer = self.parts.machine.chain().map(|chain| chain.tip.founding().producer);
        if producer == Some(*node) {
            PeerClass::Chain
        } else if self.members().contains(node) {
            PeerClass::Member
        } else if self.parts.network.is_node(node) {
            PeerClass::Node
        } else {
            PeerClass::Client
        }
    }

    fn drain_status(&self) -> DrainStatus {
        let (machine, mail) = (&self.parts.machine, self.parts.machine.mail());
        let now = self.parts.clock.now();
        let (drained, to_hand_over) = (mail.drained(now.wall.seconds()), mail.to_hand_over());
        let left = drained.and_then(|drained| drained.left);
        DrainStatus {
            v: DrainStatus::VERSION,
            kind: DrainStatus::TYPE.to_owned(),
            node: machine.node_id().to_string(),
            state: machine.report(now).state.to_owned(),
            swarm: machine.swarm().map(|swarm| format!("0x{swarm}")),
            draining: machine.drains(),
            done: left == Some(0) && to_hand_over == 0,
            left,
            to_hand_over,
            records: mail.records(),
            members: drained.map_or(0, |drained| drained.members),
            needed: drained.map_or(0, |drained| drained.needed),
        }
    }

    fn store_status(&self) -> StoreStatus {
        let mail = self.parts.machine.mail();
        let (limits, counts) = (mail.limits(), mail.counts());
        StoreStatus {
            v: StoreStatus::VERSION,
            kind: StoreStatus::TYPE.to_owned(),
            loaded: mail.is_ready(),
            records: mail.records(),
            bytes: mail.bytes(),
            records_limit: limits.records,
            bytes_limit: limits.bytes,
            full: mail.is_full(),
            tombstones: mail.tombstones(),
            to_hand_over: mail.to_hand_over(),
            from_clients: counts.from_clients,
            from_gossip: counts.from_gossip,
            from_repair: counts.from_repair,
            expired: counts.expired,
            deleted: counts.deleted,
            handed_over: counts.handed_over,
            damaged: counts.damaged,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
