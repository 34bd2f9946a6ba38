//! Random bytes at each layer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use rand_core::Rng;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::layer::{Layer, converse};

/// Attackers.
const CROWD: usize = 48;
/// Pieces of one connection, and the longest piece.
const PIECES: usize = 32;
const LONGEST: u64 = 2048;
/// How long one connection may take: it ends early, as a rule.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the victim may take to find out after the last piece.
const LINGER: Duration = Duration::from_millis(50);

/// Garbage from all sides.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, speak).await
}

async fn speak(attacker: Attacker) -> io::Result<()> {
    let scene = Arc::clone(&attacker.scene);
    let layer = Layer::ALL[attacker.source() % Layer::ALL.len()];
    let wire = attacker.reach(layer, &attacker.protocol()).await?;
    let mut rng = scene.rng("garbage", attacker.source());
    let tally = Arc::clone(&scene.tally);
    let talk = converse(wire, &scene, LINGER, async |mut writing| {
        for place in 0..PIECES {
            let sent = layer.wrap(&piece(&mut rng), place == 0);
            tally.due().await;
            writing.write_all(&sent).await?;
            writing.flush().await?;
            tally.sent(1, sent.len());
        }
        Ok(writing)
    });
    within(PATIENCE, talk).await
}

/// Mostly short ones: what is looked at first is at the beginning.
fn piece(rng: &mut impl Rng) -> Vec<u8> {
    let most = if rng.next_u64().is_multiple_of(8) { LONGEST } else { 64 };
    let length = usize::try_from(rng.next_u64() % most).unwrap_or_default() + 1;
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use crate::bench::seeded;

    use super::*;

    #[test]
    fn pieces_have_all_lengths_and_a_seed_gives_the_same_again() {
        let pieces = || {
            let mut rng = seeded(7, "garbage", 0);
            (0..1000).map(|_| piece(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(pieces(), pieces());
        let lengths: Vec<_> = pieces().iter().map(Vec::len).collect();
        assert!(lengths.iter().all(|length| (1..=LONGEST as usize).contains(length)));
        assert!(lengths.iter().any(|length| *length > 1000) && lengths.contains(&1));
    }
}
