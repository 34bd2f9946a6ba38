//! What goes wrong on a path, and whom the client holds responsible.

use std::time::Duration;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::{Blame, Path, PathEnd, PathError};
use sotto_behaviours::tunnel::Tunnel;
use sotto_proto::cell::{DestroyReason, Position, Status};

use crate::support::{
    Deed, PathNet, Rogue, Running, Seat, Watch, Way, echo, hop, minute, open_build, read_frame, relay, reply, settled,
    slow, write_frame,
};

const NODES: &[Position] = &[Position::Middle, Position::Exit];

fn short() -> PathNet {
    let mut net = PathNet::new();
    net.deadlines.reply = [Duration::from_millis(1200), Duration::from_millis(600), Duration::from_millis(200)];
    net.deadlines.build = Duration::from_millis(2000);
    net.deadlines.build_frame = Duration::from_millis(500);
    net
}

/// The status a hop answered with, without its clock.
fn refused(error: PathError) -> (Position, Status) {
    match error {
        PathError::Refused { position, status, .. } => (position, status),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_hop_that_does_not_run_is_reported_by_the_one_before_it() {
    let net = short();
    let _nodes = net.nodes(&[1, 2]).await;
    let client = net.client(40);
    let error = client.path([1, 8, 3]).await.unwrap_err();
    assert_eq!(refused(error), (Position::Guard, Status::NextUnreachable));
    assert_eq!(error.blame(), Blame::Either(Position::Guard, Position::Middle));
    let error = client.path([1, 2, 8]).await.unwrap_err();
    assert_eq!(refused(error), (Position::Middle, Status::NextUnreachable));
    assert_eq!(error.blame(), Blame::Either(Position::Middle, Position::Exit));
    let error = client.path([8, 2, 3]).await.unwrap_err();
    assert_eq!((error, error.blame()), (PathError::GuardUnreachable, Blame::Hop(Position::Guard)));
}

#[tokio::test]
async fn a_hop_that_is_not_on_the_list_is_not_dialled() {
    let net = short();
    let nodes = net.nodes(&[1, 2]).await;
    let stranger = Rogue::new(&net.net, 20);
    let client = net.client(40);
    assert_eq!(refused(client.path([1, 20, 3]).await.unwrap_err()), (Position::Guard, Status::NextUnknown));
    assert_eq!(refused(client.path([1, 2, 20]).await.unwrap_err()), (Position::Middle, Status::NextUnknown));
    assert_eq!(stranger.waiting(), 0);
    assert!(!nodes[0].with(|host| host.is_connected(20)).await && !nodes[1].with(|host| host.is_connected(20)).await);
}

#[tokio::test]
async fn a_path_does_not_turn_back() {
    let net = short();
    let _nodes = net.nodes(&[1, 2]).await;
    let client = net.client(40);
    assert_eq!(refused(client.path([1, 1, 2]).await.unwrap_err()), (Position::Guard, Status::Refused));
    assert_eq!(refused(client.path([1, 2, 1]).await.unwrap_err()), (Position::Middle, Status::Refused));
    assert_eq!(refused(client.path([1, 2, 2]).await.unwrap_err()), (Position::Middle, Status::Refused));
}

#[tokio::test]
async fn a_middle_that_closes_or_keeps_silent_or_alters_is_told_apart() {
    let net = short();
    let mut rogue = Rogue::new(&net.net, 2);
    let _nodes = net.nodes(&[1, 3]).await;
    let client = net.client(40);

    let closes = async { drop(rogue.accept().await) };
    let (error, ()) = tokio::join!(client.path([1, 2, 3]), closes);
    assert_eq!(refused(error.unwrap_err()), (Position::Guard, Status::NextClosed));

    let silent = async { rogue.accept().await };
    let (error, held) = tokio::join!(client.path([1, 2, 3]), silent);
    assert_eq!(refused(error.unwrap_err()), (Position::Guard, Status::NextTimedOut));
    drop(held);

    let alters = async {
        let (_, mut stream) = rogue.accept().await;
        let opened = open_build(2, &read_frame(&mut stream).await, NODES);
        let (mut frame, _) = reply(opened, Status::NextUnreachable, None);
        frame.as_mut_bytes()[40] ^= 1;
        write_frame(&mut stream, &frame).await;
        stream
    };
    let (error, _held) = tokio::join!(client.path([1, 2, 3]), alters);
    let error = error.unwrap_err();
    assert_eq!(error, PathError::Forged { position: Position::Middle });
    assert_eq!(error.blame(), Blame::Either(Position::Guard, Position::Middle));
}

#[tokio::test]
async fn a_guard_that_closes_or_keeps_silent_or_lies_is_held_responsible() {
    let net = short();
    let mut rogue = Rogue::new(&net.net, 1);
    let client = net.client(40);

    let (error, ()) = tokio::join!(client.path([1, 2, 3]), async { drop(rogue.accept().await) });
    assert_eq!(error.unwrap_err(), PathError::GuardClosed);

    let (error, held) = tokio::join!(client.path([1, 2, 3]), rogue.accept());
    let error = error.unwrap_err();
    assert_eq!((error, error.blame()), (PathError::TimedOut, Blame::Hop(Position::Guard)));
    drop(held);

    let lies = async {
        let (_, mut stream) = rogue.accept().await;
        let opened = open_build(1, &read_frame(&mut stream).await, &[Position::Guard]);
        let (frame, _) = reply(opened, Status::NextTimedOut, None);
        write_frame(&mut stream, &frame).await;
        stream
    };
    let (error, _held) = tokio::join!(client.path([1, 2, 3]), lies);
    let error = error.unwrap_err();
    assert_eq!(refused(error), (Position::Guard, Status::NextTimedOut));
    assert_eq!(error.blame(), Blame::Either(Position::Guard, Position::Middle), "its word alone counts half");
}

#[tokio::test]
async fn a_hop_whose_clock_is_wrong_says_its_own_time() {
    let net = short();
    let nodes = [net.node(1), net.node(2), net.node_at(3, slow(10 * 60_000))];
    settled(&nodes).await;
    let client = net.client(40);
    let error = client.path([1, 2, 3]).await.unwrap_err();
    let PathError::Refused { position: Position::Exit, status: Status::TimeRefused, minute: own } = error else {
        panic!("{error:?}")
    };
    assert!(minute().0 - own.0 >= 9, "{own:?}");
    assert_eq!(error.blame(), Blame::Nobody);
}

async fn build(client: &Running, hops: [HopInfo; 3]) -> Result<Path, PathError> {
    client.with(move |host| host.network.build_path(hops)).await.await.unwrap()
}

#[tokio::test]
async fn a_wrong_key_of_a_hop_is_met_with_silence() {
    let net = short();
    let _nodes = net.nodes(&[1, 2, 3]).await;
    let client = net.client(40);
    let wrong = |seed| HopInfo { x25519: hop(9).x25519, ..hop(seed) };
    assert_eq!(build(&client, [wrong(1), hop(2), hop(3)]).await.unwrap_err(), PathError::GuardClosed);
    let error = build(&client, [hop(1), wrong(2), hop(3)]).await.unwrap_err();
    assert_eq!(refused(error), (Position::Guard, Status::NextClosed));
    let error = build(&client, [hop(1), hop(2), wrong(3)]).await.unwrap_err();
    assert_eq!(refused(error), (Position::Middle, Status::NextClosed));
}

#[tokio::test]
async fn when_a_hop_dies_the_one_before_it_says_so() {
    for (dies, expected) in [
        (2, PathEnd::Destroyed { position: Position::Middle, reason: DestroyReason::NextClosed }),
        (1, PathEnd::Destroyed { position: Position::Guard, reason: DestroyReason::NextClosed }),
        (0, PathEnd::GuardClosed),
    ] {
        let net = PathNet::new();
        let mut nodes = net.nodes(&[1, 2, 3, 4]).await;
        let client = net.client(40);
        let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
        drop(nodes.remove(dies));
        assert_eq!(path.closed().await, expected);
        assert!(tunnel.request(echo(b"lost")).await.is_err());
    }
}

/// A middle that relays as it should but for what `spoil` does to the cells of one direction.
async fn spoiling_middle(mut rogue: Rogue, way: Way, spoil: impl Fn(&mut [u8]) + Send + Sync + 'static) {
    let seat = Seat { seed: 2, position: Position::Middle, next: 3 };
    relay(&mut rogue, seat, &Spoils(way, spoil)).await;
}

struct Spoils<F>(Way, F);

impl<F: Fn(&mut [u8]) + Send + Sync> Watch for Spoils<F> {
    fn leaves(&self, way: Way, frame: &mut [u8]) -> Deed {
        if way == self.0 {
            (self.1)(frame);
        }
        Deed::Pass
    }
}

#[tokio::test]
async fn a_cell_that_a_hop_alters_kills_the_path_and_does_nothing() {
    for forward in [true, false] {
        let way = if forward { Way::Forward } else { Way::Backward };
        let net = PathNet::new();
        let rogue = Rogue::new(&net.net, 2);
        let nodes = net.nodes(&[1, 3, 4]).await;
        let middle = tokio::spawn(spoiling_middle(rogue, way, |cell| cell[700] ^= 1));
        let client = net.client(40);
        let path = client.path([1, 2, 3]).await.unwrap();
        assert!(Tunnel::connect(&path, hop(4), Some(echo(b"hello"))).await.is_err());
        match path.closed().await {
            PathEnd::Violation => assert!(!forward, "the client itself finds it"),
            PathEnd::Destroyed { position: Position::Guard, reason: DestroyReason::NextClosed } => assert!(forward),
            end => panic!("{end:?}"),
        }
        assert_eq!(nodes[2].with(|host| host.tunnel_requests).await, u64::from(!forward) as usize);
        middle.abort();
    }
}

#[tokio::test]
async fn what_lies_behind_the_sealed_bytes_is_neither_read_nor_passed_on() {
    let net = PathNet::new();
    let rogue = Rogue::new(&net.net, 2);
    let _nodes = net.nodes(&[1, 3, 4]).await;
    let middle = tokio::spawn(spoiling_middle(rogue, Way::Forward, |cell| cell[2014..].fill(0xff)));
    let client = net.client(40);
    let (_path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    assert_eq!(crate::support::echoed(&tunnel.request(echo(b"still")).await.unwrap()), b"still");
    middle.abort();
}

#[tokio::test]
async fn a_destination_that_goes_away_ends_its_stream_and_not_the_path() {
    let net = PathNet::new();
    let mut nodes = net.nodes(&[1, 2, 3, 4, 5]).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    drop(nodes.remove(3));
    assert!(tunnel.request(echo(b"gone")).await.is_err());
    let (_, answer) = Tunnel::connect(&path, hop(5), Some(echo(b"other"))).await.unwrap();
    assert_eq!(crate::support::echoed(&answer.unwrap()), b"other");
    assert_eq!(path.end(), None);
}
