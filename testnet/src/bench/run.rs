//! One run from beginning to end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sotto_behaviours::network::WallClock;
use sotto_proto::time::UnixMillis;

use super::catch_up::{self, CatchUp};
use super::client::LightClient;
use super::costs::{self, Sample, Watched};
use super::devices::Devices;
use super::digests::{self, Ledger, SwarmCheck};
use super::draws::seeded;
use super::followers::{Arrivals, Followers};
use super::found::{Found, Loaded, Ran, to_followers};
use super::idle_clients::Crowd;
use super::load::{self, Outcome, Tally};
use super::network::{Network, People, Person};
use super::options::Options;
use super::probe::{PROBES, Probe, Probed, Probing};
use super::read_back::read_back;
use super::report::{Report, Work};
use super::schedule;
use super::stamping::{MessageIds, Prepared, Stamped, Stamper};
use super::watched::watched;
use crate::control::{self, Processes, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::status;
use crate::supervisor::Report as Steps;

/// Where benches keep their reports and the devices of a run, in the testnet's directory.
pub const DIR: &str = "bench";
/// How long the testnet is left alone before it is watched, and how long it is watched.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);
/// How long paths and echoes are measured on the idle network.
const PROBE_IDLE: Duration = Duration::from_secs(8);
/// How long after the last message the counters are read: what a message sets off is over then, but for repair.
const AFTERMATH: Duration = Duration::from_secs(3);
/// How long after the load the last messages may take to be shown.
const SHOWN: Duration = Duration::from_secs(10);
/// How often progress is told, and followers are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a client may take for its path to one swarm, and when it tries again after a refusal.
const PATHS: Duration = Duration::from_secs(20);
const BUILD_AGAIN: Duration = Duration::from_millis(1100);
/// Messages a second with which the mailbox is filled for whoever catches up: a pace that no figure depends on.
const FILL_RATE: u32 = 50;

/// Benches the running testnet that `plan` lays out; `steps` are told. What it needs on disk is below `dir` and gone
/// afterwards.
///
/// # Errors
/// [`Exit::Network`] when no testnet runs or it does not answer, [`Exit::Usage`] for options that cannot be met. Messages
/// that are lost are no error here: see [`Report::verdict`].
pub async fn run(plan: &Plan, options: &Options, dir: &Path, steps: &Steps) -> Result<Report, Failure> {
    options.check()?;
    let mut bench = Bench::set_up(plan, options, dir, steps).await?;
    let idle = bench.watch_idle().await?;
    let probes = std::mem::take(&mut bench.probes);
    let (probes, probed_idle) = bench.probe_idle(probes).await?;
    let empty = bench.empty_swarms().await;
    Box::pin(bench.warm_up()).await?;
    let prepared = bench.prepare(schedule::load(options), "sealed, and their proof of work done").await?;
    let work = Work {
        messages: prepared.messages.len() as u64,
        difficulty: bench.network.genesis.genesis.params.min_difficulty,
        took_s: prepared.took.as_secs_f64(),
    };
    let loaded = Box::pin(bench.load(prepared, probes)).await?;
    let caught = Box::pin(bench.catch_up()).await?;
    let (swarms, replicated) = Box::pin(bench.check_swarms(&empty)).await;
    let idle_clients = match bench.crowd.take() {
        Some(crowd) => Some(crowd.end().await?),
        None => None,
    };
    let found = Found { idle, probed_idle, work, loaded, caught, swarms, replicated, idle_clients };
    let Bench { began, network, watched, .. } = &bench;
    Ok(found.report(&Ran { plan, options, began: *began, network, watched }))
}

/// What a run works with.
struct Bench<'a> {
    plan: &'a Plan,
    options: &'a Options,
    steps: &'a Steps,
    began: UnixMillis,
    network: Arc<Network>,
    people: Arc<People>,
    stamper: Arc<Stamper>,
    watched: Vec<Watched>,
    crowd: Option<Crowd>,
    devices: Devices,
    followers: Option<Followers>,
    clients: Vec<LightClient>,
    /// Asks for anchors and reads mailboxes back.
    helper: LightClient,
    probes: Vec<Probe>,
    ledger: Ledger,
    /// Messages of the warm-up that followers are to be shown.
    warmed: usize,
    /// When the fate of the last message was known.
    last_sent: Instant,
}

