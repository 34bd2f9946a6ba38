//! Damage to a node's database, while the node does not run.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rand_core::Rng;

use super::copies;
use crate::files::DATABASE;

/// A copy of an earlier time, beside it.
const OLD_COPY: &str = "db.old";
/// Files with data: tables and large values. The list of files is never touched.
const DATA: &[&str] = &["sst", "blob"];
/// The write-ahead log.
const LOG: &[&str] = &["log"];
/// The most bits that are flipped at once.
const MOST_BITS: u64 = 4;

/// A file of a database with its length in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DataFile {
    path: PathBuf,
    length: u64,
}

impl fmt::Display for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.file_name().unwrap_or_default().to_string_lossy())
    }
}

/// The database of the node with this data directory.
#[derive(Clone, Debug)]
pub(super) struct Database {
    datadir: PathBuf,
}

impl Database {
    pub(super) fn of(datadir: &Path) -> Self {
        Self { datadir: datadir.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.datadir.join(DATABASE)
    }

    fn old_copy(&self) -> PathBuf {
        self.datadir.join(OLD_COPY)
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(self.path())
    }

    /// Flips one to four bits at drawn places: the first in a table if there is one, others also in the log. Returns
    /// where, for people.
    pub(super) fn flip_bits(&self, rng: &mut impl Rng) -> io::Result<String> {
        let (tables, log) = (self.files(DATA)?, self.files(LOG)?);
        let all = [tables.clone(), log].concat();
        let mut flipped = Vec::new();
        for bit in 0..=rng.next_u64() % MOST_BITS {
            let files = if bit == 0 && !tables.is_empty() { &tables } else { &all };
            let Some(file) = draw(files, rng) else { break };
            let (byte, bit) = (rng.next_u64() % file.length, rng.next_u64() % 8);
            flip(&file.path, byte, bit)?;
            flipped.push(format!("{file} byte {byte} bit {bit}"));
        }
        Ok(if flipped.is_empty() { "nothing to flip".to_owned() } else { flipped.join(", ") })
    }

    /// Cuts a drawn file, the log or a table, to a drawn length. Returns which, for people.
    pub(super) fn truncate(&self, rng: &mut impl Rng) -> io::Result<String> {
        let files = [self.files(LOG)?, self.files(DATA)?].concat();
        let Some(file) = draw(&files, rng) else { return Ok("nothing to cut".to_owned()) };
        let length = rng.next_u64() % file.length;
        OpenOptions::new().write(true).open(&file.path)?.set_len(length)?;
        Ok(format!("{file} cut from {} to {length} bytes", file.length))
    }

    /// Keeps a copy of what it is now.
    pub(super) fn keep_copy(&self) -> io::Result<()> {
        copies::remove(&self.old_copy())?;
        copies::copy(&self.path(), &self.old_copy())
    }

    /// Whether there is a copy.
    pub(super) fn has_copy(&self) -> bool {
        self.old_copy().is_dir()
    }

    /// Puts the copy in its place, if there is one.
    pub(super) fn put_back(&self) -> io::Result<()> {
        if !self.has_copy() {
            return Ok(());
        }
        copies::remove(&self.path())?;
        fs::rename(self.old_copy(), self.path())
    }

    /// Files of these kinds that have something in them, in the order of their names: draws must follow from the seed.
    fn files(&self, kinds: &[&str]) -> io::Result<Vec<DataFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let (path, length) = (entry.path(), entry.metadata()?.len());
            let is_wanted = path.extension().is_some_and(|kind| kinds.iter().any(|wanted| kind == *wanted));
            if is_wanted && length > 0 {
                files.push(DataFile { path, length });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

fn draw<'a>(files: &'a [DataFile], rng: &mut impl Rng) -> Option<&'a DataFile> {
    let place = rng.next_u64().checked_rem(files.len() as u64)?;
    files.get(usize::try_from(place).ok()?)
}

fn flip(path: &Path, byte: u64, bit: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut value = [0];
    file.read_exact_at(&mut value, byte)?;
    file.write_all_at(&value.map(|value| value ^ (1 << bit)), byte)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::seeded;

    /// Files of a database, with their lengths.
    const FILES: &[(&str, usize)] =
        &[("000011.sst", 300), ("000012.blob", 40), ("000013.log", 90), ("000014.log", 0), ("MANIFEST-000001", 500)];

    fn database() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(DATABASE)).unwrap();
        for (name, length) in FILES {
            fs::write(dir.path().join(DATABASE).join(name), vec![0; *length]).unwrap();
        }
        let database = Database::of(dir.path());
        (dir, database)
    }

    fn contents(database: &Database) -> BTreeMap<&'static str, Vec<u8>> {
        FILES.iter().map(|(name, _)| (*name, fs::read(database.path().join(name)).unwrap())).collect()
    }

    #[test]
    fn a_few_bits_are_flipped_a_table_s_first_and_never_any_of_the_list_of_files() {
        let mut seen = [false; 2];
        for seed in 0..40 {
            let (_dir, database) = database();
            let text = database.flip_bits(&mut seeded(seed, "flip", 0)).unwrap();
            let contents = contents(&database);
            let flipped = |name| contents[name].iter().map(|byte: &u8| byte.count_ones()).sum::<u32>();
            let all: u32 = FILES.iter().map(|(name, _)| flipped(*name)).sum();
            assert!((1..=4).contains(&all), "{text}");
            assert!(flipped("000011.sst") + flipped("000012.blob") > 0, "{text}");
            assert_eq!(flipped("MANIFEST-000001"), 0);
            seen = [seen[0] || flipped("000013.log") > 0, seen[1] || flipped("000012.blob") > 0];
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn places_follow_from_the_seed() {
        let flipped = |seed| {
            let (_dir, database) = database();
            let text = database.flip_bits(&mut seeded(seed, "flip", 0)).unwrap();
            (text, contents(&database))
        };
        assert_eq!(flipped(7), flipped(7));
        assert_ne!(flipped(7), flipped(8));
    }

    #[test]
    fn one_file_is_cut_short_a_table_or_the_log() {
        let mut cut = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let (_dir, database) = database();
            let text = database.truncate(&mut seeded(seed, "truncate", 0)).unwrap();
            let contents = contents(&database);
            let shorter = FILES.iter().filter(|(name, length)| contents[name].len() < *length);
            let shorter: Vec<_> = shorter.map(|(name, _)| *name).collect();
            assert_eq!(shorter.len(), 1, "{text}");
            assert!(text.starts_with(shorter[0]));
            cut.extend(shorter);
        }
        assert_eq!(cut, ["000011.sst", "000012.blob", "000013.log"].into());
    }

    #[test]
    fn without_data_there_is_nothing_to_damage() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(DATABASE)).unwrap();
        let (database, rng) = (Database::of(dir.path()), &mut seeded(1, "nothing", 0));
        assert_eq!(database.flip_bits(rng).unwrap(), "nothing to flip");
        assert_eq!(database.truncate(rng).unwrap(), "nothing to cut");
        database.remove().unwrap();
        assert!(database.flip_bits(rng).is_err());
    }

    #[test]
    fn an_old_copy_comes_back_as_it_was_and_nothing_is_lost_without_one() {
        let (_dir, database) = database();
        let before = contents(&database);
        database.put_back().unwrap();
        assert_eq!(contents(&database), before);
        assert!(!database.has_copy());
        database.keep_copy().unwrap();
        fs::write(database.path().join("000011.sst"), "newer").unwrap();
        fs::write(database.path().join("000020.sst"), "new").unwrap();
        assert!(database.has_copy());
        database.put_back().unwrap();
        assert_eq!(contents(&database), before);
        assert!(!database.path().join("000020.sst").exists() && !database.has_copy());
    }
}
