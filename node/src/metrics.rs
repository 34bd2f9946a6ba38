//! Every metric of the node, in one place. No label ever names a peer, an address, an account or a message.
//!
//! libp2p's own metrics come from its own registry and are appended on the same page ([`Page`]).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use sotto_behaviours::network::{Counts, Registry};
use sotto_proto::id::Height;
use tokio_util::sync::CancellationToken;

use crate::service_node::{MailCounts, PushCounts};

/// How long samples of histograms may pile up.
const UPKEEP: Duration = Duration::from_secs(10);

const TIP: &str = "sotto_node_tip_height";
const FINAL: &str = "sotto_node_final_height";
const BLOCKS: &str = "sotto_node_blocks_inserted_total";
const APPLY: &str = "sotto_node_block_apply_seconds";
const REORGANISED: &str = "sotto_node_reorganised_blocks_total";
const EQUIVOCATIONS: &str = "sotto_node_equivocations_total";
const CHAIN_REFUSED: &str = "sotto_node_chain_queue_refused_total";
const CONNECTIONS: &str = "sotto_node_connections";
const SWARM_CONNECTED: &str = "sotto_node_swarm_members_connected";
const REQUESTS: &str = "sotto_node_requests_served_total";
const LOOP_BUSY: &str = "sotto_node_loop_busy_seconds";
const SYNC: &str = "sotto_node_storage_sync_seconds";
const STORAGE_REFUSED: &str = "sotto_node_storage_queue_refused_total";
const STORAGE_FAILED: &str = "sotto_node_storage_failed";
const STORAGE_REOPENED: &str = "sotto_node_storage_reopened_total";
const READY: &str = "sotto_node_ready";
const CLOCK_OFFSET: &str = "sotto_node_clock_offset_seconds";
const RESIDENT: &str = "sotto_node_resident_bytes";
const MAIL_RECORDS: &str = "sotto_node_mail_records";
const MAIL_BYTES: &str = "sotto_node_mail_bytes";
const MAIL_TAKEN: &str = "sotto_node_mail_records_taken_total";
const MAIL_EXPIRED: &str = "sotto_node_mail_records_expired_total";
const MAIL_DELETED: &str = "sotto_node_mail_records_deleted_total";
const MAIL_HANDED_OVER: &str = "sotto_node_mail_items_handed_over_total";
const MAIL_SYNCING: &str = "sotto_node_mail_syncing";
const MAIL_DAMAGED: &str = "sotto_node_mail_rows_damaged_total";
const MAIL_READ_BACK: &str = "sotto_node_mail_items_read_back_total";
const MAIL_MENDED: &str = "sotto_node_mail_items_mended_total";
const MAIL_GOSSIP: &str = "sotto_node_mail_gossip_judged_total";
const LISTENERS: &str = "sotto_node_listeners";
const PUSHES: &str = "sotto_node_pushes_total";
const HTTP_REFUSED: &str = "sotto_node_http_connections_refused_total";
const ON_EVENT: &str = "sotto_node_on_event_total";

