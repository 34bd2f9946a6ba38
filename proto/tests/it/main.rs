//! What the crate promises, seen from outside: golden values, published vectors, properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod ring;
mod swarm_map;
mod envelope;
mod phrases;
mod pow;
mod proof;
mod cell;
mod net_addr;
mod requests;
mod storage_test;
