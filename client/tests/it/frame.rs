//! What holds for every command.

use std::fs;

use crate::home::Home;

#[test]
fn the_first_call_without_a_network_says_what_to_do_in_one_sentence() {
    let home = Home::new();
    let said = home.run(&["account", "list"]);
    assert_eq!((said.exit, said.out.as_str(), said.err.lines().count()), (1, "", 2), "{said:?}");
    assert!(said.err.contains("./testnet/up.sh") && said.err.contains("--genesis FILE"), "{said:?}");
    let missing = home.run(&["--testnet", "prod", "account", "list"]);
    assert_eq!(missing.exit, 7, "{missing:?}");
}

#[test]
fn a_network_that_there_is_an_account_on_need_not_be_named_again() {
    let home = Home::new();
    let id = home.create("alice");
    let pass = home.path("alice.pass");
    let said = home.run(&["--json", "account", "show", "--passphrase-file", pass.to_str().unwrap()]);
    assert_eq!(said.document()["id"], id);
}

#[test]
fn globals_stand_before_and_after_the_verb() {
    let home = Home::new();
    for args in [
        ["--testnet", "dev", "--json", "account", "list"],
        ["account", "list", "--testnet", "dev", "--json"],
        ["account", "--json", "list", "--testnet", "dev"],
    ] {
        assert_eq!(home.run(&args).document()["type"], "account.list", "{args:?}");
    }
    assert_eq!(home.run(&["account", "list", "-o", "json", "--testnet", "dev"]).document()["type"], "account.list");
}

#[test]
fn usage_errors_are_exit_2_and_a_line_of_json_where_that_was_asked_for() {
    let home = Home::new();
    let said = home.run(&["account", "frobnicate"]);
    assert_eq!((said.exit, said.out.as_str()), (2, ""), "{said:?}");
    assert_eq!(home.run(&["account", "frobnicate", "--json"]).error()["exit"], 2);
    assert_eq!(home.run(&["--help"]).exit, 0);
    let two =
        home.run(&["--json", "--testnet", "dev", "--genesis", "testnet/data/dev/genesis.json", "account", "list"]);
    assert_eq!(two.error()["code"], "two_networks");
}

#[test]
fn settings_come_from_the_file_the_environment_and_flags_in_that_order() {
    let home = Home::new();
    home.run(&["config", "set", "testnet", "dev"]);
    home.run(&["config", "set", "timeout", "3s"]);
    let path = home.run(&["config", "path"]);
    assert_eq!(path.out.trim(), home.path(".config/sotto/config.toml").to_str().unwrap());
    let settings = |said: crate::home::Said| said.document()["settings"].clone();
    let shown = settings(home.run(&["--json", "config", "show"]));
    assert_eq!((&shown["testnet"]["value"], &shown["timeout"]["value"]), (&"dev".into(), &"3s".into()));
    let output = home
        .command(&["--json", "config", "show", "--account", "flagged"])
        .env("SOTTO_TIMEOUT", "5s")
        .env("SOTTO_ACCOUNT", "from env")
        .env("SOTTO_DATADIR", "")
        .output()
        .unwrap();
    let shown = settings(output.into());
    let pair = |name: &str| (shown[name]["value"].as_str().unwrap(), shown[name]["origin"].as_str().unwrap());
    assert_eq!(pair("timeout"), ("5s", "$SOTTO_TIMEOUT"));
    assert_eq!(pair("account"), ("flagged", "--account"));
    assert_eq!(pair("datadir"), ("", "default"));
    assert!(pair("testnet").1.ends_with("config.toml"));
    assert_eq!(home.run(&["--json", "config", "check"]).document()["preset"], "testnet");
    let origin = home.run(&["config", "show", "--origin"]);
    assert!(origin.out.lines().any(|line| line.starts_with("timeout = \"3s\"") && line.contains("# /")), "{origin:?}");
}

#[test]
fn wrong_settings_are_named_with_where_they_stand() {
    let home = Home::new();
    assert_eq!(home.run(&["--json", "config", "set", "acount", "x"]).error()["exit"], 7);
    fs::create_dir_all(home.path(".config/sotto")).unwrap();
    fs::write(home.path(".config/sotto/config.toml"), "timeout = \"soon\"\n").unwrap();
    let error = home.run(&["--json", "config", "show"]).error();
    assert_eq!(error["exit"], 1);
    assert!(error["message"].as_str().unwrap().contains("config.toml"), "{error}");
    assert_eq!(home.run(&["--json", "--timeout", "never", "config", "show"]).error()["exit"], 2);
    assert_eq!(home.run(&["--json", "--config", "none.toml", "config", "show"]).error()["exit"], 7);
}

#[test]
fn completions_are_printed_for_the_usual_shells() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = home.run(&["completions", shell]);
        assert_eq!((said.exit, said.err.as_str()), (0, ""), "{shell}");
        assert!(said.out.contains("sotto") && said.out.contains("export-phrase"), "{shell}");
    }
}

#[test]
fn a_log_goes_to_the_file_in_the_format_that_was_asked_for() {
    let home = Home::new();
    let list = ["--quiet", "--testnet", "dev", "account", "list"];
    for format in ["text", "json", "logfmt"] {
        let file = home.path(format);
        let said = home.run(&[&["--log-file", file.to_str().unwrap(), "--log-format", format], &list[..]].concat());
        assert_eq!((said.exit, said.err.as_str()), (0, ""), "{said:?}");
        assert!(file.exists());
    }
    assert_eq!(home.run(&[&["--log-format", "xml"], &list[..]].concat()).exit, 2);
    assert_eq!(home.run(&[&["--log-file", "/nowhere/x.log"], &list[..]].concat()).exit, 1);
}
