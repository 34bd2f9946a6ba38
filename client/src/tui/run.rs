//! Terminal, daemon and clock together.

use std::io;
use std::time::Duration;

use crossterm::event::{Event as Key, EventStream};
use futures::StreamExt as _;
use serde_json::json;
use sotto_proto::time::UnixMillis;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::app::{App, Effect, Input};
use super::draw::{Palette, draw};
use super::terminal::Terminal;
use crate::rpc_client::{self, Calls, Client, Events};

/// Between two looks at the clock: how long a draft may be unkept.
const TICK: Duration = Duration::from_secs(2);
/// Between two attempts to reach a daemon that went away.
const AGAIN: Duration = Duration::from_secs(1);
/// How long drafts may take to be kept at the end.
const LAST: Duration = Duration::from_secs(2);

/// What it takes to begin.
pub(crate) struct Options<C> {
    /// Connects with the daemon; again, if it went away.
    pub(crate) connect: C,
    /// The clock.
    pub(crate) clock: fn() -> UnixMillis,
    /// Whether colours are used.
    pub(crate) color: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As it was asked to.
    Quit,
    /// By SIGTERM or SIGHUP.
    Terminated,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no daemon.
    #[error(transparent)]
    Daemon(#[from] rpc_client::Error),
    /// The terminal cannot be used.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Runs until it is asked to end.
///
/// # Errors
/// When there is no daemon at first, or no terminal. A daemon that goes away later is looked for again.
pub(crate) async fn run<C>(mut options: Options<C>) -> Result<Ended, Error>
where
    C: AsyncFnMut() -> Result<(Client, Events), rpc_client::Error>,
{
    let connected = (options.connect)().await?;
    let mut screen = Screen {
        terminal: Terminal::take()?,
        app: App { now: (options.clock)(), ..App::default() },
        keys: EventStream::new(),
        clock: options.clock,
        palette: Palette { color: options.color },
        terminated: signal(SignalKind::terminate())?,
        hung_up: signal(SignalKind::hangup())?,
        ended: Ended::Quit,
    };
    screen.stay(connected, options.connect).await?;
    Ok(screen.ended)
}

/// What happened next.
enum Next {
    Input(Input),
    /// The daemon has gone away.
    Lost,
    /// Nobody types any more.
    End,
}

struct Screen {
    terminal: Terminal,
    app: App,
    keys: EventStream,
    clock: fn() -> UnixMillis,
    palette: Palette,
    terminated: Signal,
    hung_up: Signal,
    ended: Ended,
}

impl Screen {
    /// Works with one daemon after the other, until the user ends it.
    async fn stay(
        &mut self,
        (client, events): (Client, Events),
        mut connect: impl AsyncFnMut() -> Result<(Client, Events), rpc_client::Error>,
    ) -> Result<(), Error> {
        let (mut client, mut events) = (client, events);
        loop {
            if self.serve(client, events).await? {
                return Ok(());
            }
            (client, events) = loop {
                // Keys do what they can without a daemon.
                if self.wait(AGAIN).await? {
                    return Ok(());
                }
                if let Ok(connected) = connect().await {
                    break connected;
                }
            };
        }
    }

    /// Works with a daemon. Whether the user ended it; else the daemon did.
    async fn serve(&mut self, client: Client, mut events: Events) -> Result<bool, Error> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Everything that nobody has acknowledged is told, and then what comes.
        let subscribed = client.clone();
        let subscribing = tokio::spawn(async move { subscribed.call("events.subscribe", json!({})).await });
        let mut calls = Calls::new(client);
        let mut next = Next::Input(Input::Connected);
        loop {
            match next {
                Next::Input(input) => {
                    if self.take(input, &mut calls)? {
                        break;
                    }
                }
                Next::End => break,
                Next::Lost => {
                    subscribing.abort();
                    self.take(Input::Lost("it has gone away".to_owned()), &mut calls)?;
                    // What was asked and not answered: nothing that was written is lost.
                    while !calls.is_empty() {
                        let answered = calls.next().await;
                        self.take(Input::Answered(Box::new(answered)), &mut calls)?;
                    }
                    return Ok(false);
                }
            }
            next = tokio::select! {
                key = self.keys.next() => key_input(key)?,
                _ = self.terminated.recv() => self.terminate(),
                _ = self.hung_up.recv() => self.terminate(),
                told = events.next() => told.map_or(Next::Lost, |event| Next::Input(Input::Told(event))),
                answered = calls.next() => Next::Input(Input::Answered(Box::new(answered))),
                _ = ticks.tick() => Next::Input(Input::Tick((self.clock)())),
            };
        }
        subscribing.abort();
        // What is still to be kept is kept.
        let _ = timeout(LAST, async {
            while !calls.is_empty() {
                tokio::select! {
                    _ = calls.next() => {}
                    told = events.next() => if told.is_err() { return },
                }
            }
        })
        .await;
        Ok(true)
    }

    /// Takes something in, does what follows from it, and draws. Whether it is the end.
    fn take(&mut self, input: Input, calls: &mut Calls) -> Result<bool, Error> {
        let mut is_end = false;
        let effects = self.app.update(input);
        // A call that is made without a daemon is answered by nobody.
        for effect in effects {
            match effect {
                Effect::Call(call) => calls.begin(call),
                Effect::Bell => self.terminal.bell()?,
                Effect::Redraw => self.terminal.clear()?,
                Effect::Quit => is_end = true,
            }
        }
        self.draw()?;
        Ok(is_end)
    }

    /// Waits without a daemon. Whether the user ended it.
    async fn wait(&mut self, pause: Duration) -> Result<bool, Error> {
        let end = tokio::time::sleep(pause);
        tokio::pin!(end);
        loop {
            let input = tokio::select! {
                key = self.keys.next() => match key_input(key)? {
                    Next::Input(input) => input,
                    Next::Lost | Next::End => return Ok(true),
                },
                _ = self.terminated.recv() => {
                    self.ended = Ended::Terminated;
                    return Ok(true);
                },
                _ = self.hung_up.recv() => {
                    self.ended = Ended::Terminated;
                    return Ok(true);
                },
                () = &mut end => return Ok(false),
            };
            let effects = self.app.update(input);
            if effects.contains(&Effect::Redraw) {
                self.terminal.clear()?;
            }
            self.draw()?;
            if effects.contains(&Effect::Quit) {
                return Ok(true);
            }
        }
    }

    /// Somebody else ends it.
    fn terminate(&mut self) -> Next {
        self.ended = Ended::Terminated;
        Next::Input(Input::End)
    }

    fn draw(&mut self) -> io::Result<()> {
        let (app, palette) = (&self.app, self.palette);
        self.terminal.draw(|frame| draw(frame, app, palette))
    }
}

fn key_input(key: Option<io::Result<Key>>) -> io::Result<Next> {
    let input = match key.transpose()? {
        None => return Ok(Next::End),
        Some(Key::Key(key)) => Input::Key(key),
        Some(Key::Paste(text)) => Input::Paste(text),
        Some(Key::Resize(..) | Key::FocusGained | Key::FocusLost | Key::Mouse(_)) => Input::Resized,
    };
    Ok(Next::Input(input))
}
