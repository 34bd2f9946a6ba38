//! What a client knows of the network.

mod first_list;

pub use first_list::{FirstListError, NetworkList, Step, fetch};
