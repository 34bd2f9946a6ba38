//! Who connects to whom.
//!
//! Every node keeps links to the members of its swarm, to six nodes drawn from the list by its own key (they tie the
//! swarms together: blocks cross there), and to the producer while it has fewer than three links. Everything else is
//! dialled when it is needed and let go when it is not.
//!
//! | file | what |
//! | --- | --- |
//! | `config` | every time and number here, with its reason |
//! | `draw` | the neighbours drawn by the own key |
//! | `state` | the rules: links wanted, dial rule, doubles, back-off, watchdog |
//! | `behaviour` | their translation to libp2p |

mod behaviour;
pub mod config;
mod draw;
mod state;

pub use behaviour::{Behaviour, Event};
pub use draw::Draw;
pub use state::{Cause, CloseReason, Direction, Output, Settings, State, Unreachable};
