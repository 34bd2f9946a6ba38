//! A person's home directory, and the command run in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Home {
    dir: TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// The one document on standard output of a command that succeeded.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        assert_eq!((self.exit, self.err.as_str()), (0, ""), "{self:?}");
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }

    /// The one line on standard error of a command that failed.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        assert_eq!((self.out.as_str(), self.err.lines().count()), ("", 1), "{self:?}");
        let error: Value = serde_json::from_str(&self.err).unwrap();
        assert_eq!((error["v"].as_i64(), error["type"].as_str()), (Some(1), Some("error")), "{error}");
        assert_eq!(error["exit"].as_i64(), Some(self.exit.into()), "{error}");
        error
    }
}

impl Home {
    /// An empty home, and a testnet's genesis file beside it.
    pub(crate) fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        let testnet = home.path("testnet/data/dev");
        fs::create_dir_all(&testnet).unwrap();
        fs::write(testnet.join("genesis.json"), genesis()).unwrap();
        home
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(name);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    /// The command in this home, with nothing of the surrounding environment, and no terminal to ask on.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sotto"));
        command.args(args).env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(&[&["--no-input"], args].concat()).output().unwrap().into()
    }

    /// The command on the testnet, answering in JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Said {
        self.run(&[&["--testnet", "dev", "--json"], args].concat())
    }

    /// The same with something on standard input.
    pub(crate) fn json_fed(&self, input: &str, args: &[&str]) -> Said {
        let args = [&["--no-input", "--testnet", "dev", "--json"], args].concat();
        let mut child: Child = self.command(&args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Makes an account whose passphrase is in the file `NAME.pass`, and returns its id.
    pub(crate) fn create(&self, name: &str) -> String {
        let file = self.secret(&format!("{name}.pass"), &format!("passphrase of {name}\n"));
        let said = self.json(&["account", "create", "--name", name, "--passphrase-file", file.to_str().unwrap()]);
        said.document()["id"].as_str().unwrap().to_owned()
    }

    /// The command on the testnet as an account that [`Home::create`] made.
    pub(crate) fn as_account(&self, name: &str, args: &[&str]) -> Said {
        let file = self.path(&format!("{name}.pass"));
        self.json(&[&["--account", name, "--passphrase-file", file.to_str().unwrap()], args].concat())
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.path(".local/share/sotto")
    }
}

/// Every file below `dir`.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn genesis() -> String {
    use sotto_proto::chain::{Genesis, GenesisFile, Params, Preset};
    use sotto_proto::id::Amount;
    use sotto_proto::sign::SigningKey;
    use sotto_proto::time::UnixMillis;
    let authority = SigningKey::from_seed(&[1; 32]);
    let operator = SigningKey::from_seed(&[2; 32]);
    let genesis = Genesis {
        preset: Preset::Testnet,
        time: UnixMillis(1_767_225_600_000),
        authority: authority.public(),
        producer: authority.node_id(),
        balances: [(operator.public(), Amount::coins(1000))].into(),
        params: Params::preset(Preset::Testnet),
    };
    GenesisFile { genesis, producer_addresses: Vec::new(), bootstrap: Vec::new() }.to_json()
}
