//! What a run measured, and the report that is made from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_proto::time::UnixMillis;

use super::catch_up::CatchUp;
use super::costs::{self, Costs, Sample, Stretch, Watched};
use super::digests::SwarmCheck;
use super::followers::Arrivals;
use super::head::Head;
use super::idle_clients::IdleClients;
use super::latency::Latency;
use super::load::{self, Outcome};
use super::network::Network;
use super::options::Options;
use super::probe::Probed;
use super::report::{Latencies, Load, Report, TYPE, Testnet, VERSION, Work};
use super::seconds::{Timed, rate, seconds};
use super::stamping::Stamped;
use crate::plan::Plan;

/// The load and what was measured meanwhile.
pub(super) struct Loaded {
    pub(super) start: Instant,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) messages: Vec<Arc<Stamped>>,
    pub(super) probed: Probed,
    pub(super) arrivals: Arrivals,
    pub(super) before: Sample,
    pub(super) after: Sample,
}

/// Everything that a report is made from.
pub(super) struct Found {
    pub(super) idle: (Sample, Sample),
    pub(super) probed_idle: Probed,
    pub(super) work: Work,
    pub(super) loaded: Loaded,
    pub(super) caught: Option<CatchUp>,
    pub(super) swarms: Vec<SwarmCheck>,
    pub(super) replicated: Duration,
    pub(super) idle_clients: Option<IdleClients>,
}

/// What was run.
pub(super) struct Ran<'a> {
    pub(super) plan: &'a Plan,
    pub(super) options: &'a Options,
    pub(super) began: UnixMillis,
    pub(super) network: &'a Network,
    pub(super) watched: &'a [Watched],
}

impl Found {
    /// The report.
    pub(super) fn report(self, ran: &Ran<'_>) -> Report {
        let Self { idle, probed_idle, work, loaded, caught, swarms, replicated, idle_clients } = self;
        let timed: Vec<Timed> = loaded
            .messages
            .iter()
            .zip(&loaded.outcomes)
            .map(|(message, outcome)| (message.due, outcome.stored))
            .collect();
        let stored = timed.iter().filter(|(_, stored)| stored.is_some()).count() as u64;
        let costs =
            costs::costs(ran.watched, &Stretch(&idle.0, &idle.1), &Stretch(&loaded.before, &loaded.after), stored);
        Report {
            head: Head::here(TYPE, VERSION, ran.began),
            testnet: Testnet::of(ran.plan, ran.network),
            options: ran.options.clone(),
            notes: notes(&costs),
            work,
            load: load_of(ran.options, &loaded, &timed),
            latency: latencies(&loaded, &probed_idle),
            catch_up: caught,
            idle_clients,
            seconds: seconds(&timed),
            costs,
            swarms,
            replicated_after_s: replicated.as_secs_f64(),
        }
    }
}

/// Stored messages for those who follow.
pub(super) fn to_followers<'a>(
    options: &Options,
    messages: &'a [Arc<Stamped>],
    outcomes: &'a [Outcome],
) -> impl Iterator<Item = &'a Arc<Stamped>> {
    let followers = options.followers;
    let both = messages.iter().zip(outcomes);
    both.filter(move |(message, outcome)| message.recipient < followers && outcome.stored.is_some()).map(|(one, _)| one)
}

fn load_of(options: &Options, loaded: &Loaded, timed: &[Timed]) -> Load {
    let outcomes = &loaded.outcomes;
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count() as u64;
    let (took_s, stored_per_s) = rate(timed);
    let expected = || to_followers(options, &loaded.messages, outcomes);
    let shown = expected().filter(|message| loaded.arrivals.shown.contains_key(&message.number)).count();
    Load {
        due: outcomes.len() as u64,
        stored: count(|outcome| outcome.stored.is_some()),
        third: count(|outcome| outcome.third.is_some()),
        failed: count(|outcome| outcome.failure.is_some()),
        failures: load::reasons(outcomes),
        took_s,
        stored_per_s,
        to_followers: expected().count() as u64,
        delivered: shown as u64,
        delivered_twice: loaded.arrivals.twice,
        interruptions: loaded.arrivals.interruptions,
        probes_failed: loaded.probed.failures,
    }
}

fn latencies(loaded: &Loaded, idle: &Probed) -> Latencies {
    let outcomes = &loaded.outcomes;
    let delivered = loaded.messages.iter().filter_map(|message| {
        let shown = loaded.arrivals.shown.get(&message.number)?;
        Some(shown.saturating_duration_since(loaded.start + message.due))
    });
    Latencies {
        path_build_idle: idle.builds(),
        path_build: loaded.probed.builds(),
        echo_idle: idle.echoes(),
        echo: loaded.probed.echoes(),
        begun: Latency::of(outcomes.iter().map(|outcome| outcome.begun)),
        stored: Latency::of(outcomes.iter().filter_map(|outcome| outcome.stored)),
        third: Latency::of(outcomes.iter().filter_map(|outcome| outcome.third)),
        delivered: Latency::of(delivered),
    }
}

/// How to read the figures.
fn notes(costs: &Costs) -> Vec<String> {
    let mut notes = vec![
        "Messages are sealed and their proof of work is done before the clock starts; it is in no latency.".to_owned(),
        "Before the clock starts the same load is sent for some seconds: a network that has carried messages before has \
         connections between its nodes, and its programs in the caches."
            .to_owned(),
        format!(
            "The load is open: a message is due at its time whatever becomes of those before it, and its latencies \
             count from then. Timers of the generator are up to a millisecond late, which is in them (“begun”). A \
             message that is not stored {} s after it was due has failed; nothing is sent twice.",
            load::GIVE_UP.as_secs()
        ),
        "Paths and echoes are single operations, one after the other, by clients that do nothing else.".to_owned(),
        "The clients that send have real guards, paths and tunnels and check receipts, but keep no outbox on disk. \
         Those that follow and catch up are whole messengers with encrypted stores."
            .to_owned(),
        "All clients but idle ones are one process, the generator, on the machine of the nodes: what it takes, they lack.".to_owned(),
    ];
    notes.push(
        "Members are asked for the digest of everything but the last ten seconds, so that all are alike takes ten \
         seconds at least."
            .to_owned(),
    );
    if costs.links.is_some() {
        notes.push(format!(
            "Bytes on links are those of the loopback device, whoever's they are, less what went over it in {:.0} s \
             without load. They count all hops of all paths, gossip and receipts, with the headers of TCP and IP.",
            costs.idle_window_s
        ));
    }
    notes
}
