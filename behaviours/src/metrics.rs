//! What this crate counts. All names begin with `sotto_network_`; libp2p's own families stand beside them.

use libp2p::metrics::Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::limits::Refusal;
use crate::membership::CloseReason;

/// A label with a fixed set of values; never a peer, an address or anything else that grows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

/// The counters. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    refused: Family<Reason, Counter>,
    closed: Family<Reason, Counter>,
    unreachable: Counter,
    gossip_unsent: Family<Reason, Counter>,
    gossip_judged: Family<Reason, Counter>,
    banned: Counter,
    requests_refused: Family<Reason, Counter>,
    requests_failed: Family<Reason, Counter>,
    fetches: Family<Reason, Counter>,
    served_bytes: Counter,
    /// Streams of peers that were one too many for their connection.
    pub(crate) streams_beyond: Counter,
    swarm_members: Gauge,
    swarm_connected: Gauge,
    streams_refused: Family<Reason, Counter>,
    builds: Family<Reason, Counter>,
    paths: Gauge,
    paths_ended: Family<Reason, Counter>,
    streams_reset: Family<Reason, Counter>,
    tunnels: Gauge,
    tunnels_ended: Family<Reason, Counter>,
    pending_writes: Gauge,
    /// Seconds between the end of one `next` and the begin of the following: how long all connections stood still.
    pub(crate) away: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            refused: Family::default(),
            closed: Family::default(),
            unreachable: Counter::default(),
            gossip_unsent: Family::default(),
            gossip_judged: Family::default(),
            banned: Counter::default(),
            requests_refused: Family::default(),
            requests_failed: Family::default(),
            fetches: Family::default(),
            served_bytes: Counter::default(),
            streams_beyond: Counter::default(),
            swarm_members: Gauge::default(),
            swarm_connected: Gauge::default(),
            streams_refused: Family::default(),
            builds: Family::default(),
            paths: Gauge::default(),
            paths_ended: Family::default(),
            streams_reset: Family::default(),
            tunnels: Gauge::default(),
            tunnels_ended: Family::default(),
            pending_writes: Gauge::default(),
            away: Histogram::new(exponential_buckets(0.000_1, 4.0, 8)),
        }
    }
}

impl Metrics {
    /// Shows the counters in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("sotto_network");
        registry.register("connections_refused", "Connections refused, by limit", self.refused.clone());
        registry.register("connections_closed", "Connections closed by our rules", self.closed.clone());
        registry.register("dials_failed", "Dials that failed", self.unreachable.clone());
        registry.register("gossip_unsent", "Messages not published, by cause", self.gossip_unsent.clone());
        registry.register("gossip_judged", "Gossiped messages, by verdict", self.gossip_judged.clone());
        registry.register("peers_banned", "Peers banned for invalid gossip", self.banned.clone());
        registry.register("requests_refused", "Requests of peers refused here", self.requests_refused.clone());
        registry.register("requests_failed", "Own requests without an answer", self.requests_failed.clone());
        registry.register("fetches", "Fetches of blocks, by outcome", self.fetches.clone());
        registry.register("served_bytes", "Bytes of blocks served", self.served_bytes.clone());
        registry.register(
            "streams_beyond",
            "Streams of peers reset at once: too many on a connection",
            self.streams_beyond.clone(),
        );
        registry.register("swarm_members", "Other members of the own swarm", self.swarm_members.clone());
        registry.register("swarm_connected", "Those of them that are connected", self.swarm_connected.clone());
        registry.register("streams_refused", "Path and tunnel streams of peers refused", self.streams_refused.clone());
        registry.register("path_builds", "Builds that came, by what was answered or why not", self.builds.clone());
        registry.register("path_hops", "Paths that this node is a hop of", self.paths.clone());
        registry.register("paths_ended", "Paths that ended at this hop", self.paths_ended.clone());
        registry.register("streams_reset", "Streams of paths that this exit reset", self.streams_reset.clone());
        registry.register("tunnels", "Tunnels that end at this node", self.tunnels.clone());
        registry.register("tunnels_ended", "Tunnels that ended at this node", self.tunnels_ended.clone());
        registry.register("pending_writes", "Writes of paths that are pending", self.pending_writes.clone());
        registry.register("away_seconds", "How long the network was not driven", self.away.clone());
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        count(&self.refused, refusal.label());
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        count(&self.closed, reason.label());
    }

    pub(crate) fn unreachable(&self) {
        self.unreachable.inc();
    }

    pub(crate) fn gossip_unsent(&self, reason: &'static str) {
        count(&self.gossip_unsent, reason);
    }

    pub(crate) fn gossip_judged(&self, verdict: &'static str) {
        count(&self.gossip_judged, verdict);
    }

    pub(crate) fn banned(&self) {
        self.banned.inc();
    }

    pub(crate) fn request_refused(&self, reason: &'static str) {
        count(&self.requests_refused, reason);
    }

    pub(crate) fn request_failed(&self, reason: &'static str) {
        count(&self.requests_failed, reason);
    }

    pub(crate) fn fetch(&self, outcome: &'static str) {
        count(&self.fetches, outcome);
    }

    pub(crate) fn served(&self, bytes: usize) {
        self.served_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn stream_refused(&self, reason: &'static str) {
        count(&self.streams_refused, reason);
    }

    pub(crate) fn build(&self, outcome: &'static str) {
        count(&self.builds, outcome);
    }

    pub(crate) fn path_began(&self) {
        self.paths.inc();
    }

    pub(crate) fn path_ended(&self, reason: &'static str) {
        self.paths.dec();
        count(&self.paths_ended, reason);
    }

    pub(crate) fn stream_reset(&self, reason: &'static str) {
        count(&self.streams_reset, reason);
    }

    pub(crate) fn tunnels(&self, open: usize, pending_writes: usize) {
        self.tunnels.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.pending_writes.set(i64::try_from(pending_writes).unwrap_or(i64::MAX));
    }

    pub(crate) fn tunnel_ended(&self, reason: &'static str) {
        count(&self.tunnels_ended, reason);
    }

    pub(crate) fn members(&self, all: usize, connected: usize) {
        self.swarm_members.set(i64::try_from(all).unwrap_or(i64::MAX));
        self.swarm_connected.set(i64::try_from(connected).unwrap_or(i64::MAX));
    }
}

fn count(family: &Family<Reason, Counter>, reason: &'static str) {
    family.get_or_create(&Reason { reason }).inc();
}
