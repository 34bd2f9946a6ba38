//! Tests of the node from outside: its threads, its sockets, its program.

mod admin;
mod chain;
mod chain_thread;
mod cli;
mod http;
#[cfg(feature = "rocksdb")]
mod kill_points;
mod process;
mod status;
mod support;
