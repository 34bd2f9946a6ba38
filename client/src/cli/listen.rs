//! `sotto listen`: what comes, for programs, as long as it runs.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::daemon::Attached;
use super::daemon::link::Link;
use super::{CliError, Exit};
use crate::text::printable_line;

/// How long mail is waited for at once.
const WAIT: Duration = Duration::from_secs(30);
/// The first pause before the daemon is looked for again, doubled up to the second.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// Show what comes, as long as it runs; or have a command answer it
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Run this with sh for each message: the event is its standard input, and what it prints is sent as the answer
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// When the daemon ends, wait for it to come back instead of ending with code 3
    #[arg(long)]
    reconnect: bool,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
}

impl Listen {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut left = self.max.unwrap_or(u64::MAX);
        let mut pause = PAUSE;
        loop {
            // Whoever has listened through the daemon does not take the account from it while it restarts.
            let attached = Attached::open(context);
            let is_own = attached.as_ref().is_ok_and(Attached::is_own);
            let ended = attached.and_then(|attached| {
                pause = PAUSE;
                self.listen(context, &mut attached.link()?, &mut left)
            });
            match ended {
                Err(error) if self.reconnect && !is_own && error.exit == Exit::Network => {
                    context.out.say(format!("{}; waiting for it", error.message));
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(PAUSE_MOST);
                }
                ended => return ended,
            }
        }
    }

    fn listen(&self, context: &Context, link: &mut Link, left: &mut u64) -> Result<Exit, CliError> {
        let wait = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        while *left > 0 {
            let taken = link.ask("inbox.take", &json!({"limit": 1, "waitMs": wait}))?;
            let messages = taken.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for message in messages {
                let document = message.get("document").unwrap_or(&Value::Null);
                let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
                context.out.result(document, text)?;
                if let Some(command) = &self.exec {
                    self.answer(context, link, command, document)?;
                }
                // What was shown or answered in vain is told again.
                link.ask("events.ack", &json!({"cursor": message.get("cursor")}))?;
                *left -= 1;
            }
        }
        Ok(Exit::Done)
    }

    /// Runs the command with an event, and sends what it prints.
    fn answer(&self, context: &Context, link: &mut Link, command: &str, event: &Value) -> Result<(), CliError> {
        let output = run(command, event).map_err(|error| CliError::io("run", command, &error))?;
        if !output.status.success() {
            context.out.say(format!("the command ended with {}", output.status));
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        let answer = answer.trim_end();
        let (Some(sender), false) = (event.pointer("/data/sender").and_then(Value::as_str), answer.is_empty()) else {
            return Ok(());
        };
        let sent = link.ask("send", &json!({"recipients": [sender], "message": answer}));
        match sent {
            Err(error) if error.exit == Exit::Network && error.code == "daemon" => Err(error),
            Err(error) => {
                context.out.say(format!("not sent yet: {}", printable_line(&error.message)));
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

fn run(command: &str, event: &Value) -> std::io::Result<std::process::Output> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // It need not read it.
        let _ = writeln!(input, "{event}");
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_the_event_and_answers() {
        let output = run("sed 's/.*\"body\":\"\\([a-z]*\\)\".*/you said \\1/'", &json!({"body": "hi"})).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "you said hi\n");
        assert!(!run("exit 3", &Value::Null).unwrap().status.success());
    }
}
