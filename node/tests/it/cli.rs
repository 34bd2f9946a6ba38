//! The program's commands, as people and scripts meet them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use crate::chain::{TestChain, key, node, x25519};
use crate::support::{Place, sotto_node, text};

fn run(place: &Place, arguments: &[&str]) -> Output {
    sotto_node(&place.datadir()).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn init_makes_keys_settings_and_a_copy_of_the_genesis() {
    let place = Place::new();
    let genesis = place.genesis();
    let output = run(
        &place,
        &[
            "init",
            "--genesis",
            genesis.to_str().unwrap(),
            "--moniker",
            "gandalf",
            "--announce",
            "203.0.113.7:22020",
            "--json",
        ],
    );
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["preset"], "testnet");
    let mode = |path: &str| std::fs::metadata(place.datadir().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(""), mode("keys"), mode("keys/node.key"), mode("keys/operator.key")),
        (0o700, 0o700, 0o600, 0o600)
    );
    let settings = std::fs::read_to_string(place.datadir().join("node.toml")).unwrap();
    assert!(settings.contains("moniker = \"gandalf\"") && settings.contains("announce"), "{settings}");

    let show = run(&place, &["config", "show", "--origin"]);
    let shown = text(&show.stdout);
    assert!(
        shown.lines().any(|line| line.starts_with("moniker = \"gandalf\"") && line.ends_with("node.toml")),
        "{shown}"
    );
    assert_eq!(code(&run(&place, &["config", "check"])), 0);

    let again = run(&place, &["init", "--genesis", genesis.to_str().unwrap()]);
    assert_eq!(code(&again), 10);
    assert!(text(&again.stderr).contains("holds a node already"), "{}", text(&again.stderr));
}

#[test]
fn test_keys_follow_from_seed_and_index_and_are_for_testnets_only() {
    let place = Place::new();
    place.init();
    let keys = text(&run(&place, &["keys", "show"]).stdout);
    for public in [node(0).to_string(), key("operator", 0).public().to_string(), x25519(0).to_string()] {
        assert!(keys.contains(&public), "{keys}");
    }
    let secret = hex::encode(sotto_proto::account::test_seed(42, "node", 0));
    assert!(!keys.contains(&secret));

    let mainnet = place.root.path().join("mainnet.json");
    let mut file = TestChain::new().genesis_file();
    file.genesis.preset = sotto_proto::chain::Preset::Mainnet;
    std::fs::write(&mainnet, file.to_json()).unwrap();
    let output = sotto_node(&place.root.path().join("other"))
        .args(["init", "--test-seed", "42", "--test-index", "0", "--genesis"])
        .arg(&mainnet)
        .output()
        .unwrap();
    assert_eq!(code(&output), 10);
    assert!(text(&output.stderr).contains("for testnets"), "{}", text(&output.stderr));
}

#[test]
fn a_genesis_file_that_is_none_is_named_with_what_is_wrong() {
    let place = Place::new();
    let good = std::fs::read_to_string(place.genesis()).unwrap();
    for (content, expected) in [
        ("nonsense".to_owned(), "not a genesis file"),
        (good.replace("\"block_time_ms\": 1000", "\"block_time_ms\": 1001"), "belongs to chain"),
        (good.replace("\"testnet\"", "\"moonnet\""), "unknown preset"),
        (good.replace("\"v\": 1", "\"v\": 9"), "version 9"),
    ] {
        let path = place.root.path().join("bad.json");
        std::fs::write(&path, content).unwrap();
        let output = run(&place, &["init", "--genesis", path.to_str().unwrap()]);
        assert_eq!(code(&output), 1);
        let message = text(&output.stderr);
        assert!(message.contains(expected) && message.contains("bad.json"), "{message}");
        assert!(!place.datadir().exists(), "nothing is left behind");
    }
    let absent = run(&place, &["init", "--genesis", "/nowhere/genesis.json"]);
    assert_eq!(code(&absent), 7);
    let none = run(&place, &["init"]);
    assert!(text(&none.stderr).contains("--genesis FILE"), "{}", text(&none.stderr));
}

#[test]
fn a_genesis_of_another_chain_than_the_node_was_set_up_for_is_refused() {
    let place = Place::new();
    place.init();
    let other = place.root.path().join("other.json");
    let chain = TestChain::with(|params| params.block_time_ms = 500);
    std::fs::write(&other, chain.genesis_file().to_json()).unwrap();
    let output = run(&place, &["run", "--genesis", other.to_str().unwrap()]);
    assert_eq!(code(&output), 10);
    assert!(text(&output.stderr).contains("was set up for chain"), "{}", text(&output.stderr));
}

