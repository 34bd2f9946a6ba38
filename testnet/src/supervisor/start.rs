//! From an empty directory, or from one left by an earlier run, to a testnet in which all agree.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::prepare::{preflight, prepare};
use super::readiness::{self, Milestones, Origin};
use super::{Report, Supervisor, WAITING_EXITS, write_settings};
use crate::agreement::{self, Agreed, Agreement};
use crate::binaries::Binaries;
use crate::failure::{Context, Exit as ExitCode, Failure};
use crate::guise::Guise;
use crate::manifest::{self, Manifest};
use crate::plan::{Place, Plan};
use crate::process::{Exit, Process};
use crate::status::{self, NodeStatus};
use crate::{files, logs};

/// How often nodes are asked whether they are there yet.
const POLL: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Starts everything in `plan` and waits until all nodes agree, at most `deadline`, or until `stop`.
    ///
    /// # Errors
    /// A [`Failure`] naming the port, program, child or node in the way. Nothing is left running then.
    pub async fn start(
        plan: Plan,
        binaries: Binaries,
        deadline: Duration,
        report: &Report,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        preflight(&plan, report)?;
        write_settings(&plan.settings, &plan.dir)?;
        let origin = unless(stop, prepare(&plan, &binaries, report)).await?;
        let mut supervisor = Self::spawn_all(plan, binaries)?;
        match unless(stop, supervisor.until_ready(origin, Instant::now() + deadline, report)).await {
            Ok(agreed) => {
                supervisor.ready = report.elapsed();
                supervisor.height = agreed.height;
                supervisor.write_manifest().await?;
                Ok(supervisor)
            }
            Err(failure) => {
                supervisor.shutdown().await;
                Err(failure)
            }
        }
    }

    fn spawn_all(plan: Plan, binaries: Binaries) -> Result<Self, Failure> {
        let (exit_sender, exits) = mpsc::channel(WAITING_EXITS);
        let spawn = |place: &Place, command| {
            Process::spawn(&place.label, command, &place.output, exit_sender.clone()).context("start", &place.label)
        };
        let place = plan.producer();
        fs::create_dir_all(&place.datadir).context("create", place.datadir.display())?;
        let producer = spawn(&place, binaries.run_producer(&plan))?;
        let nodes = plan.nodes().map(|place| spawn(&place, binaries.run_node(&plan, &place, &Guise::Plain)?));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let guises = BTreeMap::new();
        Ok(Self { plan, binaries, producer, nodes, guises, exits, exit_sender, ready: Duration::ZERO, height: 0 })
    }

    /// Polls until all nodes are well and agree.
    async fn until_ready(&mut self, origin: Origin, deadline: Instant, report: &Report) -> Result<Agreed, Failure> {
        let total = self.nodes.len();
        let mut answers: Vec<Option<NodeStatus>> = vec![None; total];
        let mut milestones = Milestones::default();
        loop {
            if let Some(exit) = self.failed() {
                return Err(self.ended_while_starting(&exit));
            }
            self.refresh(&mut answers, origin).await;
            let well = answers.iter().flatten().filter(|status| readiness::is_well(status, origin)).count();
            milestones.note(&answers, well, origin, report);
            if well == total {
                match agreement::newest(&answers) {
                    Agreement::Agreed(agreed)
                        if origin == Origin::Resumed || readiness::has_expected_swarms(&answers) =>
                    {
                        report.step("ready", readiness::agreed_text(total, &agreed));
                        return Ok(agreed);
                    }
                    Agreement::Split { height, parties } => return Err(readiness::split(height, parties.len())),
                    _ => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(readiness::not_ready(&answers, origin));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks those who were not well yet; when all are, everybody, so that the answers can be compared.
    async fn refresh(&self, answers: &mut [Option<NodeStatus>], origin: Origin) {
        let unwell =
            |status: &Option<NodeStatus>| !status.as_ref().is_some_and(|status| readiness::is_well(status, origin));
        let everybody = !answers.iter().any(unwell);
        let asked: Vec<usize> = (0..answers.len()).filter(|index| everybody || unwell(&answers[*index])).collect();
        let places: Vec<Place> = self.plan.nodes().collect();
        let fresh = status::ask_all(asked.iter().map(|index| places[*index].http)).await;
        for (index, answer) in asked.into_iter().zip(fresh) {
            answers[index] = answer;
        }
    }

    fn ended_while_starting(&self, exit: &Exit) -> Failure {
        let dir = self.plan.dir.join(&exit.label);
        let (output, log) = (dir.join(files::OUTPUT), dir.join(files::LOG));
        let last = logs::last_line(&output).or_else(|| logs::last_line(&log));
        let last = last.map_or_else(String::new, |line| format!(": {line}"));
        Failure::new(ExitCode::Failed, format!("{} ended while starting ({}){last}", exit.label, exit.how))
            .hint(format!("see {} and {}", output.display(), log.display()))
    }

    /// Writes who runs where.
    pub(super) async fn write_manifest(&self) -> Result<(), Failure> {
        let answers = self.ask_all().await;
        let path = self.plan.dir.join(files::MANIFEST);
        let settings = &self.plan.settings;
        let manifest = Manifest {
            v: 1,
            r#type: "testnet.manifest".to_owned(),
            name: settings.name.clone(),
            seed: settings.seed,
            block_time_ms: settings.block_time_ms,
            dir: self.plan.dir.clone(),
            genesis: self.plan.genesis(),
            socket: self.plan.dir.join(files::SOCKET),
            pid: std::process::id(),
            ready_ms: u64::try_from(self.ready.as_millis()).unwrap_or(u64::MAX),
            height: self.height,
            producer: described(self.plan.producer(), &self.producer),
            swarms: agreement::swarms(&answers).into_iter().map(|(id, nodes)| manifest::Swarm { id, nodes }).collect(),
            nodes: (0_u16..)
                .zip(self.plan.nodes().zip(&self.nodes).zip(answers))
                .map(|(i, ((place, process), answer))| {
                    let id = answer.map(|status| status.node).unwrap_or_default();
                    manifest::Node { i, id, process: described(place, process) }
                })
                .collect(),
        };
        manifest.write(&path).context("write", path.display())
    }
}

/// Does something, but lets go of it when told to stop.
async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        () = stop.cancelled() => Err(Failure::new(ExitCode::Interrupted, "stopped before it was ready")),
    }
}

fn described(place: Place, process: &Process) -> manifest::Process {
    let Place { listen, http, datadir: dir, log, .. } = place;
    manifest::Process { pid: Some(process.pid()), listen, http, dir, log }
}
