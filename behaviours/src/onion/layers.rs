//! Cells, opened and sealed where they lie: what each hop and the client do to a frame (B5).
//!
//! A layer is a command byte in front and a tag behind, so a frame for the next link begins one byte later, and one for
//! the link before one byte earlier. A relay reads frames back to back into a [`CellBuffer`], works on them in place and
//! writes them back to back from there: no byte of a cell is moved or copied.
//!
//! ```text
//! read      h│ frame 0                  │ frame 1                  │t         h, t: one byte of headroom each
//! forward   h│c rest            tag     │c rest            tag     │t         opened: c is the command
//! write       └─ rest 00000000000000000 0└─ rest 00000000000000000 0┘         the last zero lies on the next command
//!
//! read      h│ rest            dead     │ rest            dead     │t         meaningful bytes of the link behind
//! backward  c  rest ─▶ sealed, tag    00 c  rest ─▶ sealed, tag    00 t       the command lies on the last dead byte
//! ```
//!
//! A batch is opened whole before anything of it is passed on; if one of its cells does not open, nothing is.

use std::fmt;
use std::iter;
use std::ops::Range;

use sotto_proto::cell::{Backward, Body, DestroyReason, Direction, Forward, Position};
use sotto_proto::codec::DecodeError;
use sotto_proto::limits::{BODY, COALESCED_CELLS, FRAME, HOPS};

use super::keys::{CellError, Opener, Sealer};

/// Bytes in front of the first frame.
const HEAD: usize = 1;
/// Bytes behind the last.
const TAIL: usize = 1;

/// Where the frames of one direction of a relay are read to, worked on, and written from. Holds one cell at first, and
/// up to eight when its path carries bulk; nothing while it rests, as most paths do most of the time.
///
/// Used in turns: [`space`](Self::space) and [`filled`](Self::filled) until there is a [`whole`](Self::whole) frame;
/// then [`HopForward::open`] or [`HopBackward::wrap`]; what these give is written; then [`advance`](Self::advance), and
/// [`rest`](Self::rest) when nothing more can be read.
pub struct CellBuffer {
    /// Nothing, or [`capacity`](Self::capacity) and the headroom.
    bytes: Vec<u8>,
    /// Frames that it has room for.
    room: usize,
    /// Bytes read.
    filled: usize,
    /// Frames that were worked on and await `advance`.
    done: usize,
    /// The first byte of an incomplete frame, while the last zero of the frame before it lies there.
    carried: Option<u8>,
}

impl CellBuffer {
    /// For one cell.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::new(), room: 1, filled: 0, done: 0, carried: None }
    }

    /// Where to read to. Never empty after [`advance`](Self::advance).
    pub fn space(&mut self) -> &mut [u8] {
        let end = HEAD + self.capacity();
        self.bytes.resize(end + TAIL, 0);
        &mut self.bytes[HEAD + self.filled..end]
    }

    /// Gives its memory back, if nothing is in it.
    pub fn rest(&mut self) {
        if self.filled == 0 {
            self.bytes = Vec::new();
        }
    }

    /// So many bytes were read into the space; no more than it has are counted.
    pub fn filled(&mut self, bytes: usize) {
        self.filled = self.filled.saturating_add(bytes).min(self.capacity());
    }

    /// Whole frames at hand.
    #[must_use]
    pub const fn whole(&self) -> usize {
        self.filled / FRAME
    }

    /// Whether there is no more space: the path carries as much as we read.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.filled == self.capacity()
    }

    /// Makes room for twice as many cells, up to [`COALESCED_CELLS`].
    pub fn grow(&mut self) {
        self.room = (2 * self.room).min(COALESCED_CELLS);
    }

    /// The batch was written: keeps what came of the next frame, and takes more.
    pub fn advance(&mut self) {
        let done = self.done * FRAME;
        if let Some(first) = self.carried.take() {
            self.bytes[HEAD + done] = first;
        }
        if done > 0 && self.filled > done {
            self.bytes.copy_within(HEAD + done..HEAD + self.filled, HEAD);
        }
        self.filled -= done;
        self.done = 0;
    }

    /// What goes to the next link: runs of whole frames, one unless a DROP lies between. Nothing at the exit.
    pub fn relayed(&self, opened: &Opened) -> impl Iterator<Item = &[u8]> {
        let runs = opened.runs(opened.position.next().is_some());
        runs.map(|run| &self.bytes[HEAD + 1 + run.start * FRAME..HEAD + 1 + run.end * FRAME])
    }

    /// The bodies that came to the exit, in order. Nothing elsewhere.
    pub fn bodies(&self, opened: &Opened) -> impl Iterator<Item = &[u8]> {
        let runs = opened.runs(opened.position.next().is_none());
        runs.flatten().map(|index| &self.bytes[HEAD + index * FRAME + 1..][..BODY])
    }

    /// What [`HopBackward::wrap`] gave, for whoever writes it in several turns.
    #[must_use]
    pub fn wrapped(&self) -> &[u8] {
        &self.bytes[HEAD - 1..][..self.done * FRAME]
    }

    const fn capacity(&self) -> usize {
        self.room * FRAME
    }

    /// Writes zeros behind the bytes to relay of each frame, up to the end of the frame that begins one byte later.
    fn clear_tails(&mut self, opened_len: usize) {
        let end = self.done * FRAME;
        self.carried = (self.filled > end).then_some(self.bytes[HEAD + end]);
        for index in 0..self.done {
            let frame = HEAD + index * FRAME;
            self.bytes[frame + opened_len..=frame + FRAME].fill(0);
        }
    }
}

