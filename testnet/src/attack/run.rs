//! One run from beginning to end.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::WallClock;

use super::honest::{Felt, Honest, Load};
use super::options::Options;
use super::report::{Attacked, Report, TYPE, VERSION};
use super::timeline::{Batch, Slot, batches};
use super::verdict::missed;
use super::victim::{Process, State, Watch};
use super::{Attack, Attackers, Done, Victim};
use crate::bench::{Head, Network, Testnet};
use crate::control::{self, Processes, Request};
use crate::failure::{Exit, Failure};
use crate::plan::Plan;
use crate::procfs::MachineTime;
use crate::supervisor::Report as Steps;

/// Where runs keep their reports, in the testnet's directory.
pub const DIR: &str = "attack";
/// How often the victim's memory and files are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Attacks the running testnet that `plan` lays out; `steps` are told. Whoever gives this up ends the `attackers`.
///
/// # Errors
/// [`Exit::Network`] when no testnet runs or it does not answer, [`Exit::Usage`] for options that cannot be met. Goals
/// that are missed are no error here: see [`Report::verdict`].
pub async fn run(plan: &Plan, options: &Options, steps: &Steps, attackers: &Attackers) -> Result<Report, Failure> {
    let chosen = options.chosen()?;
    let began = WallClock::system().now();
    let processes: Processes = control::ask(&plan.dir, &Request::Processes).await?;
    let network = Arc::new(Network::fetch(plan).await?);
    let victim = Victim::choose(plan, &network, &processes, options.node)?;
    steps.step("victim", format!("node{:02} at {}, pid {}", victim.index, victim.listen, victim.pid));
    let honest = Box::pin(Honest::set_up(&network, &victim, plan, options.seed)).await?;
    steps.step("honest", "users have their paths: the victim is in one group's swarm, and the other group's guard");
    let plan = Arc::new(plan.clone());
    let mut run =
        Run { plan: Arc::clone(&plan), options, steps, attackers, processes, network, victim, honest, first: None };
    let mut attacks: Vec<Attacked> = Vec::new();
    for batch in batches(chosen.len(), options.lasting(), options.once) {
        attacks.extend(Box::pin(run.batch(&batch, &chosen)).await?);
        if attacks.len() < batch.slots.last().map_or(0, |slot| slot.attack + 1) {
            // Somebody died: what comes next would be measured on another network.
            break;
        }
    }
    Ok(Report {
        head: Head::here(TYPE, VERSION, began),
        testnet: Testnet::of(&plan, &run.network),
        victim: plan.node(run.victim.index).label,
        options: options.clone(),
        notes: notes(),
        attacks,
    })
}

fn notes() -> Vec<String> {
    vec![
        "Attackers, honest users and all nodes share one machine. Attackers have what the others leave of it; what they \
         make nodes do is in the figures, and so is what other machines of the same host take (machine, %: busy + taken)."
            .to_owned(),
        "Limits per address are those of the genesis: off in the testnet preset, on in production.".to_owned(),
    ]
}

/// What a run works with.
struct Run<'a> {
    plan: Arc<Plan>,
    options: &'a Options,
    steps: &'a Steps,
    attackers: &'a Attackers,
    /// As they were at first: whoever is another process later has died.
    processes: Processes,
    network: Arc<Network>,
    victim: Victim,
    honest: Honest,
    /// What was felt before the first attack, where that counts for all.
    first: Option<Vec<Felt>>,
}

/// An attack that was made, before it is known what honest users felt.
struct Made {
    slot: Slot,
    attack: &'static Attack,
    done: Done,
    process: Process,
    machine: Option<(f64, f64)>,
    deaths: Vec<String>,
}

