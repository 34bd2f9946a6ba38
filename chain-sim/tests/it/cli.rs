//! The command line as a person or a script meets it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use sotto_proto::account::test_seed;
use sotto_proto::id::Amount;
use sotto_proto::sign::SigningKey;

use super::process::{Place, fails, key_file, succeeds};

#[test]
fn a_test_genesis_is_the_same_for_the_same_seed_and_time_and_its_keys_are_private() {
    let time = ["--time", "2026-11-22T00:00:00Z"];
    let (one, other) = (Place::founded(&time), Place::founded(&time));
    assert_eq!(one.genesis(), other.genesis());
    let authority = SigningKey::from_seed(&test_seed(42, "authority", 0));
    assert_eq!(one.genesis().genesis.authority, authority.public());
    assert_eq!(one.genesis().genesis.balances.len(), 5);
    for name in ["authority", "producer", "faucet"] {
        let file = one.dir.path().join("keys").join(format!("{name}.key"));
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let shown = succeeds(&one.command(&["genesis", "show"]).arg(one.genesis_path()).output().unwrap());
    assert!(
        shown.contains(&one.genesis().genesis.chain_id().to_string()) && shown.contains("block_time_ms"),
        "{shown}"
    );
}

#[test]
fn generated_keys_are_kept_when_the_genesis_is_written_anew() {
    let place = Place::empty();
    let found = |yes: &[&str]| {
        let out = place.genesis_path();
        place.command(&["genesis", "--preset", "testnet", "--out"]).arg(out).args(yes).output().unwrap()
    };
    succeeds(&found(&[]));
    let first = place.genesis();
    let (code, error) = fails(&found(&[]));
    assert!(code == 1 && error.contains("--yes"), "{error}");
    succeeds(&found(&["--yes"]));
    assert_eq!(place.genesis().genesis.authority, first.genesis.authority);
}

#[test]
fn parameters_funds_and_addresses_can_be_chosen_and_exported() {
    let key = "ab".repeat(32);
    let place = Place::founded(&[
        "--param",
        "epoch_blocks=7",
        "--block-time",
        "250ms",
        "--fund",
        &format!("{key}=12.5"),
        "--producer-address",
        "127.0.0.1:4000",
        "--bootstrap",
        &format!("{key}@/ip4/127.0.0.1/tcp/4001"),
    ]);
    let file = place.genesis();
    assert_eq!((file.genesis.params.epoch_blocks, file.genesis.params.block_time_ms), (7, 250));
    assert_eq!(file.genesis.balances[&key.parse().unwrap()].to_string(), "12.5");
    assert_eq!((file.producer_addresses.len(), file.bootstrap.len()), (1, 1));
    let mut export = place.command(&["genesis", "export"]);
    let text =
        succeeds(&export.arg(place.genesis_path()).args(["--producer-address", "9.9.9.9:443"]).output().unwrap());
    let exported = sotto_proto::chain::GenesisFile::from_json(&text).unwrap();
    assert_eq!(exported.genesis, file.genesis);
    assert_eq!(exported.producer_addresses, ["9.9.9.9:443".parse().unwrap()]);
}

#[test]
fn bad_arguments_are_usage_errors_and_bad_values_say_what_is_allowed() {
    let place = Place::empty();
    let out = place.genesis_path();
    let found = |more: &[&str]| place.command(&["genesis", "--out"]).arg(&out).args(more).output().unwrap();
    for usage in [
        &["--preset", "nonsense"][..],
        &[],
        &["--preset", "testnet", "--operators", "3"],
        &["--preset", "testnet", "--fund", "abc"],
        &["--preset", "testnet", "--bootstrap", "abc"],
        &["--preset", "testnet", "--block-time", "soon"],
    ] {
        assert_eq!(fails(&found(usage)).0, 2, "{usage:?}");
    }
    let (code, error) = fails(&found(&["--preset", "testnet", "--param", "blocktime=1"]));
    assert!(code == 1 && error.contains("block_time_ms"), "{error}");
    let (code, error) = fails(&found(&["--preset", "testnet", "--block-time", "1ms"]));
    assert!(code == 1 && error.contains("50..=3600000"), "{error}");
    let (code, error) = fails(&found(&["--preset", "mainnet", "--test-seed", "1"]));
    assert!(code == 11 && error.contains("testnet"), "{error}");
    assert!(!out.exists());
}

#[test]
fn without_a_producer_every_verb_says_how_to_start_one() {
    let place = Place::founded(&[]);
    let key = place.dir.path().join("operator.key");
    key_file(&key, test_seed(42, "operator", 0));
    let (account, key) = ("ab".repeat(32), key.display().to_string());
    for verb in [
        &["status"][..],
        &["stake"],
        &["produce", "1"],
        &["fault", "stall"],
        &["faucet", "--to", &account],
        &["transfer", "--from-key", &key, "--to", &account, "--amount", "1"],
    ] {
        let (code, error) = fails(&place.cli(verb));
        assert!(code == 3 && error.contains("sotto-chain run --datadir"), "{verb:?}: {error}");
        let (_, line) = fails(&place.cli(&[verb, &["--json"]].concat()));
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((document["type"].as_str(), document["exit"].as_u64()), (Some("error"), Some(3)));
        assert_eq!(document["code"], "not_running");
    }
}

#[test]
fn starting_without_a_genesis_or_keys_says_what_is_missing() {
    let place = Place::empty();
    let (code, error) = fails(&place.run());
    assert!(code == 7 && error.contains("sotto-chain genesis"), "{error}");
    let place = Place::founded(&["--producer-address", "127.0.0.1:4000"]);
    std::fs::remove_file(place.dir.path().join("keys/authority.key")).unwrap();
    let (code, error) = fails(&place.run());
    assert!(code == 7 && error.contains("--authority-key"), "{error}");
    key_file(&place.dir.path().join("keys/authority.key"), [9; 32]);
    let (code, error) = fails(&place.run());
    assert!(code == 10 && error.contains("the genesis names"), "{error}");
    std::fs::write(place.genesis_path(), "{}").unwrap();
    assert_eq!(fails(&place.run()).0, 1);
}

#[test]
fn coins_move_and_everybody_can_look() {
    let place = Place::founded(&["--block-time", "100ms"]);
    let producer = place.start();
    let key = place.dir.path().join("operator.key");
    key_file(&key, test_seed(42, "operator", 0));
    let (key, account) = (key.display().to_string(), "ab".repeat(32));
    let transfer = |amount: &str| place.cli(&["transfer", "--from-key", &key, "--to", &account, "--amount", amount]);
    let dry =
        |amount: &'static str| vec!["transfer", "--dry-run", "--from-key", &key, "--to", &account, "--amount", amount];
    let would = place.json(&dry("2.5"));
    assert_eq!((would["type"].as_str(), would["dry_run"].as_bool()), (Some("chain.transfer"), Some(true)));
    let (before, after) = (would["balance"].as_str().unwrap(), would["balance_after"].as_str().unwrap());
    let coins = |text: &str| text.parse::<Amount>().unwrap().0;
    assert_eq!(coins(before) - coins(after), coins("2.5"));
    assert!(succeeds(&place.cli(&dry("2.5"))).contains("nothing was sent"));
    let (code, error) = fails(&place.cli(&dry("5000")));
    assert!(code == 1 && error.contains("more than"), "{error}");
    let again = place.json(&dry("2.5"));
    assert_eq!((&again["nonce"], &again["balance"]), (&would["nonce"], &would["balance"]), "nothing was sent");
    let text = succeeds(&transfer("2.5"));
    assert!(text.contains("2.5 coins to abababab: in block"), "{text}");
    let (code, error) = fails(&transfer("5000"));
    assert!(code == 1 && error.contains("coins needed"), "{error}");
    let (code, error) = fails(&transfer("0"));
    assert!(code == 1 && error.contains("cannot be moved"), "{error}");
    let given = place.json(&["faucet", "--to", &account, "--amount", "10"]);
    assert_eq!(given["state"], "included");
    let (code, _) = fails(&place.cli(&["faucet", "--to", &account, "--amount", "999999"]));
    assert_eq!(code, 11);
    let status = place.json(&["status"]);
    assert_eq!((status["type"].as_str(), status["ok"].as_bool()), (Some("chain.status"), Some(true)));
    let (code, error) = fails(&place.cli(&["stake", "--node", &account]));
    assert!(code == 7 && error.contains("no such service node"), "{error}");
    assert_eq!(place.json(&["stake"])["nodes"].as_array().map(Vec::len), Some(0));
    let (code, log) = producer.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!place.datadir().join("admin.sock").exists());
}

