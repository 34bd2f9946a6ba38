//! Chaos on a running testnet: faults by a scenario, while users write and read; what came of every single message.
//!
//! ```text
//!  scenario ── schedule (from a seed) ──▶ stage ── kill, damage, limit, disguise, cut, bad links, chain faults ──▶ processes
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
//! | `needs` | what that needs of the machine |
//! | `stage` | who is under which fault, and how it is undone |
//! | `leftovers` | what nodes are under, whoever did it |
//! | `database`, `copies` | databases that are damaged, or go back to an old copy |
//! | `mounts`, `mountinfo` | disks that are full |
//! | `straces` | disks that do not sync |
//! | `groups`, `open_files` | little memory, little of a processor, few files |
//! | `cuts` | links that are cut, by the kernel's packet filter |
//! | `links` | nodes that lose packets, by the same, or are slow |
//! | `rates` | how slow, by the kernel's traffic control |
//! | `link_rules` | what the kernel was told of links, whoever told it |
//! | `commands` | how the kernel is told |
//! | `load` | users at work |
//! | `history` | what they did, and what they were told |
//! | `model` | what they should have been told |
//! | `watch` | the memory and files of all processes |
//! | `heal` | how long it takes until everybody agrees |
//! | `run`, `report` | one run from beginning to end |

mod commands;
mod copies;
mod cuts;
mod database;
mod fault;
mod groups;
mod heal;
mod history;
mod leftovers;
mod link_rules;
mod links;
mod load;
mod model;
mod mountinfo;
mod mounts;
mod needs;
mod open_files;
mod rates;
mod report;
mod run;
mod scenario;
mod stage;
mod straces;
mod watch;

pub use self::cuts::Cuts;
pub use self::fault::{Fault, Who};
pub use self::groups::remove_groups;
pub use self::history::{Entry, Event, read as read_history};
pub use self::leftovers::{Leftover, clear_leftovers, leftovers};
pub use self::link_rules::{LinkRules, clear_ended, left_behind};
pub use self::links::Links;
pub use self::model::{Verdict, judge};
pub use self::mounts::{discard_all, give_all_back, give_back_hidden};
pub use self::needs::{Known, Need, check_possible};
pub use self::report::{Latency, Report};
pub use self::run::{DIR, Options, run};
pub use self::scenario::{Pass, Planned, Scenario};
pub use self::stage::{Stage, clear_chain};
