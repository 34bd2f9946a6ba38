//! Faults that are begun by hand, listed, and ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use sotto_behaviours::network::WallClock;

use crate::bench::seeded;
use crate::chaos::{self, Fault, Known, Leftover, LinkRules, Links, Planned, Scenario, Stage};
use crate::cli::Globals;
use crate::cli::console::Console;
use crate::cli::location::Location;
use crate::control::{self, Processes, Request};
use crate::failure::{Exit, Failure};
use crate::guise::Mode;
use crate::plan::Plan;
use crate::target::{Selection, Target};

/// A fault that is applied by hand lasts until it is cleared.
const UNTIL_CLEARED: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Options of `chaos apply`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ApplyArguments {
    /// What; for the chain see "sotto-testnet chain"
    #[arg(value_enum)]
    fault: Fault,
    /// A node's number, several as 3,5 or 10-14, or "all"
    #[arg(value_name = "NODES")]
    nodes: Selection,
    /// With lossy: how many of 100 packets are lost [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    percent: Option<u16>,
    /// With slow: how much goes through, in kbit/s [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    kbit: Option<u16>,
    /// With clock: how far ahead; behind if it is negative
    #[arg(long, value_name = "N", allow_negative_numbers = true, required_if_eq("fault", "clock"))]
    ahead_seconds: Option<i32>,
    /// With misbehave: what they do wrong
    #[arg(long, value_enum, required_if_eq("fault", "misbehave"))]
    mode: Option<Mode>,
}

impl ApplyArguments {
    /// The fault with its amounts.
    fn planned(&self) -> Result<Planned, Failure> {
        let fault = self.fault;
        let amount = |given: Option<u16>, of, default| given.or((fault == of).then_some(default));
        let planned = Planned {
            percent: amount(self.percent, Fault::Lossy, 20).map(|percent| [percent; 2]),
            kbit: amount(self.kbit, Fault::Slow, 128).map(|kbit| [kbit; 2]),
            ahead_seconds: self.ahead_seconds.map(|seconds| [seconds, seconds]),
            modes: self.mode.into_iter().collect(),
            ..Planned::once(fault)
        };
        planned.check()?;
        Ok(planned)
    }
}

/// Begins a fault.
pub(super) async fn apply(plan: &Plan, arguments: ApplyArguments, console: &Console) -> Result<(), Failure> {
    let planned = arguments.planned()?;
    let targets = arguments.nodes.resolve(plan.settings.nodes).map_err(|missing| {
        Failure::new(Exit::NotFound, format!("there is no {missing}: {} nodes", plan.settings.nodes))
    })?;
    let nodes: Option<BTreeSet<u16>> = targets
        .into_iter()
        .map(|target| match target {
            Target::Node(index) => Some(index),
            Target::Chain => None,
        })
        .collect();
    let nodes = nodes.ok_or_else(|| {
        Failure::new(Exit::Usage, "the block producer has faults of its own").hint("sotto-testnet chain --help")
    })?;
    chaos::check_possible(planned.kind).await?;
    Links::check(plan, std::iter::once(planned.kind)).await?;
    let rng = &mut seeded(WallClock::system().now().0, "chaos by hand", 0);
    let amount = planned.amount(rng);
    let mut stage = Stage::new(plan);
    let applied = match stage.apply_to((&planned, amount), nodes, Instant::now() + UNTIL_CLEARED, rng).await {
        Ok(applied) => applied,
        Err(failure) => {
            // What failed is told, not what could not be undone after it.
            let _told: Result<_, _> = stage.undo_all().await;
            return Err(failure);
        }
    };
    let until = if planned.kind.ends() { "; until: sotto-testnet chaos clear" } else { "" };
    let text = format!("{}{until}", applied.as_deref().unwrap_or("nobody"));
    console.print(&text, &json!({ "v": 1, "type": "testnet.chaos_applied", "applied": applied }))
}

/// Ends all faults.
pub(super) async fn clear(plan: &Plan, console: &Console) -> Result<(), Failure> {
    // Links first: what is wrong with them outlives the testnet. A kernel that refuses is told of when the rest is done.
    let cleared = LinkRules::clear(plan).await;
    let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
    let leftovers = chaos::leftovers(plan, &processes);
    chaos::clear_leftovers(&Stage::new(plan), &leftovers).await?;
    // Those of nodes that were started again since they were limited.
    chaos::remove_groups(plan)?;
    chaos::clear_chain(plan).await?;
    let rules = cleared?;
    let count = |wanted: fn(&Leftover) -> bool| leftovers.iter().filter(|leftover| wanted(leftover)).count();
    let resumed = count(|leftover| leftover.fault == Fault::Pause);
    let started = count(|leftover| leftover.fault == Fault::Kill);
    let others = leftovers.len() - resumed - started;
    let document = json!({ "v": 1, "type": "testnet.chaos_cleared", "resumed": resumed, "started": started,
        "others": others, "links_joined": rules.cut, "links_mended": { "lossy": rules.lossy, "slow": rules.slow } });
    console.print(&cleared_text([resumed, started, others], &rules), &document)
}

/// What was ended; what could not be looked at is not told as nothing.
fn cleared_text([resumed, started, others]: [usize; 3], rules: &LinkRules) -> String {
    let mut parts = vec![format!("{resumed} went on, {started} started, {others} other faults ended")];
    parts.extend(rules.cut.map(|links| format!("{links} links joined")));
    parts.extend(rules.bad_nodes().map(|nodes| format!("links of {nodes} nodes mended")));
    let lines = std::iter::once(format!("{}; blocks as usual", parts.join(", "))).chain(rules.unknown());
    lines.collect::<Vec<_>>().join("\n")
}

