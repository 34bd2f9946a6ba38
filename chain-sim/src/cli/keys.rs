//! Which keys a producer has: given as files, derived from a test's seed, or in a `keys` directory.

use std::path::{Path, PathBuf};

use sotto_chain::producer::datadir::{self, KeyError};
use sotto_proto::account::test_seed;
use sotto_proto::sign::SigningKey;

use super::failure::{Exit, Failure};

/// Where keys come from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyArguments {
    /// Seed of the key that signs blocks (64 hex digits in a file of mode 0600)
    #[arg(long, value_name = "FILE")]
    authority_key: Option<PathBuf>,
    /// Seed of the producer's network identity
    #[arg(long, value_name = "FILE")]
    producer_key: Option<PathBuf>,
    /// Seed of the key whose coins the faucet gives away (testnets)
    #[arg(long, value_name = "FILE")]
    faucet_key: Option<PathBuf>,
    /// Derive all keys from this number: everybody can, so for tests only
    #[arg(long, value_name = "N", conflicts_with_all = ["authority_key", "producer_key", "faucet_key"])]
    pub(crate) test_seed: Option<u64>,
}

/// The keys a chain's founder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Authority,
    Producer,
    Faucet,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Producer => "producer",
            Self::Faucet => "faucet",
        }
    }
}

impl KeyArguments {
    /// The key that the arguments give, if they do.
    fn given(&self, role: Role) -> Result<Option<SigningKey>, Failure> {
        if let Some(seed) = self.test_seed {
            return Ok(Some(SigningKey::from_seed(&test_seed(seed, role.name(), 0))));
        }
        let file = match role {
            Role::Authority => &self.authority_key,
            Role::Producer => &self.producer_key,
            Role::Faucet => &self.faucet_key,
        };
        file.as_ref().map(|path| datadir::read_key(path).map_err(failure)).transpose()
    }

    /// The key as given, else from the first of `dirs` that has it.
    pub(crate) fn find(&self, role: Role, dirs: &[&Path]) -> Result<Option<SigningKey>, Failure> {
        if let Some(key) = self.given(role)? {
            return Ok(Some(key));
        }
        for dir in dirs {
            let path = datadir::key_path(dir, role.name());
            if datadir::has_key(&path).map_err(failure)? {
                return datadir::read_key(&path).map(Some).map_err(failure);
            }
        }
        Ok(None)
    }

    /// The key for a new chain: as given, else from `dir`, else a new one. It is in `dir` afterwards, unless it was
    /// given as a file.
    pub(crate) fn found(&self, role: Role, dir: &Path) -> Result<SigningKey, Failure> {
        let path = datadir::key_path(dir, role.name());
        let there = datadir::has_key(&path).map_err(failure)?;
        match self.given(role)? {
            Some(key) if self.test_seed.is_none() => Ok(key),
            Some(key) if there => same(&path, key),
            None if there => datadir::read_key(&path).map_err(failure),
            given => {
                let key = given.map_or_else(datadir::random_key, Ok).map_err(failure)?;
                datadir::write_key(&path, &key).map_err(failure)?;
                Ok(key)
            }
        }
    }
}

/// A derived key must not meet another one in its place.
fn same(path: &Path, key: SigningKey) -> Result<SigningKey, Failure> {
    if datadir::read_key(path).map_err(failure)?.public() == key.public() {
        return Ok(key);
    }
    let message = format!("{} holds another key than the test seed gives", path.display());
    Err(Failure::new(Exit::Conflict, "other_key", message).hint("move it away, or name another --datadir"))
}

/// Reads the key of a file named on the command line.
pub(crate) fn read(path: &Path) -> Result<SigningKey, Failure> {
    datadir::read_key(path).map_err(failure)
}

fn failure(error: KeyError) -> Failure {
    let exit = match &error {
        KeyError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
        KeyError::Io { .. } | KeyError::Random(_) => Exit::Io,
        KeyError::Format(_) | KeyError::Mode { .. } => Exit::Failed,
    };
    Failure::new(exit, "key", error.to_string())
}
