//! What the network's errors mean to somebody at a terminal.

use super::{CliError, Exit};
use crate::messenger::Error;
use crate::network::choice::NoPath;
use crate::network::light_client::UpdateError;
use crate::network::paths;
use crate::network::storing::StoreError;

/// The exit code, the fixed name and what to do next.
pub(super) fn cli_error(error: &Error) -> CliError {
    let (exit, code, hint) = match error {
        Error::Store(error) => return CliError::from(error),
        Error::FirstList(error) => return super::network::failure(error),
        Error::Update(UpdateError::Equivocation(_) | UpdateError::Stopped) => {
            (Exit::Failed, "equivocation", "whoever runs the network must say what happened; see: sotto doctor")
        }
        Error::Update(UpdateError::Time { .. }) => {
            (Exit::Failed, "clock", "check the date of this machine; if it is right, the network stands still")
        }
        Error::Update(_) | Error::NoSwarms(_) => (Exit::Network, "list", "try again; if it stays so: sotto doctor"),
        Error::Path(paths::Error::Choice(NoPath::Guard | NoPath::TooFew)) => (
            Exit::Network,
            "no_path",
            "the network is too small, or too many of its nodes are away: sotto network show",
        ),
        Error::Path(_) => {
            (Exit::Network, "no_path", "is this machine connected, and the network up? see: sotto doctor")
        }
        Error::Lookup(_) | Error::NoAnswer { .. } => (Exit::Network, "no_answer", "try again in a moment"),
        Error::Unbelieved(_) => (Exit::Network, "no_answer", "if it stays so, check this machine's date: sotto doctor"),
        Error::NoOwner => (Exit::Network, "no_swarm", "the network has too few nodes yet: sotto network show"),
        Error::NotStored(StoreError::Work { .. }) => {
            (Exit::RateLimited, "work", "the recipient's mailbox is nearly full; try again later")
        }
        Error::NotStored(StoreError::Time) => (Exit::Failed, "clock", "check the date of this machine"),
        Error::NotStored(_) => (Exit::Network, "not_stored", "try again in a moment"),
        // What a newer list met is what must be mended.
        Error::Moved { reason, .. } if has_own_code(reason) => {
            return CliError { message: error.to_string(), ..cli_error(reason) };
        }
        Error::Moved { .. } => (Exit::Network, "list", "if it stays so: sotto doctor"),
        Error::Unsendable(_) => (Exit::Failed, "unsendable", "make it shorter, or send it in parts"),
        Error::Conversation(error) => return super::conversation_error::cli_error(error),
        Error::NotOnline(_) => (
            Exit::NotReady,
            "not_online",
            "it is kept and goes offline with the next: sotto send, or sotto recv; to send it so at once: --mode offline",
        ),
        Error::Acknowledged(_) => (Exit::Failed, "acknowledged", "nothing is left to be done"),
        Error::NoMessage(_) => (Exit::NotFound, "not_found", "see: sotto status"),
        Error::Random(_) => (Exit::Internal, "random", "the operating system gives no random numbers"),
    };
    CliError::new(exit, code, error.to_string()).hint(hint)
}

/// Whether somebody must do something before there is a newer list: trying again does not help.
const fn has_own_code(reason: &Error) -> bool {
    matches!(reason, Error::Update(UpdateError::Equivocation(_) | UpdateError::Stopped | UpdateError::Time { .. }))
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::{Height, SwarmId};

    use super::*;

    #[test]
    fn a_list_that_cannot_be_had_ends_with_the_code_of_its_reason() {
        let moved = |reason| {
            let error = Error::Moved { swarm: SwarmId(7), height: Height(5), reason: Box::new(Error::Update(reason)) };
            let shown = cli_error(&error);
            assert_eq!(shown.message, error.to_string());
            (shown.exit, shown.code)
        };
        assert_eq!(moved(UpdateError::Stopped), (Exit::Failed, "equivocation"));
        assert_eq!(moved(UpdateError::Time { distance_ms: 7_200_000 }), (Exit::Failed, "clock"));
        assert_eq!(moved(UpdateError::TooFew { answered: 1 }), (Exit::Network, "list"));
    }
}