impl Default for CellBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CellBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CellBuffer({} of {} bytes)", self.filled, self.capacity())
    }
}

/// A batch that was opened: which of its frames go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    position: Position,
    frames: usize,
    /// Bit i: frame i was a DROP for this hop.
    dropped: u8,
}

const _: () = assert!(COALESCED_CELLS <= 8, "one bit for each cell of a batch");

impl Opened {
    /// How many frames were opened.
    #[must_use]
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// How many of them were padding of this link.
    #[must_use]
    pub const fn drops(&self) -> usize {
        self.dropped.count_ones() as usize
    }

    /// Frames that go on, as runs without a DROP between; none unless `wanted`.
    fn runs(self, wanted: bool) -> impl Iterator<Item = Range<usize>> {
        let mut next = if wanted { 0 } else { self.frames };
        iter::from_fn(move || {
            let drops = |index: &usize| self.dropped & (1 << index) != 0;
            let start = (next..self.frames).find(|index| !drops(index))?;
            next = (start..self.frames).find(drops).unwrap_or(self.frames);
            Some(start..next)
        })
    }
}

/// A hop's forward half: opens what comes from the client's side.
#[derive(Debug)]
pub struct HopForward {
    position: Position,
    key: Opener,
}

impl HopForward {
    pub(crate) fn new(position: Position, key: &[u8; 32]) -> Self {
        Self { position, key: Opener::new(key) }
    }

    /// The hop's place.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Opens all whole frames of the buffer.
    ///
    /// # Errors
    /// [`CellError`] if one of them does not open or holds no known command: the path dies, and nothing of the batch is
    /// passed on.
    pub fn open(&mut self, cells: &mut CellBuffer) -> Result<Opened, CellError> {
        let mut opened = Opened { position: self.position, frames: cells.whole(), dropped: 0 };
        let frames = cells.bytes[HEAD..].chunks_exact_mut(FRAME).take(opened.frames);
        for (index, frame) in frames.enumerate() {
            self.key.open(&mut frame[..self.position.sealed_len()])?;
            match Forward::read(self.position, &frame[..self.position.opened_len()])? {
                Forward::Relay(_) => {}
                Forward::Drop => opened.dropped |= 1 << index,
            }
        }
        cells.done = opened.frames;
        if self.position.next().is_some() {
            cells.clear_tails(self.position.opened_len());
        }
        Ok(opened)
    }
}

/// A hop's backward half: seals what goes to the client's side.
#[derive(Debug)]
pub struct HopBackward {
    position: Position,
    key: Sealer,
}

impl HopBackward {
    pub(crate) fn new(position: Position, key: &[u8; 32]) -> Self {
        Self { position, key: Sealer::new(key) }
    }

    /// The hop's place.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Wraps all whole frames of the buffer, which came from the link behind guard or middle; gives what to write.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if the key is used up. At the exit, which no link is behind, [`CellError::Malformed`].
    pub fn wrap<'a>(&mut self, cells: &'a mut CellBuffer) -> Result<&'a [u8], CellError> {
        if self.position.next().is_none() {
            return Err(DecodeError::Value("position").into());
        }
        cells.done = cells.whole();
        let wrapped = &mut cells.bytes[HEAD - 1..][..cells.done * FRAME];
        for frame in wrapped.chunks_exact_mut(FRAME) {
            self.seal(Backward::Relay(&[]), frame)?;
        }
        Ok(wrapped)
    }

    /// Seals a body at the exit, as a whole frame.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if the key is used up; [`CellError::Malformed`] if the body cannot be written, or this
    /// is not the exit.
    pub fn seal_body(&mut self, body: &Body<'_>, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        body.write_to(&mut frame[1..=self.position.rest_len()])?;
        self.seal(Backward::Relay(&[]), frame)
    }

    /// Seals the end of the path, as a whole frame; the hop closes behind it.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if the key is used up: then the stream just ends.
    pub fn destroy(&mut self, reason: DestroyReason, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        frame.fill(0);
        frame[1] = reason.byte();
        self.seal(Backward::Destroy(reason), frame)
    }

    /// Puts the command in front of what lies in the frame, seals both, and writes zeros behind.
    fn seal(&mut self, command: Backward<'_>, frame: &mut [u8]) -> Result<(), CellError> {
        let (sealed, rest) = frame.split_at_mut(self.position.sealed_len());
        sealed[0] = command.byte();
        self.key.seal(sealed)?;
        rest.fill(0);
        Ok(())
    }
}

