//! Which testnet a command is about.

use std::env;
use std::path::{Path, PathBuf};

use super::Globals;
use crate::failure::{Context, Exit, Failure};
use crate::files;
use crate::plan::{Plan, Settings};

/// Below which directory testnets with a name alone lie.
pub(super) const DATA: &str = "testnet/data";
/// The name when none is given.
const DEFAULT_NAME: &str = "dev";

/// A testnet's directory and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) dir: PathBuf,
    pub(super) name: String,
}

impl Location {
    /// Where the options point; the testnet need not exist.
    pub(super) fn new(globals: &Globals) -> Result<Self, Failure> {
        Self::with_default(globals, DEFAULT_NAME)
    }

    /// The same with another default name.
    pub(super) fn with_default(globals: &Globals, default: &str) -> Result<Self, Failure> {
        let current = env::current_dir().context("tell", "the current directory")?;
        let (name, named_dir) = match globals.name.as_deref() {
            Some(path) if path.contains('/') => (None, Some(PathBuf::from(path))),
            other => (other, None),
        };
        let dir = globals.dir.clone().or(named_dir);
        let of_dir = |dir: &PathBuf| dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let name =
            name.map(str::to_owned).or_else(|| dir.as_ref().and_then(of_dir)).unwrap_or_else(|| default.to_owned());
        let dir = dir.unwrap_or_else(|| Path::new(DATA).join(&name));
        Ok(Self { dir: absolute(&current, &dir), name })
    }

    /// The plan of the testnet that is there.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        match self.settings()? {
            Some(settings) => Ok(Plan::new(settings, self.dir.clone())),
            None => Err(Failure::new(Exit::NotFound, format!("there is no testnet in {}", shown(&self.dir)))
                .hint("./testnet/up.sh        # starts one; --name or --dir choose another")),
        }
    }

    /// What the testnet there is made from, if there is one.
    pub(super) fn settings(&self) -> Result<Option<Settings>, Failure> {
        let path = self.dir.join(files::SETTINGS);
        if !path.exists() {
            return Ok(None);
        }
        let json = std::fs::read(&path).context("read", path.display())?;
        let settings = serde_json::from_slice(&json)
            .map_err(|error| Failure::new(Exit::Failed, format!("{} is damaged: {error}", path.display())))?;
        Ok(Some(settings))
    }
}

fn absolute(current: &Path, path: &Path) -> PathBuf {
    let joined = current.join(path);
    joined.components().filter(|part| part.as_os_str() != ".").collect()
}

/// A path as people type it: relative to where they are when it lies below.
pub(super) fn shown(path: &Path) -> String {
    let current = env::current_dir().unwrap_or_default();
    match path.strip_prefix(&current) {
        Ok(below) if !current.as_os_str().is_empty() => format!("./{}", below.display()),
        _ => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    fn location(options: &[&str]) -> Location {
        let line = ["sotto-testnet", "status"].iter().chain(options);
        Location::new(&Cli::parse_from(line).globals).unwrap()
    }

    #[test]
    fn a_name_lies_below_the_data_directory_and_a_path_is_taken_as_it_is() {
        let current = env::current_dir().unwrap();
        assert_eq!(location(&["--name", "lab"]).dir, current.join("testnet/data/lab"));
        assert_eq!(location(&["--name", "/tmp/x/lab"]), Location { dir: "/tmp/x/lab".into(), name: "lab".into() });
        assert_eq!(location(&["--dir", "./a/b"]), Location { dir: current.join("a/b"), name: "b".into() });
        assert_eq!(location(&["--dir", "/tmp/b", "--name", "c"]), Location { dir: "/tmp/b".into(), name: "c".into() });
    }

    #[test]
    fn paths_below_the_current_directory_are_shown_short() {
        let current = env::current_dir().unwrap();
        assert_eq!(shown(&current.join("testnet/data/dev")), "./testnet/data/dev");
        assert_eq!(shown(Path::new("/nowhere/else")), "/nowhere/else");
    }
}
