//! The chain as others see it: whole chains made and applied through the public interface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod bytes;
mod follow;
mod harness;
mod life;
mod storage_tests;