impl<'a> Bench<'a> {
    /// The node list, accounts, clients with their paths, followers that are subscribed.
    async fn set_up(plan: &'a Plan, options: &'a Options, dir: &Path, steps: &'a Steps) -> Result<Self, Failure> {
        let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
        let mut watched = watched(&processes)?;
        let network = Arc::new(Network::fetch(plan).await?);
        let (nodes, swarms) = (network.directory.nodes().len(), network.swarms().len());
        steps.step("list", format!("{nodes} nodes in {swarms} swarms, checked against the genesis"));
        let crowd = match options.idle_clients {
            0 => None,
            clients => Some(Crowd::begin(plan, clients, options.seed, steps).await?),
        };
        watched.extend(crowd.iter().flat_map(Crowd::watched));
        let began = WallClock::system().now();
        let run = began.0.to_string();
        // The last recipient is the one who catches up.
        let counts = [options.clients, options.recipients + 1, PROBES + 1];
        let people = Arc::new(People::new(&network, options.seed, &run, counts)?);
        let ids = MessageIds::of_run(began);
        let devices = Devices::new(dir, &run)?;
        let client = |person: &Person, role, index| {
            let draws = [seeded(options.seed, &format!("{role} paths"), index), seeded(options.seed, role, index)];
            LightClient::new(&network, person.swarm, draws)
        };
        let senders = people.senders.iter().enumerate().map(|(index, person)| client(person, "client", index));
        let clients: Vec<LightClient> = senders.collect();
        let mut others = people.probes.iter().enumerate().map(|(index, person)| client(person, "probe", index));
        let helper = others.next().ok_or_else(|| Failure::new(Exit::Internal, "nobody to help"))?;
        let to = network.swarms().into_iter().cycle();
        let probes = others.zip(to).map(|(client, swarm)| Probe::new(Arc::clone(&network), client, swarm)).collect();
        let stamper = Stamper {
            network: Arc::clone(&network),
            people: Arc::clone(&people),
            ids,
            size: options.size,
            done: AtomicUsize::new(0),
        };
        let mut bench = Self {
            plan,
            options,
            steps,
            began,
            network,
            people,
            stamper: Arc::new(stamper),
            watched,
            crowd,
            devices,
            followers: None,
            clients,
            helper,
            probes,
            ledger: Ledger::default(),
            warmed: 0,
            last_sent: Instant::now(),
        };
        bench.follow().await?;
        Box::pin(bench.build_paths()).await?;
        Ok(bench)
    }

    async fn follow(&mut self) -> Result<(), Failure> {
        if self.options.followers == 0 {
            return Ok(());
        }
        let mut accounts = Vec::new();
        for (index, person) in self.people.recipients.iter().take(self.options.followers).enumerate() {
            accounts.push(self.devices.device(&self.network, person, &format!("follower{index}"))?);
        }
        let mut followers = Followers::begin(&self.network, accounts, self.stamper.ids)?;
        followers.subscribed().await?;
        self.followers = Some(followers);
        let (followers, recipients) = (self.options.followers, self.options.recipients);
        self.steps.step("followers", format!("{followers} of {recipients} recipients are subscribed, with stores"));
        Ok(())
    }

    /// Every client gets a path to each swarm that is written to.
    async fn build_paths(&mut self) -> Result<(), Failure> {
        let mut paths = 0;
        let total = self.clients.len();
        for (done, client) in self.clients.iter_mut().enumerate() {
            self.steps.current("paths", done, total, "clients with paths");
            for swarm in self.people.recipients_of().into_keys() {
                let until = Instant::now() + PATHS;
                while let Err(error) = client.lane(swarm).await {
                    // A guard takes so many builds at once and one a second from then on.
                    if Instant::now() >= until {
                        return Err(no_path(&error.to_string()));
                    }
                    tokio::time::sleep(BUILD_AGAIN).await;
                }
                paths += 1;
            }
        }
        for probe in &mut self.probes {
            probe.open().await.map_err(|reason| no_path(&reason))?;
        }
        self.steps.step("paths", format!("{paths} paths of {total} clients, each past the swarms of both ends"));
        Ok(())
    }

