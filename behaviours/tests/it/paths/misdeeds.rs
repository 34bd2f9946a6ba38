//! What a hop can do to the cells that pass it, at each place of a path, and what an exit can say that is not so.

use std::time::{Duration, Instant};

use sotto_behaviours::onion::client::{Blame, PathEnd, PathError, StreamError};
use sotto_behaviours::tunnel::{Tunnel, client};
use sotto_proto::cell::{DestroyReason, Minute, Position, ResetReason, Status};
use tokio::task::JoinHandle;

use crate::support::{
    Deed, PathNet, Rogue, Running, Seat, Watch, Way, echo, echoed, exit, hop, minute, open_build, read_frame, relay,
    reply, rng, write_frame,
};

/// Does `deed` with everything that goes one way.
struct Misdeed<F> {
    way: Way,
    deed: F,
}

impl<F: Fn(&mut [u8]) -> Deed + Send + Sync> Watch for Misdeed<F> {
    fn leaves(&self, way: Way, frame: &mut [u8]) -> Deed {
        if way == self.way { (self.deed)(frame) } else { Deed::Pass }
    }
}

/// Sits at `position` of the path 1, 2, 3 to 4.
fn sits(net: &PathNet, position: Position, watch: impl Watch + 'static) -> JoinHandle<()> {
    let seed = position.number();
    let mut rogue = Rogue::new(&net.net, seed);
    tokio::spawn(async move {
        let seat = Seat { seed, position, next: seed + 1 };
        match position {
            Position::Exit => exit(&mut rogue, seat, &watch).await,
            _ => relay(&mut rogue, seat, &watch).await,
        }
        // What the others make of the end is looked at; it keeps its connections.
        std::future::pending::<()>().await;
    })
}

/// The honest ones: everybody but who sits at `position`.
async fn others(net: &PathNet, position: Position) -> Vec<Running> {
    let seeds: Vec<u8> = [1, 2, 3, 4].into_iter().filter(|seed| *seed != position.number()).collect();
    net.nodes(&seeds).await
}

const WAYS: [Way; 2] = [Way::Forward, Way::Backward];

#[tokio::test]
async fn cells_that_any_hop_delays_arrive_later_and_in_order() {
    const DELAY: Duration = Duration::from_millis(150);
    for position in Position::ALL {
        for way in WAYS {
            let net = PathNet::new();
            let hop_task = sits(&net, position, Misdeed { way, deed: |_: &mut [u8]| Deed::PassAfter(DELAY) });
            let _nodes = others(&net, position).await;
            let client = net.client(40);
            let began = Instant::now();
            let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
            assert!(began.elapsed() >= DELAY);
            for length in [1, 4000] {
                let bytes: Vec<u8> = (0..length).map(|index| (index / 7) as u8).collect();
                assert_eq!(echoed(&tunnel.request(echo(&bytes)).await.unwrap()), bytes, "{position} {way:?}");
            }
            assert_eq!(path.end(), None, "slow is no reason to end a path");
            hop_task.abort();
        }
    }
}

