//! The launcher itself, on a small testnet: what a person sees, what is refused, what is left behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use sotto_testnet::procfs;

use crate::harness::{Figure, Harness, nothing};
use crate::testnet::{Testnet, eventually, finish, program};

const PORTS: u16 = 21_000;
const NODES: u16 = 6;

/// A check on a running testnet.
type Check = (&'static str, fn(&Testnet) -> Figure);

/// In this order, on one testnet.
const CHECKS: &[Check] = &[
    ("the manifest says who runs where", manifest_is_complete),
    ("a second launcher on one directory is refused with the pid of the first", second_launcher_is_refused),
    ("a taken port is named with its holder before anything is started", taken_port_is_named),
    ("a second node on one data directory is refused with the pid of the first", second_node_is_refused),
    ("data of one chain are not opened under the genesis of another", other_genesis_is_not_opened),
    ("a node of another genesis says so and the testnet goes on", other_genesis_is_refused),
    ("status of a healthy node reads well", healthy_node_status),
    ("status of a stopped node says so", stopped_node_status),
    ("what env prints makes the testnet the default in a shell", env_works_in_a_shell),
    ("logs prints what a node printed", logs_are_shown),
    ("waiting for what does not happen ends with its own exit code", wait_times_out),
    ("a node that does not exist is not found", missing_node_is_named),
    ("a running testnet is never cleaned away", clean_refuses),
    ("a node killed from outside is noticed and can be restarted", outside_kill_is_noticed),
    ("every command of the banner works when pasted", banner_works_when_pasted),
];

pub(crate) fn run(harness: &mut Harness) {
    const UP: &str = "a small testnet comes up, forms its swarm and agrees";
    let mut names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    names.extend(ENDS);
    names.push(UP);
    if !harness.wants(&names) {
        return;
    }
    let testnet = harness.setup(UP, || {
        let testnet = Testnet::start(NODES, PORTS);
        let status = testnet.json("status");
        assert_eq!(status["ok"], true, "{status}");
        assert_eq!(status["swarms"].as_array().unwrap().len(), 1, "{status}");
        let figure = Figure(format!("ready after {:.1} s", testnet.ready.as_secs_f64()));
        (testnet, figure)
    });
    let Some(testnet) = testnet else {
        for name in names.iter().filter(|name| **name != UP) {
            harness.skip_as_failed(name, "no testnet");
        }
        return;
    };
    for (name, check) in CHECKS {
        harness.check(name, || check(&testnet));
    }
    endings(harness, testnet);
    harness.check("up --exit prints the figures and leaves nothing running", exit_prints_figures);
}

/// Checks that end the testnet; each takes over from the one before.
const ENDS: [&str; 6] = [
    "ctrl-c ends every process and leaves neither socket nor lock",
    "status of a testnet that is down says so",
    "a testnet goes on where it was stopped",
    "a killed launcher takes its nodes with it",
    "a testnet in the background outlives its terminal and ends with down",
    "clean removes the data and nothing else",
];

fn endings(harness: &mut Harness, testnet: Testnet) {
    let [ctrl_c, down_status, goes_on, killed, background, clean] = ENDS;
    let (pids, height, path) = (testnet.pids(), testnet.tip(), testnet.path());
    let ended = harness.setup(ctrl_c, || {
        let (dir, code) = testnet.end_with("INT");
        assert_eq!(code, Some(0), "Ctrl-C is how a testnet is meant to end");
        assert_gone(&pids, Duration::ZERO);
        for left in ["testnet.sock", "LOCK"] {
            assert!(!path.join(left).exists(), "{left} was left behind");
        }
        (dir, nothing())
    });
    let Some(dir) = ended else { return };
    let command = |line: &str| {
        let mut command = program("sotto-testnet");
        command.args(line.split(' ')).arg("--dir").arg(&path);
        finish(command)
    };
    harness.check(down_status, || {
        let status = command("status");
        assert!(status.stdout.starts_with("DOWN: "), "{status:?}");
        status.failed_with(3);
        assert!(command("ls").ok().stdout.contains(" down "));
        command("node kill 1").failed_with(3);
        nothing()
    });
    let again = harness.setup(goes_on, || {
        let testnet = Testnet::start_in(dir, &[]);
        assert!(testnet.tip() >= height, "the chain begins again");
        let figure = Figure(format!("ready after {:.1} s", testnet.ready.as_secs_f64()));
        (testnet, figure)
    });
    let Some(testnet) = again else { return };
    let pids = testnet.pids();
    let ended = harness.setup(killed, || {
        let (dir, _) = testnet.end_with("KILL");
        let took = assert_gone(&pids, Duration::from_secs(10));
        (dir, Figure(format!("last one gone after {:.1} s", took.as_secs_f64())))
    });
    let Some(_dir) = ended else { return };
    harness.check(background, || {
        let up = command("up --detach --json").ok().json();
        assert_eq!(up["type"], "testnet.manifest");
        assert_eq!(command("status --json").ok().json()["running"], true);
        let pid = u32::try_from(up["pid"].as_u64().unwrap()).unwrap();
        assert!(command("down").ok().stdout.starts_with("stopped: "));
        assert!(!procfs::is_alive(pid));
        assert!(command("down").ok().stdout.starts_with("not running: "));
        nothing()
    });
    harness.check(clean, || {
        let beside = path.parent().unwrap().join("thesis.tex");
        fs::write(&beside, "years of work").unwrap();
        command("clean").failed_with(1);
        assert!(command("clean --dry-run").ok().stdout.starts_with("would remove "));
        assert!(path.join("genesis.json").exists());
        command("clean --yes").ok();
        assert!(!path.exists() && beside.exists());
        nothing()
    });
}

/// All of these processes are gone within `deadline`.
fn assert_gone(pids: &[u32], deadline: Duration) -> Duration {
    eventually(&format!("{pids:?} are gone"), deadline + Duration::from_millis(100), || {
        pids.iter().all(|pid| !procfs::is_alive(*pid))
    })
}

fn manifest_is_complete(testnet: &Testnet) -> Figure {
    let manifest = testnet.manifest();
    assert_eq!(manifest["nodes"].as_array().unwrap().len(), usize::from(NODES));
    for node in manifest["nodes"].as_array().unwrap() {
        assert_eq!(node["id"].as_str().unwrap().len(), 64, "{node}");
        assert!(procfs::is_alive(u32::try_from(node["pid"].as_u64().unwrap()).unwrap()));
    }
    assert_eq!(manifest["swarms"][0]["nodes"].as_array().unwrap().len(), usize::from(NODES));
    nothing()
}

fn second_launcher_is_refused(testnet: &Testnet) -> Figure {
    let said = testnet.run("up --progress never").failed_with(12);
    assert!(said.contains(&format!("(pid {})", testnet.manifest()["pid"])), "{said}");
    nothing()
}

fn taken_port_is_named(testnet: &Testnet) -> Figure {
    let mut other = program("sotto-testnet");
    other.args(["up", "-n", "5", "--port-base", &PORTS.to_string(), "--dir"]).arg(testnet.dir.path().join("other"));
    let said = finish(other).failed_with(12);
    let producer = testnet.manifest()["producer"]["pid"].clone();
    assert!(said.contains(&format!("127.99.0.1:{PORTS} is taken by sotto-chain (pid {producer})")), "{said}");
    assert!(!testnet.dir.path().join("other/chain").exists(), "nothing was started");
    nothing()
}

fn second_node_is_refused(testnet: &Testnet) -> Figure {
    let node = testnet.manifest()["nodes"][1].clone();
    let mut second = program("sotto-node");
    second.args(["run", "--listen", "127.200.0.1:21900", "--http", "127.200.0.1:21901", "--datadir"]);
    second.arg(node["dir"].as_str().unwrap()).arg("--genesis").arg(testnet.path().join("genesis.json"));
    let said = finish(second).failed_with(12);
    assert!(said.contains(&node["pid"].to_string()), "{said}");
    nothing()
}

/// A genesis with the keys of the testnet's, and other blocks: another chain behind the same producer.
fn other_genesis(testnet: &Testnet) -> PathBuf {
    let stranger = testnet.dir.path().join("stranger");
    let genesis = stranger.join("genesis.json");
    if !genesis.exists() {
        fs::create_dir_all(&stranger).unwrap();
        let mut make = program("sotto-chain");
        make.args(["genesis", "--preset", "testnet", "--test-seed", "42", "--operators", "5", "--block-time", "2s"]);
        make.args(["--producer-address", &format!("127.99.0.1:{PORTS}"), "--out"]).arg(&genesis);
        make.arg("--datadir").arg(stranger.join("chain"));
        finish(make).ok();
    }
    genesis
}

fn other_genesis_is_not_opened(testnet: &Testnet) -> Figure {
    let node = testnet.manifest()["nodes"][0]["dir"].as_str().unwrap().to_owned();
    let mut foreign = program("sotto-node");
    foreign.args(["run", "--listen", "127.200.0.1:21910", "--http", "127.200.0.1:21911"]);
    foreign.args(["--datadir", &node, "--genesis"]).arg(other_genesis(testnet));
    let refused = finish(foreign);
    assert!(refused.code != Some(0) && refused.stderr.contains("chain"), "{refused:?}");
    nothing()
}

fn other_genesis_is_refused(testnet: &Testnet) -> Figure {
    let datadir = testnet.dir.path().join("stranger/node");
    let mut init = program("sotto-node");
    init.arg("init").arg("--genesis").arg(other_genesis(testnet)).arg("--datadir").arg(&datadir);
    finish(init).ok();
    let mut run = program("sotto-node");
    run.args(["run", "--exit-on-stdin-eof", "--listen", "127.200.0.1:21920", "--http", "127.200.0.1:21921"]);
    run.arg("--datadir").arg(&datadir).arg("--log-file").arg(testnet.dir.path().join("stranger/log"));
    let mut stranger = run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let took = eventually("the stranger says that the others are of another chain", Duration::from_secs(20), || {
        let mut status = program("sotto-node");
        status.arg("status").arg("--datadir").arg(&datadir);
        finish(status).stdout.contains("another chain")
    });
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
    testnet.agree_on(1, 20);
    Figure(format!("told after {:.1} s", took.as_secs_f64()))
}

fn node_status(testnet: &Testnet, index: usize, option: Option<&str>) -> crate::testnet::Finished {
    let node = testnet.manifest()["nodes"][index]["dir"].as_str().unwrap().to_owned();
    let mut status = program("sotto-node");
    status.args(["status", "--datadir", &node]).args(option);
    finish(status)
}

fn healthy_node_status(testnet: &Testnet) -> Figure {
    let said = node_status(testnet, 1, None).ok().stdout;
    assert!(said.starts_with("OK"), "{said}");
    let json = node_status(testnet, 1, Some("--json")).ok().json();
    assert_eq!((json["type"].as_str(), json["state"].as_str()), (Some("node.status"), Some("active")), "{json}");
    nothing()
}

fn stopped_node_status(testnet: &Testnet) -> Figure {
    testnet.run("node kill 2").ok();
    let status = node_status(testnet, 2, None);
    assert_ne!(status.code, Some(0), "{status:?}");
    testnet.run("node restart 2").ok();
    let said = format!("{}{}", status.stdout, status.stderr);
    assert!(said.starts_with("STOPPED"), "{said}");
    nothing()
}

fn env_works_in_a_shell(testnet: &Testnet) -> Figure {
    let exports = testnet.run("env").ok().stdout;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{exports}cd / && sotto-testnet chain height && command -v sotto-node"));
    shell.env_remove("SOTTO_BIN_DIR");
    assert_eq!(finish(shell).ok().stdout.lines().count(), 2);
    nothing()
}

fn logs_are_shown(testnet: &Testnet) -> Figure {
    assert!(!testnet.run("logs 1").ok().stdout.is_empty(), "a node says something");
    testnet.run("logs 1,2").failed_with(2);
    nothing()
}

fn wait_times_out(testnet: &Testnet) -> Figure {
    let said = testnet.run("wait --until swarms=9 --timeout 1s").failed_with(8);
    assert!(said.contains("not in 9 swarms within 1.0 s"), "{said}");
    nothing()
}

fn missing_node_is_named(testnet: &Testnet) -> Figure {
    let line = testnet.run("node kill 77 --json").failed_with(7);
    let error: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((error["type"].as_str(), error["exit"].as_u64()), (Some("error"), Some(7)));
    nothing()
}

fn clean_refuses(testnet: &Testnet) -> Figure {
    testnet.run("clean --yes").failed_with(12);
    assert!(testnet.path().join("genesis.json").exists());
    nothing()
}

fn outside_kill_is_noticed(testnet: &Testnet) -> Figure {
    let process = |testnet: &Testnet| testnet.run("status --json").json()["nodes"][4]["process"].clone();
    let pid = testnet.run("status --json").json()["nodes"][4]["pid"].to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    eventually("the end is noticed", Duration::from_secs(5), || {
        process(testnet).as_str().unwrap().contains("signal: 9")
    });
    testnet.run("node pause 4").failed_with(10);
    testnet.run("node restart 4").ok();
    assert_eq!(process(testnet), "running");
    nothing()
}

fn banner_works_when_pasted(testnet: &Testnet) -> Figure {
    testnet.run("wait --until ready --timeout 30s").ok();
    // All agree before all links are made, and a node that still looks for its swarm says so with its exit code.
    eventually("every node is ready", Duration::from_secs(30), || {
        (0..usize::from(NODES)).all(|index| node_status(testnet, index, None).code == Some(0))
    });
    let commands = testnet.paste(|command| !command.contains(" down"));
    assert!(commands >= 4, "{}", testnet.banner);
    testnet.run("node restart 3").ok();
    testnet.run("wait --until ready --timeout 30s").ok();
    Figure(format!("{commands} commands"))
}

fn exit_prints_figures() -> Figure {
    let dir = tempfile::tempdir().unwrap();
    let mut up = program("sotto-testnet");
    up.args(["up", "--exit", "--json", "-n", "5", "--port-base", "22000", "--dir"]).arg(dir.path().join("once"));
    let figures = finish(up).ok().json();
    assert_eq!(figures["type"], "testnet.figures");
    let mut ls = program("sotto-testnet");
    ls.args(["ls", "--json", "--dir"]).arg(dir.path().join("once")).current_dir(dir.path());
    assert_eq!(finish(ls).ok().json()["testnets"][0]["running"], false);
    nothing()
}
