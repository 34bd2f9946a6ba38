//! The other programs of Sotto: where they are, and the command lines they are started with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Exit, Failure};
use crate::guise::{self, Guise};
use crate::plan::{Place, Plan};

/// How the command line of a process of a testnet begins, before its data directory: it is known again by that.
pub(crate) const RUN: [&str; 3] = ["run", "--exit-on-stdin-eof", "--datadir"];

/// Names the directory of the programs, when they are not beside this one.
pub const DIRECTORY_VARIABLE: &str = "SOTTO_BIN_DIR";
/// A node that does not do what it should.
const MISBEHAVING: &str = "sotto-misbehaving";

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    node: PathBuf,
    chain: PathBuf,
    client: PathBuf,
    /// Only some faults need it.
    misbehaving: PathBuf,
}

impl Binaries {
    /// Finds the programs in `$SOTTO_BIN_DIR`, else beside this program.
    ///
    /// # Errors
    /// [`Exit::NotFound`], saying where they were looked for.
    pub fn locate() -> Result<Self, Failure> {
        let directory = match env::var_os(DIRECTORY_VARIABLE) {
            Some(directory) => PathBuf::from(directory),
            None => env::current_exe()
                .ok()
                .and_then(|program| program.parent().map(Path::to_owned))
                .ok_or_else(|| Failure::new(Exit::Internal, "cannot tell where this program lies"))?,
        };
        let find = |name: &str| {
            let path = directory.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::new(Exit::NotFound, format!("no {name} in {}", directory.display()))
                .hint("cargo build --release --bins"))
        };
        let misbehaving = directory.join(MISBEHAVING);
        Ok(Self { node: find("sotto-node")?, chain: find("sotto-chain")?, client: find("sotto")?, misbehaving })
    }

    /// The programs as they would be in `directory`.
    #[cfg(test)]
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let program = |name: &str| directory.join(name);
        Self {
            node: program("sotto-node"),
            chain: program("sotto-chain"),
            client: program("sotto"),
            misbehaving: program(MISBEHAVING),
        }
    }

    /// Runs `sotto` as the user `name`; its verb is still to be added.
    #[must_use]
    pub fn sotto(&self, place: &crate::users::Place, name: &str) -> Command {
        let mut command = Command::new(&self.client);
        command
            .arg("--datadir")
            .arg(&place.datadir)
            .arg("--genesis")
            .arg(&place.genesis)
            .arg("--passphrase-file")
            .arg(&place.passphrase)
            .args(["--account", name, "--json", "--no-input"]);
        without_settings(&mut command);
        command
    }

    /// Writes the genesis: funded operators, the producer's address.
    #[must_use]
    pub fn genesis(&self, plan: &Plan) -> Command {
        let mut command = Command::new(&self.chain);
        let settings = &plan.settings;
        command
            .args(["genesis", "--preset", "testnet"])
            .args(["--test-seed", &settings.seed.to_string()])
            .args(["--operators", &settings.operators().to_string()])
            .args(["--block-time", &format!("{}ms", settings.block_time_ms)])
            .args(["--producer-address", &plan.producer().listen.to_string()])
            .arg("--datadir")
            .arg(plan.producer().datadir)
            .arg("--out")
            .arg(plan.genesis());
        command
    }

    /// Makes the data directory and the keys of node `index`.
    #[must_use]
    pub fn init(&self, plan: &Plan, index: u16) -> Command {
        let place = plan.node(index);
        let mut command = Command::new(&self.node);
        command
            .args(["init", "--moniker", &place.label])
            .args(["--test-seed", &plan.settings.seed.to_string(), "--test-index", &index.to_string()])
            .arg("--datadir")
            .arg(&place.datadir)
            .arg("--genesis")
            .arg(plan.genesis());
        command
    }

    /// Runs the block producer.
    #[must_use]
    pub fn run_producer(&self, plan: &Plan) -> Command {
        run(Command::new(&self.chain), plan, &plan.producer())
    }

    /// Runs a node, which registers itself when it is not registered yet.
    ///
    /// # Errors
    /// [`Exit::NotFound`] if what this guise needs is not there.
    pub fn run_node(&self, plan: &Plan, place: &Place, guise: &Guise) -> Result<Command, Failure> {
        let program = match guise {
            Guise::Plain => Command::new(&self.node),
            Guise::Clock { ahead_seconds } => {
                let library = guise::fake_time().ok_or_else(|| {
                    Failure::new(Exit::NotFound, "no libfaketime is installed").hint("apt-get install faketime")
                })?;
                let mut program = Command::new(&self.node);
                program
                    .env("LD_PRELOAD", library)
                    .env("FAKETIME", format!("{ahead_seconds:+}"))
                    // Timeouts are no part of the fault. The second name is that of older versions.
                    .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                    .env("DONT_FAKE_MONOTONIC", "1");
                program
            }
            Guise::Misbehaving { mode } => {
                if !self.can_misbehave() {
                    let message = format!("there is no {}", self.misbehaving.display());
                    return Err(Failure::new(Exit::NotFound, message).hint("cargo build --release --bins"));
                }
                let mut program = Command::new(&self.misbehaving);
                program.args(["--mode", mode.argument()]);
                program
            }
        };
        let mut command = run(program, plan, place);
        command.arg("--register");
        Ok(command)
    }

    /// Whether the program that misbehaves is there.
    #[must_use]
    pub fn can_misbehave(&self) -> bool {
        self.misbehaving.is_file()
    }

    /// Takes the running node at `place` out of the network, by the chain; ends when the chain shows it.
    #[must_use]
    pub fn exit(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.node);
        command.args(["exit", "--yes", "--datadir"]).arg(&place.datadir);
        without_settings(&mut command);
        command
    }
}

/// `program` with the arguments of a process of the testnet.
fn run(mut command: Command, plan: &Plan, place: &Place) -> Command {
    command
        .args(RUN)
        .arg(&place.datadir)
        .arg("--genesis")
        .arg(plan.genesis())
        .args(["--listen", &place.listen.to_string(), "--http", &place.http.to_string()])
        .arg("--log-file")
        .arg(&place.log)
        // Fifty processes with an arena for every core each would hold more empty memory than data.
        .env("MALLOC_ARENA_MAX", "2");
    without_settings(&mut command);
    command
}

/// Keeps settings that the user has for a node of their own away from the testnet.
fn without_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SOTTO_") {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guise::Mode;
    use crate::plan::Settings;

    #[test]
    fn a_guise_comes_before_the_command_line_of_a_node_and_is_refused_without_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let binaries = Binaries::in_directory(dir.path());
        let settings = Settings::new("dev", 42, 5, Duration::from_secs(1), 27_000).unwrap();
        let plan = Plan::new(settings, dir.path().to_owned());
        let arguments = |guise: &Guise| -> Result<Vec<String>, Failure> {
            let command = binaries.run_node(&plan, &plan.node(3), guise)?;
            Ok(command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect())
        };
        let plain = arguments(&Guise::Plain).unwrap();
        let drops = Guise::Misbehaving { mode: Mode::Drop };
        assert_eq!(arguments(&drops).unwrap_err().exit, Exit::NotFound);
        std::fs::write(dir.path().join(MISBEHAVING), "").unwrap();
        let mut expected = vec!["--mode".to_owned(), "drop".to_owned()];
        expected.extend(plain.clone());
        assert_eq!(arguments(&drops).unwrap(), expected);
        match arguments(&Guise::Clock { ahead_seconds: 5 }) {
            Ok(arguments) => assert_eq!(arguments, plain),
            Err(failure) => assert_eq!(failure.hint.unwrap(), "apt-get install faketime"),
        }
    }
}
