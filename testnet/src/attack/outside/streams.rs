//! Thousands of streams that are opened and left.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, data, dialed, flag, kind};
use super::layer::{MULTISTREAM, converse, line, proposal};

/// Attackers, each with one connection.
const CROWD: usize = 48;
/// Streams of one connection, and of one write.
const STREAMS: u32 = 4000;
const AT_ONCE: u32 = 32;
/// Between two writes.
const PACE: Duration = Duration::from_millis(10);
/// How long a connection with its streams is kept.
const LINGER: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams by the thousand.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, open).await
}

async fn open(attacker: Attacker) -> io::Result<()> {
    let scene = Arc::clone(&attacker.scene);
    let wire = attacker.muxed().await?;
    let (tally, protocol) = (Arc::clone(&scene.tally), attacker.protocol());
    let talk = converse(wire, &scene, LINGER, async |mut writing| {
        for first in (0..STREAMS).step_by(AT_ONCE as usize) {
            let sent: Vec<u8> =
                (first..first + AT_ONCE).flat_map(|place| opening(place, attacker.number, protocol.as_ref())).collect();
            tally.due().await;
            writing.write_all(&sent).await?;
            writing.flush().await?;
            tally.sent(u64::from(AT_ONCE), sent.len());
            tokio::time::sleep(PACE).await;
        }
        Ok(writing)
    });
    within(PATIENCE, talk).await
}

/// The ways to open a stream and to leave it: with nothing, half a negotiation, a whole one, or bytes that nobody wants.
fn opening(place: u32, attacker: usize, protocol: &str) -> Vec<u8> {
    let stream = dialed(place);
    match (attacker + usize::try_from(place).unwrap_or_default()) % 4 {
        0 => Frame::new(kind::WINDOW_UPDATE, flag::SYN, stream, 0).bytes().to_vec(),
        1 => data(stream, flag::SYN, &line(MULTISTREAM)),
        2 => data(stream, flag::SYN, &proposal(protocol)),
        _ => data(stream, flag::SYN, &[0x2a; 256]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_leave_a_stream_comes_and_each_stream_is_its_own() {
        let frames: Vec<_> = (0..8).map(|place| opening(place, 0, "/x")).collect();
        assert!(frames.iter().all(|frame| frame[3] == 1), "all of them open one");
        let streams: Vec<u8> = frames.iter().map(|frame| frame[7]).collect();
        assert_eq!(streams, [1, 3, 5, 7, 9, 11, 13, 15]);
        assert_eq!(frames[0].len(), 12);
        assert_eq!(frames[7].len(), 12 + 256);
    }
}
