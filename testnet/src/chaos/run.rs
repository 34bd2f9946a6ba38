//! One run from beginning to end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_behaviours::network::WallClock;
use sotto_proto::account::test_seed;
use sotto_proto::time::UnixMillis;

use super::heal;
use super::history::{Event, Recorder};
use super::links::Links;
use super::load::{Common, Load};
use super::model::{self, judge};
use super::report::{Latency, Report, TYPE, VERSION};
use super::scenario::Scenario;
use super::stage::Stage;
use super::watch::{Watch, deaths};
use crate::bench::{Devices, Head, MessageIds, Network, Person, commit, person_in, seeded};
use crate::control::{self, Processes, Request};
use crate::failure::{Context as _, Failure};
use crate::plan::Plan;
use crate::supervisor::Report as Steps;

/// Where runs keep their histories and reports, in the testnet's directory.
pub const DIR: &str = "chaos";
/// How long users are at work before the first fault.
const CALM: Duration = Duration::from_secs(10);
/// How long they go on when no fault is left: what they begin in the last third has to work again.
const AFTER: Duration = Duration::from_secs(15);
const AFTER_JUDGED: Duration = Duration::from_secs(5);
/// How long the last messages may take to be shown, when all is healed.
const SHOWN: Duration = Duration::from_secs(60);
/// How long after the last message every member has it: it may be published only when the block that its work is anchored at
/// is final, and by the second or third member that stored it.
const PUBLISHED: Duration = Duration::from_secs(3);
/// How often it is told how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// How a run is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Messages a second, of all writers together.
    pub rate: u32,
    /// Users that write.
    pub writers: usize,
    /// Users that read.
    pub readers: usize,
    /// How long faults happen, instead of as long as the scenario says.
    pub seconds: Option<u32>,
    /// What all draws follow from.
    pub seed: u64,
}

/// Runs a scenario on the testnet that `plan` lays out; `steps` are told. The history goes into `out`, where the report
/// names it. Whatever was done is undone at the end, also when the run fails; if it is given up, `stage` has to be undone.
/// Whoever calls knows that the scenario can be played here: see [`Known`](super::Known).
///
/// # Errors
/// [`Exit::Network`](crate::failure::Exit::Network) when no testnet runs or it does not answer. Broken promises are no error here: see
/// [`Report::verdict`].
pub async fn run(
    plan: &Plan,
    scenario: &Scenario,
    options: &Options,
    out: &Path,
    (steps, stage): (&Steps, &mut Stage),
) -> Result<Report, Failure> {
    let scenario = match options.seconds {
        Some(seconds) => Scenario { seconds, ..scenario.clone() },
        None => scenario.clone(),
    };
    Links::check(plan, scenario.kinds()).await?;
    fs::create_dir_all(out).context("create", out.display())?;
    let run = Run::set_up(plan, scenario, options, out, steps).await?;
    let ended = Box::pin(run.play(stage)).await;
    let undone = stage.undo_all().await;
    ended.and_then(|report| undone.map(|()| report))
}

struct Run<'a> {
    plan: Plan,
    scenario: Scenario,
    options: &'a Options,
    steps: &'a Steps,
    began: UnixMillis,
    path: PathBuf,
    recorder: Recorder,
    devices: Devices,
    writers: Vec<Person>,
    readers: Vec<Person>,
    common: Common,
}

impl<'a> Run<'a> {
    async fn set_up(
        plan: &Plan,
        scenario: Scenario,
        options: &'a Options,
        out: &Path,
        steps: &'a Steps,
    ) -> Result<Self, Failure> {
        let network = Arc::new(Network::fetch(plan).await?);
        let began = WallClock::system().now();
        let name = format!("{}-{}", scenario.name, began.0);
        let path = out.join(format!("history-{name}.jsonl"));
        let recorder = Recorder::begin(&path)?;
        let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
        recorder.note(Event::Run {
            v: VERSION,
            scenario: scenario.name.clone(),
            seed: options.seed,
            commit: commit(),
            nodes: processes.nodes,
        });
        let swarms = network.swarms();
        let people = |role: &str, count: usize| -> Result<Vec<Person>, Failure> {
            let mut seeds = (0..).map(|index| test_seed(options.seed, &format!("chaos {role} {name}"), index));
            let wanted = swarms.iter().copied().cycle().take(count);
            wanted.map(|swarm| person_in(&network, swarm, &mut seeds)).collect()
        };
        let (writers, readers) = (people("writer", options.writers)?, people("reader", options.readers)?);
        let common = Common::new(Arc::clone(&network), MessageIds::of_run(began), recorder.clone());
        let devices = Devices::new(out, &name)?;
        let (plan, scenario) = (plan.clone(), scenario);
        Ok(Self { plan, scenario, options, steps, began, path, recorder, devices, writers, readers, common })
    }

