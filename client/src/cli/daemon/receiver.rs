//! The receiver: follows the account's mailboxes as long as the daemon runs.

use std::time::Duration;

use super::super::context::Context;
use super::super::noticed;
use super::engine::{Connection, Engine};
use crate::messenger::{Continue, Error, Followed, Messenger};

/// Between two attempts when the network or the store fails altogether.
const AGAIN: Duration = Duration::from_secs(3);

pub(super) fn run(engine: &Engine) {
    let runtime = match Context::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return interrupted(engine, error.message),
    };
    runtime.block_on(async {
        loop {
            let ended = tokio::select! {
                ended = follow(engine) => ended,
                () = engine.stopped() => return,
            };
            if let Err(error) = ended {
                interrupted(engine, error.to_string());
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = engine.stopped() => return,
            }
        }
    });
}

fn interrupted(engine: &Engine, reason: String) {
    tracing::debug!(%reason, "not connected");
    engine.set_connection(Connection::Interrupted { reason });
}

async fn follow(engine: &Engine) -> Result<(), Error> {
    let account = engine.on_the_line()?;
    let mut messenger = Messenger::open(engine.genesis().clone(), account, engine.timeout(), |_| ()).await?;
    messenger.accompany(engine.companion().clone());
    messenger.listen_while_following();
    messenger
        .follow(|happened, _| {
            match happened {
                Followed::Subscribed { members } => engine.set_connection(Connection::Connected { members }),
                Followed::Interrupted(error) => interrupted(engine, error.to_string()),
                Followed::Noticed(notices) => {
                    for notice in &notices {
                        engine.tell(noticed::document(&engine.own(), notice));
                    }
                }
                Followed::Messages(messages) => {
                    if let Some(last) = messages.last() {
                        engine.came(last.number);
                    }
                }
            }
            Continue::Yes
        })
        .await
}
