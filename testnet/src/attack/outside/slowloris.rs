//! One byte at a time, in each phase of a connection.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::AsyncWriteExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, flag, kind};
use super::layer::{Layer, YAMUX, converse, proposal};

/// Attackers of each phase.
const EACH: usize = 64;
/// Between two bytes.
const EVERY: Duration = Duration::from_millis(250);
/// How long a victim is watched for its patience.
const LONGEST: Duration = Duration::from_secs(120);
/// Those who come early wait until those who have to get through handshakes first have done so.
const HEAD_START: Duration = Duration::from_millis(500);

/// Slow writers at every layer.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, EACH * Layer::ALL.len(), slow).await
}

async fn slow(attacker: Attacker) -> io::Result<()> {
    let layer = Layer::ALL[attacker.number % Layer::ALL.len()];
    if attacker.round == 0 && matches!(layer, Layer::Tcp | Layer::Noise | Layer::Upgrade) {
        tokio::time::sleep(HEAD_START).await;
    }
    let protocol = attacker.protocol();
    let wire = attacker.reach(layer, &protocol).await?;
    let (scene, began) = (Arc::clone(&attacker.scene), Instant::now());
    let bytes = says(layer, protocol.as_ref());
    let tally = Arc::clone(&scene.tally);
    let talk = converse(wire, &scene, LONGEST, async |mut writing| {
        for (place, byte) in bytes.iter().enumerate() {
            let sent = layer.wrap(&[*byte], place == 0);
            writing.write_all(&sent).await?;
            writing.flush().await?;
            tally.sent(1, sent.len());
            tokio::time::sleep(EVERY).await;
        }
        Ok(writing)
    });
    let ended = within(LONGEST, talk).await;
    scene.tally.held(began.elapsed());
    ended
}

/// What would be said at once by anybody else: right up to its end, and long.
fn says(layer: Layer, protocol: &str) -> Vec<u8> {
    match layer {
        Layer::Tcp => proposal("/noise"),
        // The first message: a length and a key.
        Layer::Noise => [&[0, 32], &[9; 32][..]].concat(),
        Layer::Upgrade => proposal(YAMUX),
        Layer::Yamux => (0..16).flat_map(|place| Frame::new(kind::PING, flag::SYN, 0, place).bytes()).collect(),
        Layer::Stream => proposal(protocol),
        // A length that every protocol takes, and a body.
        Layer::Body => [&[0, 0, 1, 0], &[0; 256][..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_slow_to_say_at_each_layer() {
        for layer in Layer::ALL {
            assert!(says(layer, "/x").len() >= 20, "{layer:?}: it lasts for seconds");
        }
    }
}