/// Bounds of every histogram of times, in seconds: from a cheap block to a disk in trouble.
const SECONDS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Starts counting. Before, and in tests, everything below does nothing.
///
/// # Errors
/// When it is started twice.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = [APPLY, LOOP_BUSY, SYNC].into_iter().try_fold(PrometheusBuilder::new(), |builder, name| {
        builder.set_buckets_for_metric(Matcher::Full(name.into()), &SECONDS)
    })?;
    let handle = builder.install_recorder()?;
    describe_gauge!(TIP, "Height of the newest block.");
    describe_gauge!(FINAL, "Height of the newest final block.");
    describe_counter!(BLOCKS, "Blocks that became part of the chain.");
    describe_histogram!(APPLY, "Time to check and apply one block.");
    describe_counter!(REORGANISED, "Blocks undone by reorganisations.");
    describe_counter!(EQUIVOCATIONS, "Pairs of blocks of one height that the producer signed.");
    describe_counter!(CHAIN_REFUSED, "Blocks not looked at because the chain thread was busy.");
    describe_gauge!(CONNECTIONS, "Connected peers, by kind.");
    describe_gauge!(SWARM_CONNECTED, "Other members of the own swarm that are connected.");
    describe_counter!(REQUESTS, "Requests of peers answered, by protocol and outcome.");
    describe_histogram!(LOOP_BUSY, "Time the event loop spent on one event.");
    describe_histogram!(SYNC, "Time one sync of the disk took.");
    describe_counter!(STORAGE_REFUSED, "Commands refused because the storage queue was full.");
    describe_gauge!(STORAGE_FAILED, "1 when the database no longer takes writes.");
    describe_counter!(STORAGE_REOPENED, "Times the database was opened again because it had failed.");
    describe_gauge!(READY, "1 when the node does everything it should.");
    describe_gauge!(CLOCK_OFFSET, "Median distance of the peers' clocks from the own one.");
    describe_gauge!(RESIDENT, "Memory of the process in RAM.");
    describe_gauge!(MAIL_RECORDS, "Records kept for the own swarm.");
    describe_gauge!(MAIL_BYTES, "Bytes of records kept.");
    describe_counter!(MAIL_TAKEN, "Records taken since the start, by where they came from.");
    describe_counter!(MAIL_EXPIRED, "Records that expired.");
    describe_counter!(MAIL_DELETED, "Records that their owners deleted.");
    describe_counter!(MAIL_HANDED_OVER, "Records and tombstones erased because their swarm has them on disk.");
    describe_gauge!(MAIL_SYNCING, "1 while records may be missing here that other members have.");
    describe_counter!(MAIL_DAMAGED, "Rows of the mail that were found damaged.");
    describe_counter!(MAIL_READ_BACK, "Records and tombstones read back from disk without anybody asking for them.");
    describe_counter!(MAIL_MENDED, "Records and tombstones written again because what belongs to them was damaged.");
    describe_counter!(MAIL_GOSSIP, "Gossiped records and deletes, by verdict.");
    describe_gauge!(LISTENERS, "Clients that listen at this node.");
    describe_counter!(PUSHES, "Pushes to listeners, by what became of them.");
    describe_counter!(HTTP_REFUSED, "Connections to the HTTP port that were over its limit.");
    describe_counter!(ON_EVENT, "Events for the operator's command, by what became of them.");
    Ok(handle)
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; heights stay far below 2^53")]
fn set(name: &'static str, value: u64) {
    gauge!(name).set(value as f64);
}

/// The chain has a new tip.
pub fn chain(tip: Height, final_height: Height) {
    set(TIP, tip.0);
    set(FINAL, final_height.0);
}

/// Blocks were checked and applied.
pub fn blocks_applied(count: u64, took: Duration) {
    counter!(BLOCKS).increment(count);
    if let Ok(count) = u32::try_from(count)
        && count > 0
    {
        histogram!(APPLY).record(took / count);
    }
}

/// A reorganisation undid blocks.
pub fn reorganised(depth: u64) {
    counter!(REORGANISED).increment(depth);
}

/// The producer was found to have signed two blocks of one height.
pub fn equivocations(pairs: u64) {
    counter!(EQUIVOCATIONS).increment(pairs);
}

/// The chain thread had no room for blocks.
pub fn chain_refused() {
    counter!(CHAIN_REFUSED).increment(1);
}

/// How many peers are connected.
pub fn connections(counts: &Counts) {
    gauge!(CONNECTIONS, "kind" => "node").set(f64::from(u32::try_from(counts.nodes).unwrap_or(u32::MAX)));
    gauge!(CONNECTIONS, "kind" => "client").set(f64::from(u32::try_from(counts.clients).unwrap_or(u32::MAX)));
    gauge!(SWARM_CONNECTED).set(f64::from(u32::try_from(counts.swarm_connected).unwrap_or(u32::MAX)));
}

/// A peer's request was answered.
pub fn request(protocol: &'static str, outcome: &'static str) {
    counter!(REQUESTS, "protocol" => protocol, "outcome" => outcome).increment(1);
}

