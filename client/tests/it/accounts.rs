//! Accounts from the outside.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::home::{Home, files};

/// 16 bytes 01 23 … ef 01 23 … ef in both phrases, and their account.
const BIP39: &str = "abuse boss fly battle rubber wasp afraid hamster guide essence vibrant tattoo";
const ID: &str = "05d2ad010eeb72d72e561d9de7bd7b6989af77dcabffa03a5111a6c859ae5c3a72";

#[test]
fn an_account_is_made_and_shown_and_marked_insecure_on_a_testnet() {
    let home = Home::new();
    let id = home.create("alice");
    let shown = home.as_account("alice", &["account", "show"]).document();
    assert_eq!((shown["id"].as_str(), shown["name"].as_str()), (Some(id.as_str()), Some("alice")));
    assert_eq!((shown["insecure"].as_bool(), shown["argon2_mib"].as_u64()), (Some(true), Some(19)));
    assert_eq!(shown["uri"], format!("SOTTO:{id}").to_uppercase());
    let pass = home.path("alice.pass");
    let text = home.run(&["--testnet", "dev", "account", "show", "--qr", "--passphrase-file", pass.to_str().unwrap()]);
    assert!(text.out.contains("INSECURE") && text.out.contains('█'), "{text:?}");
}

#[test]
fn secrets_are_shown_where_they_were_asked_for_and_nowhere_else() {
    let home = Home::new();
    let created = home.json(&["account", "create", "--name", "a", "--generate-passphrase"]).document();
    assert_eq!((&created["phrase"], &created["passphrase"]), (&Value::Null, &Value::Null));
    let made = home.json(&["account", "create", "--name", "b", "--generate-passphrase", "--show-secrets"]).document();
    let (phrase, passphrase) = (made["phrase"].as_str().unwrap(), made["passphrase"].as_str().unwrap());
    assert_eq!((phrase.split(' ').count(), passphrase.split('-').count()), (12, 6));
    let pass = home.secret("b.pass", passphrase);
    assert_eq!(home.as_account("b", &["account", "show"]).document()["id"], made["id"]);
    // The phrase brings it back elsewhere, and nothing of either is on the disk.
    let words = home.secret("words", phrase);
    let (words, pass) = (words.to_str().unwrap(), pass.to_str().unwrap());
    let restore = ["account", "restore", "--name", "c", "--phrase-file", words, "--passphrase-file", pass];
    assert_eq!(home.json(&restore).document()["id"], made["id"]);
    // Two words in a row at least: the genesis file is in English, and so are the words of a phrase.
    let words: Vec<&str> = phrase.split(' ').collect();
    let secrets: Vec<String> = words.windows(2).map(|pair| pair.join(" ")).collect();
    let secrets = secrets.iter().map(String::as_str).chain([passphrase, made["id"].as_str().unwrap()]);
    for (path, bytes) in files(&home.datadir()) {
        for secret in secrets.clone() {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn both_phrases_bring_the_same_account_back_and_slips_are_named() {
    let home = Home::new();
    home.secret("p.pass", "a passphrase");
    let pass = home.path("p.pass");
    let restore = |name: &str, phrase: &str| {
        let args =
            ["account", "restore", "--name", name, "--phrase-file", "-", "--passphrase-file", pass.to_str().unwrap()];
        home.json_fed(phrase, &args)
    };
    let said = restore("one", BIP39);
    assert_eq!(said.document()["id"], ID);
    let args = ["--account", "one", "--passphrase-file", pass.to_str().unwrap(), "account", "export-phrase"];
    assert_eq!(home.json(&args).document()["phrase"], BIP39);
    let session = home.json(&[&args[..], &["--session"]].concat()).document()["phrase"].as_str().unwrap().to_owned();
    assert_eq!(session.split(' ').count(), 13);
    assert_eq!(restore("two", &format!("{session}\n")).document()["id"], ID);
    let wrong = restore("three", &BIP39.replace("boss", "bosss")).error();
    assert_eq!(wrong["exit"], 1);
    assert!(
        wrong["message"].as_str().unwrap().contains("word 2") && wrong["message"].as_str().unwrap().contains("boss")
    );
}

#[test]
fn a_wrong_passphrase_is_exit_6_and_sqlcipher_says_nothing() {
    let home = Home::new();
    home.create("alice");
    let wrong = home.secret("wrong", "passphrase of bob");
    let args = ["--account", "alice", "--passphrase-file", wrong.to_str().unwrap(), "account", "show"];
    let error = home.json(&args).error();
    assert_eq!((error["exit"].as_i64(), error["code"].as_str()), (Some(6), Some("locked")));
    let said = home.run(&[&["--testnet", "dev"], &args[..]].concat());
    assert_eq!((said.exit, said.out.as_str(), said.err.lines().count()), (6, "", 2), "{said:?}");
    assert!(said.err.starts_with("sotto: the passphrase is wrong\n"), "{said:?}");
    // Nobody to ask.
    assert_eq!(home.json(&["--account", "alice", "account", "show"]).error()["exit"], 6);
}

#[test]
fn a_damaged_store_says_so_in_one_line_and_sqlcipher_nothing() {
    let home = Home::new();
    home.create("alice");
    let (path, mut bytes) = files(&home.datadir()).into_iter().find(|(path, _)| path.ends_with("store.db")).unwrap();
    bytes[..4096].reverse();
    fs::write(path, bytes).unwrap();
    let error = home.as_account("alice", &["account", "show"]).error();
    assert_eq!((error["exit"].as_i64(), error["code"].as_str()), (Some(1), Some("damaged")));
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let home = Home::new();
    home.create("alice");
    // It has the account locked while it waits for the passphrase of the account to share guards with.
    let folder = fs::read_dir(home.datadir()).unwrap().next().unwrap().unwrap().path();
    let account = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let mut holder = std::process::Command::new("flock")
        .args([account.join("LOCK").to_str().unwrap(), "sh", "-c", "echo $$ > \"$0\"; echo ready; read _"])
        .arg(account.join("LOCK"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut output = BufReader::new(holder.stdout.take().unwrap());
    output.read_line(&mut ready).unwrap();
    let pid = fs::read_to_string(account.join("LOCK")).unwrap().trim().to_owned();
    let error = home.as_account("alice", &["account", "show"]).error();
    let listed = home.json(&["account", "list"]).document();
    drop(holder.stdin.take());
    output.read_to_string(&mut ready).unwrap();
    holder.wait().unwrap();
    assert_eq!((error["exit"].as_i64(), error["code"].as_str()), (Some(12), Some("in_use")));
    assert!(error["message"].as_str().unwrap().contains(&format!("process {pid}")), "{error}");
    assert_eq!(listed["accounts"][0]["state"], "in_use");
    home.as_account("alice", &["account", "show"]).document();
}

#[test]
fn accounts_are_listed_renamed_and_erased() {
    let home = Home::new();
    let id = home.create("alice");
    home.create("bob");
    let listed = home.json(&["account", "list"]).document();
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 2);
    assert!(listed["accounts"].as_array().unwrap().iter().all(|account| account["state"] == "locked"));
    let opened = home.as_account("alice", &["account", "list"]).document();
    let named: Vec<_> =
        opened["accounts"].as_array().unwrap().iter().filter(|account| account["name"] == "alice").collect();
    assert_eq!((named.len(), &named[0]["id"]), (1, &Value::from(id.as_str())));
    // Which of two is meant must be said.
    let pass = home.path("alice.pass");
    let error = home.json(&["--passphrase-file", pass.to_str().unwrap(), "account", "show"]).error();
    assert_eq!((error["exit"].as_i64(), error["code"].as_str()), (Some(1), Some("which_account")));

    assert_eq!(home.as_account("alice", &["account", "rename", "bob"]).error()["exit"], 10);
    assert_eq!(home.as_account("alice", &["account", "rename", "carol"]).document()["name"], "carol");
    assert_eq!(home.as_account("alice", &["account", "show"]).error()["exit"], 7);
    fs::copy(&pass, home.path("carol.pass")).unwrap();
    assert_eq!(home.as_account("carol", &["account", "show"]).document()["id"], id);

    assert_eq!(home.json(&["--account", "carol", "account", "delete"]).error()["code"], "not_confirmed");
    assert_eq!(home.json(&["--account", "carol", "account", "delete", "--dry-run"]).document()["dry_run"], true);
    home.as_account("carol", &["account", "show"]).document();
    home.json(&["--account", "carol", "account", "delete", "--yes"]).document();
    assert_eq!(home.as_account("carol", &["account", "show"]).error()["exit"], 7);
    home.as_account("bob", &["account", "show"]).document();
}

#[test]
fn a_name_that_is_taken_and_a_passphrase_that_is_none_make_no_account() {
    let home = Home::new();
    home.create("alice");
    let pass = home.path("alice.pass");
    let again = ["account", "create", "--name", "alice", "--passphrase-file", pass.to_str().unwrap()];
    assert_eq!(home.json(&again).error()["exit"], 10);
    let short = home.secret("short", "short");
    let error = home.json(&["account", "create", "--name", "b", "--passphrase-file", short.to_str().unwrap()]).error();
    assert_eq!((error["exit"].as_i64(), error["code"].as_str()), (Some(1), Some("passphrase")));
    assert_eq!(home.json(&["account", "create", "--name", "b"]).error()["exit"], 6);
    assert_eq!(home.json(&["account", "create", "--name", "a\nb", "--generate-passphrase"]).error()["exit"], 2);
    assert_eq!(home.json(&["account", "list"]).document()["accounts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_made_up_passphrase_is_written_to_a_new_file_for_programs() {
    let home = Home::new();
    let pass = home.path("bot.pass");
    let create =
        ["account", "create", "--name", "bot", "--generate-passphrase", "--passphrase-file", pass.to_str().unwrap()];
    home.json(&create).document();
    assert_eq!(fs::read_to_string(&pass).unwrap().trim().split('-').count(), 6);
    home.as_account("bot", &["account", "show"]).document();
    let other = [&create[..3], &["bot2"], &create[4..]].concat();
    assert_eq!(home.json(&other).error()["exit"], 10, "a passphrase in use is not overwritten");
}

#[test]
fn a_changed_passphrase_takes_the_place_of_the_first() {
    let home = Home::new();
    home.create("alice");
    let fresh = home.path("fresh.pass");
    let change = ["passphrase", "change", "--generate-passphrase", "--new-passphrase-file", fresh.to_str().unwrap()];
    assert_eq!(home.as_account("alice", &change).document()["passphrase"], Value::Null);
    assert_eq!(home.as_account("alice", &["account", "show"]).error()["exit"], 6);
    fs::copy(&fresh, home.path("alice.pass")).unwrap();
    home.as_account("alice", &["account", "show"]).document();
}

#[test]
fn guards_are_shared_only_when_that_is_asked_for() {
    let home = Home::new();
    home.create("alice");
    let (alice, bob) = (home.path("alice.pass"), home.secret("bob.pass", "passphrase of bob"));
    let (alice, bob) = (alice.to_str().unwrap(), bob.to_str().unwrap());
    let create = ["account", "create", "--name", "bob", "--passphrase-file", bob, "--share-guards-with", "alice"];
    assert_eq!(home.json(&create).error()["exit"], 6, "nobody to ask");
    assert_eq!(home.json(&[&create[..], &["--share-passphrase-file", bob]].concat()).error()["exit"], 6);
    home.json(&[&create[..], &["--share-passphrase-file", alice]].concat()).document();
    home.as_account("bob", &["account", "show"]).document();
}

#[test]
fn accounts_are_wiped_without_their_passphrases_and_all_of_them_leave_nothing() {
    let home = Home::new();
    for name in ["alice", "bob", "carol"] {
        home.create(name);
    }
    assert_eq!(home.json(&["--account", "alice", "wipe"]).error()["code"], "not_confirmed");
    let planned = home.json(&["--account", "alice", "wipe", "--dry-run"]).document();
    let done = home.json(&["--account", "alice", "wipe", "--yes"]).document();
    assert_eq!((planned["accounts"].as_array().unwrap().len(), &planned["accounts"]), (1, &done["accounts"]));
    assert_eq!(home.as_account("alice", &["account", "show"]).error()["exit"], 7);
    home.as_account("bob", &["account", "show"]).document();
    assert_eq!(home.json(&["--account", "bob", "wipe", "--all", "--yes"]).error()["exit"], 2);
    let said = home.run(&["--progress", "json", "--yes", "wipe", "--all"]);
    assert_eq!((said.exit, said.err.matches("\"progress\"").count()), (0, 4), "{said:?}");
    assert!(said.out.contains("2 accounts erased") && said.err.contains("SSD"), "{said:?}");
    assert_eq!(fs::read_dir(home.datadir()).unwrap().count(), 0);
}
