//! A whole Sotto network on one machine: fifty service nodes and a block producer, each its own process.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`plan`], [`files`] | which process lives where: addresses, ports, directories |
//! | [`supervisor`], [`process`], [`lock`] | starts, watches and ends the processes |
//! | [`orphans`] | ends those that outlived their supervisor |
//! | [`control`], [`target`], [`guise`] | commands to a running supervisor, and how it starts a node |
//! | [`status`], [`agreement`] | asks the nodes how they are, and whether they agree |
//! | [`users`], [`demo`] | accounts to try out, and the first messages |
//! | [`bench`](mod@bench) | messages at a rate, and what they cost |
//! | [`recovery`] | how long a swarm takes until a new member, one that was down, or a new swarm has its records |
//! | [`attack`] | attacks on a node, and what honest users feel of them |
//! | [`cli`], [`progress`], [`manifest`], [`figures`] | what people and their scripts see |
//!
//! Only the bench and the attacks speak the network's protocols. The rest starts the other programs and reads what they
//! say about themselves over HTTP.

pub mod agreement;
pub mod attack;
pub mod bench;
pub mod binaries;
pub mod chaos;
pub mod cli;
pub mod control;
pub mod demo;
pub mod failure;
pub mod figures;
pub mod files;
pub mod guise;
pub mod http;
pub mod lock;
pub mod logs;
pub mod manifest;
mod open_files;
pub mod orphans;
pub mod plan;
pub mod ports;
pub mod process;
pub mod procfs;
pub mod progress;
pub mod recovery;
pub mod status;
pub mod supervisor;
pub mod target;
pub mod users;
