//! Paths and tunnels: whole ones, broken ones, and those of peers that do not keep to anything.

mod abuse;
mod failures;
mod misdeeds;
mod replays;
mod taps;
mod whole;
