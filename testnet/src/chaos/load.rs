//! Users at work: writers that send one message after the other, and readers that follow their mail, each a whole
//! messenger with an encrypted store of its own, on a thread of its own.
//!
//! What a writer cannot store stays in its outbox and is tried again, as the app would do it; once the run is over it
//! tries until all is stored or patience ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sotto_client::messenger::{Continue, Followed, Messenger};
use sotto_client::store::{InboxMessage, NewMessage, OpenAccount, Store};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Text};
use sotto_proto::envelope::Ttl;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::history::{Event, Recorder};
use crate::bench::{Devices, MessageIds, Network, Person, Running, messenger, messenger_failed, number, on_a_thread};
use crate::failure::{Exit, Failure};

/// How long messages are kept: longer than any run with its checks.
const TTL_SECONDS: u32 = 7200;
/// When a message that could not be stored is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long writers try to store what is left, after the run.
const LAST_TRIES: Duration = Duration::from_secs(60);
/// How long a user may take to come and to go.
const COME: Duration = Duration::from_secs(60);
const GO: Duration = Duration::from_secs(120);

/// What all users share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) network: Arc<Network>,
    pub(super) ids: MessageIds,
    pub(super) recorder: Recorder,
    /// The number of the next message.
    next: Arc<AtomicUsize>,
    /// Readers that are subscribed.
    subscribed: Arc<watch::Sender<usize>>,
    /// Messages that were shown.
    shown: Arc<AtomicUsize>,
}

impl Common {
    pub(super) fn new(network: Arc<Network>, ids: MessageIds, recorder: Recorder) -> Self {
        let subscribed = Arc::new(watch::channel(0).0);
        Self { network, ids, recorder, next: Arc::default(), subscribed, shown: Arc::default() }
    }
}

/// Users at work.
pub(super) struct Load {
    common: Common,
    writers: Vec<Running<()>>,
    readers: Vec<Running<()>>,
    /// Dropped, they end.
    stop_writers: DropGuard,
    stop_readers: DropGuard,
}

impl Load {
    /// Readers, until all of them are subscribed; nobody writes yet.
    pub(super) async fn begin(common: &Common, devices: &Devices, readers: &[Person]) -> Result<Self, Failure> {
        let (stop_writers, stop_readers) = (CancellationToken::new(), CancellationToken::new());
        let mut running = Vec::new();
        for (index, person) in readers.iter().enumerate() {
            let account = devices.device(&common.network, person, &format!("reader{index}"))?;
            let (common, stop) = (common.clone(), stop_readers.clone());
            running.push(on_a_thread(&format!("reader{index}"), move || async move {
                Box::pin(read(common, account, index, stop)).await
            })?);
        }
        let load = Self {
            common: common.clone(),
            writers: Vec::new(),
            readers: running,
            stop_writers: stop_writers.drop_guard(),
            stop_readers: stop_readers.drop_guard(),
        };
        let mut subscribed = common.subscribed.subscribe();
        let all = subscribed.wait_for(|count| *count >= readers.len());
        if tokio::time::timeout(COME, all).await.is_err() {
            let message = format!("not all of {} readers are subscribed after {COME:?}", readers.len());
            return Err(Failure::new(Exit::Timeout, message).hint("sotto-testnet status    # are all nodes well?"));
        }
        Ok(load)
    }

    /// Has these write, together `rate` messages a second, to the readers in turn.
    pub(super) fn write(
        &mut self,
        devices: &Devices,
        writers: &[Person],
        readers: &[Person],
        rate: u32,
    ) -> Result<(), Failure> {
        let addresses: Arc<[Address]> = readers.iter().map(|person| person.account.address()).collect();
        let every = Duration::from_secs(1) * u32::try_from(writers.len().max(1)).unwrap_or(1) / rate.max(1);
        for (index, person) in writers.iter().enumerate() {
            let account = devices.device(&self.common.network, person, &format!("writer{index}"))?;
            let stop = self.stop_writers.token();
            let (common, addresses, stop) = (self.common.clone(), Arc::clone(&addresses), stop.clone());
            self.writers.push(on_a_thread(&format!("writer{index}"), move || async move {
                let messenger = messenger(&common.network, account).await?;
                let writer = Writer { common, messenger, addresses, unsent: VecDeque::new() };
                Box::pin(writer.run(every, stop)).await
            })?);
        }
        Ok(())
    }

    /// How many messages were shown so far.
    pub(super) fn shown(&self) -> usize {
        self.common.shown.load(Ordering::Relaxed)
    }

