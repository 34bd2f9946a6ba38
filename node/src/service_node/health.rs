//! Is everything all right? The first line of the status, and what to do when it is not.

use std::time::Duration;

use sotto_proto::chain::{NodeState, ServiceNode as Entry};
use sotto_proto::id::{Height, SwarmId};
use sotto_proto::time::UnixMillis;

use super::MailLimits;
use super::duties::CannotRegister;
use crate::status::{Phase, Problem};

/// Without a block for this many block times the chain is silent.
const SILENT_BLOCKS: u32 = 10;
/// At least this long, so that a fast testnet may stumble.
const SILENT_LEAST: Duration = Duration::from_secs(10);

/// After how long without a block the chain counts as silent.
pub(super) fn silent_after(block_time: Duration) -> Duration {
    block_time.saturating_mul(SILENT_BLOCKS).max(SILENT_LEAST)
}

/// Everything the judgement rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) tip: Height,
    pub(super) final_height: Height,
    pub(super) storage_failure: Option<&'a str>,
    pub(super) halted: bool,
    pub(super) clock_off_ms: Option<i64>,
    /// Of an unregistered node: the others' clocks are not known yet.
    pub(super) clock_unknown: bool,
    pub(super) only_strangers: bool,
    pub(super) lonely: bool,
    pub(super) synced: bool,
    pub(super) behind: Option<Height>,
    /// Time of the newest block, if none has come for long.
    pub(super) silent_since: Option<UnixMillis>,
    /// The node after the newest block.
    pub(super) entry: Option<&'a Entry>,
    /// Its state in the final record; `None` before that exists.
    pub(super) final_state: Option<NodeState>,
    pub(super) swarm: Option<SwarmId>,
    /// Connected members of the swarm, of how many others.
    pub(super) members: (usize, usize),
    /// Whether it has had time to find them.
    pub(super) settled: bool,
    pub(super) has_swarms: bool,
    pub(super) credit: u64,
    /// Whether it is to register itself.
    pub(super) registering: bool,
    pub(super) cannot_register: Option<CannotRegister>,
    /// Why the last registration was refused.
    pub(super) register_failure: Option<&'a str>,
    /// Why the last uptime proof was refused.
    pub(super) uptime_failure: Option<&'a str>,
    /// Blocks until the missing uptime proof counts.
    pub(super) uptime_due_in: Option<u64>,
    pub(super) epoch_blocks: u64,
    pub(super) holds_key: bool,
    /// Why the key cannot be changed.
    pub(super) key_failure: Option<&'a str>,
    pub(super) stake_free_at: Option<Height>,
    /// What the store takes, if it is full.
    pub(super) mail_full: Option<MailLimits>,
    /// Whether it takes no more because the operator said so.
    pub(super) draining: bool,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) phase: Phase,
    pub(super) ready: bool,
    pub(super) summary: String,
    pub(super) problems: Vec<Problem>,
}

fn problem(code: &str, text: impl Into<String>, advice: impl Into<String>) -> Problem {
    Problem { code: code.to_owned(), text: text.into(), advice: advice.into() }
}

