//! What goes wrong, and when: drawn from the seed before anything happens, so that a plan can be read.

use std::time::Duration;

use sotto_proto::time::Monotonic;

use super::bugs::Bug;
use super::dice::Dice;

/// Something goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process dies; what it had written is there.
    Kill(usize),
    /// The power of a machine goes.
    PowerLoss(usize),
    /// The power of all machines of a swarm goes.
    SwarmPowerLoss(usize),
    /// A machine is lost with its disk; another takes its place.
    Wipe(usize),
    /// It starts again.
    Start(usize),
    /// The network falls into two parts: bit n says which node n is in.
    Split(u64),
    /// Nothing goes from one node to another; the way back is open.
    OneWay(usize, usize),
    /// The network is whole.
    Whole,
    /// So many of a thousand messages are lost.
    Loss(u64),
    /// A disk takes so much longer.
    SlowDisk(usize, Duration),
    /// A disk takes no more writes; the process goes on until it is started anew.
    DiskFails(usize),
    /// A disk flips a bit of some records.
    Damage(usize),
    /// A process stands still, or goes on: what came meanwhile it finds then.
    Freeze(usize, bool),
    /// A clock goes wrong by so many milliseconds.
    Skew(usize, i64),
    /// The producer makes no blocks, or goes on.
    Stall(bool),
    /// A node that is not registered is registered.
    Join(usize),
    /// A node leaves.
    Leave(usize),
    /// The last blocks are replaced.
    Reorganisation(u64),
    /// The producer shows another last block to the nodes whose bits are set, until its first branch is longer.
    TwoHeads(u64),
}

/// One simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// The number of each node's swarm at the beginning; of spare nodes, [`SPARE`].
    pub(crate) swarm_of: Vec<usize>,
    /// Whether swarms change: nodes join and leave.
    pub(crate) churns: bool,
    pub(crate) clients: usize,
    pub(crate) length: Monotonic,
    /// Everything has healed.
    pub(crate) healed: Monotonic,
    /// No more messages from here on.
    pub(crate) sends_until: Monotonic,
    /// Members are read once more from where their readers stand.
    pub(crate) last_polls: Monotonic,
    /// Members are read from the beginning.
    pub(crate) audit: Monotonic,
    /// A node that lies all the time, and how.
    pub(crate) liar: Option<(usize, Bug)>,
    /// Between two acts of a client.
    pub(crate) pause_ms: u64,
    pub(crate) faults: Vec<(Monotonic, Fault)>,
}

/// Stands for the swarm of a node that is not registered yet.
pub(crate) const SPARE: usize = usize::MAX;
/// From so many nodes on swarms are born.
const MANY: usize = 28;
/// One in so many simulations has swarms that change.
const CHURN: u64 = 3;
/// One in so many simulations has a member that lies; one in so many, a producer with two heads.
const LIAR: u64 = 4;
const TWO_HEADS: u64 = 5;
/// One in so many simulations, past those with a liar, has disks that do not keep what they have.
const DAMAGE: u64 = 6;
/// From the last change of swarms to the end of faults: what is handed over has time until the calm, too.
const SETTLED: Duration = Duration::from_secs(20);
/// From damage to when a disk is looked at: two passes of reading back, each of half a minute, and a little.
const READ_BACK: Duration = Duration::from_secs(62);
/// From the last fault to the end of a simulation: half a minute to compare and repair, a little to audit.
const CALM: Duration = Duration::from_secs(45);

