//! The libp2p side of Sotto: one host for node, producer and client, who connects to whom, who hears which gossip, and
//! how blocks and transactions travel.
//!
//! The rules are pure state machines (`state.rs` of each folder: an input and the time go in, outputs come out) that
//! neither know libp2p nor read a clock nor draw a random number; the libp2p files beside them only translate.
//! [`network::Network`] puts it all together: events come out of [`network::Network::next`], commands go in as plain
//! method calls.
//!
//! ```text
//!            node / producer event loop
//!      publish, request, respond, judge │ ▲ Event
//!                                       ▼ │
//!   ┌───────────────────── network::Network ───────────────────────┐
//!   │ membership::State  chain_sync::State  status, bans, Intake   │   pure rules
//!   │ libp2p Swarm<behaviour>:                                      │
//!   │   connection limits ─ membership ─ ping                       │
//!   │   Gated<gossipsub chain>   registered nodes, producer         │
//!   │   Gated<gossipsub swarm>   members of the own swarm           │
//!   │   request-response: chain, list (anybody),                    │
//!   │     status, offer (registered), repair (members)              │
//!   └──────────────────── TCP + Noise + Yamux ─────────────────────┘
//! ```
//!
//! Paths ([`onion`]) and the tunnels through them ([`tunnel`]) are pure code, too, down to the last key ([`noise`]).

pub mod bans;
pub mod chain_sync;
pub mod clock;
pub mod gated;
pub mod gossip;
pub mod host;
pub mod limits;
mod line;
pub mod membership;
mod metrics;
mod muxing;
pub mod names;
pub mod network;
pub mod noise;
pub mod onion;
pub mod peer;
pub mod replication;
pub mod status;
#[cfg(test)]
mod test_support;
pub mod transport;
pub mod tunnel;