impl Facts<'_> {
    /// Judges.
    pub(super) fn health(&self) -> Health {
        let problems: Vec<_> = [
            self.storage(),
            self.fork(),
            self.clock(),
            self.neighbours(),
            self.silence(),
            self.registration(),
            self.decommission(),
            self.keys(),
            self.key_files(),
            self.uptime(),
            self.swarm_links(),
            self.mail(),
            self.drain(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let starting = self.starting();
        let (phase, summary) = match (problems.first(), &starting) {
            (Some(worst), _) => (Phase::Problem, worst.text.clone()),
            (None, Some(what)) => (Phase::Starting, what.clone()),
            (None, None) => (Phase::Ok, self.all_well()),
        };
        let ready = phase == Phase::Ok && self.final_state == Some(NodeState::Active);
        Health { phase, ready, summary, problems }
    }

    fn storage(&self) -> Option<Problem> {
        let reason = self.storage_failure?;
        let advice = "see whether the disk is full or broken; the node opens the database again by itself when the disk \
                      takes writes";
        Some(problem("storage", format!("the database takes no more writes: {reason}"), advice))
    }

    fn fork(&self) -> Option<Problem> {
        let text =
            format!("the chain forked below its final block {}; swarms are frozen, serving goes on", self.final_height);
        let advice = "wait for word from whoever runs the chain; then move db away and restart, and the node follows \
                      the branch its peers have";
        self.halted.then(|| problem("fork", text, advice))
    }

    fn clock(&self) -> Option<Problem> {
        let off = self.clock_off_ms?;
        let side = if off > 0 { "behind" } else { "ahead of" };
        let text = format!("the clock is {} s {side} the other nodes'", off.unsigned_abs() / 1000);
        let advice = "set it, and keep it right: timedatectl set-ntp true";
        if self.entry.is_none() && self.registering {
            let text = format!("{text}: the node does not register with it");
            return Some(problem("clock", text, format!("{advice}; then the node registers by itself")));
        }
        Some(problem("clock", text, advice))
    }

    fn neighbours(&self) -> Option<Problem> {
        if self.only_strangers {
            let text = "the peers that answer are of another chain";
            return Some(problem("genesis", text, "get the right genesis file and run init in a new data directory"));
        }
        let advice =
            "check the network, the firewall, and the addresses in the genesis file; add nodes with --bootstrap";
        self.lonely.then(|| problem("alone", "no node of the network can be reached", advice))
    }

    fn silence(&self) -> Option<Problem> {
        let since = self.silent_since.filter(|_| !self.lonely && self.behind.is_none())?;
        let text = format!("the chain is silent since {}", rfc3339(since));
        Some(problem(
            "silent",
            text,
            "the block producer has stopped or cannot be reached; nothing to do here but wait",
        ))
    }

    fn registration(&self) -> Option<Problem> {
        if self.entry.is_some() || !self.synced {
            return None;
        }
        if let Some(reason) = self.register_failure {
            let text = format!("the chain refuses the registration: {reason}");
            return Some(problem("register-refused", text, "mend the reason; the node tries again by itself"));
        }
        let text = |reason: &CannotRegister| format!("cannot register: {reason}");
        match &self.cannot_register {
            _ if !self.registering => {
                let advice = "stake and register it: sotto-node register";
                Some(problem("unregistered", "the node is not registered, so it serves nobody", advice))
            }
            Some(reason @ CannotRegister::NoOperator) => {
                let advice = "register it where the operator key is: sotto-node register --operator-key FILE";
                Some(problem("no-operator", text(reason), advice))
            }
            Some(reason @ CannotRegister::NoAddress) => {
                let advice = "say how others reach this machine: --announce /ip4/203.0.113.7/tcp/22020";
                Some(problem("no-address", text(reason), advice))
            }
            Some(reason @ CannotRegister::Coins { .. }) => Some(problem(
                "coins",
                text(reason),
                "send coins to the operator; the node registers when they are there",
            )),
            None => None,
        }
    }

    fn decommission(&self) -> Option<Problem> {
        let entry = self.entry.filter(|entry| entry.record.state == NodeState::Decommissioned)?;
        let text = format!(
            "decommissioned since block {}; the stake is lost to the node in {} blocks unless it comes back",
            entry.since, self.credit
        );
        let advice = "keep it running and reachable: it comes back by itself after its uptime proof and passed tests";
        Some(problem("decommissioned", text, advice))
    }

    fn keys(&self) -> Option<Problem> {
        let text = "the chain shows an X25519 key that is not in the data directory";
        let advice = "the node changes to a new key by itself; until then nobody can build a path through it";
        (self.entry.is_some() && !self.holds_key).then(|| problem("key", text, advice))
    }

    fn key_files(&self) -> Option<Problem> {
        let text = format!("the X25519 key cannot be changed: {}", self.key_failure?);
        let advice = "see whether the disk is full or read-only; the node tries again by itself";
        Some(problem("key-files", text, advice))
    }

    fn uptime(&self) -> Option<Problem> {
        let left = self.uptime_due_in.filter(|left| *left <= self.epoch_blocks)?;
        let why = self.uptime_failure.map_or(String::new(), |reason| format!(" ({reason})"));
        let text = format!("no uptime proof on the chain for too long{why}; it counts in {left} blocks");
        Some(problem("uptime", text, "see whether the producer and other nodes can be reached"))
    }

    fn swarm_links(&self) -> Option<Problem> {
        let advice = "check that the announced address can be reached from outside, and the firewall";
        let text = self.few_members().filter(|_| self.settled)?;
        Some(problem("swarm-links", format!("only {text} are connected"), advice))
    }

    fn mail(&self) -> Option<Problem> {
        let MailLimits { records, bytes } = self.mail_full?;
        let text =
            format!("no room for more mail (limits: {records} records, {} MiB); senders are turned away", bytes >> 20);
        let advice = "room comes back as messages expire; with more memory and disk, raise mail-records and mail-size";
        Some(problem("mail-full", text, advice))
    }

    fn drain(&self) -> Option<Problem> {
        let advice = "see whether others have everything: sotto-node drain; to take messages again: sotto-node drain \
                      --cancel";
        self.draining.then(|| problem("draining", "the node drains: new messages are turned away", advice))
    }

    /// How many members of the swarm are connected, if that is less than half.
    fn few_members(&self) -> Option<String> {
        let (connected, others) = self.members;
        let few = self.swarm.is_some() && connected.saturating_mul(2) < others;
        few.then(|| format!("{connected} of {others} members of its swarm"))
    }

    fn starting(&self) -> Option<String> {
        if let Some(goal) = self.behind {
            let percent = self.tip.0.saturating_mul(100).checked_div(goal.0).unwrap_or(0);
            return Some(format!("catching up: block {} of {goal} ({percent} %)", self.tip));
        }
        if !self.synced {
            return Some("looking for other nodes".into());
        }
        if self.entry.is_none() && self.clock_unknown {
            return Some("joining: comparing the clock with other nodes'".into());
        }
        if self.entry.is_none() {
            return Some("joining: the registration is on its way".into());
        }
        if self.final_state.is_none() {
            return Some("joining: registered, waiting until that is final".into());
        }
        let waits = self.final_state == Some(NodeState::Active) && self.swarm.is_none() && !self.has_swarms;
        if waits {
            return Some("joining: waiting for enough nodes to make a swarm".into());
        }
        self.few_members().map(|few| format!("looking for its swarm: {few} are connected"))
    }

    fn all_well(&self) -> String {
        let block = format!("block {} (final {})", self.tip, self.final_height);
        match (self.final_state, self.swarm) {
            (Some(NodeState::Exiting), _) => {
                let free = self.stake_free_at.map_or(String::new(), |at| format!("; the stake is free at block {at}"));
                format!("leaving{free}, {block}")
            }
            (_, Some(swarm)) => {
                let (connected, others) = self.members;
                format!("active in swarm {swarm}, {connected}/{others} members connected, {block}")
            }
            (_, None) => format!("active, in no swarm yet because all are full, {block}"),
        }
    }
}

/// A time for people: `2026-11-22T00:33:05Z`.
pub(crate) fn rfc3339(at: UnixMillis) -> String {
    const YEAR_10000: u64 = 253_402_300_800_000; // the format has four digits for a year
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(at.0)).filter(|_| at.0 < YEAR_10000);
    time.map_or_else(|| "a time that cannot be".into(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests;
