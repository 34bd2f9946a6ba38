//! Every byte that Sotto hashes, signs, seals or sends, as pure code.
//!
//! This crate does no I/O, reads no clock, spawns no task and draws no random number: whatever it needs of those
//! comes in as an argument. It therefore builds in seconds, is easy to fuzz, and gives the same answer on every
//! machine. Section numbers such as *B7* refer to the wire specification that the README summarises.
//!
//! | module | what it fixes |
//! | --- | --- |
//! | [`hash`], [`sign`], [`domain`] | domain-separated hashing and signing (B1) |
//! | [`id`], [`time`], [`codec`] | newtypes for keys, hashes, heights and times; canonical encoding |
//! | [`address`], [`account`] | where mail is kept (B2), and how an account follows from its phrase |
//! | [`envelope`], [`pow`] | what a swarm stores, and the work it costs (B4) |
//! | [`cell`] | frames and cells of a path (B5, encoding only) |
//! | [`chain`] | genesis, headers, transactions, blocks, node records, proofs (B7) |
//! | [`swarm`] | ring arithmetic and the swarm map (B8) |
//! | [`storage_test`] | who tests whom, and the answer (B9) |
//! | [`network`] | the view of the network that everything above the chain works with |
//! | [`request`], [`wire`] | protobuf requests and typed errors |
//! | [`content`] | what a sealed message says (B12) |
//! | [`limits`] | every bound of the protocol, with its reason |

pub mod account;
pub mod address;
pub mod cell;
pub mod chain;
pub mod codec;
pub mod content;
pub mod domain;
pub mod envelope;
pub mod hash;
pub mod id;
pub mod limits;
pub mod net_addr;
pub mod network;
pub mod pow;
pub mod proof;
pub mod request;
pub mod sign;
pub mod storage_test;
pub mod swarm;
pub mod time;
pub mod wire;
