//! Hosts against each other, and against peers that do not keep to anything. Over memory where no socket is needed.
//! Every test waits for conditions, with a deadline.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, as tests do")]

mod admission;
mod bans;
mod fifty;
mod floods;
mod malformed;
mod meeting;
mod members;
mod outsiders;
mod paths;
mod relays;
mod requests;
mod support;
mod sync;
#[path = "../../src/test_support.rs"]
mod test_support;
mod unread;
