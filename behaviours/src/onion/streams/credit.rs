//! Credit for what the other side of a stream sends us.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sotto_proto::limits::{CREDIT_BUDGET, CREDIT_MAX, CREDIT_RETURN, FRAME, INITIAL_CREDIT, WINDOW_CELLS};

/// What every stream begins with.
pub(super) const INITIAL: u16 = INITIAL_CREDIT;

/// Cells that a node lends to fast streams, over all its paths.
#[derive(Debug)]
pub struct CreditBudget {
    left: AtomicUsize,
}

impl CreditBudget {
    /// So many cells.
    #[must_use]
    pub fn new(cells: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(cells) })
    }

    /// What a node lends by default.
    #[must_use]
    pub fn of_node() -> Arc<Self> {
        Self::new(CREDIT_BUDGET / FRAME)
    }

    /// Cells that are not lent.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Lends `cells`, or as many as there are.
    fn lend(self: &Arc<Self>, cells: u16) -> Loan {
        let take = |left: usize| left.min(cells.into());
        // The closure never refuses, so this is what was there before.
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - take(left)));
        let cells = u16::try_from(take(before.unwrap_or(0))).unwrap_or(cells);
        Loan { budget: Arc::clone(self), cells }
    }
}

/// Cells that were lent; they go back when this is dropped.
#[derive(Debug)]
struct Loan {
    budget: Arc<CreditBudget>,
    cells: u16,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.cells.into(), Ordering::Relaxed);
    }
}

/// What the other side of a stream was granted.
///
/// ```text
///   window = outstanding + held + returnable          outstanding: granted, not received
///                                                     held: received, not consumed
///                                                     returnable: consumed, not granted anew
/// ```
#[derive(Debug)]
pub(super) struct Granted {
    outstanding: u16,
    held: u16,
    returnable: u16,
    /// What made the window larger than the initial one; lent until the stream ends, because credit that was given cannot
    /// be taken back.
    loans: Vec<Loan>,
}

impl Granted {
    pub(super) const fn new() -> Self {
        Self { outstanding: INITIAL, held: 0, returnable: 0, loans: Vec::new() }
    }

    /// As [`Granted::new`], with the OPEN that came.
    pub(super) const fn opened() -> Self {
        Self { outstanding: INITIAL - 1, held: 1, returnable: 0, loans: Vec::new() }
    }

    pub(super) const fn outstanding(&self) -> u16 {
        self.outstanding
    }

    pub(super) const fn held(&self) -> u16 {
        self.held
    }

    const fn window(&self) -> u16 {
        self.outstanding + self.held + self.returnable
    }

    /// A cell came; false if it had no credit.
    #[must_use]
    pub(super) const fn receive(&mut self) -> bool {
        match self.outstanding.checked_sub(1) {
            Some(outstanding) => {
                self.outstanding = outstanding;
                self.held += 1;
                true
            }
            None => false,
        }
    }

    /// Cells went on; no more than are held.
    pub(super) fn consumed(&mut self, cells: u16) {
        let cells = cells.min(self.held);
        self.held -= cells;
        self.returnable += cells;
    }

    /// Whether a WINDOW is due. A sender without credit always gets one: then all of the window, twice as much, is held
    /// or returnable, and what is held will be consumed.
    pub(super) const fn is_due(&self) -> bool {
        self.returnable >= CREDIT_RETURN
    }

    /// Gives back what was consumed, and more if the credit is what the sender waits for: it has used up three quarters
    /// of it, while we hold nothing.
    pub(super) fn take_window(&mut self, budget: &Arc<CreditBudget>) -> Option<u16> {
        if !self.is_due() {
            return None;
        }
        let window = self.window();
        if self.held == 0 && self.outstanding <= window / 4 && window < CREDIT_MAX {
            let loan = budget.lend(window.min(CREDIT_MAX - window));
            if loan.cells > 0 {
                self.returnable += loan.cells;
                self.loans.push(loan);
            }
        }
        let cells = std::mem::take(&mut self.returnable).min(*WINDOW_CELLS.end());
        self.outstanding += cells;
        Some(cells)
    }
}
