//! Many attackers at once, each in a task of its own, until the attack has to end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;

use super::super::Scene;
use super::ground::Ground;
use super::wire::Failed;

/// After a refusal an attacker waits this long: a victim that refuses must not turn the attack into a busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// What one attacker does again and again. What a round holds is dropped at its end.
pub(super) type Round = for<'a> fn(&'a mut Ground) -> BoxFuture<'a, Result<(), Failed>>;

/// Lets `count` attackers make rounds until the scene stops.
pub(super) async fn crowd(scene: Arc<Scene>, role: &'static str, count: usize, round: Round) -> Result<(), String> {
    let mut attackers = JoinSet::new();
    for index in 0..count {
        let ground = Ground::new(&scene, role, index);
        let stop = scene.stop.clone();
        attackers.spawn(async move { stop.run_until_cancelled(rounds(ground, round)).await });
    }
    while let Some(ended) = attackers.join_next().await {
        if let Some(error) = ended.map_err(|error| format!("an attacker broke: {error}"))? {
            return Err(error.to_string());
        }
    }
    Ok(())
}

/// Goes on until something cannot even be made, which is a defect of the attack.
async fn rounds(mut ground: Ground, round: Round) -> Failed {
    loop {
        match round(&mut ground).await {
            Ok(()) => {}
            Err(error @ Failed::Unmade(_)) => return error,
            Err(_) => {
                ground.scene.tally.refused();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
