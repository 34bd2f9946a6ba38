//! A node that dies while it stores, acknowledges and publishes: whatever it gave a receipt for is served by it,
//! byte-identical, in its next life, and in the end by the other members of its swarm.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sotto_behaviours::tunnel::Tunnel;
use sotto_node::event_loop::KillPoint;
use sotto_proto::address::Address;
use sotto_proto::id::RecordId;
use sotto_proto::request::{Cursor, Error, PublishOrder, Read, Retrieve, SignedRead, SwarmRequest, SwarmResponse};
use sotto_proto::sign::{Ed25519, SigningKey};
use sotto_proto::time::UnixSeconds;

use super::SEEDS;
use super::disk::{self, Maker, Records};
use super::layout::{Layout, MINE, node, owner_in};
use super::life::{Moment, What};
use super::process::{Draws, LOOK, Life, PATIENCE, left_by};
use super::world::World;

/// Of how many passings of a moment one is drawn.
const PASSINGS: u64 = 8;
/// Tunnels that store at once.
const TUNNELS: usize = 3;
/// So much younger than this is left out when members compare; in seconds, with some to spare.
const SETTLED: u64 = 15;

/// The client: what it sent, what it has receipts for, and how far it has read.
struct Client {
    owner: SigningKey,
    maker: Maker,
    sent: Records,
    acknowledged: Records,
    /// Acknowledged since the last reading.
    unread: Vec<RecordId>,
    cursor: Cursor,
}

impl Client {
    fn new(world: &World) -> Self {
        Self {
            owner: owner_in(MINE, &world.layout.view(), 0),
            maker: Maker::default(),
            sent: Records::new(),
            acknowledged: Records::new(),
            unread: Vec::new(),
            cursor: Cursor::default(),
        }
    }

    fn record(&mut self, world: &World) -> (RecordId, Vec<u8>) {
        let now = world.layout.clock().now().seconds();
        let (id, bytes) = self.maker.make(&self.owner, now, 1664);
        self.sent.insert(id, bytes.clone());
        (id, bytes)
    }

    fn heard(&mut self, id: RecordId, answer: &SwarmResponse) {
        let (receipt, signature) = match answer {
            SwarmResponse::Stored { receipt, signature } => (receipt, signature),
            SwarmResponse::Error(Error::Busy) => return,
            other => panic!("{other:?}"),
        };
        assert_eq!((receipt.id, receipt.node), (id, node(0)));
        assert!(receipt.verify(&Layout::chain(), signature, &Ed25519));
        self.acknowledged.insert(id, self.sent[&id].clone());
        self.unread.push(id);
    }

    fn question(&self, time: UnixSeconds) -> SwarmRequest {
        let address = Address::mailbox(&self.owner.public());
        let read = Read { node: node(0), address, time, cursor: self.cursor, max_bytes: 1 << 20 };
        SwarmRequest::Retrieve(SignedRead::<Retrieve>::sign(read, &self.owner, &Layout::chain()))
    }

    /// Reads on from where it was: everything acknowledged since must be there, and nothing that was never sent. False if
    /// the node dies before.
    async fn read(&mut self, world: &mut World, life: &Life) -> bool {
        let (mut served, before) = (BTreeMap::new(), self.cursor);
        loop {
            let clock = world.layout.clock();
            let question = || self.question(clock.now().seconds());
            let Some((_, answer)) = world.tunnel(life, &question).await else {
                self.cursor = before;
                return false;
            };
            let SwarmResponse::Records(records) = answer else { panic!("{answer:?}") };
            self.cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
            for stored in records.records {
                let record = sotto_proto::envelope::Record::decode(&stored.record).unwrap();
                served.insert(record.envelope().id(&Layout::chain()), stored.record);
            }
            if !records.more {
                break;
            }
        }
        for id in self.unread.drain(..) {
            assert_eq!(served.get(&id), Some(&self.acknowledged[&id]), "an acknowledged record is not served");
        }
        for (id, bytes) in &served {
            assert_eq!(self.sent.get(id), Some(bytes), "something is served that was never sent");
        }
        true
    }

