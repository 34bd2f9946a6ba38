//! The block producer: a process around a pure machine.
//!
//! ```text
//!                    ┌───────────────────────────── event loop (one thread) ─────────────────────────────┐
//!  peers ◀── libp2p ─┤ Network::next ─ events ─▶ serve ─┐                                                │
//!                    │                                  ├─▶ Machine::handle(Input, Now) ─▶ outputs ──┐     │
//!  admin.sock, http ─┤ commands (bounded 64) ───────────┘                                           │     │
//!                    │          ▲                     publish, reply, metrics ◀─────────────────────┤     │
//!                    └──────────┼───────────────────────────────────────────────────────────────────┼─────┘
//!                               │ done (bounded 80)                                jobs (bounded 80) ▼
//!                               └────────────────────────── disk thread ─────────────────────────────┘
//!                                                   block log, snapshots, pruning
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`machine`] | the rules: when a block is made, what is in it, faults; pure |
//! | [`pool`], [`schedule`], [`faucet`] | parts of the machine: waiting transactions, timing, gifts |
//! | [`block_log`], [`snapshots`], [`recovery`] | the chain on disk, and how it is found again |
//! | [`disk`] | the thread that touches them |
//! | [`run`], `event_loop` | puts everything together; the one task in which it meets |
//! | [`serve`] | answers to peers |
//! | [`http`], [`command`], [`report`], [`metrics`] | answers to people: listeners, commands, documents, counters |
//! | [`datadir`], `files` | lock, keys, durable files |

pub mod block_log;
pub mod command;
pub mod datadir;
pub mod disk;
mod event_loop;
pub mod faucet;
mod files;
pub mod http;
pub mod machine;
pub mod metrics;
pub mod pool;
pub mod recovery;
pub mod report;
pub mod run;
pub mod schedule;
pub mod serve;
pub mod snapshots;

pub use event_loop::RunError;