    async fn play(mut self, stage: &mut Stage) -> Result<Report, Failure> {
        let mut load = Load::begin(&self.common, &self.devices, &self.readers).await?;
        load.write(&self.devices, &self.writers, &self.readers, self.options.rate)?;
        let (writers, readers, rate) = (self.writers.len(), self.readers.len(), self.options.rate);
        self.steps.step("users", format!("{writers} write and {readers} read, {rate} messages a second"));
        let watch = Watch::begin(&self.plan);
        tokio::time::sleep(CALM).await;
        let since = self.recorder.began().elapsed();
        let faults = self.faults(stage, &load).await;
        let undone = stage.undo_all().await;
        self.recorder.note(Event::Healed);
        let (healed, healed_at) = (Instant::now(), self.recorder.began().elapsed());
        let applied = faults?;
        undone?;
        self.steps.step("healed", format!("{applied} faults; everything is undone"));
        tokio::time::sleep(AFTER).await;
        load.end_writers().await?;
        let written = Instant::now();
        // Nodes may have come.
        let processes: Processes = control::ask(&self.plan.dir, &Request::Processes).await?;
        self.plan.settings.nodes = processes.nodes;
        let agreed = heal::agreed(&self.plan, stage.left()).await;
        let agreed_after = agreed.as_ref().ok().map(|at| at.saturating_duration_since(healed));
        self.steps.step(
            "agreed",
            match (&agreed, agreed_after) {
                (_, Some(after)) => {
                    format!("all nodes and all members {:.1} s after the last fault", after.as_secs_f64())
                }
                (Err(reason), _) => format!("NOT: {reason}"),
                (Ok(_), None) => String::new(),
            },
        );
        self.wait_for_readers(&load).await?;
        self.settle(healed, written).await;
        let worst = watch.end().await?;
        heal::read_all(&self.plan, &self.readers, &self.recorder, self.options.seed).await?;
        load.end().await?;
        let history = self.recorder.entries()?;
        let verdict = judge(&history);
        let latency = |from, until| Latency::of(model::attempts(&history, from, until));
        let last = healed_at + AFTER;
        let deaths = deaths(&self.plan).await?;
        let text = format!("{} stored, {} lost, {} missing", verdict.acked, verdict.lost, verdict.missing);
        self.steps.step("judged", text);
        Ok(Report {
            head: Head::here(TYPE, VERSION, self.began),
            nodes: processes.nodes,
            scenario: self.scenario.clone(),
            seed: self.options.seed,
            rate: self.options.rate,
            faults: applied,
            history: self.path.clone(),
            before: latency(Duration::ZERO, since),
            during: latency(since, healed_at),
            after: latency(last.saturating_sub(AFTER_JUDGED), last),
            agreed_after_ms: agreed_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            disagreement: agreed.err(),
            worst_rss_bytes: worst.rss_bytes,
            worst_fds: worst.fds,
            decommissioned: worst.decommissioned,
            deaths,
            verdict,
        })
    }

    /// Lets everything happen at its time; returns how many faults there were.
    async fn faults(&self, stage: &mut Stage, load: &Load) -> Result<u64, Failure> {
        let rng = &mut seeded(self.options.seed, "chaos", 0);
        let steps = self.scenario.schedule(rng);
        let start = Instant::now();
        let end = start + Duration::from_secs(self.scenario.seconds.into());
        let (mut next, mut applied) = (steps.iter().peekable(), 0);
        loop {
            let now = Instant::now();
            for what in stage.undo_due(now).await? {
                self.recorder.note(Event::Undone { what });
            }
            while let Some(step) = next.next_if(|step| start + step.at <= now) {
                let Some(planned) = self.scenario.faults.get(step.fault) else { continue };
                let until = (Instant::now() + step.lasts).min(end);
                if let Some(what) = stage.apply(planned, step.amount, until, rng).await? {
                    applied += 1;
                    self.steps.step("fault", &what);
                    self.recorder.note(Event::Fault { what });
                }
            }
            if now >= end {
                return Ok(applied);
            }
            let due = next.peek().map(|step| start + step.at).into_iter().chain(stage.next_end()).min();
            tokio::time::sleep_until(due.unwrap_or(end).min(end).min(now + LOOK).into()).await;
            self.steps.current("load", load.shown(), load.written(), "messages shown");
        }
    }

    /// Waits until nodes have found by themselves what was wrong with them, and members have what was `written` last.
    async fn settle(&self, healed: Instant, written: Instant) {
        let happened = self.scenario.faults.iter().filter(|planned| planned.from < self.scenario.seconds);
        let longest = happened.map(|planned| planned.kind.settles()).max().unwrap_or_default();
        let until = (healed + longest).max(written + PUBLISHED);
        while Instant::now() < until {
            let left = usize::try_from(until.saturating_duration_since(Instant::now()).as_secs()).unwrap_or_default();
            self.steps.current("settle", 0, left, "s until nodes have looked at themselves");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until everything that is stored was shown.
    async fn wait_for_readers(&self, load: &Load) -> Result<(), Failure> {
        let acked = judge(&self.recorder.entries()?).acked;
        let until = Instant::now() + SHOWN;
        while (load.shown() as u64) < acked && Instant::now() < until {
            self.steps.current("read", load.shown(), load.written(), "messages shown");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
