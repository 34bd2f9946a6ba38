//! First messages that come again, before and after the node that saw them was killed: nothing is passed on, nobody is
//! asked.
//!
//! The test starts itself again as the node, so that a kill is one: no destructor runs, and what is not in the replay
//! files by then is gone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use libp2p::StreamProtocol;
use sotto_behaviours::tunnel::handshake::ClientHandshake;
use sotto_proto::cell::{Destination, Frame, write_tunnel_frame};
use sotto_proto::request::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::abuse::{build, names, replay};
use crate::support::{Net, PathNet, Rogue, echo, hop, minute, node_of, rng, write_frame};
use crate::test_support::CHAIN;

const REPLAYS: usize = 10_000;
/// Where the child gets its orders.
const ORDERS: &str = "SOTTO_TEST_REPLAYS";

/// What the node counted since it started.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    builds: usize,
    tunnels: usize,
    requests: usize,
}

/// Does nothing unless it is the child: then it is a node, until somebody kills it, and says what it counted whenever
/// it is asked.
#[tokio::test]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let mut orders = orders.splitn(4, ' ');
    let mut number = || orders.next().unwrap().parse::<u16>().unwrap();
    let (seed, subnet, port) = (number(), number(), number());
    let net = Net { subnet: subnet as u8, port, ..Net::tcp() };
    let node = fast(PathNet::of(net, orders.next().unwrap().into())).node(seed as u8);
    let (ask, mut asked) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        std::io::stdin().lines().for_each(|_| ask.blocking_send(()).unwrap());
        // A parent that dies takes the node with it.
        std::process::exit(0);
    });
    while asked.recv().await.is_some() {
        let builds = node.metric("sotto_network_path_builds_total{reason=\"replayed\"}").await;
        let tunnels = node.metric("sotto_network_tunnels_ended_total{reason=\"replayed\"}").await;
        let requests = node.with(|host| host.tunnel_requests).await;
        // The harness may have begun the line.
        println!("\ncounted {builds} {tunnels} {requests}");
    }
}

/// Without the limits that would keep a neighbour from trying so often.
fn fast(mut net: PathNet) -> PathNet {
    (net.caps.tunnels_per_second, net.caps.tunnel_burst) = (1_000_000, 1_000_000);
    // Few enough that the node has links with all of them.
    net.listed = vec![1, 2, 3, 4, 5];
    net
}

/// The node, as a process.
struct Process {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(net: &PathNet, seed: u8) -> Self {
        let address = net.net.address(seed);
        let orders = format!("{seed} {} {} {}", net.net.subnet, net.net.port, net.replays.display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "paths::replays::child", "--nocapture"])
            .env(ORDERS, orders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listening = async {
            while tokio::net::TcpStream::connect(address.socket_addr()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), listening).await.unwrap();
        let (orders, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, said: BufReader::new(said).lines() }
    }

    async fn counts(&mut self) -> Counts {
        self.orders.write_all(b"\n").await.unwrap();
        loop {
            let line = self.said.next_line().await.unwrap().unwrap();
            let Some(counts) = line.strip_prefix("counted ") else { continue };
            let counts: Vec<usize> = counts.split(' ').map(|count| count.parse().unwrap()).collect();
            let [builds, tunnels, requests] = counts[..] else { panic!("{line}") };
            return Counts { builds, tunnels, requests };
        }
    }

    async fn kill(mut self) {
        self.child.start_kill().unwrap();
        assert_eq!(self.child.wait().await.unwrap().signal(), Some(9));
    }
}

/// A neighbour of the node, which has dialled it: dials that cross close each other.
async fn neighbour(net: &PathNet, seed: u8) -> Rogue {
    let rogue = Rogue::new(&net.net, seed);
    let met = async {
        while rogue.met().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), met).await.unwrap();
    rogue
}

async fn nothing_comes_of(rogue: &Rogue, to: u8, protocol: &StreamProtocol, frame: &Frame) {
    assert_eq!(replay(rogue, to, protocol, frame, REPLAYS).await, 0);
}

#[tokio::test]
async fn a_repeated_build_goes_nowhere_not_even_after_a_kill() {
    let net = fast(PathNet::on(Net::tcp()));
    let mut exit = Rogue::new(&net.net, 3);
    let mut node = Process::start(&net, 2).await;
    let guard = neighbour(&net, 1).await;
    let (_, layer) = build([1, 2, 3]);
    let mut first = guard.open(2, names().path()).await;
    write_frame(&mut first, &layer).await;
    let (_, _held) = exit.accept().await;

    nothing_comes_of(&guard, 2, &names().path(), &layer).await;
    assert_eq!(exit.waiting(), 0);
    assert_eq!(node.counts().await, Counts { builds: REPLAYS, tunnels: 0, requests: 0 }, "all were looked at");
    node.kill().await;
    guard.stop().await;

    let mut node = Process::start(&net, 2).await;
    let guard = neighbour(&net, 1).await;
    nothing_comes_of(&guard, 2, &names().path(), &layer).await;
    assert_eq!(exit.waiting(), 0);
    assert_eq!(node.counts().await, Counts { builds: REPLAYS, tunnels: 0, requests: 0 });

    let (_, new) = build([1, 2, 3]);
    let mut stream = guard.open(2, names().path()).await;
    write_frame(&mut stream, &new).await;
    exit.accept().await;
}

#[tokio::test]
async fn a_repeated_first_message_of_a_tunnel_asks_nothing_not_even_after_a_kill() {
    let net = fast(PathNet::on(Net::tcp()));
    let mut node = Process::start(&net, 4).await;
    let exit = neighbour(&net, 5).await;
    let first = || {
        let room = Destination::Node(node_of(4)).first_bytes();
        let request = echo(b"once").encode().unwrap();
        let (flight, _) = ClientHandshake::new(&CHAIN, &hop(4), room, minute(), &request, &mut rng()).unwrap();
        let mut frame = Frame::zeroed();
        write_tunnel_frame(&mut frame, &flight).unwrap();
        frame
    };
    let frame = first();
    assert_eq!(replay(&exit, 4, &names().tunnel(), &frame, 1).await, 1, "the first one is served");
    nothing_comes_of(&exit, 4, &names().tunnel(), &frame).await;
    assert_eq!(node.counts().await, Counts { builds: 0, tunnels: REPLAYS, requests: 1 });
    node.kill().await;
    exit.stop().await;

    let mut node = Process::start(&net, 4).await;
    let exit = neighbour(&net, 5).await;
    nothing_comes_of(&exit, 4, &names().tunnel(), &frame).await;
    assert_eq!(node.counts().await, Counts { builds: 0, tunnels: REPLAYS, requests: 0 });
    assert_eq!(replay(&exit, 4, &names().tunnel(), &first(), 1).await, 1, "and a new one is served");
}