impl Plan {
    /// What a seed says. `swarm_of` has the number of each node's swarm.
    pub(crate) fn draw(seed: u64, clients: usize, seconds: u64, swarm_of: &[usize]) -> Self {
        let mut dice = Dice::new(seed, 1);
        let length = Monotonic(Duration::from_secs(seconds));
        let healed = Monotonic(length.0.saturating_sub(CALM));
        let mut plan = Self {
            nodes: swarm_of.len(),
            swarm_of: swarm_of.to_vec(),
            churns: seed.is_multiple_of(CHURN),
            clients,
            length,
            healed,
            sends_until: Monotonic(length.0.saturating_sub(Duration::from_secs(18))),
            last_polls: Monotonic(length.0.saturating_sub(Duration::from_secs(8))),
            audit: Monotonic(length.0.saturating_sub(Duration::from_secs(6))),
            liar: None,
            pause_ms: dice.between(300..1200),
            faults: Vec::new(),
        };
        let mut wiped = vec![false; swarm_of.len()];
        let mut at = Monotonic(dice.millis(2_000..8_000));
        while at < healed {
            plan.draw_one(at, &mut wiped, &mut dice);
            at = at.plus(dice.millis(500..9_000));
        }
        if plan.churns {
            plan.draw_changes(&mut dice);
        }
        plan.draw_lies(seed);
        plan.heal();
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    fn draw_one(&mut self, at: Monotonic, wiped: &mut [bool], dice: &mut Dice) {
        let swarm_of = self.swarm_of.clone();
        let node = dice.below(self.nodes as u64) as usize;
        let later = |dice: &mut Dice| at.plus(dice.millis(1_000..20_000)).min(self.healed);
        match dice.below(100) {
            0..14 => self.with_end(at, Fault::Kill(node), later(dice), Fault::Start(node)),
            14..32 => self.with_end(at, Fault::PowerLoss(node), later(dice), Fault::Start(node)),
            32..38 => {
                self.faults.push((at, Fault::SwarmPowerLoss(swarm_of[node])));
                for member in (0..self.nodes).filter(|member| swarm_of[*member] == swarm_of[node]) {
                    let start = at.plus(dice.millis(500..10_000)).min(self.healed);
                    self.faults.push((start, Fault::Start(member)));
                }
            }
            38..42 => {
                // A message is acknowledged by two: more than one disk of a swarm at a time would be too many.
                let spent = (0..self.nodes).any(|other| swarm_of[other] == swarm_of[node] && wiped[other]);
                if !spent && !self.churns {
                    wiped[node] = true;
                    self.with_end(at, Fault::Wipe(node), later(dice), Fault::Start(node));
                }
            }
            42..52 => self.with_end(at, Fault::Split(dice.number()), later(dice), Fault::Whole),
            52..58 => self.with_end(at, Fault::Split(1 << node), later(dice), Fault::Whole),
            58..64 => {
                let other = dice.below(self.nodes as u64) as usize;
                self.with_end(at, Fault::OneWay(node, other), later(dice), Fault::Whole);
            }
            64..74 => self.with_end(at, Fault::Loss(dice.between(20..400)), later(dice), Fault::Loss(0)),
            74..77 => {
                let until = later(dice);
                self.with_end(at, Fault::DiskFails(node), until, Fault::Kill(node));
                self.faults.push((until.plus(Duration::from_millis(1)), Fault::Start(node)));
            }
            77..81 => self.with_end(at, Fault::Freeze(node, true), later(dice), Fault::Freeze(node, false)),
            81..85 => {
                let slow = dice.millis(50..3_000);
                self.with_end(at, Fault::SlowDisk(node, slow), later(dice), Fault::SlowDisk(node, Duration::ZERO));
            }
            85..92 => {
                let skew =
                    dice.pick(&[-3_600_000, -90_000, -20_000, -4_000, 4_000, 20_000, 90_000, 3_600_000]).unwrap();
                self.with_end(at, Fault::Skew(node, skew), later(dice), Fault::Skew(node, 0));
            }
            92..96 => self.with_end(at, Fault::Stall(true), later(dice), Fault::Stall(false)),
            _ => self.faults.push((at, Fault::Reorganisation(dice.between(1..4)))),
        }
    }

    /// Nodes join and leave, a few at a time: swarms starve, steal, end and are born.
    fn draw_changes(&mut self, dice: &mut Dice) {
        let (mut joining, mut leaving): (Vec<_>, Vec<_>) =
            (0..self.nodes).partition(|node| self.swarm_of[*node] == SPARE);
        dice.shuffle(&mut joining);
        dice.shuffle(&mut leaving);
        // One swarm of the smallest size stays.
        leaving.truncate(self.nodes.saturating_sub(joining.len() + 5));
        let until = self.healed.0.saturating_sub(SETTLED);
        // Among many more must change for a swarm to be born.
        let pauses = if self.nodes < MANY { 200..20_000 } else { 200..3_000 };
        let mut at = Monotonic(dice.millis(2_000..15_000));
        while at.0 < until {
            let fault =
                if dice.permille(500) { joining.pop().map(Fault::Join) } else { leaving.pop().map(Fault::Leave) };
            self.faults.extend(fault.map(|fault| (at, fault)));
            at = at.plus(dice.millis(pauses.clone()));
        }
    }

    /// From numbers of its own, so that all other simulations are as they were without.
    fn draw_lies(&mut self, seed: u64) {
        let mut dice = Dice::new(seed, 3);
        if seed.is_multiple_of(LIAR) {
            let members: Vec<_> = (0..self.nodes).filter(|node| self.swarm_of[*node] != SPARE).collect();
            self.liar = dice.pick(&members).zip(dice.pick(&Bug::LIES));
            // What a liar acknowledged is on one honest disk: none may be lost.
            self.faults.retain(|(_, fault)| !matches!(fault, Fault::Wipe(_)));
        }
        if seed % DAMAGE == 5 {
            // A message may be on few disks while the network is broken: each is damaged at one of them, and none is lost.
            // What is read back while a disk is damaged may be past the place: that is found by the next pass, and each takes
            // half a minute. Who is frozen reads nothing back, and would take longer.
            self.faults.retain(|(_, fault)| !matches!(fault, Fault::Wipe(_) | Fault::Freeze(..)));
            let until = self.last_polls.0.saturating_sub(READ_BACK);
            let mut at = Monotonic(dice.millis(5_000..10_000));
            while at.0 < until {
                self.faults.push((at, Fault::Damage(dice.below(self.nodes as u64) as usize)));
                at = at.plus(dice.millis(200..4_000));
            }
        }
        if seed % TWO_HEADS == 2 {
            let mut at = Monotonic(dice.millis(5_000..20_000));
            while at < self.healed {
                self.faults.push((at, Fault::TwoHeads(dice.number())));
                at = at.plus(dice.millis(3_000..20_000));
            }
        }
    }

    fn with_end(&mut self, at: Monotonic, fault: Fault, until: Monotonic, end: Fault) {
        self.faults.push((at, fault));
        self.faults.push((until, end));
    }

    /// Whatever was broken, at the end it is not.
    fn heal(&mut self) {
        for node in 0..self.nodes {
            self.faults.push((self.healed, Fault::Freeze(node, false)));
            self.faults.push((self.healed.plus(Duration::from_millis(2)), Fault::Start(node)));
            self.faults.push((self.healed, Fault::Skew(node, 0)));
            self.faults.push((self.healed, Fault::SlowDisk(node, Duration::ZERO)));
        }
        self.faults.extend([Fault::Whole, Fault::Loss(0), Fault::Stall(false)].map(|fault| (self.healed, fault)));
    }

    /// How long a message is kept, in seconds: most outlive the simulation, some do not.
    pub(crate) fn ttl(&self, dice: &mut Dice) -> u32 {
        if dice.permille(150) { dice.between(10..60) as u32 } else { dice.between(300..900) as u32 }
    }
}
