//! Chaos on a running testnet: faults by a scenario, while users write and read; what came of every single message.
//!
//! ```text
//!  scenario ── schedule (from a seed) ──▶ stage ── kill, stop, wipe, cut, bad links, chain faults ──▶ processes
//!                                            └─▶ undone after their time, and all of them at the end
//!  load: writers and readers, each a whole messenger ──▶ history (memory and a file of JSON lines)
//!  when all is healed: every mailbox is read at every member ──▶ history
//!  history ──▶ model ──▶ verdict: lost, shown twice, never written, missing at a member, served after its time
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `scenario` | what happens when, read from a file |
//! | `fault` | what can happen, and to whom |
//! | `stage` | who is under which fault, and how it is undone |
//! | `cuts` | links that are cut, by the kernel's packet filter |
//! | `links` | nodes that lose packets, by the same, or are slow |
//! | `rates` | how slow, by the kernel's traffic control |
//! | `commands` | how the kernel is told |
//! | `load` | users at work |
//! | `history` | what they did, and what they were told |
//! | `model` | what they should have been told |
//! | `watch` | the memory and files of all processes |
//! | `heal` | how long it takes until everybody agrees |
//! | `run`, `report` | one run from beginning to end |

mod commands;
mod cuts;
mod fault;
mod heal;
mod history;
mod links;
mod load;
mod model;
mod rates;
mod report;
mod run;
mod scenario;
mod stage;
mod watch;

pub use self::cuts::Cuts;
pub use self::fault::{Fault, Who};
pub use self::history::{Entry, Event, read as read_history};
pub use self::links::{BadLinks, Links};
pub use self::model::{Verdict, judge};
pub use self::report::{Latency, Report};
pub use self::run::{DIR, Options, run};
pub use self::scenario::{Pass, Scenario};
pub use self::stage::{Stage, clear_chain};
