//! The node that dies, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sotto_node::status::NodeStatus;

use super::disk;
use super::life::{self, Orders};

/// Longest wait for anything; only a failure takes it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
pub(super) const LOOK: Duration = Duration::from_millis(3);

/// A life of node 0: the process, ended when this is dropped.
pub(super) struct Life {
    child: Mutex<Child>,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Drop for Life {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ended = (child.kill(), child.wait()); // it may have ended
    }
}

impl Life {
    pub(super) fn start(orders: &Orders) -> Self {
        Self::of("kill_points::life::child", life::ORDERS, &orders.encode())
    }

    /// This very program as one of its own tests.
    pub(super) fn of(test: &str, variable: &str, orders: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(variable, orders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (orders, said) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child: Mutex::new(child), orders, said }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// How it is.
    pub(super) fn status(&mut self) -> NodeStatus {
        self.orders.as_mut().unwrap().write_all(b"\n").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "node 0 has ended");
            if let Some(status) = line.strip_prefix("status ") {
                return serde_json::from_str(status).unwrap();
            }
        }
    }

    /// Waits for its death, which must be the ordered one.
    pub(super) async fn died(mut self, what: &str) {
        let status = self.ended(what).await;
        let mut said = String::new();
        let _read = self.said.read_to_string(&mut said);
        assert_eq!(status.signal(), Some(6), "{what}: {status}: {said}");
    }

    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(mut self) {
        drop(self.orders.take());
        let status = self.ended("told to stop").await;
        assert!(status.success(), "{status}");
    }

    async fn ended(&self, what: &str) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: node 0 does not end");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What lies on a dead node's disk.
pub(super) fn left_by(datadir: &Path) -> disk::Records {
    disk::read(&disk::look_at(datadir))
}

/// Numbers that look random, the same on every run.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
