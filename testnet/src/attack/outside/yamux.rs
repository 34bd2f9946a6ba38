//! Yamux frames of every shape, and storms of those that are allowed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use rand_core::Rng;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, WINDOW, data, dialed, flag, kind};
use super::layer::{converse, proposal};

/// Attackers, each with one connection.
const CROWD: usize = 16;
/// Frames of one write, and writes of one connection.
const AT_ONCE: u32 = 64;
const WRITES: u32 = 500;
/// Between two writes: some fifty thousand frames a second of all attackers together.
const PACE: Duration = Duration::from_millis(20);
/// How long the victim may take to end a connection after the last frame.
const LINGER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// Every storm, and frames that end a connection at once.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, storm).await
}

async fn storm(attacker: Attacker) -> io::Result<()> {
    let scene = Arc::clone(&attacker.scene);
    let shape = Shape::ALL[attacker.source() % Shape::ALL.len()];
    let wire = attacker.muxed().await?;
    let (tally, protocol) = (Arc::clone(&scene.tally), attacker.protocol());
    let mut rng = scene.rng("yamux", attacker.source());
    let talk = converse(wire, &scene, LINGER, async |mut writing| {
        for write in 0..WRITES {
            let places = write * AT_ONCE..(write + 1) * AT_ONCE;
            let (frames, sent) = places.fold((0, Vec::new()), |(count, mut bytes), place| {
                let frames = shape.frames(place, protocol.as_ref(), &mut rng);
                frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
                (count + frames.len() as u64, bytes)
            });
            tally.due().await;
            writing.write_all(&sent).await?;
            writing.flush().await?;
            tally.sent(frames, sent.len());
            tokio::time::sleep(PACE).await;
        }
        Ok(writing)
    });
    within(PATIENCE, talk).await
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Pings that have to be answered.
    Pings,
    /// More and more credit for one stream, and for streams that do not exist.
    Windows,
    /// Streams that are opened by an update of the window.
    Opens,
    /// Streams that are opened and reset at once.
    Resets,
    /// Streams that are opened and closed at once.
    Closes,
    /// Empty frames of data for one stream.
    Empty,
    /// More data than a stream's window allows.
    Beyond,
    /// The same stream opened again, and streams of the other side.
    Wrong,
    /// Farewells, and what follows them.
    GoAway,
    /// Anything in any field.
    Any,
}

impl Shape {
    /// Storms come as often as what ends a connection at once.
    const ALL: [Self; 16] = [
        Self::Pings,
        Self::Any,
        Self::Windows,
        Self::Beyond,
        Self::Opens,
        Self::Any,
        Self::Resets,
        Self::Wrong,
        Self::Closes,
        Self::Any,
        Self::Empty,
        Self::GoAway,
        Self::Resets,
        Self::Any,
        Self::Windows,
        Self::Any,
    ];

    /// What it sends at this place.
    fn frames(self, place: u32, protocol: &str, rng: &mut impl Rng) -> Vec<Vec<u8>> {
        let frame = |kind, flags, stream, length| Frame::new(kind, flags, stream, length).bytes().to_vec();
        let stream = dialed(place);
        let open = |stream| data(stream, flag::SYN, &proposal(protocol));
        match self {
            Self::Pings => vec![frame(kind::PING, flag::SYN, 0, place)],
            Self::Windows if place == 0 => vec![open(1)],
            Self::Windows if place.is_multiple_of(2) => vec![frame(kind::WINDOW_UPDATE, 0, 1, 1 << 10)],
            Self::Windows => vec![frame(kind::WINDOW_UPDATE, 0, stream, u32::MAX)],
            Self::Opens => vec![frame(kind::WINDOW_UPDATE, flag::SYN, stream, 1 << 24)],
            Self::Resets => vec![open(stream), frame(kind::DATA, flag::RST, stream, 0)],
            Self::Closes => vec![open(stream), frame(kind::WINDOW_UPDATE, flag::FIN, stream, 0)],
            Self::Empty if place == 0 => vec![open(1)],
            Self::Empty => vec![frame(kind::DATA, 0, 1, 0)],
            Self::Beyond if place == 0 => vec![open(1)],
            Self::Beyond => vec![data(1, 0, &vec![0x2a; WINDOW as usize / 48])],
            Self::Wrong => vec![open(1), frame(kind::WINDOW_UPDATE, flag::SYN, 2 * (place + 1), 0)],
            Self::GoAway => vec![frame(kind::GO_AWAY, 0, 0, place % 4), open(stream)],
            Self::Any => vec![any(place, rng)],
        }
    }
}

