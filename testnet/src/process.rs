//! A child process with its keeper.
//!
//! ```text
//! supervisor ──Order (bound 4)──▶ keeper task: owns the child and its stdin pipe, reaps it
//!            ◀──watch(State)────
//!            ◀──Exit (bound 256, unexpected ends only)
//! ```
//! Only the keeper sends signals, and never after it has reaped the child: a pid that the system gave to somebody else
//! in between cannot be hit. The child ends when its stdin does, so it outlives neither the keeper nor a launcher that
//! was killed. It has a process group of its own: Ctrl-C in the terminal reaches the launcher alone, which then ends
//! its children in order. (Should the launcher die while a child is paused, the kernel wakes the orphaned group.)

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, watch};

/// Orders that may wait for a keeper.
const ORDERS: usize = 4;

/// How a child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was stopped by us and holds everything it has.
    Paused,
    /// It ended; how.
    Exited(String),
}

/// A child that ended although nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which child.
    pub label: String,
    /// How it ended.
    pub how: String,
}

/// What a keeper can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Stop,
    Kill,
    Pause,
    Resume,
}

/// A handle on a running, paused or ended child; the child is killed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
}

impl Process {
    /// Starts `command` with its output appended to `log`; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn spawn(label: &str, mut command: Command, log: &Path, exits: mpsc::Sender<Exit>) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let errors: File = output.try_clone()?;
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut command = tokio::process::Command::from(command);
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take();
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (orders, received) = mpsc::channel(ORDERS);
        let (sender, state) = watch::channel(State::Running);
        let keeper = Keeper { label: label.to_owned(), child, stdin, state: sender, asked_to_end: false };
        tokio::spawn(keeper.run(received, exits));
        Ok(Self { pid, orders, state })
    }

    /// Its process id, also after its end.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Asks it to end, by the end of its stdin, and kills it after `grace`. Returns when it is gone.
    pub async fn stop(&self, grace: Duration) {
        self.order(Order::Stop).await;
        if tokio::time::timeout(grace, self.gone()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills it (SIGKILL). Returns when it is gone.
    pub async fn kill(&self) {
        self.order(Order::Kill).await;
        self.gone().await;
    }

    /// Freezes it (SIGSTOP): it keeps its connections and answers nobody.
    pub async fn pause(&self) {
        self.order(Order::Pause).await;
        self.until(|state| *state != State::Running).await;
    }

    /// Lets it go on (SIGCONT).
    pub async fn resume(&self) {
        self.order(Order::Resume).await;
        self.until(|state| *state != State::Paused).await;
    }

    async fn gone(&self) {
        self.until(|state| matches!(state, State::Exited(_))).await;
    }

    /// Waits for a state; returns at once when the keeper is gone, which it is only after the child.
    async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        let mut state = self.state.clone();
        let _ended: Result<_, _> = state.wait_for(wanted).await;
    }

    /// An order to a keeper that is gone is an order to a child that is gone: nothing to do.
    async fn order(&self, order: Order) {
        let _gone: Result<_, _> = self.orders.send(order).await;
    }
}

/// Owns the child.
struct Keeper {
    label: String,
    child: Child,
    stdin: Option<ChildStdin>,
    state: watch::Sender<State>,
    asked_to_end: bool,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, exits: mpsc::Sender<Exit>) {
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break ended,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    // The supervisor has let go of the handle: nobody is left who could ask for anything.
                    None => self.obey(Order::Kill),
                },
            }
        };
        let how = describe(ended);
        self.state.send_replace(State::Exited(how.clone()));
        if !self.asked_to_end {
            let _supervisor_gone: Result<_, _> = exits.send(Exit { label: self.label, how }).await;
        }
    }

    /// The child is not reaped yet, so its pid is its own.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop => {
                self.asked_to_end = true;
                drop(self.stdin.take());
                self.signal(Signal::CONT);
            }
            Order::Kill => {
                self.asked_to_end = true;
                self.signal(Signal::KILL);
            }
            Order::Pause => {
                self.signal(Signal::STOP);
                self.state.send_replace(State::Paused);
            }
            Order::Resume => {
                self.signal(Signal::CONT);
                self.state.send_replace(State::Running);
            }
        }
    }

    /// A signal fails only when the child has just ended, which `wait` is about to tell.
    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            let _just_ended: Result<_, _> = kill_process(pid, signal);
        }
    }
}

fn describe(ended: io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => status.to_string(),
        Err(error) => format!("lost track of it: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs;

    const GRACE: Duration = Duration::from_secs(5);

    fn shell(script: &str, exits: mpsc::Sender<Exit>) -> (Process, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::spawn("shell", command, &dir.path().join("log"), exits).unwrap();
        (process, dir)
    }

    #[tokio::test]
    async fn a_child_ends_with_its_stdin() {
        let (exits, mut ended) = mpsc::channel(1);
        let (process, _dir) = shell("cat; exit 3", exits);
        process.stop(GRACE).await;
        assert_eq!(process.state(), State::Exited("exit status: 3".to_owned()));
        assert!(ended.recv().await.is_none(), "an end that was asked for is not reported");
    }

    #[tokio::test]
    async fn a_child_that_ignores_its_stdin_is_killed_after_the_grace() {
        let (exits, _ended) = mpsc::channel(1);
        let (process, _dir) = shell("exec sleep 60", exits);
        process.stop(Duration::from_millis(50)).await;
        assert!(matches!(process.state(), State::Exited(how) if how.contains("SIGKILL")));
        assert!(!procfs::is_alive(process.pid()));
    }

    #[tokio::test]
    async fn a_paused_child_still_ends_when_asked() {
        let (exits, _ended) = mpsc::channel(1);
        let (process, _dir) = shell("cat", exits);
        process.pause().await;
        assert_eq!(process.state(), State::Paused);
        process.stop(GRACE).await;
        assert_eq!(process.state(), State::Exited("exit status: 0".to_owned()));
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_reported_with_its_output_kept() {
        let (exits, mut ended) = mpsc::channel(1);
        let (_process, dir) = shell("echo no space left; exit 9", exits);
        let exit = ended.recv().await.unwrap();
        assert_eq!((exit.label.as_str(), exit.how.as_str()), ("shell", "exit status: 9"));
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "no space left\n");
    }
}