/// Where the layer of a hop lies in the client's frame: each outer layer adds a command in front.
const fn layer(position: Position) -> Range<usize> {
    let start = position.number() as usize - 1;
    start..start + position.sealed_len()
}

/// Where the body lies in the client's frame.
const CLIENT_BODY: Range<usize> = HOPS..HOPS + BODY;

/// The client's forward half: seals for exit, middle and guard, each layer around the one before.
#[derive(Debug)]
pub struct ClientForward {
    keys: [Sealer; HOPS],
}

impl ClientForward {
    pub(crate) const fn new(keys: [Sealer; HOPS]) -> Self {
        Self { keys }
    }

    /// Seals a body for the exit, as a whole frame.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if a key is used up; [`CellError::Malformed`] if the body cannot be written: then no key
    /// was used.
    pub fn seal_body(&mut self, body: &Body<'_>, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        body.write_to(&mut frame[CLIENT_BODY])?;
        self.seal(Position::Exit, Forward::Relay(&[]), frame)
    }

    /// Seals padding that the hop at `position` takes out, as a whole frame.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if a key is used up.
    pub fn drop_at(&mut self, position: Position, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        frame.fill(0);
        self.seal(position, Forward::Drop, frame)
    }

    /// Seals for the hop at `innermost` whatever it is to open, command and rest: what a client may send that keeps to
    /// nothing.
    ///
    /// # Errors
    /// [`CellError::Exhausted`] if a key is used up; [`CellError::Malformed`] if these are not as many bytes as it opens.
    pub fn seal_unchecked(
        &mut self,
        innermost: Position,
        opened: &[u8],
        frame: &mut [u8; FRAME],
    ) -> Result<(), CellError> {
        frame.fill(0);
        let (Some((command, _)), true) = (opened.split_first(), opened.len() == innermost.opened_len()) else {
            return Err(DecodeError::Value("opened").into());
        };
        frame[layer(innermost)][..opened.len()].copy_from_slice(opened);
        self.seal_layers(innermost, *command, frame)
    }

    /// Seals for the hop at `innermost` and those before it, which relay.
    fn seal(&mut self, innermost: Position, command: Forward<'_>, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        self.seal_layers(innermost, command.byte(), frame)
    }

    fn seal_layers(&mut self, innermost: Position, command: u8, frame: &mut [u8; FRAME]) -> Result<(), CellError> {
        let layers = Position::ALL.into_iter().zip(&mut self.keys).rev();
        for (position, key) in layers.filter(|(position, _)| *position <= innermost) {
            let sealed = &mut frame[layer(position)];
            sealed[0] = if position == innermost { command } else { Forward::Relay(&[]).byte() };
            key.seal(sealed)?;
        }
        Ok(())
    }
}

/// What a client finds in a backward frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromPath<'a> {
    /// The exit says something of its streams.
    Body(Body<'a>),
    /// A hop ends the path. Of several that say so the deepest is believed.
    Destroy {
        /// Which.
        position: Position,
        /// Why.
        reason: DestroyReason,
    },
}

/// The client's backward half: opens the layers of guard, middle and exit.
#[derive(Debug)]
pub struct ClientBackward {
    keys: [Opener; HOPS],
}

impl ClientBackward {
    pub(crate) const fn new(keys: [Opener; HOPS]) -> Self {
        Self { keys }
    }

    /// Opens a whole frame in place.
    ///
    /// # Errors
    /// [`CellError`] if a layer does not open, or holds what no honest hop seals: the path is dropped.
    pub fn open<'a>(&mut self, frame: &'a mut [u8; FRAME]) -> Result<FromPath<'a>, CellError> {
        for (position, key) in Position::ALL.into_iter().zip(&mut self.keys) {
            let sealed = &mut frame[layer(position)];
            key.open(sealed)?;
            match Backward::read(position, &sealed[..position.opened_len()])? {
                Backward::Relay(_) => {}
                Backward::Destroy(reason) => return Ok(FromPath::Destroy { position, reason }),
            }
        }
        Ok(FromPath::Body(Body::read(Direction::Backward, &frame[CLIENT_BODY])?))
    }
}

const _: () = {
    let mut index = 0;
    while index < HOPS {
        let position = Position::ALL[index];
        // Tag behind tag: every byte of the client's frame is sealed by somebody.
        assert!(layer(position).end == FRAME - (layer(position).start) * sotto_proto::limits::budget::TAG);
        index += 1;
    }
    assert!(layer(Position::Exit).start + 1 == CLIENT_BODY.start);
};

#[cfg(test)]
mod tests;
