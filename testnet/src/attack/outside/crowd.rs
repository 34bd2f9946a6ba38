//! Many attackers at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::Scene;

/// After a refusal, so that an attacker who is always refused does not take the whole machine.
const PAUSE: Duration = Duration::from_millis(10);

/// One attacker: who it is, and how often it has begun anew.
#[derive(Clone)]
pub(super) struct Attacker {
    pub(super) scene: Arc<Scene>,
    pub(super) number: usize,
    pub(super) round: usize,
    crowd: usize,
}

impl Attacker {
    /// A number of its own for each round of each attacker: what its address and its draws follow from.
    pub(super) const fn source(&self) -> usize {
        self.round.wrapping_mul(self.crowd).wrapping_add(self.number)
    }
}

/// Lets `crowd` attackers do `work` over and over, until the scene's stop. A round that fails is a refusal.
pub(super) async fn all<F, Fut>(scene: Arc<Scene>, crowd: usize, work: F) -> Result<(), String>
where
    F: Fn(Attacker) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send,
{
    let mut running = JoinSet::new();
    for number in 0..crowd {
        let (work, mut attacker) = (work.clone(), Attacker { scene: Arc::clone(&scene), number, round: 0, crowd });
        let stop = scene.stop.clone();
        let rounds = async move {
            loop {
                attacker.scene.tally.due().await;
                if work(attacker.clone()).await.is_err() {
                    attacker.scene.tally.refused();
                    tokio::time::sleep(PAUSE).await;
                }
                // A round that awaits nothing must not keep the others from theirs.
                tokio::task::yield_now().await;
                attacker.round = attacker.round.wrapping_add(1);
            }
        };
        running.spawn(async move {
            stop.run_until_cancelled(rounds).await;
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// `what` with a deadline.
pub(super) async fn within<T>(limit: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
