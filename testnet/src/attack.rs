//! Attacks on a running testnet of ours, and what honest users feel of them.
//!
//! ```text
//!  victim               one node of the testnet: it is attacked, and its process is watched
//!  honest               messages and questions whose swarm, or whose guard, is the victim ──┐
//!  ── before ────────── measured without an attack                                          │
//!  ── during ────────── one attack, by a process of its own                                 │ all the time
//!  ── after ─────────── measured again                                                      │
//!  the next attack …                                                                   ◀────┘
//!  report               one JSON document, a table, the verdict
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | [`outside`] | attacks by strangers below the protocols: connections, handshakes, Yamux frames, streams |
//! | [`inside`] | attacks by those who speak the protocols: paths, tunnels, stores, gossip |
//! | [`nobody`] | none: a busy machine, to compare with |
//! | [`attackers`] | their process |
//! | [`scene`], [`tally`] | what an attack is given, and what it counts |
//!
//! A test of the own software on one machine: an attack connects only through [`Scene::connect`], which refuses whatever is
//! not a loopback address of the testnet's plan.

mod attackers;
mod honest;
mod inside;
mod nobody;
mod options;
mod outside;
mod report;
mod run;
mod scene;
mod tally;
mod text;
mod timeline;
mod verdict;
mod victim;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::attackers::{Attackers, Done, run_attackers};
pub use self::honest::{Felt, Group, Measured, Stretch};
pub use self::options::{Listed, Options, listed};
pub use self::report::{Attacked, Report, TYPE, VERSION};
pub use self::run::{DIR, run};
pub(crate) use self::scene::{Paused, Scene};
pub use self::tally::Counts;
pub(crate) use self::tally::Tally;
pub use self::victim::Process;
pub(crate) use self::victim::Victim;

/// One attack: what it does until it is told to stop.
pub(crate) struct Attack {
    /// What it is chosen by, such as `connections`.
    pub(crate) name: &'static str,
    /// What it does, and the row of the table of threats or faults that it is.
    pub(crate) what: &'static str,
    /// Begins it. It ends by itself soon after [`Scene::stop`]; what it still holds then is dropped with its runtime. An
    /// error is a defect of the attack, or of the machine that it runs on: what the victim refuses is counted instead.
    pub(crate) start: fn(Arc<Scene>) -> BoxFuture<'static, Result<(), String>>,
}

/// All attacks, in the order in which they are made; the first is none.
pub(crate) fn attacks() -> impl Iterator<Item = &'static Attack> {
    std::iter::once(&nobody::CONTROL).chain(outside::ATTACKS).chain(inside::ATTACKS)
}
