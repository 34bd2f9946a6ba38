//! What can happen, and to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::needs::Need;
use crate::bench::shuffle;

/// What happens. On the command line and in scenarios it has one name; `value(skip)` is what cannot be begun by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Killed without warning, and started again at its end
    Kill,
    /// Stopped: it keeps its connections and answers nobody
    Pause,
    /// Killed, and started again without its database: all it kept is gone
    #[value(skip)]
    Wipe,
    /// Killed, some bits of its database flipped, and started again at its end
    FlipBits,
    /// Killed, a file of its database cut short, and started again at its end
    Truncate,
    /// Goes on for a while, and has its database as it was at the beginning then: restored from an old backup
    OldCopy,
    /// Has its data on a small file system in memory on which nothing is left; needs root
    DiskFull,
    /// Its syncs fail; needs root and strace
    FsyncError,
    /// Started again with its clock off; needs libfaketime
    Clock,
    /// Started again with 96 MiB of memory; needs root and control groups
    Memory,
    /// Has 2 to 5 % of a processor; needs root and control groups
    Cpu,
    /// May open 256 files
    FewFiles,
    /// Leaves the network by the chain; it goes on running, and does not come back while its stake is locked
    Leave,
    /// Started again as a program that does not do what it should
    Misbehave,
    /// Nothing goes between these nodes and all others; needs root and nft
    Cut,
    /// Nothing goes from these nodes to all others; needs root and nft
    CutOneWay,
    /// A part of all packets to and from these nodes is lost; needs root and nft
    Lossy,
    /// Packets to and from these nodes wait for their turn; needs root and tc
    Slow,
    /// New nodes come, and stay
    #[value(skip)]
    Join,
    /// No blocks
    #[value(skip)]
    ChainStall,
    /// A block every three block times
    #[value(skip)]
    ChainSlow,
    /// The newest two blocks are replaced
    #[value(skip)]
    ChainReorg,
    /// Two branches, each shown to half of the nodes
    #[value(skip)]
    ChainTwoHeads,
    /// The block producer is killed, and started again at its end
    #[value(skip)]
    ChainKill,
}

impl Fault {
    /// What it needs that is not everywhere.
    #[must_use]
    pub const fn needs(self) -> Option<Need> {
        match self {
            Self::Cut | Self::CutOneWay | Self::Lossy => Some(Need::PacketFilter),
            Self::Slow => Some(Need::TrafficControl),
            Self::DiskFull => Some(Need::Mounts),
            Self::FsyncError => Some(Need::Strace),
            Self::Memory | Self::Cpu => Some(Need::Groups),
            Self::Clock => Some(Need::FakeTime),
            Self::Misbehave => Some(Need::Misbehaving),
            _ => None,
        }
    }

    /// Whether it happens to nodes.
    #[must_use]
    pub const fn is_of_nodes(self) -> bool {
        self.is_of_links() || self.is_of_processes() || matches!(self, Self::Leave)
    }

    /// What it is measured in, if it can be more or less.
    #[must_use]
    pub const fn unit(self) -> Option<&'static str> {
        match self {
            Self::Lossy => Some("%"),
            Self::Slow => Some("kbit/s"),
            _ => None,
        }
    }

    /// How long after its end nodes may still find out what it did to them. Databases are read back within half a minute,
    /// and as long again is for repair. Whose clock was ahead serves no first message of a tunnel until its minute is over:
    /// it cannot know which of them it has seen.
    #[must_use]
    pub const fn settles(self) -> Duration {
        match self {
            Self::FlipBits | Self::Truncate | Self::OldCopy => Duration::from_secs(60),
            Self::Clock => Duration::from_secs(75),
            _ => Duration::ZERO,
        }
    }

    /// Whether it happens to what nodes are connected by.
    #[must_use]
    pub const fn is_of_links(self) -> bool {
        matches!(self, Self::Cut | Self::CutOneWay | Self::Lossy | Self::Slow)
    }

    /// Whether the nodes' processes are not the same, or not at work as they should be, while it lasts.
    #[must_use]
    pub const fn is_of_processes(self) -> bool {
        matches!(
            self,
            Self::Kill
                | Self::Pause
                | Self::Wipe
                | Self::FlipBits
                | Self::Truncate
                | Self::OldCopy
                | Self::DiskFull
                | Self::FsyncError
                | Self::Clock
                | Self::Memory
                | Self::Cpu
                | Self::FewFiles
                | Self::Misbehave
        )
    }

    /// Whether it has an end; others happen once.
    #[must_use]
    pub const fn ends(self) -> bool {
        !matches!(self, Self::Leave | Self::Join | Self::ChainReorg | Self::ChainTwoHeads)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Pause => "stopped",
            Self::Wipe => "killed, database removed",
            Self::FlipBits => "killed, bits flipped",
            Self::Truncate => "killed, a file cut short",
            Self::OldCopy => "an old copy of the database, to come back",
            Self::DiskFull => "no space left",
            Self::FsyncError => "syncs fail",
            Self::Clock => "clock off",
            Self::Memory => "little memory",
            Self::Cpu => "little of a processor",
            Self::FewFiles => "few open files",
            Self::Leave => "out of the network",
            Self::Misbehave => "misbehaving",
            Self::Cut => "cut off",
            Self::CutOneWay => "cut off one way",
            Self::Lossy => "lossy links",
            Self::Slow => "slow links",
            Self::Join => "new nodes",
            Self::ChainStall => "no blocks",
            Self::ChainSlow => "slow blocks",
            Self::ChainReorg => "reorganisation of two blocks",
            Self::ChainTwoHeads => "two heads",
            Self::ChainKill => "producer killed",
        })
    }
}

