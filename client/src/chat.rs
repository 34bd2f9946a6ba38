//! `sotto chat`: conversations line by line, as a client of the daemon. For any terminal, for screen readers, and for pipes:
//! nothing is moved or drawn over, but the prompt itself.
//!
//! ```text
//!  lines ──▶ ┌─────────┐ ──calls──▶ daemon
//!            │ Session │ ◀─answers, events
//!  text ◀─── └─────────┘
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `command` | what a line says |
//! | `session` | what follows from it, and from what the daemon says |
//! | `input` | lines, from a terminal or a pipe |

mod command;
mod input;
mod session;

use std::io::{self, Write};

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use self::input::Input;
use self::session::{Said, Session};
use crate::rpc_client::{self, Calls, Client, Events};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing more is said.
    Done,
    /// The same, and some of the lines did not do what they say.
    Failed,
    /// By SIGTERM or SIGHUP.
    Terminated,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon is not there any more.
    #[error(transparent)]
    Daemon(#[from] rpc_client::Error),
    /// Nothing can be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Where text goes.
pub(crate) type Output = Box<dyn Write + Send>;

/// Speaks with the daemon as the lines say, until they end. `with` is whom the first plain line is for.
///
/// # Errors
/// When the daemon goes away.
pub(crate) async fn run(
    (client, events): (Client, Events),
    input: Input,
    output: Output,
    with: Option<String>,
) -> Result<Ended, Error> {
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    client.call("events.subscribe", json!({})).await?;
    let session = Session::new(with, input.is_terminal());
    let mut chat = Chat { session, calls: Calls::new(client), input, output, is_asked: false };
    chat.go_on(events, signals).await
}

struct Chat {
    session: Session,
    calls: Calls,
    input: Input,
    output: Output,
    /// Whether a line is being waited for.
    is_asked: bool,
}

impl Chat {
    async fn go_on(&mut self, mut events: Events, signals: (Signal, Signal)) -> Result<Ended, Error> {
        let (mut terminated, mut hung_up) = signals;
        let begun = self.session.begin();
        self.say(begun)?;
        loop {
            // A line is taken once all of the one before is done.
            if self.calls.is_empty() && !self.is_asked {
                if self.session.is_ended() {
                    break;
                }
                self.is_asked = true;
                self.input.ask(&self.session.prompt());
            }
            let said = tokio::select! {
                // What came before is written before the next line is taken.
                biased;
                _ = terminated.recv() => return Ok(Ended::Terminated),
                _ = hung_up.recv() => return Ok(Ended::Terminated),
                event = events.next() => self.session.told(event?),
                answered = self.calls.next(), if !self.calls.is_empty() => self.session.answered(answered),
                line = self.input.next(), if self.is_asked => {
                    self.is_asked = false;
                    match line {
                        Some(line) => self.session.line(&line?),
                        None => break,
                    }
                }
            };
            self.say(said)?;
        }
        Ok(if self.session.has_failed() { Ended::Failed } else { Ended::Done })
    }

    /// Writes, and then asks: what is seen is written before it is said to be seen.
    fn say(&mut self, said: Said) -> io::Result<()> {
        if !said.lines.is_empty() {
            let text = said.lines.join("\n") + "\n";
            self.output.write_all(text.as_bytes())?;
            self.output.flush()?;
        }
        said.calls.into_iter().for_each(|call| self.calls.begin(call));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