#[test]
fn faults_begin_show_and_end_and_deep_ones_are_asked_for_twice() {
    let place = Place::founded(&["--block-time", "100ms"]);
    let _producer = place.start();
    succeeds(&place.cli(&["produce", "20"]));
    succeeds(&place.cli(&["fault", "stall"]));
    let output = place.cli(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("PROBLEM  stalled on request"));
    assert!(output.stderr.is_empty());
    let before = serde_json::from_slice::<Value>(&place.cli(&["status", "--json"]).stdout).unwrap();
    assert_eq!(place.json(&["produce", "5"])["tip"].as_u64(), before["tip"].as_u64().map(|tip| tip + 5));
    succeeds(&place.cli(&["fault", "reorg", "3"]));
    let (code, error) = fails(&place.cli(&["fault", "reorg", "4"]));
    assert!(code == 1 && error.contains("1 to 3"), "{error}");
    succeeds(&place.cli(&["fault", "reorg", "4", "--deep"]));
    succeeds(&place.cli(&["fault", "two-heads", "--blocks", "2"]));
    succeeds(&place.cli(&["fault", "equivocate"]));
    let after = serde_json::from_slice::<Value>(&place.cli(&["status", "--json"]).stdout).unwrap();
    // 5 asked for, one more for each reorganisation, the first of a split (the next one never comes in a stall), one of
    // two equal ones.
    assert_eq!(after["tip"].as_u64(), before["tip"].as_u64().map(|tip| tip + 5 + 1 + 1 + 1 + 1));
    succeeds(&place.cli(&["fault", "slow", "--factor", "3", "--for", "10ms"]));
    succeeds(&place.cli(&["fault", "clear"]));
    assert_eq!(place.json(&["status"])["pace"], "normal");
}

#[test]
fn a_mainnet_producer_refuses_faults_and_gifts() {
    let place = Place::empty();
    let mut found = place.command(&["genesis", "--preset", "mainnet", "--out"]);
    succeeds(&found.arg(place.genesis_path()).output().unwrap());
    let _producer = place.start();
    for verb in [&["fault", "stall"][..], &["fault", "reorg", "1"], &["faucet", "--to", &"ab".repeat(32)]] {
        let (code, error) = fails(&place.cli(verb));
        assert_eq!(code, 11, "{verb:?}: {error}");
    }
}
