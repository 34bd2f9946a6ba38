//! A disk that takes no more, made by a limit on the size of files that the command may write.

use std::process::{Command, Stdio};

use crate::home::{Home, Said};

#[test]
fn a_message_that_cannot_be_kept_is_refused_and_said_to_be() {
    let home = Home::new();
    let id = home.create("alice");
    let pass = home.path("alice.pass");
    let text = "word ".repeat(4000);
    let args = ["--no-input", "--testnet", "dev", "--json", "--account", "alice", "--passphrase-file"];
    let mut command = Command::new("sh");
    // The limit is told by an error of the write instead of a signal.
    command.arg("-c").arg("trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"").arg(env!("CARGO_BIN_EXE_sotto"));
    command.args(args).arg(&pass).args(["send", &id, "--message", &text]);
    command.env_clear().env("HOME", home.path("")).env("PATH", "/usr/bin:/bin").current_dir(home.path(""));
    let said: Said = command.stdin(Stdio::null()).output().unwrap().into();
    assert_eq!(said.exit, 1, "{said:?}");
    let error = said.error();
    assert!(["io", "disk_full"].contains(&error["code"].as_str().unwrap()), "{error}");
    // The account is as it was.
    assert_eq!(home.as_account("alice", &["account", "show"]).document()["id"], id);
}
