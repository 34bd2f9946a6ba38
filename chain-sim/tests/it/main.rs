//! The chain as others see it: whole chains made and applied through the public interface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod bytes;
#[cfg(feature = "producer")]
mod cli;
mod follow;
mod harness;
mod life;
#[cfg(feature = "producer")]
mod process;
#[cfg(feature = "producer")]
mod producer;
mod storage_tests;
