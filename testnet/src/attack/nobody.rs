//! No attack: what a busy machine alone does to honest users, for comparison. It has no goals but that nobody dies.

use std::hint::black_box;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::task::JoinSet;

use super::{Attack, Scene};

/// Steps between two looks at whether to stop.
const STEPS: u64 = 1 << 16;

/// The only one.
pub(super) const CONTROL: Attack = Attack {
    name: "nobody",
    what: "no attack: the attackers keep every processor busy and send nothing; what is felt is the machine's doing",
    start: |scene| busy(scene).boxed(),
};

async fn busy(scene: Arc<Scene>) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut burners = JoinSet::new();
    for _ in 0..cores {
        let stop = scene.stop.clone();
        burners.spawn_blocking(move || {
            while !stop.is_cancelled() {
                black_box((0..STEPS).fold(0_u64, |sum, step| black_box(sum.rotate_left(5) ^ step)));
            }
        });
    }
    while let Some(ended) = burners.join_next().await {
        ended.map_err(|error| error.to_string())?;
    }
    Ok(())
}
