//! How fast a swarm recovers: what a new member, one that was down, and a swarm that is born take until they have the
//! records that they should have.
//!
//! ```text
//!  fill       records into one swarm, through paths and with receipts, as every client stores them
//!  member     one of its members loses its database and is started: a new member with nothing ──▶ has everything
//!  member     another one is killed, more is stored, it is started ──▶ answers a reader ──▶ has what it missed
//!  split      nodes come until a swarm is born, while users write and read all the time ──▶ everybody has what is theirs
//!  report     one JSON document ──▶ text, page
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | `members` | what nodes say of their swarms, asked past all links |
//! | `fill` | stores |
//! | `users` | whole messengers that write and read while swarms change |

mod fill;
mod goals;
mod member;
mod members;
mod options;
mod page;
mod report;
mod run;
mod split;
mod text;
mod users;

pub use self::fill::Filled;
pub use self::member::{HandOver, Restart};
pub use self::options::Options;
pub use self::report::{Report, TYPE, VERSION};
pub use self::run::run;
pub use self::split::Split;
pub use self::users::Reads;
