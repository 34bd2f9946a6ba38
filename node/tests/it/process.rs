//! The running program: one per data directory, stopped in every way there is.

use std::time::Instant;

use crate::chain::node;
use crate::support::{Place, sotto_node, text};

#[test]
fn a_second_node_on_the_same_directory_is_refused_with_the_pid() {
    let place = Place::new();
    place.init();
    let running = place.run();
    running.status(&place.datadir());
    let output =
        sotto_node(&place.datadir()).args(["run", "--http", "off", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(12), "{}", text(&output.stderr));
    let expected = format!("is in use by process {}", running.pid());
    assert!(text(&output.stderr).contains(&expected), "{}", text(&output.stderr));
}

#[test]
fn a_node_without_network_says_so_and_answers() {
    let place = Place::new();
    place.init();
    let running = place.run();
    let status = running.status(&place.datadir());
    assert_eq!(status["node"], node(0).to_string());
    assert_eq!((status["phase"].as_str(), status["ready"].as_bool()), (Some("starting"), Some(false)));
    assert_eq!(status["summary"], "looking for other nodes");
    let shown = sotto_node(&place.datadir()).arg("status").output().unwrap();
    assert_eq!(shown.status.code(), Some(8));
    assert!(text(&shown.stdout).starts_with("STARTING  looking for other nodes\n"), "{}", text(&shown.stdout));
}

#[test]
fn a_node_ends_cleanly_by_signal_by_order_and_with_its_parent() {
    let place = Place::new();
    place.init();
    type Stop = fn(&Place, &mut crate::support::Running);
    let ways: [(&str, Stop); 3] = [
        ("SIGTERM", |_, running| {
            let pid = rustix::process::Pid::from_child(&running.child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }),
        ("POST /shutdown", |place, _| {
            let timeout = std::time::Duration::from_secs(5);
            let answer = sotto_node::admin::client::ask(&place.datadir(), "POST", "/shutdown", "", timeout).unwrap();
            assert_eq!(answer.status, 202);
        }),
        ("end of standard input", |_, running| drop(running.child.stdin.take())),
    ];
    for (way, stop) in ways {
        let mut running = place.run();
        running.status(&place.datadir());
        let start = Instant::now();
        stop(&place, &mut running);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(0), "{way}: {}", text(&output.stderr));
        assert!(start.elapsed().as_secs() < 5, "{way} took {:?}", start.elapsed());
        assert!(text(&output.stderr).contains("stopped"), "{way}: {}", text(&output.stderr));
    }
}

#[test]
fn a_node_whose_address_is_taken_says_so_and_ends_with_the_code_for_that() {
    let place = Place::new();
    place.init();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases = [
        (["--listen", "127.0.0.1:0", "--http", &address], format!("error: cannot answer HTTP on {address}: ")),
        (["--http", "off", "--listen", &address], "error: cannot listen on ".to_owned()),
    ];
    for (arguments, expected) in cases {
        // The database is open by then, and closing it must not race with the end of the process: several times.
        for _ in 0..8 {
            let output = sotto_node(&place.datadir()).arg("run").args(arguments).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{arguments:?}: {:?}: {said}", output.status);
            let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
            assert!(matches!(errors[..], [line] if line.starts_with(&expected) && line.contains("in use")), "{said}");
        }
    }
}

#[test]
fn a_killed_node_starts_again() {
    let place = Place::new();
    place.init();
    for _ in 0..3 {
        let mut running = place.run();
        running.status(&place.datadir());
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        let status = sotto_node(&place.datadir()).arg("status").output().unwrap();
        assert_eq!(status.status.code(), Some(3), "{}", text(&status.stdout));
    }
}

#[test]
fn a_log_names_no_secret() {
    let place = Place::new();
    place.init();
    let log = place.root.path().join("node.log");
    let mut child = sotto_node(&place.datadir())
        .args(["run", "--listen", "127.0.0.1:0", "--http", "off", "--log-level", "trace", "--log-format", "json"])
        .arg("--log-file")
        .arg(&log)
        .arg("--exit-on-stdin-eof")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let running_status = || {
        let output = sotto_node(&place.datadir()).args(["status", "--json"]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()?.get("uptime_ms").cloned()
    };
    crate::support::wait_for("an answer", running_status);
    drop(child.stdin.take());
    child.wait().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    for role in ["node", "operator", "x25519"] {
        let secret = hex::encode(sotto_proto::account::test_seed(42, role, 0));
        assert!(!log.contains(&secret[..16]), "{role}");
    }
}