#[tokio::test]
async fn a_build_that_a_hop_delays_beyond_its_time_is_reported_by_the_one_before_and_one_within_is_built() {
    let mut net = PathNet::new();
    net.deadlines.reply = [Duration::from_millis(1200), Duration::from_millis(800), Duration::from_millis(400)];
    net.deadlines.build = Duration::from_secs(2);
    let expected = [
        PathError::TimedOut,
        PathError::Refused { position: Position::Guard, status: Status::NextTimedOut, minute: Minute(0) },
        PathError::Refused { position: Position::Middle, status: Status::NextTimedOut, minute: Minute(0) },
    ];
    // Only the exit answers without asking anybody; it stands for all that take their time and then answer.
    for (position, expected) in Position::ALL.into_iter().zip(expected) {
        let net = of(&net);
        let mut rogue = Rogue::new(&net.net, position.number());
        let _nodes = others(&net, position).await;
        let client = net.client(40);
        let late = async {
            let (_, mut stream) = rogue.accept().await;
            let opened = open_build(position.number(), &read_frame(&mut stream).await, &[position]);
            tokio::time::sleep(net.deadlines.build + Duration::from_millis(300)).await;
            let (frame, _) = reply(opened, Status::Busy, None);
            // Nobody waits for it any more, and it does no harm.
            let _refused = futures::AsyncWriteExt::write_all(&mut stream, frame.as_bytes()).await;
        };
        let (error, ()) = tokio::join!(client.path([1, 2, 3]), late);
        let error = match error.unwrap_err() {
            PathError::Refused { position, status, .. } => PathError::Refused { position, status, minute: Minute(0) },
            error => error,
        };
        assert_eq!(error, expected, "{position}");
        match (error.blame(), position) {
            (Blame::Hop(blamed), Position::Guard) => assert_eq!(blamed, position),
            (Blame::Either(_, blamed), _) => assert_eq!(blamed, position),
            (blame, _) => panic!("{blame:?}"),
        }
    }

    let mut rogue = Rogue::new(&net.net, 3);
    let _nodes = others(&net, Position::Exit).await;
    let client = net.client(40);
    let hesitant = async {
        let (_, mut stream) = rogue.accept().await;
        let opened = open_build(3, &read_frame(&mut stream).await, &[Position::Exit]);
        tokio::time::sleep(net.deadlines.reply[2] / 2).await;
        let (frame, keys) = reply(opened, Status::Built, None);
        write_frame(&mut stream, &frame).await;
        (stream, keys)
    };
    let (path, _held) = tokio::join!(client.path([1, 2, 3]), hesitant);
    assert_eq!(path.unwrap().end(), None);
}

/// A network with the same deadlines.
fn of(net: &PathNet) -> PathNet {
    let mut other = PathNet::new();
    other.deadlines = net.deadlines.clone();
    other
}

#[tokio::test]
async fn a_cell_that_any_hop_keeps_is_missed_with_the_next_one() {
    for position in Position::ALL {
        let net = PathNet::new();
        let kept = std::sync::atomic::AtomicUsize::new(0);
        // The second cell on: the tunnel is there by then.
        let keep = move |_: &mut [u8]| match kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            1 => Deed::Keep,
            _ => Deed::Pass,
        };
        let hop_task = sits(&net, position, Misdeed { way: Way::Backward, deed: keep });
        let _nodes = others(&net, position).await;
        let client = net.client(40);
        let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
        assert!(tunnel.request(echo(&[1; 4000])).await.is_err(), "{position}");
        assert_eq!(path.closed().await, PathEnd::Violation, "{position}");
        hop_task.abort();
    }
}

#[tokio::test]
async fn what_an_exit_alters_kills_the_path_or_reaches_nobody() {
    for way in WAYS {
        let net = PathNet::new();
        let alter = |cell: &mut [u8]| {
            cell[700] ^= 1;
            Deed::Pass
        };
        let hop_task = sits(&net, Position::Exit, Misdeed { way, deed: alter });
        let nodes = others(&net, Position::Exit).await;
        let client = net.client(40);
        let path = client.path([1, 2, 3]).await.unwrap();
        assert!(Tunnel::connect(&path, hop(4), Some(echo(b"hello"))).await.is_err());
        let asked = nodes[2].with(|host| host.tunnel_requests).await;
        if way == Way::Forward {
            // The layers are off there: it is the tunnel's own seal that breaks, and nothing of the path.
            assert_eq!((path.end(), asked), (None, 0));
        } else {
            assert_eq!((path.closed().await, asked), (PathEnd::Violation, 1));
        }
        hop_task.abort();
    }
}

#[tokio::test]
async fn an_exit_that_goes_away_is_reported_by_the_middle() {
    let net = PathNet::new();
    let hop_task = sits(&net, Position::Exit, Misdeed { way: Way::Forward, deed: |_: &mut [u8]| Deed::Pass });
    let _nodes = others(&net, Position::Exit).await;
    let client = net.client(40);
    let (path, mut tunnel) = client.tunnel([1, 2, 3], 4).await;
    hop_task.abort();
    let end = path.closed().await;
    assert_eq!(end, PathEnd::Destroyed { position: Position::Middle, reason: DestroyReason::NextClosed });
    assert_eq!(end.blame(), Blame::Either(Position::Middle, Position::Exit));
    assert!(tunnel.request(echo(b"lost")).await.is_err());
}

