//! What happens when: a TOML file, and the times that a seed makes of it.

use std::time::Duration;

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Who};
use crate::failure::{Exit, Failure};
use crate::guise::Mode;

/// The longest run.
const MAX_SECONDS: u32 = 3600;
/// The most that a clock is off: ten years.
const MAX_AHEAD: i32 = 10 * 365 * 86_400;
/// Faults of one run.
const MAX_STEPS: usize = 10_000;

/// Those that come with the program, by the names that the runs have elsewhere.
const BUILT_IN: &[&str] = &[
    include_str!("../../scenarios/f1.toml"),
    include_str!("../../scenarios/f2.toml"),
    include_str!("../../scenarios/f3.toml"),
    include_str!("../../scenarios/f6.toml"),
    include_str!("../../scenarios/f7.toml"),
    include_str!("../../scenarios/f8.toml"),
    include_str!("../../scenarios/f9.toml"),
    include_str!("../../scenarios/f10.toml"),
    include_str!("../../scenarios/f11.toml"),
    include_str!("../../scenarios/f12.toml"),
    include_str!("../../scenarios/f13.toml"),
    include_str!("../../scenarios/f14.toml"),
    include_str!("../../scenarios/f15.toml"),
    include_str!("../../scenarios/f16.toml"),
    include_str!("../../scenarios/f17.toml"),
    include_str!("../../scenarios/f18.toml"),
    include_str!("../../scenarios/f26.toml"),
    include_str!("../../scenarios/f28.toml"),
    include_str!("../../scenarios/f30.toml"),
];

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it does, in a sentence.
    pub what: String,
    /// For how long faults happen.
    pub seconds: u32,
    /// What a run has to reach beyond what every run has to.
    #[serde(default)]
    pub pass: Pass,
    /// What happens.
    #[serde(rename = "fault")]
    pub faults: Vec<Planned>,
}

/// Goals of one scenario; where there is nothing there is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// While faults happen, 99 of 100 sends take no longer, in milliseconds.
    pub p99_ms: Option<u32>,
    /// No more nodes are decommissioned at once than were at the beginning, and so many.
    pub decommissioned: Option<u64>,
}

/// A fault that happens once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// What.
    pub kind: Fault,
    /// To whom; drawn anew each time.
    #[serde(default)]
    pub who: Who,
    /// When first, in seconds.
    #[serde(default)]
    pub from: u32,
    /// How often, in seconds; once if there is nothing.
    pub every: Option<u32>,
    /// How long it lasts, in seconds: drawn between the two.
    #[serde(default)]
    pub lasts: [u32; 2],
    /// How many, where new nodes come.
    #[serde(default = "one")]
    pub count: u16,
    /// How many of 100 packets are lost, where links are lossy: drawn between the two.
    pub percent: Option<[u16; 2]>,
    /// How much goes through, where links are slow, in kbit/s: drawn between the two.
    pub kbit: Option<[u16; 2]>,
    /// How far clocks are ahead, in seconds: drawn between the two, behind if it is negative.
    pub ahead_seconds: Option<[i32; 2]>,
    /// What misbehaving nodes do wrong; each draws one.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// Where nodes leave: so many members of swarms stay.
    #[serde(default)]
    pub at_least: u16,
}

const fn one() -> u16 {
    1
}

