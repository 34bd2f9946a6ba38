//! Running the operator's command once.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// How long it may run.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended well.
    Told,
    /// It could not be run, or ended with an error.
    Failed,
    /// It took too long.
    Killed,
}

impl Outcome {
    /// A fixed name for metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

/// Runs a shell command with `line` on its standard input, for at most `limit`.
pub(super) async fn run(command: &str, line: &str, limit: Duration) -> Outcome {
    let mut running = match Running::start(command) {
        Ok(running) => running,
        Err(error) => {
            tracing::warn!(%error, "the command of on-event cannot be run");
            return Outcome::Failed;
        }
    };
    match tokio::time::timeout(limit, running.finish(line)).await {
        Ok(Ok(status)) if status.success() => Outcome::Told,
        Ok(Ok(status)) => {
            tracing::warn!(%status, "the command of on-event failed");
            Outcome::Failed
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the command of on-event failed");
            Outcome::Failed
        }
        Err(_) => {
            tracing::warn!("the command of on-event ran for more than {} s and was killed", limit.as_secs());
            running.kill();
            let _status = running.0.wait().await; // the next one runs when this one is gone
            Outcome::Killed
        }
    }
}

/// The command and whatever it has started; killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, to be killed as a whole; and it does not speak to systemd in the node's name.
        shell.process_group(0).env_remove("NOTIFY_SOCKET");
        shell.spawn().map(Self)
    }

    async fn finish(&mut self, line: &str) -> io::Result<ExitStatus> {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _unread = stdin.write_all(line.as_bytes()).await; // a command may end without reading it
        }
        self.0.wait().await
    }

    fn kill(&self) {
        // There is an id until the end was seen, so it is no other process's by now.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            let _gone = kill_process_group(group, Signal::KILL); // it may have ended by itself
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_line_comes_on_standard_input_and_not_in_the_environment_or_arguments() {
        let directory = tempfile::tempdir().unwrap();
        let (heard, seen) = (directory.path().join("heard"), directory.path().join("seen"));
        let command = format!(
            "cat > '{}'; {{ env; tr '\\0' '\\n' < /proc/$$/cmdline; }} > '{}'",
            heard.display(),
            seen.display()
        );
        assert_eq!(run(&command, "{\"word\":\"sesame\"}\n", LIMIT).await, Outcome::Told);
        assert_eq!(std::fs::read_to_string(heard).unwrap(), "{\"word\":\"sesame\"}\n");
        let seen = std::fs::read_to_string(seen).unwrap();
        assert!(seen.contains("cat >") && !seen.contains("sesame"), "{seen}");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_does_not_listen_is_no_trouble() {
        assert_eq!(run("exit 3", "line\n", LIMIT).await, Outcome::Failed);
        assert_eq!(run("true", &"x".repeat(1 << 20), LIMIT).await, Outcome::Told);
    }

    /// Waits until `check` gives something.
    async fn wait_for<T>(check: impl Fn() -> Option<T>) -> T {
        let look = async {
            loop {
                if let Some(found) = check() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // between two looks at a condition
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look).await.unwrap()
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed() {
        let start = Instant::now();
        assert_eq!(run("sleep 60", "line\n", Duration::from_millis(50)).await, Outcome::Killed);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn what_a_command_has_started_is_killed_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let running = Running::start(&format!("sleep 60 & echo $! > '{}'; wait", path.display())).unwrap();
        let pid: u32 = wait_for(|| std::fs::read_to_string(&path).ok()?.trim().parse().ok()).await;
        drop(running);
        // Gone, or dead and not buried: whoever is the parent now may take its time.
        wait_for(|| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z ").then_some(()),
            Err(_) => Some(()),
        })
        .await;
    }
}
