//! Chain sync with peers that say anything of their height and answer as they like: there are never more fetches than
//! two, nobody is asked who is gone, and once there is one honest peer the chain is followed to its tip.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_behaviours::chain_sync::config::FETCHES;
use sotto_behaviours::chain_sync::state::{Failure, Output, Sync};
use sotto_behaviours::network::{FetchId, FetchOutcome};
use sotto_proto::id::{Height, NodeId};
use sotto_proto::limits::CHAIN_ANSWER_BYTES;
use sotto_proto::request::Error;
use sotto_proto::time::Monotonic;

use crate::fixtures::node;
use crate::input::Input;

/// Steps of one input.
const STEPS: usize = 200;
/// Blocks in one answer of an honest peer.
const PAGE: u64 = 20;
/// Timers until the honest peer's tip must be reached.
const PATIENCE: usize = 400;

#[derive(Clone, Copy)]
struct Fetch {
    node: NodeId,
    from: Height,
    inserting: u64,
}

struct World {
    sync: Sync,
    connected: BTreeSet<NodeId>,
    fetches: BTreeMap<FetchId, Fetch>,
    local: Height,
    now: Monotonic,
}

impl World {
    /// Takes what it asks for.
    fn outputs(&mut self) {
        while let Some(output) = self.sync.poll_output() {
            match output {
                Output::Tip { node } => assert!(self.connected.contains(&node)),
                Output::Blocks { node, fetch, from, max_bytes } => {
                    assert!(self.connected.contains(&node), "asks somebody who is gone");
                    assert_eq!(usize::try_from(max_bytes), Ok(CHAIN_ANSWER_BYTES));
                    assert!(from > Height::ZERO, "asks for the genesis");
                    let before = self.fetches.insert(fetch, Fetch { node, from, inserting: 0 });
                    assert!(before.is_none(), "one number for two fetches");
                }
            }
        }
        let asked = self.fetches.values().filter(|fetch| fetch.inserting == 0).count();
        assert!(asked <= FETCHES, "{asked} fetches at once");
    }

    fn disconnect(&mut self, node: NodeId) {
        self.connected.remove(&node);
        self.fetches.retain(|_, fetch| fetch.node != node || fetch.inserting > 0);
        self.sync.disconnected(node, self.now);
    }

    fn answered(&mut self, id: FetchId, count: u64, tip: Height) {
        let taken = self.sync.answered(id, usize::try_from(count).unwrap_or(usize::MAX), tip, self.now);
        match self.fetches.get_mut(&id) {
            Some(fetch) if taken => {
                assert!(count > 0);
                fetch.inserting = count;
            }
            _ => drop(self.fetches.remove(&id)),
        }
    }

