//! Finding the differences between two members' sets.
//!
//! The initiator's side lives as long as the session; the responder's is one call for each message. Neither takes a
//! copy of its set: what comes or goes meanwhile may be found or not, and the next session finds the rest.

use std::collections::BTreeSet;

use negentropy::{Id, Negentropy};
use sotto_proto::id::ItemId;
use sotto_proto::limits::{RECONCILE_FRAME, RECONCILE_MESSAGES};
use sotto_proto::request::{Error, RepairRequest, RepairResponse, Scope};

use super::set::View;

/// Differences after which a session ends: they are exchanged first, then another one finds the rest.
const DIFFERENCES: usize = 1 << 16;

/// What one side has and the other has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Items that only the initiator has.
    pub have: BTreeSet<ItemId>,
    /// Items that only the responder has.
    pub need: BTreeSet<ItemId>,
    /// These are all. If not, another session is worth while at once.
    pub complete: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be asked, and the answer given to [`Session::answered`].
    Ask(RepairRequest),
    /// Both have the same.
    Equal,
    /// They have not.
    Different(Differences),
}

/// Why a session ended without a result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The responder does not go along.
    #[error("refused: {0}")]
    Refused(#[from] Error),
    /// The answer is none to what was asked.
    #[error("an answer to something else")]
    Unexpected,
    /// The message is not one of negentropy's.
    #[error("not a message of the reconciliation: {0}")]
    Malformed(negentropy::Error),
}

/// The initiator's side.
#[derive(Debug)]
pub struct Session {
    scope: Scope,
    /// Messages of the reconciliation that were sent; 0: only the summary.
    messages: usize,
    found: Differences,
}

impl Session {
    /// Begins with a summary of the initiator's own view.
    #[must_use]
    pub fn start(view: &View<'_>) -> (Self, RepairRequest) {
        let session = Self { scope: view.scope(), messages: 0, found: Differences::default() };
        (session, RepairRequest::Summary(view.summary()))
    }

    /// What is compared. The view given to [`Session::answered`] must be of this.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// How many differences were found so far.
    pub(super) fn differences(&self) -> usize {
        self.found.have.len() + self.found.need.len()
    }

    /// Takes the responder's answer.
    ///
    /// # Errors
    /// [`SessionError`]; the session is over then. What it had found is void, the next one starts afresh.
    pub fn answered(&mut self, view: &View<'_>, response: RepairResponse) -> Result<Step, SessionError> {
        match response {
            RepairResponse::Error(error) => Err(error.into()),
            RepairResponse::Summary { equal: true } if self.messages == 0 => Ok(Step::Equal),
            RepairResponse::Summary { equal: false } if self.messages == 0 => {
                let message = over(view)?.initiate().map_err(SessionError::Malformed)?;
                Ok(self.ask(message))
            }
            RepairResponse::Reconcile { message } if self.messages > 0 => self.reconcile(view, &message),
            _ => Err(SessionError::Unexpected),
        }
    }

    fn reconcile(&mut self, view: &View<'_>, message: &[u8]) -> Result<Step, SessionError> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut own = over(view)?;
        own.set_initiator();
        let next = own.reconcile_with_ids(message, &mut have, &mut need).map_err(SessionError::Malformed)?;
        // The order in which they come out is a hash table's.
        self.found.have.extend(have.into_iter().map(item_id));
        self.found.need.extend(need.into_iter().map(item_id));
        let too_many = self.found.have.len() + self.found.need.len() >= DIFFERENCES;
        match next {
            Some(message) if self.messages < RECONCILE_MESSAGES && !too_many => Ok(self.ask(message)),
            unfinished => {
                self.found.complete = unfinished.is_none();
                Ok(Step::Different(std::mem::take(&mut self.found)))
            }
        }
    }

    fn ask(&mut self, message: Vec<u8>) -> Step {
        self.messages += 1;
        Step::Ask(RepairRequest::Reconcile { scope: self.scope, message })
    }
}

/// The responder's part of a reconciliation, from its own view of the scope asked for.
///
/// # Errors
/// [`SessionError::Malformed`] if the message is none.
pub fn respond(view: &View<'_>, message: &[u8]) -> Result<Vec<u8>, SessionError> {
    over(view)?.reconcile(message).map_err(SessionError::Malformed)
}

fn over<'a, 'b>(view: &'a View<'b>) -> Result<Negentropy<'a, View<'b>>, SessionError> {
    Negentropy::borrowed(view, RECONCILE_FRAME as u64).map_err(SessionError::Malformed)
}

fn item_id(id: Id) -> ItemId {
    ItemId::new(id.to_bytes())
}

#[cfg(test)]
mod tests;
