//! Floods of connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::AsyncReadExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all};

/// Attackers that connect and close.
const FLOODERS: usize = 64;
/// Attackers that stay silent.
const SILENT: usize = 512;
/// How long a silent one waits to be thrown out: far longer than any deadline of a handshake.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two connections of a silent one that was thrown out.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects and closes.
pub(super) async fn flood(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, FLOODERS, |attacker| async move {
        drop(attacker.scene.connect(attacker.source()).await?);
        attacker.scene.tally.sent(1, 0);
        Ok(())
    })
    .await
}

/// Connects and says nothing until it is thrown out.
pub(super) async fn half_open(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, SILENT, silent).await
}

async fn silent(attacker: Attacker) -> io::Result<()> {
    let (scene, began) = (&attacker.scene, Instant::now());
    let mut stream = scene.connect(attacker.source()).await?;
    scene.tally.sent(1, 0);
    let mut buffer = [0; 64];
    while let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await {
        scene.tally.answered(1);
    }
    scene.tally.held(began.elapsed());
    scene.tally.refused();
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
