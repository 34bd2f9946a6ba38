//! What the two ends of a conversation do, and nobody between them can undo.

mod sealed;

pub use sealed::{KIND_PLAIN, OpenError, Opened, SealContext, SealError, open, seal};
