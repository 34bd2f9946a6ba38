//! Where all that the machine says can be changed before the loop does it, for nodes that are to misbehave.

use std::time::Instant;

use super::EventLoop;
use crate::service_node::Output;

/// Is handed all that the machine says to one input, which may be nothing, and the time; what comes back is done in its
/// place. Production has none.
pub type Outlet = Box<dyn FnMut(Vec<Output>, Instant) -> Vec<Output> + Send>;

impl EventLoop {
    /// Has all that the machine says go through `outlet`.
    #[must_use]
    pub fn with_outlet(mut self, outlet: Outlet) -> Self {
        self.outlet = Some(outlet);
        self
    }

    /// What is done of what the machine says: without an outlet all of it.
    pub(super) fn let_out(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        match &mut self.outlet {
            Some(outlet) => outlet(outputs, Instant::now()),
            None => outputs,
        }
    }
}
