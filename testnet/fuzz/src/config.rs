//! A node's configuration file: any bytes are settings, or an error that says what is wrong.

use std::sync::LazyLock;

use sotto_node::config::{Config, SETTINGS, Settings};
use tempfile::TempDir;

/// Where the file is written; settings are read from files only.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files"));

pub(crate) fn run(input: &[u8]) {
    // Threads of one process must not write each other's file.
    let path = FOLDER.path().join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&path, input).expect("room for a small file");
    let mut settings = Settings::default();
    if let Err(error) = settings.lay_file(&path) {
        assert!(!error.to_string().is_empty());
        return;
    }
    assert_eq!(settings.iter().count(), SETTINGS.len());
    match Config::from_settings(&settings) {
        Ok(config) => assert!((1..=64).contains(&config.threads.get()) && config.announce.len() <= 4),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let all: String = SETTINGS.iter().map(|setting| format!("{} = {:?}\n", setting.name, setting.default)).collect();
    let some = "moniker = \"file\"\nthreads = 2\nregister = true\nstake = \"100\"\nmail-size = \"10M\"\n\
                announce = [\"1.2.3.4:5000\", \"/ip4/1.2.3.5/tcp/5000\"]\nlog-level = \"info,sotto=debug\"\n";
    vec![all.into_bytes(), some.into()]
}
