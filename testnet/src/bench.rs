//! A bench of a running testnet: messages at a rate through real paths, and what they cost.
//!
//! ```text
//!  idle_clients         clients that only hold a path, in processes of their own: there all the time, if wanted
//!  network, people      the node list, fetched and checked; accounts of this run
//!  devices, followers   real messengers that follow, each on a thread of its own
//!  probe                paths and echoes on the idle network ─────────────────────────────┐
//!  costs                counters of all processes on the idle network                     │
//!  schedule, load       the same load for some seconds, not measured                      │
//!  schedule, stamping   who writes to whom and when; all of it sealed and worked for      │
//!  ── the clock starts ──────────────────────────────────────────────────────────────     │ again under load
//!  load, client         each message is sent when it is due ◀─────────────────────────────┘
//!  ── the clock stops ───────────────────────────────────────────────────────────────
//!  catch_up             a thousand messages wait for somebody, who then fetches them
//!  digests, read_back   every member of every swarm must hold what was stored
//!  report               one JSON document ──▶ text, html, compare
//! ```
//!
//! Everything else but the nodes is in this process, on the same machine as they are: what it takes from them is in the
//! figures, and said there.

mod catch_up;
mod client;
mod compare;
mod costs;
mod devices;
mod digests;
mod draws;
mod figures;
mod followers;
mod found;
mod head;
mod html;
mod idle_clients;
mod latency;
mod load;
mod machine;
mod network;
mod options;
mod probe;
mod read_back;
mod report;
mod run;
mod schedule;
mod seconds;
mod stamping;
mod text;
mod watched;

pub(crate) use self::client::LightClient;
pub(crate) use self::devices::{Devices, Running, failed as messenger_failed, messenger, on_a_thread};
pub(crate) use self::draws::{seeded, shuffle};
pub(crate) use self::figures::{grouped, mib, shown};
pub(crate) use self::followers::number;
#[cfg(test)]
pub(crate) use self::html::assert_well_formed;
pub(crate) use self::html::{page, remarks, table};
pub(crate) use self::load::{Outcome, Tally, run as send};
pub(crate) use self::network::{Network, People, Person, person_in};
pub(crate) use self::read_back::{read_mailbox, read_member};
pub(crate) use self::schedule::Planned;
pub(crate) use self::stamping::{MessageIds, Stamped, Stamper};

pub use self::catch_up::CatchUp;
pub use self::compare::{Compared, Comparison, Side, Verdict};
pub use self::costs::{Costs, LinkCosts, ProcessCosts, Role, RoleCosts};
pub use self::digests::{ReadBack, SwarmCheck};
pub use self::head::Head;
pub use self::idle_clients::{IdleClients, run_part as run_idle_clients};
pub use self::latency::Latency;
pub use self::machine::{Machine, commit};
pub use self::options::{MESSAGES_MAX, Options};
pub use self::report::{Latencies, Load, Report, Second, TYPE, Testnet, VERSION, Work};
pub use self::run::{DIR, run};
