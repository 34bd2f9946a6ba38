//! Catching up: one fresh messenger fetches everything that waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sotto_client::store::OpenAccount;

use super::devices::{failed, messenger, on_a_thread};
use super::followers::number;
use super::latency::in_ms;
use super::network::Network;
use super::stamping::MessageIds;
use crate::failure::Failure;

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(60);
/// Polls until everything is there.
const POLLS: usize = 10;

/// What catching up took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Messages that were sent to wait.
    pub messages: u64,
    /// Different ones of them that are there.
    pub received: u64,
    /// From opening the network, with no node list yet, to being able to ask.
    pub open_ms: f64,
    /// From asking to having the last message in the encrypted store: list, path, two members, opening every message.
    pub took_ms: f64,
    /// Polls it took.
    pub polls: u64,
}

/// Fetches `waiting` messages.
pub(super) async fn run(
    network: &Arc<Network>,
    account: OpenAccount,
    ids: MessageIds,
    waiting: usize,
) -> Result<CatchUp, Failure> {
    let network = Arc::clone(network);
    let fetching = on_a_thread("catch-up", move || async move {
        let began = Instant::now();
        let mut messenger = messenger(&network, account).await?;
        let open_ms = in_ms(began.elapsed());
        let (began, mut seen, mut polls) = (Instant::now(), BTreeSet::new(), 0);
        while seen.len() < waiting && polls < POLLS {
            let received = Box::pin(messenger.receive()).await.map_err(|error| failed(&error))?;
            seen.extend(received.messages.iter().filter_map(|message| number(message, ids)));
            polls += 1;
        }
        let took_ms = in_ms(began.elapsed());
        let (messages, received) = (waiting as u64, seen.len() as u64);
        Ok(CatchUp { messages, received, open_ms, took_ms, polls: polls as u64 })
    })?;
    fetching.result(PATIENCE).await
}
