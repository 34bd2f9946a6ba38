//! The Sotto messenger as a library.
//!
//! So far it knows the network: from a genesis file alone it finds the node list and checks it, as a messenger must
//! before it trusts anybody with a message.

pub mod cli;
pub mod network;