    async fn watch_idle(&self) -> Result<(Sample, Sample), Failure> {
        tokio::time::sleep(SETTLE).await;
        let before = costs::sample(&self.watched)?;
        tokio::time::sleep(IDLE).await;
        let after = costs::sample(&self.watched)?;
        self.steps.step("idle", format!("{} processes watched for {} s", self.watched.len(), IDLE.as_secs()));
        Ok((before, after))
    }

    async fn probe_idle(&self, probes: Vec<Probe>) -> Result<(Vec<Probe>, Probed), Failure> {
        let probing = Probing::begin(probes);
        tokio::time::sleep(PROBE_IDLE).await;
        let (probes, probed) = probing.end().await?;
        let (builds, echoes) = (probed.builds(), probed.echoes());
        self.steps.step(
            "probe",
            format!("idle: path built in {:.1} ms, echo in {:.2} ms (medians)", builds.p50_ms, echoes.p50_ms),
        );
        Ok((probes, probed))
    }

    /// Seals and works, and says so while it lasts.
    async fn prepare(&mut self, planned: Vec<schedule::Planned>, what: &str) -> Result<Prepared, Failure> {
        let (steps, stamper, total) = (self.steps, Arc::clone(&self.stamper), planned.len());
        let wait = |wait: Duration| {
            let text = format!("waiting {} s for the next block that work is anchored at", wait.as_secs());
            steps.step("work", text);
        };
        let mut preparing = Box::pin(stamper.prepare(planned, &mut self.helper, wait));
        let prepared = loop {
            tokio::select! {
                prepared = &mut preparing => break prepared?,
                () = tokio::time::sleep(LOOK) => {
                    steps.current("work", self.stamper.done.load(Ordering::Relaxed), total, "messages made");
                }
            }
        };
        let took = prepared.took.as_secs_f64();
        steps.step("work", format!("{total} messages {what} in {took:.1} s, before the clock starts"));
        Ok(prepared)
    }

    async fn empty_swarms(&self) -> BTreeSet<String> {
        digests::empty_swarms(&status::ask_all(self.plan.nodes().map(|place| place.http)).await)
    }

    /// The same load for a moment, which is not measured: nodes that have carried messages before have connections with
    /// each other.
    async fn warm_up(&mut self) -> Result<(), Failure> {
        if self.options.warm_up == 0 {
            return Ok(());
        }
        let options = Options { seconds: self.options.warm_up, ..self.options.clone() };
        let first = self.options.messages() + self.options.catch_up;
        let mut planned = schedule::load(&options);
        planned.iter_mut().for_each(|message| message.number += first);
        let prepared = self.prepare(planned, "made to warm up with").await?;
        let messages: Vec<_> = prepared.messages.into_iter().map(Arc::new).collect();
        let outcomes = self.send(&messages, prepared.start, "warm-up").await?;
        self.warmed = to_followers(self.options, &messages, &outcomes).count();
        let stored = outcomes.iter().filter(|outcome| outcome.stored.is_some()).count();
        self.steps.step("warm-up", format!("{stored} of {} messages stored, not measured", messages.len()));
        Ok(())
    }

    /// The measured part.
    async fn load(&mut self, prepared: Prepared, probes: Vec<Probe>) -> Result<Loaded, Failure> {
        let messages: Vec<_> = prepared.messages.into_iter().map(Arc::new).collect();
        tokio::time::sleep_until((prepared.start - SETTLE / 4).into()).await;
        let before = costs::sample(&self.watched)?;
        let probing = Probing::begin(probes);
        let outcomes = self.send(&messages, prepared.start, "load").await?;
        let (probes, probed) = probing.end().await?;
        drop(probes);
        tokio::time::sleep(AFTERMATH).await;
        let after = costs::sample(&self.watched)?;
        let arrivals = self.arrivals(&messages, &outcomes).await?;
        let stored = outcomes.iter().filter(|outcome| outcome.stored.is_some()).count();
        self.steps.step("load", format!("{stored} of {} messages stored", messages.len()));
        Ok(Loaded { start: prepared.start, outcomes, messages, probed, arrivals, before, after })
    }

