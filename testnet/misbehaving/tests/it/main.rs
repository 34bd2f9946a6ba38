//! The program itself: a node of production but for its mode.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use sotto_misbehaving::Mode;
use sotto_proto::account::test_seed;
use sotto_proto::chain::{Genesis, GenesisFile, Params, Preset};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixMillis;

/// Longest wait for anything in these tests; only a failure takes it.
const PATIENCE: Duration = Duration::from_secs(20);
const SEED: u64 = 42;

fn genesis() -> GenesisFile {
    let key = |role| SigningKey::from_seed(&test_seed(SEED, role, 0));
    let genesis = Genesis {
        preset: Preset::Testnet,
        time: UnixMillis(1_790_000_000_000),
        authority: key("authority").public(),
        producer: key("producer").node_id(),
        balances: BTreeMap::new(),
        params: Params::preset(Preset::Testnet),
    };
    GenesisFile { genesis, producer_addresses: Vec::new(), bootstrap: Vec::new() }
}

fn program(mode: Mode, datadir: &Path) -> Command {
    let name = mode.to_possible_value().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-misbehaving"));
    command.args(["--mode", name.get_name()]).arg("--datadir").arg(datadir).env_clear();
    command
}

fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10)); // between two looks at a condition
    }
}

/// A started node; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_of_each_mode_runs_says_so_in_its_log_and_ends_with_its_parent() {
    let root = tempfile::tempdir().unwrap();
    let (datadir, file) = (root.path().join("node"), root.path().join("genesis.json"));
    std::fs::write(&file, genesis().to_json()).unwrap();
    let init = ["init", "--test-seed", "42", "--test-index", "0", "--genesis"];
    let output = program(Mode::Drop, &datadir).args(init).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for mode in Mode::value_variants() {
        let child = program(*mode, &datadir)
            .args(["run", "--listen", "127.0.0.1:0", "--http", "off", "--exit-on-stdin-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        wait_for("an answer of the node", || {
            let output = program(*mode, &datadir).args(["status", "--json"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains("\"uptime_ms\"").then_some(())
        });
        drop(running.0.stdin.take());
        let status = wait_for("the node's end", || running.0.try_wait().unwrap());
        let mut log = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(status.code(), Some(0), "{mode:?}: {log}");
        let said = log.lines().find(|line| line.contains("this node misbehaves, on purpose"));
        assert!(said.is_some_and(|line| line.contains(&format!("mode={mode:?}"))), "{mode:?}: {log}");
    }
}