/// To whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// One node.
    #[default]
    One,
    /// One member of each swarm.
    OneOfEachSwarm,
    /// A tenth of all nodes.
    Tenth,
    /// All members of a swarm but two.
    AllButTwoOfASwarm,
    /// All members of a swarm.
    Swarm,
    /// Half of all nodes.
    Half,
    /// All nodes.
    All,
}

impl Who {
    /// Draws them from the members of each swarm, past those that are under another fault.
    pub fn draw(self, swarms: &BTreeMap<String, Vec<u16>>, busy: &BTreeSet<u16>, rng: &mut impl Rng) -> BTreeSet<u16> {
        let free = |members: &Vec<u16>| members.iter().copied().filter(|node| !busy.contains(node)).collect::<Vec<_>>();
        let mut drawn: Vec<Vec<u16>> = swarms.values().map(free).collect();
        drawn.iter_mut().for_each(|members| shuffle(members, rng));
        let of_all = |part: usize, drawn: &[Vec<u16>], rng: &mut _| {
            let mut all = drawn.concat();
            shuffle(&mut all, rng);
            all.truncate(part);
            all
        };
        let total = swarms.values().map(Vec::len).sum::<usize>();
        let chosen = match self {
            Self::One => of_all(1, &drawn, rng),
            Self::Tenth => of_all(total.div_ceil(10), &drawn, rng),
            Self::Half => of_all(total / 2, &drawn, rng),
            Self::All => drawn.concat(),
            Self::OneOfEachSwarm => drawn.iter().filter_map(|members| members.first().copied()).collect(),
            Self::Swarm | Self::AllButTwoOfASwarm => {
                let spared = if self == Self::Swarm { 0 } else { 2 };
                // A swarm of which nobody is under another fault yet.
                let whole = swarms.values().zip(drawn).filter(|(members, free)| members.len() == free.len());
                let mut whole: Vec<_> = whole.map(|(_, free)| free).collect();
                shuffle(&mut whole, rng);
                let first = whole.into_iter().next().unwrap_or_default();
                first.into_iter().skip(spared).collect()
            }
        };
        chosen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seeded;

    fn swarms() -> BTreeMap<String, Vec<u16>> {
        [("a", 0..10), ("b", 10..20), ("c", 20..27)].map(|(name, nodes)| (name.to_owned(), nodes.collect())).into()
    }

    #[test]
    fn as_many_are_drawn_as_are_wanted_and_nobody_who_is_under_another_fault() {
        let (swarms, busy) = (swarms(), BTreeSet::from([3, 11]));
        for seed in 0..50 {
            let rng = &mut seeded(seed, "who", 0);
            for (who, count) in
                [(Who::One, 1), (Who::Tenth, 3), (Who::OneOfEachSwarm, 3), (Who::Half, 13), (Who::All, 25)]
            {
                let drawn = who.draw(&swarms, &busy, rng);
                assert_eq!(drawn.len(), count, "{who:?}");
                assert!(drawn.is_disjoint(&busy));
            }
            // Only the third swarm is whole.
            assert_eq!(Who::Swarm.draw(&swarms, &busy, rng), (20..27).collect());
            let drawn = Who::AllButTwoOfASwarm.draw(&swarms, &busy, rng);
            assert!(drawn.len() == 5 && drawn.is_subset(&(20..27).collect()), "{drawn:?}");
        }
        let everybody = (0..27).collect();
        assert_eq!(Who::All.draw(&swarms, &everybody, &mut seeded(1, "who", 0)), BTreeSet::new());
    }
}