/// The event loop worked on one event for this long.
pub fn loop_busy(took: Duration) {
    histogram!(LOOP_BUSY).record(took);
}

/// The disk was synced.
pub fn storage_synced(took: Duration) {
    histogram!(SYNC).record(took);
}

/// The storage queue was full.
pub fn storage_refused() {
    counter!(STORAGE_REFUSED).increment(1);
}

/// Whether the database takes no more writes.
pub fn storage_failed(failed: bool) {
    gauge!(STORAGE_FAILED).set(if failed { 1.0 } else { 0.0 });
}

/// The database was opened again after it had failed.
pub fn storage_reopened() {
    counter!(STORAGE_REOPENED).increment(1);
}

/// Whether the node does everything it should, and how far its clock is off.
pub fn health(ready: bool, clock_offset_ms: Option<i64>) {
    gauge!(READY).set(if ready { 1.0 } else { 0.0 });
    if let Some(millis) = clock_offset_ms.and_then(|millis| i32::try_from(millis).ok()) {
        gauge!(CLOCK_OFFSET).set(f64::from(millis) / 1000.0);
    }
}

/// How much mail there is, and what has become of it since the start.
pub fn mail(records: usize, bytes: u64, syncing: bool, counts: &MailCounts) {
    set(MAIL_RECORDS, records as u64);
    set(MAIL_BYTES, bytes);
    set(MAIL_SYNCING, syncing.into());
    for (source, count) in
        [("client", counts.from_clients), ("gossip", counts.from_gossip), ("repair", counts.from_repair)]
    {
        counter!(MAIL_TAKEN, "source" => source).absolute(count);
    }
    counter!(MAIL_EXPIRED).absolute(counts.expired);
    counter!(MAIL_DELETED).absolute(counts.deleted);
    counter!(MAIL_HANDED_OVER).absolute(counts.handed_over);
    counter!(MAIL_DAMAGED).absolute(counts.damaged);
    counter!(MAIL_READ_BACK).absolute(counts.read_back);
    counter!(MAIL_MENDED).absolute(counts.mended);
}

/// How many listen, and what has become of pushes since the start.
pub fn listening(listeners: usize, counts: &PushCounts) {
    set(LISTENERS, listeners as u64);
    for (outcome, count) in [("delivered", counts.delivered), ("nobody", counts.nobody), ("refused", counts.refused)] {
        counter!(PUSHES, "outcome" => outcome).absolute(count);
    }
}

/// A gossiped record or delete was judged.
pub fn mail_gossip(verdict: &'static str) {
    counter!(MAIL_GOSSIP, "verdict" => verdict).increment(1);
}

/// A connection to the HTTP port was over the limit.
pub fn http_refused() {
    counter!(HTTP_REFUSED).increment(1);
}

/// An event was told to the operator's command, or was not.
pub fn on_event(outcome: &'static str) {
    counter!(ON_EVENT, "outcome" => outcome).increment(1);
}

/// The page that Prometheus reads: the node's metrics, then libp2p's.
#[derive(Clone)]
pub struct Page {
    own: PrometheusHandle,
    libp2p: Arc<Mutex<Registry>>,
}

impl Page {
    /// A page of both.
    #[must_use]
    pub fn new(own: PrometheusHandle, libp2p: Registry) -> Self {
        Self { own, libp2p: Arc::new(Mutex::new(libp2p)) }
    }

    /// Sums up what histograms have collected, so that it does not pile up when nobody looks; until `shutdown`.
    pub async fn keep_tidy(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.own.run_upkeep();
        }
    }

    /// The text.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(bytes) = crate::process::resident_bytes() {
            set(RESIDENT, bytes);
        }
        self.own.run_upkeep();
        let mut text = self.own.render();
        let libp2p = self.libp2p.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if prometheus_client::encoding::text::encode_registry(&mut text, &libp2p).is_err() {
            text.push_str("# libp2p's metrics cannot be shown\n");
        }
        text
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Page")
    }
}
