//! Commands to a running testnet.

use std::process::Command;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Report, Supervisor, describe, prepare, stop_all};
use crate::chaos;
use crate::control::{self, Action, Added, ChildState, Done, Processes, Request, Waiting};
use crate::failure::{Context, Exit, Failure};
use crate::guise::Guise;
use crate::plan::{Place, PlanError, Settings};
use crate::process::{Process, State};
use crate::target::Target;
use crate::{files, ports};

impl Supervisor {
    /// Obeys until `stop`. Ends of children that nobody asked for are handed to `notice`.
    pub async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Waiting>,
        stop: &CancellationToken,
        notice: impl Fn(&str),
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(exit) = self.exits.recv() => notice(&format!("{} ended ({})", exit.label, exit.how)),
                Some((request, answer)) = requests.recv() => {
                    let result = tokio::select! {
                        () = stop.cancelled() => return,
                        result = self.handle(request) => result,
                    };
                    // A client that did not wait has its effect all the same.
                    let _client_gone: Result<_, _> = answer.send(result);
                }
            }
        }
    }

    async fn handle(&mut self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Processes => control::to_value(&self.processes()),
            Request::Add { count } => control::to_value(&self.add(count).await?),
            Request::Act { action, targets } => control::to_value(&self.act(action, &targets).await?),
            Request::Disguise { guise, nodes } => control::to_value(&self.disguise(&guise, &nodes).await?),
            Request::Manifest => self.write_manifest().await.map(|()| Value::Null),
            Request::Progress | Request::Down => Ok(Value::Null),
        }
    }

    fn count(&self) -> u16 {
        self.plan.settings.nodes
    }

    fn processes(&self) -> Processes {
        let targets = std::iter::once(Target::Chain).chain((0..).map(Target::Node));
        let children = std::iter::once(&self.producer).chain(&self.nodes).zip(targets).map(|(process, target)| {
            ChildState { target, pid: process.pid(), state: describe(process.state()), guise: self.guise(target) }
        });
        Processes { supervisor: std::process::id(), nodes: self.count(), children: children.collect() }
    }

    async fn add(&mut self, count: u16) -> Result<Added, Failure> {
        let grown = self.plan.settings.grown(count).map_err(|error| conflict(&error))?;
        let first = self.count();
        let plan = crate::plan::Plan::new(grown, self.plan.dir.clone());
        let indices: Vec<u16> = (first..plan.settings.nodes).collect();
        let sockets: Vec<_> =
            indices.iter().map(|index| plan.node(*index)).flat_map(|place| [place.listen, place.http]).collect();
        ports::all_free(&sockets).map_err(|error| Failure::new(Exit::InUse, error.to_string()))?;
        prepare::init_nodes(&plan, &self.binaries, &indices, &Report::default()).await?;
        write_settings(&plan.settings, &plan.dir)?;
        self.plan = plan;
        for index in &indices {
            let place = self.plan.node(*index);
            let node = self.spawn(&place, self.binaries.run_node(&self.plan, &place, &Guise::Plain)?)?;
            self.nodes.push(node);
        }
        Ok(Added { indices, nodes: self.count() })
    }

    /// Does something to some children.
    ///
    /// # Errors
    /// [`Failure`] when one of them is not there, or is in no state for it.
    pub async fn act(&mut self, action: Action, targets: &[Target]) -> Result<Done, Failure> {
        let children: Vec<Process> =
            targets.iter().map(|target| self.child(*target).cloned()).collect::<Result<_, _>>()?;
        let started = tokio::time::Instant::now();
        match action {
            Action::Kill => {
                for child in children {
                    child.kill().await;
                }
            }
            Action::Pause => {
                for (child, target) in children.iter().zip(targets) {
                    must_run(child, *target)?;
                    child.pause().await;
                }
            }
            Action::Resume => {
                for (child, target) in children.iter().zip(targets) {
                    must_run(child, *target)?;
                    child.resume().await;
                }
            }
            Action::Restart => stop_all(children).await,
        }
        let stopped_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if action == Action::Restart {
            for target in targets {
                self.start_again(*target, &Guise::Plain)?;
            }
        }
        Ok(Done { stopped_ms, nodes: self.count() })
    }

    /// Ends some nodes in order if they run, and starts them in another guise.
    ///
    /// # Errors
    /// [`Failure`] when one of them is not there, or the guise is not possible here; nothing is ended then.
    async fn disguise(&mut self, guise: &Guise, nodes: &[u16]) -> Result<Done, Failure> {
        for node in nodes {
            self.binaries.run_node(&self.plan, &self.plan.node(*node), guise)?;
        }
        let targets = || nodes.iter().copied().map(Target::Node);
        let children: Vec<Process> = targets().map(|target| self.child(target).cloned()).collect::<Result<_, _>>()?;
        let started = tokio::time::Instant::now();
        stop_all(children).await;
        let stopped_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        for target in targets() {
            self.start_again(target, guise)?;
        }
        Ok(Done { stopped_ms, nodes: self.count() })
    }

    fn guise(&self, target: Target) -> Guise {
        match target {
            Target::Chain => Guise::Plain,
            Target::Node(index) => self.guises.get(&index).cloned().unwrap_or_default(),
        }
    }

    fn child(&self, target: Target) -> Result<&Process, Failure> {
        match target {
            Target::Chain => Ok(&self.producer),
            Target::Node(index) => self.nodes.get(usize::from(index)).ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("there is no {target}: {} nodes", self.nodes.len()))
            }),
        }
    }

    fn start_again(&mut self, target: Target, guise: &Guise) -> Result<(), Failure> {
        match target {
            Target::Chain => {
                self.producer = self.spawn(&self.plan.producer(), self.binaries.run_producer(&self.plan))?;
            }
            Target::Node(index) => {
                let place = self.plan.node(index);
                chaos::give_back_hidden(&place.datadir)?;
                let node = self.spawn(&place, self.binaries.run_node(&self.plan, &place, guise)?)?;
                let before = self.guises.remove(&index).unwrap_or_default();
                if !guise.is_plain() {
                    self.guises.insert(index, guise.clone());
                }
                if let Some(slot) = self.nodes.get_mut(usize::from(index)) {
                    before.clean_up(slot.pid());
                    *slot = node;
                }
            }
        }
        Ok(())
    }

    fn spawn(&self, place: &Place, command: Command) -> Result<Process, Failure> {
        Process::spawn(&place.label, command, &place.output, self.exit_sender.clone()).context("start", &place.label)
    }
}

fn must_run(child: &Process, target: Target) -> Result<(), Failure> {
    match child.state() {
        State::Exited(how) => Err(Failure::new(Exit::Conflict, format!("{target} is not running ({how})"))
            .hint(format!("sotto-testnet node restart {}", target.argument()))),
        State::Running | State::Paused => Ok(()),
    }
}

fn conflict(error: &PlanError) -> Failure {
    Failure::new(Exit::Conflict, error.to_string())
}

/// Keeps the settings for the next `up`.
///
/// # Errors
/// Those of the file system.
pub fn write_settings(settings: &Settings, dir: &std::path::Path) -> Result<(), Failure> {
    let path = dir.join(files::SETTINGS);
    let mut json =
        serde_json::to_vec_pretty(settings).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    json.push(b'\n');
    files::write_atomically(&path, &json).context("write", path.display())
}
