//! Good handshakes of which something is changed on the way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, data, flag, kind};
use super::layer::{MULTISTREAM, NOISE, Wire, YAMUX, line, proposal, secure, select};
use super::mutated::{Change, Mutated};

/// Attackers.
const CROWD: usize = 32;
/// Bytes that a dialer writes until its first stream is open: below Noise, and inside of it.
const OUTSIDE: u64 = 420;
const INSIDE: u64 = 120;
/// How long one may take; one that was cut off waits for the victim's deadline, or for this.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Changed handshakes, below Noise and inside of it in turn.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, |attacker| async move { within(PATIENCE, shake(attacker)).await }).await
}

async fn shake(attacker: Attacker) -> io::Result<()> {
    let (scene, source) = (&attacker.scene, attacker.source());
    let tally = || Arc::clone(&scene.tally);
    let mut rng = scene.rng("handshake", source);
    let mut tcp = scene.connect(source).await?;
    let mut wire: Wire = if source.is_multiple_of(2) {
        let mut changed = Mutated::new(tcp, Change::draw(&mut rng, OUTSIDE), tally());
        select(&mut changed, NOISE).await?;
        secure(scene, changed, source).await?
    } else {
        select(&mut tcp, NOISE).await?;
        let secured = secure(scene, tcp, source).await?;
        Box::new(Mutated::new(secured, Change::draw(&mut rng, INSIDE), tally()))
    };
    select(&mut wire, YAMUX).await?;
    let stream = [
        data(1, flag::SYN, &proposal(attacker.protocol().as_ref())),
        Frame::new(kind::PING, flag::SYN, 0, 7).bytes().to_vec(),
        data(1, flag::FIN, &line(MULTISTREAM)),
    ];
    for frame in stream {
        wire.write_all(&frame).await?;
        wire.flush().await?;
    }
    Ok(())
}
