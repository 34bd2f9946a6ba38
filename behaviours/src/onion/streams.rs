//! The streams of a path, as one of its ends sees them: who may send how much, and what nobody may (B5, *Streams*).
//!
//! The same machine runs at the client and at the exit. It keeps no payload: it says when a cell may be sent, and the
//! caller holds at most as many received cells as were granted. What is to be sent beside data comes out of
//! [`Streams::poll_body`].
//!
//! ```text
//!   caller                              Streams                                   path
//!   open ──────────────────────────▶ next id, credit 32 − 1           ──▶  OPEN (written by the caller)
//!   credit, spend ─────────────────▶ credit − 1                       ──▶  DATA (written by the caller)
//!   consumed ──────────────────────▶ 16 since the last WINDOW?  ── poll_body ──▶  WINDOW
//!   end, reset ────────────────────▶ half-closed, closed        ── poll_body ──▶  END, RESET
//!   Opened, Data, Credit, Ended, Reset ◀── on_body ◀────────────────────────────  everything
//! ```
//!
//! Credit is what keeps a stream whose destination is slow from filling the exit or from holding up the others: each
//! side may have 32 cells under way on a stream, and gets back what was consumed. A stream whose sender waits for credit
//! although everything was consumed gets more, out of what the node lends over all streams ([`CreditBudget`]).
//!
//! Breaking these rules ends the path ([`Violation`]), because the other end of a path is one program, not many. Cells
//! that were under way when a stream ended are no breach.

mod credit;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sotto_proto::cell::{Body, Destination, ResetReason, StreamId};
use sotto_proto::limits::{
    BACKWARD_DROP_BURST, BACKWARD_DROP_INTERVAL, CREDIT_MAX, LATE_CONTROL, LATE_DATA, STREAMS_PER_PATH,
};
use sotto_proto::time::Monotonic;

pub use self::credit::CreditBudget;
use self::credit::Granted;

/// Which end of the path this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opens streams.
    Client,
    /// Takes them to their destinations.
    Exit,
}

/// Something that no honest other end sends. The path is reset, without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A cell beyond the credit of its stream.
    #[error("stream {0}: more cells than granted")]
    Overrun(StreamId),
    /// More credit than any stream has.
    #[error("stream {0}: more credit than a stream can have")]
    Credit(StreamId),
    /// Something on a stream that was never opened.
    #[error("stream {0} was never opened")]
    NeverOpened(StreamId),
    /// An OPEN with another number than the next.
    #[error("stream {0} is not the next one")]
    OutOfOrder(StreamId),
    /// An OPEN while sixteen are open.
    #[error("too many streams")]
    TooManyStreams,
    /// Too many cells on streams that are closed.
    #[error("too many cells on closed streams")]
    Late,
    /// Too many streams that were ended before their bytes were consumed.
    #[error("too many ended streams still hold bytes")]
    Draining,
    /// Padding too often, or an OPEN backward.
    #[error("unsolicited cells")]
    Unsolicited,
}

/// Why the client cannot open a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Sixteen are open, or closed and the other side has not been told yet.
    #[error("the path has {STREAMS_PER_PATH} streams open")]
    TooMany,
    /// All numbers were used.
    #[error("the path has no stream numbers left")]
    Exhausted,
    /// Exits open none.
    #[error("only clients open streams")]
    NotClient,
}

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// The client opened one; at the exit only. When the first bytes are consumed, or at once if there are none, that is
    /// one cell to report to [`Streams::consumed`].
    Opened {
        /// Its number.
        stream: StreamId,
        /// Where to.
        destination: Destination<'a>,
        /// What to send there at once.
        first: &'a [u8],
    },
    /// Bytes came: one cell to report to [`Streams::consumed`].
    Data {
        /// The stream.
        stream: StreamId,
        /// The bytes, at least one.
        data: &'a [u8],
    },
    /// More may be sent.
    Credit {
        /// The stream.
        stream: StreamId,
    },
    /// The other side sends no more.
    Ended {
        /// The stream.
        stream: StreamId,
    },
    /// The stream is closed, by the other side or because it broke the stream's rules.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: ResetReason,
    },
}

/// A stream that is open, one way at least.
#[derive(Debug)]
struct Stream {
    /// DATA that we may send.
    credit: u16,
    /// What the other side may send, and what of it we hold.
    granted: Granted,
    /// The other side may still send.
    receiving: bool,
    sending: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    /// We are at the end, but hold back END until what came was consumed.
    Ending,
    Ended,
}

/// The streams of one end of a path.
#[derive(Debug)]
pub struct Streams {
    side: Side,
    budget: Arc<CreditBudget>,
    open: BTreeMap<StreamId, Stream>,
    /// Ended both ways, with so many cells not consumed.
    draining: BTreeMap<StreamId, u16>,
    /// The last one that was opened.
    last: Option<StreamId>,
    /// END and RESET to send. Each stream leaves at most one of either.
    outgoing: VecDeque<Body<'static>>,
    /// Streams that have a WINDOW to send.
    windows: VecDeque<StreamId>,
    /// DATA that may still come on closed streams: what was granted when we reset them, and what is forgiven beyond.
    late_data: usize,
    late_control: usize,
    drops: Drops,
}

