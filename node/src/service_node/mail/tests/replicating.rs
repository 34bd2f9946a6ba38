//! Several nodes, and what goes between them: joining, coming back, deleting, handing over.

use sotto_behaviours::network::RequestError;
use sotto_proto::request::{
    Item, Message as _, OfferRequest, OfferResponse, RepairRequest, RepairResponse, Scope, Summary,
};

use super::*;
use crate::service_node::message::{ReplyId, To};

/// Nodes by number, each connected to all others that are not cut off.
pub(super) struct World {
    pub(super) nodes: BTreeMap<u32, Bench>,
    /// Who waits for which answer.
    asked: BTreeMap<ReplyId, (u32, Tag)>,
    replies: u64,
    /// Bytes of all requests and answers.
    bytes: usize,
}

impl World {
    /// These nodes, with nothing on their disks, as if they had just started.
    pub(super) fn of(numbers: &[u32]) -> Self {
        Self::on(numbers, &Disk::default())
    }

    /// The same, each with a copy of this disk.
    pub(super) fn on(numbers: &[u32], disk: &Disk) -> Self {
        let newcomer = |n: &u32| (*n, Bench::newcomer(*n, disk.clone(), MailLimits::default()));
        Self { nodes: numbers.iter().map(newcomer).collect(), asked: BTreeMap::new(), replies: 0, bytes: 0 }
    }

    pub(super) fn at(&mut self, number: u32) -> &mut Bench {
        self.nodes.get_mut(&number).unwrap()
    }

    /// Everybody hears of everybody, and all that follows happens.
    pub(super) fn connect(&mut self) {
        let numbers: Vec<u32> = self.nodes.keys().copied().collect();
        for (number, bench) in &mut self.nodes {
            for other in numbers.iter().filter(|other| *other != number) {
                bench.mail.on_connection(node(*other), true);
            }
            bench.act(|_, _, _| ());
        }
        self.deliver();
    }

    /// A node starts again from what a loss of power leaves of its disk.
    fn restart(&mut self, number: u32) {
        let bench = self.nodes.remove(&number).unwrap();
        self.nodes.insert(number, bench.restarted());
        self.connect();
    }