/// Says which scenarios there are, and which faults.
pub(super) async fn list(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let scenarios = Scenario::built_in()?;
    let mut lines = vec!["scenarios".to_owned()];
    let (mut known, mut missing) = (Known::default(), serde_json::Map::new());
    for scenario in &scenarios {
        let need = known.missing(scenario).await;
        let text = need.map(|need| format!(" (needs {need})")).unwrap_or_default();
        lines.push(format!("  {:4}  {:>3} s  {}{text}", scenario.name, scenario.seconds, scenario.what));
        missing.extend(need.map(|need| (scenario.name.clone(), need.to_string().into())));
    }
    // Without a testnet there are no faults.
    let plan = Location::new(globals)?.plan().ok();
    let processes = match &plan {
        Some(plan) => control::ask::<Processes>(&plan.dir, &Request::Processes).await.ok(),
        None => None,
    };
    let leftovers = match (&plan, &processes) {
        (Some(plan), Some(processes)) => chaos::leftovers(plan, processes),
        _ => Vec::new(),
    };
    let rules = match &plan {
        Some(plan) => LinkRules::look(plan).await,
        None => LinkRules::none(),
    };
    lines.push("faults".to_owned());
    let mut faults: Vec<_> =
        leftovers.iter().map(|leftover| format!("{}: {}", leftover.target, leftover.what)).collect();
    for (nodes, how) in [(&rules.lossy, "lossy"), (&rules.slow, "slow")] {
        faults.extend(nodes.iter().flatten().map(|node| format!("{}: {how} links", Target::Node(*node))));
    }
    faults.extend(rules.cut.filter(|links| *links > 0).map(|links| format!("{links} links are cut")));
    faults.extend(rules.unknown());
    if faults.is_empty() {
        faults.push("none".to_owned());
    }
    lines.extend(faults.into_iter().map(|fault| format!("  {fault}")));
    let fault =
        |leftover: &Leftover| json!({ "target": leftover.target, "kind": leftover.fault, "state": leftover.what });
    let faults: Vec<_> = leftovers.iter().map(fault).collect();
    let document = json!({ "v": 1, "type": "testnet.chaos", "scenarios": scenarios, "missing": missing,
        "faults": faults, "links_cut": rules.cut, "links_bad": { "lossy": rules.lossy, "slow": rules.slow } });
    console.print(&lines.join("\n"), &document)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum as _};

    use super::*;
    use crate::cli::{Cli, Verb as Any, chaos::Verb};

    fn parsed(line: &str) -> Result<ApplyArguments, clap::Error> {
        match Cli::try_parse_from(format!("sotto-testnet chaos apply {line}").split(' '))?.verb {
            Any::Chaos(Verb::Apply(arguments)) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_of_nodes_has_its_amounts_and_no_others() {
        assert_eq!(parsed("cut-one-way 3-5").unwrap().fault, Fault::CutOneWay);
        let clock = parsed("clock 3 --ahead-seconds -60").unwrap().planned().unwrap();
        assert_eq!((clock.kind, clock.ahead_seconds), (Fault::Clock, Some([-60, -60])));
        let slow = parsed("slow 3").unwrap().planned().unwrap();
        assert_eq!((slow.kbit, slow.percent), (Some([128; 2]), None));
        assert_eq!(parsed("lossy 3 --percent 7").unwrap().planned().unwrap().percent, Some([7; 2]));
        assert_eq!(parsed("misbehave 3 --mode drop").unwrap().planned().unwrap().modes, [Mode::Drop]);
        for wrong in [
            "burn 3",
            "cut",
            "lossy 3 --percent 100",
            "slow 3 --kbit 0",
            "clock 3",
            "misbehave 3",
            "misbehave 3 --mode sulk",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for wrong in ["kill 3 --ahead-seconds 5", "slow 3 --percent 5", "clock 3 --ahead-seconds 5 --mode lie"] {
            assert_eq!(parsed(wrong).unwrap().planned().unwrap_err().exit, Exit::Usage, "{wrong}");
        }
        for wrong in ["wipe", "join", "chain-stall", "chain-kill"] {
            assert!(parsed(&format!("{wrong} 3")).is_err(), "{wrong}");
        }
        for fault in Fault::value_variants() {
            let name = fault.to_possible_value().unwrap();
            assert_eq!(serde_json::to_value(fault).unwrap(), name.get_name(), "the same in scenarios and by hand");
            assert!(fault.is_of_nodes() && name.get_help().is_some());
        }
    }

    #[test]
    fn what_was_ended_is_counted_and_what_could_not_be_looked_at_is_named() {
        let rules = LinkRules { cut: Some(4), ..LinkRules::none() };
        let text =
            "1 went on, 2 started, 3 other faults ended, 4 links joined, links of 0 nodes mended; blocks as usual";
        assert_eq!(cleared_text([1, 2, 3], &rules), text);
        let text = cleared_text([0, 0, 0], &LinkRules { slow: Some([7].into()), ..LinkRules::default() });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "0 went on, 0 started, 0 other faults ended, links of 1 nodes mended; blocks as usual");
        assert!(lines.len() == 3 && lines[1].starts_with("cut links could not be looked at: again as root"), "{text}");
    }
}
