//! The sender: sends what is asked for, and in between what waits, as long as the daemon runs.

use std::collections::VecDeque;
use std::time::Duration;

use sotto_proto::content::MessageId;
use tokio::sync::mpsc::Receiver;

use super::super::context::{Context, clock};
use super::super::recipient::called;
use super::super::sending::{Queued, became, told};
use super::engine::{Engine, Job};
use crate::messenger::{Error, Messenger, Mode, Sent, Went};

/// Between two looks for messages whose time to be tried again has come.
const LOOK: Duration = Duration::from_secs(5);
/// Between two attempts when the network or the store fails altogether.
const AGAIN: Duration = Duration::from_secs(3);
/// Messages that were sent because they waited, and are remembered for whoever asks for that only then.
const LATELY: usize = 64;

pub(super) fn run(engine: &Engine, mut jobs: Receiver<Job>) {
    let Ok(runtime) = Context::runtime() else { return };
    runtime.block_on(async {
        loop {
            tokio::select! {
                ended = work(engine, &mut jobs) => if let Err(error) = ended {
                    tracing::debug!(%error, "sending is interrupted");
                    // Whoever waits is told why.
                    if let Ok(job) = jobs.try_recv() {
                        job.end(Err(error));
                    }
                },
                () = engine.stopped() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = engine.stopped() => return,
            }
        }
    });
}

async fn work(engine: &Engine, jobs: &mut Receiver<Job>) -> Result<(), Error> {
    let account = engine.on_the_line()?;
    let mut messenger = Messenger::open(engine.genesis().clone(), account, engine.timeout(), |_| ()).await?;
    // The receiver listens, and hears what is acknowledged.
    messenger.leave_listening_to(engine.companion());
    let mut lately = VecDeque::with_capacity(LATELY);
    loop {
        let mut next = jobs.try_recv().ok();
        if next.is_none()
            && let Some(id) = messenger.account().store.due(clock())?
        {
            let Some(queued) = queued(&mut messenger, id)? else { continue };
            if let Some(sent) = send(engine, &mut messenger, queued, None).await? {
                lately.truncate(LATELY - 1);
                lately.push_front(sent);
            }
            continue;
        }
        if next.is_none() {
            tokio::select! {
                job = jobs.recv() => next = job,
                () = engine.companion().waiting.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let Some(job) = next else { continue };
        // It was queued and found waiting before whoever queued it had it sent.
        if let Some(sent) = lately.iter().find(|sent| sent.id == job.queued.id) {
            job.end(Ok(Went::Offline(sent.clone())));
        } else {
            send(engine, &mut messenger, job.queued.clone(), Some(job)).await?;
        }
    }
}

/// Sends a message, and tells everybody of it. Of one that nobody waits for, what came of it if it is stored.
async fn send(
    engine: &Engine,
    messenger: &mut Messenger,
    queued: Queued,
    job: Option<Job>,
) -> Result<Option<Sent>, Error> {
    let id = queued.id;
    let mode = job.as_ref().map_or(Mode::Offline, |job| job.mode);
    let sent: Result<Went, Error> = messenger
        .send_by(&id, mode, |step| {
            let (mut document, _) = told(&step);
            if let Some(document) = document.as_object_mut() {
                document.insert("type".into(), "send.progress".into());
                document.insert("id".into(), id.to_string().into());
            }
            engine.tell(document);
            if let Some(job) = &job {
                job.step(step);
            }
        })
        .await;
    engine.tell(became(&queued, &sent, mode).0);
    match (job, sent) {
        (Some(job), sent) => {
            job.end(sent);
            Ok(None)
        }
        (None, Ok(Went::Offline(sent))) => Ok(Some(sent)),
        (None, Err(Error::Store(error))) => Err(error.into()),
        (None, _) => Ok(None),
    }
}

/// The message and its recipient, if there is such a message.
fn queued(messenger: &mut Messenger, id: MessageId) -> Result<Option<Queued>, Error> {
    let store = &mut messenger.account_mut().store;
    let Some(message) = store.outbox_message(&id)? else { return Ok(None) };
    let name = called(&store.reading()?, &message.recipient)?;
    Ok(Some(Queued { id, account: message.recipient, name }))
}