impl Planned {
    /// The fault happens to one node, once.
    #[must_use]
    pub const fn once(kind: Fault) -> Self {
        Self {
            kind,
            who: Who::One,
            from: 0,
            every: None,
            lasts: [0; 2],
            count: 1,
            percent: None,
            kbit: None,
            ahead_seconds: None,
            modes: Vec::new(),
            at_least: 0,
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`Exit::Usage`] with what does not.
    pub fn check(&self) -> Result<(), Failure> {
        let kind = self.kind;
        let wrong = |reason: &str| Err(Failure::new(Exit::Usage, format!("{kind:?}: {reason}")));
        if self.every == Some(0) || self.lasts[0] > self.lasts[1] {
            return wrong("\"every\" is at least 1, \"lasts\" goes from less to more");
        }
        if self.amounts().is_none() {
            return wrong("\"percent\" is for lossy links, 1 to 99, \"kbit\" for slow ones, both from less to more");
        }
        if self.ahead_seconds.is_some_and(|[least, most]| least > most || least < -MAX_AHEAD || most > MAX_AHEAD) {
            return wrong("\"ahead_seconds\" goes from less to more, ten years at most");
        }
        if self.ahead_seconds.is_some() != (kind == Fault::Clock) {
            return wrong("\"ahead_seconds\" belongs to \"clock\"");
        }
        if self.modes.is_empty() == (kind == Fault::Misbehave) {
            return wrong("\"modes\" belong to \"misbehave\"");
        }
        if self.at_least > 0 && kind != Fault::Leave {
            return wrong("\"at_least\" belongs to \"leave\"");
        }
        Ok(())
    }

    /// Draws how many nodes come, or how bad links are.
    pub fn amount(&self, rng: &mut impl Rng) -> u16 {
        between(self.amounts().unwrap_or_default(), rng)
    }

    /// Between which bounds it is drawn how much of it there is; nothing if that makes no sense.
    fn amounts(&self) -> Option<[u16; 2]> {
        let [least, most] = match (self.kind, self.percent, self.kbit) {
            (Fault::Lossy, Some(percent), None) if percent.iter().all(|percent| (1..=99).contains(percent)) => percent,
            (Fault::Slow, None, Some(kbit)) if !kbit.contains(&0) => kbit,
            (Fault::Lossy | Fault::Slow, ..) | (_, Some(_), _) | (_, _, Some(_)) => return None,
            _ => [self.count; 2],
        };
        (least <= most).then_some([least, most])
    }
}

/// One fault at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    /// How many nodes come, or how bad it is.
    pub(super) amount: u16,
    /// Which of the scenario's.
    pub(super) fault: usize,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it is none, or never ends.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |reason: String| Failure::new(Exit::Usage, format!("not a scenario: {reason}"));
        let scenario: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if scenario.name.is_empty() || !scenario.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(wrong("its name must be letters, digits and \"-\"".to_owned()));
        }
        if !(1..=MAX_SECONDS).contains(&scenario.seconds) {
            return Err(wrong(format!("seconds must be 1 to {MAX_SECONDS}")));
        }
        for fault in &scenario.faults {
            fault.check().map_err(|failure| wrong(failure.message))?;
            if fault.from >= scenario.seconds {
                return Err(wrong(format!("{:?}: \"from\" lies within the run", fault.kind)));
            }
        }
        Ok(scenario)
    }

    /// Those that come with the program.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn built_in() -> Result<Vec<Self>, Failure> {
        BUILT_IN.iter().map(|text| Self::parse(text)).collect()
    }

    /// The built-in scenario of this name.
    ///
    /// # Errors
    /// [`Exit::NotFound`] if there is none.
    pub fn named(name: &str) -> Result<Self, Failure> {
        Self::built_in()?.into_iter().find(|scenario| scenario.name == name).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("no scenario {name:?}"))
                .hint("sotto-testnet chaos list    # or name a file: ./mine.toml")
        })
    }

    /// What happens in it.
    pub fn kinds(&self) -> impl Iterator<Item = Fault> {
        self.faults.iter().map(|fault| fault.kind)
    }

    /// What happens when, in the order of time.
    pub(super) fn schedule(&self, rng: &mut impl Rng) -> Vec<Step> {
        let second = |seconds: u32| Duration::from_secs(seconds.into());
        let mut steps = Vec::new();
        for (fault, planned) in self.faults.iter().enumerate() {
            let every = usize::try_from(planned.every.unwrap_or(MAX_SECONDS)).unwrap_or(usize::MAX).max(1);
            for from in (planned.from..self.seconds).step_by(every).take(MAX_STEPS) {
                let [least, most] = planned.lasts;
                let more = rng.next_u64() % (u64::from(most - least) * 1000 + 1);
                let lasts = second(least) + Duration::from_millis(more);
                let amount = planned.amount(rng);
                steps.push(Step { at: second(from), lasts, amount, fault });
            }
        }
        steps.sort_by_key(|step| step.at);
        steps
    }
}

