//! A testnet under test, used as a person would: through the command line.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The directory of the programs.
pub(crate) fn programs() -> PathBuf {
    if let Some(directory) = std::env::var_os("SOTTO_BIN_DIR") {
        return PathBuf::from(directory);
    }
    let test = std::env::current_exe().unwrap();
    // target/release/deps/it-0123456789abcdef
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The clone that is tested: that in which this runs, which another one's build may serve.
pub(crate) fn repository() -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let found = here.ancestors().find(|directory| directory.join("testnet/test.sh").is_file());
    found.expect("run it somewhere in a clone").to_owned()
}

/// A command of the program `name`.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env("SOTTO_BIN_DIR", programs()).env_remove("SOTTO_TESTNET").stdin(Stdio::null());
    command
}

/// Runs a command to its end, at most two minutes.
pub(crate) fn finish(mut command: Command) -> Finished {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = wait_with_deadline(child, Duration::from_secs(120), &format!("{command:?}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn wait_with_deadline(child: Child, deadline: Duration, what: &str) -> Output {
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    receiver
        .recv_timeout(deadline)
        .unwrap_or_else(|_| panic!("{what} (pid {pid}) did not end within {deadline:?}"))
        .unwrap()
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The command must have succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The command must have failed with this code; returns what it said on stderr.
    pub(crate) fn failed_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.stderr
    }

    /// Its one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A running testnet; ends with its stdin, so also when the test is killed.
pub(crate) struct Testnet {
    pub(crate) dir: tempfile::TempDir,
    launcher: Child,
    /// What the launcher printed when it was up.
    pub(crate) banner: String,
    /// From the launcher's start until it said that the testnet is up.
    pub(crate) ready: Duration,
}

impl Testnet {
    /// Starts `nodes` nodes in a directory of their own.
    pub(crate) fn start(nodes: u16, port_base: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, &["-n", &nodes.to_string(), "--port-base", &port_base.to_string(), "--no-demo"])
    }

    /// Starts a testnet in `dir` and waits for its banner.
    pub(crate) fn start_in(dir: tempfile::TempDir, options: &[&str]) -> Self {
        let started = Instant::now();
        let mut command = program("sotto-testnet");
        command.args(["up", "--exit-on-stdin-eof", "--progress", "never", "--name", "lab"]).args(options);
        command.arg("--dir").arg(dir.path().join("lab")).current_dir(dir.path());
        // A process group of its own, to send Ctrl-C to.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut launcher = command.spawn().unwrap();
        let mut banner = String::new();
        for line in BufReader::new(launcher.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            banner.push_str(&line);
            banner.push('\n');
            if line.contains("Ctrl-C stops everything") {
                return Self { dir, launcher, banner, ready: started.elapsed() };
            }
        }
        panic!("the testnet did not come up: {:?}; it printed: {banner}", launcher.wait());
    }

    /// The testnet's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("lab")
    }

    /// Pastes those commands of the banner that `chosen` takes into a shell; returns how many.
    pub(crate) fn paste(&self, chosen: impl Fn(&str) -> bool) -> usize {
        let lines = self.banner.lines().filter_map(|line| line.strip_prefix("   "));
        let mut commands = lines.map(|line| line.split("  (").next().unwrap().trim());
        let export = commands.next().unwrap();
        let chosen: Vec<_> = commands.filter(|command| chosen(command)).collect();
        for command in &chosen {
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg(format!("{export}\n{command}"))
                .current_dir(self.dir.path())
                .env_remove("SOTTO_BIN_DIR");
            finish(shell).ok();
        }
        chosen.len()
    }

    /// A command about this testnet.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = program("sotto-testnet");
        command.args(line.split(' ')).arg("--dir").arg(self.path()).current_dir(self.dir.path());
        command
    }

    /// Runs a command about this testnet.
    pub(crate) fn run(&self, line: &str) -> Finished {
        finish(self.command(line))
    }

    /// Runs a command that must succeed and returns its JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).ok().json()
    }

    /// The newest height of the producer.
    pub(crate) fn tip(&self) -> u64 {
        self.json("chain height")["tip"].as_u64().unwrap()
    }

    /// All agree on `blocks` more final blocks, within `seconds`; returns the wait's document.
    pub(crate) fn agree_on(&self, blocks: u64, seconds: u64) -> Value {
        self.json(&format!("wait --until blocks={blocks} --timeout {seconds}s"))
    }

    /// The processes of the testnet: launcher, producer, nodes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let status = self.run("status --json").json();
        let nodes = status["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap());
        let manifest = self.manifest();
        let producer = manifest["producer"]["pid"].as_u64().unwrap();
        nodes.chain([producer]).map(|pid| u32::try_from(pid).unwrap()).chain([self.launcher.id()]).collect()
    }

    /// The manifest as it is on disk.
    pub(crate) fn manifest(&self) -> Value {
        let json = std::fs::read(self.path().join("manifest.json")).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// Sends the launcher's process group a signal and waits for the launcher's end.
    pub(crate) fn end_with(mut self, signal: &str) -> (tempfile::TempDir, Option<i32>) {
        let group = format!("-{}", self.launcher.id());
        let sent = Command::new("kill").args(["-s", signal, "--", &group]).status().unwrap();
        assert!(sent.success());
        let status = self.launcher.wait().unwrap();
        (self.dir, status.code())
    }
}

/// Numbers of nodes as an argument.
pub(crate) fn list(nodes: &[u64]) -> String {
    nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Waits until `condition` holds, at most `deadline`; returns how long it took.
pub(crate) fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    started.elapsed()
}
