//! The node's status: what the machine reports, and what the process knows beside it.

use std::time::Instant;

use sotto_chain::Equivocation;
use sotto_proto::chain::SignedHeader;
use sotto_proto::id::{ChainId, PublicKey, SwarmId};

use super::{EventLoop, WARN_INTERVAL};
use crate::service_node::VERSION;
use crate::status::{DamageStatus, EvidenceStatus, NodeStatus, Phase};
use crate::store::opening::Damage;
use crate::{metrics, process};

/// What never changes while the node runs.
#[derive(Clone, Debug)]
pub struct About {
    /// The chain.
    pub chain: ChainId,
    /// What the operator calls it.
    pub moniker: String,
    /// When the process began.
    pub started: Instant,
    /// The database was damaged so that another one was made.
    pub damage: Option<Damage>,
}

/// What is worth a line in the log when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    phase: Phase,
    state: &'static str,
    swarm: Option<SwarmId>,
    problem: Option<String>,
}

impl EventLoop {
    /// Logs how the node stands if that has changed, and counts it.
    pub(super) fn note_standing(&mut self) {
        let report = self.parts.machine.report(self.parts.clock.now());
        let mail = self.parts.machine.mail();
        metrics::mail(mail.records(), mail.bytes(), mail.is_syncing(), &mail.counts());
        let listeners = self.parts.machine.listeners();
        metrics::listening(listeners.len(), &listeners.counts());
        metrics::health(report.ready, report.clock.map(|offset| offset.millis));
        let standing = Standing {
            phase: report.phase,
            state: report.state,
            swarm: self.parts.machine.swarm(),
            problem: report.problems.first().map(|problem| problem.code.clone()),
        };
        if self.standing.as_ref() == Some(&standing) {
            return;
        }
        match report.phase {
            Phase::Problem => tracing::warn!("{}", report.summary),
            Phase::Ok | Phase::Starting => tracing::info!("{}", report.summary),
        }
        process::notify(&format!("STATUS={} {}", report.phase, report.summary));
        self.standing = Some(standing);
    }

    /// Keeps evidence for the status, and logs the newest, once in a while.
    pub(super) fn note_evidence(&mut self, evidence: Vec<Equivocation>) {
        self.evidence = evidence;
        let now = Instant::now();
        let Some(newest) = self.evidence.last() else { return };
        if self.evidence_logged_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL) {
            self.evidence_logged_at = Some(now);
            let EvidenceStatus { height, first, second } = self.evidence_status(newest);
            tracing::warn!(
                height,
                first,
                second,
                kept = self.evidence.len(),
                "the producer signed two blocks of one height"
            );
        }
    }

    fn evidence_status(&self, pair: &Equivocation) -> EvidenceStatus {
        let hash = |header: &SignedHeader| header.hash(&self.parts.about.chain).to_string();
        EvidenceStatus { height: pair.height().0, first: hash(&pair.first), second: hash(&pair.second) }
    }

    /// Everything about the node.
    pub(super) fn status(&self) -> NodeStatus {
        let (machine, network) = (&self.parts.machine, &self.parts.network);
        let report = machine.report(self.parts.clock.now());
        let counts = network.counts();
        let chain = machine.chain();
        let entry = machine.entry();
        let (swarm_items, swarm_digest) = self.own_set();
        NodeStatus {
            v: NodeStatus::VERSION,
            kind: NodeStatus::TYPE.to_owned(),
            ok: report.phase != Phase::Problem,
            ready: report.ready,
            phase: report.phase,
            summary: report.summary,
            problems: report.problems,
            moniker: self.parts.about.moniker.clone(),
            node: machine.node_id().to_string(),
            operator: machine.operator().as_ref().map(PublicKey::to_string),
            chain: chain.map_or_else(String::new, |chain| chain.view.chain.to_string()),
            state: report.state.to_owned(),
            swarm: machine.swarm().map(|swarm| format!("0x{swarm}")),
            tip: self.tip.0,
            height: chain.map_or(0, |chain| chain.view.current().height.0),
            behind: report.behind.map(|height| height.0),
            halted: chain.is_some_and(|chain| chain.view.halted),
            synced: report.synced,
            silent_since_ms: report.silent_since.map(|since| since.0),
            connections: counts.nodes,
            clients: counts.clients,
            swarm_connected: format!("{}/{}", counts.swarm_connected, counts.swarm_members),
            clock_offset_ms: report.clock.map(|offset| offset.millis),
            credit: report.credit,
            uptime_due_in_blocks: report.uptime_due_in,
            rewards: entry.map_or_else(|| "0".to_owned(), |entry| entry.rewards.to_string()),
            stake: entry.map_or_else(|| "0".to_owned(), |entry| entry.stake.to_string()),
            addresses: entry
                .map(|entry| entry.record.addresses.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            listen: self.listening.as_ref().map(ToString::to_string),
            records: machine.mail().records(),
            stored_bytes: machine.mail().bytes(),
            mail_full: machine.mail().is_full(),
            mail_syncing: machine.mail().is_syncing(),
            swarm_items,
            swarm_digest,
            key_rotation_ms: report.key_rotation.map(|at| at.0),
            rss_bytes: process::resident_bytes().unwrap_or(0),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.parts.about.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            version: VERSION.to_owned(),
            damage: self.parts.about.damage.as_ref().map(|damage| DamageStatus {
                aside: damage.aside.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                records: damage.salvaged.records,
            }),
            evidence: self.evidence.iter().rev().map(|pair| self.evidence_status(pair)).collect(),
            finals: machine.finals().cloned().collect(),
        }
    }
}
