//! The times and numbers of chain sync that are nobody else's business.

use std::time::Duration;

use sotto_proto::limits::RECENT_MAPS;

/// Ranges of blocks under way at once, those included that are being inserted: while one is inserted the next comes.
pub const FETCHES: usize = 2;
/// How far back to begin where a peer's block does not fit: both have the last sixteen final blocks in common, or no
/// sync can help.
pub const REWIND: u64 = RECENT_MAPS as u64;
/// A peer that has not answered after this is not waited for alone: a second one is asked for the same range.
pub const SLOW: Duration = Duration::from_secs(3);
/// Blocks that were announced are left to gossip for this long before they are fetched.
pub const GRACE: Duration = Duration::from_millis(400);
/// With more blocks missing than this, gossip is not waited for.
pub const GAP: u64 = 2;
/// Without a new block for this long, a peer is asked whether there is one.
pub const QUIET: Duration = Duration::from_secs(10);
/// The same for a node that is not registered: nobody gossips with it.
pub const QUIET_UNREGISTERED: Duration = Duration::from_secs(1);
/// Pause after a peer's first failure; doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest such pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A peer that sent an invalid block is not asked again for this long.
pub const INVALID: Duration = Duration::from_secs(300);
/// Pause after *busy*.
pub const BUSY: Duration = Duration::from_millis(500);
/// The longest pause that a peer can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Blocks handed up whose outcome is not told after this are given up.
pub const INSERTION: Duration = Duration::from_secs(60);