impl Streams {
    /// No streams yet. What streams are lent comes out of `budget`, and goes back into it when they end.
    #[must_use]
    pub fn new(side: Side, budget: Arc<CreditBudget>) -> Self {
        Self {
            side,
            budget,
            open: BTreeMap::new(),
            draining: BTreeMap::new(),
            last: None,
            outgoing: VecDeque::new(),
            windows: VecDeque::new(),
            late_data: LATE_DATA,
            late_control: LATE_CONTROL,
            drops: Drops::default(),
        }
    }

    /// Opens a stream. The caller sends its OPEN at once: the exit wants the numbers in order.
    ///
    /// # Errors
    /// [`OpenError`]: not now, or not any more.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.side != Side::Client {
            return Err(OpenError::NotClient);
        }
        if self.open.len() + self.unsaid() >= STREAMS_PER_PATH {
            return Err(OpenError::TooMany);
        }
        let stream = self.next_id().ok_or(OpenError::Exhausted)?;
        // The OPEN takes one cell of our credit.
        self.insert(stream, credit::INITIAL - 1, Granted::new());
        Ok(stream)
    }

    /// A body came.
    ///
    /// # Errors
    /// [`Violation`]: the path ends.
    pub fn on_body<'a>(&mut self, body: Body<'a>, now: Monotonic) -> Result<Option<StreamEvent<'a>>, Violation> {
        match body {
            Body::Drop => self.on_drop(now).map(|()| None),
            Body::Open { stream, destination, first } => {
                self.on_open(stream)?;
                Ok(Some(StreamEvent::Opened { stream, destination, first }))
            }
            Body::Data { stream, data } => self.on_data(stream, data),
            Body::End { stream } => self.on_end(stream),
            Body::Reset { stream, reason } => self.on_reset(stream, reason),
            Body::Window { stream, cells } => self.on_window(stream, cells),
        }
    }

    /// DATA cells that may be sent on the stream now; none if it is closed or we ended it.
    #[must_use]
    pub fn credit(&self, stream: StreamId) -> u16 {
        self.open.get(&stream).filter(|open| open.sending == Sending::Open).map_or(0, |open| open.credit)
    }

    /// A DATA cell is about to be sent. False if it must not be: there is no credit.
    #[must_use]
    pub fn spend(&mut self, stream: StreamId) -> bool {
        match self.open.get_mut(&stream) {
            Some(open) if open.sending == Sending::Open && open.credit > 0 => {
                open.credit -= 1;
                true
            }
            _ => false,
        }
    }

    /// Received cells whose bytes went on, so that others may come.
    pub fn consumed(&mut self, stream: StreamId, cells: u16) {
        if let Some(held) = self.draining.get_mut(&stream) {
            *held = held.saturating_sub(cells);
            if *held == 0 {
                self.draining.remove(&stream);
            }
        }
        let Some(open) = self.open.get_mut(&stream) else { return };
        let was_due = open.granted.is_due();
        open.granted.consumed(cells);
        if open.receiving && open.granted.is_due() && !was_due {
            self.windows.push_back(stream);
        }
        self.settle(stream);
    }

    /// We send no more on the stream.
    pub fn end(&mut self, stream: StreamId) {
        if let Some(open) = self.open.get_mut(&stream).filter(|open| open.sending == Sending::Open) {
            open.sending = Sending::Ending;
            self.settle(stream);
        }
    }

    /// Closes the stream both ways; what is held of it is thrown away.
    pub fn reset(&mut self, stream: StreamId, reason: ResetReason) {
        self.draining.remove(&stream);
        let Some(open) = self.open.remove(&stream) else { return };
        if open.receiving {
            self.late_data = self.late_data.saturating_add(open.granted.outstanding().into());
        }
        self.outgoing.push_back(Body::Reset { stream, reason });
    }

    /// What to send next beside data; to be asked after every call that may have changed something, until there is
    /// nothing more.
    pub fn poll_body(&mut self) -> Option<Body<'static>> {
        if let Some(body) = self.outgoing.pop_front() {
            return Some(body);
        }
        while let Some(stream) = self.windows.pop_front() {
            let Some(open) = self.open.get_mut(&stream).filter(|open| open.receiving) else { continue };
            if let Some(cells) = open.granted.take_window(&self.budget) {
                return Some(Body::Window { stream, cells });
            }
        }
        None
    }

    /// Whether the stream is open, one way at least.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.open.contains_key(&stream)
    }

    /// How many are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Streams that are closed here while the END or RESET that says so still waits in [`Streams::poll_body`]: an OPEN
    /// goes out before it, and the other side counts them until then.
    fn unsaid(&self) -> usize {
        let ends = self.outgoing.iter().filter_map(|body| match body {
            Body::End { stream } | Body::Reset { stream, .. } => Some(stream),
            _ => None,
        });
        ends.filter(|stream| !self.open.contains_key(stream)).count()
    }

    fn next_id(&self) -> Option<StreamId> {
        self.last.map_or(Some(StreamId::FIRST), StreamId::next)
    }

    fn insert(&mut self, stream: StreamId, credit: u16, granted: Granted) {
        self.last = Some(stream);
        self.late_control = self.late_control.saturating_add(LATE_CONTROL);
        self.open.insert(stream, Stream { credit, granted, receiving: true, sending: Sending::Open });
    }

    fn on_drop(&mut self, now: Monotonic) -> Result<(), Violation> {
        // Forward it keeps the path alive, as often as the client likes: it costs what any cell costs.
        if self.side == Side::Exit || self.drops.admit(now) { Ok(()) } else { Err(Violation::Unsolicited) }
    }

    fn on_open(&mut self, stream: StreamId) -> Result<(), Violation> {
        if self.side == Side::Client {
            return Err(Violation::Unsolicited);
        }
        if self.next_id() != Some(stream) {
            return Err(Violation::OutOfOrder(stream));
        }
        if self.open.len() >= STREAMS_PER_PATH {
            return Err(Violation::TooManyStreams);
        }
        self.insert(stream, credit::INITIAL, Granted::opened());
        Ok(())
    }

    fn on_data<'a>(&mut self, stream: StreamId, data: &'a [u8]) -> Result<Option<StreamEvent<'a>>, Violation> {
        let Some(open) = self.open.get_mut(&stream) else {
            return self.on_late(stream, true);
        };
        if !open.receiving {
            return Ok(Some(self.broken(stream)));
        }
        if open.granted.receive() {
            Ok(Some(StreamEvent::Data { stream, data }))
        } else {
            Err(Violation::Overrun(stream))
        }
    }

    fn on_end<'a>(&mut self, stream: StreamId) -> Result<Option<StreamEvent<'a>>, Violation> {
        let Some(open) = self.open.get_mut(&stream) else {
            return self.on_late(stream, false);
        };
        if !open.receiving {
            return Ok(Some(self.broken(stream)));
        }
        open.receiving = false;
        self.settle(stream);
        if self.draining.len() > STREAMS_PER_PATH {
            Err(Violation::Draining)
        } else {
            Ok(Some(StreamEvent::Ended { stream }))
        }
    }

    fn on_reset<'a>(&mut self, stream: StreamId, reason: ResetReason) -> Result<Option<StreamEvent<'a>>, Violation> {
        match self.open.remove(&stream) {
            Some(_) => Ok(Some(StreamEvent::Reset { stream, reason })),
            None => self.on_late(stream, false),
        }
    }

    fn on_window<'a>(&mut self, stream: StreamId, cells: u16) -> Result<Option<StreamEvent<'a>>, Violation> {
        let Some(open) = self.open.get_mut(&stream) else {
            return self.on_late(stream, false);
        };
        open.credit =
            open.credit.checked_add(cells).filter(|credit| *credit <= CREDIT_MAX).ok_or(Violation::Credit(stream))?;
        Ok((open.sending == Sending::Open).then_some(StreamEvent::Credit { stream }))
    }

    /// A cell on a stream that is closed, or never was open.
    fn on_late<'a>(&mut self, stream: StreamId, data: bool) -> Result<Option<StreamEvent<'a>>, Violation> {
        if self.last.is_none_or(|last| stream > last) {
            return Err(Violation::NeverOpened(stream));
        }
        let left = if data { &mut self.late_data } else { &mut self.late_control };
        *left = left.checked_sub(1).ok_or(Violation::Late)?;
        Ok(None)
    }

    /// The other side sent on after its END.
    fn broken<'a>(&mut self, stream: StreamId) -> StreamEvent<'a> {
        let reason = ResetReason::Protocol;
        self.reset(stream, reason);
        StreamEvent::Reset { stream, reason }
    }

    /// Sends the END that is due, and closes the stream if it is ended both ways.
    ///
    /// END is held back while the other side has ended and some of its bytes are not consumed: so a stream that is
    /// closed mostly holds nothing. What it may hold nevertheless, because we ended first, is counted.
    fn settle(&mut self, stream: StreamId) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if open.sending == Sending::Ending && (open.receiving || open.granted.held() == 0) {
            open.sending = Sending::Ended;
            self.outgoing.push_back(Body::End { stream });
        }
        if open.sending == Sending::Ended && !open.receiving {
            let held = open.granted.held();
            self.open.remove(&stream);
            if held > 0 {
                self.draining.insert(stream, held);
            }
        }
    }
}

/// How often padding may come.
#[derive(Debug)]
struct Drops {
    left: u32,
    refilled: Option<Monotonic>,
}

impl Default for Drops {
    fn default() -> Self {
        Self { left: BACKWARD_DROP_BURST, refilled: None }
    }
}

impl Drops {
    fn admit(&mut self, now: Monotonic) -> bool {
        let mut at = self.refilled.unwrap_or(now);
        while self.left < BACKWARD_DROP_BURST && now.since(at) >= BACKWARD_DROP_INTERVAL {
            at = at.plus(BACKWARD_DROP_INTERVAL);
            self.left += 1;
        }
        // Time does not count while nothing is missing.
        self.refilled = Some(if self.left == BACKWARD_DROP_BURST { now } else { at });
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
