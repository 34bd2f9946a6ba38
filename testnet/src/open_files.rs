//! How many files this process and its children may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Wanted: each node has its own process, but the launcher holds pipes and asks all at once, and a process of idle clients
/// holds thousands of connections.
const WANTED: u64 = 8192;

/// Raises the soft limit, which children inherit, towards [`WANTED`]; says what it is now.
pub(crate) fn raise() -> String {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let wanted = WANTED.min(limit.maximum.unwrap_or(u64::MAX));
    if before >= wanted {
        return before.to_string();
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => format!("{before}→{wanted}"),
        Err(_) => before.to_string(),
    }
}