#[test]
fn bad_settings_are_named_with_their_origin() {
    let place = Place::new();
    place.init();
    let flag = run(&place, &["config", "check", "--listen", "nowhere"]);
    assert_eq!(code(&flag), 1);
    assert!(text(&flag.stderr).contains("from --listen"), "{}", text(&flag.stderr));
    let environment = sotto_node(&place.datadir())
        .args(["config", "check", "--json"])
        .env("SOTTO_NODE_THREADS", "many")
        .output()
        .unwrap();
    let error: serde_json::Value = serde_json::from_slice(&environment.stderr).unwrap();
    assert!(error["message"].as_str().unwrap().contains("from $SOTTO_NODE_THREADS"), "{error}");
    std::fs::write(place.datadir().join("node.toml"), "monicker = \"x\"").unwrap();
    let file = run(&place, &["config", "check"]);
    assert!(text(&file.stderr).contains("there is no setting \"monicker\""), "{}", text(&file.stderr));
    assert_eq!(code(&run(&place, &["run", "--no-such-flag"])), 2);
    assert_eq!(code(&run(&place, &["--config", "/nowhere.toml", "config", "show"])), 7);
}

#[test]
fn status_of_a_directory_without_node_says_how_to_make_one() {
    let place = Place::new();
    let output = run(&place, &["status"]);
    assert_eq!(code(&output), 1);
    let dir = place.datadir().display().to_string();
    let expected = format!("NOT SET UP  {dir} holds no node\n  → sotto-node init --datadir {dir} --genesis FILE\n");
    assert_eq!(text(&output.stdout), expected);
    let json: serde_json::Value = serde_json::from_slice(&run(&place, &["status", "--json"]).stdout).unwrap();
    assert_eq!((json["phase"].as_str(), json["ok"].as_bool()), (Some("not_set_up"), Some(false)));
    assert_eq!(code(&run(&place, &["run"])), 1);
}

#[test]
fn status_of_a_stopped_node_says_how_to_start_it() {
    let place = Place::new();
    place.init();
    let output = run(&place, &["status"]);
    assert_eq!(code(&output), 3);
    let dir = place.datadir().display().to_string();
    let expected = format!(
        "STOPPED  no node is running on {dir}\n  → sotto-node run --datadir {dir}\n\n  node        {}\n",
        node(0)
    );
    assert_eq!(text(&output.stdout), expected);
    for verb in [
        &["rewards"][..],
        &["register"],
        &["exit", "--yes"],
        &["keys", "rotate"],
        &["swarm", "show"],
        &["peers"],
        &["peers", "list", "--limit", "5"],
        &["store", "stats"],
    ] {
        let output = run(&place, verb);
        assert_eq!(code(&output), 3, "{verb:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("no node is running"), "{verb:?}: {}", text(&output.stderr));
    }
}

#[test]
fn waiting_for_a_node_that_never_comes_ends_in_time() {
    let place = Place::new();
    place.init();
    let output = run(&place, &["wait", "--ready", "--timeout", "300ms"]);
    assert_eq!(code(&output), 8);
    assert!(text(&output.stderr).contains("not ready after"), "{}", text(&output.stderr));
}

#[test]
fn a_backup_restores_the_same_node_and_is_closed_to_others() {
    let place = Place::new();
    place.init();
    let file = place.root.path().join("keys.json");
    let output = run(&place, &["keys", "backup", file.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&run(&place, &["keys", "backup", file.to_str().unwrap()])), 10, "not overwritten");

    let other = place.root.path().join("restored");
    let restored = sotto_node(&other)
        .arg("init")
        .arg("--genesis")
        .arg(place.genesis())
        .arg("--restore")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(code(&restored), 0, "{}", text(&restored.stderr));
    for name in ["node", "operator", "x25519"] {
        let read = |dir: &std::path::Path| std::fs::read(dir.join(format!("keys/{name}.key"))).unwrap();
        assert_eq!(read(&place.datadir()), read(&other), "{name}");
    }
    std::fs::write(&file, "{\"v\":1,\"type\":\"node.keys\",\"keys\":{\"node\":\"secret-looking\"}}").unwrap();
    let bad = sotto_node(&place.root.path().join("third"))
        .args(["init", "--genesis"])
        .arg(place.genesis())
        .arg("--restore")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(code(&bad), 1);
    assert!(!text(&bad.stderr).contains("secret-looking"), "{}", text(&bad.stderr));
}

#[test]
fn help_shows_examples_and_environment() {
    let place = Place::new();
    let help = text(&run(&place, &["run", "--help"]).stdout);
    for expected in ["Examples:", "SOTTO_NODE_LISTEN", "--exit-on-stdin-eof", "[default: 0.0.0.0:22020]"] {
        assert!(help.contains(expected), "{expected} is not in\n{help}");
    }
    for verb in ["init", "status", "wait", "swarm", "peers", "store", "register", "exit", "rewards", "keys", "config"] {
        let help = text(&run(&place, &[verb, "--help"]).stdout);
        assert!(help.contains("Examples:"), "{verb}");
    }
}

#[test]
fn keys_open_to_others_are_refused() {
    let place = Place::new();
    place.init();
    let path = place.datadir().join("keys/node.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(&place, &["run", "--http", "off", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), 11, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("chmod go-rwx"), "{}", text(&output.stderr));
}