    /// Sends messages and tells how far it is; the ledger notes what became of them.
    async fn send(&mut self, messages: &[Arc<Stamped>], start: Instant, label: &str) -> Result<Vec<Outcome>, Failure> {
        let tally = Arc::<Tally>::default();
        let clients = std::mem::take(&mut self.clients);
        let mut sending = Box::pin(load::run(&self.network, clients, messages, start, &tally));
        let (clients, outcomes) = loop {
            tokio::select! {
                sent = &mut sending => break sent?,
                () = tokio::time::sleep(LOOK) => {
                    let failed = tally.failed.load(Ordering::Relaxed);
                    let text = if failed == 0 { "messages stored".to_owned() } else { format!("stored, {failed} failed") };
                    self.steps.current(label, tally.stored.load(Ordering::Relaxed), messages.len(), &text);
                }
            }
        };
        drop(sending);
        (self.clients, self.last_sent) = (clients, Instant::now());
        for (message, outcome) in messages.iter().zip(&outcomes) {
            self.ledger.note(message, outcome.stored.is_some());
        }
        Ok(outcomes)
    }

    /// Waits until everything that is stored for them was shown to the followers, and lets them end.
    async fn arrivals(&mut self, messages: &[Arc<Stamped>], outcomes: &[Outcome]) -> Result<Arrivals, Failure> {
        let Some(followers) = self.followers.take() else { return Ok(Arrivals::default()) };
        let expected = self.warmed + to_followers(self.options, messages, outcomes).count();
        let until = Instant::now() + SHOWN;
        while followers.shown() < expected && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        followers.end().await
    }

    /// Fills a mailbox, which somebody then fetches.
    async fn catch_up(&mut self) -> Result<Option<CatchUp>, Failure> {
        let waiting = self.options.catch_up;
        let Some(person) = self.people.recipients.get(self.options.recipients).filter(|_| waiting > 0) else {
            return Ok(None);
        };
        let account = self.devices.device(&self.network, person, "catch-up")?;
        let (first, recipient) = (self.options.messages(), self.options.recipients);
        let planned = schedule::waiting(waiting, first, recipient, self.options.clients, FILL_RATE);
        let prepared = self.prepare(planned, "made to wait in one mailbox").await?;
        let messages: Vec<_> = prepared.messages.into_iter().map(Arc::new).collect();
        let outcomes = self.send(&messages, prepared.start, "waiting").await?;
        let stored = outcomes.iter().filter(|outcome| outcome.stored.is_some()).count();
        // Whoever comes a moment later finds them at every member.
        tokio::time::sleep(AFTERMATH).await;
        let ids = self.stamper.ids;
        let caught = catch_up::run(&self.network, account, ids, stored).await?;
        let caught = CatchUp { messages: waiting as u64, ..caught };
        let took = caught.took_ms / 1e3;
        self.steps.step("catch-up", format!("{} of {stored} messages fetched in {took:.2} s", caught.received));
        Ok(Some(caught))
    }

    /// Members must hold what was stored.
    async fn check_swarms(&mut self, empty: &BTreeSet<String>) -> (Vec<SwarmCheck>, Duration) {
        let swarms: Vec<_> = self.network.directory.swarms().iter().map(|(id, members)| (id, members.len())).collect();
        self.steps.current("swarms", 0, swarms.len(), "until the newest count, too");
        let now = || WallClock::system().now().seconds();
        let mut checks = digests::check(self.plan, &self.ledger, &swarms, empty, now).await;
        let took = self.last_sent.elapsed();
        let owners = self.people.recipients_of();
        for (done, (check, (swarm, _))) in checks.iter_mut().zip(&swarms).enumerate() {
            if check.comparable && check.equal && check.alike {
                continue;
            }
            self.steps.current("swarms", done, swarms.len(), "read back");
            let owners = owners.get(swarm).map(Vec::as_slice).unwrap_or_default();
            check.read_back = Some(read_back(&self.network, &mut self.helper, *swarm, owners, &self.ledger).await);
        }
        let good = checks.iter().filter(|check| check.is_good()).count();
        let text = format!("{good} of {}: every member holds what was stored", swarms.len());
        self.steps.step("swarms", text);
        (checks, took)
    }
}

fn no_path(reason: &str) -> Failure {
    Failure::new(Exit::Network, format!("no path: {reason}")).hint("sotto-testnet status    # are all nodes well?")
}
