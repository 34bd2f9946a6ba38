//! Subscribers: real messengers that follow their mail, each on a thread of its own, and note when a message is shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sotto_client::messenger::{Continue, Followed};
use sotto_client::store::{InboxMessage, Letter, OpenAccount};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::devices::{Running, failed, messenger, on_a_thread};
use super::network::Network;
use super::stamping::MessageIds;
use crate::failure::{Exit, Failure};

/// How long all may take to subscribe.
const SUBSCRIBE: Duration = Duration::from_secs(60);
/// How long one may take to end.
const END: Duration = Duration::from_secs(10);

/// When messages were shown, by number; more than once is a defect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    pub(super) shown: BTreeMap<usize, Instant>,
    pub(super) twice: u64,
    /// How often a follower said that the network does not answer.
    pub(super) interruptions: u64,
}

/// Messengers that follow.
pub(super) struct Followers {
    arrivals: Arc<Mutex<Arrivals>>,
    subscribed: watch::Receiver<usize>,
    /// Dropped, it ends them.
    stop: DropGuard,
    running: Vec<Running<()>>,
}

impl Followers {
    /// Begins with these accounts.
    pub(super) fn begin(network: &Arc<Network>, accounts: Vec<OpenAccount>, ids: MessageIds) -> Result<Self, Failure> {
        let (arrivals, stop) = (Arc::<Mutex<Arrivals>>::default(), CancellationToken::new());
        let (sender, subscribed) = watch::channel(0);
        let sender = Arc::new(sender);
        let mut running = Vec::new();
        for (index, account) in accounts.into_iter().enumerate() {
            let (network, arrivals, stop) = (Arc::clone(network), Arc::clone(&arrivals), stop.clone());
            let sender = Arc::clone(&sender);
            running.push(on_a_thread(&format!("follower{index}"), move || async move {
                Box::pin(follow(&network, account, ids, &arrivals, &sender, &stop)).await
            })?);
        }
        Ok(Self { arrivals, subscribed, stop: stop.drop_guard(), running })
    }

    /// Waits until all are subscribed.
    pub(super) async fn subscribed(&mut self) -> Result<(), Failure> {
        let wanted = self.running.len();
        let all = self.subscribed.wait_for(|count| *count >= wanted);
        let subscribed = tokio::time::timeout(SUBSCRIBE, all).await.map(|all| all.is_ok());
        match subscribed {
            Ok(true) => Ok(()),
            // All senders are gone: somebody has something to tell.
            Ok(false) => self.failure().await,
            Err(_) => {
                let message = format!("not all of {wanted} followers are subscribed after {SUBSCRIBE:?}");
                Err(Failure::new(Exit::Timeout, message).hint("sotto-testnet status    # are all nodes well?"))
            }
        }
    }

    async fn failure(&mut self) -> Result<(), Failure> {
        for follower in self.running.drain(..) {
            follower.result(END).await?;
        }
        Err(Failure::new(Exit::Internal, "the followers ended"))
    }

    /// How many messages were shown so far.
    pub(super) fn shown(&self) -> usize {
        self.lock().shown.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them all; returns what was shown.
    pub(super) async fn end(self) -> Result<Arrivals, Failure> {
        drop(self.stop);
        for follower in self.running {
            follower.result(END).await?;
        }
        Ok(self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn follow(
    network: &Network,
    account: OpenAccount,
    ids: MessageIds,
    arrivals: &Mutex<Arrivals>,
    subscribed: &watch::Sender<usize>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut messenger = messenger(network, account).await?;
    let mut is_subscribed = false;
    let following = messenger.follow(|happened, store| {
        match happened {
            Followed::Subscribed { .. } => {
                if !std::mem::replace(&mut is_subscribed, true) {
                    subscribed.send_modify(|count| *count += 1);
                }
            }
            Followed::Messages(messages) => {
                let now = Instant::now();
                let numbers: Vec<_> = messages.iter().map(|message| message.number).collect();
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).note(&messages, ids, now);
                if store.mark_shown(&numbers).is_err() {
                    return Continue::No;
                }
            }
            Followed::Noticed(_) => {}
            Followed::Interrupted(_) => {
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).interruptions += 1;
            }
        }
        Continue::Yes
    });
    tokio::select! {
        followed = Box::pin(following) => followed.map_err(|error| failed(&error)),
        () = stop.cancelled() => Ok(()),
    }
}

impl Arrivals {
    fn note(&mut self, messages: &[InboxMessage], ids: MessageIds, now: Instant) {
        for number in messages.iter().filter_map(|message| number(message, ids)) {
            if self.shown.insert(number, now).is_some() {
                self.twice += 1;
            }
        }
    }
}

/// The number of a message of this run.
pub(crate) fn number(message: &InboxMessage, ids: MessageIds) -> Option<usize> {
    match &message.letter {
        Letter::Message { content, .. } => ids.number(&content.id),
        Letter::Newer { .. } => None,
    }
}
