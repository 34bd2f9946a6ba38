//! How the node is: what the machine knows, judged by [`health`](super::health).

use std::time::Duration;

use sotto_behaviours::status::ClockOffset;
use sotto_proto::id::Height;
use sotto_proto::time::{Now, UnixMillis};

use super::ServiceNode;
use super::clock_check::Verdict;
use super::health::{Facts, Health};
use super::submitter::Duty;
use crate::status::{Phase, Problem};

/// How long a node may look for the members of its swarm before that is a problem.
const SETTLING: Duration = Duration::from_secs(30);

/// How the node is, as far as the machine knows.
#[derive(Clone, Debug)]
pub struct Report {
    /// In one word.
    pub phase: Phase,
    /// Whether it does everything it should.
    pub ready: bool,
    /// In one sentence.
    pub summary: String,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Its state on the chain, or `joining`, or `unregistered`.
    pub state: &'static str,
    /// Height its peers have, if it is behind.
    pub behind: Option<Height>,
    /// Whether it has what they have.
    pub synced: bool,
    /// Time of the newest block, if none has come for long.
    pub silent_since: Option<UnixMillis>,
    /// Blocks of credit.
    pub credit: u64,
    /// Blocks until a missing uptime proof counts.
    pub uptime_due_in: Option<u64>,
    /// When the X25519 key changes.
    pub key_rotation: Option<UnixMillis>,
    /// The clock's distance from the other nodes'.
    pub clock: Option<ClockOffset>,
}

impl ServiceNode {
    /// How the node is.
    #[must_use]
    pub fn report(&self, now: Now) -> Report {
        let facts = self.facts(now);
        let Health { phase, ready, summary, problems } = facts.health();
        let state = match (facts.entry, facts.final_state) {
            (_, Some(state)) => state.name(),
            (Some(_), None) => "joining",
            (None, None) => "unregistered",
        };
        Report {
            phase,
            ready,
            summary,
            problems,
            state,
            behind: facts.behind,
            synced: facts.synced,
            silent_since: facts.silent_since,
            credit: facts.credit,
            uptime_due_in: facts.uptime_due_in,
            key_rotation: self.entry().and_then(|_| self.keys.due_at(&self.node_id(), self.rotation_period())),
            // A newcomer's own questions count until it is known well enough to be told.
            clock: self.clock_offset(now).or_else(|| self.clock_check.offset(now)),
        }
    }

    /// Whether the database takes no more writes.
    #[must_use]
    pub const fn storage_failed(&self) -> bool {
        self.storage_failure.is_some()
    }

    /// How far the own clock is from the others', as the network said it last.
    pub(super) fn clock_offset(&self, now: Now) -> Option<ClockOffset> {
        self.clock.map(|(offset, told)| offset.later(told, now))
    }

    fn facts(&self, now: Now) -> Facts<'_> {
        let mut facts = Facts {
            storage_failure: self.storage_failure.as_deref(),
            clock_off_ms: self.clock_offset(now).filter(|clock| clock.off).map(|clock| clock.millis),
            key_failure: self.key_steps.failure(),
            only_strangers: self.peers.only_strangers(),
            lonely: self.peers.is_lonely(now.monotonic),
            members: (self.counts.swarm_connected, self.counts.swarm_members),
            register_failure: self.submitter.reason(Duty::Register),
            uptime_failure: self.submitter.reason(Duty::UptimeProof),
            registering: self.settings.register && !self.was_registered,
            swarm: self.swarm,
            draining: self.drains,
            mail_full: self.mail.is_full().then(|| self.mail.limits()),
            settled: now.monotonic.since(self.swarm_since) >= SETTLING,
            ..Facts::default()
        };
        let Some(chain) = &self.chain else { return facts };
        let (tip, params, current) = (&chain.tip, chain.tip.params(), chain.view.current());
        facts.tip = tip.height();
        facts.final_height = current.height;
        facts.halted = chain.view.halted;
        facts.synced = self.peers.is_synced();
        facts.behind = self.peers.ahead_of(tip.height());
        facts.silent_since = (now.monotonic >= self.silence_at()).then(|| tip.time());
        facts.epoch_blocks = params.epoch_blocks;
        facts.has_swarms = !current.swarms.is_empty();
        facts.cannot_register = self.situation(chain, None).registration().err();
        facts.final_state = current.nodes.get(&self.node_id()).map(|record| record.state);
        facts.entry = self.entry();
        if facts.entry.is_none() {
            facts.clock_unknown = self.clock_check.verdict() == Verdict::Waiting;
            if let Verdict::Off(millis) = self.clock_check.verdict() {
                facts.clock_off_ms = Some(millis);
            }
        }
        if let Some(entry) = facts.entry {
            facts.credit = entry.credit_at(tip.height(), params.blocks_per_credit, params.max_credit);
            facts.holds_key = self.keys.holds(&entry.record.x25519);
            let due = entry.proved_epoch.saturating_add(params.epochs_until_due).saturating_add(1);
            facts.uptime_due_in = Some(due.saturating_mul(params.epoch_blocks).saturating_sub(tip.height().0));
            facts.stake_free_at = Some(entry.since.plus(params.lock_up_blocks));
        }
        facts
    }
}
