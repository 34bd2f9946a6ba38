//! The Sotto service node, as a library; the program is a thin `main` around [`cli`].
//!
//! ```text
//!              main thread: event loop (tokio, current-thread)
//!   peers ◀──▶ sotto_behaviours::Network ◀──▶ event_loop ◀──▶ ServiceNode (pure machine)
//!   admin.sock, HTTP ──▶ commands, bounded ──┘   │   ▲
//!                                    blocks      │   │ outcomes, new tips
//!                                                ▼   │
//!                                       chain thread (Follower) ──▶ watch: NetworkView
//!                                                │
//!                                                ▼ batches
//!                                       storage thread (RocksDB, key files)
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`service_node`] | what a node decides: a pure machine, told the time |
//! | [`event_loop`] | the network, the timers, and the machine in the middle |
//! | [`chain_thread`] | block application, snapshots, restoring after a crash |
//! | [`store`] | blocks, snapshots and single values on disk |
//! | [`keys`], [`lock`], [`log`], [`process`] | what the node asks of the operating system |
//! | [`run`] | putting a node together and taking it apart in order |
//! | [`config`], [`cli`] | settings and commands |
//! | [`http`], [`admin`], [`metrics`], [`status`] | what the node shows of itself |
//! | [`on_event`] | what it has a command of the operator told |

pub mod admin;
pub mod chain_thread;
pub mod cli;
pub mod config;
pub mod event_loop;
pub mod http;
pub mod keys;
pub mod lock;
pub mod metrics;
pub mod on_event;
pub mod process;
pub mod run;
pub mod service_node;
pub mod status;
pub mod store;

pub use sotto_chain::process::log;

#[cfg(test)]
#[path = "../tests/it/chain.rs"]
mod test_chain;
