//! Real producer processes, and the command line that talks to them.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sotto_proto::chain::GenesisFile;
use sotto_proto::net_addr::NodeAddr;

/// How long anything may take that should take less than a second. Machines that build something else meanwhile are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a genesis and a producer's files; every one has a loopback address of its own, so that tests of many
/// processes never meet.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    ip: Ipv4Addr,
}

impl Place {
    pub(crate) fn empty() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 64 | (high & 63), low, NEXT.fetch_add(1, Ordering::Relaxed));
        Self { dir: tempfile::tempdir().unwrap(), ip }
    }

    /// With a testnet genesis of seed 42.
    pub(crate) fn founded(more: &[&str]) -> Self {
        let place = Self::empty();
        let arguments = ["genesis", "--preset", "testnet", "--test-seed", "42", "--operators", "4", "--out"];
        let mut command = place.command(&arguments);
        succeeds(&command.arg(place.genesis_path()).args(more).output().unwrap());
        place
    }

    pub(crate) fn genesis_path(&self) -> PathBuf {
        self.dir.path().join("genesis.json")
    }

    pub(crate) fn genesis(&self) -> GenesisFile {
        GenesisFile::from_json(&std::fs::read_to_string(self.genesis_path()).unwrap()).unwrap()
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.dir.path().join("chain")
    }

    pub(crate) fn address(&self, port: u16) -> NodeAddr {
        NodeAddr::new(IpAddr::V4(self.ip), port)
    }

    pub(crate) fn listen(&self) -> NodeAddr {
        self.address(27_000)
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::new(self.ip.into(), 27_001)
    }

    /// The program with some arguments and this place's data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-chain"));
        command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
        if arguments.first() != Some(&"genesis") {
            command.arg("--datadir").arg(self.datadir());
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.cli(&[arguments, &["--json"]].concat());
        serde_json::from_str(&succeeds(&output)).unwrap()
    }

    /// Runs a producer that is expected to end by itself.
    pub(crate) fn run(&self) -> Output {
        let listen = self.address(29_000).to_string();
        let mut command = self.command(&["run", "--listen", &listen]);
        command.arg("--genesis").arg(self.genesis_path()).output().unwrap()
    }

    /// Starts the producer and waits until it answers.
    pub(crate) fn start(&self) -> Producer {
        let producer = self.spawn(&[]);
        until("the producer answers", || self.cli(&["status"]).status.success());
        producer
    }

    pub(crate) fn spawn(&self, more: &[&str]) -> Producer {
        let (listen, http) = (self.listen().to_string(), self.http().to_string());
        let mut command = self.command(&["run", "--listen", &listen, "--http", &http, "--exit-on-stdin-eof"]);
        command.arg("--genesis").arg(self.genesis_path()).args(more);
        Producer(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

/// A producer process; killed when dropped.
pub(crate) struct Producer(pub(crate) Child);

impl Producer {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends its standard input, and waits for its end. What it said on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        drop(self.0.stdin.take());
        let mut errors = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.0.wait().unwrap().code(), errors)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Fails where the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Standard output of a command that must have succeeded.
pub(crate) fn succeeds(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "exit {:?}: {errors}", output.status.code());
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code and standard error of a command that must have failed.
pub(crate) fn fails(output: &Output) -> (i32, String) {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Waits for a condition.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a seed as a key file.
pub(crate) fn key_file(path: &Path, seed: [u8; 32]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, hex::encode(seed)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
