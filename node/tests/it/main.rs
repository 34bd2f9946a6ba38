//! Tests of the node from outside: its threads, its sockets, its program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics; its helpers too")]

mod admin;
mod chain;
mod chain_thread;
mod cli;
mod contrib;
#[cfg(feature = "rocksdb")]
mod damaged_database;
#[cfg(feature = "rocksdb")]
mod full_disk;
mod http;
#[cfg(feature = "rocksdb")]
mod kill_points;
mod newcomer;
mod operators;
mod process;
mod status;
mod support;