    /// Time passes in small steps, and messages arrive at once.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.nodes.values_mut().for_each(|bench| bench.pass(1000));
            self.deliver();
        }
    }

    /// Delivers what the nodes send until they are silent.
    pub(super) fn deliver(&mut self) {
        for _ in 0..100_000 {
            let Some((from, to, message)) = self.next_message() else { return };
            match message {
                Outgoing::Request { tag, request } => self.request(from, to, tag, request),
                Outgoing::Response { reply, response } => {
                    let (asker, tag) = self.asked.remove(&reply).expect("answered once");
                    let response = self.on_the_wire(response);
                    self.at(asker).act(|mail, env, out| mail.on_member_answer(tag, Ok(response), env, out));
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("they talk for ever");
    }

    fn next_message(&mut self) -> Option<(u32, NodeId, Outgoing)> {
        for (number, bench) in &mut self.nodes {
            let at = bench.outputs.iter().position(|output| matches!(output, Output::Send { .. }));
            if let Some(Output::Send { to: To::Node(to), message }) = at.map(|at| bench.outputs.remove(at)) {
                return Some((*number, to, message));
            }
        }
        None
    }

    fn request(&mut self, from: u32, to: NodeId, tag: Tag, request: Request) {
        let known = self.nodes.keys().copied().find(|number| node(*number) == to);
        let Some(to) = known else {
            let failed = Err(RequestError::Unreachable);
            return self.at(from).act(|mail, env, out| mail.on_member_answer(tag, failed, env, out));
        };
        self.replies += 1;
        let reply = ReplyId(self.replies);
        self.asked.insert(reply, (from, tag));
        let asker = Asker { node: node(from), reply };
        match request {
            Request::Repair(request) => {
                let bytes = request.encode().unwrap();
                self.bytes += bytes.len();
                let request = RepairRequest::decode(&bytes).unwrap();
                self.at(to).act(|mail, env, out| mail.on_repair(asker, request, env, out));
            }
            Request::Offer(request) => {
                let bytes = request.encode().unwrap();
                self.bytes += bytes.len();
                let request = OfferRequest::decode(&bytes).unwrap();
                self.at(to).act(|mail, env, out| mail.on_offer(asker, request, env, out));
            }
            other => panic!("{other:?}"),
        }
    }

    /// An answer as the other side reads it.
    fn on_the_wire(&mut self, response: Response) -> Response {
        let (bytes, read) = match response {
            Response::Repair(response) => {
                let bytes = response.encode().unwrap();
                (bytes.len(), Response::Repair(RepairResponse::decode(&bytes).unwrap()))
            }
            Response::Offer(response) => {
                let bytes = response.encode().unwrap();
                (bytes.len(), Response::Offer(OfferResponse::decode(&bytes).unwrap()))
            }
            other => panic!("{other:?}"),
        };
        self.bytes += bytes;
        read
    }

    fn follow(&mut self, view: &NetworkView) {
        for bench in self.nodes.values_mut() {
            bench.view = view.clone();
            bench.follow();
        }
        self.deliver();
    }

    /// How many nodes have it where readers find it.
    fn holders(&self, record: &Record) -> Vec<u32> {
        let has = |bench: &Bench| {
            let id = id(bench, record);
            bench.mail.index.find(&id).is_some_and(|held| held.durable)
        };
        self.nodes.iter().filter(|(_, bench)| has(bench)).map(|(number, _)| *number).collect()
    }
}

pub(super) fn many(count: u8) -> Vec<Record> {
    (0..count).map(record).collect()
}

#[test]
fn a_joiner_ends_up_with_everything_and_says_so_then() {
    let mut world = World::of(&[0, 1, 2, 3]);
    let records = many(40);
    for record in &records {
        assert!(is_stored(&world.at(0).store(record)));
    }
    let delete = world.at(0).signed_delete(&owner(), &[&records[0], &records[1]]);
    assert_eq!(world.at(0).gossip_delete(&delete), Verdict::Accept);
    assert!(world.at(3).mail.is_syncing());
    world.pass(20);
    world.connect();
    for number in 0..4 {
        let bench = world.at(number);
        assert!(!bench.mail.is_syncing(), "{number}");
        assert_eq!((bench.mail.records(), bench.mail.index.tombstone_count()), (38, 2), "{number}");
        assert_eq!(bench.read_all(&owner()).len(), 38);
    }
    assert_eq!(world.at(3).mail.counts().from_repair, 38);
}

#[test]
fn what_only_a_newcomer_has_reaches_the_others_at_once() {
    let mut world = World::of(&[0, 1, 2]);
    assert!(is_stored(&world.at(2).store(&record(1))));
    world.pass(20);
    world.connect();
    assert_eq!(world.holders(&record(1)), [0, 1, 2]);
}

#[test]
fn a_node_that_was_away_has_everything_after_it_came_back() {
    let mut world = World::of(&[0, 1, 2]);
    for record in many(20) {
        world.at(0).store(&record);
    }
    world.pass(20);
    world.connect();
    let away = world.nodes.remove(&2).unwrap();
    for n in 20..60 {
        assert!(is_stored(&world.at(0).store(&record(n))));
    }
    world.pass(40);
    let mut away = away.restarted();
    away.now = world.at(0).now;
    assert_eq!(away.mail.records(), 20, "what was on its disk is there");
    world.nodes.insert(2, away);
    world.connect();
    assert_eq!(world.at(2).mail.records(), 60);
    assert!(!world.at(2).mail.is_syncing());
    world.restart(2);
    assert_eq!(world.at(2).mail.records(), 60, "and it is there for good");
}

#[test]
fn equal_members_tell_each_other_so_in_some_hundred_bytes() {
    let mut world = World::of(&[0, 1, 2]);
    for record in many(30) {
        world.at(0).store(&record);
    }
    world.pass(20);
    world.connect();
    assert_eq!(world.holders(&record(29)), [0, 1, 2]);
    world.bytes = 0;
    world.pass(120);
    // Six cycles, and once more each after they came.
    let (others, cycles) = (2, 6);
    let rounds = 3 * others * (cycles + 1);
    assert!(world.bytes > 0 && world.bytes <= rounds * 80, "{} bytes", world.bytes);
}

#[test]
fn a_tombstone_wins_whoever_has_it_and_whoever_asks() {
    for buries in [0, 1] {
        let mut world = World::of(&[0, 1]);
        let (gone, kept) = (record(1), record(2));
        for number in [0, 1] {
            assert_eq!(world.at(number).gossip_record(&gone), Verdict::Accept);
            assert_eq!(world.at(number).gossip_record(&kept), Verdict::Accept);
        }
        let delete = world.at(buries).signed_delete(&owner(), &[&gone]);
        assert_eq!(world.at(buries).gossip_delete(&delete), Verdict::Accept);
        world.pass(20);
        world.connect();
        assert_eq!((world.holders(&gone), world.holders(&kept)), (vec![], vec![0, 1]));
        world.bytes = 0;
        world.pass(60);
        assert!(world.bytes < 1000, "they agree: {} bytes", world.bytes);
        assert!((0..2).all(|number| world.nodes[&number].mail.index.tombstone_count() == 1));
    }
}

#[test]
fn a_joiner_whose_disk_refuses_has_not_caught_up_and_gets_everything_later() {
    let mut world = World::of(&[0, 1, 2, 3]);
    for record in many(5) {
        for number in 0..3 {
            assert_eq!(world.at(number).gossip_record(&record), Verdict::Accept);
        }
    }
    world.pass(20);
    world.at(3).prompt = false;
    world.connect();
    let mut refused = 0;
    loop {
        let persists = world.at(3).take_persists();
        if persists.is_empty() {
            break;
        }
        for (_, token, _) in persists {
            world.at(3).fail(token);
            refused += 1;
        }
        world.deliver();
        assert!(refused < 100);
    }
    assert!(refused > 0 && world.at(3).mail.is_syncing());
    assert_eq!(world.at(3).mail.records(), 0);
    world.at(3).prompt = true;
    world.pass(10);
    assert_eq!(world.at(3).mail.records(), 5);
    assert!(!world.at(3).mail.is_syncing());
}

/// Node 0 was taken out of its swarm by the other one; node 5 went the other way.
pub(super) fn stolen(height: u64) -> NetworkView {
    let genesis = TestChain::new().genesis;
    let before = view(&genesis, Height(130));
    let sorted = |numbers: &[u32]| {
        let mut members: Vec<_> = numbers.iter().map(|n| node(*n)).collect();
        members.sort_unstable();
        members
    };
    let swarms = [(MINE, sorted(&[1, 2, 3, 4, 5])), (OTHER, sorted(&[0, 6, 7, 8, 9]))];
    let mut snapshot = before.current().clone();
    snapshot.height = Height(height);
    for (swarm, members) in &swarms {
        for member in members {
            let record = NodeRecord { swarm: Some(*swarm), ..(*snapshot.nodes[member]).clone() };
            snapshot.nodes.insert(*member, Arc::new(record));
        }
    }
    snapshot.swarms = SwarmMap::from_parts(swarms, Vec::new()).unwrap();
    let earlier = before.recent().map(|snapshot| Arc::new(snapshot.clone())).take(15).collect();
    NetworkView::new(before.chain, Height(height + 3), false, Arc::new(snapshot), earlier)
}

#[test]
fn a_former_owner_erases_only_what_two_owners_have_on_disk() {
    let mut world = World::of(&[0, 1, 2, 3]);
    let records = many(25);
    for record in &records {
        assert!(is_stored(&world.at(0).store(record)));
    }
    let delete = world.at(0).signed_delete(&owner(), &[&records[24]]);
    world.at(0).gossip_delete(&delete);
    // The owners' disks do not move: they have been handed everything, and nothing of it is safe.
    for number in 1..4 {
        world.at(number).prompt = false;
    }
    world.follow(&stolen(131));
    assert_eq!(world.at(0).mail.records(), 24);
    assert!((1..4).any(|number| world.nodes[&number].mail.records() == 24), "one of them has it in memory");
    // One has it on disk now. That is not enough.
    let first = (1..4).find(|number| world.nodes[number].mail.records() == 24).unwrap();
    world.at(first).serve_disk();
    world.deliver();
    assert_eq!(world.at(0).mail.records(), 24);
    for number in 1..4 {
        world.at(number).prompt = true;
        world.at(number).serve_disk();
    }
    world.deliver();
    for record in &records[..24] {
        let holders = world.holders(record);
        assert!(holders.len() >= 2 && !holders.contains(&0), "{holders:?}");
    }
    assert_eq!((world.at(0).mail.records(), world.at(0).mail.index.tombstone_count()), (0, 0));
    let rows = world.at(0).disk.written.rows(Family::Misc, b"c", b"d", 9).unwrap();
    assert_eq!(rows, [], "the confirmations are gone with it");
    world.restart(0);
    assert_eq!(world.at(0).mail.records(), 0);
}

#[test]
fn a_former_owner_keeps_what_nobody_takes_and_serves_it() {
    let mut world = World::of(&[0]);
    for record in many(10) {
        assert!(is_stored(&world.at(0).store(&record)));
    }
    world.follow(&stolen(131));
    world.pass(120);
    assert_eq!(world.at(0).mail.records(), 10);
    world.restart(0);
    assert_eq!(world.at(0).read_all(&owner()).len(), 10);
    world.nodes.insert(1, Bench::newcomer(1, Disk::default(), MailLimits::default()));
    world.nodes.insert(3, Bench::newcomer(3, Disk::default(), MailLimits::default()));
    let now = world.at(0).now;
    world.nodes.values_mut().for_each(|bench| bench.now = now);
    world.follow(&stolen(131));
    world.pass(40);
    assert_eq!(world.at(0).mail.records(), 0, "there are two now");
    assert_eq!(world.holders(&record(9)), [1, 3]);
}

/// What node 0 answers to a peer.
fn answer_to(bench: &mut Bench, peer: u32, request: RepairRequest) -> RepairResponse {
    let asker = Asker { node: node(peer), reply: ReplyId(9) };
    bench.act(|mail, env, out| mail.on_repair(asker, request, env, out));
    let mut answers = bench.take(|output| match output {
        Output::Send { message: Outgoing::Response { response: Response::Repair(response), .. }, .. } => {
            Some(response.clone())
        }
        _ => None,
    });
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn scope_of(bench: &Bench, swarm: SwarmId) -> Scope {
    let now = bench.seconds();
    Scope { height: Height(130), swarm, until: now, cutoff: now }
}

fn fetch(scope: Scope, records: &[&Record], bench: &Bench) -> RepairRequest {
    let ids = records.iter().map(|record| id(bench, record).into()).collect();
    RepairRequest::Fetch { scope, ids, max_bytes: u32::MAX }
}

#[test]
fn members_see_their_own_swarm_and_nothing_else() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    let (own, other) = (scope_of(&bench, MINE), scope_of(&bench, OTHER));
    let empty = |scope| RepairRequest::Summary(Summary { scope, count: 0, fingerprint: [0; 16].into() });
    assert_eq!(answer_to(&mut bench, 1, empty(own)), RepairResponse::Summary { equal: false });
    for (peer, scope) in [(1, other), (6, own), (6, other), (77, own)] {
        let refused = RepairResponse::Error(Error::Unauthorized);
        let asked = fetch(scope, &[&record(1)], &bench);
        assert_eq!(answer_to(&mut bench, peer, empty(scope)), refused, "{peer}");
        assert_eq!(answer_to(&mut bench, peer, asked), refused, "{peer}");
    }
    let asked = fetch(own, &[&record(1), &record(2)], &bench);
    let RepairResponse::Items { items, more: false } = answer_to(&mut bench, 1, asked) else { panic!() };
    assert_eq!(items, [Item::Record(record(1).encode())], "what is not there is left out");
    // A former owner shows members of its new swarm nothing of its old one.
    bench.view = stolen(131);
    bench.follow();
    let other = Scope { height: Height(131), ..other };
    let asked = fetch(other, &[&record(1)], &bench);
    assert_eq!(answer_to(&mut bench, 6, asked), RepairResponse::Items { items: vec![], more: false });
}

#[test]
fn scopes_of_other_times_and_heights_are_refused() {
    let mut bench = Bench::new();
    let own = scope_of(&bench, MINE);
    let ask = |scope| RepairRequest::Summary(Summary { scope, count: 0, fingerprint: [0; 16].into() });
    for height in [0, 114, 131] {
        let refused = RepairResponse::Error(Error::Unavailable { lowest: Height(115) });
        assert_eq!(answer_to(&mut bench, 1, ask(Scope { height: Height(height), ..own })), refused);
    }
    let now = bench.seconds();
    let late = Scope { until: UnixSeconds(now.0 - 301), ..own };
    assert_eq!(answer_to(&mut bench, 1, ask(late)), RepairResponse::Error(Error::ClockSkew { now }));
}

#[test]
fn one_bad_item_in_a_page_harms_no_other_and_a_page_is_one_write() {
    let mut bench = Bench::new();
    bench.prompt = false;
    let scope = scope_of(&bench, MINE);
    let items = vec![
        Item::Record(record(1).encode()),
        Item::Record(vec![1, 2, 3]),
        Item::Record(Draft::to(&owner()).without_work(2).encode()),
        Item::Record(Draft::to(&owner_in(OTHER, 0)).record(3).encode()),
        Item::Delete(vec![9; 200]),
        Item::Delete(bench.signed_delete(&owner_in(MINE, 1), &[&record(1)]).encode()),
        Item::Record(record(4).encode()),
    ];
    let taken = answer_to(&mut bench, 1, RepairRequest::Give { scope, items });
    assert_eq!(taken, RepairResponse::Taken);
    let persists = bench.outputs.iter().filter(|output| matches!(output, Output::Persist { .. })).count();
    assert_eq!(persists, 1);
    bench.serve_disk();
    bench.prompt = true;
    let all = bench.read_all(&owner());
    assert_eq!(all, [record(1).encode(), record(4).encode()], "another's delete of it means nothing");
}

#[test]
fn an_offer_is_told_what_lacks_and_a_hand_over_what_is_on_disk() {
    let mut bench = Bench::new();
    bench.store(&record(1));
    bench.store(&record(2));
    bench.delete(&owner(), &[&record(2)]);
    let offer = |bench: &mut Bench, request| {
        let asker = Asker { node: node(8), reply: ReplyId(9) };
        bench.act(|mail, env, out| mail.on_offer(asker, request, env, out));
    };
    let answers = |bench: &mut Bench| {
        bench.take(|output| match output {
            Output::Send { message: Outgoing::Response { response: Response::Offer(response), .. }, .. } => {
                Some(response.clone())
            }
            _ => None,
        })
    };
    let ids: Vec<ItemId> = [1, 2, 3].map(|n| id(&bench, &record(n)).into()).to_vec();
    let tombstone = ItemId::tombstone(&Address::mailbox(&owner().public()), &id(&bench, &record(2)));
    offer(&mut bench, OfferRequest::Offer([ids.clone(), vec![tombstone]].concat()));
    let [OfferResponse::Wanted(wanted)] = &answers(&mut bench)[..] else { panic!() };
    assert!(wanted.of(4).unwrap().eq([false, true, true, false]));

    bench.prompt = false;
    let items = [1, 2, 3].map(|n| Item::Record(record(n).encode())).to_vec();
    offer(&mut bench, OfferRequest::Hand(items));
    assert_eq!(answers(&mut bench), [], "not before it is on disk");
    bench.serve_disk();
    let durable = answers(&mut bench);
    assert_eq!(durable, [OfferResponse::Durable(ids)], "the deleted one need not be kept either");
    bench.prompt = true;
    assert_eq!(bench.read_all(&owner()), [record(1).encode(), record(3).encode()]);
}

#[test]
fn what_is_handed_over_and_cannot_be_written_is_not_confirmed() {
    let mut bench = Bench::new();
    bench.prompt = false;
    let asker = Asker { node: node(8), reply: ReplyId(9) };
    let hand = OfferRequest::Hand(vec![Item::Record(record(1).encode())]);
    bench.act(|mail, env, out| mail.on_offer(asker, hand, env, out));
    let (_, token, _) = bench.take_persists().remove(0);
    bench.fail(token);
    let durable = bench.take(|output| match output {
        Output::Send { message: Outgoing::Response { response, .. }, .. } => Some(response.clone()),
        _ => None,
    });
    assert_eq!(durable, [Response::Offer(OfferResponse::Durable(vec![]))]);
    assert_eq!(bench.mail.records(), 0);
}