#[tokio::test]
async fn an_exit_that_closes_or_keeps_silent_or_alters_or_lies_about_a_build_is_told_apart() {
    let mut net = PathNet::new();
    net.deadlines.reply = [Duration::from_millis(1200), Duration::from_millis(600), Duration::from_millis(300)];
    (net.caps.builds_per_second, net.caps.build_burst) = (1000, 1000);
    let mut rogue = Rogue::new(&net.net, 3);
    let _nodes = others(&net, Position::Exit).await;
    let client = net.client(40);
    let between = Blame::Either(Position::Middle, Position::Exit);

    let closes = async { drop(rogue.accept().await) };
    let (error, ()) = tokio::join!(client.path([1, 2, 3]), closes);
    let error = error.unwrap_err();
    assert!(matches!(error, PathError::Refused { position: Position::Middle, status: Status::NextClosed, .. }));
    assert_eq!(error.blame(), between);

    let (error, held) = tokio::join!(client.path([1, 2, 3]), rogue.accept());
    let error = error.unwrap_err();
    assert!(matches!(error, PathError::Refused { position: Position::Middle, status: Status::NextTimedOut, .. }));
    assert_eq!(error.blame(), between);
    drop(held);

    // A clock that is wrong speaks against nobody; all else that an exit says about itself speaks against it.
    for (status, own, altered, blame) in [
        (Status::Built, minute(), true, between),
        (Status::Busy, minute(), false, Blame::Hop(Position::Exit)),
        (Status::Refused, minute(), false, Blame::Hop(Position::Exit)),
        (Status::NextUnreachable, minute(), false, Blame::Hop(Position::Exit)),
        (Status::TimeRefused, Minute(5), false, Blame::Nobody),
    ] {
        let answers = async {
            let (_, mut stream) = rogue.accept().await;
            let opened = open_build(3, &read_frame(&mut stream).await, &[Position::Exit]);
            let (mut frame, _) = opened.reply(status, own, None, &mut rng()).unwrap();
            if altered {
                frame.as_mut_bytes()[40] ^= 1;
            }
            write_frame(&mut stream, &frame).await;
            stream
        };
        let (error, _held) = tokio::join!(client.path([1, 2, 3]), answers);
        let error = error.unwrap_err();
        match error {
            PathError::Forged { position } => assert!(altered && position == Position::Exit),
            PathError::Refused { position, status: said, minute } => {
                assert_eq!((position, said, minute), (Position::Exit, status, own));
            }
            error => panic!("{error:?}"),
        }
        assert_eq!(error.blame(), blame, "{status:?}");
    }
}

/// Says this of every destination.
struct Says(ResetReason);

impl Watch for Says {
    fn refuses(&self) -> Option<ResetReason> {
        Some(self.0)
    }
}

#[tokio::test]
async fn what_an_exit_says_falsely_of_a_destination_ends_the_stream_and_not_the_path() {
    for reason in [ResetReason::Unreachable, ResetReason::ClosedByDestination, ResetReason::UnknownDestination] {
        let net = PathNet::new();
        let hop_task = sits(&net, Position::Exit, Says(reason));
        let nodes = others(&net, Position::Exit).await;
        let client = net.client(40);
        let path = client.path([1, 2, 3]).await.unwrap();
        let error = Tunnel::connect(&path, hop(4), Some(echo(b"hello"))).await.unwrap_err();
        assert!(matches!(error, client::Error::Stream(StreamError::Reset(said)) if said == reason), "{error:?}");
        assert_eq!((path.end(), nodes[2].with(|host| host.tunnel_requests).await), (None, 0));
        hop_task.abort();
    }
}
