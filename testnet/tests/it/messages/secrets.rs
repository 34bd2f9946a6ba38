//! What is nowhere: contents, passphrases and account ids in logs and on disks where they do not belong.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sotto_proto::address::Address;

use super::following::Follower;
use super::steps::{sotto, swarms};
use crate::harness::Figure;
use crate::testnet::{Testnet, finish, list};

/// Text that nobody else writes.
const SENTINEL: &str = "the-sentinel-4c9e1f7ab2d85036-goes-by-night";
const PASSPHRASE: &str = "a-passphrase-91d6c40be7f2-of-nobody-else";
/// Where clients of a testnet connect from; nodes are at addresses of their own.
const CLIENTS: &str = "127.0.0.1";
/// Members that die.
const DEAD: usize = 6;

/// Something to look for, and what it is.
#[derive(Clone)]
struct Needle(&'static str, Vec<u8>);

impl Needle {
    fn text(name: &'static str, text: &str) -> Self {
        Self(name, text.as_bytes().to_vec())
    }

    /// An account's id as text, also cut short, and as bytes.
    fn ids(name: &'static str, id: &str) -> [Self; 2] {
        let address: Address = id.parse().unwrap();
        [Self::text(name, &id[2..12]), Self(name, address.to_bytes()[1..].to_vec())]
    }

    fn is_in(&self, hay: &[u8]) -> bool {
        hay.windows(self.1.len()).any(|part| part == self.1)
    }
}

fn assert_absent(place: &str, hay: &[u8], needles: &[Needle]) {
    for needle in needles {
        assert!(!needle.is_in(hay), "{} is in {place}", needle.0);
    }
}

pub(super) fn kept(testnet: &Testnet) -> Figure {
    let [sender, recipient] = ["umar", "vera"].map(|name| account(testnet, name));
    let secret = [Needle::text("a message's text", SENTINEL), Needle::text("the passphrase", PASSPHRASE)];
    let from = [&secret[..], &Needle::ids("the sender's id", &sender)].concat();
    let to = [&secret[..], &Needle::ids("the recipient's id", &recipient)].concat();
    let all = [&from[..], &to].concat();

    let (swarm, log) = exchange(testnet, &recipient);
    assert!(log.contains(" INFO "), "nothing is logged: {log}");
    assert_absent("what sotto logs", log.as_bytes(), &all);
    let mut searched = search(&testnet.path().join("users/umar/data"), |_| to.clone(), |_, _| ());
    searched += search(&testnet.path().join("users/vera/data"), |_| from.clone(), |_, _| ());

    let members = swarms(testnet)[&swarm].clone();
    let client = Needle::text("a client's address", CLIENTS);
    let mut found = 0;
    for (index, node) in (0..).zip(testnet.manifest()["nodes"].as_array().unwrap()) {
        let dir = PathBuf::from(node["dir"].as_str().unwrap());
        let database = dir.join("db");
        let keeps_mail = |file: &Path| members.contains(&index) && file.starts_with(&database);
        // Only the members of its swarm see the recipient's address, and only in their databases.
        let needles = |file: &Path| {
            let mut needles = if keeps_mail(file) { from.clone() } else { all.clone() };
            needles.push(client.clone());
            needles
        };
        searched += search(&dir, needles, |file, hay| {
            found += usize::from(keeps_mail(file) && to.iter().any(|needle| needle.is_in(hay)));
        });
    }
    assert!(found > 0, "what is in a database would be found");
    Figure(format!("{searched} files searched"))
}

/// An account with a passphrase of its own.
fn account(testnet: &Testnet, name: &str) -> String {
    let place = testnet.path().join("users").join(name);
    fs::create_dir_all(place.join("data")).unwrap();
    let passphrase = place.join("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let mut create = sotto(testnet, name);
    create.args(["account", "create", "--name", name, "--yes", "--json"]);
    finish(create).ok().json()["id"].as_str().unwrap().to_owned()
}

/// A message to a follower, and one that is sent and fetched past dead members, as failures are what most is logged
/// about. Returns the swarm that keeps them, and all that was logged.
fn exchange(testnet: &Testnet, recipient: &str) -> (String, String) {
    let logging = |user: &str, arguments: &[&str]| {
        let mut command = sotto(testnet, user);
        command.args(["-v", "-v", "--json", "--progress", "json"]).args(arguments).env("NO_COLOR", "1");
        finish(command)
    };
    let [followed, fetched] = ["followed", "fetched"].map(|how| format!("{SENTINEL} {how}"));
    let mut follower = Follower::start(testnet, "vera");
    for part in ["cmdline", "environ"] {
        let told = fs::read(format!("/proc/{}/{part}", follower.process.id())).unwrap();
        assert!(!told.is_empty());
        assert_absent(part, &told, &[Needle::text("the passphrase", PASSPHRASE)]);
    }
    let first = logging("umar", &["send", recipient, "-m", &followed]).ok();
    follower.wait_for(&followed, Duration::from_secs(30));
    let mut log = follower.end(testnet, &[followed]);

    let swarm = first.json()["swarm"].as_str().unwrap().to_owned();
    let dead = list(&swarms(testnet)[&swarm][..DEAD]);
    testnet.run(&format!("node kill {dead}")).ok();
    let second = logging("umar", &["send", recipient, "-m", &fetched]);
    let received = logging("vera", &["recv"]);
    testnet.run(&format!("node restart {dead} --timeout 60s")).ok();
    assert!(received.stdout.contains(&fetched), "{received:?}");
    log.extend([first.stderr, second.ok().stderr, received.ok().stderr]);
    (swarm, log.join("\n"))
}

/// Looks for what each file must not hold, and shows each to `see`; returns how many there are.
fn search(dir: &Path, needles: impl Fn(&Path) -> Vec<Needle>, mut see: impl FnMut(&Path, &[u8])) -> usize {
    let mut searched = 0;
    for file in files(dir) {
        let hay = match fs::read(&file) {
            Ok(hay) => hay,
            // A database drops files that it has merged.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", file.display()),
        };
        assert_absent(&file.display().to_string(), &hay, &needles(&file));
        see(&file, &hay);
        searched += 1;
    }
    searched
}

/// All plain files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
