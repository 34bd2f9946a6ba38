//! `sotto tui`: conversations on a whole terminal, as a client of the daemon.
//!
//! ```text
//!  terminal ──keys──▶ ┌─────┐ ──effects──▶ calls ──▶ daemon
//!  daemon ──answers─▶ │ App │
//!  daemon ──events──▶ └─────┘ ──▶ draw ──▶ terminal
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `app` | the state, and what changes it; no terminal and no socket |
//! | `keys`, `prompt`, `views`, `field` | what keys do: everywhere, where something is asked or shown, in a text |
//! | `answers`, `events`, `conversation` | what the daemon says, and what is kept of it |
//! | `draw`, `measure` | the state as a picture; how much room texts take |
//! | `terminal` | the terminal, taken and given back |
//! | `run` | all of it together |

mod answers;
mod app;
mod conversation;
mod draw;
mod events;
mod field;
mod keys;
mod measure;
mod prompt;
mod run;
mod terminal;
mod views;

pub(crate) use self::run::{Ended, Error, Options, run};

#[cfg(test)]
mod tests;