/// Draws a number between two, both included. Nothing is drawn where there is no choice.
fn between([least, most]: [u16; 2], rng: &mut impl Rng) -> u16 {
    if least >= most {
        return least;
    }
    let more = rng.next_u64() % (u64::from(most - least) + 1);
    least.saturating_add(u16::try_from(more).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::seeded;

    const TEXT: &str = r#"
        name = "mine"
        what = "something"
        seconds = 20

        [[fault]]
        kind = "kill"
        who = "one-of-each-swarm"
        from = 5
        every = 6
        lasts = [1, 3]

        [[fault]]
        kind = "chain-reorg"
        from = 7

        [[fault]]
        kind = "lossy"
        who = "tenth"
        from = 9
        percent = [5, 30]

        [pass]
        p99_ms = 5000
    "#;

    #[test]
    fn a_schedule_follows_from_the_seed_and_faults_last_as_long_as_they_may() {
        let scenario = Scenario::parse(TEXT).unwrap();
        let schedule = |seed| scenario.schedule(&mut seeded(seed, "chaos", 0));
        let steps = schedule(1);
        assert_eq!(steps.iter().map(|step| step.at.as_secs()).collect::<Vec<_>>(), [5, 7, 9, 11, 17]);
        assert_eq!(steps[1].lasts, Duration::ZERO);
        for step in steps.iter().filter(|step| step.fault == 0) {
            assert!((1000..=3000).contains(&step.lasts.as_millis()), "{step:?}");
        }
        assert_eq!(steps.iter().filter(|step| step.fault != 2).map(|step| step.amount).collect::<Vec<_>>(), [1; 4]);
        assert_eq!(schedule(1), steps);
        assert_ne!(schedule(2), steps);
    }

    #[test]
    fn what_is_no_scenario_is_refused() {
        for (from, to) in [
            ("seconds = 20", "seconds = 0"),
            ("seconds = 20", "seconds = 99999"),
            ("\"mine\"", "\"../mine\""),
            ("every = 6", "every = 0"),
            ("[1, 3]", "[3, 1]"),
            ("from = 7", "from = 20"),
            ("chain-reorg", "earthquake"),
            ("what", "why"),
            ("[5, 30]", "[30, 5]"),
            ("[5, 30]", "[0, 30]"),
            ("[5, 30]", "[5, 100]"),
            ("percent", "kbit"),
            ("\"lossy\"", "\"slow\""),
            ("\"lossy\"", "\"cut\""),
            ("p99_ms", "p98_ms"),
        ] {
            assert!(Scenario::parse(&TEXT.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn what_belongs_to_one_kind_of_fault_is_wanted_there_and_refused_elsewhere() {
        let with = |fault: &str| Scenario::parse(&format!("{TEXT}\n[[fault]]\n{fault}\n"));
        let good = with("kind = \"clock\"\nahead_seconds = [-3600, 5]").unwrap();
        assert_eq!(good.faults[3].ahead_seconds, Some([-3600, 5]));
        let good = with("kind = \"misbehave\"\nmodes = [\"drop\", \"lie\"]").unwrap();
        assert_eq!(good.faults[3].modes, [Mode::Drop, Mode::Lie]);
        assert_eq!(with("kind = \"leave\"\nat_least = 24").unwrap().faults[3].at_least, 24);
        // Reports have it in them.
        let written = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&written).unwrap(), good);
        for wrong in [
            "kind = \"clock\"",
            "kind = \"clock\"\nahead_seconds = [5, -5]",
            "kind = \"clock\"\nahead_seconds = [0, 2000000000]",
            "kind = \"kill\"\nahead_seconds = [1, 2]",
            "kind = \"misbehave\"",
            "kind = \"misbehave\"\nmodes = [\"sulk\"]",
            "kind = \"kill\"\nmodes = [\"drop\"]",
            "kind = \"kill\"\nat_least = 3",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn how_bad_links_are_is_drawn_anew_each_time_and_stays_within_its_bounds() {
        let slow = TEXT.replace("lossy", "slow").replace("percent = [5, 30]", "every = 1\nkbit = [64, 67]");
        let steps = Scenario::parse(&slow).unwrap().schedule(&mut seeded(1, "chaos", 0));
        let drawn: BTreeSet<u16> = steps.iter().filter(|step| step.fault == 2).map(|step| step.amount).collect();
        assert!(drawn.len() > 1 && drawn.iter().all(|kbit| (64..=67).contains(kbit)), "{drawn:?}");
        let rng = &mut seeded(1, "between", 0);
        let drawn: BTreeSet<u16> = (0..100).map(|_| between([5, 8], rng)).collect();
        assert_eq!(drawn, (5..=8).collect());
    }

    #[test]
    fn those_that_come_with_the_program_are_good_and_have_names_of_their_own() {
        let all = Scenario::built_in().unwrap();
        let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name.clone()).collect();
        assert_eq!(names.len(), all.len());
        for scenario in &all {
            assert!(!scenario.schedule(&mut seeded(1, "chaos", 0)).is_empty());
            assert_eq!(&Scenario::named(&scenario.name).unwrap(), scenario);
        }
        assert!(Scenario::named("f99").is_err());
    }
}
