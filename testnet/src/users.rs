//! Users of a testnet: accounts on devices of their own, used through the same program that people use.
//!
//! Each user has a directory below `users/` with a passphrase file (TEST ONLY) and the data of `sotto`. Every command
//! here is one that a person could type; `sotto-testnet user env NAME` prints the settings it takes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::binaries::Binaries;
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::plan::Plan;

/// What protects every test account: nothing.
const PASSPHRASE: &str = "test only";
/// How long one command may take before it is ended.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest name.
const NAME_MAX: usize = 32;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// What it is called on this testnet.
    pub name: String,
    /// Its account id.
    pub id: String,
}

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Members with receipts.
    pub receipts: u64,
    /// The swarm that keeps it.
    pub swarm: String,
    /// How long the proof of work took.
    pub work_ms: u64,
    /// From the first member's being asked to the second receipt, without the work, in milliseconds.
    pub stored_ms: f64,
    /// The whole command.
    pub took: Duration,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The sender's account id.
    pub sender: String,
    /// The message's id.
    pub id: String,
    /// The text.
    pub text: String,
}

/// The users of a testnet.
#[derive(Clone, Debug)]
pub struct Users<'a> {
    plan: &'a Plan,
    binaries: &'a Binaries,
}

/// Where a user's things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What `sotto` keeps.
    pub datadir: PathBuf,
    /// The file with the passphrase.
    pub passphrase: PathBuf,
    /// The network.
    pub genesis: PathBuf,
    /// What the user is, as JSON.
    pub record: PathBuf,
}

impl<'a> Users<'a> {
    /// The users of the testnet that `plan` lays out.
    #[must_use]
    pub const fn new(plan: &'a Plan, binaries: &'a Binaries) -> Self {
        Self { plan, binaries }
    }

