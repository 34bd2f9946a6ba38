//! The chain as others see it: whole chains made and applied through the public interface.

mod bytes;
mod follow;
mod harness;
mod life;
mod storage_tests;
