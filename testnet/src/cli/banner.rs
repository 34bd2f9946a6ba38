//! What is printed when a testnet is up: where things are, and commands that work when pasted.

use std::env;
use std::path::Path;

use super::location::shown;
use crate::files;
use crate::plan::Plan;

/// The commands to try next, each with a remark. The first makes the programs known to the shell; those about messages
/// come when there are `users`.
pub(super) fn hints(plan: &Plan, users: bool) -> Vec<(String, &'static str)> {
    let default = env::current_dir().is_ok_and(|current| plan.dir == current.join("testnet/data/dev"));
    let which = if default { String::new() } else { format!(" --dir {}", quoted(&plan.dir)) };
    let one = |command: &str| format!("sotto-testnet {command}{which}");
    let mut hints = vec![
        (path_export(), ""),
        (one("status"), "(is everything well?)"),
        (format!("sotto-node status --datadir {}", quoted(&plan.node(7.min(plan.settings.nodes - 1)).datadir)), ""),
    ];
    if users {
        hints.extend([
            (one("send alice bob hello"), ""),
            (format!("eval \"$({})\" && sotto recv", one("user env bob")), "(as bob)"),
            (one("verify"), "(twenty messages, each exactly once)"),
        ]);
    }
    hints.extend([
        (one("node add"), added_remark(plan)),
        (one("chain fault reorg 3"), "(three blocks are taken back; all agree again)"),
        (one("node kill 3"), "(then: node restart 3)"),
        (one("down"), "(or Ctrl-C here)"),
    ]);
    hints
}

const fn added_remark(plan: &Plan) -> &'static str {
    if plan.settings.nodes == 50 { "(51st node: a sixth swarm is born)" } else { "(one node more)" }
}

/// Makes the programs that were started here known to a shell in the same directory.
pub(super) fn path_export() -> String {
    let linked = env::current_dir().is_ok_and(|current| current.join("testnet/bin/sotto-testnet").exists());
    if linked {
        return "export PATH=\"$PWD/testnet/bin:$PATH\"".to_owned();
    }
    let beside = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned)).unwrap_or_default();
    format!("export PATH={}:\"$PATH\"", quoted(&beside))
}

/// The whole banner.
pub(super) fn banner(plan: &Plan, users: bool) -> String {
    let file = |name: &str| shown(&plan.dir.join(name));
    let mut lines = vec![
        String::new(),
        format!(" Manifest  {}", file(files::MANIFEST)),
        format!(" Logs      {}/nodeNN/{}    sotto-testnet logs 7 -f", shown(&plan.dir), files::LOG),
        format!(" Genesis   {}", file(files::GENESIS)),
        " Keys      TEST ONLY: they follow from the seed, anybody can compute them".to_owned(),
        String::new(),
        " Try next, in a second terminal from this directory:".to_owned(),
    ];
    lines.extend(
        hints(plan, users)
            .into_iter()
            .map(|(command, remark)| format!("   {command:<44}  {remark}").trim_end().to_owned()),
    );
    lines.push(String::new());
    lines.push(" Ctrl-C stops everything.".to_owned());
    lines.join("\n")
}

/// A path that a shell takes as one word.
pub(super) fn quoted(path: &Path) -> String {
    let text = shown(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use clap::Parser;

    use super::super::Cli;
    use super::*;
    use crate::plan::Settings;

    fn plan(dir: &str) -> Plan {
        Plan::new(Settings::new("dev", 42, 50, Duration::from_secs(1), 27_000).unwrap(), PathBuf::from(dir))
    }

    #[test]
    fn every_hint_is_a_command_line_that_we_understand() {
        let hints = hints(&plan("/tmp/lab"), true);
        assert!(hints[0].0.starts_with("export PATH="));
        let ours = hints.iter().filter(|(command, _)| command.starts_with("sotto-testnet "));
        assert!(ours.clone().count() >= 4);
        for (command, _) in ours {
            let parsed = Cli::try_parse_from(command.split(' ')).unwrap();
            assert_eq!(parsed.globals.dir, Some(PathBuf::from("/tmp/lab")), "{command}");
        }
    }

    #[test]
    fn paths_with_blanks_and_quotes_stay_one_word() {
        assert_eq!(quoted(Path::new("/tmp/a b")), "'/tmp/a b'");
        assert_eq!(quoted(Path::new("/tmp/it's")), "'/tmp/it'\\''s'");
        assert_eq!(quoted(Path::new("/tmp/a-b_1.2")), "/tmp/a-b_1.2");
    }
}
