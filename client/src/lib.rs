//! The Sotto messenger as a library, and the command `sotto` on top of it.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`network`] | the node list, checked; guards, paths, and what is asked through them |
//! | [`messenger`] | an account at work: sends, receives, keeps its view of the network fresh |
//! | [`conversation`] | who talks with whom, by which sessions |
//! | [`crypto`] | seals messages to their recipients and proves their senders |
//! | [`store`] | keeps accounts, messages and what is known of the network, all of it encrypted |
//! | [`rpc_client`] | calls to an account that a daemon has |
//! | [`cli`] | the command line, with the terminal interface and the line chat |

mod chat;
pub mod cli;
pub mod conversation;
pub mod crypto;
pub mod messenger;
pub mod network;
pub mod rpc_client;
pub mod store;
mod text;
mod tui;