    /// Where a user's things are, or will be.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name that cannot be a directory.
    pub fn place(&self, name: &str) -> Result<Place, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            let message = format!("user {name:?}: letters, digits, '-' and '_' only, at most {NAME_MAX}");
            return Err(Failure::new(Exit::Usage, message));
        }
        let dir = self.plan.dir.join(files::USERS).join(name);
        Ok(Place {
            datadir: dir.join("data"),
            passphrase: dir.join("passphrase"),
            genesis: self.plan.genesis(),
            record: dir.join("user.json"),
        })
    }

    /// A user that is there.
    ///
    /// # Errors
    /// [`Exit::NotFound`] if it is not.
    pub fn find(&self, name: &str) -> Result<User, Failure> {
        let place = self.place(name)?;
        match fs::read(&place.record) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|error| Failure::new(Exit::Failed, format!("{} is damaged: {error}", place.record.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure::new(Exit::NotFound, format!("there is no user {name:?} on this testnet"))
                    .hint(format!("sotto-testnet user add {name}")))
            }
            Err(error) => Err(error).context("read", place.record.display()),
        }
    }

    /// All users, by name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn all(&self) -> Result<Vec<User>, Failure> {
        let dir = self.plan.dir.join(files::USERS);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", dir.display()),
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        // A directory without a record is a user whose making was interrupted; it is made anew.
        Ok(names.iter().filter_map(|name| self.find(name).ok()).collect())
    }

    /// Makes a user, or finds the one of this name.
    ///
    /// # Errors
    /// What `sotto account create` says.
    pub async fn add(&self, name: &str) -> Result<User, Failure> {
        if let Ok(user) = self.find(name) {
            return Ok(user);
        }
        let place = self.place(name)?;
        if place.datadir.exists() {
            fs::remove_dir_all(&place.datadir).context("remove", place.datadir.display())?;
        }
        fs::create_dir_all(&place.datadir).context("create", place.datadir.display())?;
        write_private(&place.passphrase, PASSPHRASE).context("write", place.passphrase.display())?;
        let answer = self.run(name, &["account", "create", "--name", name, "--yes"], None).await?;
        let id = answer.first().and_then(|created| text(created, "/id")).unwrap_or_default();
        if id.is_empty() {
            return Err(Failure::new(Exit::Internal, "sotto account create did not say the account's id"));
        }
        let user = User { name: name.to_owned(), id };
        let json = serde_json::to_vec(&user).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        files::write_atomically(&place.record, &json).context("write", place.record.display())?;
        Ok(user)
    }

    /// Sends a message and waits until it is stored.
    ///
    /// # Errors
    /// What `sotto send` says.
    pub async fn send(&self, from: &str, to: &User, message: &str) -> Result<Stored, Failure> {
        let began = Instant::now();
        let answers = self.run(from, &["send", &to.id, "-m", "-"], Some(message)).await?;
        let took = began.elapsed();
        let result = answers.iter().find(|answer| text(answer, "/type").as_deref() == Some("send.result"));
        let result = result.ok_or_else(|| Failure::new(Exit::Internal, "sotto send said nothing"))?;
        Ok(Stored {
            id: text(result, "/id").unwrap_or_default(),
            receipts: number(result, "/stored"),
            swarm: text(result, "/swarm").unwrap_or_default(),
            work_ms: number(result, "/pow_ms"),
            stored_ms: result.pointer("/stored_ms").and_then(Value::as_f64).unwrap_or_default(),
            took,
        })
    }

    /// Fetches what waits for a user.
    ///
    /// # Errors
    /// What `sotto recv` says.
    pub async fn recv(&self, name: &str) -> Result<Vec<Received>, Failure> {
        let answers = self.run(name, &["recv"], None).await?;
        let messages = answers.iter().filter(|answer| text(answer, "/type").as_deref() == Some("message.received"));
        Ok(messages
            .map(|message| Received {
                sender: text(message, "/data/sender").unwrap_or_default(),
                id: text(message, "/data/id").unwrap_or_default(),
                text: text(message, "/data/body").unwrap_or_default(),
            })
            .collect())
    }

    /// Runs `sotto` as a user; returns the documents it printed.
    async fn run(&self, name: &str, arguments: &[&str], input: Option<&str>) -> Result<Vec<Value>, Failure> {
        let place = self.place(name)?;
        let mut command = Command::from(self.binaries.sotto(&place, name));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start", "sotto")?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).await.context("write to", "sotto")?;
        }
        let finished = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = finished
            .map_err(|_| Failure::new(Exit::Timeout, format!("sotto {} as {name}: no end", arguments.join(" "))))?
            .context("run", "sotto")?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let documents: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if output.status.success() {
            return Ok(documents);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = stderr.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let said = said.and_then(|error| text(&error, "/message"));
        let message = said.unwrap_or_else(|| stderr.lines().last().unwrap_or("no reason given").to_owned());
        let exit =
            output.status.code().and_then(|code| u8::try_from(code).ok()).map_or(Exit::Failed, Exit::from_number);
        Err(Failure::new(exit, format!("sotto {} as {name}: {message}", arguments.first().unwrap_or(&""))))
    }
}

fn text(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer)?.as_str().map(str::to_owned)
}

fn number(document: &Value, pointer: &str) -> u64 {
    document.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Only its owner may read a file with a passphrase, even one that protects nothing.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Settings;

    #[test]
    fn users_are_found_by_plain_names_only() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new("dev", 42, 50, Duration::from_secs(1), 27_000).unwrap();
        let plan = Plan::new(settings, dir.path().to_owned());
        let binaries = Binaries::in_directory(dir.path());
        let users = Users::new(&plan, &binaries);
        assert!(users.place("alice").is_ok());
        for bad in ["", "a/b", "..", "a b", &"x".repeat(33)] {
            assert_eq!(users.place(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
        assert_eq!(users.find("alice").unwrap_err().exit, Exit::NotFound);
        assert_eq!(users.all().unwrap(), []);
    }
}