    /// How many were written.
    pub(super) fn written(&self) -> usize {
        self.common.next.load(Ordering::Relaxed)
    }

    /// Ends the writers, once they have stored what they can.
    pub(super) async fn end_writers(&mut self) -> Result<(), Failure> {
        let stopped = std::mem::replace(&mut self.stop_writers, CancellationToken::new().drop_guard());
        drop(stopped);
        for writer in self.writers.drain(..) {
            writer.result(GO).await?;
        }
        Ok(())
    }

    /// Ends the readers.
    pub(super) async fn end(self) -> Result<(), Failure> {
        drop(self.stop_readers);
        for reader in self.readers {
            reader.result(GO).await?;
        }
        Ok(())
    }
}

/// Somebody who writes.
struct Writer {
    common: Common,
    messenger: Messenger,
    addresses: Arc<[Address]>,
    /// What could not be stored, with when it is tried again.
    unsent: VecDeque<(Instant, usize)>,
}

impl Writer {
    async fn run(mut self, every: Duration, stop: CancellationToken) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if self.unsent.front().is_some_and(|(at, _)| *at <= Instant::now())
                && let Some((_, message)) = self.unsent.pop_front()
            {
                self.attempt(message).await?;
            }
            let message = self.enqueue()?;
            self.attempt(message).await?;
        }
        let until = Instant::now() + LAST_TRIES;
        while Instant::now() < until
            && let Some((_, message)) = self.unsent.pop_front()
        {
            self.attempt(message).await?;
            if !self.unsent.is_empty() {
                tokio::time::sleep(every).await;
            }
        }
        Ok(())
    }

    /// Puts the next message into the outbox.
    fn enqueue(&mut self) -> Result<usize, Failure> {
        let message = self.common.next.fetch_add(1, Ordering::Relaxed);
        let reader = message % self.addresses.len().max(1);
        let now = self.messenger.clock().now();
        let text = Text::new(format!("message {message} to reader {reader}")).map_err(|error| broken(&error))?;
        let ttl = Ttl::new(TTL_SECONDS).ok_or_else(|| broken(&"no such time to live"))?;
        let content = Content::new(self.common.ids.id(message), now, Body::Text(text));
        let recipient = *self.addresses.get(reader).ok_or_else(|| broken(&"nobody to write to"))?;
        self.common.recorder.note(Event::Intent { message, reader });
        let new = NewMessage::plain(recipient, content, ttl, now);
        self.messenger.account_mut().store.enqueue(&new).map_err(|error| messenger_failed(&error))?;
        Ok(message)
    }

    async fn attempt(&mut self, message: usize) -> Result<(), Failure> {
        let began = Instant::now();
        let sent = Box::pin(self.messenger.send(&self.common.ids.id(message), |_| ())).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let event = match sent {
            Ok(sent) => Event::Acked {
                message,
                record: sent.record.to_string(),
                expiry: self.messenger.clock().now().seconds().0.saturating_add(TTL_SECONDS.into()),
                receipts: sent.members.len(),
                took_ms,
            },
            Err(error) => {
                self.unsent.push_back((Instant::now() + AGAIN, message));
                Event::Failed { message, error: error.to_string(), took_ms }
            }
        };
        self.common.recorder.note(event);
        Ok(())
    }
}

async fn read(common: Common, account: OpenAccount, reader: usize, stop: CancellationToken) -> Result<(), Failure> {
    let mut messenger = messenger(&common.network, account).await?;
    let mut is_subscribed = false;
    let following = messenger.follow(|happened, store| {
        match happened {
            Followed::Subscribed { .. } => {
                if !std::mem::replace(&mut is_subscribed, true) {
                    common.subscribed.send_modify(|count| *count += 1);
                }
            }
            Followed::Messages(messages) => return shown(&common, reader, &messages, store),
            Followed::Interrupted(_) | Followed::Noticed(_) => {}
        }
        Continue::Yes
    });
    tokio::select! {
        followed = Box::pin(following) => followed.map_err(|error| messenger_failed(&error)),
        () = stop.cancelled() => Ok(()),
    }
}

fn shown(common: &Common, reader: usize, messages: &[InboxMessage], store: &mut Store) -> Continue {
    for message in messages {
        common.recorder.note(Event::Shown { message: number(message, common.ids), reader });
        common.shown.fetch_add(1, Ordering::Relaxed);
    }
    let numbers: Vec<_> = messages.iter().map(|message| message.number).collect();
    if store.mark_shown(&numbers).is_err() { Continue::No } else { Continue::Yes }
}

fn broken(reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("a writer: {reason}"))
}
