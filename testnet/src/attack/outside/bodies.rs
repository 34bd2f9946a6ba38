//! The longest frames that Yamux reads, all but the last byte of each: it holds them until the end is there.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::AsyncWriteExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, flag, kind};
use super::layer::converse;

/// Attackers, each with one connection: as many as two addresses may have in production.
const CROWD: usize = 64;
/// The longest body that Yamux reads: four times what it then takes.
const BODY: u32 = 1 << 20;
/// Bytes of one write.
const PIECE: usize = 16 * 1024;
/// How long a connection stays.
const LINGER: Duration = Duration::from_secs(60);

/// Bodies without an end.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, hold).await
}

async fn hold(attacker: Attacker) -> io::Result<()> {
    let scene = Arc::clone(&attacker.scene);
    let wire = attacker.muxed().await?;
    let (tally, began) = (Arc::clone(&scene.tally), Instant::now());
    let talk = converse(wire, &scene, LINGER, async |mut writing| {
        writing.write_all(&Frame::new(kind::DATA, flag::SYN, 1, BODY).bytes()).await?;
        let mut left = usize::try_from(BODY).unwrap_or_default() - 1;
        while left > 0 {
            let piece = left.min(PIECE);
            tally.due().await;
            writing.write_all(&[0x2a; PIECE][..piece]).await?;
            writing.flush().await?;
            left -= piece;
            tally.sent(1, piece);
        }
        Ok(writing)
    });
    let ended = within(2 * LINGER, talk).await;
    scene.tally.held(began.elapsed());
    ended
}
