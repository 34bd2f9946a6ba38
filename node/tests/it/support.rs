//! A node's program, started and stopped, and its data directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::chain::TestChain;

/// Longest wait for anything in these tests; only a failure takes it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `check` gives something.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10)); // between two looks at a condition
    }
}

/// A place for data directories, with the genesis file of a testnet in it.
pub(crate) struct Place {
    pub(crate) root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("genesis.json"), TestChain::new().genesis_file().to_json()).unwrap();
        Self { root }
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.root.path().join("genesis.json")
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.root.path().join("node")
    }

    /// Sets up the node with index 0 of the test seed.
    pub(crate) fn init(&self) {
        let output = sotto_node(&self.datadir())
            .args(["init", "--test-seed", "42", "--test-index", "0", "--genesis"])
            .arg(self.genesis())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Starts the node on ports of its own.
    pub(crate) fn run(&self) -> Running {
        self.run_with(&[])
    }

    /// The same with some arguments more.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Running {
        let child = sotto_node(&self.datadir())
            .args(["run", "--listen", "127.0.0.1:0", "--http", "off", "--exit-on-stdin-eof"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running { child }
    }
}

/// The program on a data directory, with an environment of its own.
pub(crate) fn sotto_node(datadir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-node"));
    command.arg("--datadir").arg(datadir).env_clear();
    command
}

/// A started node; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its status once it answers.
    pub(crate) fn status(&self, datadir: &Path) -> serde_json::Value {
        wait_for("an answer of the node", || {
            let output = sotto_node(datadir).args(["status", "--json"]).output().unwrap();
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            status.get("uptime_ms").is_some().then_some(status)
        })
    }

    /// How it ended, and what it said.
    pub(crate) fn wait(mut self) -> Output {
        wait_for("the node's end", || self.child.try_wait().unwrap());
        let mut stderr = Vec::new();
        std::io::Read::read_to_end(&mut self.child.stderr.take().unwrap(), &mut stderr).unwrap();
        Output { status: self.child.wait().unwrap(), stdout: Vec::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
