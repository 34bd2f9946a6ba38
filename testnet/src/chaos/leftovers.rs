//! The faults that nodes are under now, whoever began them: also those of a run that was killed.

use std::collections::BTreeSet;

use super::fault::Fault;
use super::groups::{Controller, Groups};
use super::stage::{Stage, has_ended};
use super::{database::Database, mounts, open_files, straces};
use crate::control::{Action, ChildState, Processes};
use crate::failure::Failure;
use crate::guise::Guise;
use crate::plan::Plan;
use crate::target::Target;

/// A fault that a process is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Who.
    pub target: Target,
    /// Which.
    pub fault: Fault,
    /// The same for people.
    pub what: String,
}

/// What all processes of a testnet are under, but for cut links.
#[must_use]
pub fn leftovers(plan: &Plan, processes: &Processes) -> Vec<Leftover> {
    let pids: Vec<u32> = processes.children.iter().map(|child| child.pid).collect();
    let (traced, groups) = (straces::attached(&pids), Groups::of(plan));
    let shrunk = mounts::shrunk(&plan.dir);
    let mut found = Vec::new();
    for child in &processes.children {
        let mut faults = of_process(child);
        if let Target::Node(node) = child.target {
            let datadir = plan.node(node).datadir;
            let is_limited = |controller| groups.is_limited(controller, node, child.pid);
            let others = [
                (shrunk.contains(&datadir), Fault::DiskFull),
                (Database::of(&datadir).has_copy(), Fault::OldCopy),
                (traced.iter().any(|attached| attached.traced == child.pid), Fault::FsyncError),
                (is_limited(Controller::Memory), Fault::Memory),
                (is_limited(Controller::Cpu), Fault::Cpu),
                (open_files::is_limited(child.pid, processes.supervisor), Fault::FewFiles),
            ];
            faults.extend(others.into_iter().filter(|(is, _)| *is).map(|(_, fault)| (fault, fault.to_string())));
        }
        found.extend(faults.into_iter().map(|(fault, what)| Leftover { target: child.target, fault, what }));
    }
    found
}

/// What the supervisor itself knows of a child.
fn of_process(child: &ChildState) -> Vec<(Fault, String)> {
    let guise = match &child.guise {
        Guise::Plain => None,
        Guise::Clock { .. } => Some(Fault::Clock),
        Guise::Misbehaving { .. } => Some(Fault::Misbehave),
    };
    let state = if child.state == "paused" { Some(Fault::Pause) } else { has_ended(child).then_some(Fault::Kill) };
    let guise = guise.map(|fault| (fault, child.guise.to_string()));
    guise.into_iter().chain(state.map(|fault| (fault, child.state.clone()))).collect()
}

/// Ends these faults.
///
/// # Errors
/// [`Failure`] of the first that cannot be ended.
pub async fn clear_leftovers(stage: &Stage, leftovers: &[Leftover]) -> Result<(), Failure> {
    // Who is held cannot be ended in order; who is started anew has no other fault of its process any more.
    const ORDER: [Fault; 10] = [
        Fault::Pause,
        Fault::FsyncError,
        Fault::Memory,
        Fault::Cpu,
        Fault::FewFiles,
        Fault::DiskFull,
        Fault::OldCopy,
        Fault::Clock,
        Fault::Misbehave,
        Fault::Kill,
    ];
    for leftover in leftovers.iter().filter(|leftover| leftover.target == Target::Chain) {
        let action = if leftover.fault == Fault::Pause { Action::Resume } else { Action::Restart };
        stage.act_on_producer(action).await?;
    }
    for fault in ORDER {
        let nodes: BTreeSet<u16> = leftovers
            .iter()
            .filter(|leftover| leftover.fault == fault)
            .filter_map(|leftover| match leftover.target {
                Target::Node(node) => Some(node),
                Target::Chain => None,
            })
            .collect();
        if !nodes.is_empty() {
            stage.end(fault, &nodes).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::guise::Mode;
    use crate::plan::Settings;

    #[test]
    fn whatever_a_node_is_under_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new("dev", 42, 5, Duration::from_secs(1), 1024).unwrap();
        let plan = Plan::new(settings, dir.path().to_owned());
        let make = |path: &Path| std::fs::create_dir_all(path).unwrap();
        make(&plan.node(1).datadir.join("db.old"));
        make(&dir.path().join("node02.small"));
        let own = std::process::id();
        let child = |target, state: &str, guise| ChildState { target, pid: own, state: state.to_owned(), guise };
        let node = Target::Node;
        let processes = Processes {
            supervisor: own,
            nodes: 5,
            children: vec![
                child(Target::Chain, "signal: 9 (SIGKILL)", Guise::Plain),
                child(node(0), "running", Guise::Plain),
                child(node(1), "running", Guise::Clock { ahead_seconds: 60 }),
                child(node(2), "paused", Guise::Misbehaving { mode: Mode::Lie }),
                child(node(3), "exit status: 1", Guise::Plain),
            ],
        };
        let found = leftovers(&plan, &processes);
        let found: Vec<_> = found.iter().map(|one| (one.target, one.fault, one.what.as_str())).collect();
        let expected = [
            (Target::Chain, Fault::Kill, "signal: 9 (SIGKILL)"),
            (node(1), Fault::Clock, "clock 60 s ahead"),
            (node(1), Fault::OldCopy, "an old copy of the database, to come back"),
            (node(2), Fault::Misbehave, "misbehaving: lie"),
            (node(2), Fault::Pause, "paused"),
            (node(2), Fault::DiskFull, "no space left"),
            (node(3), Fault::Kill, "exit status: 1"),
        ];
        assert_eq!(found, expected);
    }
}
