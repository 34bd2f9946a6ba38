//! What the crate promises, seen from outside: golden values, published vectors, properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod cell;
mod envelope;
mod net_addr;
mod phrases;
mod pow;
mod proof;
mod requests;
mod ring;
mod storage_test;
mod swarm_map;
