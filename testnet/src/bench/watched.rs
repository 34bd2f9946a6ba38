//! The processes that a bench watches.

use super::costs::{Role, Watched};
use crate::control::Processes;
use crate::failure::{Exit, Failure};
use crate::target::Target;

/// All processes of the testnet and this one. None may be down or frozen.
pub(super) fn watched(processes: &Processes) -> Result<Vec<Watched>, Failure> {
    let mut watched = Vec::new();
    for child in &processes.children {
        let (name, argument) = (child.target.to_string(), child.target.argument());
        if child.state != "running" {
            let failure = Failure::new(Exit::Conflict, format!("{name} is {}: nothing to measure with", child.state));
            let verb = match child.target {
                Target::Chain => "chain restart".to_owned(),
                Target::Node(_) if child.state == "paused" => format!("node resume {argument}"),
                Target::Node(_) => format!("node restart {argument}"),
            };
            return Err(failure.hint(format!("sotto-testnet {verb}")));
        }
        let role = if child.target == Target::Chain { Role::Producer } else { Role::Node };
        watched.push(Watched { name, role, pid: child.pid });
    }
    watched.push(Watched { name: "supervisor".to_owned(), role: Role::Launcher, pid: processes.supervisor });
    watched.push(Watched { name: "generator".to_owned(), role: Role::Generator, pid: std::process::id() });
    Ok(watched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ChildState;
    use crate::guise::Guise;

    fn processes(state: &str) -> Processes {
        let child = |target, pid| ChildState { target, pid, state: "running".to_owned(), guise: Guise::Plain };
        let last = ChildState { state: state.to_owned(), ..child(Target::Node(3), 9) };
        Processes { supervisor: 1, nodes: 2, children: vec![child(Target::Chain, 7), child(Target::Node(0), 8), last] }
    }

    #[test]
    fn every_process_is_watched_by_its_role() {
        let watched = watched(&processes("running")).unwrap();
        let shown: Vec<_> = watched.iter().map(|one| (one.name.as_str(), one.role)).collect();
        let expected = [
            ("chain", Role::Producer),
            ("node00", Role::Node),
            ("node03", Role::Node),
            ("supervisor", Role::Launcher),
            ("generator", Role::Generator),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_testnet_with_a_node_that_is_away_is_not_measured() {
        for (state, hint) in [("paused", "sotto-testnet node resume 3"), ("killed", "sotto-testnet node restart 3")] {
            let failure = watched(&processes(state)).unwrap_err();
            assert_eq!(failure.exit, Exit::Conflict);
            assert_eq!(failure.hint.as_deref(), Some(hint));
        }
    }
}
