//! The other programs of Sotto: where they are, and the command lines they are started with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Exit, Failure};
use crate::plan::{Place, Plan};

/// Names the directory of the programs, when they are not beside this one.
pub const DIRECTORY_VARIABLE: &str = "SOTTO_BIN_DIR";

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    node: PathBuf,
    chain: PathBuf,
    client: PathBuf,
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
        Ok(Self { node: find("sotto-node")?, chain: find("sotto-chain")?, client: find("sotto")? })
    }

    /// The programs as they would be in `directory`.
    #[cfg(test)]
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let program = |name: &str| directory.join(name);
        Self { node: program("sotto-node"), chain: program("sotto-chain"), client: program("sotto") }
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
        run(&self.chain, plan, &plan.producer())
    }

    /// Runs a node, which registers itself when it is not registered yet.
    #[must_use]
    pub fn run_node(&self, plan: &Plan, place: &Place) -> Command {
        let mut command = run(&self.node, plan, place);
        command.arg("--register");
        command
    }
}

fn run(program: &Path, plan: &Plan, place: &Place) -> Command {
    let mut command = Command::new(program);
    command
        .args(["run", "--exit-on-stdin-eof"])
        .arg("--datadir")
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