impl Run<'_> {
    /// The attacks of one batch, up to the first one that somebody died of.
    async fn batch(&mut self, batch: &Batch, chosen: &[&'static Attack]) -> Result<Vec<Attacked>, Failure> {
        let steps = self.steps;
        let wait = |wait: Duration| {
            steps.step("work", format!("waiting {} s for the next block that work is anchored at", wait.as_secs()));
        };
        let load = self.honest.begin(batch.length, self.options.rate, wait).await?;
        let mut made = Vec::new();
        for slot in &batch.slots {
            let Some(attack) = chosen.get(slot.attack) else { continue };
            let one = self.attack(slot, attack, &load).await?;
            let died = !one.deaths.is_empty();
            made.push(one);
            if died {
                break;
            }
        }
        steps.current("honest", 0, 0, "the last messages");
        let start = load.start;
        let samples = self.honest.end(load).await?;
        let mut attacked = Vec::new();
        for one in made {
            let nothing = Duration::ZERO..Duration::ZERO;
            let before: &Range<Duration> = one.slot.before.as_ref().unwrap_or(&nothing);
            let felt = samples.between(start, [before, &one.slot.during, &one.slot.after]);
            attacked.push(self.attacked(one, felt));
        }
        Ok(attacked)
    }

    fn attacked(&mut self, made: Made, mut felt: Vec<Felt>) -> Attacked {
        if self.options.once {
            let first = self.first.get_or_insert_with(|| felt.clone());
            for one in &mut felt {
                let same = first.iter().find(|other| (other.group, other.measured) == (one.group, one.measured));
                one.before = same.map_or(one.before, |same| same.before);
            }
        }
        let missed = missed(made.attack, &felt, &made.process, &made.deaths);
        let Done { counts, error } = made.done;
        let verdict = if missed.is_empty() { "all goals hold".to_owned() } else { missed.join(", ") };
        self.steps.step("attack", format!("{}: {} frames, {verdict}", made.attack.name, counts.frames));
        Attacked {
            name: made.attack.name.to_owned(),
            what: made.attack.what.to_owned(),
            counts,
            error,
            felt,
            process: made.process,
            machine_percent: made.machine,
            missed,
        }
    }

    /// One attack, at its time.
    async fn attack(&self, slot: &Slot, attack: &'static Attack, load: &Load) -> Result<Made, Failure> {
        let at = |offset: Duration| tokio::time::Instant::from(load.start + offset);
        let gone = || Failure::new(Exit::Failed, format!("node{:02} is not there any more", self.victim.index));
        let begin = slot.before.as_ref().map_or(slot.during.start, |before| before.start);
        self.attackers.gather(&self.plan, &self.victim, attack, self.options).await?;
        tokio::time::sleep_until(at(begin)).await;
        self.steps.current("attack", slot.attack, 0, &format!("{}: measured before it", attack.name));
        let mut watch = Watch::new(self.victim.state().ok_or_else(gone)?);
        tokio::time::sleep_until(at(slot.during.start)).await;
        self.steps.current("attack", slot.attack, 0, attack.name);
        watch.attack = self.victim.state().ok_or_else(gone)?;
        watch.peak = watch.attack;
        let machine = MachineTime::now();
        self.attackers.begin().await?;
        watch.end = self.watch(&mut watch, at(slot.during.end)).await;
        let machine = machine.and_then(|before| MachineTime::now()?.since(&before));
        let done = self.attackers.end().await?;
        self.watch(&mut watch, at(slot.after.end)).await;
        let process = watch.process(self.victim.state());
        Ok(Made { slot: slot.clone(), attack, done, process, machine, deaths: self.deaths().await })
    }

    /// Looks at the victim until then; returns what was last seen.
    async fn watch(&self, watch: &mut Watch, until: tokio::time::Instant) -> State {
        let mut last = watch.end;
        loop {
            if let Some(now) = self.victim.state() {
                watch.note(&now);
                last = now;
            }
            let now = tokio::time::Instant::now();
            if now >= until {
                return last;
            }
            tokio::time::sleep_until(until.min(now + LOOK)).await;
        }
    }

    /// Who is not the process that it was.
    async fn deaths(&self) -> Vec<String> {
        let now: Result<Processes, Failure> = control::ask(&self.plan.dir, &Request::Processes).await;
        match now {
            Ok(now) => changed(&self.processes, &now),
            Err(failure) => vec![format!("the launcher ({})", failure.message)],
        }
    }
}

fn changed(before: &Processes, now: &Processes) -> Vec<String> {
    let gone = before.children.iter().filter(|child| {
        let lives = |other: &&control::ChildState| other.target == child.target && other.pid == child.pid;
        child.state == "running" && !now.children.iter().filter(lives).any(|other| other.state == "running")
    });
    gone.map(|child| child.target.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ChildState;
    use crate::guise::Guise;
    use crate::target::Target;

    #[test]
    fn who_is_another_process_or_none_has_died() {
        let child = |target, pid, state: &str| ChildState { target, pid, state: state.to_owned(), guise: Guise::Plain };
        let processes = |children| Processes { supervisor: 1, nodes: 2, children };
        let node = Target::Node;
        let before = processes(vec![
            child(node(0), 10, "running"),
            child(node(1), 11, "running"),
            child(node(2), 12, "running"),
            child(node(3), 13, "paused"),
        ]);
        assert_eq!(changed(&before, &before), Vec::<String>::new());
        let now =
            processes(vec![child(node(0), 10, "running"), child(node(1), 99, "running"), child(node(2), 12, "killed")]);
        assert_eq!(changed(&before, &now), ["node01", "node02"]);
    }
}
