//! `setup.sh --dry-run` on machines that only exist as stubs: what it would do is fixed by golden files.
//!
//! `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Harness, nothing};
use crate::testnet::{Finished, finish, repository};

/// Programs of the real machine that the script may use.
const TOOLS: [&str; 12] = ["awk", "bash", "cat", "dirname", "env", "find", "grep", "mktemp", "rm", "sed", "sort", "wc"];
/// The version of the crate in the lock file, as the cache names it.
const CACHED: &str = "12.2.0";

/// A machine as the script sees it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// Linux on x86_64 with room enough, without any package or toolchain.
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.bin()).unwrap();
        for tool in TOOLS {
            let real = which(tool).unwrap_or_else(|| panic!("no {tool} on this machine"));
            symlink(real, machine.bin().join(tool)).unwrap();
        }
        machine
            .stub("uname", "[ \"$1\" = -s ] && echo Linux || echo x86_64")
            .stub("nproc", "echo 2")
            .stub("df", "echo header; echo 'disk 100000000 1 41943040 1% /'")
            .stub("id", "echo 0")
            .stub("dpkg-query", "exit 1")
            .stub("apt-cache", "echo 'rustup:'; echo '  Candidate: (none)'");
        fs::write(machine.dir.path().join("meminfo"), "MemTotal:       8388608 kB\n").unwrap();
        machine
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// A program that runs `script`.
    fn stub(&self, name: &str, script: &str) -> &Self {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn setup(&self, option: &str) -> Finished {
        let mut command = Command::new(self.bin().join("bash"));
        command.arg(repository().join("testnet/setup.sh")).arg(option).env_clear();
        command
            .env("PATH", self.bin())
            .env("HOME", self.dir.path().join("home"))
            .env("SOTTO_MEMINFO", self.dir.path().join("meminfo"))
            .stdin(std::process::Stdio::null());
        finish(command)
    }

    /// What a dry run says, with the machine's own directory taken out.
    fn dry_run(&self) -> String {
        let finished = self.setup("--dry-run").ok();
        assert_eq!(finished.stdout, "", "a dry run has no data");
        finished.stderr.replace(&self.dir.path().display().to_string(), "MACHINE")
    }

    fn with_everything(self) -> Self {
        self.stub("dpkg-query", "printf installed")
            .stub("g++", &format!("echo {CACHED}"))
            .stub("cargo", "echo 'cargo 1.95.0 (x)'");
        self
    }
}

fn which(tool: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(tool)).find(|path| path.is_file())
}

fn golden(name: &str, actual: &str) {
    let path = repository().join("testnet/tests/it/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display());
}

pub(crate) fn run(harness: &mut Harness) {
    harness.check("setup names everything that a bare machine lacks", || {
        golden("bare.txt", &Machine::new().dry_run());
        nothing()
    });
    harness.check("setup takes rustup from the distribution where it is packaged", || {
        let machine = Machine::new().with_everything();
        machine
            .stub("id", "echo 1000")
            .stub("sudo", "exit 1")
            .stub("dpkg-query", "case \"$*\" in *libclang-dev) exit 1 ;; *) printf installed ;; esac")
            .stub("cargo", "echo 'cargo 1.75.0 (x)'")
            .stub("apt-cache", "echo 'rustup:'; echo '  Candidate: 1.27.1-3'");
        golden("packaged-rustup.txt", &machine.dry_run());
        nothing()
    });
    harness.check("setup has nothing to do on a machine that has everything", || {
        let machine = Machine::new().with_everything();
        let crate_version = locked_version();
        let cache = machine.dir.path().join(format!("home/.cache/sotto/rocksdb-{crate_version}-Os-{CACHED}"));
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("librocksdb.a"), "").unwrap();
        golden("complete.txt", &machine.dry_run().replace(&crate_version, "VERSION"));
        let environment = machine.setup("--env").ok().stdout;
        assert!(environment.contains("export ROCKSDB_LIB_DIR="), "{environment}");
        nothing()
    });
    harness.check("setup stops with the line to paste when it may not install", || {
        let machine = Machine::new();
        machine.stub("id", "echo 1000");
        let said = machine.setup("--yes").failed_with(1);
        assert!(said.contains("as root: apt-get update && apt-get install -y"), "{said}");
        machine.stub("sudo", "exit 1");
        let said = machine.setup("--yes").failed_with(1);
        assert!(said.contains("sudo apt-get update && sudo apt-get install -y"), "{said}");
        nothing()
    });
    harness.check("setup never runs the rust installer without consent", || {
        let machine = Machine::new().with_everything();
        machine.stub("cargo", "exit 1").stub("curl", "echo ran > \"$HOME.curl\"");
        let said = machine.setup("--no").failed_with(1);
        assert!(said.contains("sh.rustup.rs"), "{said}");
        assert!(!machine.dir.path().join("home.curl").exists());
        nothing()
    });
    harness.check("setup refuses machines that cannot build sotto, in one line", || {
        let cases = [
            ("uname", "[ \"$1\" = -s ] && echo Darwin || echo arm64", "this is Darwin on arm64"),
            ("df", "echo header; echo 'disk 1 1 2097152 1% /'", "6 GB free needed"),
            ("g++", "echo 10.2.1", "g++ 11 or newer is needed; this is 10.2.1"),
        ];
        for (name, script, reason) in cases {
            let machine = Machine::new().with_everything();
            machine.stub(name, script);
            let said = machine.setup("--yes").failed_with(1);
            assert!(said.contains(reason), "{said}");
        }
        let machine = Machine::new();
        fs::write(machine.dir.path().join("meminfo"), "MemTotal:       1048576 kB\n").unwrap();
        assert!(machine.setup("--yes").failed_with(1).contains("3 GB of memory"));
        nothing()
    });
}

/// The version of librocksdb-sys that the lock file pins.
fn locked_version() -> String {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"librocksdb-sys\"").skip(1);
    lines.next().unwrap().split('"').nth(1).unwrap().to_owned()
}
