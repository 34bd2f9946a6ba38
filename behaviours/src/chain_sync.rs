//! How blocks and transactions travel when gossip is not enough: ranges of blocks fetched from peers, transactions
//! handed to the producer, both by request and answer.
//!
//! | file | what |
//! | --- | --- |
//! | `config` | every time and number here, with its reason |
//! | `protocol` | messages on a stream: length, protobuf, deadlines |
//! | `state` | what to fetch from whom |
//! | `allowance` | how much is served to one peer |
//! | `route` | how a transaction reaches the producer |

pub mod allowance;
pub mod config;
pub mod protocol;
pub mod route;
pub mod state;