/// Every combination of type, flags, stream and length in its turn; now and then any bytes.
fn any(place: u32, rng: &mut impl Rng) -> Vec<u8> {
    const KINDS: [u8; 6] = [kind::DATA, kind::WINDOW_UPDATE, kind::PING, kind::GO_AWAY, 4, 255];
    const STREAMS: [u32; 6] = [1, 0, 2, 3, 0x8000_0001, u32::MAX];
    const LENGTHS: [u32; 7] = [0, 1, 255, WINDOW, WINDOW + 1, 1 << 31, u32::MAX];
    // Where to begin is drawn: most of them end a connection, and the next one goes on elsewhere.
    let drawn = rng.next_u64();
    let combination = usize::try_from(drawn >> 32).unwrap_or_default();
    if place.is_multiple_of(97) {
        return drawn.to_be_bytes().repeat(2)[..12].to_vec();
    }
    let (kind, rest) = (KINDS[combination % KINDS.len()], combination / KINDS.len());
    let (stream, rest) = (STREAMS[rest % STREAMS.len()], rest / STREAMS.len());
    let (length, rest) = (LENGTHS[rest % LENGTHS.len()], rest / LENGTHS.len());
    let all = flag::SYN | flag::ACK | flag::FIN | flag::RST;
    let flags = u16::try_from(rest % 17).unwrap_or_default();
    let version = u8::from(rest.is_multiple_of(61));
    let flags = if flags > all { u16::MAX } else { flags };
    let body = if kind == kind::DATA { length.min(512) } else { 0 };
    let frame = Frame { version, kind, flags, stream, length };
    [&frame.bytes(), &vec![0x2a; usize::try_from(body).unwrap_or_default()][..]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::seeded;

    #[test]
    fn all_types_flags_streams_and_lengths_come() {
        let mut rng = seeded(3, "yamux", 0);
        let frames: Vec<_> = (1..20_000).map(|place| any(place, &mut rng)).collect();
        let headers: Vec<Frame> = frames.iter().map(|bytes| Frame::read(&bytes[..12].try_into().unwrap())).collect();
        let distinct = |of: fn(&Frame) -> u32| headers.iter().map(of).collect::<BTreeSet<_>>();
        assert!((0..=4).all(|kind| distinct(|frame| frame.kind.into()).contains(&kind)));
        assert!((0..16).all(|flags| distinct(|frame| frame.flags.into()).contains(&flags)));
        assert!([0, 1, 2, u32::MAX].iter().all(|stream| distinct(|frame| frame.stream).contains(stream)));
        assert!([0, WINDOW + 1, u32::MAX].iter().all(|length| distinct(|frame| frame.length).contains(length)));
        assert!(headers.iter().any(|frame| frame.version == 1));
    }

    #[test]
    fn storms_are_made_of_frames_that_are_allowed() {
        let mut rng = seeded(3, "yamux", 1);
        for shape in [Shape::Pings, Shape::Windows, Shape::Opens, Shape::Resets, Shape::Closes, Shape::Empty] {
            for frame in (0..100).flat_map(|place| shape.frames(place, "/x", &mut rng)) {
                let header = Frame::read(&frame[..12].try_into().unwrap());
                assert!(header.version == 0 && header.kind <= kind::PING, "{shape:?}: {header:?}");
                assert!(header.kind == kind::PING || header.stream % 2 == 1, "{shape:?}: {header:?}");
            }
        }
        let beyond: usize = (1..=64).map(|place| Shape::Beyond.frames(place, "/x", &mut rng)[0].len()).sum();
        assert!(beyond > WINDOW as usize + 12 * 64);
    }
}