    /// The blocks turn out to be what the tip then is.
    fn inserted(&mut self, id: FetchId, outcome: FetchOutcome) {
        if let FetchOutcome::Inserted { tip } = outcome {
            self.local = tip;
        }
        self.fetches.remove(&id);
        self.sync.inserted(id, outcome, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        if self.sync.next_timeout().is_some_and(|at| at <= self.now) {
            self.sync.timeout(self.now);
        }
    }
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let choice = input.u8();
    let peer = node(choice >> 4 & 7);
    let ids: Vec<_> = world.fetches.keys().copied().collect();
    match choice % 16 {
        0 | 1 => {
            world.connected.insert(peer);
            world.sync.connected(peer);
        }
        2 => world.disconnect(peer),
        3 | 4 => world.sync.heard(peer, Height(input.number()), world.now),
        5 => world.sync.behind(peer, Height(input.number()), world.now),
        6 => world.sync.look(world.now),
        7 => {
            // Gossip brought a block.
            world.local = world.local.next();
            world.sync.set_tip(world.local, world.now);
        }
        8 => world.sync.set_gossiping(!input.flag(), world.now),
        9 | 10 => {
            let Some(&id) = input.pick(&ids).filter(|id| world.fetches[id].inserting == 0) else { return };
            world.answered(id, u64::from(input.u8()), Height(input.number()));
        }
        11 => {
            let Some(&id) = input.pick(&ids).filter(|id| world.fetches[id].inserting == 0) else { return };
            let failure = match input.u8() % 5 {
                0 => Failure::Broken,
                1 => Failure::Refused(Error::RateLimited { retry_after: Duration::from_millis(input.u64()) }),
                2 => Failure::Refused(Error::Busy),
                3 => Failure::Refused(Error::Unavailable { lowest: Height(input.number()) }),
                _ => Failure::Refused(Error::Malformed),
            };
            world.fetches.remove(&id);
            world.sync.failed(id, &failure, world.now);
        }
        12 | 13 => {
            let Some(&id) = input.pick(&ids).filter(|id| world.fetches[id].inserting > 0) else { return };
            let Fetch { from, inserting, .. } = world.fetches[&id];
            let reached = from.plus(inserting).minus(1);
            let outcome = match input.u8() % 4 {
                // Only blocks that follow the tip move it.
                0 if from <= world.local.next() => FetchOutcome::Inserted { tip: world.local.max(reached) },
                1 => FetchOutcome::NeedsParent,
                2 => FetchOutcome::Invalid,
                _ => FetchOutcome::Inserted { tip: world.local },
            };
            world.inserted(id, outcome);
        }
        _ => world.pass(Duration::from_millis(input.number().min(1 << 20) * 100)),
    }
}

/// Everybody else leaves, and a peer stays whose chain is the own one and longer.
fn follow_an_honest_peer(world: &mut World) {
    for peer in world.connected.clone() {
        world.disconnect(peer);
        world.outputs();
    }
    for id in world.fetches.keys().copied().collect::<Vec<_>>() {
        world.inserted(id, FetchOutcome::Invalid);
    }
    world.outputs();
    let (honest, target) = (node(99), world.local.plus(50));
    world.connected.insert(honest);
    world.sync.connected(honest);
    world.sync.heard(honest, target, world.now);
    for _ in 0..PATIENCE {
        world.outputs();
        if world.local >= target {
            return;
        }
        for (id, fetch) in world.fetches.clone() {
            assert_eq!(fetch.node, honest);
            if fetch.inserting > 0 {
                let reached = fetch.from.plus(fetch.inserting).minus(1);
                let fits = fetch.from <= world.local.next();
                let tip = world.local.max(reached);
                world.inserted(id, if fits { FetchOutcome::Inserted { tip } } else { FetchOutcome::NeedsParent });
            } else {
                let count = (target.0 + 1).saturating_sub(fetch.from.0).min(PAGE);
                world.answered(id, count, target);
            }
        }
        let wait = world.sync.next_timeout().map_or(Duration::from_secs(1), |at| at.since(world.now));
        world.pass(wait.max(Duration::from_millis(1)));
    }
    unreachable!("at {} and not at {target}: it does not ask the one who has it", world.local);
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (now, local) = (Monotonic(Duration::from_secs(1000)), Height(u64::from(input.u8())));
    let sync = Sync::new(node(0), local, now);
    let mut world = World { sync, connected: BTreeSet::new(), fetches: BTreeMap::new(), local, now };
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.outputs();
    }
    follow_an_honest_peer(&mut world);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        // Connected, heard of more, answered, inserted.
        vec![5, 0x10, 0x13, 60, 9, 0, 20, 60, 12, 0, 0, 9, 0, 20, 60, 12, 0, 0],
        // On another branch: asked from further back.
        vec![40, 0x10, 0x20, 0x13, 60, 0x24, 70, 9, 0, 20, 60, 12, 0, 1, 9, 0, 20, 60, 12, 0, 1, 14, 200],
        // Heights that nobody has, and nothing behind them.
        vec![9, 0x10, 0x13, 0xff, 9, 0, 0, 0xff, 14, 40, 9, 0, 0, 0xff, 11, 0, 3, 0xff],
    ]
}
