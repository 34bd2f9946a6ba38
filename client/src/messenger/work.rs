//! The proof of work of an envelope, on all cores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sotto_proto::pow::{Difficulty, Nonce, Search, Work};

use super::Error;

/// Between two words about work that takes long.
const TELL: Duration = Duration::from_millis(250);

/// Searches on all cores, beside the runtime, and tells how many trials there were. Dropped, the search ends.
pub(super) async fn prove(
    work: Work,
    difficulty: Difficulty,
    start: Nonce,
    mut tell: impl FnMut(u64),
) -> Result<(Nonce, Duration), Error> {
    struct Cancel(Arc<Search>);
    impl Drop for Cancel {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let search = Cancel(Arc::new(Search::new()));
    let shared = Arc::clone(&search.0);
    let began = Instant::now();
    let mut found = tokio::task::spawn_blocking(move || work.prove(difficulty, start, &shared));
    let found = loop {
        tokio::select! {
            found = &mut found => break found,
            () = tokio::time::sleep(TELL) => tell(search.0.attempts()),
        }
    };
    let nonce = found
        .map_err(|error| Error::Unsendable(format!("the search for the proof of work ended: {error}")))?
        .map_err(|error| Error::Unsendable(error.to_string()))?;
    Ok((nonce, began.elapsed()))
}
