//! The protobuf types of requests between hosts, generated from `proto/sotto/v1` and checked in.
//!
//! Nothing outside [`crate::request`] needs them: everybody else works with the typed twins there, which cannot hold
//! what the protocol does not allow. After a change of the schema run `cargo run -p sotto-proto-gen`; CI runs it with
//! `--check`.

#![allow(clippy::all, clippy::pedantic, clippy::nursery, missing_docs, unused_qualifications, unreachable_pub)]

include!("wire/sotto.v1.rs");