    /// Stores in tunnels at once, until the node dies.
    async fn store(&mut self, world: &mut World, life: &Life) {
        let mut tunnels: Vec<Option<Tunnel>> = Vec::new();
        while life.is_alive() {
            let mut records: Vec<_> = (0..TUNNELS).map(|_| self.record(world)).collect();
            if tunnels.len() < TUNNELS {
                let (id, bytes) = records.pop().unwrap();
                let request = || store(&bytes);
                let Some((tunnel, answer)) = world.tunnel(life, &request).await else { return };
                self.heard(id, &answer);
                tunnels.push(Some(tunnel));
                continue;
            }
            let asked = tunnels.drain(..).flatten().zip(records).map(|(mut tunnel, (id, bytes))| async move {
                let answer = tunnel.request(store(&bytes)).await;
                (tunnel, id, answer)
            });
            let tasks: Vec<_> = asked.map(tokio::spawn).collect();
            for task in tasks {
                if let (tunnel, id, Ok(answer)) = task.await.unwrap() {
                    self.heard(id, &answer);
                    tunnels.push(Some(tunnel));
                }
            }
        }
    }
}

fn store(bytes: &[u8]) -> SwarmRequest {
    SwarmRequest::Store { record: bytes.to_vec(), publish_order: PublishOrder::First }
}

/// Everything that has a receipt lies on the disk as it was sent.
fn lost<'a>(acknowledged: &'a Records, disk: &Records) -> Vec<&'a RecordId> {
    acknowledged.iter().filter(|(id, bytes)| disk.get(id) != Some(bytes)).map(|(id, _)| id).collect()
}

async fn kill(subnet: u8, moments: &[Moment]) {
    let mut world = World::new(subnet).await;
    let (mut client, mut draws) = (Client::new(&world), Draws(subnet.into()));
    for moment in moments {
        let before = client.acknowledged.len();
        for seed in 0..SEEDS {
            let what = format!("{moment:?}, seed {seed}");
            let life = world.start(*moment, draws.below(PASSINGS)).await;
            client.read(&mut world, &life).await;
            client.store(&mut world, &life).await;
            life.died(&what).await;
            let disk = left_by(&world.datadir());
            assert_eq!(lost(&client.acknowledged, &disk), Vec::<&RecordId>::new(), "{what}");
            assert!(disk.iter().all(|(id, bytes)| client.sent.get(id) == Some(bytes)), "{what}: never sent");
        }
        println!("{moment:?}: {SEEDS} deaths, {} records acknowledged, 0 lost", client.acknowledged.len() - before);
    }
    agree(&mut world, &mut client).await;
}

/// The last life: all members come to hold what was acknowledged, under one digest, and node 0 serves it.
async fn agree(world: &mut World, client: &mut Client) {
    world.layout.ahead.fetch_add(1000 * SETTLED, Ordering::Relaxed);
    let mut life = world.start(Moment::Never, 0).await;
    client.cursor = Cursor::default();
    client.unread = client.acknowledged.keys().copied().collect();
    assert!(client.read(world, &life).await, "node 0 died in its last life");
    let began = Instant::now();
    loop {
        let own = life.status();
        let (first, second) = (world.status_of(1).await, world.status_of(2).await);
        let digests = [&own, &first, &second].map(|status| (status.records, status.swarm_digest.clone()));
        let whole = own.records >= client.acknowledged.len();
        if whole && digests.iter().all(|digest| *digest == digests[0]) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "members do not agree: {digests:?}");
        tokio::time::sleep(10 * LOOK).await;
    }
    for member in [1, 2] {
        assert_eq!(
            lost(&client.acknowledged, &disk::read(world.disk_of(member))),
            Vec::<&RecordId>::new(),
            "at member {member}"
        );
    }
    println!("all three members hold all {} after {:?}", client.acknowledged.len(), began.elapsed());
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_stores_serves_all_that_it_acknowledged() {
    let of_store = [Moment::Unwritten, Moment::Unsynced, Moment::Synced];
    kill(31, &of_store.map(|moment| moment(What::Records))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_acknowledges_and_publishes_serves_all_that_it_acknowledged() {
    use KillPoint::{Durable, Published, Publishing, Told};
    kill(32, &[Durable, Told, Publishing, Published].map(Moment::Loop)).await;
}

/// The check of the check: in one life or another an acknowledgement overtakes the write (which of the two is first
/// is the scheduler's, so a life alone may lose nothing).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_that_acknowledges_before_it_writes_is_found_to_lose_that() {
    let mut world = World::new(36).await;
    let mut client = Client::new(&world);
    for seed in 0..SEEDS {
        let life = world.start(Moment::Late, 4 + seed % PASSINGS).await;
        client.store(&mut world, &life).await;
        life.died("acknowledging too early").await;
        if !lost(&client.acknowledged, &left_by(&world.datadir())).is_empty() {
            return;
        }
    }
    panic!("a node that acknowledges what it has not written is not noticed in {SEEDS} lives");
}
