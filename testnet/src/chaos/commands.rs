//! Programs that change the kernel's rules: they are told commands on their standard input, and say what they list.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::failure::{Context as _, Exit, Failure};

/// Runs commands of the packet filter, all or none; returns what it says.
///
/// # Errors
/// [`Failure`] if there is no `nft`, or it refuses.
pub(super) async fn nft(commands: &str) -> Result<String, Failure> {
    let missing = "apt-get install nftables    # and as root";
    tell("nft", &["-f", "-"], commands, ("the packet filter", missing)).await
}

/// Runs commands of the traffic control up to the first that it refuses; returns what it says.
///
/// # Errors
/// [`Failure`] if there is no `tc`, or it refuses.
pub(super) async fn tc(commands: &str) -> Result<String, Failure> {
    let missing = "apt-get install iproute2    # and as root";
    tell("tc", &["-batch", "-"], commands, ("the traffic control", missing)).await
}

/// Whether the packet filter does all this, as far as it can be tried.
pub(super) async fn nft_would(commands: &str) -> bool {
    would(&["nft", "-f", "-"], commands, "list tables\n").await
}

/// The same of the traffic control.
pub(super) async fn tc_would(commands: &str) -> bool {
    would(&["tc", "-batch", "-"], commands, "qdisc show dev lo\n").await
}

/// Whether a program does all this. It is tried in a network of its own, which goes with whoever tries it. To make one
/// takes more rights than the commands do: who may not is only asked for a `look`.
async fn would(program: &[&str], commands: &str, look: &str) -> bool {
    let unshare =
        async |words: &[&str], input| tell("unshare", &[&["--net"][..], words].concat(), input, ("", "")).await;
    if unshare(&["true"], "").await.is_ok() {
        return unshare(program, commands).await.is_ok();
    }
    let Some((name, arguments)) = program.split_first() else { return false };
    tell(name, arguments, look, ("", "")).await.is_ok()
}

async fn tell(program: &str, arguments: &[&str], input: &str, (who, missing): (&str, &str)) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("run", program).map_err(|failure| failure.hint(missing))?;
    let told = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input.as_bytes()).await,
        None => Ok(()),
    };
    let output = child.wait_with_output().await.context("hear from", program)?;
    if output.status.success() {
        return told.context("tell", program).map(|()| String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Whoever refuses a command may not read the rest: that is not what went wrong.
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no reason given").to_owned();
    Err(Failure::new(Exit::Failed, format!("{who} refuses: {first}")).hint(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_says_is_returned_and_a_refusal_is_a_failure_that_says_what_to_do() {
        let who = ("the shell", "do something else");
        let told = |input| tell("sh", &["-s"], input, who);
        assert_eq!(told("echo one\necho two\n").await.unwrap(), "one\ntwo\n");
        let failure = told("echo 'not this' >&2; exit 2\n").await.unwrap_err();
        assert_eq!(failure.message, "the shell refuses: not this");
        assert_eq!(failure.hint.as_deref(), Some("do something else"));
        // It ends before it has read all, which is more than a pipe holds.
        let long = format!("echo early >&2; exit 1\n{}", "#\n".repeat(200_000));
        assert_eq!(told(&long).await.unwrap_err().message, "the shell refuses: early");
        assert!(tell("sotto-no-such-program", &[], "", who).await.unwrap_err().hint.is_some());
    }

    #[tokio::test]
    async fn commands_are_tried_in_a_network_of_their_own_and_where_there_can_be_none_a_look_decides() {
        let (shell, good, bad) = (["sh", "-s"], "exit 0\n", "exit 1\n");
        assert!(would(&shell, good, good).await && !would(&shell, bad, bad).await);
        let apart = tell("unshare", &["--net", "true"], "", ("", "")).await.is_ok();
        assert_eq!(would(&shell, good, bad).await, apart);
        assert_eq!(would(&shell, bad, good).await, !apart);
    }
}
