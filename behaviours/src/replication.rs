//! How the members of a swarm come to hold the same records and tombstones: what is compared, and how the differences
//! are found (B10 of the protocol). Pure: no network, no clock, no disk.
//!
//! ```text
//!   initiator                                    responder
//!   Session::start      ── Summary, 56 bytes ──▶  equal?            nothing else, nearly always
//!   Session::answered   ── Reconcile ──────────▶  respond           ≤ 32 messages of ≤ 32 KiB; the responder
//!                       ◀───────────────────────                    keeps nothing between two of them
//!   Differences         ── Fetch, Give ────────▶                    by whoever owns the session
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `set` | the items of a swarm, sorted, with a running sum; what a scope leaves of them |
//! | `sum` | negentropy's fingerprint |
//! | `session` | both sides of finding the differences |
//! | `scope` | which scopes are asked for and which are answered |
//! | `repair` | when a member compares itself with whom, and the pages that follow |
//! | `handover` | how a former owner hands over, and when it may erase |

mod draw;
mod handover;
mod repair;
mod scope;
mod session;
mod set;
mod sum;

pub use self::handover::{Foreign, HandOver, HandOverAct};
pub use self::repair::{Compared, Member, Repair, RepairAct, Taken};
pub use self::scope::{ScopeError, check_scope, scope_at};
pub use self::session::{Differences, Session, SessionError, Step, respond};
pub use self::set::{Entry, ItemSet, View};
