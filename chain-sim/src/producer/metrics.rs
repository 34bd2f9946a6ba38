//! What the producer counts. All names begin with `sotto_chain_`; those of the network stand beside them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::State;
use crate::producer::machine::Machine;

/// A label with a fixed set of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    height: Gauge,
    nodes: Gauge,
    active: Gauge,
    swarms: Gauge,
    pool: Gauge,
    pool_bytes: Gauge,
    blocks: Counter,
    undone: Counter,
    submitted: Family<Kind, Counter>,
    dropped: Counter,
    foreign: Counter,
    busy: Counter,
    http_refused: Counter,
    append: Histogram,
    handle: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            height: Gauge::default(),
            nodes: Gauge::default(),
            active: Gauge::default(),
            swarms: Gauge::default(),
            pool: Gauge::default(),
            pool_bytes: Gauge::default(),
            blocks: Counter::default(),
            undone: Counter::default(),
            submitted: Family::default(),
            dropped: Counter::default(),
            foreign: Counter::default(),
            busy: Counter::default(),
            http_refused: Counter::default(),
            append: Histogram::new(exponential_buckets(0.000_1, 4.0, 8)),
            handle: Histogram::new(exponential_buckets(0.000_01, 4.0, 10)),
        }
    }
}

impl Metrics {
    /// Shows the counters in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("sotto_chain");
        registry.register("height", "Height of the newest block", self.height.clone());
        registry.register("nodes", "Registered service nodes", self.nodes.clone());
        registry.register("nodes_active", "Active service nodes", self.active.clone());
        registry.register("swarms", "Swarms", self.swarms.clone());
        registry.register("pool_transactions", "Transactions that wait for a block", self.pool.clone());
        registry.register("pool_bytes", "Bytes of transactions that wait for a block", self.pool_bytes.clone());
        registry.register("blocks", "Blocks made", self.blocks.clone());
        registry.register("blocks_undone", "Blocks undone on request", self.undone.clone());
        registry.register("submitted", "Transactions submitted, by outcome", self.submitted.clone());
        registry.register("dropped", "Transactions that left the pool without a block", self.dropped.clone());
        registry.register("foreign_blocks", "Gossiped blocks that are not of this chain", self.foreign.clone());
        registry.register("reads_refused", "Requests refused because the disk is busy", self.busy.clone());
        registry.register(
            "http_connections_refused",
            "HTTP connections that were over their listener's limit",
            self.http_refused.clone(),
        );
        registry.register_with_unit(
            "append",
            "Time from making blocks to having them on disk",
            Unit::Seconds,
            self.append.clone(),
        );
        registry.register_with_unit("handle", "Time one input took", Unit::Seconds, self.handle.clone());
    }

    pub(super) fn adopted(&self, undone: u64, added: u64, machine: &Machine) {
        self.undone.inc_by(undone);
        self.blocks.inc_by(added);
        self.show(machine);
    }

    pub(super) fn show(&self, machine: &Machine) {
        let state: &State = machine.tip();
        set(&self.height, state.height().0);
        set(&self.nodes, state.nodes().len() as u64);
        set(&self.active, state.active_count() as u64);
        set(&self.swarms, state.swarms().len() as u64);
        set(&self.pool, machine.pool().len() as u64);
        set(&self.pool_bytes, machine.pool().bytes() as u64);
    }

    pub(super) fn submitted(&self, accepted: bool) {
        self.submitted.get_or_create(&Kind { kind: if accepted { "accepted" } else { "refused" } }).inc();
    }

    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }

    pub(super) fn foreign(&self) {
        self.foreign.inc();
    }

    pub(super) fn busy(&self) {
        self.busy.inc();
    }

    pub(super) fn http_refused(&self) {
        self.http_refused.inc();
    }

    pub(super) fn appended(&self, took: Duration) {
        self.append.observe(took.as_secs_f64());
    }

    pub(super) fn handled(&self, took: Duration) {
        self.handle.observe(took.as_secs_f64());
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
