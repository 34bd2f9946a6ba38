//! The command `sotto` as people and programs run it. No network is needed: a genesis file is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod accounts;
mod disk;
mod frame;
mod home;
