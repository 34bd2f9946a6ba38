//! A node's repair with members that answer anything, late, or not at all: there is one request on its way at a time,
//! it can be sent, and it goes to a member.

use std::collections::BTreeSet;
use std::time::Duration;

use sotto_behaviours::replication::{Member, Repair, RepairAct, Taken, respond};
use sotto_proto::id::{Height, ItemId, NodeId, SwarmId};
use sotto_proto::limits::PAGE_ITEMS;
use sotto_proto::request::{Item, Message as _, RepairRequest, RepairResponse};
use sotto_proto::time::{Monotonic, UnixSeconds};

use crate::fixtures::{NOW, node, rng};
use crate::input::Input;
use crate::reconcile::SETS;

/// So long may the disk stand still before what is under way is left; a member may not keep it waiting for so long.
const STALLED: Duration = Duration::from_secs(60);
/// Steps of one input.
const STEPS: usize = 64;

/// What the machine waits for.
enum Waiting {
    Nothing,
    Answer(RepairRequest),
    Taken,
    Read,
}

struct World {
    repair: Repair,
    waiting: Waiting,
    members: BTreeSet<NodeId>,
    now: Monotonic,
    /// When it last went on.
    moved: Monotonic,
}

impl World {
    fn member(&self) -> Member<'static> {
        let time = UnixSeconds(NOW.0 + self.now.0.as_secs());
        Member { swarm: SwarmId(0), height: Height(130), set: &SETS[0], now: self.now, time }
    }

    fn take(&mut self, act: Option<RepairAct>) {
        self.moved = self.now;
        self.waiting = match act {
            None => Waiting::Nothing,
            Some(RepairAct::Ask { node, request }) => {
                assert!(self.members.contains(&node), "asks somebody who is no member");
                assert!(request.clone().encode().is_ok(), "a request that cannot be sent");
                Waiting::Answer(request)
            }
            Some(RepairAct::Take { from, items }) => {
                assert!(self.members.contains(&from) && items.len() <= PAGE_ITEMS);
                Waiting::Taken
            }
            Some(RepairAct::Read { ids }) => {
                assert!((1..=PAGE_ITEMS).contains(&ids.len()));
                assert!(
                    ids.iter().all(|id| SETS[0].iter().any(|entry| entry.id == *id)),
                    "gives what it does not have"
                );
                Waiting::Read
            }
        };
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let response = match (input.u8() % 4, &self.waiting) {
            (0, Waiting::Answer(request)) => Some(honest(request)),
            (1, _) => None,
            (2, _) => {
                let items = (0..input.below(4)).map(|_| Item::Record(vec![input.u8(); 1700])).collect();
                Some(RepairResponse::Items { items, more: !input.flag() })
            }
            _ => RepairResponse::decode(input.chunk()).ok(),
        };
        let act = self.repair.answered(&self.member(), response);
        self.take(act);
    }
}

/// What a member says that has the other set, and no bytes of anything.
fn honest(request: &RepairRequest) -> RepairResponse {
    match request {
        RepairRequest::Summary(summary) => {
            RepairResponse::Summary { equal: *summary == SETS[1].view(summary.scope).summary() }
        }
        RepairRequest::Reconcile { scope, message } => {
            let message = respond(&SETS[1].view(*scope), message).expect("our own message");
            RepairResponse::Reconcile { message }
        }
        RepairRequest::Fetch { .. } => RepairResponse::Items { items: Vec::new(), more: false },
        RepairRequest::Give { .. } => RepairResponse::Taken,
    }
}

fn some_ids(input: &mut Input<'_>) -> BTreeSet<ItemId> {
    let (start, count) = (input.below(300), input.below(20));
    SETS[input.below(2)].iter().skip(start).take(count).map(|entry| entry.id).collect()
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let now = Monotonic(Duration::from_secs(1));
    let mut world =
        World { repair: Repair::default(), waiting: Waiting::Nothing, members: BTreeSet::new(), now, moved: now };
    let mut rng = rng(4);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match (input.u8() % 8, &world.waiting) {
            (0, Waiting::Nothing) => {
                let mask = input.u8();
                world.members = (0..8).filter(|n| mask >> n & 1 == 1).map(node).collect();
                world.repair.set_members(world.members.clone());
            }
            (1, _) => world.now = world.now.plus(Duration::from_millis(input.number().min(1 << 20) * 500)),
            (2, Waiting::Nothing) => world.repair.restart(),
            (3, Waiting::Taken) => {
                let (kept, postponed) = (input.below(20), !input.flag());
                let taken = Taken { received: some_ids(&mut input), kept, refused: kept / 2, postponed };
                let act = world.repair.took(&world.member(), &taken);
                world.take(act);
            }
            (4, Waiting::Read) => {
                let items = (0..input.below(4)).map(|_| Item::Delete(vec![1; 200])).collect();
                let settled = some_ids(&mut input);
                let act = world.repair.read(&world.member(), items, &settled);
                world.take(act);
            }
            (5, _) => world.answer(&mut input),
            _ => {
                let act = world.repair.poll(&world.member(), &mut rng);
                if act.is_some() {
                    let left = match world.waiting {
                        Waiting::Nothing => true,
                        Waiting::Answer(_) => world.now > world.moved,
                        Waiting::Taken | Waiting::Read => world.now.since(world.moved) >= STALLED,
                    };
                    assert!(left, "asks while something is under way");
                    world.take(act);
                }
            }
        }
    }
    assert!(world.repair.wake_at().is_none_or(|at| at <= world.now.plus(Duration::from_secs(61))));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let compared = [5, 0, 5, 0, 5, 0, 5, 0];
    vec![
        [&[0, 7, 7][..], &compared, &[5, 2, 2, 9, 9, 0], &[3, 5, 1, 0, 9, 0, 4], &compared].concat(),
        [&[0, 1, 7][..], &compared, &compared, &[4, 3, 0, 30, 4, 0], &compared].concat(),
        vec![0, 3, 7, 5, 1, 1, 60, 7, 1, 200, 7, 2, 7],
    ]
}
